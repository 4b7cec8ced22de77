"""The healthcheck: where it looks, what it makes of status.json, and how fast it starts."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from exporter.config.load import load_config
from exporter.healthcheck import holds_credentials, judge, main, status_path

NOW = 1_800_000_000.0
"""2027-01-15 08:00:00 UTC."""
NOWHERE = "/nonexistent"
HEALTHY = {
    "healthy": True,
    "state": "in_sync",
    "timestamp": "2027-01-15T08:00:00+00:00",
    "interval_seconds": 30,
}


def verdict(path: Path, **changes: Any) -> tuple[bool, str]:
    path.write_text(json.dumps(HEALTHY | changes))
    return judge(str(path), NOW)


# Where status.json is


def test_it_is_where_the_image_keeps_it_and_people_s_healthcheck_lines_look(
    tmp_path: Path,
) -> None:
    environ = {"STATE_DIRECTORY": "/var/lib/qsticky", "XDG_STATE_HOME": "/home/ann/state"}

    assert status_path(environ, str(tmp_path)) == f"{tmp_path}/status.json"
    assert status_path.__defaults__ == ("/app/health", "/run/secrets")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "XDG_STATE_HOME": "/s"}, "/var/lib/a"),
        ({"XDG_STATE_HOME": "/home/ann/state"}, "/home/ann/state/qsticky"),
        ({"XDG_STATE_HOME": ""}, "/home/bob/.local/state/qsticky"),
        ({}, "/home/bob/.local/state/qsticky"),
    ],
)
def test_elsewhere_it_is_in_the_users_folder_for_state(
    environ: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/bob")

    assert status_path(environ, NOWHERE) == f"{expected}/status.json"


def test_a_chosen_file_wins_over_every_default(tmp_path: Path) -> None:
    environ = {"HEALTH_FILE": " /data/status.json ", "STATE_DIRECTORY": "/var/lib/qsticky"}

    assert status_path(environ, str(tmp_path)) == "/data/status.json"


def test_it_is_chosen_in_each_way_in_which_the_daemon_takes_it(tmp_path: Path) -> None:
    file = tmp_path / "Health_File"
    file.write_text("/from/secrets.json\n")
    named = tmp_path / "named"
    named.write_text("/from/file.json\n")

    ways: tuple[tuple[dict[str, str], str], ...] = (
        ({"health_file": "/small.json", "HEALTH_FILE_FILE": str(named)}, "/small.json"),
        ({"HEALTH_FILE": "/capital.json", "health_file": "/small.json"}, "/capital.json"),
        ({"HEALTH_FILE_FILE": str(named)}, "/from/file.json"),
        ({}, "/from/secrets.json"),
    )
    of_image = {"HEALTH_FILE": "/app/health/status.json"}
    for chosen, expected in ways:
        for environ in (chosen, of_image | chosen):
            assert status_path(environ, NOWHERE, str(tmp_path)) == expected
            assert str(load_config(environ, tmp_path).health_file) == expected
    elsewhere = of_image | {"STATE_DIRECTORY": "/var/lib/qsticky"}
    assert status_path(elsewhere, NOWHERE, NOWHERE) == of_image["HEALTH_FILE"]
    assert str(load_config(elsewhere, Path(NOWHERE)).health_file) == of_image["HEALTH_FILE"]


def test_a_file_of_its_name_that_cannot_be_read_is_unhealthy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HEALTH_FILE", raising=False)
    monkeypatch.setenv("HEALTH_FILE_FILE", "/nonexistent")

    assert main() == 1
    assert capsys.readouterr().out == ("unhealthy: can't read the file that holds HEALTH_FILE\n")


# The verdict


def test_a_fresh_file_says_what_it_says(path: Path) -> None:
    assert verdict(path) == (True, "healthy: in_sync")
    assert verdict(path, healthy=False, state="stopped") == (False, "unhealthy: stopped")
    assert verdict(path, healthy=False, state="no_port", last_error="Gluetun timed out") == (
        False,
        "unhealthy: no_port: Gluetun timed out",
    )


def test_a_check_without_a_daemon_counts_and_does_not_pass_for_one(path: Path) -> None:
    assert verdict(path, daemon=True) == (True, "healthy: in_sync")
    verdict(path, daemon=False)
    assert judge(str(path), NOW + 40) == (
        True,
        "healthy: in_sync, as `qsticky once` found 40 s ago; no daemon runs",
    )
    assert not judge(str(path), NOW + 121)[0]


@pytest.mark.parametrize("value", ["true", 1, {}, None, False])
def test_only_true_is_healthy(value: Any, path: Path) -> None:
    assert verdict(path, healthy=value) == (False, "unhealthy: in_sync")


def test_a_file_older_than_three_intervals_and_30_seconds_is_unhealthy(path: Path) -> None:
    assert verdict(path)[0]
    assert judge(str(path), NOW + 120) == (True, "healthy: in_sync")
    assert judge(str(path), NOW + 120.6) == (
        False,
        f"unhealthy: nothing was written to {path} for 121 s",
    )
    assert not verdict(path, interval_seconds=float("nan"))[0]


def test_without_a_file_it_is_unhealthy(path: Path) -> None:
    assert judge(str(path), NOW) == (
        False,
        f"unhealthy: can't read {path}: No such file or directory",
    )


def test_a_password_in_the_name_of_the_file_is_not_shown() -> None:
    assert judge("http://ann:hunter2@box/", NOW) == (
        False,
        "unhealthy: can't read what HEALTH_FILE names: No such file or directory",
    )


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("http://ann:hunter2@box", True),
        ("hunter2@box", True),
        ("//hunter2@box", True),
        ("/a:hunter2@box", True),
        ("/home/me@work/status.json", False),
        ("http://box:8080/", False),
    ],
)
def test_what_may_hold_a_password_is_not_shown(text: str, hidden: bool) -> None:
    assert holds_credentials(text) is hidden


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "\udcff",
        "[" * 100_000,
        f"{json.dumps(HEALTHY)}x",
        json.dumps(HEALTHY).replace("in_sync", "in\tsync"),
        json.dumps(HEALTHY | {"interval_seconds": "often"}),
        json.dumps(HEALTHY | {"interval_seconds": None}),
        json.dumps(HEALTHY | {"interval_seconds": 10**400}),
        json.dumps(HEALTHY | {"timestamp": 1800000000}),
        json.dumps({key: HEALTHY[key] for key in ("healthy", "timestamp", "interval_seconds")}),
    ],
    ids=lambda content: ascii(content[:100]),
)
def test_what_is_no_status_file_is_unhealthy(content: str, path: Path) -> None:
    path.write_text(content, errors="surrogateescape")

    assert judge(str(path), NOW) == (False, f"unhealthy: {path} is not a status file of qSticky")


def test_what_is_no_regular_file_is_unhealthy_at_once(path: Path) -> None:
    said = f"unhealthy: {path} is not a status file of qSticky"

    os.mkfifo(path)
    assert judge(str(path), NOW) == (False, said)
    path.unlink()
    path.mkdir()
    assert not judge(str(path), NOW)[0]


def test_the_file_may_have_20_million_bytes(path: Path) -> None:
    path.write_text(json.dumps(HEALTHY).center(20_000_000))
    assert judge(str(path), NOW)[0]

    path.write_text(json.dumps(HEALTHY).center(20_000_001))
    assert not judge(str(path), NOW)[0]


# The command


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "unhealthy: in_sync: Schlüssel 🔑\n"),
        ("ascii", r"unhealthy: in_sync: Schl\xfcssel \U0001f511" + "\n"),
    ],
)
def test_the_verdict_is_printed_on_every_terminal(
    encoding: str, shown: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict(path, healthy=False, last_error="Schlüssel 🔑")
    monkeypatch.setenv("HEALTH_FILE", str(path))
    monkeypatch.setattr("exporter.healthcheck.time.time", lambda: NOW)
    screen = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(screen, encoding, write_through=True))

    assert main() == 1
    assert screen.getvalue().decode(encoding) == shown


def test_it_starts_without_anything_that_is_slow_to_load(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict(path, timestamp="9999-01-01T00:00:00+00:00")
    monkeypatch.setenv("HEALTH_FILE", str(path))
    code = (
        "import sys; sys.argv[1:] = ['healthcheck']; from exporter.__main__ import main; "
        "code = main(); print(*sys.modules); sys.exit(code)"
    )

    ended = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )

    said, modules = ended.stdout.splitlines()
    assert (ended.returncode, said, ended.stderr) == (0, "healthy: in_sync", "")
    loaded = set(modules.split())
    assert {name for name in loaded if name.startswith("exporter.")} == {
        "exporter.__main__",
        "exporter.healthcheck",
    }
    slow = {"requests", "schedule", "yaml", "prometheus_client", "urllib3", "waitress", "bcrypt"}
    slow |= {"typing", "dataclasses", "pathlib", "argparse", "ssl", "http.client", "logging"}
    assert loaded & slow == set()
