"""The port is set, proved and followed, and kept through every trouble."""

import functools
from pathlib import Path

import pytest

from exporter.model import EventKind, Reason, SyncState, VpnStatus
from exporter.simulator.world import (
    Fault,
    Generation,
    SimulatedGluetun,
    SimulatedQbittorrent,
    Status,
    Version,
)
from tests.fakes import FakeClock
from tests.rig import FIRST_PORT, ON_TUN0, Rig, kinds, make_rig


@pytest.mark.parametrize(
    ("generation", "version"),
    [("3.40", "4.2.5"), ("3.40", "4.5.2"), ("3.41", "5.1.0"), ("main", "5.3.0")],
)
def test_the_port_is_set_and_proved_on_every_version(
    tmp_path: Path, generation: Generation, version: Version
) -> None:
    with make_rig(tmp_path, generation, version) as rig:
        outcome = rig.check()
        assert (outcome.state, outcome.failures) == (SyncState.IN_SYNC, ())
        assert outcome.forwarded_port == outcome.listening_port == 45720
        assert outcome.port_bound
        assert outcome.vpn_status is VpnStatus.RUNNING
        assert rig.qbittorrent.bound_ports == {45720}
        assert outcome.qbittorrent
        assert outcome.qbittorrent.version == f"v{version}"


def test_a_calm_check_says_and_writes_nothing(rig: Rig) -> None:
    rig.check()
    assert rig.later(30).events == ()
    assert rig.qbittorrent.writes == [45720]


def test_a_changed_port_is_followed_at_the_next_check(rig: Rig) -> None:
    rig.check()
    rig.gluetun.forwarded_ports = [50001]
    outcome = rig.later(30)
    assert outcome.in_sync
    assert kinds(outcome) == [
        EventKind.PORT_CHANGE,
        EventKind.PORT_UPDATE_NEEDED,
        EventKind.PORT_UPDATE,
    ]
    assert outcome.saved.port_changed_at == pytest.approx(rig.clock.now, abs=0.01)


def test_how_long_a_new_port_was_not_open_is_counted_with_the_wait_for_qbittorrent(
    rig: Rig,
) -> None:
    rig.check()
    rig.qbittorrent.stop()
    rig.gluetun.forwarded_ports = [50001]
    rig.later(30)
    rig.qbittorrent.start()
    assert rig.later(20).in_sync
    name = "qsticky_port_open_duration_seconds"
    counts = [rig.metric(f"{name}_bucket", le=bound) for bound in ("10.0", "30.0", "+Inf")]
    assert counts == [1, 2, 2]
    assert rig.later(30).opened_after_seconds is None


def test_a_drift_is_corrected_and_its_likely_cause_is_named(rig: Rig) -> None:
    rig.check()
    rig.qbittorrent.listening_port = 6881
    outcome = rig.later(30)
    [drift] = [event for event in outcome.events if event.kind is EventKind.DRIFT]
    assert "another program or person" in drift.fix
    assert rig.qbittorrent.listening_port == 45720
    rig.qbittorrent.random_port = True
    [drift] = [event for event in rig.later(30).events if event.kind is EventKind.DRIFT]
    assert "Use random port" in drift.fix
    assert not rig.qbittorrent.random_port


@pytest.mark.parametrize("version", ["4.2.5", "5.1.0"])
def test_a_random_port_is_left_even_where_the_setting_looks_right(
    tmp_path: Path, version: Version
) -> None:
    """Up to 4.3 the random port is independent of the listening port."""
    with make_rig(tmp_path, version=version) as rig:
        rig.check()
        rig.qbittorrent.random_port = True
        rig.qbittorrent.restart()
        assert rig.qbittorrent.bound_ports != {45720}
        assert rig.later(30).in_sync
        assert rig.qbittorrent.bound_ports == {45720}


@pytest.mark.parametrize("gap", [2.0, 253.0])
def test_qsticky_is_back_a_second_after_the_port_however_long_it_was_away(
    rig: Rig, gap: float
) -> None:
    rig.check()
    back_at = rig.clock.now + gap
    rig.gluetun.reconnect(50002, gap_seconds=gap)
    states = {rig.check().state}
    while not rig.last.in_sync:
        assert rig.qbittorrent.listening_port == 45720
        states.add(rig.next_check().state)
    assert states <= {SyncState.VPN_DOWN, SyncState.NO_PORT, SyncState.IN_SYNC}
    assert rig.qbittorrent.bound_ports == {50002}
    assert rig.clock.now - back_at < 2.0


