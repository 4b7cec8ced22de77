"""status.json: written at once or within a second, and what a start takes back from it."""

from pathlib import Path

import pytest

from exporter.healthcheck import judge
from exporter.model import EventKind, Level, Outcome
from tests.rig import Rig


def warned(outcome: Outcome) -> bool:
    return any(event.level is Level.WARNING for event in outcome.events)


def test_an_outcome_is_in_the_file_at_once(rig: Rig) -> None:
    assert rig.status["state"] == "starting"
    rig.turn()
    assert rig.status["state"] == "in_sync"
    rig.gluetun.stop()
    rig.next_check()
    assert rig.status["state"] == "gluetun_unreachable"


@pytest.mark.parametrize("count", [1, 20])
def test_an_outcome_soon_after_a_write_is_in_the_file_within_a_second(
    tmp_path: Path, count: int
) -> None:
    """One rule for one tunnel and for many, so that many do not write all the time."""
    names = [f"t{number}" for number in range(count)]
    with Rig(tmp_path, tunnels=[{"name": name} for name in names]) as rig:
        rig.run_for(3)
        writes = rig.operations()["status_file"]
        rig.gluetun.stop()
        for _ in range(10):
            rig.clock.now += 0.05
            rig.check()
        assert rig.operations()["status_file"] <= writes + 1
        rig.run_for(1.0)
        states = {facts["state"] for facts in rig.status["tunnels"].values()}
        assert states == {"gluetun_unreachable"}


def test_a_check_in_calm_is_one_write(rig: Rig) -> None:
    rig.run_for(95)
    writes, checks = rig.operations()["status_file"], rig.operations()["gluetun_port"]
    rig.run_for(300)
    assert rig.operations()["gluetun_port"] == checks + 10
    assert rig.operations()["status_file"] == writes + 10


def test_a_failure_is_unhealthy_after_the_grace_and_its_end_is_healthy_at_once(rig: Rig) -> None:
    rig.run_for(35)
    rig.gluetun.stop()
    rig.run_for(85)
    assert rig.status["healthy"]
    rig.run_for(60)
    assert not rig.status["healthy"]
    rig.gluetun.start()
    rig.run_for(31)
    assert rig.status["healthy"]
    assert rig.status["last_error"] is None


def test_a_restart_of_qsticky_does_not_renew_the_grace(rig: Rig) -> None:
    rig.gluetun.stop()
    rig.check()
    for _ in range(3):
        rig.run_for(1)
        rig.start_daemon()
        assert rig.status["tunnels"]["default"]["failing_since"]
        rig.later(28)
    assert judge(str(rig.path), rig.clock.wall())[0]
    rig.later(10)
    rig.run_for(1)
    assert not judge(str(rig.path), rig.clock.wall())[0]


def test_a_wait_is_warned_about_after_ten_minutes_also_over_a_restart_of_qsticky(
    rig: Rig,
) -> None:
    rig.gluetun.forwarded_ports = []
    assert not warned(rig.check())
    assert not warned(rig.later(590))
    rig.run_for(1)
    rig.start_daemon()
    assert warned(rig.later(20))
    assert not warned(rig.later(30))


def test_the_last_port_and_its_change_survive_a_restart_without_gluetun(rig: Rig) -> None:
    rig.check()
    before = rig.status
    rig.gluetun.stop()
    rig.clock.now += 50
    rig.start_daemon()
    rig.check()
    facts = rig.status["tunnels"]["default"]
    assert facts["last_forwarded_port"] == 45720
    assert rig.status["last_port_change"] == before["last_port_change"]
    rig.gluetun.start()
    assert EventKind.PORT_CHANGE not in [event.kind for event in rig.later(5).events]


def test_a_damaged_file_is_set_aside_and_never_fatal(rig: Rig) -> None:
    rig.path.write_text("somebody's notes")
    rig.start_daemon()
    assert rig.check().in_sync
    assert rig.status["healthy"]
    assert rig.path.with_name("status.json.damaged").read_text() == "somebody's notes"


def test_a_stop_leaves_a_last_status(rig: Rig) -> None:
    rig.check()
    rig.loop.request_stop()
    rig.loop.run()
    assert (rig.status["healthy"], rig.status["state"]) == (False, "stopped")
    assert rig.status["tunnels"]["default"]["state"] == "in_sync"
