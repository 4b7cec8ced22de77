"""HTTP with the limits that requests leaves open.

Connecting to an address and the whole response each keep to the timeout (requests' own limit starts
again with each byte); resolving the name and trying its further addresses come on top. A request
never reads more than its size limit, never follows a redirect, keeps no cookie, and takes no proxy,
password or certificate from the environment.
"""

from __future__ import annotations

import http.client
import io
import json
import re
import time
from collections.abc import Mapping
from socket import socket
from typing import Any, Literal, NamedTuple, cast
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3 import HTTPHeaderDict
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import BaseHTTPResponse

from exporter.config.load import Server
from exporter.errors import HttpError, InvalidResponse, Unauthorized
from exporter.servers.http_errors import ConnectionClosed, from_exception
from exporter.servers.http_library import requests

LARGEST_BODY_BYTES = 1_000_000
_CHUNK_BYTES = 65_536
_HEADER = re.compile(rb"[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?")
_MOVED = (301, 302, 303, 307, 308)
_MOST_PREPARED = 16
"""A tunnel asks for less than ten things; each new position in a log makes one more."""


class Response(NamedTuple):
    """A whole response, read within the limits."""

    status: int
    headers: HTTPHeaderDict
    body: bytes
    where: str
    """Who answered, in words for messages."""

    def json(self) -> Any:
        """Parse the body; raises InvalidResponse where it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise InvalidResponse(f"{self.where} answered {self.describe_body()}") from None

    def json_object(self) -> dict[str, Any]:
        """Parse the body as `json` does; what is no object counts as an empty one."""
        document = self.json()
        return document if isinstance(document, dict) else {}

    def describe_body(self) -> str:
        """Say what kind of body this is without showing it."""
        start = self.body[:200].lstrip().lower()
        if not start:
            return "with an empty body"
        if start.startswith(b"<"):
            return "with an HTML page; is that a proxy's login page?"
        return "with something that is not JSON"


class Transport:
    """One server, and one connection to it that is kept open."""

    def __init__(
        self, name: str, server: Server, timeout_seconds: float, *, proxy: str = ""
    ) -> None:
        """`proxy` is the URL of an HTTP proxy on the way to the server; empty: none."""
        self.name = name
        self.server = server
        self.timeout_seconds = timeout_seconds
        self.where = f"{name} at {server.place}"
        """The server in words for messages, such as `Gluetun at gluetun:8000`."""
        if server.https and not server.verify:
            # the user has chosen so; Python's warning would be a stray line in the log
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        self._adapter = _DeadlineAdapter(proxy)
        self._timeout = urllib3.Timeout(connect=timeout_seconds, read=timeout_seconds)
        self._headers: dict[str, str | bytes] = {
            "User-Agent": "qsticky",
            "Accept-Encoding": "gzip, deflate",
        }
        self._prepared: dict[str, requests.PreparedRequest] = {}

    def set_header(self, name: str, value: str | bytes | None) -> None:
        """Send this with each request from now on; None = no longer.

        Raises Unauthorized for what no header can hold: requests would show it in its own error.
        """
        if self._headers.get(name) == value:
            return
        raw = value.encode() if isinstance(value, str) else value
        if raw is not None and not _HEADER.fullmatch(raw):
            raise Unauthorized(
                f"{self.where} was not asked: the API key has leading or trailing whitespace or a "
                "line break",
                "write the key alone, on one line",
            )
        self._prepared.clear()
        if value is None:
            del self._headers[name]
        else:
            self._headers[name] = value

    def get(
        self, path: str, *, params: Mapping[str, str] | None = None, limit: int = LARGEST_BODY_BYTES
    ) -> Response:
        """GET; asks once more where the server closed the connection that was kept open."""
        request = self._get_request(f"{path}?{urlencode(params)}" if params else path)
        try:
            return self._send(request, limit)
        except ConnectionClosed:
            return self._send(request, limit)

    def post(self, path: str, form: Mapping[str, str]) -> Response:
        """POST a form, once: the server may have acted on it even where no response comes."""
        return self._send(self._prepare("POST", path, form), LARGEST_BODY_BYTES)

    def put(self, path: str, document: Mapping[str, str]) -> Response:
        """PUT JSON, once."""
        return self._send(self._prepare("PUT", path, json.dumps(document)), LARGEST_BODY_BYTES)

    def unexpected_status(self, response: Response) -> HttpError:
        """Return the error for a status that has no meaning for us."""
        message = f"{self.where} answered with status {response.status}"
        return HttpError(message, response.status, self._redirect_fix(response))

    def _redirect_fix(self, response: Response) -> str | None:
        """Say what to set where the server wants HTTPS; another host may be anybody's."""
        try:
            to = urlsplit(response.headers.get("Location", ""))
            port = to.port or 443
        except ValueError:
            return None
        is_own = to.hostname == self.server.host.strip("[]").lower()
        if to.scheme != "https" or self.server.https or not is_own or response.status not in _MOVED:
            return None
        address = self.server._replace(port=port, https=True).url
        return f"it redirects to HTTPS: set {self.name.upper()}_HOST={address}"

    def close(self) -> None:
        """Close the connection that is kept open."""
        self._adapter.close()

    def _get_request(self, target: str) -> requests.PreparedRequest:
        """Return the request as prepared before: that costs more than the exchange."""
        if len(self._prepared) == _MOST_PREPARED:
            self._prepared.clear()
        if target not in self._prepared:
            self._prepared[target] = self._prepare("GET", target, None)
        return self._prepared[target]

    def _prepare(
        self, method: str, target: str, body: Mapping[str, str] | str | None
    ) -> requests.PreparedRequest:
        headers = cast("dict[str, str]", self._headers)  # the published types leave bytes out
        made = requests.Request(method, self.server.url + target, headers, data=body)
        prepared = made.prepare()
        # urllib3 copies them each time, and a plain dict faster than requests' own
        prepared.headers = dict(prepared.headers)  # type: ignore[assignment]
        return prepared

    def _send(self, request: requests.PreparedRequest, limit: int) -> Response:
        try:
            # past requests' session, which would look for proxies, redirects, cookies and hooks
            answer = self._adapter.exchange(request, self._timeout, self.server.verify)
            try:
                body = self._read(answer, limit)
                return Response(answer.status, answer.headers, body, self.where)
            finally:
                answer.close()
                answer.release_conn()
        except _FOREIGN_ERRORS as error:
            raise from_exception(error, self.where, self.timeout_seconds) from error

    def _read(self, answer: BaseHTTPResponse, limit: int) -> bytes:
        announced = answer.length_remaining
        if (
            announced is not None
            and announced <= limit
            and "Content-Encoding" not in answer.headers
        ):
            return answer.read()
        body = bytearray()
        while chunk := answer.read(_CHUNK_BYTES, decode_content=True):
            body += chunk
            if len(body) > limit:
                raise InvalidResponse(f"{self.where} answered with more than {limit} bytes")
        return bytes(body)


