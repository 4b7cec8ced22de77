"""What is worth saying about a check: each thing once, in whole sentences."""

import pytest

from exporter.model import (
    Event,
    EventKind,
    Failure,
    GluetunReading,
    Level,
    Operation,
    Outcome,
    Reason,
    Saved,
    SyncState,
    VpnStatus,
)
from exporter.tunnel import events
from exporter.tunnel.events import changes
from exporter.tunnel.state import RebindCause
from tests.fakes import IN_SYNC, NOW

TIMEOUT = Failure(Operation.GLUETUN_PORT, Reason.TIMEOUT, "Gluetun timed out", "look at Gluetun")
REFUSED = Failure(Operation.GLUETUN_PORT, Reason.CONNECTION, "Gluetun is not there", "start it")
REJECTED = Failure(Operation.QBITTORRENT_LOGIN, Reason.AUTH, "rejected", "correct the password")
UNREACHABLE = IN_SYNC._replace(
    state=SyncState.GLUETUN_UNREACHABLE, gluetun=None, failures=(TIMEOUT,)
)


def waiting(state: SyncState, status: VpnStatus, seconds: float = 60) -> Outcome:
    saved = Saved(waiting_since=NOW - seconds)
    return IN_SYNC._replace(state=state, gluetun=GluetunReading(0, status), saved=saved)


NO_PORT = waiting(SyncState.NO_PORT, VpnStatus.RUNNING)
VPN_DOWN = waiting(SyncState.VPN_DOWN, VpnStatus.STOPPED)


def state_event(message: str) -> tuple[Event, ...]:
    return (Event(EventKind.STATE, Level.INFO, message),)


def warnings(found: tuple[Event, ...]) -> list[str]:
    return [event.message for event in found if event.level is Level.WARNING]


# The first check


def test_the_first_check_says_what_it_found() -> None:
    assert changes(None, IN_SYNC) == (
        Event(
            EventKind.NOTICE,
            Level.INFO,
            "Initial status - Gluetun: ✓, qBit: ✓, Port: 45720",
        ),
    )


def test_a_first_check_that_fails_says_why_and_what_it_found() -> None:
    found = changes(None, UNREACHABLE._replace(qbittorrent=None))
    assert [(event.level, event.message) for event in found] == [
        (Level.WARNING, "Gluetun timed out"),
        (Level.INFO, "Initial status - Gluetun: ✗, qBit: ✗, Port: none"),
    ]


def test_a_wait_that_began_before_a_restart_is_warned_about_after_it() -> None:
    long_ago = waiting(SyncState.NO_PORT, VpnStatus.RUNNING, 601)
    assert warnings(changes(None, NO_PORT)) == []
    assert len(warnings(changes(None, long_ago))) == 1


# Changes of the state


@pytest.mark.parametrize("outcome", [IN_SYNC, UNREACHABLE, NO_PORT, VPN_DOWN])
def test_a_check_like_the_one_before_says_nothing(outcome: Outcome) -> None:
    assert changes(outcome, outcome._replace(finished_at=NOW + 30)) == ()


@pytest.mark.parametrize(
    ("current", "message"),
    [
        (NO_PORT, "Gluetun forwards no port at the moment; qBittorrent keeps port 45720"),
        (NO_PORT._replace(qbittorrent=None), "Gluetun forwards no port at the moment"),
        (VPN_DOWN, "The VPN is stopped; qBittorrent keeps port 45720"),
        (VPN_DOWN._replace(qbittorrent=None), "The VPN is stopped"),
        (IN_SYNC._replace(state=SyncState.OUT_OF_SYNC), "State: out_of_sync"),
    ],
)
def test_a_state_without_a_failure_is_no_warning(current: Outcome, message: str) -> None:
    assert changes(IN_SYNC, current) == state_event(message)


@pytest.mark.parametrize(
    ("state", "level"),
    [
        (SyncState.GLUETUN_UNREACHABLE, Level.WARNING),
        (SyncState.QBITTORRENT_UNREACHABLE, Level.WARNING),
        (SyncState.OUT_OF_SYNC, Level.WARNING),
        (SyncState.GLUETUN_UNAUTHORIZED, Level.ERROR),
        (SyncState.QBITTORRENT_UNAUTHORIZED, Level.ERROR),
        (SyncState.QBITTORRENT_BANNED, Level.ERROR),
        (SyncState.NOT_LISTENING, Level.ERROR),
        (SyncState.NOT_REACHABLE, Level.ERROR),
    ],
)
def test_a_failure_that_only_a_person_can_end_is_an_error(state: SyncState, level: Level) -> None:
    failed = IN_SYNC._replace(state=state, failures=(REJECTED,))
    assert changes(IN_SYNC, failed) == (
        Event(EventKind.STATE, level, "rejected", "correct the password"),
    )


GLUETUN_BACK, QBITTORRENT_BACK = "Gluetun answers again", "qBittorrent answers again"
QBITTORRENT_AWAY = IN_SYNC._replace(
    state=SyncState.QBITTORRENT_UNREACHABLE, qbittorrent=None, failures=(REJECTED,)
)


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (UNREACHABLE, IN_SYNC, ["In sync again on port 45720"]),
        (UNREACHABLE, IN_SYNC._replace(events=(events.updated(45720),)), [GLUETUN_BACK]),
        (UNREACHABLE, QBITTORRENT_AWAY, ["rejected", GLUETUN_BACK]),
        (UNREACHABLE._replace(qbittorrent=None), UNREACHABLE, [QBITTORRENT_BACK]),
        (NO_PORT._replace(qbittorrent=None, failures=(REJECTED,)), NO_PORT, [QBITTORRENT_BACK]),
        (
            QBITTORRENT_AWAY,
            NO_PORT,
            [
                "Gluetun forwards no port at the moment; qBittorrent keeps port 45720",
                QBITTORRENT_BACK,
            ],
        ),
    ],
)
def test_the_end_of_trouble_with_a_server_is_said_once(
    before: Outcome, now: Outcome, said: list[str]
) -> None:
    assert [event.message for event in changes(before, now)] == said


