"""For every alert: the minute when it fires, the one before, its end, and stories without it.

Every alert that fires at a minute is named, so one cause gives one alert.
"""

from exporter.model import SyncState
from tests.alerts.story import PROCESS, Case, states, story

FINE, NO_PORT, DOWN = SyncState.IN_SYNC, SyncState.NO_PORT, SyncState.VPN_DOWN
CAUSES = {
    SyncState.VPN_DOWN: "QStickyVPNDown",
    SyncState.NO_PORT: "QStickyNoForwardedPort",
    SyncState.OUT_OF_SYNC: "QStickyPortOutOfSync",
    SyncState.NOT_LISTENING: "QStickyPortNotListening",
    SyncState.GLUETUN_UNREACHABLE: "QStickyGluetunUnreachable",
    SyncState.GLUETUN_UNAUTHORIZED: "QStickyGluetunUnauthorized",
    SyncState.QBITTORRENT_UNREACHABLE: "QStickyQbittorrentUnreachable",
    SyncState.QBITTORRENT_UNAUTHORIZED: "QStickyQbittorrentUnauthorized",
    SyncState.QBITTORRENT_BANNED: "QStickyQbittorrentUnauthorized",
}


def of_a_cause(state: SyncState, alert: str) -> tuple[Case, ...]:
    """Cases of an alert on one state of the tunnel."""
    return (
        Case(
            f"{state}: waits 10 minutes, fires while it lasts, ends at once",
            story(40, success="0+60x4 240x35") | states((FINE, 5), (state, 25), (FINE, 11)),
            {4: "", 14: "", 15: alert, 29: alert, 30: "", 40: ""},
        ),
        Case(
            f"{state}: two times 9 minutes are no alert",
            story(40) | states((FINE, 5), (state, 9), (FINE, 1), (state, 9), (FINE, 17)),
            {14: "", 15: "", 24: "", 25: ""},
        ),
        Case(
            f"{state}: failed scrapes for 2 minutes change nothing",
            story(20, up="1x7 0x1 1x10", attempt="0+60x7 _x2 600+60x10")
            | {
                name: values.replace("1x19", "1x7 _x2 1x10").replace("0x19", "0x7 _x2 0x10")
                for name, values in states((state, 20)).items()
            },
            {9: "", 10: alert, 19: alert},
        ),
        Case(
            f"{state}: the last word of a qSticky that hangs does not count",
            story(40, attempt="0+60x8 480x31", written="0+60x8 480x31") | states((state, 41)),
            {
                9: "",
                10: alert,
                11: alert,
                12: "",
                14: "QStickySyncStalled",
                40: "QStickySyncStalled",
            },
        ),
    )


