"""A port on which no peer gets in is said to be closed, and one that opens in time is not."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.model import BindResult, ConnectionStatus, EventKind, Reason, SyncState
from exporter.simulator.world import Status
from tests.rig import FIRST_PORT, Rig, asked, kinds, make_rig

TRANSFER = "GET /api/v2/transfer/info"
CLOSED = Status(200, '{"connection_status": "disconnected"}')


@pytest.fixture
def calm(tmp_path: Path) -> Rig:
    return make_rig(tmp_path, listening_port=FIRST_PORT)


def test_a_status_that_may_be_stale_is_asked_again_within_the_check(calm: Rig) -> None:
    """As after a start of qBittorrent, which is disconnected for 1.5 s."""
    with calm as rig:
        outcome = rig.check()
        assert outcome.in_sync
        assert outcome.connection_status is ConnectionStatus.FIREWALLED
        assert rig.clock.now == pytest.approx(1001.6, abs=0.1)
        assert asked(rig.qbittorrent).count(TRANSFER) == 9


def test_a_port_that_stays_disconnected_is_believed_to_be_so_after_2_seconds(calm: Rig) -> None:
    with calm as rig:
        rig.clock.now += 1  # its log shows the socket now
        rig.qbittorrent.fail("/api/v2/transfer/info", CLOSED)
        outcome = rig.check()
        assert outcome.state is SyncState.NOT_LISTENING
        assert outcome.failures[0].reason is Reason.BIND_FAILED
        assert outcome.finished_at == pytest.approx(1003.0, abs=0.1)
        # believed already: nobody waits again
        assert rig.next_check().finished_at == pytest.approx(1006.0, abs=0.1)
        assert rig.last.next_check_seconds == 3
        assert rig.last.failures[0].message.endswith("can't listen on its port 45720")


def test_a_port_that_closes_is_believed_at_once_where_no_socket_was_opened(calm: Rig) -> None:
    """What is shown too late is a socket that has just been opened, and the log tells of those."""
    with calm as rig:
        rig.clock.now += 5
        assert rig.check().in_sync
        rig.qbittorrent.fail("/api/v2/transfer/info", CLOSED)
        outcome = rig.next_check()
        assert outcome.state is SyncState.NOT_LISTENING
        assert outcome.finished_at == pytest.approx(1035.0, abs=0.1)


def test_a_socket_that_opened_before_the_port_was_there_is_left_alone(calm: Rig) -> None:
    """The log showed it to a check that had no port to ask for."""
    with calm as rig:
        rig.gluetun.carry(rig.qbittorrent.vpn_interface)
        rig.check(pushed=True)
        rig.run_for(91)  # its status is refreshed at 1093.5 and 1095
        rig.gluetun.reconnect(gap_seconds=2.6)
        assert rig.later(2.8).state is SyncState.NO_PORT
        rig.clock.now += 0.3
        assert rig.check(pushed=True).in_sync
        assert rig.qbittorrent.writes == []


def test_without_the_log_a_closed_port_is_not_believed_at_once(calm: Rig) -> None:
    with calm as rig:
        rig.clock.now += 5
        assert rig.check().in_sync
        rig.qbittorrent.fail("/api/v2/log/main", Status(500))
        rig.qbittorrent.fail("/api/v2/transfer/info", CLOSED)
        assert rig.next_check().finished_at == pytest.approx(1037.0, abs=0.1)


def test_what_was_read_before_the_session_is_lost_stays_known(calm: Rig) -> None:
    with calm as rig:
        rig.clock.now += 5
        rig.check()
        rig.qbittorrent.fail("/api/v2/log/main", Status(403))
        rig.qbittorrent.fail("/api/v2/auth/login", Status(200, "Fails."))
        outcome = rig.next_check()
        assert outcome.failures
        assert outcome.listening_port == FIRST_PORT


def test_where_the_port_is_set_first_nobody_waits_for_the_old_sockets_status(rig: Rig) -> None:
    outcome = rig.check()
    assert outcome.in_sync
    assert outcome.finished_at == pytest.approx(1000.0, abs=0.1)
    assert outcome.next_check_seconds == 3


def test_a_socket_on_loopback_alone_is_said_to_be_closed_and_not_reopened(rig: Rig) -> None:
    """Gluetun's wiki recommends a down command that chooses `lo`."""
    rig.check()
    rig.qbittorrent.set_preferences({"current_network_interface": "lo"})
    outcome = rig.later(30)
    assert (outcome.state, outcome.port_bound) == (SyncState.NOT_LISTENING, False)
    assert outcome.qbittorrent
    assert outcome.qbittorrent.bind_result is BindResult.LOOPBACK
    assert "choose the VPN's network interface" in outcome.failures[0].fix
    rig.run_for(400)
    assert rig.qbittorrent.writes == [45720]
    rig.qbittorrent.set_preferences({"current_network_interface": "tun0"})
    rig.run_for(31)
    assert rig.last.in_sync


