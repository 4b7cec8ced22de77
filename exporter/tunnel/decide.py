"""What should happen now? Pure functions of what was read, what is known, and the time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from exporter.model import (
    NO_PORT,
    BindResult,
    ConnectionStatus,
    Failure,
    GluetunReading,
    QbittorrentReading,
    Reason,
    RebindPolicy,
    SyncState,
)

STATUS_LAG_SECONDS = 3.0
"""For how long `disconnected` may be stale: 1.5 s from qBittorrent 4.6 on, and some margin."""
REBIND_AT_MOST_EVERY = 300.0
RECONNECT_MATTERS_FOR = 600.0
"""How long after a VPN reconnect a re-bind for its sake makes sense."""
REPAIR_AFTER = (60.0, 300.0, 1800.0)
"""Waits before the first, the second and each further re-bind of a port that is not listening."""
CHECKS_AFTER_PUSH = (0.2, 0.5, 1.0, 2.0)
"""When to check again after a push that brought no new port, in seconds since the push."""
_ROUNDING = 0.001
CHECK_OFTEN_FOR = 300.0
"""How long to check every second for a port or server, before the pauses grow.

In the field, gaps without a port of up to 253 s heal by themselves.
"""
REANNOUNCE_AT_MOST_EVERY = 300.0


@dataclass(frozen=True, slots=True)
class Observation:
    """What one check read from both sides, or why it could not."""

    gluetun: GluetunReading | Failure
    qbittorrent: QbittorrentReading | Failure
    pushed: bool = False
    """Whether Gluetun asked for this check, because it has a port."""


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
    """Set another port, then this one again: reopens a dead socket."""

    port: int


Decision = Nothing | Wait | SetPort | Rebind


@dataclass(frozen=True, slots=True)
class TunnelState:
    """What is known of a tunnel from check to check."""

    forwarded_port: int = NO_PORT
    """The last port that Gluetun forwarded, through gaps."""
    synced_port: int = NO_PORT
    """The port that was verified last; 0 once it is no longer expected to hold."""
    public_ip: str = ""
    interrupted: bool = False
    """The VPN was away since its port was seen last."""
    reconnected_at: float = -math.inf
    """When the VPN came back, unless the socket was reopened since."""
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
    """A port was set since the torrents were announced."""
    announced_at: float = -math.inf


def after_reading(observation: Observation, known: TunnelState, now: float) -> TunnelState:
    """Return what is known with the observation, before deciding."""
    known = _with_facts(observation, known, now)
    if observation.pushed:
        known = replace(known, pushed_at=now, port_at_push=known.forwarded_port)
    known = _with_reconnect(observation, known, now)
    return _with_socket(observation.qbittorrent, known, now)


def decide(  # noqa: PLR0911  # each return is one rule, in their order of precedence
    observation: Observation,
    known: TunnelState,
    now: float,
    policy: RebindPolicy = RebindPolicy.AUTO,
) -> Decision:
    """Choose the next step; `known` includes the observation already."""
    gluetun, qbittorrent = observation.gluetun, observation.qbittorrent
    if isinstance(gluetun, Failure):
        return Wait(state_of(gluetun))
    if not gluetun.vpn_status.is_up_or_unknown:
        return Wait(SyncState.VPN_DOWN)
    if gluetun.forwarded_port == NO_PORT:
        return Wait(SyncState.NO_PORT)
    if isinstance(qbittorrent, Failure):
        return Wait(state_of(qbittorrent))
    if qbittorrent.listening_port != gluetun.forwarded_port or qbittorrent.random_port:
        return SetPort(gluetun.forwarded_port)
    if is_dead(qbittorrent, known, now):
        if now >= repair_due(known, policy):
            return Rebind(gluetun.forwarded_port)
        return Wait(SyncState.NOT_LISTENING)
    if should_rebind(qbittorrent, known, now, policy):
        return Rebind(gluetun.forwarded_port)
    return Nothing()


def is_dead(reading: QbittorrentReading, known: TunnelState, now: float) -> bool:
    """Whether no socket listens on the port; a fresh `disconnected` may be a stale reading."""
    failed = reading.bind_result is BindResult.FAILED
    return failed or now - known.disconnected_at >= STATUS_LAG_SECONDS


def repair_due(known: TunnelState, policy: RebindPolicy) -> float:
    """Return when to reopen a dead socket; infinity where it never is."""
    if policy is RebindPolicy.NEVER:
        return math.inf
    return max(known.repair_at, known.last_rebind_at + REBIND_AT_MOST_EVERY)


def should_rebind(
    reading: QbittorrentReading, known: TunnelState, now: float, policy: RebindPolicy
) -> bool:
    """Whether a VPN reconnect calls for reopening the socket, though all looks right."""
    if now >= known.reconnected_at + RECONNECT_MATTERS_FOR:
        return False
    if now < known.last_rebind_at + REBIND_AT_MOST_EVERY:
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
    """Return the state that a failed reading leads to."""
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


def after_write(known: TunnelState, now: float, *, rebind: bool) -> TunnelState:
    """Return what is known once a port is being set: it is not synced until it is verified."""
    return replace(
        known,
        synced_port=NO_PORT,
        reconnected_at=-math.inf,
        disconnected_at=math.inf,
        repairs=known.repairs + 1 if rebind else known.repairs,
        repair_at=math.inf,
        last_rebind_at=now if rebind else known.last_rebind_at,
    )


def after_check(state: SyncState, known: TunnelState, now: float) -> TunnelState:
    """Return what is known at the end of a check."""
    if state is SyncState.IN_SYNC:
        return replace(known, synced_port=known.forwarded_port)
    if state is SyncState.NOT_LISTENING and known.repair_at == math.inf:
        wait = REPAIR_AFTER[min(known.repairs, len(REPAIR_AFTER) - 1)]
        return replace(known, repair_at=now + wait)
    return known


def has_drifted(reading: QbittorrentReading, known: TunnelState) -> bool:
    """Whether qBittorrent left the right port although Gluetun's did not change."""
    synced = known.synced_port != NO_PORT and known.synced_port == known.forwarded_port
    return synced and (reading.listening_port != known.forwarded_port or reading.random_port)


