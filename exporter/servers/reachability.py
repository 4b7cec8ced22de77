"""Asks a service out there whether it gets in on a port (`REACHABILITY_URL`)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from exporter.clock import Clock
from exporter.config.load import ReachabilityConfig, Server
from exporter.errors import HttpError, InvalidResponse, ServerError
from exporter.model import Answer, Failure, Operation, Reason
from exporter.servers.http import Response, Transport
from exporter.servers.operations import Operations

TIMEOUT_SECONDS = 30.0
"""It waits itself for a port that does not answer."""
LARGEST_ANSWER_BYTES = 10_000
_WORDS = {"1": True, "true": True, "0": False, "false": False}
_KEYS = ("reachable", "open", "status")
"""By how sure it is that they speak of the port: `status` may be that of the request."""
_REFUSALS = ("error", "blocked")

_FIXES = {
    Reason.RATE_LIMITED: "raise REACHABILITY_INTERVAL, or run such a service yourself",
    Reason.INVALID_RESPONSE: "see docs/reachability.md for the services that work; one that looks "
    "back at whoever asks needs REACHABILITY_PROXY",
}
_FIX = "check REACHABILITY_URL and REACHABILITY_PROXY; until then only qBittorrent's word counts"


def probe(config: ReachabilityConfig, port: int, public_ip: str, clock: Clock) -> Answer:
    """Ask once, and return whatever comes of it; `public_ip` may be empty."""
    asked_at, did = clock.monotonic(), Operations(clock)
    reachable, failure = None, None
    try:
        with did.measured(Operation.REACHABILITY):
            reachable = _answer(config, port, public_ip)
    except ServerError as error:
        fix = _FIXES.get(error.reason, _FIX)
        failure = Failure(Operation.REACHABILITY, error.reason, error.message, fix)
    return Answer(port, asked_at, reachable, did.results[0], failure)


def _answer(config: ReachabilityConfig, port: int, public_ip: str) -> bool:
    address = urlsplit(config.url)
    https = address.scheme == "https"
    server = Server(address.hostname or "", address.port or (443 if https else 80), https, True)
    proxy = config.proxy.current().value
    transport = Transport("The reachability service", server, TIMEOUT_SECONDS, proxy=proxy)
    transport.set_header("Host", address.netloc)  # without a port of ours, as services expect
    target = address._replace(scheme="", netloc="").geturl()
    target = target.replace("{port}", str(port)).replace("{ip}", public_ip)
    try:
        response = transport.get(target, limit=LARGEST_ANSWER_BYTES)
    finally:
        transport.close()
    if response.status == 429:
        error = HttpError(f"{transport.where} limits how often it may be asked", 429)
        error.reason = Reason.RATE_LIMITED
        raise error
    if response.status != 200:
        raise transport.unexpected_status(response)
    return understand(response, public_ip)


def understand(response: Response, public_ip: str) -> bool:
    """Return whether an answer says that the port is open; InvalidResponse where it is not clear.

    That is `1` or `0`, `true` or `false`, or JSON with one of these at its top or one level below.
    """
    word = response.body[:LARGEST_ANSWER_BYTES].strip().lower().decode("ascii", "replace")
    if word in _WORDS:
        return _WORDS[word]
    document, where = response.json_object(), response.where
    if any(document.get(key) for key in _REFUSALS):
        raise InvalidResponse(f"{where} answered with JSON that does not say whether it got in")
    if _is_another(document.get("ip"), public_ip):
        raise InvalidResponse(f"{where} looked at another address than the VPN's")
    answers = [set(_found(document, key)) for key in _KEYS]
    chosen = next(filter(None, answers), set())
    if len(chosen) != 1:
        raise InvalidResponse(f"{where} answered with JSON that does not say whether it got in")
    return chosen.pop()


def _found(document: Mapping[str, Any], key: str) -> Iterator[bool]:
    """Return the booleans of that name: at the top, or else in an object or a list in it."""
    if type(document.get(key)) is bool:
        yield document[key]
        return
    for value in document.values():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict) and type(item.get(key)) is bool:
                yield item[key]


def _is_another(address: object, public_ip: str) -> bool:
    """Whether the service names an address, and it is not the VPN's as far as that is known."""
    if not isinstance(address, str) or not public_ip:
        return False
    try:
        return ipaddress.ip_address(address) != ipaddress.ip_address(public_ip)
    except ValueError:
        return False
