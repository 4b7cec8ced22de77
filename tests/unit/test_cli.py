"""The command line: what the commands print, and their exit codes."""

import json
import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from exporter.cli import main
from exporter.config.settings import SETTINGS

REPOSITORY = Path(__file__).parent.parent.parent
NOBODY = {"GLUETUN_HOST": "127.0.0.1", "GLUETUN_PORT": "1", "QBITTORRENT_HOST": "127.0.0.1"}
"""Nothing listens on port 1."""


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


def write_status(path: Path, *, healthy: bool) -> None:
    document = {
        "healthy": healthy,
        "state": "in_sync" if healthy else "no_port",
        "last_error": None,
        "timestamp": datetime.now().astimezone().isoformat(),
        "interval_seconds": 30,
    }
    path.write_text(json.dumps(document))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], check=False, capture_output=True, text=True, cwd=REPOSITORY
    )


# Help


def test_the_help_names_every_command_and_what_to_set(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])

    assert ended.value.code == 0
    text = capsys.readouterr().out
    commands = re.findall(r"^    (\w+)\b", text, re.MULTILINE)
    assert commands == [
        "run", "once", "check", "healthcheck", "config", "demo", "completion", "version",
    ]  # fmt: skip
    named = set(re.findall(r"\b[A-Z]+_[A-Z_]+\b", text))
    assert named == {
        "GLUETUN_HOST",
        "GLUETUN_PORT",
        "GLUETUN_APIKEY",
        "GLUETUN_AUTH_TYPE",
        "QBITTORRENT_HOST",
        "QBITTORRENT_PORT",
        "QBITTORRENT_USER",
        "QBITTORRENT_PASS",
        "CHECK_INTERVAL",
    }
    assert "Exit codes: 0 all well, 1 an error" in text


@pytest.mark.parametrize(
    "command",
    ["run", "once", "check", "healthcheck", "config", "demo", "completion", "version"],
)
def test_every_command_has_a_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])

    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: qsticky {command} [-h]")


def test_the_help_of_a_command_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["demo", "--help"])

    assert "\nShow it at work on a simulated Gluetun and qBittorrent.\n" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["config", "nonsense"]])
def test_what_is_no_command_ends_with_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert "nonsense" in capsys.readouterr().err


