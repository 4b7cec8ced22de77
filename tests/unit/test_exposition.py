"""What a scrape looks like: exactly as the client library would write it."""

import pytest
from prometheus_client import CollectorRegistry, exposition
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from exporter.model import Outcome, SyncState
from exporter.report.metrics import Metrics
from exporter.web.exposition import choose_encoder

OPEN_METRICS = "application/openmetrics-text;version=1.0.0"
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,*/*;q=0.2"
)
ACCEPTED = [
    "",
    "text/plain",
    "*/*",
    "text/plain;version=1.0.0;escaping=allow-utf-8",
    "text/plain;version=1.0.0;escaping=values",
    "application/openmetrics-text",
    OPEN_METRICS,
    f"{OPEN_METRICS};escaping=dots",
    f"{OPEN_METRICS};escaping=underscores",
    PROMETHEUS_3,
]


class Fixed(Collector):
    """Metrics that are given."""

    def __init__(self, *metrics: Metric) -> None:
        self.metrics = metrics

    def collect(self) -> tuple[Metric, ...]:
        return self.metrics


def metric(kind: str, *samples: tuple[str, dict[str, str], float], unit: str = "") -> Metric:
    made = Metric("things", 'Of "all" kinds,\nwith \\ too.', kind, unit)
    for sample in samples:
        made.add_sample(*sample)
    return made


def assert_as_the_library_writes_it(registry: Collector, accept: str) -> None:
    encode, content_type = choose_encoder(accept)
    theirs, their_type = exposition.choose_encoder(accept)

    assert content_type == their_type
    assert encode(registry) == theirs(registry)


@pytest.mark.parametrize("accept", ACCEPTED)
def test_our_metrics_are_written_as_by_the_library(accept: str) -> None:
    metrics = Metrics("2.0.0", "0123abc", 30, ["a", "b", "default"], lambda: 1_800_000_000.25)
    metrics.publish(
        Outcome("default", SyncState.IN_SYNC, 1_800_000_000.5, 30, forwarded_port=45720)
    )
    registry = CollectorRegistry()
    registry.register(metrics)  # without those of the process, which change all the time

    assert_as_the_library_writes_it(registry, accept)


@pytest.mark.parametrize("accept", ACCEPTED)
@pytest.mark.parametrize(
    "given",
    [
        metric("gauge", ("things", {}, 1)),
        metric("gauge", ("things", {"b": "2", "a": "1"}, 1), ("things", {"a": "1", "b": "2"}, 2)),
        metric("gauge", ("things", {"path": 'C:\\"x"\ny', "name": "é✓"}, 0.1)),
        metric("gauge", *[("things", {"n": str(n)}, 10.0**n) for n in range(-10, 22)]),
        metric("gauge", *[("things", {}, v) for v in (float("inf"), float("-inf"), float("nan"))]),
        metric("gauge", *[("things", {}, v) for v in (True, False, 45720, 1.8e9, -1e9, 123456.5)]),
        metric("counter", ("things_total", {"a": ""}, 3)),
        metric("unknown", ("things", {}, 3)),
        metric("info", ("things_info", {"version": "2"}, 1)),
        metric("stateset", ("things", {"things": "on"}, 1)),
        metric("histogram", ("things_bucket", {"le": "+Inf"}, 2), ("things_sum", {}, 0.25)),
        metric("gauge", ("things_seconds", {}, 3), unit="seconds"),
        metric("gauge"),
    ],
    ids=lambda given: f"{given.type}-{len(given.samples)}",
)
def test_any_metric_is_written_as_by_the_library(given: Metric, accept: str) -> None:
    assert_as_the_library_writes_it(Fixed(given), accept)


def test_nonsense_in_the_header_is_for_the_caller() -> None:
    with pytest.raises(TypeError):
        choose_encoder("application/openmetrics-text;version=x")
