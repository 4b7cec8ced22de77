"""What has happened so far: the last outcome of each tunnel, and counts since the start."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from threading import Lock
from types import MappingProxyType
from typing import NamedTuple

from exporter.clock import Clock
from exporter.config.load import TunnelConfig
from exporter.model import EventKind, Operation, OperationResult, Outcome, Reason, SyncState

OPERATION_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
OPENING_BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Upper bounds in seconds of the durations that are counted together; one more has no bound."""

LOG_LEVELS = {"warning": 30, "error": 40, "critical": 50}
"""The counted levels and the lowest number of each, as in logging."""

_HTTP = (
    Reason.CONNECTION,
    Reason.TIMEOUT,
    Reason.TLS,
    Reason.AUTH,
    Reason.HTTP_4XX,
    Reason.HTTP_5XX,
    Reason.INVALID_RESPONSE,
    Reason.OTHER,
)
_QBITTORRENT = (*_HTTP, Reason.FORBIDDEN_HOST)
REASONS: Mapping[Operation, tuple[Reason, ...]] = {
    Operation.GLUETUN_PORT: _HTTP,
    Operation.GLUETUN_STATUS: _HTTP,
    Operation.GLUETUN_PUBLIC_IP: _HTTP,
    Operation.QBITTORRENT_LOGIN: (*_QBITTORRENT, Reason.BANNED),
    Operation.QBITTORRENT_PREFERENCES: _QBITTORRENT,
    Operation.QBITTORRENT_TRANSFER: _QBITTORRENT,
    Operation.QBITTORRENT_SET_PORT: (*_QBITTORRENT, Reason.VERIFY_MISMATCH, Reason.BIND_FAILED),
    Operation.QBITTORRENT_LOG: (*_QBITTORRENT, Reason.BIND_FAILED),
    Operation.REACHABILITY: (*_HTTP, Reason.RATE_LIMITED),
    Operation.STATUS_FILE: (Reason.IO, Reason.OTHER),
}
"""The reasons that each operation can fail for; any other one counts as `other`."""


class Timing(NamedTuple):
    """How long things of one kind took."""

    bounds: tuple[float, ...]
    buckets: tuple[int, ...]
    seconds: float = 0.0

    @classmethod
    def none(cls, bounds: tuple[float, ...]) -> Timing:
        """Return the timing of nothing yet."""
        return cls(bounds, (0,) * (len(bounds) + 1))

    def plus(self, seconds: float) -> Timing:
        """Return the timing with one more; a bucket's bound belongs to it."""
        slot = bisect_left(self.bounds, seconds)
        counts = (count + (i == slot) for i, count in enumerate(self.buckets))
        return Timing(self.bounds, tuple(counts), self.seconds + seconds)


_NO_EVENTS: Mapping[EventKind, int] = MappingProxyType(dict.fromkeys(EventKind, 0))


class TunnelTally(NamedTuple):
    """One tunnel: its last outcome, and its counts since the start."""

    config: TunnelConfig
    outcome: Outcome
    qbittorrent_auth: str
    """How we authenticate: password, apikey or bypass; kept while there is no answer."""
    checks: int = 0
    failed_checks: int = 0
    checks_with_errors: int = 0
    pushes: int = 0
    events: Mapping[EventKind, int] = _NO_EVENTS

    def plus(self, outcome: Outcome) -> TunnelTally:
        """Return the tally with one more finished check."""
        events = self.events
        if outcome.events:
            events = dict(events)
            for event in outcome.events:
                events[event.kind] += 1
        reading, checked = outcome.qbittorrent, not outcome.is_watch
        return self._replace(
            outcome=outcome,
            qbittorrent_auth=reading.auth if reading else self.qbittorrent_auth,
            checks=self.checks + checked,
            failed_checks=self.failed_checks + (checked and not outcome.in_sync),
            checks_with_errors=self.checks_with_errors + (checked and bool(outcome.failures)),
            events=events,
        )


class Snapshot(NamedTuple):
    """All that a scrape shows, of one moment."""

    version: str
    revision: str
    clock: Clock
    tunnels: Mapping[str, TunnelTally]
    timings: Mapping[Operation, Timing]
    openings: Timing
    failures: Mapping[tuple[Operation, Reason], int]
    log_lines: Mapping[str, int]
    loaded_at: float
    """The moment when a configuration was last accepted."""
    load_accepted: bool = True
    reloads: int = 0
    failed_reloads: int = 0
    file_written_at: float | None = None
    notifications: int = 0
    failed_notifications: int = 0

    def unix(self, moment: float | None) -> float:
        """Return a moment in Unix seconds; None becomes 0."""
        return 0.0 if moment is None else self.clock.unix(moment)


