"""`qsticky check`: for each fault that a user can cause the right cause, and a fix that works.

Each test makes a fault, reads what check says, does exactly that, and checks again.
"""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.check import Line, run_check
from exporter.cli import main
from exporter.config.load import load_config
from exporter.daemon.service import Service, run_once
from exporter.errors import StatusFileError
from exporter.healthcheck import judge
from exporter.model import Saved
from exporter.report.status_file import StatusFile
from exporter.simulator.world import (
    Generation,
    Role,
    SimulatedGluetun,
    SimulatedQbittorrent,
    Status,
)
from exporter.tunnel.tunnel import Tunnel
from tests.fakes import FakeClock

KEY = "simulated-key"
PORT = 45720


class Bench:
    """Two servers that are set up right, and the environment of a check."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.gluetun = SimulatedGluetun("3.41", role=Role(auth="apikey", apikey=KEY))
        self.qbittorrent = SimulatedQbittorrent(
            "5.1.0", listening_port=PORT, clock=self.clock.monotonic
        )
        self.path = folder / "status.json"
        self.environ = {
            "GLUETUN_HOST": "127.0.0.1",
            "GLUETUN_PORT": str(self.gluetun.port),
            "GLUETUN_APIKEY": KEY,
            "QBITTORRENT_HOST": "127.0.0.1",
            "QBITTORRENT_PORT": str(self.qbittorrent.port),
            "QBITTORRENT_PASS": self.qbittorrent.password,
            "REQUEST_TIMEOUT": "0.5",
            "HEALTH_FILE": str(self.path),
            "WEB_LISTEN_ADDRESS": "127.0.0.1:0",
        }

    def check(self, **more: str) -> list[Line]:
        self.environ |= more
        return list(run_check(load_config(self.environ), self.clock))

    def fault(self, **more: str) -> Line:
        """The one thing that is wrong."""
        wrong = [line for line in self.check(**more) if not line.ok]
        assert len(wrong) == 1, [str(line) for line in wrong]
        assert wrong[0].fix
        return wrong[0]

    def assert_all_well(self, **more: str) -> None:
        assert [str(line) for line in self.check(**more) if not line.ok] == []

    def daemon_writes(self) -> Tunnel:
        """A running daemon has just finished a cycle."""
        self.clock.set_wall(time.time())
        settings = load_config(self.environ)
        tunnel = Tunnel(settings.tunnels[0], self.clock)
        file = StatusFile(self.path, "2.0.0", self.clock.wall(), 30.0)
        file.publish(tunnel.check())
        file.write(self.clock.wall())
        return tunnel


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    with bench.gluetun, bench.qbittorrent:
        bench.clock.now += 2  # from 4.6 on the connection status lags behind after a start
        yield bench


def test_all_is_well_and_each_step_is_a_line(bench: Bench) -> None:
    assert [str(line) for line in bench.check()] == [
        f"✓ The status file {bench.path} is fine",
        "✓ Gluetun's host 127.0.0.1 is known here, as 127.0.0.1",
        f"✓ Gluetun at 127.0.0.1:{bench.gluetun.port} accepts connections",
        "✓ Gluetun lets us read the forwarded port",
        "✓ The VPN is running",
        f"✓ Gluetun forwards port {PORT}",
        "✓ qBittorrent's host 127.0.0.1 is known here, as 127.0.0.1",
        f"✓ qBittorrent at 127.0.0.1:{bench.qbittorrent.port} accepts connections",
        "✓ qBittorrent accepts the password of admin",
        f"✓ qBittorrent's listening port is {PORT}",
        "✓ qBittorrent listens on its port",
        "✓ The address 127.0.0.1:0 is free for the status page",
    ]


def test_it_changes_nothing(bench: Bench) -> None:
    bench.qbittorrent.listening_port = 21000
    before = list(bench.qbittorrent.writes)
    bench.check(RESTART_VPN_AFTER="600")
    assert bench.qbittorrent.writes == before
    assert bench.gluetun.vpn_status == "running"
    assert not bench.path.exists()


@pytest.mark.parametrize("side", ["Gluetun", "qBittorrent"])
def test_an_unknown_name(bench: Bench, side: str) -> None:
    variable = f"{side.upper()}_HOST"
    line = bench.fault(**{variable: "nosuchhost.invalid"})
    assert line.text == f"{side}'s host 'nosuchhost.invalid' is not a name that is known here"
    assert line.fix.startswith(f"correct {variable}")
    bench.assert_all_well(**{variable: "127.0.0.1"})


@pytest.mark.parametrize("side", ["Gluetun", "qBittorrent"])
def test_nobody_at_that_port(bench: Bench, side: str) -> None:
    server = bench.gluetun if side == "Gluetun" else bench.qbittorrent
    server.stop()
    line = bench.fault()
    assert "refuses the connection" in line.text
    assert line.fix.startswith(f"start {side}, or correct {side.upper()}_HOST")
    server.start()
    bench.assert_all_well()


@pytest.mark.parametrize("generation", ["3.40", "3.41", "main"])
def test_a_role_without_the_route(bench: Bench, generation: Generation) -> None:
    """The routes that the fix names are what Gluetun of that version starts with."""
    routes = ["GET /v1/vpn/status", "GET /v1/version"]
    role = Role(auth="apikey", apikey=KEY, routes=routes)
    with SimulatedGluetun(generation, role=role) as gluetun:
        line = bench.fault(GLUETUN_PORT=str(gluetun.port))
    assert line.text.endswith("although it accepts our credentials")
    assert "config.toml, and restart Gluetun" in line.fix
    route = line.fix.split('"')[1]
    assert route == (
        "GET /v1/openvpn/portforwarded" if generation == "3.40" else "GET /v1/portforward"
    )
    role = Role(auth="apikey", apikey=KEY, routes=[*routes, route])
    with SimulatedGluetun(generation, role=role) as gluetun:
        bench.assert_all_well(GLUETUN_PORT=str(gluetun.port))


def test_a_wrong_key_of_gluetun(bench: Bench) -> None:
    line = bench.fault(GLUETUN_APIKEY="another")
    assert line.text.endswith("refuses to tell the forwarded port")
    assert line.fix.startswith("check GLUETUN_APIKEY against the apikey in")
    bench.assert_all_well(GLUETUN_APIKEY=KEY)


def test_no_key_of_gluetun_at_all(bench: Bench) -> None:
    wrong = [line for line in bench.check(GLUETUN_APIKEY="") if not line.ok]
    assert "GLUETUN_APIKEY is not set" in wrong[0].text
    assert wrong[1].text.endswith("refuses to tell the forwarded port")
    bench.assert_all_well(GLUETUN_APIKEY=KEY)


def test_qbittorrent_in_place_of_gluetun(bench: Bench) -> None:
    line = bench.fault(GLUETUN_PORT=str(bench.qbittorrent.port))
    assert line.text.endswith("with status 404; is that a Gluetun?")
    assert line.fix.startswith("check that GLUETUN_HOST and GLUETUN_PORT lead to Gluetun's")
    bench.assert_all_well(GLUETUN_PORT=str(bench.gluetun.port))


def test_gluetun_without_a_port(bench: Bench) -> None:
    bench.gluetun.forwarded_ports = []
    line = bench.fault()
    assert line.text == "Gluetun forwards no port"
    assert "VPN_PORT_FORWARDING=on" in line.fix
    bench.gluetun.forwarded_ports = [PORT]
    bench.assert_all_well()


def test_a_vpn_that_is_stopped(bench: Bench) -> None:
    bench.gluetun.vpn_status = "stopped"
    bench.gluetun.forwarded_ports = []
    line = bench.fault()
    assert line.text == "The VPN is stopped"
    bench.gluetun.vpn_status = "running"
    bench.gluetun.forwarded_ports = [PORT]
    bench.assert_all_well()


def test_a_role_that_may_not_restart_the_vpn(bench: Bench) -> None:
    routes = ["GET /v1/portforward", "GET /v1/vpn/status"]
    role = Role(auth="apikey", apikey=KEY, routes=routes)
    with SimulatedGluetun("3.41", role=role) as gluetun:
        line = bench.fault(GLUETUN_PORT=str(gluetun.port), RESTART_VPN_AFTER="600")
    assert line.text.endswith("does not let us restart the VPN")
    named = line.fix.split('"')[1::2]
    role = Role(auth="apikey", apikey=KEY, routes=["GET /v1/portforward", *named])
    with SimulatedGluetun("3.41", role=role) as gluetun:
        bench.assert_all_well(GLUETUN_PORT=str(gluetun.port))
        assert gluetun.vpn_status == "running"


def test_a_published_port_that_is_not_the_own_one(bench: Bench) -> None:
    """Docker's `8081:8080`: qBittorrent sees a Host header with a port that is not its own."""
    bench.qbittorrent.fail("/api", Status(401, "Unauthorized"))
    line = bench.fault()
    assert "refuses the Host header" in line.text
    assert "map it unchanged" in line.fix
    bench.qbittorrent.heal()
    bench.assert_all_well()


