"""The metrics as a scrape sees them."""

import logging
import re

import pytest
from prometheus_client.exposition import choose_encoder, generate_latest

from exporter.model import (
    BindResult,
    Event,
    EventKind,
    Level,
    Operation,
    OperationResult,
    Outcome,
    Reason,
    Saved,
    SavedLogins,
    SyncState,
)
from exporter.report.metrics import ROWS, Metrics
from exporter.report.tally import LogCounter, Tally
from tests.fakes import IN_SYNC, NOW, QBITTORRENT, FakeClock, tunnels

BOUND = IN_SYNC._replace(qbittorrent=QBITTORRENT._replace(bind_result=BindResult.BOUND))
BLIND = Outcome(
    "default",
    SyncState.GLUETUN_UNREACHABLE,
    finished_at=NOW + 30,
    saved=Saved(forwarded_port=45720, port_changed_at=NOW - 3600, succeeded_at=NOW),
)
DEFAULT = {"tunnel": "default"}


class Scraped:
    """A tally, and what Prometheus gets to see of it."""

    def __init__(self, *names: str) -> None:
        self.clock = FakeClock()
        self.tally = Tally("1.2.3", "abcdef", self.clock)
        self.tally.set_tunnels(tunnels(*(names or ("default",))))
        self.metrics = Metrics(self.tally)
        self.publish = self.tally.publish

    def text(self) -> str:
        return generate_latest(self.metrics.registry).decode()

    def lines(self) -> list[str]:
        return [line for line in self.text().splitlines() if line.startswith("qsticky_")]

    def series(self) -> set[str]:
        return {line.rsplit(" ", 1)[0] for line in self.lines()}

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)

    def gauges(self) -> dict[str, float | None]:
        """Every metric that has one value for each tunnel."""
        rows = [row.name for row in ROWS if row.labels == ("tunnel",)]
        return {name: self.value(name, **DEFAULT) for name in rows}

    def states(self, name: str) -> dict[str, float]:
        """The values of a set of states that are not 0."""
        samples = [s for f in self.metrics.collect() for s in f.samples if s.name == name]
        return {sample.labels["state"]: sample.value for sample in samples if sample.value}

    def total(self, name: str) -> float:
        samples = [s for f in self.metrics.collect() for s in f.samples if s.name == name]
        return sum(sample.value for sample in samples)


@pytest.fixture
def scraped() -> Scraped:
    return Scraped()


# Which series there are


def test_every_series_but_facts_not_yet_known_exists_before_the_first_check(
    scraped: Scraped,
) -> None:
    assert {line for line in scraped.lines() if not line.endswith(" 0.0")} == {
        'qsticky_sync_state{state="starting",tunnel="default"} 1.0',
        'qsticky_vpn_status{state="unknown",tunnel="default"} 1.0',
        'qsticky_qbittorrent_connection_status{state="unknown",tunnel="default"} 1.0',
        'qsticky_sync_interval_seconds{tunnel="default"} 30.0',
        "qsticky_config_last_reload_successful 1.0",
        "qsticky_config_last_reload_success_timestamp_seconds 1.79e+09",
        "qsticky_time_seconds 1.79e+09",
        'qsticky_build_info{revision="abcdef",version="1.2.3"} 1.0',
    }
    before = scraped.series()
    scraped.publish(IN_SYNC)
    assert scraped.series() - before == {
        'qsticky_qbittorrent_info{tunnel="default",version="v5.1.0",webapi_version="2.11.4"}',
        'qsticky_config_info{gluetun_auth="apikey",qbittorrent_auth="password",tunnel="default"}',
    }
    assert before <= scraped.series()


def test_nothing_beyond_the_table_but_the_process_and_the_python_is_exposed(
    scraped: Scraped,
) -> None:
    exposed = set(re.findall(r"^# TYPE (\S+)", scraped.text(), re.MULTILINE))
    assert exposed - {row.name for row in ROWS} == {
        "process_virtual_memory_bytes",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_max_fds",
        "python_info",
    }


@pytest.mark.parametrize("count", [1, 1000])
def test_the_number_of_series_grows_with_the_tunnels_and_by_little(count: int) -> None:
    scraped = Scraped(*(f"tunnel{number}" for number in range(count)))
    assert len(scraped.lines()) == 251 + 42 * count


def test_no_port_is_a_label(scraped: Scraped) -> None:
    scraped.publish(IN_SYNC)
    assert re.findall(r"\{[^}]*45720[^}]*\}", scraped.text()) == []