def test_a_port_that_is_set_on_loopback_alone_is_not_in_sync(tmp_path: Path) -> None:
    with make_rig(tmp_path, interface="lo") as rig:
        outcome = rig.check()
        assert outcome.state is SyncState.NOT_LISTENING
        assert EventKind.PORT_UPDATE not in kinds(outcome)
        assert "loopback" in outcome.failures[0].message


def test_a_port_is_judged_when_the_log_has_told_of_all_addresses(tmp_path: Path) -> None:
    """The loopback interface's sockets come first in it, and read alone they are no proof."""
    with make_rig(tmp_path, interface="", lan=("192.168.1.5",)) as rig:
        assert rig.check().in_sync
        rig.qbittorrent.occupied_at.add(("10.2.0.2", 50001))
        rig.gluetun.forwarded_ports = [50001]
        assert rig.later(30).state is SyncState.NOT_LISTENING
        rig.qbittorrent.occupied_at.clear()
        rig.qbittorrent.occupied_at.add(("127.0.0.1", 50001))
        assert rig.later(61).in_sync


@pytest.mark.parametrize("milliseconds", [3.6, 4.9])
def test_what_is_open_on_the_lan_and_closed_on_the_vpn_is_not_called_open_meanwhile(
    calm: Rig, milliseconds: float
) -> None:
    with calm as rig:
        rig.clock.now += 5
        assert rig.check().in_sync
        rig.qbittorrent._listening.lan = ("192.168.1.5",)
        rig.qbittorrent.occupied_at.add(("10.2.0.2", FIRST_PORT))
        rig.qbittorrent.set_preferences({"current_network_interface": ""})
        rig.clock.now += milliseconds / 1000
        assert rig.check().state is SyncState.NOT_LISTENING


def at_pauses(rig: Rig, monkeypatch: pytest.MonkeyPatch, event: Callable[[int], None]) -> None:
    """Let something happen at each pause from now on; it is told which."""
    pauses, sleep = itertools.count(1), rig.clock.sleep

    def paused(seconds: float) -> None:
        sleep(seconds)
        event(next(pauses))

    monkeypatch.setattr(rig.clock, "sleep", paused)