def test_something_else_than_qbittorrent_at_that_port(bench: Bench) -> None:
    bench.qbittorrent.fail("/api", Status(200, "<html>Sign in</html>"))
    line = bench.fault()
    assert "is no qBittorrent" in line.text
    bench.qbittorrent.heal()
    bench.assert_all_well()


def test_a_wrong_api_key_of_qbittorrent(bench: Bench) -> None:
    right = "qbt_" + "A" * 28
    with SimulatedQbittorrent("5.3.0", api_key=right, listening_port=PORT) as qbittorrent:
        bench.environ["QBITTORRENT_PORT"] = str(qbittorrent.port)
        line = bench.fault(QBITTORRENT_API_KEY="qbt_" + "B" * 28)
        assert line.text.endswith("does not accept the API key")
        assert "correct QBITTORRENT_API_KEY" in line.fix
        bench.assert_all_well(QBITTORRENT_API_KEY=right)
        assert qbittorrent.login_attempts == []


def test_a_wrong_password(bench: Bench) -> None:
    line = bench.fault(QBITTORRENT_PASS="wrong")
    assert line.text.endswith("rejects the user name or password")
    assert "correct QBITTORRENT_USER and QBITTORRENT_PASS" in line.fix
    bench.assert_all_well(QBITTORRENT_PASS=bench.qbittorrent.password)


