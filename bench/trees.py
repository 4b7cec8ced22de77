"""A checkout to be measured, and its daemon as a process that is looked at from outside."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[1]
PATIENCE_SECONDS = 60.0
QSTICKY = ("-c", "import sys; from exporter.__main__ import main; sys.exit(main())")
"""What the installed command `qsticky` runs; `python -m` would import more."""


@dataclass(frozen=True)
class Tree:
    """One checkout, with a folder for what its processes write."""

    name: str
    root: Path
    folder: Path
    python: Path
    """An interpreter with what the image has, and no more: a tool's own hooks cost memory."""

    def environ(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a process of this checkout."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": str(self.root),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HEALTH_FILE": str(self.folder / "status.json"),
            "WEB_LISTEN_ADDRESS": "127.0.0.1:0",
            **more,
        }

    def seconds(self, arguments: Sequence[str]) -> float:
        """Return how long Python takes from its start to its end."""
        started = time.perf_counter()
        subprocess.run(
            [self.python, *arguments],
            env=self.environ({}),
            cwd=self.root,
            stdout=subprocess.DEVNULL,
            check=False,
        )
        return time.perf_counter() - started


@contextmanager
def trees(folder: Path, against: str | None) -> Iterator[list[Tree]]:
    """This checkout, and on request another revision of it in a git worktree."""
    python = _run_time_environment(folder / "venv")
    here = Tree("now", ROOT, _made(folder / "now"), python)
    _compile(here)
    if against is None:
        yield [here]
        return
    other = Tree(against, folder / "worktree", _made(folder / "other"), python)
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(other.root), against], check=True)
    try:
        _compile(other)
        yield [here, other]
    finally:
        subprocess.run([*git, "remove", "--force", str(other.root)], check=True)


def _run_time_environment(folder: Path) -> Path:
    """Install what the image installs; return the interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--quiet", "--python", str(python), "install"]
    locked = ["--require-hashes", "-r", str(ROOT / "requirements.txt")]
    subprocess.run([*install, *locked], check=True)
    return python


def _compile(tree: Tree) -> None:
    """Make the byte code, as the image has it: not the first that starts."""
    command = [str(tree.python), "-m", "compileall", "-q", str(tree.root / "exporter")]
    subprocess.run(command, check=True)


class Daemon:
    """`qsticky run`; a context manager."""

    def __init__(self, tree: Tree, environ: Mapping[str, str]) -> None:
        self._tree = tree
        self._environ = environ
        self._output = tree.folder / "output"

    def __enter__(self) -> Self:
        (self._tree.folder / "status.json").unlink(missing_ok=True)
        self.started_at = time.monotonic()
        with self._output.open("w") as output:
            self.process = subprocess.Popen(
                [self._tree.python, *QSTICKY, "run"],
                env=self._tree.environ(self._environ),
                cwd=self._tree.root,
                stdout=output,
                stderr=output,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @property
    def address(self) -> str:
        """Where its web server listens, once it does."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if found := re.search(r"metrics at http://(\S+)/", self._output.read_text()):
                return found[1]
            time.sleep(0.01)
        raise TimeoutError(f"{self._tree.name} serves no metrics:\n{self._output.read_text()}")

    def resident_bytes(self) -> int:
        """Return the memory that is really there."""
        text = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        (kilobytes,) = re.findall(r"^Rss:\s+(\d+) kB", text, re.MULTILINE)
        return int(kilobytes) * 1024

    def cpu_seconds(self) -> float:
        """Return the time for which it had a processor, all its living threads together."""
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(file.read_text().split()[0]) for file in threads) / 1e9


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
