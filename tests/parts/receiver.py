"""A service of notifications, such as ntfy: takes what Apprise posts to it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Receiver:
    """Listens on a port of its own; use it as a context.

    `/STATUS/…` is answered with that status, `/hang/…` not before the context ends.
    """

    def __init__(self) -> None:
        self.posts: list[tuple[str, str]] = []
        self.hanging = threading.Event()
        self._end = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.place = f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,)).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def messages(self) -> list[tuple[str, str, str]]:
        """The type, title and text of all that came as JSON."""
        bodies: list[dict[str, Any]] = [json.loads(body) for _, body in self.posts]
        return [(each["type"], each["title"], each["message"]) for each in bodies]

    def take(self, path: str, body: str) -> int:
        """Keep a message; returns the status to answer with."""
        self.posts.append((path, body))
        how = path.split("/")[1]
        if how == "hang":
            self.hanging.set()
            self._end.wait(60)
        return int(how) if how.isdigit() else 200


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status = receiver.take(self.path, body)
            try:
                self.send_response(status)
                self.end_headers()
            except OSError:
                pass  # whoever asked was killed

        def log_message(self, *_: object) -> None:
            """Nothing."""

    return Handler
