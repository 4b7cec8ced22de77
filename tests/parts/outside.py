"""A service that says whether it gets in on a port, and a proxy on the way to it."""

import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class Outside:
    """Answers each request alike until told otherwise; use it as a context.

    As a proxy it answers for whichever server is asked for through it, and refuses tunnels.
    """

    def __init__(self, answer: str = "1", context: ssl.SSLContext | None = None) -> None:
        self.status = 200
        self.answer: Callable[[str], str] = lambda target: answer
        """What it answers to a target, such as `/45720`."""
        self.asked: list[str] = []
        """The targets that were asked for: with a scheme and a host as a proxy."""
        self.headers: dict[str, str] = {}
        """Of the last request."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._scheme = "http"
        if context:
            self._scheme = "https"
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def says(self, answer: str, status: int = 200) -> None:
        """Answer so from now on."""
        self.status, self.answer = status, lambda target: answer

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _serve(self) -> None:
        self._server.serve_forever(poll_interval=0.02)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outside = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outside.asked.append(self.path)
                outside.headers = dict(self.headers.items())
                body = outside.answer(self.path).encode()
                self.send_response(outside.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_CONNECT(self) -> None:
                outside.asked.append(self.path)
                self.send_error(407)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        return Handler
