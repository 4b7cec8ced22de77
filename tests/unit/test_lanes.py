"""Who may have a thread: those that hang don't delay the others."""

from exporter.daemon.lanes import Lanes


def enter(lanes: Lanes[str], names: str, *, slow: bool = False) -> None:
    for name in names:
        lanes.enter(name, slow=slow)


def test_admits_in_the_order_of_arrival_up_to_the_limit() -> None:
    lanes: Lanes[str] = Lanes(prompt_at_once=2)
    enter(lanes, "abc")
    assert lanes.admit(0) == ["a", "b"]
    assert lanes.admit(0.5) == []
    lanes.leave("b")
    assert lanes.admit(0.5) == ["c"]


def test_a_cycle_that_takes_long_makes_room_after_a_second() -> None:
    lanes: Lanes[str] = Lanes(prompt_at_once=1)
    enter(lanes, "ab")
    assert lanes.admit(10) == ["a"]
    assert lanes.idle(10.25) == 0.75
    assert lanes.admit(10.9) == []
    assert lanes.admit(11) == ["b"]


def test_nobody_needs_waking_while_nobody_waits() -> None:
    lanes: Lanes[str] = Lanes(prompt_at_once=1)
    assert lanes.idle(0) == float("inf")
    enter(lanes, "a")
    lanes.admit(0)
    assert lanes.idle(0) == float("inf")


def test_any_number_of_slow_ones_leaves_the_prompt_lane_free() -> None:
    lanes: Lanes[str] = Lanes(prompt_at_once=1, slow_at_once=2)
    enter(lanes, "abc", slow=True)
    enter(lanes, "x")
    assert lanes.admit(0) == ["x", "a", "b"]
    lanes.leave("a")
    assert lanes.admit(0) == ["c"]


def test_those_that_begin_to_hang_count_in_the_slow_lane() -> None:
    lanes: Lanes[str] = Lanes(prompt_at_once=1, slow_at_once=1)
    enter(lanes, "ab")
    lanes.admit(0)
    assert lanes.admit(1) == ["b"]
    enter(lanes, "c", slow=True)
    assert lanes.admit(1) == []
    lanes.leave("a")
    assert lanes.admit(1) == ["c"]


def test_standing_in_line_twice_is_standing_once() -> None:
    lanes: Lanes[str] = Lanes()
    enter(lanes, "aa")
    enter(lanes, "a", slow=True)
    assert lanes.admit(0) == ["a"]
    assert lanes.admit(0) == []


def test_who_leaves_the_line_is_not_admitted() -> None:
    lanes: Lanes[str] = Lanes()
    enter(lanes, "ab")
    lanes.leave("a")
    assert lanes.admit(0) == ["b"]