# ValueError: http.client reads a chunk's size of -5 as a number
_FOREIGN_ERRORS = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
)


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket until a fixed time, however slowly the bytes drip."""

    def __init__(self, sock: socket, raw: io.RawIOBase) -> None:
        self._sock, self._raw = sock, raw
        timeout = sock.gettimeout()
        self._deadline = None if timeout is None else time.monotonic() + timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the response took too long")
            self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _DeadlineSocket:
    """What a response reads from: the socket, until a fixed time."""

    def __init__(self, sock: socket) -> None:
        self._sock = sock

    def makefile(self, mode: Literal["rb"]) -> io.BufferedReader:
        return io.BufferedReader(_DeadlineReader(self._sock, self._sock.makefile(mode, 0)))


class _DeadlineResponse(http.client.HTTPResponse):
    """A response whose head and body together keep to the read timeout."""

    def __init__(self, sock: socket, *args: Any, **kwargs: Any) -> None:
        # it asks for nothing but a file
        super().__init__(cast("socket", _DeadlineSocket(sock)), *args, **kwargs)


class _HTTPConnection(HTTPConnection):
    response_class = _DeadlineResponse


class _HTTPSConnection(HTTPSConnection):
    response_class = _DeadlineResponse


_CONNECTIONS = {"http": _HTTPConnection, "https": _HTTPSConnection}


class _DeadlineAdapter(requests.adapters.HTTPAdapter):
    """requests' adapter, one connection to one server, without retries of its own."""

    def __init__(self, proxy: str) -> None:
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)
        self._proxies = {"http": proxy, "https": proxy} if proxy else {}
        self._pool: Any = None

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Return the one pool: its server and how that is verified stay the same."""
        if self._pool is None:
            self._pool = super().get_connection_with_tls_context(*args, **kwargs)
            self._pool.ConnectionCls = _CONNECTIONS[self._pool.scheme]
        return self._pool

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        """Return the path, or the whole URL where a proxy needs it."""
        return super().request_url(request, proxies) if proxies else request.path_url

    def exchange(
        self, request: requests.PreparedRequest, timeout: urllib3.Timeout, verify: bool | str
    ) -> BaseHTTPResponse:
        """Send, and hand out urllib3's response with its body still to be read."""
        answer: Any = self.send(
            request,
            stream=True,
            timeout=timeout,  # type: ignore[arg-type]  # the published types leave Timeout out
            verify=verify,
            proxies=self._proxies,
        )
        return cast("BaseHTTPResponse", answer)

    def build_response(self, _: requests.PreparedRequest, answer: BaseHTTPResponse) -> Any:
        """Pass urllib3's response on: nobody reads what requests would make of it."""
        return answer

    def close(self) -> None:
        """Close the connection."""
        self._pool = None
        super().close()
