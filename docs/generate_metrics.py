"""Write the generated parts of docs/metrics.md: `python -m docs.generate_metrics`."""

from __future__ import annotations

from pathlib import Path

from exporter.model import ConnectionStatus, Operation, SyncState, VpnStatus
from exporter.report.metrics import ROWS
from exporter.report.tally import BUCKETS, LOG_LEVELS, REASONS

PAGE = Path(__file__).with_name("metrics.md")


def metric_table() -> str:
    """One line for each metric."""
    lines = ["| Name | Type | Labels | Meaning |", "|---|---|---|---|"]
    for row in ROWS:
        labels = ", ".join(f"`{label}`" for label in row.labels) or "none"
        lines.append(f"| `{row.name}` | {row.kind} | {labels} | {row.help} |")
    return "\n".join(lines)


def value_table() -> str:
    """The values of the labels that have a closed set of them."""
    values = {
        "`state` of `qsticky_sync_state`": SyncState,
        "`state` of `qsticky_vpn_status`": VpnStatus,
        "`state` of `qsticky_qbittorrent_connection_status`": ConnectionStatus,
        "`operation`": Operation,
        "`gluetun_auth`": ("none", "basic", "apikey"),
        "`qbittorrent_auth`": ("password", "apikey", "bypass"),
        "`level`": LOG_LEVELS,
        "`le`": (*map(str, BUCKETS), "+Inf"),
    }
    lines = ["| Label | Values |", "|---|---|"]
    lines += [
        f"| {label} | {', '.join(f'`{v}`' for v in some)} |" for label, some in values.items()
    ]
    return "\n".join(lines)


def reason_table() -> str:
    """The reasons that each operation can fail for."""
    lines = ["| `operation` | `reason` |", "|---|---|"]
    for operation, reasons in REASONS.items():
        lines.append(f"| `{operation}` | {', '.join(f'`{reason}`' for reason in reasons)} |")
    return "\n".join(lines)


def generated(page: str) -> str:
    """The page with its generated parts made anew; the prose around them stays."""
    tables = {"metrics": metric_table(), "values": value_table(), "reasons": reason_table()}
    for name, table in tables.items():
        begin, end = f"<!-- generated: {name} -->", f"<!-- end of generated: {name} -->"
        head, rest = page.split(begin)
        page = f"{head}{begin}\n{table}\n{end}{rest.split(end)[1]}"
    return page


if __name__ == "__main__":
    PAGE.write_text(generated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
