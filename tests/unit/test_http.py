"""HTTP within limits, against servers that keep to none."""

import gzip
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from urllib3 import HTTPHeaderDict

from exporter.config.load import Server
from exporter.errors import HttpError, InvalidResponse, ServerError, TimedOut, Unauthorized
from exporter.model import Reason
from exporter.servers.http import Response, Transport
from exporter.simulator.faults import Fault, Status
from exporter.simulator.http import Answer, Request
from tests.conftest import Certificate
from tests.parts.plain_server import PlainServer

SHORT = 0.3
"""A timeout, in seconds, for what is to run into it."""
MUCH_LONGER = 4.0
"""What a test may take with it on a busy machine; what drips would take longer still."""

NEVER = threading.Event()

Script = Callable[[socket.socket], None]


class EchoServer(PlainServer):
    """Answers every request with its method, target and body."""

    def answer(self, request: Request) -> Answer:
        lines = [request.method.encode(), request.target.encode(), request.body]
        return Answer(200, b"\n".join(lines), {"content-type": "text/plain", "x-name": "echo"})


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    with EchoServer() as server:
        yield server


class Connections:
    """How many connections a scripted server has seen."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.count = 0


@contextmanager
def scripted(*scripts: Script) -> Iterator[Connections]:
    """A server that does with its first connection what the first script says, and so on.

    The last script is for all further connections too.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    seen = Connections(listener.getsockname()[1])

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                script = scripts[min(seen.count, len(scripts) - 1)]
                seen.count += 1
                threading.Thread(target=run, args=(script, connection), daemon=True).start()

    def run(script: Script, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            script(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def read_request(connection: socket.socket) -> None:
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            raise ConnectionAbortedError
        received += chunk


def answers(*contents: bytes, then: float = 0.0) -> Script:
    """Read a request and send these bytes, for each in turn; then close."""

    def script(connection: socket.socket) -> None:
        for content in contents:
            read_request(connection)
            NEVER.wait(then)
            connection.sendall(content)

    return script


def drips(at_once: bytes, drop: bytes) -> Script:
    """Send the beginning at once, then a drop every 50 ms until the client has enough of it."""

    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(at_once)
        while True:
            connection.sendall(drop)
            NEVER.wait(0.05)

    return script


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOk"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def packed(body: bytes) -> bytes:
    content = gzip.compress(body)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def closes(connection: socket.socket) -> None:
    """Read one request and close the connection without an answer."""
    read_request(connection)


def answers_once_then_closes(connection: socket.socket) -> None:
    """Keep the connection open after an answer, and close it when it is used again."""
    read_request(connection)
    connection.sendall(OK)
    read_request(connection)


def transport(  # noqa: PLR0913  # each is an option, given by name
    port: int,
    timeout: float = 5.0,
    *,
    host: str = "127.0.0.1",
    https: bool = False,
    verify: bool | str = True,
    proxy: str = "",
) -> Transport:
    server = Server(host, port, https=https, verify=verify)
    return Transport("Gluetun", server, timeout, proxy=proxy)


def failure(call: Callable[[], Response]) -> ServerError:
    with pytest.raises(ServerError) as raised:
        call()
    return raised.value


# What goes well


def test_a_response_has_its_status_headers_and_body(echo: EchoServer) -> None:
    response = transport(echo.port).get("/v1/portforward", params={"a": "1 2"})
    assert response.status == 200
    assert response.headers["X-Name"] == "echo"
    assert response.body == b"GET\n/v1/portforward?a=1+2\n"


def test_a_form_is_posted_and_a_document_is_put(echo: EchoServer) -> None:
    client = transport(echo.port)
    form = {"username": "ann", "password": "pässword&"}
    assert client.post("/x", form).body == b"POST\n/x\nusername=ann&password=p%C3%A4ssword%26"
    assert client.put("/x", {"status": "running"}).body == b'PUT\n/x\n{"status": "running"}'


def test_a_status_that_stands_for_an_error_is_a_response_like_any_other(echo: EchoServer) -> None:
    echo.fail(None, Status(503, "busy"))
    response = transport(echo.port).get("/")
    assert (response.status, response.body) == (503, b"busy")


def test_a_compressed_body_is_read() -> None:
    with scripted(answers(packed(b'{"port":45720}'))) as server:
        assert transport(server.port).get("/").json() == {"port": 45720}


def test_one_connection_is_used_for_several_requests() -> None:
    with scripted(answers(OK, OK)) as server:
        client = transport(server.port)
        assert [client.get("/").body, client.post("/", {}).body] == [b"Ok", b"Ok"]
        assert server.count == 1


def test_each_target_has_a_request_of_its_own(echo: EchoServer) -> None:
    client = transport(echo.port)
    for number in range(100):
        body = client.get("/log", params={"after": str(number % 40)}).body
        assert body == b"GET\n/log?after=%d\n" % (number % 40)


# Headers


def sent(echo: EchoServer, name: str) -> list[str | None]:
    """That header of each request."""
    return [headers.get(name) for _, _, headers in echo.requests]


def test_a_changed_header_is_sent_with_the_next_request(echo: EchoServer) -> None:
    client = transport(echo.port)
    for value in (None, "first", b"second", b"second", "two words", "grün".encode(), None):
        client.set_header("X-API-Key", value)
        client.get("/")
    assert sent(echo, "x-api-key") == [
        *(None, "first", "second", "second", "two words", "grÃ¼n", None)
    ]


@pytest.mark.parametrize(
    "value", ["", " canary", b" canary", b"canary ", b"canary\t", b"can\nary", "canary\r\n", b"\0"]
)
def test_what_no_header_can_hold_is_an_error_that_does_not_show_it(value: str | bytes) -> None:
    with pytest.raises(Unauthorized) as caught:
        transport(1).set_header("X-API-Key", value)
    assert caught.value.fix == "write the key alone, on one line"
    assert "ary" not in "".join(traceback.format_exception(caught.value, limit=0))
    assert caught.value.__context__ is None


def test_no_cookie_is_kept_here_so_none_for_gluetun() -> None:
    cookies = b"Set-Cookie: SID=one; path=/\r\nSet-Cookie: b=two\r\n"
    received: list[bytes] = []

    def script(connection: socket.socket) -> None:
        for _ in "ab":
            received.append(connection.recv(65536))
            connection.sendall(OK.replace(b"Content", cookies + b"Content"))

    with scripted(script) as server:
        client = transport(server.port)
        assert client.get("/").headers.getlist("Set-Cookie") == ["SID=one; path=/", "b=two"]
        client.get("/")

    assert [b"Cookie" in request for request in received] == [False, False]


# Time


@pytest.mark.parametrize(
    ("at_once", "drop"),
    [
        pytest.param(b"", b"H", id="status line"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"X-Drop: 1\r\n", id="headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x", id="body"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", b"x", id="body without length"),
        pytest.param(CHUNKED, b"1\r\nx\r\n", id="chunks"),
        pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n", id="interim answers"),
    ],
)
def test_a_response_that_drips_ends_at_the_timeout(at_once: bytes, drop: bytes) -> None:
    with scripted(drips(at_once, drop)) as server:
        started = time.monotonic()
        error = failure(lambda: transport(server.port, SHORT).get("/"))
        took = time.monotonic() - started
    assert type(error) is TimedOut
    assert error.message == f"Gluetun at 127.0.0.1:{server.port} did not answer within 0.3 s"
    assert SHORT <= took < MUCH_LONGER


def test_a_handshake_without_an_answer_runs_into_the_timeout(echo: EchoServer) -> None:
    echo.fail(None, Fault.HANG)
    error = failure(lambda: transport(echo.port, SHORT, https=True).get("/"))
    assert error.reason is Reason.TIMEOUT


def test_each_request_on_a_connection_has_the_whole_timeout() -> None:
    with scripted(answers(OK, OK, then=0.6)) as server:  # longer than half of the timeout
        client = transport(server.port, 1.1)
        assert [client.get("/").body, client.get("/").body] == [b"Ok", b"Ok"]
        assert server.count == 1


# Size


def test_a_body_is_measured_after_it_is_unpacked() -> None:
    with scripted(answers(packed(b" " * 1_000_001))) as server:
        error = failure(lambda: transport(server.port).get("/"))
    assert error.message.endswith("answered with more than 1000000 bytes")


def test_a_request_can_have_a_limit_of_its_own(echo: EchoServer) -> None:
    client = transport(echo.port)
    assert client.get("/", limit=6).body == b"GET\n/\n"
    assert failure(lambda: client.get("/", limit=5)).reason is Reason.INVALID_RESPONSE


# Redirects, and what the environment says


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status: int) -> None:
    head = f"HTTP/1.1 {status} Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    with scripted(answers(head.encode())) as server:
        assert transport(server.port).get("/").status == status
        assert server.count == 1


def test_no_proxy_and_no_password_is_taken_from_the_environment(
    echo: EchoServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ann password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with EchoServer() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)

        assert transport(echo.port).get("/").status == 200
        assert proxy.requests == []
    assert sent(echo, "authorization") == [None]


# Connections that break


def test_a_kept_connection_that_was_closed_is_opened_again_for_a_get() -> None:
    with scripted(answers_once_then_closes, answers(OK)) as server:
        client = transport(server.port)
        assert [client.get("/").body, client.get("/").body] == [b"Ok", b"Ok"]
        assert server.count == 2


def test_a_get_is_asked_again_only_once_and_fails_with_the_last_error() -> None:
    with scripted(closes) as server:
        error = failure(lambda: transport(server.port).get("/"))
        assert error.reason is Reason.CONNECTION
        assert error.fix.endswith("if it speaks HTTPS only, switch GLUETUN_HTTPS on")
        assert server.count == 2
    with scripted(closes, answers(b"SSH-2.0-OpenSSH_9.2\r\n")) as server:
        assert failure(lambda: transport(server.port).get("/")).reason is Reason.INVALID_RESPONSE


def test_a_post_is_never_sent_twice() -> None:
    with scripted(answers_once_then_closes, answers(OK)) as server:
        client = transport(server.port)
        client.get("/")
        assert failure(lambda: client.post("/", {"a": "b"})).reason is Reason.CONNECTION
        assert server.count == 1


# Faults, each kind once

FAULTS = {
    Fault.REFUSE: Reason.CONNECTION,
    Fault.RESET: Reason.CONNECTION,
    Fault.LOST: Reason.CONNECTION,
    Fault.HANG: Reason.TIMEOUT,
    Fault.SLOW: Reason.TIMEOUT,
    Fault.CUT: Reason.INVALID_RESPONSE,
    Fault.HUGE: Reason.INVALID_RESPONSE,
    Fault.ENDLESS: Reason.INVALID_RESPONSE,
    Fault.BAD_GZIP: Reason.INVALID_RESPONSE,
}


@pytest.mark.parametrize(("fault", "reason"), FAULTS.items(), ids=str)
def test_each_kind_of_fault_has_its_reason(fault: Fault, reason: Reason, echo: EchoServer) -> None:
    echo.fail(None, fault)
    timeout = SHORT if reason is Reason.TIMEOUT else MUCH_LONGER
    assert failure(lambda: transport(echo.port, timeout).get("/")).reason is reason


def test_a_name_that_nobody_knows_is_a_failed_connection() -> None:
    error = failure(lambda: transport(8000, host="nobody.invalid").get("/"))
    assert error.reason is Reason.CONNECTION


# Answers that are none

NO_HTTP = {
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "status": b"HTTP/1.1 banana\r\n\r\n",
    "long header": b"HTTP/1.1 200 OK\r\n" + b"A" * 70_000 + b": b\r\n\r\n",
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
    "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
    "cut chunk": CHUNKED + b"5\r\nhal",
    "cut gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 10\r\n\r\n\x1f\x8b",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nOk",
    "no chunk": CHUNKED + b"xyz\r\n",
    "chunk of a negative size": CHUNKED + b"-5\r\nhello\r\n",
}


@pytest.mark.parametrize("content", NO_HTTP.values(), ids=NO_HTTP)
def test_an_answer_that_is_not_http_is_invalid(content: bytes) -> None:
    with scripted(answers(content)) as server:
        error = failure(lambda: transport(server.port).get("/"))
    assert error.reason is Reason.INVALID_RESPONSE


@pytest.mark.parametrize("kind", ["cut", "cut chunk", "cut gzip"])
def test_a_body_that_is_cut_is_not_kept_in_the_error(kind: str) -> None:
    """It may be preferences, which hold passwords."""
    with scripted(answers(NO_HTTP[kind])) as server:
        error: BaseException | None = failure(lambda: transport(server.port).get("/"))
    while error:
        assert "hal" not in repr(error) + repr(error.args)
        error = error.__cause__ or error.__context__


def test_what_could_not_be_sent_is_not_sent_with_the_next_request(echo: EchoServer) -> None:
    client = transport(echo.port)
    client.set_header("X-Kind", "\N{SNOWMAN}")
    with pytest.raises(ServerError):
        client.get("/")
    client.set_header("X-Kind", None)
    assert client.get("/next").body == b"GET\n/next\n"


def test_what_follows_a_body_is_no_part_of_it_nor_of_the_next_one(echo: EchoServer) -> None:
    client = transport(echo.port)
    echo.fail(None, Fault.WRONG_LENGTH, times=1)
    assert client.get("/").body == b"GET"
    assert client.get("/next").body == b"GET\n/next\n"


PAGE = "with an HTML page; is that a proxy's login page?"
NO_JSON = "with something that is not JSON"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "with an empty body"),
        (b" \n", "with an empty body"),
        (b"<!DOCTYPE html><title>Sign in", PAGE),
        (b"  <HTML>", PAGE),
        (b"hunter2", NO_JSON),
        (b"\xff\xfe\xfd", NO_JSON),
        (b'{"port":', NO_JSON),
        pytest.param(b"[" * 100_000, NO_JSON, id="deep"),
        pytest.param(b'{"port":' + b"9" * 5000 + b"}", NO_JSON, id="a number of 5,000 digits"),
    ],
)
def test_a_body_that_is_not_json_is_described_and_not_shown(body: bytes, said: str) -> None:
    with pytest.raises(InvalidResponse) as raised:
        Response(200, HTTPHeaderDict(), body, "Gluetun").json()
    assert raised.value.message == f"Gluetun answered {said}"


