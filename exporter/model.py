"""What passes between the parts: frozen records and closed sets, standard library only.

Moments are seconds of the clock that only moves forward (`Clock.monotonic`); readers turn them
into Unix times with `Clock.unix`. Ports are 0 where there is none or it is not known.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

NO_PORT = 0
LOWEST_PORT, HIGHEST_PORT = 1024, 65535


class SyncState(StrEnum):
    """Where a tunnel stands after a check; exactly one at a time."""

    IN_SYNC = "in_sync"
    OUT_OF_SYNC = "out_of_sync"
    NOT_LISTENING = "not_listening"
    NO_PORT = "no_port"
    VPN_DOWN = "vpn_down"
    GLUETUN_UNREACHABLE = "gluetun_unreachable"
    GLUETUN_UNAUTHORIZED = "gluetun_unauthorized"
    QBITTORRENT_UNREACHABLE = "qbittorrent_unreachable"
    QBITTORRENT_UNAUTHORIZED = "qbittorrent_unauthorized"
    QBITTORRENT_BANNED = "qbittorrent_banned"
    STARTING = "starting"
    NOT_REACHABLE = "not_reachable"
    """All looks right, and a service out there does not get in (`REACHABILITY_URL`)."""


WAITING_STATES = (SyncState.NO_PORT, SyncState.VPN_DOWN)
"""States that heal by themselves, as a rule within minutes."""
WAITING_GRACE_SECONDS = 600.0
LEAST_GRACE_SECONDS = 90.0


class VpnStatus(StrEnum):
    """Gluetun's VPN status (`models.LoopStatus`), or `unknown` where we may not ask."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    CRASHED = "crashed"
    COMPLETED = "completed"
    UNKNOWN = "unknown"

    @property
    def is_up_or_unknown(self) -> bool:
        """Whether the VPN is up, as far as we may ask."""
        return self in (VpnStatus.RUNNING, VpnStatus.UNKNOWN)


class ConnectionStatus(StrEnum):
    """qBittorrent's `connection_status`, or `unknown` where it could not be read.

    `disconnected`: no listening socket at all. `firewalled`: no peer has connected in yet.
    """

    CONNECTED = "connected"
    FIREWALLED = "firewalled"
    DISCONNECTED = "disconnected"
    UNKNOWN = "unknown"


class Operation(StrEnum):
    """One exchange with a server or the disk, as counted by the metrics."""

    GLUETUN_PORT = "gluetun_port"
    GLUETUN_STATUS = "gluetun_status"
    GLUETUN_PUBLIC_IP = "gluetun_public_ip"
    QBITTORRENT_LOGIN = "qbittorrent_login"
    QBITTORRENT_PREFERENCES = "qbittorrent_preferences"
    QBITTORRENT_TRANSFER = "qbittorrent_transfer"
    QBITTORRENT_SET_PORT = "qbittorrent_set_port"
    QBITTORRENT_LOG = "qbittorrent_log"
    REACHABILITY = "reachability"
    STATUS_FILE = "status_file"


class Reason(StrEnum):
    """Why an operation failed."""

    CONNECTION = "connection"
    TIMEOUT = "timeout"
    TLS = "tls"
    AUTH = "auth"
    FORBIDDEN_HOST = "forbidden_host"
    BANNED = "banned"
    HTTP_4XX = "http_4xx"
    HTTP_5XX = "http_5xx"
    INVALID_RESPONSE = "invalid_response"
    VERIFY_MISMATCH = "verify_mismatch"
    BIND_FAILED = "bind_failed"
    CLOSED = "closed"
    """Nobody outside gets in; that is an answer and no failed operation."""
    RATE_LIMITED = "rate_limited"
    IO = "io"
    OTHER = "other"


class BindResult(StrEnum):
    """What qBittorrent's log says about the socket on its listening port."""

    BOUND = "bound"
    FAILED = "failed"
    LOOPBACK = "loopback"
    """Only this machine reaches it."""
    UNKNOWN = "unknown"


class RebindPolicy(StrEnum):
    """When a port that looks right may be re-bound (`REBIND`)."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Topic(StrEnum):
    """What a notification may be about (`NOTIFY_ON`)."""

    PROBLEM = "problem"
    RECOVERY = "recovery"
    PORT_CHANGE = "port_change"


class EventKind(StrEnum):
    """Things that happen to a tunnel; the metrics count some of them."""

    STATE = "state"
    PORT_CHANGE = "port_change"
    PORT_UPDATE_NEEDED = "port_update_needed"
    PORT_UPDATE = "port_update"
    DRIFT = "drift"
    REBIND = "rebind"
    NOTICE = "notice"


class Level(StrEnum):
    """How loudly an event is said."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Event(NamedTuple):
    """Something worth a line in the log and on the status page; `fix` says what to do."""

    kind: EventKind
    level: Level
    message: str
    fix: str = ""


