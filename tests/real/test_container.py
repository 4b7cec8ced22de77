"""The image does its job however people run it: any user, any lock, any mount, any signal."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts.compose import Container
from tests.parts.daemon import ROOT
from tests.parts.docker import IMAGE, Engine
from tests.parts.documentation import tokens

API_KEY = "YOUR_API_KEY"
PASSWORD = "YOUR_PASSWORD"
PORT = 45720
STOP_SECONDS = 5.0
NETWORK = "people"
STATUS = "/app/health/status.json"

# Gluetun with a qBittorrent behind it
SERVERS = f"""
import threading
from exporter.simulator.world import Role, SimulatedGluetun, SimulatedQbittorrent
role = Role(auth="apikey", apikey={API_KEY!r})
anywhere = {{"host": "0.0.0.0", "port": 8000}}
gluetun = SimulatedGluetun(role=role, forwarded_port={PORT}, **anywhere)
with gluetun, SimulatedQbittorrent(password={PASSWORD!r}, host="0.0.0.0", port=8080):
    threading.Event().wait()
"""
SETTINGS = (f"--env=GLUETUN_APIKEY={API_KEY}", f"--env=QBITTORRENT_PASS={PASSWORD}")
LOCKS = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
# word for word as in people's compose files
HEALTH_CHECKS = (
    (
        "python3",
        "-c",
        "import json; exit(0 if json.load(open('/app/health/status.json'))['healthy'] else 1)",
    ),
    ("sh", "-c", "grep -q '\"healthy\": true' /app/health/status.json"),
    ("sh", "-c", "cat $HEALTH_FILE | grep -q '\"healthy\": true' || exit 1"),
)


@pytest.fixture(scope="module")
def network(engine: Engine) -> Iterator[Engine]:
    """An engine with a network in which both servers are at "gluetun"."""
    engine("network", "create", NETWORK)
    servers = ("python3", "-c", SERVERS)
    engine("run", "--detach", "--name=gluetun", f"--network={NETWORK}", IMAGE, *servers)
    yield engine
    engine("rm", "--force", "gluetun")
    engine("network", "rm", NETWORK)


class Qsticky(Container):
    """qSticky as `docker run` starts it."""

    def run(self, *options: str) -> None:
        """Start it; Docker looks at its health each second."""
        often = ("--health-interval=1s", "--health-start-period=0s")
        names = ("--detach", "--name=qsticky", f"--network={NETWORK}")
        self.engine("run", *names, *often, *SETTINGS, *options, IMAGE)

    def does_its_job(self) -> None:
        """Set the port, say so to everybody, and end when asked to."""
        self.wait_for_health("healthy")
        assert f"Port: {PORT}" in self.logs()
        for line in HEALTH_CHECKS:
            self.engine("exec", "qsticky", *line)
        started = time.monotonic()
        self.engine("stop", "--time=10", "qsticky")
        assert time.monotonic() - started < STOP_SECONDS
        assert self.inspected("{{.State.ExitCode}}") == "0"
        assert [line for line in self.logs().splitlines() if " - INFO - " not in line] == []


@pytest.fixture
def qsticky(network: Engine) -> Iterator[Qsticky]:
    yield Qsticky(network)
    network("rm", "--force", "--volumes", "qsticky")
    network("volume", "prune", "--force")


@pytest.mark.parametrize("user", ["", "4711:4711", "0:0", "65534:100", "99:100"])
def test_does_its_job_with_every_lock_as_any_user(user: str, qsticky: Qsticky) -> None:
    qsticky.run(*LOCKS, "--volume=health:/app/health", *([f"--user={user}"] if user else []))
    qsticky.wait_for_health("healthy")
    owner = qsticky.engine("exec", "qsticky", "stat", "--format=%u:%g", STATUS)
    assert owner.strip() == (user or "1000:1000")
    qsticky.does_its_job()


def test_the_user_may_change_while_the_volume_stays(qsticky: Qsticky) -> None:
    for user in ("1000:1000", "4711:0"):
        qsticky.run(f"--user={user}", "--volume=health:/app/health")
        qsticky.does_its_job()
        qsticky.engine("rm", "qsticky")


def test_writes_nothing_but_the_status_file(qsticky: Qsticky) -> None:
    qsticky.run("--user=0:0")
    qsticky.does_its_job()
    changed = qsticky.engine("diff", "qsticky").splitlines()
    assert {line for line in changed if not line.startswith("C")} == {f"A {STATUS}"}


def test_a_file_may_be_mounted_instead_of_a_folder(qsticky: Qsticky, tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    file.touch()
    file.chmod(0o666)
    qsticky.run(f"--volume={file}:{STATUS}")
    qsticky.does_its_job()
    assert json.loads(file.read_text())["state"] == "stopped"


def test_says_what_to_do_about_a_folder_of_root_and_keeps_the_port_open(
    qsticky: Qsticky, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    qsticky.run("--user=99:100", f"--volume={tmp_path}:/app/health")
    qsticky.wait(lambda: f"Port: {PORT}" in qsticky.logs(), "the port is set")
    assert "chown" in qsticky.logs()
    qsticky.wait_for_health("unhealthy")
    tmp_path.chmod(0o777)
    qsticky.engine("restart", "qsticky")
    qsticky.wait_for_health("healthy")


def test_hup_loads_the_configuration_again(qsticky: Qsticky, tmp_path: Path) -> None:
    tunnels = tmp_path / "qsticky.yaml"
    tunnels.write_text("tunnels: [{name: one}]\n")
    qsticky.run(f"--volume={tunnels}:/qsticky.yaml:ro", "--env=QSTICKY_CONFIG=/qsticky.yaml")
    qsticky.wait_for_health("healthy")
    tunnels.write_text("tunnels: [{name: two}]\n")
    qsticky.engine("kill", "--signal=HUP", "qsticky")
    qsticky.wait(lambda: list(qsticky.status()["tunnels"]) == ["two"], "another tunnel")


def test_is_restarted_after_a_crash_and_goes_on(qsticky: Qsticky) -> None:
    qsticky.run("--restart=always")
    qsticky.wait_for_health("healthy")
    qsticky.engine.inside("kill", "-KILL", qsticky.inspected("{{.State.Pid}}"))
    qsticky.wait(lambda: qsticky.inspected("{{.RestartCount}}") == "1", "another start")
    qsticky.does_its_job()


def test_the_command_for_unraid_does_its_job(qsticky: Qsticky, tmp_path: Path) -> None:
    fences = (block for block in tokens(ROOT / "docs" / "containers.md") if block.type == "fence")
    (command,) = (block.content for block in fences if block.info == "sh")
    for shown, here in (
        ("/mnt/user/appdata", str(tmp_path)),
        ("ghcr.io/qsticky/qsticky:2", IMAGE),
        ("docker run", "docker run --health-interval=1s"),
    ):
        command = command.replace(shown, here)
    qsticky.engine.run("sh", "-ec", command)
    qsticky.does_its_job()
