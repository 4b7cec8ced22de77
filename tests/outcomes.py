"""Made-up outcomes, one for each state, for the tests and pictures of the status page."""

from typing import Any

from prometheus_client import CollectorRegistry

from exporter.config.load import TunnelConfig
from exporter.model import (
    BindResult,
    ConnectionStatus,
    Event,
    EventKind,
    Failure,
    GluetunReading,
    Level,
    Operation,
    Outcome,
    Outside,
    QbittorrentReading,
    Reason,
    Saved,
    SavedLogins,
    SyncState,
    VpnStatus,
)
from exporter.report.board import StatusBoard
from exporter.web.app import WebApp, WebParts
from tests.fakes import FakeClock, tunnels

NOW = 1_800_000_000.0
"""2027-01-15 08:00:00 UTC; the moments of these outcomes are Unix times."""

MINUTE, HOUR, DAY = 60, 3600, 86400


class PageClock(FakeClock):
    """Stands still at NOW."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.set_wall(NOW)


def tunnel_config(name: str = "default", **environ: str) -> TunnelConfig:
    """A tunnel as it is by default."""
    [made] = tunnels(name, **environ)
    return made


LISTENING = QbittorrentReading(
    45720,
    connection_status=ConnectionStatus.CONNECTED,
    bind_result=BindResult.BOUND,
    on_one_interface=True,
    reopens_sockets=True,
    has_torrents=True,
    version="v5.1.0",
    webapi_version="2.11.4",
)
FIREWALLED = LISTENING._replace(connection_status=ConnectionStatus.FIREWALLED)
SAVED = Saved(45720, succeeded_at=NOW - 12, port_changed_at=NOW - 3 * HOUR)

IN_SYNC = Outcome(
    tunnel="default",
    state=SyncState.IN_SYNC,
    finished_at=NOW - 12,
    gluetun=GluetunReading(45720, VpnStatus.RUNNING),
    qbittorrent=LISTENING,
    saved=SAVED,
)


def failure(operation: Operation, reason: Reason, message: str, fix: str) -> tuple[Failure]:
    return (Failure(operation, reason, message, fix),)


def suspended(until: float, reason: Reason) -> Saved:
    return SAVED._replace(logins=SavedLogins((NOW - MINUTE,), 1, until, reason, "salt:1a2b"))


_GLUETUN_AWAY = IN_SYNC._replace(gluetun=None)
_QBITTORRENT_AWAY = IN_SYNC._replace(qbittorrent=None)

_MADE = {
    SyncState.IN_SYNC: IN_SYNC,
    SyncState.OUT_OF_SYNC: IN_SYNC._replace(
        qbittorrent=LISTENING._replace(listening_port=51413),
        failures=failure(
            Operation.QBITTORRENT_SET_PORT,
            Reason.VERIFY_MISMATCH,
            "qBittorrent took port 45720, but still shows 51413",
            "look for a second tool that sets the port, and for “random port” in qBittorrent",
        ),
    ),
    SyncState.NOT_LISTENING: IN_SYNC._replace(
        qbittorrent=LISTENING._replace(
            connection_status=ConnectionStatus.DISCONNECTED,
            bind_result=BindResult.FAILED,
        ),
        failures=failure(
            Operation.QBITTORRENT_LOG,
            Reason.BIND_FAILED,
            "qBittorrent could not open a socket on port 45720: Address already in use",
            "see which program in qBittorrent's container uses the port; the next try is in 5 min",
        ),
    ),
    SyncState.NO_PORT: IN_SYNC._replace(
        gluetun=GluetunReading(0, VpnStatus.RUNNING), qbittorrent=FIREWALLED
    ),
    SyncState.VPN_DOWN: IN_SYNC._replace(
        gluetun=GluetunReading(0, VpnStatus.STOPPED), qbittorrent=FIREWALLED
    ),
    SyncState.GLUETUN_UNREACHABLE: _GLUETUN_AWAY._replace(
        failures=failure(
            Operation.GLUETUN_PORT,
            Reason.TIMEOUT,
            "Gluetun timed out at gluetun:8000",
            "check that the container is running and that its control server is on",
        ),
    ),
    SyncState.GLUETUN_UNAUTHORIZED: _GLUETUN_AWAY._replace(
        failures=failure(
            Operation.GLUETUN_PORT,
            Reason.AUTH,
            "Gluetun answered 401 on GET /v1/portforward and GET /v1/openvpn/portforwarded",
            'add "GET /v1/portforward" to the routes of your role in config.toml, restart Gluetun',
        ),
    ),
    SyncState.QBITTORRENT_UNREACHABLE: _QBITTORRENT_AWAY._replace(
        failures=failure(
            Operation.QBITTORRENT_PREFERENCES,
            Reason.CONNECTION,
            "qBittorrent refused the connection at gluetun:8080",
            "check that the container is running, QBITTORRENT_HOST and QBITTORRENT_PORT",
        ),
    ),
    SyncState.QBITTORRENT_UNAUTHORIZED: _QBITTORRENT_AWAY._replace(
        saved=suspended(NOW + 25 * MINUTE, Reason.AUTH),
        failures=failure(
            Operation.QBITTORRENT_LOGIN,
            Reason.AUTH,
            "qBittorrent rejected user admin",
            "correct QBITTORRENT_USER and QBITTORRENT_PASS",
        ),
    ),
    SyncState.QBITTORRENT_BANNED: _QBITTORRENT_AWAY._replace(
        saved=suspended(NOW + 55 * MINUTE, Reason.BANNED),
        failures=failure(
            Operation.QBITTORRENT_LOGIN,
            Reason.BANNED,
            "qBittorrent has banned our address after too many failed logins",
            "correct QBITTORRENT_PASS; the ban ends by itself (default: 1 hour)",
        ),
    ),
    SyncState.STARTING: Outcome("default", SyncState.STARTING, None),
    SyncState.NOT_REACHABLE: IN_SYNC._replace(
        qbittorrent=FIREWALLED,
        outside=Outside(reachable=False, asked_at=NOW - 3 * MINUTE, reached_at=NOW - 5 * HOUR),
        failures=failure(
            Operation.REACHABILITY,
            Reason.CLOSED,
            "Nobody outside gets in on port 45720",
            "restart Gluetun, or choose another VPN server",
        ),
    ),
}

OUTCOMES = {
    state: outcome
    if state in (SyncState.IN_SYNC, SyncState.STARTING)
    else outcome._replace(state=state, saved=outcome.saved._replace(succeeded_at=NOW - 5 * MINUTE))
    for state, outcome in _MADE.items()
}

_HISTORY = (
    (3 * DAY, EventKind.STATE, Level.INFO, "Starting qSticky port manager", ""),
    (3 * DAY - 1, EventKind.NOTICE, Level.INFO, "Logged in to qBittorrent v5.1.0", ""),
    (3 * HOUR + 4, EventKind.STATE, Level.WARNING, "The VPN is down, kept port 38201", ""),
    (3 * HOUR, EventKind.PORT_UPDATE_NEEDED, Level.INFO, "Port change needed: 38201 -> 45720", ""),
    (3 * HOUR, EventKind.PORT_UPDATE, Level.INFO, "Successfully updated port to 45720", ""),
    (
        40 * MINUTE,
        EventKind.DRIFT,
        Level.WARNING,
        "qBittorrent left port 45720 for 51413; set it again",
        "switch off “random port” in qBittorrent, and look for a second tool that sets the port",
    ),
    (39 * MINUTE, EventKind.PORT_UPDATE, Level.INFO, "Successfully updated port to 45720", ""),
)


def board_of(outcome: Outcome) -> StatusBoard:
    """One tunnel with a past, now at this outcome."""
    board = StatusBoard()
    board.set_tunnels([tunnel_config(outcome.tunnel)])
    if outcome.state is SyncState.STARTING:
        return board
    for age, kind, level, message, fix in _HISTORY:
        past = IN_SYNC._replace(
            tunnel=outcome.tunnel,
            finished_at=NOW - age,
            events=(Event(kind, level, message, fix),),
        )
        board.publish(past)
    if outcome.state is not SyncState.IN_SYNC:
        said = (
            outcome.failures[0].message
            if outcome.failures
            else "No port forwarded, kept port 45720"
        )
        event = Event(EventKind.STATE, Level.WARNING, said)
        board.publish(outcome._replace(finished_at=NOW - 4 * MINUTE, events=(event,)))
    board.publish(outcome)
    return board


def board_of_many(count: int) -> StatusBoard:
    """Many tunnels: three of four in sync, the others in each other state in turn."""
    names = [f"seedbox-{number:04}" for number in range(count)]
    board = StatusBoard()
    board.set_tunnels(map(tunnel_config, names))
    others = [outcome for state, outcome in OUTCOMES.items() if state is not SyncState.IN_SYNC]
    for number, name in enumerate(names):
        strange = number % 4 == 3
        outcome = others[number // 4 % len(others)] if strange else IN_SYNC
        if outcome.state is SyncState.STARTING:
            continue
        moved = _with_port(outcome, 30_000 + 7 * number)._replace(
            tunnel=name, finished_at=NOW - number % 30
        )
        board.publish(moved._replace(finished_at=NOW - (number % 11 + 1) * 1000))
        board.publish(moved)
    return board


def _with_port(outcome: Outcome, port: int) -> Outcome:
    gluetun, qbittorrent = outcome.gluetun, outcome.qbittorrent
    if gluetun and gluetun.forwarded_port:
        gluetun = gluetun._replace(forwarded_port=port)
    if qbittorrent:
        other = qbittorrent.listening_port == 51413
        qbittorrent = qbittorrent._replace(listening_port=port + other)
    return outcome._replace(gluetun=gluetun, qbittorrent=qbittorrent)


def web_app(board: StatusBoard, **parts: Any) -> WebApp:
    """Return the web application on this board; what it needs beside that does nothing."""
    given: dict[str, Any] = {
        "board": board,
        "registry": CollectorRegistry,
        "status_json": lambda: b'{"healthy": true}',
        "request_sync": lambda tunnel, pushed: None,
        "version": "2.0.0",
        "clock": PageClock(),
    }
    return WebApp(WebParts(**(given | parts)))
