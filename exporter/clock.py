"""The time, given to whoever needs it, so that tests can turn it."""

from __future__ import annotations

import time

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
LEAST_STEP_SECONDS = 1.0
"""Two readings further apart than this were not only rounded, or corrected little by little."""


class Clock:
    """The machine's clocks: one that only moves forward, one that shows the time of day."""

    def __init__(self) -> None:
        self._offset = self.wall() - self.monotonic()

    def monotonic(self) -> float:
        """Return the moment: seconds of a clock that only moves forward; its zero means nothing."""
        return time.monotonic()

    def wall(self) -> float:
        """Return Unix seconds, for people and files only: this clock can be set."""
        return time.time()

    def unix(self, moment: float) -> float:
        """Return a moment in Unix seconds, as the system clock counts them now.

        The same moment gives the same time until the system clock is set: neither rounding nor
        its steady correction shows as a change.
        """
        return moment + self._followed_offset()

    def moment(self, unix: float) -> float:
        """Return the moment of a Unix time; the reverse of `unix`."""
        return unix - self._followed_offset()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def _followed_offset(self) -> float:
        offset = self.wall() - self.monotonic()
        if abs(offset - self._offset) >= LEAST_STEP_SECONDS:
            self._offset = offset
        return self._offset


def span(seconds: float) -> str:
    """Return a duration in its largest sensible unit: `12 s`, `5 min`, `3 h`, `9 days`."""
    whole = max(0, int(seconds))
    if whole < 2 * _MINUTE:
        return f"{whole} s"
    if whole < 2 * _HOUR:
        return f"{whole // _MINUTE} min"
    if whole < 2 * _DAY:
        return f"{whole // _HOUR} h"
    return f"{whole // _DAY} days"
