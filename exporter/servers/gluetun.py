"""Gluetun's control server: the forwarded port, the VPN status, the public address.

Facts: Gluetun v3.40.0 and v3.41.1 as measured, newer ones from its source (internal/server).
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from exporter.config.load import GluetunConfig
from exporter.config.secret import Secret
from exporter.errors import HttpError, InvalidResponse, ServerError, Unauthorized
from exporter.model import HIGHEST_PORT, LOWEST_PORT, NO_PORT, VpnStatus
from exporter.servers.http import Response, Transport

PORT_ROUTE = "/v1/portforward"
"""Since v3.41.0."""
OLD_PORT_ROUTE = "/v1/openvpn/portforwarded"
"""Up to v3.40.x; from v3.41.0 on it redirects to the new one."""
STATUS_ROUTE = "/v1/vpn/status"
OPENVPN_STATUS_ROUTE = "/v1/openvpn/status"
"""Says `stopped` whenever the VPN is WireGuard."""
PUBLIC_IP_ROUTE = "/v1/publicip/ip"

VERSION_ROUTE = "/v1/version"
_ANY_ROUTE = (STATUS_ROUTE, OPENVPN_STATUS_ROUTE, PUBLIC_IP_ROUTE, VERSION_ROUTE)

_OLD_VERSION = re.compile(r"v?([0-2]\.|3\.([0-9]|[123][0-9]|40)\b)")
"""Up to v3.40; images built from the main branch say `latest`."""

_REFUSED = (401, 404, 405)
"""401 means wrong credentials, no role for the route, or (up to v3.41) no such route."""


class Gluetun:
    """Client of one control server; remembers which routes it may use."""

    def __init__(self, config: GluetunConfig, timeout_seconds: float) -> None:
        self._config = config
        self._missing_routes = ""
        self._port_route = ""
        self._status_routes: tuple[str, ...] = (STATUS_ROUTE, OPENVPN_STATUS_ROUTE)
        self._public_ip_allowed = True
        self._transport = Transport("Gluetun", config.server, timeout_seconds)

    @property
    def auth(self) -> str:
        """How we authenticate: none, basic or apikey."""
        return "none" if self._config.missing_credential else self._config.auth

    def forwarded_port(self) -> int:
        """Ask for the forwarded port; 0 = none.

        Raises Unreachable, Unauthorized (with the role that is missing), HttpError,
        InvalidResponse (also for a port outside 1024 to 65535).
        """
        where = self._transport.where
        try:
            ports = _ports(self._port_answer().json(where), where)
        except ServerError:
            self.forget_routes()
            raise
        if not ports:
            return NO_PORT
        if self._config.port_index >= len(ports):
            raise InvalidResponse(
                f"{self._transport.where} forwards {len(ports)} port(s), so there is none with "
                f"index {self._config.port_index}",
                "lower GLUETUN_PORT_INDEX (port_index in YAML); the first port has index 0",
            )
        return ports[self._config.port_index]

    def vpn_status(self, *, forwarded_port: int) -> VpnStatus:
        """Ask for the VPN status; `unknown` where our role lets us ask neither route."""
        where = self._transport.where
        for route in self._status_routes:
            response = self._get(route)
            if response.status in _REFUSED:
                continue
            self._status_routes = (route,)
            status = _status(self._expect_ok(response).json(where), where)
            if route == OPENVPN_STATUS_ROUTE and status is VpnStatus.STOPPED and forwarded_port:
                return VpnStatus.UNKNOWN
            return status
        self._status_routes = ()
        return VpnStatus.UNKNOWN

    def routes_to_add(self) -> str:
        """What the role has to get after a refusal: exact where Gluetun tells its version."""
        answer = self._get(VERSION_ROUTE)
        if answer.status != 200:
            return self._missing_routes
        document = answer.json(self._transport.where)
        version = str(document.get("version", "")) if isinstance(document, dict) else ""
        route = OLD_PORT_ROUTE if _OLD_VERSION.match(version) else PORT_ROUTE
        return f'add "GET {route}" to the routes of qSticky\'s role'

    def accepts_credentials(self) -> bool:
        """Whether any route at all lets us in; each answers 401 to wrong credentials."""
        return any(self._get(route).status == 200 for route in _ANY_ROUTE)

    @property
    def hides_status(self) -> bool:
        """Whether our role lacks the route of the VPN status."""
        return STATUS_ROUTE not in self._status_routes

    def stop_vpn(self) -> None:
        """Tell the VPN to stop; Unauthorized where our role may not."""
        self._order(VpnStatus.STOPPED)

    def start_vpn(self) -> None:
        """Tell the VPN to start; Unauthorized where our role may not."""
        self._order(VpnStatus.RUNNING)

    def may_restart_vpn(self) -> bool:
        """Ask whether our role may, by an order that Gluetun does not understand."""
        return self._put(STATUS_ROUTE, {"status": "nothing"}).status == 400

    def public_ip(self) -> str:
        """Ask for the VPN's public address; empty where it is not known or not ours to ask."""
        if not self._public_ip_allowed:
            return ""
        response = self._get(PUBLIC_IP_ROUTE)
        if response.status in _REFUSED:
            self._public_ip_allowed = False
            return ""
        document = self._expect_ok(response).json(self._transport.where)
        address = document.get("public_ip", "") if isinstance(document, dict) else ""
        return address if isinstance(address, str) else ""

    def forget_routes(self) -> None:
        """Find out anew what we may ask: a restarted Gluetun can have other routes and roles."""
        self._port_route = ""
        self._status_routes = (STATUS_ROUTE, OPENVPN_STATUS_ROUTE)
        self._public_ip_allowed = True

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

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
        """What to tell where neither route answers: each Gluetun says 401 on one, or on both."""
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

    def _order(self, wanted: VpnStatus) -> None:
        response = self._put(STATUS_ROUTE, {"status": wanted.value})
        if response.status in _REFUSED:
            raise self.restart_refused()
        self._expect_ok(response)

    def restart_refused(self) -> Unauthorized:
        """What to tell where the role lacks what a restart needs."""
        return Unauthorized(
            f"{self._transport.where} does not let us restart the VPN",
            f'add "GET {STATUS_ROUTE}" and "PUT {STATUS_ROUTE}" to the routes of its role for us '
            "in /gluetun/auth/config.toml, then restart Gluetun; or unset RESTART_VPN_AFTER",
        )

    def _unauthorized(self, role_fix: str) -> Unauthorized:
        self._missing_routes = role_fix
        credentials = {
            "apikey": "check GLUETUN_APIKEY against the apikey in",
            "basic": "check GLUETUN_USERNAME and GLUETUN_PASSWORD against the role in",
        }.get(self.auth, "set GLUETUN_AUTH_TYPE and its credentials as in")
        secrets = {"apikey": self._config.apikey, "basic": self._config.password}
        fix_prefix = secrets.get(self.auth, Secret()).current().fix_prefix
        return Unauthorized(
            f"{self._transport.where} refuses to tell the forwarded port",
            f"{fix_prefix}{credentials} /gluetun/auth/config.toml, and {role_fix}; "
            "then restart Gluetun",
        )

    def _get(self, route: str) -> Response:
        self._authenticate()
        return self._transport.get(route)

    def _put(self, route: str, document: Mapping[str, str]) -> Response:
        self._authenticate()
        return self._transport.put(route, document)

    def _authenticate(self) -> None:
        if self.auth == "apikey":
            self._transport.set_header("X-API-Key", self._config.apikey.current().value.encode())
        elif self.auth == "basic":
            pair = f"{self._config.username}:{self._config.password.current().value}"
            self._transport.set_header(
                "Authorization", f"Basic {b64encode(pair.encode()).decode()}"
            )

    def _expect_ok(self, response: Response) -> Response:
        if response.status != 200:
            raise HttpError(
                f"{self._transport.where} answered with status {response.status}", response.status
            )
        return response


def _ports(document: Any, where: str) -> tuple[int, ...]:
    """Read `{"port": N}` or `{"ports": [N, …]}`; without a port it is 0, null or an empty list."""
    if not isinstance(document, dict) or not ("port" in document or "ports" in document):
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


def _status(document: Any, where: str) -> VpnStatus:
    """Read `{"status": "running"}`; a word that we don't know is `unknown`."""
    word = document.get("status") if isinstance(document, dict) else None
    if not isinstance(word, str):
        raise InvalidResponse(f"{where} answered without a VPN status")
    return VpnStatus(word) if word in tuple(VpnStatus) else VpnStatus.UNKNOWN
