"""Reader of outcomes: what the status page shows of each tunnel, in bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from exporter.clock import Clock
from exporter.model import Event, Failure, Outcome, SyncState

EVENTS_KEPT = 20
_INTERVALS_UNTIL_STALE = 3
_GRACE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class TimedEvent:
    """An event and the Unix time of the cycle that reported it."""

    at: float
    event: Event


@dataclass(frozen=True, slots=True)
class TimedFailure:
    """A failure and the Unix time of the last cycle that met it."""

    at: float
    failure: Failure


@dataclass(frozen=True, slots=True)
class TunnelView:
    """What is known of one tunnel; `outcome` is None until its first cycle has finished."""

    name: str
    outcome: Outcome | None = None
    state_since: float = 0.0
    """When we first saw the present state; 0 = not yet."""
    events: tuple[TimedEvent, ...] = ()
    """The last events, newest first."""
    last_failure: TimedFailure | None = None

    @property
    def state(self) -> SyncState:
        """The state after the last cycle; `starting` before the first."""
        return SyncState.STARTING if self.outcome is None else self.outcome.state

    def is_stale(self, now: float) -> bool:
        """Whether the next cycle is long overdue: qSticky itself is stuck."""
        if self.outcome is None:
            return False
        wait = max(self.outcome.interval_seconds, self.outcome.next_look_seconds)
        return now - self.outcome.finished_at > _INTERVALS_UNTIL_STALE * wait + _GRACE_SECONDS

    def after(self, outcome: Outcome) -> TunnelView:
        """The view once `outcome` is known too."""
        at = outcome.finished_at
        same_state = self.outcome is not None and self.outcome.state is outcome.state
        newest_first = tuple(TimedEvent(at, event) for event in reversed(outcome.events))
        return TunnelView(
            name=self.name,
            outcome=outcome,
            state_since=self.state_since if same_state else at,
            events=(newest_first + self.events)[:EVENTS_KEPT] if newest_first else self.events,
            last_failure=(
                TimedFailure(at, outcome.failures[0]) if outcome.failures else self.last_failure
            ),
        )

    def moved(self, step: float) -> TunnelView:
        """The view with all that it dates `step` seconds later: the ages after a clock was set."""
        outcome, last = self.outcome, self.last_failure
        if outcome is None:
            return self
        return replace(
            self,
            outcome=replace(outcome, finished_at=outcome.finished_at + step),
            state_since=self.state_since + step,
            events=tuple(TimedEvent(timed.at + step, timed.event) for timed in self.events),
            last_failure=last and TimedFailure(last.at + step, last.failure),
        )


class StatusBoard:
    """Keeps, for each configured tunnel, its last outcome and its last events.

    Writers swap in a new mapping: a reader keeps one consistent snapshot as long as it likes.
    """

    def __init__(self, tunnels: Iterable[str], clock: Clock | None = None) -> None:
        """`clock` tells when the system clock is set, so that it changes no age."""
        self._clock = clock or Clock()
        self._offset = self._clock.difference()
        self._lock = threading.Lock()
        self._views: Mapping[str, TunnelView] = {}
        self._ready = False
        self.set_tunnels(tunnels)

    def publish(self, outcome: Outcome) -> None:
        """Take in the result of a cycle; one of a tunnel that is gone is dropped."""
        self._follow_clock()
        with self._lock:
            view = self._views.get(outcome.tunnel)
            if view is not None:
                self._views = {**self._views, outcome.tunnel: view.after(outcome)}

    def set_tunnels(self, names: Iterable[str]) -> None:
        """Name the tunnels there are from now on; those known already keep their history."""
        with self._lock:
            self._views = {name: self._views.get(name, TunnelView(name)) for name in names}

    def views(self) -> Mapping[str, TunnelView]:
        """The present snapshot, by tunnel name, in configured order."""
        self._follow_clock()
        return MappingProxyType(self._views)

    def _follow_clock(self) -> None:
        """Where the system clock was set, let the moments of the past move along with it."""
        if not self._clock.step_since(self._offset):
            return
        with self._lock:
            step = self._clock.step_since(self._offset)
            self._offset += step
            self._views = {name: view.moved(step) for name, view in self._views.items()}

    def is_ready(self) -> bool:
        """Whether every tunnel has had its first cycle; stays true once it was."""
        if not self._ready:
            views = self._views.values()
            self._ready = bool(views) and all(view.outcome is not None for view in views)
        return self._ready
