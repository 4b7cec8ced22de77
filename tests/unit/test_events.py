"""What is worth saying about a cycle: each thing once, in whole sentences."""

from dataclasses import replace

import pytest

from exporter.model import (
    Event,
    EventKind,
    Failure,
    Level,
    Operation,
    Outcome,
    Reason,
    SyncState,
    VpnStatus,
)
from exporter.tunnel import events
from exporter.tunnel.events import changes

NOW = 1_800_000_000.0
IN_SYNC = Outcome(
    tunnel="default",
    state=SyncState.IN_SYNC,
    finished_at=NOW,
    interval_seconds=30,
    forwarded_port=45720,
    listening_port=45720,
    gluetun_up=True,
    qbittorrent_up=True,
)
TIMEOUT = Failure(Operation.GLUETUN_PORT, Reason.TIMEOUT, "Gluetun timed out", "look at Gluetun")
REFUSED = Failure(Operation.GLUETUN_PORT, Reason.CONNECTION, "Gluetun is not there", "start it")
REJECTED = Failure(Operation.QBITTORRENT_LOGIN, Reason.AUTH, "rejected", "correct the password")
UNREACHABLE = replace(
    IN_SYNC,
    state=SyncState.GLUETUN_UNREACHABLE,
    forwarded_port=0,
    gluetun_up=False,
    failures=(TIMEOUT,),
)
NO_PORT = replace(IN_SYNC, state=SyncState.NO_PORT, forwarded_port=0, waiting_since=NOW - 60)
VPN_DOWN = replace(NO_PORT, state=SyncState.VPN_DOWN, vpn_status=VpnStatus.STOPPED)


def state_event(message: str) -> tuple[Event, ...]:
    return (Event(EventKind.STATE, Level.INFO, message),)


def after_reading(level: Level, message: str, fix: str = "") -> Event:
    return Event(EventKind.NOTICE, level, message, fix)


# The first cycle


def test_the_first_cycle_says_what_it_found() -> None:
    assert changes(None, IN_SYNC) == (
        after_reading(Level.INFO, "Initial status - Gluetun: ✓, qBit: ✓, Port: 45720"),
    )


def test_a_first_cycle_that_fails_says_why_and_what_it_found() -> None:
    assert changes(None, UNREACHABLE) == (
        Event(EventKind.STATE, Level.WARNING, "Gluetun timed out", "look at Gluetun"),
        after_reading(Level.INFO, "Initial status - Gluetun: ✗, qBit: ✓, Port: none"),
    )


def test_a_wait_that_began_before_a_restart_is_warned_about_after_it() -> None:
    first = changes(None, replace(NO_PORT, waiting_since=NOW - 601))

    assert [event.message for event in first] == [
        "Gluetun forwards no port at the moment; qBittorrent keeps port 45720",
        "Initial status - Gluetun: ✓, qBit: ✓, Port: none",
        "Gluetun has had no forwarded port for 10 minutes",
    ]


# Changes of the state


@pytest.mark.parametrize("outcome", [IN_SYNC, UNREACHABLE, NO_PORT, VPN_DOWN])
def test_a_cycle_like_the_one_before_says_nothing(outcome: Outcome) -> None:
    assert changes(outcome, replace(outcome, finished_at=NOW + 30)) == ()


@pytest.mark.parametrize(
    ("current", "message"),
    [
        (NO_PORT, "Gluetun forwards no port at the moment; qBittorrent keeps port 45720"),
        (replace(NO_PORT, listening_port=0), "Gluetun forwards no port at the moment"),
        (VPN_DOWN, "The VPN is stopped; qBittorrent keeps port 45720"),
        (
            replace(VPN_DOWN, vpn_status=VpnStatus.CRASHED, listening_port=0),
            "The VPN is crashed",
        ),
        (replace(IN_SYNC, state=SyncState.OUT_OF_SYNC), "State: out_of_sync"),
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
    ],
)
def test_a_failure_that_only_a_person_can_end_is_an_error(state: SyncState, level: Level) -> None:
    failed = replace(IN_SYNC, state=state, failures=(REJECTED,))

    assert changes(IN_SYNC, failed) == (
        Event(EventKind.STATE, level, "rejected", "correct the password"),
    )


def test_the_end_of_trouble_is_said() -> None:
    assert changes(UNREACHABLE, IN_SYNC) == state_event("In sync again on port 45720")


def test_the_end_of_trouble_is_not_said_beside_a_new_port() -> None:
    current = replace(IN_SYNC, events=(events.updated(45720),))

    assert changes(UNREACHABLE, current) == ()


