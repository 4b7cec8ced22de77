"""Write the generated manifests in deploy/kubernetes/base: the alerts and the dashboards.

Run it with `python -m docs.generate_kubernetes`. They are copies, since kustomize reads nothing
outside of its own folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
BASE = ROOT / "deploy" / "kubernetes" / "base"
ALERTS = ROOT / "alerts.yml"
DASHBOARDS = ROOT / "grafana" / "dashboards"

RULES_FILE = BASE / "prometheusrule.yaml"
DASHBOARDS_FILE = BASE / "dashboards.yaml"


class _Dumper(yaml.SafeDumper):
    """Keeps texts of several lines readable, and writes no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _text)


def rules() -> str:
    """The alerts, as the Prometheus Operator wants them."""
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    document = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "qsticky"},
        "spec": {"groups": groups},
    }
    return _written("alerts.yml", document)


def dashboards() -> str:
    """A ConfigMap for each dashboard, with the label that Grafana's sidecar looks for."""
    documents = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": file.stem, "labels": {"grafana_dashboard": "1"}},
            "data": {file.name: file.read_text(encoding="utf-8")},
        }
        for file in sorted(DASHBOARDS.glob("*.json"))
    ]
    return _written("grafana/dashboards", *documents)


def _written(source: str, *documents: dict[str, Any]) -> str:
    text = yaml.dump_all(
        documents, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True
    )
    return f"# Generated from {source} by `make docs`; change it there.\n{text}"


if __name__ == "__main__":
    RULES_FILE.write_text(rules(), encoding="utf-8")
    DASHBOARDS_FILE.write_text(dashboards(), encoding="utf-8")
