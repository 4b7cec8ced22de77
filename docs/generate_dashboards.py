"""Write the Grafana dashboards: `python -m docs.generate_dashboards`."""

from __future__ import annotations

import json
from pathlib import Path

from docs.dashboards.details import details
from docs.dashboards.overview import overview

FOLDER = Path(__file__).parents[1] / "grafana" / "dashboards"
DASHBOARDS = {"qsticky-overview.json": overview, "qsticky-details.json": details}


def generated(name: str) -> str:
    """What the file of that name has to hold."""
    return json.dumps(DASHBOARDS[name](), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name in DASHBOARDS:
        (FOLDER / name).write_text(generated(name), encoding="utf-8")
