"""A start: what must not keep the port from being set, and what ends it at once."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from exporter.daemon.service import Service
from exporter.errors import QstickyError
from tests.parts.daemon import QstickyProcess
from tests.rig import HeldExecutor, Rig


def test_a_web_address_in_use_does_not_keep_the_port_from_being_set(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with Rig(tmp_path, environ={"WEB_LISTEN_ADDRESS": address}) as rig:
            rig.service._start_web()
            [(level, message)] = rig.lines()
            assert level == "ERROR"
            assert "WEB_LISTEN_ADDRESS" in message
            assert rig.service.address == ""
            assert rig.check().in_sync


@pytest.fixture
def held() -> HeldExecutor:
    return HeldExecutor()


@pytest.fixture
def starting(tmp_path: Path, held: HeldExecutor, signals: None) -> Iterator[Rig]:
    """A daemon that has just started, with its first check under way."""
    with Rig(tmp_path, environ={"WEB_LISTEN_ADDRESS": "127.0.0.1:0"}, executor=held) as rig:
        rig.service.start()
        assert rig.service.address == ""
        yield rig


def test_the_web_server_follows_the_first_check(starting: Rig, held: HeldExecutor) -> None:
    held.finish()
    starting.turn()
    assert urlopen(f"http://{starting.service.address}/-/ready", timeout=10).status == 200


def test_a_first_check_that_hangs_holds_the_web_server_up_for_half_a_second(
    starting: Rig,
) -> None:
    starting.run_for(0.4)
    assert starting.service.address == ""
    starting.run_for(0.2)
    assert urlopen(f"http://{starting.service.address}/-/healthy", timeout=10).status == 200


def test_a_reload_before_the_web_server_runs_moves_it_nowhere(
    starting: Rig, held: HeldExecutor
) -> None:
    starting.environ["WEB_LISTEN_ADDRESS"] = "127.0.0.2:0"
    assert starting.reload() == ""
    held.finish()
    starting.turn()
    assert starting.service.address.startswith("127.0.0.1:")


def test_the_demo_finds_a_port_for_its_page_and_ends_with_its_terminal(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environ = {"WEB_LISTEN_ADDRESS": f"127.0.0.1:{port}"}
        with QstickyProcess(environ, tmp_path, command=["demo"]) as demo:
            demo.wait_for(f"Demo: can't listen on 127.0.0.1:{port}: Address already in use")
            said = demo.wait_for("Status page and metrics at http://127.0.0.1:")
            url = said.rpartition(" at ")[2].strip()
            assert urlopen(url, timeout=10).status == 200
            assert "ERROR" not in demo.output
            demo.process.send_signal(signal.SIGHUP)  # as a terminal does that is closed
            assert demo.process.wait(10) == 0


def test_a_broken_users_file_ends_it_rather_than_leave_the_pages_open(rig: Rig) -> None:
    users = rig.path.with_name("users.yaml")
    users.write_text("admin: not-a-hash\n")
    rig.environ["WEB_USERS_FILE"] = str(users)
    with pytest.raises(QstickyError, match="expected a bcrypt hash"):
        Service(rig.config(), rig.clock)
    assert rig.qbittorrent.writes == []


def test_warnings_of_the_start_are_counted(tmp_path: Path) -> None:
    with Rig(tmp_path, environ={"GLUETUN_APIKEY": ""}) as rig:
        assert [level for level, _ in rig.lines()] == ["WARNING"]
        assert rig.metric("qsticky_log_messages_total", level="warning") == 1


def test_the_page_and_the_metrics_are_there_before_the_first_check(rig: Rig) -> None:
    assert rig.get("/")[0] == rig.get("/metrics")[0] == 200
    assert (rig.get("/-/healthy")[0], rig.get("/-/ready")[0]) == (200, 503)
    rig.check()
    assert rig.get("/-/ready")[0] == 200
