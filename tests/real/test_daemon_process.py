"""qSticky as its users run it: a process, a few variables, signals."""

import datetime
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.simulator.world import Fault, Role, SimulatedGluetun
from tests.conftest import missing_part
from tests.parts.daemon import QstickyProcess, clock_off_by, listens, wait_until
from tests.parts.debian import PartMissing
from tests.parts.namespace import own_interface
from tests.parts.qbittorrent import RealQbittorrent, Seed, free_port

ONE_VERSION = pytest.mark.parametrize("qbittorrent_version", ["5.1.0"], indirect=True)


@pytest.fixture
def gluetun() -> Iterator[SimulatedGluetun]:
    routes = ["GET /v1/openvpn/portforwarded", "GET /v1/openvpn/status", "GET /v1/portforward"]
    role = Role(auth="apikey", apikey="your_api_key_here", routes=routes)
    with SimulatedGluetun("3.41", role=role, forwarded_port=free_port()) as gluetun:
        yield gluetun


@pytest.fixture
def qbittorrent(qbittorrent_version: str, tmp_path: Path) -> Iterator[RealQbittorrent]:
    seed = Seed(interface=own_interface()[0])
    with RealQbittorrent(qbittorrent_version, tmp_path / "profile", seed) as qbittorrent:
        yield qbittorrent


def existing_environment(gluetun: SimulatedGluetun, qbittorrent: RealQbittorrent) -> dict[str, str]:
    """Return the variables of the existing tool's README, and no other."""
    return {
        "QBITTORRENT_HOST": qbittorrent.host,
        "QBITTORRENT_HTTPS": "false",
        "QBITTORRENT_PORT": str(qbittorrent.port),
        "QBITTORRENT_USER": qbittorrent.username,
        "QBITTORRENT_PASS": qbittorrent.password,
        "GLUETUN_HOST": gluetun.host,
        "GLUETUN_PORT": str(gluetun.port),
        "GLUETUN_AUTH_TYPE": "apikey",
        "GLUETUN_APIKEY": "your_api_key_here",
        "LOG_LEVEL": "INFO",
    }


def without_qbittorrent(gluetun: SimulatedGluetun) -> dict[str, str]:
    return {
        "GLUETUN_HOST": gluetun.host,
        "GLUETUN_PORT": str(gluetun.port),
        "GLUETUN_AUTH_TYPE": "none",
        "QBITTORRENT_HOST": "127.0.0.1",
        "QBITTORRENT_PORT": str(free_port()),
    }


def test_does_its_main_job_with_the_existing_variables_alone(
    gluetun: SimulatedGluetun, qbittorrent: RealQbittorrent, tmp_path: Path
) -> None:
    first, second = gluetun.forwarded_ports[0], free_port()
    environ = existing_environment(gluetun, qbittorrent) | {"CHECK_INTERVAL": "1"}
    with QstickyProcess(environ, tmp_path) as daemon:
        daemon.wait_for("qsticky - INFO - Starting qSticky port manager...")
        before = qbittorrent.first_listening_port
        daemon.wait_for(f"qsticky - INFO - Port change needed: {before} -> {first}")
        daemon.wait_for(f"qsticky - INFO - Successfully updated port to {first}")
        daemon.wait_for(f"qsticky - INFO - Initial status - Gluetun: ✓, qBit: ✓, Port: {first}")
        wait_until(lambda: daemon.status["state"] == "in_sync", "status.json says in_sync")
        assert listens(first)
        assert not listens(before)

        gluetun.forwarded_ports = [second]
        daemon.wait_for(f"Successfully updated port to {second}")
        assert listens(second)
        assert not listens(first)
        wait_until(lambda: daemon.status["current_port"] == second, "the file has the new port")
        assert daemon.status["services"] == {
            "gluetun": {"connected": True, "port": second},
            "qbittorrent": {"connected": True, "port_synced": True},
        }
        assert daemon.stop() == 0
        assert daemon.status["state"] == "stopped"
    assert [line for line in daemon.lines if "WARNING" in line or "ERROR" in line] == []


@ONE_VERSION
def test_a_killed_daemon_goes_on_where_it_was(
    gluetun: SimulatedGluetun, qbittorrent: RealQbittorrent, tmp_path: Path
) -> None:
    environ = existing_environment(gluetun, qbittorrent)
    port = gluetun.forwarded_ports[0]
    with QstickyProcess(environ, tmp_path) as daemon:
        daemon.wait_for("Initial status")
        wait_until(lambda: daemon.status["state"] == "in_sync", "status.json says in_sync")
        changed_at = daemon.status["last_port_change"]
        daemon.kill()
        assert daemon.status["current_port"] == port  # a whole file, not half of one
    with QstickyProcess(environ, tmp_path) as daemon:
        daemon.wait_for("Initial status")
        assert listens(port)
        assert daemon.stop() == 0
        assert "Port change needed" not in daemon.output
        assert daemon.status["last_port_change"] == changed_at


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("hanging", [False, True])
def test_stops_within_5_seconds_even_while_a_server_hangs(
    tmp_path: Path, number: signal.Signals, hanging: bool
) -> None:
    with SimulatedGluetun("3.40") as gluetun:
        if hanging:
            gluetun.fail(None, Fault.HANG)
        environ = without_qbittorrent(gluetun) | {"REQUEST_TIMEOUT": "60"}
        with QstickyProcess(environ, tmp_path) as daemon:
            daemon.wait_for("Starting qSticky")
            wait_until(lambda: gluetun.requests, "Gluetun is asked")
            started = time.monotonic()
            assert daemon.stop(number) == 0
            assert time.monotonic() - started < 5.0
            assert daemon.status["state"] == "stopped"


def test_the_checks_go_on_across_the_end_of_daylight_saving_time(tmp_path: Path) -> None:
    end_of_summer = datetime.datetime(2026, 10, 25, 1, 0, tzinfo=datetime.UTC).timestamp()
    try:
        off = clock_off_by(end_of_summer - 3 - time.time())
    except PartMissing as missing:
        missing_part(str(missing))
    with SimulatedGluetun("3.40", forwarded_port=0) as gluetun:
        environ = without_qbittorrent(gluetun) | off
        environ |= {
            "TZ": "Europe/Berlin",
            "CHECK_INTERVAL": "1",
            "LOG_LEVEL": "DEBUG",
        }
        with QstickyProcess(environ, tmp_path) as daemon:
            daemon.wait_for("2026-10-25 02:59:5")
            for _ in range(4):
                assert "still no_port" in daemon.wait_for("2026-10-25 02:00:0")
            daemon.stop()
