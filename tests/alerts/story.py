"""Tells what Prometheus sees as a story of a few lines, and makes promtool tests of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise, takewhile
from typing import Any

from exporter.model import ConnectionStatus, SyncState

STEP = 30
"""Seconds from one scrape to the next, and from one evaluation of the rules to the next."""

ABSENT = None
TODAY = 86_400_000
"""A step of 1,000 days: promtool gets to the clocks of our days in 21 of them."""
NEVER = -1_800_000_000.0
"""What 0 is to today's clocks; promtool's clock begins at 0."""
TARGET = {"job": "downloads", "instance": "nas:9809"}
OPERATIONS = ("gluetun_port", "status_file")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A stretch of time in which nothing changes; what is not said is as it should be."""

    minutes: float
    state: str = "in_sync"
    scraped: bool = True
    """Whether Prometheus reaches the process, which runs all the same."""
    running: bool = True
    """Whether the process is there at all."""
    configured: bool = True
    """Whether Prometheus has the process among its targets."""
    missing: tuple[str, ...] = ()
    """Metrics that a scrape does not bring."""
    starts: bool = False
    """The process starts at the first scrape of this part."""
    hung: bool = False
    """No cycle ends any more."""
    connection: str = "connected"
    has_torrents: bool = False
    file_broken: bool = False
    reload_accepted: bool = True
    never: bool = False
    """No cycle has ever ended in sync."""
    port_changes: float = 0
    """Added to the counter at each scrape."""
    port_drifts: float = 0
    failing_operation: str = "gluetun_port"
    failures: float = 0
    """Added to the failures of that operation at each scrape."""
    tries: float = 4
    """Added to the count of each operation at each scrape."""


Values = list[float | None]


@dataclass
class Recorder:
    """The samples of every series, all of the same length."""

    series: dict[str, Values] = field(default_factory=dict)
    length: int = 0

    def add(self, samples: Mapping[str, float]) -> None:
        """One scrape: series that are not in it get no sample."""
        for name in samples:
            self.series.setdefault(name, [ABSENT] * self.length)
        self.length += 1
        for name, values in self.series.items():
            values.append(samples.get(name, ABSENT))


def tell(*parts: Part, step: int = STEP, **other_tunnels: tuple[Part, ...]) -> dict[str, str]:
    """Input series for promtool, from the Unix time 0 on, with a scrape every so many seconds.

    The parts tell of the process and of its tunnel `home`; other tunnels have parts of their own.
    """
    recorder, process = Recorder(), Process()
    tunnels = {"home": Tunnel("home")} | {name: Tunnel(name) for name in other_tunnels}
    stories = [[*moments(each, step)] for each in (parts, *other_tunnels.values())]
    for number, seen in enumerate(zip(*stories, strict=True)):
        now, (part, starting) = number * step, seen[0]
        process.live(part, now, starting=starting)
        for tunnel, (its_part, _) in zip(tunnels.values(), seen, strict=True):
            tunnel.live(its_part, now, starting=starting, running=part.running)
        samples = {series("up"): float(part.scraped and part.running)} if part.configured else {}
        if part.scraped and part.running and part.configured:
            samples |= process.exposition(part)
            for tunnel, (its_part, _) in zip(tunnels.values(), seen, strict=True):
                samples |= tunnel.exposition(its_part)
        recorder.add(
            {name: v for name, v in samples.items() if name.split("{")[0] not in part.missing}
        )
    return {name: notation(values) for name, values in recorder.series.items()}


def moments(parts: Iterable[Part], step: int) -> Iterator[tuple[Part, bool]]:
    """The part at each scrape, and whether the process starts there."""
    for part in parts:
        for position in range(round(part.minutes * 60 / step)):
            yield part, part.starts and position == 0


