"""The metrics as a scrape sees them."""

import logging
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.exposition import choose_encoder, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from exporter.model import (
    ConnectionStatus,
    Event,
    EventKind,
    Level,
    Operation,
    OperationResult,
    Outcome,
    Reason,
    SyncState,
    VpnStatus,
)
from exporter.report.metrics import ROWS, LogCounter, Metrics
from exporter.report.tally import REASONS
from tests.parts import monitoring

NOW = 1_800_000_000.0
IN_SYNC = Outcome(
    "default",
    SyncState.IN_SYNC,
    NOW,
    30.0,
    forwarded_port=45720,
    listening_port=45720,
    port_bound=True,
    gluetun_up=True,
    qbittorrent_up=True,
    vpn_status=VpnStatus.RUNNING,
    connection_status=ConnectionStatus.CONNECTED,
    gluetun_auth="apikey",
    qbittorrent_auth="password",
    qbittorrent_version="5.1.0",
    webapi_version="2.11.4",
    last_success_at=NOW,
    last_port_change_at=NOW - 3600,
)
BLIND = Outcome("default", SyncState.GLUETUN_UNREACHABLE, NOW + 30, 30.0, last_success_at=NOW)


def metrics_of(*tunnels: str) -> Metrics:
    return Metrics("1.2.3", "abcdef", 30.0, tunnels or ("default",), clock=lambda: NOW - 7200)


