import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from http.client import HTTPConnection, HTTPResponse
from typing import TYPE_CHECKING

import pytest

from exporter.report.board import StatusBoard
from exporter.web import server as webserver
from exporter.web.lengths import Lengths
from exporter.web.listener import Listener
from exporter.web.server import ListenFailed, WebServer, parse_listen_address
from tests.outcomes import web_app

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

HELLO = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


def hello(environ: "WSGIEnvironment", start_response: "StartResponse") -> list[bytes]:
    body = environ["PATH_INFO"].encode("latin-1")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def started(app: "WSGIApplication", address: str = "127.0.0.1:0") -> Iterator[WebServer]:
    server = WebServer(app, address)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server() -> Iterator[WebServer]:
    yield from started(hello)


def connect(server: WebServer) -> socket.socket:
    host, _, port = server.address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=10)


def talk(server: WebServer, request: bytes) -> bytes:
    """Everything that the server sends until it closes."""
    with closing(connect(server)) as client:
        received = b""
        try:
            client.sendall(request)
            while chunk := client.recv(65536):
                received += chunk
        except ConnectionError:
            pass
        return received


def get(server: WebServer, path: str = "/") -> HTTPResponse:
    connection = HTTPConnection(server.address, timeout=10)
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("0.0.0.0:9809", "0.0.0.0", 9809),
        (":9809", "", 9809),
        ("[::]:9809", "::", 9809),
        ("[::1]:0", "::1", 0),
        ("localhost:80", "localhost", 80),
        (" 127.0.0.1:9809 ", "127.0.0.1", 9809),
    ],
)
def test_an_address_is_host_and_port(text: str, host: str, port: int) -> None:
    assert parse_listen_address(text) == (host, port)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9809", "expected HOST:PORT, :PORT or [IPV6]:PORT"),
        ("host:65536", "the port is above 65535"),
    ],
)
def test_a_malformed_address_is_refused_before_anything_starts(text: str, message: str) -> None:
    with pytest.raises(ListenFailed) as caught:
        WebServer(hello, text)
    assert caught.value.message == f"WEB_LISTEN_ADDRESS {text!r}: {message}"
    assert caught.value.fix == "write it like 0.0.0.0:9809, or leave it empty for no web server"


def test_an_address_in_use_is_a_clear_error(server: WebServer) -> None:
    second = WebServer(hello, server.address)
    with pytest.raises(ListenFailed) as caught:
        second.start()
    assert caught.value.message == f"can't listen on {server.address}: Address already in use"
    assert caught.value.exit_code == 1
    assert "WEB_LISTEN_ADDRESS" in caught.value.fix


def test_a_host_that_does_not_exist_is_a_clear_error() -> None:
    with pytest.raises(ListenFailed, match=r"can't listen on nosuch\.invalid:9809: "):
        WebServer(hello, "nosuch.invalid:9809").start()


@pytest.mark.parametrize(
    ("address", "hosts"),
    [(":0", ["::1", "127.0.0.1"]), ("[::]:0", ["::1", "127.0.0.1"]), ("[::1]:0", ["::1"])],
)
def test_all_addresses_and_ipv6_are_served(address: str, hosts: list[str]) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    for server in started(hello, address):
        port = int(server.address.rpartition(":")[2])
        for host in hosts:
            with closing(socket.create_connection((host, port), timeout=10)) as client:
                client.sendall(b"GET /x HTTP/1.0\r\n\r\n")
                assert client.recv(100).startswith(b"HTTP/1.0 200 OK")


def test_stopping_frees_the_port_and_ends_the_threads() -> None:
    before = threading.active_count()
    server = WebServer(hello, "127.0.0.1:0")
    server.stop()  # which does no harm before the start, nor twice
    server.start()
    idle = connect(server)
    assert get(server).status == 200
    server.stop()
    server.stop()
    assert threading.active_count() == before
    assert idle.recv(1) == b""
    idle.close()
    again = WebServer(hello, server.address)
    again.start()
    again.stop()