class Failure(NamedTuple):
    """A failed operation as a value: safe to print, it never holds a secret."""

    operation: Operation
    reason: Reason
    message: str
    fix: str


class OperationResult(NamedTuple):
    """One finished operation; `reason` is None where it succeeded."""

    operation: Operation
    seconds: float
    reason: Reason | None = None


class GluetunReading(NamedTuple):
    """What Gluetun answered."""

    forwarded_port: int
    vpn_status: VpnStatus = VpnStatus.UNKNOWN
    public_ip: str | None = None
    """Empty where Gluetun does not know it, as during a reconnect; None = no answer."""

    @property
    def has_port(self) -> bool:
        """Whether a port is forwarded, and the VPN is not known to be down."""
        return self.forwarded_port != NO_PORT and self.vpn_status.is_up_or_unknown


class QbittorrentReading(NamedTuple):
    """What qBittorrent answered."""

    listening_port: int
    random_port: bool = False
    """Whether it picks a port of its own at each start, and `listening_port` means nothing."""
    connection_status: ConnectionStatus = ConnectionStatus.UNKNOWN
    bind_result: BindResult = BindResult.UNKNOWN
    on_one_interface: bool = False
    """Whether it listens on one network interface, such as tun0, and not on all."""
    reopens_sockets: bool | None = None
    """Whether it surely opens its socket again when the VPN is back; None = not known yet."""
    has_torrents: bool | None = None
    """None = not known: asked only while qBittorrent is firewalled."""
    upnp: bool = False
    """Whether it asks the router, here the VPN, to forward a port by UPnP and NAT-PMP."""
    auth: str = "password"
    """How we authenticate: password, apikey or bypass."""
    version: str = ""
    webapi_version: str = ""

    @property
    def is_closed(self) -> bool:
        """Whether no peer can reach the port, as far as qBittorrent knows."""
        closed = (BindResult.FAILED, BindResult.LOOPBACK)
        return self.bind_result in closed or self.connection_status is ConnectionStatus.DISCONNECTED


class Answer(NamedTuple):
    """What came of asking a service out there whether it gets in on a port."""

    port: int
    asked_at: float
    reachable: bool | None
    """None = not known: it gave no answer that can be used."""
    operation: OperationResult
    failure: Failure | None = None
    """Why it is not known."""


class Outside(NamedTuple):
    """What is known from outside of the forwarded port (`REACHABILITY_URL`)."""

    reachable: bool | None = None
    """The last answer; None = not known."""
    asked_at: float | None = None
    """When it was asked for."""
    reached_at: float | None = None
    """When somebody outside last got in on this port."""
    changed_at: float = 0.0
    """Answers to earlier questions are about another port or socket."""
    closed: int = 0
    """How many answers in a row count against the port."""
    rebound: bool = False
    """Whether the port was re-bound because of them."""
    problem: Reason | None = None
    """Why the last answer is not known."""


class SavedLogins(NamedTuple):
    """Logins that did not lead to a session, so that a restart does not spend new tries."""

    attempts_at: tuple[float, ...]
    """Moments of the tries of the last hour."""
    rejections: int
    """How many tries in a row were rejected."""
    suspended_until: float | None
    """None = the next try may come at any time."""
    reason: Reason
    fingerprint: str
    """Shows whether the rejected credentials changed; far too short to guess them from."""
    server: str = ""
    """Where they were tried, such as `gluetun:8080`."""


class SavedVpnRestart(NamedTuple):
    """Restarts of the VPN (`RESTART_VPN_AFTER`)."""

    restarted_at: float
    """Moment of the last one."""
    restarts: int
    """How many there were since a port was seen last."""
    unfinished: bool
    """Whether the VPN may still have to be started again."""


