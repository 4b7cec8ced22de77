from dataclasses import replace

import pytest

from exporter.model import Event, EventKind, Failure, Level, Operation, Reason, SyncState
from exporter.report.board import StatusBoard, TimedEvent, TimedFailure
from tests.fakes import FakeClock
from tests.outcomes import IN_SYNC

FAILURE = Failure(Operation.GLUETUN_PORT, Reason.TIMEOUT, "Gluetun timed out", "look at Gluetun")


def event(text: str) -> Event:
    return Event(EventKind.NOTICE, Level.INFO, text)


def test_a_tunnel_is_starting_until_its_first_outcome() -> None:
    board = StatusBoard(["default"])
    assert board.views()["default"].state is SyncState.STARTING
    board.publish(IN_SYNC)
    assert board.views()["default"].state is SyncState.IN_SYNC


def test_it_is_ready_once_every_tunnel_had_its_first_cycle_and_stays_so() -> None:
    board = StatusBoard(["a", "b"])
    board.publish(replace(IN_SYNC, tunnel="a"))
    assert not board.is_ready()
    board.publish(replace(IN_SYNC, tunnel="b"))
    assert board.is_ready()
    board.set_tunnels(["a", "b", "new"])
    assert board.is_ready()


def test_without_any_tunnel_it_is_not_ready() -> None:
    assert not StatusBoard([]).is_ready()


def test_the_last_20_events_are_kept_newest_first() -> None:
    board = StatusBoard(["default"])
    for number in range(15):
        two = (event(f"{number} first"), event(f"{number} second"))
        board.publish(replace(IN_SYNC, finished_at=float(number), events=two))
    events = board.views()["default"].events
    assert len(events) == 20
    assert events[0] == TimedEvent(14.0, event("14 second"))
    assert events[1] == TimedEvent(14.0, event("14 first"))
    assert events[-1] == TimedEvent(5.0, event("5 first"))


def test_a_state_is_dated_from_the_cycle_that_first_showed_it() -> None:
    board = StatusBoard(["default"])
    for at, state in [(1, "in_sync"), (2, "no_port"), (3, "no_port"), (4, "no_port")]:
        board.publish(replace(IN_SYNC, finished_at=float(at), state=SyncState(state)))
    assert board.views()["default"].state_since == 2.0


def test_the_last_failure_outlives_the_recovery() -> None:
    board = StatusBoard(["default"])
    board.publish(replace(IN_SYNC, finished_at=1.0, failures=(FAILURE,)))
    board.publish(replace(IN_SYNC, finished_at=2.0))
    assert board.views()["default"].last_failure == TimedFailure(1.0, FAILURE)


def test_of_several_failures_the_first_is_kept_as_everywhere_else() -> None:
    board = StatusBoard(["default"])
    other = replace(FAILURE, operation=Operation.QBITTORRENT_PREFERENCES)
    board.publish(replace(IN_SYNC, finished_at=1.0, failures=(FAILURE, other)))
    assert board.views()["default"].last_failure == TimedFailure(1.0, FAILURE)


def test_an_outcome_of_a_tunnel_that_is_gone_does_not_bring_it_back() -> None:
    board = StatusBoard(["a", "b"])
    board.set_tunnels(["a"])
    board.publish(replace(IN_SYNC, tunnel="b"))
    assert list(board.views()) == ["a"]


def test_tunnels_that_stay_keep_their_history_when_the_others_change() -> None:
    board = StatusBoard(["a", "b"])
    board.publish(replace(IN_SYNC, tunnel="a"))
    board.set_tunnels(["c", "a"])
    assert {name: view.state.value for name, view in board.views().items()} == {
        "c": "starting",
        "a": "in_sync",
    }


def test_a_snapshot_does_not_change_under_its_reader() -> None:
    board = StatusBoard(["default"])
    before = board.views()
    board.publish(IN_SYNC)
    assert before["default"].outcome is None


def test_a_tunnel_is_stale_when_its_next_cycle_is_long_overdue() -> None:
    board = StatusBoard(["default"])
    assert not board.views()["default"].is_stale(now=1e9)
    board.publish(replace(IN_SYNC, finished_at=1000.0, interval_seconds=30.0))
    view = board.views()["default"]
    assert not view.is_stale(now=1120.0)
    assert view.is_stale(now=1121.0)


@pytest.mark.parametrize("step", [-259_200, 259_200], ids=["back", "on"])
def test_setting_the_system_clock_changes_no_age(step: int) -> None:
    clock = FakeClock()
    board = StatusBoard(["default"], clock)
    begun = replace(IN_SYNC, finished_at=clock.wall(), failures=(FAILURE,), events=(event("x"),))
    board.publish(begun)
    clock.now += 60
    board.publish(replace(IN_SYNC, finished_at=clock.wall()))
    clock.set_wall(clock.wall() + step)
    clock.now += 10

    view, now = board.views()["default"], clock.wall()
    assert view.outcome is not None
    assert view.last_failure is not None
    assert not view.is_stale(now)
    assert now - view.outcome.finished_at == 10
    assert now - view.state_since == 70
    assert now - view.events[0].at == 70
    assert now - view.last_failure.at == 70


@pytest.mark.parametrize("step", [-259_200, 259_200], ids=["back", "on"])
def test_a_state_lasts_as_long_as_it_does_also_where_the_clock_was_set_between_two_cycles(
    step: int,
) -> None:
    clock = FakeClock()
    board = StatusBoard(["default", "not yet"], clock)
    board.publish(replace(IN_SYNC, finished_at=clock.wall()))
    clock.set_wall(clock.wall() + step)
    clock.now += 30
    board.publish(replace(IN_SYNC, finished_at=clock.wall()))

    assert clock.wall() - board.views()["default"].state_since == 30
    assert board.views()["not yet"].state_since == 0


def test_setting_the_system_clock_does_not_hide_that_it_is_stale() -> None:
    clock = FakeClock()
    board = StatusBoard(["default"], clock)
    board.publish(replace(IN_SYNC, finished_at=clock.wall(), interval_seconds=30.0))
    clock.set_wall(clock.wall() - 259_200)
    clock.now += 121

    assert board.views()["default"].is_stale(clock.wall())
