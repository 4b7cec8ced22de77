"""The VPN behind a simulated Gluetun: its status, its port and its interface over time."""

import heapq
import itertools
from collections.abc import Callable, Sequence

from exporter.simulator.interface import VpnInterface

# what each step of a reconnect takes on v3.41.1 under WireGuard
STOPPING_SECONDS = 0.07
STOPPED_SECONDS = 0.11
RUNNING_SECONDS = 0.10
PORT_SECONDS = 0.33
PORT_CHANGE_SECONDS = 0.06


class Agenda:
    """Actions and their moments; due ones are carried out when somebody looks."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._numbers = itertools.count()
        self._entries: list[tuple[float, int, Callable[[], None]]] = []
        self._moment: float | None = None

    @property
    def now(self) -> float:
        """The moment of the action that is being carried out, or that of the clock."""
        return self._clock() if self._moment is None else self._moment

    def __bool__(self) -> bool:
        return bool(self._entries)

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Plan an action."""
        heapq.heappush(self._entries, (self.now + seconds, next(self._numbers), action))

    def clear(self) -> None:
        """Drop what is planned."""
        self._entries.clear()

    def run_due(self) -> None:
        """Carry out what is due, in order, each as if it were its own moment."""
        until = self.now
        before = self._moment
        while self._entries and self._entries[0][0] <= until:
            self._moment, _, action = heapq.heappop(self._entries)
            action()
        self._moment = before


class Vpn:
    """Moved by its methods and by the clock; the caller holds a lock, and has it catch up."""

    def __init__(self, ports: list[int], public_ip: str, clock: Callable[[], float]) -> None:
        self.agenda = Agenda(clock)
        self.public_ip = public_ip
        self.interface: VpnInterface | None = None
        self.given_ports = ports
        """What the provider forwards while the VPN runs."""
        self.ports = ports
        """What Gluetun reports."""
        self.status = "running"
        """starting, running, stopping, stopped, crashed or completed."""

    def become(self, status: str) -> None:
        """Change the status, and the interface with it."""
        self.status = status
        if status == "running":
            self.bring_interface()
        elif status != "stopping":
            self.lose_interface()

    def lose_interface(self) -> None:
        """Remove qBittorrent's interface, where there is one."""
        if self.interface is not None:
            self.interface.lose(at=self.agenda.now)

    def bring_interface(self, addresses: Sequence[str] = ()) -> None:
        """Make it again where it is gone."""
        if self.interface is not None:
            self.interface.bring(addresses, at=self.agenda.now)

    def change_port(self, port: int) -> None:
        """Give another port after a moment without one; the VPN stays up."""
        self.given_ports, self.ports = [port], []
        if self.status == "running":
            self.agenda.later(PORT_CHANGE_SECONDS, self._report_port)

    def stop(self) -> None:
        """Go down step by step."""
        self.agenda.clear()
        self.ports = []
        self.agenda.later(STOPPING_SECONDS, lambda: self.become("stopping"))
        self.agenda.later(STOPPED_SECONDS, lambda: self.become("stopped"))

    def start(
        self, *, after: float = 0.0, public_ip: str | None = None, addresses: Sequence[str] = ()
    ) -> None:
        """Come up after that time, by default with what it had before."""

        def run() -> None:
            self.public_ip = public_ip or self.public_ip
            self.bring_interface(addresses)
            self.become("running")

        begin = max(after, STOPPED_SECONDS) if self.agenda else after
        running = begin + RUNNING_SECONDS
        self.agenda.later(begin, lambda: self.become("starting"))
        self.agenda.later(running, run)
        self.agenda.later(running + PORT_SECONDS, self._report_port)

    def begin_again(self, seconds: float) -> None:
        """Be without port and interface for that time, as after a start of Gluetun's process."""
        self.agenda.clear()
        self.ports = []
        self.become("starting")
        self.agenda.later(seconds, lambda: self.become("running"))
        self.agenda.later(seconds, self._report_port)

    def _report_port(self) -> None:
        self.ports = self.given_ports
