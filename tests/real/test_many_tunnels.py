"""A thousand tunnels in one process, a hundred of them hanging, at the usual interval.

Their servers note when they are asked. The aim is a lateness of a second at p99, and each run
prints what it was. A test fails only where servers that hang hold others up, which costs their
time-outs, one after another: machines are noisy.
"""

import re
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import pytest

from tests.parts.daemon import QstickyProcess
from tests.parts.many_servers import ManyServers, address

TUNNELS = 1000
INTERVAL_SECONDS = 30.0
RUN_SECONDS = 2.5 * INTERVAL_SECONDS
HANGING = frozenset(range(3, TUNNELS, 10))
"""Their servers take the connection and never answer."""
GOOD = frozenset(range(TUNNELS)) - HANGING
LATE_AT_MOST_SECONDS = 10.0
MEGABYTES_AT_MOST = 120.0


@dataclass(frozen=True)
class Run:
    """What was seen from outside."""

    metrics: str
    output: str
    asked: dict[int, list[float]]
    """When each tunnel's Gluetun was asked for its port, since the start."""

    def states(self) -> Counter[str]:
        pattern = r'^qsticky_sync_state\{.*state="(\w+)".*\} 1\.0$'
        return Counter(re.findall(pattern, self.metrics, re.MULTILINE))

    def value(self, metric: str) -> float:
        (found,) = re.findall(rf"^{metric} (\S+)$", self.metrics, re.MULTILINE)
        return float(found)

    def late(self) -> list[float]:
        """Return how long after its interval each good tunnel was asked again, in order."""
        gaps = [b - a for number in GOOD for a, b in pairwise(self.asked[number])]
        return sorted(gap - INTERVAL_SECONDS for gap in gaps if gap > INTERVAL_SECONDS / 2)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, show: Callable[[str], None]) -> Run:
    folder = tmp_path_factory.mktemp("many")
    with ManyServers() as servers:
        (folder / "qsticky.yaml").write_text(servers.entries(range(TUNNELS)))
        servers.hang(HANGING)
        environ = {
            "QSTICKY_CONFIG": str(folder / "qsticky.yaml"),
            "CHECK_INTERVAL": f"{INTERVAL_SECONDS:g}",
            "WEB_LISTEN_ADDRESS": "127.0.0.1:0",
        }
        started = time.monotonic()
        with QstickyProcess(environ, folder) as daemon:
            line = daemon.wait_for("metrics at http://")
            time.sleep(RUN_SECONDS)
            (where,) = re.findall(r"http://\S+/", line)
            with urllib.request.urlopen(f"{where}metrics", timeout=60) as answer:
                metrics = answer.read().decode()
            output = daemon.output
            seen = servers.seen()["asked"]
            assert daemon.stop() == 0
    asked = {n: [at - started for at in seen.get(address(n), ())] for n in range(TUNNELS)}
    made = Run(metrics, output, asked)
    late = made.late()
    percentiles = [f"p{part} {late[len(late) * part // 100]:.3f} s" for part in (50, 99)]
    show(f"a thousand tunnels, a hundred hang: late {', '.join(percentiles)}")
    return made


def test_all_whose_servers_answer_are_in_sync_and_the_others_are_not(run: Run) -> None:
    assert run.states() == {"in_sync": len(GOOD), "gluetun_unreachable": len(HANGING)}


def test_each_tunnel_is_checked_in_each_interval(run: Run) -> None:
    assert min(len(run.asked[number]) for number in GOOD) >= 2
    assert max(run.asked[number][0] for number in GOOD) < 2 * INTERVAL_SECONDS


def test_servers_that_hang_hold_up_no_other_tunnel(run: Run) -> None:
    late = run.late()
    assert len(late) > len(GOOD)
    assert late[len(late) * 99 // 100] < LATE_AT_MOST_SECONDS


def test_memory_is_bounded_and_nothing_goes_wrong(run: Run) -> None:
    assert run.value("process_resident_memory_bytes") < MEGABYTES_AT_MOST * 1e6
    assert "unexpected error" not in run.output
    assert "Traceback" not in run.output
