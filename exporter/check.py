"""`qsticky check`: walks through everything once and says what is wrong; changes nothing.

Only a login that qBittorrent rejects is noted in status.json, so that neither another check nor
the daemon spends a try that leads to a ban.
"""

from __future__ import annotations

import http.client
import os
import socket
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exporter import __version__
from exporter.clock import Clock
from exporter.config.load import Config, Server, TunnelConfig
from exporter.errors import (
    BindFailed,
    QstickyError,
    ServerError,
    StatusFileError,
    Unauthorized,
)
from exporter.healthcheck import NOT_OURS
from exporter.model import (
    NO_PORT,
    BindResult,
    ConnectionStatus,
    LoginNote,
    Operation,
    Remembered,
    SyncState,
    VpnStatus,
)
from exporter.report.status_file import StatusFile, is_kept_up, peek
from exporter.servers.decide_login import BAN_SECONDS, LOGIN_TRIES_AN_HOUR
from exporter.servers.gluetun import STATUS_ROUTE, Gluetun
from exporter.servers.http_errors import translate
from exporter.servers.logins import fits, remembered_logins
from exporter.servers.operations import Operations
from exporter.servers.qbittorrent import Qbittorrent
from exporter.servers.session import Session, why_suspended
from exporter.tunnel.decide import STATUS_LAG_SECONDS
from exporter.tunnel.tunnel import Tunnel
from exporter.web.server import parse_listen_address, try_to_listen
from exporter.web.users import Users

_QBITTORRENT_STATES = (
    SyncState.QBITTORRENT_UNREACHABLE,
    SyncState.QBITTORRENT_UNAUTHORIZED,
    SyncState.QBITTORRENT_BANNED,
)
_SEE_LOG = "check again in a minute; if that does not help, see the log of qsticky for the reason"
_RESTART_GLUETUN = "in /gluetun/auth/config.toml, and restart Gluetun"


def run_check(config: Config, clock: Clock) -> Iterator[Line]:
    """Walk through all tunnels, the status file and the web server; a line for each step."""
    for warning in config.warnings:
        yield Line(False, warning)
    memory = CheckMemory(config, clock)
    yield memory.line()
    several = len(config.tunnels) > 1
    for tunnel in config.tunnels:
        walk = _Walk(tunnel, clock, memory)
        for line in walk.lines():
            yield replace(line, text=f"{tunnel.name}: {line.text}") if several else line
    yield _web_line(config, daemon_runs=memory.daemon_runs)


def _web_line(config: Config, *, daemon_runs: bool) -> Line:
    address = config.web.listen_address
    if not address:
        return Line(True, "No web server is wanted (WEB_LISTEN_ADDRESS is empty)")
    try:
        if config.web.users_file:
            Users(config.web.users_file)
        try_to_listen(address)
    except QstickyError as error:
        if daemon_runs and _is_served_by_us(address):
            return Line(True, f"qSticky serves its status page at {address}")
        return Line(False, f"Web server: {error.message}", error.fix)
    return Line(True, f"The address {address} is free for the status page")


