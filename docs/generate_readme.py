"""Write the generated tables of README.md: `python -m docs.generate_readme`."""

from __future__ import annotations

from pathlib import Path

from docs.generate_alerts import rules
from docs.generate_settings import variables_table
from exporter.report.metrics import ROWS

README = Path(__file__).parents[1] / "README.md"


def generated(page: str) -> str:
    """The page with its tables made anew; the prose around them stays."""
    tables = {
        "variables": variables_table(),
        "metrics": metrics_table(),
        "alerts": alerts_table(),
    }
    for name, table in tables.items():
        begin, end = f"<!-- generated: {name} -->", f"<!-- end of generated: {name} -->"
        head, rest = page.split(begin)
        page = f"{head}{begin}\n{table}\n{end}{rest.split(end)[1]}"
    return page


def metrics_table() -> str:
    """One line for each metric: what it tells."""
    lines = ["| Metric | Meaning |", "|---|---|"]
    lines += [f"| `{row.name}` | {row.help} |" for row in ROWS]
    return "\n".join(lines)


def alerts_table() -> str:
    """One line for each alert; its name leads to what to do."""
    lines = ["| Alert | Severity | Says |", "|---|---|---|"]
    for rule in rules():
        name, summary = rule["alert"], rule["annotations"]["summary"]
        link = f"[{name}](docs/runbooks.md#{name.lower()})"
        lines.append(f"| {link} | {rule['labels']['severity']} | {summary} |")
    return "\n".join(lines)


if __name__ == "__main__":
    README.write_text(generated(README.read_text(encoding="utf-8")), encoding="utf-8")
