"""The cookies of a session, any that qBittorrent sets and never much; a proxy in between."""

import time
from collections.abc import Iterator

import pytest

from exporter.errors import (
    Banned,
    ForbiddenHost,
    HttpError,
    InvalidResponse,
    LoginRejected,
    ServerError,
    Unauthorized,
)
from exporter.model import Operation
from exporter.servers.logins import Logins
from exporter.servers.operations import Operations
from exporter.servers.session import Request, Session
from exporter.simulator.http import Answer
from exporter.simulator.http import Request as Asked
from exporter.simulator.server import SimulatedServer
from tests.fakes import FakeClock, tunnels
from tests.parts.plain_server import PlainServer

VERSION, LOGIN = "/api/v2/app/version", "/api/v2/auth/login"
PREFERENCES = "/api/v2/app/preferences"
BAN = b"Your IP address has been banned after too many failed authentication attempts."
LOGIN_NEEDED = Answer(403, b"Forbidden")
A_PAGE = {"Content-Type": "text/html"}


class CookieServer(PlainServer):
    """Accepts every login, and sets the cookies that a test wants."""

    def __init__(self, on_login: list[str]) -> None:
        super().__init__()
        self.on_login = on_login
        self.on_others: list[str] = []
        self.sessions = 0
        self.proxy_refuses = False

    def answer(self, request: Asked) -> Answer:
        if self.proxy_refuses:
            return Answer(401, headers={"WWW-Authenticate": "Basic"})
        if request.path == LOGIN:
            self.sessions += 1
            return Answer(200, b"Ok.", {"set-cookie": "\n".join(self.on_login)})
        if request.path == PREFERENCES and self.sessions:
            return Answer(200, b"{}", {"set-cookie": "\n".join(self.on_others)})
        return Answer(403, b"Forbidden")

    def cookies_for(self, path: str) -> list[str | None]:
        """The cookies that came with each request for a path."""
        return [headers.get("cookie") for _, at, headers in self.requests if at == path]


@pytest.fixture
def server() -> Iterator[CookieServer]:
    with CookieServer(["SID=one"]) as made:
        yield made


class Asker:
    """A session with that server."""

    def __init__(self, server: SimulatedServer, **environ: str) -> None:
        where = {"QBITTORRENT_HOST": server.host, "QBITTORRENT_PORT": str(server.port)}
        [tunnel] = tunnels("default", **where, **environ)
        clock = FakeClock()
        logins = Logins("here", clock)
        self._did = Operations(clock)
        self._session = Session(tunnel.qbittorrent, 5.0, logins, lambda saved: None)

    def ask(self) -> None:
        request = Request(Operation.QBITTORRENT_PREFERENCES, PREFERENCES)
        self._session.ask(self._did, request, lambda response: None)


@pytest.mark.parametrize(
    ("cookie", "sent"),
    [
        ("SID=a/b+c==; path=/; HttpOnly; SameSite=Strict", "SID=a/b+c=="),
        ("QBT_SID_8080=one; path=/", "QBT_SID_8080=one"),
        ("SID=one; secure", "SID=one"),
        ("SID=one; expires=Thu, 01 Jan 1970 00:00:00 GMT; domain=elsewhere", "SID=one"),
    ],
    ids=["attributes", "another name", "secure over http", "old and for somebody else"],
)
def test_the_cookie_of_the_session_is_sent_whatever_is_said_of_it(
    cookie: str, sent: str, server: CookieServer
) -> None:
    server.on_login = [cookie]
    asker = Asker(server)
    asker.ask()
    asker.ask()
    assert server.cookies_for(PREFERENCES) == [sent, sent]


def test_several_cookies_are_sent_each_as_it_was_set_last(server: CookieServer) -> None:
    server.on_login = ["SID=one", "proxy=two"]
    server.on_others = ["SID=three"]
    asker = Asker(server)
    asker.ask()
    asker.ask()
    assert server.cookies_for(PREFERENCES) == ["SID=one; proxy=two", "SID=three; proxy=two"]


def test_a_login_comes_without_the_cookies_of_the_session_before(server: CookieServer) -> None:
    asker = Asker(server)
    asker.ask()
    server.sessions = 0
    server.on_login = ["SID=two"]
    asker.ask()
    assert server.cookies_for(LOGIN) == [None, None]
    assert server.cookies_for(PREFERENCES) == ["SID=one", "SID=one", "SID=two"]


