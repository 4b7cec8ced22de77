"""Draws how figures grow with the number of tunnels: a small picture each, all axes in powers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 280, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 34, 34
_LINE, _TEXT, _GRID = "#0969da", "#1f2328", "#d1d9e0"


@dataclass(frozen=True, slots=True)
class Curve:
    """What is drawn, and its points (number of tunnels, value)."""

    title: str
    points: Sequence[tuple[float, float]]


def draw(curves: Sequence[Curve]) -> str:
    """An SVG with the curves side by side."""
    width = _WIDTH * len(curves)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT}" '
        f'font-family="sans-serif" font-size="11" fill="{_TEXT}">',
        "<title>Growth with the number of tunnels</title>",
        f'<rect width="{width}" height="{_HEIGHT}" fill="#ffffff"/>',
    ]
    for number, curve in enumerate(curves):
        parts += [f'<g transform="translate({number * _WIDTH} 0)">', *_panel(curve), "</g>"]
    return "\n".join([*parts, "</svg>\n"])


def _panel(curve: Curve) -> list[str]:
    x_powers = _powers([x for x, _ in curve.points])
    y_powers = _powers([y for _, y in curve.points])

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            _scaled(x, x_powers, _LEFT, _WIDTH - _RIGHT),
            _scaled(y, y_powers, _HEIGHT - _BOTTOM, _TOP),
        )

    parts = [f'<text x="{_LEFT}" y="18" font-weight="bold">{escape(curve.title)}</text>']
    for power in y_powers:
        _, y = at(10 ** x_powers[0], 10**power)
        parts.append(_rule(_LEFT, y, _WIDTH - _RIGHT, y))
        parts.append(_label(_LEFT - 6, y + 4, "end", f"{10.0**power:,g}"))
    for power in x_powers:
        x, _ = at(10**power, 10 ** y_powers[0])
        parts.append(_rule(x, _TOP, x, _HEIGHT - _BOTTOM))
        parts.append(_label(x, _HEIGHT - _BOTTOM + 16, "middle", f"{10**power:,}"))
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in curve.points))
    parts.append(f'<polyline points="{line}" fill="none" stroke="{_LINE}" stroke-width="2"/>')
    for point in curve.points:
        x, y = at(*point)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{_LINE}"/>')
    return parts


def _powers(values: Sequence[float]) -> range:
    """The powers of ten between which the values lie."""
    lowest, highest = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return range(lowest, max(highest, lowest + 1) + 1)


def _scaled(value: float, powers: range, start: float, end: float) -> float:
    return start + (math.log10(value) - powers[0]) / (powers[-1] - powers[0]) * (end - start)


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{_GRID}"/>'


def _label(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'