@pytest.mark.parametrize("body", ['{"port":0}', '{"ports":[]}', '{"ports":null}'])
def test_an_empty_list_is_no_port_and_qbittorrent_keeps_its_own(rig: Rig, body: str) -> None:
    rig.check()
    rig.gluetun.fail("/v1/portforward", Status(200, body))
    assert rig.later(30).state is SyncState.NO_PORT
    assert rig.qbittorrent.writes == [45720]


def test_an_answer_that_says_nothing_of_a_port_is_not_one_without_a_port(rig: Rig) -> None:
    rig.gluetun.fail("/v1/portforward", Status(200, "{}"))
    assert rig.check().state is SyncState.GLUETUN_UNREACHABLE


def test_one_of_several_forwarded_ports_is_picked(rig: Rig) -> None:
    rig.gluetun.forwarded_ports = [50001, 50002]
    rig.start_daemon(GLUETUN_PORT_INDEX="1")
    assert rig.check().listening_port == 50002
    rig.start_daemon(GLUETUN_PORT_INDEX="2")
    outcome = rig.check()
    assert outcome.state is SyncState.GLUETUN_UNREACHABLE
    assert "GLUETUN_PORT_INDEX" in outcome.failures[0].fix
    assert rig.qbittorrent.listening_port == 50002


def test_that_a_change_is_needed_is_said_once_for_each_port(rig: Rig) -> None:
    rig.qbittorrent.fail("/api/v2/app/setPreferences", Status(200))
    assert EventKind.PORT_UPDATE_NEEDED in kinds(rig.check())
    assert EventKind.PORT_UPDATE_NEEDED not in kinds(rig.later(1))
    rig.gluetun.forwarded_ports = [50001]
    assert EventKind.PORT_UPDATE_NEEDED in kinds(rig.later(1))
    assert EventKind.PORT_UPDATE_NEEDED not in kinds(rig.later(1))


def test_that_a_change_is_needed_is_said_also_where_the_vpn_was_awaited_first(rig: Rig) -> None:
    rig.gluetun.fail("/v1/vpn/status", Status(200, '{"status":"stopped"}'), times=1)
    assert rig.check().state is SyncState.VPN_DOWN
    assert EventKind.PORT_UPDATE_NEEDED in kinds(rig.later(1))


def test_the_failure_that_explains_the_state_stands_first(rig: Rig) -> None:
    rig.gluetun.fail("/v1/vpn/status", Status(500))
    rig.qbittorrent.stop()
    outcome = rig.check()
    assert outcome.state is SyncState.QBITTORRENT_UNREACHABLE
    assert [failure.reason for failure in outcome.failures] == [
        Reason.CONNECTION,
        Reason.HTTP_5XX,
    ]


# qBittorrent is restarted


def test_a_restart_of_qbittorrent_is_survived(rig: Rig) -> None:
    rig.check()
    rig.qbittorrent.restart()
    outcome = rig.later(30)
    assert (outcome.in_sync, outcome.port_bound) == (True, True)
    assert len(rig.qbittorrent.login_attempts) == 2


def test_a_restart_that_only_the_log_shows_does_not_lose_the_proof(tmp_path: Path) -> None:
    """Without a login there is no session that could end."""
    with make_rig(tmp_path, bypass=True) as rig:
        rig.check()
        rig.qbittorrent.restart()
        outcome = rig.later(5)
        assert (outcome.in_sync, outcome.port_bound) == (True, True)


def test_an_upgrade_is_noticed_although_no_session_ends(tmp_path: Path) -> None:
    clock = FakeClock()
    start = functools.partial(
        SimulatedQbittorrent, bypass=True, clock=clock.monotonic, listening_port=45720, **ON_TUN0
    )
    old = start(version="4.5.2")
    gluetun = SimulatedGluetun("3.40", clock=clock.monotonic)
    with Rig(tmp_path, clock=clock, gluetun=gluetun, qbittorrent=old) as rig:
        rig.later(1)
        old.__exit__()
        with start(version="5.1.0", port=old.port):
            outcome = rig.later(31)
    assert outcome.qbittorrent
    assert outcome.qbittorrent.version == "v5.1.0"
    assert (outcome.in_sync, outcome.port_bound) == (True, True)


