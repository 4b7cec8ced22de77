"""What to do next: pure, so every case is a value here."""

import itertools
import math

import pytest

from exporter.model import (
    Answer,
    BindResult,
    ConnectionStatus,
    Failure,
    GluetunReading,
    Operation,
    OperationResult,
    Outside,
    QbittorrentReading,
    Reason,
    RebindPolicy,
    SyncState,
    VpnStatus,
)
from exporter.tunnel.decide import (
    Decision,
    Nothing,
    Rebind,
    SetPort,
    Wait,
    decide,
    must_watch,
    next_check,
    state_of,
)
from exporter.tunnel.state import (
    MOST_REBINDS,
    Observation,
    RebindCause,
    TunnelState,
    after_check,
    after_reading,
    after_write,
    has_drifted,
    opened_after,
    should_announce,
)

NOW = 5000.0
PORT = 45720
RUNNING = GluetunReading(PORT, VpnStatus.RUNNING, "203.0.113.7")
OPEN = QbittorrentReading(
    PORT,
    connection_status=ConnectionStatus.FIREWALLED,
    bind_result=BindResult.BOUND,
    reopens_sockets=True,
)
OLD = OPEN._replace(reopens_sockets=False)
"""With a libtorrent that sits on a dead socket after a VPN reconnect, while all looks right."""
DISCONNECTED = OPEN._replace(connection_status=ConnectionStatus.DISCONNECTED)
FAILED = OPEN._replace(bind_result=BindResult.FAILED)
AWAY = GluetunReading(0, VpnStatus.STOPPED)


def failure(operation: Operation, reason: Reason = Reason.CONNECTION) -> Failure:
    return Failure(operation, reason, "it failed", "fix it")


NO_GLUETUN = failure(Operation.GLUETUN_PORT)
NO_QBITTORRENT = failure(Operation.QBITTORRENT_PREFERENCES)


def synced(policy: RebindPolicy = RebindPolicy.AUTO) -> TunnelState:
    """A tunnel that has been in sync for long."""
    known = after_write(TunnelState(policy=policy), NOW - 1000)
    known = after_reading(Observation(RUNNING, OPEN), known, NOW - 1000)
    return after_check(SyncState.IN_SYNC, known, NOW - 1000)


def step(
    known: TunnelState,
    gluetun: GluetunReading | Failure = RUNNING,
    qbittorrent: QbittorrentReading | Failure = OPEN,
    *,
    at: float = NOW,
    pushed: bool = False,
) -> tuple[Decision, TunnelState]:
    """One check whose writes succeed: what is decided, and what is known afterwards."""
    observation = Observation(gluetun, qbittorrent, pushed=pushed)
    decision, state, known = act(observation, known, at)
    return decision, after_check(state, known, at)


def act(
    observation: Observation, known: TunnelState, at: float
) -> tuple[Decision, SyncState, TunnelState]:
    """A check until just before its end."""
    known = after_reading(observation, known, at)
    decision = decide(observation, known, at)
    match decision:
        case Wait(state):
            return decision, state, known
        case SetPort():
            known = after_write(known, at)
        case Rebind(_, cause):
            known = after_write(known, at, rebind=cause)
        case Nothing():
            pass
    return decision, SyncState.IN_SYNC, known


# the port


def test_does_nothing_while_both_ports_are_equal() -> None:
    assert step(synced())[0] == Nothing()


@pytest.mark.parametrize(
    "other", [OPEN._replace(listening_port=1), OPEN._replace(random_port=True)]
)
def test_sets_the_forwarded_port_where_qbittorrent_has_another(other: QbittorrentReading) -> None:
    assert step(synced(), qbittorrent=other)[0] == SetPort(PORT)


def test_keeps_the_listening_port_while_nothing_is_forwarded() -> None:
    assert step(synced(), GluetunReading(0, VpnStatus.RUNNING))[0] == Wait(SyncState.NO_PORT)


@pytest.mark.parametrize("status", ["starting", "stopping", "stopped", "crashed", "completed"])
def test_keeps_the_listening_port_while_the_vpn_is_not_up(status: str) -> None:
    reading = GluetunReading(50000, VpnStatus(status))
    assert step(synced(), reading)[0] == Wait(SyncState.VPN_DOWN)


