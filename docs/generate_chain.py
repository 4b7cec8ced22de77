"""Measure which fault gives which alert, and write it into docs/runbooks.md.

`python -m docs.generate_chain` takes two minutes and needs the real Prometheus and Alertmanager.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import yaml

from tests.parts.chain import Measured, measure
from tests.real.chain_faults import FAULTS

PAGE = Path(__file__).with_name("runbooks.md")
ALERTS = PAGE.parent.parent / "alerts.yml"
BEGIN, END = "<!-- measured: chain -->", "<!-- end of measured: chain -->"


def table(measured: Iterable[Measured]) -> str:
    """One line for each fault."""
    severities = {
        rule["alert"]: rule["labels"]["severity"]
        for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    }
    lines = ["| What happens | Alert | Severity |", "|---|---|---|"]
    for one in measured:
        alerts = sorted(one.alerts)
        links = ", ".join(f"[{alert}](#{alert.lower()})" for alert in alerts) or "none"
        words = ", ".join(severities[alert] for alert in alerts)
        lines.append(f"| {one.fault.title} | {links} | {words} |")
    return "\n".join(lines)


def generated(page: str, measured: Iterable[Measured]) -> str:
    """The page with the table made anew; the prose around it stays."""
    head, rest = page.split(BEGIN)
    return f"{head}{BEGIN}\n{table(measured)}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), FAULTS)
    for one in found:
        if one.error or one.unresolved or one.in_prometheus != one.alerts:
            print(f"{one.fault.name}: {one.error} {one.told} {one.in_prometheus}", file=sys.stderr)
    PAGE.write_text(generated(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
