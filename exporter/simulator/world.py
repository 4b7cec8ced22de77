"""The simulated servers, for the demo and the tests: a Gluetun and the qBittorrent behind it."""

import random
import time
from collections.abc import Callable, Iterator
from typing import Self

from exporter.simulator.faults import AnyFault, Fault, RedirectAway, Status
from exporter.simulator.gluetun import SimulatedGluetun
from exporter.simulator.qbittorrent import SimulatedQbittorrent
from exporter.simulator.roles import Generation, Role
from exporter.simulator.server import SimulatedServer
from exporter.simulator.versions import VERSIONS, Version

__all__ = [
    "VERSIONS",
    "AnyFault",
    "Fault",
    "Generation",
    "RedirectAway",
    "Role",
    "SimulatedGluetun",
    "SimulatedQbittorrent",
    "SimulatedServer",
    "Status",
    "Version",
    "World",
]


class World:
    """One tunnel: both servers, of which one gives the other its network, and a story."""

    def __init__(
        self, version: Version = "5.1.0", *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        role = Role(auth="apikey", apikey="simulated-key")
        self.gluetun = SimulatedGluetun(role=role, clock=clock)
        self.qbittorrent = SimulatedQbittorrent(version, clock=clock, addresses=("10.2.0.2",))
        self.gluetun.carry(self.qbittorrent.vpn_interface)
        self._random = random.Random(1)  # noqa: S311 - the same story each time
        self._story = self._events()

    def __enter__(self) -> Self:
        self.gluetun.start()
        self.qbittorrent.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.qbittorrent.__exit__()
        self.gluetun.__exit__()

    def is_open(self) -> bool:
        """Tell whether a peer gets in on the port that the provider forwards now."""
        ports = self.gluetun.forwarded_ports
        return bool(ports) and self.qbittorrent.peer_gets_in(ports[0])

    def next_event(self) -> str:
        """Undo the last event where something broke, let the next one happen, and describe it."""
        for server in (self.gluetun, self.qbittorrent):
            server.heal()
            server.start()
        return next(self._story)

    def _events(self) -> Iterator[str]:
        gluetun, qbittorrent = self.gluetun, self.qbittorrent
        while True:
            yield self._change_port()
            gluetun.reconnect(gap_seconds=6.0)
            yield (
                "The VPN reconnects: 6 seconds without a port, then the same port again; "
                "qBittorrent's socket does not survive that"
            )
            if qbittorrent.incoming_peer():
                yield "A peer connects from outside"
            else:
                yield "A peer from outside finds the port closed"
            yield self._change_port()
            gluetun.fail(None, Fault.HANG)
            yield "Gluetun stops answering"
            port = qbittorrent.listening_port = self._new_port()
            yield f"Somebody sets qBittorrent's listening port to {port}"
            gluetun.restart(away_seconds=2.0, tunnel_seconds=3.0)
            yield "Gluetun restarts: it is away for 2 seconds, and its VPN has a port again after 5"
            qbittorrent.restart()
            yield "qBittorrent restarts, and qSticky's login is forgotten"
            qbittorrent.stop()
            yield "qBittorrent is stopped"

    def _change_port(self) -> str:
        port = self._new_port()
        self.gluetun.change_port(port)
        return f"The provider forwards another port: {port}"

    def _new_port(self) -> int:
        return self._random.randrange(32_768, 61_000)
