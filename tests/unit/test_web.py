import base64
import gzip
import io
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import bcrypt
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.registry import Collector

from exporter.model import SyncState
from exporter.report.board import StatusBoard
from exporter.web.messages import Request, Response, text
from exporter.web.scrape import Scrapes
from exporter.web.shared import Shared
from exporter.web.users import Users
from tests.outcomes import (
    IN_SYNC,
    OUTCOMES,
    board_of,
    board_of_many,
    tunnel_config,
    web_app,
)

PROMETHEUS_ACCEPT = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
FORM = {"content_type": "application/x-www-form-urlencoded"}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def board_with(*names: str) -> StatusBoard:
    """Tunnels whose first check has not ended."""
    board = StatusBoard()
    board.set_tunnels(map(tunnel_config, names))
    return board


class Site:
    """A web application with everything that it needs, called without a network."""

    def __init__(self, board: StatusBoard | None = None, **given: Any) -> None:
        self.board = board_of(IN_SYNC) if board is None else board
        self.synced: list[tuple[str | None, bool]] = []
        registry = CollectorRegistry()
        Gauge("qsticky_a", "First.", registry=registry).set(1)
        Counter("qsticky_b", "Second.", ["x"], registry=registry).labels("y" * 2000).inc()
        parts: dict[str, Any] = {
            "registry": lambda: registry,
            "request_sync": lambda tunnel, pushed: self.synced.append((tunnel, pushed)),
        }
        self.app = web_app(self.board, **(parts | given))

    def ask(self, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Answer:
        """Send a request; header names with underscores."""
        path, _, query = path.partition("?")
        environ: dict[str, Any] = {"HTTP_HOST": "localhost:9809", "wsgi.input": io.BytesIO(body)}
        setup_testing_defaults(environ)
        environ |= {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query}
        environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
        if "HTTP_CONTENT_TYPE" in environ:
            environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE")
        caught: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _error: Any = None) -> Any:
            caught.extend((status, headers))

        answer: Iterable[bytes] = validator(self.app)(environ, start_response)
        content = b"".join(answer)
        answer.close()  # type: ignore[attr-defined]  # the validator demands it
        joined: dict[str, str] = {}
        for name, value in caught[1]:
            joined[name] = f"{joined[name]}, {value}" if name in joined else value
        return Answer(int(caught[0][:3]), joined, content)


@pytest.fixture
def site() -> Site:
    return Site()


# Routes


@pytest.mark.parametrize("path", ["/", "/metrics", "/status.json", "/-/healthy", "/-/ready"])
def test_every_page_answers_get_and_head_alike(site: Site, path: str) -> None:
    got, head = site.ask(path), site.ask(path, "HEAD")
    assert (got.status, head.status) == (200, 200)
    assert got.headers == head.headers
    assert int(got.headers["Content-Length"]) == len(got.body) > 0
    assert head.body == b""


@pytest.mark.parametrize("path", ["", "/nosuch", "/metrics//", "/../etc/passwd", "/-/quit"])
def test_any_other_path_is_not_found(site: Site, path: str) -> None:
    assert site.ask(path).status == 404


@pytest.mark.parametrize("path", ["/metrics/", "/status.json/", "/-/ready/"])
def test_a_slash_at_the_end_of_a_path_does_no_harm(site: Site, path: str) -> None:
    assert site.ask(path).status == site.ask(path.removesuffix("/")).status != 404


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/metrics", "GET, HEAD"),
        ("DELETE", "/", "GET, HEAD"),
        ("GET", "/-/sync", "POST"),
        ("HEAD", "/-/reload", "POST"),
    ],
)
def test_a_wrong_method_is_refused_with_those_that_are_allowed(
    site: Site, method: str, path: str, allow: str
) -> None:
    answer = site.ask(path, method)
    assert (answer.status, answer.headers["Allow"]) == (405, allow)


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/nosuch", "/-/sync"])
def test_every_answer_carries_the_security_headers(site: Site, path: str) -> None:
    headers = site.ask(path).headers
    style = headers["Content-Security-Policy"].split("; ")[1].removeprefix("style-src ")
    assert headers["Content-Security-Policy"] == (
        f"default-src 'none'; style-src {style}; img-src data:; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    )
    assert style.startswith("'sha256-") if path == "/" else style == "'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert "Server" not in headers


def test_a_page_that_fails_answers_500_and_says_so_in_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken() -> bytes:
        raise OSError("disk gone")

    with caplog.at_level(logging.ERROR, "qsticky"):
        answer = Site(status_json=broken).ask("/status.json")
    assert answer.status == 500
    assert b"disk gone" not in answer.body
    assert caplog.messages == [
        "Web page '/status.json' failed: OSError: disk gone; please report it"
    ]
    assert caplog.records[0].exc_info is None


def test_status_json_is_served_as_it_is(site: Site) -> None:
    answer = site.ask("/status.json")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.body == b'{"healthy": true}'


def test_who_shows_no_page_has_no_users_and_is_not_scraped_pays_for_none() -> None:
    code = "import sys, exporter.web.app, exporter.web.server; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert "waitress" in loaded
    assert not {"jinja2", "bcrypt", "yaml", "requests", "prometheus_client"} & set(loaded)


# Metrics


def test_metrics_are_plain_text_by_default(site: Site) -> None:
    answer = site.ask("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b"qsticky_a 1.0\n" in answer.body


def test_metrics_are_openmetrics_for_those_who_accept_it(site: Site) -> None:
    answer = site.ask("/metrics", accept=PROMETHEUS_ACCEPT)
    assert answer.headers["Content-Type"] == (
        "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
    )
    assert answer.body.endswith(b"# EOF\n")
    families = list(parse_openmetrics(answer.body.decode()))  # type: ignore[no-untyped-call]
    assert {family.name for family in families} == {"qsticky_a", "qsticky_b"}


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text;version=2;escaping=nonsense",
        "application/openmetrics-text;version=" + "9" * 5000,
        ";;;,,,==",
        "\xff",
    ],
)
def test_an_absurd_accept_header_still_gets_metrics(site: Site, accept: str) -> None:
    answer = site.ask("/metrics", accept=accept)
    assert answer.status == 200
    assert b"qsticky_a 1.0\n" in answer.body