def turns(*states_in_turn: SyncState, minutes: int) -> tuple[tuple[SyncState, int], ...]:
    """States that take turns every 4 minutes."""
    return tuple((states_in_turn[i % len(states_in_turn)], 4) for i in range(minutes // 4))


SYNC_FAILING: tuple[Case, ...] = (
    Case(
        "causes that take turns for more than 30 minutes",
        story(60, success="0+60x4 240x55") | states((FINE, 5), *turns(DOWN, NO_PORT, minutes=56)),
        {35: "", 36: "QStickySyncFailing", 60: "QStickySyncFailing"},
        {
            37: (
                "QStickySyncFailing",
                "Tunnel home (nas:9809): qSticky last saw the right port 33m 0s ago, and no reason "
                "has lasted 10 minutes. The limit is 30 minutes.",
            )
        },
    ),
    Case(
        "one success in between is enough",
        story(60, success="0+60x4 240x27 1920x28", in_sync="0x60")
        | states(
            (FINE, 5),
            *turns(DOWN, NO_PORT, minutes=28),
            (FINE, 1),
            *turns(DOWN, NO_PORT, minutes=28),
        ),
        {36: "", 50: "", 60: ""},
    ),
    Case(
        "a start grants 30 minutes",
        story(60, success="0x60", started="-7200x9 600x50")
        | states(*turns(DOWN, NO_PORT, minutes=60)),
        {35: "", 40: "", 42: "QStickySyncFailing"},
    ),
    Case(
        "a cause that lasts has its own alert",
        story(60, success="0x60") | states(*turns(DOWN, NO_PORT, minutes=40), (NO_PORT, 21)),
        {35: "QStickySyncFailing", 50: "QStickyNoForwardedPort", 60: "QStickyNoForwardedPort"},
    ),
)
SYNC_FAILING += (
    Case(
        "two changes in 30 minutes leave the word to the alerts on the causes",
        story(50, success="0+60x4 240x45", in_sync="1x4 0x45")
        | states((FINE, 5), (DOWN, 16), (NO_PORT, 9), (SyncState.GLUETUN_UNREACHABLE, 21)),
        {20: "QStickyVPNDown", 21: "", 36: "", 39: "", 40: "QStickyGluetunUnreachable"},
    ),
    Case(
        "where qSticky hangs, that is the alert on it",
        story(50, success="0+60x4 240x45", attempt="0+60x32 1920x17", written="0+60x32 1920x17")
        | states((FINE, 5), *turns(DOWN, NO_PORT, minutes=28), (NO_PORT, 18)),
        {35: "", 36: "", 38: "QStickySyncStalled", 50: "QStickySyncStalled"},
    ),
)
SYNC_STALLED = (
    Case(
        "no check for more than 5 intervals and a minute",
        story(30, attempt="0+60x4 240x19 1500+60x5", written="0+60x4 240x19 1500+60x5"),
        {7: "", 9: "", 10: "QStickySyncStalled", 24: "QStickySyncStalled", 25: ""},
        {
            11: (
                "QStickySyncStalled",
                "Tunnel home (nas:9809): qSticky finished its last check 7m 0s ago. More than 5 "
                "intervals and a minute mean that it hangs.",
            )
        },
    ),
    Case(
        "a process that went away is down, not stalled",
        story(30, up="1x4 0x25", attempt="0+60x4 stale", interval="30x4 stale"),
        {9: "", 10: "QStickyDown", 30: "QStickyDown"},
    ),
)
FIREWALLED = (
    Case(
        "no peer for 30 minutes",
        story(50, torrents="1x50", firewalled="0x4 1x39 0x5"),
        {34: "", 35: "QStickyFirewalled", 44: "QStickyFirewalled", 45: ""},
    ),
    Case("without torrents", story(50, firewalled="1x50"), {30: "", 50: ""}),
    Case(
        "out of sync is another matter",
        story(50, torrents="1x50", firewalled="1x50", in_sync="0x50", success="0x50")
        | states((NO_PORT, 51)),
        {30: "QStickyNoForwardedPort", 50: "QStickyNoForwardedPort"},
    ),
    Case(
        "where qSticky hangs, its last word does not count",
        story(50, torrents="1x50", firewalled="1x50", attempt="0+60x20 1200x29"),
        {30: "QStickySyncStalled", 50: "QStickySyncStalled"},
    ),
)
COUNTED = (
    Case(
        "5 other ports within an hour, until half an hour after they are history",
        story(120, changes="0x4 1x9 2x9 3x9 4x9 5x75"),
        {44: "", 45: "QStickyPortFlapping", 64: "QStickyPortFlapping", 97: ""},
    ),
    Case("4 are not worth an alert", story(80, changes="0x4 1x9 2x9 3x9 4x45"), {45: "", 80: ""}),
    Case(
        "3 drifts within an hour, until half an hour after they are history",
        story(120, drifts="0x4 1x9 2x9 3x95"),
        {24: "", 25: "QStickyPortDrift", 64: "QStickyPortDrift", 98: ""},
    ),
    Case("2 may be an accident", story(60, drifts="0x4 1x9 2x45"), {25: "", 60: ""}),
    Case(
        "3 starts within 30 minutes",
        story(60, started="-7200x4 300x4 600x4 900x45"),
        {14: "", 15: "QStickyRestarting", 33: "QStickyRestarting", 34: ""},
    ),
    Case("2 are an update and its repair", story(60, started="-7200x4 300x4 600x50"), {15: ""}),
    Case(
        "3 starts, then it stays away",
        story(
            40, started="-7200x4 300x4 600x4 900x2 stale", up="1x17 0x22", attempt="0+60x17 stale"
        ),
        {
            15: "QStickyRestarting",
            21: "QStickyRestarting",
            22: "",
            23: "QStickyDown",
            33: "QStickyDown",
        },
    ),
    Case(
        "starts of another exporter",
        story(30)
        | {'process_start_time_seconds{job="other"}': "0+60x30", 'up{job="other"}': "1x30"},
        {15: "", 30: ""},
    ),
)
DOWN_OR_ABSENT = (
    Case(
        "5 minutes without an answer",
        story(60, up="1x4 0x24 1x30", attempt="0+60x4 _x25 1800+60x30"),
        {9: "", 10: "QStickyDown", 29: "QStickyDown", 30: ""},
    ),
    Case("4 minutes", story(30, up="1x4 0x3 1x20"), {9: "", 10: "", 30: ""}),
    Case(
        "a target that was never a qSticky",
        story(30) | {'up{job="other",instance="nas:9100"}': "0x30"},
        {30: ""},
    ),
    Case(
        "a target that is there no more",
        {name: f"{values.split('x')[0]}x9" for name, values in story(9).items()},
        {69: "", 83: "", 84: "QStickyAbsent"},
    ),
    Case(
        "no target from the beginning",
        {f"up{{{PROCESS}}}": "1x30"},
        {14: "", 15: "QStickyAbsent"},
    ),
    Case(
        "scrapes that fail for an hour are another matter",
        story(100, up="1x4 0x95", **dict.fromkeys(("build", "attempt"), "1x4 stale")),
        {90: "QStickyDown", 100: "QStickyDown"},
    ),
)
REST = (
    Case(
        "31 % of the requests fail for 20 minutes",
        story(60, timeouts="0+1.5x60", others="0+1x60"),
        {20: "", 22: "QStickyHighFailureRatio", 60: "QStickyHighFailureRatio"},
    ),
    Case(
        "status.json has an alert of its own",
        {
            name.replace("gluetun_port", "status_file"): values
            for name, values in story(60, timeouts="0+8x60").items()
        },
        {22: "", 60: ""},
    ),
    Case("25 % are not enough", story(60, timeouts="0+1x60", others="0+1x60"), {22: "", 60: ""}),
    Case(
        "while a cause has its own alert, that is enough",
        story(60, timeouts="0+8x60", in_sync="0x60", success="0x60")
        | states((SyncState.GLUETUN_UNREACHABLE, 61)),
        {22: "QStickyGluetunUnreachable", 60: "QStickyGluetunUnreachable"},
    ),
    Case(
        "a configuration rejected 10 minutes ago",
        story(40, reloaded="1x4 0x19 1x15"),
        {14: "", 15: "QStickyConfigReloadFailed", 24: "QStickyConfigReloadFailed", 25: ""},
    ),
    Case(
        "status.json 2 minutes behind for 5 minutes",
        story(40, written="0+60x4 240x19 1500+60x15"),
        {11: "", 12: "QStickyStatusFileStale", 24: "QStickyStatusFileStale", 25: ""},
    ),
    Case(
        "where qSticky hangs, that is the alert",
        story(40, written="0+60x4 240x35", attempt="0+60x4 240x35"),
        {12: "QStickySyncStalled", 40: "QStickySyncStalled"},
    ),
)
CASES = (
    *(case for state, alert in CAUSES.items() for case in of_a_cause(state, alert)),
    *SYNC_FAILING,
    *SYNC_STALLED,
    *FIREWALLED,
    *COUNTED,
    *DOWN_OR_ABSENT,
    *REST,
)
