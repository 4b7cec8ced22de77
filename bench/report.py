"""Writes what was measured: a table, JSON, and the generated part of docs/performance.md."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict

from bench.curve import Curve, draw
from bench.figures import TIMES, Figure
from bench.growth import Size
from bench.processes import ROOT

JSON_FILE = ROOT / "test-output" / "bench.json"
PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "img" / "growth.svg"
_BEGIN, _END = "<!-- written by make bench: begin -->", "<!-- written by make bench: end -->"


def table(figures: Sequence[Figure]) -> str:
    """The figures for a terminal."""
    width = max(len(figure.name) for figure in figures)
    return "\n".join(
        f"{figure.name:<{width}}  {_value(figure):>12}  {_aim(figure)}".rstrip()
        for figure in figures
    )


def write_json(figures: Sequence[Figure], sizes: Sequence[Size]) -> None:
    """All figures as they are, for programs."""
    JSON_FILE.parent.mkdir(exist_ok=True)
    document = {
        "machine": _machine(),
        "figures": [{**asdict(figure), "verdict": figure.verdict} for figure in figures],
        "growth": [asdict(size) for size in sizes],
    }
    JSON_FILE.write_text(json.dumps(document, indent=2) + "\n")


def write_page(figures: Sequence[Figure], sizes: Sequence[Size]) -> None:
    """Put the figures between the marks in the page, and draw the picture beside it."""
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    after = rest.partition(_END)[2]
    PAGE.write_text(f"{before}{_BEGIN}\n\n{_generated(figures, sizes)}\n{_END}{after}")
    PICTURE.write_text(draw(_curves(sizes)))


def _generated(figures: Sequence[Figure], sizes: Sequence[Size]) -> str:
    lines = [f"Measured on {_machine()}.", "", "| what | figure | aim |", "|---|--:|---|"]
    lines += [f"| {figure.name} | {_value(figure)} | {_aim(figure)} |" for figure in figures]
    lines += [
        "",
        "| tunnels | memory | CPU of a check | scrape, median | scrape, bytes | gzip, bytes |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {size.tunnels:,} | {size.resident_bytes / 1e6:.1f} MB "
        f"| {size.cpu_per_cycle * 1e3:.1f} ms | {size.scrape_p50['plain'] * 1e3:.1f} ms "
        f"| {size.scrape_bytes['plain']:,} | {size.scrape_bytes['gzip']:,} |"
        for size in sizes
    ]
    return "\n".join([*lines, ""])


def _curves(sizes: Sequence[Size]) -> list[Curve]:
    return [
        Curve("Memory, MB", [(s.tunnels, s.resident_bytes / 1e6) for s in sizes]),
        Curve("CPU of a check, ms", [(s.tunnels, s.cpu_per_cycle * 1e3) for s in sizes]),
        Curve("Scrape, median, ms", [(s.tunnels, s.scrape_p50["plain"] * 1e3) for s in sizes]),
    ]


def _value(figure: Figure) -> str:
    digits = 0 if abs(figure.value) >= 100 or not figure.unit else 1 if figure.unit != TIMES else 2
    return f"{figure.value:.{digits}f} {figure.unit}".strip()


def _aim(figure: Figure) -> str:
    if figure.aim is None:
        return ""
    return f"{figure.verdict}: at most {figure.aim:g} {figure.unit}"


def _machine() -> str:
    return (
        f"a shared {platform.system()} machine with {os.cpu_count()} {platform.machine()} "
        f"processors, Python {'.'.join(platform.python_version_tuple()[:2])}"
    )
