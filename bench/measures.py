"""What is measured: each function measures all checkouts in the same minute, in turn."""

from __future__ import annotations

import http.client
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise

from bench.trees import QSTICKY, Daemon, Tree
from exporter.simulator.world import SimulatedGluetun
from tests.parts.daemon import listens
from tests.parts.debian import PartMissing
from tests.parts.many_servers import ManyServers, address
from tests.parts.qbittorrent import RealQbittorrent, free_port

TIMES = "\N{MULTIPLICATION SIGN}"
"""The unit of a ratio."""
QBITTORRENT = "5.3.0"
PUSHES = 40
WINDOWS, WINDOW_SECONDS = 13, 5.0
TUNNELS, HANGING = 1000, range(3, 1000, 10)
INTERVAL_SECONDS = 30.0
LATE_SECONDS = 3.2 * INTERVAL_SECONDS


@dataclass(frozen=True, slots=True)
class Figure:
    """One result of each checkout; `aim` is the largest value that pleases, if there is one."""

    name: str
    unit: str
    values: Sequence[float]
    aim: float | None = None


def start(measured: Sequence[Tree]) -> list[Figure]:
    """Cold start until the port is set, and the health check, beside Python alone."""
    with ManyServers() as servers:
        numbers = iter(range(TUNNELS))
        started = in_turn(
            9, *[lambda tree=tree: _until_set(tree, servers, next(numbers)) for tree in measured]
        )
    python = measured[0].seconds
    nothing, json = in_turn(15, lambda: python(["-c", ""]), lambda: python(["-c", "import json"]))
    command = [*QSTICKY, "healthcheck"]
    checked = in_turn(15, *[lambda tree=tree: tree.seconds(command) for tree in measured])
    return [
        Figure("start until the port is set", "ms", scaled(started, 1e3)),
        Figure("`qsticky healthcheck`", "ms", scaled(checked, 1e3)),
        Figure("`qsticky healthcheck` / Python alone", TIMES, scaled(checked, 1 / nothing)),
        Figure("`qsticky healthcheck` / Python with json", TIMES, scaled(checked, 1 / json), 1.3),
    ]


def _until_set(tree: Tree, servers: ManyServers, number: int) -> float:
    """Return the seconds from the start of a daemon until its qBittorrent is given the port."""
    with Daemon(tree, _one(servers, number)) as daemon:
        while not (at := servers.seen()["set_at"].get(address(number))):
            time.sleep(0.02)
        daemon.address  # noqa: B018  # stop it when all is there
    return float(at) - daemon.started_at


def _one(servers: ManyServers, number: int) -> dict[str, str]:
    host, port = address(number), str(servers.port)
    return {
        "GLUETUN_HOST": host,
        "GLUETUN_PORT": port,
        "GLUETUN_AUTH_TYPE": "none",
        "QBITTORRENT_HOST": host,
        "QBITTORRENT_PORT": port,
    }


def steady(measured: Sequence[Tree]) -> list[Figure]:
    """One tunnel in sync, a check each second: memory, processor, requests, scrapes."""
    with ManyServers() as servers, ExitStack() as stack:
        daemons = [
            stack.enter_context(Daemon(tree, _one(servers, i) | {"CHECK_INTERVAL": "1"}))
            for i, tree in enumerate(measured)
        ]
        addresses = [daemon.address for daemon in daemons]
        time.sleep(10)
        windows = list(
            zip(*[_cpu_of_a_check(daemons, servers) for _ in range(WINDOWS)], strict=True)
        )
        each = [statistics.median(window) for window in windows]  # others use the machine as well
        memory = [daemon.resident_bytes() / 1e6 for daemon in daemons]
        bare = _bare_request(servers)
        scrapes = list(zip(*[_scraped(where, 200) for where in addresses], strict=True))
        scraped = [daemon.resident_bytes() / 1e6 for daemon in daemons]
    return [
        Figure("memory of one tunnel", "MB", memory, 31),
        Figure("memory of one tunnel, scraped", "MB", scraped),
        Figure("CPU of a check", "ms", scaled(each, 1e3)),
        Figure("CPU of a check / a bare request", TIMES, scaled(each, 1 / bare)),
        Figure("scrape of 1 tunnel, p50", "ms", scaled(scrapes[0], 1e3)),
        Figure("scrape of 1 tunnel, p99", "ms", scaled(scrapes[1], 1e3), 10),
    ]