def test_however_often_it_is_run_it_never_brings_a_ban(bench: Bench) -> None:
    for _ in range(5):
        assert "wrong" not in str(bench.fault(QBITTORRENT_PASS="wrong"))
        bench.clock.now += 30
    assert len(bench.qbittorrent.login_attempts) == 1
    for number in range(10):
        bench.fault(QBITTORRENT_PASS=f"wrong-{number}")
        bench.clock.now += 30
    assert len(bench.qbittorrent.login_attempts) == 3
    line = bench.fault(QBITTORRENT_PASS=bench.qbittorrent.password)
    assert "so as not to be banned, the next try waits until" in line.text
    bench.clock.now += 3600
    bench.assert_all_well()


def test_the_daemon_knows_of_a_login_that_check_was_refused(bench: Bench) -> None:
    bench.fault(QBITTORRENT_PASS="wrong")
    settings = load_config(bench.environ | {"WEB_LISTEN_ADDRESS": ""})
    service = Service(settings, bench.clock)
    remembered = service._status_file.remembered("default") or Saved()
    assert remembered.login_note is not None
    assert len(remembered.login_note.attempts_at) == 1


def test_a_suspension_of_the_daemon_is_kept(bench: Bench) -> None:
    bench.environ["QBITTORRENT_PASS"] = "wrong"
    bench.daemon_writes().close()
    line = bench.fault()
    assert line.text.startswith("The running qsticky says: qBittorrent at")
    assert "QBITTORRENT_PASS" in line.fix
    document = json.loads(bench.path.read_bytes())
    bench.path.write_text(json.dumps(document | {"state": "stopped"}))
    line = bench.fault()
    assert "rejected the user name or password" in line.text
    assert len(bench.qbittorrent.login_attempts) == 1