# Failures beside the one that makes the state


def test_another_reason_for_the_same_state_is_said() -> None:
    assert changes(UNREACHABLE, replace(UNREACHABLE, failures=(REFUSED,))) == (
        after_reading(Level.WARNING, "Gluetun is not there", "start it"),
    )


def test_other_words_for_the_same_reason_are_not_said_again() -> None:
    later = replace(TIMEOUT, message="Gluetun timed out again")

    assert changes(UNREACHABLE, replace(UNREACHABLE, failures=(later,))) == ()


def test_each_failure_of_a_cycle_is_said_once() -> None:
    both = replace(UNREACHABLE, failures=(TIMEOUT, REJECTED))

    first = changes(IN_SYNC, both)
    second = changes(both, both)

    assert [event.message for event in first] == ["Gluetun timed out", "rejected"]
    assert second == ()


@pytest.mark.parametrize("before", [IN_SYNC, NO_PORT])
def test_a_failure_that_does_not_make_the_state_is_a_warning(before: Outcome) -> None:
    assert changes(before, replace(before, failures=(TIMEOUT,))) == (
        after_reading(Level.WARNING, "Gluetun timed out", "look at Gluetun"),
    )


# Waiting for the VPN


def test_waiting_for_more_than_ten_minutes_is_warned_about_once() -> None:
    before = replace(NO_PORT, waiting_since=NOW - 600)
    after = replace(NO_PORT, waiting_since=NOW - 601)

    assert changes(before, before) == ()
    assert changes(before, after) == (
        after_reading(
            Level.WARNING,
            "Gluetun has had no forwarded port for 10 minutes",
            "check that VPN_PORT_FORWARDING=on and that the VPN server supports port forwarding; "
            "restarting Gluetun often helps",
        ),
    )
    assert changes(after, replace(after, finished_at=NOW + 30)) == ()


def test_a_short_wait_after_another_trouble_is_not_warned_about() -> None:
    long_trouble = replace(UNREACHABLE, out_of_sync_since=NOW - 1200)
    waiting = replace(NO_PORT, out_of_sync_since=NOW - 1205, waiting_since=NOW - 5)

    assert changes(long_trouble, waiting) == state_event(
        "Gluetun forwards no port at the moment; qBittorrent keeps port 45720"
    )


def test_a_wait_for_the_vpn_and_then_for_its_port_is_one_wait() -> None:
    down = replace(VPN_DOWN, waiting_since=NOW - 700)
    up = replace(NO_PORT, waiting_since=NOW - 700)

    assert changes(down, up) == state_event(
        "Gluetun forwards no port at the moment; qBittorrent keeps port 45720"
    )


def test_a_vpn_that_stays_down_is_warned_about_in_its_own_words() -> None:
    assert changes(VPN_DOWN, replace(VPN_DOWN, waiting_since=NOW - 601)) == (
        after_reading(
            Level.WARNING,
            "The VPN has not been up with a forwarded port for 10 minutes; it is stopped",
            "look into Gluetun's log for the reason; restarting Gluetun often helps",
        ),
    )


# The words for what qSticky does


def test_the_lines_of_the_existing_qsticky_keep_their_words() -> None:
    assert events.update_needed(51413, 45720).message == "Port change needed: 51413 -> 45720"
    assert events.updated(45720).message == "Successfully updated port to 45720"


def test_a_new_forwarded_port_is_said() -> None:
    assert events.port_change(38201, 45720) == Event(
        EventKind.PORT_CHANGE, Level.INFO, "Gluetun's forwarded port changed: 38201 -> 45720"
    )


def test_a_drift_names_its_likely_cause() -> None:
    assert events.drift(51413, 45720, random_port=False) == Event(
        EventKind.DRIFT,
        Level.WARNING,
        "qBittorrent left port 45720 for 51413; it is set again",
        "likely cause: another program or person set it; let only one tool set qBittorrent's port",
    )
    assert events.drift(0, 45720, random_port=True) == Event(
        EventKind.DRIFT,
        Level.WARNING,
        "qBittorrent left port 45720 for a random one; it is set again",
        "likely cause: its option 'Use random port on startup' is on; qSticky switches it off",
    )


def test_opening_a_port_anew_says_why() -> None:
    assert events.rebinding(45720, dead=True).message == (
        "Opening port 45720 anew, because it was not listening"
    )
    assert events.rebinding(45720, dead=False).message == (
        "Opening port 45720 anew, because the VPN reconnected with the same port"
    )