def test_trusts_the_port_where_the_vpn_status_is_not_ours_to_ask() -> None:
    assert step(synced(), GluetunReading(50000, VpnStatus.UNKNOWN))[0] == SetPort(50000)


@pytest.mark.parametrize(
    ("operation", "reason", "state"),
    [
        (Operation.GLUETUN_PORT, Reason.TIMEOUT, SyncState.GLUETUN_UNREACHABLE),
        (Operation.GLUETUN_PORT, Reason.HTTP_5XX, SyncState.GLUETUN_UNREACHABLE),
        (Operation.GLUETUN_PORT, Reason.AUTH, SyncState.GLUETUN_UNAUTHORIZED),
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


def test_a_failure_of_gluetun_comes_before_one_of_qbittorrent() -> None:
    assert step(synced(), NO_GLUETUN, NO_QBITTORRENT)[0] == Wait(SyncState.GLUETUN_UNREACHABLE)
    assert step(synced(), qbittorrent=NO_QBITTORRENT)[0] == Wait(SyncState.QBITTORRENT_UNREACHABLE)


def test_never_sets_a_port_that_gluetun_does_not_report_now() -> None:
    """Every combination of what can be read: only the forwarded port of this very check."""
    failures = [failure(Operation.GLUETUN_PORT, reason) for reason in Reason]
    readings: list[GluetunReading | Failure] = [
        GluetunReading(p, s) for p in (0, PORT, 50000) for s in VpnStatus
    ]
    qbittorrents = [
        QbittorrentReading(port, random, status, bound, reopens_sockets=reopens)
        for port, random, status, bound, reopens in itertools.product(
            (0, 1, PORT), (False, True), ConnectionStatus, BindResult, (None, False, True)
        )
    ]
    for gluetun, qbittorrent, policy in itertools.product(
        [*readings, *failures], qbittorrents, RebindPolicy
    ):
        decision, _ = step(synced(policy), gluetun, qbittorrent)
        if isinstance(decision, SetPort | Rebind):
            assert isinstance(gluetun, GluetunReading)
            assert decision.port == gluetun.forwarded_port != 0
            assert gluetun.vpn_status in (VpnStatus.RUNNING, VpnStatus.UNKNOWN)


def test_a_drift_is_another_port_than_the_one_that_was_verified() -> None:
    assert has_drifted(OPEN._replace(listening_port=1), synced())
    assert has_drifted(OPEN._replace(random_port=True), synced())
    assert not has_drifted(OPEN, synced())
    assert not has_drifted(OPEN._replace(listening_port=1), TunnelState(forwarded_port=PORT))


# a reconnect

INTERRUPTIONS = [
    AWAY,
    GluetunReading(0, VpnStatus.RUNNING),
    GluetunReading(PORT, VpnStatus.STARTING),
    *(failure(Operation.GLUETUN_PORT, r) for r in Reason if r is not Reason.TIMEOUT),
]


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
def test_every_sign_of_an_interruption_is_answered_where_libtorrent_does_not_reopen(
    interruption: GluetunReading | Failure,
) -> None:
    _, known = step(synced(), interruption, OLD)
    decision, known = step(known, qbittorrent=OLD, at=NOW + 20)
    assert decision == Rebind(PORT, RebindCause.RECONNECT)
    assert step(known, qbittorrent=OLD, at=NOW + 50)[0] == Nothing()


def test_a_time_out_says_nothing_about_the_vpn() -> None:
    _, known = step(synced(), failure(Operation.GLUETUN_PORT, Reason.TIMEOUT), OLD)
    assert step(known, qbittorrent=OLD)[0] == Nothing()


@pytest.mark.parametrize(("address", "answered"), [("", True), ("192.0.2.1", True), (None, False)])
def test_another_public_address_or_none_is_a_reconnect(address: str | None, answered: bool) -> None:
    decision, known = step(synced(), RUNNING._replace(public_ip=address), OLD)
    assert (decision == Rebind(PORT, RebindCause.RECONNECT)) is answered
    assert step(known, RUNNING._replace(public_ip=address), OLD, at=NOW + 30)[0] == Nothing()


def test_a_socket_that_is_open_after_a_reconnect_uses_it_up() -> None:
    """A restart of qBittorrent minutes later is disconnected for a moment, and no reconnect."""
    _, known = step(synced(), AWAY)
    decision, known = step(known, at=NOW + 10)
    assert decision == Nothing()
    assert step(known, qbittorrent=DISCONNECTED, at=NOW + 60)[0] == Wait(SyncState.NOT_LISTENING)


def test_a_socket_that_is_closed_after_a_reconnect_is_reopened_at_once() -> None:
    _, known = step(synced(), AWAY)
    decision, _ = step(known, qbittorrent=DISCONNECTED, at=NOW + 10)
    assert decision == Rebind(PORT, RebindCause.RECONNECT)


def test_a_reconnect_waits_for_qbittorrent_to_be_there() -> None:
    _, known = step(synced(), AWAY)
    _, known = step(known, qbittorrent=NO_QBITTORRENT, at=NOW + 10)
    assert step(known, qbittorrent=OLD, at=NOW + 900)[0] == Rebind(PORT, RebindCause.RECONNECT)


def test_a_reconnect_that_brings_another_port_needs_no_further_rebind() -> None:
    _, known = step(synced(), AWAY)
    decision, known = step(known, RUNNING._replace(forwarded_port=50000), OLD, at=NOW + 1)
    assert decision == SetPort(50000)
    moved = OLD._replace(listening_port=50000)
    reading = RUNNING._replace(forwarded_port=50000)
    assert step(known, reading, moved, at=NOW + 30)[0] == Nothing()


def test_the_guard_against_storms_never_turns_a_wanted_rebind_into_in_sync() -> None:
    known, decisions = synced(), []
    for at in range(0, 60, 10):
        _, known = step(known, AWAY, OLD, at=NOW + at)
        decision, known = step(known, qbittorrent=OLD, at=NOW + at + 1)
        decisions.append(decision)
    assert decisions == [Rebind(PORT, RebindCause.RECONNECT)] * MOST_REBINDS
    _, known = step(known, AWAY, OLD, at=NOW + 60)
    decision, known = step(known, qbittorrent=OLD, at=NOW + 61)
    assert decision == Wait(SyncState.NOT_LISTENING)
    pause = next_check(SyncState.NOT_LISTENING, OLD, known, NOW + 61, 3600)
    assert pause == 240  # the first of the six was at NOW + 1
    assert step(known, qbittorrent=OLD, at=NOW + 301)[0] == Rebind(PORT, RebindCause.RECONNECT)


def test_a_push_with_the_same_port_is_a_reconnect_once() -> None:
    decision, known = step(synced(), qbittorrent=OLD, pushed=True)
    assert decision == Rebind(PORT, RebindCause.RECONNECT)
    assert step(known, qbittorrent=OLD, at=NOW + 0.2)[0] == Nothing()


def test_a_push_that_follows_the_answer_to_its_reconnect_is_no_other_one() -> None:
    _, known = step(synced(), AWAY, OLD)
    decision, known = step(known, qbittorrent=OLD, at=NOW + 2)
    assert decision == Rebind(PORT, RebindCause.RECONNECT)
    decision, known = step(known, qbittorrent=OLD, at=NOW + 2.9, pushed=True)
    assert decision == Nothing()
    decision, known = step(known, qbittorrent=OLD, at=NOW + 4.3, pushed=True)
    assert decision == Rebind(PORT, RebindCause.RECONNECT)


def test_what_nobody_watched_is_like_a_start() -> None:
    observation = Observation(RUNNING, OLD, unwatched=True)
    known = after_reading(observation, synced(), NOW)
    assert decide(observation, known, NOW) == Rebind(PORT, RebindCause.START)
    observation = Observation(RUNNING, OPEN, unwatched=True)
    assert decide(observation, after_reading(observation, synced(), NOW), NOW) == Nothing()


def test_a_push_is_answered_when_the_port_can_be_read() -> None:
    hangs = failure(Operation.GLUETUN_PORT, Reason.TIMEOUT)
    _, known = step(synced(), hangs, OLD, pushed=True)
    decision, known = step(known, qbittorrent=OLD, at=NOW + 5)
    assert decision == Rebind(PORT, RebindCause.RECONNECT)
    assert step(known, qbittorrent=OLD, at=NOW + 6)[0] == Nothing()


def test_a_push_with_another_port_is_no_reconnect_of_the_old_one() -> None:
    other = RUNNING._replace(forwarded_port=50000)
    decision, known = step(synced(), other, OLD, pushed=True)
    assert decision == SetPort(50000)
    moved = OLD._replace(listening_port=50000)
    assert step(known, other, moved, at=NOW + 2)[0] == Nothing()


@pytest.mark.parametrize(
    ("policy", "reopens", "answered"),
    [
        (RebindPolicy.AUTO, True, False),
        (RebindPolicy.AUTO, False, True),
        (RebindPolicy.AUTO, None, True),
        (RebindPolicy.ALWAYS, True, True),
        (RebindPolicy.NEVER, False, False),
    ],
)
def test_the_policy_says_which_reconnects_are_answered(
    policy: RebindPolicy, reopens: bool | None, answered: bool
) -> None:
    reading = OPEN._replace(reopens_sockets=reopens)
    _, known = step(synced(policy), AWAY, reading)
    assert isinstance(step(known, qbittorrent=reading)[0], Rebind) is answered


# a start


def test_after_a_start_the_past_is_unknown_so_an_old_libtorrent_is_rebound_once() -> None:
    decision, known = step(TunnelState(), qbittorrent=OLD)
    assert decision == Rebind(PORT, RebindCause.START)
    assert step(known, qbittorrent=OLD, at=NOW + 30)[0] == Nothing()


def test_after_a_start_a_libtorrent_that_reopens_is_left_alone() -> None:
    assert step(TunnelState())[0] == Nothing()
    assert step(TunnelState(), qbittorrent=DISCONNECTED)[0] == Wait(SyncState.NOT_LISTENING)


def test_a_port_that_is_set_at_the_start_needs_no_precaution() -> None:
    _, known = step(TunnelState(), qbittorrent=OLD._replace(listening_port=1))
    assert step(known, qbittorrent=OLD, at=NOW + 1)[0] == Nothing()


# how long a port takes to open

OTHER = RUNNING._replace(forwarded_port=50000)
DRIFTED = OPEN._replace(listening_port=1)
Reading = tuple[float, GluetunReading | Failure, QbittorrentReading | Failure]


@pytest.mark.parametrize(
    ("known", "checks", "took"),
    [
        pytest.param(synced(), [(0, OTHER, OPEN)], [0], id="a new port, set at once"),
        pytest.param(
            synced(),
            [(0, OTHER, NO_QBITTORRENT), (90, OTHER, OPEN)],
            [90],
            id="a new port that waits for qBittorrent",
        ),
        pytest.param(
            synced(),
            [(0, AWAY, OPEN), (60, RUNNING, NO_QBITTORRENT), (90, RUNNING, OPEN)],
            [30],
            id="the VPN back, and the wait for qBittorrent",
        ),
        pytest.param(
            synced(), [(0, AWAY, OLD), (60, RUNNING, OLD)], [0], id="the VPN back, a re-bind"
        ),
        pytest.param(
            synced(),
            [(0, OTHER, NO_QBITTORRENT), (50, RUNNING, NO_QBITTORRENT), (90, RUNNING, OPEN)],
            [40],
            id="two new ports, of which the first never opened",
        ),
        pytest.param(synced(), [(0, RUNNING, OPEN)], [], id="nothing new"),
        pytest.param(synced(), [(0, RUNNING, DRIFTED)], [], id="a drift"),
        pytest.param(TunnelState(), [(0, RUNNING, OPEN)], [], id="a start, the port was set"),
        pytest.param(TunnelState(), [(0, RUNNING, OLD)], [], id="a start, a precaution"),
        pytest.param(
            TunnelState(),
            [(0, RUNNING, NO_QBITTORRENT), (40, RUNNING, DRIFTED), (70, RUNNING, OPEN)],
            [40],
            id="a start, the port had to be set",
        ),
        pytest.param(
            TunnelState(),
            [(0, RUNNING, OPEN), (30, AWAY, OPEN), (60, RUNNING, OPEN)],
            [0],
            id="the VPN back, the first time after a start",
        ),
    ],
)
def test_what_counts_as_the_opening_of_a_port_and_how_long_it_took(
    known: TunnelState, checks: list[Reading], took: list[float]
) -> None:
    openings = []
    for seconds, gluetun, qbittorrent in checks:
        at = NOW + seconds
        _, state, known = act(Observation(gluetun, qbittorrent), known, at)
        openings.append(opened_after(state, known, at))
        known = after_check(state, known, at)
    assert [seconds for seconds in openings if seconds is not None] == took


# a closed socket


@pytest.mark.parametrize("closed", [DISCONNECTED, FAILED])
def test_a_closed_port_is_reopened_after_one_minute_then_five_then_every_thirty(
    closed: QbittorrentReading,
) -> None:
    known, at, waits = synced(), NOW, []
    for _ in range(4):
        decision, known = step(known, qbittorrent=closed, at=at)
        assert decision == Wait(SyncState.NOT_LISTENING)
        began = at
        while decision != Rebind(PORT, RebindCause.CLOSED):
            at += 1
            decision, known = step(known, qbittorrent=closed, at=at)
        waits.append(at - began)
    assert waits == [60, 300, 1800, 1800]


def test_an_open_socket_starts_the_waits_from_the_beginning() -> None:
    known = synced()._replace(repairs=2, repair_at=NOW + 1000)
    _, known = step(known)
    assert (known.repairs, known.repair_at) == (0, math.inf)


def test_the_age_of_a_closed_socket_starts_again_when_the_vpn_is_back() -> None:
    _, known = step(synced(), qbittorrent=DISCONNECTED)
    _, known = step(known, AWAY, DISCONNECTED, at=NOW + 30)
    assert known.repair_at == math.inf


def test_a_port_on_loopback_alone_is_not_listening_and_a_rebind_would_not_help() -> None:
    loopback = OLD._replace(bind_result=BindResult.LOOPBACK)
    _, known = step(synced(), AWAY, loopback)
    for at in (NOW, NOW + 100, NOW + 5000):
        decision, known = step(known, qbittorrent=loopback, at=at)
        assert decision == Wait(SyncState.NOT_LISTENING)
        assert pause_after(SyncState.NOT_LISTENING, known, loopback, at) == 30


def test_never_leaves_a_closed_port_closed() -> None:
    known = synced(RebindPolicy.NEVER)
    for at in (NOW, NOW + 4000):
        decision, known = step(known, qbittorrent=DISCONNECTED, at=at)
        assert decision == Wait(SyncState.NOT_LISTENING)


# when to check again


def pause_after(
    state: SyncState,
    known: TunnelState,
    reading: QbittorrentReading | None = OPEN,
    at: float = NOW,
    interval: float = 30,
) -> float:
    return next_check(state, reading, known, at, interval)


def test_in_sync_the_interval_passes() -> None:
    assert pause_after(SyncState.IN_SYNC, synced()) == 30


def test_what_may_be_a_stale_reading_is_read_again_after_3_seconds() -> None:
    assert pause_after(SyncState.IN_SYNC, synced(), DISCONNECTED) == 3
    _, known = step(synced(), qbittorrent=DISCONNECTED)
    pauses = [
        pause_after(SyncState.NOT_LISTENING, known, DISCONNECTED, NOW + t) for t in (0, 900, 3000)
    ]
    assert pauses == [3, 3, 10]
    assert pause_after(SyncState.NOT_LISTENING, known, DISCONNECTED, NOW + 90000) == 30


def test_a_port_that_could_not_be_bound_is_checked_when_it_is_to_be_reopened() -> None:
    known = synced()._replace(repair_at=NOW + 10)
    assert pause_after(SyncState.NOT_LISTENING, known, FAILED) == 10
    assert pause_after(SyncState.NOT_LISTENING, known, FAILED, NOW + 9.9) == 1
    assert pause_after(SyncState.NOT_LISTENING, known, FAILED, interval=5) == 5
    never = known._replace(policy=RebindPolicy.NEVER)
    assert pause_after(SyncState.NOT_LISTENING, never, FAILED) == 30


def test_an_old_libtorrent_is_watched_every_second_until_gluetun_pushes() -> None:
    assert must_watch(OLD, synced())
    _, known = step(synced(), qbittorrent=OLD, pushed=True)
    _, known = step(known, qbittorrent=OLD, at=NOW + 3)
    assert not must_watch(OLD, known)
    assert not must_watch(OLD, synced(RebindPolicy.NEVER))
    assert not must_watch(OPEN, synced())
    assert not must_watch(None, synced())


def test_after_a_push_the_port_is_read_again_until_it_must_have_come() -> None:
    _, known = step(synced(), AWAY, pushed=True)
    pauses, at = [], NOW
    for _ in range(5):
        pauses.append(pause_after(SyncState.NO_PORT, known, at=at))
        at += pauses[-1]
    assert [round(pause, 3) for pause in pauses] == [0.2, 0.3, 0.5, 1.0, 1.0]


@pytest.mark.parametrize("state", ["no_port", "vpn_down", "gluetun_unreachable", "out_of_sync"])
def test_what_is_awaited_is_checked_every_second_for_five_minutes_then_less_often(
    state: str,
) -> None:
    known = synced()._replace(facts_since=NOW)
    pauses = [pause_after(SyncState(state), known, at=NOW + t) for t in (0, 299, 600, 3000, 90000)]
    assert pauses == [1, 1, 2, 10, 30]


def test_a_server_that_hangs_is_asked_ever_less_often_at_once() -> None:
    hangs = failure(Operation.GLUETUN_PORT, Reason.TIMEOUT)
    _, known = step(synced(), hangs)
    pauses = [
        pause_after(SyncState.GLUETUN_UNREACHABLE, known, at=NOW + t) for t in (0, 5, 10, 20, 60)
    ]
    assert pauses == [1, 5, 10, 20, 30]


@pytest.mark.parametrize(
    "state", ["gluetun_unauthorized", "qbittorrent_unauthorized", "qbittorrent_banned"]
)
def test_a_refusal_is_asked_again_at_the_interval(state: str) -> None:
    assert pause_after(SyncState(state), synced()) == 30


# announcing


def test_the_trackers_hear_of_a_new_port_at_most_every_five_minutes() -> None:
    assert not should_announce(synced(), NOW)
    wanted = synced()._replace(announce=True)
    assert should_announce(wanted, NOW)
    told = wanted._replace(announced_at=NOW)
    assert [should_announce(told, NOW + t) for t in (299, 300)] == [False, True]


# Nobody outside gets in


TWICE_CLOSED = Outside(changed_at=NOW - 100, closed=2)


@pytest.mark.parametrize("reading", [OPEN, OLD])
def test_a_port_that_is_closed_from_outside_is_rebound_once(reading: QbittorrentReading) -> None:
    known = synced()._replace(outside=TWICE_CLOSED)
    decision, known = step(known, qbittorrent=reading)
    assert decision == Rebind(PORT, RebindCause.NOT_REACHABLE)
    assert step(known, qbittorrent=reading, at=NOW + 1)[0] == Nothing()


def test_a_port_that_is_closed_from_outside_is_not_rebound_in_a_storm_nor_against_the_policy() -> (
    None
):
    stormy = synced()._replace(outside=TWICE_CLOSED, rebinds_at=(NOW - 1,) * MOST_REBINDS)
    assert step(stormy)[0] == Nothing()
    assert step(synced(RebindPolicy.NEVER)._replace(outside=TWICE_CLOSED))[0] == Nothing()


@pytest.mark.parametrize(
    ("gluetun", "qbittorrent", "port", "closed"),
    [
        (RUNNING, OPEN, PORT, 1),
        (RUNNING, OPEN, PORT + 1, 0),
        (RUNNING, FAILED, PORT, 0),
        (RUNNING, NO_QBITTORRENT, PORT, 0),
        (NO_GLUETUN, OPEN, PORT, 0),
        (AWAY, OPEN, PORT, 0),
    ],
)
def test_closed_from_outside_counts_only_where_all_looks_right_here(
    gluetun: GluetunReading | Failure,
    qbittorrent: QbittorrentReading | Failure,
    port: int,
    closed: int,
) -> None:
    done = OperationResult(Operation.REACHABILITY, 0.1)
    answer = Answer(port, NOW - 1, reachable=False, operation=done)
    observation = Observation(gluetun, qbittorrent, answer=answer)
    assert after_reading(observation, synced(), NOW).outside.closed == closed
