"""What an outcome says of a tunnel: whether it is healthy, and what is shown of its two sides."""

from enum import StrEnum

import pytest

from exporter.model import (
    BindResult,
    ConnectionStatus,
    EventKind,
    Failure,
    GluetunReading,
    Operation,
    Outcome,
    QbittorrentReading,
    Reason,
    RebindPolicy,
    Saved,
    SavedLogins,
    SyncState,
    VpnStatus,
)
from tests.fakes import IN_SYNC, NOW

WORDS: dict[type[StrEnum], str] = {
    SyncState: "in_sync out_of_sync not_listening no_port vpn_down gluetun_unreachable "
    "gluetun_unauthorized qbittorrent_unreachable qbittorrent_unauthorized qbittorrent_banned "
    "starting not_reachable",
    VpnStatus: "starting running stopping stopped crashed completed unknown",
    ConnectionStatus: "connected firewalled disconnected unknown",
    Operation: "gluetun_port gluetun_status gluetun_public_ip qbittorrent_login "
    "qbittorrent_preferences qbittorrent_transfer qbittorrent_set_port qbittorrent_log "
    "reachability status_file",
    Reason: "connection timeout tls auth forbidden_host banned http_4xx http_5xx invalid_response "
    "verify_mismatch bind_failed closed rate_limited io other",
    RebindPolicy: "auto always never",
    EventKind: "state port_change port_update_needed port_update drift rebind notice",
}


@pytest.mark.parametrize("kind", WORDS, ids=lambda kind: kind.__name__)
def test_the_words_that_queries_files_and_settings_rely_on_stay(kind: type[StrEnum]) -> None:
    assert " ".join(kind) == WORDS[kind]


def outcome(state: SyncState, **saved: float) -> Outcome:
    return IN_SYNC._replace(state=state, saved=Saved(**saved))  # type: ignore[arg-type]


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
    assert IN_SYNC._replace(state=state, qbittorrent=reading).port_bound is bound


@pytest.mark.parametrize(
    ("gluetun", "reason", "bound"),
    [
        (GluetunReading(45720, VpnStatus.UNKNOWN), None, True),
        (GluetunReading(0, VpnStatus.RUNNING), None, False),
        (GluetunReading(45720, VpnStatus.STOPPED), None, False),
        (None, Reason.TIMEOUT, True),
        (None, Reason.CONNECTION, False),
        (None, Reason.AUTH, False),
    ],
)
def test_no_port_is_bound_while_the_vpn_is_known_to_be_away(
    gluetun: GluetunReading | None, reason: Reason | None, bound: bool
) -> None:
    failures = (Failure(Operation.GLUETUN_PORT, reason, "", ""),) if reason else ()
    reading = QbittorrentReading(45720, bind_result=BindResult.BOUND)
    outcome = IN_SYNC._replace(
        state=SyncState.OUT_OF_SYNC,
        gluetun=gluetun,
        qbittorrent=reading,
        failures=failures,
    )
    assert outcome.port_bound is bound


@pytest.mark.parametrize(
    ("bind", "status", "closed"),
    [
        (BindResult.FAILED, ConnectionStatus.CONNECTED, True),
        (BindResult.LOOPBACK, ConnectionStatus.FIREWALLED, True),
        (BindResult.BOUND, ConnectionStatus.DISCONNECTED, True),
        (BindResult.BOUND, ConnectionStatus.FIREWALLED, False),
        (BindResult.UNKNOWN, ConnectionStatus.DISCONNECTED, True),
        (BindResult.UNKNOWN, ConnectionStatus.FIREWALLED, False),
    ],
)
def test_a_port_is_closed_by_the_log_or_by_a_status_that_is_newer(
    bind: BindResult, status: ConnectionStatus, closed: bool
) -> None:
    reading = QbittorrentReading(45720, connection_status=status, bind_result=bind)
    assert reading.is_closed is closed


def test_only_a_vpn_that_may_be_up_counts_as_up() -> None:
    up = {status for status in VpnStatus if status.is_up_or_unknown}
    assert up == {VpnStatus.RUNNING, VpnStatus.UNKNOWN}


def test_what_is_not_known_is_shown_as_0_or_unknown() -> None:
    blind = IN_SYNC._replace(gluetun=None, qbittorrent=None)
    assert (IN_SYNC.forwarded_port, IN_SYNC.listening_port) == (45720, 45720)
    assert (blind.forwarded_port, blind.listening_port) == (0, 0)
    assert (blind.vpn_status, blind.connection_status) == ("unknown", "unknown")
    random = IN_SYNC._replace(qbittorrent=QbittorrentReading(45720, random_port=True))
    assert random.listening_port == 0


def test_logins_are_suspended_only_while_one_is_needed() -> None:
    logins = SavedLogins((NOW,), 1, NOW + 300, Reason.AUTH, "")
    suspended = IN_SYNC._replace(qbittorrent=None, saved=Saved(logins=logins))
    assert suspended.login_suspended_until == NOW + 300
    assert suspended._replace(qbittorrent=IN_SYNC.qbittorrent).login_suspended_until is None
    assert IN_SYNC.login_suspended_until is None
