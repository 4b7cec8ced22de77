"""Every command of the documentation is run, on a real qSticky where it is about one.

A command that is new in the documentation needs a row in documented_commands.py; a row that no page
needs any more has to go.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from exporter.simulator.world import Role, SimulatedGluetun, SimulatedQbittorrent
from tests.conftest import missing_part
from tests.parts import debian, documentation, monitoring
from tests.parts.daemon import ROOT, QstickyProcess, wait_until
from tests.parts.monitoring import RealAlertmanager
from tests.parts.qbittorrent import free_port
from tests.real.documented_commands import COMMANDS, Instead, Makes, Reloads, Says, Shows, Target
from tests.rig import Rig

KEY = "YOUR_API_KEY"
"""As the documentation writes it, so that its commands need no change."""


PAGES = [
    page
    for page in (*documentation.PAGES, *documentation.FILES)
    if page.name != "CHANGELOG.md" and documentation.commands(page)
]


def test_the_table_holds_the_commands_of_the_documentation_and_no_others() -> None:
    shown = {command for page in PAGES for command in documentation.commands(page)}
    assert shown - COMMANDS.keys() == set(), "new commands need a row"
    assert COMMANDS.keys() - shown == set(), "no page has these commands any more"


# Where they are run

# Stands in for Docker: its own parser reads each command first; then the qSticky of the test
# answers for the container.
DOCKER = """\
#!/bin/bash
set -e
named() {
  case "$1" in gluetun|qbittorrent|qsticky) ;; *) echo "no container $1" >&2; exit 1 ;; esac
}
case "$1" in
  compose)
    @COMPOSE@ "${@:2}" --help > parsed || { cat parsed; exit 125; }
    if [ -e .env ] && [ -e secrets/gluetun_config.toml ]; then @COMPOSE@ config --quiet; fi ;;
  exec)
    @DOCKER@ exec --help > parsed
    named "$2"
    if [ "$2" = qsticky ]; then exec "${@:3}"; else echo "tcp 0 0 :::PORT"; fi ;;
  *)
    @DOCKER@ "$@" --help > parsed || { cat parsed; exit 125; }
    case "$1" in
      kill) named "${!#}"; kill -s HUP @PID@ ;;
      logs) named "${!#}"; cat @LOGS@/"${!#}".log ;;
      restart) named "${!#}" ;;
      inspect) named "$2" ;;
    esac ;;
esac
"""
KUBECTL = """\
#!/bin/bash
case "$1 $2 $3" in
  kustomize*) exec @KUBECTL@ "$@" ;;
  *) exec @KUBECTL@ "$@" --dry-run=client --output=name ;;
esac
"""
CHECKOUT = (
    ".env.example", "Dockerfile", "Makefile", "compose.yaml", "deploy", "docs", "exporter",
    "pyproject.toml", "tests",
)  # fmt: skip
"""What the commands need of it, besides the locks."""
GLUETUN_LOG = "2027-01-15T08:00:00Z INFO [port forwarding] port forwarded is 45720\n"


@dataclass(frozen=True)
class Running:
    """A qSticky, how it is set, and where the Alertmanager is."""

    environ: dict[str, str]
    daemon: QstickyProcess
    alertmanager: str


@dataclass(frozen=True)
class Sandbox:
    """A folder like a checkout, programs that stand in for others, and a qSticky that runs."""

    folder: Path
    variables: dict[str, str]
    replaced: dict[str, str]

    def run(self, command: str) -> str:
        """Run it as a user would, with bash; returns all it printed."""
        for shown, real in self.replaced.items():
            command = command.replace(shown, real)
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            check=False,
            cwd=self.folder,
            env=self.variables,
            input="typed\n",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{command}\nended with {done.returncode}:\n{done.stdout}"
        return done.stdout


@pytest.fixture(scope="module")
def qsticky_log(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What qSticky says of all that the runbooks let people look for."""
    folder = tmp_path_factory.mktemp("rig")
    wrong = SimulatedGluetun("3.41", role=Role(auth="apikey", apikey="another"))
    with Rig(folder / "refused", gluetun=wrong) as rig:
        rig.next_cycle()
        refused = rig.log.getvalue()
    with Rig(folder) as rig:
        rig.next_cycle()
        rig.gluetun.change_port(50_001)
        rig.next_cycle()
        rig.qbittorrent.listening_port = 50_002
        rig.next_cycle()
        rig.path.unlink()
        rig.path.mkdir()
        rig.next_cycle()
        rest = rig.log.getvalue()
    # of a fault in qSticky, which there should be none of
    return f"Traceback (most recent call last):\n{refused}{rest}"


