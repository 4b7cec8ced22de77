"""Write what is generated in the documentation, and the alerts for Kubernetes: `make docs`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from docs import generate_schema
from docs.generate_settings import settings_table, variables_table
from exporter.model import ConnectionStatus, Operation, SyncState, VpnStatus
from exporter.report.metrics import ROWS
from exporter.report.tally import LOG_LEVELS, OPENING_BOUNDS, OPERATION_BOUNDS, REASONS

ROOT = Path(__file__).parents[1]
ALERTS = ROOT / "alerts.yml"
PROMETHEUS_RULE = ROOT / "deploy" / "kubernetes" / "base" / "prometheusrule.yaml"


def files() -> dict[Path, str]:
    """Return every generated file with what it has to hold."""
    tables = {
        "README.md": {"variables": variables_table()},
        "docs/configuration.md": {"settings": settings_table()},
        "docs/metrics.md": {
            "metrics": metric_table(),
            "values": value_table(),
            "reasons": reason_table(),
        },
        "docs/runbooks.md": {"alerts": alert_table()},
    }
    pages = {ROOT / name: filled_in(ROOT / name, tables[name]) for name in tables}
    return pages | {
        PROMETHEUS_RULE: prometheus_rule(),
        generate_schema.SCHEMA: generate_schema.text(),
    }


def filled_in(page: Path, tables: dict[str, str]) -> str:
    """Return the page with its tables replaced; the text around them stays."""
    text = page.read_text(encoding="utf-8")
    for name, table in tables.items():
        begin, end = f"<!-- generated: {name} -->", f"<!-- end of generated: {name} -->"
        head, rest = text.split(begin)
        text = f"{head}{begin}\n{table}\n{end}{rest.split(end)[1]}"
    return text


def metric_table() -> str:
    """Return one line for each metric."""
    return _table(
        ("Name", "Type", "Labels", "Meaning"),
        ((f"`{row.name}`", row.kind, _codes(row.labels) or "none", row.help) for row in ROWS),
    )


def value_table() -> str:
    """Return the values of every label that has a closed set of them."""
    values = {
        "`state` of `qsticky_sync_state`": SyncState,
        "`state` of `qsticky_vpn_status`": VpnStatus,
        "`state` of `qsticky_qbittorrent_connection_status`": ConnectionStatus,
        "`operation`": Operation,
        "`gluetun_auth`": ("none", "basic", "apikey"),
        "`qbittorrent_auth`": ("password", "apikey", "bypass"),
        "`level`": LOG_LEVELS,
        "`le` of `qsticky_operation_duration_seconds`": (*map(str, OPERATION_BOUNDS), "+Inf"),
        "`le` of `qsticky_port_open_duration_seconds`": (*map(str, OPENING_BOUNDS), "+Inf"),
    }
    return _table(("Label", "Values"), ((label, _codes(some)) for label, some in values.items()))


def reason_table() -> str:
    """Return the reasons for which each operation can fail."""
    return _table(
        ("`operation`", "`reason`"),
        ((f"`{operation}`", _codes(reasons)) for operation, reasons in REASONS.items()),
    )


def alert_table() -> str:
    """Return one line for each alert, with a link to what to do about it."""
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    rules: list[dict[str, Any]] = [rule for group in groups for rule in group["rules"]]
    return _table(
        ("Alert", "Severity", "Meaning", "`for`"),
        (
            (
                f"[{rule['alert']}](#{rule['alert'].lower()})",
                rule["labels"]["severity"],
                rule["annotations"]["summary"],
                rule.get("for", ""),
            )
            for rule in rules
        ),
    )


def prometheus_rule() -> str:
    """Return the alerts as the Prometheus Operator reads them."""
    _, line, groups = ALERTS.read_text(encoding="utf-8").partition("groups:\n")
    head = """\
        # Generated from alerts.yml by `make docs`: kustomize can't make this kind from a file.
        apiVersion: monitoring.coreos.com/v1
        kind: PrometheusRule
        metadata:
          name: qsticky
        spec:
        """
    return textwrap.dedent(head) + textwrap.indent(line + groups, "  ")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _codes(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


if __name__ == "__main__":
    for file, text in files().items():
        file.write_text(text, encoding="utf-8")