# a status that nobody expects


@pytest.mark.parametrize(
    ("status", "location", "port"),
    [
        (301, "https://gluetun/api", 443),
        (308, "https://gluetun:8443", 8443),
        (302, "https://gluetun/login?from=/api", 443),
        (307, "HTTPS://GLUETUN:8443/", 8443),
        (302, "https://login.example/", None),
        (301, "https://another.example/api", None),
        (301, "http://gluetun:8001/", None),
        (301, "/elsewhere", None),
        (301, "https://gluetun:port/", None),
        (201, "https://gluetun/", None),
        (301, None, None),
    ],
)
def test_a_redirect_to_https_says_what_to_set_and_no_other_does(
    status: int, location: str | None, port: int | None
) -> None:
    headers = HTTPHeaderDict() if location is None else HTTPHeaderDict(Location=location)
    error = transport(8000, host="gluetun").unexpected_status(Response(status, headers, b"", ""))
    assert error.message == f"Gluetun at gluetun:8000 answered with status {status}"
    said = f"it redirects to HTTPS: set GLUETUN_HOST=https://gluetun:{port}"
    assert error.fix == (said if port else HttpError.default_fix)


# TLS


@contextmanager
def https_server(certificate: Certificate, host: str = "127.0.0.1") -> Iterator[EchoServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.file, certificate.key)
    with EchoServer(host, context=context) as server:
        yield server