@pytest.mark.parametrize("stamp", ["", ', "timestamp": null', ', "timestamp": "now"'])
def test_a_log_without_times_proves_as_much(rig: Rig, stamp: str) -> None:
    message = '"Successfully listening on IP. IP: \\"10.2.0.2\\". Port: \\"TCP/45720\\""'
    entries = f'[{{"id": 3, "type": 2, "message": {message}{stamp}}}]'
    rig.check()
    rig.qbittorrent.fail("/api/v2/log/main", Status(200, entries))
    for _ in range(2):
        outcome = rig.later(30)
        assert (outcome.port_bound, outcome.failures) == (True, ())


# the socket


def test_an_occupied_port_is_not_in_sync_and_is_repaired_once_it_is_free(rig: Rig) -> None:
    rig.qbittorrent.occupied.add(45720)
    rig.gluetun.fail("/v1/publicip/ip", Status(500))
    outcome = rig.check()
    assert outcome.state is SyncState.NOT_LISTENING
    # what explains the state comes first
    assert [failure.reason for failure in outcome.failures] == [Reason.BIND_FAILED, Reason.HTTP_5XX]
    rig.gluetun.heal()
    assert (outcome.listening_port, outcome.port_bound) == (45720, False)
    assert EventKind.PORT_UPDATE not in kinds(outcome)
    name = "qsticky_operation_failures_total"
    assert rig.metric(name, operation="qbittorrent_log", reason="bind_failed") == 1
    assert rig.later(30).state is SyncState.NOT_LISTENING
    rig.qbittorrent.occupied.clear()
    outcome = rig.later(31)
    assert (outcome.in_sync, outcome.port_bound) == (True, True)
    assert rig.qbittorrent.writes == [45720, 45721, 45720]


@pytest.mark.parametrize("policy", ["auto", "never"])
def test_however_often_it_is_pushed_the_port_is_hardly_ever_reopened(
    tmp_path: Path, policy: str
) -> None:
    """What SECURITY.md says of those who reach the web port; 4.5.2 has an old libtorrent."""
    with make_rig(tmp_path, version="4.5.2", environ={"REBIND": policy}) as rig:
        rig.check()
        for _ in range(30):
            rig.clock.now += 8
            rig.check(pushed=True)
            rig.later(2)
        assert set(rig.qbittorrent.writes) <= {45720, 45721}
        assert rig.qbittorrent.writes.count(45721) <= (6 if policy == "auto" else 0)


def test_a_rebind_that_breaks_off_in_the_middle_is_ended_by_the_next_check(rig: Rig) -> None:
    rig.qbittorrent.occupied.add(45720)
    rig.check()
    rig.qbittorrent.occupied.clear()
    # the neighbour is set, the response is lost
    rig.qbittorrent.fail("/api/v2/app/setPreferences", Fault.LOST, times=1)
    outcome = rig.later(60)
    assert outcome.state is SyncState.QBITTORRENT_UNREACHABLE
    assert outcome.listening_port == 45720, "what was read before is shown"
    assert rig.qbittorrent.listening_port == 45721
    outcome = rig.later(1)
    assert outcome.in_sync
    assert EventKind.DRIFT not in kinds(outcome)
    assert rig.qbittorrent.bound_ports == {45720}


# UPnP


def test_upnp_is_switched_off_where_that_is_wanted_and_stays_so(tmp_path: Path) -> None:
    with make_rig(tmp_path, environ={"DISABLE_UPNP": "true"}) as rig:
        rig.qbittorrent.set_preferences({"upnp": True})
        assert rig.check().in_sync
        assert rig.qbittorrent._preferences["upnp"] is False
        assert "Switched off UPnP and NAT-PMP in qBittorrent" in rig.said
        rig.qbittorrent.requests.clear()
        rig.later(30)
        assert not any("setPreferences" in target for _, target, _ in rig.qbittorrent.requests)


def test_upnp_that_stays_on_is_said_once_and_the_port_is_open_all_the_same(
    tmp_path: Path,
) -> None:
    with make_rig(tmp_path, environ={"DISABLE_UPNP": "true"}, listening_port=FIRST_PORT) as rig:
        rig.check()
        rig.qbittorrent.set_preferences({"upnp": True})
        rig.qbittorrent.fail("/api/v2/app/setPreferences", Status(200))
        outcomes = [rig.later(30), rig.later(30)]
        assert [outcome.in_sync for outcome in outcomes] == [True, True]
        assert outcomes[0].failures[0].reason is Reason.VERIFY_MISMATCH
        assert outcomes[1].events == ()


def test_upnp_is_left_alone_by_default(rig: Rig) -> None:
    rig.qbittorrent.set_preferences({"upnp": True})
    rig.check()
    assert rig.qbittorrent._preferences["upnp"] is True
