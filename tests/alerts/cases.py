"""For every alert: the minute when it fires, the one before, its end, and stories without it.

Every alert that fires at a minute is named, so one cause gives one alert.
"""

from exporter.model import SyncState
from tests.alerts.story import PROCESS, SERIES, Case, states, story

FINE, NO_PORT, DOWN = SyncState.IN_SYNC, SyncState.NO_PORT, SyncState.VPN_DOWN
CAUSES = {
    SyncState.VPN_DOWN: "QStickyVPNDown",
    SyncState.NO_PORT: "QStickyNoForwardedPort",
    SyncState.OUT_OF_SYNC: "QStickyPortOutOfSync",
    SyncState.NOT_LISTENING: "QStickyPortNotListening",
    SyncState.NOT_REACHABLE: "QStickyPortNotReachable",
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
            f"{state}: waits 10 minutes, fires while it lasts and 5 minutes longer",
            story(40) | states((FINE, 5), (state, 25), (FINE, 11)),
            {4: "", 14: "", 15: alert, 29: alert, 34: alert, 35: "", 40: ""},
        ),
        Case(
            f"{state}: two times 9 minutes are no alert",
            story(70) | states((FINE, 35), (state, 9), (FINE, 1), (state, 9), (FINE, 17)),
            {44: "", 45: "", 54: "", 55: "", 70: ""},
        ),
        Case(
            f"{state}: failed scrapes for 2 minutes change nothing",
            story(20, up="1x7 0x1 1x10", **dict.fromkeys(("time", "attempt"), GAP))
            | {
                name: values.replace("1x19", "1x7 _x2 1x10").replace("0x19", "0x7 _x2 0x10")
                for name, values in states((state, 20)).items()
            },
            {9: "", 10: alert, 19: alert},
        ),
        Case(
            f"{state}: a restart of qSticky in between does not end it",
            story(50) | states((FINE, 5), (state, 20), (SyncState.STARTING, 1), (state, 25)),
            {15: alert, **dict.fromkeys(range(24, 37), alert), 50: alert},
        ),
        Case(
            f"{state}: the last word of a qSticky that hangs does not count",
            story(40, attempt="0+60x8 480x31", written="0+60x8 480x31") | states((state, 41)),
            {
                9: "",
                10: alert,
                14: f"{alert} QStickySyncStalled",
                16: f"{alert} QStickySyncStalled",
                17: "QStickySyncStalled",
                40: "QStickySyncStalled",
            },
        ),
    )


GAP = "0+60x7 _x2 600+60x10"


