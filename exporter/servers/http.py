"""HTTP with the limits that requests leaves open, and its errors turned into ours.

Connecting to an address and the whole answer each keep to the timeout (requests' own limit starts
anew with each byte); looking up the name and trying its further addresses come on top. A request
never reads more than its size limit, never follows a redirect, and takes no proxy, password or
certificate from the environment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import urllib3
from urllib3.response import BaseHTTPResponse

from exporter.config.load import Server
from exporter.errors import InvalidResponse, Unauthorized
from exporter.servers.deadline import DeadlineAdapter
from exporter.servers.http_errors import ConnectionClosed, translate
from exporter.servers.http_library import requests

LARGEST_BODY_BYTES = 1_000_000
_CHUNK_BYTES = 65_536
_ENCODING = "Content-Encoding"
_HEADER = re.compile(rb"[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?")
_MOST_PREPARED = 16
"""A tunnel asks for less than ten things; each new position in a log makes one more."""


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
        self._adapter = DeadlineAdapter()
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
        """Send this with each request from now on; None = no longer.

        Raises Unauthorized for what no header can hold: requests would show it in its own error.
        """
        headers = self._session.headers
        if headers.get(name) == value:
            return
        raw = value.encode() if isinstance(value, str) else value
        if raw is not None and not _HEADER.fullmatch(raw):
            raise Unauthorized(
                f"{self.where} can't be sent the key: it begins or ends with a blank, or has a "
                "line break",
                "write the key alone, on one line",
            )
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
        except ConnectionClosed:
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
