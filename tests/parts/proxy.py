"""A reverse proxy that counts what passes, and answers for the server behind it where told."""

import http.client
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

LOGIN = "/api/v2/auth/login"


@dataclass(frozen=True)
class Page:
    """What the proxy answers instead of the server."""

    status: int
    body: bytes = b"<html><body>Sign in</body></html>"
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "text/html"})


class CutOff(Exception):
    """Ends the connection without an answer; the server may have got the request."""


Rule = Callable[[str], Page | None]


class Proxy:
    """Passes requests on to a port of this machine; a context manager."""

    def __init__(
        self,
        target_port: int,
        clock: Callable[[], float] = lambda: 0.0,
        *,
        keep_host: bool = False,
    ) -> None:
        self.target_port = target_port
        self.requests: list[tuple[str, str]] = []
        self.logins: list[float] = []
        """When a login was tried, by the clock."""
        self.before: Rule = lambda path: None
        """Answers instead of the server, which then hears nothing; may raise CutOff."""
        self.after: Rule = lambda path: None
        """The same once the server has carried out the request."""
        self._clock = clock
        self._passed = (*_PASSED, "Host") if keep_host else _PASSED
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def port(self) -> int:
        """Where the proxy listens, on 127.0.0.1."""
        return int(self._server.server_address[1])

    def count(self, path: str) -> int:
        """How many requests there were for a path."""
        return [asked for _, asked in self.requests].count(path)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> Page:
        path = handler.path.partition("?")[0]
        self.requests.append((handler.command, path))
        if path == LOGIN:
            self.logins.append(self._clock())
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        if own := self.before(path):
            return own
        connection = http.client.HTTPConnection("127.0.0.1", self.target_port, timeout=10)
        headers = {name: value for name, value in handler.headers.items() if name in self._passed}
        try:
            connection.request(handler.command, handler.path, body or None, headers)
            answer = connection.getresponse()
            content = answer.read()
        except OSError:
            return Page(502, b"<html>Bad Gateway</html>")
        finally:
            connection.close()
        passed = {name: value for name, value in answer.getheaders() if name in _RETURNED}
        return self.after(path) or Page(answer.status, content, passed)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._pass_on()

            def do_POST(self) -> None:
                self._pass_on()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

            def _pass_on(self) -> None:
                try:
                    page = proxy._answer(self)
                except CutOff:
                    self.close_connection = True
                    return
                self.send_response(page.status)
                for name, value in page.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(page.body)))
                self.end_headers()
                self.wfile.write(page.body)

        return Handler


_PASSED = ("Authorization", "Content-Type", "Cookie", "User-Agent")
_RETURNED = ("Content-Type", "Set-Cookie", "set-cookie", "content-type")
