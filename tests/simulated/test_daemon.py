"""The loop: what is due when, on clocks that jump, and how it stops."""

import dataclasses
import datetime
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

from exporter.config.load import load_config
from exporter.daemon.loop import Loop
from exporter.daemon.publisher import Publisher
from exporter.daemon.scheduler import SteadyScheduler
from exporter.model import Operation, OperationResult, Outcome, SyncState
from exporter.report.status_file import StatusFile
from exporter.simulator.world import Role, SimulatedGluetun, SimulatedQbittorrent
from exporter.tunnel.tunnel import Tunnel
from tests.fakes import FakeClock, InlineExecutor

P = ParamSpec("P")
T = TypeVar("T")


class SlowExecutor(InlineExecutor):
    """Runs a call only when told to finish it."""

    def __init__(self) -> None:
        self.submitted = 0
        self._pending: list[Callable[[], None]] = []

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        self.submitted += 1
        future: Future[T] = Future()
        self._pending.append(lambda: future.set_result(fn(*args, **kwargs)))
        return future

    def finish(self) -> None:
        self._pending.pop()()


class Recorder:
    """A reader that keeps what it is told."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def publish(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


class Rig:
    """A daemon on simulated servers, with its clock, its status file and a recorder."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.gluetun = SimulatedGluetun("3.41", role=Role(), clock=self.clock.monotonic)
        self.qbittorrent = SimulatedQbittorrent("5.1.0", clock=self.clock.monotonic)
        self.path = folder / "status.json"
        self.recorder = Recorder()

    def build(self) -> Loop:
        environ = {
            "GLUETUN_HOST": self.gluetun.host,
            "GLUETUN_PORT": str(self.gluetun.port),
            "GLUETUN_AUTH_TYPE": "none",
            "QBITTORRENT_HOST": self.qbittorrent.host,
            "QBITTORRENT_PORT": str(self.qbittorrent.port),
            "QBITTORRENT_PASS": self.qbittorrent.password,
            "REQUEST_TIMEOUT": "0.4",
        }
        self.tunnel = Tunnel(load_config(environ).tunnels[0], self.clock)
        status_file = StatusFile(self.path, "2.0.0", self.clock.wall(), 30.0)
        publisher = Publisher(status_file, [self.recorder], self.clock)
        self.daemon = Loop([self.tunnel], 30.0, publisher, self.clock, InlineExecutor())
        return self.daemon

    def run_for(self, seconds: float) -> list[float]:
        """Let time pass in small steps; returns when cycles ended, in seconds from now."""
        start, before = self.clock.now, len(self.recorder.outcomes)
        at: list[float] = []
        while self.clock.now < start + seconds:
            self.loop.step(0)
            self.loop.step(0)
            new = len(self.recorder.outcomes) - before - len(at)
            at += [self.clock.now - start] * new
            self.clock.now += min(self.loop.idle() or 0.5, 0.5)
        return [round(second, 1) for second in at]

    @property
    def status(self) -> dict[str, object]:
        document: dict[str, object] = json.loads(self.path.read_bytes())
        return document


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    with rig.gluetun, rig.qbittorrent:
        rig.build()
        yield rig
        rig.tunnel.close()


def test_looks_at_once_and_then_every_interval(rig: Rig) -> None:
    assert rig.run_for(100) == [0.0, 30.0, 60.0, 90.0]


@pytest.mark.parametrize("step", [-3600.0, 3600.0, -1e8, 1e8])
def test_goes_on_as_before_when_the_system_clock_is_set(rig: Rig, step: float) -> None:
    rig.run_for(35)
    rig.clock.offset += step
    assert rig.run_for(70) == [25.0, 55.0]
    assert rig.status["healthy"] is True


def test_the_end_of_daylight_saving_time_stops_no_job() -> None:
    """schedule itself would compare local times and wait for an hour here."""
    clock = FakeClock()
    runs: list[float] = []
    end_of_summer = datetime.datetime(2026, 10, 25, 0, 59, 50, tzinfo=datetime.UTC)
    clock.set_wall(end_of_summer.timestamp())
    scheduler = SteadyScheduler(clock)
    scheduler.every(10.0).do(lambda: runs.append(clock.wall() - end_of_summer.timestamp()))
    for _ in range(60):
        scheduler.run_pending()
        clock.now += 1
    assert runs == [0, 10, 20, 30, 40, 50]


@pytest.mark.parametrize("gap", [2.0, 60.0, 253.0])
def test_is_back_a_second_after_the_port_however_long_it_was_away(rig: Rig, gap: float) -> None:
    rig.run_for(30.5)
    port_back_at = rig.clock.wall() + gap
    rig.gluetun.reconnect(50001, gap_seconds=gap)
    rig.loop.request_check()
    rig.run_for(gap + 5)
    back = next(o for o in rig.recorder.outcomes if o.listening_port == 50001)
    assert back.in_sync
    assert back.finished_at - port_back_at < 2.0