def test_a_connection_is_kept_for_the_next_request(server: WebServer) -> None:
    connection = HTTPConnection(server.address, timeout=10)
    for path in ("/a", "/b"):
        connection.request("GET", path)
        response = connection.getresponse()
        assert (response.getheader("Server"), response.read()) == ("qSticky", path.encode())
    connection.close()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", b"431"),
        (b"GET /" + b"x" * 20_000, b"431"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1073741824\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", b""),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", b"501"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1388\r\n" + b"x" * 5000, b"413"),
        (b"GET http://[ HTTP/1.1\r\n\r\n", b""),
        (b"GET\r\n\r\n", b"400"),
        (b"get / HTTP/1.0\r\n\r\n", b"400"),
        (b"GET /?state=\xff HTTP/1.0\r\n\r\n", b"400"),
        (b"GET /%zz%ff%00/..%2f HTTP/1.0\r\n\r\n", b"200"),
        (b"GET / HTTP/9.9\r\n\r\n", b"200"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 \r\n\r\n", b"400"),
    ],
)
def test_an_odd_request_is_answered_refused_or_cut_off(
    server: WebServer, request_bytes: bytes, status: bytes
) -> None:
    answer = talk(server, request_bytes)
    # a client that is still sending may be cut off before it reads the refusal
    assert answer[9:12] == status or (status in (b"431", b"413") and not answer)
    assert b"waitress" not in answer
    assert get(server).status == 200


def test_pipelined_requests_are_answered_in_turn(server: WebServer) -> None:
    last = b"GET /b HTTP/1.1\r\nConnection: close\r\n\r\n"
    answer = talk(server, HELLO * 50 + last)
    assert answer.count(b"HTTP/1.1 200 OK") == 51
    assert answer.endswith(b"/b")


def slow_to_read(_environ: "WSGIEnvironment", start_response: "StartResponse") -> list[bytes]:
    start_response("200 OK", [("Content-Length", "20000000")])
    return [b"x" * 20_000_000]


@pytest.mark.parametrize("request_bytes", [b"", b"GET / HTTP/1.1\r\nX-Slow", HELLO])
def test_a_client_that_says_or_reads_nothing_makes_room_at_once(
    monkeypatch: pytest.MonkeyPatch, request_bytes: bytes
) -> None:
    """The house has one place: the newest gets it."""
    monkeypatch.setattr(webserver, "MOST_CONNECTIONS", 1)
    for server in started(slow_to_read):
        with closing(connect(server)) as silent:
            silent.sendall(request_bytes)
            assert get(server).status == 200


@pytest.mark.parametrize("request_bytes", [b"", b"GET / HTTP/1.1\r\nX-Slow"])
def test_a_connection_that_says_nothing_ends_though_nobody_needs_its_place(
    monkeypatch: pytest.MonkeyPatch, request_bytes: bytes
) -> None:
    monkeypatch.setattr(webserver, "SILENT_SECONDS", 1)
    monkeypatch.setattr(webserver, "CLEANUP_SECONDS", 1)
    for server in started(hello):
        assert talk(server, request_bytes) == b""


def test_half_open_connections_end_by_the_clock_that_nobody_sets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steady, wall = [1000.0], time.time()
    monkeypatch.setattr(webserver, "Listener", partial(Listener, clock=lambda: steady[0]))
    for server in started(hello):
        with closing(connect(server)) as half_open:
            half_open.sendall(b"GET / HTTP/1.1\r\nX-Slow")
            assert get(server).status == 200  # it has read all that was sent before
            monkeypatch.setattr(time, "time", lambda: wall - 86_400)
            steady[0] += 30
            assert get(server).status == 200
            half_open.setblocking(False)
            with pytest.raises(BlockingIOError):
                half_open.recv(1)
            half_open.settimeout(10)
            steady[0] += 1
            assert get(server).status == 200
            assert half_open.recv(1) == b""


