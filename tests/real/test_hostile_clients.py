"""The web server under clients that mean harm: it runs as a process of its own, on loopback only.

In each scene the attack stands while ordinary scrapes, each on a new connection, must all be
answered. Attacks are bounded in count and in time; figures are printed, never asserted tightly.
"""

import gzip
import json
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import pytest

from exporter.web.server import WORKERS
from tests.parts.debian import REPOSITORY

HANG_SECONDS = 5
SCRAPES = 15
THREADS = WORKERS + 2  # the loop, and the main thread
ROOM_BYTES = 64_000_000
"""For all attacks on a server together; what clients leave unread is a quarter of it."""
HEADERS = b" HTTP/1.1\r\nHost: x\r\n\r\n"
GET, GET_PAGE = b"GET /metrics" + HEADERS, b"GET /" + HEADERS

SERVER = """
import logging, sys
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from exporter.clock import Clock
from exporter.web.server import WebServer
from tests.outcomes import board_of_many, web_app

tunnels = int(sys.argv[1])

class Series:
    def describe(self):
        return [GaugeMetricFamily("qsticky_made_up", "Many series.")]

    def collect(self):
        metric = GaugeMetricFamily("qsticky_made_up", "Many series.", labels=["tunnel", "state"])
        for number in range(tunnels * 60):
            metric.add_metric([f"seedbox-{number}", "in_sync"], 1)
        yield metric

logging.basicConfig(level=logging.DEBUG)
registry = CollectorRegistry()
registry.register(Series())
app = web_app(board_of_many(tunnels), registry=lambda: registry, clock=Clock())
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


@pytest.fixture(scope="module", params=[1, 1000], ids=["1 tunnel", "1,000 tunnels"])
def server(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Victim]:
    """One process for all attacks: what one leaves behind is there for the next."""
    log = tmp_path_factory.mktemp("victim") / "log"
    command, pipe = [sys.executable, "-c", SERVER, str(request.param)], subprocess.PIPE
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            command, cwd=REPOSITORY, stdin=pipe, stdout=pipe, stderr=stderr, text=True
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        host, _, port = process.stdout.readline().strip().rpartition(":")
        yield Victim(process.pid, (host, int(port)))
        process.stdin.close()
        assert process.wait(timeout=10) == 0
    said = log.read_text()
    assert "Traceback" not in said
    assert "ERROR" not in said


@pytest.fixture(scope="module")
def most_bytes(server: Victim) -> int:
    """How much the server may ever take: what it takes after a scrape and a page, and the room."""
    with closing(server.connect()) as client:
        client.sendall(GET_PAGE)
        client.recv(1)
    scrape(server)
    return server.usage("VmHWM:") * 1024 + ROOM_BYTES


@pytest.fixture
def victim(server: Victim, most_bytes: int) -> Iterator[Victim]:
    yield server
    left = most_bytes - server.usage("VmHWM:") * 1024
    print(f"memory +{(ROOM_BYTES - left) / 1e6:.1f} MB")  # noqa: T201
    assert server.usage("Threads:") <= THREADS
    assert left > 0


def scrape(victim: Victim) -> float:
    """Seconds for one scrape as Prometheus does it, on a new connection."""
    began = time.perf_counter()
    connection = HTTPConnection(*victim.address, timeout=HANG_SECONDS)
    connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
    response = connection.getresponse()
    assert response.status == 200
    assert b'qsticky_made_up{state="in_sync",tunnel="seedbox-59"} 1.0' in gzip.decompress(
        response.read()
    )
    connection.close()
    return time.perf_counter() - began


def scrapes_go_on(victim: Victim, name: str) -> None:
    """Count those that are served, and print how long they took."""
    milliseconds = []
    for _ in range(SCRAPES):
        with suppress(OSError):
            milliseconds.append(scrape(victim) * 1000)
    served, most = f"{len(milliseconds)} of {SCRAPES}", max(milliseconds, default=0)
    print(json.dumps({"attack": name, "served": served, "max_ms": round(most)}))  # noqa: T201
    assert len(milliseconds) == SCRAPES


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


def test_1000_idle_connections_that_were_served_once_lock_nobody_out(victim: Victim) -> None:
    with connections(victim, 1000) as clients:
        for client in clients:
            serve_once(client)
        scrapes_go_on(victim, "1,000 idle")


@pytest.mark.parametrize("count", [1000, 1500], ids=["the limit", "beyond the limit"])
def test_half_open_requests_lock_nobody_out(count: int, victim: Victim) -> None:
    with connections(victim, count, b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: "):
        scrapes_go_on(victim, f"{count:,} half-open")


@pytest.mark.parametrize("request_bytes", [GET, GET_PAGE], ids=["metrics", "page"])
def test_slow_readers_lock_nobody_out(request_bytes: bytes, victim: Victim) -> None:
    with (
        connections(victim, 150, request_bytes) as clients,
        meanwhile(lambda: each(clients, lambda client: client.recv(1)), 0.02),
    ):
        scrapes_go_on(victim, f"150 slow readers: {request_bytes[:12]!r}")


def test_slow_readers_of_which_each_holds_another_answer_lock_nobody_out(victim: Victim) -> None:
    with connections(victim, 18) as clients:
        for number, client in enumerate(clients):
            own = f"GET /metrics?name[]=qsticky_made_up&name[]={number}"
            client.sendall(own.encode() + HEADERS)
            assert client.recv(12) == b"HTTP/1.1 200"
        scrapes_go_on(victim, "18 that hold an answer each")


def test_clients_that_ask_in_one_breath_and_never_read_lock_nobody_out(victim: Victim) -> None:
    with connections(victim, 30, GET * 5 + GET_PAGE * 5):
        scrapes_go_on(victim, "30 that never read 10 answers")


def test_dripping_requests_lock_nobody_out(victim: Victim) -> None:
    with (
        connections(victim, 200, b"POST /-/sync HTTP/1.1\r\nX-Slow: ") as clients,
        meanwhile(lambda: each(clients, lambda client: client.send(b"x")), 0.02),
    ):
        scrapes_go_on(victim, "200 dripping")


def test_a_flood_of_connections_locks_nobody_out(victim: Victim) -> None:
    """Three hundred a second, each of which asks and hangs up at some moment."""
    count, began = 0, time.monotonic()

    def knock() -> None:
        nonlocal count
        while count < 300 * (time.monotonic() - began):
            count += 1
            with victim.connect() as client:
                client.sendall(GET[: count % (len(GET) + 1)])

    with meanwhile(knock, 0.003):
        until = time.monotonic() + 2
        while time.monotonic() < until:
            scrape(victim)
        scrapes_go_on(victim, "flood")
    print(f"{count / (time.monotonic() - began):.0f} connections a second")  # noqa: T201
