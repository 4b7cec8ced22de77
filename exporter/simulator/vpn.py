"""The VPN behind a simulated Gluetun: its status, its port and its interface over time."""

from collections.abc import Callable, Sequence

from exporter.simulator.agenda import Agenda
from exporter.simulator.interface import VpnInterface

# what each step of a reconnect takes on v3.41.1 under WireGuard
STOPPING_SECONDS = 0.07
STOPPED_SECONDS = 0.11
RUNNING_SECONDS = 0.10
PORT_SECONDS = 0.33
PORT_CHANGE_SECONDS = 0.06


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
