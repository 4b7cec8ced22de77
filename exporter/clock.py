"""The time, given to whoever needs it, so that tests can turn it."""

from __future__ import annotations

import time

LEAST_STEP_SECONDS = 1.0
"""Two readings further apart than this were not only rounded, or corrected little by little."""


class Clock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        """Seconds of a clock that only moves forward, for every wait and decision."""
        return time.monotonic()

    def wall(self) -> float:
        """Unix seconds, for people and files only: this clock can be set."""
        return time.time()

    def difference(self) -> float:
        """How far the two clocks are apart; to be kept for `step_since`."""
        return self.wall() - self.monotonic()

    def step_since(self, difference: float) -> float:
        """By how many seconds the system clock was set since that `difference`."""
        step = self.difference() - difference
        return step if abs(step) >= LEAST_STEP_SECONDS else 0.0

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)
