import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.web import server as webserver
from exporter.web.server import ListenFailed, WebServer, parse_listen_address

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def hello(environ: "WSGIEnvironment", start_response: "StartResponse") -> list[bytes]:
    body = environ["PATH_INFO"].encode("latin-1")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


@pytest.fixture
def server() -> Iterator[WebServer]:
    server = WebServer(hello, "127.0.0.1:0")
    server.start()
    yield server
    server.stop()


def connect(server: WebServer) -> socket.socket:
    host, _, port = server.address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=10)


def talk(server: WebServer, request: bytes) -> bytes:
    """Everything that the server sends until it closes."""
    with closing(connect(server)) as client:
        client.sendall(request)
        received = b""
        try:
            while chunk := client.recv(65536):
                received += chunk
        except ConnectionResetError:
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
        ("9809", "'9809': expected HOST:PORT, :PORT or [IPV6]:PORT"),
        ("::1:9809", "'::1:9809': expected HOST:PORT, :PORT or [IPV6]:PORT"),
        ("host:", "'host:': expected HOST:PORT, :PORT or [IPV6]:PORT"),
        ("host:http", "'host:http': expected HOST:PORT, :PORT or [IPV6]:PORT"),
        ("host:-1", "'host:-1': expected HOST:PORT, :PORT or [IPV6]:PORT"),
        ("host:65536", "'host:65536': the port is above 65535"),
        ("host:1000000", "'host:1000000': the port is above 65535"),
    ],
)
def test_a_malformed_address_is_refused_before_anything_starts(text: str, message: str) -> None:
    with pytest.raises(ListenFailed) as caught:
        WebServer(hello, text)
    assert caught.value.message == f"WEB_LISTEN_ADDRESS {message}"
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


@pytest.mark.parametrize("address", [":0", "[::]:0", "[::1]:0"])
def test_all_addresses_and_ipv6_are_served(address: str) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    server = WebServer(hello, address)
    server.start()
    port = int(server.address.rpartition(":")[2])
    hosts = ["::1"] if address == "[::1]:0" else ["::1", "127.0.0.1"]
    try:
        for host in hosts:
            with closing(socket.create_connection((host, port), timeout=10)) as client:
                client.sendall(b"GET /x HTTP/1.0\r\n\r\n")
                assert client.recv(100).startswith(b"HTTP/1.0 200 OK")
    finally:
        server.stop()


def test_stopping_frees_the_port_and_ends_the_threads() -> None:
    before = threading.active_count()
    server = WebServer(hello, "127.0.0.1:0")
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


def test_one_that_never_started_can_be_stopped() -> None:
    WebServer(hello, "127.0.0.1:0").stop()


def test_the_server_header_holds_no_version(server: WebServer) -> None:
    assert get(server).getheader("Server") == "qSticky"


def test_a_connection_is_kept_for_the_next_request(server: WebServer) -> None:
    connection = HTTPConnection(server.address, timeout=10)
    for path in ("/a", "/b"):
        connection.request("GET", path)
        assert connection.getresponse().read() == path.encode()
    connection.close()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", b"431"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1073741824\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", b"501"),
        (
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1388\r\n" + b"x" * 5000,
            b"413",
        ),
        (b"GET http://[ HTTP/1.1\r\n\r\n", b"400"),
        (b"GET\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 \r\n\r\n", b"400"),
    ],
)
def test_a_request_that_is_too_large_or_nonsense_is_refused_at_once(
    server: WebServer, request_bytes: bytes, status: bytes
) -> None:
    answer = talk(server, request_bytes)
    # a client that is still sending may be cut off before it reads the refusal
    assert answer[9:12] in (status, b"")
    assert b"waitress" not in answer
    assert get(server).status == 200


