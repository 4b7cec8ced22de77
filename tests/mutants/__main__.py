"""Do the tests notice small mistakes? `python -m tests.mutants [module …] [--every N]`.

Survivors must be explained in docs/mutants.md; any other one makes it fail.
"""

import argparse
import ast
import importlib.abc
import importlib.machinery
import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
import requests  # noqa: F401  # so that no child has to
import yaml  # noqa: F401

from tests.mutants.mutator import Mutant, mutants

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "mutants.md"
_KINDS = ("kinds", "settings", "sources", "tunnels_file")
TESTS = {
    "clock": ["tests/unit/test_clock.py"],
    "model": ["tests/unit/test_model.py", "tests/unit/test_metrics.py"],
    "tunnel.decide": ["tests/unit/test_decide.py"],
    "tunnel.history": ["tests/unit/test_history.py"],
    "tunnel.events": ["tests/unit/test_events.py"],
    "tunnel.restart": ["tests/unit/test_restart.py", "tests/simulated/test_restart*.py"],
    "tunnel.tunnel": [
        "tests/simulated/test_check*.py",
        "tests/simulated/test_faults*.py",
        "tests/simulated/test_tunnel*.py",
    ],
    "servers.bind_log": ["tests/unit/test_bind_log.py"],
    "servers.logins": ["tests/unit/test_logins.py"],
    "servers.operations": ["tests/unit/test_operations.py"],
    "servers.session": ["tests/unit/test_session.py", "tests/simulated/test_logins*.py"],
    "daemon.loop": ["tests/simulated/test_daemon*.py", "tests/simulated/test_push*.py"],
    "daemon.publisher": ["tests/unit/test_publisher.py"],
    "daemon.scheduler": ["tests/unit/test_scheduler.py"],
    "report.board": ["tests/unit/test_board.py"],
    "report.safe_file": ["tests/unit/test_safe_file.py"],
    "report.saved": ["tests/unit/test_saved.py"],
    "report.status_file": ["tests/unit/test_status_file.py"],
    "report.tally": ["tests/unit/test_tally.py", "tests/unit/test_metrics.py"],
    "config.load": ["tests/unit/test_load.py"],
    "config.sources": ["tests/unit/test_sources.py"],
    "config.secret": ["tests/unit/test_secret.py"],
    "config.kinds": [f"tests/unit/test_{name}.py" for name in _KINDS],
    "config.given": ["tests/unit/test_kinds.py", "tests/unit/test_secret.py"],
    "config.tunnels_file": ["tests/unit/test_tunnels_file.py", "tests/unit/test_sources.py"],
    "config.strict_yaml": ["tests/unit/test_tunnels_file.py"],
    "healthcheck": ["tests/unit/test_healthcheck.py"],
}
"""The tests that guard a module; a pattern stands for every file that it finds."""
SLOW = "test_never_sets_a_port_that_gluetun_does_not_report_now"
"""It takes longer than all others together, so it runs where they notice nothing."""
CPU_LIMIT_SECONDS = 60
"""Of processor time, so that a busy machine notices no more than a quiet one."""


class Planted(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives out the module with the mistake in place of the right one."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self.name, self.path, self.tree = name, path, tree

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.name:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, origin=str(self.path))

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = str(self.path)
        exec(compile(self.tree, str(self.path), "exec"), module.__dict__)


def source_of(name: str) -> Path:
    """Where a module is, such as `tunnel.decide`."""
    return ROOT / "exporter" / f"{name.replace('.', '/')}.py"


def tests_of(name: str) -> list[str]:
    """The files of tests that guard a module."""
    return sorted(str(file) for pattern in TESTS[name] for file in ROOT.glob(pattern))


def survives(name: str, mutant: Mutant) -> bool:
    """Whether all tests pass although the module has a mistake; in a process of its own."""
    child = os.fork()
    if child == 0:
        # a mistake that never ends is noticed too
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT_SECONDS, CPU_LIMIT_SECONDS))
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        path = source_of(name)
        sys.meta_path.insert(0, Planted(f"exporter.{name}", path, mutant.tree))
        run = ["-x", "-q", "-p", "no:cacheprovider", *tests_of(name)]
        passed = pytest.main([*run, "-k", f"not {SLOW}"]) == pytest.ExitCode.OK
        if passed:
            ended = pytest.main([*run, "-k", SLOW])
            passed = ended in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        os._exit(0 if passed else 1)
    return os.waitpid(child, 0)[1] == 0


def say(line: str) -> None:
    """Print at once: the whole takes long."""
    print(line, flush=True)  # noqa: T201  # its output is the product


def main() -> int:
    """Try every mutant, or every Nth; returns 1 where an unexplained one survives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", default=list(TESTS), choices=[*TESTS, []])
    parser.add_argument("--every", type=int, default=1, metavar="N", help="try each Nth only")
    options = parser.parse_args()
    os.chdir(ROOT)
    os.environ["CI"] = ""  # a missing part of a test is no noticed mistake
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # none is needed, and each takes time
    explained = PAGE.read_text(encoding="utf-8")
    unexplained = 0
    for name in options.modules:
        source = source_of(name).read_text(encoding="utf-8")
        if not tests_of(name) or not survives(name, Mutant("none", ast.parse(source))):
            say(f"{name}: its tests are missing, or fail without any mutant")
            return 1
        tried = list(mutants(source))[:: options.every]
        survivors = [mutant.change for mutant in tried if survives(name, mutant)]
        for change in survivors:
            known = f"* `{name}` {change}" in explained
            unexplained += not known
            say(f"{name}: {change}{'' if known else '  <- not explained'}")
        say(f"{name}: {len(tried) - len(survivors)} of {len(tried)} noticed")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