def scrape(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def states(metrics: Metrics, name: str) -> dict[str, float]:
    return {
        sample.labels["state"]: sample.value
        for family in metrics.collect()
        for sample in family.samples
        if sample.name == name
    }


def events(*kinds: EventKind) -> tuple[Event, ...]:
    return tuple(Event(kind, Level.INFO, "made up") for kind in kinds)


def test_every_series_exists_with_zero_before_the_first_cycle() -> None:
    exposition = scrape(metrics_of())
    with_a_value = {
        line
        for line in exposition.splitlines()
        if line.startswith("qsticky_") and not line.endswith(" 0.0")
    }
    assert with_a_value == {
        'qsticky_sync_state{state="starting",tunnel="default"} 1.0',
        'qsticky_vpn_status{state="unknown",tunnel="default"} 1.0',
        'qsticky_qbittorrent_connection_status{state="unknown",tunnel="default"} 1.0',
        'qsticky_sync_interval_seconds{tunnel="default"} 30.0',
        "qsticky_config_last_reload_successful 1.0",
        "qsticky_config_last_reload_success_timestamp_seconds 1.7999928e+09",
        'qsticky_build_info{revision="abcdef",version="1.2.3"} 1.0',
    }


def test_every_metric_but_the_facts_not_yet_known_has_a_series_before_the_first_cycle() -> None:
    empty = {family.name for family in metrics_of().collect() if not family.samples}
    assert empty == {"qsticky_qbittorrent_info", "qsticky_config_info"}


def test_the_first_cycle_adds_no_series_but_the_facts_it_learned() -> None:
    metrics = metrics_of()
    before = series(metrics)
    metrics.publish(IN_SYNC)
    assert series(metrics) - before == {
        'qsticky_qbittorrent_info{tunnel="default",version="5.1.0",webapi_version="2.11.4"}',
        'qsticky_config_info{gluetun_auth="apikey",qbittorrent_auth="password",tunnel="default"}',
    }
    assert before <= series(metrics)


def series(metrics: Metrics) -> set[str]:
    lines = scrape(metrics).splitlines()
    return {line.rsplit(" ", 1)[0] for line in lines if line.startswith("qsticky_")}


def test_nothing_beyond_the_table_but_the_process_and_the_python_is_exposed() -> None:
    exposed = set(re.findall(r"^# TYPE (\S+)", scrape(metrics_of()), re.MULTILINE))
    others = {name for name in exposed if not name.startswith("qsticky_")}
    assert exposed - others == {row.name for row in ROWS}
    assert others == {
        "process_virtual_memory_bytes",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_max_fds",
        "python_info",
    }


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text;version=1.0.0"])
def test_no_series_tells_when_another_was_created(accept: str) -> None:
    metrics = metrics_of()
    metrics.publish(IN_SYNC)
    encode, _ = choose_encoder(accept)
    assert b"_created" not in encode(metrics.registry)


def test_a_cycle_in_sync_shows_in_every_gauge() -> None:
    metrics = metrics_of()
    metrics.publish(IN_SYNC)
    tunnel = {"tunnel": "default"}
    assert value(metrics, "qsticky_port_in_sync", **tunnel) == 1
    assert value(metrics, "qsticky_forwarded_port", **tunnel) == 45720
    assert value(metrics, "qsticky_qbittorrent_listen_port", **tunnel) == 45720
    assert value(metrics, "qsticky_qbittorrent_port_bound", **tunnel) == 1
    assert value(metrics, "qsticky_gluetun_up", **tunnel) == 1
    assert value(metrics, "qsticky_qbittorrent_up", **tunnel) == 1
    assert value(metrics, "qsticky_qbittorrent_has_torrents", **tunnel) == 0
    assert value(metrics, "qsticky_sync_last_attempt_timestamp_seconds", **tunnel) == 1800000000
    assert value(metrics, "qsticky_sync_last_success_timestamp_seconds", **tunnel) == 1800000000
    assert value(metrics, "qsticky_port_last_change_timestamp_seconds", **tunnel) == 1799996400
    assert value(metrics, "qsticky_syncs_total", **tunnel) == 1
    assert value(metrics, "qsticky_sync_failures_total", **tunnel) == 0


def test_exactly_one_state_of_each_set_is_1() -> None:
    metrics = metrics_of()
    metrics.publish(replace(IN_SYNC, connection_status=ConnectionStatus.FIREWALLED))
    assert states(metrics, "qsticky_sync_state") == {
        "in_sync": 1,
        "out_of_sync": 0,
        "not_listening": 0,
        "no_port": 0,
        "vpn_down": 0,
        "gluetun_unreachable": 0,
        "gluetun_unauthorized": 0,
        "qbittorrent_unreachable": 0,
        "qbittorrent_unauthorized": 0,
        "qbittorrent_banned": 0,
        "starting": 0,
    }
    assert states(metrics, "qsticky_vpn_status") == {
        "starting": 0,
        "running": 1,
        "stopping": 0,
        "stopped": 0,
        "crashed": 0,
        "completed": 0,
        "unknown": 0,
    }
    assert states(metrics, "qsticky_qbittorrent_connection_status") == {
        "connected": 0,
        "firewalled": 1,
        "disconnected": 0,
        "unknown": 0,
    }


def test_what_a_cycle_could_not_read_is_unknown_and_not_the_old_value() -> None:
    metrics = metrics_of()
    metrics.publish(IN_SYNC)
    metrics.publish(replace(BLIND, qbittorrent_version="5.1.0", webapi_version="2.11.4"))
    tunnel = {"tunnel": "default"}
    assert value(metrics, "qsticky_port_in_sync", **tunnel) == 0
    assert value(metrics, "qsticky_forwarded_port", **tunnel) == 0
    assert value(metrics, "qsticky_qbittorrent_listen_port", **tunnel) == 0
    assert value(metrics, "qsticky_qbittorrent_port_bound", **tunnel) == 0
    assert value(metrics, "qsticky_gluetun_up", **tunnel) == 0
    assert value(metrics, "qsticky_vpn_status", state="unknown", **tunnel) == 1
    assert value(metrics, "qsticky_vpn_status", state="running", **tunnel) == 0
    assert value(metrics, "qsticky_qbittorrent_connection_status", state="unknown", **tunnel) == 1
    assert "qsticky_qbittorrent_info{" not in scrape(metrics)
    assert value(metrics, "qsticky_sync_last_attempt_timestamp_seconds", **tunnel) == 1800000030
    assert value(metrics, "qsticky_sync_last_success_timestamp_seconds", **tunnel) == 1800000000
    assert value(metrics, "qsticky_sync_failures_total", **tunnel) == 1


def test_another_qbittorrent_version_replaces_the_one_before() -> None:
    metrics = metrics_of()
    metrics.publish(IN_SYNC)
    metrics.publish(replace(IN_SYNC, qbittorrent_version="5.3.0", webapi_version="2.16.2"))
    assert [line for line in scrape(metrics).splitlines() if "qbittorrent_info{" in line] == [
        'qsticky_qbittorrent_info{tunnel="default",version="5.3.0",webapi_version="2.16.2"} 1.0'
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
def test_an_event_counts_in_its_own_metric_only(kind: EventKind, name: str) -> None:
    metrics = metrics_of()
    metrics.publish(replace(IN_SYNC, events=events(kind, EventKind.STATE, kind)))
    counted = {
        row.name: value(metrics, row.name, tunnel="default")
        for row in ROWS
        if row.kind == "counter" and row.labels == ("tunnel",)
    }
    expected = dict.fromkeys(counted, 0.0) | {"qsticky_syncs_total": 1.0, name: 2.0}
    assert counted == expected


def test_operations_count_by_reason_and_fall_into_the_bucket_that_ends_at_their_duration() -> None:
    metrics = metrics_of()
    results = (
        OperationResult(Operation.GLUETUN_PORT, 0.025),
        OperationResult(Operation.GLUETUN_PORT, 5.0, Reason.TIMEOUT),
        OperationResult(Operation.GLUETUN_PORT, 11.0, Reason.TIMEOUT),
    )
    metrics.publish(replace(BLIND, operations=results))
    operation = {"operation": "gluetun_port"}
    duration = "qsticky_operation_duration_seconds"
    assert value(metrics, "qsticky_operations_total", **operation) == 3
    assert value(metrics, "qsticky_operation_failures_total", reason="timeout", **operation) == 2
    assert value(metrics, f"{duration}_bucket", le="0.01", **operation) == 0
    assert value(metrics, f"{duration}_bucket", le="0.025", **operation) == 1
    assert value(metrics, f"{duration}_bucket", le="2.5", **operation) == 1
    assert value(metrics, f"{duration}_bucket", le="5.0", **operation) == 2
    assert value(metrics, f"{duration}_bucket", le="10.0", **operation) == 2
    assert value(metrics, f"{duration}_bucket", le="+Inf", **operation) == 3
    assert value(metrics, f"{duration}_count", **operation) == 3
    assert value(metrics, f"{duration}_sum", **operation) == 16.025
    assert value(metrics, "qsticky_operations_total", operation="gluetun_status") == 0


def test_a_reason_that_an_operation_should_not_have_counts_as_other() -> None:
    metrics = metrics_of()
    odd = OperationResult(Operation.STATUS_FILE, 0.01, Reason.BANNED)
    metrics.file_written(odd, NOW)
    failures = "qsticky_operation_failures_total"
    assert value(metrics, failures, operation="status_file", reason="other") == 1
    assert value(metrics, failures, operation="status_file", reason="banned") is None


def test_every_operation_can_fail_for_other_reasons() -> None:
    assert {operation for operation, reasons in REASONS.items() if Reason.OTHER in reasons} == set(
        Operation
    )


def test_logins_are_suspended_until_the_time_has_come() -> None:
    metrics = metrics_of()
    name = "qsticky_qbittorrent_login_suspended"
    metrics.publish(replace(BLIND, finished_at=NOW, login_suspended_until=NOW + 1))
    assert value(metrics, name, tunnel="default") == 1
    metrics.publish(replace(BLIND, finished_at=NOW + 1, login_suspended_until=NOW + 1))
    assert value(metrics, name, tunnel="default") == 0


def test_a_push_counts_for_its_tunnel() -> None:
    metrics = metrics_of("home", "seedbox")
    metrics.count_push("home")
    metrics.count_push("nobody")
    assert value(metrics, "qsticky_push_triggers_total", tunnel="home") == 1
    assert value(metrics, "qsticky_push_triggers_total", tunnel="seedbox") == 0


def test_log_lines_of_warning_and_above_count_by_level() -> None:
    metrics = metrics_of()
    logger = logging.getLogger("test_metrics")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(LogCounter(metrics))
    logger.info("not counted")
    logger.warning("one")
    logger.warning("two")
    logger.error("three")
    logger.critical("four")
    name = "qsticky_log_messages_total"
    assert value(metrics, name, level="warning") == 2
    assert value(metrics, name, level="error") == 1
    assert value(metrics, name, level="critical") == 1
    assert value(metrics, name, level="info") is None


def test_a_level_below_warning_given_by_number_does_not_count() -> None:
    metrics = metrics_of()
    before = scrape_of_ours(metrics)
    metrics.count_log(logging.INFO)
    assert scrape_of_ours(metrics) == before


def scrape_of_ours(metrics: Metrics) -> list[str]:
    return [line for line in scrape(metrics).splitlines() if line.startswith("qsticky_")]


def test_a_rejected_reload_keeps_the_time_of_the_last_accepted_one() -> None:
    metrics = metrics_of()
    metrics.config_reloaded(success=True, at=NOW)
    metrics.config_reloaded(success=False, at=NOW + 60)
    timestamp = "qsticky_config_last_reload_success_timestamp_seconds"
    assert value(metrics, "qsticky_config_last_reload_successful") == 0
    assert value(metrics, timestamp) == 1800000000
    assert value(metrics, "qsticky_config_reloads_total") == 2
    assert value(metrics, "qsticky_config_reload_failures_total") == 1


def test_the_write_of_the_status_file_shows_its_time() -> None:
    metrics = metrics_of()
    metrics.file_written(OperationResult(Operation.STATUS_FILE, 0.001), NOW)
    assert value(metrics, "qsticky_status_file_last_write_timestamp_seconds") == 1800000000


def test_a_removed_tunnel_leaves_no_series_and_a_late_outcome_does_not_bring_it_back() -> None:
    metrics = metrics_of("home", "seedbox")
    metrics.publish(replace(IN_SYNC, tunnel="home"))
    metrics.set_tunnels(["seedbox"], 30.0)
    late = (OperationResult(Operation.GLUETUN_PORT, 0.1),)
    metrics.publish(replace(IN_SYNC, tunnel="home", operations=late))
    assert 'tunnel="home"' not in scrape(metrics)
    assert 'qsticky_port_in_sync{tunnel="seedbox"} 0.0' in scrape(metrics)
    assert value(metrics, "qsticky_operations_total", operation="gluetun_port") == 1


def test_a_reload_keeps_the_counts_of_tunnels_that_stay_and_starts_new_ones_at_zero() -> None:
    metrics = metrics_of("home", "seedbox")
    metrics.publish(replace(IN_SYNC, tunnel="home"))
    metrics.set_tunnels(["home", "office"], 60.0)
    assert value(metrics, "qsticky_syncs_total", tunnel="home") == 1
    assert value(metrics, "qsticky_sync_interval_seconds", tunnel="home") == 30
    assert value(metrics, "qsticky_syncs_total", tunnel="office") == 0
    assert value(metrics, "qsticky_sync_interval_seconds", tunnel="office") == 60
    assert 'tunnel="seedbox"' not in scrape(metrics)


def test_a_name_with_quotes_and_line_breaks_is_escaped() -> None:
    assert r'qsticky_port_in_sync{tunnel="a\"b\\c\nd"} 0.0' in scrape(metrics_of('a"b\\c\nd'))


def test_openmetrics_parses_and_keeps_every_sample() -> None:
    metrics = metrics_of()
    metrics.publish(IN_SYNC)
    encode, content_type = choose_encoder("application/openmetrics-text;version=1.0.0")
    exposition = encode(metrics.registry).decode()
    parsed = list(text_string_to_metric_families(exposition))  # type: ignore[no-untyped-call]
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    samples = {
        (sample.name, tuple(sorted(sample.labels.items())))
        for family in parsed
        for sample in family.samples
    }
    expected = {
        (sample.name, tuple(sorted(sample.labels.items())))
        for family in metrics.registry.collect()
        for sample in family.samples
    }
    assert samples == expected


def test_a_scrape_can_ask_for_one_metric() -> None:
    metrics = metrics_of()
    restricted = metrics.registry.restricted_registry(["qsticky_syncs_total"])
    assert generate_latest(restricted).decode() == (
        "# HELP qsticky_syncs_total Finished checks.\n"
        "# TYPE qsticky_syncs_total counter\n"
        'qsticky_syncs_total{tunnel="default"} 0.0\n'
    )


@pytest.mark.parametrize("version", monitoring.VERSIONS)
def test_promtool_has_nothing_to_say(version: str) -> None:
    promtool = monitoring.or_skip(lambda: monitoring.promtool(version))
    metrics = metrics_of("home", "seedbox")
    metrics.publish(replace(IN_SYNC, tunnel="home"))
    checked = monitoring.run(promtool, "check", "metrics", stdin=scrape(metrics))
    assert (checked.returncode, checked.stdout) == (0, "")


# a cycle that carries its number in every value, so that a mixture of two shows
def numbered(number: int) -> Outcome:
    return replace(
        IN_SYNC,
        finished_at=float(number),
        forwarded_port=number,
        listening_port=number,
        last_success_at=float(number),
        events=events(EventKind.PORT_CHANGE),
        operations=(OperationResult(Operation.GLUETUN_PORT, 0.01),),
    )


def numbers(metrics: Metrics) -> set[float]:
    wanted = {
        "qsticky_forwarded_port",
        "qsticky_qbittorrent_listen_port",
        "qsticky_sync_last_attempt_timestamp_seconds",
        "qsticky_sync_last_success_timestamp_seconds",
        "qsticky_syncs_total",
        "qsticky_port_changes_total",
    }
    return {
        sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name in wanted
        or (sample.name, sample.labels.get("operation"))
        in {
            ("qsticky_operations_total", "gluetun_port"),
            ("qsticky_operation_duration_seconds_count", "gluetun_port"),
        }
    }


def test_a_scrape_while_cycles_end_never_mixes_two_of_them() -> None:
    metrics = metrics_of()
    stop = threading.Event()

    def publish() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            metrics.publish(numbered(number))

    with ThreadPoolExecutor() as pool:
        publishing = pool.submit(publish)
        try:
            scrapes = [pool.submit(lambda: [numbers(metrics) for _ in range(100)]) for _ in "ab"]
            mixed = [seen for one in scrapes for seen in one.result() if len(seen) != 1]
        finally:
            stop.set()
        publishing.result()
    assert mixed == []


@settings(deadline=None)
@given(cut=st.integers(min_value=0, max_value=len(ROWS)), cycles=st.integers(1, 4))
def test_cycles_that_end_in_the_middle_of_a_scrape_do_not_show_in_it(cut: int, cycles: int) -> None:
    metrics = metrics_of()
    metrics.publish(numbered(1))
    before = [(family.name, family.samples) for family in metrics.collect()]

    def interrupted() -> Iterator[tuple[str, object]]:
        for position, family in enumerate(metrics.collect()):
            if position == cut:
                for number in range(2, 2 + cycles):
                    metrics.publish(numbered(number))
            yield family.name, family.samples

    assert list(interrupted()) == before


OUTCOMES = st.builds(
    Outcome,
    tunnel=st.sampled_from(["home", "seedbox", "removed"]),
    state=st.sampled_from(SyncState),
    finished_at=st.floats(1, 4e9),
    interval_seconds=st.floats(1, 3600),
    forwarded_port=st.integers(0, 65535),
    listening_port=st.integers(0, 65535),
    vpn_status=st.sampled_from(VpnStatus),
    connection_status=st.sampled_from(ConnectionStatus),
    events=st.lists(st.sampled_from(EventKind), max_size=5).map(lambda kinds: events(*kinds)),
    operations=st.lists(
        st.builds(
            OperationResult,
            st.sampled_from(Operation),
            st.floats(0, 100),
            st.none() | st.sampled_from(Reason),
        ),
        max_size=5,
    ).map(tuple),
)


@settings(deadline=None)
@given(st.lists(OUTCOMES, max_size=8))
def test_whatever_happens_the_sums_agree(outcomes: list[Outcome]) -> None:
    metrics = metrics_of("home", "seedbox")
    for outcome in outcomes:
        metrics.publish(outcome)
    results = [result for outcome in outcomes for result in outcome.operations]
    cycles = [outcome for outcome in outcomes if outcome.tunnel != "removed"]
    assert total(metrics, "qsticky_operations_total") == len(results)
    assert total(metrics, "qsticky_operation_duration_seconds_count") == len(results)
    failed = [result for result in results if result.reason is not None]
    assert total(metrics, "qsticky_operation_failures_total") == len(failed)
    assert total(metrics, "qsticky_syncs_total") == len(cycles)
    assert total(metrics, "qsticky_sync_state") == 2
    assert total(metrics, "qsticky_vpn_status") == 2
    assert total(metrics, "qsticky_qbittorrent_connection_status") == 2
    assert 'tunnel="removed"' not in scrape(metrics)


def total(metrics: Metrics, name: str) -> float:
    return sum(
        sample.value
        for family in metrics.collect()
        for sample in family.samples
        if sample.name == name
    )


@pytest.mark.parametrize("tunnels", [1, 10, 1000])
def test_the_number_of_series_grows_with_the_tunnels_and_by_little(tunnels: int) -> None:
    metrics = metrics_of(*(f"tunnel{number}" for number in range(tunnels)))
    assert len(scrape_of_ours(metrics)) == 210 + 41 * tunnels


def test_no_port_is_a_label() -> None:
    metrics = metrics_of()
    metrics.publish(IN_SYNC)
    assert re.findall(r"\{[^}]*45720[^}]*\}", scrape(metrics)) == []


def test_every_metric_explains_itself() -> None:
    for row in ROWS:
        assert re.fullmatch(r"[A-Z1].{8,}\.", row.help), row.name
        assert re.fullmatch(r"qsticky_[a-z_]+", row.name), row.name
        assert row.name.endswith("_total") == (row.kind == "counter"), row.name
