"""The whole program with its web server: pushes, and what must not stop it."""

import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.simulator.world import Role, SimulatedGluetun, SimulatedQbittorrent
from tests.parts.daemon import QstickyProcess, wait_until
from tests.parts.qbittorrent import free_port


@pytest.fixture
def gluetun() -> Iterator[SimulatedGluetun]:
    with SimulatedGluetun("main", role=Role()) as gluetun:
        yield gluetun


@pytest.fixture
def qbittorrent() -> Iterator[SimulatedQbittorrent]:
    with SimulatedQbittorrent("5.1.0") as qbittorrent:
        yield qbittorrent


def environment(
    gluetun: SimulatedGluetun, qbittorrent: SimulatedQbittorrent, port: int
) -> dict[str, str]:
    return {
        "GLUETUN_HOST": gluetun.host,
        "GLUETUN_PORT": str(gluetun.port),
        "GLUETUN_AUTH_TYPE": "none",
        "QBITTORRENT_HOST": qbittorrent.host,
        "QBITTORRENT_PORT": str(qbittorrent.port),
        "QBITTORRENT_PASS": qbittorrent.password,
        "CHECK_INTERVAL": "3600",
        "WEB_LISTEN_ADDRESS": f"127.0.0.1:{port}",
    }


def push(port: int) -> int:
    """What `wget --post-data=` in Gluetun's up command does."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/-/sync", data=b"", method="POST")
    with urllib.request.urlopen(request, timeout=5) as answer:
        status: int = answer.status
        return status


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        body: bytes = answer.read()
        return body.decode()


def test_a_push_from_the_up_command_is_answered_while_gluetun_holds_its_lock(
    gluetun: SimulatedGluetun, qbittorrent: SimulatedQbittorrent, tmp_path: Path
) -> None:
    port = free_port()
    with QstickyProcess(environment(gluetun, qbittorrent, port), tmp_path) as daemon:
        daemon.wait_for("Status page and metrics at")
        daemon.wait_for("Successfully updated port to 45720")
        gluetun.forwarded_ports = [50001]
        asked = len(gluetun.requests)
        with gluetun.running_up_command():
            assert push(port) == 202
            # our reading of the port waits for the lock, the push does not wait for us
            wait_until(lambda: len(gluetun.requests) > asked, "the daemon asks for the port")
            assert push(port) == 202
        daemon.wait_for("Successfully updated port to 50001")
        assert daemon.stop() == 0


def test_ten_pushes_at_once_make_two_cycles_at_the_most(
    gluetun: SimulatedGluetun, qbittorrent: SimulatedQbittorrent, tmp_path: Path
) -> None:
    port = free_port()
    with QstickyProcess(environment(gluetun, qbittorrent, port), tmp_path) as daemon:
        daemon.wait_for("Status page and metrics at")
        wait_until(lambda: 'qsticky_syncs_total{tunnel="default"} 1.0' in scrape(port), "a cycle")
        gluetun.forwarded_ports = [50001]
        with gluetun.running_up_command():
            for _ in range(10):
                assert push(port) == 202
        daemon.wait_for("Successfully updated port to 50001")
        wait_until(
            lambda: 'qsticky_push_triggers_total{tunnel="default"} 10.0' in scrape(port),
            "ten pushes are counted",
        )
        wait_until(lambda: 'qsticky_syncs_total{tunnel="default"} 3.0' in scrape(port), "the last")
        daemon.stop()
    assert qbittorrent.writes == [45720, 50001]


def test_a_web_address_in_use_does_not_keep_the_port_from_being_set(
    gluetun: SimulatedGluetun, qbittorrent: SimulatedQbittorrent, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environ = environment(gluetun, qbittorrent, taken.getsockname()[1])
        with QstickyProcess(environ, tmp_path) as daemon:
            line = daemon.wait_for("can't listen on 127.0.0.1:")
            assert "WEB_LISTEN_ADDRESS" in line
            daemon.wait_for("Successfully updated port to 45720")
            assert daemon.stop() == 0


def test_a_broken_users_file_ends_it_at_once_rather_than_leave_the_pages_open(
    gluetun: SimulatedGluetun, qbittorrent: SimulatedQbittorrent, tmp_path: Path
) -> None:
    users = tmp_path / "users.yaml"
    users.write_text("admin: not-a-hash\n")
    environ = environment(gluetun, qbittorrent, free_port()) | {"WEB_USERS_FILE": str(users)}
    with QstickyProcess(environ, tmp_path) as daemon:
        assert daemon.process.wait(30) == 2
        daemon.wait_for("expected a bcrypt hash")
    assert qbittorrent.writes == []


def test_warnings_of_the_start_are_counted_though_metrics_come_later(
    gluetun: SimulatedGluetun, qbittorrent: SimulatedQbittorrent, tmp_path: Path
) -> None:
    port = free_port()
    environ = environment(gluetun, qbittorrent, port) | {"GLUETUN_AUTH_TYPE": "apikey"}
    with QstickyProcess(environ, tmp_path) as daemon:
        daemon.wait_for("GLUETUN_APIKEY is not set")
        daemon.wait_for("Status page and metrics at")
        assert 'qsticky_log_messages_total{level="warning"} 1.0' in scrape(port)
        daemon.stop()
