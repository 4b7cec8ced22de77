"""The log that qBittorrent's API shows, in each version's own words."""

import time
from collections.abc import Callable
from dataclasses import dataclass

NORMAL, INFO, WARNING, CRITICAL = 1, 2, 4, 8

_BOOTED_AT = time.time() - time.monotonic()
"""What makes a Unix time of the clock, which is that of the tests or time.monotonic."""


@dataclass(frozen=True, slots=True)
class Words:
    """How a version words and types its log entries."""

    trying: tuple[int, str]
    success: str
    failure: str
    no_interface: str
    udp: str
    milliseconds: bool


WORDS_4_2 = Words(
    (INFO, "Trying to listen on: {addresses}"),
    "Successfully listening on IP: {address}, port: {kind}/{port}",
    "Failed to listen on IP: {address}, port: {kind}/{port}. Reason: {reason}",
    "The network interface defined is invalid: {interface}",
    "UDP",
    milliseconds=True,
)
WORDS = Words(
    (NORMAL, 'Trying to listen on the following list of IP addresses: "{addresses}"'),
    'Successfully listening on IP. IP: "{address}". Port: "{kind}/{port}"',
    'Failed to listen on IP. IP: "{address}". Port: "{kind}/{port}". Reason: "{reason}"',
    'The configured network interface is invalid. Interface: "{interface}"',
    "UTP",
    milliseconds=False,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of qBittorrent's log."""

    id: int
    message: str
    timestamp: int
    type: int


class Journal:
    """The entries, and those that are on their way."""

    def __init__(self, words: Words, clock: Callable[[], float]) -> None:
        self.words = words
        self._clock = clock
        self._entries: list[Entry] = []
        self._coming: list[tuple[float, int, str]] = []

    def clear(self) -> None:
        """Forget everything, as a restart does."""
        self._entries.clear()
        self._coming.clear()

    def write(self, kind: int, message: str, *, at: float | None = None) -> None:
        """Append an entry, which can be read from that moment on; by default at once."""
        self._coming.append((self._clock() if at is None else at, kind, message))
        self._coming.sort(key=lambda each: each[0])

    def entries(self) -> list[Entry]:
        """The log as it can be read now."""
        now = self._clock()
        while self._coming and self._coming[0][0] <= now:
            at, kind, message = self._coming.pop(0)
            stamp = _BOOTED_AT + at
            timestamp = int(stamp * 1000) if self.words.milliseconds else int(stamp)
            self._entries.append(Entry(len(self._entries), message, timestamp, kind))
        return list(self._entries)
