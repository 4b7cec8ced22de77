import re
from html.parser import HTMLParser
from typing import Any

import pytest

from exporter.clock import span
from exporter.model import (
    BindResult,
    ConnectionStatus,
    Event,
    EventKind,
    Failure,
    GluetunReading,
    Level,
    Operation,
    Outcome,
    Outside,
    Reason,
    SyncState,
    VpnStatus,
)
from exporter.report.board import StatusBoard
from exporter.web.pages import PageContext, missing_page, overview_page, tunnel_page
from exporter.web.words import CONNECTION, VPN, WORDS, ago
from tests.outcomes import (
    FIREWALLED,
    IN_SYNC,
    LISTENING,
    NOW,
    OUTCOMES,
    PageClock,
    board_of,
    board_of_many,
    tunnel_config,
)

CONTEXT = PageContext(now=NOW, unix=PageClock().unix, version="2.0.0")
MANY = list(board_of_many(40).views().values())


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


def html_of(outcome: Outcome, **environ: str) -> str:
    board = board_of(outcome)
    board.set_tunnels([tunnel_config(**environ)])
    view = board.views()["default"]
    return tunnel_page(view, CONTEXT, alone=True).html


def text(html: str) -> str:
    parser = _Text()
    parser.feed(html)
    words = re.sub(r"\s+", " ", " ".join(parser.words))
    return words.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")


def text_of(state: SyncState, **changes: Any) -> str:
    """What the page says in a state, with some facts other than usual."""
    environ = {name: changes.pop(name) for name in list(changes) if name.isupper()}
    return text(html_of(OUTCOMES[state]._replace(**changes), **environ))


def heading(html: str) -> str:
    found = re.search(r"<h1[^>]*>(.*?)</h1>", html)
    assert found is not None
    return text(found[1])


# Words


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
            "Gluetun denied qSticky access to the port. qBittorrent keeps port 45720.",
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
        (
            "not_reachable",
            "qBittorrent listens on 45720, but nobody outside gets in: your VPN does not forward "
            "the port.",
        ),
    ],
)
def test_each_state_is_told_in_one_plain_sentence(state: str, sentence: str) -> None:
    assert heading(html_of(OUTCOMES[SyncState(state)])) == sentence


def test_every_state_and_status_has_its_words() -> None:
    assert set(WORDS) == set(SyncState)
    assert set(VPN) == set(VpnStatus)
    assert set(CONNECTION) == set(ConnectionStatus)


def test_a_closed_port_is_said_to_be_reopened_only_where_it_will_be() -> None:
    assert "qSticky reopens it by itself" in text_of(SyncState.NOT_LISTENING)
    never = text_of(SyncState.NOT_LISTENING, REBIND="never")
    assert "reopens it by itself" not in never
    assert "REBIND=never keeps qSticky from reopening it; restart qBittorrent." in never


def test_a_port_on_loopback_alone_is_said_to_be_out_of_reach() -> None:
    reading = LISTENING._replace(bind_result=BindResult.LOOPBACK)
    said = text_of(SyncState.NOT_LISTENING, qbittorrent=reading)
    assert "listens on the loopback interface alone, where no peer gets in." in said
    assert "reopens it by itself" not in said


def test_a_port_that_waits_for_the_storm_to_end_is_not_said_to_be_closed() -> None:
    said = text_of(SyncState.NOT_LISTENING, qbittorrent=LISTENING, failures=())
    assert "has reopened port 45720 six times in five minutes. Peers may not get in." in said
    assert "reopens it as soon as those five minutes are over." in said
    assert "no socket is open" not in said


def because(state: SyncState, reason: str, **changes: Any) -> str:
    """The page of a state that came about for this reason, beside another failure."""
    main = OUTCOMES[state].failures[0]._replace(reason=Reason(reason))
    beside = Failure(Operation.GLUETUN_STATUS, Reason.TIMEOUT, "something else", "")
    failures = (main,) if main.operation.startswith("gluetun") else (beside, main)
    return text_of(state, failures=failures, **changes)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("connection", "does not answer, so its port"),
        ("timeout", "does not answer, so its port"),
        ("tls", "gives no answer that qSticky can use, so its port"),
        ("http_5xx", "gives no answer that qSticky can use, so its port"),
        ("invalid_response", "gives no answer that qSticky can use, so its port"),
    ],
)
def test_only_a_silent_server_is_said_to_be_silent(reason: str, said: str) -> None:
    assert f"Gluetun {said} is unknown." in because(SyncState.GLUETUN_UNREACHABLE, reason)
    unreachable = because(SyncState.QBITTORRENT_UNREACHABLE, reason)
    assert f"qBittorrent {said} can't be set." in unreachable


