"""What is known of a tunnel from check to check. Pure functions: a state in, the next one out."""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import NamedTuple, TypeGuard

from exporter.model import (
    NO_PORT,
    Answer,
    Failure,
    GluetunReading,
    Outside,
    QbittorrentReading,
    Reason,
    RebindPolicy,
    SyncState,
)
from exporter.tunnel import outside

MOST_REBINDS, REBINDS_WITHIN = 6, 300.0
"""A guard against storms: so many re-binds in so many seconds."""
REPAIR_AFTER = (60.0, 300.0, 1800.0)
"""Waits before the first, the second and each further re-bind of a port that is not listening."""
PUSH_FOLLOWS_WITHIN = 1.0
"""A push so soon after a write is about the reconnect that the write has answered."""
REANNOUNCE_AT_MOST_EVERY = 300.0


class Observation(NamedTuple):
    """What one check read from both sides, or why it could not."""

    gluetun: GluetunReading | Failure
    qbittorrent: QbittorrentReading | Failure
    pushed: bool = False
    """Whether Gluetun asked for this check, because it has a port."""
    unwatched: bool = False
    """Whether a reconnect may have passed unseen since the check before."""
    answer: Answer | None = None
    """What somebody outside has found since the check before."""


class RebindCause(Enum):
    """Why a port that is set right is to be set again."""

    RECONNECT = auto()
    """The VPN was away, or may have been, and libtorrent may sit on a dead socket."""
    START = auto()
    """Nobody watched for a while, as before a start, and the socket may not have reopened."""
    CLOSED = auto()
    """No socket listens on the port."""
    NOT_REACHABLE = auto()
    """All looks right, and nobody outside gets in."""


class TunnelState(NamedTuple):
    """What is known of a tunnel from check to check."""

    policy: RebindPolicy = RebindPolicy.AUTO
    """As configured."""
    forwarded_port: int = NO_PORT
    """The last port that Gluetun forwarded, through gaps."""
    synced_port: int = NO_PORT
    """The port that was verified last; 0 once it is no longer expected to hold."""
    opening_since: float | None = None
    """When a port that has not been open since was first seen, or the VPN back."""
    public_ip: str = ""
    interrupted: bool = False
    """The VPN was away, or may have been, since its port was seen last."""
    wanted: RebindCause | None = RebindCause.START
    """Why the port is to be re-bound as soon as it can be; None where its socket is trusted."""
    written_at: float = -math.inf
    """When the port was last set or re-bound."""
    rebinds_at: tuple[float, ...] = ()
    """The last re-bindings, as far as they count for the guard."""
    repairs: int = 0
    """Re-binds because the port was closed, since it was last seen listening."""
    repair_at: float = math.inf
    """When to re-bind a closed port; infinity while it is not known to be closed."""
    pushed_at: float = -math.inf
    port_at_push: int = NO_PORT
    push_pending: bool = False
    """Whether no port was read since Gluetun pushed."""
    push_seen: bool = False
    """Whether Gluetun ever asked for a check."""
    facts: tuple[tuple[object, ...], ...] = ()
    facts_since: float = -math.inf
    announce: bool = False
    """A port was set since the torrents were announced."""
    announced_at: float = -math.inf
    outside: Outside = Outside()


def after_reading(observation: Observation, known: TunnelState, now: float) -> TunnelState:
    """Return what is known with the observation, before deciding."""
    known = _with_facts(observation, known, now)
    if observation.pushed:
        known = known._replace(
            pushed_at=now,
            port_at_push=known.forwarded_port,
            push_pending=now - known.written_at >= PUSH_FOLLOWS_WITHIN,
            push_seen=True,
        )
    known = _with_reconnect(observation, known, now)
    return _with_answer(observation, _with_socket(observation, known))


def after_write(
    known: TunnelState, now: float, *, rebind: RebindCause | None = None
) -> TunnelState:
    """Return what is known once a port is being set: it is not synced until it is verified."""
    recent = tuple(at for at in known.rebinds_at if now - at < REBINDS_WITHIN)
    note = outside.after_change
    if rebind is RebindCause.NOT_REACHABLE:
        note = outside.after_rebind
    return known._replace(
        outside=note(known.outside, now),
        opening_since=None if rebind is RebindCause.START else known.opening_since,
        synced_port=NO_PORT,
        wanted=None,
        written_at=now,
        repairs=known.repairs + (rebind is RebindCause.CLOSED),
        repair_at=math.inf,
        rebinds_at=(*recent, now) if rebind else recent,
    )


def after_check(state: SyncState, known: TunnelState, now: float) -> TunnelState:
    """Return what is known at the end of a check."""
    if state in (SyncState.IN_SYNC, SyncState.NOT_REACHABLE):
        return _changed(known, synced_port=known.forwarded_port, opening_since=None)
    if state is SyncState.NOT_LISTENING and known.repair_at == math.inf:
        wait = REPAIR_AFTER[min(known.repairs, len(REPAIR_AFTER) - 1)]
        return known._replace(repair_at=now + wait)
    return known