# version


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert re.fullmatch(r"qsticky \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_the_option_and_the_module_print_the_same_version() -> None:
    by_option, by_module = run("-m", "exporter", "--version"), run("-m", "exporter", "version")

    assert by_option.returncode == by_module.returncode == 0
    assert by_option.stdout == by_module.stdout != ""


# config


def test_config_shows_each_value_with_its_source_and_no_secret(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
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


def test_config_checks_a_file_that_is_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "qsticky.yaml"
    file.write_text(
        "tunnels: [{name: a, gluetun: {auth_type: none}}, {name: b, qbittorrent: {host: b}}]"
    )

    assert main(["config", "--check", str(file)]) == 0
    assert capsys.readouterr().out == (
        "warning: tunnels[1].gluetun.apikey is not set, so Gluetun is asked without credentials; "
        "set it, or GLUETUN_AUTH_TYPE=none if that is meant\n"
        f"{file}: 2 tunnels, no mistakes\n"
    )


def test_config_checks_a_file_that_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "qsticky.yaml"
    file.write_text("tunnels: [{rebind: sometimes}]")

    assert main(["config", "--check", str(file)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "tunnels[0].rebind: given 'sometimes'" in printed.err


def test_config_shows_every_setting_once(capsys: pytest.CaptureFixture[str]) -> None:
    main(["config"])

    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert sorted(names) == sorted(setting.name for setting in SETTINGS)


def test_a_name_that_the_locale_cannot_write_does_not_end_the_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_all(monkeypatch, QBITTORRENT_USER="Zoë", PYTHONIOENCODING="ascii")

    shown = run("-m", "exporter", "config")

    assert shown.returncode == 0
    assert "Zo\\xeb" in shown.stdout


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write) as pipe:
        ended = subprocess.run(
            [sys.executable, "-m", "exporter", "config"],
            check=False,
            stdout=pipe,
            stderr=subprocess.PIPE,
            cwd=REPOSITORY,
        )

    assert ended.stderr == b""
    assert ended.returncode == 1


# A wrong configuration


@pytest.mark.parametrize("arguments", [[], ["run"], ["once"], ["config"]])
def test_a_wrong_configuration_ends_with_code_2_and_lists_all_mistakes(
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    status_file: Path,
) -> None:
    set_all(monkeypatch, CHECK_INTERVAL="0", QBITTORRENT_PORT="70000")

    assert main(arguments) == 2

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        "qsticky: the configuration has 2 mistakes:\n"
        "CHECK_INTERVAL: given '0'; expected seconds, 1 to 3600\n"
        "QBITTORRENT_PORT: given '70000'; expected a port, 1 to 65535\n"
        "qsticky: correct the settings above; `qsticky config` shows where each value comes from\n"
    )
    assert not status_file.exists()


# once


def test_once_ends_with_code_3_where_it_is_not_in_sync(
    monkeypatch: pytest.MonkeyPatch, status_file: Path
) -> None:
    set_all(monkeypatch, **NOBODY, QBITTORRENT_PORT="1", GLUETUN_AUTH_TYPE="none")

    ended = run("-m", "exporter", "once")

    assert ended.returncode == 3
    assert ended.stderr == ""
    assert "Gluetun at 127.0.0.1:1 refuses the connection; does it run there?" in ended.stdout
    assert json.loads(status_file.read_text())["state"] == "gluetun_unreachable"


def test_once_ends_with_code_1_where_it_cannot_write_the_status_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "status.json"
    set_all(monkeypatch, **NOBODY, QBITTORRENT_PORT="1", HEALTH_FILE=str(path))

    ended = run("-m", "exporter", "once")

    assert ended.returncode == 1
    assert ended.stderr == (
        f"qsticky: can't write the status file {path}: Not a directory\n"
        "qsticky: make the folder writable for qSticky's user, "
        "or name another file in HEALTH_FILE\n"
    )


def test_a_missing_api_key_is_warned_about_once(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, **NOBODY, QBITTORRENT_PORT="1")

    lines = [line for line in run("-m", "exporter", "once").stdout.splitlines() if "APIKEY" in line]

    assert len(lines) == 1
    assert lines[0].endswith(
        " - qsticky - WARNING - GLUETUN_APIKEY is not set, so Gluetun is asked without "
        "credentials; set it, or GLUETUN_AUTH_TYPE=none if that is meant"
    )


# healthcheck


@pytest.mark.parametrize(
    ("healthy", "code", "said"),
    [(True, 0, "healthy: in_sync\n"), (False, 1, "unhealthy: no_port\n")],
)
def test_the_healthcheck_says_what_status_json_says(
    healthy: bool, code: int, said: str, status_file: Path
) -> None:
    write_status(status_file, healthy=healthy)

    ended = run("-m", "exporter", "healthcheck")

    assert (ended.returncode, ended.stdout, ended.stderr) == (code, said, "")


def test_the_healthcheck_fails_without_a_status_file(status_file: Path) -> None:
    ended = run("-m", "exporter", "healthcheck")

    assert ended.returncode == 1
    assert ended.stdout == f"unhealthy: can't read {status_file}: No such file or directory\n"


def test_the_healthcheck_needs_no_right_configuration(
    monkeypatch: pytest.MonkeyPatch, status_file: Path
) -> None:
    write_status(status_file, healthy=True)
    set_all(monkeypatch, CHECK_INTERVAL="0")

    assert main(["healthcheck"]) == 0


def test_the_healthcheck_loads_nothing_that_is_slow_to_load(status_file: Path) -> None:
    write_status(status_file, healthy=True)
    slow = {"requests", "schedule", "yaml", "prometheus_client", "urllib3", "waitress", "bcrypt"}
    slow |= {"json", "re", "enum", "typing", "dataclasses", "pathlib", "argparse", "contextlib"}
    slow |= {"exporter.cli", "exporter.model", "exporter.errors", "exporter.config.settings"}
    code = (
        "import sys; sys.argv[1:] = ['healthcheck']; from exporter.__main__ import main; "
        "code = main(); print(*sys.modules); sys.exit(code)"
    )

    ended = run("-c", code)

    assert ended.returncode == 0
    loaded = set(ended.stdout.splitlines()[1].split())
    assert "exporter.healthcheck" in loaded
    assert loaded & slow == set()
    assert loaded & {"ssl", "http.client", "logging", "asyncio", "email"} == set()
