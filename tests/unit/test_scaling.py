"""The page about many tunnels: its figures are those of the code."""

import re
from pathlib import Path

from exporter.daemon import lanes
from exporter.daemon import loop as daemon
from exporter.model import FEW_TUNNELS, Outcome, SyncState
from exporter.report.metrics import Metrics

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"


def series(tunnels: int) -> int:
    """How many series a scrape brings."""
    names = [f"t{number}" for number in range(tunnels)]
    metrics = Metrics("2.0.0", "", 30, names)
    for name in names:
        outcome = Outcome(
            name, SyncState.IN_SYNC, 1.0, 30, qbittorrent_up=True, qbittorrent_version="v5.1.0"
        )
        metrics.publish(outcome)
    return sum(len(family.samples) for family in metrics.registry.collect())


def test_the_page_tells_how_many_series_there_are() -> None:
    text = PAGE.read_text(encoding="utf-8")
    [told_tunnel] = re.findall(r"series for each tunnel \| (\d+) \|", text)
    [told_process] = re.findall(r"series for each process .* \| (\d+) \|", text)

    each = series(2) - series(1)
    assert (told_tunnel, told_process) == (str(each), str(series(1) - each))


def test_the_page_tells_the_limits_in_force() -> None:
    text = " ".join(PAGE.read_text(encoding="utf-8").split())

    assert f"At most {lanes.PROMPT_AT_ONCE} checks run at once" in text
    assert f"a lane of its own, of {lanes.SLOW_AT_ONCE}," in text
    assert f"never more than {daemon.MOST_THREADS} threads" in text
    assert f"{daemon.START_EVERY_SECONDS * 1000:.0f} ms apart" in text
    assert f"over {daemon.KEEP_OPEN_SECONDS:.0f} s away" in text
    assert (lanes.SLOW_SECONDS, FEW_TUNNELS) == (1.0, 10)
