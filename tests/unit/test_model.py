"""What an outcome says of a tunnel: whether it is healthy, and what is shown of its two sides."""

from dataclasses import replace

import pytest

from exporter.model import (
    BindResult,
    ConnectionStatus,
    Outcome,
    QbittorrentReading,
    Reason,
    Saved,
    SavedLogins,
    SyncState,
)
from tests.fakes import IN_SYNC, NOW


def outcome(state: SyncState, **saved: float) -> Outcome:
    return replace(IN_SYNC, state=state, saved=Saved(**saved))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("interval", "grace"), [(1, 90), (30, 90), (31, 93), (300, 900), (3600, 10_800)]
)
def test_a_failure_has_a_grace_of_three_intervals_and_of_90_seconds_at_least(
    interval: float, grace: float
) -> None:
    since = NOW - grace
    failing = outcome(SyncState.GLUETUN_UNREACHABLE, out_of_sync_since=since, failing_since=since)

    assert failing.is_healthy(NOW, interval)
    assert not failing.is_healthy(NOW + 0.001, interval)


@pytest.mark.parametrize("state", [SyncState.NO_PORT, SyncState.VPN_DOWN])
@pytest.mark.parametrize("interval", [1, 30, 3600])
def test_waiting_for_the_vpn_has_a_grace_of_ten_minutes(state: SyncState, interval: float) -> None:
    waiting = outcome(state, out_of_sync_since=NOW - 600, waiting_since=NOW - 600)

    assert waiting.is_healthy(NOW, interval)
    assert not waiting.is_healthy(NOW + 0.001, interval)


def test_waiting_and_failing_in_turn_does_not_stay_healthy() -> None:
    in_turn = outcome(
        SyncState.GLUETUN_UNREACHABLE, out_of_sync_since=NOW - 600, failing_since=NOW - 5
    )

    assert in_turn.is_healthy(NOW, 30)
    assert not in_turn.is_healthy(NOW + 0.001, 30)


def test_a_check_that_does_not_end_is_unhealthy_after_the_grace() -> None:
    assert IN_SYNC.next_check_seconds == 30
    assert IN_SYNC.is_healthy(NOW + 120, 30)
    assert not IN_SYNC.is_healthy(NOW + 120.001, 30)


@pytest.mark.parametrize(
    ("state", "bind", "status", "bound"),
    [
        (SyncState.IN_SYNC, BindResult.BOUND, ConnectionStatus.CONNECTED, True),
        (SyncState.IN_SYNC, BindResult.BOUND, ConnectionStatus.DISCONNECTED, True),
        (SyncState.NOT_LISTENING, BindResult.BOUND, ConnectionStatus.DISCONNECTED, False),
        (SyncState.NOT_LISTENING, BindResult.FAILED, ConnectionStatus.CONNECTED, False),
        (SyncState.IN_SYNC, BindResult.UNKNOWN, ConnectionStatus.CONNECTED, False),
    ],
)
def test_a_port_is_bound_where_the_log_proves_it_and_nothing_newer_speaks_against_it(
    state: SyncState, bind: BindResult, status: ConnectionStatus, bound: bool
) -> None:
    reading = QbittorrentReading(45720, connection_status=status, bind_result=bind)

    assert replace(IN_SYNC, state=state, qbittorrent=reading).port_bound is bound


def test_a_random_port_is_no_listening_port() -> None:
    reading = QbittorrentReading(45720, random_port=True)

    assert replace(IN_SYNC, qbittorrent=reading).listening_port == 0


def test_logins_are_suspended_only_while_one_is_needed() -> None:
    logins = SavedLogins((NOW,), 1, NOW + 300, Reason.AUTH, "")
    suspended = replace(IN_SYNC, qbittorrent=None, saved=Saved(logins=logins))

    assert suspended.login_suspended_until == NOW + 300
    assert replace(suspended, qbittorrent=IN_SYNC.qbittorrent).login_suspended_until is None
    assert IN_SYNC.login_suspended_until is None
