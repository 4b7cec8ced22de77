"""What qBittorrent's own log shows of the sockets that it opened: the proof of a bound port.

Facts: qBittorrent 4.2.5, 4.5.2, 5.1.0 and 5.3.0 as measured. No IO.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple

from exporter.model import BindResult

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LOG_INFO, _LOG_CRITICAL = 2, 8
_LONGEST_MESSAGE = 500
_SOCKET = re.compile(r"\b(TCP|UTP|UDP)/(\d{1,5})\b")
_WORD = re.compile(r"[0-9A-Za-z:.%]+")
_DIGIT = re.compile(r"\d")
_LONGEST_SUFFIX = 30
_MOST_SOCKETS = 256
"""What is kept of a session that lasts for years; the oldest are ports of long ago."""


class LogEntry(NamedTuple):
    """An entry of `log/main`; type 2 is a success, 8 a failure."""

    id: int
    type: int
    message: str
    timestamp: int | None = None
    """In milliseconds up to 4.4 and seconds since: only fit for telling two entries apart."""


class Socket(NamedTuple):
    """One that qBittorrent opened, or could not open."""

    port: int
    protocol: str
    address: Address


class BindLog:
    """What the log showed of sockets, folded entry by entry."""

    def __init__(self) -> None:
        self.sockets: dict[Socket, bool] = {}
        """Whether the last try to open each succeeded."""

    def fold(self, entries: Iterable[LogEntry]) -> list[bool]:
        """Take in new entries; a later one about the same socket counts.

        Returns for each of them that is about a socket whether that was opened.
        """
        opened = []
        for entry in entries:
            found = socket_of(entry)
            if found is None:
                continue
            if found.address.is_link_local:
                continue  # no peer comes by it, and it is still being checked when it fails
            self.sockets[found] = entry.type == _LOG_INFO
            opened.append(self.sockets[found])
        if len(self.sockets) > _MOST_SOCKETS:
            self.sockets = dict(list(self.sockets.items())[-_MOST_SOCKETS:])
        return opened

    def forget(self, port: int) -> None:
        """Drop what is known of a port that is about to be opened again."""
        self.sockets = {s: bound for s, bound in self.sockets.items() if s.port != port}

    def result(self, port: int) -> BindResult:
        """Return whether peers can reach the port: forwarded ports are IPv4, so that goes first."""
        opened = self._opened(port)
        for version in (4, 6):
            results = [
                bound
                for address, bound in opened.items()
                if address.version == version and not address.is_loopback
            ]
            if results:
                # one that failed may be the VPN's
                return BindResult.BOUND if all(results) else BindResult.FAILED
        if any(opened.values()):
            return BindResult.LOOPBACK
        return BindResult.FAILED if opened else BindResult.UNKNOWN

    def _opened(self, port: int) -> dict[Address, bool]:
        """Return whether the port is open, by address.

        TCP counts; where its UDP socket fails, a port gets no TCP socket either, and no entry.
        """
        found = {s: bound for s, bound in self.sockets.items() if s.port == port}
        opened = {s.address: False for s, bound in found.items() if not bound}
        opened |= {s.address: bound for s, bound in found.items() if s.protocol == "TCP"}
        return opened


def socket_of(entry: LogEntry) -> Socket | None:
    """Return the socket that an entry is about; None where it has not the log's own form.

    The text is translated and quoted differently by version and language, but the address comes
    first, then the word for port, protocol and port, and no other number before. A success ends
    there; a failure goes on with its reason. Other entries quote foreign text, such as the name
    of a torrent.
    """
    message = entry.message
    if entry.type not in (_LOG_INFO, _LOG_CRITICAL) or len(message) > _LONGEST_MESSAGE:
        return None
    found = list(_SOCKET.finditer(message))
    if len(found) != 1:
        return None
    before, after = message[: found[0].start()], message[found[0].end() :]
    named = _address_in(before)
    if named is None or not any(map(str.isalpha, named[1])):
        return None
    if entry.type == _LOG_INFO and not _is_end(after):
        return None
    return Socket(int(found[0][2]), found[0][1], named[0])


def _address_in(text: str) -> tuple[Address, str] | None:
    """Return the address in a text that has no other number, and what comes after it."""
    addresses = [(word, _address(word)) for word in _WORD.findall(text)]
    found = [(word, address) for word, address in addresses if address is not None]
    if len(found) != 1:
        return None
    word, address = found[0]
    before, _, after = text.partition(word)
    return None if _DIGIT.search(before + after) else (address, after)


def _address(word: str) -> Address | None:
    try:
        return ipaddress.ip_address(word.rstrip("."))
    except ValueError:
        return None


def _is_end(text: str) -> bool:
    """Whether only punctuation follows, or the few words of a language whose verb comes last."""
    return len(text) <= _LONGEST_SUFFIX and ":" not in text and not _DIGIT.search(text)
