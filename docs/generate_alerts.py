"""Write the table of alerts in docs/runbooks.md: `python -m docs.generate_alerts`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

PAGE = Path(__file__).with_name("runbooks.md")
ALERTS = PAGE.parents[1] / "alerts.yml"
BEGIN, END = "<!-- generated: alerts -->", "<!-- end of generated: alerts -->"


def alert_table() -> str:
    """One line for each alert."""
    lines = ["| Alert | Severity | Says | `for` |", "|---|---|---|---|"]
    return "\n".join([*lines, *map(_line, rules())])


def rules() -> list[dict[str, Any]]:
    """The rules of alerts.yml, in their order."""
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def generated(page: str) -> str:
    """The page with its table made anew; the prose around it stays."""
    head, rest = page.split(BEGIN)
    return f"{head}{BEGIN}\n{alert_table()}\n{END}{rest.split(END)[1]}"


def _line(rule: dict[str, Any]) -> str:
    name = rule["alert"]
    link = f"[{name}](#{name.lower()})"
    return (
        f"| {link} | {rule['labels']['severity']} | {rule['annotations']['summary']} "
        f"| {rule.get('for', '')} |"
    )


if __name__ == "__main__":
    PAGE.write_text(generated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