def _is_served_by_us(address: str) -> bool:
    host, port = parse_listen_address(address)
    host = {"": "localhost", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/-/healthy")
        return connection.getresponse().getheader("Server") == "qSticky"
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class _Walk:
    """The steps of one tunnel; what a failed step makes pointless is left out."""

    def __init__(self, config: TunnelConfig, clock: Clock, memory: CheckMemory) -> None:
        self._config = config
        self._clock = clock
        self._memory = memory
        self._forwarded = NO_PORT

    def lines(self) -> Iterator[Line]:
        yield from self._gluetun()
        yield from self._qbittorrent()

    # Gluetun

    def _gluetun(self) -> Iterator[Line]:
        server = self._config.gluetun.server
        if not (yield from _reach("Gluetun", server, self._config.request_timeout_seconds)):
            return
        client = Gluetun(self._config.gluetun, self._config.request_timeout_seconds)
        try:
            self._forwarded = client.forwarded_port()
            yield Line(True, "Gluetun lets us read the forwarded port")
            yield from self._vpn(client)
        except Unauthorized as error:
            yield _refused(client, error)
        except ServerError as error:
            yield Line(False, error.message, error.fix)
        finally:
            client.close()

    def _vpn(self, client: Gluetun) -> Iterator[Line]:
        status = client.vpn_status(forwarded_port=self._forwarded)
        yield _vpn_line(status, hidden=client.hides_status)
        if self._forwarded:
            yield Line(True, f"Gluetun forwards port {self._forwarded}")
        elif status.may_run:
            yield Line(
                False,
                "Gluetun forwards no port",
                "give Gluetun VPN_PORT_FORWARDING=on and a VPN server with port forwarding; after "
                "a start or a reconnect, wait a minute and check again",
            )
        if self._config.restart_vpn_after_seconds:
            refused = client.restart_refused()
            may = client.may_restart_vpn()
            yield (
                Line(True, "Gluetun lets us restart the VPN")
                if may
                else Line(False, refused.message, refused.fix)
            )

    # qBittorrent

    def _qbittorrent(self) -> Iterator[Line]:
        server = self._config.qbittorrent.server
        if not (yield from _reach("qBittorrent", server, self._config.request_timeout_seconds)):
            return
        client = Qbittorrent(self._config.qbittorrent, self._config.request_timeout_seconds)
        try:
            yield from self._session(client)
        except ServerError as error:
            yield Line(False, error.message, error.fix)
        finally:
            client.close()

    def _session(self, client: Qbittorrent) -> Iterator[Line]:
        if not client.needs_login():
            how = "the API key" if client.auth == "apikey" else "us without a login"
            yield Line(True, f"qBittorrent accepts {how}")
        elif self._memory.daemon_runs:
            yield from self._as_the_daemon_says(client.where)
            return
        else:
            line = self._log_in(client)
            yield line
            if not line.ok:
                return
        yield from self._listening(client)

    def _as_the_daemon_says(self, where: str) -> Iterator[Line]:
        """Without a login of ours: the running daemon knows, and a try could lead to a ban."""
        facts = self._memory.facts.get(self._config.name, {})
        if not facts.get("services", {}).get("qbittorrent", {}).get("connected"):
            yield _not_logged_in(facts, where)
            return
        yield Line(True, "The running qsticky is logged in to qBittorrent")
        yield self._port_line(facts.get("listening_port") or NO_PORT)
        if facts.get("state") == "not_listening":
            yield self._bind_line(BindResult.FAILED)
        elif facts.get("port_bound"):
            yield self._bind_line(BindResult.BOUND)

    def _log_in(self, client: Qbittorrent) -> Line:
        """Log in, unless that could bring a ban nearer."""
        server = self._config.qbittorrent.server.address
        note = self._memory.login_note(server)
        suspended = self._suspension(note, client.where)
        if suspended:
            return suspended
        logins = remembered_logins(server, self._clock, note)
        session = Session(client, self._config.qbittorrent, logins)
        operations = Operations(self._clock)
        try:
            session.call(operations, Operation.QBITTORRENT_PREFERENCES, client.listening)
        except ServerError as error:
            if session.note() != note:
                self._memory.note_login(self._config.name, session.note())
            return Line(False, error.message, error.fix)
        if note:
            self._memory.note_login(self._config.name, None)
        return Line(True, f"qBittorrent accepts the password of {self._config.qbittorrent.user}")

    def _suspension(self, note: LoginNote | None, where: str) -> Line | None:
        if not self._memory.can_note:
            return Line(
                False,
                f"{where} was not tried with the password: a rejection could not be remembered",
                "mend the status file first, as said above",
            )
        if note is None:
            return None
        now = self._clock.wall()
        recent = [at for at in note.attempts_at if now - at < BAN_SECONDS]
        left = LOGIN_TRIES_AN_HOUR - 1 - len(recent)
        same = note.suspended_until > now and self._are_the_same(note)
        if left > 0 and not same:
            return None
        until = max(note.suspended_until, recent[0] + BAN_SECONDS if recent and left <= 0 else 0)
        what, fix = why_suspended(note.reason)
        return Line(
            False,
            f"{where} {what}; so as not to be banned, the next try waits until "
            f"{time.strftime('%H:%M', time.localtime(until))}",
            fix,
        )

    def _are_the_same(self, note: LoginNote) -> bool:
        """Whether the credentials are those that were tried last, as far as the note can tell."""
        config = self._config.qbittorrent
        credentials = (config.user, config.password.current().value)
        return not note.fingerprint or fits(credentials, note.fingerprint)

    def _listening(self, client: Qbittorrent) -> Iterator[Line]:
        listening = client.listening()
        yield self._port_line(NO_PORT if listening.random_port else listening.port)
        yield self._bind_line(self._bind_result(client, listening.port))

    def _bind_result(self, client: Qbittorrent, port: int) -> BindResult:
        """Ask the log, then the connection status; right after a start both lag behind."""
        deadline = self._clock.monotonic() + STATUS_LAG_SECONDS
        while True:
            result = client.bind_result(port)
            if result is not BindResult.UNKNOWN:
                return result
            if client.connection_status() is not ConnectionStatus.DISCONNECTED:
                return BindResult.BOUND
            if self._clock.monotonic() >= deadline:
                return BindResult.FAILED
            self._clock.sleep(0.5)

    def _port_line(self, listening: int) -> Line:
        shown = listening or "a random port"
        if not self._forwarded or listening == self._forwarded:
            return Line(True, f"qBittorrent's listening port is {shown}")
        running = self._memory.daemon_runs
        return Line(
            False,
            f"qBittorrent's listening port is {shown}, not {self._forwarded}",
            "see the log of qsticky for the reason" if running else "start qsticky, which sets it",
        )

    def _bind_line(self, result: BindResult) -> Line:
        if result is BindResult.BOUND:
            return Line(True, "qBittorrent listens on its port")
        return Line(False, "qBittorrent can't listen on its port", BindFailed.default_fix)


def _not_logged_in(facts: Mapping[str, Any], where: str) -> Line:
    """Why the running daemon is not; its last error may be about Gluetun."""
    error = facts.get("last_error")
    if error and facts.get("state") in _QBITTORRENT_STATES:
        return Line(False, f"The running qsticky says: {error}", facts.get("fix") or _SEE_LOG)
    return Line(False, f"The running qsticky is not logged in to {where} yet", _SEE_LOG)


def _reach(name: str, server: Server, timeout: float) -> Generator[Line, None, bool]:
    """Resolve the name and connect; returns whether that worked."""
    host, prefix = server.host.strip("[]"), name.upper()
    where = f"{name} at {server.address}"
    try:
        found = socket.getaddrinfo(host, server.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        yield Line(
            False,
            f"{name}'s host {host!r} is not a name that is known here",
            f"correct {prefix}_HOST; containers know each other's names in a common network only",
        )
        return False
    addresses = ", ".join(dict.fromkeys(str(address[0]) for *_, address in found))
    yield Line(True, f"{name}'s host {host} is known here, as {addresses}")
    try:
        socket.create_connection((host, server.port), timeout).close()
    except OSError as error:
        message = translate(error, where, timeout).message
        yield Line(False, message, f"start {name}, or correct {prefix}_HOST and {prefix}_PORT")
        return False
    yield Line(True, f"{where} accepts connections")
    return True


def _refused(client: Gluetun, error: Unauthorized) -> Line:
    if not client.accepts_credentials():
        return Line(False, error.message, error.fix)
    fix = f"{client.routes_to_add()} {_RESTART_GLUETUN}"
    return Line(False, f"{error.message}, although it accepts our credentials", fix)


def _vpn_line(status: VpnStatus, *, hidden: bool) -> Line:
    if status is VpnStatus.RUNNING:
        return Line(True, "The VPN is running")
    if status is VpnStatus.UNKNOWN:
        hint = f'; add "GET {STATUS_ROUTE}" to the role if you want it told' if hidden else ""
        return Line(True, f"Gluetun does not tell the VPN's status, which is not needed{hint}")
    return Line(
        False, f"The VPN is {status}", "look into Gluetun's log for the reason, or restart Gluetun"
    )


@dataclass(frozen=True, slots=True)
class Line:
    """What came of one step."""

    ok: bool
    text: str
    fix: str = ""

    def __str__(self) -> str:
        mark = "✓" if self.ok else "✗"
        return f"{mark} {self.text}" + (f"\n    → {self.fix}" if self.fix else "")


class CheckMemory:
    """What status.json tells, and whether the daemon that writes it is running."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self.facts: dict[str, Any] = {}
        self.notes: dict[str, Remembered] = {}
        self.daemon_runs = False
        self._problem: Line | None = None
        self._read()

    def line(self) -> Line:
        """Say whether status.json can be read and written."""
        return self._problem or Line(True, f"The status file {self._config.health_file} is fine")

    @property
    def can_note(self) -> bool:
        """Whether a rejected login can be remembered."""
        return self._problem is None

    def login_note(self, server: str) -> LoginNote | None:
        """What is remembered of logins at a qBittorrent, such as `gluetun:8080`."""
        notes = [memory.login_note for memory in self.notes.values()]
        return next((note for note in notes if note and note.server == server), None)

    def note_login(self, tunnel: str, note: LoginNote | None) -> None:
        """Remember a rejected login, as the daemon does when it stops; raises StatusFileError."""
        known = self.notes.get(tunnel, Remembered())
        self.notes[tunnel] = replace(known, login_note=note)
        path, now = self._config.health_file, self._clock.wall()
        file = StatusFile(path, __version__, now, self._config.interval_seconds)
        for config in self._config.tunnels:
            memory = self.notes.get(config.name, Remembered())
            server = config.qbittorrent.server.address
            logins = remembered_logins(server, self._clock, memory.login_note, try_at_once=False)
            file.publish(Tunnel(config, self._clock, memory, logins).starting())
        file.write(now, stopped=True)

    def _read(self) -> None:
        path = self._config.health_file
        try:
            document, self.notes = peek(path)
            self.facts = document.get("tunnels", {})
            self.daemon_runs = is_kept_up(path, document, self._clock.wall())
        except FileNotFoundError:
            pass
        except OSError as error:
            self._problem = Line(
                False,
                f"The status file {path} can't be read: {error.strerror or error}",
                StatusFileError.default_fix,
            )
        except NOT_OURS:
            self._problem = Line(
                False, f"The status file {path} can't be understood", "delete it, or start qsticky"
            )
        self._problem = self._problem or _writing_problem(path)


def _writing_problem(path: Path) -> Line | None:
    folder = path.parent
    try:
        if folder.exists():
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"full?")
            return None
        above = next(parent for parent in folder.parents if parent.exists())
    except OSError as error:
        why = error.strerror or str(error)
    else:
        if above.is_dir() and os.access(above, os.W_OK):
            return None
        why = "Permission denied" if above.is_dir() else "Not a directory"
    return Line(
        False, f"The status file {path} can't be written: {why}", StatusFileError.default_fix
    )
