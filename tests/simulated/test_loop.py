"""When checks run: on time, spread, pushed, and whatever hangs."""

import json
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from exporter.model import Reason, SyncState
from exporter.simulator.world import Fault, Role, SimulatedGluetun
from tests.rig import HeldExecutor, Rig, asked, is_connected, make_rig, named


def checked_at(rig: Rig) -> list[int]:
    return [round(outcome.finished_at - 1000) for outcome in rig.recorder.outcomes]  # type: ignore[operator]


@pytest.fixture
def held() -> HeldExecutor:
    return HeldExecutor()


# on time


def test_the_first_check_is_at_once_then_confirmed_then_one_in_each_interval(
    rig: Rig,
) -> None:
    rig.run_for(100)
    assert checked_at(rig) == [0, 3, 33, 63, 93]


def test_first_checks_are_spread(tmp_path: Path, held: HeldExecutor) -> None:
    with Rig(tmp_path, tunnels=named("abc"), executor=held) as rig:
        begun = []
        for _ in range(8):
            rig.loop.step(0)
            begun.append(held.submitted)
            rig.clock.now += 0.01
        assert begun == [1, 1, 1, 2, 2, 2, 3, 3]


def test_first_checks_of_many_take_no_longer_than_an_interval(
    tmp_path: Path, held: HeldExecutor
) -> None:
    names = named(f"t{number}" for number in range(50))
    environ = {"CHECK_INTERVAL": "1"}
    with Rig(tmp_path, tunnels=names, executor=held, environ=environ) as rig:
        rig.run_for(1)
        assert held.submitted == 50


def test_a_connection_is_closed_before_a_long_pause_and_kept_for_a_short_one(rig: Rig) -> None:
    rig.check()
    assert rig.later(3).next_check_seconds == 30
    assert not is_connected(rig.tunnel)
    rig.gluetun.forwarded_ports = []
    rig.check()
    assert rig.last.next_check_seconds == 1
    assert is_connected(rig.tunnel)


def test_many_tunnels_that_all_hurry_leave_time_for_one_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.daemon.loop.HURRIED_A_SECOND", 2)
    with Rig(tmp_path, tunnels=named("abcdefgh")) as rig:
        rig.gluetun.stop()
        rig.run_for(10)
        known = len(rig.checked)
        rig.run_for(40)
        assert len(rig.checked) - known == 80
        rig.gluetun.start()
        rig.run_for(60)
        known = len(rig.checked)
        rig.run_for(60)
        assert len(rig.checked) - known == 16


def test_one_that_hurries_does_not_wait_for_those_that_are_calm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.daemon.loop.HURRIED_A_SECOND", 2)
    nobody_listens: dict[str, object] = {"name": "h", "gluetun": {"port": 1}}
    with Rig(tmp_path, tunnels=[*named("abcdefg"), nobody_listens]) as rig:
        rig.run_for(40)
        known = len(rig.checked)
        rig.run_for(20)
        assert rig.checked[known:].count("h") == 20


# pushed


def test_ten_pushes_during_a_check_make_one_more(tmp_path: Path, held: HeldExecutor) -> None:
    with Rig(tmp_path, executor=held) as rig:
        rig.loop.step(0)
        for _ in range(10):
            assert rig.get("/-/sync", "POST")[0] == 202
        rig.loop.step(0)
        assert held.submitted == 1
        held.finish()
        rig.turn()
        assert held.submitted == 2
        held.finish()
        rig.turn()
        assert held.submitted == 2
        assert rig.metric("qsticky_push_triggers_total", tunnel="default") == 10


def test_a_push_within_a_second_of_another_waits_for_the_check_that_follows_that(
    rig: Rig,
) -> None:
    rig.run_for(5)
    rig.get("/-/sync", "POST")
    rig.turn()
    started, known = rig.clock.now, len(rig.checked)
    rig.gluetun.forwarded_ports = [50001]
    rig.get("/-/sync", "POST")
    rig.turn()
    assert len(rig.checked) == known
    assert rig.next_check().listening_port == 50001
    assert 0.1 < rig.clock.now - started < 0.3


def test_a_push_before_the_port_is_there_is_followed_by_quick_checks(rig: Rig) -> None:
    rig.run_for(5)
    rig.gluetun.change_port(50001)  # takes 0.06 s
    assert rig.check(pushed=True).state is SyncState.NO_PORT
    started = rig.clock.now
    assert rig.next_check().in_sync
    assert rig.last.listening_port == 50001
    assert rig.clock.now - started < 0.3


