"""`qsticky check`: walks through everything once and says what is wrong; changes nothing.

Only a login that qBittorrent rejects is saved in status.json, so that neither another check nor
the daemon spends a try that leads to a ban.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from exporter import __version__
from exporter.clock import Clock
from exporter.config.load import Config, TunnelConfig
from exporter.errors import BindFailed, QstickyError, ServerError, StatusFileError, Unauthorized
from exporter.healthcheck import MALFORMED
from exporter.model import (
    NO_PORT,
    Failure,
    GluetunReading,
    QbittorrentReading,
    Saved,
    SavedLogins,
    SyncState,
    VpnStatus,
)
from exporter.report import safe_file
from exporter.report.messenger import ask
from exporter.report.notices import Message
from exporter.report.saved import daemon_is_running, read_status, saved_of
from exporter.report.status_file import StatusFile
from exporter.servers.gluetun import PUBLIC_IP_ROUTE, STATUS_ROUTE, Gluetun
from exporter.servers.logins import LOGIN_TRIES_AN_HOUR, LoginRegistry, Logins
from exporter.servers.operations import Operations
from exporter.servers.qbittorrent import Qbittorrent
from exporter.servers.reachability import probe
from exporter.tunnel.events import WATCHING
from exporter.tunnel.observe import Observer
from exporter.tunnel.outside import not_reachable
from exporter.tunnel.write import bind_failed
from exporter.web.server import parse_listen_address, try_to_listen
from exporter.web.users import Users

_QBITTORRENT_STATES = (
    SyncState.QBITTORRENT_UNREACHABLE,
    SyncState.QBITTORRENT_UNAUTHORIZED,
    SyncState.QBITTORRENT_BANNED,
)
_SEE_LOG = "check again in a minute; if that does not help, see the log of qsticky for the reason"
_RESTART_GLUETUN = "in /gluetun/auth/config.toml, and restart Gluetun"
_TRIES_AN_HOUR = LOGIN_TRIES_AN_HOUR - 1
"""The last try of an hour is left to the daemon."""


class Line(NamedTuple):
    """The result of one step."""

    ok: bool
    text: str
    fix: str = ""

    def __str__(self) -> str:
        mark = "✓" if self.ok else "✗"
        return f"{mark} {self.text}" + (f"\n    → {self.fix}" if self.fix else "")


def run_check(config: Config, clock: Clock) -> Iterator[Line]:
    """Walk through the status file, all tunnels and the web server; a line for each step."""
    known = _Known(config, clock)
    yield known.problem or Line(True, f"The status file {config.health_file} is fine")
    for warning in config.warnings:
        yield Line(False, warning)
    several = len(config.tunnels) > 1
    for tunnel in config.tunnels:
        for line in _Walk(tunnel, clock, known).lines():
            yield line._replace(text=f"{tunnel.name}: {line.text}") if several else line
    yield from notification_lines(config)
    yield _web_line(config, daemon_running=known.daemon_running)


def notification_lines(config: Config, message: Message | None = None) -> Iterator[Line]:
    """Send a message to each service of NOTIFY_URLS, or only read the URLs; a line for each."""
    urls = config.notify.urls.value
    for answer in ask(urls, message) if urls else ():
        yield Line(answer.ok, answer.text, answer.fix)


class _Walk:
    """The steps of one tunnel; what a failed step makes pointless is left out."""

    def __init__(self, config: TunnelConfig, clock: Clock, known: _Known) -> None:
        self._config = config
        self._clock = clock
        self._known = known
        self._did = Operations(clock)
        self._forwarded = NO_PORT
        self._is_set = False
        """Whether qBittorrent has the forwarded port."""

    def lines(self) -> Iterator[Line]:
        timeout = self._config.request_timeout_seconds
        gluetun = Gluetun(self._config.gluetun, timeout)
        logins = self._known.logins(self._config)
        qbittorrent = Qbittorrent(self._config.qbittorrent, timeout, logins)
        try:
            yield from _until_an_error(self._gluetun(gluetun))
            yield from _until_an_error(self._qbittorrent(gluetun, qbittorrent, logins))
            yield from _until_an_error(self._outside(gluetun))
        finally:
            gluetun.close()
            qbittorrent.close()

    def _gluetun(self, client: Gluetun) -> Iterator[Line]:
        try:
            self._forwarded = client.forwarded_port(self._did)
        except Unauthorized as error:
            yield _denied(client, error)
            return
        yield Line(True, "Gluetun lets us read the forwarded port")
        status = client.vpn_status(self._did, forwarded_port=self._forwarded)
        yield _vpn_line(status, hidden=client.hides_status)
        if self._forwarded:
            yield Line(True, f"Gluetun forwards port {self._forwarded}")
        elif status.is_up_or_unknown:
            yield Line(
                False,
                "Gluetun forwards no port",
                "give Gluetun VPN_PORT_FORWARDING=on and a VPN server with port forwarding; after "
                "a start or a reconnect, wait a minute and check again",
            )
        if self._config.restart_vpn_after_seconds:
            denied = client.restart_refused()
            may = client.may_restart_vpn()
            restart = Line(True, "Gluetun lets us restart the VPN")
            yield restart if may else Line(False, denied.message, denied.fix)

    def _qbittorrent(self, gluetun: Gluetun, client: Qbittorrent, logins: Logins) -> Iterator[Line]:
        if not client.session.needs_login(self._did):
            how = "the API key" if client.session.auth == "apikey" else "us without a login"
            yield Line(True, f"qBittorrent accepts {how}")
        elif self._known.daemon_running:
            yield from self._as_the_daemon_says(client.where)
            return
        elif self._known.problem:
            yield Line(
                False,
                f"{client.where} was not tried with the password: a rejection could not be saved",
                "fix the status file first, as said above",
            )
            return
        else:
            self._log_in(client, logins)
            user = self._config.qbittorrent.user
            yield Line(True, f"qBittorrent accepts the password of {user}")
        port = client.listening(self._did).port
        observer = Observer(gluetun, client, self._clock)
        # as if it were the forwarded port: that has a stale connection status asked again
        reading = observer.qbittorrent(GluetunReading(port), None, self._did)
        if isinstance(reading, Failure):
            yield Line(False, reading.message, reading.fix)
            return
        yield self._port_line(NO_PORT if reading.random_port else reading.listening_port)
        yield _socket_line(reading)
        if reading.upnp and not self._config.disable_upnp:
            yield _UPNP
        if not reading.reopens_sockets and not self._known.push_seen(self._config.name):
            yield _WATCHED

    def _log_in(self, client: Qbittorrent, logins: Logins) -> None:
        """Log in, unless that could bring a ban nearer; save what came of it."""
        before = logins.saved()
        try:
            client.listening(self._did)
        finally:
            if logins.saved() != before:
                self._known.save_logins(self._config.name, logins.saved())

    def _as_the_daemon_says(self, where: str) -> Iterator[Line]:
        """Without a login: the running daemon knows, and a try could lead to a ban."""
        facts = self._known.facts.get(self._config.name, {})
        if not facts.get("services", {}).get("qbittorrent", {}).get("connected"):
            yield _not_logged_in(facts, where)
            return
        yield Line(True, "The running qsticky is logged in to qBittorrent")
        yield self._port_line(facts.get("listening_port") or NO_PORT)
        if facts.get("state") == SyncState.NOT_LISTENING:
            fix = facts.get("fix") or BindFailed.default_fix
            yield Line(False, f"The running qsticky says: {facts.get('last_error')}", fix)
        elif facts.get("port_bound"):
            yield _LISTENS

    def _outside(self, gluetun: Gluetun) -> Iterator[Line]:
        config = self._config.reachability
        if config is None:
            return
        if not self._is_set:
            yield Line(True, "Nobody outside was asked: no port is known to be set")
            return
        public_ip = gluetun.public_ip(self._did) or ""
        if "{ip}" in config.url and not public_ip:
            yield Line(
                False,
                "Gluetun does not show the VPN's public address, which REACHABILITY_URL needs",
                f'add "GET {PUBLIC_IP_ROUTE}" to the role {_RESTART_GLUETUN}',
            )
            return
        answer = probe(config, self._forwarded, public_ip, self._clock)
        error = answer.failure or not_reachable(self._forwarded)
        if answer.reachable:
            yield Line(True, f"Somebody outside gets in on port {self._forwarded}")
        else:
            yield Line(False, error.message, error.fix)

    def _port_line(self, listening: int) -> Line:
        self._is_set = self._forwarded != NO_PORT and listening == self._forwarded
        shown = listening or "a random port"
        if not self._forwarded or listening == self._forwarded:
            return Line(True, f"qBittorrent's listening port is {shown}")
        running = self._known.daemon_running
        return Line(
            False,
            f"qBittorrent's listening port is {shown}, not {self._forwarded}",
            "see the log of qsticky for the reason" if running else "start qsticky, which sets it",
        )


class _Known:
    """What status.json says, and whether the daemon that writes it is running."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._saved: dict[str, Saved] = {}
        self.facts: Mapping[str, Any] = {}
        self.daemon_running = False
        self.problem = self._read() or _writing_problem(config.health_file)
        logins = [saved.logins for saved in self._saved.values()]
        self._registry = LoginRegistry(
            clock, logins, try_at_once=False, tries_an_hour=_TRIES_AN_HOUR
        )

    def logins(self, config: TunnelConfig) -> Logins:
        """Return the logins at a tunnel's qBittorrent."""
        return self._registry.for_server(config.qbittorrent.server.place)

    def push_seen(self, tunnel: str) -> bool:
        """Whether Gluetun ever pushed to the daemon."""
        return self._saved.get(tunnel, Saved()).push_seen

    def save_logins(self, tunnel: str, logins: SavedLogins | None) -> None:
        """Save a rejected login as the daemon does when it stops; raises StatusFileError."""
        self._saved[tunnel] = self._saved.get(tunnel, Saved())._replace(logins=logins)
        file = StatusFile(self._config.health_file, __version__, self._clock, self._saved)
        file.set_tunnels(self._config.tunnels)
        file.write(stopped=True)

    def _read(self) -> Line | None:
        path = self._config.health_file
        try:
            document = read_status(path)
            self._saved = saved_of(document, self._clock)
            self.facts = document.get("tunnels", {})
            self.daemon_running = daemon_is_running(path, document, self._clock)
        except (FileNotFoundError, IsADirectoryError):
            return None  # trying to write says what helps
        except OSError as error:
            why = error.strerror or error
            return Line(
                False, f"The status file {path} can't be read: {why}", StatusFileError.default_fix
            )
        except MALFORMED:
            return Line(
                False, f"The status file {path} can't be understood", "delete it, or start qsticky"
            )
        return None


