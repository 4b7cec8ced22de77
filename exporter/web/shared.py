"""Answers that cost much to make are made once a second, for all clients that ask meanwhile.

With a thousand tunnels a page or a scrape takes a quarter of a second and up to 3 MB: many clients
at once would take all time and memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from http import HTTPStatus

from exporter.web.messages import Response, text

_COSTLY_SECONDS = 0.05
_SHARED_SECONDS = 1.0
_UNLIMITED = 1_000


class Shared:
    """Makes answers one after the other, and keeps the costly ones for a second."""

    def __init__(
        self, clock: Callable[[], float], *, most_kept: int, most_waiting: int = _UNLIMITED
    ) -> None:
        """`most_waiting` clients may wait for answers that are not there yet."""
        self._clock = clock
        self._most_kept = most_kept
        self._waiting = threading.BoundedSemaphore(most_waiting)
        self._making = threading.Lock()
        self._kept: Mapping[Hashable, tuple[float, Response]] = {}

    def get(self, key: Hashable, make: Callable[[], Response]) -> Response:
        """Return the answer of the last second, a new one, or that there is too much to do."""
        if response := self._fresh(key):
            return response
        if not self._waiting.acquire(blocking=False):
            return text(HTTPStatus.SERVICE_UNAVAILABLE, "busy; try again", ("Retry-After", "1"))
        try:
            with self._making:
                return self._fresh(key) or self._make(key, make)
        finally:
            self._waiting.release()

    def _fresh(self, key: Hashable) -> Response | None:
        until, response = self._kept.get(key, (0.0, None))
        return response if until > self._clock() else None

    def _make(self, key: Hashable, make: Callable[[], Response]) -> Response:
        began = self._clock()
        response = make()
        now = self._clock()
        kept = {each: entry for each, entry in self._kept.items() if entry[0] > now}
        if now - began > _COSTLY_SECONDS and len(kept) < self._most_kept:
            kept[key] = (now + _SHARED_SECONDS, response)
        self._kept = kept
        return response
