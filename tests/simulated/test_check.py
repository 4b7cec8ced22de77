"""`qsticky check`: for each fault that a user can cause the right cause, and a fix that works.

Most tests make a fault, read what check says, do exactly that, and check again.
"""

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exporter.check import Line, run_check
from exporter.cli import main
from exporter.config.load import load_config
from exporter.daemon.service import run_once
from exporter.errors import StatusFileError
from exporter.healthcheck import judge
from exporter.simulator.world import (
    Generation,
    SimulatedGluetun,
    Status,
)
from tests.parts.outside import Outside
from tests.rig import Rig, ban, make_rig, role_with

PORT = 45720


class Bench:
    """A rig that is set up right and whose daemon does not run; and the environment of a check."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.gluetun, self.qbittorrent, self.clock = rig.gluetun, rig.qbittorrent, rig.clock
        self.path = rig.path
        self.environ = rig.environ | {"WEB_LISTEN_ADDRESS": "127.0.0.1:0"}
        self.path.unlink()
        # from 4.6 on the connection status lags behind after a start
        self.clock.now += 2
        self.clock.set_wall(time.time())

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

    def says(self, text: str) -> bool:
        return f"✓ {text}" in [str(line) for line in self.check()]

    def daemon_runs(self, **more: str) -> None:
        """A daemon has started and had a check."""
        self.rig.start_daemon(**more)
        self.rig.check()
        self.clock.now += 2
        self.rig.run_for(1)

    def once(self) -> bool:
        return run_once(load_config(self.environ), self.clock)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with make_rig(tmp_path, listening_port=PORT, environ={"REQUEST_TIMEOUT": "1.5"}) as rig:
        yield Bench(rig)


def test_all_is_well_and_each_step_is_a_line(bench: Bench) -> None:
    assert [str(line) for line in bench.check()] == [
        f"✓ The status file {bench.path} is fine",
        "✓ Gluetun lets us read the forwarded port",
        "✓ The VPN is running",
        f"✓ Gluetun forwards port {PORT}",
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


Scene = Callable[[Bench], object]


def set_vpn(status: str, *ports: int) -> Scene:
    def scene(bench: Bench) -> None:
        bench.gluetun.vpn_status = status
        bench.gluetun.forwarded_ports = ports

    return scene


def restart_beside(*programs: int) -> Scene:
    """qBittorrent is restarted while other programs hold these ports."""

    def scene(bench: Bench) -> None:
        bench.qbittorrent.stop()
        bench.qbittorrent.occupied.clear()
        bench.qbittorrent.occupied.update(programs)
        bench.qbittorrent.start()
        bench.clock.now += 2

    return scene


def answer(fault: Status) -> Scene:
    return lambda bench: bench.qbittorrent.fail("/api", fault)


def heal(bench: Bench) -> None:
    bench.qbittorrent.heal()


def wait_an_hour(bench: Bench) -> None:
    bench.clock.now += 3601


def set_another_port(bench: Bench) -> None:
    bench.qbittorrent.listening_port = 21000


IN_PLACE = set_vpn("running", PORT)
FAULTS: dict[str, tuple[Scene, str, Scene]] = {
    "Gluetun is away": (
        lambda bench: bench.gluetun.stop(),
        "GLUETUN_HOST and GLUETUN_PORT",
        lambda bench: bench.gluetun.start(),
    ),
    "qBittorrent is away": (
        lambda bench: bench.qbittorrent.stop(),
        "QBITTORRENT_HOST and QBITTORRENT_PORT",
        restart_beside(),
    ),
    "no port": (set_vpn("running"), "VPN_PORT_FORWARDING=on", IN_PLACE),
    "a VPN that is stopped": (set_vpn("stopped"), "Gluetun's log", IN_PLACE),
    "a name that it does not want": (
        answer(Status(401, "Unauthorized")),
        "to 'Server domains' under Options, Web UI",
        heal,
    ),
    "Gluetun's port": (answer(Status(401, "Unauthorized\n")), "QBITTORRENT_PORT", heal),
    "another program": (answer(Status(200, "<html>")), "lead to the right server", heal),
    "a ban": (lambda bench: ban(bench.rig), "the ban ends by itself", wait_an_hour),
    "a port in use": (restart_beside(PORT), "another program may use", restart_beside()),
    "another port": (set_another_port, "start qsticky, which sets it", Bench.daemon_runs),
}
"""How it comes about, what the fix has to say, and that fix."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_the_only_one_named_and_over_once_its_fix_is_done(
    bench: Bench, fault: str
) -> None:
    cause, words, repair = FAULTS[fault]
    cause(bench)
    assert words in bench.fault().fix
    repair(bench)
    bench.assert_all_well()