def test_a_proxy_that_begins_to_refuse_is_named_and_costs_no_login(server: CookieServer) -> None:
    asker = Asker(server)
    asker.ask()
    server.proxy_refuses = True
    with pytest.raises(HttpError, match="a proxy answers for qBittorrent"):
        asker.ask()
    server.proxy_refuses = False
    asker.ask()
    assert server.sessions == 1


@pytest.mark.parametrize(
    "more",
    [
        [f"big{number}={'x' * 60_000}" for number in range(80)],
        [f"middle{number}={'x' * 1000}" for number in range(80)],
    ],
    ids=["80 of 60 kB", "80 of 1 kB"],
)
def test_at_most_8_kilobytes_of_cookies_are_kept(more: list[str], server: CookieServer) -> None:
    server.on_others = more
    asker = Asker(server)
    for _ in range(3):
        asker.ask()
    last = server.cookies_for(PREFERENCES)[-1]
    assert last is not None
    assert last.startswith("SID=one")
    assert len(last) <= 8192


@pytest.mark.parametrize(
    "nonsense", ["", "SID", "=", "a b=c", "SID=\xe9", "=" * 60_000 + "\xe9"], ids=lambda c: c[:9]
)
def test_what_is_no_cookie_is_dropped_in_no_time(nonsense: str, server: CookieServer) -> None:
    server.on_others = [nonsense]
    asker = Asker(server)
    started = time.monotonic()
    asker.ask()
    asker.ask()
    assert time.monotonic() - started < 5.0
    assert server.cookies_for(PREFERENCES)[-1] == "SID=one"


class AnsweringServer(PlainServer):
    """Gives the same answer to each question for a path, and a session to nobody else."""

    def __init__(self, answers: dict[str, Answer]) -> None:
        super().__init__()
        self.answers = answers

    def answer(self, request: Asked) -> Answer:
        return self.answers.get(request.path, Answer(200, b"{}"))


@pytest.mark.parametrize(
    ("version", "login", "error"),
    [
        pytest.param(Answer(200, b"v5.1.0"), None, None, id="no login is needed"),
        pytest.param(LOGIN_NEEDED, Answer(200, b"Ok."), None, id="a good login"),
        pytest.param(LOGIN_NEEDED, Answer(204), None, id="a good login, from 5.2 on"),
        pytest.param(LOGIN_NEEDED, Answer(200, b"Fails."), LoginRejected, id="a bad login"),
        pytest.param(LOGIN_NEEDED, Answer(401), LoginRejected, id="a bad login, from 5.2 on"),
        pytest.param(LOGIN_NEEDED, Answer(403, BAN), Banned, id="a ban"),
        pytest.param(LOGIN_NEEDED, Answer(403, b"Your IP is odd"), HttpError, id="a short text"),
        pytest.param(
            LOGIN_NEEDED, Answer(403, BAN.replace(b"IP ", b"")), HttpError, id="a text without IP"
        ),
        pytest.param(LOGIN_NEEDED, Answer(404, BAN), HttpError, id="no page for logins"),
        pytest.param(LOGIN_NEEDED, Answer(200, b"Hello"), InvalidResponse, id="another server"),
        pytest.param(Answer(200, b"Hello"), None, InvalidResponse, id="another server at once"),
        pytest.param(Answer(404, b"v5.1.0"), None, HttpError, id="no page for the version"),
        pytest.param(Answer(401), None, ForbiddenHost, id="a Host that it does not know"),
        pytest.param(Answer(403, b"<p>", A_PAGE), None, HttpError, id="the page of a proxy"),
    ],
)
def test_what_the_answers_on_the_way_to_a_session_mean(
    version: Answer, login: Answer | None, error: type[ServerError] | None
) -> None:
    answers = {VERSION: version} | ({LOGIN: login} if login else {})
    with AnsweringServer(answers) as server:
        asker = Asker(server)
        if error is None:
            asker.ask()
        else:
            with pytest.raises(error) as raised:
                asker.ask()
            assert type(raised.value) is error
        asked = [path for _, path, _ in server.requests]
        assert (LOGIN in asked) is (login is not None)


def test_an_api_key_that_is_refused_is_no_reason_to_log_in() -> None:
    with AnsweringServer({VERSION: LOGIN_NEEDED}) as server:
        asker = Asker(server, QBITTORRENT_API_KEY="qbt_key")
        with pytest.raises(Unauthorized, match="API key"):
            asker.ask()
        assert LOGIN not in [path for _, path, _ in server.requests]