def test_metrics_can_be_picked_by_name(site: Site) -> None:
    body = site.ask("/metrics?name[]=qsticky_a").body
    assert b"qsticky_a 1.0" in body
    assert b"qsticky_b" not in body


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("gzip; q=0", False), ("br", False), ("", False)],
)
def test_metrics_are_packed_for_those_who_accept_gzip(
    site: Site, accepted: str, packed: bool
) -> None:
    answer = site.ask("/metrics", accept_encoding=accepted)
    assert (answer.headers.get("Content-Encoding") == "gzip") is packed
    body = gzip.decompress(answer.body) if packed else answer.body
    assert b"qsticky_a 1.0\n" in body
    assert answer.headers["Vary"] == "Accept, Accept-Encoding"


class Costly(Collector):
    """Takes its time, by a clock that it turns itself, and counts how often it is asked."""

    def __init__(self, seconds: float) -> None:
        self.now = 100.0
        self._seconds = seconds
        self._count = 0

    def collect(self) -> Iterable[Metric]:
        self.now += self._seconds
        self._count += 1
        return [GaugeMetricFamily("qsticky_count", "Of renderings.", self._count)]


@pytest.mark.parametrize(
    ("seconds", "served"), [(0.3, [1, 1, 2]), (0.003, [1, 2, 3])], ids=["costly", "cheap"]
)
def test_what_costs_much_to_render_is_shared_for_a_second(
    seconds: float, served: list[int]
) -> None:
    registry, collector = CollectorRegistry(), Costly(seconds)
    registry.register(collector)
    scrapes = Scrapes(registry, lambda: collector.now)
    bodies = []
    for later in (0, 0.9, 0.2):
        collector.now += later
        bodies.append(scrapes.answer(Request("GET", "/metrics", {}, {})).body)
    wanted = [f"qsticky_count {count}.0\n".encode() for count in served]
    assert [body.splitlines(keepends=True)[-1] for body in bodies] == wanted


@pytest.mark.parametrize(
    "accept",
    [
        "text/plain;version=1.0.0;escaping=values",
        "text/plain;version=1.0.001",
        "text/plain;version=1.5.0",
    ],
)
def test_another_version_or_escaping_costs_no_other_rendering(accept: str) -> None:
    registry, collector = CollectorRegistry(), Costly(0.3)
    registry.register(collector)
    scrapes = Scrapes(registry, lambda: collector.now)
    answers = [
        scrapes.answer(Request("GET", "/metrics", {}, {"HTTP_ACCEPT": header}))
        for header in ("", accept)
    ]
    assert answers[0].body is answers[1].body
    assert answers[0].content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert answers[1].content_type.startswith("text/plain; version=1.0.0")


def test_while_enough_wait_for_costly_answers_others_are_sent_away_at_once() -> None:
    shared, inside, go_on = (
        Shared(time.monotonic, most_kept=1, most_waiting=1),
        threading.Event(),
        threading.Event(),
    )

    def make() -> Response:
        inside.set()
        assert go_on.wait(10)
        return text(HTTPStatus.OK, "made")

    with ThreadPoolExecutor(1) as worker:
        waiting = worker.submit(shared.get, "a", make)
        assert inside.wait(10)
        refused = shared.get("b", make)
        assert (refused.status, refused.headers) == (503, (("Retry-After", "1"),))
        go_on.set()
        assert waiting.result().status is HTTPStatus.OK
    assert shared.get("b", make).status is HTTPStatus.OK


# Status page