@pytest.mark.parametrize(
    ("setting", "wrong", "words"),
    [
        ("GLUETUN_HOST", "nosuchhost.invalid", "check GLUETUN_HOST;"),
        ("QBITTORRENT_HOST", "nosuchhost.invalid", "check QBITTORRENT_HOST;"),
        ("GLUETUN_APIKEY", "another", "check GLUETUN_APIKEY against the apikey in"),
        ("GLUETUN_PORT", "qBittorrent's", "GLUETUN_HOST and GLUETUN_PORT"),
    ],
)
def test_a_wrong_setting_is_the_only_thing_named(
    bench: Bench, setting: str, wrong: str, words: str
) -> None:
    right = bench.environ[setting]
    wrong = str(bench.qbittorrent.port) if wrong == "qBittorrent's" else wrong
    assert words in bench.fault(**{setting: wrong}).fix
    bench.assert_all_well(**{setting: right})


@pytest.mark.parametrize("generation", ["3.40", "3.41", "main"])
def test_a_role_without_the_route(bench: Bench, generation: Generation) -> None:
    """The route that the fix names is one that Gluetun of that version starts with."""
    routes = ["GET /v1/vpn/status", "GET /v1/version"]
    with SimulatedGluetun(generation, role=role_with(*routes)) as gluetun:
        line = bench.fault(GLUETUN_PORT=str(gluetun.port))
    assert line.text.endswith("although it accepts our credentials")
    route = line.fix.split('"')[1]
    old = generation == "3.40"
    assert route == ("GET /v1/openvpn/portforwarded" if old else "GET /v1/portforward")
    with SimulatedGluetun(generation, role=role_with(*routes, route)) as gluetun:
        bench.assert_all_well(GLUETUN_PORT=str(gluetun.port))


def test_a_role_that_may_not_restart_the_vpn(bench: Bench) -> None:
    role = role_with("GET /v1/portforward", "GET /v1/vpn/status")
    with SimulatedGluetun("3.41", role=role) as gluetun:
        line = bench.fault(GLUETUN_PORT=str(gluetun.port), RESTART_VPN_AFTER="600")
    named = line.fix.split('"')[1::2]
    role = role_with("GET /v1/portforward", *named)
    with SimulatedGluetun("3.41", role=role) as gluetun:
        bench.assert_all_well(GLUETUN_PORT=str(gluetun.port))
        assert gluetun.vpn_status == "running"


def test_a_role_that_hides_the_vpn_status_is_no_fault(bench: Bench) -> None:
    with SimulatedGluetun("3.41", role=role_with("GET /v1/portforward")) as gluetun:
        bench.assert_all_well(GLUETUN_PORT=str(gluetun.port))


def test_a_wrong_password_and_never_a_ban(bench: Bench) -> None:
    for _ in range(3):
        line = bench.fault(QBITTORRENT_PASS="wrong")
        assert "QBITTORRENT_USER and QBITTORRENT_PASS" in line.fix
        bench.clock.now += 30
    assert len(bench.qbittorrent.login_attempts) == 1
    bench.assert_all_well(QBITTORRENT_PASS=bench.qbittorrent.password)


def test_a_folder_that_cannot_be_written(bench: Bench, tmp_path: Path) -> None:
    obstacle = tmp_path / "file"
    obstacle.write_text("")
    wrong = [line for line in bench.check(HEALTH_FILE=str(obstacle / "status.json")) if not line.ok]
    assert "HEALTH_FILE" in wrong[0].fix
    assert "could not be saved" in wrong[1].text
    assert bench.qbittorrent.login_attempts == []
    bench.assert_all_well(HEALTH_FILE=str(bench.path))


def test_a_file_of_somebody_else(bench: Bench) -> None:
    bench.path.write_text("somebody's notes")
    wrong = [line for line in bench.check() if not line.ok]
    assert wrong[0].fix.startswith("delete it")
    assert bench.path.read_text() == "somebody's notes"
    bench.path.unlink()
    bench.assert_all_well()