SMUGGLED = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (b"Transfer-Encoding: chunked", b"0\r\n\r\n"),
        (b"TRANSFER-ENCODING:\tChunked \t", b"0\r\n\r\n"),
        (b"Content-Length: 0", b""),
        (b"Content-Length: 3", b"x=y"),
    ],
)
@pytest.mark.parametrize(
    ("method", "status"),
    [(b"POST /-/sync", b"202"), (b"GET /metrics", b"400"), (b"HEAD /", b"400")],
)
def test_nothing_is_read_behind_a_request_that_may_have_a_body(
    method: bytes, status: bytes, headers: bytes, body: bytes
) -> None:
    """A proxy that counts the body otherwise may be made to send on another request in it."""
    answer = b""
    for server in started(web_app(StatusBoard())):
        head = method + b" HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n\r\n"
        answer = talk(server, head + body + SMUGGLED)
    assert answer[9:12] == status
    assert answer.count(b"HTTP/1.1") == 1
    assert b"Connection: close" in answer


AMBIGUOUS = [
    b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    b"transfer-encoding:chunked\r\nX: y\r\ncontent-length:46",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: chunked\r\n , chunked",
    b"Transfer-Encoding:\r\n chunked",
    b"X: y\r\n Transfer-Encoding: chunked",
    b"Transfer-Encoding:",
    b"Transfer-Encoding: ,",
    b"Transfer-Encoding : chunked",
    b"Content-Length: 5\r\nContent-Length: 5",
    b"Content-Length: 5, 5",
    b"Content-Length: +5",
    b"Content-Length:",
]


@pytest.mark.parametrize("headers", AMBIGUOUS)
@pytest.mark.parametrize("version", [b"1.0", b"1.1", b"1.2"])
def test_a_request_that_does_not_say_plainly_how_long_it_is_gets_400_and_is_the_last(
    headers: bytes, version: bytes
) -> None:
    ask = b"POST /-/sync HTTP/" + version + b"\r\nHost: x\r\nConnection: keep-alive\r\n"
    answer = b""
    for server in started(web_app(StatusBoard())):
        answer = talk(server, SMUGGLED + ask + headers + b"\r\n\r\n0\r\n\r\n" + SMUGGLED)
    assert [status[2:7] for status in answer.split(b"HTTP/1")[1:]] == [b" 200 ", b" 400 "]


LONG = b"5" * 300


def passed_on(request: bytes, size: int) -> bytes:
    lengths, starts = Lengths(), range(0, len(request), size)
    return b"".join(lengths.checked(request[start : start + size]) for start in starts)


@pytest.mark.parametrize("size", [1, 3, 250, 1000])
def test_such_a_request_is_noticed_in_whatever_pieces_it_comes(size: int) -> None:
    long_ones = [b"Content-Length: " + LONG + b", 5", b"Content-Length" + b" " * 300 + b": 5"]
    for headers in AMBIGUOUS + long_ones:
        ask = b"POST / HTTP/1.1\r\n" + headers + b"\r\n\r\nrest"
        spoilt = passed_on(SMUGGLED + ask, size).removeprefix(SMUGGLED)
        assert b"\0" in spoilt.partition(b"\r\n\r\n")[0], headers
        assert b"\0" in passed_on(b"\n" + ask, size), headers  # waitress skips blank lines
    plain = SMUGGLED + b"POST / HTTP/1.1\r\nContent-Length: " + LONG + b"\r\nX: y\r\n\r\n"
    body = b"Content-Length: 5\r\n\r\nrest"
    assert passed_on(plain + body, size) == plain + body


def test_the_headers_of_half_open_requests_are_not_kept_twice() -> None:
    connections = [Lengths() for _ in range(100)]
    tracemalloc.start()
    for lengths in connections:
        for line in (b"GET / HTTP/1.1\r\n", b"X: " + b"x" * 8000 + b"\r\n", b"Y: " + b"y" * 8000):
            lengths.checked(line)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 100_000


def test_a_request_without_a_body_leaves_its_connection_open() -> None:
    for server in started(web_app(StatusBoard())):
        sync = b"POST /-/sync HTTP/1.1\r\nHost: x\r\n\r\n"
        last = b"GET /-/healthy HTTP/1.1\r\nConnection: close\r\n\r\n"
        assert talk(server, sync + last).count(b"HTTP/1.1 20") == 2
