"""The documentation's quick commands do what it says; containers and services are not started."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exporter.simulator.world import Role, SimulatedGluetun, SimulatedQbittorrent
from tests.conftest import missing_part
from tests.parts.daemon import ROOT, QstickyProcess, wait_until, way_to
from tests.parts.documentation import FILES, PAGES, commands
from tests.parts.qbittorrent import free_port
from tests.parts.receiver import Receiver
from tests.real.documented_commands import ENDLESS, MAKES, PRINTS

KEY = "YOUR_API_KEY"
SHOWN = [
    command.removeprefix("docker exec qsticky ")
    for page in (*PAGES, *FILES)
    if page.name != "CHANGELOG.md"
    for command in commands(page)
]
Run = Callable[[str, Path], str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Yield what runs a command as a user would, beside a qSticky that is in sync."""
    absent = [name for name in ("bash", "curl", "openssl", "wget") if not shutil.which(name)]
    if absent:
        missing_part(f"the documentation's commands need {', '.join(absent)}")
    folder = tmp_path_factory.mktemp("qsticky")
    tunnels = folder / "qsticky.yaml"
    tunnels.write_text("tunnels: [{name: default}]\n")
    program = folder / "bin" / "qsticky"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m exporter "$@"\n')
    program.chmod(0o755)
    web = f"127.0.0.1:{free_port()}"
    with (
        SimulatedGluetun("3.41", role=Role(auth="apikey", apikey=KEY)) as gluetun,
        SimulatedQbittorrent("5.1.0") as qbittorrent,
        Receiver() as receiver,
    ):
        environ = {
            **way_to(gluetun, qbittorrent, KEY),
            "QSTICKY_CONFIG": str(tunnels),
            "NOTIFY_URLS": f"json://{receiver.place}/",
            "WEB_LISTEN_ADDRESS": web,
            "WEB_ENABLE_LIFECYCLE": "true",
        }

        def as_a_user(command: str, here: Path) -> str:
            for shown in ("HOST:9809", "localhost:9809"):
                command = command.replace(shown, web)
            command = command.replace("https://hc-ping.com/YOUR_ID", f"http://{web}/-/healthy")
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", command.replace("FILE", str(tunnels))],
                check=False,
                cwd=here,
                env={
                    **environ,
                    "HEALTH_FILE": str(daemon.health_file),
                    "PATH": f"{program.parent}:{os.environ['PATH']}",
                    "PYTHONPATH": str(ROOT),
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=60,
            )
            assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
            return done.stdout

        with QstickyProcess(environ, folder) as daemon:
            wait_until(
                lambda: daemon.health_file.exists() and daemon.status["state"] == "in_sync",
                "qSticky is in sync",
            )
            yield as_a_user


@pytest.mark.parametrize("command", PRINTS)
def test_a_command_prints_what_the_page_says(command: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "qsticky.yaml").write_text("tunnels: [{name: default}]\n")
    assert PRINTS[command] in run(command, tmp_path)


@pytest.mark.parametrize("command", ENDLESS)
def test_a_command_runs_until_it_is_stopped(command: str, tmp_path: Path) -> None:
    with QstickyProcess({}, tmp_path, command.split()[1:]) as process:
        process.wait_for(ENDLESS[command])
        assert process.stop(signal.SIGINT) == 0


def test_the_first_lines_of_compose_make_the_files_that_it_names(run: Run, tmp_path: Path) -> None:
    for name in (".env.example", "deploy"):
        (tmp_path / name).symlink_to(ROOT / name)
    for command, file in MAKES.items():
        run(command, tmp_path)
        assert (tmp_path / file).exists(), command
    [role] = tomllib.loads((tmp_path / "secrets/gluetun_config.toml").read_text())["roles"]
    assert role["apikey"] == (tmp_path / "secrets/gluetun_apikey").read_text()


def test_the_tables_hold_every_quick_command_of_the_documentation_and_no_other() -> None:
    quick = {c for c in SHOWN if c.startswith("qsticky ") or re.search(r"(HOST|localhost):9809", c)}
    assert quick == PRINTS.keys() | ENDLESS.keys()
    assert [c for c in commands(ROOT / "compose.yaml") if not c.startswith("docker ")] == [*MAKES]


@pytest.mark.parametrize("command", sorted({c for c in SHOWN if c.startswith("make ")}))
def test_make_knows_its_targets(command: str, run: Run) -> None:
    assert run(command.replace("make", "make --dry-run", 1), ROOT)
