"""What passes between the parts: frozen records and closed sets, standard library only.

Times are Unix seconds; ports are 0 where there is none or it is not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

NO_PORT = 0
LOWEST_PORT, HIGHEST_PORT = 1024, 65535


class SyncState(StrEnum):
    """Where a tunnel stands after a cycle; exactly one at a time."""

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


WAITING_STATES = (SyncState.NO_PORT, SyncState.VPN_DOWN)
"""States that heal by themselves, as a rule within minutes."""
WAITING_GRACE_SECONDS = 600.0
LEAST_GRACE_SECONDS = 90.0
FEW_TUNNELS = 10
"""Up to here, status.json is written after every cycle and connections stay open."""


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
    def may_run(self) -> bool:
        """Whether the VPN runs, as far as we may ask."""
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
    IO = "io"
    OTHER = "other"


class BindResult(StrEnum):
    """What qBittorrent's log says about the socket on its listening port."""

    BOUND = "bound"
    FAILED = "failed"
    UNKNOWN = "unknown"


class RebindPolicy(StrEnum):
    """When a port that looks right may be re-bound (`REBIND`)."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


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


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth a line in the log and on the status page; `fix` says what to do."""

    kind: EventKind
    level: Level
    message: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed operation as a value: safe to print, it never holds a secret."""

    operation: Operation
    reason: Reason
    message: str
    fix: str


@dataclass(frozen=True, slots=True)
class OperationResult:
    """One finished operation; `reason` is None where it succeeded."""

    operation: Operation
    seconds: float
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one cycle of one tunnel: all that the log, metrics, file and page know."""

    tunnel: str
    state: SyncState
    finished_at: float
    interval_seconds: float
    next_look_seconds: float = 0.0
    forwarded_port: int = NO_PORT
    last_forwarded_port: int = NO_PORT
    """The same, but kept through gaps and restarts."""
    listening_port: int = NO_PORT
    port_bound: bool = False
    rebinds: bool = True
    """Whether `REBIND` lets us open a dead socket anew."""
    gluetun_up: bool = False
    qbittorrent_up: bool = False
    vpn_status: VpnStatus = VpnStatus.UNKNOWN
    connection_status: ConnectionStatus = ConnectionStatus.UNKNOWN
    has_torrents: bool | None = None
    """None = not known: asked only while qBittorrent is firewalled."""
    gluetun_auth: str = "none"
    """How we authenticate: none, basic or apikey."""
    qbittorrent_auth: str = "password"
    """How we authenticate: password, apikey or bypass."""
    qbittorrent_version: str = ""
    webapi_version: str = ""
    login_suspended_until: float = 0.0
    """0 = logins are not suspended."""
    last_success_at: float = 0.0
    """End of the last cycle that was in sync; 0 = never."""
    last_port_change_at: float = 0.0
    """When the forwarded port last changed; 0 = never seen."""
    out_of_sync_since: float = 0.0
    """Since when the tunnel has not been in sync, whatever the causes; 0 = it is in sync."""
    failing_since: float = 0.0
    """The same for failures alone: `no_port` and `vpn_down`, which heal by themselves, end it."""
    waiting_since: float = 0.0
    """The same for `no_port` and `vpn_down` alone, whatever was wrong before them."""
    failures: tuple[Failure, ...] = ()
    events: tuple[Event, ...] = ()
    operations: tuple[OperationResult, ...] = ()
    login_note: LoginNote | None = None
    vpn_note: VpnNote | None = None

    @property
    def in_sync(self) -> bool:
        """Whether the listening port was verified equal to the forwarded port."""
        return self.state is SyncState.IN_SYNC

    def is_healthy(self, now: float) -> bool:
        """Whether the tunnel has not been out of sync for longer than its grace.

        That is 3 intervals (at least 90 s) for failures, 10 minutes where the VPN is down or has
        no port, which heals by itself, and for both in turn. A cycle that does not end is a
        failure too.
        """
        grace = max(3 * self.interval_seconds, LEAST_GRACE_SECONDS)
        if now - self.finished_at > grace + self.next_look_seconds:
            return False
        if self.failing_since and now - self.failing_since > grace:
            return False
        longest = max(grace, WAITING_GRACE_SECONDS) if self.failing_since else WAITING_GRACE_SECONDS
        return not self.out_of_sync_since or now - self.out_of_sync_since <= longest


@dataclass(frozen=True, slots=True)
class LoginNote:
    """What status.json keeps of rejected logins, so that a restart does not spend new tries."""

    attempts_at: tuple[float, ...]
    """Unix times of the tries of the last hour that did not lead to a session."""
    rejections: int
    """How many tries in a row were rejected."""
    suspended_until: float
    reason: Reason
    fingerprint: str
    """Tells whether the rejected credentials changed; far too short to guess them from."""
    server: str = ""
    """Where they were tried, such as `gluetun:8080`."""


@dataclass(frozen=True, slots=True)
class VpnNote:
    """What status.json keeps of restarts of the VPN (`RESTART_VPN_AFTER`)."""

    restarted_at: float
    """Unix time of the last one."""
    restarts: int
    """How many there were since a port was seen last."""
    unfinished: bool
    """Whether the VPN may still have to be told to start again."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What survives a restart of ours, read from status.json."""

    forwarded_port: int = NO_PORT
    last_port_change_at: float = 0.0
    last_success_at: float = 0.0
    out_of_sync_since: float = 0.0
    failing_since: float = 0.0
    waiting_since: float = 0.0
    login_note: LoginNote | None = None
    vpn_note: VpnNote | None = None
