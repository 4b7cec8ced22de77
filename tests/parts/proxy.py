"""A reverse proxy that counts what passes, and answers for the server behind it where told."""

import http.client
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from exporter.simulator.http import Answer, Request
from tests.parts.plain_server import PlainServer

LOGIN = "/api/v2/auth/login"


@dataclass(frozen=True)
class Page:
    """What the proxy answers instead of the server."""

    status: int
    body: bytes = b"<html><body>Sign in</body></html>"
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "text/html"})


class CutOff(OSError):
    """Ends the connection without an answer; the server may have got the request."""


class Proxy(PlainServer):
    """Passes requests on to a port of this machine; a context manager."""

    def __init__(
        self,
        target_port: int,
        clock: Callable[[], float] = lambda: 0.0,
        *,
        keep_host: bool = False,
    ) -> None:
        super().__init__()
        self.target_port = target_port
        self.logins: list[float] = []
        """When a login was tried, by the clock."""
        self.after: Callable[[str], Page | None] = lambda path: None
        """Answers once the server has carried out the request; may raise CutOff."""
        self._clock = clock
        self._passed = (*_PASSED, "host") if keep_host else _PASSED

    def count(self, path: str) -> int:
        """How many requests there were for a path."""
        return [target.partition("?")[0] for _, target, _ in self.requests].count(path)

    def answer(self, request: Request) -> Answer:
        """Let the server answer, or the test."""
        if request.path == LOGIN:
            self.logins.append(self._clock())
        page = self._passed_on(request)
        return Answer(page.status, page.body, dict(page.headers))

    def _passed_on(self, request: Request) -> Page:
        connection = http.client.HTTPConnection("127.0.0.1", self.target_port, timeout=10)
        headers = {name: value for name, value in request.headers.items() if name in self._passed}
        try:
            connection.request(request.method, request.target, request.body or None, headers)
            answer = connection.getresponse()
            content = answer.read()
        except OSError:
            return Page(502, b"<html>Bad Gateway</html>")
        finally:
            connection.close()
        passed = {name: v for name, v in answer.getheaders() if name.lower() in _RETURNED}
        return self.after(request.path) or Page(answer.status, content, passed)


_PASSED = ("authorization", "content-type", "cookie", "user-agent")
_RETURNED = ("content-type", "set-cookie")
