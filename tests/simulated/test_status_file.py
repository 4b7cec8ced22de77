"""status.json: written at once or within a second, and what a start takes back from it."""

from pathlib import Path

from exporter.healthcheck import judge
from exporter.model import EventKind
from tests.rig import Rig, kinds, named


def test_outcomes_soon_after_a_write_are_in_the_file_within_a_second(tmp_path: Path) -> None:
    """So that many tunnels do not write all the time."""
    with Rig(tmp_path, tunnels=named("abcdefghijklmnopqrst")) as rig:
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
    assert EventKind.PORT_CHANGE not in kinds(rig.later(5))