def test_only_one_pipelined_request_is_taken(server: WebServer) -> None:
    answer = talk(server, b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
    assert answer.count(b"HTTP/1.1 200 OK") == 1
    assert b"Connection: close" in answer


def test_a_path_may_hold_anything(server: WebServer) -> None:
    answer = talk(server, b"GET /%zz%ff%00/..%2f HTTP/1.0\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n/%zz\xff\x00/../")


@given(st.lists(st.binary(max_size=300), max_size=4))
def test_no_bytes_make_the_parser_raise(chunks: list[bytes]) -> None:
    parser = webserver._Parser(webserver._adjustments())
    for chunk in chunks:
        if chunk and not parser.completed:
            parser.received(chunk)


@given(
    st.sampled_from([b"GET", b"POST"]),
    st.binary(max_size=40),
    st.lists(st.tuples(st.sampled_from([b"Content-Length", b"Expect", b"X"]), st.binary())),
)
def test_no_request_line_or_header_makes_the_parser_raise(
    method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    lines = [method + b" " + target + b" HTTP/1.1", *(b": ".join(header) for header in headers)]
    webserver._Parser(webserver._adjustments()).received(b"\r\n".join(lines) + b"\r\n\r\n")


Limit = Callable[[str, int], None]


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Limit:
    return lambda name, value: monkeypatch.setattr(webserver, name, value)


def ends(client: socket.socket) -> bool:
    """Whether the server has closed this connection; waits for it."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_full_house_closes_the_stalest_silent_connection_for_the_next(
    server: WebServer, limit: Limit
) -> None:
    limit("MAX_CONNECTIONS", 5)
    kept = HTTPConnection(server.address, timeout=10)
    kept.request("GET", "/kept")
    assert kept.getresponse().read() == b"/kept"
    silent = [connect(server) for _ in range(8)]
    assert get(server).status == 200
    assert ends(silent[0])
    kept.request("GET", "/still-here")
    assert kept.getresponse().read() == b"/still-here"
    kept.close()
    for client in silent:
        client.close()


def test_a_dripping_request_is_cut_off_though_it_never_falls_silent(limit: Limit) -> None:
    limit("EXCHANGE_SECONDS", 1)
    server = WebServer(hello, "127.0.0.1:0")
    server.start()
    try:
        with closing(connect(server)) as client:
            client.settimeout(0.1)
            drops = 0
            while drops < 100:
                try:
                    client.sendall(b"G")
                    drops += 1
                    if client.recv(1) == b"":
                        break
                except TimeoutError:
                    continue
                except (ConnectionResetError, BrokenPipeError):
                    break
            assert 5 < drops < 60
    finally:
        server.stop()


def is_dropped(client: socket.socket) -> bool:
    """Whether the server has aborted this connection; waits for it, and reads nothing."""
    poller = select.poll()
    poller.register(client, select.POLLHUP)
    return bool(poller.poll(10_000))


def wait_until_dropped(clients: list[socket.socket], count: int) -> None:
    poller = select.poll()
    for client in clients:
        poller.register(client, select.POLLHUP)
    for _ in range(count):
        dropped = poller.poll(10_000)
        assert dropped
        poller.unregister(dropped[0][0])


def big(_environ: "WSGIEnvironment", start_response: "StartResponse") -> list[bytes]:
    start_response("200 OK", [("Content-Length", "20000000")])
    return [b"x" * 20_000_000]


def test_a_client_that_never_reads_its_answer_is_cut_off(limit: Limit) -> None:
    limit("EXCHANGE_SECONDS", 1)
    server = WebServer(big, "127.0.0.1:0")
    server.start()
    try:
        with closing(connect(server)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert is_dropped(client)
    finally:
        server.stop()


def test_answers_that_nobody_reads_are_bounded_together(limit: Limit) -> None:
    limit("MAX_PENDING_BYTES", 30_000_000)
    server = WebServer(big, "127.0.0.1:0")
    server.start()
    clients = [connect(server) for _ in range(6)]
    try:
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until_dropped(clients, 4)
        with closing(connect(server)) as reader:
            reader.sendall(b"GET / HTTP/1.0\r\n\r\n")
            received = 0
            while chunk := reader.recv(1_000_000):
                received += len(chunk)
            assert received > 20_000_000
    finally:
        for client in clients:
            client.close()
        server.stop()
