"""The loop: checks each tunnel when it is due and publishes the outcome, until told to stop.

Everything that happens reaches the loop as a call in one queue; checks run in worker threads, all
else in the main thread.
"""

from __future__ import annotations

import contextlib
import functools
import math
import queue
import signal
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from types import FrameType

from exporter.clock import Clock
from exporter.daemon.publisher import Publisher
from exporter.daemon.scheduler import SteadyJob, SteadyScheduler
from exporter.model import Answer, Outcome
from exporter.report.log import logger
from exporter.tunnel.tunnel import Tunnel

STOP_WITHIN_SECONDS = 4.0
MAX_WORKERS = 512
"""Made only when they are needed: a few for a thousand tunnels that answer; a hanging server
keeps one busy."""
START_EVERY_SECONDS = 0.03
"""Pause between the first checks of two tunnels, shorter where the interval would not do."""
PUSHED_AT_MOST_EVERY = 1.0
"""Seconds between two pushed checks of a tunnel: nobody can keep it busy."""
HURRIED_A_SECOND = 100
"""How many checks that come before their interval may run in a second, of all tunnels together."""
KEEP_OPEN_SECONDS = 5.0
"""A connection is kept for the next check only if that comes this soon.

qBittorrent closes it after 7 s anyway, and a thousand tunnels would hold 2,000 open files.
"""


class _Slot:
    """One tunnel's place in the loop; at most one check runs and at most one more waits."""

    def __init__(self, tunnel: Tunnel, job: SteadyJob) -> None:
        self.tunnel = tunnel
        self.job = job
        self.running: Future[Outcome] | None = None
        self.again = False
        """Whether another check is to follow the running one at once."""
        self.pushed = False
        """Whether the next check was asked for by Gluetun."""
        self.next_push_at = 0.0
        self.hurried = False
        """Whether the next check comes before the interval is over."""
        self.removed = False