def opened_after(state: SyncState, known: TunnelState, now: float) -> float | None:
    """Return how long the port that is open now took to open; None where it was open already.

    The first port after a start counts only if it had to be set. Ask before `after_check`.
    """
    was_open = known.synced_port == NO_PORT and known.written_at == -math.inf
    if state is not SyncState.IN_SYNC or known.opening_since is None or was_open:
        return None
    return now - known.opening_since


def has_drifted(reading: QbittorrentReading, known: TunnelState) -> bool:
    """Whether qBittorrent left the right port although Gluetun's did not change."""
    synced = known.synced_port != NO_PORT and known.synced_port == known.forwarded_port
    return synced and (reading.listening_port != known.forwarded_port or reading.random_port)


def should_announce(known: TunnelState, now: float) -> bool:
    """Whether to announce a new port to the trackers now."""
    return known.announce and now >= known.announced_at + REANNOUNCE_AT_MOST_EVERY


def _changed(known: TunnelState, **values: object) -> TunnelState:
    """Replace what differs; mostly nothing does, and a copy takes long."""
    differ = {name: value for name, value in values.items() if getattr(known, name) != value}
    return known._replace(**differ) if differ else known  # type: ignore[arg-type]  # as replace


def _with_facts(observation: Observation, known: TunnelState, now: float) -> TunnelState:
    """Note since when everything reads the same: a change makes frequent checks worthwhile."""
    facts: tuple[tuple[object, ...], ...] = tuple(
        (side.operation, side.reason) if isinstance(side, Failure) else _facts_of(side)
        for side in (observation.gluetun, observation.qbittorrent)
    )
    return known if facts == known.facts else known._replace(facts=facts, facts_since=now)


def _facts_of(reading: GluetunReading | QbittorrentReading) -> tuple[object, ...]:
    if isinstance(reading, GluetunReading):
        return (reading.forwarded_port, reading.vpn_status)
    return (reading.listening_port, reading.is_closed)


def _with_reconnect(observation: Observation, known: TunnelState, now: float) -> TunnelState:
    gluetun = observation.gluetun
    if not _is_vpn_up(gluetun):
        # a time-out says nothing about the VPN
        silent = isinstance(gluetun, Failure) and gluetun.reason is Reason.TIMEOUT
        return _changed(known, interrupted=known.interrupted or not silent)
    moved = bool(known.public_ip) and gluetun.public_ip not in (None, known.public_ip)
    # Gluetun has the port in its API before its up command runs (3.40.4, 3.41.1), or lets nobody
    # read it until that has ended (main)
    pushed_same = known.push_pending and gluetun.forwarded_port == known.port_at_push
    came_back = known.interrupted or moved or pushed_same
    unseen = RebindCause.START if observation.unwatched else None
    opens = came_back or gluetun.forwarded_port != known.forwarded_port
    seen = known.outside
    if gluetun.forwarded_port != known.forwarded_port:
        seen = outside.after_another_port(seen, now)
    elif came_back:
        seen = outside.after_change(seen, now)
    return _changed(
        known,
        forwarded_port=gluetun.forwarded_port,
        opening_since=now if opens else known.opening_since,
        public_ip=gluetun.public_ip or ("" if moved else known.public_ip),
        interrupted=False,
        wanted=RebindCause.RECONNECT if came_back else known.wanted or unseen,
        repair_at=math.inf if came_back else known.repair_at,
        push_pending=False,
        outside=seen,
    )


def _with_answer(observation: Observation, known: TunnelState) -> TunnelState:
    answer, reading = observation.answer, observation.qbittorrent
    if answer is None or answer.port != known.forwarded_port:
        return known
    closed = isinstance(reading, Failure) or reading.is_closed
    explained = closed or not _is_vpn_up(observation.gluetun)
    return known._replace(outside=outside.after_answer(known.outside, answer, explained=explained))


def _is_vpn_up(gluetun: GluetunReading | Failure) -> TypeGuard[GluetunReading]:
    return not isinstance(gluetun, Failure) and gluetun.has_port


def _with_socket(observation: Observation, known: TunnelState) -> TunnelState:
    reading = observation.qbittorrent
    if isinstance(reading, Failure) or not _is_vpn_up(observation.gluetun):
        return _changed(known, repair_at=math.inf)
    wanted = _still_wanted(reading, known)
    if reading.is_closed:
        return _changed(known, wanted=wanted)
    return _changed(known, wanted=wanted, repairs=0, repair_at=math.inf)


def _still_wanted(reading: QbittorrentReading, known: TunnelState) -> RebindCause | None:
    """Return what a reading leaves of a wish: a socket that reopened by itself fulfils it."""
    match known.policy, known.wanted:
        case (RebindPolicy.NEVER, _) | (_, None):
            return None
        case RebindPolicy.ALWAYS, RebindCause.RECONNECT:
            return known.wanted
        case _, RebindCause.START:
            return None if reading.reopens_sockets else known.wanted
        case _:
            return known.wanted if reading.is_closed or not reading.reopens_sockets else None
