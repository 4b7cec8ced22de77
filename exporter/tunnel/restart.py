"""Restarts a VPN that is up without a port (`RESTART_VPN_AFTER`), and makes sure that it starts.

The rules come first and are pure; `VpnRestart` does what they say.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from exporter.clock import Clock
from exporter.errors import TimedOut, Unauthorized
from exporter.model import (
    NO_PORT,
    Event,
    Failure,
    GluetunReading,
    Operation,
    Reason,
    SavedVpnRestart,
    VpnStatus,
)
from exporter.servers.gluetun import Gluetun
from exporter.servers.operations import Operations
from exporter.tunnel import events

PAUSES = (3600.0, 7200.0, 14400.0, 28800.0, 57600.0, 86400.0)
"""The least times after the first, the second and each further restart of the VPN."""
STOP_MAY_TAKE = 75.0
"""Gluetun first runs the user's down command, for a minute at most."""
STOP_PROOF_SECONDS = 5.0
"""How long to wait for the VPN to stop (measured: 0.1 s) before it is left to the next check."""
_STARTED = (VpnStatus.STARTING, VpnStatus.RUNNING)


class Step(Enum):
    """What to do about the VPN now."""

    NOTHING = auto()
    RESTART = auto()
    START = auto()


class RestartState(NamedTuple):
    """Since when a VPN that is up has had no port, and what was done about it."""

    portless_since: float = math.inf
    unfinished: bool = False
    """Whether the VPN was stopped, or may have been, and has to be started again."""
    restarts: int = 0
    """Since a port was seen last."""
    restarted_at: float = -math.inf


def after_reading(
    reading: GluetunReading | Failure,
    known: RestartState,
    now: float,
    *,
    reachable: bool | None = True,
) -> RestartState:
    """Take note of whether the VPN is up without a port; a time-out says nothing.

    A port that is not `reachable` counts as none; None = not known yet.
    """
    if isinstance(reading, Failure):
        if reading.reason is Reason.TIMEOUT:
            return known
        return known._replace(portless_since=math.inf)
    if reading.forwarded_port != NO_PORT and reachable is not False:
        restarts = 0 if reachable else known.restarts
        return known._replace(portless_since=math.inf, restarts=restarts)
    if not reading.vpn_status.is_up_or_unknown:
        return known._replace(portless_since=math.inf)
    return known._replace(portless_since=min(known.portless_since, now))


def restart_due(known: RestartState, after_seconds: float) -> float:
    """Return when to restart the VPN; infinity = not at all. At most once an hour, doubling."""
    if after_seconds == 0:
        return math.inf
    pause = PAUSES[min(max(known.restarts, 1), len(PAUSES)) - 1]
    return max(known.portless_since + after_seconds, known.restarted_at + pause)


def choose_step(known: RestartState, status: VpnStatus, now: float, after_seconds: float) -> Step:
    """Choose what to do; `known` includes the reading already."""
    if known.unfinished:
        return Step.START
    due = status is VpnStatus.RUNNING and now >= restart_due(known, after_seconds)
    return Step.RESTART if due else Step.NOTHING


class VpnRestart:
    """Restarts one VPN; at most one step in each check."""

    def __init__(
        self,
        gluetun: Gluetun,
        clock: Clock,
        after_seconds: float,
        saved: SavedVpnRestart | None,
        save: Callable[[SavedVpnRestart], None],
    ) -> None:
        """`save` is called before the VPN is stopped, so that a crash can't hide it."""
        self._gluetun = gluetun
        self._clock = clock
        self._after = after_seconds
        self._save = save
        self._was_down = False
        self._state = RestartState()
        self.restore(saved)

    def restore(self, saved: SavedVpnRestart | None) -> None:
        """Take over what is known of earlier restarts."""
        if saved:
            self._state = RestartState(
                unfinished=saved.unfinished,
                restarts=saved.restarts,
                restarted_at=min(saved.restarted_at, self._clock.monotonic()),
            )

    def step(
        self, reading: GluetunReading | Failure, did: Operations, *, reachable: bool | None
    ) -> list[Event]:
        """Do what is due, after Gluetun was read; errors end up in `did`."""
        now = self._clock.monotonic()
        self._state = after_reading(reading, self._state, now, reachable=reachable)
        status = VpnStatus.UNKNOWN if isinstance(reading, Failure) else reading.vpn_status
        said: list[Event] = []
        with did.may_fail(Operation.GLUETUN_STATUS):
            match choose_step(self._state, status, now, self._after):
                case Step.NOTHING:
                    self._check_role(reading, now)
                case Step.RESTART:
                    waited = now - self._state.portless_since
                    said.append(events.vpn_restarting(waited, has_port=reachable is False))
                    self._stop(did, now)
                    said.extend(self._start(did))
                case Step.START:
                    said.extend(self._start(did))
        return said

    @property
    def next_check_seconds(self) -> float:
        """Return how soon the next step is due; infinity where none is."""
        return 1.0 if self._state.unfinished else math.inf

    def saved(self) -> SavedVpnRestart | None:
        """Return what has to survive a restart; None where the VPN was never restarted."""
        state = self._state
        if math.isinf(state.restarted_at):
            return None
        return SavedVpnRestart(state.restarted_at, state.restarts, state.unfinished)

    def _check_role(self, reading: GluetunReading | Failure, now: float) -> None:
        """Raise what is missing where a restart would be due if we could see that the VPN is up."""
        answered = isinstance(reading, GluetunReading)
        due = now >= restart_due(self._state, self._after)
        if answered and due and self._gluetun.hides_status:
            raise self._gluetun.restart_refused()

    def _stop(self, did: Operations, now: float) -> None:
        self._was_down = False
        restarts = self._state.restarts + 1
        self._state = self._state._replace(unfinished=True, restarts=restarts, restarted_at=now)
        self._save(SavedVpnRestart(now, restarts, unfinished=True))
        try:
            with contextlib.suppress(TimedOut):  # a down command may run first
                self._gluetun.order_vpn(did, VpnStatus.STOPPED)
        except Unauthorized:
            self._state = self._state._replace(unfinished=False)
            raise
        deadline = self._clock.monotonic() + STOP_PROOF_SECONDS
        while self._status(did) is VpnStatus.RUNNING and self._clock.monotonic() < deadline:
            self._clock.sleep(0.05)

    def _start(self, did: Operations) -> list[Event]:
        """Start it; once more in each check until it can no longer be about to stop."""
        if not self._is_started(did):
            with contextlib.suppress(TimedOut):  # Gluetun answers when the tunnel is up
                self._gluetun.order_vpn(did, VpnStatus.RUNNING)
            if not self._is_started(did):
                return []
        self._state = self._state._replace(unfinished=False, portless_since=math.inf)
        return [events.vpn_restarted(self._pause())]

    def _is_started(self, did: Operations) -> bool:
        status = self._status(did)
        ago = self._clock.monotonic() - self._state.restarted_at
        return status in _STARTED and (self._was_down or ago >= STOP_MAY_TAKE)

    def _pause(self) -> float:
        """Return the least time until the next restart."""
        again = self._state._replace(portless_since=-math.inf)
        return restart_due(again, self._after or 1.0) - self._clock.monotonic()

    def _status(self, did: Operations) -> VpnStatus:
        status = self._gluetun.vpn_status(did, forwarded_port=NO_PORT)
        self._was_down = self._was_down or not status.is_up_or_unknown
        return status
