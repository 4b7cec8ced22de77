"""What has happened so far, as one frozen record: pure, standard library only.

Every change gives a new record, so whoever holds one sees a single moment, whatever goes on.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from exporter.model import EventKind, Operation, OperationResult, Outcome, Reason, SyncState

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
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
    Operation.STATUS_FILE: (Reason.IO, Reason.OTHER),
}
"""The reasons that each operation can fail for; any other one counts as `other`."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the finished operations of one kind took."""

    buckets: tuple[int, ...] = (0,) * (len(BUCKETS) + 1)
    seconds: float = 0.0

    def plus(self, seconds: float) -> Timing:
        """One more operation; a bucket's bound belongs to it."""
        slot = bisect_left(BUCKETS, seconds)
        counts = (count + (i == slot) for i, count in enumerate(self.buckets))
        return Timing(tuple(counts), self.seconds + seconds)


@dataclass(frozen=True, slots=True)
class TunnelTally:
    """One tunnel: its last outcome, and its counts since the start."""

    outcome: Outcome
    cycles: int = 0
    failed_cycles: int = 0
    pushes: int = 0
    events: Mapping[EventKind, int] = field(default_factory=lambda: dict.fromkeys(EventKind, 0))

    def plus(self, outcome: Outcome) -> TunnelTally:
        """One more finished cycle."""
        events = dict(self.events)
        for event in outcome.events:
            events[event.kind] += 1
        return replace(
            self,
            outcome=outcome,
            cycles=self.cycles + 1,
            failed_cycles=self.failed_cycles + (not outcome.in_sync),
            events=events,
        )


@dataclass(frozen=True, slots=True)
class Tally:
    """All that a scrape shows, of one moment."""

    version: str
    revision: str
    loaded_at: float
    """When a configuration was last accepted."""
    load_accepted: bool = True
    reloads: int = 0
    failed_reloads: int = 0
    file_written_at: float = 0.0
    tunnels: Mapping[str, TunnelTally] = field(default_factory=dict)
    timings: Mapping[Operation, Timing] = field(
        default_factory=lambda: dict.fromkeys(Operation, Timing())
    )
    failures: Mapping[tuple[Operation, Reason], int] = field(
        default_factory=lambda: {(o, r): 0 for o, reasons in REASONS.items() for r in reasons}
    )
    log_lines: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(LOG_LEVELS, 0))

    def after_cycle(self, outcome: Outcome) -> Tally:
        """A cycle ended. Of a tunnel that was removed meanwhile, only the operations count."""
        tally = self.after_operations(outcome.operations)
        known = self.tunnels.get(outcome.tunnel)
        if known is None:
            return tally
        return replace(tally, tunnels={**self.tunnels, outcome.tunnel: known.plus(outcome)})

    def after_operations(self, results: Iterable[OperationResult]) -> Tally:
        """Operations ended."""
        timings, failures = dict(self.timings), dict(self.failures)
        for done in results:
            timings[done.operation] = timings[done.operation].plus(done.seconds)
            if done.reason is not None:
                pair = (done.operation, done.reason)
                failures[pair if pair in failures else (done.operation, Reason.OTHER)] += 1
        return replace(self, timings=timings, failures=failures)

    def with_tunnels(self, names: Iterable[str], interval_seconds: float) -> Tally:
        """Exactly these tunnels: those that stay keep their counts, new ones start at zero."""
        tunnels = {
            name: self.tunnels.get(name)
            or TunnelTally(Outcome(name, SyncState.STARTING, 0.0, interval_seconds))
            for name in names
        }
        return replace(self, tunnels=tunnels)

    def after_push(self, tunnel: str) -> Tally:
        """Someone asked for a cycle now."""
        known = self.tunnels.get(tunnel)
        if known is None:
            return self
        pushed = replace(known, pushes=known.pushes + 1)
        return replace(self, tunnels={**self.tunnels, tunnel: pushed})

    def after_log_line(self, levelno: int) -> Tally:
        """A line was logged; below warning it does not count."""
        names = [name for name, lowest in LOG_LEVELS.items() if levelno >= lowest]
        if not names:
            return self
        return replace(self, log_lines={**self.log_lines, names[-1]: self.log_lines[names[-1]] + 1})

    def after_reload(self, *, success: bool, at: float) -> Tally:
        """The configuration was loaded again, or the new one was rejected."""
        return replace(
            self,
            load_accepted=success,
            loaded_at=at if success else self.loaded_at,
            reloads=self.reloads + 1,
            failed_reloads=self.failed_reloads + (not success),
        )

    def after_file_write(self, at: float) -> Tally:
        """status.json was written."""
        return replace(self, file_written_at=at)
