"""Serves a WSGI application with waitress, in background threads, by its public settings alone."""

from __future__ import annotations

import contextlib
import logging
import resource
import socket
import threading
from typing import TYPE_CHECKING, Any

from waitress.server import create_server

from exporter.errors import QstickyError
from exporter.web.listener import Listener

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

WORKERS = 4
MOST_CONNECTIONS = 1_000
SILENT_SECONDS = 30
"""How long a connection may say nothing, and a client may take in nothing of its answer."""
CLEANUP_SECONDS = 5
_ROOM_TO_CLOSE = 2
_OWN_SOCKETS = 2
_LISTEN_BACKLOG = 256
_MOST_UNREAD_BYTES = 64_000_000
_STOP_SECONDS = 2
_HIGHEST_TCP_PORT = 65535
_FORM_FIX = "write it like 0.0.0.0:9809, or leave it empty for no web server"


class ListenFailed(QstickyError):
    """The web server can't listen on WEB_LISTEN_ADDRESS."""

    default_fix = "set WEB_LISTEN_ADDRESS to a free HOST:PORT, or leave it empty for no web server"


class WebServer:
    """Serves a WSGI application on `host:port`, `:port` (all addresses) or `[host]:port`."""

    def __init__(self, app: WSGIApplication, listen_address: str) -> None:
        """Check the address; raises ListenFailed."""
        self._app = app
        self._listen_address = listen_address
        self._host, self._port = parse_listen_address(listen_address)
        self._sockets: dict[int, Any] = {}
        self._server: Any = None
        self.address = listen_address
        """Where we listen; once started, with the real port where 0 was asked for."""

    def start(self) -> None:
        """Listen and serve in daemon threads; raises ListenFailed."""
        # all that it reports is what clients did wrong; the application logs its own faults
        logging.getLogger("waitress").setLevel(logging.CRITICAL)
        listener = _listen(self._host, self._port, self._listen_address)
        self.address = _printable(listener)
        self._server = create_server(self._app, self._sockets, sockets=[listener], **_settings())
        self._thread = threading.Thread(target=self._server.run, name="web", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the listening socket and all connections; takes 4 seconds at the most."""
        server, self._server = self._server, None
        if server is None:
            return
        server.task_dispatcher.shutdown(timeout=_STOP_SECONDS)
        # an OSError: it was awake, and has closed the trigger before we could pull it
        with contextlib.suppress(OSError):
            server.trigger.pull_trigger(self._close_all)
        self._thread.join(_STOP_SECONDS)

    def _close_all(self) -> None:
        """Close every socket, in the thread that serves them: that ends it."""
        for each in list(self._sockets.values()):
            each.close()


def parse_listen_address(text: str) -> tuple[str, int]:
    """Return the host (empty = all addresses) and the port (0 = any free one).

    Raises ListenFailed.
    """
    host, colon, port = text.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not port.isascii() or not port.isdigit() or (":" in host and not bracketed):
        raise ListenFailed(
            f"WEB_LISTEN_ADDRESS {text!r}: expected HOST:PORT, :PORT or [IPV6]:PORT", _FORM_FIX
        )
    if int(port[:6]) > _HIGHEST_TCP_PORT:
        raise ListenFailed(f"WEB_LISTEN_ADDRESS {text!r}: the port is above 65535", _FORM_FIX)
    return host[1:-1] if bracketed else host, int(port)


def try_to_listen(listen_address: str) -> None:
    """Open the socket and close it again; raises ListenFailed."""
    _listen(*parse_listen_address(listen_address), listen_address).close()


def _settings() -> dict[str, Any]:
    return {
        "ident": "qSticky",
        "threads": WORKERS,
        # the listener makes room before; those that it ends are closed when waitress sees it
        "connection_limit": _ROOM_TO_CLOSE * _connection_limit() + _OWN_SOCKETS,
        "channel_timeout": SILENT_SECONDS,
        "cleanup_interval": CLEANUP_SECONDS,
        # it wakes by itself when there is anything to do
        "asyncore_loop_timeout": CLEANUP_SECONDS,
        "asyncore_use_poll": True,  # select() knows no file above number 1,023
        "backlog": _LISTEN_BACKLOG,
        "log_socket_errors": False,
        "max_request_header_size": 16_384,
        "max_request_body_size": 4_096,
        # one read holds few pipelined requests, each of which may cost a scrape
        "recv_bytes": 256,
        # an answer goes to no temporary file (the disk may be read-only), and no worker waits
        # for a slow reader
        "outbuf_overflow": _MOST_UNREAD_BYTES,
        "outbuf_high_watermark": _MOST_UNREAD_BYTES,
    }


def _connection_limit() -> int:
    """Leave half of the files that may be open to the tunnels."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    fewer = soft // (2 * _ROOM_TO_CLOSE)
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MOST_CONNECTIONS, fewer)


def _listen(host: str, port: int, shown: str) -> socket.socket:
    """Return a listening socket; all addresses means IPv6 and IPv4 where the machine has both."""
    listener = None
    try:
        family, address = _resolve(host, port)
        listener = Listener(family, _connection_limit(), SILENT_SECONDS)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
        listener.listen(_LISTEN_BACKLOG)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise ListenFailed(f"can't listen on {shown}: {error.strerror or error}") from error
    return listener


def _resolve(host: str, port: int) -> tuple[int, Any]:
    if not host and socket.has_dualstack_ipv6():
        return socket.AF_INET6, ("::", port)
    if not host:
        return socket.AF_INET, ("", port)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    return family, address


def _printable(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