@pytest.mark.parametrize(
    ("query", "refresh"),
    [
        ("", "15"),
        ("?refresh=off", None),
        ("?asked=1", "2; url=./"),
        ("?tunnel=default&asked=1", "2; url=./?tunnel=default"),
        ("?tunnel=default&state=no_port&asked=1", "2; url=./?tunnel=default&state=no_port"),
    ],
)
def test_the_status_page_refreshes_itself_unless_paused(
    site: Site, query: str, refresh: str | None
) -> None:
    answer = site.ask(f"/{query}")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers.get("Refresh") == refresh


@pytest.mark.parametrize(("state", "refresh"), [("no_port", "5"), ("starting", "2")])
def test_the_page_of_a_tunnel_in_trouble_refreshes_itself_sooner(state: str, refresh: str) -> None:
    answer = Site(board_of(OUTCOMES[SyncState(state)])).ask("/")
    assert answer.headers["Refresh"] == refresh


def test_of_many_tunnels_each_has_its_own_page() -> None:
    site = Site(board_of_many(20))
    assert b"seedbox-0019" in site.ask("/").body
    one = site.ask("/?tunnel=seedbox-0001")
    assert b"30007" in one.body
    assert b"seedbox-0019" not in one.body
    assert site.ask("/?tunnel=nosuch").status == 404
    assert site.ask("/?state=nosuch").status == 200


def test_without_any_tunnel_there_is_still_a_page() -> None:
    assert Site(StatusBoard()).ask("/").status == 200


# Push and the button


def test_a_push_is_accepted_at_once_for_all_tunnels_or_one(site: Site) -> None:
    assert site.ask("/-/sync", "POST").status == 202
    assert site.ask("/-/sync?tunnel=default", "POST").status == 202
    assert site.ask("/-/sync?tunnel=nosuch", "POST").status == 404
    assert site.synced == [(None, True), ("default", True)]


def test_a_push_by_busybox_wget_is_a_push_though_it_looks_like_a_form(site: Site) -> None:
    assert site.ask("/-/sync", "POST", b"", **FORM, user_agent="Wget").status == 202
    assert site.synced == [(None, True)]


def test_the_button_asks_for_a_check_that_is_no_push_and_leads_back(site: Site) -> None:
    answer = site.ask("/-/sync", "POST", b"by=page", **FORM, sec_fetch_site="same-origin")
    assert (answer.status, answer.headers["Location"]) == (303, "../?asked=1")
    answer = site.ask("/-/sync", "POST", b"by=page&tunnel=default", **FORM)
    assert (answer.status, answer.headers["Location"]) == (303, "../?asked=1&tunnel=default")
    assert site.synced == [(None, False), ("default", False)]


@pytest.mark.parametrize("path", ["/-/sync", "/-/reload"])
@pytest.mark.parametrize(
    ("headers", "accepted"),
    [
        ({"sec_fetch_site": "cross-site"}, False),
        ({"origin": "http://evil.example"}, False),
        ({"host": "evil.example:9809", "origin": "http://evil.example:9809"}, False),
        ({"host": "sticky.example.org", "sec_fetch_site": "same-origin"}, True),
        ({}, True),
    ],
)
def test_a_post_that_another_site_sent_is_refused(
    path: str, headers: dict[str, Any], accepted: bool
) -> None:
    reloads: list[str] = []

    def reload() -> str:
        reloads.append(path)
        return ""

    site = Site(reload=reload, allowed_hosts=("sticky.example.org",))
    assert (site.ask(path, "POST", **headers).status == 403) is not accepted
    assert len(site.synced) + len(reloads) == accepted


def test_a_name_that_is_not_allowed_is_refused_with_what_to_do(site: Site) -> None:
    answer = site.ask("/-/sync", "POST", host="sticky.example.org")
    assert b"add it to WEB_ALLOWED_HOSTS" in answer.body
    assert site.ask("/status.json", host="sticky.example.org").status == 200


# Users


@pytest.fixture
def guarded(tmp_path: Path) -> Site:
    path = tmp_path / "users.yml"
    path.write_text(f"anna: {bcrypt.hashpw(b'geheim', bcrypt.gensalt(4)).decode()}\n")
    return Site(users=Users(path))


@pytest.mark.parametrize("path", ["/", "/metrics", "/status.json", "/nosuch", "/-/sync"])
def test_with_users_every_page_asks_for_a_password(guarded: Site, path: str) -> None:
    answer = guarded.ask(path)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="qSticky", charset="UTF-8"'
    assert guarded.ask("/-/sync", "POST").status == 401
    assert guarded.synced == []


@pytest.mark.parametrize("path", ["/-/healthy", "/-/ready", "/-/healthy/"])
def test_the_probes_stay_open_to_all(guarded: Site, path: str) -> None:
    assert guarded.ask(path).status == 200


def test_the_right_password_opens_the_page(guarded: Site) -> None:
    token = base64.b64encode(b"anna:geheim").decode()
    assert guarded.ask("/metrics", authorization=f"Basic {token}").status == 200
