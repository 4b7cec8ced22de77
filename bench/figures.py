"""A figure, what it should be, and a few ways to come to one."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

TIMES = "\N{MULTIPLICATION SIGN}"
"""The unit of a ratio."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One result; `aim` is the largest value that pleases, None where there is none."""

    name: str
    value: float
    unit: str
    aim: float | None = None

    @property
    def verdict(self) -> str:
        """Whether the aim is reached, in a word."""
        if self.aim is None:
            return ""
        return "reached" if self.value <= self.aim else "missed"


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many percent do not exceed; the largest one where there are few."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def in_turn(rounds: int, *calls: Callable[[], float]) -> list[float]:
    """Call each in turn, again and again; the median of each: a busy machine hits all alike."""
    taken = [[call() for call in calls] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*taken, strict=True)]
