"""qBittorrent's Web UI API: log in, read and set the listening port, prove that it is bound.

Facts: qBittorrent 4.2.5, 4.5.2, 5.1.0 and 5.3.0 as measured, others from their source.
"""

from __future__ import annotations

import functools
import json
import math
import re
from typing import Any, NamedTuple

from exporter.config.load import QbittorrentConfig
from exporter.errors import InvalidResponse, VerifyMismatch
from exporter.model import HIGHEST_PORT, NO_PORT, BindResult, ConnectionStatus, Operation
from exporter.servers.bind_log import BindLog, LogEntry
from exporter.servers.http import Response
from exporter.servers.logins import Logins
from exporter.servers.operations import Operations
from exporter.servers.session import Request, SaveLogins, Session

_LARGEST_LOG_BYTES = 8_000_000  # qBittorrent keeps up to 20,000 entries
_LARGEST_NUMBER = 2**63
_LARGEST_SETTING = 2**31


class Listening(NamedTuple):
    """The listening port as stored; that says nothing about a socket."""

    port: int
    random_port: bool
    """Whether qBittorrent picks a port of its own at each start (up to 4.3 beside `port`)."""
    on_one_interface: bool = False
    """Whether it is told to listen on one network interface, and not on all."""
    on_loopback_alone: bool = False
    """Whether it is told to listen where only its own machine reaches it."""
    upnp: bool = False
    """Whether it asks for a port of its own by UPnP and NAT-PMP."""


class Version(NamedTuple):
    """Versions as qBittorrent reports them, and libtorrent's as numbers."""

    app: str
    webapi: str
    libtorrent: tuple[int, ...]

    @property
    def reopens_sockets(self) -> bool:
        """Whether one network interface that vanished and came back is listened on again.

        libtorrent 2.0.8 does not, 1.2.9, 2.0.11 and 2.0.14 do (measured); what was not measured
        counts as one that does not. On all interfaces none of them does reliably: they look when
        an address appears, which Gluetun gives to an interface before it is up.
        """
        return self.libtorrent >= (2, 0, 11) or self.libtorrent[:3] == (1, 2, 9)


class Qbittorrent:
    """Client of one qBittorrent; it logs in by itself, where that can't lead to a ban."""

    def __init__(
        self,
        config: QbittorrentConfig,
        timeout_seconds: float,
        logins: Logins,
        save_logins: SaveLogins = lambda logins: None,
    ) -> None:
        """`save_logins` is called before each login is tried, in the thread of the check."""
        self.session = Session(config, timeout_seconds, logins, save_logins)
        self.where = self.session.where
        self._session_number = 0
        self._last_entry: LogEntry | None = None
        self._bind_log = BindLog()
        self._version: Version | None = None
        self.opened_at = -math.inf
        """When the log last showed for the first time that a socket was opened, or began anew."""
        self.tried_at = -math.inf
        """When it last showed for the first time that a socket was opened, or could not be."""

    @property
    def version(self) -> Version | None:
        """Return the versions; None until they are learned in this session."""
        return self._version if self._session_number == self.session.number else None

    # what a check asks; each raises Unreachable, Unauthorized, Banned, ForbiddenHost, HttpError
    # or InvalidResponse

    def listening(self, did: Operations) -> Listening:
        """Read the listening port; the rest of the preferences (passwords too) stays here."""
        return self.session.ask(did, _PREFERENCES, _listening)

    def connection_status(self, did: Operations) -> ConnectionStatus:
        """Read `connection_status`; up to 1.5 s old from qBittorrent 4.6 on."""
        request = Request(Operation.QBITTORRENT_TRANSFER, "/api/v2/transfer/info")
        return self.session.ask(did, request, _connection_status)

    def has_torrents(self, did: Operations) -> bool:
        """Ask whether there is any torrent at all."""
        operation = Operation.QBITTORRENT_TRANSFER
        request = Request(operation, "/api/v2/torrents/info", {"limit": "1"})
        return self.session.ask(did, request, _has_torrents)

    def reannounce(self, did: Operations) -> None:
        """Have all torrents announced to their trackers, with the listening port in force."""
        operation = Operation.QBITTORRENT_TRANSFER
        request = Request(operation, "/api/v2/torrents/reannounce", form={"hashes": "all"})
        self.session.ask(did, request, _nothing)

    def set_listening_port(self, did: Operations, port: int) -> None:
        """Set the port and read it back; VerifyMismatch where it is another one.

        That proves nothing about a socket: see `bind_result`. `random_port` is needed up to 4.3,
        where it is independent of the port.
        """
        self.send_listening_port(did, port)
        confirm = functools.partial(_confirm, port)
        request = _PREFERENCES._replace(operation=Operation.QBITTORRENT_SET_PORT)
        self.session.ask(did, request, confirm)

    def send_listening_port(self, did: Operations, port: int) -> None:
        """Set the port without reading it back."""
        self._bind_log.forget(port)
        operation = Operation.QBITTORRENT_SET_PORT
        request = _set_preferences(operation, listen_port=port, random_port=False)
        self.session.ask(did, request, _nothing)

    def switch_off_upnp(self, did: Operations) -> None:
        """Switch UPnP and NAT-PMP off; VerifyMismatch where they stay on."""
        request = _set_preferences(Operation.QBITTORRENT_PREFERENCES, upnp=False)
        self.session.ask(did, request, _nothing)
        if self.listening(did).upnp:
            raise VerifyMismatch(f"{self.where} keeps UPnP on")

    def bind_result(self, did: Operations, port: int) -> BindResult:
        """Read what is new in the log and return what it says about a port."""
        self._forget_old_sessions(did)
        entries = self._new_entries(did)  # this may begin a new session, or a new log
        if self._forget_old_sessions(did):
            entries = self._new_entries(did)
        opened = self._bind_log.fold(entries)
        if opened:
            self.tried_at = did.now()
        if any(opened):
            self.opened_at = did.now()
        return self._bind_log.result(port)

    def learn_version(self, did: Operations) -> None:
        """Ask for the versions, which are known from then on until another session begins."""
        operation = Operation.QBITTORRENT_PREFERENCES
        app, webapi, build = (
            self.session.ask(did, Request(operation, f"/api/v2/app/{path}"), _body)
            for path in ("version", "webapiVersion", "buildInfo")
        )
        self._forget_old_sessions(did)
        self._version = Version(_short_text(app), _short_text(webapi), _libtorrent(build))

    def close(self) -> None:
        """Close the connection."""
        self.session.close()

    def _forget_old_sessions(self, did: Operations) -> bool:
        """Drop what is known from before the present session: it may be another process."""
        if self._session_number == self.session.number:
            return False
        self._session_number = self.session.number
        self._last_entry = None
        self._begin_log(did)
        return True

    def _new_entries(self, did: Operations) -> list[LogEntry]:
        """Read the entries after the last one seen.

        Ids start at 0 again when qBittorrent is restarted. So the last entry is read once more:
        where it is not found again, that has happened, and the whole log is read. Its time
        counts, too: a start with the same addresses writes the same entries.
        """
        last = self._last_entry
        entries = self._read_log(did, after_id=-1 if last is None else last.id - 1)
        if last is not None and last not in entries:
            last = None
            self._begin_log(did)
            entries = self._read_log(did, after_id=-1)
        if entries:
            self._last_entry = entries[-1]
        return entries if last is None else entries[entries.index(last) + 1 :]

    def _begin_log(self, did: Operations) -> None:
        self._version = None
        self._bind_log = BindLog()
        self.opened_at = did.now()

    def _read_log(self, did: Operations, *, after_id: int) -> list[LogEntry]:
        params = {"last_known_id": str(after_id), "normal": "false", "warning": "false"}
        path, limit = "/api/v2/log/main", _LARGEST_LOG_BYTES
        request = Request(Operation.QBITTORRENT_LOG, path, params, largest_bytes=limit)
        return self.session.ask(did, request, _entries)


