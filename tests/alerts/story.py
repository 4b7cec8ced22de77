"""What Prometheus sees of one qSticky with one tunnel, and what it is to make of that.

Prometheus scrapes once a minute here, so a minute is the number of a sample. Values are in
promtool's notation: `1x4` is five times 1, `0+60x4` grows, `_x2` is two failed scrapes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from exporter.model import SyncState

PROCESS = 'job="downloads",instance="nas:9809"'
TUNNEL = f'{PROCESS},tunnel="home"'
SERIES = {
    "up": f"up{{{PROCESS}}}",
    "build": f'qsticky_build_info{{{PROCESS},version="2.0.0"}}',
    "started": f"process_start_time_seconds{{{PROCESS}}}",
    "reloaded": f"qsticky_config_last_reload_successful{{{PROCESS}}}",
    "written": f"qsticky_status_file_last_write_timestamp_seconds{{{PROCESS}}}",
    "time": f"qsticky_time_seconds{{{PROCESS}}}",
    "opened": f"qsticky_port_open_duration_seconds_count{{{PROCESS}}}",
    "opened_soon": f'qsticky_port_open_duration_seconds_bucket{{{PROCESS},le="60.0"}}',
    "interval": f"qsticky_sync_interval_seconds{{{TUNNEL}}}",
    "attempt": f"qsticky_sync_last_attempt_timestamp_seconds{{{TUNNEL}}}",
    "checks": f"qsticky_syncs_total{{{TUNNEL}}}",
    "errors": f"qsticky_syncs_with_errors_total{{{TUNNEL}}}",
    "in_sync": f"qsticky_port_in_sync{{{TUNNEL}}}",
    "torrents": f"qsticky_qbittorrent_has_torrents{{{TUNNEL}}}",
    "firewalled": f'qsticky_qbittorrent_connection_status{{{TUNNEL},state="firewalled"}}',
    "changes": f"qsticky_port_changes_total{{{TUNNEL}}}",
    "drifts": f"qsticky_port_drifts_total{{{TUNNEL}}}",
}


@dataclass(frozen=True)
class Case:
    """A story, and the names of all alerts that fire at some of its minutes."""

    name: str
    series: Mapping[str, str]
    firing: Mapping[int, str]
    """Alerts by minute, with blanks between them."""
    said: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    """An alert by minute, and the description that its receiver reads."""
    evaluated_every: str = "1m"

    def promtool_test(self, rules: Mapping[str, Any]) -> dict[str, Any]:
        """Return it as one of promtool's test groups."""
        return {
            "name": self.name,
            "interval": "1m",
            "input_series": [{"series": s, "values": v} for s, v in self.series.items()],
            "promql_expr_test": [
                {
                    "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                    "eval_time": f"{minute}m",
                    "exp_samples": [
                        {"labels": f'{{alertname="{name}"}}', "value": 1} for name in names.split()
                    ],
                }
                for minute, names in self.firing.items()
            ],
            "alert_rule_test": [
                _description_test(minute, rules[name], description)
                for minute, (name, description) in self.said.items()
            ],
        }


def _description_test(minute: int, rule: Mapping[str, Any], description: str) -> dict[str, Any]:
    labels = {"job": "downloads", "instance": "nas:9809", **rule["labels"]}
    if "$labels.tunnel" in rule["annotations"]["description"]:
        labels["tunnel"] = "home"
    annotations = {**rule["annotations"], "description": description}
    expected = {"exp_labels": labels, "exp_annotations": annotations}
    return {"eval_time": f"{minute}m", "alertname": rule["alert"], "exp_alerts": [expected]}


def story(minutes: int, **changed: str) -> dict[str, str]:
    """Return the series of a tunnel in sync for so many minutes, with some of them changed."""
    values = {name: f"0x{minutes}" for name in SERIES}
    values |= dict.fromkeys(("up", "build", "reloaded", "in_sync"), f"1x{minutes}")
    values |= dict.fromkeys(("time", "attempt", "written"), f"0+60x{minutes}")
    values |= {"started": f"-7200x{minutes}", "interval": f"30x{minutes}"}
    values |= {"checks": f"0+2x{minutes}", **changed}
    return {SERIES[name]: said for name, said in values.items()}


def states(*runs: tuple[SyncState, int], tunnel: str = TUNNEL) -> dict[str, str]:
    """Return the series of all states of a tunnel that is in each of these for some minutes."""
    by_state = {
        state: " ".join(f"{int(now is state)}x{minutes - 1}" for now, minutes in runs)
        for state in SyncState
    }
    series = {
        f'qsticky_sync_state{{{tunnel},state="{state.value}"}}': values
        for state, values in by_state.items()
    }
    return series | {f"qsticky_port_in_sync{{{tunnel}}}": by_state[SyncState.IN_SYNC]}