def test_a_taken_web_port(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        line = bench.fault(WEB_LISTEN_ADDRESS=f"127.0.0.1:{other.getsockname()[1]}")
        assert line.fix.startswith("set WEB_LISTEN_ADDRESS to a free HOST:PORT")


def test_several_tunnels_are_named(bench: Bench, tmp_path: Path) -> None:
    yaml = tmp_path / "qsticky.yml"
    yaml.write_text(
        "tunnels: [{name: good}, {name: bad, gluetun: {host: nosuchhost.invalid}, "
        "qbittorrent: {host: localhost}}]",
    )
    assert bench.fault(QSTICKY_CONFIG=str(yaml)).text.startswith("bad: Gluetun at nosuchhost")


# beside a daemon


def test_a_running_daemon_is_believed_without_another_login(bench: Bench) -> None:
    bench.daemon_runs()
    bench.assert_all_well()
    assert len(bench.qbittorrent.login_attempts) == 1


def test_the_web_port_of_the_running_daemon_is_no_fault(bench: Bench) -> None:
    bench.daemon_runs(WEB_LISTEN_ADDRESS="127.0.0.1:0")
    bench.rig.service._start_web()
    assert bench.rig.service._web_server
    try:
        bench.assert_all_well(WEB_LISTEN_ADDRESS=bench.rig.service.address)
    finally:
        bench.rig.service._web_server.stop()


def test_a_suspension_of_the_daemon_is_kept_also_once_it_has_stopped(bench: Bench) -> None:
    bench.environ["QBITTORRENT_PASS"] = "wrong"
    bench.daemon_runs(QBITTORRENT_PASS="wrong")
    line = bench.fault()
    assert line.text.startswith("The running qsticky says: qBittorrent at")
    assert "QBITTORRENT_PASS" in line.fix
    document = json.loads(bench.path.read_bytes())
    bench.path.write_text(json.dumps(document | {"state": "stopped"}))
    assert "to avoid a ban" in bench.fault().text
    assert len(bench.qbittorrent.login_attempts) == 1


def test_the_daemon_knows_of_a_login_that_check_was_refused(bench: Bench) -> None:
    bench.fault(QBITTORRENT_PASS="wrong")
    bench.rig.start_daemon(QBITTORRENT_PASS="wrong")
    saved = bench.rig.service.status_file.saved("default")
    assert saved
    assert saved.logins
    assert len(saved.logins.attempts_at) == 1


def test_what_a_running_daemon_says_of_gluetun_is_not_said_of_qbittorrent(bench: Bench) -> None:
    bench.gluetun.stop()
    bench.qbittorrent.stop()
    bench.daemon_runs()
    bench.gluetun.start()
    bench.qbittorrent.start()
    assert "is not logged in to qBittorrent at" in bench.fault().text
    bench.daemon_runs()
    bench.assert_all_well()


def test_after_once_nobody_speaks_of_a_running_daemon(bench: Bench) -> None:
    assert bench.once()
    assert bench.says("qBittorrent accepts the password of admin")
    assert judge(str(bench.path), bench.clock.wall()) == (
        True,
        "healthy: in_sync, as `qsticky once` found 0 s ago; no daemon runs",
    )


def test_once_beside_a_running_daemon_does_not_hide_it(bench: Bench) -> None:
    bench.daemon_runs()
    assert bench.once()
    assert bench.says("The running qsticky is logged in to qBittorrent")


def test_once_logs_in_only_where_it_can_save_a_rejection(bench: Bench, tmp_path: Path) -> None:
    """A cron job with a read-only folder would be banned after five runs."""
    (tmp_path / "file").write_text("")
    bench.environ |= {
        "HEALTH_FILE": str(tmp_path / "file" / "status.json"),
        "QBITTORRENT_PASS": "wrong",
    }
    with pytest.raises(StatusFileError):
        bench.once()
    assert bench.qbittorrent.login_attempts == []
    bench.environ["HEALTH_FILE"] = str(bench.path)
    for _ in range(5):
        assert not bench.once()
    assert len(bench.qbittorrent.login_attempts) == 1


def test_the_command_prints_the_lines_and_exits_with_0_or_3(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in bench.environ.items():
        monkeypatch.setenv(name, value)
    assert main(["check"]) == 0
    assert capsys.readouterr().out.count("✓") == 8
    monkeypatch.setenv("GLUETUN_APIKEY", "canary-key")
    assert main(["check"]) == 3
    printed = capsys.readouterr().out
    assert "\n    → check GLUETUN_APIKEY" in printed
    assert "canary" not in printed
    assert bench.qbittorrent.password not in printed


# Proof from outside, and what else can announce a port


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("1", f"✓ Somebody outside gets in on port {PORT}"),
        ("0", f"✗ Nobody outside gets in on port {PORT}"),
        ("<html>", "✗ The reachability service at 127.0.0.1"),
    ],
)
def test_a_service_outside_is_asked_once(bench: Bench, answer: str, said: str) -> None:
    with Outside(answer) as service:
        lines = bench.check(REACHABILITY_URL=service.url + "/{port}")
        assert service.asked == [f"/{PORT}"]
    [line] = [line for line in lines if str(line).startswith(said)]
    assert line.ok or line.fix


def test_nobody_is_asked_for_a_port_that_is_not_set(bench: Bench) -> None:
    set_another_port(bench)
    with Outside() as service:
        lines = bench.check(REACHABILITY_URL=service.url + "/{port}")
        assert service.asked == []
    assert any(line.text.startswith("Nobody outside was asked") for line in lines)


def test_an_address_that_gluetun_does_not_show_is_named(bench: Bench) -> None:
    bench.gluetun.public_ip = ""
    with Outside() as service:
        line = bench.fault(REACHABILITY_URL=service.url + "/{ip}/{port}")
        assert "GET /v1/publicip/ip" in line.fix
        assert service.asked == []


def test_upnp_that_is_on_is_hinted_at(bench: Bench) -> None:
    hint = "DISABLE_UPNP=true"
    assert not any(hint in line.text for line in bench.check())
    bench.qbittorrent.set_preferences({"upnp": True})
    bench.assert_all_well()
    assert any(hint in line.text for line in bench.check())
    assert not any(hint in line.text for line in bench.check(DISABLE_UPNP="true"))
