"""One connection to one server: directly and kept open, or by way of a proxy.

Facts: urllib3 2.2 to 2.8 and requests 2.32 to 2.34, from their source.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from socket import socket
from typing import Any, Literal, cast

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import BaseHTTPResponse

from exporter.servers.http_library import requests


class DirectConnection:
    """Sends what requests prepared on a connection of urllib3's, which requests stands on.

    A pool between the two, which looks for proxies and free connections and prepares to try again,
    would take about a fifth of the time of an exchange. For one thread at a time.
    """

    def __init__(self, timeout_seconds: float, verify: bool | str) -> None:
        """`verify` is whether to verify the server's certificate, or the authorities for that."""
        self._timeout = timeout_seconds
        self._verify = verify
        self._connection: HTTPConnection | None = None

    def __del__(self) -> None:
        self.close()  # as urllib3's pool does where nobody closed it

    @contextmanager
    def exchange(self, request: requests.PreparedRequest) -> Iterator[BaseHTTPResponse]:
        """Send, and hand out the response with its body to be read to the end in the block.

        Raises what urllib3, http.client and the operating system raise.
        """
        try:
            connection = self._connected(request)
            # a server may answer, and close before it has read all
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(
                    request.method or "",
                    request.path_url,
                    request.body,
                    request.headers,
                    preload_content=False,
                    decode_content=False,
                )
            yield connection.getresponse()
        except BaseException:
            self.close()  # nobody knows what would come next on it
            raise

    def _connected(self, request: requests.PreparedRequest) -> HTTPConnection:
        """Return the open connection, or another where it was closed or has unexpected bytes."""
        if self._connection is None or not self._connection.is_connected:
            self.close()
            self._connection = self._made_for(request)
            self._connection.connect()
        return self._connection

    def _made_for(self, request: requests.PreparedRequest) -> HTTPConnection:
        url = urllib3.util.parse_url(cast("str", request.url))
        host = (url.host or "").strip("[]")
        if url.scheme == "http":
            return _HTTPConnection(host, url.port, timeout=self._timeout)
        authorities = self._verify
        if authorities is True:
            authorities = requests.utils.DEFAULT_CA_BUNDLE_PATH
        return _HTTPSConnection(
            host,
            url.port,
            timeout=self._timeout,
            cert_reqs=ssl.CERT_REQUIRED if authorities else ssl.CERT_NONE,
            ca_certs=authorities or None,
        )

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class ProxiedConnection(requests.adapters.HTTPAdapter):
    """Sends by way of a proxy, which is what requests' adapter knows how to do, and closes."""

    def __init__(self, proxy: str, timeout_seconds: float, verify: bool | str) -> None:
        """`proxy` is its URL; the rest is as for a direct one."""
        super().__init__()
        self._proxies = {"http": proxy, "https": proxy}
        self._timeout = urllib3.Timeout(connect=timeout_seconds, read=timeout_seconds)
        self._verify = verify

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Return the pool, with connections that keep to a deadline."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = _CONNECTIONS[pool.scheme]
        return pool

    @contextmanager
    def exchange(self, request: requests.PreparedRequest) -> Iterator[BaseHTTPResponse]:
        """Send, as a direct connection does."""
        # past requests' session, which would look for other proxies, redirects and cookies
        answer: Any = self.send(
            request,
            timeout=self._timeout,  # type: ignore[arg-type]  # published types leave Timeout out
            verify=self._verify,
            proxies=self._proxies,
        )
        with contextlib.closing(answer.raw) as raw:
            yield raw


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