@pytest.fixture(scope="module")
def parts() -> dict[str, str]:
    """The programs that tell whether a command is right, brought from Debian."""
    absent = [name for name in ("curl", "make", "openssl", "wget") if shutil.which(name) is None]
    if absent:
        missing_part(f"the documentation's commands need {', '.join(absent)}")
    try:
        return {
            "@DOCKER@": str(debian.bring("docker-trixie", "trixie", "docker-cli") / "docker"),
            "@COMPOSE@": str(
                debian.bring("compose-sid", "sid", "docker-compose") / "docker-compose"
            ),
            "@KUBECTL@": str(
                debian.bring("kubectl-trixie", "trixie", "kubernetes-client") / "kubectl"
            ),
            "@AMTOOL@": str(monitoring.amtool()),
        }
    except debian.PartMissing as error:
        missing_part(f"a program of the documentation is missing: {error}")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Both servers, an Alertmanager and a qSticky."""
    folder = tmp_path_factory.mktemp("daemon")
    config = folder / "qsticky.yaml"
    config.write_text("tunnels: [{name: default}]\n")
    role = Role(auth="apikey", apikey=KEY)
    nobody = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"
    manager = monitoring.or_skip(lambda: RealAlertmanager(folder, nobody))
    port = free_port()
    with (
        SimulatedGluetun("3.41", role=role, forwarded_port=40_123) as gluetun,
        SimulatedQbittorrent("5.1.0") as qbittorrent,
        manager as alertmanager,
    ):
        environ = {
            "GLUETUN_HOST": gluetun.host,
            "GLUETUN_PORT": str(gluetun.port),
            "GLUETUN_APIKEY": KEY,
            "QBITTORRENT_HOST": qbittorrent.host,
            "QBITTORRENT_PORT": str(qbittorrent.port),
            "QBITTORRENT_PASS": qbittorrent.password,
            "QSTICKY_CONFIG": str(config),
            "WEB_LISTEN_ADDRESS": f"127.0.0.1:{port}",
            "WEB_ENABLE_LIFECYCLE": "true",
        }
        with QstickyProcess(environ, folder) as daemon:
            wait_until(
                lambda: daemon.health_file.exists() and daemon.status["state"] == "in_sync",
                "qSticky is in sync",
            )
            yield Running(environ, daemon, alertmanager.url)


@pytest.fixture
def sandbox(tmp_path: Path, parts: dict[str, str], running: Running, qsticky_log: str) -> Sandbox:
    for entry in [ROOT / name for name in CHECKOUT] + list(ROOT.glob("requirements*.txt")):
        (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / "qsticky.yaml").write_text("tunnels: [{name: default}]\n")
    (tmp_path / "config.toml").write_text("[[roles]]\n")
    for folder in ("bin", "logs", "opt", "usr/local/bin", "etc/systemd/system"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "logs" / "qsticky.log").write_text(qsticky_log)
    (tmp_path / "logs" / "gluetun.log").write_text(GLUETUN_LOG)
    (tmp_path / "logs" / "qbittorrent.log").touch()
    names = {**parts, "@PID@": str(running.daemon.process.pid), "@LOGS@": str(tmp_path / "logs")}
    programs = {
        "amtool": '#!/bin/sh\nexec @AMTOOL@ "$@"\n',
        "docker": DOCKER,
        "kubectl": KUBECTL,
        "python": f'#!/bin/sh\nexec {sys.executable} "$@"\n',
        "python3": f'#!/bin/sh\nexec {sys.executable} "$@"\n',
        "qsticky": f'#!/bin/sh\nexec {sys.executable} -m exporter "$@"\n',
        "sudo": '#!/bin/sh\nexec "$@"\n',
    }
    for name, text in programs.items():
        for shown, real in names.items():
            text = text.replace(shown, real)
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    environ = running.environ
    web = f"http://{environ['WEB_LISTEN_ADDRESS']}"
    return Sandbox(
        tmp_path,
        {
            **environ,
            "HEALTH_FILE": str(running.daemon.health_file),
            "HOME": str(tmp_path),
            "LANG": "C.UTF-8",
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        },
        {
            "http://HOST:9809": web,
            "http://localhost:9809": web,
            "https://hc-ping.com/YOUR_ID": f"{web}/-/healthy",
            "http://HOST:8000": f"http://{environ['GLUETUN_HOST']}:{environ['GLUETUN_PORT']}",
            "http://HOST:9093": running.alertmanager,
            " /etc/": f" {tmp_path}/etc/",
            " /opt/": f" {tmp_path}/opt/",
            " /usr/local/bin/": f" {tmp_path}/usr/local/bin/",
        },
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_do_what_it_says(
    page: Path, sandbox: Sandbox, running: Running
) -> None:
    for command in documentation.commands(page):
        match COMMANDS[command]:
            case Shows(text):
                assert text in sandbox.run(command), command
            case Makes(file, text):
                sandbox.run(command)
                made = sandbox.folder / file
                assert made.exists(), command
                assert made.is_dir() or text in made.read_text(), command
            case Reloads():
                sandbox.run(command)
                running.daemon.wait_for("The configuration is reloaded")
            case Says(text):
                arguments = command.removeprefix("qsticky ").split()
                with QstickyProcess({}, sandbox.folder, arguments) as process:
                    process.wait_for(text)
                    assert process.stop(signal.SIGINT) == 0
            case Target():
                planned = sandbox.run(command.replace("make", "make --dry-run", 1))
                assert planned, command
            case Instead(other, because, text):
                assert because
                assert text in sandbox.run(other), other


@pytest.mark.parametrize(
    "command",
    [
        "docker logs --tial 5 qsticky",
        "docker restart gluten",
        "docker compose up --detached",
        "kubectl create namespaces seedbox",
        "amtool --alertmanager.url http://HOST:9093 silenced add 'alertname=~\"QSticky.+\"'",
        "make dmeo",
    ],
)
def test_a_slip_of_the_pen_in_a_command_would_be_noticed(command: str, sandbox: Sandbox) -> None:
    with pytest.raises(AssertionError, match="ended with"):
        sandbox.run(command)
