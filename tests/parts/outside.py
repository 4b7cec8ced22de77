"""A service that says whether it gets in on a port, and a proxy on the way to it."""

import ssl
from collections.abc import Callable

from exporter.simulator.http import Answer, Request
from tests.parts.plain_server import PlainServer


class Outside(PlainServer):
    """Replies to each request alike until told otherwise; use it as a context.

    As a proxy it replies for whichever server is asked for through it, and refuses tunnels.
    """

    def __init__(self, reply: str = "1", context: ssl.SSLContext | None = None) -> None:
        super().__init__(context=context)
        self.status = 200
        self.reply: Callable[[str], str] = lambda target: reply
        """What it says to a target, such as `/45720`."""

    def says(self, reply: str, status: int = 200) -> None:
        """Reply so from now on."""
        self.status, self.reply = status, lambda target: reply

    @property
    def asked(self) -> list[str]:
        """The targets that were asked for: with a scheme and a host as a proxy."""
        return [target for _, target, _ in self.requests]

    def answer(self, request: Request) -> Answer:
        """Say what the test wants."""
        if request.method == "CONNECT":
            return Answer(501)
        return Answer(self.status, self.reply(request.target).encode())
