"""A fake Gluetun control server, true to v3.40, v3.41 and the main branch of May 2026."""

import base64
import contextlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Literal

from exporter.simulator.server import Answer, Request, SimulatedServer

Generation = Literal["3.40", "3.41", "main"]

OLD_PORT_ROUTE = "/v1/openvpn/portforwarded"
PORT_ROUTE = "/v1/portforward"

# what each step of a reconnect takes on v3.41.1 under WireGuard
STOPPING_SECONDS = 0.07
STOPPED_SECONDS = 0.11
RUNNING_SECONDS = 0.10
PORT_SECONDS = 0.33
PORT_CHANGE_SECONDS = 0.06

_ROUTES = frozenset(
    {
        *(f"{method} /v1/vpn/status" for method in ("GET", "PUT")),
        *(f"{method} /v1/vpn/settings" for method in ("GET", "PUT")),
        *(f"{method} /v1/openvpn/status" for method in ("GET", "PUT")),
        *(f"{method} /v1/dns/status" for method in ("GET", "PUT")),
        *(f"{method} /v1/updater/status" for method in ("GET", "PUT")),
        "GET /v1/openvpn/settings",
        "GET /v1/openvpn/portforwarded",
        "GET /v1/publicip/ip",
        "GET /v1/version",
    }
)
# without a file of roles, v3.40 leaves these open to all
_OPEN_IN_3_40 = _ROUTES - {route for route in _ROUTES if route.endswith("/settings")}

