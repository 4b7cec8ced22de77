"""For every alert on the process: when it stays quiet, waits, fires; and that no other alert fires.

Minutes count from the beginning of the story. A scrape and an evaluation happen every half minute,
so 9.5 is the last moment before minute 10.
"""

from collections.abc import Iterator
from functools import partial

from tests.alerts import expected
from tests.alerts.story import Case, Part, series, tell

ATTEMPT = "qsticky_sync_last_attempt_timestamp_seconds"
FILE = "qsticky_status_file_last_write_timestamp_seconds"

FINE = Part(minutes=5)


def down() -> Iterator[Case]:
    """Prometheus does not reach the process."""
    name = "QStickyDown"
    yield Case(
        "5 minutes without an answer",
        tell(FINE, Part(minutes=120, running=False), Part(minutes=10, starts=True)),
        {9.5: (), 10: (name,), 60: (name,), 90: (name,), 124.5: (name,), 125: (), 134: ()},
        {9.5: {name: ()}, 10: {name: (expected.DOWN,)}, 125: {name: ()}},
    )
    yield Case(
        "a start that takes 4.5 minutes, and scrapes that fail as long",
        tell(
            FINE,
            Part(minutes=4.5, running=False),
            Part(minutes=5, starts=True),
            Part(minutes=4.5, scraped=False),
            FINE,
        ),
        {9: (), 9.5: (), 19: (), 23: ()},
    )
    yield Case(
        "a target that was never a qSticky, beside one that is",
        {**tell(Part(minutes=30)), 'up{job="other",instance="nas:9100"}': "0x60"},
        {10: (), 29: ()},
    )
    yield a_week_down()


def a_week_down() -> Case:
    """A process that nobody mends; every 6 hours one scrape."""
    hour = 60
    return Case(
        "it fires for a week; then it is as if there had never been one",
        {
            series("up"): "1 0x60",
            series("qsticky_build_info", version="1.2.3", revision="abcdef"): "1 stale",
        },
        {
            6 * hour: (),
            12 * hour: ("QStickyDown",),
            4 * 24 * hour: ("QStickyDown",),
            6.5 * 24 * hour: ("QStickyDown",),
            8 * 24 * hour: ("QStickyAbsent",),
            13 * 24 * hour: ("QStickyAbsent",),
        },
        interval_seconds=6 * 3600,
    )


def absent() -> Iterator[Case]:
    """Prometheus was never told of the process, or no longer is."""
    name = "QStickyAbsent"
    yield Case(
        "a target that is there no more",
        # the last scrape is at 9.5, an hour later it is forgotten
        tell(Part(minutes=10), Part(minutes=110, configured=False)),
        {69: (), 84: (), 85: (name,), 119: (name,)},
        {84: {name: ()}, 85: {name: (expected.ABSENT,)}},
    )
    yield Case(
        "no target from the beginning",
        {'up{job="other",instance="nas:9100"}': "1x60"},
        {14.5: (), 15: (name,), 29: (name,)},
    )
    yield Case(
        "scrapes that fail for an hour are another matter",
        tell(FINE, Part(minutes=100, scraped=False), Part(minutes=20)),
        {64: ("QStickyDown",), 82: ("QStickyDown",), 104: ("QStickyDown",), 120: ()},
    )
    yield Case(
        "one of two is enough, and a start does not matter",
        tell(Part(minutes=60), Part(minutes=40, starts=True)),
        {59: (), 61: (), 99: ()},
    )
    yield a_week_down()


