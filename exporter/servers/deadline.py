"""HTTP exchanges that keep to a time limit: requests' own starts anew with each byte."""

from __future__ import annotations

import http.client
import io
import time
from socket import socket
from typing import Any, cast

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import BaseHTTPResponse

from exporter.servers.http_library import requests


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


class DeadlineAdapter(requests.adapters.HTTPAdapter):
    """requests' adapter, one connection a server, without retries of its own."""

    def __init__(self) -> None:
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of our own kind."""
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
