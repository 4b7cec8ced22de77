"""docs/status-file.md: every field of the real document, with its type, and snippets that fit."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.model import (
    Failure,
    Operation,
    Outcome,
    Reason,
    SavedLogins,
    SavedVpnRestart,
    SyncState,
)
from exporter.report.status_file import StatusFile
from tests.fakes import IN_SYNC, NOW, START, FakeClock, tunnels

PAGE = Path(__file__).parents[2] / "docs" / "status-file.md"

STARTING = Outcome("default", SyncState.STARTING, None)
REJECTED = IN_SYNC._replace(
    state=SyncState.QBITTORRENT_UNAUTHORIZED,
    qbittorrent=None,
    failures=(Failure(Operation.QBITTORRENT_LOGIN, Reason.AUTH, "rejected", "correct it"),),
    saved=IN_SYNC.saved._replace(
        out_of_sync_since=NOW - 600,
        failing_since=NOW - 600,
        logins=SavedLogins((NOW - 60,), 1, NOW + 240, Reason.AUTH, "salt:12ab", "gluetun:8080"),
        vpn_restart=SavedVpnRestart(NOW - 600, 1, unfinished=False),
    ),
)
OUTCOMES = (STARTING, IN_SYNC, REJECTED)


def is_time(value: object) -> bool:
    return isinstance(value, str) and datetime.fromisoformat(value).utcoffset() == timedelta(0)


FITS: dict[str, Callable[[Any], bool]] = {
    "true or false": lambda value: isinstance(value, bool),
    "text": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "whole number": lambda value: type(value) is int,
    "time": is_time,
    "object": lambda value: isinstance(value, dict),
    "list of numbers": lambda value: all(isinstance(one, int | float) for one in value),
    "null": lambda value: value is None,
}


def tables() -> tuple[dict[str, str], dict[str, str]]:
    """The types by field of the two tables: of all tunnels, and of each."""
    parts = PAGE.read_text(encoding="utf-8").split("For each tunnel")
    rows = [re.findall(r"^\| `([a-z_.]+)` \| ([a-z ]+) \| \S.*\. ?\|$", p, re.M) for p in parts]
    assert [len(set(found)) for found in rows] == [len(found) for found in rows]
    together, each = (dict(found) for found in rows)
    return together, each


def document(outcome: Outcome) -> dict[str, Any]:
    file = StatusFile(Path("unused"), "2.0.0", FakeClock(), {})
    file.set_tunnels(tunnels("default"))
    file.publish(outcome)
    made: dict[str, Any] = json.loads(file.content())
    return made


def fields(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each field with its dotted name; not those of `tunnels`, whose names are the user's."""
    for name, inner in value.items():
        whole = f"{prefix}{name}"
        if not (whole.startswith("services") and isinstance(inner, dict)):
            yield whole, inner
        if isinstance(inner, dict) and whole != "tunnels":
            yield from fields(inner, f"{whole}.")


def test_the_tables_name_every_field_and_no_other() -> None:
    together, each = tables()
    whole = document(REJECTED)

    assert set(together) == {name for name, _ in fields(whole)}
    assert set(each) == {name for name, _ in fields(whole["tunnels"]["default"])}


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: str(outcome.state))
def test_every_value_has_the_type_that_the_page_tells(outcome: Outcome) -> None:
    together, each = tables()
    whole = document(outcome)

    for types, part in ((together, whole), (each, whole["tunnels"]["default"])):
        for name, value in fields(part):
            kinds = types[name].removesuffix(" or null")
            allowed = [kinds, *(["null"] if kinds != types[name] else [])]
            assert any(FITS[kind](value) for kind in allowed), f"{name}: {value!r}"


def test_what_may_be_null_is_null_at_the_start() -> None:
    together, each = tables()
    whole = document(STARTING)
    for types, part in ((together, whole), (each, whole["tunnels"]["default"])):
        told = {name for name, kind in types.items() if kind.endswith(" or null")}
        assert {name for name, value in fields(part) if value is None} == told


def test_the_widget_for_homepage_shows_fields_that_are_there() -> None:
    [snippet] = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    [[service]] = [next(iter(group.values())) for group in yaml.safe_load(snippet)]
    widget = service["qSticky"]["widget"]
    shown = {}
    for mapping in widget["mappings"]:
        value: Any = document(IN_SYNC)
        key = mapping["field"]
        while isinstance(key, dict):  # as Homepage walks down
            [(name, key)] = key.items()
            value = value[name]
        value = value[key]
        for remap in mapping.get("remap", ()):
            if remap.get("any") or remap["value"] == value:
                value = remap["to"]
                break
        shown[mapping["label"]] = value

    assert widget["type"] == "customapi"
    assert shown == {
        "State": "in sync",
        "Port": 45720,
        "Open": "yes",
        "Changed": datetime.fromtimestamp(START - 3600, UTC).isoformat(timespec="milliseconds"),
    }
    # its default view shows four at most
    assert len(shown) == 4


def test_the_query_for_uptime_kuma_tells_healthy_from_not() -> None:
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert "the query `healthy` and the expected value `true`" in text
    assert document(IN_SYNC)["healthy"] is True
    assert document(REJECTED)["healthy"] is False
