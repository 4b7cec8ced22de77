"""What qBittorrent's own log tells about the sockets that it opened: the proof of a bound port.

Facts: qBittorrent 4.2.5, 4.5.2, 5.1.0 and 5.3.0 as measured. No IO.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from exporter.model import BindResult

_SOCKET = re.compile(r"\b(TCP|UTP|UDP)/(\d{1,5})\b")
_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b|[0-9A-Fa-f]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*")
_LOG_INFO, _LOG_CRITICAL = 2, 8
_MOST_SOCKETS = 256
"""What is remembered of a session that lasts for years; the oldest are ports of long ago."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """An entry of `log/main`; type 2 tells of a success, 8 of a failure."""

    id: int
    type: int
    message: str
    timestamp: int | None = None
    """In milliseconds up to 4.4 and seconds since: only fit for telling two entries apart."""


@dataclass(slots=True)
class BindLog:
    """What the log told about sockets, folded entry by entry.

    The text of an entry is translated, `TCP/<port>`, the address and the type are not.
    """

    sockets: dict[tuple[int, str, str], bool] = field(default_factory=dict)
    """Whether the last try to open (port, protocol, address) succeeded."""

    def fold(self, entries: Iterable[LogEntry]) -> None:
        """Take in new entries; a later one about the same socket counts."""
        for entry in entries:
            match = _SOCKET.search(entry.message)
            if match is None or entry.type not in (_LOG_INFO, _LOG_CRITICAL):
                continue
            found = _ADDRESS.search(entry.message)
            address = found[0] if found else ""
            if entry.type == _LOG_CRITICAL and address.lower().startswith("fe80:"):
                continue  # still being checked for duplicates, right after its interface came up
            self.sockets[int(match[2]), match[1], address] = entry.type == _LOG_INFO
        if len(self.sockets) > _MOST_SOCKETS:
            self.sockets = dict(list(self.sockets.items())[-_MOST_SOCKETS:])

    def forget(self, port: int) -> None:
        """Drop what is known of a port that is about to be opened anew."""
        self.sockets = {key: bound for key, bound in self.sockets.items() if key[0] != port}

    def result(self, port: int) -> BindResult:
        """Tell whether peers can reach the port: forwarded ports are IPv4, so that goes first."""
        by_kind: dict[str, list[bool]] = {}
        for (at, protocol, address), bound in self.sockets.items():
            if at == port and protocol == "TCP":
                by_kind.setdefault(_address_kind(address), []).append(bound)
        for kind in ("ipv4", "ipv6", "127.0.0.1", "::1"):
            if kind in by_kind:
                return BindResult.BOUND if any(by_kind[kind]) else BindResult.FAILED
        # a port whose UDP socket fails gets no TCP socket either
        others = [bound for (at, _, _), bound in self.sockets.items() if at == port]
        return BindResult.FAILED if False in others else BindResult.UNKNOWN


def _address_kind(address: str) -> str:
    if address.startswith("127.") or address == "::1":
        return "::1" if ":" in address else "127.0.0.1"
    return "ipv6" if ":" in address else "ipv4"