def _until_an_error(lines: Iterator[Line]) -> Iterator[Line]:
    try:
        yield from lines
    except ServerError as error:
        yield Line(False, error.message, error.fix)


def _writing_problem(path: Path) -> Line | None:
    try:
        safe_file.try_to_write(path)
    except StatusFileError as error:
        return Line(False, f"{error.message[:1].upper()}{error.message[1:]}", error.fix)
    return None


def _not_logged_in(facts: Mapping[str, Any], where: str) -> Line:
    """Return why the running daemon is not; its last error may be about Gluetun."""
    error = facts.get("last_error")
    if error and facts.get("state") in _QBITTORRENT_STATES:
        return Line(False, f"The running qsticky says: {error}", facts.get("fix") or _SEE_LOG)
    return Line(False, f"The running qsticky is not logged in to {where} yet", _SEE_LOG)


def _denied(client: Gluetun, error: Unauthorized) -> Line:
    if not client.accepts_credentials():
        return Line(False, error.message, error.fix)
    fix = f"{client.routes_to_add()} {_RESTART_GLUETUN}"
    return Line(False, f"{error.message}, although it accepts our credentials", fix)


def _vpn_line(status: VpnStatus, *, hidden: bool) -> Line:
    if status is VpnStatus.RUNNING:
        return Line(True, "The VPN is running")
    if status is VpnStatus.UNKNOWN:
        hint = f'; add "GET {STATUS_ROUTE}" to the role to have it shown' if hidden else ""
        return Line(True, f"Gluetun does not show the VPN's status, which is not needed{hint}")
    return Line(False, f"The VPN is {status}", "see Gluetun's log for the reason, or restart it")


_LISTENS = Line(True, "qBittorrent listens on its port")
_WATCHED = Line(
    True,
    f"{WATCHING}; Gluetun's VPN_PORT_FORWARDING_UP_COMMAND as in the README makes that unnecessary",
)


_UPNP = Line(
    True,
    "UPnP and NAT-PMP are on in qBittorrent, where they can announce another port than the one "
    "that is forwarded; DISABLE_UPNP=true switches them off",
)


def _socket_line(reading: QbittorrentReading) -> Line:
    if not reading.is_closed:
        return _LISTENS
    error = bind_failed("qBittorrent", reading.listening_port, reading)
    return Line(False, error.message, error.fix)


def _web_line(config: Config, *, daemon_running: bool) -> Line:
    address = config.web.listen_address
    if not address:
        return Line(True, "Web server disabled (WEB_LISTEN_ADDRESS is empty)")
    try:
        if config.web.users_file:
            Users(config.web.users_file)
        try_to_listen(address)
    except QstickyError as error:
        if daemon_running and _is_served_by_us(address):
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
