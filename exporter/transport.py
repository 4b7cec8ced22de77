"""HTTP with the limits that requests leaves open, and its errors turned into ours.

A request never takes longer than its timeout (requests' own limit starts anew with each byte),
never reads more than its size limit, never follows a redirect, and takes no proxy, password or
certificate from the environment.
"""

from __future__ import annotations

import http.client
import io
import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from socket import socket
from typing import Any, cast
from urllib.parse import urlencode

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import BaseHTTPResponse

from exporter.config import Server
from exporter.errors import InvalidResponse, ServerError, TimedOut, TlsFailed, Unreachable
from exporter.http_library import requests

LARGEST_BODY_BYTES = 1_000_000
_CHUNK_BYTES = 65_536
_ENCODING = "Content-Encoding"
_MOST_PREPARED = 16
"""A tunnel asks for less than ten things; each new position in a log makes one more."""

Chain = list[BaseException]


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer, read within the limits."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self, what: str) -> Any:
        """Parse the body; InvalidResponse, naming `what` was asked, where it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise InvalidResponse(f"{what} answered {self.describe_body()}") from None

    def describe_body(self) -> str:
        """Say what kind of body this is without showing it."""
        start = self.body[:200].lstrip().lower()
        if not start:
            return "with an empty body"
        if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<")):
            return "with an HTML page; is that a proxy's login page?"
        return "with something that is not JSON"


class Transport:
    """One server, and one connection to it that is kept open."""

    def __init__(self, name: str, server: Server, timeout_seconds: float) -> None:
        self.name = name
        self.server = server
        self.timeout_seconds = timeout_seconds
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.cookies = self.cookies = _Cookies()
        self._session.headers["User-Agent"] = "qsticky"
        if server.https and not server.verify:
            # the user has chosen so; a warning of Python's would say it in the log, unformatted
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        self._adapter = _DeadlineAdapter()
        self._session.mount("http://", self._adapter)
        self._session.mount("https://", self._adapter)
        self._timeout = urllib3.Timeout(connect=timeout_seconds, read=timeout_seconds)
        self._prepared: dict[str, requests.PreparedRequest] = {}
        self._prepared_at = 0

    @property
    def where(self) -> str:
        """The server in words for messages, such as `Gluetun at gluetun:8000`."""
        return f"{self.name} at {self.server.address}"

    def set_header(self, name: str, value: str | bytes | None) -> None:
        """Send this with each request from now on; None = no longer."""
        headers = self._session.headers
        if headers.get(name) == value:
            return
        self._prepared.clear()
        if value is None:
            del headers[name]
        else:
            headers[name] = value

    def get(
        self, path: str, *, params: Mapping[str, str] | None = None, limit: int = LARGEST_BODY_BYTES
    ) -> Response:
        """GET; asks once more where the server closed the connection that was kept open."""
        try:
            return self._send("GET", path, params=params, limit=limit)
        except _ConnectionClosed:
            return self._send("GET", path, params=params, limit=limit)

    def post(self, path: str, form: Mapping[str, str]) -> Response:
        """POST a form, once: the server may have acted on it even where no answer comes."""
        return self._send("POST", path, body=form)

    def put(self, path: str, document: Mapping[str, str]) -> Response:
        """PUT JSON, once."""
        return self._send("PUT", path, body=json.dumps(document))

    def close(self) -> None:
        """Close the connection that is kept open."""
        self._session.close()

    def _send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, str] | str | None = None,
        limit: int = LARGEST_BODY_BYTES,
    ) -> Response:
        try:
            request = self._request(method, path, params, body)
            # past the session, which would look for proxies, redirects and hooks of no use to us
            answer = self._adapter.exchange(request, self._timeout, self.server.verify)
            try:
                if "Set-Cookie" in answer.headers:
                    self._keep_cookies(request, answer)
                return Response(answer.status, answer.headers, self._read(answer, limit))
            finally:
                answer.close()
                answer.release_conn()
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise translate(error, self.where, self.timeout_seconds) from error

    def _request(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: Mapping[str, str] | str | None,
    ) -> requests.PreparedRequest:
        """Make the request, or take the one made before: that costs more than the exchange."""
        target = f"{path}?{urlencode(params)}" if params else path
        if method != "GET":
            return self._prepare(method, target, body)
        if self._prepared_at != self.cookies.changes or len(self._prepared) == _MOST_PREPARED:
            self._prepared_at = self.cookies.changes
            self._prepared.clear()
        prepared = self._prepared.get(target)
        if prepared is None:
            prepared = self._prepared[target] = self._prepare(method, target, body)
        return prepared

    def _prepare(
        self, method: str, target: str, body: Mapping[str, str] | str | None
    ) -> requests.PreparedRequest:
        made = requests.Request(method, self.server.url + target, data=body)
        prepared = self._session.prepare_request(made)
        # urllib3 copies them each time, and a plain dict faster than requests' own
        prepared.headers = dict(prepared.headers)  # type: ignore[assignment]
        return prepared

    def _keep_cookies(self, request: requests.PreparedRequest, answer: BaseHTTPResponse) -> None:
        extract: Any = requests.cookies.extract_cookies_to_jar
        extract(self.cookies, request, answer)

    def _read(self, answer: BaseHTTPResponse, limit: int) -> bytes:
        announced = answer.length_remaining
        if announced is not None and announced <= limit and not answer.headers.get(_ENCODING):
            return answer.read()
        body = bytearray()
        while chunk := answer.read(_CHUNK_BYTES, decode_content=True):
            body += chunk
            if len(body) > limit:
                raise InvalidResponse(f"{self.where} answered with more than {limit} bytes")
        return bytes(body)


class _Cookies(requests.cookies.RequestsCookieJar):
    """Cookies that count their changes."""

    changes = 0

    def set_cookie(self, *args: Any, **kwargs: Any) -> Any:
        """Keep a cookie, or another value of one."""
        self.changes += 1
        return super().set_cookie(*args, **kwargs)

    def clear(self, *args: Any, **kwargs: Any) -> None:
        """Drop all cookies, or one."""
        self.changes += 1
        super().clear(*args, **kwargs)


class _ConnectionClosed(Unreachable):
    """The server closed the connection instead of answering."""


def translate(error: Exception, where: str, timeout_seconds: float) -> ServerError:
    """Turn an error of requests, urllib3 or the operating system into one of ours."""
    chain = _chain(error)
    for kinds, make in _TRANSLATIONS:
        if any(isinstance(link, kinds) for link in chain):
            return make(where, timeout_seconds, chain)
    return Unreachable(f"{where} can't be reached")


def _unknown_name(where: str, _: float, __: Chain) -> ServerError:
    host = where.rpartition(" at ")[2].rpartition(":")[0]
    return Unreachable(
        f"{where} can't be reached: the name {host!r} is not known here",
        "check the host setting; containers know each other's names in a common network only",
    )


_CERTIFICATE_FIXES = {
    9: "check the clocks of both machines, and from when on the certificate is valid",
    10: "renew the certificate, or switch …_VERIFY_SSL off",
    62: "put the name that the certificate was made for into …_HOST",
    64: "put the name that the certificate was made for into …_HOST",
}
"""By OpenSSL's X509_V_ERR_…: not yet valid, expired, another host's, another address'."""