def test_a_certificate_is_trusted_by_its_authority_or_not_verified_without_a_warning(
    certificate: Certificate,
) -> None:
    with https_server(certificate) as server:
        for verify in (str(certificate.file), False):
            client = transport(server.port, https=True, verify=verify)
            assert client.get("/").body == b"GET\n/\n"
            client.close()


def test_an_unknown_authority_is_said_whatever_the_environment_names(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(certificate.file))
    with https_server(certificate) as server:
        error = failure(lambda: transport(server.port, https=True).get("/"))
    assert error.reason is Reason.TLS
    assert error.message.endswith("presented an untrusted certificate: self-signed certificate")


def test_an_authority_that_is_gone_since_the_start_is_said(tmp_path: Path) -> None:
    with scripted(closes) as server:
        client = transport(server.port, https=True, verify=str(tmp_path / "gone.pem"))
        error = failure(lambda: client.get("/"))
    assert error.message.endswith("was not asked: the certificate authority can't be read")
    assert "GLUETUN_CA_FILE" in error.fix


def test_a_certificate_for_another_name_is_said(certificate: Certificate) -> None:
    with https_server(certificate, "127.0.0.2") as server:
        client = transport(server.port, host="127.0.0.2", https=True, verify=str(certificate.file))
        error = failure(lambda: client.get("/"))
    assert "IP address mismatch" in error.message
    assert error.fix.startswith("set GLUETUN_HOST to a name in the certificate's subjectAltName; ")


