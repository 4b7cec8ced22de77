"""The time, given to whoever needs it, so that tests can turn it."""

from __future__ import annotations

import time


class Clock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        """Seconds of a clock that only moves forward, for every wait and decision."""
        return time.monotonic()

    def wall(self) -> float:
        """Unix seconds, for people and files only: this clock can be set."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)
