"""Gluetun's control server: the forwarded port, the VPN status, the public address.

Facts: Gluetun v3.40.0 and v3.41.1 as measured, newer ones from its source (internal/server).
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping

from exporter.config.load import GluetunConfig
from exporter.errors import HttpError, InvalidResponse, ServerError, Unauthorized
from exporter.model import HIGHEST_PORT, LOWEST_PORT, NO_PORT, Operation, VpnStatus
from exporter.servers.http import Response, Transport
from exporter.servers.operations import Operations

PORT_ROUTE = "/v1/portforward"
"""Since v3.41.0."""
OLD_PORT_ROUTE = "/v1/openvpn/portforwarded"
"""Up to v3.40.x; from v3.41.0 on it redirects to the new one."""
STATUS_ROUTE = "/v1/vpn/status"
OPENVPN_STATUS_ROUTE = "/v1/openvpn/status"
"""Says `stopped` whenever the VPN is WireGuard."""
PUBLIC_IP_ROUTE = "/v1/publicip/ip"

VERSION_ROUTE = "/v1/version"
_LONGEST_ADDRESS = 64
_ANY_ROUTE = (STATUS_ROUTE, OPENVPN_STATUS_ROUTE, PUBLIC_IP_ROUTE, VERSION_ROUTE)

_OLD_VERSION = re.compile(r"v?([0-2]\.|3\.([0-9]|[123][0-9]|40)\b)")
"""Up to v3.40; images built from the main branch say `latest`."""

_REFUSED = (401, 404, 405)
"""401 means wrong credentials, no role for the route, or (up to v3.41) no such route."""


class Gluetun:
    """Client of one control server; knows which routes it may use."""

    def __init__(self, config: GluetunConfig, timeout_seconds: float) -> None:
        self._config = config
        self._missing_routes = ""
        self._port_route = ""
        self._status_routes: tuple[str, ...] = (STATUS_ROUTE, OPENVPN_STATUS_ROUTE)
        self._public_ip_allowed = True
        self._transport = Transport("Gluetun", config.server, timeout_seconds)

    def forwarded_port(self, did: Operations) -> int:
        """Ask for the forwarded port; 0 = none.

        Raises Unreachable, Unauthorized (with the role that is missing), HttpError,
        InvalidResponse (also for a port outside 1024 to 65535).
        """
        with did.measured(Operation.GLUETUN_PORT):
            try:
                return self._forwarded_port()
            except ServerError:
                self.forget_routes()
                raise

    def vpn_status(self, did: Operations, *, forwarded_port: int) -> VpnStatus:
        """Ask for the VPN status; `unknown` where our role lets us ask neither route."""
        if not self._status_routes:
            return VpnStatus.UNKNOWN
        try:
            with did.measured(Operation.GLUETUN_STATUS):
                return self._vpn_status(forwarded_port)
        except Unauthorized:
            self._status_routes = ()
            return VpnStatus.UNKNOWN

    def public_ip(self, did: Operations) -> str | None:
        """Ask for the VPN's public address; empty where Gluetun does not know it.

        None where our role does not let us ask.
        """
        if not self._public_ip_allowed:
            return None
        try:
            with did.measured(Operation.GLUETUN_PUBLIC_IP):
                return self._public_ip()
        except Unauthorized:
            self._public_ip_allowed = False
            return None

    def routes_to_add(self) -> str:
        """Return what the role lacks after a refusal: exact where Gluetun shows its version."""
        answer = self._get(VERSION_ROUTE)
        if answer.status != 200:
            return self._missing_routes
        version = str(answer.json_object().get("version", ""))
        route = OLD_PORT_ROUTE if _OLD_VERSION.match(version) else PORT_ROUTE
        return f'add "GET {route}" to the routes of qSticky\'s role'

    def accepts_credentials(self) -> bool:
        """Whether any route at all lets us in; each answers 401 to wrong credentials."""
        return any(self._get(route).status == 200 for route in _ANY_ROUTE)

    @property
    def hides_status(self) -> bool:
        """Whether our role lacks the route of the VPN status."""
        return STATUS_ROUTE not in self._status_routes

    def order_vpn(self, did: Operations, wanted: VpnStatus) -> None:
        """Have the VPN `running` or `stopped`; raises Unauthorized where our role may not."""
        with did.measured(Operation.GLUETUN_STATUS):
            response = self._put(STATUS_ROUTE, {"status": wanted.value})
            if response.status in _REFUSED:
                raise self.restart_refused()
            self._expect_ok(response)

    def may_restart_vpn(self) -> bool:
        """Ask whether our role may, by an order that Gluetun does not understand."""
        return self._put(STATUS_ROUTE, {"status": "nothing"}).status == 400

    def forget_routes(self) -> None:
        """Find out again what we may ask: a restarted Gluetun can have other routes and roles."""
        self._port_route = ""
        self._status_routes = (STATUS_ROUTE, OPENVPN_STATUS_ROUTE)
        self._public_ip_allowed = True

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def _forwarded_port(self) -> int:
        ports = _ports(self._port_answer())
        if not ports:
            return NO_PORT
        if self._config.port_index >= len(ports):
            raise InvalidResponse(
                f"{self._transport.where} forwards {len(ports)} port(s), so there is none with "
                f"index {self._config.port_index}",
                "lower GLUETUN_PORT_INDEX (port_index in YAML); the first port has index 0",
            )
        return ports[self._config.port_index]

    def _vpn_status(self, forwarded_port: int) -> VpnStatus:
        for route in self._status_routes:
            response = self._get(route)
            if response.status in _REFUSED:
                continue
            self._status_routes = (route,)
            status = _status(self._expect_ok(response))
            if route == OPENVPN_STATUS_ROUTE and status is VpnStatus.STOPPED and forwarded_port:
                return VpnStatus.UNKNOWN
            return status
        raise Unauthorized(f"{self._transport.where} denied access to the VPN status")

    def _public_ip(self) -> str:
        response = self._get(PUBLIC_IP_ROUTE)
        if response.status in _REFUSED:
            raise Unauthorized(f"{self._transport.where} denied access to the public address")
        address = self._expect_ok(response).json_object().get("public_ip", "")
        return address[:_LONGEST_ADDRESS] if isinstance(address, str) else ""

    def _port_answer(self) -> Response:
        if self._port_route == OLD_PORT_ROUTE:
            response = self._get(OLD_PORT_ROUTE)
            if response.status == 200:
                return response
        new = self._get(PORT_ROUTE)
        if new.status not in _REFUSED:
            self._port_route = PORT_ROUTE
            return self._expect_ok(new)
        old = self._get(OLD_PORT_ROUTE)
        if old.status not in (*_REFUSED, 301):
            self._port_route = OLD_PORT_ROUTE
            return self._expect_ok(old)
        raise self._refusal(new.status, old.status)

    def _refusal(self, new_status: int, old_status: int) -> ServerError:
        """Return the error where neither route answers: Gluetun says 401 on one, or on both."""
        if 401 not in (new_status, old_status):
            return HttpError(
                f"{self._transport.where} answered with status {new_status}; is that a Gluetun?",
                new_status,
                "check that GLUETUN_HOST and GLUETUN_PORT lead to Gluetun's control server, on "
                "port 8000 unless it was told otherwise, without a proxy in between",
            )
        if old_status != 401:
            return self._unauthorized(f'add "GET {PORT_ROUTE}" to the routes of qSticky\'s role')
        return self._unauthorized(
            f'give the role the routes "GET {PORT_ROUTE}" (Gluetun 3.41 and later) or '
            f'"GET {OLD_PORT_ROUTE}" (up to 3.40, which does not start with the other one)'
        )

    def restart_refused(self) -> Unauthorized:
        """Return the error for a role that lacks what a restart needs."""
        return Unauthorized(
            f"{self._transport.where} denied a restart of the VPN",
            f'add "GET {STATUS_ROUTE}" and "PUT {STATUS_ROUTE}" to the routes of qSticky\'s role '
            "in /gluetun/auth/config.toml, then restart Gluetun; or unset RESTART_VPN_AFTER",
        )

    def _unauthorized(self, role_fix: str) -> Unauthorized:
        self._missing_routes = role_fix
        return Unauthorized(
            f"{self._transport.where} denied access to the forwarded port",
            f"{self._credentials_fix()} /gluetun/auth/config.toml, and {role_fix}; "
            "then restart Gluetun",
        )

    def _credentials_fix(self) -> str:
        match self._config.auth_in_use:
            case "apikey":
                secret, name = self._config.apikey.current(), "GLUETUN_APIKEY"
                fix = f"check {name} against the apikey in"
            case "basic":
                secret, name = self._config.password.current(), "GLUETUN_PASSWORD"
                fix = f"check GLUETUN_USERNAME and {name} against the role in"
            case _:
                return "set GLUETUN_AUTH_TYPE and its credentials as in"
        return secret.advice(fix, name)

    def _get(self, route: str) -> Response:
        self._authenticate()
        return self._transport.get(route)

    def _put(self, route: str, document: Mapping[str, str]) -> Response:
        self._authenticate()
        return self._transport.put(route, document)

    def _authenticate(self) -> None:
        if self._config.auth_in_use == "apikey":
            key = self._config.apikey.current().value
            self._transport.set_header("X-API-Key", key.encode() or None)
        elif self._config.auth_in_use == "basic":
            pair = f"{self._config.username}:{self._config.password.current().value}"
            self._transport.set_header(
                "Authorization", f"Basic {b64encode(pair.encode()).decode()}"
            )

    def _expect_ok(self, response: Response) -> Response:
        if response.status != 200:
            raise self._transport.unexpected_status(response)
        return response


def _ports(response: Response) -> tuple[int, ...]:
    """Read `{"port": N}` or `{"ports": [N, …]}`; without a port it is 0, null or an empty list."""
    document, where = response.json_object(), response.where
    if not ("port" in document or "ports" in document):
        raise InvalidResponse(f"{where} answered without a port")
    listed = document.get("ports")
    if listed is not None and not isinstance(listed, list):
        raise InvalidResponse(f"{where} answered with ports that are not a list")
    ports = listed or [document.get("port", NO_PORT)]
    for port in ports:
        if type(port) is not int:
            raise InvalidResponse(f"{where} answered with a port that is not a number")
        if port != NO_PORT and not LOWEST_PORT <= port <= HIGHEST_PORT:
            raise InvalidResponse(
                f"{where} answered with the port {port}; only {LOWEST_PORT} to {HIGHEST_PORT} "
                f"can be a forwarded port"
            )
    return () if ports == [NO_PORT] else tuple(ports)


def _status(response: Response) -> VpnStatus:
    """Read `{"status": "running"}`; a word that we don't know is `unknown`."""
    word = response.json_object().get("status")
    if not isinstance(word, str):
        raise InvalidResponse(f"{response.where} answered without a VPN status")
    return VpnStatus(word) if word in tuple(VpnStatus) else VpnStatus.UNKNOWN
