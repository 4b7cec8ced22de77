"""What is going to happen by the clock, which tests turn by hand: nothing here waits."""

import heapq
import itertools
from collections.abc import Callable

Action = Callable[[], None]


class Agenda:
    """Actions and their moments; due ones are carried out when somebody looks."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._numbers = itertools.count()
        self._entries: list[tuple[float, int, Action]] = []
        self._moment: float | None = None

    @property
    def now(self) -> float:
        """The moment of the action that is being carried out, or that of the clock."""
        return self._clock() if self._moment is None else self._moment

    def __bool__(self) -> bool:
        return bool(self._entries)

    def later(self, seconds: float, action: Action) -> None:
        """Plan an action."""
        heapq.heappush(self._entries, (self.now + seconds, next(self._numbers), action))

    def clear(self) -> None:
        """Drop what is planned."""
        self._entries.clear()

    def run_due(self) -> None:
        """Carry out what is due, in order, each as if it were its own moment."""
        until = self.now
        before = self._moment
        while self._entries and self._entries[0][0] <= until:
            self._moment, _, action = heapq.heappop(self._entries)
            action()
        self._moment = before