def test_a_drip_over_https_ends_at_the_timeout_too(certificate: Certificate) -> None:
    with https_server(certificate) as server:
        server.fail(None, Fault.SLOW)
        started = time.monotonic()
        error = failure(lambda: transport(server.port, 1.0, https=True, verify=False).get("/"))
    assert error.reason is Reason.TIMEOUT
    assert time.monotonic() - started < 1.0 + MUCH_LONGER


def tunnel_to(port: int) -> Script:
    """As a proxy does: let the client speak with a server."""

    def script(connection: socket.socket) -> None:
        read_request(connection)
        with socket.create_connection(("127.0.0.1", port)) as server:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=pump, args=(server, connection), daemon=True)
            back.start()
            pump(connection, server)
            back.join()

    return script


def pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("slow", [False, True])
def test_https_through_a_proxy_is_verified_and_ends_at_the_timeout_too(
    certificate: Certificate, slow: bool
) -> None:
    with https_server(certificate) as server, scripted(tunnel_to(server.port)) as proxy:
        client = transport(
            server.port,
            1.0,
            https=True,
            verify=str(certificate.file),
            proxy=f"http://127.0.0.1:{proxy.port}",
        )
        if slow:
            server.fail(None, Fault.SLOW)
            assert failure(lambda: client.get("/")).reason is Reason.TIMEOUT
        else:
            assert client.get("/").body == b"GET\n/\n"
        assert proxy.count == 1
        client.close()


