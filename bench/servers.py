"""A simulated Gluetun and qBittorrent in a process of their own, so that their CPU is not ours.

Prints their addresses as one JSON line; then answers each line on standard input with one:

    seen    the requests since the last such line, as (server, method, target, headers)
    peer    lets a peer connect, so that qBittorrent counts as connected
    drift   gives qBittorrent another port
    set_at  waits until the port is set after that, and tells when, by the monotonic clock
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable

from exporter.simulator.world import Role, SimulatedGluetun, SimulatedQbittorrent, SimulatedServer

GLUETUN_KEY = "simulated-key"
FORWARDED_PORT = 45_720
EVERYWHERE = "0.0.0.0"
"""Each tunnel has an address of its own in 127.0.0.0/8 for what is one qBittorrent."""
PATIENCE_SECONDS = 60.0

Seen = list[tuple[str, str, str, dict[str, str]]]


class _Qbittorrent(SimulatedQbittorrent):
    set_at = 0.0

    def __init__(self) -> None:
        super().__init__("5.1.0", host=EVERYWHERE)
        self.was_set = threading.Event()

    def set_preferences(self, wanted: dict[str, object]) -> None:
        """Apply preferences, and note when."""
        super().set_preferences(wanted)
        self.set_at = time.monotonic()
        self.was_set.set()


def main() -> None:
    """Serve until standard input ends."""
    role = Role(auth="apikey", apikey=GLUETUN_KEY)
    gluetun = SimulatedGluetun("3.41", role=role, forwarded_port=FORWARDED_PORT)
    qbittorrent = _Qbittorrent()
    commands: dict[str, Callable[[], object]] = {
        "seen": lambda: _taken("gluetun", gluetun) + _taken("qbittorrent", qbittorrent),
        "peer": qbittorrent.incoming_peer,
        "drift": lambda: _drift(qbittorrent),
        "set_at": lambda: qbittorrent.was_set.wait(PATIENCE_SECONDS) and qbittorrent.set_at,
    }
    with gluetun, qbittorrent:
        _say(
            {
                "GLUETUN_HOST": gluetun.host,
                "GLUETUN_PORT": str(gluetun.port),
                "GLUETUN_APIKEY": GLUETUN_KEY,
                "QBITTORRENT_HOST": "127.0.0.1",
                "QBITTORRENT_PORT": str(qbittorrent.port),
                "QBITTORRENT_PASS": qbittorrent.password,
            }
        )
        for line in sys.stdin:
            _say(commands[line.strip()]())


def _taken(name: str, server: SimulatedServer) -> Seen:
    taken = [(name, *request) for request in server.requests]
    server.requests.clear()
    return taken


def _drift(qbittorrent: _Qbittorrent) -> bool:
    qbittorrent.listening_port = FORWARDED_PORT + 1
    qbittorrent.was_set.clear()
    return True


def _say(document: object) -> None:
    print(json.dumps(document), flush=True)


if __name__ == "__main__":
    main()
