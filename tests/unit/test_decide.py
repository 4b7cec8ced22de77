"""decide() and its companions: no servers, no clock."""

import itertools
import math
from dataclasses import replace

import pytest

from exporter.model import (
    BindResult,
    ConnectionStatus,
    Failure,
    Operation,
    Reason,
    RebindPolicy,
    SyncState,
    VpnStatus,
)
from exporter.tunnel.decide import (
    GluetunReading,
    TunnelState,
    Nothing,
    Observation,
    QbittorrentReading,
    Rebind,
    SetPort,
    Wait,
    decide,
    has_drifted,
    next_check,
    notice,
    opened,
    settled,
    should_announce,
    state_of,
)

NOW = 5000.0
PORT = 45720
RUNNING = GluetunReading(PORT, VpnStatus.RUNNING, "203.0.113.7")
LISTENING = QbittorrentReading(PORT, connection_status=ConnectionStatus.FIREWALLED)
CLOSED = replace(LISTENING, connection_status=ConnectionStatus.DISCONNECTED)
UNBOUND = replace(LISTENING, bind_result=BindResult.FAILED)
OLD_LIBTORRENT = replace(LISTENING, reopens_sockets=False)
NEW_LIBTORRENT = replace(LISTENING, reopens_sockets=True)


def failure(operation: Operation, reason: Reason = Reason.CONNECTION) -> Failure:
    return Failure(operation, reason, "it failed", "mend it")


def look(
    gluetun: GluetunReading | Failure = RUNNING,
    qbittorrent: QbittorrentReading | Failure = LISTENING,
    *,
    pushed: bool = False,
) -> Observation:
    return Observation(gluetun, qbittorrent, pushed=pushed)


def synced() -> TunnelState:
    """A tunnel that has been in sync for long."""
    memory = after_check(
        SyncState.IN_SYNC, after_reading(look(), TunnelState(), NOW - 1000), NOW - 1000
    )
    assert memory.synced_port == PORT
    return memory


def test_does_nothing_while_both_ports_are_equal() -> None:
    assert decide(look(), synced(), NOW) == Nothing()


def test_sets_the_forwarded_port_where_qbittorrent_has_another() -> None:
    assert decide(look(qbittorrent=replace(LISTENING, listening_port=1)), synced(), NOW) == SetPort(
        PORT
    )


def test_sets_the_port_where_qbittorrent_would_pick_a_random_one_at_its_next_start() -> None:
    assert decide(look(qbittorrent=replace(LISTENING, random_port=True)), synced(), NOW) == SetPort(
        PORT
    )


def test_keeps_the_listening_port_while_nothing_is_forwarded() -> None:
    assert decide(look(GluetunReading(0, VpnStatus.RUNNING)), synced(), NOW) == Wait(
        SyncState.NO_PORT
    )


@pytest.mark.parametrize("status", ["starting", "stopping", "stopped", "crashed", "completed"])
def test_keeps_the_listening_port_while_the_vpn_does_not_run(status: str) -> None:
    for port in (0, 50000):
        decision = decide(look(GluetunReading(port, VpnStatus(status))), synced(), NOW)
        assert decision == Wait(SyncState.VPN_DOWN)


def test_trusts_the_port_where_the_vpn_status_is_not_ours_to_ask() -> None:
    assert decide(look(GluetunReading(50000, VpnStatus.UNKNOWN)), synced(), NOW) == SetPort(50000)


