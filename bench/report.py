"""Writes what was measured: a table, JSON, and the generated part of docs/performance.md."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict

from bench.measures import TIMES, Figure
from bench.trees import ROOT

JSON_FILE = ROOT / "test-output" / "bench.json"
PAGE = ROOT / "docs" / "performance.md"
_BEGIN, _END = "<!-- written by make bench: begin -->", "<!-- written by make bench: end -->"


def table(figures: Sequence[Figure], names: Sequence[str]) -> str:
    """Return the figures for a terminal."""
    rows = [["", *_columns(names)], *map(_cells, figures)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def write_json(figures: Sequence[Figure]) -> None:
    """Write all figures as they are, for programs."""
    JSON_FILE.parent.mkdir(exist_ok=True)
    document = {"machine": _machine(), "figures": [asdict(figure) for figure in figures]}
    JSON_FILE.write_text(json.dumps(document, indent=2) + "\n")


def write_page(figures: Sequence[Figure], names: Sequence[str]) -> None:
    """Put the figures between the marks in the page."""
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    after = rest.partition(_END)[2]
    lines = [f"Measured on {_machine()}.", ""]
    lines += [_row(["what", *_columns(names)]), "|---|" + "--:|" * len(_columns(names))]
    lines += [_row(_cells(figure)) for figure in figures]
    PAGE.write_text("\n".join([f"{before}{_BEGIN}", "", *lines, "", f"{_END}{after}"]))


def _columns(names: Sequence[str]) -> list[str]:
    return [*names, *(["ratio"] if len(names) > 1 else []), "aim"]


def _cells(figure: Figure) -> list[str]:
    cells = [figure.name, *(_value(value, figure.unit) for value in figure.values)]
    if len(figure.values) > 1:
        cells.append(f"{figure.values[0] / figure.values[1]:.2f}")
    if figure.aim is None:
        return [*cells, ""]
    verdict = "reached" if figure.values[0] <= figure.aim else "missed"
    return [*cells, f"{verdict}: at most {figure.aim:g} {figure.unit}"]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _value(value: float, unit: str) -> str:
    digits = 0 if abs(value) >= 100 else 2 if unit == TIMES else 1
    return f"{value:.{digits}f} {unit}"


def _machine() -> str:
    return (
        f"a shared {platform.system()} machine with {os.cpu_count()} {platform.machine()} "
        f"processors, Python {'.'.join(platform.python_version_tuple()[:2])}"
    )
