"""Which notifications are due: a problem once, its end once, and never too many."""

import pytest

from exporter.model import (
    Event,
    EventKind,
    Failure,
    GluetunReading,
    Level,
    Operation,
    Reason,
    Saved,
    SyncState,
    VpnStatus,
)
from exporter.report.notices import Notices
from exporter.tunnel.history import after_check
from tests.fakes import IN_SYNC, NOW, FakeClock, tunnels

OK, NO_PORT, AWAY = SyncState.IN_SYNC, SyncState.NO_PORT, SyncState.GLUETUN_UNREACHABLE
MINUTE = 60.0
TIMED_OUT = Failure(
    Operation.GLUETUN_PORT, Reason.TIMEOUT, "Gluetun timed out at gluetun:8000", "start it"
)
MADE = {
    OK: IN_SYNC,
    AWAY: IN_SYNC._replace(gluetun=None, failures=(TIMED_OUT,)),
    NO_PORT: IN_SYNC._replace(gluetun=GluetunReading(0, VpnStatus.RUNNING)),
    SyncState.VPN_DOWN: IN_SYNC._replace(gluetun=GluetunReading(0, VpnStatus.CRASHED)),
    SyncState.NOT_LISTENING: IN_SYNC,
}


class Story:
    """Tunnels with a check every 30 s, and what is told of them."""

    def __init__(
        self,
        *names: str,
        topics: str = "problem,recovery",
        before: dict[str, Saved] | None = None,
    ) -> None:
        self.clock = FakeClock()
        self.saved = dict(before or {})
        self.names = names or ("default",)
        self.notices = Notices(topics.split(","), self.clock, self.saved)
        self.notices.set_tunnels(tunnels(*self.names))
        self.told: list[tuple[float, str, str]] = []

    @classmethod
    def of(
        cls, parts: list[tuple[SyncState, float]], before: dict[str, Saved] | None = None
    ) -> "Story":
        """A story of one tunnel, to its end."""
        story = cls(before=before)
        for state, seconds in parts:
            story.lasts(state, seconds)
        return story

    def first_lines(self) -> list[tuple[float, str]]:
        return [(at, body.partition("\n")[0]) for at, _, body in self.told]

    def lasts(self, state: SyncState, seconds: float, *names: str) -> None:
        """Check for so long, and look every 5 s for what is due; other tunnels are in sync."""
        start = self.clock.now
        while self.clock.now < start + seconds:
            if (self.clock.now - start) % 30 == 0:
                for name in self.names:
                    self.check(name, state if name in (names or self.names) else OK)
            self.look()
            self.clock.now += 5

    def check(self, name: str, state: SyncState, *events: Event) -> None:
        now = self.clock.now
        saved = self.saved[name] = after_check(self.saved.get(name, Saved()), state, now)
        made = MADE[state]._replace(tunnel=name, state=state, finished_at=now)
        self.notices.publish(made._replace(saved=saved, events=events))

    def look(self) -> None:
        if message := self.notices.due():
            self.told.append((self.clock.now - NOW, message.title, message.body))


FIRST = (225, "Gluetun timed out at gluetun:8000, since 2026-09-21 14:15 UTC")


@pytest.mark.parametrize(
    ("story", "told"),
    [
        ([(OK, 600)], []),
        ([(OK, 120), (AWAY, 90), (OK, 120)], []),
        ([(OK, 120), (NO_PORT, 9 * MINUTE), (OK, 120)], []),
        (
            [(OK, 120), (AWAY, 23 * MINUTE), (OK, 120)],
            [FIRST, (1570, "Open again on port 45720 after 23 min")],
        ),
        (
            # not in sync for a minute: the same problem goes on
            [(OK, 120), (AWAY, 120), (OK, 60), (AWAY, 60), (OK, 90)],
            [FIRST, (430, "Open again on port 45720 after 4 min")],
        ),
    ],
)
def test_a_problem_is_told_after_its_grace_and_its_end_after_a_minute(
    story: list[tuple[SyncState, float]], told: list[tuple[float, str]]
) -> None:
    assert Story.of(story).first_lines() == told


@pytest.mark.parametrize(
    ("state", "at", "said"),
    [
        (
            NO_PORT,
            615,
            "Gluetun forwards no port, since 2026-09-21 14:13 UTC\nFix: check that "
            "VPN_PORT_FORWARDING=on and that the VPN server supports port forwarding; "
            "restarting Gluetun often helps",
        ),
        (
            SyncState.VPN_DOWN,
            615,
            "The VPN is crashed, since 2026-09-21 14:13 UTC\nFix: see Gluetun's log for "
            "the reason; restarting Gluetun often helps",
        ),
        (
            SyncState.NOT_LISTENING,
            105,
            "Not listening, since 2026-09-21 14:13 UTC\nFix: see the status page",
        ),
        (
            AWAY,
            105,
            "Gluetun timed out at gluetun:8000, since 2026-09-21 14:13 UTC\nFix: start it",
        ),
    ],
)
def test_a_problem_is_told_with_what_to_do(state: SyncState, at: float, said: str) -> None:
    assert Story.of([(state, at + 5)]).told == [(at, "qSticky: problem", said)]


def test_a_check_that_does_not_end_is_a_problem_too() -> None:
    story = Story()
    story.check("default", OK)
    while not story.told:
        story.clock.now += 5
        story.look()
    [(_, _, body)] = story.told
    assert body == (
        "No check has ended, since 2026-09-21 14:13 UTC\n"
        "Fix: restart qSticky, and look at the end of its log"
    )


