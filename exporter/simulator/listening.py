"""The part of a fake qBittorrent that listens for peers: its sockets, its log, its status."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

ConnectionStatus = Literal["connected", "firewalled", "disconnected"]

NORMAL, INFO, WARNING, CRITICAL = 1, 2, 4, 8

# how often qBittorrent from 4.6 on looks at libtorrent for its connection status
REFRESH_SECONDS = 1.5

# from the end of the answer to setPreferences to the log entry
BIND_SECONDS = 0.002

_EPHEMERAL = range(32_768, 61_000)
_MAX_PORT = 65_535

_BOOTED_AT = time.time() - time.monotonic()
"""What makes a Unix time of the clock, which is that of the tests or time.monotonic."""


@dataclass(frozen=True, slots=True)
class Words:
    """How a version words and types its log entries."""

    trying: tuple[int, str]
    success: str
    failure: str
    udp: str
    milliseconds: bool


WORDS_4_2 = Words(
    (INFO, "Trying to listen on: {address}:{port}"),
    "Successfully listening on IP: {address}, port: {kind}/{port}",
    "Failed to listen on IP: {address}, port: {kind}/{port}. Reason: {reason}",
    "UDP",
    milliseconds=True,
)
WORDS = Words(
    (NORMAL, 'Trying to listen on the following list of IP addresses: "{address}:{port}"'),
    'Successfully listening on IP. IP: "{address}". Port: "{kind}/{port}"',
    'Failed to listen on IP. IP: "{address}". Port: "{kind}/{port}". Reason: "{reason}"',
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


@dataclass(slots=True)
class Sockets:
    """What is really bound, whatever the preferences say."""

    tcp: dict[str, int]
    # a socket of an interface that is gone: looks bound, hears nothing
    dead: bool = False
    heard_peer: bool = False


class Listening:
    """Binds ports as libtorrent does: when told, without a retry, the result only in the log."""

    def __init__(  # noqa: PLR0913 - what differs between versions, given by name
        self,
        words: Words,
        *,
        clock: Callable[[], float],
        cached_status: bool,
        interface: str,
        addresses: Sequence[str],
        privileged: bool,
    ) -> None:
        self.occupied: set[int] = set()
        self.occupied_ipv4: set[int] = set()
        self.occupied_udp: set[int] = set()
        self.interface = interface
        self._home = interface
        self._words = words
        self._clock = clock
        self._cached_status = cached_status
        self._addresses = addresses
        self._privileged = privileged
        self._log: list[Entry] = []
        self._coming: list[tuple[float, int, str]] = []
        self._sockets = Sockets({})
        self._started = clock()
        self._history: list[tuple[float, bool, bool]] = [(self._started, False, False)]

    def begin(self) -> None:
        """Forget log and sockets, as a restart does."""
        self._log.clear()
        self._coming.clear()
        self._started = self._clock()
        self._sockets = Sockets({})
        self._history = [(self._started, False, False)]

    def write_log(self, kind: int, message: str, *, after: float = 0.0) -> None:
        """Append an entry, which can be read after that time."""
        self._coming.append((self._clock() + after, kind, message))
        self._coming.sort(key=lambda each: each[0])

    def entries(self) -> list[Entry]:
        """The log as it can be read now."""
        now = self._clock()
        while self._coming and self._coming[0][0] <= now:
            at, kind, message = self._coming.pop(0)
            stamp = _BOOTED_AT + at
            timestamp = int(stamp * 1000) if self._words.milliseconds else int(stamp)
            self._log.append(Entry(len(self._log), message, timestamp, kind))
        return list(self._log)

    @property
    def bound_ports(self) -> set[int]:
        """The ports that a peer could reach now."""
        return set() if self._sockets.dead else set(self._sockets.tcp.values())

    @property
    def status(self) -> ConnectionStatus:
        """What transfer/info says, late from 4.6 on."""
        listening, heard = bool(self._sockets.tcp), self._sockets.heard_peer
        if self._cached_status:
            listening, heard = self._as_of_last_refresh()
        if not listening:
            return "disconnected"
        return "connected" if heard else "firewalled"

    def bind(self, port: int) -> None:
        """Close all sockets and open them on another port; 0 lets the system choose."""
        kind, trying = self._words.trying
        unknown = self.interface not in ("", self._home)
        if unknown:
            self.write_log(CRITICAL, self._no_interface())
        self.write_log(kind, trying.format(address=self.interface or "0.0.0.0", port=port))  # noqa: S104
        self._sockets = Sockets({})
        if not 0 <= port <= _MAX_PORT:
            self._report("TCP", "0.0.0.0", 0, "invalid port")  # noqa: S104
        elif not unknown:
            for address in self._addresses:
                self._bind_on(address, port or random.choice(_EPHEMERAL))  # noqa: S311
        self._remember()

    def interface_recreated(self, *, stays_dead: bool) -> None:
        """The VPN's interface went and came back with the same address."""
        self._sockets.dead = stays_dead and bool(self._sockets.tcp)
        self._sockets.heard_peer = self._sockets.heard_peer and stays_dead
        if not stays_dead:
            for address, port in self._sockets.tcp.items():
                self._report_success(address, port)
        self._remember()

    def peer_arrives(self) -> bool:
        """A peer from outside connects; False when nobody hears it."""
        heard = bool(self.bound_ports)
        self._sockets.heard_peer = self._sockets.heard_peer or heard
        self._remember()
        return heard

    def _bind_on(self, address: str, port: int) -> None:
        reason = "Address already in use"
        if not self._privileged and port < 1024:
            self._report("TCP", address, port, "Permission denied")
        elif port in self.occupied or (":" not in address and port in self.occupied_ipv4):
            self._report("TCP", address, port, reason)
        elif port in self.occupied_udp:
            self._report(self._words.udp, address, port, reason)
        else:
            self._sockets.tcp[address] = port
            self._report_success(address, port)

    def _report(self, kind: str, address: str, port: int, reason: str) -> None:
        message = self._words.failure.format(address=address, kind=kind, port=port, reason=reason)
        self.write_log(CRITICAL, message, after=BIND_SECONDS)

    def _report_success(self, address: str, port: int) -> None:
        for kind in ("TCP", self._words.udp):
            message = self._words.success.format(address=address, kind=kind, port=port)
            self.write_log(INFO, message, after=BIND_SECONDS)

    def _no_interface(self) -> str:
        if self._words is WORDS_4_2:
            return f"The network interface defined is invalid: {self.interface}"
        return f'The configured network interface is invalid. Interface: "{self.interface}"'

    def _remember(self) -> None:
        now = self._clock()
        self._history.append((now, bool(self._sockets.tcp), self._sockets.heard_peer))
        # only what the last two refreshes could still show is needed
        while len(self._history) > 2 and self._history[1][0] < now - 2 * REFRESH_SECONDS:
            self._history.pop(0)

    def _as_of_last_refresh(self) -> tuple[bool, bool]:
        passed = int((self._clock() - self._started) / REFRESH_SECONDS)
        if passed == 0:
            return False, False
        refreshed = self._started + passed * REFRESH_SECONDS
        seen = [state for at, *state in self._history if at < refreshed] or [[False, False]]
        return seen[-1][0], seen[-1][1]
