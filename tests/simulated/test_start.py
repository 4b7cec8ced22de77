"""A start: what must not keep the port from being set, and what ends it at once."""

import socket
from pathlib import Path
from urllib.request import urlopen

import pytest

from exporter.daemon.service import Service
from exporter.errors import QstickyError
from tests.parts.daemon import QstickyProcess
from tests.rig import Rig


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


def test_the_demo_takes_another_port_for_its_page_where_the_usual_one_is_taken(
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
