"""What a tunnel in sync costs: CPU beside the bare exchanges, memory beside the bare imports."""

from __future__ import annotations

import json
import statistics
from typing import Any

from bench.figures import TIMES, Figure
from bench.processes import Child, Workplace, resident_bytes

_IMPORT_ALL = """
import importlib, sys
# ours first, since they import others in their own way
for name in sorted(sys.stdin.read().split(), key=lambda name: not name.startswith("exporter")):
    importlib.import_module(name)
for line in open("/proc/self/smaps_rollup"):
    if line.startswith("Rss:"):
        print(int(line.split()[1]) * 1024)
"""


def measure(place: Workplace) -> list[Figure]:
    """One tunnel, its qBittorrent connected, hundreds of cycles."""
    environ = {"CHECK_INTERVAL": "3600"}
    with (
        place.child("servers") as servers,
        place.child("tunnels", {**servers.greeting, **environ}) as tunnel,
    ):
        servers.ask("peer")
        tunnel.ask("cycles 20")
        servers.ask("seen")
        tunnel.ask("cycles 1")
        task = {
            "requests": servers.ask("seen"),
            "ports": {
                "gluetun": int(servers.greeting["GLUETUN_PORT"]),
                "qbittorrent": int(servers.greeting["QBITTORRENT_PORT"]),
            },
            "rounds": 100,
        }
        pairs = [_cpu(place, tunnel, task) for _ in range(7)]
        weight = resident_bytes(tunnel.pid)
        modules = tunnel.greeting["modules"]
    imports = int(place.run("-c", _IMPORT_ALL, given=" ".join(modules)))
    nothing = int(place.run("-c", _IMPORT_ALL))
    ratio = statistics.median(ours / bare for ours, bare in pairs)
    return [
        Figure("CPU of a check / the same requests with http.client", ratio, TIMES, 3),
        Figure("memory of a tunnel beyond its imports", (weight - imports) / 1e6, "MB", 3),
        Figure("memory of the imports beyond a bare Python", (imports - nothing) / 1e6, "MB"),
        Figure("memory in all", weight / 1e6, "MB"),
        Figure("CPU of a check", statistics.median(ours for ours, _ in pairs) * 1000, "ms"),
        Figure("requests in a check", len(task["requests"]), ""),
    ]


def _cpu(place: Workplace, tunnel: Child, task: dict[str, Any]) -> tuple[float, float]:
    """CPU seconds of a cycle, and of its exchanges alone, measured one right after the other."""
    ours = tunnel.ask(f"cycles {task['rounds']}")
    if ours["failed"]:
        raise RuntimeError(f"{ours['failed']} cycles did not end in sync")
    bare = json.loads(place.run("-m", "bench.exchanges", given=json.dumps(task) + "\n"))
    return ours["cpu"], bare["cpu"]
