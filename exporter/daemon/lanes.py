"""Who may have a thread now: a server that hangs must not delay the others. No IO, no threads.

Few cycles run at once, so that they don't fight for the one processor; but a cycle that takes long
waits for its server and needs no processor. So it stops counting after a second, and the next
cycles of that tunnel go to a lane of their own until its server answers again.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

SLOW_SECONDS = 1.0
"""A cycle that takes longer waits for its server."""
PROMPT_AT_ONCE = 16
SLOW_AT_ONCE = 256


class Lanes(Generic[K]):
    """Two lines of waiting cycles, and those under way."""

    def __init__(self, prompt_at_once: int = PROMPT_AT_ONCE, slow_at_once: int = SLOW_AT_ONCE):
        self._prompt_at_once = prompt_at_once
        self._slow_at_once = slow_at_once
        # dicts, because they keep the order and find a key at once
        self._prompt_line: dict[K, None] = {}
        self._slow_line: dict[K, None] = {}
        self._prompt: dict[K, float] = {}
        """Cycles that still count, oldest first, and when they began."""
        self._slow: set[K] = set()

    def enter(self, key: K, *, slow: bool) -> None:
        """Stand in line; `slow` where the last cycle took long. Standing there already is fine."""
        if key not in self._prompt_line and key not in self._slow_line:
            (self._slow_line if slow else self._prompt_line)[key] = None

    def leave(self, key: K) -> None:
        """The cycle ended, or is no longer wanted."""
        for place in (self._prompt_line, self._slow_line, self._prompt):
            place.pop(key, None)
        self._slow.discard(key)

    def admit(self, now: float) -> list[K]:
        """Those who may begin now, in the order in which they came."""
        while self._prompt and self.idle(now) == 0:
            oldest = next(iter(self._prompt))
            del self._prompt[oldest]
            self._slow.add(oldest)
        prompt = _first(self._prompt_line, self._prompt_at_once - len(self._prompt))
        slow = _first(self._slow_line, self._slow_at_once - len(self._slow))
        self._prompt.update(dict.fromkeys(prompt, now))
        self._slow.update(slow)
        return prompt + slow

    def idle(self, now: float) -> float:
        """Seconds until the oldest cycle stops counting; for ever where nobody waits for that."""
        if not self._prompt_line or not self._prompt:
            return math.inf
        return max(0.0, next(iter(self._prompt.values())) + SLOW_SECONDS - now)


def _first(line: dict[K, None], most: int) -> list[K]:
    """Take the first ones out of a line."""
    found = [key for key, _ in zip(line, range(most), strict=False)]
    for key in found:
        del line[key]
    return found