def turns(*states_in_turn: SyncState, minutes: int) -> tuple[tuple[SyncState, int], ...]:
    """States that take turns every 4 minutes."""
    return tuple((states_in_turn[i % len(states_in_turn)], 4) for i in range(minutes // 4))


def flapping(state: SyncState, minutes: int, times: int) -> tuple[tuple[SyncState, int], ...]:
    """A state for so many of every 10 minutes."""
    return ((state, minutes), (FINE, 10 - minutes)) * times


SYNC_FAILING: tuple[Case, ...] = (
    Case(
        "the VPN is away for 8 of 10 minutes, for 3 hours",
        story(280) | states((FINE, 60), *flapping(DOWN, 8, 18), (FINE, 41)),
        {
            96: "",
            **dict.fromkeys(range(97, 252), "QStickySyncFailing"),
            252: "",
            280: "",
        },
        {
            120: (
                "QStickySyncFailing",
                "Tunnel home (nas:9809): the port was open for only 20% of the last hour, and no "
                "reason lasted 10 minutes. The limit is 50 %.",
            )
        },
    ),
    *(
        Case(
            f"{state} for 9 of 10 minutes, for 3 hours",
            story(240) | states((FINE, 60), *flapping(state, 9, 18)),
            {93: "", 94: "QStickySyncFailing", 239: "QStickySyncFailing"},
        )
        for state in (SyncState.QBITTORRENT_UNREACHABLE, SyncState.GLUETUN_UNAUTHORIZED)
    ),
    Case(
        "the VPN is away for 4 of 10 minutes",
        story(240) | states((FINE, 60), *flapping(DOWN, 4, 18)),
        dict.fromkeys(range(240), ""),
    ),
    Case(
        "causes that take turns for half an hour, with a success in between or not",
        story(130)
        | states(
            (FINE, 60),
            *turns(DOWN, NO_PORT, minutes=24),
            (FINE, 1),
            *turns(DOWN, NO_PORT, minutes=48),
        ),
        {91: "", 92: "QStickySyncFailing", 130: "QStickySyncFailing"},
    ),
    Case(
        "causes that take turns for less than half an hour",
        story(120) | states((FINE, 60), *turns(DOWN, NO_PORT, minutes=28), (FINE, 33)),
        dict.fromkeys(range(120), ""),
    ),
    Case(
        "half an hour has to be known",
        story(60) | states(*turns(DOWN, NO_PORT, minutes=60)),
        {29: "", 30: "", 31: "QStickySyncFailing", 59: "QStickySyncFailing"},
    ),
    Case(
        "a cause that lasts takes over",
        story(120) | states((FINE, 60), *turns(DOWN, NO_PORT, minutes=40), (NO_PORT, 21)),
        {
            99: "QStickySyncFailing",
            106: "QStickyNoForwardedPort QStickySyncFailing",
            112: "QStickyNoForwardedPort",
            120: "QStickyNoForwardedPort",
        },
    ),
    Case(
        "after a cause that had its alert, a restless end is none",
        story(150)
        | states(
            (FINE, 60), (DOWN, 40), (NO_PORT, 1), (DOWN, 1), (FINE, 1), (NO_PORT, 1), (FINE, 47)
        ),
        {70: "QStickyVPNDown", 104: "QStickyVPNDown", **dict.fromkeys(range(107, 150), "")},
    ),
    Case(
        "where qSticky hangs, that is the alert on it",
        story(120, attempt="0+60x92 5520x28", written="0+60x92 5520x28")
        | states((FINE, 60), *turns(DOWN, NO_PORT, minutes=32), (NO_PORT, 29)),
        {
            90: "",
            91: "QStickySyncFailing",
            98: "QStickySyncStalled QStickySyncFailing",
            101: "QStickySyncStalled",
            120: "QStickySyncStalled",
        },
    ),
    Case(
        "where qSticky is down, that is the alert",
        story(120, up="1x110 0x9") | states((FINE, 60), *flapping(DOWN, 8, 5), (DOWN, 1)),
        {110: "QStickySyncFailing", 116: "QStickyDown QStickySyncFailing", 120: "QStickyDown"},
    ),
)
SYNC_STALLED = (
    Case(
        "no check for more than 5 intervals and a minute",
        story(40, attempt="0+60x4 240x19 1500+60x15", written="0+60x4 240x19 1500+60x15"),
        {7: "", 9: "", 10: "QStickySyncStalled", 29: "QStickySyncStalled", 30: ""},
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
        story(30, up="1x4 0x25", **dict.fromkeys(("time", "attempt"), "0+60x4 stale")),
        {9: "", 10: "QStickyDown", 30: "QStickyDown"},
    ),
)


def off(seconds: int, minutes: int) -> dict[str, str]:
    """All times of a qSticky whose clock is so many seconds ahead."""
    return dict.fromkeys(("time", "attempt", "written"), f"{seconds}+60x{minutes}")


SKEW = "QStickyClockSkew"
CLOCKS = (
    *(
        Case(
            f"the clock is {seconds} s ahead, all is well",
            story(40, **off(seconds, 40)),
            {9: "", 10: SKEW, **dict.fromkeys(range(10, 40), SKEW)},
        )
        for seconds in (-300, -170, -61, 61, 300)
    ),
    *(
        Case(
            f"the clock is {seconds} s ahead, the VPN is down",
            story(40, **off(seconds, 40)) | states((FINE, 5), (DOWN, 36)),
            {14: SKEW, 15: f"QStickyVPNDown {SKEW}", 40: f"QStickyVPNDown {SKEW}"},
        )
        for seconds in (-300, -170, 300)
    ),
    Case(
        "the clock is 5 minutes behind, qSticky hangs",
        story(40, **off(-300, 40) | {"attempt": "-300+60x4 -60x35", "written": "-300+60x4 -60x35"}),
        {9: "", 10: f"QStickySyncStalled {SKEW}", 40: f"QStickySyncStalled {SKEW}"},
    ),
    Case(
        "the clock is a minute ahead",
        story(40, **off(60, 40)),
        dict.fromkeys(range(40), ""),
    ),
    Case(
        "a clock that is put right",
        story(40, **dict.fromkeys(("time", "attempt", "written"), "-300+60x19 1200+60x20")),
        {10: SKEW, 24: SKEW, 25: ""},
        {
            15: (
                SKEW,
                "The clocks of the machines of qSticky at nas:9809 and of Prometheus have differed "
                "by 5m 0s for 10 minutes; the limit is a minute. Alerts are right all the same, "
                "times on the dashboards are not.",
            )
        },
    ),
)
FIREWALLED = (
    Case(
        "no peer for 30 minutes",
        story(60, torrents="1x60", firewalled="0x4 1x39 0x15"),
        {34: "", 35: "QStickyFirewalled", 49: "QStickyFirewalled", 50: ""},
    ),
    Case("without torrents", story(50, firewalled="1x50"), {30: "", 50: ""}),
    Case(
        "nobody knows whether there are torrents",
        story(50, firewalled="1x50", torrents="_x50"),
        {30: "", 50: ""},
    ),
    Case(
        "out of sync is another matter",
        story(50, torrents="1x50", firewalled="1x50") | states((NO_PORT, 51)),
        {30: "QStickyNoForwardedPort", 50: "QStickyNoForwardedPort"},
    ),
    Case(
        "where qSticky hangs, its last word does not count",
        story(50, torrents="1x50", firewalled="1x50", attempt="0+60x20 1200x29"),
        {30: "QStickySyncStalled", 50: "QStickySyncStalled"},
    ),
)
RESTARTING, FLAPPING, DRIFT = "QStickyRestarting", "QStickyPortFlapping", "QStickyPortDrift"
COUNTED = (
    Case(
        "5 other ports within an hour, until half an hour after they are history",
        story(120, changes="0x4 1x9 2x9 3x9 4x9 5x75"),
        {44: "", 45: FLAPPING, 64: FLAPPING, 97: ""},
    ),
    Case("4 are not worth an alert", story(80, changes="0x4 1x9 2x9 3x9 4x45"), {45: "", 80: ""}),
    Case(
        "3 drifts within an hour, until half an hour after they are history",
        story(120, drifts="0x4 1x9 2x9 3x95"),
        {24: "", 25: DRIFT, 64: DRIFT, 98: ""},
    ),
    Case("2 may be an accident", story(60, drifts="0x4 1x9 2x45"), {25: "", 60: ""}),
    Case(
        "3 starts within 30 minutes, until half an hour after they are history",
        story(70, started="-7200x4 300x4 600x4 900x55"),
        {14: "", 15: RESTARTING, 33: RESTARTING, 63: RESTARTING, 64: ""},
    ),
    Case("2 are an update and its repair", story(60, started="-7200x4 300x4 600x50"), {15: ""}),
    Case(
        "a start every 12 minutes, for 4 hours: one alert",
        story(240, started=" ".join(f"{720 * start}x11" for start in range(21))),
        {35: "", **dict.fromkeys(range(36, 240), RESTARTING)},
    ),
    Case(
        "a start every 16 minutes",
        story(240, started=" ".join(f"{960 * start}x15" for start in range(16))),
        dict.fromkeys(range(240), ""),
    ),
    Case(
        "starts of another exporter",
        story(30)
        | {'process_start_time_seconds{job="other"}': "0+60x30", 'up{job="other"}': "1x30"},
        {15: "", 30: ""},
    ),
    Case(
        "3 of 4 ports took longer than a minute within a day",
        story(1600, opened="0x9 1x99 2x99 3x99 4x1290", opened_soon="0x9 1x1590"),
        {300: "", 310: "QStickyPortOpensSlowly", 1540: "QStickyPortOpensSlowly", 1550: ""},
        evaluated_every="10m",
    ),
    Case(
        "2 may be an accident",
        story(400, opened="0x9 1x99 2x290"),
        {110: "", 400: ""},
        evaluated_every="10m",
    ),
    Case(
        "3 of 33 are as good as promised",
        story(400, opened="0x9 11x99 22x99 33x190", opened_soon="0x9 10x99 20x99 30x190"),
        {210: "", 400: ""},
        evaluated_every="10m",
    ),
)
HERE = f"up{{{PROCESS}}}"
DOWN_OR_ABSENT = (
    Case(
        "5 minutes without an answer",
        story(
            60, up="1x4 0x24 1x30", **dict.fromkeys(("time", "attempt"), "0+60x4 _x25 1800+60x30")
        ),
        {9: "", 10: "QStickyDown", 29: "QStickyDown", 30: ""},
    ),
    Case("4 minutes", story(30, up="1x4 0x3 1x20"), {9: "", 10: "", 30: ""}),
    Case(
        "down for 9 days",
        {HERE: "1x9 0x12960", SERIES["build"]: "1x9 stale"},
        {60: "QStickyDown", 10080: "QStickyDown", 10110: "QStickyDown", 12960: "QStickyDown"},
        evaluated_every="30m",
    ),
    Case(
        "the VPN is down, then qSticky too: nothing seems to be well in between",
        story(60, up="1x40 0x19", **dict.fromkeys(("time", "attempt"), "0+60x40 stale"))
        | states((FINE, 5), (DOWN, 36)),
        {
            **dict.fromkeys(range(15, 46), "QStickyVPNDown"),
            46: "QStickyDown QStickyVPNDown",
            50: "QStickyDown",
            60: "QStickyDown",
        },
    ),
    Case(
        "a tunnel that was removed by a reload, then qSticky is down",
        story(60, up="1x40 0x19", **dict.fromkeys(("time", "attempt"), "0+60x40 stale"))
        | states((DOWN, 21), tunnel=f'{PROCESS},tunnel="removed"'),
        {20: "QStickyVPNDown", 30: "", 45: "", 46: "QStickyDown", 60: "QStickyDown"},
    ),
    Case(
        "starts, then it stays away",
        story(
            60,
            started="-7200x4 300x4 600x4 900x2 stale",
            up="1x17 0x42",
            **dict.fromkeys(("time", "attempt"), "0+60x17 stale"),
        ),
        {
            15: RESTARTING,
            22: RESTARTING,
            23: f"QStickyDown {RESTARTING}",
            60: f"QStickyDown {RESTARTING}",
        },
    ),
    Case(
        "a job of that name that was never up",
        {'up{job="seedbox/qsticky",instance="nas:9809"}': "0x100"},
        {4: "", 5: "QStickyDown", 15: "QStickyDown", 100: "QStickyDown"},
    ),
    Case(
        "a target of another name that was never a qSticky",
        story(30) | {'up{job="other",instance="nas:9100"}': "0x30"},
        {30: ""},
    ),
    Case(
        "nor is there any other",
        {'up{job="other",instance="nas:9100"}': "0x30"},
        {15: "QStickyAbsent"},
    ),
    Case(
        "a target that is there no more",
        {name: f"{values.split('x')[0]}x9" for name, values in story(9).items()},
        {69: "", 83: "", 84: "QStickyAbsent"},
    ),
    Case(
        "a target that is removed while it is down",
        {HERE: "1x4 0x20 stale", SERIES["build"]: "1x4 stale"},
        {25: "QStickyDown", 26: "", 81: "QStickyAbsent"},
    ),
    Case("no target from the beginning", {HERE: "1x30"}, {14: "", 15: "QStickyAbsent"}),
    Case(
        "scrapes that fail for an hour are another matter",
        story(100, up="1x4 0x95", **dict.fromkeys(("build", "time", "attempt"), "1x4 stale")),
        {90: "QStickyDown", 100: "QStickyDown"},
    ),
)
FAILURE_RATIO = "QStickyHighFailureRatio"
CELLAR = f'{PROCESS},tunnel="cellar"'
REST = (
    Case(
        "something fails in 3 of 10 checks for 20 minutes",
        story(60, checks="0+10x60", errors="0+3x60"),
        {20: "", 22: FAILURE_RATIO, 60: FAILURE_RATIO},
        {
            30: (
                FAILURE_RATIO,
                "Tunnel home (nas:9809): for 20 minutes a request has failed in 30 % of the "
                "checks; the limit is 25 %.",
            )
        },
    ),
    Case("in 1 of 4", story(60, checks="0+8x60", errors="0+2x60"), {22: "", 60: ""}),
    Case(
        "while a cause has its own alert, that is enough",
        story(60, errors="0+2x60") | states((SyncState.GLUETUN_UNREACHABLE, 61)),
        {22: "QStickyGluetunUnreachable", 60: "QStickyGluetunUnreachable"},
    ),
    Case(
        "a broken tunnel says nothing about another one",
        story(60, checks="0+10x60", errors="0+3x60")
        | states((SyncState.GLUETUN_UNREACHABLE, 61), tunnel=CELLAR)
        | {
            f"qsticky_{name}_total{{{CELLAR}}}": "0+2x60" for name in ("syncs", "syncs_with_errors")
        },
        {22: f"QStickyGluetunUnreachable {FAILURE_RATIO}"},
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
    *CLOCKS,
    *FIREWALLED,
    *COUNTED,
    *DOWN_OR_ABSENT,
    *REST,
)
