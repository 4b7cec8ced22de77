"""One clock that only moves forward, and how its moments become times of day."""

import pytest

from exporter.clock import Clock
from tests.fakes import NOW, START, FakeClock


def test_a_moment_and_its_time_of_day_convert_into_each_other(clock: FakeClock) -> None:
    assert clock.unix(NOW - 60) == START - 60
    assert clock.moment(START - 60) == NOW - 60


def test_a_moment_keeps_its_time_of_day_while_the_system_clock_is_corrected_a_little(
    clock: FakeClock,
) -> None:
    for _ in range(5):
        clock.now += 60
        clock.offset += 0.19
        assert clock.unix(NOW) == START


@pytest.mark.parametrize("step", [-3600.0, -1.0, 1.0, 3600.0])
def test_a_moment_is_shown_by_the_system_clock_as_it_is_set_now(
    step: float, clock: FakeClock
) -> None:
    clock.set_wall(clock.wall() + step)
    clock.now += 500
    assert clock.unix(NOW) == START + step
    assert clock.moment(START + step) == NOW


def test_the_time_of_now_is_that_of_the_machine() -> None:
    clock = Clock()
    assert abs(clock.unix(clock.monotonic()) - clock.wall()) < 1.0


def test_sleeping_takes_the_time_that_was_asked_for() -> None:
    clock = Clock()
    before = clock.monotonic()
    clock.sleep(0.01)
    assert clock.monotonic() - before >= 0.01