def test_a_server_that_answers_again_without_a_port_is_known_by_that() -> None:
    assert changes(UNREACHABLE, VPN_DOWN) == state_event(
        "The VPN is stopped; qBittorrent keeps port 45720"
    )


# Failures beside the one that makes the state


def test_another_reason_for_the_same_state_is_said_and_other_words_for_it_are_not() -> None:
    same = TIMEOUT._replace(message="Gluetun timed out again")
    assert warnings(changes(UNREACHABLE, UNREACHABLE._replace(failures=(REFUSED,)))) == [
        "Gluetun is not there"
    ]
    assert changes(UNREACHABLE, UNREACHABLE._replace(failures=(same,))) == ()


def test_each_failure_of_a_check_is_said_once() -> None:
    both = UNREACHABLE._replace(failures=(TIMEOUT, REJECTED))
    assert warnings(changes(IN_SYNC, both)) == ["Gluetun timed out", "rejected"]
    assert changes(both, both) == ()


@pytest.mark.parametrize("before", [IN_SYNC, NO_PORT])
def test_a_failure_that_does_not_make_the_state_is_a_warning(before: Outcome) -> None:
    assert changes(before, before._replace(failures=(TIMEOUT,))) == (
        Event(EventKind.NOTICE, Level.WARNING, "Gluetun timed out", "look at Gluetun"),
    )


# Waiting for the VPN


@pytest.mark.parametrize(
    ("state", "status", "message"),
    [
        (
            SyncState.NO_PORT,
            VpnStatus.RUNNING,
            "Gluetun has had no forwarded port for 10 minutes",
        ),
        (
            SyncState.VPN_DOWN,
            VpnStatus.STOPPED,
            "The VPN has not been up with a forwarded port for 10 minutes; it is stopped",
        ),
    ],
)
def test_waiting_for_more_than_ten_minutes_is_warned_about_once(
    state: SyncState, status: VpnStatus, message: str
) -> None:
    before, after = waiting(state, status, 600), waiting(state, status, 601)
    assert changes(before, before) == ()
    [warning] = changes(before, after)
    assert (warning.level, warning.message) == (Level.WARNING, message)
    assert "restarting Gluetun often helps" in warning.fix
    assert changes(after, after._replace(finished_at=NOW + 30)) == ()


def test_a_short_wait_after_another_trouble_is_not_warned_about() -> None:
    saved = Saved(out_of_sync_since=NOW - 1205, waiting_since=NOW - 5)
    assert warnings(changes(UNREACHABLE, NO_PORT._replace(saved=saved))) == []


def test_a_wait_for_the_vpn_and_then_for_its_port_is_one_wait() -> None:
    down = waiting(SyncState.VPN_DOWN, VpnStatus.STOPPED, 700)
    up = waiting(SyncState.NO_PORT, VpnStatus.RUNNING, 700)
    assert warnings(changes(down, up)) == []


# The words for what qSticky does


def test_the_lines_that_people_search_for_keep_their_words() -> None:
    assert events.update_needed(51413, 45720).message == "Port change needed: 51413 -> 45720"
    assert events.updated(45720).message == "Successfully updated port to 45720"


SAID = {
    "Gluetun's forwarded port changed: 38201 -> 45720": events.port_change(38201, 45720),
    "qBittorrent left port 45720 for 51413; setting it again": events.drift(
        51413, 45720, random_port=False
    ),
    "qBittorrent left port 45720 for a random one; setting it again": events.drift(
        0, 45720, random_port=True
    ),
    "Reopening port 45720: it was not listening": events.rebinding(45720, RebindCause.CLOSED),
    "Reopening port 45720: the VPN reconnected with the same port": events.rebinding(
        45720, RebindCause.RECONNECT
    ),
    "Reopening port 45720: the VPN may have reconnected unseen": events.rebinding(
        45720, RebindCause.START
    ),
    "qBittorrent may not reopen its socket after a VPN reconnect, so Gluetun is asked for its port "
    "every second": events.watching(),
    "Announced all torrents to their trackers with port 45720": events.announced(45720),
    "Restarting the VPN: it is up, but has had no forwarded port for 90 minutes": (
        events.vpn_restarting(5400, has_port=False)
    ),
    "Restarting the VPN: it is up, but nobody outside has got in for 90 minutes": (
        events.vpn_restarting(5400, has_port=True)
    ),
    "The VPN is starting again; the next restart waits at least 60 minutes": (
        events.vpn_restarted(3600)
    ),
}


@pytest.mark.parametrize("message", SAID)
def test_what_is_done_is_said_in_a_sentence(message: str) -> None:
    assert SAID[message].message == message


def test_a_drift_is_a_warning_that_names_its_likely_cause() -> None:
    by_itself = events.drift(0, 45720, random_port=True)
    by_others = events.drift(51413, 45720, random_port=False)
    assert by_itself.level is by_others.level is Level.WARNING
    assert "'Use random port on startup' is on; qSticky switches it off" in by_itself.fix
    assert by_others.fix.endswith("; let only one tool set qBittorrent's port")