@pytest.mark.parametrize(
    ("operation", "reason", "state"),
    [
        (Operation.GLUETUN_PORT, Reason.CONNECTION, SyncState.GLUETUN_UNREACHABLE),
        (Operation.GLUETUN_PORT, Reason.TIMEOUT, SyncState.GLUETUN_UNREACHABLE),
        (Operation.GLUETUN_PORT, Reason.INVALID_RESPONSE, SyncState.GLUETUN_UNREACHABLE),
        (Operation.GLUETUN_PORT, Reason.HTTP_5XX, SyncState.GLUETUN_UNREACHABLE),
        (Operation.GLUETUN_PORT, Reason.AUTH, SyncState.GLUETUN_UNAUTHORIZED),
        (Operation.QBITTORRENT_PREFERENCES, Reason.TIMEOUT, SyncState.QBITTORRENT_UNREACHABLE),
        (Operation.QBITTORRENT_PREFERENCES, Reason.TLS, SyncState.QBITTORRENT_UNREACHABLE),
        (Operation.QBITTORRENT_LOGIN, Reason.AUTH, SyncState.QBITTORRENT_UNAUTHORIZED),
        (Operation.QBITTORRENT_LOGIN, Reason.FORBIDDEN_HOST, SyncState.QBITTORRENT_UNAUTHORIZED),
        (Operation.QBITTORRENT_LOGIN, Reason.BANNED, SyncState.QBITTORRENT_BANNED),
        (Operation.QBITTORRENT_SET_PORT, Reason.VERIFY_MISMATCH, SyncState.OUT_OF_SYNC),
        (Operation.QBITTORRENT_SET_PORT, Reason.BIND_FAILED, SyncState.NOT_LISTENING),
    ],
)
def test_each_failure_leads_to_its_state(
    operation: Operation, reason: Reason, state: SyncState
) -> None:
    assert state_of(failure(operation, reason)) == state


def test_waits_where_qbittorrent_can_not_be_read() -> None:
    gone = failure(Operation.QBITTORRENT_PREFERENCES)
    assert decide(look(qbittorrent=gone), synced(), NOW) == Wait(SyncState.QBITTORRENT_UNREACHABLE)


def test_a_failure_of_gluetun_is_told_before_one_of_qbittorrent() -> None:
    both = look(failure(Operation.GLUETUN_PORT), failure(Operation.QBITTORRENT_PREFERENCES))
    assert decide(both, synced(), NOW) == Wait(SyncState.GLUETUN_UNREACHABLE)


def test_never_sets_a_port_that_gluetun_does_not_report_now() -> None:
    """Every combination of what can be read: only the forwarded port of this very cycle."""
    failures = [failure(Operation.GLUETUN_PORT, reason) for reason in Reason]
    readings: list[GluetunReading | Failure] = [
        GluetunReading(p, s) for p in (0, PORT, 50000) for s in VpnStatus
    ]
    qbittorrents = [
        QbittorrentReading(port, random, status, bound, reopens)
        for port, random, status, bound, reopens in itertools.product(
            (0, 1, PORT, 50000), (False, True), ConnectionStatus, BindResult, (None, False, True)
        )
    ]
    for gluetun, qbittorrent, policy in itertools.product(
        [*readings, *failures], qbittorrents, RebindPolicy
    ):
        observation = look(gluetun, qbittorrent)
        memory = after_reading(observation, synced(), NOW)
        match decide(observation, memory, NOW, policy):
            case SetPort(port) | Rebind(port):
                assert isinstance(gluetun, GluetunReading)
                assert port == gluetun.forwarded_port != 0
            case Nothing():
                assert isinstance(gluetun, GluetunReading)
                assert qbittorrent.listening_port == gluetun.forwarded_port
            case Wait(state):
                assert state is not SyncState.IN_SYNC


# a port that nobody listens on


def test_waits_a_minute_before_it_opens_an_unbound_port_anew() -> None:
    observation = look(qbittorrent=UNBOUND)
    memory = after_reading(observation, synced(), NOW)
    assert decide(observation, memory, NOW) == Wait(SyncState.NOT_LISTENING)
    memory = after_check(SyncState.NOT_LISTENING, memory, NOW)
    assert decide(observation, memory, NOW + 59) == Wait(SyncState.NOT_LISTENING)
    assert decide(observation, memory, NOW + 60) == Rebind(PORT)


