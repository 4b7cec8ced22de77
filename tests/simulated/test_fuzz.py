"""Nonsense for every parser: whatever comes in, an error of ours comes out, or a right value."""

import contextlib
import io
import json
import logging
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from exporter.config.load import GluetunConfig, QbittorrentConfig, Server, load_config
from exporter.config.secret import Secret
from exporter.config.settings import SETTINGS
from exporter.config.tunnels_file import read_tunnels
from exporter.errors import ConfigError, ServerError, StatusFileError
from exporter.healthcheck import judge
from exporter.model import HIGHEST_PORT, LOWEST_PORT, NO_PORT, BindResult, SyncState
from exporter.report.status_file import remembered
from exporter.servers.gluetun import Gluetun
from exporter.servers.qbittorrent import Listening, Qbittorrent
from exporter.simulator.http import Answer, Request
from exporter.simulator.server import SimulatedServer
from exporter.web.server import WebServer
from exporter.web.words import WORDS
from tests.outcomes import IN_SYNC, NOW
from tests.rig import Rig

settings.register_profile(
    "fuzz",
    derandomize="EXAMPLES" not in os.environ,
    max_examples=int(os.environ.get("EXAMPLES", "150")),
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
FUZZ = settings(settings.get_profile("fuzz"))

ODD_NUMBERS = st.sampled_from(
    [0, -1, 1023, 1024, 65535, 65536, 2**63, 10**400, 0.5, float("nan"), float("inf")]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | ODD_NUMBERS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def answers(*keys: str) -> st.SearchStrategy[bytes]:
    """Bodies: bytes, any JSON, and JSON that looks nearly right."""
    near = st.dictionaries(st.sampled_from(keys) | st.text(), JSON)
    return st.binary() | JSON.map(encoded) | near.map(encoded) | st.lists(near).map(encoded)


class Parrot(SimulatedServer):
    """Answers everything with the same body."""

    def __init__(self) -> None:
        super().__init__()
        self.body = b""
        self.status = 200

    def answer(self, request: Request) -> Answer:
        return Answer(self.status, self.body)

    def head(self, answer: Answer) -> bytes:
        return (
            f"HTTP/1.1 {answer.status} Something\r\nContent-Length: {len(answer.body)}\r\n\r\n"
        ).encode()

    def malformed(self, method: str | None) -> Answer:
        return Answer(400)


@pytest.fixture(scope="module")
def parrot() -> Iterator[Parrot]:
    with Parrot() as server:
        yield server


def server_at(port: int) -> Server:
    return Server("127.0.0.1", port, https=False, verify=True)


@pytest.fixture(scope="module")
def gluetun(parrot: Parrot) -> Iterator[Gluetun]:
    made = GluetunConfig(server_at(parrot.port), "none", "", Secret(), Secret(), 0)
    client = Gluetun(made, 10)
    yield client
    client.close()


@pytest.fixture(scope="module")
def qbittorrent(parrot: Parrot) -> Iterator[Qbittorrent]:
    client = Qbittorrent(
        QbittorrentConfig(server_at(parrot.port), "admin", Secret("x"), Secret()), 10
    )
    yield client
    client.close()


@FUZZ
@given(answers("port", "ports", "status", "public_ip"))
@example(b'{"ports":[0]}')
@example(b'{"ports":[0,0]}')
@example(b'{"ports":[0,50000]}')
@example(b'{"port":1e3}')
@example(b'{"port":45720,"port":1}')
@example(b"\xff\xfe{\x00}\x00")
def test_gluetun_tells_a_right_port_or_an_error(
    parrot: Parrot, gluetun: Gluetun, body: bytes
) -> None:
    parrot.body = body
    with contextlib.suppress(ServerError):
        port = gluetun.forwarded_port()
        assert type(port) is int
        assert port == NO_PORT or LOWEST_PORT <= port <= HIGHEST_PORT
    with contextlib.suppress(ServerError):
        gluetun.vpn_status(forwarded_port=0)
    with contextlib.suppress(ServerError):
        assert isinstance(gluetun.public_ip(), str)


LOG = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.integers(-5, 30) | JSON,
            "type": st.sampled_from([1, 2, 4, 8]) | JSON,
            "message": st.text() | st.from_regex(r"(TCP|UTP)/\d{1,30}") | JSON,
        }
    )
)


