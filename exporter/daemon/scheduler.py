"""`schedule` on a clock that only moves forward.

schedule 1.2.2 compares local wall-clock times: its jobs stand still for an hour when daylight
saving time ends, and for as long as the clock is set back.
"""

from __future__ import annotations

import math
from typing import cast

import schedule
from schedule import CancelJob

from exporter.clock import Clock

__all__ = ["CancelJob", "SteadyJob", "SteadyScheduler"]


class SteadyJob(schedule.Job):
    """A job whose time is a moment; schedule's own `next_run` means nothing here."""

    scheduler: SteadyScheduler
    due_at = -math.inf
    """The first run is due at once."""

    @property
    def should_run(self) -> bool:
        """Whether the job was due when the scheduler looked last."""
        return self.due_at <= self.scheduler.moment

    def run(self) -> object:
        """Run the job now, and again after its interval unless it chooses another time."""
        self.run_in(self.interval)
        return super().run()  # type: ignore[no-untyped-call]

    @property
    def due_in(self) -> float:
        """Return the seconds until the next run."""
        return max(0.0, self.due_at - self.scheduler.now())

    def run_in(self, seconds: float) -> None:
        """Move the next run."""
        self.due_at = self.scheduler.now() + seconds


class SteadyScheduler(schedule.Scheduler):
    """Runs jobs when their moment has come."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.moment = -math.inf
        """When it was last asked what is due: one moment for all jobs."""

    def every(self, interval: float = 1) -> SteadyJob:
        """Make a job that runs every `interval` seconds, first of all at once."""
        job = SteadyJob(interval, self)  # type: ignore[arg-type]  # the published types want an int
        job.unit = "seconds"
        return job

    def now(self) -> float:
        """Return the moment."""
        return self._clock.monotonic()

    def run_pending(self) -> None:
        """Run what is due; of a thousand jobs that is none, as a rule."""
        self.moment = self.now()
        if self._next_due() <= self.moment:
            super().run_pending()

    def idle(self) -> float:
        """Return the seconds until the next job is due; 0 = one is due now."""
        return max(0.0, self._next_due() - self.now())

    def _next_due(self) -> float:
        jobs = cast("list[SteadyJob]", self.jobs)  # `every` makes no others
        return min((job.due_at for job in jobs), default=math.inf)