def test_every_metric_explains_itself() -> None:
    for row in ROWS:
        assert re.fullmatch(r"[A-Z1].{8,}\.", row.help), row.name
        assert re.fullmatch(r"qsticky_[a-z_]+", row.name), row.name
        assert row.name.endswith("_total") == (row.kind == "counter"), row.name


# What they say


def test_a_check_in_sync_shows_in_every_gauge(scraped: Scraped) -> None:
    scraped.publish(BOUND)
    gauges = scraped.gauges()
    assert {name: value for name, value in gauges.items() if value} == {
        "qsticky_port_in_sync": 1,
        "qsticky_forwarded_port": 45720,
        "qsticky_qbittorrent_listen_port": 45720,
        "qsticky_qbittorrent_port_bound": 1,
        "qsticky_gluetun_up": 1,
        "qsticky_qbittorrent_up": 1,
        "qsticky_sync_interval_seconds": 30,
        "qsticky_sync_last_attempt_timestamp_seconds": 1_790_000_000,
        "qsticky_sync_last_success_timestamp_seconds": 1_790_000_000,
        "qsticky_port_last_change_timestamp_seconds": 1_789_996_400,
        "qsticky_syncs_total": 1,
    }
    assert scraped.states("qsticky_sync_state") == {"in_sync": 1}
    assert scraped.states("qsticky_vpn_status") == {"running": 1}
    assert scraped.states("qsticky_qbittorrent_connection_status") == {"connected": 1}


def test_what_a_check_could_not_read_is_unknown_and_not_the_old_value(scraped: Scraped) -> None:
    scraped.publish(BOUND)
    scraped.publish(BLIND)
    assert {name: value for name, value in scraped.gauges().items() if value} == {
        "qsticky_sync_interval_seconds": 30,
        "qsticky_sync_last_attempt_timestamp_seconds": 1_790_000_030,
        "qsticky_sync_last_success_timestamp_seconds": 1_790_000_000,
        "qsticky_port_last_change_timestamp_seconds": 1_789_996_400,
        "qsticky_syncs_total": 2,
        "qsticky_sync_failures_total": 1,
    }
    assert scraped.states("qsticky_sync_state") == {"gluetun_unreachable": 1}
    assert scraped.states("qsticky_vpn_status") == {"unknown": 1}
    assert scraped.states("qsticky_qbittorrent_connection_status") == {"unknown": 1}
    assert "qsticky_qbittorrent_info{" not in scraped.text()


def test_torrents_and_suspended_logins_show(scraped: Scraped) -> None:
    scraped.publish(IN_SYNC._replace(qbittorrent=QBITTORRENT._replace(has_torrents=True)))
    assert scraped.value("qsticky_qbittorrent_has_torrents", **DEFAULT) == 1
    logins = SavedLogins((NOW,), 1, NOW + 300, Reason.AUTH, "")
    scraped.publish(BLIND._replace(saved=Saved(logins=logins)))
    assert scraped.value("qsticky_qbittorrent_has_torrents", **DEFAULT) is None
    assert scraped.value("qsticky_qbittorrent_login_suspended", **DEFAULT) == 1


def test_another_qbittorrent_version_replaces_the_one_before(scraped: Scraped) -> None:
    scraped.publish(IN_SYNC)
    newer = QBITTORRENT._replace(version="v5.3.0", webapi_version="2.16.2")
    scraped.publish(IN_SYNC._replace(qbittorrent=newer))
    assert [line for line in scraped.lines() if "qbittorrent_info" in line] == [
        'qsticky_qbittorrent_info{tunnel="default",version="v5.3.0",webapi_version="2.16.2"} 1.0'
    ]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (EventKind.PORT_CHANGE, "qsticky_port_changes_total"),
        (EventKind.PORT_UPDATE, "qsticky_port_updates_total"),
        (EventKind.DRIFT, "qsticky_port_drifts_total"),
        (EventKind.REBIND, "qsticky_port_rebinds_total"),
    ],
)
def test_an_event_counts_in_its_own_metric_only(
    kind: EventKind, name: str, scraped: Scraped
) -> None:
    event = Event(kind, Level.INFO, "made up")
    scraped.publish(IN_SYNC._replace(events=(event, event)))
    counted = {n: v for n, v in scraped.gauges().items() if n.endswith("_total") and v}
    assert counted == {"qsticky_syncs_total": 1, name: 2}


