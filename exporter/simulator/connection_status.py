"""The connection status that a simulated qBittorrent shows: late from 4.6 on."""

from collections.abc import Callable
from typing import Literal

ConnectionStatus = Literal["connected", "firewalled", "disconnected"]

# how often qBittorrent from 4.6 on looks at libtorrent for its connection status
REFRESH_SECONDS = 1.5


class StatusHistory:
    """What was true when: whether a socket was open, and whether it had heard a peer."""

    def __init__(self, clock: Callable[[], float], *, late: bool) -> None:
        self._clock = clock
        self._late = late
        self.begin()

    def begin(self) -> None:
        """Forget everything, as a restart does: a fresh process is disconnected for a moment."""
        self._started = self._clock()
        self._history = [(self._started, False, False)]

    def note(self, at: float, *, listening: bool, heard_peer: bool) -> None:
        """Remember what is true from that moment on."""
        self._history.append((at, listening, heard_peer))
        # only what the last two refreshes could still show is needed
        while len(self._history) > 2 and self._history[1][0] < at - 2 * REFRESH_SECONDS:
            self._history.pop(0)

    @property
    def shown(self) -> ConnectionStatus:
        """What the API says now."""
        listening, heard_peer = self._as_of_last_refresh() if self._late else self._history[-1][1:]
        if not listening:
            return "disconnected"
        return "connected" if heard_peer else "firewalled"

    def _as_of_last_refresh(self) -> tuple[bool, bool]:
        passed = int((self._clock() - self._started) / REFRESH_SECONDS)
        if passed == 0:
            return False, False
        refreshed = self._started + passed * REFRESH_SECONDS
        seen = [state for at, *state in self._history if at < refreshed] or [[False, False]]
        return seen[-1][0], seen[-1][1]
