"""What is done to the network of both: the VPN's interface goes and comes back."""

import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from exporter.simulator.world import SimulatedQbittorrent
from tests.parts.namespace import run_ip
from tests.real.conformance_client import BIND_RESULT, Client, MovedClock

# one each: with more, libtorrent sees by chance how many there are when it looks
ADDRESS, OTHER_ADDRESS = "10.2.0.2", "10.9.0.9"
BINDINGS = {"tun0": "tun0", "all interfaces": "", "loopback": "lo"}

# the connection status is up to 1.5 s late from 4.6 on
STATUS_LAG, LOG_LAG = 1.7, 0.5


class Network(Protocol):
    """What the servers are in, a real one or none."""

    def bring(self, address: str) -> None: ...

    def lose(self) -> None: ...

    def hears(self, server: str, address: str, port: int) -> bool: ...


class RealNetwork:
    """The network namespace of this thread."""

    def bring(self, address: str) -> None:
        """Make tun0, without IPv6 addresses of its own, which would come a second later."""
        run_ip("link add tun0 type veth peer name far0")
        for name in ("tun0", "far0"):
            run_ip(f"link set {name} addrgenmode none")
            run_ip(f"link set {name} up")
        run_ip(f"addr add {address}/24 dev tun0")

    def lose(self) -> None:
        run_ip("link del tun0")

    def hears(self, server: str, address: str, port: int) -> bool:
        try:
            socket.create_connection((address, port), timeout=1).close()
        except OSError:
            return False
        return True


@dataclass
class SimulatedNetwork:
    """The interfaces of simulated servers, each of which has its own."""

    servers: Mapping[str, SimulatedQbittorrent]

    def bring(self, address: str) -> None:
        for server in self.servers.values():
            server.vpn_interface.bring([address])

    def lose(self) -> None:
        for server in self.servers.values():
            server.vpn_interface.lose()

    def hears(self, server: str, address: str, port: int) -> bool:
        return self.servers[server].peer_gets_in(port)


@dataclass
class Stage:
    """Servers in one network, and what was seen of each."""

    network: Network
    clients: dict[str, Client]
    ports: dict[str, int]
    pause: Callable[[float], None]
    address: str = ADDRESS
    seen: dict[str, list[tuple[str, Any]]] = field(default_factory=dict)
    last_ids: dict[str, int] = field(default_factory=dict)

    def bring(self, address: str = ADDRESS) -> None:
        self.network.bring(address)
        self.address = address

    def each_sets(self, step: int) -> None:
        for name, client in self.clients.items():
            self.ports[name] += step
            wanted = {"listen_port": self.ports[name], "random_port": False}
            client.set(json.dumps(wanted))

    def each_restarts(self) -> None:
        for client in self.clients.values():
            client.subject.restart()
        self.last_ids.clear()

    def note(self, what: str, lag: float = STATUS_LAG) -> None:
        """Note what each server says, and whether a peer gets in."""
        self.pause(lag)
        for name, client in self.clients.items():
            seen = self.seen.setdefault(name, [])
            seen.append((f"{what}: bound", self._new_bind_results(name, client)))
            if lag == STATUS_LAG:
                status = client.read("transfer/info")["connection_status"]
                # our own connection to the port can make it `connected`
                seen.append((f"{what}: disconnected", status == "disconnected"))
            heard = self.network.hears(name, self.address, self.ports[name])
            seen.append((f"{what}: a peer gets in", heard))

    def _new_bind_results(self, name: str, client: Client) -> list[tuple[int, str]]:
        entries = client.read(f"log/main?last_known_id={self.last_ids.get(name, -1)}")
        self.last_ids[name] = entries[-1]["id"] if entries else self.last_ids.get(name, -1)
        found = [(each["type"], each["message"]) for each in entries]
        # one set after another may come before or after the first one's entries
        return sorted(each for each in found if BIND_RESULT.search(each[1]))


def an_interface_comes_and_goes(stage: Stage) -> None:
    """Play the life of a VPN's interface."""
    stage.note("at the start")
    stage.network.lose()
    stage.note("gone")
    stage.bring()
    stage.note("back with the same address")
    stage.each_sets(0)
    stage.note("the same port set", LOG_LAG)
    stage.each_sets(1)
    stage.each_sets(-1)
    stage.note("another port and back", LOG_LAG)
    stage.network.lose()
    stage.pause(LOG_LAG)
    stage.bring(OTHER_ADDRESS)
    stage.note("back with another address", LOG_LAG)
    stage.network.lose()
    stage.pause(LOG_LAG)
    stage.each_sets(1)
    stage.note("another port set while it is away")
    stage.bring()
    stage.note("back after that")
    stage.network.lose()
    stage.each_restarts()
    stage.note("restarted while it is away")
    stage.bring()
    stage.note("back after the restart")


def play(network: Network, clients: dict[str, Client], ports: dict[str, int]) -> Stage:
    """Play it to these servers; the answer holds what was seen."""
    clock = next(iter(clients.values()))
    stage = Stage(network, clients, dict(ports), clock.pause)
    an_interface_comes_and_goes(stage)
    return stage


def simulated_clients(
    servers: Mapping[str, SimulatedQbittorrent], clock: MovedClock
) -> dict[str, Client]:
    """Return a client for each of the simulated servers."""
    return {name: Client(server, pause=clock.pause) for name, server in servers.items()}
