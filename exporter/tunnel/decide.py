"""What should happen now? Pure functions of what was read, what is remembered, and the time.

Times are seconds of a clock that only moves forward; its zero means nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from exporter.model import (
    NO_PORT,
    BindResult,
    ConnectionStatus,
    Failure,
    Reason,
    RebindPolicy,
    SyncState,
    VpnStatus,
)

STATUS_LAG_SECONDS = 3.0
"""For how long `disconnected` may be stale: 1.5 s from qBittorrent 4.6 on, and some margin."""
REBIND_AT_MOST_EVERY = 300.0
RECONNECT_MATTERS_FOR = 600.0
"""How long after a VPN reconnect a re-bind for its sake makes sense."""
REPAIR_AFTER = (60.0, 300.0, 1800.0)
"""Waits before the first, the second and each further re-bind of a port that is not listening."""
LOOKS_AFTER_PUSH = (0.2, 0.5, 1.0, 2.0)
"""When to look again after a push that brought no new port, in seconds since the push."""
_ROUNDING = 0.001
LOOK_OFTEN_FOR = 300.0
"""How long to look every second for a port or server, before the pauses grow.

In the field, gaps without a port of up to 253 s heal by themselves.
"""
REANNOUNCE_AT_MOST_EVERY = 300.0


@dataclass(frozen=True, slots=True)
class GluetunReading:
    """What Gluetun told."""

    forwarded_port: int
    vpn_status: VpnStatus = VpnStatus.UNKNOWN
    public_ip: str = ""


@dataclass(frozen=True, slots=True)
class QbittorrentReading:
    """What qBittorrent told."""

    listening_port: int
    random_port: bool = False
    connection_status: ConnectionStatus = ConnectionStatus.UNKNOWN
    bind_result: BindResult = BindResult.UNKNOWN
    reopens_sockets: bool | None = None
    """Whether its libtorrent opens sockets again after an interface came back; None = unknown."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one cycle read from both sides, or why it could not."""

    gluetun: GluetunReading | Failure
    qbittorrent: QbittorrentReading | Failure
    pushed: bool = False
    """Whether Gluetun asked for this cycle, because it has a port."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """All is well."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be done now; `state` says why."""

    state: SyncState


@dataclass(frozen=True, slots=True)
class SetPort:
    """Make this the listening port."""

    port: int


@dataclass(frozen=True, slots=True)
class Rebind:
    """Set another port, then this one again: opens a dead socket anew."""

    port: int


Decision = Nothing | Wait | SetPort | Rebind


@dataclass(frozen=True, slots=True)
class Memory:
    """What a tunnel remembers from cycle to cycle."""

    forwarded_port: int = NO_PORT
    """The last port that Gluetun forwarded, through gaps."""
    synced_port: int = NO_PORT
    """The port that was verified last; 0 once it is no longer expected to hold."""
    public_ip: str = ""
    interrupted: bool = False
    """The VPN was away since its port was seen last."""
    reconnected_at: float = -math.inf
    """When the VPN came back, unless the socket was opened anew since."""
    disconnected_at: float = math.inf
    """Since when every reading of the connection status is `disconnected`."""
    repairs: int = 0
    """Re-binds since the port was last seen listening."""
    repair_at: float = math.inf
    last_rebind_at: float = -math.inf
    pushed_at: float = -math.inf
    port_at_push: int = NO_PORT
    facts: tuple[tuple[object, ...], ...] = ()
    facts_since: float = -math.inf
    announce: bool = False
    """A port was set since the trackers were told."""
    announced_at: float = -math.inf


def notice(observation: Observation, memory: Memory, now: float) -> Memory:
    """Take note of what was read, before deciding."""
    memory = _notice_facts(observation, memory, now)
    if observation.pushed:
        memory = replace(memory, pushed_at=now, port_at_push=memory.forwarded_port)
    memory = _notice_reconnect(observation, memory, now)
    return _notice_socket(observation.qbittorrent, memory, now)


