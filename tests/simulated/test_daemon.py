"""The loop: what is due when, on clocks that jump, and how it stops."""

import datetime
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

from exporter import config
from exporter.daemon import Daemon, SteadyScheduler
from exporter.health import StatusFile
from exporter.model import Outcome
from exporter.publisher import Publisher
from exporter.simulator import Role, SimulatedGluetun, SimulatedQbittorrent
from exporter.tunnel import Tunnel
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

    def build(self) -> Daemon:
        environ = {
            "GLUETUN_HOST": self.gluetun.host,
            "GLUETUN_PORT": str(self.gluetun.port),
            "GLUETUN_AUTH_TYPE": "none",
            "QBITTORRENT_HOST": self.qbittorrent.host,
            "QBITTORRENT_PORT": str(self.qbittorrent.port),
            "QBITTORRENT_PASS": self.qbittorrent.password,
            "REQUEST_TIMEOUT": "0.4",
        }
        self.tunnel = Tunnel(config.load(environ).tunnels[0], self.clock)
        status_file = StatusFile(self.path, "2.0.0", self.clock.wall(), 30.0)
        publisher = Publisher(status_file, [self.recorder], self.clock)
        self.daemon = Daemon([self.tunnel], 30.0, publisher, self.clock, InlineExecutor())
        return self.daemon

    def run_for(self, seconds: float) -> list[float]:
        """Let time pass in small steps; returns when cycles ended, in seconds from now."""
        start, before = self.clock.now, len(self.recorder.outcomes)
        at: list[float] = []
        while self.clock.now < start + seconds:
            self.daemon.step(0)
            self.daemon.step(0)
            new = len(self.recorder.outcomes) - before - len(at)
            at += [self.clock.now - start] * new
            self.clock.now += min(self.daemon.idle() or 0.5, 0.5)
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
    rig.daemon.request_look()
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
        daemon = Daemon([rig.tunnel], 3600.0, publisher, rig.clock, slow)
        daemon.step(0)
        for _ in range(10):
            daemon.request_look(pushed=True)
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
    rig.daemon.request_stop()
    rig.daemon.run()
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
    assert broken[0].exc_info
    rig.tunnel._gluetun = client
    rig.run_for(31)
    assert rig.recorder.outcomes[-1].in_sync