def test_a_proxy_is_given_the_whole_url() -> None:
    asked = []

    def script(connection: socket.socket) -> None:
        asked.append(connection.recv(65536).split(b"\r\n")[0])
        connection.sendall(OK)

    with scripted(script) as proxy:
        client = transport(8000, host="nas.invalid", proxy=f"http://127.0.0.1:{proxy.port}")
        assert client.get("/a").body == b"Ok"
        client.close()
    assert asked == [b"GET http://nas.invalid:8000/a HTTP/1.1"]


def test_a_proxy_that_drips_ends_at_the_timeout() -> None:
    with scripted(drips(b"HTTP/1.1 200", b" ")) as proxy:
        started = time.monotonic()
        at = f"http://127.0.0.1:{proxy.port}"
        error = failure(lambda: transport(443, SHORT, https=True, proxy=at).get("/"))
    assert error.reason is Reason.TIMEOUT
    assert time.monotonic() - started < SHORT + MUCH_LONGER


def test_a_port_that_does_not_speak_tls_is_said() -> None:
    def plain(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with scripted(plain) as server:
        error = failure(lambda: transport(server.port, https=True).get("/"))

    assert error.reason is Reason.TLS
    assert error.fix == "check that it speaks HTTPS on that port, or switch GLUETUN_HTTPS off"


def test_a_connection_that_is_reset_in_the_handshake_is_a_failed_connection() -> None:
    def resets(connection: socket.socket) -> None:
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with scripted(resets) as server:
        error = failure(lambda: transport(server.port, https=True).get("/"))
    assert error.reason is Reason.CONNECTION


# What it brings along


def test_no_guesser_of_character_sets_is_loaded() -> None:
    code = (
        "import sys; from exporter.servers.http import Transport; "
        "print({'chardet', 'charset_normalizer'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("set()\n", "")