def test_operations_count_by_why_they_failed_and_in_every_bucket_that_they_fit_in(
    scraped: Scraped,
) -> None:
    results = (
        OperationResult(Operation.GLUETUN_PORT, 0.025),
        OperationResult(Operation.GLUETUN_PORT, 5.0, Reason.TIMEOUT),
        OperationResult(Operation.GLUETUN_PORT, 11.0, Reason.TIMEOUT),
    )
    scraped.publish(BLIND._replace(operations=results))
    text = [line for line in scraped.lines() if 'operation="gluetun_port"' in line]
    buckets = [line.rsplit(" ", 1)[1] for line in text if "_bucket" in line]
    assert buckets == ["0.0", *["1.0"] * 7, "2.0", "2.0", "3.0"]
    assert re.findall(r'le="([^"]+)"', "".join(text)) == [
        *("0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "+Inf")
    ]
    port = {"operation": "gluetun_port"}
    assert scraped.value("qsticky_operation_duration_seconds_count", **port) == 3
    assert scraped.value("qsticky_operation_duration_seconds_sum", **port) == 16.025
    assert scraped.value("qsticky_operations_total", **port) == 3
    assert scraped.value("qsticky_operation_failures_total", reason="timeout", **port) == 2
    assert scraped.total("qsticky_operation_failures_total") == 2


def test_what_opened_counts_by_how_long_it_took(scraped: Scraped) -> None:
    for seconds in (0.1, 59.0, 601.0, None):
        scraped.publish(IN_SYNC._replace(opened_after_seconds=seconds))
    text = [line for line in scraped.lines() if "port_open_duration" in line]
    assert [line.rsplit(" ", 1)[1] for line in text] == [
        *("1.0",) * 8, *("2.0",) * 4, "3.0", "3.0", "660.1"
    ]  # fmt: skip
    assert 'qsticky_port_open_duration_seconds_bucket{le="60.0"} 2.0' in text


def test_the_time_of_the_scrape_is_that_of_the_system_clock(scraped: Scraped) -> None:
    scraped.clock.now += 15
    assert scraped.value("qsticky_time_seconds") == 1_790_000_015


def test_the_process_tells_of_its_file_its_reloads_its_log_and_pushes(scraped: Scraped) -> None:
    logger = logging.getLogger("test_metrics")
    logger.addHandler(LogCounter(scraped.tally))
    logger.info("not counted")
    logger.warning("counted")
    scraped.tally.count_file_write(OperationResult(Operation.STATUS_FILE, 0.01))
    scraped.tally.count_reload(success=False)
    scraped.tally.count_push(None)
    assert scraped.value("qsticky_log_messages_total", level="warning") == 1
    assert scraped.value("qsticky_log_messages_total", level="info") is None
    assert scraped.value("qsticky_status_file_last_write_timestamp_seconds") == 1_790_000_000
    assert scraped.value("qsticky_config_last_reload_successful") == 0
    assert scraped.value("qsticky_config_reloads_total") == 1
    assert scraped.value("qsticky_config_reload_failures_total") == 1
    assert scraped.value("qsticky_push_triggers_total", **DEFAULT) == 1


def test_a_time_does_not_change_from_scrape_to_scrape_until_the_clock_is_set(
    scraped: Scraped,
) -> None:
    scraped.publish(IN_SYNC)
    times = [line for line in scraped.lines() if "_timestamp_" in line]
    for _ in range(5):
        scraped.clock.now += 15
        scraped.clock.offset += 0.1
        assert [line for line in scraped.lines() if "_timestamp_" in line] == times
    scraped.clock.offset += 3600 - 0.5
    name = "qsticky_sync_last_success_timestamp_seconds"
    assert scraped.value(name, **DEFAULT) == pytest.approx(1_790_003_600, abs=1e-3)


# How they are written


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text;version=1.0.0"])
def test_no_series_shows_when_another_was_created(accept: str, scraped: Scraped) -> None:
    encode, _ = choose_encoder(accept)
    assert b"_created" not in encode(scraped.metrics.registry)


def test_a_scrape_can_ask_for_one_metric(scraped: Scraped) -> None:
    restricted = scraped.metrics.registry.restricted_registry(["qsticky_sync_failures_total"])
    assert generate_latest(restricted).decode() == (
        "# HELP qsticky_sync_failures_total Finished checks that did not end in sync.\n"
        "# TYPE qsticky_sync_failures_total counter\n"
        'qsticky_sync_failures_total{tunnel="default"} 0.0\n'
    )


def test_a_check_that_ends_in_the_middle_of_a_scrape_does_not_show_in_it(scraped: Scraped) -> None:
    before = [(family.name, family.samples) for family in scraped.metrics.collect()]
    seen = []
    for family in scraped.metrics.collect():
        seen.append((family.name, family.samples))
        scraped.publish(IN_SYNC)
    assert seen == before
