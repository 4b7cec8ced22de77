"""A copy of alerts.yml in which time runs faster: an hour of alerts is tested in a minute."""

import re
from typing import Any

import yaml

MINUTE = 60
"""By this factor a minute becomes a second, also the longest scrape interval that is allowed."""

UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION = re.compile(r"(\d+)([smhd])")
RANGE = re.compile(r"(?<=\[)\d+[smhd](?=\])")
# seconds are the only numbers in the expressions that are this large
SECONDS = re.compile(r"(?<![\w.\[\"])(?:[6-9]\d|\d{3,})(?![\w.\]])")


def faster(rules: str, factor: int = MINUTE) -> str:
    """The rules with every duration and every threshold in seconds divided by the factor."""
    document: dict[str, Any] = yaml.safe_load(rules)
    for group in document["groups"]:
        for rule in group["rules"]:
            rule["expr"] = _faster_expression(rule["expr"], factor)
            for key in ("for", "keep_firing_for"):
                if key in rule:
                    rule[key] = _faster_duration(rule[key], factor)
    return yaml.safe_dump(document, sort_keys=False, width=1000)


def seconds(duration: str) -> int:
    """How long 10m is."""
    found = DURATION.fullmatch(duration)
    if found is None:
        raise ValueError(f"no duration: {duration!r}")
    return int(found[1]) * UNIT_SECONDS[found[2]]


def _faster_expression(expression: str, factor: int) -> str:
    shorter = RANGE.sub(lambda found: _faster_duration(found[0], factor), expression)
    return SECONDS.sub(lambda found: f"{_divided(int(found[0]), factor)}", shorter)


def _faster_duration(duration: str, factor: int) -> str:
    return f"{_divided(seconds(duration), factor)}s"


def _divided(number: int, factor: int) -> int:
    whole, rest = divmod(number, factor)
    if rest:
        raise ValueError(f"{number} s can't be divided by {factor}")
    return whole