def _cpu_of_a_check(daemons: Sequence[Daemon], servers: ManyServers) -> list[float]:
    """Return the CPU seconds of a check of each, over a few of them."""
    checks, cpu = _checks(servers, len(daemons)), [daemon.cpu_seconds() for daemon in daemons]
    time.sleep(WINDOW_SECONDS)
    checked = zip(checks, _checks(servers, len(daemons)), strict=True)
    return [
        (daemon.cpu_seconds() - before) / (b - a)
        for daemon, before, (a, b) in zip(daemons, cpu, checked, strict=True)
    ]


def _checks(servers: ManyServers, count: int) -> list[int]:
    asked = servers.seen()["asked"]
    return [len(asked.get(address(i), ())) for i in range(count)]


def _bare_request(servers: ManyServers) -> float:
    """Return the CPU seconds of one request with http.client on an open connection."""
    connection = http.client.HTTPConnection(address(900), servers.port)
    started = time.process_time()
    for _ in range(500):
        connection.request("GET", "/v1/portforward")
        connection.getresponse().read()
    connection.close()
    return (time.process_time() - started) / 500


def _scraped(where: str, times: int) -> tuple[float, float]:
    """Scrape on one connection, as Prometheus does; return the median and the p99."""
    connection = http.client.HTTPConnection(where, timeout=60)
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
        connection.getresponse().read()
        taken.append(time.perf_counter() - started)
    connection.close()
    return statistics.median(taken), percentile(taken, 99)


def thousand(measured: Sequence[Tree]) -> list[Figure]:
    """A thousand tunnels, a hundred of which hang: how late the others are, memory, scrapes."""
    with ExitStack() as stack:
        running = [_thousand(tree, stack) for tree in measured]
        time.sleep(LATE_SECONDS)
        columns = [_lateness(daemon, servers) for daemon, servers in running]
        memory = [daemon.resident_bytes() for daemon, _ in running]
        scrapes = list(zip(*[_scraped(daemon.address, 12) for daemon, _ in running], strict=True))
    in_sync_after, late, latest, share = zip(*columns, strict=True)
    return [
        Figure("1,000 tunnels, 100 hang: 900 in sync after", "s", in_sync_after),
        Figure("1,000 tunnels, 100 hang: late, p50", "ms", scaled(late, 1e3)),
        Figure("1,000 tunnels, 100 hang: late, p99", "ms", scaled(latest, 1e3), 1000),
        Figure("1,000 tunnels, 100 hang: share of a processor", "%", scaled(share, 100)),
        Figure("1,000 tunnels, 100 hang: memory", "MB", scaled(memory, 1e-6)),
        Figure("scrape of 1,000 tunnels, p50", "ms", scaled(scrapes[0], 1e3)),
        Figure("scrape of 1,000 tunnels, p99", "ms", scaled(scrapes[1], 1e3), 1000),
    ]


def _thousand(tree: Tree, stack: ExitStack) -> tuple[Daemon, ManyServers]:
    """Start a daemon on so many tunnels."""
    servers = stack.enter_context(ManyServers())
    file = tree.folder / "tunnels.yaml"
    file.write_text(servers.entries(range(TUNNELS)))
    servers.hang(HANGING)
    environ = {"QSTICKY_CONFIG": str(file), "CHECK_INTERVAL": f"{INTERVAL_SECONDS:g}"}
    return stack.enter_context(Daemon(tree, environ)), servers


