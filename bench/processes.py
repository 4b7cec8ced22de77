"""Child processes that answer a line of JSON to each line, and what a process weighs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[1]


class Workplace:
    """A folder for all files, and the environment of all children."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="qsticky-bench-")
        self.folder = Path(self._folder.name)
        self.environ = {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": str(ROOT),
            # byte code as in the image: made before, and not by the first who starts
            "PYTHONPYCACHEPREFIX": str(self.folder / "pycache"),
            "HEALTH_FILE": str(self.folder / "status.json"),
            "WEB_LISTEN_ADDRESS": "127.0.0.1:0",
        }
        code = "import exporter.cli, exporter.daemon.service, exporter.simulator.world"
        self.run("-c", f"{code}, exporter.web.app, exporter.web.server, exporter.report.metrics")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def run(self, *arguments: str, given: str = "") -> str:
        """Run Python to its end; returns what it printed."""
        ended = subprocess.run(
            [sys.executable, *arguments],
            env=self.environ,
            cwd=ROOT,
            input=given,
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        return ended.stdout

    def seconds(self, *arguments: str) -> float:
        """How long Python takes from its start to its end."""
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, *arguments],
            env=self.environ,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return time.perf_counter() - started

    def child(self, module: str, environ: Mapping[str, str] | None = None) -> Child:
        """Start one of the modules here."""
        return Child(["-m", f"bench.{module}"], {**self.environ, **(environ or {})})


class Child:
    """A Python that answers each line with a line of JSON; `greeting` is its first one."""

    def __init__(self, arguments: Sequence[str], environ: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            env=environ,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.pid = self._process.pid
        self.greeting = self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process as process:
            if process.stdin:
                process.stdin.close()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()

    def ask(self, line: str) -> Any:
        """Send a line and wait for the answer."""
        assert self._process.stdin
        self._process.stdin.write(line + "\n")
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())


def resident_bytes(pid: int) -> int:
    """The memory of a process that is really there."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, *rest = line.split()
        if name == "Rss:":
            return int(rest[0]) * 1024
    raise ValueError(f"no Rss of process {pid}")