def test_a_tunnel_that_flaps_is_told_once_in_half_an_hour_with_how_often() -> None:
    story = Story()
    story.lasts(OK, 300)
    for _ in range(16):
        story.lasts(AWAY, 120)
        story.lasts(OK, 120)
    story.lasts(OK, 2000)
    since = "Gluetun timed out at gluetun:8000, since 2026-09-21"
    assert story.first_lines() == [
        (405, f"{since} 14:18 UTC"),
        (490, "Open again on port 45720 after 2 min"),
        (2205, "7 problems in the last 30 min, now open on port 45720"),
        (4005, f"{since} 15:18 UTC; 8 problems in the last 30 min"),
        (4090, "Open again on port 45720 after 2 min"),
    ]


def test_a_problem_that_lasts_beyond_the_half_hour_is_told_as_one() -> None:
    story = Story()
    story.lasts(OK, 300)
    for state in (AWAY, OK, AWAY, OK):
        story.lasts(state, 120)
    story.lasts(AWAY, 1800)
    story.lasts(OK, 100)
    assert [said for _, said in story.first_lines()[2:]] == [
        "Gluetun timed out at gluetun:8000, since 2026-09-21 14:26 UTC; "
        "2 problems in the last 30 min",
        "Open again on port 45720 after 30 min",
    ]


def test_many_at_once_are_one_message_with_ten_names_and_a_count() -> None:
    names = [f"seedbox-{number}" for number in range(1, 14)]
    story = Story(*names)
    story.lasts(OK, 300)
    story.lasts(AWAY, 120, *names[:11])
    [(_, title, body)] = story.told
    assert title == "qSticky: 11 problems"
    assert body.splitlines() == [
        *(
            f"{name}: Gluetun timed out at gluetun:8000, since 2026-09-21 14:18 UTC"
            for name in names[:10]
        ),
        "and 1 more",
    ]


def test_the_name_of_a_tunnel_is_told_where_there_are_several() -> None:
    story = Story("a", "b")
    story.lasts(OK, 300)
    story.lasts(AWAY, 120, "b")
    [(_, title, body)] = story.told
    assert (title, body.partition(",")[0]) == (
        "qSticky: problem",
        "b: Gluetun timed out at gluetun:8000",
    )


@pytest.mark.parametrize(
    ("topics", "titles"),
    [
        ("problem", ["qSticky: problem"]),
        ("recovery", ["qSticky: recovery"]),
        ("problem,recovery", ["qSticky: problem", "qSticky: recovery"]),
        (
            "port_change,problem,recovery",
            ["qSticky: problem", "qSticky: 1 recovery, 1 new port"],
        ),
        ("port_change", ["qSticky: new port"]),
    ],
)
def test_only_what_is_wanted_is_told(topics: str, titles: list[str]) -> None:
    story = Story(topics=topics)
    story.lasts(OK, 300)
    story.lasts(AWAY, 120)
    story.lasts(OK, 60)
    changed = Event(EventKind.PORT_CHANGE, Level.INFO, "Gluetun's forwarded port changed: 1 -> 2")
    story.check("default", OK, changed)
    story.lasts(OK, 60)
    assert [title for _, title, _ in story.told] == titles


# A restart of qSticky

FAILING = Saved(out_of_sync_since=NOW - 22 * MINUTE, failing_since=NOW - 22 * MINUTE)
TOLD = FAILING._replace(was_unhealthy=True)


@pytest.mark.parametrize(
    ("before", "story", "told"),
    [
        pytest.param(TOLD, [(AWAY, 600)], [], id="no problem is told again"),
        pytest.param(
            TOLD,
            [(AWAY, 60), (OK, 90)],
            [(130, "Open again on port 45720 after 23 min")],
            id="its end is told",
        ),
        pytest.param(
            TOLD,
            [(OK, 90)],
            [(70, "Open again on port 45720 after 22 min")],
            id="that came meanwhile, too",
        ),
        pytest.param(
            Saved(was_unhealthy=True),
            [(OK, 90)],
            [(70, "Open again on port 45720")],
            id="whose beginning nobody knows, too",
        ),
        pytest.param(FAILING, [(AWAY, 60), (OK, 90)], [], id="what it was away for is no problem"),
        pytest.param(
            FAILING,
            [(AWAY, 110)],
            [(100, "Gluetun timed out at gluetun:8000, since 2026-09-21 13:51 UTC")],
            id="unless it goes on",
        ),
    ],
)
def test_a_restart_repeats_no_problem_and_loses_no_end(
    before: Saved, story: list[tuple[SyncState, float]], told: list[tuple[float, str]]
) -> None:
    assert Story.of(story, {"default": before}).first_lines() == told


def test_a_reload_keeps_what_was_told_and_drops_tunnels_that_are_gone() -> None:
    story = Story("a", "b")
    story.lasts(OK, 300)
    story.lasts(AWAY, 120)
    story.names = ("a", "c")
    story.notices.set_tunnels(tunnels(*story.names))
    story.lasts(OK, 120)
    assert [title for _, title, _ in story.told] == ["qSticky: 2 problems", "qSticky: recovery"]


def test_a_tunnel_that_comes_back_has_no_part_in_what_was_told_before_the_start() -> None:
    story = Story(before={"default": TOLD})
    story.notices.set_tunnels([])
    story.notices.set_tunnels(tunnels("default"))
    story.lasts(AWAY, 120)
    assert [title for _, title, _ in story.told] == ["qSticky: problem"]