@pytest.mark.parametrize(
    ("reason", "auth", "said"),
    [
        ("auth", "password", "five wrong passwords would ban it"),
        ("forbidden_host", "password", "refuses the address that qSticky uses for it"),
        ("auth", "apikey", "qBittorrent refuses qSticky's API key, so its port can't be set."),
    ],
)
def test_a_ban_is_feared_only_where_passwords_are_tried(reason: str, auth: str, said: str) -> None:
    key = {"QBITTORRENT_API_KEY": "qbt_1"} if auth == "apikey" else {}
    page = because(SyncState.QBITTORRENT_UNAUTHORIZED, reason, **key)
    assert said in page
    fears = "would ban it" in said
    assert ("would ban it" in page, "qSticky tries again at every check." in page) == (
        fears,
        not fears,
    )


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, "Peers Connected A peer has connected from outside: the port works."),
        (
            {"qbittorrent": FIREWALLED},
            "Peers Waiting for peers No peer has connected from outside since the port",
        ),
        (
            {"qbittorrent": FIREWALLED._replace(has_torrents=False)},
            "Peers No torrents yet Without a torrent nobody connects",
        ),
        (
            {"qbittorrent": LISTENING._replace(connection_status=ConnectionStatus.UNKNOWN)},
            "Peers Unknown qBittorrent did not say.",
        ),
        (
            {"outside": Outside(True, NOW - 60, NOW - 60)},
            "the port works. Somebody outside last got in 60 s ago.",
        ),
        (
            {"outside": Outside(False, NOW - 60, NOW - 7200)},
            "the port works. Somebody outside last got in 2 h ago.",
        ),
        (
            {"outside": Outside(False, NOW - 60)},
            "the port works. Nobody outside has got in on this port.",
        ),
        ({}, "Socket Open Confirmed by qBittorrent's own log."),
        (
            {"qbittorrent": LISTENING._replace(bind_result=BindResult.UNKNOWN)},
            "Socket Not confirmed qBittorrent's log does not show a socket",
        ),
        (
            {"qbittorrent": None},
            "Socket Unknown qBittorrent did not say.",
        ),
        (
            {"gluetun": GluetunReading(0, VpnStatus.COMPLETED)},
            "VPN Exited The VPN program has exited;",
        ),
    ],
)
def test_peers_socket_and_vpn_are_explained(changes: dict[str, Any], shown: str) -> None:
    assert shown in text_of(SyncState.IN_SYNC, **changes)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 s"),
        (0.9, "0 s"),
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


# The page of one tunnel


def test_the_title_says_the_state() -> None:
    html = html_of(IN_SYNC)
    assert "<title>In sync, port 45720 · qSticky</title>" in html
    assert "<title>VPN down · qSticky</title>" in html_of(OUTCOMES[SyncState.VPN_DOWN])


def test_the_page_says_when_it_was_checked_in_words_and_in_full() -> None:
    html = html_of(IN_SYNC)
    assert "Checked 12 s ago" in text(html)
    assert '<time datetime="2027-01-15T07:59:48Z"' in html


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
    assert shown in text_of(SyncState(state))


def test_a_failure_is_shown_with_what_to_do() -> None:
    said = text_of(SyncState.QBITTORRENT_UNAUTHORIZED)
    assert "What is wrong qBittorrent rejected user admin Fix: correct QBITTORRENT_USER" in said
    assert "Next login attempt in 25 min , or at once when the user name or password" in said


def test_a_failure_that_is_over_stays_as_the_last_error() -> None:
    board = board_of(OUTCOMES[SyncState.GLUETUN_UNREACHABLE])
    board.publish(IN_SYNC._replace(finished_at=NOW - 1))
    said = text(tunnel_page(board.views()["default"], CONTEXT, alone=True).html)
    assert "Last error 12 s ago , resolved Gluetun timed out at gluetun:8000" in said


