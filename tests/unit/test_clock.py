"""The two clocks, and how far they are apart."""

import pytest

from exporter.clock import Clock
from tests.fakes import FakeClock


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_a_system_clock_that_was_set_is_noticed_whenever_that_was(step: float) -> None:
    clock = FakeClock()
    before = clock.difference()
    clock.now += 500
    clock.set_wall(clock.wall() + step)
    clock.now += 500
    assert clock.step_since(before) == step


def test_a_system_clock_that_is_only_corrected_a_little_was_not_set() -> None:
    clock = FakeClock()
    before = clock.difference()
    clock.set_wall(clock.wall() + 0.9)
    assert clock.step_since(before) == 0.0


def test_the_clocks_of_this_machine_agree() -> None:
    clock = Clock()
    assert clock.step_since(clock.difference()) == 0.0
