"""What should happen now? Pure functions of what was read, what is known, and the time."""

from __future__ import annotations

import math
from typing import NamedTuple

from exporter.model import (
    NO_PORT,
    BindResult,
    ConnectionStatus,
    Failure,
    QbittorrentReading,
    Reason,
    RebindPolicy,
    SyncState,
)
from exporter.tunnel import outside
from exporter.tunnel.state import (
    MOST_REBINDS,
    REBINDS_WITHIN,
    Observation,
    RebindCause,
    TunnelState,
)

CLOSED_CHECK_AFTER = 3.0
CHECKS_AFTER_PUSH = (0.2, 0.5, 1.0, 2.0)
"""When to check again after a push that brought no new port, in seconds since the push."""
_ROUNDING = 0.001
CHECK_OFTEN_FOR = 300.0
"""How long to check every second for a port or server, before the pauses grow.

In the field, gaps without a port of up to 253 s heal by themselves.
"""


class Nothing(NamedTuple):
    """All is well."""


class Wait(NamedTuple):
    """Nothing can be done now; `state` says why."""

    state: SyncState


class SetPort(NamedTuple):
    """Make this the listening port."""

    port: int


class Rebind(NamedTuple):
    """Set another port, then this one again: reopens a dead socket."""

    port: int
    cause: RebindCause


Decision = Nothing | Wait | SetPort | Rebind


def decide(  # noqa: PLR0911  # each return is one rule, in their order of precedence
    observation: Observation, known: TunnelState, now: float
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
    if cause := _rebind_cause(qbittorrent, known, now):
        if now >= guard_ends_at(known):
            return Rebind(gluetun.forwarded_port, cause)
        if cause is not RebindCause.NOT_REACHABLE:
            return Wait(SyncState.NOT_LISTENING)
    return Wait(SyncState.NOT_LISTENING) if qbittorrent.is_closed else Nothing()


def guard_ends_at(known: TunnelState) -> float:
    """Return from when on another re-bind is no storm."""
    if len(known.rebinds_at) < MOST_REBINDS:
        return -math.inf
    return known.rebinds_at[-MOST_REBINDS] + REBINDS_WITHIN


def must_watch(reading: QbittorrentReading | None, known: TunnelState) -> bool:
    """Whether a reconnect between two checks would leave a dead socket that nothing shows."""
    if reading is None or reading.reopens_sockets or known.policy is RebindPolicy.NEVER:
        return False
    return not known.push_seen


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


def next_check(
    state: SyncState,
    reading: QbittorrentReading | None,
    known: TunnelState,
    now: float,
    interval: float,
) -> float:
    """Return the seconds until the next check: few while something is awaited, then `interval`."""
    since_push = now - known.pushed_at
    checks_left = [at for at in CHECKS_AFTER_PUSH if at > since_push + _ROUNDING]
    if checks_left and known.forwarded_port == known.port_at_push:
        return checks_left[0] - since_push
    match state:
        case SyncState.IN_SYNC:
            # read before the port was set, which is what is to be confirmed
            doubtful = reading is not None and _is_disconnected(reading)
            return min(interval, CLOSED_CHECK_AFTER) if doubtful else interval
        case SyncState.NOT_LISTENING:
            return min(interval, _closed_pause(reading, known, now))
        case SyncState.GLUETUN_UNAUTHORIZED | SyncState.QBITTORRENT_UNAUTHORIZED:
            return interval
        case SyncState.QBITTORRENT_BANNED | SyncState.STARTING | SyncState.NOT_REACHABLE:
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


def _closed_pause(reading: QbittorrentReading | None, known: TunnelState, now: float) -> float:
    if reading is not None and _is_disconnected(reading):
        return max(CLOSED_CHECK_AFTER, (now - known.facts_since) / CHECK_OFTEN_FOR)
    on_loopback = reading is not None and reading.bind_result is BindResult.LOOPBACK
    if on_loopback or known.policy is RebindPolicy.NEVER:
        return math.inf
    due = known.repair_at if known.wanted is None else now
    return max(1.0, max(due, guard_ends_at(known)) - now)


def _is_disconnected(reading: QbittorrentReading) -> bool:
    return reading.connection_status is ConnectionStatus.DISCONNECTED


def _rebind_cause(
    reading: QbittorrentReading, known: TunnelState, now: float
) -> RebindCause | None:
    """Return why to re-bind now; on loopback alone it would not help."""
    if known.policy is RebindPolicy.NEVER or reading.bind_result is BindResult.LOOPBACK:
        return None
    if known.wanted:
        return known.wanted
    if reading.is_closed:
        return RebindCause.CLOSED if now >= known.repair_at else None
    return RebindCause.NOT_REACHABLE if outside.wants_rebind(known.outside) else None
