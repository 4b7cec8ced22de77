"""For every alert on a tunnel: when it stays quiet, waits, fires; and that no other alert fires.

Minutes count from the beginning of the story. A scrape and an evaluation happen every half minute,
so 9.5 is the last moment before minute 10.
"""

from collections.abc import Callable, Iterator
from functools import partial

from tests.alerts import expected
from tests.alerts.story import TODAY, Alert, Case, Part, tell

ATTEMPT = "qsticky_sync_last_attempt_timestamp_seconds"
SUCCESS = "qsticky_sync_last_success_timestamp_seconds"

FINE = Part(minutes=5)


def of_a_cause(state: str) -> Iterator[Case]:
    """An alert on one state of the tunnel."""
    name, alert = expected.CAUSES[state]
    yield Case(
        f"{state} waits 10 minutes, fires as long as it lasts, and ends at once",
        tell(FINE, Part(minutes=60, state=state), Part(minutes=20)),
        {4: (), 14.5: (), 15: (name,), 40: (name,), 64.5: (name,), 65: (), 84.5: ()},
        {14.5: {name: ()}, 15: {name: (alert,)}, 65: {name: ()}},
    )
    yield Case(
        f"{state} for two times 9.5 minutes is no alert",
        tell(
            FINE,
            Part(minutes=9.5, state=state),
            Part(minutes=0.5),
            Part(minutes=9.5, state=state),
            FINE,
        ),
        {14.5: (), 24: (), 24.5: (), 29: ()},
    )
    yield Case(
        f"{state}: a start in the middle begins the wait anew and nothing else",
        tell(
            FINE,
            Part(minutes=5, state=state),
            Part(minutes=20, state=state, starts=True),
        ),
        {10: (), 15: (), 20: (), 20.5: (name,)},
    )
    yield Case(
        f"{state}: failed scrapes for 2 minutes change nothing",
        tell(
            FINE,
            Part(minutes=4, state=state),
            Part(minutes=2, state=state, scraped=False),
            Part(minutes=8, state=state),
            Part(minutes=2, state=state, scraped=False),
            Part(minutes=2, state=state),
        ),
        {14.5: (), 15: (name,), 18.5: (name,), 20.5: (name,), 22.5: (name,)},
    )
    yield Case(
        f"{state}: failed scrapes for 3.5 minutes begin the wait anew",
        tell(
            FINE,
            Part(minutes=4, state=state),
            Part(minutes=3.5, state=state, scraped=False),
            Part(minutes=12, state=state),
        ),
        {15: (), 22: (), 22.5: (name,)},
    )
    yield Case(
        f"{state}: where qSticky hangs, its last word on the tunnel no longer counts",
        # the last cycle ends at 6.5; at 10 it is 3.5 minutes old: 5 intervals and a minute
        tell(Part(minutes=7, state=state), Part(minutes=40, state=state, hung=True)),
        {
            9.5: (),
            10: (name,),
            10.5: (),
            12: (),
            12.5: ("QStickySyncStalled",),
            46: ("QStickySyncStalled",),
        },
    )
    yield Case(
        f"{state} of one tunnel says nothing of another",
        tell(Part(minutes=30), office=(Part(minutes=30, state=state),)),
        {9.5: (), 10: (name,), 29: (name,)},
    )
    yield Case(
        f"{state} of two tunnels gives two alerts",
        tell(Part(minutes=20, state=state), office=(Part(minutes=20, state=state),)),
        {19: (name, name)},
        {19: {name: (alert, of_tunnel(alert, "office"))}},
    )


def of_tunnel(alert: Alert, tunnel: str) -> Alert:
    """The same alert of another tunnel."""
    return Alert(
        {**alert.labels, "tunnel": tunnel},
        alert.summary,
        alert.description.replace("Tunnel home", f"Tunnel {tunnel}"),
        alert.runbook_url,
    )