class Saved(NamedTuple):
    """What status.json keeps of a tunnel over a restart; None = never, or not now."""

    forwarded_port: int = NO_PORT
    """The last one, kept through gaps."""
    port_changed_at: float | None = None
    succeeded_at: float | None = None
    """End of the last check that was in sync."""
    out_of_sync_since: float | None = None
    """Since when the tunnel has not been in sync, for all causes together."""
    failing_since: float | None = None
    """The same for failures alone: `no_port` and `vpn_down`, which heal by themselves, end it."""
    waiting_since: float | None = None
    """The same for `no_port` and `vpn_down` alone."""
    logins: SavedLogins | None = None
    vpn_restart: SavedVpnRestart | None = None
    push_seen: bool = False
    """Whether Gluetun ever asked for a check."""
    was_unhealthy: bool = False
    """Whether status.json called the tunnel unhealthy when we started."""


class Outcome(NamedTuple):
    """The result of one check of one tunnel: all that the log, metrics, file and page know."""

    tunnel: str
    state: SyncState
    finished_at: float | None
    """None before the first check has ended."""
    next_check_seconds: float = 0.0
    gluetun: GluetunReading | None = None
    """None = no valid answer."""
    qbittorrent: QbittorrentReading | None = None
    """As it was at the end of the check; None = no valid answer."""
    outside: Outside | None = None
    """None = nobody outside is asked."""
    saved: Saved = Saved()
    failures: tuple[Failure, ...] = ()
    """The one that explains the state stands first."""
    events: tuple[Event, ...] = ()
    operations: tuple[OperationResult, ...] = ()
    opened_after_seconds: float | None = None
    """How long a new port, or one that came back, took to open; None = none opened now."""
    is_watch: bool = False
    """Whether Gluetun was asked for the port alone, between two checks, and it was the same."""

    @property
    def in_sync(self) -> bool:
        """Whether qBittorrent has the forwarded port and nothing speaks against its socket."""
        return self.state is SyncState.IN_SYNC

    @property
    def forwarded_port(self) -> int:
        """Return the port that Gluetun forwards; 0 = none, or not known."""
        return self.gluetun.forwarded_port if self.gluetun else NO_PORT

    @property
    def listening_port(self) -> int:
        """Return the port set in qBittorrent; 0 = a random one, or not known."""
        reading = self.qbittorrent
        return NO_PORT if reading is None or reading.random_port else reading.listening_port

    @property
    def vpn_status(self) -> VpnStatus:
        """Return the VPN's status in Gluetun."""
        return self.gluetun.vpn_status if self.gluetun else VpnStatus.UNKNOWN

    @property
    def connection_status(self) -> ConnectionStatus:
        """Return the connection status in qBittorrent."""
        return self.qbittorrent.connection_status if self.qbittorrent else ConnectionStatus.UNKNOWN

    @property
    def port_bound(self) -> bool:
        """Whether the log shows an open socket, and nothing newer speaks against it.

        False also where the VPN is known to be away: no peer gets in. A time-out says nothing.
        """
        reading = self.qbittorrent
        if reading is None or reading.bind_result is not BindResult.BOUND:
            return False
        return self.in_sync or (self._may_vpn_be_up and self._is_trusted(reading))

    @property
    def _may_vpn_be_up(self) -> bool:
        if self.gluetun is not None:
            return self.gluetun.has_port
        reasons = [f.reason for f in self.failures if f.operation is Operation.GLUETUN_PORT]
        return reasons == [Reason.TIMEOUT]

    def _is_trusted(self, reading: QbittorrentReading) -> bool:
        return not reading.is_closed and self.state is not SyncState.NOT_LISTENING

    @property
    def login_suspended_until(self) -> float | None:
        """Return until when logins wait; None where they don't."""
        logins = self.saved.logins
        return logins.suspended_until if logins and self.qbittorrent is None else None

    def is_healthy(self, now: float, interval_seconds: float) -> bool:
        """Whether the tunnel has not been out of sync for longer than its grace.

        That is 3 intervals (at least 90 s) for failures, 10 minutes where the VPN is down or has
        no port, which heals by itself, and for both in turn. A check that does not end is a
        failure too.
        """
        grace = max(3 * interval_seconds, LEAST_GRACE_SECONDS)
        saved = self.saved
        if self.finished_at is not None and (
            now - self.finished_at > grace + self.next_check_seconds
        ):
            return False
        if saved.failing_since is not None and now - saved.failing_since > grace:
            return False
        failing = saved.failing_since is not None
        longest = max(grace, WAITING_GRACE_SECONDS) if failing else WAITING_GRACE_SECONDS
        return saved.out_of_sync_since is None or now - saved.out_of_sync_since <= longest
