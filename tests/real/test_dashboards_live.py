"""What the dashboards' queries give on a real Prometheus that scrapes our metrics."""

import json
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from prometheus_client import make_wsgi_app

from exporter.model import (
    Event,
    EventKind,
    Level,
    Operation,
    OperationResult,
    Outcome,
    Reason,
    SyncState,
)
from exporter.report.metrics import Metrics
from tests.outcomes import OUTCOMES
from tests.parts import monitoring
from tests.parts.monitoring import RealPrometheus, Series, wait_until

FOLDER = Path(__file__).parents[2] / "grafana" / "dashboards"
SCRAPE = "1s"
"""Less, and a busy machine misses a scrape now and then, which empties every panel."""
PATIENCE_SECONDS = 15
RANGE = "1m"
"""Stands for the time that is shown, and for the time that a rate is taken over."""

IN_SYNC, OUT_OF_SYNC, VPN_DOWN = SyncState.IN_SYNC, SyncState.OUT_OF_SYNC, SyncState.VPN_DOWN
TWENTY = tuple(f"seedbox-{number:02}" for number in range(1, 21))
DOWN, STUCK = 21, 20
"""What the state says beside the numbers of the states; in sync is 1."""

EMPTY_UNLESS_SOMETHING_FAILS = {"qsticky-details: Failures"}
EMPTY_WITHOUT_A_PORT = {"qsticky-overview: Ports A"}
SAID_OF_NOW = {
    *(f"qsticky-overview: All tunnels {letter}" for letter in "BCDEFG"),
    "qsticky-overview: Ports A",
    "qsticky-overview: Ports B",
    "qsticky-overview: VPN",
    "qsticky-overview: Peers",
    "qsticky-details: Time since the last check A",
    "qsticky-details: Time since the last check B",
    "qsticky-details: qSticky",
    "qsticky-details: qBittorrent",
    "qsticky-details: Running since",
    "qsticky-details: status.json written",
    "qsticky-details: Configuration",
    "qsticky-details: Memory",
    "qsticky-details: CPU",
    "qsticky-details: Open files",
}
"""Gone at once when qSticky is down, so that nothing old is taken for the present."""


class Query(NamedTuple):
    """One query of a panel; `name` is dashboard: title and, where there are several, the letter."""

    name: str
    expression: str


def queries() -> list[Query]:
    found = []
    for file in sorted(FOLDER.iterdir()):
        for panel in json.loads(file.read_text(encoding="utf-8"))["panels"]:
            for target in panel.get("targets", ()):
                letter = f" {target['refId']}" if len(panel["targets"]) > 1 else ""
                expression = re.sub(r"\$__(rate_interval|range)", RANGE, target["expr"])
                expression = re.sub(r"\$(job|instance|tunnel)\b", ".+", expression)
                found.append(Query(f"{file.stem}: {panel['title']}{letter}", expression))
    return found


QUERIES = queries()


def operations(outcome: Outcome) -> tuple[OperationResult, ...]:
    """All kinds of them, as a cycle with those failures has them."""
    reasons = {failure.operation: failure.reason for failure in outcome.failures}
    return tuple(OperationResult(kind, 0.02, reasons.get(kind)) for kind in Operation)


class Exporter:
    """Serves the metrics of made-up tunnels, and goes on making cycles of them."""

    def __init__(self, tunnels: Sequence[str]) -> None:
        self.metrics = Metrics("2.0.0", "abc1234", 30.0, tunnels)
        self.states: dict[str, SyncState] = dict.fromkeys(tunnels, IN_SYNC)
        self.server = make_server(
            "127.0.0.1", 0, make_wsgi_app(self.metrics.registry), handler_class=QuietHandler
        )
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self._thread.start()
        self.cycle()

    def cycle(self, finished_at: float | None = None) -> None:
        """One cycle of every tunnel."""
        at = time.time() if finished_at is None else finished_at
        for tunnel, state in self.states.items():
            outcome = replace(OUTCOMES[state], tunnel=tunnel, finished_at=at)
            event = Event(EventKind.PORT_UPDATE, Level.INFO, "")
            self.metrics.publish(replace(outcome, operations=operations(outcome), events=(event,)))
        self.metrics.file_written(OperationResult(Operation.STATUS_FILE, 0.001), at)

    def stop(self) -> None:
        """Refuse connections from now on; once is enough."""
        if not self._thread.is_alive():
            return
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Keep the tests' output clean."""


@contextmanager
def scraped(exporter: Exporter, folder: Path) -> Iterator[RealPrometheus]:
    """A Prometheus that knows the exporter well enough for a rate."""
    config = {
        "global": {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE},
        "scrape_configs": [
            {
                "job_name": "any",
                "static_configs": [
                    {"targets": [f"127.0.0.1:{exporter.server.server_port}"]},
                ],
            }
        ],
    }
    with RealPrometheus(folder, json.dumps(config)) as prometheus:
        for _ in range(2):
            settle(prometheus, exporter)
        yield prometheus


