"""What is counted since the start."""

import logging
import threading

import pytest

from exporter.model import (
    Failure,
    Operation,
    OperationResult,
    Reason,
    SyncState,
)
from exporter.report.tally import OPENING_BOUNDS, OPERATION_BOUNDS, REASONS, Tally, TunnelTally
from tests.fakes import IN_SYNC, NOW, FakeClock, tunnels

PORT, FILE = Operation.GLUETUN_PORT, Operation.STATUS_FILE
FAILED = IN_SYNC._replace(
    state=SyncState.GLUETUN_UNREACHABLE,
    failures=(Failure(PORT, Reason.TIMEOUT, "it failed", "fix it"),),
)


@pytest.fixture
def tally(clock: FakeClock) -> Tally:
    made = Tally("1.2.3", "abcdef", clock)
    made.set_tunnels(tunnels("default"))
    return made


def default(tally: Tally) -> TunnelTally:
    return tally.snapshot().tunnels["default"]


def test_checks_count_and_those_out_of_sync_and_those_with_errors(tally: Tally) -> None:
    watched = FAILED._replace(is_watch=True)
    for outcome in (IN_SYNC, FAILED, watched, watched, FAILED._replace(failures=())):
        tally.publish(outcome)
    counted = default(tally)
    assert (counted.checks, counted.failed_checks, counted.checks_with_errors) == (3, 2, 1)


def test_the_bounds_of_durations_are_those_of_the_series_that_prometheus_has_kept() -> None:
    assert OPERATION_BOUNDS == (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
    assert OPENING_BOUNDS == (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


def test_notifications_count_and_those_that_failed(tally: Tally) -> None:
    for success in (True, False, True):
        tally.count_notification(success)
    counted = tally.snapshot()
    assert (counted.notifications, counted.failed_notifications) == (3, 1)


def test_the_way_to_authenticate_is_kept_while_qbittorrent_does_not_answer(tally: Tally) -> None:
    assert default(tally).qbittorrent_auth == "password"
    reading = IN_SYNC.qbittorrent
    assert reading is not None
    tally.publish(IN_SYNC._replace(qbittorrent=reading._replace(auth="bypass")))
    tally.publish(FAILED._replace(qbittorrent=None))
    assert default(tally).qbittorrent_auth == "bypass"


def test_a_reason_that_an_operation_should_not_have_counts_as_other(tally: Tally) -> None:
    tally.count_file_write(OperationResult(FILE, 0.01, Reason.BANNED))
    assert tally.snapshot().failures[FILE, Reason.OTHER] == 1
    assert all(Reason.OTHER in REASONS[operation] for operation in Operation)


def test_only_a_write_that_succeeded_gives_the_file_a_new_time(
    tally: Tally, clock: FakeClock
) -> None:
    tally.count_file_write(OperationResult(FILE, 0.01))
    clock.now += 60
    tally.count_file_write(OperationResult(FILE, 0.01, Reason.IO))
    assert tally.snapshot().file_written_at == NOW


def test_a_push_counts_for_its_tunnel_or_for_all(tally: Tally) -> None:
    tally.set_tunnels(tunnels("a", "b"))
    for name in ("a", None, "nobody"):
        tally.count_push(name)
    counted = {name: tunnel.pushes for name, tunnel in tally.snapshot().tunnels.items()}
    assert counted == {"a": 2, "b": 1}


def test_log_lines_count_by_the_level_that_they_reach(tally: Tally) -> None:
    for level in (logging.INFO, 29, 30, 39, logging.ERROR, logging.CRITICAL, 99):
        tally.count_log_line(level)
    assert tally.snapshot().log_lines == {"warning": 2, "error": 1, "critical": 2}


def test_a_rejected_reload_keeps_the_time_of_the_last_accepted_one(
    tally: Tally, clock: FakeClock
) -> None:
    assert (tally.snapshot().load_accepted, tally.snapshot().loaded_at) == (True, NOW)
    clock.now += 60
    tally.count_reload(success=True)
    clock.now += 60
    tally.count_reload(success=False)
    seen = tally.snapshot()
    assert (seen.load_accepted, seen.loaded_at) == (False, NOW + 60)
    assert (seen.reloads, seen.failed_reloads) == (2, 1)


def test_a_reload_keeps_the_counts_of_tunnels_that_stay_and_starts_new_ones_at_zero(
    tally: Tally,
) -> None:
    tally.publish(IN_SYNC)
    changed = tunnels("default", "new", CHECK_INTERVAL="60")
    tally.set_tunnels(changed)
    seen = tally.snapshot().tunnels
    assert {name: tunnel.checks for name, tunnel in seen.items()} == {"default": 1, "new": 0}
    assert [tunnel.config for tunnel in seen.values()] == changed


def test_of_a_tunnel_that_is_gone_only_the_operations_count(tally: Tally) -> None:
    late = IN_SYNC._replace(tunnel="gone", operations=(OperationResult(PORT, 0.1),))
    tally.publish(late)
    assert list(tally.snapshot().tunnels) == ["default"]
    assert sum(tally.snapshot().timings[PORT].buckets) == 1


def test_a_snapshot_is_of_one_moment_while_checks_end_in_other_threads(tally: Tally) -> None:
    def publish() -> None:
        for _ in range(5000):
            tally.publish(IN_SYNC._replace(operations=(OperationResult(PORT, 0.1),)))

    thread = threading.Thread(target=publish)
    thread.start()
    seen = []
    while thread.is_alive():
        snapshot = tally.snapshot()
        seen.append((snapshot.tunnels["default"].checks, sum(snapshot.timings[PORT].buckets)))
    assert [checks for checks, _ in seen] == [exchanges for _, exchanges in seen]