@FUZZ
@given(
    answers("listen_port", "random_port", "connection_status", "id", "libtorrent")
    | LOG.map(encoded),
    st.sampled_from([200, 200, 200, 204, 401, 403, 500]),
)
@example(b'[{"id":1,"type":2,"message":"TCP/' + b"9" * 5000 + b'"}]', 200)
@example(b'{"libtorrent":"' + b"9" * 5000 + b'"}', 200)
@example(b'{"listen_port":' + b"9" * 5000 + b"}", 200)
@example(b'[{"id":1,"type":2,"message":"TCP/' + "٣".encode() + b'"}]', 200)
def test_qbittorrent_tells_a_right_value_or_an_error(
    parrot: Parrot, qbittorrent: Qbittorrent, body: bytes, status: int
) -> None:
    parrot.body, parrot.status = body, status
    with contextlib.suppress(ServerError):
        assert isinstance(qbittorrent.listening(), Listening)
    with contextlib.suppress(ServerError):
        assert isinstance(qbittorrent.bind_result(45720), BindResult)
    for call in (
        qbittorrent.connection_status,
        qbittorrent.has_torrents,
        qbittorrent.learn_version,
        qbittorrent.needs_login,
        lambda: qbittorrent.log_in("password"),
        lambda: qbittorrent.send_listening_port(45720),
        lambda: qbittorrent.confirm_listening_port(45720),
    ):
        with contextlib.suppress(ServerError):
            call()
    parrot.status = 200