def _tls_failed(where: str, _: float, chain: Chain) -> ServerError:
    verify_errors = [e for e in chain if isinstance(e, ssl.SSLCertVerificationError)]
    if verify_errors:
        why = verify_errors[0].verify_message.rstrip(".")
        fix = _CERTIFICATE_FIXES.get(verify_errors[0].verify_code)
        return TlsFailed(f"{where} has no certificate that we trust: {why}", fix)
    return TlsFailed(
        f"the TLS handshake with {where} failed",
        "check that it speaks HTTPS on that port, or switch …_HTTPS off",
    )


def _timed_out(where: str, limit: float, _: Chain) -> ServerError:
    return TimedOut(f"{where} did not answer within {limit:g} s")


def _system_error(where: str, _: float, chain: Chain) -> ServerError:
    reasons = [e.strerror for e in chain if isinstance(e, OSError) and e.strerror]
    return Unreachable(f"{where} can't be reached: {reasons[0] if reasons else 'network error'}")


_TRANSLATIONS: tuple[
    tuple[tuple[type[BaseException], ...], Callable[[str, float, Chain], ServerError]], ...
] = (
    ((urllib3.exceptions.NameResolutionError,), _unknown_name),
    ((ssl.SSLError, requests.exceptions.SSLError, urllib3.exceptions.SSLError), _tls_failed),
    (
        (ConnectionRefusedError,),
        lambda where, *_: Unreachable(f"{where} refuses the connection; does it run there?"),
    ),
    ((TimeoutError,), _timed_out),
    # before its base class, which is a time-out by name only
    ((urllib3.exceptions.NewConnectionError,), _system_error),
    ((requests.Timeout, urllib3.exceptions.TimeoutError), _timed_out),
    (
        (urllib3.exceptions.DecodeError, requests.exceptions.ContentDecodingError),
        lambda where, *_: InvalidResponse(f"{where} answered with a body that can't be unpacked"),
    ),
    (
        (urllib3.exceptions.IncompleteRead, http.client.IncompleteRead),
        lambda where, *_: InvalidResponse(f"{where} broke off in the middle of an answer"),
    ),
    (
        (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError),
        lambda where, *_: _ConnectionClosed(f"{where} closed the connection without an answer"),
    ),
    (
        (http.client.HTTPException, urllib3.exceptions.ProtocolError),
        lambda where, *_: InvalidResponse(f"{where} does not speak HTTP as it should"),
    ),
    ((OSError,), _system_error),
)


