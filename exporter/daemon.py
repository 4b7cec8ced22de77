"""The loop: looks after each tunnel when it is due, publishes what came of it, until told to stop.

Everything that happens reaches the loop as a message in one queue; cycles run in worker threads,
all else in the main thread.
"""

from __future__ import annotations

import datetime
import functools
import queue
import signal
from collections.abc import Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import FrameType

import schedule

from exporter.clock import Clock
from exporter.log import logger
from exporter.model import Outcome
from exporter.publisher import Publisher
from exporter.tunnel import Tunnel

STOP_WITHIN_SECONDS = 4.0
MOST_WORKERS = 32
_ZERO = datetime.datetime(2000, 1, 1)  # noqa: DTZ001  # schedule compares naive times


class SteadyScheduler(schedule.Scheduler):
    """`schedule` on a clock that only moves forward.

    schedule 1.2.2 compares local wall-clock times: its jobs stand still for an hour when daylight
    saving time ends, and for as long as the clock is set back.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def every(self, interval: float = 1) -> SteadyJob:
        """Make a job that runs every `interval` seconds, first of all at once."""
        return SteadyJob(interval, self)  # type: ignore[arg-type]  # only our own code reads it

    def now(self) -> datetime.datetime:
        """The forward-moving clock, in the form that schedule compares."""
        return _ZERO + datetime.timedelta(seconds=self._clock.monotonic())

    def idle(self) -> float:
        """Seconds until the next job is due; 0 = one is due now."""
        due = min((job.next_run for job in self.jobs if job.next_run), default=self.now())
        return max(0.0, (due - self.now()).total_seconds())


class SteadyJob(schedule.Job):
    """A job of a SteadyScheduler."""

    scheduler: SteadyScheduler

    @property
    def should_run(self) -> bool:
        """Whether the job is due."""
        return self.next_run is not None and self.scheduler.now() >= self.next_run

    def run_in(self, seconds: float) -> None:
        """Move the next run."""
        self.next_run = self.scheduler.now() + datetime.timedelta(seconds=seconds)

    def _schedule_next_run(self) -> None:
        self.run_in(self.interval if self.next_run else 0.0)


@dataclass(frozen=True, slots=True)
class _Finished:
    tunnel: str
    future: Future[Outcome]


@dataclass(frozen=True, slots=True)
class _Look:
    tunnel: str | None
    pushed: bool


@dataclass(frozen=True, slots=True)
class _Stop:
    signal: int


class _Watch:
    """One tunnel with its job; at most one cycle runs and at most one more waits."""

    def __init__(self, tunnel: Tunnel, job: SteadyJob) -> None:
        self.tunnel = tunnel
        self.job = job
        self.running: Future[Outcome] | None = None
        self.waiting: _Look | None = None


class Daemon:
    """Runs the tunnels of a configuration until a signal comes."""

    def __init__(
        self,
        tunnels: Iterable[Tunnel],
        interval_seconds: float,
        publisher: Publisher,
        clock: Clock,
        executor: Executor | None = None,
    ) -> None:
        self._publisher = publisher
        self._interval = interval_seconds
        self._queue: queue.SimpleQueue[_Finished | _Look | _Stop] = queue.SimpleQueue()
        self._scheduler = SteadyScheduler(clock)
        self._scheduler.every(interval_seconds).do(publisher.beat)
        self._stopping = False
        self._watches: dict[str, _Watch] = {}
        for tunnel in tunnels:
            self._add(tunnel)
        workers = min(MOST_WORKERS, len(self._watches))
        self._executor = executor or ThreadPoolExecutor(workers, "tunnel")

    def start(self) -> None:
        """Listen to SIGTERM and SIGINT, and start the first cycles."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        logger.info("Starting qSticky port manager...")
        self._scheduler.run_pending()

    def run(self) -> None:
        """Run until a signal comes; returns within 5 s of it."""
        while not self._stopping:
            self.step(self.idle())
        self._finish()

    def step(self, timeout: float) -> None:
        """Wait for a message, handle all that are there, start what is due."""
        try:
            self._handle(self._queue.get(timeout=timeout))
            while True:
                self._handle(self._queue.get_nowait())
        except queue.Empty:
            pass
        if not self._stopping:
            self._scheduler.run_pending()

    def idle(self) -> float:
        """Seconds until something is due."""
        return self._scheduler.idle()

    def request_look(self, tunnel: str | None = None, *, pushed: bool = False) -> None:
        """Ask for a cycle now, of one tunnel or of all; returns at once, from any thread."""
        self._queue.put(_Look(tunnel, pushed))

    def request_stop(self, number: int = signal.SIGTERM) -> None:
        """Ask the loop to end, from any thread."""
        self._queue.put(_Stop(number))

    @property
    def has_abandoned_work(self) -> bool:
        """Whether a cycle still hangs in a request after the loop has ended."""
        return any(watch.running for watch in self._watches.values())

    def _add(self, tunnel: Tunnel) -> None:
        name = tunnel.config.name
        job = self._scheduler.every(self._interval)
        self._watches[name] = _Watch(tunnel, job)
        job.do(self._start, name, _Look(name, pushed=False))

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.request_stop(number)

    def _handle(self, message: _Finished | _Look | _Stop) -> None:
        match message:
            case _Finished(name, future):
                self._finished(self._watches[name], future)
            case _Look(tunnel):
                for name in [tunnel] if tunnel else list(self._watches):
                    self._start(name, message)
            case _Stop(number):
                logger.info("Stopping on %s", signal.Signals(number).name)
                self._stopping = True

    def _start(self, name: str, look: _Look) -> None:
        watch = self._watches.get(name)
        if watch is None:
            return
        if watch.running:
            # a push must be looked at after it came; a due job has been overtaken
            if look.pushed or watch.waiting is None:
                watch.waiting = look if look.pushed else watch.waiting
            return
        watch.running = self._executor.submit(watch.tunnel.cycle, pushed=look.pushed)
        watch.running.add_done_callback(functools.partial(self._report, name))

    def _report(self, name: str, future: Future[Outcome]) -> None:
        self._queue.put(_Finished(name, future))

    def _finished(self, watch: _Watch, future: Future[Outcome]) -> None:
        watch.running = None
        if error := future.exception():
            logger.error(
                "An unexpected error; please report it with these lines - it is tried again",
                exc_info=error,
            )
            return
        outcome = future.result()
        watch.job.run_in(outcome.next_look_seconds)
        self._publisher.publish(outcome)
        if watch.waiting and not self._stopping:
            look, watch.waiting = watch.waiting, None
            self._start(outcome.tunnel, look)

    def _finish(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
        running = [watch.running for watch in self._watches.values() if watch.running]
        wait(running, timeout=STOP_WITHIN_SECONDS)
        self.step(0)
        self._publisher.write(stopped=True)
        logger.info("Stopped")