_VERSIONS = {"3.40": "v3.40.0", "3.41": "v3.41.1", "main": "latest"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """One role of Gluetun's auth/config.toml; no routes means all of them."""

    auth: Literal["apikey", "basic", "none"] = "none"
    apikey: str = ""
    username: str = ""
    password: str = ""
    routes: Sequence[str] | None = None

    def admits(self, request: Request) -> bool:
        """Whether the request carries this role's credentials."""
        if self.auth == "none":
            return True
        if self.auth == "apikey":
            given = request.headers.get("x-api-key", "")
            return hmac.compare_digest(given.encode(), self.apikey.encode())
        pair = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return request.headers.get("authorization", "") == f"Basic {pair}"


class SimulatedGluetun(SimulatedServer):
    """Answers as Gluetun does; the tunnel behind it is moved by its methods and the clock."""

    def __init__(  # noqa: PLR0913 - each is an option of the server, given by name
        self,
        generation: Generation = "3.41",
        *,
        role: Role | Sequence[Role] | None = None,
        forwarded_port: int = 45720,
        public_ip: str = "203.0.113.7",
        clock: Callable[[], float] = time.monotonic,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(host, port)
        self.generation = generation
        self._routes = _ROUTES | ({f"GET {PORT_ROUTE}"} if generation != "3.40" else set())
        self._roles = self._checked([role] if isinstance(role, Role) else role)
        self._clock = clock
        self._ports = [forwarded_port] if forwarded_port else []
        self._resumed: list[int] = self._ports
        self._status = "running"
        self._public_ip = public_ip
        self._agenda: list[tuple[float, Callable[[], None]]] = []
        self._command_ended = threading.Event()
        self._command_ended.set()

    @property
    def forwarded_ports(self) -> list[int]:
        """The ports that Gluetun reports now; an empty list where it has none."""
        with self._lock:
            self._advance()
            return list(self._ports)

    @forwarded_ports.setter
    def forwarded_ports(self, ports: Sequence[int]) -> None:
        with self._lock:
            self._ports = list(ports)

    @property
    def vpn_status(self) -> str:
        """starting, running, stopping, stopped, crashed or completed."""
        with self._lock:
            self._advance()
            return self._status

    @vpn_status.setter
    def vpn_status(self, status: str) -> None:
        with self._lock:
            self._status = status

    @property
    def public_ip(self) -> str:
        """The VPN's public address; empty where Gluetun does not know it."""
        with self._lock:
            return self._public_ip

    @public_ip.setter
    def public_ip(self, address: str) -> None:
        with self._lock:
            self._public_ip = address

    def start(self, *, tunnel_seconds: float = 0.0) -> None:
        """Serve; after a restart the tunnel and its port come only after that time."""
        with self._lock:
            if tunnel_seconds > 0:
                ports = self._ports
                self._set(ports=[], status="starting")
                self._later(tunnel_seconds, lambda: self._set(ports=ports, status="running"))
        super().start()

    def change_port(self, port: int) -> None:
        """The provider gives another port; the tunnel stays up."""
        with self._lock:
            self._agenda.clear()
            self._ports = []
            self._later(PORT_CHANGE_SECONDS, lambda: self._set(ports=[port]))

    def reconnect(
        self, port: int | None = None, *, gap_seconds: float = 2.0, public_ip: str | None = None
    ) -> None:
        """The tunnel stops and comes back after the gap, by default with the same port."""
        with self._lock:
            self._advance()
            ports = [port] if port is not None else self._ports
            self._stop_tunnel()
            self._start_tunnel(gap_seconds, ports, public_ip or self._public_ip)

    @contextlib.contextmanager
    def running_up_command(self) -> Iterator[None]:
        """Hold the lock of the port list, as Gluetun does while it runs the user's command."""
        self._command_ended.clear()
        try:
            yield
        finally:
            self._command_ended.set()

    def answer(self, request: Request) -> Answer:
        """Check the role as Gluetun does, then the route."""
        route = f"{request.method} {request.path}"
        if self.generation == "main" and route not in self._routes:
            return self._unknown(request)
        roles = [role for role in self._roles if role.routes is None or route in role.routes]
        if route not in self._routes or not any(role.admits(request) for role in roles):
            return _unauthorized(request, basic=any(role.auth == "basic" for role in roles))
        return self._routed(request)

    def head(self, answer: Answer) -> bytes:
        """Headers as Go's net/http writes them."""
        reason = HTTPStatus(answer.status).phrase
        headers = {name.title(): value for name, value in answer.headers.items()}
        headers["Date"] = formatdate(usegmt=True)
        headers["Content-Length"] = str(len(answer.body))
        if answer.body:
            headers.setdefault("Content-Type", "text/plain; charset=utf-8")
        lines = [f"{name}: {headers[name]}" for name in sorted(headers)]
        return "\r\n".join([f"HTTP/1.1 {answer.status} {reason}", *lines, "", ""]).encode()

    def malformed(self, method: str | None) -> Answer:
        """Go's answer to what is no HTTP."""
        return Answer(400, b"400 Bad Request", {"connection": "close"}, close=True)

    def stop(self) -> None:
        """Stop serving; a running command no longer holds anything up."""
        waiting = not self._command_ended.is_set()
        self._command_ended.set()
        super().stop()
        if waiting:
            self._command_ended.clear()

    def _checked(self, roles: Sequence[Role] | None) -> Sequence[Role]:
        if roles is None:
            return [Role(routes=sorted(_OPEN_IN_3_40))] if self.generation == "3.40" else []
        for number, role in enumerate(roles, 1):
            for route in role.routes or ():
                if route not in self._routes:
                    # Gluetun does not start with such a role
                    raise ValueError(
                        f"validating auth settings: role {number} of {len(roles)}: "
                        f"route not supported by the control server: {route}"
                    )
        return roles

    def _routed(self, request: Request) -> Answer:
        if "?" in request.target and request.path != PORT_ROUTE:
            rest = request.target.removeprefix("/v1")
            rest = "/" + rest.split("/", 2)[2]
            return _error(400, f"route {rest} not supported")
        handlers: dict[str, Callable[[], Answer]] = {
            "/v1/vpn/status": lambda: self._vpn_status(request),
            # the tunnel is a WireGuard one
            "/v1/openvpn/status": lambda: _encoded({"status": "stopped"}),
            PORT_ROUTE: self._port_list,
            OLD_PORT_ROUTE: self._port_list if self.generation == "3.40" else _moved,
            "/v1/publicip/ip": self._public_address,
            "/v1/version": self._version,
            "/v1/dns/status": lambda: _encoded({"status": "running"}),
            "/v1/updater/status": lambda: _encoded({"status": "completed"}),
        }
        handler = handlers.get(request.path)
        return handler() if handler is not None else _encoded({})

    def _version(self) -> Answer:
        version = _VERSIONS[self.generation]
        return _encoded({"version": version, "commit": "0000000", "created": "2026-05-01"})

    def _unknown(self, request: Request) -> Answer:
        methods = sorted(
            route.split(" ")[0] for route in self._routes if route.endswith(f" {request.path}")
        )
        if not methods:
            return _error(404, "404 page not found", request)
        allowed = _error(405, "Method Not Allowed", request)
        allowed.headers["allow"] = ", ".join(methods)
        return allowed

    def _port_list(self) -> Answer:
        self._command_ended.wait()
        ports = self.forwarded_ports
        first = ports[0] if ports else 0
        if self.generation == "main":
            return _encoded({"port": first, "ports": ports or None})
        if self.generation == "3.41" and len(ports) > 1:
            return _encoded({"ports": ports})
        return _encoded({"port": first})

    def _public_address(self) -> Answer:
        with self._lock:
            known = self._public_ip if self.vpn_status == "running" else ""
        if not known:
            return _encoded({"public_ip": ""})
        place = {"region": "North Holland", "country": "Netherlands", "city": "Amsterdam"}
        more = {
            "location": "52.3740,4.8897",
            "organization": "Example VPN",
            "postal_code": "1012",
            "timezone": "Europe/Amsterdam",
        }
        return _encoded({"public_ip": known, **place, **more})

    def _vpn_status(self, request: Request) -> Answer:
        if request.method == "GET":
            return _encoded({"status": self.vpn_status})
        try:
            wanted = json.loads(request.body)["status"]
        except (ValueError, TypeError, KeyError):
            return _error(400, "EOF")
        if wanted not in ("running", "stopped"):
            hint = "possible values are: stopped, running"
            return _error(400, f"invalid status: {wanted}: {hint}")
        return _encoded({"outcome": self._ordered(wanted)})

    def _ordered(self, wanted: str) -> str:
        with self._lock:
            up = self.vpn_status == "running"
            if up == (wanted == "running"):
                return f"already {self._status}"
            if up:
                self._resumed = self._ports
                self._stop_tunnel()
            else:
                self._start_tunnel(0.0, self._resumed, self._public_ip)
            return wanted

    def _stop_tunnel(self) -> None:
        self._agenda.clear()
        self._ports = []
        self._later(STOPPING_SECONDS, lambda: self._set(status="stopping"))
        self._later(STOPPED_SECONDS, lambda: self._set(status="stopped"))

    def _start_tunnel(self, delay: float, ports: list[int], public_ip: str) -> None:
        begin = max(delay, STOPPED_SECONDS) if self._agenda else delay
        self._later(begin, lambda: self._set(status="starting"))
        running = begin + RUNNING_SECONDS
        self._later(running, lambda: self._set(status="running", public_ip=public_ip))
        self._later(running + PORT_SECONDS, lambda: self._set(ports=ports))

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        self._agenda.append((self._clock() + seconds, action))

    def _advance(self) -> None:
        now = self._clock()
        while self._agenda and self._agenda[0][0] <= now:
            self._agenda.pop(0)[1]()

    def _set(
        self,
        *,
        ports: list[int] | None = None,
        status: str | None = None,
        public_ip: str | None = None,
    ) -> None:
        self._ports = self._ports if ports is None else ports
        self._status = status or self._status
        self._public_ip = public_ip or self._public_ip


def _encoded(value: object) -> Answer:
    return Answer(200, json.dumps(value, separators=(",", ":")).encode() + b"\n")


def _error(status: int, message: str, request: Request | None = None) -> Answer:
    without_body = request is not None and request.method == "HEAD"
    headers = {"x-content-type-options": "nosniff"}
    return Answer(status, f"{message}\n".encode(), headers, without_body=without_body)


def _unauthorized(request: Request, *, basic: bool) -> Answer:
    answer = _error(401, "Unauthorized", request)
    if basic:
        answer.headers["www-authenticate"] = 'Basic realm="restricted", charset="UTF-8"'
    return answer


def _moved() -> Answer:
    page = f'<a href="{PORT_ROUTE}">Moved Permanently</a>.\n\n'
    headers = {"location": PORT_ROUTE, "content-type": "text/html; charset=utf-8"}
    return Answer(301, page.encode(), headers)
