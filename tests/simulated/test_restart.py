"""RESTART_VPN_AFTER and REANNOUNCE_AFTER_CHANGE on the simulated servers, time turned by hand."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.config.load import load_config
from exporter.model import Operation, Outcome, Reason, Saved, SyncState
from exporter.report.status_file import StatusFile, remembered
from exporter.simulator.world import Fault, Role, SimulatedGluetun, SimulatedQbittorrent, Status
from exporter.tunnel.tunnel import Tunnel
from tests.fakes import FakeClock

KEY = "simulated-key"
READ = ("GET /v1/portforward", "GET /v1/vpn/status")
ALL = (*READ, "PUT /v1/vpn/status")
HOUR = 3600.0


class Bench:
    """A tunnel that may restart the VPN after ten minutes, and status.json between its lives."""

    def __init__(self, folder: Path, routes: tuple[str, ...]) -> None:
        self.clock = FakeClock()
        role = Role(auth="apikey", apikey=KEY, routes=routes)
        self.gluetun = SimulatedGluetun("3.41", role=role, clock=self.clock.monotonic)
        self.qbittorrent = SimulatedQbittorrent("5.1.0", clock=self.clock.monotonic)
        self.file = StatusFile(folder / "status.json", "2.0.0", self.clock.wall(), 30.0)
        self.outcomes: list[Outcome] = []
        self.environ = {
            "GLUETUN_HOST": self.gluetun.host,
            "GLUETUN_PORT": str(self.gluetun.port),
            "GLUETUN_APIKEY": KEY,
            "QBITTORRENT_HOST": self.qbittorrent.host,
            "QBITTORRENT_PORT": str(self.qbittorrent.port),
            "QBITTORRENT_PASS": self.qbittorrent.password,
            "REQUEST_TIMEOUT": "0.4",
            "RESTART_VPN_AFTER": "600",
        }
        self.tunnel = self.new_tunnel()

    def new_tunnel(self, **more: str) -> Tunnel:
        """As after a restart of ours: it knows what status.json knows."""
        note = remembered(self.file.path).get("default", Saved())
        self.tunnel = Tunnel(load_config(self.environ | more).tunnels[0], self.clock, note)
        return self.tunnel

    def cycle(self) -> Outcome:
        self.outcomes.append(self.tunnel.check())
        self.file.publish(self.outcomes[-1])
        self.file.write(self.clock.wall())
        return self.outcomes[-1]

    def run_for(self, seconds: float) -> None:
        """Look at once where the daemon would, else every 15 s."""
        end = self.clock.now + seconds
        while True:
            pause = 15.0 if self.check().next_check_seconds > 0 else 0.0
            if self.clock.now + pause > end:
                self.clock.now = end
                return
            self.clock.now += pause

    def count(self, operation: Operation) -> int:
        """How many operations of that kind the last cycle had."""
        return [result.operation for result in self.outcomes[-1].operations].count(operation)

    @property
    def orders(self) -> list[str]:
        """What Gluetun was told over PUT, without the words."""
        return [target for method, target, _ in self.gluetun.requests if method == "PUT"]

    @property
    def said(self) -> list[str]:
        return [event.message for outcome in self.outcomes for event in outcome.events]

    @property
    def note(self) -> dict[str, object]:
        document = json.loads(self.file.path.read_bytes())
        note: dict[str, object] = document["tunnels"]["default"]["vpn_restart"]
        return note


@pytest.fixture
def routes() -> tuple[str, ...]:
    return ALL


@pytest.fixture
def bench(tmp_path: Path, routes: tuple[str, ...]) -> Iterator[Bench]:
    bench = Bench(tmp_path, routes)
    with bench.gluetun, bench.qbittorrent:
        yield bench
        bench.tunnel.close()


def restart_lines(bench: Bench) -> list[str]:
    return [line for line in bench.said if "VPN" in line and "start" in line]


def test_restarts_a_vpn_that_has_run_without_a_port_for_the_time_set(bench: Bench) -> None:
    bench.check()
    bench.gluetun.forwarded_ports = []
    bench.run_for(599)
    assert bench.orders == []
    bench.run_for(40)
    assert len(bench.orders) == 2
    assert restart_lines(bench) == [
        "Restarting the VPN: it runs, but has had no forwarded port for 10 minutes",
        "The VPN was told to start again; the next restart waits at least 60 minutes",
    ]
    assert bench.gluetun.vpn_status == "running"
    assert bench.note["unfinished"] is False
    bench.gluetun.forwarded_ports = [50001]
    assert bench.check().in_sync


def test_the_plan_is_in_the_status_file_before_anything_is_done(bench: Bench) -> None:
    bench.gluetun.forwarded_ports = []
    bench.check()
    bench.clock.now += 601
    outcome = bench.check()
    assert bench.orders == []
    assert bench.note["unfinished"] is True
    assert outcome.next_check_seconds == 0.0
    bench.check()
    assert len(bench.orders) == 2


def test_a_port_that_comes_back_at_the_last_moment_calls_it_off(bench: Bench) -> None:
    bench.gluetun.forwarded_ports = []
    bench.check()
    bench.clock.now += 601
    bench.check()
    bench.gluetun.forwarded_ports = [50001]
    assert bench.check().in_sync
    assert bench.orders == []
    assert bench.note["unfinished"] is False


def test_restarts_at_most_once_an_hour_and_half_as_often_each_time(bench: Bench) -> None:
    bench.gluetun.forwarded_ports = []
    at: list[float] = []
    start = bench.clock.now
    while bench.clock.now < start + 8 * HOUR:
        bench.check()
        before = len(bench.orders)
        bench.check()
        at += [round((bench.clock.now - start) / 60)] * ((len(bench.orders) - before) // 2)
        bench.clock.now += 300
    assert at == [10, 70, 190, 430]


def test_a_port_seen_in_between_ends_the_doubling_but_not_the_hour(bench: Bench) -> None:
    bench.gluetun.forwarded_ports = []
    bench.run_for(700 + HOUR)
    assert len(bench.orders) == 4
    bench.gluetun.forwarded_ports = [50001]
    bench.run_for(60)
    bench.gluetun.forwarded_ports = []
    bench.run_for(HOUR - 200)
    assert len(bench.orders) == 4
    bench.run_for(200)
    assert len(bench.orders) == 6


@pytest.mark.parametrize("status", ["stopped", "crashed", "starting"])
def test_leaves_a_vpn_alone_that_does_not_say_it_runs(bench: Bench, status: str) -> None:
    bench.gluetun.forwarded_ports = []
    bench.gluetun.vpn_status = status
    bench.run_for(2 * HOUR)
    assert bench.orders == []


def test_never_does_so_unless_asked(bench: Bench) -> None:
    bench.new_tunnel(RESTART_VPN_AFTER="0")
    bench.gluetun.forwarded_ports = []
    bench.run_for(2 * HOUR)
    assert bench.orders == []


def test_a_crash_of_ours_between_the_two_steps_does_not_leave_the_vpn_stopped(
    bench: Bench,
) -> None:
    bench.gluetun.forwarded_ports = []
    bench.check()
    bench.clock.now += 601
    bench.check()
    # what the killed process still did: the first step, and no note of it
    bench.tunnel._gluetun.stop_vpn()
    bench.clock.now += 1
    assert bench.gluetun.vpn_status == "stopped"
    bench.new_tunnel()
    bench.check()
    bench.run_for(2)
    assert bench.gluetun.vpn_status == "running"
    bench.run_for(90)
    assert bench.note["unfinished"] is False
    assert restart_lines(bench)[-1].startswith("The VPN was told to start again")


def test_the_hour_is_kept_over_restarts_of_ours(bench: Bench) -> None:
    bench.gluetun.forwarded_ports = []
    bench.run_for(700)
    assert len(bench.orders) == 2
    for _ in range(5):
        bench.new_tunnel()
        bench.run_for(HOUR / 6)
    assert len(bench.orders) == 2


def test_the_start_is_tried_until_it_is_carried_out(bench: Bench) -> None:
    bench.gluetun.forwarded_ports = []
    bench.check()
    bench.clock.now += 601
    bench.check()
    bench.tunnel._gluetun.stop_vpn()
    bench.new_tunnel()
    bench.gluetun.stop()
    bench.run_for(300)
    assert bench.outcomes[-1].state is SyncState.GLUETUN_UNREACHABLE
    assert bench.note["unfinished"] is True
    bench.gluetun.start()
    bench.run_for(60)
    assert bench.gluetun.vpn_status == "running"
    assert bench.note["unfinished"] is False


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.RESET, Fault.HANG, Status(500)])
def test_ends_with_a_running_vpn_whatever_happens_to_the_first_order(
    bench: Bench, fault: Fault
) -> None:
    bench.gluetun.forwarded_ports = []
    bench.check()
    bench.clock.now += 601
    bench.check()
    put = bench.tunnel._gluetun._transport.put

    def disturbed(path: str, document: dict[str, str]) -> object:
        bench.gluetun.fail("/v1/vpn/status", fault, times=1)
        bench.tunnel._gluetun._transport.put = put  # type: ignore[method-assign]
        return put(path, document)

    bench.tunnel._gluetun._transport.put = disturbed  # type: ignore[method-assign, assignment]
    bench.run_for(120)
    assert bench.gluetun.vpn_status == "running"
    assert bench.note["unfinished"] is False


@pytest.mark.parametrize("routes", [READ, READ[:1]])
def test_a_role_that_does_not_suffice_is_named_and_nothing_is_stopped(bench: Bench) -> None:
    bench.gluetun.forwarded_ports = []
    bench.run_for(700)
    told = [event for outcome in bench.outcomes for event in outcome.events if event.fix]
    assert 'add "GET /v1/vpn/status" and "PUT /v1/vpn/status" to the routes' in told[0].fix
    assert [failure.reason for failure in bench.outcomes[-1].failures] in ([], [Reason.AUTH])
    assert bench.gluetun.vpn_status == "running"
    bench.run_for(HOUR / 2)
    assert len(told) == len(
        [event for outcome in bench.outcomes for event in outcome.events if event.fix]
    )


def test_counts_what_it_does_as_gluetun_status(bench: Bench) -> None:
    bench.gluetun.forwarded_ports = []
    bench.check()
    bench.clock.now += 601
    bench.check()
    assert bench.count(Operation.GLUETUN_STATUS) == 1
    bench.check()
    assert bench.count(Operation.GLUETUN_STATUS) > 3


# announcing


def test_announces_a_new_port_once_it_is_open(bench: Bench) -> None:
    bench.new_tunnel(REANNOUNCE_AFTER_CHANGE="true")
    bench.check()
    assert bench.qbittorrent.reannounced == ["all"]
    assert "All torrents are announced to their trackers with port 45720" in bench.said
    bench.run_for(HOUR)
    assert bench.qbittorrent.reannounced == ["all"]


def test_announces_nothing_unless_asked(bench: Bench) -> None:
    bench.check()
    assert bench.qbittorrent.reannounced == []


def test_announces_at_most_once_in_5_minutes_but_the_last_port_for_sure(bench: Bench) -> None:
    bench.new_tunnel(REANNOUNCE_AFTER_CHANGE="true")
    bench.check()
    for port in (50001, 50002, 50003):
        bench.gluetun.forwarded_ports = [port]
        bench.run_for(60)
    assert len(bench.qbittorrent.reannounced) == 1
    bench.run_for(150)
    assert len(bench.qbittorrent.reannounced) == 2
    assert bench.said[-1].endswith("with port 50003")


def test_waits_with_the_announcement_until_the_port_is_open(bench: Bench) -> None:
    bench.new_tunnel(REANNOUNCE_AFTER_CHANGE="true")
    bench.qbittorrent.occupied.add(45720)
    bench.run_for(50)
    assert bench.qbittorrent.reannounced == []
    bench.qbittorrent.occupied.clear()
    bench.run_for(60)
    assert bench.qbittorrent.reannounced == ["all"]


def test_a_refused_announcement_is_said_and_tried_again_later(bench: Bench) -> None:
    bench.new_tunnel(REANNOUNCE_AFTER_CHANGE="true")
    bench.qbittorrent.fail("/api/v2/torrents/reannounce", Status(500), times=1)
    assert bench.check().in_sync
    assert [f.reason for f in bench.outcomes[-1].failures] == [Reason.HTTP_5XX]
    bench.run_for(290)
    assert bench.qbittorrent.reannounced == []
    bench.run_for(60)
    assert bench.qbittorrent.reannounced == ["all"]
