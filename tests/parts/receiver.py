"""A service of notifications, such as ntfy: takes what Apprise or an Alertmanager posts to it."""

import json
import threading
from queue import Queue
from typing import Any

from exporter.simulator.http import Answer, Request
from tests.parts.plain_server import PlainServer


class Receiver(PlainServer):
    """Listens on a port of its own; use it as a context.

    `/STATUS/…` is answered with that status, `/hang/…` not before the context ends.
    """

    def __init__(self) -> None:
        super().__init__()
        self.posts: list[tuple[str, str]] = []
        self.arrived: Queue[str] = Queue()
        """The same bodies, for those who wait for them."""
        self.hanging = threading.Event()
        self._end = threading.Event()
        self.place = f"{self.host}:{self.port}"

    def __exit__(self, *_: object) -> None:
        self._end.set()
        super().__exit__()

    @property
    def messages(self) -> list[tuple[str, str, str]]:
        """The type, title and text of all that came as JSON."""
        bodies: list[dict[str, Any]] = [json.loads(body) for _, body in self.posts]
        return [(each["type"], each["title"], each["message"]) for each in bodies]

    def answer(self, request: Request) -> Answer:
        """Keep what was posted."""
        body = request.body.decode()
        self.posts.append((request.target, body))
        self.arrived.put(body)
        how = request.target.split("/")[1]
        if how == "hang":
            self.hanging.set()
            self._end.wait(60)
        return Answer(int(how) if how.isdigit() else 200)