def test_repairs_after_1_minute_then_5_then_every_30() -> None:
    observation, memory, now = look(qbittorrent=UNBOUND), synced(), NOW
    at: list[float] = []
    while len(at) < 4:
        memory = after_reading(observation, memory, now)
        if decide(observation, memory, now) == Rebind(PORT):
            at.append(now - NOW)
            memory = after_write(memory, now, rebind=True)
        memory = after_check(SyncState.NOT_LISTENING, memory, now)
        now += 30
    assert at == [60, 360, 2160, 3960]


def test_one_disconnected_reading_may_be_stale() -> None:
    observation = look(qbittorrent=CLOSED)
    memory = after_reading(observation, synced(), NOW)
    assert decide(observation, memory, NOW) == Nothing()
    assert next_check(SyncState.IN_SYNC, memory, NOW, 30.0) == 3.0
    memory = after_reading(observation, memory, NOW + 3)
    assert decide(observation, memory, NOW + 3) == Wait(SyncState.NOT_LISTENING)


def test_a_socket_seen_open_ends_the_repairs() -> None:
    memory = replace(synced(), repairs=3, repair_at=NOW + 1800)
    memory = after_reading(look(), memory, NOW)
    assert (memory.repairs, memory.repair_at) == (0, math.inf)


def test_never_rebinds_where_that_is_forbidden() -> None:
    observation = look(qbittorrent=UNBOUND)
    memory = after_check(SyncState.NOT_LISTENING, after_reading(observation, synced(), NOW), NOW)
    assert decide(observation, memory, NOW + 3600, RebindPolicy.NEVER) == Wait(
        SyncState.NOT_LISTENING
    )


def test_waits_a_minute_too_where_the_port_was_never_seen_open() -> None:
    memory = after_reading(look(qbittorrent=UNBOUND), TunnelState(), NOW)
    assert after_check(SyncState.NOT_LISTENING, memory, NOW).repair_at == NOW + 60


def test_a_repair_keeps_5_minutes_from_the_last_rebind_whatever_that_was_for() -> None:
    observation = look(qbittorrent=UNBOUND)
    memory = replace(synced(), last_rebind_at=NOW, repair_at=NOW + 60)
    assert decide(observation, memory, NOW + 299) == Wait(SyncState.NOT_LISTENING)
    assert decide(observation, memory, NOW + 300) == Rebind(PORT)


def test_a_disconnected_reading_before_an_outage_proves_nothing_after_it() -> None:
    for between in (failure(Operation.QBITTORRENT_PREFERENCES), UNBOUND):
        memory = after_reading(look(qbittorrent=CLOSED), synced(), NOW)
        memory = after_reading(look(qbittorrent=between), memory, NOW + 10)
        memory = after_reading(look(qbittorrent=CLOSED), memory, NOW + 20)
        assert decide(look(qbittorrent=CLOSED), memory, NOW + 20) == Nothing()


# a VPN reconnect that brings the same port


def after(*gluetun: GluetunReading | Failure) -> TunnelState:
    memory = synced()
    for reading in gluetun:
        memory = after_reading(look(reading), memory, NOW)
    return after_reading(look(), memory, NOW)


RECONNECTS = {
    "the VPN was down": after(GluetunReading(0, VpnStatus.STOPPED)),
    "there was no port": after(GluetunReading(0, VpnStatus.RUNNING)),
    "Gluetun was gone": after(failure(Operation.GLUETUN_PORT)),
    "the public address is another": after(replace(RUNNING, public_ip="198.51.100.9")),
}


@pytest.mark.parametrize("memory", RECONNECTS.values(), ids=RECONNECTS.keys())
def test_opens_the_socket_anew_after_a_reconnect_where_libtorrent_needs_it(
    memory: TunnelState,
) -> None:
    assert decide(look(qbittorrent=OLD_LIBTORRENT), memory, NOW) == Rebind(PORT)
    assert decide(look(qbittorrent=NEW_LIBTORRENT), memory, NOW) == Nothing()
    assert decide(look(qbittorrent=replace(CLOSED, reopens_sockets=True)), memory, NOW) == Rebind(
        PORT
    )