@dataclass
class Process:
    """What qSticky says of itself."""

    started: float = -7200.0
    file_written: float = 0.0
    counters: dict[str, float] = field(default_factory=dict)

    def live(self, part: Part, now: float, *, starting: bool) -> None:
        """One scrape interval goes by."""
        if starting:
            self.started, self.file_written, self.counters = now, 0.0, {}
            return
        if part.hung or not part.running:
            return
        if not part.file_broken:
            self.file_written = now
        grow(self.counters, f"failures {part.failing_operation}", part.failures)
        for operation in OPERATIONS:
            grow(self.counters, f"tries {operation}", part.tries)

    def exposition(self, part: Part) -> dict[str, float]:
        """What a scrape gives."""
        samples = {
            series("qsticky_build_info", version="1.2.3", revision="abcdef"): 1.0,
            series("process_start_time_seconds"): self.started,
            series("qsticky_config_last_reload_successful"): float(part.reload_accepted),
            series("qsticky_status_file_last_write_timestamp_seconds"): self.file_written,
        }
        for operation in OPERATIONS:
            tries = self.counters.get(f"tries {operation}", 0.0)
            failures = self.counters.get(f"failures {operation}", 0.0)
            samples[series("qsticky_operations_total", operation=operation)] = tries
            # two reasons share the failures, so that only their sum is right
            for reason in ("timeout", "other"):
                labels = {"operation": operation, "reason": reason}
                samples[series("qsticky_operation_failures_total", **labels)] = failures / 2
        return samples


@dataclass
class Tunnel:
    """What qSticky says of one tunnel."""

    name: str
    state: str = "starting"
    last_attempt: float = 0.0
    last_success: float = 0.0
    counters: dict[str, float] = field(default_factory=dict)

    def live(self, part: Part, now: float, *, starting: bool, running: bool) -> None:
        """One scrape interval goes by."""
        if starting:
            self.state, self.last_attempt, self.counters = "starting", 0.0, {}
            return
        if part.hung or not running:
            return
        self.state, self.last_attempt = part.state, now
        if part.state == "in_sync":
            self.last_success = now
        if part.never:
            self.last_success = NEVER
        grow(self.counters, "changes", part.port_changes)
        grow(self.counters, "drifts", part.port_drifts)

    def exposition(self, part: Part) -> dict[str, float]:
        """What a scrape gives."""
        state, status = "qsticky_sync_state", "qsticky_qbittorrent_connection_status"
        samples = {
            "qsticky_sync_interval_seconds": 30.0,
            "qsticky_sync_last_attempt_timestamp_seconds": self.last_attempt,
            "qsticky_sync_last_success_timestamp_seconds": self.last_success,
            "qsticky_port_in_sync": float(self.state == "in_sync"),
            "qsticky_port_changes_total": self.counters.get("changes", 0.0),
            "qsticky_port_drifts_total": self.counters.get("drifts", 0.0),
            "qsticky_qbittorrent_has_torrents": float(part.has_torrents),
        }
        return {
            **{series(name, tunnel=self.name): value for name, value in samples.items()},
            **{
                series(status, tunnel=self.name, state=one.value): float(one == part.connection)
                for one in ConnectionStatus
            },
            **{
                series(state, tunnel=self.name, state=one.value): float(one == self.state)
                for one in SyncState
            },
        }


def grow(counters: dict[str, float], name: str, amount: float) -> None:
    """Add to a counter."""
    counters[name] = counters.get(name, 0.0) + amount


def series(name: str, **labels: str) -> str:
    """A series of our target."""
    inside = ",".join(f'{label}="{value}"' for label, value in (TARGET | labels).items())
    return f"{name}{{{inside}}}"


def notation(values: Values) -> str:
    """The samples in promtool's notation; a series that ends is marked as Prometheus marks it."""
    words, position = [], 0
    while position < len(values):
        rest = values[position:]
        if rest[0] is ABSENT:
            length = next((i for i, value in enumerate(rest) if value is not ABSENT), len(rest))
            ended = position > 0
            words += ["stale"] * ended + [f"_x{length - ended}"] * (length > ended)
        else:
            length, step = run(rest)
            repeated = f"{plain(step, '+')}x{length - 1}" if length > 1 else ""
            words.append(plain(rest[0]) + repeated)
        position += length
    return " ".join(words)