def restarting() -> Iterator[Case]:
    """The process begins again and again."""
    name = "QStickyRestarting"
    start = Part(minutes=5, starts=True)
    yield Case(
        "3 starts within 30 minutes",
        tell(FINE, start, start, Part(minutes=40, starts=True)),
        {14.5: (), 15: (name,), 34: (name,), 36: (), 54: ()},
        {14.5: {name: ()}, 15: {name: (expected.RESTARTING,)}, 36: {name: ()}},
    )
    yield Case(
        "2 starts within 30 minutes are an update and its repair",
        tell(FINE, start, Part(minutes=40, starts=True)),
        {10: (), 20: (), 49: ()},
    )
    yield Case(
        "3 starts in 20 minutes, with failed scrapes in between",
        tell(
            FINE,
            Part(minutes=10, starts=True),
            Part(minutes=8, starts=True),
            Part(minutes=2, scraped=False),
            Part(minutes=20, starts=True),
        ),
        {24.5: (), 25: (name,), 34: (name,)},
    )
    yield Case(
        "3 starts in 35 minutes",
        tell(
            FINE,
            Part(minutes=15, starts=True),
            Part(minutes=20, starts=True),
            Part(minutes=30, starts=True),
        ),
        {40: (), 45: (), 69: ()},
    )
    yield Case(
        "once it stays away for 5 minutes it is down",
        tell(FINE, start, start, Part(minutes=5, starts=True), Part(minutes=30, running=False)),
        {
            15: (name,),
            24: (name,),
            25: ("QStickyDown",),
            26: ("QStickyDown",),
            49: ("QStickyDown",),
        },
    )
    yield Case(
        "starts of another exporter are not ours",
        {
            **tell(Part(minutes=30)),
            'process_start_time_seconds{job="other",instance="nas:9100"}': "0+30x59",
            'up{job="other",instance="nas:9100"}': "1x59",
        },
        {15: (), 29: ()},
    )
    yield Case(
        "a target whose name was last seen 25 minutes ago still counts",
        tell(
            FINE,
            *(Part(minutes=6, starts=True, missing=("qsticky_build_info",)) for _ in range(8)),
        ),
        {17: (name,), 33: (name,), 36: (), 52: ()},
    )


def high_failure_ratio() -> Iterator[Case]:
    """In sync, but only just."""
    name = "QStickyHighFailureRatio"
    yield Case(
        "31 % of the requests fail for 20 minutes",
        tell(Part(minutes=60, failures=1.25), Part(minutes=40)),
        {20: (), 21: (name,), 59: (name,), 64: ()},
        {19: {name: ()}, 21: {name: (expected.HIGH_FAILURE_RATIO,)}},
    )
    yield Case(
        "25 % are not enough",
        tell(Part(minutes=60, failures=1)),
        {21: (), 45: (), 59: ()},
    )
    yield Case(
        "short troubles that come again and again are one long trouble",
        tell(FINE, *(Part(minutes=m, failures=f) for m, f in [(5, 4), (10, 0)] * 4)),
        {25: (), 31: (name,), 60: (name,)},
    )
    yield Case(
        "9 bad minutes are none",
        tell(Part(minutes=30), Part(minutes=9, failures=4), Part(minutes=41)),
        {45: (), 55: (), 60: (), 65: (), 79: ()},
    )
    yield Case(
        "the share is that of the last 15 minutes",
        tell(Part(minutes=20, tries=40, failures=1.25), Part(minutes=70, failures=1.25)),
        {47: (), 53: (), 56: (name,), 69: (name,), 89: (name,)},
    )
    yield Case(
        "a start does not matter, nor do failed scrapes",
        tell(
            Part(minutes=20),
            Part(minutes=20, starts=True),
            Part(minutes=2, scraped=False),
            Part(minutes=30),
        ),
        {30: (), 50: (), 70: ()},
    )
    yield Case(
        "while a cause has its own alert, that is enough",
        tell(Part(minutes=60, state="gluetun_unreachable", failures=4), Part(minutes=40)),
        {
            9.5: (),
            10: ("QStickyGluetunUnreachable",),
            40: ("QStickyGluetunUnreachable",),
            60: (),
            75: (),
            99: (),
        },
    )
    yield Case(
        "a cause of 7 minutes leaves nothing behind",
        tell(
            Part(minutes=20),
            Part(minutes=7, state="gluetun_unreachable", failures=4),
            Part(minutes=33),
        ),
        {27: (), 38: (), 45: (), 59: ()},
    )
    yield Case(
        "one tunnel that is in sync does not excuse another that is not",
        tell(
            Part(minutes=60, failures=1.25),
            office=(Part(minutes=60, state="gluetun_unreachable"),),
        ),
        {9: (), 21: ("QStickyGluetunUnreachable",), 59: ("QStickyGluetunUnreachable",)},
    )
    yield Case(
        "in sync half of the time is not mostly right",
        tell(*(Part(minutes=0.5, state=s, failures=1.25) for s in ("in_sync", "no_port") * 60)),
        {21: (), 40: (), 59: ()},
    )
    yield Case(
        "right 60 % of the time is mostly right",
        tell(
            *(
                Part(minutes=m, state=s, failures=1.25)
                for m, s in [(3, "in_sync"), (2, "no_port")] * 12
            )
        ),
        {19: (), 41: (name,), 59: (name,)},
    )
    yield Case(
        "right in 14 of the last 15 minutes and hardly before",
        tell(Part(minutes=16, failures=1.25, state="no_port"), Part(minutes=44, failures=1.25)),
        {15: ("QStickyNoForwardedPort",), 26: (), 42: (), 45: (name,), 59: (name,)},
    )
    yield Case(
        "the status file has an alert of its own",
        tell(Part(minutes=60, failures=4, failing_operation="status_file")),
        {21: (), 59: ()},
    )