def test_a_push_from_the_up_command_is_answered_while_gluetun_holds_its_lock(
    tmp_path: Path,
) -> None:
    """Our reading of the port waits for the lock, the push does not wait for us."""
    with Rig(tmp_path, executor=ThreadPoolExecutor(1)) as rig:
        rig.loop.step(0)
        while not rig.checked:
            rig.loop.step(1)
        rig.gluetun.forwarded_ports = [50001]
        with rig.gluetun.running_up_command():
            assert rig.get("/-/sync", "POST")[0] == 202
            rig.loop.step(0)
            assert rig.get("/-/sync", "POST")[0] == 202
        while rig.last.listening_port != 50001:
            rig.loop.step(1)
        assert rig.last.in_sync


# what hangs or breaks


def test_a_check_that_hangs_shows_in_the_status_file(tmp_path: Path, held: HeldExecutor) -> None:
    with Rig(tmp_path, executor=held) as rig:
        rig.loop.step(0)
        held.finish()
        rig.run_for(300)
        assert held.submitted == 2
        assert rig.status["state"] == "in_sync"
        assert rig.status["healthy"] is False


def test_servers_that_hang_hold_up_no_other_tunnel(tmp_path: Path) -> None:
    role = Role()
    with SimulatedGluetun("3.41", role=role) as hanging:
        hanging.fail(None, Fault.HANG)
        tunnels: list[dict[str, object]] = [
            {"name": f"t{number}", "gluetun": {"port": hanging.port}} if number % 5 == 0 else
            {"name": f"t{number}"}
            for number in range(20)
        ]  # fmt: skip
        environ = {"GLUETUN_AUTH_TYPE": "none", "REQUEST_TIMEOUT": "30"}
        rig = make_rig(tmp_path, role=role, environ=environ)
        rig.write_tunnels(tunnels)
        rig._executor = ThreadPoolExecutor(20)
        good = {f"t{number}" for number in range(20) if number % 5}
        with rig:
            while set(rig.checked) != good:
                rig.loop.step(0.02)
                rig.clock.now += 0.02
            assert {outcome.state for outcome in rig.recorder.outcomes} == {SyncState.IN_SYNC}
            assert rig.clock.now < 1030, "within the first interval"
            assert len(asked(hanging)) == 4
            hanging.heal()
            while len(set(rig.checked)) < 20:
                rig.loop.step(1)


def test_an_error_of_our_own_is_shown_said_once_and_does_not_end_the_loop(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.run_for(5)
    rig.lines()
    with monkeypatch.context() as patch:
        patch.setattr(rig.tunnel, "_check", None)  # stands for any mistake in our code
        rig.run_for(65)
    assert rig.shown_state() is SyncState.QBITTORRENT_UNREACHABLE
    assert rig.last.failures[0].reason is Reason.OTHER
    assert len([level for level, _ in rig.lines() if level != "INFO"]) == 1
    rig.run_for(31)
    assert rig.last.in_sync
    assert rig.last.finished_at
    assert rig.last.finished_at > rig.clock.now - 31


def test_sigterm_stops_and_leaves_checks_that_stand_in_line(tmp_path: Path, signals: None) -> None:
    release, begun = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        release.wait(30)

    executor = ThreadPoolExecutor(1)
    with Rig(tmp_path, executor=executor) as rig:
        blocker = executor.submit(hang)
        begun.wait(30)
        rig.loop.start()  # its check waits behind
        signal.raise_signal(signal.SIGTERM)
        rig.loop.run()
        release.set()
        blocker.result(30)
        assert not rig.loop.has_abandoned_work
        assert rig.status["state"] == "stopped"
        assert rig.checked == []
        said = [message for level, message in rig.lines() if level == "INFO"]
        assert said[-3:] == ["Starting qSticky port manager...", "Stopping on SIGTERM", "Stopped"]


def test_checks_go_on_until_it_is_stopped(rig: Rig) -> None:
    threading.Timer(0.05, rig.loop.request_stop).start()
    rig.loop.run()
    assert rig.checked == ["default"]


def test_a_stop_waits_for_the_check_that_runs(tmp_path: Path, held: HeldExecutor) -> None:
    with Rig(tmp_path, executor=held) as rig:
        rig.loop.step(0)
        threading.Timer(0.05, held.finish).start()
        rig.loop.request_stop()
        rig.loop.run()
        assert rig.status["tunnels"]["default"]["state"] == "in_sync"
        assert not rig.loop.has_abandoned_work


def test_an_error_in_what_the_loop_is_asked_to_do_reaches_who_asked(rig: Rig) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    answer = rig.loop.request_call(fail)
    rig.turn()
    assert isinstance(answer.exception(0), ZeroDivisionError)
    assert rig.check().in_sync


def test_sighup_reloads(tmp_path: Path, signals: None) -> None:
    with Rig(tmp_path, tunnels=named("a")) as rig:
        rig.loop.start()
        rig.write_tunnels(named("ab"))
        signal.raise_signal(signal.SIGHUP)
        while "b" not in rig.checked:
            rig.loop.step(1)
            rig.clock.now += 0.1
        assert list(json.loads(rig.get("/status.json")[1])["tunnels"]) == ["a", "b"]