_PREFERENCES = Request(Operation.QBITTORRENT_PREFERENCES, "/api/v2/app/preferences")


def _set_preferences(operation: Operation, **preferences: object) -> Request:
    form = {"json": json.dumps(preferences)}
    return Request(operation, "/api/v2/app/setPreferences", form=form)


# what the responses mean


def _listening(response: Response) -> Listening:
    document = response.json_object()
    port = document.get("listen_port")
    if type(port) is not int:
        raise InvalidResponse(f"{response.where} answered preferences without a listening port")
    if abs(port) > _LARGEST_SETTING:
        raise InvalidResponse(f"{response.where} answered with a listening port that is none")
    return Listening(
        port if 0 < port <= HIGHEST_PORT else NO_PORT,  # it takes 70000 and -1, and binds none
        random_port=document.get("random_port") is True,
        on_one_interface=bool(document.get("current_network_interface")),
        on_loopback_alone=_is_loopback(document),
        upnp=document.get("upnp") is True,
    )


def _confirm(port: int, response: Response) -> None:
    kept = _listening(response)
    if kept.port != port or kept.random_port:
        raise VerifyMismatch(
            f"{response.where} was given port {port} but keeps "
            f"{'a random one' if kept.random_port else kept.port}"
        )


def _is_loopback(preferences: dict[str, Any]) -> bool:
    """Whether the network interface, or the address on it, is a loopback (since 4.2)."""
    interface = preferences.get("current_network_interface")
    address = str(preferences.get("current_interface_address", ""))
    return interface == "lo" or address == "::1" or address.startswith("127.")


def _connection_status(response: Response) -> ConnectionStatus:
    word = response.json_object().get("connection_status")
    if not isinstance(word, str):
        raise InvalidResponse(f"{response.where} answered without a connection status")
    known = word in tuple(ConnectionStatus)
    return ConnectionStatus(word) if known else ConnectionStatus.UNKNOWN


def _has_torrents(response: Response) -> bool:
    document = response.json()
    if not isinstance(document, list):
        raise InvalidResponse(f"{response.where} answered without a list of torrents")
    return bool(document)


def _body(response: Response) -> Response:
    return response


def _nothing(_: Response) -> None:
    """Expect nothing of a body."""


def _short_text(response: Response) -> str:
    return response.body.decode("utf-8", "replace").strip()[:32]


def _libtorrent(response: Response) -> tuple[int, ...]:
    text = str(response.json_object().get("libtorrent", ""))
    return tuple(int(number) for number in re.findall(r"\d{1,9}", text)[:4])


def _entries(response: Response) -> list[LogEntry]:
    document = response.json()
    if not isinstance(document, list):
        raise InvalidResponse(f"{response.where} answered without a log")
    return [_log_entry(item, response.where) for item in document]


def _log_entry(item: Any, where: str) -> LogEntry:
    if isinstance(item, dict):
        number, kind, message = item.get("id"), item.get("type"), item.get("message")
        if type(number) is int and type(kind) is int and isinstance(message, str):
            stamp = item.get("timestamp")
            if abs(number) < _LARGEST_NUMBER:
                return LogEntry(number, kind, message, stamp if type(stamp) is int else None)
    raise InvalidResponse(f"{where} answered with a log entry that makes no sense")
