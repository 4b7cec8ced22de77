"""Reader of outcomes: what the status page shows of each tunnel, in bounded memory."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from exporter.config.load import TunnelConfig
from exporter.model import Event, Failure, Outcome, SyncState

EVENTS_KEPT = 20
_INTERVALS_UNTIL_STALE = 3
_GRACE_SECONDS = 30


class TimedEvent(NamedTuple):
    """An event and the moment of the check that reported it."""

    at: float
    event: Event


class TimedFailure(NamedTuple):
    """A failure and the moment of the last check that met it."""

    at: float
    failure: Failure


class TunnelView(NamedTuple):
    """What is known of one tunnel; `outcome` is None until its first check has finished."""

    config: TunnelConfig
    outcome: Outcome | None = None
    state_since: float = 0.0
    """The moment when we first saw the present state; means nothing without an outcome."""
    events: tuple[TimedEvent, ...] = ()
    """The last events, newest first."""
    last_failure: TimedFailure | None = None

    @property
    def name(self) -> str:
        """Return the tunnel's name."""
        return self.config.name

    @property
    def state(self) -> SyncState:
        """Return the state after the last check; `starting` before the first."""
        return SyncState.STARTING if self.outcome is None else self.outcome.state

    def is_stale(self, now: float) -> bool:
        """Whether the next check is long overdue: qSticky itself is stuck."""
        if self.outcome is None or self.outcome.finished_at is None:
            return False
        wait = max(self.config.interval_seconds, self.outcome.next_check_seconds)
        return now - self.outcome.finished_at > _INTERVALS_UNTIL_STALE * wait + _GRACE_SECONDS

    def after(self, outcome: Outcome) -> TunnelView:
        """Return the view with one more outcome."""
        at = outcome.finished_at or 0.0
        same_state = self.outcome is not None and self.outcome.state is outcome.state
        newest_first = tuple(TimedEvent(at, event) for event in reversed(outcome.events))
        return self._replace(
            outcome=outcome,
            state_since=self.state_since if same_state else at,
            events=(newest_first + self.events)[:EVENTS_KEPT] if newest_first else self.events,
            last_failure=(
                TimedFailure(at, outcome.failures[0]) if outcome.failures else self.last_failure
            ),
        )


class StatusBoard:
    """Keeps, for each configured tunnel, its last outcome and its last events."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._views: dict[str, TunnelView] = {}
        self._ready = False

    def set_tunnels(self, tunnels: Iterable[TunnelConfig]) -> None:
        """Show exactly these; those known already keep their history."""
        with self._lock:
            before, self._views = self._views, {}
            for tunnel in tunnels:
                known = before.get(tunnel.name, TunnelView(tunnel))
                self._views[tunnel.name] = known._replace(config=tunnel)

    def publish(self, outcome: Outcome) -> None:
        """Take in the outcome of a check; one of a tunnel that is gone is dropped."""
        with self._lock:
            if view := self._views.get(outcome.tunnel):
                self._views[outcome.tunnel] = view.after(outcome)

    def views(self) -> Mapping[str, TunnelView]:
        """Return the present views, by tunnel name, in configured order."""
        with self._lock:
            return dict(self._views)

    def has(self, tunnel: str) -> bool:
        """Whether a tunnel of that name is configured."""
        return tunnel in self._views

    def is_ready(self) -> bool:
        """Whether every tunnel has had its first check; stays true once it was."""
        if not self._ready:
            views = self.views().values()
            self._ready = bool(views) and all(view.outcome is not None for view in views)
        return self._ready