def should_announce(known: TunnelState, now: float) -> bool:
    """Whether to announce a new port to the trackers now."""
    return known.announce and now >= known.announced_at + REANNOUNCE_AT_MOST_EVERY


def next_check(
    state: SyncState,
    known: TunnelState,
    now: float,
    interval: float,
    policy: RebindPolicy = RebindPolicy.AUTO,
) -> float:
    """Return the seconds until the next check: few while something is awaited, then `interval`."""
    since_push = now - known.pushed_at
    checks_left = [at for at in CHECKS_AFTER_PUSH if at > since_push + _ROUNDING]
    if checks_left and known.forwarded_port == known.port_at_push:
        return checks_left[0] - since_push
    match state:
        case SyncState.IN_SYNC:
            doubtful = known.disconnected_at != math.inf
            return min(STATUS_LAG_SECONDS, interval) if doubtful else interval
        case SyncState.NOT_LISTENING:
            return min(interval, max(1.0, repair_due(known, policy) - now))
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
            waited = now - known.facts_since
            # a server that hangs keeps a worker busy in each check, so the pauses grow at once
            hangs = any(Reason.TIMEOUT in fact for fact in known.facts)
            return min(interval, max(1.0, waited if hangs else waited / CHECK_OFTEN_FOR))


def _with_facts(observation: Observation, known: TunnelState, now: float) -> TunnelState:
    """Note since when everything reads the same: a change makes frequent checks worthwhile."""
    facts: tuple[tuple[object, ...], ...] = tuple(
        (side.operation, side.reason) if isinstance(side, Failure) else _facts_of(side)
        for side in (observation.gluetun, observation.qbittorrent)
    )
    return known if facts == known.facts else replace(known, facts=facts, facts_since=now)


def _facts_of(reading: GluetunReading | QbittorrentReading) -> tuple[object, ...]:
    if isinstance(reading, GluetunReading):
        return (reading.forwarded_port, reading.vpn_status)
    return (reading.listening_port,)


def _with_reconnect(observation: Observation, known: TunnelState, now: float) -> TunnelState:
    gluetun = observation.gluetun
    if isinstance(gluetun, Failure):
        # a time-out says nothing about the VPN
        interrupted = known.interrupted or gluetun.reason is Reason.CONNECTION
        return replace(known, interrupted=interrupted)
    if not gluetun.vpn_status.is_up_or_unknown or gluetun.forwarded_port == NO_PORT:
        return replace(known, interrupted=True)
    moved = bool(known.public_ip and gluetun.public_ip and gluetun.public_ip != known.public_ip)
    pushed_same = (
        gluetun.forwarded_port == known.port_at_push != NO_PORT
        and now - known.pushed_at + _ROUNDING >= CHECKS_AFTER_PUSH[-1]
    )
    came_back = known.interrupted or moved or pushed_same
    return replace(
        known,
        forwarded_port=gluetun.forwarded_port,
        public_ip=gluetun.public_ip or known.public_ip,
        interrupted=False,
        reconnected_at=now if came_back else known.reconnected_at,
        pushed_at=-math.inf if pushed_same else known.pushed_at,
        port_at_push=NO_PORT if pushed_same else known.port_at_push,
    )


def _with_socket(
    reading: QbittorrentReading | Failure, known: TunnelState, now: float
) -> TunnelState:
    if isinstance(reading, Failure):
        return replace(known, disconnected_at=math.inf)
    if reading.connection_status is ConnectionStatus.DISCONNECTED:
        return replace(known, disconnected_at=min(known.disconnected_at, now))
    if reading.bind_result is BindResult.FAILED:
        return replace(known, disconnected_at=math.inf)
    return replace(known, disconnected_at=math.inf, repairs=0, repair_at=math.inf)