def test_a_page_whose_checks_have_stopped_says_so_loudly() -> None:
    html = html_of(IN_SYNC._replace(finished_at=NOW - 600))
    assert "<title>Stuck · qSticky</title>" in html
    assert '<section class="hero bad"' in html
    assert heading(html) == ("qSticky has stopped checking. The information below is out of date.")
    assert "Checked 10 min ago" in text(html)


def test_each_tone_has_a_shape_of_its_own() -> None:
    states = ["in_sync", "no_port", "out_of_sync", "starting"]
    pages = [html_of(OUTCOMES[SyncState(state)]) for state in states]
    shapes = {re.findall(r'<span class="badge \w+">(<svg.*?</svg>)', page)[0] for page in pages}
    assert len(shapes) == 4


# The page of all tunnels


def tunnels(html: str) -> list[str]:
    return re.findall(r'href="\./\?tunnel=([^"]*)"', html)


def test_the_overview_puts_the_worst_first_and_counts_them() -> None:
    html = overview_page(MANY, CONTEXT).html
    order = re.findall(r'class="badge (\w+)"', html.split("<table>")[1])
    assert order == ["bad"] * 7 + ["waiting"] * 2 + ["starting"] + ["good"] * 30
    assert heading(html) == (
        "7 tunnels need attention. 2 tunnels are waiting for the VPN. 1 tunnel is starting. "
        "The rest is in sync."
    )


def test_a_tunnel_whose_checks_have_stopped_comes_first() -> None:
    board = board_of_many(3)
    board.publish(IN_SYNC._replace(tunnel="seedbox-0001", finished_at=NOW - 600))
    html = overview_page(list(board.views().values()), CONTEXT).html
    assert heading(html) == "1 tunnel needs attention. The rest is in sync."
    assert tunnels(html)[0] == "seedbox-0001"


def test_when_all_is_well_the_overview_says_just_that() -> None:
    html = overview_page(list(board_of_many(3).views().values()), CONTEXT).html
    assert heading(html) == "All 3 tunnels are in sync."


def test_the_overview_can_be_narrowed_to_one_state() -> None:
    html = overview_page(MANY, CONTEXT._replace(state=SyncState.NO_PORT)).html
    assert tunnels(html) == ["seedbox-0011"]
    assert 'href="./?state=no_port" aria-current="page"' in html
    assert "All 40" in text(html)


def test_a_thousand_rows_stay_below_700_kb() -> None:
    html = overview_page(list(board_of_many(1000).views().values()), CONTEXT).html
    assert html.count("<tr>") == 1001
    assert len(html.encode()) < 700_000


def test_pausing_and_resuming_keep_the_place() -> None:
    context = CONTEXT._replace(tunnel="a&b")
    assert 'href="./?tunnel=a%26b&amp;refresh=off">Pause</a>' in missing_page(context).html
    paused = missing_page(context._replace(refreshing=False)).html
    assert 'Auto-refresh is off. <a href="./?tunnel=a%26b">Turn on</a>' in paused


NASTY = "<script>alert(1)</script>\"'&\x00\ud800"


def test_names_and_messages_are_escaped_whatever_they_hold() -> None:
    failure = Failure(Operation.GLUETUN_PORT, Reason.OTHER, NASTY, NASTY)
    event = Event(EventKind.NOTICE, Level.ERROR, NASTY, NASTY)
    board = StatusBoard()
    board.set_tunnels([tunnel_config(NASTY)])
    board.publish(
        IN_SYNC._replace(
            tunnel=NASTY,
            failures=(failure,),
            events=(event,),
            qbittorrent=LISTENING._replace(version=NASTY),
        )
    )
    view = board.views()[NASTY]
    context = CONTEXT._replace(version=NASTY, tunnel=NASTY, docs_url='https://x/"><script>')
    for page in (
        tunnel_page(view, context, alone=False),
        overview_page([view], context),
        missing_page(context),
    ):
        assert "<script" not in page.html
        assert "&lt;script&gt;" in page.html
        page.html.encode("utf-8", "replace")
