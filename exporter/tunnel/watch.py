"""Asks Gluetun for the port alone, between two checks, where only that can show a reconnect."""

from __future__ import annotations

import math

from exporter.clock import Clock
from exporter.model import Event, Failure, GluetunReading, Outcome, QbittorrentReading
from exporter.servers.operations import Operations
from exporter.tunnel import events
from exporter.tunnel.decide import must_watch
from exporter.tunnel.state import TunnelState

WATCH_EVERY = 1.0
"""Gluetun is without a port for 1.3 s in a reconnect."""
LONGEST_GAP = 15.0
"""Not read for so long (a machine that slept, a server that hung), a reconnect may have passed."""


class Watch:
    """Knows when the next whole check is due, and when the port was last read."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._is_on = False
        self._check_at = -math.inf
        self._port_read_at = math.inf

    def is_overdue(self, port: int | Failure) -> bool:
        """Whether the port had not been read for too long when it was read just now."""
        if isinstance(port, Failure):
            return False
        now = self._clock.monotonic()
        before, self._port_read_at = self._port_read_at, now
        return self._is_on and now - before > LONGEST_GAP

    def suffices(self, port: int | Failure, last: Outcome) -> bool:
        """Whether nothing changed, and no whole check is due."""
        if (
            not self._is_on
            or not (last.gluetun and last.gluetun.has_port)
            or port != last.forwarded_port
        ):
            return False
        return self._clock.monotonic() + WATCH_EVERY / 2 < self._check_at

    def outcome(self, last: Outcome, did: Operations) -> Outcome:
        """Return the last outcome as of now."""
        now = self._clock.monotonic()
        return last._replace(
            finished_at=now,
            next_check_seconds=min(WATCH_EVERY, self._check_at - now),
            events=(),
            operations=tuple(did.results),
            opened_after_seconds=None,
            is_watch=True,
        )

    def note(self, reading: QbittorrentReading, known: TunnelState) -> list[Event]:
        """Begin or end; say once that it begins, and what makes it unnecessary."""
        before, self._is_on = self._is_on, must_watch(reading, known)
        return [events.watching()] if self._is_on and not before else []

    def pause(self, seconds: float, gluetun: GluetunReading | None) -> float:
        """Return when to ask next, where a whole check is due in so many seconds."""
        self._check_at = self._clock.monotonic() + seconds
        has_port = gluetun is not None and gluetun.has_port
        return min(seconds, WATCH_EVERY) if self._is_on and has_port else seconds