def decide(  # noqa: PLR0911  # each return is one rule, in their order of precedence
    observation: Observation, memory: Memory, now: float, policy: RebindPolicy = RebindPolicy.AUTO
) -> Decision:
    """Choose the next step; `memory` has taken note of the observation already."""
    gluetun, qbittorrent = observation.gluetun, observation.qbittorrent
    if isinstance(gluetun, Failure):
        return Wait(state_of(gluetun))
    if not gluetun.vpn_status.may_run:
        return Wait(SyncState.VPN_DOWN)
    if gluetun.forwarded_port == NO_PORT:
        return Wait(SyncState.NO_PORT)
    if isinstance(qbittorrent, Failure):
        return Wait(state_of(qbittorrent))
    if qbittorrent.listening_port != gluetun.forwarded_port or qbittorrent.random_port:
        return SetPort(gluetun.forwarded_port)
    if is_dead(qbittorrent, memory, now):
        if now >= repair_due(memory, policy):
            return Rebind(gluetun.forwarded_port)
        return Wait(SyncState.NOT_LISTENING)
    if should_rebind(qbittorrent, memory, now, policy):
        return Rebind(gluetun.forwarded_port)
    return Nothing()


def is_dead(reading: QbittorrentReading, memory: Memory, now: float) -> bool:
    """Whether no socket listens on the port; a fresh `disconnected` may be a stale reading."""
    failed = reading.bind_result is BindResult.FAILED
    return failed or now - memory.disconnected_at >= STATUS_LAG_SECONDS


def repair_due(memory: Memory, policy: RebindPolicy) -> float:
    """When a dead socket is to be opened anew; infinity where it never is."""
    if policy is RebindPolicy.NEVER:
        return math.inf
    return max(memory.repair_at, memory.last_rebind_at + REBIND_AT_MOST_EVERY)


def should_rebind(
    reading: QbittorrentReading, memory: Memory, now: float, policy: RebindPolicy
) -> bool:
    """Whether a VPN reconnect calls for opening the socket anew, though all looks right."""
    if now >= memory.reconnected_at + RECONNECT_MATTERS_FOR:
        return False
    if now < memory.last_rebind_at + REBIND_AT_MOST_EVERY:
        return False
    match policy:
        case RebindPolicy.NEVER:
            return False
        case RebindPolicy.ALWAYS:
            return True
        case RebindPolicy.AUTO:
            closed = reading.connection_status is ConnectionStatus.DISCONNECTED
            return closed or reading.reopens_sockets is False


def state_of(failure: Failure) -> SyncState:
    """The state that a failed reading leads to."""
    if failure.operation.startswith("gluetun"):
        refused = failure.reason is Reason.AUTH
        return SyncState.GLUETUN_UNAUTHORIZED if refused else SyncState.GLUETUN_UNREACHABLE
    match failure.reason:
        case Reason.AUTH | Reason.FORBIDDEN_HOST:
            return SyncState.QBITTORRENT_UNAUTHORIZED
        case Reason.BANNED:
            return SyncState.QBITTORRENT_BANNED
        case Reason.VERIFY_MISMATCH:
            return SyncState.OUT_OF_SYNC
        case Reason.BIND_FAILED:
            return SyncState.NOT_LISTENING
        case _:
            return SyncState.QBITTORRENT_UNREACHABLE


def opened(memory: Memory, now: float, *, rebind: bool) -> Memory:
    """Take note that a port is being set; until it is verified it does not count as synced."""
    return replace(
        memory,
        synced_port=NO_PORT,
        reconnected_at=-math.inf,
        disconnected_at=math.inf,
        repairs=memory.repairs + 1 if rebind else memory.repairs,
        repair_at=math.inf,
        last_rebind_at=now if rebind else memory.last_rebind_at,
    )


def settled(state: SyncState, memory: Memory, now: float) -> Memory:
    """Take note of how the cycle ended."""
    if state is SyncState.IN_SYNC:
        return replace(memory, synced_port=memory.forwarded_port)
    if state is SyncState.NOT_LISTENING and memory.repair_at == math.inf:
        wait = REPAIR_AFTER[min(memory.repairs, len(REPAIR_AFTER) - 1)]
        return replace(memory, repair_at=now + wait)
    return memory


def has_drifted(reading: QbittorrentReading, memory: Memory) -> bool:
    """Whether qBittorrent left the right port although Gluetun's did not change."""
    synced = memory.synced_port != NO_PORT and memory.synced_port == memory.forwarded_port
    return synced and (reading.listening_port != memory.forwarded_port or reading.random_port)