def _lateness(daemon: Daemon, servers: ManyServers) -> tuple[float, float, float, float]:
    """Return when all good tunnels were in sync, how late they were since, and the CPU share.

    Late is what lies between two questions for a port beyond the interval, once the port is set.
    """
    cpu = daemon.cpu_seconds() / (time.monotonic() - daemon.started_at)
    seen = servers.seen()
    good = [address(i) for i in range(TUNNELS) if i not in HANGING]
    calm = {host: [at for at in seen["asked"][host] if at > seen["set_at"][host]] for host in good}
    gaps = [b - a for asked in calm.values() for a, b in pairwise(asked)]
    late = [gap - INTERVAL_SECONDS for gap in gaps if gap > INTERVAL_SECONDS / 2]
    in_sync_after = max(seen["set_at"][host] for host in good) - daemon.started_at
    return in_sync_after, statistics.median(late), percentile(late, 99), cpu


def push(measured: Sequence[Tree]) -> list[Figure]:
    """From a push until a socket of a real qBittorrent is bound on the new port."""
    try:
        with ExitStack() as stack:
            running = [_with_qbittorrent(tree, stack) for tree in measured]
            rounds = [[_push(*each) for each in running] for _ in range(PUSHES)]
    except PartMissing as error:
        print(f"no push is measured: {error}", file=sys.stderr)
        return []
    columns = list(zip(*rounds, strict=True))
    medians = [statistics.median(column) for column in columns]
    slowest = [percentile(column, 99) for column in columns]
    return [
        Figure("push until the socket is bound, median", "ms", scaled(medians, 1e3), 30),
        Figure("push until the socket is bound, p99", "ms", scaled(slowest, 1e3), 100),
    ]


def _with_qbittorrent(tree: Tree, stack: ExitStack) -> tuple[SimulatedGluetun, str]:
    """Start a daemon on a real qBittorrent; return its Gluetun and where its web server is."""
    port = free_port()
    folder = tree.folder / "qbittorrent"
    folder.mkdir()
    gluetun = stack.enter_context(SimulatedGluetun("3.40", forwarded_port=port))
    qbittorrent = stack.enter_context(RealQbittorrent(QBITTORRENT, folder))
    environ = {
        "GLUETUN_HOST": gluetun.host,
        "GLUETUN_PORT": str(gluetun.port),
        "GLUETUN_AUTH_TYPE": "none",
        "QBITTORRENT_HOST": qbittorrent.host,
        "QBITTORRENT_PORT": str(qbittorrent.port),
        "QBITTORRENT_USER": qbittorrent.username,
        "QBITTORRENT_PASS": qbittorrent.password,
        "CHECK_INTERVAL": "3600",
    }
    where = stack.enter_context(Daemon(tree, environ)).address
    _wait_until_bound(port)
    return gluetun, where


def _push(gluetun: SimulatedGluetun, where: str) -> float:
    time.sleep(1.0)  # the second one within a second has to wait
    port = free_port()
    gluetun.forwarded_ports = [port]
    started = time.monotonic()
    connection = http.client.HTTPConnection(where, timeout=5)
    connection.request("POST", "/-/sync")
    connection.getresponse().read()
    connection.close()
    return _wait_until_bound(port) - started


def _wait_until_bound(port: int) -> float:
    deadline = time.monotonic() + 30
    while not listens(port):
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing listens on port {port}")
        time.sleep(0.0005)
    return time.monotonic()


def in_turn(rounds: int, *calls: Callable[[], float]) -> list[float]:
    """Call each in turn, again and again; return the median of each: noise hits all alike."""
    taken = [[call() for call in calls] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*taken, strict=True)]


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that so many percent do not exceed; the largest where there are few."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def scaled(values: Sequence[float], factor: float) -> list[float]:
    """Return the values in another unit."""
    return [value * factor for value in values]


ALL: tuple[Callable[[Sequence[Tree]], list[Figure]], ...] = (start, steady, push, thousand)
