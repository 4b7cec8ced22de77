"""The fast copy of the rules, which the chain runs on, is the same rules but for time."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.parts import monitoring
from tests.parts.fast_alerts import RANGE, SECONDS, faster, seconds

ALERTS = Path(__file__).parents[2] / "alerts.yml"
A_MINUTE_IS_A_SECOND = {
    "1m": "1s",
    "2m": "2s",
    "3m": "3s",
    "5m": "5s",
    "10m": "10s",
    "15m": "15s",
    "20m": "20s",
    "30m": "30s",
    "1h": "60s",
    "7d": "10080s",
}
SECONDS_IN_EXPRESSIONS = {"60": "1", "120": "2", "1800": "30"}


def rules_of(text: str) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def without_time(rule: dict[str, Any]) -> dict[str, Any]:
    """The rule with all that the copy may change replaced by a blank."""
    blank = {key: "" for key in ("for", "keep_firing_for") if key in rule}
    # in the copy the seconds are small, so every number counts as one that may differ
    expression = re.sub(r"(?<![\w.\[\"])\d+(?:\.\d+)?(?![\w.\]])", "#", RANGE.sub("", rule["expr"]))
    return rule | blank | {"expr": expression}


PAIRS = [
    pytest.param(rule, copy, id=rule["alert"])
    for rule, copy in zip(
        rules_of(ALERTS.read_text()), rules_of(faster(ALERTS.read_text())), strict=True
    )
]
EVERY_PAIR = pytest.mark.parametrize(("rule", "copy"), PAIRS)


def test_the_groups_stay_the_same() -> None:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    copies = yaml.safe_load(faster(ALERTS.read_text()))["groups"]
    assert [set(group) for group in copies] == [set(group) for group in groups]
    assert [group["name"] for group in copies] == [group["name"] for group in groups]


@EVERY_PAIR
def test_the_copy_differs_in_durations_and_seconds_only(
    rule: dict[str, Any], copy: dict[str, Any]
) -> None:
    assert without_time(copy) == without_time(rule)


@EVERY_PAIR
def test_each_duration_is_divided_by_sixty(rule: dict[str, Any], copy: dict[str, Any]) -> None:
    for key in ("for", "keep_firing_for"):
        assert copy.get(key) == A_MINUTE_IS_A_SECOND.get(rule.get(key, ""))
    ranges = [A_MINUTE_IS_A_SECOND[found] for found in RANGE.findall(rule["expr"])]
    assert RANGE.findall(copy["expr"]) == ranges


@EVERY_PAIR
def test_of_the_numbers_only_those_of_seconds_are_divided(
    rule: dict[str, Any], copy: dict[str, Any]
) -> None:
    number = re.compile(r"(?<![\w.\[\"])\d+(?:\.\d+)?(?![\w.\]])")
    assert set(SECONDS.findall(rule["expr"])) <= set(SECONDS_IN_EXPRESSIONS)
    expected = [SECONDS_IN_EXPRESSIONS.get(one, one) for one in number.findall(rule["expr"])]
    assert number.findall(copy["expr"]) == expected


def test_promtool_accepts_the_copy(tmp_path: Path) -> None:
    promtool = monitoring.or_skip(monitoring.promtool)
    file = tmp_path / "alerts.yml"
    file.write_text(faster(ALERTS.read_text()))
    checked = monitoring.run(promtool, "check", "rules", "--lint=all", "--lint-fatal", file)
    assert checked.returncode == 0, checked.stdout


def test_a_time_that_is_no_whole_number_afterwards_is_refused() -> None:
    rules = "groups: [{name: g, rules: [{alert: A, expr: up == 0, for: 90s}]}]"
    with pytest.raises(ValueError, match="90 s can't be divided by 60"):
        faster(rules)
    assert seconds("90s") == 90
