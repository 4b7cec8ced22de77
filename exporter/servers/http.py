"""HTTP with the limits that requests leaves open.

Connecting to an address and the whole response each keep to the timeout (requests' own limit starts
again with each byte); resolving the name and trying its further addresses come on top. A request
never reads more than its size limit, never follows a redirect, keeps no cookie, and takes no proxy,
password or certificate from the environment.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, cast
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3 import HTTPHeaderDict
from urllib3.response import BaseHTTPResponse

from exporter.config.load import Server
from exporter.errors import HttpError, InvalidResponse, Unauthorized
from exporter.servers.connection import DirectConnection, ProxiedConnection
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
    """One server, and one connection to it, kept open where no proxy is on the way."""

    def __init__(
        self, name: str, server: Server, timeout_seconds: float, *, proxy: str = ""
    ) -> None:
        """`proxy` is the URL of an HTTP proxy on the way to the server; empty: none."""
        self.name = name
        self.server = server
        self.timeout_seconds = timeout_seconds
        self.where = f"{name} at {server.place}"
        """The server in words for messages, such as `Gluetun at gluetun:8000`."""
        self._connection = (
            ProxiedConnection(proxy, timeout_seconds, server.verify)
            if proxy
            else DirectConnection(timeout_seconds, server.verify)
        )
        self._headers: dict[str, str | bytes] = {
            "User-Agent": "qsticky",
            "Accept-Encoding": "identity",
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
        self._connection.close()

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
            with self._connection.exchange(request) as answer:
                body = self._read(answer, limit)
                return Response(answer.status, answer.headers, body, self.where)
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