def test_reports_unhealthy_after_the_grace_and_healthy_after_recovery(rig: Rig) -> None:
    rig.run_for(35)
    assert rig.status["healthy"]
    rig.gluetun.stop()
    rig.run_for(85)
    assert rig.status["healthy"]
    rig.run_for(60)
    assert not rig.status["healthy"]
    assert rig.status["state"] == "gluetun_unreachable"
    rig.gluetun.start()
    rig.run_for(31)
    assert rig.status["healthy"]
    assert rig.status["last_error"] is None


def test_a_missing_port_is_no_failure_for_ten_minutes(rig: Rig) -> None:
    rig.run_for(35)
    rig.gluetun.forwarded_ports = []
    rig.run_for(590)
    assert (rig.status["healthy"], rig.status["state"]) == (True, "no_port")
    rig.run_for(70)
    assert rig.status["healthy"] is False


def test_ten_pushes_at_once_make_at_most_two_cycles(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    with rig.gluetun, rig.qbittorrent:
        rig.build()
        slow = SlowExecutor()
        publisher = Publisher(
            StatusFile(rig.path, "2.0.0", rig.clock.wall(), 30.0), [rig.recorder], rig.clock
        )
        daemon = Loop([rig.tunnel], 3600.0, publisher, rig.clock, slow)
        daemon.step(0)
        for _ in range(10):
            daemon.request_check(pushed=True)
        daemon.step(0)
        assert slow.submitted == 1
        slow.finish()
        daemon.step(0)
        assert slow.submitted == 2
        slow.finish()
        daemon.step(0)
        assert slow.submitted == 2
        rig.tunnel.close()


def test_a_hanging_cycle_shows_in_the_status_file(rig: Rig) -> None:
    rig.run_for(35)
    executor = SlowExecutor()
    rig.daemon._executor = executor
    rig.run_for(300)
    assert executor.submitted == 1
    assert rig.status["healthy"] is False


def test_a_stop_leaves_a_last_status(rig: Rig) -> None:
    rig.run_for(5)
    rig.loop.request_stop()
    rig.loop.run()
    assert rig.status["healthy"] is False
    assert rig.status["state"] == "stopped"


def test_an_error_of_our_own_is_shown_and_does_not_end_the_loop(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    client = rig.tunnel._gluetun
    rig.tunnel._gluetun = None  # type: ignore[assignment]  # stands for any mistake in our code
    rig.run_for(95)
    broken = [record for record in caplog.records if "unexpected error" in record.getMessage()]
    assert len(broken) == 4
    assert "of the tunnel default;" in broken[0].getMessage()
    assert broken[0].exc_info
    rig.tunnel._gluetun = client
    rig.run_for(31)
    assert rig.recorder.outcomes[-1].in_sync


class Many:
    """A daemon with tunnels of which nothing is real but their names, on a clock turned by hand."""

    def __init__(self, folder: Path, names: str) -> None:
        self.clock = FakeClock()
        self.executor = SlowExecutor()
        self.recorder = Recorder()
        self.path = folder / "status.json"
        status_file = StatusFile(self.path, "2.0.0", self.clock.wall(), 30.0)
        self.publisher = Publisher(status_file, [self.recorder], self.clock)
        self.tunnels = {name: StubTunnel(name, self.clock) for name in names}
        self.daemon = self.build()

    def build(self) -> Loop:
        tunnels = list(self.tunnels.values())
        return Loop(tunnels, 30.0, self.publisher, self.clock, self.executor)

    def finish(self) -> None:
        self.executor.finish()
        self.loop.step(0)

    def looks(self) -> list[str]:
        return [outcome.tunnel for outcome in self.recorder.outcomes]


class StubTunnel(Tunnel):
    """A tunnel that is always in sync."""

    def __init__(self, name: str, clock: FakeClock) -> None:
        [one] = load_config({"GLUETUN_AUTH_TYPE": "none"}).tunnels
        super().__init__(dataclasses.replace(one, name=name), clock)
        self.closed = False
        self.pause = 30.0
        self.took = 0.01

    def cycle(self, *, pushed: bool = False) -> Outcome:
        result = OperationResult(Operation.GLUETUN_PORT, self.took)
        return Outcome(
            self.config.name,
            SyncState.IN_SYNC,
            self._clock.wall(),
            30.0,
            next_check_seconds=self.pause,
            operations=(result,),
        )

    def close(self) -> None:
        self.closed = True


def test_first_cycles_are_spread(tmp_path: Path) -> None:
    many = Many(tmp_path, "abc")
    begun = []
    for _ in range(8):
        many.loop.step(0)
        begun.append(many.executor.submitted)
        many.clock.now += 0.01
    assert begun == [1, 1, 1, 2, 2, 2, 3, 3]


def test_a_thousand_first_cycles_take_no_longer_than_an_interval(tmp_path: Path) -> None:
    many = Many(tmp_path, "".join(map(chr, range(0x4E00, 0x4E00 + 2000))))
    many.loop.step(0)
    due = [watch.job.due_at - many.clock.now for watch in many.daemon._watches.values()]
    assert (round(due[1], 3), round(due[-1], 3)) == (0.015, 29.985)


def test_a_removed_tunnel_is_forgotten_and_closed(tmp_path: Path) -> None:
    many = Many(tmp_path, "ab")
    many.loop.step(0)
    many.finish()
    removed = many.tunnels.pop("a")
    many.loop.set_tunnels(many.tunnels.values())
    assert removed.closed
    many.clock.now += 60
    many.loop.step(0)
    many.finish()
    assert many.looks() == ["a", "b"]
    assert many.executor.submitted == 2


def test_what_a_removed_tunnel_still_finds_out_is_told_to_nobody(tmp_path: Path) -> None:
    many = Many(tmp_path, "a")
    many.loop.step(0)
    removed = many.tunnels.pop("a")
    many.loop.set_tunnels([])
    seen = [(removed.closed, many.daemon.has_abandoned_work)]
    many.finish()
    seen.append((removed.closed, many.daemon.has_abandoned_work))
    assert seen == [(False, True), (True, False)]
    assert many.looks() == []


def test_a_changed_tunnel_waits_for_the_end_of_its_former_cycle(tmp_path: Path) -> None:
    many = Many(tmp_path, "a")
    many.loop.step(0)
    former, many.tunnels["a"] = many.tunnels["a"], StubTunnel("a", many.clock)
    many.loop.set_tunnels(many.tunnels.values())
    many.loop.step(0)
    assert many.executor.submitted == 1
    many.finish()
    assert (former.closed, many.looks()) == (True, [])
    assert many.executor.submitted == 2
    many.finish()
    assert many.looks() == ["a"]


def test_a_tunnel_that_is_removed_and_added_again_waits_for_the_end_of_its_cycle(
    tmp_path: Path,
) -> None:
    many = Many(tmp_path, "a")
    many.loop.step(0)
    removed, many.tunnels["a"] = many.tunnels["a"], StubTunnel("a", many.clock)
    many.loop.set_tunnels([])
    many.loop.set_tunnels(many.tunnels.values())
    many.clock.now += 60
    many.loop.step(0)
    assert many.executor.submitted == 1
    many.finish()
    assert (removed.closed, many.looks(), many.daemon.has_abandoned_work) == (True, [], True)
    assert many.executor.submitted == 2
    many.finish()
    assert many.looks() == ["a"]
    many.clock.now += 30
    many.loop.step(0)
    many.finish()
    assert (many.looks(), many.tunnels["a"].closed) == (["a", "a"], False)


def test_a_tunnel_may_be_removed_again_while_it_waits_for_its_namesake(tmp_path: Path) -> None:
    many = Many(tmp_path, "a")
    many.loop.step(0)
    many.loop.set_tunnels([])
    many.loop.set_tunnels([StubTunnel("a", many.clock)])
    many.loop.set_tunnels([])
    many.finish()
    many.clock.now += 60
    many.loop.step(0)
    assert (many.executor.submitted, many.looks()) == (1, [])
    assert not many.daemon.has_abandoned_work


def test_an_unchanged_tunnel_keeps_its_time(tmp_path: Path) -> None:
    many = Many(tmp_path, "a")
    many.loop.step(0)
    many.finish()
    many.clock.now += 20
    many.tunnels["b"] = StubTunnel("b", many.clock)
    many.loop.set_tunnels(many.tunnels.values())
    many.loop.step(0)
    many.finish()
    many.clock.now += 10
    many.loop.step(0)
    many.finish()
    assert many.looks() == ["a", "b", "a"]


def test_hanging_tunnels_hold_nobody_up(tmp_path: Path) -> None:
    names = "".join(map(chr, range(0x4E00, 0x4E00 + 100)))
    many = Many(tmp_path, names)
    many.clock.now += 5  # all are due at once, and none ends
    many.loop.step(0)
    assert many.executor.submitted == 16
    assert many.loop.idle() == 1.0
    many.clock.now += 1.0
    many.loop.step(0)
    assert many.executor.submitted == 32


def test_connections_of_many_tunnels_are_closed_before_a_long_pause(tmp_path: Path) -> None:
    many = Many(tmp_path, "abcdefghijk")
    many.clock.now += 5
    many.tunnels["k"].pause = 2.0
    many.loop.step(0)
    for _ in many.tunnels:
        many.finish()
    closed = {name: tunnel.closed for name, tunnel in many.tunnels.items()}
    assert (closed["a"], closed["k"]) == (True, False)


def test_a_stop_leaves_those_that_stand_in_line(tmp_path: Path) -> None:
    many = Many(tmp_path, "a")
    many.daemon = Loop(
        many.tunnels.values(), 30.0, many.publisher, many.clock, ThreadPoolExecutor(1)
    )
    release, begun = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        release.wait(30)

    blocker = many.daemon._executor.submit(hang)
    begun.wait(30)
    many.loop.step(0)  # its cycle waits behind
    many.loop.request_stop()
    many.loop.run()
    release.set()
    blocker.result(30)
    assert not many.daemon.has_abandoned_work
    assert json.loads(many.path.read_text())["state"] == "stopped"
