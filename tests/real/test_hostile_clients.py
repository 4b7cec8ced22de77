"""The web server under clients that mean harm: it runs as a process of its own, on loopback only.

Each attack is bounded in count and in time. Figures are printed, never asserted tightly.
"""

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

from exporter.web import server as webserver
from tests.parts.debian import REPOSITORY

HANG_SECONDS = 5
SCRAPES = 100
THREADS = webserver.WORKERS + 2  # the loop, and the main thread
ROOM_BYTES = 48_000_000

SERVER = """
import logging, sys
from prometheus_client import CollectorRegistry, Gauge, ProcessCollector
from exporter.web.app import WebApp
from exporter.web.server import WebServer
from tests.outcomes import board_of_many

logging.basicConfig(level=logging.DEBUG)
registry = CollectorRegistry()
ProcessCollector(registry=registry)
gauge = Gauge("qsticky_made_up", "A series.", ["tunnel"], registry=registry)
for number in range(200):
    gauge.labels(f"tunnel-{number}").set(number)
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
    log: Path

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=HANG_SECONDS)

    def threads(self) -> int:
        return self._status("Threads:")

    def memory_bytes(self) -> int:
        return self._status("VmRSS:") * 1024

    def _status(self, name: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name))


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    log = tmp_path / "log"
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            [sys.executable, "-c", SERVER],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        host, _, port = process.stdout.readline().strip().rpartition(":")
        victim = Victim(process.pid, (host, int(port)), log)
        scrape(victim)
        before = victim.memory_bytes()
        yield victim
        grown = victim.memory_bytes() - before
        print(f"threads {victim.threads()}, memory +{grown / 1e6:.1f} MB")  # noqa: T201
        assert victim.threads() <= THREADS
        assert grown < ROOM_BYTES
        process.stdin.close()
        assert process.wait(timeout=10) == 0
    said = log.read_text()
    assert "Traceback" not in said
    assert "ERROR" not in said


def scrape(victim: Victim) -> float:
    """Seconds for one scrape on a new connection."""
    began = time.perf_counter()
    connection = HTTPConnection(*victim.address, timeout=HANG_SECONDS)
    connection.request("GET", "/metrics")
    response = connection.getresponse()
    assert response.status == 200
    assert b'qsticky_made_up{tunnel="tunnel-199"} 199.0' in response.read()
    connection.close()
    return time.perf_counter() - began


def scrapes_go_on(victim: Victim, name: str) -> None:
    seconds = sorted(scrape(victim) for _ in range(SCRAPES))
    figures = {
        "attack": name,
        "p50_ms": round(statistics.median(seconds) * 1000, 1),
        "p99_ms": round(seconds[-2] * 1000, 1),
    }
    print(json.dumps(figures))  # noqa: T201  # for those who compare
    assert victim.threads() <= THREADS


@contextmanager
def connections(victim: Victim, count: int, first_bytes: bytes) -> Iterator[list[socket.socket]]:
    """So many connections that have each sent these bytes and wait."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with ExitStack() as stack:
            clients = []
            for _ in range(count):
                clients.append(stack.enter_context(victim.connect()))
                with suppress(ConnectionError):
                    clients[-1].sendall(first_bytes)
            yield clients
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def dripping(clients: list[socket.socket]) -> Iterator[None]:
    """One byte after the other on each connection, for as long as the block lasts."""
    enough = threading.Event()

    def drip() -> None:
        while not enough.wait(0.02):
            for client in clients:
                with suppress(OSError):
                    client.send(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join(HANG_SECONDS)


def test_scrapes_without_any_attack_for_comparison(victim: Victim) -> None:
    scrapes_go_on(victim, "none")


def test_500_half_open_requests_do_not_stop_the_scrapes(victim: Victim) -> None:
    with connections(victim, 500, b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: "):
        scrapes_go_on(victim, "500 half-open")


def test_100_dripping_requests_do_not_stop_the_scrapes(victim: Victim) -> None:
    with (
        connections(victim, 100, b"POST /-/sync HTTP/1.1\r\nX-Slow: ") as clients,
        dripping(clients),
    ):
        scrapes_go_on(victim, "100 dripping")


def test_a_silent_connection_does_not_stop_the_scrapes(victim: Victim) -> None:
    with connections(victim, 1, b""):
        scrapes_go_on(victim, "1 silent")


def test_clients_that_never_read_do_not_stop_the_scrapes(victim: Victim) -> None:
    with connections(victim, 100, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 50):
        scrapes_go_on(victim, "100 that never read")


def flood(client: socket.socket, head: bytes, megabytes: int) -> bytes:
    """Send so much until the server closes; the answer, as far as it came through."""
    chunk = b"x" * 1_000_000
    with suppress(ConnectionError):
        client.sendall(head)
        for _ in range(megabytes):
            client.sendall(chunk)
    with suppress(ConnectionError):
        return client.recv(100)
    return b""


@pytest.mark.parametrize(
    ("name", "head", "refusal"),
    [
        ("10 MB of one header", b"GET / HTTP/1.1\r\nX: ", b"431"),
        ("10 MB of request line", b"GET /", b"431"),
        ("1 GB announced", b"POST /-/sync HTTP/1.1\r\nContent-Length: 1073741824\r\n\r\n", b"413"),
        (
            "endless chunks",
            b"POST /-/sync HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFF\r\n",
            b"413",
        ),
    ],
)
def test_a_request_without_end_is_cut_off(
    victim: Victim, name: str, head: bytes, refusal: bytes
) -> None:
    with victim.connect() as client:
        # a client that is cut off while it sends may not see the refusal any more
        assert flood(client, head, 10)[9:12] in (refusal, b"")
    scrapes_go_on(victim, name)


ODD_REQUESTS = [
    (b"GET /../../etc/passwd HTTP/1.0", b"404"),
    (b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.0", b"404"),
    (b"GET /metrics/..%2f..%2f HTTP/1.0", b"404"),
    (b"GET //evil.example/%2f.. HTTP/1.0", b"404"),
    (b"GET /%zz%e0%80 HTTP/1.0", b"404"),
    (b"GET /?tunnel=%zz%ff%00 HTTP/1.0", b"404"),
    (b"GET /?state=%ff&refresh=\xff HTTP/1.0", b"400"),
    (b"GET /metrics?name[]=%ff HTTP/1.0", b"200"),
    (b"GET http://[ HTTP/1.0", b"400"),
    (b"DELETE /metrics HTTP/1.0", b"405"),
    (b"CONNECT example.org:443 HTTP/1.0", b"404"),
    (b"TRACE / HTTP/1.0", b"405"),
    (b"GET /-/sync HTTP/1.0", b"405"),
    (b"get / HTTP/1.0", b"400"),
    (b"GET / HTTP/9.9", b"200"),
    (b"\x16\x03\x01\x02\x00\x01\x00", b"400"),
    (b"POST /-/sync HTTP/1.0\r\nContent-Length: 9999999999999999999999", b"413"),
    (b"POST /-/sync HTTP/1.0\r\nContent-Length: " + b"9" * 5000, b"400"),
    (b"POST /-/sync HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded", b"202"),
    (b"GET /metrics HTTP/1.0\r\nAccept: application/openmetrics-text;version=x.y", b"200"),
    (b"GET / HTTP/1.0\r\nAuthorization: Basic \xff\xff", b"200"),
]


def test_odd_requests_get_a_proper_refusal(victim: Victim) -> None:
    for request, status in ODD_REQUESTS:
        with victim.connect() as client:
            client.sendall(request + b"\r\n\r\n")
            assert (request, client.recv(100)[9:12]) == (request, status)
    scrapes_go_on(victim, "odd requests")


def test_clients_that_hang_up_at_every_moment_leave_no_trace_in_the_log(victim: Victim) -> None:
    request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    endings: list[Callable[[socket.socket], object]] = [
        lambda client: client.shutdown(socket.SHUT_WR),
        lambda client: client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"),
        lambda client: None,
    ]
    for length in range(0, len(request) + 1, 3):
        for end in endings:
            with victim.connect() as client:
                client.sendall(request[:length])
                end(client)
    scrapes_go_on(victim, "hang-ups")