def settle(
    prometheus: RealPrometheus, exporter: Exporter, finished_at: float | None = None
) -> None:
    """One more cycle, and wait until Prometheus has it."""
    exporter.cycle(finished_at)
    done = len(exporter.states) * cycles_of(exporter)
    wait_until(
        lambda: [s.value for s in prometheus.query("sum(qsticky_syncs_total)")] == [done],
        "the cycle to be scraped",
        PATIENCE_SECONDS,
    )


def cycles_of(exporter: Exporter) -> int:
    """How many cycles each tunnel has had."""
    value = exporter.metrics.registry.get_sample_value(
        "qsticky_syncs_total", {"tunnel": next(iter(exporter.states))}
    )
    assert value is not None
    return int(value)


def empty(prometheus: RealPrometheus) -> set[str]:
    """Names of the queries that give nothing now."""
    return {query.name for query in QUERIES if not prometheus.query(query.expression)}


def asked(prometheus: RealPrometheus, name: str) -> list[Series]:
    """What the query of that name gives now."""
    (query,) = [one for one in QUERIES if one.name == name]
    return prometheus.query(query.expression)


def said(prometheus: RealPrometheus, panel: str) -> dict[str, float]:
    """What a query of the overview says of each tunnel."""
    found = asked(prometheus, f"qsticky-overview: {panel}")
    return {series.labels.get("tunnel", ""): series.value for series in found}


def assert_marks_stand_where_things_happened(prometheus: RealPrometheus) -> None:
    """Asks for the marks on the graphs: their value is their time in milliseconds."""
    dashboard = json.loads((FOLDER / "qsticky-overview.json").read_text(encoding="utf-8"))
    marks = {
        note["name"]: prometheus.query(
            re.sub(r"\$(job|instance|tunnel)\b", ".+", note["target"]["expr"])
        )
        for note in dashboard["annotations"]["list"]
    }
    changed_at = OUTCOMES[IN_SYNC].last_port_change_at * 1000
    assert {change.value for change in marks["Port changes"]} == {changed_at}
    (start,) = marks["Restarts of qSticky"]
    assert 0 < time.time() - start.value / 1000 < 24 * 3600
    assert marks["Alerts"] == []


@pytest.fixture(params=[("default",), TWENTY], ids=["1 tunnel", "20 tunnels"])
def exporter(request: pytest.FixtureRequest) -> Iterator[Exporter]:
    monitoring.or_skip(lambda: monitoring.promtool())
    exporter = Exporter(request.param)
    try:
        yield exporter
    finally:
        exporter.stop()


def test_every_panel_has_its_data_in_every_state(exporter: Exporter, tmp_path: Path) -> None:
    tunnels = tuple(exporter.states)
    broken, others = tunnels[0], tunnels[1:]
    with scraped(exporter, tmp_path) as prometheus:
        assert_marks_stand_where_things_happened(prometheus)
        assert empty(prometheus) == EMPTY_UNLESS_SOMETHING_FAILS
        assert said(prometheus, "Open now?") == dict.fromkeys(tunnels, 1)
        assert said(prometheus, "Tunnels A") == {"": len(tunnels)}
        assert said(prometheus, "Tunnels B") == {"": 0}

        exporter.states[broken] = OUT_OF_SYNC
        for _ in range(2):
            settle(prometheus, exporter)
        assert empty(prometheus) == set()
        assert said(prometheus, "Open now?") == {broken: 2} | dict.fromkeys(others, 1)
        assert said(prometheus, "Tunnels B") == {"": 1}
        assert said(prometheus, "Ports A")[broken] == 45720
        assert said(prometheus, "Ports B")[broken] == 51413
        failed = [s for s in asked(prometheus, "qsticky-details: Failures") if s.value]
        assert {(s.labels["operation"], s.labels["reason"]) for s in failed} == {
            (Operation.QBITTORRENT_SET_PORT.value, Reason.VERIFY_MISMATCH.value)
        }

        exporter.states = dict.fromkeys(tunnels, VPN_DOWN)
        settle(prometheus, exporter)
        assert empty(prometheus) == EMPTY_WITHOUT_A_PORT
        assert said(prometheus, "Open now?") == dict.fromkeys(tunnels, 5)
        assert said(prometheus, "Tunnels A") == {"": 0}
        assert said(prometheus, "VPN") == dict.fromkeys(tunnels, 4)
        assert said(prometheus, "Ports A") == {}

        exporter.states = dict.fromkeys(tunnels, IN_SYNC)
        settle(prometheus, exporter, finished_at=time.time() - 3600)
        assert said(prometheus, "Open now?") == dict.fromkeys(tunnels, STUCK)

        exporter.stop()
        wait_until(
            lambda: [s.value for s in prometheus.query("up")] == [0],
            "Prometheus to notice",
            PATIENCE_SECONDS,
        )
        assert empty(prometheus) == SAID_OF_NOW
        assert said(prometheus, "Open now?") == dict.fromkeys(tunnels, DOWN)
        assert said(prometheus, "Tunnels B") == {"": len(tunnels)}
