import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from exporter.model import (
    ConnectionStatus,
    Event,
    EventKind,
    Failure,
    Level,
    Operation,
    Reason,
    SyncState,
    VpnStatus,
)
from exporter.report.board import StatusBoard
from exporter.web.page_frame import Setting, missing_page
from exporter.web.page_overview import overview_page
from exporter.web.pages import tunnel_page
from exporter.web.words import CONNECTION, VPN, WORDS, Tone, ago, span
from tests.outcomes import IN_SYNC, NOW, OUTCOMES, board_of, board_of_many

SETTING = Setting(now=NOW, version="2.0.0")


class _Text(HTMLParser):
    """The text of a page, without its style sheet."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name == "style" or name.startswith("on") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] != ["style"]:
            self.words.append(data)


def text(page: str) -> str:
    parser = _Text()
    parser.feed(page)
    return re.sub(r"\s+", " ", " ".join(parser.words))


def page_of(outcome_state: SyncState) -> str:
    view = board_of(OUTCOMES[outcome_state]).views()["default"]
    return tunnel_page(view, SETTING, alone=True)


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ("in_sync", "qBittorrent listens on 45720, the port that your VPN forwards."),
        ("out_of_sync", "Your VPN forwards port 45720, but qBittorrent listens on 51413."),
        ("not_listening", "qBittorrent is set to port 45720, but no socket is open there."),
        ("no_port", "Your VPN forwards no port right now. qBittorrent keeps port 45720."),
        ("vpn_down", "Your VPN is not connected. qBittorrent keeps port 45720."),
        (
            "gluetun_unreachable",
            "Gluetun does not answer, so its port is unknown. qBittorrent keeps port 45720.",
        ),
        (
            "gluetun_unauthorized",
            "Gluetun does not let qSticky read the port. qBittorrent keeps port 45720.",
        ),
        (
            "qbittorrent_unreachable",
            "qBittorrent does not answer, so its port can't be set. Your VPN forwards port 45720.",
        ),
        (
            "qbittorrent_unauthorized",
            "qBittorrent refuses qSticky's login, so its port can't be set. "
            "Your VPN forwards port 45720.",
        ),
        (
            "qbittorrent_banned",
            "qBittorrent has banned qSticky after too many wrong passwords. "
            "Your VPN forwards port 45720.",
        ),
        ("starting", "The first check is still under way."),
    ],
)
def test_each_state_is_told_in_one_plain_sentence(state: str, sentence: str) -> None:
    heading = re.search(r"<h1[^>]*>(.*?)</h1>", page_of(SyncState(state)))
    assert heading is not None
    assert heading[1].replace("&rsquo;", "'") == sentence


def test_every_state_and_status_has_its_words() -> None:
    assert set(WORDS) == set(SyncState)
    assert set(VPN) == set(VpnStatus)
    assert set(CONNECTION) == set(ConnectionStatus)


def test_a_closed_port_is_said_to_be_opened_again_only_where_it_will_be() -> None:
    closed = OUTCOMES[SyncState.NOT_LISTENING]
    never = board_of(replace(closed, rebinds=False)).views()["default"]

    promised = text(page_of(SyncState.NOT_LISTENING))
    assert "qSticky opens it again by itself: after 1 minute, after 5, then every 30." in promised
    said = text(tunnel_page(never, SETTING, alone=True))
    assert "opens it again by itself" not in said
    assert "REBIND=never keeps qSticky from opening it again; restart qBittorrent." in said


def told(state: SyncState, reason: Reason, auth: str = "password") -> str:
    """The page of a state that came about for another reason than usual."""
    usual = OUTCOMES[state]
    other = replace(usual.failures[0], reason=reason)
    beside = Failure(Operation.GLUETUN_STATUS, Reason.TIMEOUT, "something else", "")
    failures = (other,) if other.operation.startswith("gluetun") else (beside, other)
    view = board_of(replace(usual, failures=failures, qbittorrent_auth=auth)).views()["default"]
    return text(tunnel_page(view, SETTING, alone=True)).replace(
        "\N{RIGHT SINGLE QUOTATION MARK}", "'"
    )


@pytest.mark.parametrize("reason", ["tls", "http_4xx", "http_5xx", "invalid_response"])
def test_a_server_whose_answer_is_of_no_use_is_not_said_to_be_silent(reason: str) -> None:
    said = told(SyncState.GLUETUN_UNREACHABLE, Reason(reason))
    assert "Gluetun gives no answer that qSticky can use, so its port is unknown." in said
    said = told(SyncState.QBITTORRENT_UNREACHABLE, Reason(reason))
    assert "qBittorrent gives no answer that qSticky can use, so its port can't be set." in said


@pytest.mark.parametrize("reason", ["connection", "timeout"])
def test_a_server_that_is_silent_is_said_to_be(reason: str) -> None:
    said = told(SyncState.GLUETUN_UNREACHABLE, Reason(reason))
    assert "Gluetun does not answer, so its port is unknown." in said
    said = told(SyncState.QBITTORRENT_UNREACHABLE, Reason(reason))
    assert "qBittorrent does not answer, so its port can't be set." in said


def test_a_ban_is_feared_only_where_passwords_are_tried() -> None:
    fear = "five wrong passwords would ban it"
    assert fear in told(SyncState.QBITTORRENT_UNAUTHORIZED, Reason.AUTH)

    said = told(SyncState.QBITTORRENT_UNAUTHORIZED, Reason.FORBIDDEN_HOST)
    assert "qBittorrent refuses the address that qSticky uses for it, so its port" in said
    assert "qSticky tries again at every check." in said
    assert fear not in said

    said = told(SyncState.QBITTORRENT_UNAUTHORIZED, Reason.AUTH, auth="apikey")
    assert "qBittorrent refuses qSticky's API key, so its port can't be set." in said
    assert "qSticky tries again at every check." in said
    assert fear not in said


def test_the_title_says_the_state() -> None:
    assert "<title>In sync, port 45720 · qSticky</title>" in page_of(SyncState.IN_SYNC)
    assert "<title>VPN down · qSticky</title>" in page_of(SyncState.VPN_DOWN)


def test_the_page_says_when_it_was_checked_in_words_and_in_full() -> None:
    page = page_of(SyncState.IN_SYNC)
    assert "Checked 12 s ago" in text(page)
    assert '<time datetime="2027-01-15T07:59:48Z"' in page


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ("in_sync", "VPN forwards 45720 = the same as qBittorrent listens on 45720"),
        ("out_of_sync", "VPN forwards 45720 ≠ not the same as qBittorrent listens on 51413"),
        ("no_port", "VPN forwards none qBittorrent listens on 45720"),
        ("gluetun_unreachable", "VPN forwards unknown qBittorrent listens on 45720"),
        ("qbittorrent_unreachable", "VPN forwards 45720 qBittorrent listens on unknown"),
    ],
)
def test_both_ports_are_shown_and_none_differs_from_unknown(state: str, shown: str) -> None:
    assert shown in text(page_of(SyncState(state)))


def test_a_failure_is_shown_with_what_to_do() -> None:
    said = text(page_of(SyncState.QBITTORRENT_UNAUTHORIZED))
    assert "What is wrong qBittorrent rejected user admin To do: correct QBITTORRENT_USER" in said
    assert "Next login try in 25 min , or at once when the user name or password changes" in said


def test_a_failure_that_is_over_stays_as_the_last_error() -> None:
    board = board_of(OUTCOMES[SyncState.GLUETUN_UNREACHABLE])
    board.publish(replace(IN_SYNC, finished_at=NOW - 1))
    said = text(tunnel_page(board.views()["default"], SETTING, alone=True))
    assert "Last error 12 s ago , over since then Gluetun timed out at gluetun:8000" in said


@pytest.mark.parametrize(
    ("status", "has_torrents", "shown"),
    [
        ("connected", True, "Peers Connected A peer out there has connected in: the port works."),
        ("firewalled", True, "Peers Waiting for peers No peer has connected in since the port"),
        ("firewalled", False, "Peers No torrents yet Without a torrent nobody connects in"),
        ("firewalled", None, "Peers Waiting for peers No peer has connected in since the port"),
        ("disconnected", True, "Peers Disconnected qBittorrent has no open socket."),
        ("unknown", False, "Peers Unknown qBittorrent did not say."),
    ],
)
def test_the_connection_status_is_explained(
    status: str, has_torrents: bool | None, shown: str
) -> None:
    outcome = replace(
        IN_SYNC, connection_status=ConnectionStatus(status), has_torrents=has_torrents
    )
    view = board_of(outcome).views()["default"]
    assert shown in text(tunnel_page(view, SETTING, alone=True))


@pytest.mark.parametrize(
    ("up", "bound", "shown"),
    [
        (True, True, "Socket Open qBittorrent's own log proves it."),
        (True, False, "Socket Not proved qBittorrent's log does not show a socket on this port."),
        (False, False, "Socket Unknown qBittorrent did not say."),
    ],
)
def test_the_socket_is_explained(up: bool, bound: bool, shown: str) -> None:
    outcome = replace(IN_SYNC, qbittorrent_up=up, port_bound=bound)
    view = board_of(outcome).views()["default"]
    assert shown in text(tunnel_page(view, SETTING, alone=True)).replace(
        "\N{RIGHT SINGLE QUOTATION MARK}", "'"
    )


def test_a_page_whose_checks_have_stopped_says_so_loudly() -> None:
    view = board_of(replace(IN_SYNC, finished_at=NOW - 600)).views()["default"]
    page = tunnel_page(view, SETTING, alone=True)
    assert "<title>Stuck · qSticky</title>" in page
    assert '<section class="hero bad"' in page
    said = text(page)
    assert "qSticky has stopped checking. What follows is old." in said
    assert "Checked 10 min ago" in said


def test_a_tunnel_whose_checks_have_stopped_comes_first_among_many() -> None:
    board = board_of_many(3)
    board.publish(replace(IN_SYNC, tunnel="seedbox-0001", finished_at=NOW - 600))
    page = overview_page(list(board.views().values()), SETTING)
    assert "1 tunnel needs attention. The rest is in sync." in page
    assert re.findall(r'href="\./\?tunnel=([^"]*)"', page)[0] == "seedbox-0001"


NASTY = "<script>alert(1)</script>\"'&\x00\ud800"


def test_names_and_messages_are_escaped_whatever_they_hold() -> None:
    failure = Failure(Operation.GLUETUN_PORT, Reason.OTHER, NASTY, NASTY)
    event = Event(EventKind.NOTICE, Level.ERROR, NASTY, NASTY)
    board = StatusBoard([NASTY])
    outcome = replace(
        IN_SYNC, tunnel=NASTY, failures=(failure,), events=(event,), qbittorrent_version=NASTY
    )
    board.publish(outcome)
    view = board.views()[NASTY]
    setting = replace(SETTING, version=NASTY, docs_url='https://x/"><script>')
    for page in (
        tunnel_page(view, setting, alone=False),
        overview_page([view], setting),
        missing_page(NASTY, setting),
    ):
        assert "<script" not in page
        assert "&lt;script&gt;" in page
        page.encode("utf-8", "replace")


def test_the_overview_puts_the_worst_first_and_counts_them() -> None:
    views = list(board_of_many(40).views().values())
    page = overview_page(views, SETTING)
    order = re.findall(r'class="badge (\w+)"', page.split("<table>")[1])
    assert order == ["bad"] * 7 + ["waiting"] * 2 + ["starting"] + ["good"] * 30
    assert "7 tunnels need attention. 2 tunnels wait for the VPN. 1 tunnel is starting. " in page
    assert "The rest is in sync." in page


def test_when_all_is_well_the_overview_says_just_that() -> None:
    views = [view for view in board_of_many(3).views().values()]
    assert '<h1 id="state">All 3 tunnels are in sync.</h1>' in overview_page(views, SETTING)


def test_the_overview_can_be_narrowed_to_one_state() -> None:
    views = list(board_of_many(40).views().values())
    page = overview_page(views, replace(SETTING, state=SyncState.NO_PORT, refresh_seconds=15))
    assert re.findall(r'href="\./\?tunnel=([^"]*)"', page) == ["seedbox-0011"]
    assert 'href="./?state=no_port" aria-current="page"' in page
    assert "All 40" in text(page)


def test_a_thousand_rows_stay_below_700_kb() -> None:
    page = overview_page(list(board_of_many(1000).views().values()), SETTING)
    assert page.count("<tr>") == 1001
    assert len(page.encode()) < 700_000


def test_pausing_and_resuming_keep_the_place() -> None:
    setting = replace(SETTING, tunnel="a&b", refresh_seconds=15)
    assert setting.address(refreshing=False) == "./?tunnel=a%26b&refresh=off"
    assert setting.address(refreshing=True) == "./?tunnel=a%26b"


def test_each_tone_has_a_shape_of_its_own() -> None:
    drawings = {
        tone: re.findall(r'<p><span class="badge \w+">(<svg.*?</svg>)', page_of(state))[0]
        for state, tone in (
            (SyncState.IN_SYNC, Tone.GOOD),
            (SyncState.NO_PORT, Tone.WAITING),
            (SyncState.OUT_OF_SYNC, Tone.BAD),
            (SyncState.STARTING, Tone.STARTING),
        )
    }
    assert len(set(drawings.values())) == 4


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 s"),
        (0.9, "0 s"),
        (12, "12 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "119 min"),
        (7200, "2 h"),
        (172_799, "47 h"),
        (172_800, "2 days"),
    ],
)
def test_a_length_of_time_is_told_in_one_unit(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_a_moment_is_told_from_now() -> None:
    assert ago(100, 112) == "12 s ago"
    assert ago(1000, 100) == "in 15 min"
