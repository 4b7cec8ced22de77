"""The alert rules, checked by the promtool of three Prometheus releases."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.exposition import generate_latest

from exporter.model import Outcome, SyncState
from exporter.report.metrics import Metrics
from tests.alerts.cases import CASES
from tests.alerts.story import promtool_files
from tests.parts import monitoring

REPOSITORY = Path(__file__).parents[2]
ALERTS = REPOSITORY / "alerts.yml"
RUNBOOKS = REPOSITORY / "docs" / "runbooks.md"


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


EVERY_RULE = pytest.mark.parametrize("rule", [pytest.param(r, id=r["alert"]) for r in rules()])


@pytest.mark.parametrize("version", monitoring.VERSIONS)
def test_promtool_accepts_the_rules(version: str) -> None:
    promtool = monitoring.or_skip(lambda: monitoring.promtool(version))
    checked = monitoring.run(promtool, "check", "rules", "--lint=all", "--lint-fatal", ALERTS)
    assert "SUCCESS: 19 rules found" in checked.stdout, checked.stdout
    assert checked.returncode == 0


@pytest.mark.parametrize("version", monitoring.VERSIONS)
@pytest.mark.parametrize("name", CASES)
def test_exactly_the_expected_alerts_fire(name: str, version: str, tmp_path: Path) -> None:
    promtool = monitoring.or_skip(lambda: monitoring.promtool(version))
    for number, document in enumerate(promtool_files(str(ALERTS), CASES[name])):
        file = tmp_path / f"{number}.yml"
        file.write_text(yaml.safe_dump(document, sort_keys=False))
        tested = monitoring.run(promtool, "test", "rules", file)
        assert tested.returncode == 0, tested.stdout


def test_every_alert_has_cases() -> None:
    assert set(CASES) == {rule["alert"] for rule in rules()}


def test_every_state_but_in_sync_and_starting_has_an_alert() -> None:
    named = {
        state
        for rule in rules()
        for found in re.findall(r'qsticky_sync_state\{state=~?"([^"]+)"\}', rule["expr"])
        for state in found.split("|")
    }
    assert named == {state.value for state in SyncState} - {"in_sync", "starting"}


@EVERY_RULE
def test_an_alert_says_what_it_is_in_one_sentence_and_where_to_read_on(
    rule: dict[str, Any],
) -> None:
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert re.fullmatch(r"[^{}.]+\.", rule["annotations"]["summary"])
    assert rule["annotations"]["description"].endswith(".")
    address = "https://github.com/qsticky/qsticky/blob/main/docs/runbooks.md"
    assert rule["annotations"]["runbook_url"] == f"{address}#{rule['alert'].lower()}"
    assert rule["labels"]["severity"] in {"critical", "warning"}


@EVERY_RULE
def test_labels_carry_no_value_which_would_change_them_all_the_time(rule: dict[str, Any]) -> None:
    assert "$value" not in str(rule["labels"])


@EVERY_RULE
def test_a_counter_is_only_used_for_what_it_grew_by(rule: dict[str, Any]) -> None:
    counters = re.findall(r"\S*?(?=qsticky_\w+_total)", rule["expr"])
    for before in filter(None, counters):
        assert re.search(r"(rate|increase)\($", before), rule["expr"]


@EVERY_RULE
def test_windows_span_at_least_three_scrapes_a_minute_apart(rule: dict[str, Any]) -> None:
    for number, unit in re.findall(r"\[(\d+)([mhd])\]", rule["expr"]):
        assert int(number) * {"m": 1, "h": 60, "d": 1440}[unit] >= 3


@EVERY_RULE
def test_no_job_is_named(rule: dict[str, Any]) -> None:
    assert not re.search(r"job\s*(=|!)", rule["expr"])


@EVERY_RULE
def test_every_metric_and_label_value_is_one_that_we_export(rule: dict[str, Any]) -> None:
    metrics = Metrics("1.2.3", "abcdef", 30.0, ["default"])
    metrics.publish(Outcome("default", SyncState.IN_SYNC, 1.0, 30.0))
    exposition = generate_latest(metrics.registry).decode() + 'up{instance="nas:9809"} 1\n'
    selectors = re.findall(
        r"\b(qsticky_\w+|process_\w+|up)\b(?:\{(\w+)[=!]~?\"([^\"]*)\"\})?", rule["expr"]
    )
    assert selectors
    for metric, label, values in selectors:
        for value in values.split("|"):
            wanted = rf'{label}="{value}"' if label else ""
            assert re.search(rf"^{metric}[ {{].*{wanted}", exposition, re.MULTILINE), metric


@EVERY_RULE
def test_the_runbook_tells_how_to_go_on(rule: dict[str, Any]) -> None:
    sections = re.split(r"^## ", RUNBOOKS.read_text(), flags=re.MULTILINE)
    (section,) = [text for text in sections if text.splitlines()[0] == rule["alert"]]
    parts = ("**What it means.**", "**Confirm.**", "**Likely causes.**", "**When to ignore it.**")
    positions = [section.find(part) for part in parts]
    assert -1 not in positions, f"{rule['alert']} lacks {parts[positions.index(-1)]}"
    assert positions == sorted(positions)
