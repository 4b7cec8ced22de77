"""HTTP within limits, against servers that keep to none."""

import gzip
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from exporter.config.load import Server
from exporter.errors import (
    InvalidResponse,
    ServerError,
    TimedOut,
    TlsFailed,
    Unauthorized,
    Unreachable,
)
from exporter.model import Reason
from exporter.servers.http import Response, Transport
from exporter.simulator.faults import Fault, RedirectAway, Status
from exporter.simulator.http import Answer, Request
from exporter.simulator.server import SimulatedServer
from tests.conftest import Certificate

SHORT = 0.3
"""A timeout, in seconds, for what is to run into it."""
MUCH_LONGER = 4.0
"""What a test may take with it on a busy machine; what drips would take longer still."""

NEVER = threading.Event()

Script = Callable[[socket.socket], None]


class EchoServer(SimulatedServer):
    """Answers every request with its method, target and body."""

    def answer(self, request: Request) -> Answer:
        lines = [request.method.encode(), request.target.encode(), request.body]
        return Answer(200, b"\n".join(lines), {"content-type": "text/plain", "x-name": "echo"})

    def head(self, answer: Answer) -> bytes:
        headers = {**answer.headers, "content-length": str(len(answer.body))}
        lines = [f"HTTP/1.1 {answer.status} Whatever", *(f"{k}: {v}" for k, v in headers.items())]
        return "\r\n".join([*lines, "\r\n"]).encode()

    def malformed(self, method: str | None) -> Answer:
        return Answer(400)


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


def answers(content: bytes) -> Script:
    """Read one request, send these bytes, close."""

    def script(connection: socket.socket) -> None:
        read_request(connection)
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


def closes(connection: socket.socket) -> None:
    """Read one request and close the connection without an answer."""
    read_request(connection)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOk"


def answers_once_then_closes(connection: socket.socket) -> None:
    """Keep the connection open after an answer, and close it when it is used again."""
    read_request(connection)
    connection.sendall(OK)
    read_request(connection)


def transport(
    port: int,
    timeout: float = 5.0,
    *,
    host: str = "127.0.0.1",
    https: bool = False,
    verify: bool | str = True,
) -> Transport:
    return Transport("Gluetun", Server(host, port, https=https, verify=verify), timeout)


def failure(call: Callable[[], Response]) -> ServerError:
    with pytest.raises(ServerError) as raised:
        call()
    return raised.value


# What goes well


def test_an_answer_has_its_status_headers_and_body(echo: EchoServer) -> None:
    response = transport(echo.port).get("/v1/portforward", params={"a": "1 2"})

    assert response.status == 200
    assert response.headers["X-Name"] == "echo"
    assert response.body == b"GET\n/v1/portforward?a=1+2\n"


def test_a_form_is_posted(echo: EchoServer) -> None:
    response = transport(echo.port).post("/login", {"username": "ann", "password": "pässword&"})

    assert response.body == b"POST\n/login\nusername=ann&password=p%C3%A4ssword%26"


def test_a_status_that_tells_of_an_error_is_an_answer_like_any_other(echo: EchoServer) -> None:
    echo.fail(None, Status(503, "busy"))

    assert transport(echo.port).get("/") == Response(
        503, {"content-type": "text/plain", "content-length": "4"}, b"busy"
    )


def test_an_unpacked_body_is_read() -> None:
    packed = gzip.compress(b'{"port":45720}')
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"

    with scripted(answers(head.encode() + packed)) as server:
        assert transport(server.port).get("/").json("Gluetun") == {"port": 45720}


def test_one_connection_is_used_for_several_requests() -> None:
    def answer_twice(connection: socket.socket) -> None:
        for _ in range(2):
            read_request(connection)
            connection.sendall(OK)

    with scripted(answer_twice) as server:
        client = transport(server.port)
        assert [client.get("/").body, client.post("/", {}).body] == [b"Ok", b"Ok"]
        assert server.count == 1


# What is sent again as it was before


def sent(echo: EchoServer, name: str) -> list[str | None]:
    """That header of each request."""
    return [headers.get(name) for _, _, headers in echo.requests]


def test_a_changed_header_is_sent_with_the_next_request(echo: EchoServer) -> None:
    client = transport(echo.port)
    for value in (None, "first", b"second", b"second", None):
        client.set_header("X-API-Key", value)
        client.get("/")

    assert sent(echo, "x-api-key") == [None, "first", "second", "second", None]


