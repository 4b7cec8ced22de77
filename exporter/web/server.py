"""waitress with the bounds that it leaves open, in background threads.

waitress stops accepting when its connection limit is reached, counts every dripped byte as
activity, queues pipelined requests without limit, and can't close a connection whose client stopped
reading. Here a full house makes room by closing the stalest connection; a request, and the reading
of its answer, must be complete within a time limit; one request at a time is read.
"""

from __future__ import annotations

import logging
import socket
import struct
import threading
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, cast

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher
from waitress.utilities import BadRequest

from exporter.errors import QstickyError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

WORKERS = 4
MAX_CONNECTIONS = 128
MAX_HEADER_BYTES = 16_384
MAX_BODY_BYTES = 4_096
MAX_PENDING_BYTES = 64_000_000
"""All answers together that clients have not read yet."""
EXCHANGE_SECONDS = 30
"""How long a request or the reading of its answer may take, and an idle connection may stay."""
_LISTEN_BACKLOG = 256
_STOP_SECONDS = 2
_ABORT = struct.pack("ii", 1, 0)
"""Linger for 0 seconds: the kernel keeps no unread answer either."""


class ListenFailed(QstickyError):
    """The web server can't listen on WEB_LISTEN_ADDRESS."""

    default_fix = "set WEB_LISTEN_ADDRESS to a free HOST:PORT, or leave it empty for no web server"


class _Parser(HTTPRequestParser):
    """Takes one request at a time, and answers 400 where waitress would raise."""

    path = ""
    """Of a request that made no sense: waitress names it when the client has hung up."""

    def received(self, data: bytes) -> int:
        try:
            consumed = super().received(data)
        except ValueError:  # such as `GET http://[` or a Content-Length of 5,000 digits
            self.error = BadRequest("The request can't be understood")
            self.completed = True
            return len(data)
        if self.completed and not self.empty and consumed < len(data):
            # a pipelined request follows: leave it, so that the client sends it anew
            self.headers = {**self.headers, "CONNECTION": "close"}
            self.connection_close = True
            return len(data)
        return consumed


class _Channel(HTTPChannel):
    """One connection; only whole requests and answers count as activity."""

    parser_class = _Parser
    served = False

    def handle_read(self) -> None:
        before = self.last_activity
        super().handle_read()
        if self.request is not None:
            self.last_activity = before

    def _flush_some(self, do_close: bool = True) -> bool:
        before = self.last_activity
        # The published types leave this method out.
        sent: bool = super()._flush_some(do_close=do_close)  # type: ignore[misc]
        if self.total_outbufs_len:
            self.last_activity = before
        return sent

    def service(self) -> None:
        """Answer one request."""
        super().service()
        self.served = True

    def drop(self) -> None:
        """Close from our side; what the client has not read yet is thrown away."""
        if self.total_outbufs_len and self.socket is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        self.handle_close()


class _Server(TcpWSGIServer):
    channel_class = _Channel

    @property
    def channels(self) -> Collection[_Channel]:
        # The published types call this mapping a channel.
        return cast("dict[int, _Channel]", self.active_channels).values()

    def make_room(self) -> None:
        """Keep within the bounds. To be called between two rounds of the loop only: within one,
        a new connection may get the number of one that was just closed, and its events.
        """
        while len(self.channels) >= MAX_CONNECTIONS and self._drop_stalest(self.channels):
            pass
        while self._pending_bytes() > MAX_PENDING_BYTES and self._drop_stalest(
            [channel for channel in self.channels if channel.total_outbufs_len]
        ):
            pass
        latest = time.time() - EXCHANGE_SECONDS
        for channel in [channel for channel in self.channels if channel.last_activity < latest]:
            if not channel.requests:
                channel.drop()

    def maintenance(self, now: float) -> None:
        """Nothing: `make_room` closes what waitress would only mark."""

    def _pending_bytes(self) -> int:
        return sum(channel.total_outbufs_len for channel in self.channels)

    def _drop_stalest(self, channels: Collection[_Channel]) -> bool:
        """Drop one: first those that never got an answer, then the longest idle."""
        idle = [channel for channel in channels if not channel.requests]
        if idle:
            min(idle, key=lambda channel: (channel.served, channel.last_activity)).drop()
        return bool(idle)


