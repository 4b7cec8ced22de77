"""The sockets on which a simulated qBittorrent listens for peers."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from exporter.simulator.connection_status import ConnectionStatus, StatusHistory
from exporter.simulator.interface import NAME, Change, VpnInterface
from exporter.simulator.journal import CRITICAL, INFO, Entry, Journal
from exporter.simulator.versions import Traits

ALL_INTERFACES = ""
LOOPBACK = "lo"

# from the end of the answer to setPreferences to the log entry
BIND_SECONDS = 0.002

# from the log entries of one address to those of the next (up to 1.5 ms seen on 4.5.2 and 5.1.0)
BETWEEN_ADDRESSES_SECONDS = 0.0015

# how often Qt 5 looks at the network, and says so in the log
QT5_LOOKS_EVERY_SECONDS = 10.0

_EPHEMERAL = range(32_768, 61_000)
_MAX_PORT = 65_535
_FIRST_UNPRIVILEGED_PORT = 1024


@dataclass(frozen=True, slots=True)
class Socket:
    """A TCP socket; that of an interface that is gone looks alike, and hears nothing."""

    port: int
    interface_number: int


@dataclass(eq=False, kw_only=True)
class Listening:
    """Binds ports as libtorrent does: when told, without a retry, the result only in the log."""

    traits: Traits
    journal: Journal
    vpn: VpnInterface
    clock: Callable[[], float]
    loopback: Sequence[str]
    lan: Sequence[str]
    privileged: bool
    occupied: set[int] = field(default_factory=set)
    occupied_at: set[tuple[str, int]] = field(default_factory=set)
    _interface: str = ALL_INTERFACES
    _port: int = 0
    _sockets: dict[str, Socket] = field(default_factory=dict)
    _heard_peer: bool = False
    _known_changes: int = 0
    _interface_number: int = 0
    _vpn_addresses: tuple[str, ...] = ()
    _seen_addresses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._next_network_look = self.clock()
        self._status = StatusHistory(self.clock, late=self.traits.qt6)

    def begin(self) -> None:
        """Start without log and sockets, on the network as it is now."""
        self.journal.clear()
        self._sockets.clear()
        self._heard_peer = False
        for change in self._new_changes():
            self._follow(change)
        self._seen_addresses = self._vpn_addresses
        self._next_network_look = self.clock() + QT5_LOOKS_EVERY_SECONDS
        self._status.begin()

    def catch_up(self) -> None:
        """Do what the interface's coming and going have caused up to now."""
        for change in self._new_changes():
            self._look_at_network(until=change.at)
            self._follow(change)
            if change.addresses:
                self._interface_came(change.at)
            else:
                self._interface_went(change.at)
        self._look_at_network(until=self.clock())

    def entries(self) -> list[Entry]:
        """Return the log as it can be read now."""
        self.catch_up()
        return self.journal.entries()

    @property
    def bound_ports(self) -> set[int]:
        """The ports on which some socket hears."""
        self.catch_up()
        return {each.port for address, each in self._sockets.items() if self._alive(address)}

    def open_to_the_outside(self, port: int) -> bool:
        """Whether a peer who comes through the VPN, over IPv4 as ports are forwarded, is heard."""
        self.catch_up()
        return any(
            self._sockets[address].port == port and self._alive(address)
            for address in self._vpn_addresses
            if address in self._sockets and ":" not in address
        )

    @property
    def status(self) -> ConnectionStatus:
        """What transfer/info says, late from 4.6 on."""
        self.catch_up()
        return self._status.shown

    def bind(self, interface: str, port: int) -> None:
        """Close all sockets and open others; port 0 lets the system choose."""
        self.catch_up()
        self._interface = interface
        self._port = port
        self._sockets.clear()
        self._heard_peer = False
        now = self.clock()
        if self._missing_interface:
            self._write_missing_interface(now)
        self._write_trying(now)
        if self._bindable:
            self._open(self._wanted_addresses(), now)
        else:
            self._report("TCP", "0.0.0.0", 0, "invalid port", now)  # noqa: S104
        self._remember(now)

    def peer_connects(self) -> bool:
        """A peer from outside connects; False when nobody hears it."""
        heard = any(self.open_to_the_outside(port) for port in self.bound_ports)
        self._heard_peer = self._heard_peer or heard
        self._remember(self.clock())
        return heard

    # What the network does

    def _new_changes(self) -> Sequence[Change]:
        changes = self.vpn.changes(self._known_changes)
        self._known_changes += len(changes)
        return changes

    def _follow(self, change: Change) -> None:
        self._vpn_addresses = change.addresses
        self._interface_number += 1

    def _interface_went(self, at: float) -> None:
        if not self.traits.reopens_sockets:
            return  # nothing is closed, nothing is said
        self._close_vpn_sockets()
        self._remember(at)

    def _interface_came(self, at: float) -> None:
        misses_it = self._interface == ALL_INTERFACES and self.vpn.comes_up_late
        if self._interface not in (NAME, ALL_INTERFACES) or misses_it or not self._bindable:
            return
        if self.traits.reopens_sockets:
            self._open(self._vpn_addresses, at)
        elif self._vpn_addresses[0] not in self._sockets:
            # libtorrent 2.0.8 looks at the first address, and takes a dead socket for a good one
            self._close_vpn_sockets()
            self._open(self._vpn_addresses[:1], at)
        self._remember(at)

    def _close_vpn_sockets(self) -> None:
        self._heard_peer = False
        self._sockets = {
            address: socket
            for address, socket in self._sockets.items()
            if socket.interface_number == 0
        }

    def _look_at_network(self, *, until: float) -> None:
        while not self.traits.qt6 and self._next_network_look <= until:
            at = self._next_network_look
            self._next_network_look += QT5_LOOKS_EVERY_SECONDS
            if self._seen_addresses != self._vpn_addresses:
                self._say_network_changed(at)
            self._seen_addresses = self._vpn_addresses

    def _say_network_changed(self, at: float) -> None:
        there = bool(self._vpn_addresses)
        changed = f"Network configuration of {NAME} has changed, refreshing session binding"
        online = f"System network status changed to {'ONLINE' if there else 'OFFLINE'}"
        bound = self._interface == NAME
        # with another network the machine stays online
        said = [online] if bool(self._seen_addresses) != there and not self.lan else []
        said += [changed] if bound else []
        for message in said if there else reversed(said):
            self.journal.write(INFO, message, at=at)
        if bound and not there:
            self._write_missing_interface(at)
        if bound:
            self._write_trying(at)

    # Sockets

    @property
    def _bindable(self) -> bool:
        return 0 <= self._port <= _MAX_PORT

    @property
    def _missing_interface(self) -> bool:
        there = {ALL_INTERFACES, LOOPBACK} | ({NAME} if self._vpn_addresses else set())
        return self._interface not in there

    def _wanted_addresses(self) -> Sequence[str]:
        if self._interface == ALL_INTERFACES:
            every = (*self.loopback, *self.lan, *self._vpn_addresses)
            return sorted(every, key=lambda address: ":" in address)
        return {LOOPBACK: self.loopback, NAME: self._vpn_addresses}.get(self._interface, ())

    def _alive(self, address: str) -> bool:
        return self._sockets[address].interface_number in (0, self._interface_number)

    def _open(self, addresses: Sequence[str], at: float) -> None:
        for number, address in enumerate(addresses):
            port = self._port or random.choice(_EPHEMERAL)  # noqa: S311
            self._open_one(address, port, at + number * BETWEEN_ADDRESSES_SECONDS)

    def _open_one(self, address: str, port: int, at: float) -> None:
        if not self.privileged and port < _FIRST_UNPRIVILEGED_PORT:
            self._report("TCP", address, port, "Permission denied", at)
        elif port in self.occupied or (address, port) in self.occupied_at:
            self._report("TCP", address, port, "Address already in use", at)
        else:
            number = self._interface_number if address in self._vpn_addresses else 0
            self._sockets[address] = Socket(port, number)
            self._report_success(address, port, at)

    def _remember(self, at: float) -> None:
        self._status.note(at, listening=bool(self._sockets), heard_peer=self._heard_peer)

    # The log

    def _write_missing_interface(self, at: float) -> None:
        message = self.journal.words.no_interface.format(interface=self._interface)
        self.journal.write(CRITICAL, message, at=at)

    def _write_trying(self, at: float) -> None:
        kind, trying = self.journal.words.trying
        hosts = [self._interface] if self._interface else ["0.0.0.0", "[::]"]  # noqa: S104
        addresses = ",".join(f"{host}:{self._port}" for host in hosts)
        self.journal.write(kind, trying.format(addresses=addresses), at=at)

    def _report(self, kind: str, address: str, port: int, reason: str, at: float) -> None:
        failure = self.journal.words.failure
        message = failure.format(address=address, kind=kind, port=port, reason=reason)
        self.journal.write(CRITICAL, message, at=at + BIND_SECONDS)

    def _report_success(self, address: str, port: int, at: float) -> None:
        for kind in ("TCP", self.journal.words.udp):
            message = self.journal.words.success.format(address=address, kind=kind, port=port)
            self.journal.write(INFO, message, at=at + BIND_SECONDS)