def _chain(error: BaseException) -> Chain:
    """The error and all that it was caused by; urllib3 hides causes in `reason` and `args`.

    It ends at our own errors: what they stand for was translated before.
    """
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting and len(found) < 32:
        link = waiting.pop()
        if isinstance(link, ServerError) or link in found:
            continue
        if isinstance(link, BaseException):
            found.append(link)
            waiting += [link.__cause__, link.__context__, getattr(link, "reason", None), *link.args]
    return found


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket until a fixed time, however slowly the bytes drip."""

    def __init__(self, sock: socket, raw: io.RawIOBase) -> None:
        self._sock = sock
        self._raw = raw
        timeout = sock.gettimeout()
        self._deadline = None if timeout is None else time.monotonic() + timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the answer took too long")
            self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _DeadlineResponse(http.client.HTTPResponse):
    """A response whose head and body together keep to the read timeout."""

    def __init__(self, sock: socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_DeadlineReader(sock, self.fp.detach()))


class _DeadlineHTTPConnection(HTTPConnection):
    response_class = _DeadlineResponse


class _DeadlineHTTPSConnection(HTTPSConnection):
    response_class = _DeadlineResponse


class _DeadlineHTTPPool(HTTPConnectionPool):
    ConnectionCls = _DeadlineHTTPConnection


class _DeadlineHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _DeadlineHTTPSConnection


class _DeadlineAdapter(requests.adapters.HTTPAdapter):
    """requests' adapter, one connection a server, without retries of its own."""

    def __init__(self) -> None:
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {
            "http": _DeadlineHTTPPool,
            "https": _DeadlineHTTPSPool,
        }
        self._pool: Any = None

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """The one pool: its server and how that is verified stay the same."""
        if self._pool is None:
            self._pool = super().get_connection_with_tls_context(*args, **kwargs)
        return self._pool

    def request_url(self, request: requests.PreparedRequest, proxies: object) -> str:
        """The path: there is no proxy, which would need the whole URL."""
        return request.path_url

    def exchange(
        self, request: requests.PreparedRequest, timeout: urllib3.Timeout, verify: bool | str
    ) -> BaseHTTPResponse:
        """Send, and hand out urllib3's answer with its body still to be read."""
        answer: Any = self.send(request, stream=True, timeout=timeout, verify=verify)  # type: ignore[arg-type]  # the published types leave Timeout out
        return cast("BaseHTTPResponse", answer)

    def build_response(self, _: requests.PreparedRequest, answer: BaseHTTPResponse) -> Any:
        """Nothing: requests would make a Response with cookies and history, which nobody reads."""
        return answer

    def close(self) -> None:
        """Close the connection."""
        self._pool = None
        super().close()
