"""The web server under clients that mean harm: it runs as a process of its own, on loopback only.

In each scene the attack stands while ordinary scrapes, each on a new connection, must all be
answered. Attacks are bounded in count and in time; figures are printed, never asserted tightly.
"""

import gzip
import json
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import pytest

from exporter.web.server import WORKERS
from tests.parts.debian import REPOSITORY

HANG_SECONDS = 5
SCRAPES = 20
THREADS = WORKERS + 2  # the loop, and the main thread
ROOM_BYTES = 32_000_000
GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"

ONE_TUNNEL, THOUSAND_TUNNELS = 300, 60_000
"""How many series they have, roughly."""

SERVER = """
import logging, sys
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from exporter.web.app import WebApp
from exporter.web.server import WebServer
from tests.outcomes import board_of_many

class Series:
    def collect(self):
        metric = GaugeMetricFamily("qsticky_made_up", "Many series.", labels=["tunnel", "state"])
        for number in range(int(sys.argv[1])):
            metric.add_metric([f"seedbox-{number}", "in_sync"], 1)
        yield metric

logging.basicConfig(level=logging.DEBUG)
registry = CollectorRegistry()
registry.register(Series())
app = WebApp(
    board=board_of_many(10),
    registry=registry,
    status_json=lambda: b"{}",
    request_sync=lambda tunnel, pushed: None,
    version="2.0.0",
)
server = WebServer(app, "127.0.0.1:0")
server.start()
print(server.address, flush=True)
sys.stdin.read()
server.stop()
"""


@dataclass(frozen=True)
class Victim:
    """The server's process: where it listens and what it uses."""

    pid: int
    address: tuple[str, int]

    def connect(self) -> socket.socket:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)  # answers stay with the server
        client.settimeout(HANG_SECONDS)
        client.connect(self.address)
        return client

    def usage(self, name: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name))


@pytest.fixture
def victim(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Victim]:
    series = getattr(request, "param", ONE_TUNNEL)
    command, log = [sys.executable, "-c", SERVER, str(series)], tmp_path / "log"
    pipe = subprocess.PIPE
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            command, cwd=REPOSITORY, stdin=pipe, stdout=pipe, stderr=stderr, text=True
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        host, _, port = process.stdout.readline().strip().rpartition(":")
        victim = Victim(process.pid, (host, int(port)))
        scrape(victim)
        before = victim.usage("VmHWM:")
        yield victim
        grown = (victim.usage("VmHWM:") - before) * 1024
        print(f"memory +{grown / 1e6:.1f} MB")  # noqa: T201
        assert victim.usage("Threads:") <= THREADS
        assert grown < ROOM_BYTES
        process.stdin.close()
        assert process.wait(timeout=10) == 0
    said = log.read_text()
    assert "Traceback" not in said
    assert "ERROR" not in said


def scrape(victim: Victim) -> float:
    """Seconds for one scrape as Prometheus does it, on a new connection."""
    began = time.perf_counter()
    connection = HTTPConnection(*victim.address, timeout=HANG_SECONDS)
    connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
    response = connection.getresponse()
    assert response.status == 200
    assert b'qsticky_made_up{state="in_sync",tunnel="seedbox-299"} 1.0' in gzip.decompress(
        response.read()
    )
    connection.close()
    return time.perf_counter() - began


def scrapes_go_on(victim: Victim, name: str) -> None:
    milliseconds = sorted(scrape(victim) * 1000 for _ in range(SCRAPES))
    p50, most = statistics.median(milliseconds), milliseconds[-1]
    figures = {"attack": name, "p50_ms": round(p50, 1), "max_ms": round(most, 1)}
    print(json.dumps(figures))  # noqa: T201  # for those who compare


@contextmanager
def connections(
    victim: Victim, count: int, first_bytes: bytes = b""
) -> Iterator[list[socket.socket]]:
    """So many connections that have each sent these bytes and wait."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with ExitStack() as stack:
            clients = [stack.enter_context(victim.connect()) for _ in range(count)]
            for client in clients:
                client.sendall(first_bytes)
            yield clients
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def meanwhile(deed: Callable[[], object], pause_seconds: float) -> Iterator[None]:
    """Do this again and again for as long as the block lasts."""
    enough = threading.Event()

    def repeat() -> None:
        while not enough.wait(pause_seconds):
            deed()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join(HANG_SECONDS)


def each(clients: list[socket.socket], deed: Callable[[socket.socket], object]) -> None:
    for client in clients:
        with suppress(OSError):
            deed(client)


def serve_once(client: socket.socket) -> None:
    client.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
    received = b""
    while not received.endswith(b"\r\n\r\nhealthy\n"):
        chunk = client.recv(4096)
        assert chunk
        received += chunk


def test_idle_connections_that_were_served_once_lock_nobody_out(victim: Victim) -> None:
    with connections(victim, 127) as clients:
        for client in clients:
            serve_once(client)
        scrapes_go_on(victim, "127 idle")
        for client in clients:  # none was closed in favour of another
            serve_once(client)
        scrapes_go_on(victim, "127 that ask again")


def test_1000_half_open_requests_lock_nobody_out(victim: Victim) -> None:
    with connections(victim, 1000, b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: "):
        scrapes_go_on(victim, "1,000 half-open")


@pytest.mark.parametrize("victim", [ONE_TUNNEL, THOUSAND_TUNNELS], indirect=True)
def test_slow_readers_lock_nobody_out(victim: Victim) -> None:
    with (
        connections(victim, 150, GET) as clients,
        meanwhile(lambda: each(clients, lambda client: client.recv(1)), 0.02),
    ):
        scrapes_go_on(victim, "150 slow readers")


def test_clients_that_ask_in_one_breath_and_never_read_lock_nobody_out(victim: Victim) -> None:
    with connections(victim, 30, GET * 10):
        scrapes_go_on(victim, "30 that never read 10 answers")


def test_dripping_requests_lock_nobody_out(victim: Victim) -> None:
    with (
        connections(victim, 200, b"POST /-/sync HTTP/1.1\r\nX-Slow: ") as clients,
        meanwhile(lambda: each(clients, lambda client: client.send(b"x")), 0.02),
    ):
        scrapes_go_on(victim, "200 dripping")


def test_a_flood_of_connections_locks_nobody_out(victim: Victim) -> None:
    """Three hundred a second, each of which asks and hangs up at some moment."""
    count = 0

    def knock() -> None:
        nonlocal count
        count += 1
        with victim.connect() as client:
            client.sendall(GET[: count % (len(GET) + 1)])

    with meanwhile(knock, 0.003):
        until = time.monotonic() + 2
        while time.monotonic() < until:
            scrape(victim)
        scrapes_go_on(victim, "flood")
    print(f"{count} connections")  # noqa: T201