def config_reload_failed() -> Iterator[Case]:
    """A changed configuration with mistakes in it."""
    name = "QStickyConfigReloadFailed"
    wrong = Part(minutes=20, reload_accepted=False)
    yield Case(
        "rejected 10 minutes ago",
        tell(FINE, wrong, Part(minutes=5)),
        {14.5: (), 15: (name,), 24.5: (name,), 25: ()},
        {14.5: {name: ()}, 15: {name: (expected.CONFIG_RELOAD_FAILED,)}, 25: {name: ()}},
    )
    yield Case(
        "a start loads what is there",
        tell(FINE, Part(minutes=9.5, reload_accepted=False), Part(minutes=10, starts=True)),
        {14.5: (), 15: (), 24: ()},
    )
    yield Case(
        "failed scrapes for 2 minutes change nothing",
        tell(
            Part(minutes=4, reload_accepted=False),
            Part(minutes=2, scraped=False),
            Part(minutes=6, reload_accepted=False),
        ),
        {9.5: (), 10: (name,)},
    )
    yield Case(
        "failed scrapes for 3.5 minutes begin the wait anew",
        tell(
            Part(minutes=4, reload_accepted=False),
            Part(minutes=3.5, scraped=False),
            Part(minutes=12, reload_accepted=False),
        ),
        {10: (), 17: (), 17.5: (name,)},
    )


def status_file_stale() -> Iterator[Case]:
    """The port is looked after, but nobody can read of it."""
    name = "QStickyStatusFileStale"
    broken = partial(Part, file_broken=True)
    yield Case(
        "2 minutes behind for 5 minutes",
        # the last write is at 4.5
        tell(FINE, Part(minutes=20, file_broken=True), Part(minutes=5)),
        {11.5: (), 12: (name,), 24.5: (name,), 25: ()},
        {11.5: {name: ()}, 12: {name: (expected.STATUS_FILE_STALE,)}, 25: {name: ()}},
    )
    yield Case(
        "never written since the start, which takes its time",
        tell(FINE, Part(minutes=1, starts=True, hung=True), Part(minutes=20, file_broken=True)),
        {6: (), 10.5: (), 11.5: (name,), 25: (name,)},
    )
    yield Case(
        "where qSticky hangs, that is the alert",
        tell(FINE, Part(minutes=30, hung=True)),
        {10.5: ("QStickySyncStalled",), 34: ("QStickySyncStalled",)},
    )
    yield Case(
        "one tunnel hangs, the file is behind the other",
        tell(
            Part(minutes=5),
            broken(minutes=5),
            broken(minutes=20),
            office=(Part(minutes=5), Part(minutes=25, hung=True)),
        ),
        {
            11.5: ("QStickySyncStalled",),
            12: ("QStickySyncStalled", name),
            29: ("QStickySyncStalled", name),
        },
    )
    for missing in (FILE, ATTEMPT):
        yield Case(
            f"{missing} of 2 minutes ago counts",
            tell(
                FINE,
                broken(minutes=4),
                broken(minutes=2, missing=(missing,)),
                broken(minutes=4),
            ),
            {11.5: (), 12: (name,), 14: (name,)},
        )
        yield Case(
            f"{missing} of more than 3 minutes ago does not count",
            tell(
                FINE,
                broken(minutes=4),
                broken(minutes=3.5, missing=(missing,)),
                broken(minutes=8),
            ),
            {12: (), 17: (), 17.5: (name,)},
        )
    yield Case(
        "failed scrapes for 2 minutes change nothing",
        tell(
            FINE,
            broken(minutes=4),
            broken(minutes=2, scraped=False),
            broken(minutes=4),
        ),
        {11.5: (), 12: (name,), 14: (name,)},
    )


CASES: dict[str, tuple[Case, ...]] = {
    "QStickyDown": tuple(down()),
    "QStickyAbsent": tuple(absent()),
    "QStickyRestarting": tuple(restarting()),
    "QStickyHighFailureRatio": tuple(high_failure_ratio()),
    "QStickyConfigReloadFailed": tuple(config_reload_failed()),
    "QStickyStatusFileStale": tuple(status_file_stale()),
}
