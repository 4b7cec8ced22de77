"""The status page in the system's Chromium: each state, both colour schemes, phone and desk.

The pictures are kept in test-output/screens.
"""

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize, sync_playwright

from exporter.model import SyncState
from exporter.report.board import StatusBoard
from exporter.web.server import WebServer
from tests.conftest import missing_part
from tests.outcomes import (
    IN_SYNC,
    NOW,
    OUTCOMES,
    board_of,
    board_of_many,
    tunnel_config,
    web_app,
)
from tests.parts.debian import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

CHROMIUM = Path("/usr/bin/chromium")
SCREENS = REPOSITORY / "test-output" / "screens"
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
Scheme = Literal["light", "dark"]

PHONE, DESK = ViewportSize(width=360, height=740), ViewportSize(width=1280, height=800)
SIDEWAYS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


class Site:
    """A real web server whose board can be changed between two page loads."""

    def __init__(self) -> None:
        self.synced: list[tuple[str | None, bool]] = []
        self.show(board_of(IN_SYNC))
        self.server = WebServer(self._answer, "127.0.0.1:0")
        self.server.start()
        self.url = f"http://{self.server.address}/"

    def show(self, board: StatusBoard) -> None:
        self._app = web_app(
            board,
            request_sync=lambda tunnel, pushed: self.synced.append((tunnel, pushed)),
            docs_url="https://example.org/",
        )

    def _answer(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> "Iterable[bytes]":
        return self._app(environ, start_response)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        missing_part(f"no {CHROMIUM}: install the package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


class Tab:
    """A browser tab that remembers what went wrong in it."""

    def __init__(self, browser: Browser, viewport: ViewportSize, scheme: Scheme) -> None:
        self.page: Page = browser.new_page(viewport=viewport, color_scheme=scheme)
        self.name = f"{viewport['width']}-{scheme}"
        self.complaints: list[str] = []
        self.asked_for: list[str] = []
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked_for.append(request.url))

    def _on_console(self, message: ConsoleMessage) -> None:
        self.complaints.append(message.text)


@pytest.fixture(scope="module")
def tabs(browser: Browser) -> list[Tab]:
    return [Tab(browser, PHONE, "dark"), Tab(browser, DESK, "light")]


@pytest.fixture(scope="module")
def axe() -> str:
    return (files("axe_playwright_python") / "axe.min.js").read_text("utf-8")


def violations(page: Page, axe: str) -> list[str]:
    """What axe-core finds wrong; run from outside, so the page's policy stays as it is."""
    page.evaluate(axe)
    found = page.evaluate("async () => (await axe.run()).violations")
    return [
        f"{violation['id']}: {json.dumps([node['html'] for node in violation['nodes']][:3])}"
        for violation in found
    ]


BOARDS = {state.value: board_of(outcome) for state, outcome in OUTCOMES.items()} | {
    "stuck": board_of(IN_SYNC._replace(finished_at=NOW - 600)),
    "many": board_of_many(40),
    "many-in-sync": board_of_many(3),
}
SHOWN = [(name, "") for name in BOARDS] + [
    ("many", "?tunnel=seedbox-0003"),
    ("many", "?state=no_port"),
    ("many", "?tunnel=nosuch"),
]


@pytest.mark.parametrize(("board", "query"), SHOWN)
def test_the_page_is_sound_in_each_state_size_and_colour_scheme(
    site: Site, tabs: list[Tab], axe: str, board: str, query: str
) -> None:
    site.show(BOARDS[board])
    SCREENS.mkdir(parents=True, exist_ok=True)
    name = board + query.replace("?", "-").replace("=", "-")
    for tab in tabs:
        tab.complaints.clear()
        tab.asked_for.clear()
        tab.page.goto(f"{site.url}{query or '?'}&refresh=off")  # stays still while looked at
        tab.page.screenshot(path=SCREENS / f"{name}-{tab.name}.png", full_page=True)
        assert tab.page.locator("h1").count() == 1
        assert not tab.page.evaluate(SIDEWAYS)
        assert violations(tab.page, axe) == []
        expected = ["Failed to load"] if query == "?tunnel=nosuch" else []
        assert [text[:14] for text in tab.complaints] == expected
        assert all(url.startswith((site.url, "data:image/svg+xml")) for url in tab.asked_for)


def test_a_phone_shows_the_worst_of_many_tunnels_and_the_chosen_filter_at_once(
    site: Site, browser: Browser
) -> None:
    site.show(BOARDS["many"])
    tab = Tab(browser, PHONE, "light")
    for query, name in (("", "seedbox-0003"), ("?state=in_sync", "In sync 30")):
        tab.page.goto(site.url + query)
        box = tab.page.get_by_role("link", name=name).bounding_box()
        assert box
        assert box["x"] + box["width"] <= PHONE["width"]
        assert box["y"] + box["height"] <= PHONE["height"]
    tab.page.close()


def test_the_button_asks_for_a_check_and_comes_back(site: Site, browser: Browser) -> None:
    site.show(BOARDS["in_sync"])
    site.synced.clear()
    tab = Tab(browser, PHONE, "light")
    tab.page.goto(site.url)
    tab.page.get_by_role("button", name="Check now").click()
    tab.page.get_by_text("A check is under way.").wait_for()
    assert site.synced == [(None, False)]
    tab.page.get_by_text("Checked 12 s ago.").wait_for()
    assert tab.page.url == site.url
    assert tab.complaints == []
    tab.page.close()


def test_the_page_shows_what_is_new_by_itself(site: Site, browser: Browser) -> None:
    site.show(BOARDS["starting"])
    tab = Tab(browser, PHONE, "light")
    tab.page.goto(site.url)
    tab.page.get_by_role("heading", name="The first check is still under way.").wait_for()
    site.show(BOARDS["in_sync"])
    tab.page.get_by_role("heading", name="qBittorrent listens on 45720").wait_for()
    tab.page.close()


def test_everything_works_from_the_keyboard_and_without_script(
    site: Site, browser: Browser
) -> None:
    site.show(BOARDS["many"])
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site.url)
    page.get_by_role("link", name="No port").click()
    page.get_by_role("link", name="seedbox-0011").press("Enter")
    page.get_by_role("heading", name="Your VPN forwards no port right now.").wait_for()
    page.get_by_role("link", name="All tunnels").click()
    page.get_by_role("link", name="Pause").click()
    assert page.url == f"{site.url}?refresh=off"
    page.get_by_role("link", name="status.json").click()
    assert page.url == f"{site.url}status.json"
    context.close()


def test_a_name_with_markup_is_only_text(site: Site, browser: Browser) -> None:
    name = "<img src=x onerror=alert(1)>\"'&"
    board = StatusBoard()
    board.set_tunnels([tunnel_config(name), tunnel_config("other")])
    site.show(board)
    site.synced.clear()
    tab = Tab(browser, PHONE, "dark")
    tab.page.goto(site.url)
    tab.page.get_by_role("link", name=name).click()
    tab.page.get_by_role("button", name="Check now").click()
    tab.page.get_by_text("A check is under way.").wait_for()
    assert site.synced == [(name, False)]
    assert tab.page.locator("img").count() == 0
    assert tab.complaints == []
    tab.page.close()


@pytest.mark.parametrize("state", [SyncState.IN_SYNC, SyncState.OUT_OF_SYNC])
def test_the_state_is_seen_without_scrolling_on_a_phone(
    site: Site, tabs: list[Tab], state: SyncState
) -> None:
    site.show(BOARDS[state])
    page = tabs[0].page
    page.goto(f"{site.url}?refresh=off")
    box = page.locator(".ports").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < PHONE["height"]