@pytest.mark.parametrize(
    "value", ["", " canary", b" canary", b"canary ", b"canary\t", b"can\nary", "canary\r\n", b"\0"]
)
def test_what_no_header_can_hold_is_an_error_about_the_key_that_does_not_show_it(
    value: str | bytes,
) -> None:
    with pytest.raises(Unauthorized) as caught:
        transport(1).set_header("X-API-Key", value)

    assert caught.value.message.endswith(
        "can't be sent the key: it begins or ends with a blank, or has a line break"
    )
    assert caught.value.fix == "write the key alone, on one line"
    assert "ary" not in "".join(traceback.format_exception(caught.value, limit=0))
    assert caught.value.__context__ is None


def test_a_key_may_hold_blanks_and_letters_of_any_language_inside(echo: EchoServer) -> None:
    client = transport(echo.port)
    for value in (b"x", b"two words", "gr\u00fcn".encode()):
        client.set_header("X-API-Key", value)
        client.get("/")

    assert sent(echo, "x-api-key") == ["x", "two words", "gr\u00c3\u00bcn"]


def test_cookies_are_sent_as_long_as_they_are_kept() -> None:
    received: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        for cookie in (b"SID=one", b"SID=two", b"", b""):
            received.append(connection.recv(65536))
            set_cookie = b"Set-Cookie: " + cookie + b"; path=/\r\n" if cookie else b""
            connection.sendall(OK.replace(b"Content", set_cookie + b"Content"))

    with scripted(answer) as server:
        client = transport(server.port)
        for _ in range(3):
            client.get("/")
        client.cookies.clear()
        client.get("/")

    assert [b"SID=one" in request for request in received] == [False, True, False, False]
    assert [b"SID=two" in request for request in received] == [False, False, True, False]


def test_each_target_has_a_request_of_its_own(echo: EchoServer) -> None:
    client = transport(echo.port)

    for number in range(100):
        body = client.get("/log", params={"after": str(number % 40)}).body
        assert body == b"GET\n/log?after=%d\n" % (number % 40)


# Time


@pytest.mark.parametrize(
    ("at_once", "drop"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\n", b"X-Drop: 1\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["status line", "headers", "body", "body without length", "chunks", "interim answers"],
)
def test_an_answer_that_drips_ends_at_the_timeout(at_once: bytes, drop: bytes) -> None:
    with scripted(drips(at_once, drop)) as server:
        started = time.monotonic()
        error = failure(lambda: transport(server.port, SHORT).get("/"))
        took = time.monotonic() - started

    assert type(error) is TimedOut
    assert error.message == f"Gluetun at 127.0.0.1:{server.port} did not answer within 0.3 s"
    assert SHORT <= took < MUCH_LONGER


def test_a_server_that_says_nothing_runs_into_the_timeout(echo: EchoServer) -> None:
    echo.fail(None, Fault.HANG)

    error = failure(lambda: transport(echo.port, SHORT).get("/"))

    assert error.reason is Reason.TIMEOUT


def test_each_request_on_a_connection_has_the_whole_timeout() -> None:
    def slowly_twice(connection: socket.socket) -> None:
        for _ in range(2):
            read_request(connection)
            NEVER.wait(0.6)  # longer than half of the timeout below
            connection.sendall(OK)

    with scripted(slowly_twice) as server:
        client = transport(server.port, 1.1)
        assert [client.get("/").body, client.get("/").body] == [b"Ok", b"Ok"]
        assert server.count == 1


def test_https_to_a_plain_http_port_is_an_error_in_time(echo: EchoServer) -> None:
    error = failure(lambda: transport(echo.port, SHORT, https=True).get("/"))

    assert error.reason is Reason.TIMEOUT
    assert error.fix == (
        "check that the server is not overloaded; https to a plain http port hangs too"
    )


# Size


@pytest.mark.parametrize("fault", [Fault.HUGE, Fault.ENDLESS])
def test_a_body_larger_than_a_megabyte_is_not_read_to_its_end(
    fault: Fault, echo: EchoServer
) -> None:
    echo.fail(None, fault)

    error = failure(lambda: transport(echo.port).get("/"))

    assert type(error) is InvalidResponse
    assert (
        error.message == f"Gluetun at 127.0.0.1:{echo.port} answered with more than 1000000 bytes"
    )


def test_a_body_is_measured_after_it_is_unpacked() -> None:
    packed = gzip.compress(b" " * 1_000_001)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"

    with scripted(answers(head.encode() + packed)) as server:
        error = failure(lambda: transport(server.port).get("/"))

    assert error.message == (
        f"Gluetun at 127.0.0.1:{server.port} answered with more than 1000000 bytes"
    )


def test_a_request_can_have_a_limit_of_its_own(echo: EchoServer) -> None:
    client = transport(echo.port)

    assert client.get("/", limit=6).body == b"GET\n/\n"
    assert failure(lambda: client.get("/", limit=5)).message == (
        f"Gluetun at 127.0.0.1:{echo.port} answered with more than 5 bytes"
    )


# Redirects, and what the environment says


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status: int) -> None:
    head = f"HTTP/1.1 {status} Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"

    with scripted(answers(head.encode())) as server:
        assert transport(server.port).get("/").status == status
        assert server.count == 1