def qbittorrent_unauthorized() -> Iterator[Case]:
    """Rejected and banned have one alert."""
    yield from of_a_cause("qbittorrent_unauthorized")
    yield from of_a_cause("qbittorrent_banned")
    yield Case(
        "a ban that follows rejected logins is the same trouble",
        tell(
            Part(minutes=6, state="qbittorrent_unauthorized"),
            Part(minutes=60, state="qbittorrent_banned"),
            Part(minutes=20, state="qbittorrent_unauthorized"),
        ),
        {
            9.5: (),
            10: ("QStickyQbittorrentUnauthorized",),
            66: ("QStickyQbittorrentUnauthorized",),
            85: ("QStickyQbittorrentUnauthorized",),
        },
    )


def flapping(minutes: int) -> list[Part]:
    """Two causes that take turns every 4 minutes."""
    states = ("vpn_down", "no_port")
    return [Part(minutes=4, state=states[i % 2]) for i in range(minutes // 4)]


def sync_failing() -> Iterator[Case]:
    """The catch-all: no success for 30 minutes, and no single cause lasts."""
    name = "QStickySyncFailing"
    yield Case(
        "causes that take turns for more than 30 minutes",
        # the last success is at 4.5
        tell(FINE, *flapping(48), Part(minutes=10)),
        {15: (), 35.5: (), 36: (name,), 52.5: (name,), 53: (), 60: ()},
        {35.5: {name: ()}, 36: {name: (expected.SYNC_FAILING,)}},
    )
    yield Case(
        "one success in between is enough to stay quiet",
        tell(FINE, *flapping(28), Part(minutes=0.5), *flapping(28)),
        {35.5: (), 36: (), 45: (), 61: ()},
    )
    yield Case(
        "never a success since qSticky was set up",
        tell(*(Part(minutes=4, state=s, never=True) for s in ("vpn_down", "no_port") * 5)),
        {39: (name,)},
        {39: {name: (expected.SYNC_FAILING_FROM_THE_FIRST,)}},
    )
    yield Case(
        "two changes in 30 minutes leave the word to the alerts on the causes",
        tell(
            FINE,
            Part(minutes=16, state="vpn_down"),
            Part(minutes=9, state="no_port"),
            Part(minutes=20, state="gluetun_unreachable"),
        ),
        {
            15: ("QStickyVPNDown",),
            20.5: ("QStickyVPNDown",),
            21: (),
            36: (),
            39.5: (),
            40: ("QStickyGluetunUnreachable",),
            49: ("QStickyGluetunUnreachable",),
        },
    )
    yield Case(
        "three changes are enough, and the first lasting cause takes over",
        tell(
            FINE,
            Part(minutes=4, state="vpn_down"),
            Part(minutes=9.5, state="no_port"),
            Part(minutes=9.5, state="gluetun_unreachable"),
            Part(minutes=30, state="no_port"),
        ),
        {
            35.5: (),
            36: (name,),
            38: ("QStickyNoForwardedPort",),
            40: ("QStickyNoForwardedPort",),
            57: ("QStickyNoForwardedPort",),
        },
    )
    yield Case(
        "a start grants 30 minutes, although the last success is known from before",
        tell(FINE, *flapping(4), Part(minutes=1, starts=True, state="no_port"), *flapping(40)),
        {36: (), 40: (), 40.5: (name,)},
    )
    yield Case(
        "failed scrapes for 2 minutes just then change nothing",
        tell(
            FINE,
            *flapping(28),
            Part(minutes=1.5, state="no_port"),
            Part(minutes=2, state="vpn_down", scraped=False),
            *flapping(8),
        ),
        {35.5: (), 36: (name,), 38: (name,)},
    )
    for missing in (SUCCESS, "process_start_time_seconds"):
        yield Case(
            f"{missing} of more than 3 minutes ago does not count",
            tell(
                FINE,
                *flapping(28),
                Part(minutes=3.5, state="no_port", missing=(missing,)),
                Part(minutes=6, state="vpn_down"),
            ),
            {36: (), 37: (), 37.5: (name,)},
        )
        yield Case(
            f"{missing} of 2 minutes ago counts",
            tell(
                FINE,
                *flapping(28),
                Part(minutes=1.5, state="no_port"),
                Part(minutes=2, state="no_port", missing=(missing,)),
                Part(minutes=6, state="vpn_down"),
            ),
            {35.5: (), 36: (name,), 40: (name,)},
        )
    yield Case(
        "where qSticky hangs, that is the alert",
        # the last cycle ends at 32.5
        tell(FINE, *flapping(28), Part(minutes=10, state="no_port", hung=True)),
        {
            35.5: (),
            36: (name,),
            36.5: (),
            38: (),
            38.5: ("QStickySyncStalled",),
            42: ("QStickySyncStalled",),
        },
    )
    yield Case(
        "starts that follow each other closely have their own alert",
        tell(*(Part(minutes=5, state="no_port", starts=True) for _ in range(9))),
        {9: (), 15: ("QStickyRestarting",), 40: ("QStickyRestarting",)},
    )


def sync_stalled() -> Iterator[Case]:
    """The loop hangs, the web server goes on."""
    name = "QStickySyncStalled"
    yield Case(
        "no cycle for more than 5 intervals and a minute",
        # the last cycle ends at 4.5
        tell(FINE, Part(minutes=20, hung=True), Part(minutes=5)),
        {8: (), 8.5: (), 10: (), 10.5: (name,), 24.5: (name,), 25: (), 29: ()},
        {10: {name: ()}, 10.5: {name: (expected.SYNC_STALLED,)}, 25: {name: ()}},
    )
    yield Case(
        "a first cycle that takes 1.5 minutes is no alert, one that never ends is",
        tell(
            FINE,
            Part(minutes=1.5, starts=True, hung=True),
            FINE,
            Part(minutes=9, starts=True, hung=True),
        ),
        {5: (), 6: (), 7: (), 11.5: (), 13: (), 15.5: (name,), 20: (name,)},
    )
    yield Case(
        "one tunnel hangs, the other does not",
        tell(Part(minutes=20), office=(Part(minutes=5), Part(minutes=15, hung=True))),
        {10: (), 10.5: (name,), 19: (name,)},
    )
    yield Case(
        "failed scrapes for 2 minutes change nothing",
        tell(
            FINE,
            Part(minutes=4, hung=True),
            Part(minutes=2, hung=True, scraped=False),
            Part(minutes=4, hung=True),
        ),
        {10: (), 10.5: (name,), 14: (name,)},
    )
    for missing in (ATTEMPT, "qsticky_sync_interval_seconds"):
        yield Case(
            f"{missing} of 2 minutes ago counts",
            tell(
                FINE,
                Part(minutes=4, hung=True),
                Part(minutes=2, hung=True, missing=(missing,)),
                Part(minutes=4, hung=True),
            ),
            {10: (), 10.5: (name,), 14: (name,)},
        )
        yield Case(
            f"{missing} of more than 3 minutes ago does not count",
            tell(
                FINE,
                Part(minutes=2, hung=True),
                Part(minutes=3.5, hung=True, missing=(missing,)),
                Part(minutes=4, hung=True),
            ),
            {10.5: (), 12: (), 12.5: (name,)},
        )
    yield Case(
        "a process that went away is down, not stalled",
        tell(FINE, Part(minutes=20, running=False)),
        {8: (), 9.5: (), 10: ("QStickyDown",), 24: ("QStickyDown",)},
    )


def firewalled() -> Iterator[Case]:
    """All is in sync, but nobody comes in."""
    name = "QStickyFirewalled"
    alone = partial(Part, connection="firewalled", has_torrents=True)
    yield Case(
        "no peer for 30 minutes",
        tell(FINE, alone(minutes=40), Part(minutes=5)),
        {34.5: (), 35: (name,), 44.5: (name,), 45: ()},
        {34.5: {name: ()}, 35: {name: (expected.FIREWALLED,)}},
    )
    yield Case(
        "without torrents nobody has a reason to come",
        tell(Part(minutes=50, connection="firewalled")),
        {30: (), 49: ()},
    )
    yield Case(
        "other connection statuses are no reason",
        tell(
            Part(minutes=40, connection="connected", has_torrents=True),
            Part(minutes=40, connection="unknown", has_torrents=True),
        ),
        {35: (), 75: ()},
    )
    yield Case(
        "while the port is not right, that is the alert",
        tell(alone(minutes=60, state="no_port")),
        {
            10: ("QStickyNoForwardedPort",),
            30: ("QStickyNoForwardedPort",),
            59: ("QStickyNoForwardedPort",),
        },
    )
    yield Case(
        "a start, or one peer, begins the wait anew",
        tell(
            alone(minutes=20), alone(minutes=25, starts=True), Part(minutes=0.5), alone(minutes=31)
        ),
        {30: (), 44.5: (), 46: (), 75: (), 75.5: (name,)},
    )
    yield Case(
        "failed scrapes for 2 minutes change nothing",
        tell(alone(minutes=10), alone(minutes=2, scraped=False), alone(minutes=20)),
        {29.5: (), 30: (name,)},
    )
    for missing in (
        "qsticky_qbittorrent_connection_status",
        "qsticky_qbittorrent_has_torrents",
        "qsticky_port_in_sync",
    ):
        yield Case(
            f"{missing} of 2 minutes ago counts",
            tell(alone(minutes=10), alone(minutes=2, missing=(missing,)), alone(minutes=20)),
            {29.5: (), 30: (name,)},
        )
        yield Case(
            f"{missing} of more than 3 minutes ago does not count",
            tell(alone(minutes=10), alone(minutes=3.5, missing=(missing,)), alone(minutes=31)),
            {30: (), 43: (), 43.5: (name,)},
        )
    yield Case(
        "where qSticky hangs, its last word no longer counts",
        # the last cycle ends at 26.5
        tell(alone(minutes=27), alone(minutes=20, hung=True)),
        {
            29.5: (),
            30: (name,),
            30.5: (),
            32.5: ("QStickySyncStalled",),
            46: ("QStickySyncStalled",),
        },
    )


def changing(count: int, *, every: float, after: float, change: Callable[[], Part]) -> list[Part]:
    """Single changes, the first one at minute 5."""
    pause = Part(minutes=every - 0.5)
    changes = [part for _ in range(count) for part in (change(), pause)]
    return [FINE, *changes, Part(minutes=after)]


def port_flapping() -> Iterator[Case]:
    """The VPN hands out one port after the other."""
    name = "QStickyPortFlapping"

    def change() -> Part:
        return Part(minutes=0.5, port_changes=1)

    yield Case(
        "5 changes within an hour; it fires until half an hour after they are history",
        tell(*changing(5, every=10, after=60, change=change)),
        {44.5: (), 45: (name,), 64: (name,), 94: (name,), 97: ()},
        {44.5: {name: ()}, 45: {name: (expected.PORT_FLAPPING,)}},
    )
    yield Case(
        "4 changes within an hour are not worth an alert",
        tell(*changing(4, every=10, after=40, change=change)),
        {35.5: (), 45: (), 64: (), 80: ()},
    )
    yield Case(
        "5 changes that fit into an hour",
        tell(*changing(5, every=14, after=10, change=change)),
        {60.5: (), 61.5: (name,)},
    )
    yield Case(
        "5 changes that do not fit into an hour",
        tell(*changing(5, every=16, after=30, change=change)),
        {69: (), 70: (), 85: (), 100: ()},
    )
    yield Case(
        "starts are no changes, nor do failed scrapes matter",
        tell(
            FINE,
            *(
                part
                for _ in range(2)
                for part in (change(), Part(minutes=9.5), Part(minutes=10, starts=True))
            ),
            change(),
            Part(minutes=2, scraped=False),
            Part(minutes=20),
        ),
        {30: (), 46: (), 60: ()},
    )
    yield Case(
        "each tunnel counts alone",
        tell(
            *changing(3, every=10, after=10, change=change),
            office=tuple(changing(3, every=10, after=10, change=change)),
        ),
        {26: (), 44: ()},
    )


def port_drift() -> Iterator[Case]:
    """Somebody else sets qBittorrent's port."""
    name = "QStickyPortDrift"

    def change() -> Part:
        return Part(minutes=0.5, port_drifts=1)

    yield Case(
        "3 times within an hour; it fires until half an hour after they are history",
        tell(*changing(3, every=10, after=75, change=change)),
        {24.5: (), 25: (name,), 64: (name,), 94: (name,), 97: ()},
        {24.5: {name: ()}, 25: {name: (expected.PORT_DRIFT,)}},
    )
    yield Case(
        "twice within an hour may be an accident",
        tell(*changing(2, every=10, after=60, change=change)),
        {16: (), 30: (), 64: ()},
    )
    yield Case(
        "3 times that fit into an hour",
        tell(*changing(3, every=28, after=10, change=change)),
        {60.5: (), 61.5: (name,)},
    )
    yield Case(
        "3 times that do not fit into an hour",
        tell(*changing(3, every=32, after=30, change=change)),
        {69: (), 70: (), 100: ()},
    )
    yield Case(
        "starts do not matter, nor do failed scrapes",
        tell(
            FINE,
            change(),
            Part(minutes=9.5),
            Part(minutes=10, starts=True),
            change(),
            Part(minutes=2, scraped=False),
            Part(minutes=20),
        ),
        {25: (), 40: ()},
    )


def today() -> Iterator[Case]:
    """The clock shows 1.8 billion seconds, beside which the 0 of "never" is long ago."""
    step, end = TODAY // 60, TODAY // 60 * 21
    past = Part(minutes=end)
    now = partial(Part, minutes=step)
    yield Case(
        "all is well",
        tell(past, now(), step=TODAY),
        {end: ()},
        interval_seconds=TODAY,
    )
    yield Case(
        "qSticky has just started, and nothing is known yet",
        tell(past, now(starts=True, hung=True), step=TODAY),
        {end: ()},
        interval_seconds=TODAY,
    )
    yield Case(
        "qSticky has not finished its first cycle since it started",
        tell(Part(minutes=end - step), now(starts=True, hung=True), now(hung=True), step=TODAY),
        {end: ("QStickySyncStalled",)},
        {end: {"QStickySyncStalled": (expected.SYNC_STALLED_FROM_THE_FIRST,)}},
        interval_seconds=TODAY,
    )
    yield Case(
        "a cause that was there from the beginning",
        tell(Part(minutes=end + step, state="no_port"), step=TODAY),
        {end: ("QStickyNoForwardedPort",)},
        interval_seconds=TODAY,
    )
    yield Case(
        "the status file was never written",
        tell(Part(minutes=end + step, file_broken=True), step=TODAY),
        {end: ("QStickyStatusFileStale",)},
        interval_seconds=TODAY,
    )


CASES: dict[str, tuple[Case, ...]] = {
    **{
        name: tuple(of_a_cause(state))
        for state, (name, _) in expected.CAUSES.items()
        if name != "QStickyQbittorrentUnauthorized"
    },
    "QStickyQbittorrentUnauthorized": tuple(qbittorrent_unauthorized()),
    "QStickySyncFailing": tuple(sync_failing()),
    "QStickySyncStalled": (*sync_stalled(), *today()),
    "QStickyFirewalled": tuple(firewalled()),
    "QStickyPortFlapping": tuple(port_flapping()),
    "QStickyPortDrift": tuple(port_drift()),
}
