"""Which notifications are due: few enough to be read, and none twice. Pure, but for the clock."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from exporter.clock import Clock, span
from exporter.config.load import TunnelConfig
from exporter.errors import WAITING_FIXES
from exporter.model import (
    LEAST_GRACE_SECONDS,
    WAITING_STATES,
    EventKind,
    Outcome,
    Saved,
    SyncState,
    Topic,
)

GATHER_SECONDS = 10.0
"""What comes up within this time is one message."""
STEADY_SECONDS = 60.0
"""A problem is over once the tunnel has been in sync for so long."""
QUIET_SECONDS = 1800.0
"""Further problems of a tunnel are told together, once this time is over."""
SHOWN = 10


class Message(NamedTuple):
    """What somebody gets to read; its topic is the most serious one in it."""

    topic: Topic
    title: str
    body: str


TEST = Message(Topic.PORT_CHANGE, "qSticky: test", "Notifications of qSticky arrive here.")


class _Notice(NamedTuple):
    tunnel: str
    topic: Topic
    text: str
    fix: str = ""


class Notices:
    """Keeps what was told of each tunnel, and says what is to be told next."""

    def __init__(
        self, topics: Collection[str], clock: Clock, saved_before: Mapping[str, Saved]
    ) -> None:
        """`saved_before` is what status.json held at the start.

        What it calls unhealthy was told before: only its end is news.
        """
        self._topics = topics
        self._clock = clock
        self._saved_before = saved_before
        self._tunnels: dict[str, _Tunnel] = {}
        self._gathered: list[_Notice] = []
        self._gathering_since = 0.0

    def set_tunnels(self, tunnels: Iterable[TunnelConfig]) -> None:
        """Watch exactly these; those known already keep their past."""
        before, self._tunnels, now = self._tunnels, {}, self._clock.monotonic()
        for config in tunnels:
            saved = self._saved_before.get(config.name, Saved())
            new = _Tunnel(config.name, config.interval_seconds, saved, now)
            self._tunnels[config.name] = before.get(config.name, new)
        self._saved_before = {}  # a tunnel that comes back later has no part in it

    def publish(self, outcome: Outcome) -> None:
        """Take in the outcome of a check; one of a tunnel that is gone is dropped."""
        if tunnel := self._tunnels.get(outcome.tunnel):
            tunnel.take(outcome)
            for event in outcome.events:
                if event.kind is EventKind.PORT_CHANGE:
                    self._gather(_Notice(outcome.tunnel, Topic.PORT_CHANGE, event.message))

    def due(self) -> Message | None:
        """Return what is to be told now; each thing once."""
        now = self._clock.monotonic()
        for tunnel in self._tunnels.values():
            if notice := tunnel.news(now, self._clock):
                self._gather(notice)
        if not self._gathered or now - self._gathering_since < GATHER_SECONDS:
            return None
        gathered, self._gathered = self._gathered, []
        return _message(gathered, several_tunnels=len(self._tunnels) > 1)

    def _gather(self, notice: _Notice) -> None:
        if notice.topic in self._topics:
            if not self._gathered:
                self._gathering_since = self._clock.monotonic()
            self._gathered.append(notice)


class _Tunnel:
    """One tunnel: whether it has a problem, and what was told of it."""

    def __init__(self, name: str, interval_seconds: float, saved: Saved, now: float) -> None:
        self._interval = interval_seconds
        self._outcome = Outcome(name, SyncState.STARTING, finished_at=now, saved=saved)
        self._has_problem = self._is_told = saved.was_unhealthy
        self._is_healthy = not saved.was_unhealthy
        # while nobody checked, nobody failed: a start counts as the end of a healthy time
        self._healthy_until = now if saved.was_unhealthy else now + LEAST_GRACE_SECONDS
        self._since = saved.out_of_sync_since if saved.was_unhealthy else None
        self._in_sync_since: float | None = None
        self._untold = 0
        """How many problems nobody was told of yet."""
        self._quiet_until = now

    def take(self, outcome: Outcome) -> None:
        """Take in an outcome."""
        self._outcome, at = outcome, outcome.finished_at
        if not outcome.in_sync:
            self._since = self._since or outcome.saved.out_of_sync_since or at
            self._in_sync_since = None
        elif self._in_sync_since is None:
            self._in_sync_since = at
            self._since = self._since if self._has_problem else None

    def news(self, now: float, clock: Clock) -> _Notice | None:
        """Return what has come up since it was asked for last."""
        was_healthy, self._is_healthy = self._is_healthy, self._healthy_at(now)
        if was_healthy and not self._is_healthy:
            self._has_problem = True
            self._untold += 1
        if self._has_problem and self._is_steady(now):
            return self._recovery()
        if self._untold and now >= self._quiet_until:
            return self._problem(now, clock)
        return None

    def _healthy_at(self, now: float) -> bool:
        return now < self._healthy_until or self._outcome.is_healthy(now, self._interval)

    def _is_steady(self, now: float) -> bool:
        since = self._in_sync_since
        return self._is_healthy and since is not None and now - since >= STEADY_SECONDS

    def _recovery(self) -> _Notice | None:
        since, self._since = self._since, None
        told, self._is_told = self._is_told, False
        self._has_problem = False
        if not told:
            return None
        lasted = (self._in_sync_since or 0.0) - since if since is not None else 0.0
        after = f" after {span(lasted)}" if lasted > 0 else ""
        text = f"open again on port {self._outcome.listening_port}{after}"
        return _Notice(self._outcome.tunnel, Topic.RECOVERY, text)

    def _problem(self, now: float, clock: Clock) -> _Notice:
        times, self._untold = self._untold, 0
        self._quiet_until = now + QUIET_SECONDS
        self._is_told = self._has_problem
        often = f"{times} problems" if times > 1 else "a problem"
        past = f"{often} in the last {span(QUIET_SECONDS)}"
        name = self._outcome.tunnel
        if not self._has_problem:
            port = self._outcome.listening_port
            return _Notice(name, Topic.PROBLEM, f"{past}, now open on port {port}")
        text, fix = _words(self._outcome)
        since = self._since if self._since is not None else self._outcome.finished_at
        if since is not None:
            text += f", since {datetime.fromtimestamp(clock.unix(since), UTC):%Y-%m-%d %H:%M UTC}"
        return _Notice(name, Topic.PROBLEM, f"{text}; {past}" if times > 1 else text, fix)


def _words(outcome: Outcome) -> tuple[str, str]:
    """Return what is wrong, and what to do about it."""
    state = outcome.state
    if state in (SyncState.IN_SYNC, SyncState.STARTING):
        return "no check has ended", "restart qSticky, and look at the end of its log"
    if state in WAITING_STATES:
        is_down = state is SyncState.VPN_DOWN
        said = f"the VPN is {outcome.vpn_status}" if is_down else "Gluetun forwards no port"
        return said, WAITING_FIXES[state]
    if not outcome.failures:
        return state.replace("_", " "), "see the status page"
    return outcome.failures[0].message, outcome.failures[0].fix


_TITLES = {
    Topic.PROBLEM: ("problem", "problems"),
    Topic.RECOVERY: ("recovery", "recoveries"),
    Topic.PORT_CHANGE: ("new port", "new ports"),
}


def _message(notices: list[_Notice], *, several_tunnels: bool) -> Message:
    counts = {topic: sum(notice.topic is topic for notice in notices) for topic in Topic}
    counted = [
        f"{count if len(notices) > 1 else ''} {_TITLES[topic][count > 1]}".strip()
        for topic, count in counts.items()
        if count
    ]
    lines = [
        f"{notice.tunnel}: {notice.text}" if several_tunnels else _capital(notice.text)
        for notice in notices[:SHOWN]
    ]
    if len(notices) == 1 and notices[0].fix:
        lines.append(f"Fix: {notices[0].fix}")
    if len(notices) > SHOWN:
        lines.append(f"and {len(notices) - SHOWN} more")
    worst = next(topic for topic, count in counts.items() if count)
    return Message(worst, f"qSticky: {', '.join(counted)}", "\n".join(lines))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
