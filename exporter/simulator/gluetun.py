"""A simulated Gluetun control server, true to v3.40, v3.41 and the main branch of May 2026."""

import contextlib
import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from exporter.simulator import go_answers
from exporter.simulator.http import Answer, Request
from exporter.simulator.interface import VpnInterface
from exporter.simulator.roles import (
    OLD_PORT_ROUTE,
    PORT_ROUTE,
    Generation,
    Role,
    roles_of,
    routes_of,
)
from exporter.simulator.server import SimulatedServer
from exporter.simulator.vpn import Vpn

_VERSIONS = {"3.40": "v3.40.0", "3.41": "v3.41.1", "main": "latest"}


class SimulatedGluetun(SimulatedServer):
    """Answers as Gluetun does; the VPN behind it is moved by its methods and the clock."""

    def __init__(  # noqa: PLR0913 - each is an option of the server, given by name
        self,
        generation: Generation = "3.41",
        *,
        role: Role | Sequence[Role] | None = None,
        forwarded_port: int = 45720,
        clock: Callable[[], float] = time.monotonic,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(host, port)
        self.generation = generation
        self._routes = routes_of(generation)
        self._roles = roles_of(generation, [role] if isinstance(role, Role) else role)
        self._vpn = Vpn([forwarded_port] if forwarded_port else [], "203.0.113.7", clock)
        self._clock = clock
        self._absent_until = self._another_key_until = -math.inf
        self._command_ended = threading.Event()
        self._command_ended.set()

    # What a test or the demo does to it

    def carry(self, interface: VpnInterface) -> None:
        """Let qBittorrent's interface come and go with this VPN."""
        with self._lock:
            self._vpn.interface = interface
        interface.let_happen = self._let_happen

    @contextlib.contextmanager
    def _vpn_as_of_now(self) -> Iterator[Vpn]:
        with self._lock:
            self._vpn.agenda.run_due()
            yield self._vpn

    @property
    def forwarded_ports(self) -> list[int]:
        """The ports that Gluetun reports now; an empty list where it has none."""
        with self._vpn_as_of_now() as vpn:
            return list(vpn.ports)

    @forwarded_ports.setter
    def forwarded_ports(self, ports: Sequence[int]) -> None:
        with self._vpn_as_of_now() as vpn:
            vpn.given_ports = vpn.ports = list(ports)

    @property
    def vpn_status(self) -> str:
        """starting, running, stopping, stopped, crashed or completed."""
        with self._vpn_as_of_now() as vpn:
            return vpn.status

    @vpn_status.setter
    def vpn_status(self, status: str) -> None:
        with self._vpn_as_of_now() as vpn:
            vpn.become(status)

    @property
    def public_ip(self) -> str:
        """The VPN's public address; empty where Gluetun does not know it."""
        with self._vpn_as_of_now() as vpn:
            return vpn.public_ip

    @public_ip.setter
    def public_ip(self, address: str) -> None:
        with self._vpn_as_of_now() as vpn:
            vpn.public_ip = address

    def change_port(self, port: int) -> None:
        """Forward another port, as the provider orders; the VPN stays up."""
        with self._vpn_as_of_now() as vpn:
            vpn.change_port(port)

    def reconnect(
        self,
        port: int | None = None,
        *,
        gap_seconds: float = 2.0,
        public_ip: str | None = None,
        addresses: Sequence[str] = (),
    ) -> None:
        """Stop the VPN and start it after the gap, by default with the same port and addresses.

        From the first to the last moment without a port it takes 0.43 s longer than the gap;
        the interface is away from 0.11 s after the beginning until 0.1 s after the gap.
        """
        with self._vpn_as_of_now() as vpn:
            if port is not None:
                vpn.given_ports = [port]
            vpn.stop()
            vpn.start(after=gap_seconds, public_ip=public_ip, addresses=addresses)

    def restart(
        self,
        *,
        away_seconds: float = 1.0,
        another_key_seconds: float = 0.0,
        tunnel_seconds: float = 5.0,
    ) -> None:
        """End the process and start it again, by the clock: away, then 401, then without a port.

        While it has another key, all requests are refused; the VPN is up again, with its port,
        `tunnel_seconds` after the process is back.
        """
        with self._vpn_as_of_now() as vpn:
            vpn.begin_again(away_seconds + tunnel_seconds)
            self._absent_until = self._clock() + away_seconds
            self._another_key_until = self._absent_until + another_key_seconds
            self._drop_connections()
            self._released = threading.Event()

    def start(self, *, tunnel_seconds: float = 0.0) -> None:
        """Serve; after a stop the VPN and its port come only after that time."""
        with self._lock:
            if tunnel_seconds > 0 and not self.running:
                self._vpn.begin_again(tunnel_seconds)
            elif not self.running and self._vpn.status == "running":
                self._vpn.bring_interface()
        super().start()

    def stop(self) -> None:
        """End the process, and the VPN with it; a running command no longer holds anything up."""
        with self._vpn_as_of_now() as vpn:
            vpn.lose_interface()
        waiting = not self._command_ended.is_set()
        self._command_ended.set()
        super().stop()
        if waiting:
            self._command_ended.clear()

    @contextlib.contextmanager
    def running_up_command(self) -> Iterator[None]:
        """Hold the lock of the port list, as main does while it runs the user's command."""
        self._command_ended.clear()
        try:
            yield
        finally:
            self._command_ended.set()

    @property
    def absent(self) -> bool:
        """Whether the process is away at this moment of the clock."""
        return self._clock() < self._absent_until

    def answer(self, request: Request) -> Answer:
        """Check the role as Gluetun does, then the route."""
        route = f"{request.method} {request.path}"
        if self.generation == "main" and route not in self._routes:
            return self._unknown(request)
        roles = [role for role in self._roles if role.routes is None or route in role.routes]
        admitted = any(role.admits(request) for role in roles)
        if route not in self._routes or not admitted or self._clock() < self._another_key_until:
            return go_answers.unauthorized(
                request, basic=any(role.auth == "basic" for role in roles)
            )
        return self._routed(request)

    def head(self, answer: Answer) -> bytes:
        """Return status line and headers as Go's net/http writes them."""
        return go_answers.head(answer)

    def malformed(self) -> Answer:
        """Return Go's answer to what is no HTTP."""
        return Answer(400, b"400 Bad Request", {"connection": "close"}, close=True)

    def _routed(self, request: Request) -> Answer:
        if "?" in request.target and request.path != PORT_ROUTE:
            rest = request.target.removeprefix("/v1")
            rest = "/" + rest.split("/", 2)[2]
            return go_answers.error(400, f"route {rest} not supported")
        handlers: dict[str, Callable[[], Answer]] = {
            "/v1/vpn/status": lambda: self._vpn_status(request),
            # the tunnel is a WireGuard one
            "/v1/openvpn/status": lambda: go_answers.encoded({"status": "stopped"}),
            PORT_ROUTE: self._port_list,
            OLD_PORT_ROUTE: self._port_list if self.generation == "3.40" else go_answers.moved,
            "/v1/publicip/ip": self._public_address,
            "/v1/version": self._version,
            "/v1/dns/status": lambda: go_answers.encoded({"status": "running"}),
            "/v1/updater/status": lambda: go_answers.encoded({"status": "completed"}),
        }
        handler = handlers.get(request.path)
        return handler() if handler is not None else go_answers.encoded({})

    def _version(self) -> Answer:
        version = _VERSIONS[self.generation]
        return go_answers.encoded(
            {"version": version, "commit": "0000000", "created": "2026-05-01"}
        )

    def _unknown(self, request: Request) -> Answer:
        methods = sorted(
            route.split(" ")[0] for route in self._routes if route.endswith(f" {request.path}")
        )
        if not methods:
            return go_answers.error(404, "404 page not found", request)
        allowed = go_answers.error(405, "Method Not Allowed", request)
        allowed.headers["allow"] = ", ".join(methods)
        return allowed

    def _port_list(self) -> Answer:
        self._command_ended.wait()
        ports = self.forwarded_ports
        first = ports[0] if ports else 0
        if self.generation == "main":
            return go_answers.encoded({"port": first, "ports": ports or None})
        if self.generation == "3.41" and len(ports) > 1:
            return go_answers.encoded({"ports": ports})
        return go_answers.encoded({"port": first})

    def _public_address(self) -> Answer:
        with self._vpn_as_of_now() as vpn:
            known = vpn.public_ip if vpn.status == "running" else ""
        if not known:
            return go_answers.encoded({"public_ip": ""})
        place = {"region": "North Holland", "country": "Netherlands", "city": "Amsterdam"}
        more = {
            "location": "52.3740,4.8897",
            "organization": "Example VPN",
            "postal_code": "1012",
            "timezone": "Europe/Amsterdam",
        }
        return go_answers.encoded({"public_ip": known, **place, **more})

    def _vpn_status(self, request: Request) -> Answer:
        if request.method == "GET":
            return go_answers.encoded({"status": self.vpn_status})
        try:
            wanted = json.loads(request.body)["status"]
        except (ValueError, TypeError, KeyError):
            return go_answers.error(400, "EOF")
        if wanted not in ("running", "stopped"):
            hint = "possible values are: stopped, running"
            return go_answers.error(400, f"invalid status: {wanted}: {hint}")
        return go_answers.encoded({"outcome": self._ordered(wanted)})

    def _ordered(self, wanted: str) -> str:
        with self._vpn_as_of_now() as vpn:
            up = vpn.status == "running"
            if up == (wanted == "running"):
                return f"already {vpn.status}"
            if up:
                vpn.stop()
            else:
                vpn.start()
            return wanted

    def _let_happen(self) -> None:
        with self._vpn_as_of_now():
            pass