def test_a_ban_in_force(bench: Bench) -> None:
    bench.qbittorrent.fail("/api/v2/auth/login", Status(403, "Your IP has been banned"))
    line = bench.fault()
    assert "has banned our address" in line.text
    assert "the ban ends by itself" in line.fix
    bench.qbittorrent.heal()
    line = bench.fault()
    assert "banned our address" in line.text
    bench.clock.now += 3601
    bench.assert_all_well()


def test_a_running_daemon_is_believed_without_another_login(bench: Bench) -> None:
    tunnel = bench.daemon_writes()
    bench.assert_all_well()
    assert len(bench.qbittorrent.login_attempts) == 1
    tunnel.close()


def test_what_a_running_daemon_says_of_gluetun_is_not_told_of_qbittorrent(bench: Bench) -> None:
    bench.gluetun.stop()
    bench.qbittorrent.stop()
    bench.daemon_writes().close()
    bench.gluetun.start()
    bench.qbittorrent.start()
    line = bench.fault()
    assert line.text == (
        f"The running qsticky is not logged in to qBittorrent at 127.0.0.1:{bench.qbittorrent.port}"
        " yet"
    )
    assert line.fix.startswith("check again in a minute")
    bench.daemon_writes().close()
    bench.assert_all_well()


def test_what_a_running_daemon_says_of_qbittorrent_has_its_own_fix(bench: Bench) -> None:
    bench.qbittorrent.fail("/api", Status(401, "Unauthorized"))
    bench.gluetun.fail("/v1/vpn/status", Status(500))
    bench.daemon_writes().close()
    bench.qbittorrent.heal()
    bench.gluetun.heal()
    line = bench.fault()
    assert line.text.startswith("The running qsticky says: qBittorrent at 127.0.0.1:")
    assert "refuses the Host header" in line.text
    assert "map it unchanged" in line.fix
    assert "QBITTORRENT_PASS" not in line.fix


def test_after_once_nobody_speaks_of_a_running_daemon(bench: Bench) -> None:
    bench.clock.set_wall(time.time())
    assert run_once(load_config(bench.environ), bench.clock)
    lines = [str(line) for line in bench.check()]
    assert "✓ qBittorrent accepts the password of admin" in lines
    assert "running qsticky" not in "\n".join(lines)
    assert judge(str(bench.path), bench.clock.wall()) == (True, "healthy: in_sync")


def test_once_beside_a_running_daemon_does_not_hide_it(bench: Bench) -> None:
    bench.daemon_writes().close()
    assert run_once(load_config(bench.environ), bench.clock)
    assert "✓ The running qsticky is logged in to qBittorrent" in map(str, bench.check())
    bench.clock.now += 600  # the daemon was killed meanwhile
    assert run_once(load_config(bench.environ), bench.clock)
    bench.clock.now -= 600
    assert "✓ qBittorrent accepts the password of admin" in map(str, bench.check())


def test_another_listening_port(bench: Bench) -> None:
    bench.qbittorrent.listening_port = 21000
    line = bench.fault()
    assert line.text == f"qBittorrent's listening port is 21000, not {PORT}"
    assert line.fix == "start qsticky, which sets it"
    tunnel = bench.daemon_writes()
    bench.assert_all_well()
    tunnel.close()