@pytest.mark.parametrize("memory", RECONNECTS.values(), ids=RECONNECTS.keys())
def test_the_rebind_policy_is_obeyed_after_a_reconnect(memory: TunnelState) -> None:
    old, new = look(qbittorrent=OLD_LIBTORRENT), look(qbittorrent=NEW_LIBTORRENT)
    assert decide(new, memory, NOW, RebindPolicy.ALWAYS) == Rebind(PORT)
    assert decide(old, memory, NOW, RebindPolicy.NEVER) == Nothing()


def test_waits_for_the_version_before_it_rebinds() -> None:
    memory = RECONNECTS["there was no port"]
    assert decide(look(), memory, NOW) == Nothing()
    assert decide(look(qbittorrent=OLD_LIBTORRENT), memory, NOW + 30) == Rebind(PORT)


def test_a_timeout_is_no_reconnect() -> None:
    memory = after(failure(Operation.GLUETUN_PORT, Reason.TIMEOUT))
    assert decide(look(qbittorrent=OLD_LIBTORRENT), memory, NOW) == Nothing()


def test_rebinds_at_most_once_in_5_minutes() -> None:
    memory = after_write(RECONNECTS["there was no port"], NOW, rebind=True)
    memory = replace(memory, reconnected_at=NOW + 10)
    observation = look(qbittorrent=OLD_LIBTORRENT)
    assert decide(observation, memory, NOW + 299) == Nothing()
    assert decide(observation, memory, NOW + 300) == Rebind(PORT)


def test_a_new_port_needs_no_rebind() -> None:
    memory = after_write(RECONNECTS["there was no port"], NOW, rebind=False)
    assert decide(look(qbittorrent=OLD_LIBTORRENT), memory, NOW) == Nothing()


# a push


def test_a_push_without_a_new_port_is_followed_by_four_quick_looks() -> None:
    memory = after_reading(look(pushed=True), synced(), NOW)
    pauses, now = [], NOW
    for _ in range(5):
        pause = next_check(SyncState.IN_SYNC, memory, now, 30.0)
        pauses.append(round(pause, 3))
        now += pause
        memory = after_reading(look(), memory, now)
    assert pauses == [0.2, 0.3, 0.5, 1.0, 30.0]


def test_a_push_that_brings_the_same_port_is_a_reconnect() -> None:
    observation = look(qbittorrent=OLD_LIBTORRENT, pushed=True)
    memory = after_reading(observation, synced(), NOW)
    assert decide(observation, memory, NOW) == Nothing()
    memory = after_reading(look(qbittorrent=OLD_LIBTORRENT), memory, NOW + 2)
    assert decide(look(qbittorrent=OLD_LIBTORRENT), memory, NOW + 2) == Rebind(PORT)


def test_a_push_that_brings_a_new_port_is_none() -> None:
    new = replace(RUNNING, forwarded_port=50000)
    memory = after_reading(look(new, pushed=True), synced(), NOW)
    assert next_check(SyncState.IN_SYNC, memory, NOW, 30.0) == 30.0


# drift


def test_leaving_the_right_port_is_a_drift() -> None:
    moved = replace(LISTENING, listening_port=1)
    assert has_drifted(moved, synced())
    assert has_drifted(replace(LISTENING, random_port=True), synced())


def test_a_new_forwarded_port_is_no_drift() -> None:
    memory = after_reading(look(replace(RUNNING, forwarded_port=50000)), synced(), NOW)
    assert not has_drifted(LISTENING, memory)


def test_an_interrupted_rebind_is_no_drift() -> None:
    memory = after_write(synced(), NOW, rebind=True)
    assert not has_drifted(replace(LISTENING, listening_port=PORT + 1), memory)


# when to look again


