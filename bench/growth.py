"""How the costs grow with the number of tunnels: memory, CPU, scrapes."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass

from bench.figures import Figure, percentile
from bench.processes import Child, Workplace, resident_bytes

COUNTS = (1, 10, 100, 1000)
FORMATS = {
    "plain": {},
    "gzip": {"Accept-Encoding": "gzip"},
    "OpenMetrics": {"Accept": "application/openmetrics-text;version=1.0.0"},
}
_SCRAPES = {1: 200, 10: 50, 100: 30, 1000: 12}


@dataclass(frozen=True, slots=True)
class Size:
    """What so many tunnels cost; times in seconds."""

    tunnels: int
    resident_bytes: int
    cpu_per_cycle: float
    scrape_bytes: dict[str, int]
    scrape_p50: dict[str, float]
    scrape_p99: dict[str, float]


def measure(place: Workplace) -> tuple[list[Figure], list[Size]]:
    """Run each number of tunnels in a process of its own, all at the same two servers."""
    sizes = [_size(place, count) for count in COUNTS]
    first, last = sizes[0], sizes[-1]
    more = last.tunnels - first.tunnels
    each = (last.resident_bytes - first.resident_bytes) / more
    figures = [
        Figure("memory of each further tunnel, up to 1,000", each / 1024, "KB", 60),
        *_scrape_figures(first, "1 tunnel", 10),
        *_scrape_figures(last, "1,000 tunnels", 500),
    ]
    return figures, sizes


def _scrape_figures(size: Size, what: str, aim: float) -> list[Figure]:
    return [
        Figure(f"scrape of {what}, {form}, {name}", values[form] * 1000, "ms", limit)
        for form in FORMATS
        for name, values, limit in (("p50", size.scrape_p50, None), ("p99", size.scrape_p99, aim))
    ]


def _size(place: Workplace, count: int) -> Size:
    file = place.folder / f"{count}.yml"
    # JSON is YAML; what an entry leaves out comes from the environment
    file.write_text(json.dumps({"tunnels": [_entry(number) for number in range(count)]}))
    environ = {"QSTICKY_CONFIG": str(file), "CHECK_INTERVAL": "3600"}
    with (
        place.child("servers") as servers,
        place.child("tunnels", {**servers.greeting, **environ}) as child,
    ):
        servers.ask("peer")
        cycles = child.ask(f"cycles {max(1, 100 // count)}")
        if cycles["failed"]:
            raise RuntimeError(f"{cycles['failed']} cycles did not end in sync")
        weight = resident_bytes(child.pid)
        scrapes = {name: _scrapes(child, _SCRAPES[count], given) for name, given in FORMATS.items()}
    return Size(
        count,
        weight,
        cycles["cpu"],
        {name: length for name, (length, _) in scrapes.items()},
        {name: percentile(seconds, 50) for name, (_, seconds) in scrapes.items()},
        {name: percentile(seconds, 99) for name, (_, seconds) in scrapes.items()},
    )


def _entry(number: int) -> dict[str, object]:
    """A tunnel with an address of its own, since those who share a qBittorrent share its logins."""
    host = f"127.0.{number // 250}.{number % 250 + 1}"
    return {"name": f"tunnel-{number}", "qbittorrent": {"host": host}}


def _scrapes(child: Child, times: int, headers: dict[str, str]) -> tuple[int, list[float]]:
    """Scrape on one connection, as Prometheus does; the size of the answer, and the times."""
    connection = http.client.HTTPConnection(child.greeting["address"], timeout=60)
    length, taken = 0, []
    for _ in range(times):
        started = time.perf_counter()
        connection.request("GET", "/metrics", headers=headers)
        length = len(connection.getresponse().read())
        taken.append(time.perf_counter() - started)
    connection.close()
    return length, taken
