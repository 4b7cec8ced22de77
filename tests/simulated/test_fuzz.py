"""Nonsense for every parser: whatever comes in, an error of ours comes out, or a right value."""

import contextlib
import io
import json
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exporter.clock import Clock
from exporter.config.load import GluetunConfig, QbittorrentConfig, Server, load_config
from exporter.config.secret import Secret
from exporter.config.settings import SETTINGS
from exporter.config.tunnels_file import read_tunnels
from exporter.errors import ConfigError, ServerError, StatusFileError
from exporter.healthcheck import judge
from exporter.model import HIGHEST_PORT, LOWEST_PORT, NO_PORT, BindResult, SyncState
from exporter.report.saved import read_saved
from exporter.servers.gluetun import Gluetun
from exporter.servers.logins import Logins
from exporter.servers.operations import Operations
from exporter.servers.qbittorrent import Listening, Qbittorrent
from exporter.simulator.http import Answer, Request
from tests.fakes import START, FakeClock
from tests.parts.plain_server import PlainServer
from tests.rig import Rig

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


class Parrot(PlainServer):
    """Says the same to everybody: a body, or bytes that need not be HTTP."""

    def __init__(self) -> None:
        super().__init__()
        self.body = b""
        self.status = 200
        self.raw: bytes | None = None

    def answer(self, request: Request) -> Answer:
        body = self.body if self.raw is None else b""
        return Answer(self.status, body, close=self.raw is not None)

    def head(self, answer: Answer) -> bytes:
        return super().head(answer) if self.raw is None else self.raw


@pytest.fixture
def parrot() -> Iterator[Parrot]:
    with Parrot() as server:
        yield server


@pytest.fixture
def gluetun(parrot: Parrot) -> Iterator[Gluetun]:
    server = Server("127.0.0.1", parrot.port, https=False, verify=True)
    client = Gluetun(GluetunConfig(server, "none", "", Secret(), Secret(), 0), 10)
    yield client
    client.close()


@pytest.fixture
def qbittorrent(parrot: Parrot) -> Iterator[Qbittorrent]:
    server = Server("127.0.0.1", parrot.port, https=False, verify=True)
    config = QbittorrentConfig(server, "admin", Secret("x"), Secret())
    client = Qbittorrent(config, 10, Logins(server.address, Clock()))
    yield client
    client.close()


@pytest.fixture
def did() -> Operations:
    return Operations(Clock())


@given(answers("port", "ports", "status", "public_ip"))
@example(b'{"ports":[0]}')
@example(b'{"ports":[0,50000]}')
@example(b'{"port":1e3}')
@example(b'{"port":45720,"port":1}')
@example(b"\xff\xfe{\x00}\x00")
def test_gluetun_says_a_right_port_or_an_error(
    parrot: Parrot, gluetun: Gluetun, did: Operations, body: bytes
) -> None:
    parrot.body = body
    with contextlib.suppress(ServerError):
        port = gluetun.forwarded_port(did)
        assert type(port) is int
        assert port == NO_PORT or LOWEST_PORT <= port <= HIGHEST_PORT
    with contextlib.suppress(ServerError):
        gluetun.vpn_status(did, forwarded_port=0)
    with contextlib.suppress(ServerError):
        assert isinstance(gluetun.public_ip(did), str)


LOG = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.integers(-5, 30) | JSON,
            "type": st.sampled_from([1, 2, 4, 8]) | JSON,
            "message": st.text() | st.from_regex(r"(TCP|UTP)/\d{1,30}") | JSON,
        }
    )
)


@given(
    answers("listen_port", "random_port", "connection_status", "id", "libtorrent")
    | LOG.map(encoded),
    st.sampled_from([200, 200, 200, 204, 401, 403, 500]),
)
@example(b'[{"id":1,"type":2,"message":"TCP/' + b"9" * 5000 + b'"}]', 200)
@example(b'{"libtorrent":"' + b"9" * 5000 + b'"}', 200)
@example(b'{"listen_port":' + b"9" * 5000 + b"}", 200)
@example(b'[{"id":1,"type":2,"message":"TCP/' + "٣".encode() + b'"}]', 200)
def test_qbittorrent_says_a_right_value_or_an_error(
    parrot: Parrot, qbittorrent: Qbittorrent, did: Operations, body: bytes, status: int
) -> None:
    parrot.body, parrot.status = body, status
    for ask in (
        lambda: qbittorrent.listening(did),
        lambda: qbittorrent.bind_result(did, 45720),
        lambda: qbittorrent.connection_status(did),
        lambda: qbittorrent.has_torrents(did),
        lambda: qbittorrent.learn_version(did),
        lambda: qbittorrent.set_listening_port(did, 45720),
    ):
        qbittorrent.session.open = True  # past the login, to the parser
        with contextlib.suppress(ServerError):
            assert isinstance(ask(), (Listening, BindResult, str, bool, type(None)))
    with contextlib.suppress(ServerError):
        qbittorrent.session.needs_login(did)
    with contextlib.suppress(ServerError):
        qbittorrent.session._post_login(("admin", "x"))