@pytest.mark.parametrize(
    "state",
    [
        SyncState.NO_PORT,
        SyncState.VPN_DOWN,
        SyncState.GLUETUN_UNREACHABLE,
        SyncState.QBITTORRENT_UNREACHABLE,
        SyncState.OUT_OF_SYNC,
    ],
)
def test_looks_every_second_at_first_while_it_waits_then_less_often(state: SyncState) -> None:
    memory = replace(TunnelState(), facts_since=NOW)
    pauses = [next_check(state, memory, NOW + waited, 30.0) for waited in (0, 300, 1500, 86400)]
    assert pauses == [1.0, 1.0, 5.0, 30.0]


def test_looks_again_when_a_repair_is_due_but_not_within_a_second() -> None:
    memory = replace(TunnelState(), repair_at=NOW + 10)
    pauses = [
        next_check(SyncState.NOT_LISTENING, memory, NOW + waited, 30.0) for waited in (0, 9.5)
    ]
    assert pauses == [10.0, 1.0]


def test_does_not_look_for_a_repair_before_it_is_allowed() -> None:
    memory = replace(TunnelState(), repair_at=NOW + 60, last_rebind_at=NOW)
    pauses = [
        next_check(SyncState.NOT_LISTENING, memory, NOW + waited, 30.0) for waited in (60, 290)
    ]
    assert pauses == [30.0, 10.0]


def test_waits_the_whole_interval_where_no_repair_will_ever_come() -> None:
    memory = replace(TunnelState(), repair_at=NOW + 60)
    pauses = [
        next_check(SyncState.NOT_LISTENING, memory, NOW + waited, 30.0, RebindPolicy.NEVER)
        for waited in (0, 59, 600)
    ]
    assert pauses == [30.0, 30.0, 30.0]


def test_doubles_the_pauses_at_once_while_a_server_hangs() -> None:
    observation = look(failure(Operation.GLUETUN_PORT, Reason.TIMEOUT))
    memory, pauses, now = TunnelState(), [], NOW
    for _ in range(7):
        memory = after_reading(observation, memory, now)
        pauses.append(next_check(SyncState.GLUETUN_UNREACHABLE, memory, now, 30.0))
        now += pauses[-1]
    assert pauses == [1.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]


def test_never_looks_less_often_than_the_interval() -> None:
    memory = replace(TunnelState(), facts_since=NOW)
    for state in SyncState:
        for waited in (0, 10, 1000, 1e9):
            assert 0 < next_check(state, memory, NOW + waited, 0.5) <= 0.5


def test_a_change_of_what_is_read_makes_it_look_often_again() -> None:
    memory = after_reading(look(GluetunReading(0, VpnStatus.STOPPED)), TunnelState(), NOW)
    memory = after_reading(look(GluetunReading(0, VpnStatus.STOPPED)), memory, NOW + 3000)
    assert next_check(SyncState.VPN_DOWN, memory, NOW + 3000, 30.0) == 10.0
    memory = after_reading(look(GluetunReading(0, VpnStatus.STARTING)), memory, NOW + 3010)
    assert next_check(SyncState.VPN_DOWN, memory, NOW + 3010, 30.0) == 1.0


# telling the trackers


def test_tells_the_trackers_once_at_most_every_5_minutes() -> None:
    assert not should_announce(TunnelState(), NOW)
    assert should_announce(TunnelState(announce=True), NOW)
    told = TunnelState(announce=True, announced_at=NOW)
    assert not should_announce(told, NOW + 299)
    assert should_announce(told, NOW + 300)


# to the second: what mutation testing found untested


def test_the_first_port_after_a_start_is_no_reconnect() -> None:
    assert after_reading(look(), TunnelState(), NOW).reconnected_at == -math.inf


def test_a_reconnect_matters_for_ten_minutes_and_not_a_moment_longer() -> None:
    observation = look(qbittorrent=OLD_LIBTORRENT)
    memory = replace(synced(), reconnected_at=NOW)
    assert decide(observation, memory, NOW + 599.9) == Rebind(PORT)
    assert decide(observation, memory, NOW + 600) == Nothing()