def plain(value: float, sign: str = "") -> str:
    """A number without an exponent, which promtool's notation does not know."""
    return f"{value:{sign}.6f}".rstrip("0").rstrip(".")


def run(values: Values) -> tuple[int, float]:
    """How many samples from the first on grow by the same step, and that step."""
    present = [
        value for value in takewhile(lambda value: value is not ABSENT, values) if value is not None
    ]
    steps = [round(after - before, 6) for before, after in pairwise(present)]
    if not steps:
        return 1, 0.0
    length = 1 + len([*takewhile(lambda step: step == steps[0], steps)])
    return (length, steps[0]) if length > 2 or steps[0] == 0 else (1, 0.0)


@dataclass(frozen=True)
class Alert:
    """An alert that fires, as the receiver sees it."""

    labels: Mapping[str, str]
    summary: str
    description: str
    runbook_url: str


@dataclass(frozen=True)
class Case:
    """A story and the alerts that fire at some of its minutes: these and no others."""

    name: str
    story: Mapping[str, str]
    firing: Mapping[float, tuple[str, ...]]
    """The names of all firing alerts by minute, one for each tunnel that it fires for."""
    details: Mapping[float, Mapping[str, tuple[Alert, ...]]] = field(default_factory=dict)
    """How some of them look, and which of them do not fire."""
    interval_seconds: int = STEP

    def on_another_site(self) -> Case:
        """The same case where the targets carry one more label, which the alerts must keep."""

        def moved(alert: Alert) -> Alert:
            return replace(alert, labels={**alert.labels, "site": "attic"})

        return replace(
            self,
            name=f"{self.name} (with one more label)",
            story={
                name.replace("instance=", 'site="attic",instance='): values
                for name, values in self.story.items()
            },
            details={
                at: {name: tuple(map(moved, alerts)) for name, alerts in by_name.items()}
                for at, by_name in self.details.items()
            },
        )

    def promtool_test(self, only: str = "") -> dict[str, Any]:
        """The case as one of promtool's test groups; on request it looks at one alert only."""
        return {
            "name": self.name,
            "interval": f"{self.interval_seconds}s",
            "input_series": [
                {"series": name, "values": values} for name, values in self.story.items()
            ],
            "promql_expr_test": [
                _firing_test(at, names, only) for at, names in self.firing.items()
            ],
            "alert_rule_test": [
                _details_test(at, name, alerts)
                for at, by_name in self.details.items()
                for name, alerts in by_name.items()
                if name == (only or name)
            ],
        }


def _firing_test(minute: float, names: tuple[str, ...], only: str) -> dict[str, Any]:
    matchers = 'alertstate="firing"' + (f',alertname="{only}"' if only else "")
    return {
        "expr": f"count by (alertname) (ALERTS{{{matchers}}})",
        "eval_time": _time(minute),
        "exp_samples": [
            {"labels": f'{{alertname="{name}"}}', "value": names.count(name)}
            for name in sorted(set(names))
            if name == (only or name)
        ],
    }


def _details_test(minute: float, name: str, alerts: tuple[Alert, ...]) -> dict[str, Any]:
    return {
        "eval_time": _time(minute),
        "alertname": name,
        "exp_alerts": [
            {
                "exp_labels": dict(alert.labels),
                "exp_annotations": {
                    "summary": alert.summary,
                    "description": alert.description,
                    "runbook_url": alert.runbook_url,
                },
            }
            for alert in alerts
        ],
    }


def _time(minute: float) -> str:
    return f"{round(minute * 60)}s"


def promtool_files(rules: str, cases: Iterable[Case], only: str = "") -> Iterator[dict[str, Any]]:
    """Test files for promtool, one for each scrape interval that the cases have."""
    by_interval: dict[int, list[Case]] = {}
    for case in cases:
        by_interval.setdefault(case.interval_seconds, []).append(case)
    for interval, some in by_interval.items():
        yield {
            "rule_files": [rules],
            "evaluation_interval": f"{interval}s",
            "tests": [case.promtool_test(only) for case in some],
        }