class WebServer:
    """Serves a WSGI application on `host:port`, `:port` (all addresses) or `[host]:port`."""

    def __init__(self, app: WSGIApplication, listen_address: str) -> None:
        """Check the address; raises ListenFailed."""
        self._app = app
        self._listen_address = listen_address
        self._host, self._port = parse_listen_address(listen_address)
        self._stopping = threading.Event()
        self._stop_now: Callable[[], None] | None = None
        self.address = listen_address
        """Where we listen; once started, with the real port where 0 was asked for."""

    def start(self) -> None:
        """Listen and serve in daemon threads; raises ListenFailed."""
        logging.getLogger("waitress").setLevel(logging.ERROR)  # its warnings name no remedy
        listener = _listen(self._host, self._port, self._listen_address)
        self.address = _printable(listener)
        sockets: dict[int, Any] = {}
        dispatcher = ThreadedTaskDispatcher()
        dispatcher.set_thread_count(WORKERS)
        server = _Server(
            self._app,
            sockets,
            _sock=listener,
            dispatcher=dispatcher,
            adj=_adjustments(),
            bind_socket=False,
            sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
        )
        thread = threading.Thread(
            target=self._serve, args=(server, sockets), name="web", daemon=True
        )

        def stop_now() -> None:
            server.pull_trigger()
            thread.join(_STOP_SECONDS)
            dispatcher.shutdown(timeout=_STOP_SECONDS)
            server.close()
            wasyncore.close_all(sockets)

        self._stop_now = stop_now
        thread.start()

    def stop(self) -> None:
        """Close the listening socket and all connections; takes 4 seconds at the most."""
        if self._stop_now is not None and not self._stopping.is_set():
            self._stopping.set()
            self._stop_now()

    def _serve(self, server: _Server, sockets: dict[int, Any]) -> None:
        while not self._stopping.is_set():
            server.make_room()
            wasyncore.loop(timeout=1.0, use_poll=True, map=sockets, count=1)


def parse_listen_address(text: str) -> tuple[str, int]:
    """Host (empty = all addresses) and port (0 = any free one); raises ListenFailed."""
    host, colon, port = text.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not port.isascii() or not port.isdigit() or (":" in host and not bracketed):
        raise ListenFailed(
            f"WEB_LISTEN_ADDRESS {text!r}: expected HOST:PORT, :PORT or [IPV6]:PORT", _FORM_FIX
        )
    if int(port[:6]) > _HIGHEST_TCP_PORT:
        raise ListenFailed(f"WEB_LISTEN_ADDRESS {text!r}: the port is above 65535", _FORM_FIX)
    return host[1:-1] if bracketed else host, int(port)


_HIGHEST_TCP_PORT = 65535
_FORM_FIX = "write it like 0.0.0.0:9809, or leave it empty for no web server"


def try_to_listen(listen_address: str) -> None:
    """Open the socket and close it again; raises ListenFailed."""
    _listen(*parse_listen_address(listen_address), listen_address).close()


def _adjustments() -> Adjustments:
    return Adjustments(
        ident="qSticky",
        threads=WORKERS,
        connection_limit=MAX_CONNECTIONS + 64,  # the last resort: we make room before
        max_request_header_size=MAX_HEADER_BYTES,
        max_request_body_size=MAX_BODY_BYTES,
        outbuf_overflow=MAX_PENDING_BYTES,  # never a temporary file: the disk may be read-only
        backlog=_LISTEN_BACKLOG,
        log_socket_errors=False,
        clear_untrusted_proxy_headers=True,
    )


def _listen(host: str, port: int, shown: str) -> socket.socket:
    """A listening socket; all addresses means IPv6 and IPv4 where the machine has both."""
    try:
        family, address = _resolve(host, port)
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ListenFailed(f"can't listen on {shown}: {_why(error)}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
        listener.listen(_LISTEN_BACKLOG)
    except OSError as error:
        listener.close()
        raise ListenFailed(f"can't listen on {shown}: {_why(error)}") from error
    return listener


def _resolve(host: str, port: int) -> tuple[int, Any]:
    if not host:
        return (
            (socket.AF_INET6, ("::", port))
            if socket.has_dualstack_ipv6()
            else (socket.AF_INET, ("", port))
        )
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    return family, address


def _why(error: OSError) -> str:
    return error.strerror or str(error)


def _printable(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
