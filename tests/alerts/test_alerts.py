"""The alert rules in promtool's virtual time; `.ci/run` has promtool check them as well."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.alerts.cases import CASES
from tests.alerts.story import Case
from tests.conftest import missing_part
from tests.parts import monitoring
from tests.parts.debian import REPOSITORY, PartMissing

ALERTS = REPOSITORY / "alerts.yml"
RUNBOOKS = REPOSITORY / "docs" / "runbooks.md"
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load(ALERTS.read_text())["groups"]
    for rule in group["rules"]
}


@pytest.fixture(scope="session")
def promtool() -> Path:
    try:
        return monitoring.promtool()
    except PartMissing as error:
        missing_part(f"no promtool: {error}")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_exactly_the_expected_alerts_fire(case: Case, promtool: Path, tmp_path: Path) -> None:
    file = tmp_path / "test.yml"
    rules, tests = [str(ALERTS)], [case.promtool_test(RULES)]
    # JSON is YAML
    file.write_text(
        json.dumps(
            {"rule_files": rules, "evaluation_interval": case.evaluated_every, "tests": tests}
        )
    )
    checked = monitoring.run(promtool, "test", "rules", file)
    assert checked.returncode == 0, checked.stdout


def test_every_alert_fires_in_a_case_and_is_silent_in_another() -> None:
    for alert in RULES:
        moments = [names.split() for case in CASES for names in case.firing.values()]
        assert any(alert in names for names in moments), alert
        assert any(alert not in names for names in moments), alert


def test_every_alert_says_what_it_is_and_leads_to_its_paragraph_in_the_runbooks() -> None:
    headings = set(re.findall(r"^##+ (\w+)$", RUNBOOKS.read_text(encoding="utf-8"), re.M))
    for alert, rule in RULES.items():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"].endswith(f"/docs/runbooks.md#{alert.lower()}")
        assert alert in headings


def test_every_series_in_a_rule_is_one_that_we_export() -> None:
    exported = (REPOSITORY / "exporter" / "report" / "metrics.py").read_text(encoding="utf-8")
    for rule in RULES.values():
        for name in re.findall(r"\bqsticky_\w+", rule["expr"]):
            assert re.sub("_(total|bucket|count|sum|info)$", "", name) in exported, name
