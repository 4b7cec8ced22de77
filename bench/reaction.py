"""How soon a socket of a real qBittorrent is bound on a new port: pushed, and found by itself."""

from __future__ import annotations

import http.client
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.figures import Figure, percentile
from bench.processes import ROOT, Workplace
from exporter.simulator.world import SimulatedGluetun
from tests.parts.daemon import listens
from tests.parts.debian import PartMissing
from tests.parts.qbittorrent import RealQbittorrent, free_port

VERSION = "5.3.0"
PUSHES = 60
RECONNECTS = 4
SHORT_INTERVAL = "2"
GAP_SECONDS = 3.0
"""Long enough for a check to fall into it; with the usual interval, the gap may go unseen."""
_PATIENCE_SECONDS = 30.0
_POLL_SECONDS = 0.0005


def measure(place: Workplace) -> list[Figure]:
    """Nothing where no real qBittorrent can be brought here."""
    try:
        qbittorrent = RealQbittorrent(VERSION, place.folder)
    except PartMissing as error:
        print(f"no reaction is measured: {error}", file=sys.stderr)
        return []
    with SimulatedGluetun("3.40", forwarded_port=free_port()) as gluetun, qbittorrent:
        with _daemon(place, gluetun, qbittorrent, "3600") as address:
            _wait_until_bound(gluetun.forwarded_ports[0])
            pushes = [_push(gluetun, address) for _ in range(PUSHES)]
        with _daemon(place, gluetun, qbittorrent, SHORT_INTERVAL):
            reconnects = [_reconnect(gluetun) for _ in range(RECONNECTS)]
    return [
        Figure("push until the socket is bound, median", statistics.median(pushes) * 1e3, "ms", 30),
        Figure("push until the socket is bound, p99", percentile(pushes, 99) * 1e3, "ms", 100),
        Figure(
            "no push, a check saw the VPN gone: median", statistics.median(reconnects) * 1e3, "ms"
        ),
        Figure("no push, a check saw the VPN gone: longest", max(reconnects) * 1e3, "ms", 1500),
    ]


def _push(gluetun: SimulatedGluetun, address: str) -> float:
    """Forward another port and say so; seconds from there until a socket listens on it."""
    port = free_port()
    gluetun.forwarded_ports = [port]
    started = time.monotonic()
    connection = http.client.HTTPConnection(address, timeout=5)
    connection.request("POST", "/-/sync")
    connection.getresponse().read()
    connection.close()
    return _wait_until_bound(port) - started


def _reconnect(gluetun: SimulatedGluetun) -> float:
    """Let the VPN reconnect; seconds from the new port until a socket listens on it."""
    port = free_port()
    gluetun.reconnect(port, gap_seconds=GAP_SECONDS)
    while gluetun.forwarded_ports != [port]:
        time.sleep(_POLL_SECONDS)
    started = time.monotonic()
    return _wait_until_bound(port) - started


@contextmanager
def _daemon(
    place: Workplace, gluetun: SimulatedGluetun, qbittorrent: RealQbittorrent, interval: str
) -> Iterator[str]:
    """A running qSticky; gives the address of its web server."""
    environ = {
        "GLUETUN_HOST": gluetun.host,
        "GLUETUN_PORT": str(gluetun.port),
        "GLUETUN_AUTH_TYPE": "none",
        "QBITTORRENT_HOST": qbittorrent.host,
        "QBITTORRENT_PORT": str(qbittorrent.port),
        "QBITTORRENT_USER": qbittorrent.username,
        "QBITTORRENT_PASS": qbittorrent.password,
        "CHECK_INTERVAL": interval,
    }
    output = place.folder / "reaction.log"
    with output.open("w") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "exporter", "run"],
            env={**place.environ, **environ},
            cwd=ROOT,
            stdout=log,
        )
    try:
        yield _address(output)
    finally:
        daemon.terminate()
        daemon.wait()


def _address(output: Path) -> str:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if found := re.search(r"metrics at http://(\S+)/", output.read_text()):
            return found[1]
        time.sleep(0.05)
    raise TimeoutError("qSticky serves no metrics")


def _wait_until_bound(port: int) -> float:
    """The monotonic time at which a socket listens on the port."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not listens(port):
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing listens on port {port}")
        time.sleep(_POLL_SECONDS)
    return time.monotonic()