class Raw(SimulatedServer):
    """Says the same bytes to everybody, HTTP or not."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = b""

    def answer(self, request: Request) -> Answer:
        return Answer(200, close=True)

    def head(self, answer: Answer) -> bytes:
        return self.bytes

    def malformed(self, method: str | None) -> Answer:
        return Answer(400)


HEADS = st.sampled_from(
    [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\nContent-Length: "]
)


@FUZZ
@given(
    HEADS,
    st.binary(),
    st.sampled_from([b"", b"\r\n\r\n", b'\r\n\r\n{"port":45720}']),
)
@example(b"HTTP/1.1 200 OK\r\n", b"Transfer-Encoding: chunked", b"\r\n\r\nzz\r\n")
@example(b"HTTP/1.1 200 OK\r\n", b"Set-Cookie: \xff=\xff; expires=x", b"\r\n\r\n{}")
@example(b"HTTP/1.1 ", b"100 Continue", b"\r\n\r\n")
@example(b"HTTP/1.1 200 OK\r\nContent-Length: ", b"9" * 5000, b"\r\n\r\n{}")
@example(b"HTTP/1.1 200 OK\r\nContent-Length: ", b"-1", b"\r\n\r\n{}")
@example(b"HTTP/1.1 ", b"9" * 5000, b"\r\n\r\n{}")
@example(b"HTTP/1.1 200 OK\r\n", b"Content-Encoding: deflate, gzip, br", b"\r\n\r\n{}")
@example(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n" * 200, b"\r\n\r\n{}")
def test_what_is_no_http_is_an_error_of_ours(head: bytes, middle: bytes, end: bytes) -> None:
    with Raw() as server:
        server.bytes = head + middle + end
        made = GluetunConfig(server_at(server.port), "none", "", Secret(), Secret(), 0)
        client = Gluetun(made, 10)
        with contextlib.suppress(ServerError):
            assert client.forwarded_port() in (0, 45720)
        client.close()


# files


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


KEYS = [setting.yaml_path for setting in SETTINGS if setting.yaml_path]
ENTRIES = st.dictionaries(
    st.sampled_from(["name", "gluetun", "qbittorrent", "rebind"]) | st.text(),
    JSON | st.dictionaries(st.sampled_from([path[-1] for path in KEYS]) | st.text(), JSON),
)
YAML_WORDS = st.lists(
    st.sampled_from(
        [
            "tunnels",
            ":",
            "- ",
            "{",
            "}",
            "[",
            "]",
            "\n",
            "  ",
            "&a ",
            "*a",
            "!!python/object:os ",
            "<<",
            "!!int ",
            "? ",
            "|",
            ">",
            "'",
            '"',
            "#",
            "2024-13-45",
            "0o9",
            "1_000:60",
            "\t",
            "---",
            "%",
        ]
    )
    | st.text(max_size=5)
).map("".join)


@FUZZ
@given(
    st.binary()
    | YAML_WORDS.map(str.encode)
    | st.lists(ENTRIES).map(lambda tunnels: yaml.safe_dump({"tunnels": tunnels}).encode())
)
@example(b"&a [*a]")
@example(b"tunnels: [{<<: &a {<<: *a}}]")
@example(b"tunnels: [{? [1, 2] : 3}]")
@example(b"? {a: 1}\n: 2")
@example(b"tunnels: [{gluetun: {port: 0b" + b"1" * 20000 + b"}}]")
@example(b"tunnels: [{gluetun: {port: " + b"9" * 5000 + b"}}]")
@example(b"tunnels: [{0b" + b"1" * 20000 + b": 1}]")
@example(b"tunnels: [{name: 2024-02-30}]")
@example(b"tunnels: [{name: !!binary x}]")
@example(b"!!timestamp x")
@example(b"tunnels: [{!!set {a}: 1}]")
def test_any_yaml_file_is_a_configuration_or_a_list_of_mistakes(
    folder: Path, content: bytes
) -> None:
    file = folder / "config.yml"
    file.write_bytes(content)
    entries, mistakes = read_tunnels(file)
    assert entries or mistakes
    with contextlib.suppress(ConfigError):
        assert load_config({"QSTICKY_CONFIG": str(file)}, folder).tunnels


@FUZZ
@given(
    st.dictionaries(
        st.sampled_from([setting.name for setting in SETTINGS if setting.name != "QSTICKY_CONFIG"]),
        st.text()
        | st.integers().map(str)
        | st.sampled_from(["nan", "inf", "1e999", "[::1]", "::"]),
    )
)
@example({"CHECK_INTERVAL": "nan"})
@example({"GLUETUN_PORT_INDEX": "9" * 5000})
@example({"GLUETUN_HOST": "[::1%eth0]"})
@example({"HEALTH_FILE": "\x00"})
@example({"WEB_LISTEN_ADDRESS": "[::1]:٣"})
def test_any_environment_is_a_configuration_or_a_list_of_mistakes(
    folder: Path, environ: dict[str, str]
) -> None:
    with contextlib.suppress(ConfigError):
        made = load_config(environ, folder)
        assert 1 <= made.interval_seconds <= 3600
        assert 1 <= made.tunnels[0].gluetun.server.port <= 65535


FACTS = [
    *("last_forwarded_port", "last_port_change", "last_success", "out_of_sync_since"),
    *("failing_since", "login", "attempts_at", "rejections", "suspended_until", "reason"),
    *("fingerprint", "healthy", "timestamp", "interval_seconds", "state", "tunnels", "vpn"),
]
TIMES_AS_TEXT = st.sampled_from(["2026-01-01T00:00:00+00:00", "0001-01-01T00:00:00+14:00", "x"])
NEARLY_FACTS = st.recursive(
    JSON | TIMES_AS_TEXT,
    lambda inner: st.dictionaries(st.sampled_from(FACTS), inner),
    max_leaves=20,
)
STATUS_FILES = st.fixed_dictionaries(
    {
        "healthy": st.booleans(),
        "state": st.sampled_from(["in_sync", "stopped"]),
        "timestamp": TIMES_AS_TEXT | JSON,
        "interval_seconds": ODD_NUMBERS | JSON,
        "tunnels": st.dictionaries(st.text(), NEARLY_FACTS) | JSON,
    }
)


@FUZZ
@given(st.binary() | JSON.map(encoded) | STATUS_FILES.map(encoded))
@example(b'{"healthy":true,"tunnels":{"a":{"last_success":"0001-01-01T00:00:00+14:00"}}}')
@example(b'{"healthy":true,"tunnels":{"a":{"last_forwarded_port":1e400}}}')
@example(b'{"healthy":true,"tunnels":{"a":{"login":{"attempts_at":[1e400]}}}}')
@example(b"[" * 100_000)
@example(b"9" * 5000)
def test_any_status_file_is_judged_and_never_fatal(folder: Path, content: bytes) -> None:
    path = folder / "status.json"
    path.write_bytes(content)
    healthy, text = judge(str(path), NOW)
    assert text.startswith("healthy: " if healthy else "unhealthy: ")
    with contextlib.suppress(StatusFileError):
        remembered(path)
    assert not path.exists() or remembered(path) is not None


@settings(FUZZ, max_examples=40)
@given(STATUS_FILES.map(encoded))
def test_qsticky_starts_and_works_on_any_status_file(folder: Path, content: bytes) -> None:
    path = folder / "started" / "status.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content.replace(b'"tunnels": {"', b'"tunnels": {"default": {}, "'))
    with Rig(path.parent) as rig:
        assert rig.next_check().state is SyncState.IN_SYNC
        assert rig.status["healthy"] is True


# our own web server


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with tempfile.TemporaryDirectory() as made, Rig(Path(made)) as rig:
        rig.next_check()
        rig.run_for(1)
        yield rig


HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "HTTP_ACCEPT",
            "HTTP_ACCEPT_ENCODING",
            "HTTP_ORIGIN",
            "HTTP_HOST",
            "HTTP_SEC_FETCH_SITE",
            "HTTP_AUTHORIZATION",
            "CONTENT_TYPE",
            "CONTENT_LENGTH",
        ]
    ),
    st.text(st.characters(max_codepoint=255))
    | st.sampled_from(["application/x-www-form-urlencoded", "gzip;q=0", "http://[", "*/*;q=x"]),
)


@FUZZ
@given(
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "", "\x00"]),
    st.sampled_from(["/", "/metrics", "/status.json", "/-/healthy", "/-/ready", "/-/sync"])
    | st.text(st.characters(max_codepoint=255)),
    st.text(st.characters(max_codepoint=255))
    | st.sampled_from(["tunnel=default", "state=x", "asked", "name[]=a", "refresh=off"]),
    HEADERS,
    st.binary(),
)
@example("POST", "/-/sync", "", {"HTTP_ORIGIN": "http://["}, b"")
@example("POST", "/-/sync", "", {"HTTP_ORIGIN": "http://[::1]]"}, b"")
@example("GET", "/metrics", "", {"HTTP_ACCEPT": "application/openmetrics-text;version=x"}, b"")
@example("GET", "/", "tunnel=%ff%00", {}, b"")
def test_any_request_to_our_web_application_is_answered(  # noqa: PLR0913, PLR0917  # parts of a request
    rig: Rig, method: str, path: str, query: str, headers: dict[str, str], body: bytes
) -> None:
    answered: list[str] = []
    environ: Any = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "wsgi.input": io.BytesIO(body),
        **headers,
    }
    said: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = said.append  # type: ignore[method-assign, assignment]
    logging.getLogger("qsticky").addHandler(handler)

    def start_response(status: str, sent: list[tuple[str, str]], _: Any = None) -> Any:
        answered.append(status)
        for name, value in sent:
            assert "\n" not in name + value
            assert "\r" not in name + value

    try:
        b"".join(rig.app(environ, start_response))
    finally:
        logging.getLogger("qsticky").removeHandler(handler)
    assert int(answered[0][:3]) in (200, 202, 303, 400, 403, 404, 405, 503)
    assert [record.getMessage() for record in said if record.levelno >= logging.ERROR] == []


@pytest.fixture(scope="module")
def address(rig: Rig) -> Iterator[tuple[str, int]]:
    server = WebServer(rig.app, "127.0.0.1:0")
    server.start()
    host, _, port = server.address.rpartition(":")
    yield host, int(port)
    server.stop()


LINES = st.lists(
    st.sampled_from(
        [
            b"GET / HTTP/1.1\r\n",
            b"POST /-/sync HTTP/1.1\r\n",
            b"GET http://[ HTTP/1.1\r\n",
            b"Host: a\r\n",
            b"Content-Length: 5\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"\r\n",
            b"Content-Length: -1\r\n",
            b"Expect: 100-continue\r\n",
            b"5\r\nabcde\r\n",
            b"0\r\n\r\n",
        ]
    )
    | st.binary(max_size=40)
).map(b"".join)


@FUZZ
@given(LINES)
def test_no_bytes_whatever_stop_our_web_server(address: tuple[str, int], sent: bytes) -> None:
    with socket.create_connection(address, timeout=10) as connection, contextlib.suppress(OSError):
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_the_pages_know_every_state() -> None:
    """What the fuzzed pages are made of."""
    assert set(WORDS) == set(SyncState)
    assert IN_SYNC.state in WORDS
