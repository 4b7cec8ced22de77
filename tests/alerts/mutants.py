"""Small mistakes that somebody could make in alerts.yml; the tests must notice each of them."""

import copy
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

Rule = dict[str, Any]


class Mutant(NamedTuple):
    """A rule with one mistake in it."""

    change: str
    rule: Rule


# what is in quotes, in brackets, or part of a name is no number of its own
NUMBER = re.compile(r"(?<![\w.\[\"])\d+(?:\.\d+)?(?![\w.\]])")
DURATION = re.compile(r"(?<=\[)\d+[smhd](?=\])")
COMPARISON = re.compile(r"(?<![=!~<>])(==|>=|<=|>|<)(?![=~])")
ARITHMETIC = re.compile(r"(?<= )[-+*/](?= )")
SET_OPERATOR = re.compile(r"\b(and|unless)\b")
MATCHING = re.compile(r"\b(on|ignoring|group_left) \([^()]*\)")
GROUPING = re.compile(r"\b(?:without|by) \([^()]*\)")
FUNCTION = re.compile(r"\b(min|max)(_over_time)?\b")
LABEL_MATCHER = re.compile(r"(?<=\{)([a-z_]+)(=~|!=|=)\"([^\"]*)\"")

OTHER_COMPARISONS = {
    "==": ("!=",),
    ">": (">=", "<"),
    ">=": (">", "<"),
    "<": ("<=", ">"),
    "<=": ("<", ">"),
}
OTHER_ARITHMETIC = {"-": "+", "+": "-", "*": "/", "/": "*"}


def mutants(rule: Rule) -> Iterator[Mutant]:
    """Every rule that differs from this one by one small mistake."""
    for change, expression in expressions(rule["expr"]):
        yield changed(rule, f"expr: {change}", expression, "expr")
    for key in ("for", "keep_firing_for"):
        if key in rule:
            for duration in other_durations(rule[key]):
                yield changed(rule, f"{key}: {duration}", duration, key)
            yield changed(rule, f"no {key}", None, key)
    yield changed(rule, "another name", f"{rule['alert']}s", "alert")
    severity = "warning" if rule["labels"]["severity"] == "critical" else "critical"
    yield changed(rule, f"severity {severity}", severity, "labels", "severity")
    yield changed(rule, "no labels", None, "labels")
    for name in rule["annotations"]:
        yield changed(rule, f"no {name}", None, "annotations", name)
        yield changed(rule, f"another {name}", "other", "annotations", name)


def changed(rule: Rule, change: str, value: str | None, *path: str) -> Mutant:
    """A copy of the rule with another value at one place, or with nothing there."""
    other = copy.deepcopy(rule)
    *above, key = path
    place = other
    for name in above:
        place = place[name]
    if value is None:
        del place[key]
    else:
        place[key] = value
    return Mutant(change, other)


def expressions(expression: str) -> Iterator[tuple[str, str]]:
    """Every expression that differs from this one in one place, and what differs."""
    for pattern, alternatives in (
        (NUMBER, other_numbers),
        (DURATION, other_durations),
        (COMPARISON, OTHER_COMPARISONS.__getitem__),
        (ARITHMETIC, lambda sign: (OTHER_ARITHMETIC[sign],)),
        (SET_OPERATOR, lambda word: ("unless" if word == "and" else "and",)),
        (MATCHING, lambda _: ("",)),
        (GROUPING, lambda _: ("",)),
        (FUNCTION, lambda word: (word.replace("min", "MAX").replace("max", "min").lower(),)),
        (LABEL_MATCHER, other_matchers),
    ):
        for match in pattern.finditer(expression):
            for alternative in alternatives(match[0]):
                yield (
                    f"{match[0]} at {match.start()} becomes {alternative or 'nothing'}",
                    expression[: match.start()] + alternative + expression[match.end() :],
                )
    yield from without_a_clause(expression)


def other_numbers(number: str) -> tuple[str, ...]:
    """The double and the half; another number where there is no half."""
    value = float(number)
    return (f"{value * 2:g}", f"{value / 2:g}") if value else ("1",)


def other_durations(duration: str) -> tuple[str, ...]:
    """The double and the half."""
    seconds = int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[duration[-1]]
    return (f"{seconds * 2}s", f"{seconds // 2}s")


def other_matchers(matcher: str) -> tuple[str, ...]:
    """Another value, the opposite, and for a list of values each list that lacks one."""
    found = LABEL_MATCHER.fullmatch("{" + matcher, 1)
    assert found is not None
    label, operator, value = found.groups()
    opposite = {"=": "!=", "!=": "=", "=~": "!~"}[operator]
    fewer = [value.replace(one, "") for one in value.split("|")] if "|" in value else []
    return (
        f'{label}{operator}"other"',
        f'{label}{opposite}"{value}"',
        *(f'{label}{operator}"{one.strip("|")}"' for one in fewer),
    )


def without_a_clause(expression: str) -> Iterator[tuple[str, str]]:
    """The expression without its second part, without its third, and so on."""
    parts, depth, start = [], 0, 0
    for match in re.finditer(r"[()]|\b(?:and|unless)\b", expression):
        if match[0] in "()":
            depth += 1 if match[0] == "(" else -1
        elif depth == 0:
            parts.append(expression[start : match.start()])
            start = match.start()
    parts.append(expression[start:])
    for i, part in enumerate(parts[1:], 1):
        yield f"without {' '.join(part.split())}", "".join(parts[:i] + parts[i + 1 :])
