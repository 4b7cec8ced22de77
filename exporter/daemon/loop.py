"""The loop: looks after each tunnel when it is due, publishes what came of it, until told to stop.

Everything that happens reaches the loop as a message in one queue; cycles run in worker threads,
all else in the main thread.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import signal
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import FrameType

from exporter.clock import Clock
from exporter.daemon.lanes import SLOW_SECONDS, Lanes
from exporter.daemon.publisher import Publisher
from exporter.daemon.scheduler import SteadyJob, SteadyScheduler
from exporter.model import FEW_TUNNELS, Outcome
from exporter.report.log import logger
from exporter.tunnel.tunnel import Tunnel

STOP_WITHIN_SECONDS = 4.0
MOST_THREADS = 512
"""They are made only when they are needed: a few for a thousand tunnels that answer."""
START_EVERY_SECONDS = 0.03
"""Pause between the first cycles of two tunnels, shorter where the interval would not do."""
KEEP_OPEN_SECONDS = 5.0
"""With many tunnels, a connection is kept for the next cycle only if that comes this soon.

qBittorrent closes it after 7 s anyway, and a thousand tunnels would hold 2,000 open files.
"""


@dataclass(frozen=True, slots=True)
class _Finished:
    watch: _Watch
    tunnel: Tunnel
    future: Future[Outcome]


@dataclass(frozen=True, slots=True)
class _Look:
    tunnel: str | None
    pushed: bool


@dataclass(frozen=True, slots=True)
class _Call:
    function: Callable[[], None]
    done: Future[None]


@dataclass(frozen=True, slots=True)
class _Reload:
    pass


@dataclass(frozen=True, slots=True)
class _Stop:
    signal: int


_Message = _Finished | _Look | _Call | _Reload | _Stop


class _Watch:
    """One tunnel with its job; at most one cycle runs and at most one more waits."""

    def __init__(self, tunnel: Tunnel, job: SteadyJob) -> None:
        self.tunnel = tunnel
        self.job = job
        self.running: Future[Outcome] | None = None
        self.waiting: _Look | None = None
        self.slow = False
        self.removed = False


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
        self._clock = clock
        self._queue: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._scheduler = SteadyScheduler(clock)
        self._beat = self._scheduler.every(interval_seconds)
        self._beat.do(publisher.beat)
        self._interval = interval_seconds
        self._stopping = False
        self._watches: dict[str, _Watch] = {}
        self._removed: dict[str, _Watch] = {}
        """Those whose last cycle still runs, by name."""
        self._lanes: Lanes[_Watch] = Lanes()
        self._executor = executor or ThreadPoolExecutor(MOST_THREADS, "tunnel")
        self.on_reload: Callable[[], object] | None = None
        """What SIGHUP calls, in a thread of its own."""
        self.set_tunnels(tunnels)

    def start(self) -> None:
        """Listen to SIGTERM, SIGINT and SIGHUP, and start the first cycles."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        logger.info("Starting qSticky port manager...")
        self._start_due()

    def run(self) -> None:
        """Run until a signal comes; returns within 5 s of it."""
        while not self._stopping:
            self.step(self.idle())
        self._finish()

    def step(self, timeout: float) -> None:
        """Wait for a message, handle all that are there, start what is due."""
        with contextlib.suppress(queue.Empty):
            self._handle(self._queue.get(timeout=timeout))
            while True:
                self._handle(self._queue.get_nowait())
        if not self._stopping:
            self._start_due()

    def idle(self) -> float:
        """Seconds until something is due."""
        return min(self._scheduler.idle(), self._lanes.idle(self._clock.monotonic()))

    def wait_for_cycles(self, seconds: float) -> None:
        """Wait until the running cycles have ended; what came of them is handled by `step`."""
        wait([watch.running for watch in self._watches.values() if watch.running], seconds)

    def request_look(self, tunnel: str | None = None, *, pushed: bool = False) -> None:
        """Ask for a cycle now, of one tunnel or of all; returns at once, from any thread."""
        self._queue.put(_Look(tunnel, pushed))

    def request_call(self, function: Callable[[], None]) -> Future[None]:
        """Have something done by the main thread, between two steps; from any thread."""
        done: Future[None] = Future()
        self._queue.put(_Call(function, done))
        return done

    def request_stop(self, number: int = signal.SIGTERM) -> None:
        """Ask the loop to end, from any thread."""
        self._queue.put(_Stop(number))

    def set_tunnels(self, tunnels: Iterable[Tunnel]) -> None:
        """Look after exactly these from now on; for the main thread.

        A tunnel that is there already goes on undisturbed. One that takes another's name has
        its first cycle as soon as the other's last one has ended.
        """
        wanted = {tunnel.config.name: tunnel for tunnel in tunnels}
        for name in [name for name in self._watches if name not in wanted]:
            self._remove(name)
        pause = min(START_EVERY_SECONDS, self._interval / max(1, len(wanted)))
        started = 0
        for name, tunnel in wanted.items():
            watch = self._watches.get(name)
            if watch is None:
                self._add(tunnel, started * pause)
            elif watch.tunnel is not tunnel:
                self._exchange(watch, tunnel, started * pause)
            else:
                continue
            started += 1
        self._watches = {name: self._watches[name] for name in wanted}
        self._publisher.write_every_time = len(wanted) <= FEW_TUNNELS

    @property
    def has_abandoned_work(self) -> bool:
        """Whether a cycle still hangs in a request after the loop has ended."""
        return any(watch.running for watch in (*self._watches.values(), *self._removed.values()))

    def _add(self, tunnel: Tunnel, delay: float) -> None:
        name = tunnel.config.name
        job = self._scheduler.every(self._interval)
        leaving = self._removed.pop(name, None)
        watch = self._watches[name] = leaving or _Watch(tunnel, job)
        job.do(self._want, watch, _Look(name, pushed=False))
        job.run_in(delay)
        if leaving:  # its name is taken over, but its last cycle still runs
            leaving.job, leaving.removed = job, False
            self._exchange(leaving, tunnel, delay)

    def _exchange(self, watch: _Watch, tunnel: Tunnel, delay: float) -> None:
        if watch.running:
            watch.waiting = _Look(tunnel.config.name, pushed=False)
        else:
            watch.tunnel.close()
        watch.tunnel, watch.slow = tunnel, False
        watch.job.run_in(delay)

    def _remove(self, name: str) -> None:
        watch = self._watches.pop(name)
        self._scheduler.cancel_job(watch.job)
        watch.removed, watch.waiting = True, None
        if watch.running:
            self._removed[name] = watch
        else:
            self._lanes.leave(watch)
            watch.tunnel.close()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._queue.put(_Reload() if number == signal.SIGHUP else _Stop(number))

    def _handle(self, message: _Message) -> None:
        match message:
            case _Finished(watch, tunnel, future):
                self._finished(watch, tunnel, future)
            case _Look(name):
                for watch in list(self._watches.values()):
                    if name in (None, watch.tunnel.config.name):
                        self._want(watch, message)
            case _Call(function, done):
                _do(function, done)
            case _Reload():
                if self.on_reload:
                    threading.Thread(target=self.on_reload, name="reload", daemon=True).start()
            case _Stop(number):
                logger.info("Stopping on %s", signal.Signals(number).name)
                self._stopping = True

    def _start_due(self) -> None:
        self._scheduler.run_pending()
        for watch in self._lanes.admit(self._clock.monotonic()):
            self._start(watch)

    def _want(self, watch: _Watch, look: _Look) -> None:
        # a push must be looked at after it came; a due job has been overtaken by a running cycle
        if look.pushed or not (watch.running or watch.waiting):
            watch.waiting = look
        if not watch.running:
            self._lanes.enter(watch, slow=watch.slow)

    def _start(self, watch: _Watch) -> None:
        look, watch.waiting = watch.waiting, None
        tunnel = watch.tunnel
        pushed = look is not None and look.pushed
        keep_open = len(self._watches) <= FEW_TUNNELS
        watch.running = self._executor.submit(_cycle, tunnel, pushed=pushed, keep_open=keep_open)
        watch.running.add_done_callback(functools.partial(self._report, watch, tunnel))

    def _report(self, watch: _Watch, tunnel: Tunnel, future: Future[Outcome]) -> None:
        self._queue.put(_Finished(watch, tunnel, future))

    def _finished(self, watch: _Watch, tunnel: Tunnel, future: Future[Outcome]) -> None:
        watch.running = None
        self._lanes.leave(watch)
        if watch.removed:
            del self._removed[watch.tunnel.config.name]
        if watch.removed or watch.tunnel is not tunnel:
            tunnel.close()
        elif not future.cancelled():
            self._take(watch, future)
        if watch.waiting and not self._stopping:
            self._want(watch, watch.waiting)

    def _take(self, watch: _Watch, future: Future[Outcome]) -> None:
        if error := future.exception():
            logger.error(
                "An unexpected error in the check of the tunnel %s; please report it with these "
                "lines - it is tried again",
                watch.tunnel.config.name,
                exc_info=error,
                extra={"tunnel": watch.tunnel.config.name},
            )
            return
        outcome = future.result()
        watch.slow = sum(done.seconds for done in outcome.operations) > SLOW_SECONDS
        watch.job.run_in(outcome.next_look_seconds)
        self._publisher.publish(outcome)
        if (pause := self._publisher.due_in_seconds) is not None:
            self._beat.run_in(pause)

    def _finish(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
        running = [watch.running for watch in (*self._watches.values(), *self._removed.values())]
        begun = [future for future in running if future and not future.cancelled()]
        wait(begun, timeout=STOP_WITHIN_SECONDS)
        self.step(0)
        for watch in self._watches.values():
            if watch.running:  # perhaps in a login, which counts
                self._publisher.publish(watch.tunnel.starting())
        self._publisher.write(stopped=True)
        logger.info("Stopped")


def _do(function: Callable[[], None], done: Future[None]) -> None:
    try:
        function()
        done.set_result(None)
    except Exception as error:  # noqa: BLE001  # for the caller; the loop goes on
        done.set_exception(error)


def _cycle(tunnel: Tunnel, *, pushed: bool, keep_open: bool) -> Outcome:
    """Run one cycle, in a worker thread."""
    outcome = tunnel.cycle(pushed=pushed)
    if not keep_open and outcome.next_look_seconds > KEEP_OPEN_SECONDS:
        tunnel.close()
    return outcome
