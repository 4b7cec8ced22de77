"""The proof that a port is open: what qBittorrent's log says of it, once it has said all.

The sockets of one port are logged one by one, the loopback interface's first. So the log can be
read in the middle of it, where it says something else than at its end. Measured on all interfaces:
4.5.2 in 2 of 50 times, 5.1.0 on a busy machine in 2 of 80; the rest came within 1.5 ms.
"""

from __future__ import annotations

import math

from exporter.clock import Clock
from exporter.errors import ServerError
from exporter.model import BindResult, Operation
from exporter.servers.operations import Operations
from exporter.servers.qbittorrent import Qbittorrent

PROOF_SECONDS = 3.0
"""How long the log may take to show a socket (measured: 2 to 3 ms), and to have said all."""
SILENT_SECONDS = 0.005
"""For how long the log has to say nothing more of sockets, until it has said all."""
SILENT_SECONDS_IF_BAD = 0.05
"""The same before a port is called closed, however busy the machine may be."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.002, 0.05


class BindProof:
    """Reads it for one qBittorrent; raises what `Qbittorrent.bind_result` raises."""

    def __init__(self, qbittorrent: Qbittorrent, clock: Clock) -> None:
        self._qbittorrent = qbittorrent
        self._clock = clock

    def read(self, did: Operations, port: int) -> BindResult:
        """Return what the log says of a port; where that is new, once it has said all."""
        result = self._qbittorrent.bind_result(did, port)
        if result is BindResult.UNKNOWN:
            return result
        return self._when_all_is_said(did, port, result)

    def wait(self, did: Operations, port: int) -> BindResult:
        """Wait for what the log says of a port that was just set; UNKNOWN where it says nothing."""
        return self._when_all_is_said(did, port, self._qbittorrent.bind_result(did, port))

    def _when_all_is_said(self, did: Operations, port: int, result: BindResult) -> BindResult:
        deadline = self._clock.monotonic() + PROOF_SECONDS
        pause = _SHORTEST_PAUSE
        while (now := self._clock.monotonic()) < deadline:
            left = self._silent_at(result) - now
            if left <= 0:
                break
            self._clock.sleep(pause if math.isinf(left) else max(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)
            try:
                result = self._qbittorrent.bind_result(did, port)
            except ServerError as error:
                if result is BindResult.UNKNOWN:
                    raise
                did.fail(Operation.QBITTORRENT_LOG, error)
                break  # what was read is still true
        return result

    def _silent_at(self, result: BindResult) -> float:
        match result:
            case BindResult.UNKNOWN:
                return math.inf
            case BindResult.BOUND:
                return self._qbittorrent.tried_at + SILENT_SECONDS
            case _:
                return self._qbittorrent.tried_at + SILENT_SECONDS_IF_BAD
