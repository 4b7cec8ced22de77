"""A thousand tunnels in one process, a hundred of them hanging, at the usual interval.

How late a cycle is comes from the daemon's own schedule: from the end of the cycle before and the
pause that was chosen then. The aim is a second at p99, and each run prints what it was. A test
fails only where servers that hang hold others up, which costs their time-outs, one after another.
"""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.parts.daemon import ROOT
from tests.parts.many_servers import address

TUNNELS = 1000
INTERVAL_SECONDS = 30
RUN_SECONDS = 2.5 * INTERVAL_SECONDS
GIVE_UP_AFTER_SECONDS = 180
HANGING = frozenset(range(3, TUNNELS, 10))
"""Their servers take the connection and never answer."""
REFUSING = frozenset(range(7, TUNNELS, 50))
"""Nobody listens at their addresses."""
NOWHERE_PORT = 1
LATE_AT_MOST_SECONDS = 10.0
"""Machines are noisy: this tells a queue behind hanging servers from a slow processor."""


@dataclass(frozen=True)
class Run:
    """What the daemon did."""

    figures: dict[str, Any]
    output: str

    def tunnels(self, numbers: frozenset[int]) -> list[dict[str, Any]]:
        return [self.figures["tunnels"][f"t{number}"] for number in sorted(numbers)]


GOOD = frozenset(range(TUNNELS)) - HANGING - REFUSING


def entry(number: int, port: int) -> dict[str, object]:
    server = {"host": address(number), "port": NOWHERE_PORT if number in REFUSING else port}
    gluetun = {**server, "auth_type": "none"}
    return {"name": f"t{number}", "gluetun": gluetun, "qbittorrent": server}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, show: Callable[[str], None]) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("many")
    command = [sys.executable, "-m", "tests.parts.many_servers"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as servers:
        assert servers.stdin
        assert servers.stdout
        port = int(servers.stdout.readline())
        hang = json.dumps([address(number) for number in HANGING]).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/control/hang", hang, timeout=30):
            pass
        made = run_daemon(folder, port)
        show(f"a thousand tunnels: {summary(made)}")
        yield made
        servers.stdin.close()


def run_daemon(folder: Path, port: int) -> Run:
    file = folder / "qsticky.yaml"
    # JSON is YAML too
    file.write_text(json.dumps({"tunnels": [entry(number, port) for number in range(TUNNELS)]}))
    environ = {
        "PATH": os.environ.get("PATH", os.defpath),
        "QSTICKY_CONFIG": str(file),
        "CHECK_INTERVAL": str(INTERVAL_SECONDS),
        "HEALTH_FILE": str(folder / "status.json"),
        "WEB_LISTEN_ADDRESS": "127.0.0.1:0",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.parts.many_tunnels", str(RUN_SECONDS)],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=GIVE_UP_AFTER_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Run(json.loads(done.stdout), done.stderr)


def summary(run: Run) -> dict[str, object]:
    """The figures, and how late the cycles were whose servers answered, in seconds."""
    late = lateness(run.tunnels(GOOD))
    percentiles = {f"late_p{part}": round(late[len(late) * part // 100], 3) for part in (50, 99)}
    return {key: value for key, value in run.figures.items() if key != "tunnels"} | percentiles


def lateness(tunnels: list[dict[str, Any]]) -> list[float]:
    return sorted(late for tunnel in tunnels for late in tunnel["late"])


def test_all_whose_servers_answer_are_in_sync_within_two_intervals(run: Run) -> None:
    good = run.tunnels(GOOD)
    assert len(good) == 880
    assert {tunnel["state"] for tunnel in good} == {"in_sync"}
    assert max(tunnel["in_sync_at"] for tunnel in good) < 2 * INTERVAL_SECONDS


def test_servers_that_hang_hold_up_no_other_tunnel(run: Run) -> None:
    late = lateness(run.tunnels(GOOD))
    assert len(late) > 1650
    assert late[len(late) * 99 // 100] < LATE_AT_MOST_SECONDS


def test_each_tunnel_is_looked_at_in_each_interval(run: Run) -> None:
    assert min(len(tunnel["late"]) for tunnel in run.tunnels(GOOD)) >= 2


def test_those_that_hang_or_refuse_do_not_hold_up_each_other(run: Run) -> None:
    bad = run.tunnels(HANGING | REFUSING)
    assert {tunnel["state"] for tunnel in bad} == {"gluetun_unreachable"}
    late = lateness(bad)
    assert late[len(late) * 99 // 100] < LATE_AT_MOST_SECONDS


def test_the_whole_file_was_read_again_meanwhile(run: Run) -> None:
    assert run.figures["reload"] == ""


def test_a_tunnel_costs_at_most_60_kilobytes(run: Run) -> None:
    assert run.figures["bytes_a_tunnel"] < 60 * 1024


def test_threads_are_bounded_by_what_hangs(run: Run) -> None:
    assert run.figures["most_threads"] < 32 + len(HANGING)


def test_nothing_goes_wrong_on_the_way(run: Run) -> None:
    assert "unexpected error" not in run.output
    assert "Traceback" not in run.output