def test_a_port_that_another_program_holds(bench: Bench) -> None:
    bench.qbittorrent.stop()
    bench.qbittorrent.occupied.add(PORT)
    bench.qbittorrent.start()
    bench.clock.now += 2
    line = bench.fault()
    assert line.text == "qBittorrent can't listen on its port"
    assert "another program may use the port" in line.fix
    bench.qbittorrent.occupied.clear()
    bench.qbittorrent.restart()
    bench.clock.now += 2
    bench.assert_all_well()


def test_a_folder_that_can_not_be_written(bench: Bench, tmp_path: Path) -> None:
    obstacle = tmp_path / "file"
    obstacle.write_text("")
    wrong = [line for line in bench.check(HEALTH_FILE=str(obstacle / "status.json")) if not line.ok]
    assert "can't be" in wrong[0].text
    assert "name another file in HEALTH_FILE" in wrong[0].fix
    assert "could not be remembered" in wrong[1].text
    assert bench.qbittorrent.login_attempts == []
    bench.assert_all_well(HEALTH_FILE=str(bench.path))


def test_a_file_of_somebody_else(bench: Bench) -> None:
    bench.path.write_text("somebody's notes")
    wrong = [line for line in bench.check() if not line.ok]
    assert wrong[0].text == f"The status file {bench.path} can't be understood"
    assert wrong[0].fix.startswith("delete it")
    assert bench.path.read_text() == "somebody's notes"
    bench.path.unlink()
    bench.assert_all_well()


def test_a_taken_web_port(bench: Bench) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        line = bench.fault(WEB_LISTEN_ADDRESS=taken)
        assert line.text == f"Web server: can't listen on {taken}: Address already in use"
        assert line.fix.startswith("set WEB_LISTEN_ADDRESS to a free HOST:PORT")
    bench.assert_all_well()


def test_a_web_port_that_qsticky_itself_has(bench: Bench) -> None:
    settings = load_config(bench.environ)
    service = Service(settings, bench.clock)
    service._start_web()
    tunnel = bench.daemon_writes()
    try:
        address = service.address
        bench.assert_all_well(WEB_LISTEN_ADDRESS=address)
        assert f"✓ qSticky serves its status page at {address}" in map(str, bench.check())
    finally:
        tunnel.close()
        assert service._web_server
        service._web_server.stop()


def test_several_tunnels_are_told_apart(bench: Bench, tmp_path: Path) -> None:
    yaml = tmp_path / "qsticky.yml"
    yaml.write_text(
        "tunnels: [{name: good}, {name: bad, gluetun: {host: nosuchhost.invalid}, "
        "qbittorrent: {host: localhost}}]",
    )
    line = bench.fault(QSTICKY_CONFIG=str(yaml))
    assert line.text.startswith("bad: Gluetun's host")


def test_the_command_prints_the_lines_and_exits_with_0_or_3(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in bench.environ.items():
        monkeypatch.setenv(name, value)
    assert main(["check"]) == 0
    assert capsys.readouterr().out.count("✓") == 12
    monkeypatch.setenv("GLUETUN_APIKEY", "canary-key")
    assert main(["check"]) == 3
    printed = capsys.readouterr().out
    assert "\n    → check GLUETUN_APIKEY" in printed
    assert "canary" not in printed
    assert bench.qbittorrent.password not in printed


def test_once_logs_in_only_where_it_can_remember_a_rejection(bench: Bench, tmp_path: Path) -> None:
    """A cron job with a read-only folder would be banned after five runs."""
    (tmp_path / "file").write_text("")
    bench.environ["HEALTH_FILE"] = str(tmp_path / "file" / "status.json")
    bench.environ["QBITTORRENT_PASS"] = "wrong"
    with pytest.raises(StatusFileError):
        run_once(load_config(bench.environ), bench.clock)
    assert bench.qbittorrent.login_attempts == []
    bench.environ["HEALTH_FILE"] = str(bench.path)
    for _ in range(10):
        assert not run_once(load_config(bench.environ), bench.clock)
    assert len(bench.qbittorrent.login_attempts) == 1
