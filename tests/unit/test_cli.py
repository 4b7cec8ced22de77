"""The command line: what the commands print, and their exit codes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.cli import main
from exporter.config.settings import SETTINGS

REPOSITORY = Path(__file__).parent.parent.parent
COMMANDS = ["run", "once", "check", "healthcheck", "notify", "config", "demo", "version"]
NOBODY = {
    "GLUETUN_HOST": "127.0.0.1",
    "GLUETUN_PORT": "1",
    "GLUETUN_AUTH_TYPE": "none",
    "QBITTORRENT_HOST": "127.0.0.1",
    "QBITTORRENT_PORT": "1",
}
"""Nothing listens on port 1."""

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def status_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Our variables are those of the test alone."""
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
        monkeypatch.delenv(f"{setting.name}_FILE", raising=False)
    path = tmp_path / "status.json"
    monkeypatch.setenv("HEALTH_FILE", str(path))
    return path


def set_all(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "exporter", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=REPOSITORY)


# Help


def test_the_help_names_every_command_what_to_set_and_the_exit_codes(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])

    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert re.findall(r"^    (\w+)\b", text, re.MULTILINE) == COMMANDS
    named = set(re.findall(r"\b[A-Z]+_[A-Z_]+\b", text))
    assert named <= {setting.name for setting in SETTINGS}
    assert {"GLUETUN_HOST", "GLUETUN_APIKEY", "QBITTORRENT_PASS", "CHECK_INTERVAL"} <= named
    assert "Exit codes: 0 all well, 1 an error" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_of_a_sentence(command: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])

    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: qsticky {command} [-h]")
    assert re.search(r"^\n?[A-Z][a-z].*\.$", text, re.MULTILINE)


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["config", "nonsense"]])
def test_what_is_no_command_ends_with_code_2(arguments: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert "nonsense" in capsys.readouterr().err


# version


def test_the_command_and_the_option_print_the_same_version(capsys: Capture) -> None:
    assert main(["version"]) == 0
    by_command = capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--version"])

    assert re.fullmatch(r"qsticky \d+\.\d+\.\d+\n", by_command)
    assert capsys.readouterr().out == by_command


# config


def test_config_shows_each_value_with_its_source_and_no_secret(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    set_all(
        monkeypatch,
        QBITTORRENT_HOST="box",
        QBITTORRENT_PASS="hunter2",
        GLUETUN_APIKEY_FILE=str(secret),
    )

    assert main(["config"]) == 0

    text = capsys.readouterr().out
    lines = [line.split() for line in text.splitlines()]
    assert ["QBITTORRENT_HOST", "box", "environment"] in lines
    assert ["QBITTORRENT_PASS", "***", "environment"] in lines
    assert ["GLUETUN_APIKEY_FILE", "***", str(secret)] in lines
    assert ["GLUETUN_PORT", "8000", "default"] in lines
    assert ["GLUETUN_PASSWORD", "default"] in lines
    assert ["HEALTH_FILE", str(tmp_path / "status.json"), "environment"] in lines
    assert "hunter2" not in text
    names = [line[0].removesuffix("APIKEY_FILE") for line in lines]
    assert len(names) == len(set(names)) == len(SETTINGS)


def test_config_names_a_url_that_no_notification_can_go_to(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_all(monkeypatch, NOTIFY_URLS="json://a/hunter2 hunter2")

    assert main(["config"]) == 0

    text = capsys.readouterr().out
    assert "URL 2 of NOTIFY_URLS is none that Apprise understands" in text
    assert "URL 1" not in text
    assert "hunter2" not in text


def test_config_checks_a_file_that_is_right(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "qsticky.yaml"
    file.write_text(
        "tunnels: [{name: a, gluetun: {auth_type: none}}, {name: b, gluetun: {port_index: 1}, "
        "qbittorrent: {host: b}}]"
    )

    assert main(["config", "--check", str(file)]) == 0
    warning, said = capsys.readouterr().out.splitlines()
    assert warning.startswith("warning: tunnels[1].gluetun.apikey is not set")
    assert said == f"{file}: 2 tunnels, no mistakes"


def test_config_checks_a_file_that_is_wrong(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "qsticky.yaml"
    file.write_text("tunnels: [{rebind: sometimes}]")

    assert main(["config", "--check", str(file)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "tunnels[0].rebind: given 'sometimes'" in printed.err


@pytest.mark.parametrize(
    ("name", "why"), [("", "Is a directory"), ("x", "No such file or directory")]
)
def test_config_names_the_file_that_it_cannot_check(
    name: str, why: str, tmp_path: Path, capsys: Capture
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["config", "--check", str(tmp_path / name)])

    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert printed.endswith(f"argument --check: can't read '{tmp_path / name}': {why}\n")


def test_config_names_the_file_that_is_not_yaml(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "qsticky.yaml"
    file.write_text("tunnels:\n\t- name: a")

    assert main(["config", "--check", str(file)]) == 2
    printed = capsys.readouterr().err
    assert f"\ncan't use '{file}' (line 2, column 1: a tab; indent with spaces)" in printed
    assert "QSTICKY_CONFIG" not in printed


def test_a_name_that_the_locale_cannot_write_does_not_end_the_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_all(monkeypatch, QBITTORRENT_USER="Zoë", PYTHONIOENCODING="ascii")

    shown = run("config")

    assert shown.returncode == 0
    assert "Zo\\xeb" in shown.stdout


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write) as pipe:
        command = [sys.executable, "-m", "exporter", "config"]
        ended = subprocess.run(
            command, check=False, stdout=pipe, stderr=subprocess.PIPE, cwd=REPOSITORY
        )

    assert (ended.returncode, ended.stderr) == (1, b"")


# A wrong configuration


@pytest.mark.parametrize("arguments", [[], ["run"], ["once"], ["check"], ["config"]])
def test_a_wrong_configuration_ends_with_code_2_and_lists_all_mistakes(
    arguments: list[str], capsys: Capture, monkeypatch: pytest.MonkeyPatch, status_file: Path
) -> None:
    set_all(monkeypatch, GLUETUN_PORT_INDEX="-1", QBITTORRENT_PORT="70000")

    assert main(arguments) == 2

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        "qsticky: the configuration has 2 mistakes:\n"
        "GLUETUN_PORT_INDEX: given '-1'; expected a whole number, 0 to 31\n"
        "QBITTORRENT_PORT: given '70000'; expected a port, 1 to 65535\n"
        "qsticky: correct the settings above; `qsticky config` then shows where each value comes "
        "from\n"
    )
    assert not status_file.exists()


# once and healthcheck


def test_once_ends_with_code_3_where_it_is_not_in_sync(
    monkeypatch: pytest.MonkeyPatch, status_file: Path
) -> None:
    set_all(monkeypatch, **(NOBODY | {"GLUETUN_AUTH_TYPE": "apikey"}))

    ended = run("once")

    assert (ended.returncode, ended.stderr) == (3, "")
    assert json.loads(status_file.read_text())["state"] == "gluetun_unreachable"
    [warning] = [line for line in ended.stdout.splitlines() if "GLUETUN_APIKEY is not set" in line]
    assert " - qsticky - WARNING - GLUETUN_APIKEY is not set" in warning


def test_once_ends_with_code_1_where_it_cannot_write_the_status_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "status.json"
    set_all(monkeypatch, **NOBODY, HEALTH_FILE=str(path))

    ended = run("once")

    assert ended.returncode == 1
    message, fix = ended.stderr.splitlines()
    assert message == f"qsticky: can't write the status file {path}: Not a directory"
    assert fix.startswith("qsticky: ")


def test_the_healthcheck_needs_no_right_configuration(
    monkeypatch: pytest.MonkeyPatch, status_file: Path, capsys: Capture
) -> None:
    set_all(monkeypatch, QBITTORRENT_PORT="0")

    assert main(["healthcheck"]) == 1
    assert capsys.readouterr().out == (
        f"unhealthy: can't read {status_file}: No such file or directory\n"
    )