class Tally:
    """What has happened so far; for any thread. A scrape gets all of one moment."""

    def __init__(self, version: str, revision: str, clock: Clock) -> None:
        self._lock = Lock()
        self._clock = clock
        self._tunnels: dict[str, TunnelTally] = {}
        self._timings = dict.fromkeys(Operation, Timing.none(OPERATION_BOUNDS))
        self._openings = Timing.none(OPENING_BOUNDS)
        self._failures = {(o, r): 0 for o, reasons in REASONS.items() for r in reasons}
        self._log_lines = dict.fromkeys(LOG_LEVELS, 0)
        self._rest = Snapshot(
            version, revision, clock, {}, {}, self._openings, {}, {}, clock.monotonic()
        )

    def snapshot(self) -> Snapshot:
        """Return all that has happened until now."""
        with self._lock:
            return self._rest._replace(
                tunnels=dict(self._tunnels),
                timings=dict(self._timings),
                openings=self._openings,
                failures=dict(self._failures),
                log_lines=dict(self._log_lines),
            )

    def set_tunnels(self, tunnels: Iterable[TunnelConfig]) -> None:
        """Show exactly these: those that stay keep their counts, new ones start at zero."""
        with self._lock:
            before, self._tunnels = self._tunnels, {}
            for config in tunnels:
                starting = Outcome(config.name, SyncState.STARTING, None)
                fresh = TunnelTally(config, starting, config.qbittorrent.auth)
                self._tunnels[config.name] = before.get(config.name, fresh)._replace(config=config)

    def publish(self, outcome: Outcome) -> None:
        """Count a finished check. Of a tunnel that is gone, only what the process shows counts."""
        with self._lock:
            self._count_operations(outcome.operations)
            if outcome.opened_after_seconds is not None:
                self._openings = self._openings.plus(outcome.opened_after_seconds)
            if known := self._tunnels.get(outcome.tunnel):
                self._tunnels[outcome.tunnel] = known.plus(outcome)

    def count_push(self, tunnel: str | None) -> None:
        """Count a request for a check now, of one tunnel or of all."""
        with self._lock:
            for name in [tunnel] if tunnel else list(self._tunnels):
                if known := self._tunnels.get(name):
                    self._tunnels[name] = known._replace(pushes=known.pushes + 1)

    def count_file_write(self, result: OperationResult) -> None:
        """Count a write of status.json."""
        with self._lock:
            self._count_operations([result])
            if result.reason is None:
                self._rest = self._rest._replace(file_written_at=self._clock.monotonic())

    def count_log_line(self, levelno: int) -> None:
        """Count a log line by logging's level number; below warning there is no series."""
        names = [name for name, lowest in LOG_LEVELS.items() if levelno >= lowest]
        if names:
            with self._lock:
                self._log_lines[names[-1]] += 1

    def count_reload(self, *, success: bool) -> None:
        """Count a reload of the configuration."""
        with self._lock:
            rest = self._rest
            self._rest = rest._replace(
                load_accepted=success,
                loaded_at=self._clock.monotonic() if success else rest.loaded_at,
                reloads=rest.reloads + 1,
                failed_reloads=rest.failed_reloads + (not success),
            )

    def count_notification(self, success: bool) -> None:
        """Count a try to send a notification to one service."""
        with self._lock:
            self._rest = self._rest._replace(
                notifications=self._rest.notifications + 1,
                failed_notifications=self._rest.failed_notifications + (not success),
            )

    def _count_operations(self, results: Iterable[OperationResult]) -> None:
        for done in results:
            self._timings[done.operation] = self._timings[done.operation].plus(done.seconds)
            if done.reason is not None:
                pair = (done.operation, done.reason)
                known = pair if pair in self._failures else (done.operation, Reason.OTHER)
                self._failures[known] += 1


class LogCounter(logging.Handler):
    """A log handler that writes nothing and counts the lines."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(logging.WARNING)
        self._tally = tally

    def emit(self, record: logging.LogRecord) -> None:
        """Count one line."""
        self._tally.count_log_line(record.levelno)