def test_a_log_that_fails_when_it_is_read_again_takes_nothing_back(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def event(pause: int) -> None:
        if pause == 2:  # it showed the socket after the first
            rig.qbittorrent.fail("/api/v2/log/main", Status(500), times=1)

    at_pauses(rig, monkeypatch, event)
    outcome = rig.check()
    assert outcome.in_sync
    assert EventKind.PORT_UPDATE in kinds(outcome)
    assert [failure.reason for failure in outcome.failures] == [Reason.HTTP_5XX]


def test_a_log_that_fails_before_it_showed_the_socket_proves_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.qbittorrent.fail("/api/v2/log/main", Status(200, "[]"))

    def event(pause: int) -> None:
        rig.qbittorrent.heal()
        rig.qbittorrent.fail("/api/v2/log/main", Status(500))

    at_pauses(rig, monkeypatch, event)
    assert rig.check().state is SyncState.QBITTORRENT_UNREACHABLE


def test_qbittorrent_may_restart_while_its_log_is_read(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def event(pause: int) -> None:
        if pause == 2:
            rig.qbittorrent.restart()

    at_pauses(rig, monkeypatch, event)
    outcome = rig.check()
    assert outcome.in_sync
    assert outcome.port_bound


def test_a_log_that_never_ends_is_read_for_3_seconds(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = rig.qbittorrent._journal.words.success
    another = said.format(address="192.168.1.5", kind="TCP", port=50009)
    at_pauses(rig, monkeypatch, lambda _: rig.qbittorrent._journal.write(2, another))
    outcome = rig.check()
    assert outcome.in_sync
    assert outcome.finished_at == pytest.approx(1003.0, abs=0.1)
    assert len(asked(rig.qbittorrent)) < 100


def test_a_port_is_called_closed_50_ms_after_the_log_began_to_say_so(calm: Rig) -> None:
    with calm as rig:
        rig.check()
        rig.qbittorrent.occupied.add(50001)
        rig.gluetun.forwarded_ports = [50001]
        outcome = rig.later(30)
        assert outcome.state is SyncState.NOT_LISTENING
        assert outcome.finished_at == pytest.approx(rig.clock.now, abs=0.001)
        took = rig.clock.now - (outcome.saved.port_changed_at or 0.0)
        assert took == pytest.approx(0.05, abs=0.01)
        # and no longer than that where it says nothing new
        assert (before := rig.later(5)).qbittorrent
        assert before.qbittorrent.bind_result is BindResult.FAILED
        assert rig.check().finished_at == before.finished_at


def test_a_log_that_is_late_is_read_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.simulator.listening.BIND_SECONDS", 0.9)
    with make_rig(tmp_path) as rig:
        begin = rig.clock.now
        assert rig.check().in_sync
        assert rig.clock.now - begin == pytest.approx(0.94, abs=0.04)


@pytest.mark.parametrize("milliseconds", [2, 3, 4])
def test_what_qbittorrent_opens_by_itself_is_not_called_closed_meanwhile(
    tmp_path: Path, milliseconds: int
) -> None:
    with make_rig(tmp_path, interface="", listening_port=FIRST_PORT) as rig:
        rig.clock.now += 5
        assert rig.check().in_sync
        rig.clock.now += 30
        rig.qbittorrent.restart()
        rig.clock.now += milliseconds / 1000
        assert rig.check().in_sync


@pytest.mark.parametrize(("port", "neighbour"), [(50001, 50002), (65535, 65534)])
def test_a_port_is_reopened_by_way_of_its_neighbour(
    tmp_path: Path, port: int, neighbour: int
) -> None:
    with make_rig(tmp_path, forwarded_port=port) as rig:
        rig.qbittorrent.occupied.add(port)
        rig.check()
        rig.qbittorrent.occupied.clear()
        assert rig.later(61).in_sync
        assert rig.qbittorrent.writes == [port, neighbour, port]


def test_where_the_log_says_nothing_the_status_is_the_next_best_witness(rig: Rig) -> None:
    rig.qbittorrent.fail("/api/v2/log/main", Status(200, "[]"))
    outcome = rig.check()
    # 5.1.0 shows a status that is up to 1.5 s old, and its log had 3 s to say something
    assert outcome.in_sync
    assert outcome.finished_at == pytest.approx(1003.0, abs=0.1)
    assert (calm := rig.later(3).qbittorrent)
    assert calm.bind_result is BindResult.UNKNOWN
    rig.gluetun.forwarded_ports = [50001]
    rig.qbittorrent.fail("/api/v2/transfer/info", CLOSED)
    assert rig.later(30).state is SyncState.NOT_LISTENING


def test_after_six_reopenings_in_5_minutes_the_port_is_not_called_open(tmp_path: Path) -> None:
    with make_rig(tmp_path, version="4.5.2") as rig:
        rig.run_for(4)
        for _ in range(6):
            rig.check(pushed=True)
            rig.run_for(5)
            assert rig.last.in_sync
        rig.check(pushed=True)
        rig.run_for(5)
        assert rig.last.state is SyncState.NOT_LISTENING
        assert rig.qbittorrent.writes.count(45721) == 6
        assert "reopened 6 times in 5 minutes already" in rig.last.failures[0].message
        assert "why the VPN reconnects so often" in rig.last.failures[0].fix
        rig.run_for(270)
        assert rig.last.in_sync
        assert rig.qbittorrent.writes.count(45721) == 7
