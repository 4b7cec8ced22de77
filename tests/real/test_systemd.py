"""The unit for people without Docker: systemd's own checker reads it, and rates how exposed it is.

It is not started here: that takes a machine whose first process is systemd.
"""

import re
import subprocess
from pathlib import Path

import pytest

from exporter.config.load import load_config
from exporter.config.settings import SETTINGS
from tests.conftest import missing_part
from tests.parts import debian
from tests.parts.daemon import ROOT

UNIT = ROOT / "deploy" / "systemd" / "qsticky.service"
PAGE = ROOT / "docs" / "without-docker.md"
COMMAND = "/usr/local/bin/qsticky"


@pytest.fixture(scope="module")
def analyzer() -> list[str]:
    """systemd-analyze of Debian 12, with the units that come with it and no others."""
    try:
        folder = debian.bring("systemd-bookworm", "bookworm", "systemd")
    except debian.PartMissing as error:
        missing_part(f"no systemd-analyze: {error}")
    units = folder.parent / "root" / "lib" / "systemd" / "system"
    return ["env", f"SYSTEMD_UNIT_PATH={units}", str(folder / "systemd-analyze")]


def settings(section: str) -> dict[str, list[str]]:
    """What the unit says in a section: each name with all its values."""
    found: dict[str, list[str]] = {}
    text = UNIT.read_text().partition(f"[{section}]\n")[2].partition("\n[")[0]
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def analyze(analyzer: list[str], folder: Path, *arguments: str) -> str:
    """Let systemd-analyze look at the unit, with a program in it that exists here."""
    copy = folder / UNIT.name
    text = UNIT.read_text()
    assert text.count(COMMAND) == 1
    copy.write_text(text.replace(COMMAND, "/bin/true"))
    done = subprocess.run(
        [*analyzer, *arguments, str(copy)],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_systemd_understands_every_line(analyzer: list[str], tmp_path: Path) -> None:
    assert analyze(analyzer, tmp_path, "verify", "--man=no") == ""


def test_the_checker_finds_a_misspelt_line(analyzer: list[str], tmp_path: Path) -> None:
    broken = tmp_path / "broken.service"
    broken.write_text("[Service]\nExecStart=/bin/true\nNoNewPrivilege=yes\n")
    checked = subprocess.run(
        [*analyzer, "verify", "--man=no", str(broken)], check=False, capture_output=True, text=True
    )
    assert "Unknown key 'NoNewPrivilege'" in checked.stderr


def test_it_is_no_more_exposed_than_the_page_tells(analyzer: list[str], tmp_path: Path) -> None:
    said = analyze(
        analyzer, tmp_path, "security", "--offline=true", "--no-pager", "--threshold=100"
    )
    [score] = re.findall(r"Overall exposure level for qsticky\.service: ([\d.]+)", said)
    [told] = re.findall(r"\*\*([\d.]+)\*\* for this one", PAGE.read_text())
    assert float(score) <= float(told)


def test_it_runs_the_command_that_the_page_puts_there() -> None:
    assert settings("Service")["ExecStart"] == [f"{COMMAND} run"]
    assert f"sudo ln -s /opt/qsticky/bin/qsticky {COMMAND}\n" in PAGE.read_text()


def test_qsticky_finds_the_secrets_that_systemd_hands_over(tmp_path: Path) -> None:
    service = settings("Service")
    page = PAGE.read_text()
    for credential in service["LoadCredential"]:
        name, _, file = credential.partition(":")
        (tmp_path / name).write_text(f"the {name}\n")
        assert f"/dev/stdin {file}\n" in page
    lines = [line.replace("%d", str(tmp_path)) for line in service["Environment"]]
    environ = dict(line.split("=", 1) for line in lines)

    [tunnel] = load_config(environ, tmp_path / "no secrets of Docker").tunnels

    assert tunnel.gluetun.apikey.value == "the gluetun_apikey"
    assert tunnel.qbittorrent.password.value == "the qbittorrent_pass"


def test_the_variables_of_the_page_are_known_and_in_the_file_that_is_read() -> None:
    page = PAGE.read_text()
    [example] = re.findall(r"```ini\n(.*?)```", page, re.DOTALL)
    names = {line.partition("=")[0] for line in example.splitlines()}

    assert names == {"GLUETUN_HOST", "QBITTORRENT_HOST"}
    assert names <= {setting.name for setting in SETTINGS}
    [file] = settings("Service")["EnvironmentFile"]
    assert f"`{file.removeprefix('-')}`" in page


def test_it_keeps_its_status_over_restarts_in_a_folder_of_its_own() -> None:
    service = settings("Service")
    assert service["StateDirectory"] == ["qsticky"]
    assert service["DynamicUser"] == ["yes"]
    config = load_config({"STATE_DIRECTORY": "/var/lib/qsticky"})
    assert str(config.health_file) == "/var/lib/qsticky/status.json"
    assert "`/var/lib/qsticky`" in PAGE.read_text()
