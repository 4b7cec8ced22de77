"""What the status page is made of: the last outcome of each tunnel, and what happened before."""

from exporter.model import Event, EventKind, Failure, Level, Operation, Reason, SyncState
from exporter.report.board import StatusBoard, TimedEvent, TimedFailure, TunnelView
from tests.fakes import IN_SYNC, NOW, tunnels

FAILURE = Failure(Operation.GLUETUN_PORT, Reason.TIMEOUT, "Gluetun timed out", "look at Gluetun")


def event(text: str) -> Event:
    return Event(EventKind.NOTICE, Level.INFO, text)


def board_of(*names: str) -> StatusBoard:
    board = StatusBoard()
    board.set_tunnels(tunnels(*names))
    return board


def view_of(board: StatusBoard) -> TunnelView:
    return board.views()["default"]


def test_a_tunnel_is_starting_until_its_first_outcome() -> None:
    board = board_of("default")
    assert view_of(board).name == "default"
    assert (view_of(board).state, view_of(board).outcome) == (SyncState.STARTING, None)
    board.publish(IN_SYNC)
    assert view_of(board).state is SyncState.IN_SYNC


def test_it_is_ready_once_every_tunnel_had_its_first_check_and_stays_so() -> None:
    board = board_of("a", "b")
    board.publish(IN_SYNC._replace(tunnel="a"))
    assert not board.is_ready()
    board.publish(IN_SYNC._replace(tunnel="b"))
    assert board.is_ready()
    board.set_tunnels(tunnels("a", "b", "new"))
    assert board.is_ready()


def test_without_any_tunnel_it_is_not_ready() -> None:
    assert not board_of().is_ready()


def test_the_last_20_events_are_kept_newest_first() -> None:
    board = board_of("default")
    for number in range(15):
        two = (event(f"{number} first"), event(f"{number} second"))
        board.publish(IN_SYNC._replace(finished_at=float(number), events=two))
    events = view_of(board).events
    assert len(events) == 20
    assert events[0] == TimedEvent(14.0, event("14 second"))
    assert events[1] == TimedEvent(14.0, event("14 first"))
    assert events[-1] == TimedEvent(5.0, event("5 first"))


def test_a_state_is_dated_from_the_check_that_first_showed_it() -> None:
    board = board_of("default")
    for at, state in [(1, "in_sync"), (2, "no_port"), (3, "no_port"), (4, "no_port")]:
        board.publish(IN_SYNC._replace(finished_at=float(at), state=SyncState(state)))
    assert view_of(board).state_since == 2.0


def test_the_failure_that_explains_the_state_outlives_the_recovery() -> None:
    board = board_of("default")
    other = FAILURE._replace(operation=Operation.QBITTORRENT_PREFERENCES)
    board.publish(IN_SYNC._replace(finished_at=1.0, failures=(FAILURE, other)))
    board.publish(IN_SYNC._replace(finished_at=2.0))
    assert view_of(board).last_failure == TimedFailure(1.0, FAILURE)


def test_an_outcome_of_a_tunnel_that_is_gone_does_not_bring_it_back() -> None:
    board = board_of("a", "b")
    board.set_tunnels(tunnels("a"))
    board.publish(IN_SYNC._replace(tunnel="b"))
    assert list(board.views()) == ["a"]
    assert board.has("a")
    assert not board.has("b")


def test_a_reload_keeps_the_history_of_tunnels_that_stay_with_their_new_settings() -> None:
    board = board_of("a", "b")
    board.publish(IN_SYNC._replace(tunnel="a", events=(event("x"),), failures=(FAILURE,)))
    before = board.views()["a"]
    [new, changed] = tunnels("c", "a", CHECK_INTERVAL="60")
    board.set_tunnels([new, changed])
    assert list(board.views()) == ["c", "a"]
    assert board.views()["a"] == before._replace(config=changed)
    assert board.views()["c"].state is SyncState.STARTING


def test_what_a_reader_got_does_not_change_under_it() -> None:
    board = board_of("default")
    before = board.views()
    board.publish(IN_SYNC)
    assert before["default"].outcome is None


def test_a_tunnel_is_stale_when_its_next_check_is_long_overdue() -> None:
    board = board_of("default")
    assert not view_of(board).is_stale(now=1e9)
    board.publish(IN_SYNC._replace(next_check_seconds=1.0))
    assert not view_of(board).is_stale(NOW + 120)
    assert view_of(board).is_stale(NOW + 121)
    board.publish(IN_SYNC._replace(next_check_seconds=60.0))
    assert not view_of(board).is_stale(NOW + 210)
    assert view_of(board).is_stale(NOW + 211)