def should_announce(memory: Memory, now: float) -> bool:
    """Whether the trackers are to be told of a new port now."""
    return memory.announce and now >= memory.announced_at + REANNOUNCE_AT_MOST_EVERY


def next_look(
    state: SyncState,
    memory: Memory,
    now: float,
    interval: float,
    policy: RebindPolicy = RebindPolicy.AUTO,
) -> float:
    """Seconds until the next cycle: often while something is awaited, then `interval`."""
    since_push = now - memory.pushed_at
    looks_left = [at for at in LOOKS_AFTER_PUSH if at > since_push + _ROUNDING]
    if looks_left and memory.forwarded_port == memory.port_at_push:
        return looks_left[0] - since_push
    match state:
        case SyncState.IN_SYNC:
            doubtful = memory.disconnected_at != math.inf
            return min(STATUS_LAG_SECONDS, interval) if doubtful else interval
        case SyncState.NOT_LISTENING:
            return min(interval, max(1.0, repair_due(memory, policy) - now))
        case SyncState.GLUETUN_UNAUTHORIZED | SyncState.QBITTORRENT_UNAUTHORIZED:
            return interval
        case SyncState.QBITTORRENT_BANNED | SyncState.STARTING:
            return interval
        case (
            SyncState.OUT_OF_SYNC
            | SyncState.NO_PORT
            | SyncState.VPN_DOWN
            | SyncState.GLUETUN_UNREACHABLE
            | SyncState.QBITTORRENT_UNREACHABLE
        ):
            waited = now - memory.facts_since
            # a server that hangs keeps a worker busy at each look, so the pauses grow at once
            hangs = any(Reason.TIMEOUT in fact for fact in memory.facts)
            return min(interval, max(1.0, waited if hangs else waited / LOOK_OFTEN_FOR))


def _notice_facts(observation: Observation, memory: Memory, now: float) -> Memory:
    """Remember since when everything reads the same: a change makes looking often worthwhile."""
    facts: tuple[tuple[object, ...], ...] = tuple(
        (side.operation, side.reason) if isinstance(side, Failure) else _facts_of(side)
        for side in (observation.gluetun, observation.qbittorrent)
    )
    return memory if facts == memory.facts else replace(memory, facts=facts, facts_since=now)


def _facts_of(reading: GluetunReading | QbittorrentReading) -> tuple[object, ...]:
    if isinstance(reading, GluetunReading):
        return (reading.forwarded_port, reading.vpn_status)
    return (reading.listening_port,)


def _notice_reconnect(observation: Observation, memory: Memory, now: float) -> Memory:
    gluetun = observation.gluetun
    if isinstance(gluetun, Failure):
        # a time-out tells nothing about the VPN
        interrupted = memory.interrupted or gluetun.reason is Reason.CONNECTION
        return replace(memory, interrupted=interrupted)
    if not gluetun.vpn_status.may_run or gluetun.forwarded_port == NO_PORT:
        return replace(memory, interrupted=True)
    moved = bool(memory.public_ip and gluetun.public_ip and gluetun.public_ip != memory.public_ip)
    pushed_same = (
        gluetun.forwarded_port == memory.port_at_push != NO_PORT
        and now - memory.pushed_at + _ROUNDING >= LOOKS_AFTER_PUSH[-1]
    )
    came_back = memory.interrupted or moved or pushed_same
    return replace(
        memory,
        forwarded_port=gluetun.forwarded_port,
        public_ip=gluetun.public_ip or memory.public_ip,
        interrupted=False,
        reconnected_at=now if came_back else memory.reconnected_at,
        pushed_at=-math.inf if pushed_same else memory.pushed_at,
        port_at_push=NO_PORT if pushed_same else memory.port_at_push,
    )


def _notice_socket(reading: QbittorrentReading | Failure, memory: Memory, now: float) -> Memory:
    if isinstance(reading, Failure):
        return replace(memory, disconnected_at=math.inf)
    if reading.connection_status is ConnectionStatus.DISCONNECTED:
        return replace(memory, disconnected_at=min(memory.disconnected_at, now))
    if reading.bind_result is BindResult.FAILED:
        return replace(memory, disconnected_at=math.inf)
    return replace(memory, disconnected_at=math.inf, repairs=0, repair_at=math.inf)
