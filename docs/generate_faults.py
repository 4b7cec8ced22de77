"""Write docs/faults.md: lets every fault happen on simulated servers, and notes what comes of it.

Run it with `python -m docs.generate_faults`; it takes a minute.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.simulated.faults import Result, play, scenes

PAGE = Path(__file__).with_name("faults.md")

_HEAD = """\
# When something goes wrong

What qSticky does when an exchange fails, one table for each operation. It is written by
`python -m docs.generate_faults`, which lets each fault happen on simulated servers, and
`tests/simulated/test_faults.py` checks every row.

In all of them: qBittorrent keeps its port unless a row says otherwise; the log says it once, and
once more when it is over; the metrics, status.json and the status page show the same state; no
credentials follow a redirect. `CHECK_INTERVAL` and `REQUEST_TIMEOUT` have their defaults.

* **State**: what `qsticky_sync_state` and `state` in status.json say.
* **Counted as**: `operation: reason` of `qsticky_operation_failures_total`.
* **Next look**: when qSticky looks again, the fault being new.
* **Back after**: how long after the end of the fault all is well, the fault having lasted for
  two looks.
"""
_COLUMNS = ("Fault", "State", "Counted as", "Log", "Next look", "Back after")


def write() -> None:
    """Let every fault happen and write the page."""
    with pytest.MonkeyPatch.context() as patch:
        results = []
        for scene in scenes():
            with tempfile.TemporaryDirectory() as folder:
                results.append(play(scene, Path(folder), patch))
    PAGE.write_text(page(results), encoding="utf-8")


def page(results: Iterable[Result]) -> str:
    """The whole page."""
    lines = [_HEAD]
    step = ""
    for result in results:
        if result.step != step:
            step = result.step
            lines += [f"\n## {step[0].upper()}{step[1:]}\n"]
            lines += [f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|"]
        lines.append(row(result))
    return "\n".join(lines) + "\n"


def row(result: Result) -> str:
    """One line of a table."""
    said = "<br>".join(f"{level}: {message}" for level, message in result.said) or "-"
    state = result.state
    if result.writes and state != "in_sync":
        state += f" (the port is set to {result.writes[-1]} all the same)"
    cells = (
        result.fault,
        state,
        result.reason or "-",
        said.replace("|", "\\|"),
        _time(result.next_look_seconds),
        _time(result.back_after_seconds),
    )
    return f"| {' | '.join(cells)} |"


def _time(seconds: float) -> str:
    return f"{round(seconds / 60, 1):g} min" if seconds >= 60 else f"{seconds:g} s"


if __name__ == "__main__":
    write()
