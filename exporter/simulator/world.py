"""The simulated servers, for the demo and the tests: a Gluetun and the qBittorrent behind it."""

import itertools
import random
import time
from collections.abc import Callable, Iterator
from typing import Self

from exporter.simulator.gluetun import Generation, Role, SimulatedGluetun
from exporter.simulator.qbittorrent import SimulatedQbittorrent
from exporter.simulator.server import AnyFault, Fault, RedirectAway, SimulatedServer, Status
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
    """One tunnel: both servers, and a story in which things happen to them."""

    def __init__(
        self,
        generation: Generation = "3.41",
        version: Version = "5.1.0",
        *,
        clock: Callable[[], float] = time.monotonic,
        seed: int = 1,
    ) -> None:
        role = Role(auth="apikey", apikey="simulated-key")
        self.gluetun = SimulatedGluetun(generation, role=role, clock=clock)
        self.qbittorrent = SimulatedQbittorrent(
            version, clock=clock, interface="tun0", addresses=("10.2.0.2",)
        )
        self._random = random.Random(seed)  # noqa: S311 - the same story each time
        self._story = self._told()

    def __enter__(self) -> Self:
        self.gluetun.start()
        self.qbittorrent.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.qbittorrent.__exit__()
        self.gluetun.__exit__()

    def next_event(self) -> str:
        """Let the next thing happen; says what, for people. First ends what was broken."""
        for server in (self.gluetun, self.qbittorrent):
            server.heal()
            server.start()
        return next(self._story)

    def _told(self) -> Iterator[str]:
        events = (
            self._changed_port,
            self._peer,
            self._reconnected,
            self._changed_port,
            self._hung,
            self._drifted,
            self._restarted,
            self._changed_port,
            self._away,
        )
        for event in itertools.cycle(events):
            yield event()

    def _new_port(self) -> int:
        return self._random.randrange(32_768, 61_000)

    def _changed_port(self) -> str:
        port = self._new_port()
        self.gluetun.change_port(port)
        return f"the provider forwards another port: {port}"

    def _peer(self) -> str:
        heard = self.qbittorrent.incoming_peer()
        return f"a peer connects from outside: {'it is heard' if heard else 'nobody hears it'}"

    def _reconnected(self) -> str:
        self.gluetun.reconnect(gap_seconds=5.0)
        self.qbittorrent.vpn_interface_recreated()
        return "the VPN reconnects: 5 s without a port, then the same one"

    def _hung(self) -> str:
        self.gluetun.fail(None, Fault.HANG)
        return "Gluetun stops answering"

    def _drifted(self) -> str:
        port = self._new_port()
        self.qbittorrent.listening_port = port
        return f"somebody sets qBittorrent's listening port to {port}"

    def _restarted(self) -> str:
        self.qbittorrent.restart()
        return "qBittorrent restarts and forgets its sessions"

    def _away(self) -> str:
        self.qbittorrent.stop()
        return "qBittorrent is stopped"