OK = b"HTTP/1.1 200 OK\r\n"


@given(
    st.tuples(
        st.sampled_from([b"", OK, b"HTTP/1.1 ", OK + b"Content-Length: "]),
        st.binary(),
        st.sampled_from([b"", b"\r\n\r\n", b'\r\n\r\n{"port":45720}']),
    ).map(b"".join)
)
@example(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")
@example(OK + b"Set-Cookie: \xff=\xff; expires=x\r\n\r\n{}")
@example(b"HTTP/1.1 100 Continue\r\n\r\n")
@example(OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n{}")
@example(OK + b"Content-Length: -1\r\n\r\n{}")
@example(b"HTTP/1.1 " + b"9" * 5000 + b"\r\n\r\n{}")
@example(OK + b"Content-Encoding: deflate, gzip, br\r\n\r\n{}")
@example(OK + b"A: b\r\n" * 200 + b"\r\n\r\n{}")
def test_what_is_no_http_is_an_error_of_ours(
    parrot: Parrot, gluetun: Gluetun, did: Operations, raw: bytes
) -> None:
    parrot.raw = raw
    with contextlib.suppress(ServerError):
        assert gluetun.forwarded_port(did) in (0, 45720)
    gluetun.close()


# files


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


KEYS = [setting.yaml_path for setting in SETTINGS if setting.yaml_path]
ENTRIES = st.dictionaries(
    st.sampled_from(["name", "gluetun", "qbittorrent", "rebind"]) | st.text(),
    JSON | st.dictionaries(st.sampled_from([path[-1] for path in KEYS]) | st.text(), JSON),
)
YAML_WORDS = st.lists(
    st.sampled_from("{}[]:#?|>'\"%-\n\t ")
    | st.sampled_from(["tunnels", "- ", "  ", "&a ", "*a", "<<", "!!int ", "2024-13-45", "0o9"])
    | st.text(max_size=5)
).map("".join)


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
    *("failing_since", "waiting_since", "login", "attempts_at", "rejections", "suspended_until"),
    *("reason", "fingerprint", "server", "vpn_restart", "restarted_at", "restarts", "unfinished"),
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
        "tunnels": st.dictionaries(st.just("default") | st.text(), NEARLY_FACTS) | JSON,
    }
)


@given(st.binary() | JSON.map(encoded) | STATUS_FILES.map(encoded))
@example(b'{"healthy":true,"tunnels":{"a":{"last_success":"0001-01-01T00:00:00+14:00"}}}')
@example(b'{"healthy":true,"tunnels":{"a":{"last_forwarded_port":1e400}}}')
@example(b'{"healthy":true,"tunnels":{"a":{"login":{"attempts_at":[1e400]}}}}')
@example(b"[" * 100_000)
@example(b"9" * 5000)
def test_any_status_file_is_judged_and_never_fatal(folder: Path, content: bytes) -> None:
    path = folder / "status.json"
    path.write_bytes(content)
    healthy, text = judge(str(path), START)
    assert text.startswith("healthy: " if healthy else "unhealthy: ")
    with contextlib.suppress(StatusFileError):
        read_saved(path, FakeClock())
    assert not path.exists() or read_saved(path, FakeClock()) is not None


@settings(max_examples=15)
@given(STATUS_FILES.map(encoded))
def test_qsticky_starts_and_works_on_any_status_file(folder: Path, content: bytes) -> None:
    (folder / "status.json").write_bytes(content)
    with Rig(folder) as rig:
        assert rig.check().state is SyncState.IN_SYNC
        assert rig.status["healthy"] is True


# our own web application

HEADERS = st.dictionaries(
    st.sampled_from(
        ["HTTP_ACCEPT", "HTTP_ORIGIN", "HTTP_HOST", "HTTP_AUTHORIZATION", "CONTENT_LENGTH"]
    ),
    st.text(st.characters(max_codepoint=255))
    | st.sampled_from(["gzip;q=0", "http://[", "*/*;q=x"]),
)


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
    if not rig.checked:
        rig.check()
    answered: list[str] = []
    environ: Any = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "wsgi.input": io.BytesIO(body),
        **headers,
    }
    rig.lines()

    def start_response(status: str, sent: list[tuple[str, str]], _: Any = None) -> Any:
        answered.append(status)
        for name, value in sent:
            assert "\n" not in name + value
            assert "\r" not in name + value

    b"".join(rig.service.app(environ, start_response))
    assert int(answered[0][:3]) in (200, 202, 303, 400, 403, 404, 405, 503)
    assert logging.getLevelName(logging.ERROR) not in dict(rig.lines())