def test_another_server_is_not_asked_because_of_a_redirect(echo: EchoServer) -> None:
    with EchoServer() as other:
        echo.fail(None, RedirectAway(other.url))

        assert transport(echo.port).post("/", {"password": "hunter2"}).status == 302
        assert other.requests == []


def test_no_proxy_is_taken_from_the_environment(
    echo: EchoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EchoServer() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)

        assert transport(echo.port).get("/").status == 200
        assert proxy.requests == []


def test_no_password_is_taken_from_a_netrc_file(
    echo: EchoServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ann password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    transport(echo.port).get("/")

    [(_, _, headers)] = echo.requests
    assert "authorization" not in headers


def test_no_authority_is_taken_from_the_environment(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(certificate.file))

    with https_server(certificate) as server:
        error = failure(lambda: transport(server.port, https=True).get("/"))

    assert error.reason is Reason.TLS


# Connections that break


def test_a_kept_connection_that_was_closed_is_opened_anew_for_a_get() -> None:
    with scripted(answers_once_then_closes, answers(OK)) as server:
        client = transport(server.port)

        assert client.get("/").body == b"Ok"
        assert client.get("/").body == b"Ok"
        assert server.count == 2


def test_a_get_is_asked_again_only_once() -> None:
    with scripted(closes) as server:
        error = failure(lambda: transport(server.port).get("/"))

        assert error.message == (
            f"Gluetun at 127.0.0.1:{server.port} closed the connection without an answer"
        )
        assert error.fix == (
            "check that the container runs, and the host and port settings; "
            "if it speaks HTTPS only, switch …_HTTPS on"
        )
        assert isinstance(error, Unreachable)
        assert server.count == 2


def test_a_post_is_never_sent_twice() -> None:
    with scripted(answers_once_then_closes, answers(OK)) as server:
        client = transport(server.port)
        client.get("/")

        error = failure(lambda: client.post("/", {"a": "b"}))

        assert error.reason is Reason.CONNECTION
        assert server.count == 1


def test_the_second_try_of_a_get_fails_with_its_own_error() -> None:
    with scripted(closes, answers(b"SSH-2.0-OpenSSH_9.2\r\n")) as server:
        error = failure(lambda: transport(server.port).get("/"))

    assert error.message == f"Gluetun at 127.0.0.1:{server.port} does not speak HTTP as it should"


def test_a_reset_connection_is_an_unreachable_server(echo: EchoServer) -> None:
    echo.fail(None, Fault.RESET)

    error = failure(lambda: transport(echo.port).get("/"))

    assert error.message == (
        f"Gluetun at 127.0.0.1:{echo.port} closed the connection without an answer"
    )


def test_a_refused_connection_is_no_timeout(echo: EchoServer) -> None:
    echo.stop()

    error = failure(lambda: transport(echo.port).get("/"))

    assert type(error) is Unreachable
    assert error.reason is Reason.CONNECTION
    assert error.message == (
        f"Gluetun at 127.0.0.1:{echo.port} refuses the connection; does it run there?"
    )


def test_a_name_that_does_not_exist_is_said() -> None:
    error = failure(lambda: transport(8000, host="nobody.invalid").get("/"))

    assert error.message == (
        "Gluetun at nobody.invalid:8000 can't be reached: "
        "the name 'nobody.invalid' is not known here"
    )
    assert error.fix == (
        "check the host setting; containers know each other's names in a common network only"
    )


# Answers that are none


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP as it should"),
        (b"HTTP/1.1 banana\r\n\r\n", "does not speak HTTP as it should"),
        (
            b"HTTP/1.1 200 OK\r\n" + b"A" * 70_000 + b": b\r\n\r\n",
            "does not speak HTTP as it should",
        ),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n", "does not speak HTTP as it should"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
            "broke off in the middle of an answer",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal",
            "broke off in the middle of an answer",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "broke off in the middle of an answer",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnone",
            "answered with a body that can't be unpacked",
        ),
    ],
    ids=["ssh", "status", "long header", "many headers", "cut", "cut chunk", "no chunk", "gzip"],
)
def test_an_answer_that_is_not_http_is_invalid(content: bytes, said: str) -> None:
    with scripted(answers(content)) as server:
        error = failure(lambda: transport(server.port).get("/"))

    assert error.message == f"Gluetun at 127.0.0.1:{server.port} {said}"
    assert error.reason is Reason.INVALID_RESPONSE


