"""Do the tests notice small mistakes? `python -m tests.mutants [module …] [--every N]`.

Survivors must be explained in docs/mutants.md; any other one makes it fail.
"""

import argparse
import ast
import importlib.abc
import importlib.machinery
import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import hypothesis  # noqa: F401  # so that no child has to
import prometheus_client  # noqa: F401
import pytest
import requests  # noqa: F401
import schedule  # noqa: F401
import yaml  # noqa: F401

from tests.mutants.mutator import Mutant, mutants

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "mutants.md"
TESTS = {
    "clock": ["unit/test_clock", "unit/test_page"],
    "model": ["unit/test_model", "unit/test_metrics", "simulated/test_port"],
    "tunnel.decide": ["unit/test_decide", "simulated/test_port"],
    "tunnel.state": ["unit/test_decide", "simulated/test_port"],
    "tunnel.tunnel": [
        "simulated/test_port",
        "simulated/test_questions",
        "simulated/test_logins",
        "simulated/test_loop",
        "simulated/test_vpn_restart",
        "simulated/test_watching",
        "simulated/test_closed",
        "simulated/test_faults",
    ],
    "tunnel.observe": [
        "simulated/test_questions",
        "simulated/test_port",
        "simulated/test_closed",
        "simulated/test_faults",
    ],
    "tunnel.write": [
        "simulated/test_port",
        "simulated/test_closed",
        "simulated/test_faults",
        "simulated/test_messages",
    ],
    "tunnel.proof": ["simulated/test_closed", "simulated/test_port"],
    "tunnel.history": ["unit/test_history"],
    "tunnel.events": ["unit/test_events"],
    "tunnel.outside": ["unit/test_outside", "simulated/test_reachability"],
    "tunnel.restart": ["unit/test_restart", "simulated/test_vpn_restart"],
    "servers.bind_log": ["unit/test_bind_log"],
    "servers.logins": ["unit/test_logins"],
    "servers.session": ["unit/test_session", "simulated/test_logins", "simulated/test_messages"],
    "servers.qbittorrent": [
        "simulated/test_port",
        "simulated/test_questions",
        "simulated/test_messages",
        "simulated/test_faults",
    ],
    "servers.gluetun": [
        "simulated/test_gluetun_access",
        "simulated/test_port",
        "simulated/test_questions",
        "simulated/test_vpn_restart",
        "simulated/test_check",
        "simulated/test_messages",
        "simulated/test_faults",
    ],
    "servers.operations": ["unit/test_operations"],
    "servers.connection": ["unit/test_http"],
    "servers.cookies": ["unit/test_session", "simulated/test_logins"],
    "servers.reachability": ["unit/test_reachability", "simulated/test_reachability"],
    "daemon.loop": [
        "simulated/test_loop",
        "simulated/test_reload",
        "simulated/test_status_file",
        "simulated/test_reachability",
    ],
    "daemon.prober": ["simulated/test_reachability"],
    "daemon.publisher": ["unit/test_publisher", "simulated/test_status_file"],
    "daemon.scheduler": ["unit/test_scheduler"],
    "report.board": ["unit/test_board"],
    "report.log": ["unit/test_log"],
    "report.metrics": ["unit/test_metrics", "unit/test_tally"],
    "report.notices": ["unit/test_notices", "simulated/test_notifications"],
    "report.notifier": ["unit/test_notifier", "simulated/test_notifications"],
    "report.safe_file": ["unit/test_safe_file"],
    "report.saved": ["unit/test_saved"],
    "report.status_file": ["unit/test_status_file", "unit/test_status_file_page"],
    "report.tally": ["unit/test_tally", "unit/test_metrics"],
    "config.load": ["unit/test_load"],
    "config.settings": ["unit/test_settings", "unit/test_load", "unit/test_sources"],
    "config.sources": ["unit/test_sources", "unit/test_load"],
    "config.secret": ["unit/test_secret"],
    "config.kinds": ["unit/test_kinds", "unit/test_settings", "unit/test_sources"],
    "config.given": ["unit/test_kinds", "unit/test_secret"],
    "config.tunnels_file": ["unit/test_tunnels_file", "unit/test_sources"],
    "config.strict_yaml": ["unit/test_tunnels_file"],
    "healthcheck": ["unit/test_healthcheck"],
    "web.lengths": ["unit/test_webserver"],
}
"""The few tests that guard a module, the fastest first."""
SLOW = "test_never_sets_a_port_that_gluetun_does_not_report_now"
"""It takes longer than all others together, so it runs where they notice nothing."""
CPU_LIMIT_SECONDS = 30
"""Of processor time, so that a busy machine notices no more than a quiet one."""
WAIT_LIMIT_SECONDS = 120
"""For what waits for something that never comes."""


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
    files = [ROOT / "tests" / f"{test}.py" for test in TESTS[name]]
    missing = [str(file) for file in files if not file.exists()]
    if missing:
        raise FileNotFoundError(", ".join(missing))
    return [str(file) for file in files]


def survives(name: str, mutant: Mutant) -> bool:
    """Whether all tests pass although the module has a mistake; in a process of its own."""
    child = os.fork()
    if child == 0:
        # a mistake that never ends is noticed too
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT_SECONDS, CPU_LIMIT_SECONDS))
        signal.alarm(WAIT_LIMIT_SECONDS)
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


def try_module(name: str, every: int, explained: list[str]) -> int:
    """Try the mutants of a module; returns how many lines of the page are missing or stale."""
    source = source_of(name).read_text(encoding="utf-8")
    if not survives(name, Mutant("none", ast.parse(source))):
        say(f"{name}: its tests fail without any mutant")
        return 1
    prefix = f"* `{name}` "
    known = {line.removeprefix(prefix) for line in explained if line.startswith(prefix)}
    possible = list(mutants(source))
    stale = known - {mutant.change for mutant in possible}
    for change in sorted(stale):
        say(f"{name}: {change}  <- explained, but no mutant of today's code")
    tried, survivors = possible[::every], set[str]()
    for mutant in tried:
        if survives(name, mutant):
            survivors.add(mutant.change)
            say(f"{name}: {mutant.change}{'' if mutant.change in known else '  <- not explained'}")
    say(f"{name}: {len(tried) - len(survivors)} of {len(tried)} noticed")
    return len(stale) + len(survivors - known)


def main() -> int:
    """Try every mutant, or every Nth; returns 1 where an unexplained one survives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", default=list(TESTS), choices=[*TESTS, []])
    parser.add_argument("--every", type=int, default=1, metavar="N", help="try each Nth only")
    options = parser.parse_args()
    os.chdir(ROOT)
    os.environ["CI"] = ""  # a missing part of a test is no noticed mistake
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # none is needed, and each takes time
    explained = PAGE.read_text(encoding="utf-8").splitlines()
    wrong = [try_module(name, options.every, explained) for name in options.modules]
    return 1 if any(wrong) else 0


if __name__ == "__main__":
    sys.exit(main())
