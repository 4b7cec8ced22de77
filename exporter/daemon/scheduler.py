"""`schedule` on a clock that only moves forward, for as many jobs as there are tunnels."""

from __future__ import annotations

import datetime
import heapq
import itertools
import math

import schedule

from exporter.clock import Clock

_ZERO = datetime.datetime(2000, 1, 1)  # noqa: DTZ001  # schedule compares naive times
_SPARE_ENTRIES = 64
_NONE = -1


class SteadyScheduler(schedule.Scheduler):
    """Keeps its jobs in the order in which they are due.

    schedule 1.2.2 compares local wall-clock times: its jobs stand still for an hour when daylight
    saving time ends, and for as long as the clock is set back. It also looks at every job each
    time, which a thousand tunnels would pay for several hundred times a second.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._order = itertools.count()
        self._entries: list[tuple[float, int, SteadyJob]] = []
        """A heap; of a job's entries, the one with its present number counts."""

    def every(self, interval: float = 1) -> SteadyJob:
        """Make a job that runs every `interval` seconds, first of all at once."""
        return SteadyJob(interval, self)  # type: ignore[arg-type]  # only our own code reads it

    def now(self) -> float:
        """Seconds of the forward-moving clock."""
        return self._clock.monotonic()

    def idle(self) -> float:
        """Seconds until the next job is due; 0 = one is due now."""
        self._drop_outdated()
        return max(0.0, self._entries[0][0] - self.now()) if self._entries else math.inf

    def run_pending(self) -> None:
        """Run every job that is due now, once."""
        due: list[SteadyJob] = []
        while self.idle() == 0:
            due.append(heapq.heappop(self._entries)[2])
        for job in due:
            if job.should_run:
                self._run_job(job)

    def cancel_job(self, job: schedule.Job) -> None:
        """Never run this job again."""
        super().cancel_job(job)
        if isinstance(job, SteadyJob):
            job.due_at, job.number = math.inf, _NONE

    def put(self, job: SteadyJob) -> None:
        """Take note of a job's new time."""
        job.number = next(self._order)
        heapq.heappush(self._entries, (job.due_at, job.number, job))
        if len(self._entries) > 2 * len(self.jobs) + _SPARE_ENTRIES:
            self._entries = [entry for entry in self._entries if entry[1] == entry[2].number]
            heapq.heapify(self._entries)

    def _drop_outdated(self) -> None:
        while self._entries and self._entries[0][1] != self._entries[0][2].number:
            heapq.heappop(self._entries)


class SteadyJob(schedule.Job):
    """A job of a SteadyScheduler."""

    scheduler: SteadyScheduler
    due_at = math.inf
    number = _NONE
    """Which entry of the scheduler counts."""

    @property
    def should_run(self) -> bool:
        """Whether the job is due."""
        return self.scheduler.now() >= self.due_at

    def run_in(self, seconds: float) -> None:
        """Move the next run."""
        self.due_at = self.scheduler.now() + seconds
        self.next_run = _ZERO + datetime.timedelta(seconds=self.due_at)
        self.scheduler.put(self)

    def _schedule_next_run(self) -> None:
        self.run_in(self.interval if self.next_run else 0.0)
