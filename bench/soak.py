"""What goes wrong only in the long run: a day with faults, flapping servers, kill -9. `make soak`.

In the day nothing may grow. The daemon and all its readers, worker threads and web server too, run
on simulated servers with a clock that is turned by hand. Each hour holds the same number of each
event, so the first hour and the last should cost the same.
"""

from __future__ import annotations

import argparse
import gc
import http.client
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import ParamSpec, TypeVar

from bench import flapping, kills
from bench.flapping import FAULTS, GLUETUN_PATHS, QBITTORRENT_PATHS
from exporter.simulator.world import Fault
from exporter.web.server import WebServer
from tests.rig import Rig

P = ParamSpec("P")
T = TypeVar("T")

HOUR = 3600.0
MINUTE = 60.0
LIMITS = {
    "resident memory, MiB": 1.10,
    "Python objects": 1.05,
    "threads": 1.0,
    "file descriptors": 1.0,
    "log lines": 1.15,
    "log bytes": 1.15,
    "status.json, bytes": 1.10,
    "metrics, bytes": 1.05,
    "status page, bytes": 1.25,
}
"""How much more the last hour may show than the first full one."""


@dataclass(frozen=True)
class Sample:
    """What one hour left behind, or was while it passed."""

    resident: float
    objects: float
    threads: float
    descriptors: float
    lines: float
    log_bytes: float
    status_bytes: float
    metrics_bytes: float
    page_bytes: float


class Soak:
    """A rig, those who look at it over the network, and the bad luck of each hour."""

    def __init__(self, rig: Rig, address: str) -> None:
        self.rig = rig
        self._random = random.Random(1)
        self._address = address
        self._kept = http.client.HTTPConnection(address)

    def hour(self) -> Sample:
        """Let an hour pass: ten things happen, each mended six minutes later."""
        rig = self.rig
        for happen in self._events():
            happen()
            rig.run_for(MINUTE)
            self._mend()
            for _ in range(5):
                rig.run_for(MINUTE)
                for path in ("/metrics", "/", "/status.json", "/nowhere"):
                    self._look(path)
        return self._sample()

    def _look(self, path: str) -> None:
        """On a connection that stays open, on a new one, and on one that does not wait."""
        new = http.client.HTTPConnection(self._address)
        for connection in (self._kept, new):
            connection.request("GET", path)
            connection.getresponse().read()
        new.close()
        hasty = http.client.HTTPConnection(self._address)
        hasty.request("GET", path)
        hasty.close()

    def _events(self) -> Iterator[Callable[[], object]]:
        rig, choose = self.rig, self._random.choice
        port = self._random.randrange(20_000, 60_000)
        yield lambda: rig.gluetun.change_port(port)
        yield lambda: rig.gluetun.reconnect(gap_seconds=20.0)
        yield lambda: rig.gluetun.fail(choose(GLUETUN_PATHS), choose(FAULTS))
        yield lambda: rig.qbittorrent.fail(choose(QBITTORRENT_PATHS), choose(FAULTS))
        yield rig.qbittorrent.restart
        yield rig.gluetun.stop
        yield lambda: rig.qbittorrent.set_preferences({"listen_port": 6881})
        yield rig.qbittorrent.end_sessions
        yield lambda: rig.gluetun.fail("/v1/portforward", Fault.HANG)
        yield lambda: rig.loop.request_check(pushed=True)

    def _mend(self) -> None:
        for server in (self.rig.gluetun, self.rig.qbittorrent):
            server.heal()
            server.start()

    def _sample(self) -> Sample:
        rig = self.rig
        for server in (rig.gluetun, rig.qbittorrent):
            server.requests.clear()  # what the simulators keep for tests
        rig.qbittorrent.writes.clear()
        rig.qbittorrent.login_attempts.clear()
        rig.recorder.outcomes.clear()
        text = rig.log.getvalue()
        rig.lines()
        gc.collect()
        return Sample(
            resident=_resident_bytes() / 2**20,
            objects=len(gc.get_objects()),
            threads=threading.active_count(),
            descriptors=len(list(Path("/proc/self/fd").iterdir())),
            lines=text.count("\n"),
            log_bytes=len(text.encode()),
            status_bytes=rig.path.stat().st_size,
            metrics_bytes=len(rig.get("/metrics")[1]),
            page_bytes=len(rig.get("/")[1]),
        )


class OneByOne(ThreadPoolExecutor):
    """Runs each call in a thread of its own kind, and waits for it: time is turned by hand."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run it to its end."""
        future = super().submit(fn, *args, **kwargs)
        wait([future])
        return future


def _resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise LookupError("no VmRSS")


def grown(first: Sample, last: Sample) -> list[str]:
    """Print the figures; names what grew beyond its limit."""
    print(f"{'':24}{'first hour':>12}{'last hour':>12}{'ratio':>8}{'limit':>8}")
    found = []
    for (name, limit), before, after in zip(
        LIMITS.items(), astuple(first), astuple(last), strict=True
    ):
        ratio = after / before if before else 1.0
        print(f"{name:24}{before:12,.1f}{after:12,.1f}{ratio:8.2f}{limit:8.2f}")
        if ratio > limit:
            found.append(name)
    return found


def day(hours: int) -> int:
    """Let hours pass; return 1 where something grew."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        environ = {"REQUEST_TIMEOUT": "0.2", "LOG_LEVEL": "INFO"}
        with Rig(Path(folder), environ=environ, executor=OneByOne()) as rig:
            server = WebServer(rig.service.app, "127.0.0.1:0")
            server.start()
            soak = Soak(rig, server.address)
            soak.hour()  # fills the caches
            samples = [soak.hour() for _ in range(hours - 1)]
            server.stop()
            checks = rig.metric("qsticky_syncs_total", tunnel="default")
    spent = time.monotonic() - started
    print(f"{hours} simulated hours, {checks:,.0f} checks, in {spent:.0f} s\n")
    found = grown(samples[0], samples[-1])
    print("\nnothing grew" if not found else f"\ngrew: {', '.join(found)}")
    return 1 if found else 0


def main() -> int:
    """Play all scenes, or as many hours, minutes and kills as are asked for; 0 leaves one out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, default=24, help="of the day with faults")
    parser.add_argument("--minutes", type=int, default=180, help="with flapping servers")
    parser.add_argument("--kills", type=int, default=200, help="of a real daemon")
    parser.add_argument("--seed", type=int, default=1, help="of the flapping")
    given = parser.parse_args()
    assert len(fields(Sample)) == len(LIMITS)
    if given.minutes:
        flapping.run(given.minutes, given.seed)
    if given.kills:
        kills.run(given.kills)
    return day(given.hours) if given.hours else 0


if __name__ == "__main__":
    sys.exit(main())
