"""RESTART_VPN_AFTER and REANNOUNCE_AFTER_CHANGE on the servers; their rules are unit tests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.model import Reason, SyncState
from exporter.simulator.world import AnyFault, Fault, Status
from tests.rig import Rig, asked, make_rig, role_with

ORDER = "PUT /v1/vpn/status"
ROUTES = ("GET /v1/portforward", "GET /v1/vpn/status", ORDER)
ENVIRON = {"RESTART_VPN_AFTER": "600", "REQUEST_TIMEOUT": "2"}
HOUR = 3600.0


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A tunnel in sync that may restart the VPN after ten minutes."""
    with make_rig(tmp_path, role=role_with(*ROUTES), environ=ENVIRON) as rig:
        assert rig.check().in_sync
        yield rig


def run_for(rig: Rig, seconds: float) -> int:
    """Have a check each minute, each second during a restart; returns the orders given."""
    end = rig.clock.now + seconds
    while rig.clock.now < end:
        restart = rig.last.saved.vpn_restart
        pause = 1 if restart and restart.unfinished else 60
        rig.later(min(pause, end - rig.clock.now))
    return asked(rig.gluetun).count(ORDER)


def saved(rig: Rig) -> Any:
    return rig.status["tunnels"]["default"]["vpn_restart"]


def test_a_vpn_that_has_been_up_without_a_port_is_restarted_at_most_once_an_hour(
    rig: Rig,
) -> None:
    rig.gluetun.forwarded_ports = []
    assert run_for(rig, 590) == 0
    assert run_for(rig, 180) == 2, "it is stopped and started"
    assert rig.gluetun.vpn_status == "running"
    assert run_for(rig, HOUR - 300) == 0
    rig.start_daemon()
    assert run_for(rig, 700) == 2, "ten minutes of its own after a start, and the hour is over"
    assert run_for(rig, 2 * HOUR - 300) == 0, "the second restart is followed by two hours"
    rig.lines()
    assert run_for(rig, 400) == 2
    said = [message for _, message in rig.lines() if "Restarting the VPN" in message]
    assert said == ["Restarting the VPN: it is up, but has had no forwarded port for 120 minutes"]
    rig.gluetun.forwarded_ports = [50001]
    assert rig.later(5).in_sync


def test_the_stop_is_on_disk_before_it_is_ordered_and_a_crash_leaves_no_vpn_stopped(
    rig: Rig,
) -> None:
    rig.gluetun.forwarded_ports = []
    run_for(rig, 540)
    found: list[Any] = []
    ordered = rig.gluetun._ordered

    def die(wanted: str) -> str:
        """Carry out the stop; the start no longer comes: we were killed."""
        found.append(saved(rig))
        if wanted == "stopped":
            return ordered(wanted)
        raise OSError

    rig.gluetun._ordered = die  # type: ignore[method-assign]
    rig.later(120)
    rig.gluetun._ordered = ordered  # type: ignore[method-assign]
    rig.start_daemon()
    assert found[0]["unfinished"] is True
    rig.clock.now += 1
    assert rig.gluetun.vpn_status == "stopped"
    rig.check()
    run_for(rig, 100)
    assert rig.gluetun.vpn_status == "running"
    rig.run_for(1)
    assert saved(rig)["unfinished"] is False


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.HANG, Status(500)], ids=str)
def test_the_vpn_is_up_in_the_end_whatever_becomes_of_an_order(rig: Rig, fault: AnyFault) -> None:
    rig.gluetun.forwarded_ports = []
    run_for(rig, 540)
    put = rig.tunnel._gluetun._transport.put

    def disturbed(path: str, document: dict[str, str]) -> object:
        rig.gluetun.fail("/v1/vpn/status", fault, times=1)
        rig.tunnel._gluetun._transport.put = put  # type: ignore[method-assign]
        return put(path, document)

    rig.tunnel._gluetun._transport.put = disturbed  # type: ignore[method-assign, assignment]
    run_for(rig, 300)
    assert rig.gluetun.vpn_status == "running"
    rig.run_for(1)
    assert saved(rig)["unfinished"] is False


def test_a_vpn_that_stops_late_counts_as_restarted_only_once_it_was_down(rig: Rig) -> None:
    """Gluetun runs the down command first: until then it reports the VPN as running."""
    rig.gluetun.forwarded_ports = []
    run_for(rig, 540)
    ordered = rig.gluetun._ordered
    rig.gluetun._ordered = lambda wanted: "stopping"  # type: ignore[method-assign]
    rig.later(120)
    rig.gluetun._ordered = ordered  # type: ignore[method-assign]
    rig.later(10)
    assert saved(rig)["unfinished"] is True
    ordered("stopped")
    rig.later(1)
    rig.later(5)
    assert rig.gluetun.vpn_status == "running"
    rig.run_for(1)
    assert saved(rig)["unfinished"] is False


@pytest.mark.parametrize("routes", [ROUTES[:2], ROUTES[:1]])
def test_a_role_that_does_not_suffice_is_named_once_and_nothing_is_stopped(
    tmp_path: Path, routes: tuple[str, ...]
) -> None:
    role = role_with(*routes)
    with make_rig(tmp_path, role=role, environ=ENVIRON, forwarded_port=0) as rig:
        rig.check()
        assert run_for(rig, HOUR) == len(routes) - 1, "asked for once, where a restart is due"
        fixes = [event.fix for outcome in rig.recorder.outcomes for event in outcome.events]
        named = [fix for fix in fixes if '"PUT /v1/vpn/status"' in fix]
        assert len(named) == 1
        assert rig.gluetun.vpn_status == "running"
        assert rig.last.state is SyncState.NO_PORT


# announcing


@pytest.fixture
def announcing(tmp_path: Path) -> Iterator[Rig]:
    with make_rig(tmp_path, environ={"REANNOUNCE_AFTER_CHANGE": "true"}) as rig:
        yield rig


def test_torrents_are_announced_only_where_that_is_asked_for(rig: Rig) -> None:
    assert rig.qbittorrent.reannounced == []


def test_torrents_are_announced_once_the_port_is_open(announcing: Rig) -> None:
    announcing.qbittorrent.occupied.add(45720)
    announcing.run_for(50)
    assert announcing.qbittorrent.reannounced == []
    announcing.qbittorrent.occupied.clear()
    announcing.run_for(600)
    assert announcing.qbittorrent.reannounced == ["all"]


def test_a_refused_announcement_is_tried_again_later(announcing: Rig) -> None:
    announcing.qbittorrent.fail("/api/v2/torrents/reannounce", Status(500), times=1)
    outcome = announcing.check()
    assert outcome.in_sync
    assert [failure.reason for failure in outcome.failures] == [Reason.HTTP_5XX]
    announcing.later(290)
    assert announcing.qbittorrent.reannounced == []
    announcing.later(60)
    assert announcing.qbittorrent.reannounced == ["all"]
    assert announcing.said == ["Announced all torrents to their trackers with port 45720"]
