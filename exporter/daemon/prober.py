"""Has tunnels asked for from outside, as a reader of outcomes; in threads of its own.

Made only where `REACHABILITY_URL` is set.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import NamedTuple

from exporter.clock import Clock
from exporter.config.load import ReachabilityConfig, TunnelConfig
from exporter.daemon.loop import Loop
from exporter.model import NO_PORT, Answer, Outcome, SyncState
from exporter.servers.reachability import probe
from exporter.tunnel.outside import ASK_AT_MOST_EVERY, CONFIRM_AFTER, ask_at

MOST_AT_ONCE = 32
"""A service that hangs keeps a thread for each of its questions."""
LONGEST_PAUSE = 1.0
"""Between two questions, of whichever tunnels; shorter where there are many."""

_ROUNDING = 0.001


class _Question(NamedTuple):
    due_at: float
    port: int
    public_ip: str


class Prober:
    """Asks for one tunnel after the other; used by the main thread only."""

    def __init__(self, loop: Loop, clock: Clock, executor: Executor | None = None) -> None:
        """`executor` asks; None = threads."""
        self._loop = loop
        self._clock = clock
        self._executor = executor or ThreadPoolExecutor(MOST_AT_ONCE, "reachability")
        self._configs: dict[str, ReachabilityConfig] = {}
        self._questions: dict[str, _Question] = {}
        self._asking: set[str] = set()
        self._last_at: dict[str, float] = {}
        """When a tunnel was asked for, or the answer came."""
        self._pause = LONGEST_PAUSE
        self._free_at = -math.inf
        self._job = loop.add_job(self._ask_next)

    def set_tunnels(self, tunnels: Iterable[TunnelConfig]) -> None:
        """Ask for exactly these, as far as they are configured so."""
        self._configs = {t.name: t.reachability for t in tunnels if t.reachability}
        # half of what would do, so that none waits for long
        pauses = [c.interval_seconds / len(self._configs) / 2 for c in self._configs.values()]
        self._pause = min([LONGEST_PAUSE, *pauses])
        self._questions = {n: q for n, q in self._questions.items() if n in self._configs}
        self._last_at = {n: at for n, at in self._last_at.items() if n in self._configs}
        self._plan()

    def publish(self, outcome: Outcome) -> None:
        """Take note of what is to be asked for this tunnel, and when."""
        question = self._question(outcome)
        if question == self._questions.get(outcome.tunnel):
            return
        if question:
            self._questions[outcome.tunnel] = question
        else:
            self._questions.pop(outcome.tunnel, None)
        self._plan()

    def stop(self) -> bool:
        """Ask no more; returns whether an answer is still awaited."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        return bool(self._asking)

    def _question(self, outcome: Outcome) -> _Question | None:
        """Return what to ask; None where the port is known to be closed, or not all is known."""
        config = self._configs.get(outcome.tunnel)
        if not config or not outcome.outside or not outcome.gluetun:
            return None
        if outcome.state not in (SyncState.IN_SYNC, SyncState.NOT_REACHABLE):
            return None
        public_ip = outcome.gluetun.public_ip or ""
        if outcome.forwarded_port == NO_PORT or ("{ip}" in config.url and not public_ip):
            return None
        # a check that has not heard the last answer yet would have it asked again at once
        least = self._last_at.get(outcome.tunnel, -math.inf) + CONFIRM_AFTER
        due_at = max(least, ask_at(outcome.outside, config.interval_seconds))
        return _Question(due_at, outcome.forwarded_port, public_ip)

    def _next(self) -> str | None:
        """Return the tunnel whose question is due first, of those that wait for no answer."""
        names = [name for name in self._questions if name not in self._asking]
        return min(names, key=lambda name: self._questions[name].due_at, default=None)

    def _plan(self) -> None:
        name = self._next()
        if name is None or len(self._asking) >= MOST_AT_ONCE:
            self._job.run_in(math.inf)
        else:
            due_at = max(self._questions[name].due_at, self._free_at)
            self._job.run_in(due_at - self._clock.monotonic())

    def _ask_next(self) -> None:
        name, now = self._next(), self._clock.monotonic()
        if name is not None and self._questions[name].due_at <= now + _ROUNDING:
            self._free_at = now + self._pause
            self._ask(name, self._configs[name], self._questions[name])
        self._plan()

    def _ask(self, name: str, config: ReachabilityConfig, question: _Question) -> None:
        try:
            asked = self._executor.submit(
                probe, config, question.port, question.public_ip, self._clock
            )
        except RuntimeError:  # no more threads, as under a limit of processes
            self._free_at += ASK_AT_MOST_EVERY
            return
        self._asking.add(name)
        del self._questions[name]
        self._last_at[name] = self._clock.monotonic()
        asked.add_done_callback(functools.partial(self._report, name))

    def _report(self, name: str, asked: Future[Answer]) -> None:
        self._loop.request_call(functools.partial(self._answered, name, asked))

    def _answered(self, name: str, asked: Future[Answer]) -> None:
        self._asking.discard(name)
        self._questions.pop(name, None)
        if name in self._configs and not asked.cancelled():
            self._last_at[name] = self._clock.monotonic()
            self._loop.hear(name, asked.result())
        self._plan()