def test_what_follows_a_body_is_no_part_of_it_nor_of_the_next_one(echo: EchoServer) -> None:
    client = transport(echo.port)
    echo.fail(None, Fault.WRONG_LENGTH, times=1)

    assert client.get("/").body == b"GET"
    assert client.get("/next").body == b"GET\n/next\n"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "Gluetun answered with an empty body"),
        (b" \n", "Gluetun answered with an empty body"),
        (b"<!DOCTYPE html><title>Sign in", "Gluetun answered with an HTML page; "
         "is that a proxy's login page?"),
        (b"  <HTML>", "Gluetun answered with an HTML page; is that a proxy's login page?"),
        (b"hunter2", "Gluetun answered with something that is not JSON"),
        (b"\xff\xfe\xfd", "Gluetun answered with something that is not JSON"),
        (b'{"port":', "Gluetun answered with something that is not JSON"),
        (b"[" * 100_000, "Gluetun answered with something that is not JSON"),
    ],
)  # fmt: skip
def test_a_body_that_is_not_json_is_described_and_not_shown(body: bytes, said: str) -> None:
    with pytest.raises(InvalidResponse) as raised:
        Response(200, {}, body).json("Gluetun")

    assert raised.value.message == said


# TLS


@contextmanager
def https_server(certificate: Certificate, host: str = "127.0.0.1") -> Iterator[EchoServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.file, certificate.key)
    with EchoServer(host, context=context) as server:
        yield server


def test_a_certificate_of_the_named_authority_is_trusted(certificate: Certificate) -> None:
    with https_server(certificate) as server:
        client = transport(server.port, https=True, verify=str(certificate.file))

        assert client.get("/").body == b"GET\n/\n"
        client.close()


def test_an_unknown_authority_is_said(certificate: Certificate) -> None:
    with https_server(certificate) as server:
        error = failure(lambda: transport(server.port, https=True).get("/"))

    assert type(error) is TlsFailed
    assert error.message == (
        f"Gluetun at 127.0.0.1:{server.port} has no certificate that we trust: "
        "self-signed certificate"
    )
    assert error.fix == ("name the certificate authority in …_CA_FILE, or switch …_VERIFY_SSL off")


def test_a_certificate_for_another_name_is_said(certificate: Certificate) -> None:
    with https_server(certificate, "127.0.0.2") as server:
        client = transport(server.port, host="127.0.0.2", https=True, verify=str(certificate.file))
        error = failure(lambda: client.get("/"))

    assert error.message == (
        f"Gluetun at 127.0.0.2:{server.port} has no certificate that we trust: "
        "IP address mismatch, certificate is not valid for '127.0.0.2'"
    )


def test_unverified_https_works_without_a_warning(certificate: Certificate) -> None:
    with https_server(certificate) as server:
        client = transport(server.port, https=True, verify=False)

        assert client.get("/").body == b"GET\n/\n"
        client.close()


def test_a_drip_over_https_ends_at_the_timeout_too(certificate: Certificate) -> None:
    with https_server(certificate) as server:
        server.fail(None, Fault.SLOW)
        started = time.monotonic()
        error = failure(lambda: transport(server.port, 1.0, https=True, verify=False).get("/"))

    assert error.reason is Reason.TIMEOUT
    assert time.monotonic() - started < 1.0 + MUCH_LONGER


def test_a_port_that_does_not_speak_tls_is_said() -> None:
    def plain(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with scripted(plain) as server:
        error = failure(lambda: transport(server.port, https=True).get("/"))

    assert error.message == f"the TLS handshake with Gluetun at 127.0.0.1:{server.port} failed"
    assert error.fix == "check that it speaks HTTPS on that port, or switch …_HTTPS off"


# What it brings along


def test_no_guesser_of_character_sets_is_loaded() -> None:
    code = (
        "import sys; from exporter.servers.http import Transport; "
        "print({'chardet', 'charset_normalizer'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert (ended.stdout, ended.stderr) == ("set()\n", "")
