"""Who may ask a simulated Gluetun what: the roles of its auth/config.toml."""

import base64
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from exporter.simulator.http import Request

Generation = Literal["3.40", "3.41", "main"]

OLD_PORT_ROUTE = "/v1/openvpn/portforwarded"
PORT_ROUTE = "/v1/portforward"

_TO_GET_AND_PUT = ("vpn/status", "vpn/settings", "openvpn/status", "dns/status", "updater/status")
_ROUTES = frozenset(
    {
        *(f"{method} /v1/{route}" for method in ("GET", "PUT") for route in _TO_GET_AND_PUT),
        "GET /v1/openvpn/settings",
        "GET /v1/openvpn/portforwarded",
        "GET /v1/publicip/ip",
        "GET /v1/version",
    }
)
# without a file of roles, v3.40 leaves these open to all
_OPEN_IN_3_40 = _ROUTES - {route for route in _ROUTES if route.endswith("/settings")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """One role of Gluetun's auth/config.toml; no routes means all of them."""

    auth: Literal["apikey", "basic", "none"] = "none"
    apikey: str = ""
    username: str = ""
    password: str = ""
    routes: Sequence[str] | None = None

    def admits(self, request: Request) -> bool:
        """Tell whether the request carries this role's credentials."""
        if self.auth == "none":
            return True
        if self.auth == "apikey":
            given = request.headers.get("x-api-key", "")
            return hmac.compare_digest(given.encode(), self.apikey.encode())
        pair = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return request.headers.get("authorization", "") == f"Basic {pair}"


def routes_of(generation: Generation) -> frozenset[str]:
    """Return the routes that the generation knows, as roles name them."""
    return _ROUTES | ({f"GET {PORT_ROUTE}"} if generation != "3.40" else set())


def roles_of(generation: Generation, roles: Sequence[Role] | None) -> Sequence[Role]:
    """Return the roles in force; ValueError for one with which Gluetun does not start."""
    if roles is None:
        return [Role(routes=sorted(_OPEN_IN_3_40))] if generation == "3.40" else []
    known = routes_of(generation)
    for number, role in enumerate(roles, 1):
        for route in role.routes or ():
            if route not in known:
                raise ValueError(
                    f"validating auth settings: role {number} of {len(roles)}: "
                    f"route not supported by the control server: {route}"
                )
    return roles