class Loop:
    """Runs the checks of all tunnels until a signal comes."""

    def __init__(
        self,
        interval_seconds: float,
        publisher: Publisher,
        clock: Clock,
        executor: Executor | None = None,
        on_reload: Callable[[], object] | None = None,
    ) -> None:
        """`on_reload` is what SIGHUP calls, in a thread of its own."""
        self._publisher = publisher
        self._clock = clock
        self._on_reload = on_reload
        self._queue: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._scheduler = SteadyScheduler(clock)
        self._file_job = self._scheduler.every(interval_seconds)
        self._file_job.do(publisher.write)
        self._file_job.run_in(publisher.due_in_seconds)
        self._interval = interval_seconds
        self._stopping = False
        self._slots: dict[str, _Slot] = {}
        self._removed: dict[str, _Slot] = {}
        """Those whose last check still runs, by name."""
        self._executor = executor or ThreadPoolExecutor(MAX_WORKERS, "tunnel")

    def start(self) -> None:
        """Listen to SIGTERM, SIGINT and SIGHUP, and start the first checks."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        logger.info("Starting qSticky port manager...")
        self._scheduler.run_pending()

    def run(self) -> None:
        """Run until a signal comes; returns within 5 s of it."""
        while not self._stopping:
            self.step(self.idle())
        self._finish()

    def step(self, timeout: float) -> None:
        """Wait for a call, make all that wait, start what is due."""
        with contextlib.suppress(queue.Empty):
            self._queue.get(timeout=timeout)()
            while True:
                self._queue.get_nowait()()
        if not self._stopping:
            self._scheduler.run_pending()

    def idle(self) -> float:
        """Return the seconds until something is due."""
        return self._scheduler.idle()

    def request_check(self, tunnel: str | None = None, *, pushed: bool = False) -> None:
        """Ask for a check now, of one tunnel or of all; returns at once, from any thread."""
        self._queue.put(functools.partial(self._check_now, tunnel, pushed=pushed))

    def request_call(self, function: Callable[[], None]) -> Future[None]:
        """Have something done by the main thread, between two steps; from any thread."""
        done: Future[None] = Future()
        self._queue.put(functools.partial(_do, function, done))
        return done

    def add_job(self, function: Callable[[], object]) -> SteadyJob:
        """Have something done by the main thread whenever its job is due; it chooses when."""
        job = self._scheduler.every(self._interval)
        job.do(function)
        job.run_in(math.inf)
        return job

    def hear(self, tunnel: str, answer: Answer) -> None:
        """Tell a tunnel an answer from outside, and have it checked; for the main thread."""
        if slot := self._slots.get(tunnel):
            slot.tunnel.hear(answer)
            slot.again = slot.running is not None
            self._enqueue(slot)

    def request_stop(self, number: int = signal.SIGTERM) -> None:
        """Ask the loop to end, from any thread."""
        self._queue.put(functools.partial(self._stop, number))

    def set_tunnels(self, tunnels: Iterable[Tunnel]) -> None:
        """Check exactly these from now on; for the main thread.

        A tunnel that is there already goes on undisturbed. One that takes another's name has
        its first check as soon as the other's last one has ended.
        """
        wanted = {tunnel.config.name: tunnel for tunnel in tunnels}
        for name in [name for name in self._slots if name not in wanted]:
            self._remove(name)
        pause = min(START_EVERY_SECONDS, self._interval / max(1, len(wanted)))
        started = 0
        for name, tunnel in wanted.items():
            slot = self._slots.get(name)
            if slot is None:
                self._add(tunnel, started * pause)
            elif slot.tunnel is not tunnel:
                self._exchange(slot, tunnel, started * pause)
            else:
                continue
            started += 1
        self._slots = {name: self._slots[name] for name in wanted}

    @property
    def has_abandoned_work(self) -> bool:
        """Whether a check still hangs in a request after the loop has ended."""
        return any(slot.running for slot in self._all_slots())

    def _all_slots(self) -> list[_Slot]:
        return [*self._slots.values(), *self._removed.values()]

    def _add(self, tunnel: Tunnel, delay: float) -> None:
        name = tunnel.config.name
        job = self._scheduler.every(self._interval)
        leaving = self._removed.pop(name, None)
        slot = self._slots[name] = leaving or _Slot(tunnel, job)
        job.do(self._enqueue, slot)
        job.run_in(delay)
        if leaving:  # its name is taken over, but its last check still runs
            leaving.job, leaving.removed = job, False
            self._exchange(leaving, tunnel, delay)

    def _exchange(self, slot: _Slot, tunnel: Tunnel, delay: float) -> None:
        if slot.running:
            slot.again = True
        else:
            tunnel.inherit(slot.tunnel)
            slot.tunnel.close()
        slot.tunnel = tunnel
        slot.job.run_in(delay)

    def _remove(self, name: str) -> None:
        slot = self._slots.pop(name)
        self._scheduler.cancel_job(slot.job)
        slot.removed, slot.again = True, False
        if slot.running:
            self._removed[name] = slot
        else:
            slot.tunnel.close()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._queue.put(self._reload)
        else:
            self.request_stop(number)

    def _check_now(self, name: str | None, *, pushed: bool) -> None:
        wanted = list(self._slots.values()) if name is None else [self._slots.get(name)]
        # whose port it is that came, is not said
        pushed = pushed and len(wanted) == 1
        for slot in filter(None, wanted):
            self._enqueue(slot, pushed=pushed)

    def _reload(self) -> None:
        if self._on_reload:
            threading.Thread(target=self._on_reload, name="reload", daemon=True).start()

    def _stop(self, number: int) -> None:
        logger.info("Stopping on %s", signal.Signals(number).name)
        self._stopping = True

    def _enqueue(self, slot: _Slot, *, pushed: bool = False) -> None:
        """Have a check run now, or a pushed one after the check that is running."""
        slot.pushed = slot.pushed or pushed
        if slot.running:
            # only a push wants what happened after it; a due job has been overtaken
            slot.again = slot.again or pushed
        elif pushed and (too_soon := self._too_soon(slot)) > 0:
            slot.job.run_in(min(too_soon, slot.job.due_in))
        elif not self._stopping:
            self._start(slot)

    def _too_soon(self, slot: _Slot) -> float:
        """Return how long a pushed check still has to wait."""
        return slot.next_push_at - self._clock.monotonic()

    def _start(self, slot: _Slot) -> None:
        pushed = slot.pushed and self._too_soon(slot) <= 0
        tunnel = slot.tunnel
        try:
            running = self._executor.submit(_check, tunnel, pushed=pushed)
        except RuntimeError as error:  # no more threads, as under a limit of processes
            logger.error("A check can't begin: %s - raise the limit on processes", error)
            slot.job.run_in(self._interval)
            return
        slot.again = False
        if pushed:
            slot.pushed = False
            slot.next_push_at = self._clock.monotonic() + PUSHED_AT_MOST_EVERY
        slot.running = running
        running.add_done_callback(functools.partial(self._report_end, slot, tunnel))

    def _report_end(self, slot: _Slot, tunnel: Tunnel, future: Future[Outcome]) -> None:
        self._queue.put(functools.partial(self._ended, slot, tunnel, future))

    def _ended(self, slot: _Slot, tunnel: Tunnel, future: Future[Outcome]) -> None:
        slot.running = None
        if slot.removed:
            del self._removed[slot.tunnel.config.name]
        if slot.removed or slot.tunnel is not tunnel:
            if not slot.removed:
                slot.tunnel.inherit(tunnel)
            tunnel.close()
        elif not future.cancelled():
            self._publish_result(slot, future)
        if slot.again and not self._stopping:
            self._enqueue(slot, pushed=slot.pushed)

    def _publish_result(self, slot: _Slot, future: Future[Outcome]) -> None:
        outcome = future.result()
        slot.hurried = outcome.next_check_seconds < self._interval
        pause = max(outcome.next_check_seconds, self._least_pause())
        if slot.pushed:
            pause = min(pause, max(0.0, self._too_soon(slot)))
        slot.job.run_in(pause)
        self._publisher.publish(outcome)
        self._file_job.run_in(self._publisher.due_in_seconds)

    def _least_pause(self) -> float:
        """Return what keeps a thousand tunnels that all hurry from taking all time."""
        return sum(slot.hurried for slot in self._slots.values()) / HURRIED_A_SECOND

    def _finish(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
        running = [slot.running for slot in self._all_slots()]
        begun = [future for future in running if future and not future.cancelled()]
        wait(begun, timeout=STOP_WITHIN_SECONDS)
        self.step(0)
        self._publisher.write(stopped=True)
        logger.info("Stopped")


def _do(function: Callable[[], None], done: Future[None]) -> None:
    try:
        function()
        done.set_result(None)
    except Exception as error:  # noqa: BLE001  # for the caller; the loop goes on
        done.set_exception(error)


def _check(tunnel: Tunnel, *, pushed: bool) -> Outcome:
    """Run one check, in a worker thread."""
    outcome = tunnel.check(pushed=pushed)
    if outcome.next_check_seconds > KEEP_OPEN_SECONDS:
        tunnel.close()
    return outcome
