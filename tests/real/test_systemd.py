"""The unit for people without Docker; `.ci/run` lets systemd-analyze read it.

It is not started here: that takes a machine whose first process is systemd.
"""

import os
import shutil
import urllib.request
from pathlib import Path

from exporter.config.load import load_config
from tests.conftest import missing_part
from tests.parts.daemon import ROOT, QstickyProcess
from tests.parts.qbittorrent import free_port

UNIT = ROOT / "deploy" / "systemd" / "qsticky.service"
PAGE = ROOT / "docs" / "without-docker.md"


def settings() -> dict[str, list[str]]:
    """Return what the unit says of the service: each name with all its values."""
    found: dict[str, list[str]] = {}
    text = UNIT.read_text().partition("[Service]\n")[2].partition("\n[")[0]
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_it_runs_the_command_that_the_page_puts_there() -> None:
    (command,) = settings()["ExecStart"]
    assert f"sudo ln -s /opt/qsticky/bin/qsticky {command.removesuffix(' run')}\n" in (
        PAGE.read_text()
    )


def test_qsticky_finds_the_secrets_that_systemd_hands_over(tmp_path: Path) -> None:
    for credential in settings()["LoadCredential"]:
        name, _, file = credential.partition(":")
        (tmp_path / name).write_text(f"the {name}\n")
        assert f"/dev/stdin {file}\n" in PAGE.read_text()
    lines = [line.replace("%d", str(tmp_path)) for line in settings()["Environment"]]
    environ = dict(line.split("=", 1) for line in lines)

    (tunnel,) = load_config(environ, tmp_path / "no secrets of Docker").tunnels

    assert tunnel.gluetun.apikey.value == "the gluetun_apikey"
    assert tunnel.qbittorrent.password.value == "the qbittorrent_pass"


def test_it_keeps_its_status_over_restarts_in_a_folder_of_its_own() -> None:
    assert settings()["StateDirectory"] == ["qsticky"]
    config = load_config({"STATE_DIRECTORY": "/var/lib/qsticky"})
    assert str(config.health_file) == "/var/lib/qsticky/status.json"


def test_its_view_of_processes_leaves_their_metrics_in_place(tmp_path: Path) -> None:
    """QStickyRestarting and QStickySyncFailing rest on process_start_time_seconds."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        missing_part("a /proc as in the unit needs root and unshare")
    said = settings()
    options = [f"hidepid={value}" for value in said.get("ProtectProc", [])]
    options += [f"subset={value}" for value in said.get("ProcSubset", [])]
    script = f'mount -t proc -o {",".join(options)} proc /proc && exec "$@"'
    confined = ["unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh"]
    port = free_port()
    environ = {"WEB_LISTEN_ADDRESS": f"127.0.0.1:{port}"}
    with QstickyProcess(environ, tmp_path, prefix=confined) as daemon:
        daemon.wait_for("Status page and metrics")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            assert b"\nprocess_start_time_seconds " in answer.read()
