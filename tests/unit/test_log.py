"""The log: the form of its lines, and what a check makes it say."""

import io
import json
import logging
import re

import pytest

from exporter.model import Event, EventKind, Level, Outcome
from exporter.report.log import LogReader, logger, set_up
from tests.fakes import IN_SYNC, tunnels

UPDATED = Event(EventKind.PORT_UPDATE, Level.INFO, "Successfully updated port to 45720")
TIMED_OUT = Event(EventKind.STATE, Level.WARNING, "Gluetun timed out", "look at Gluetun")
BANNED = Event(EventKind.STATE, Level.ERROR, "qBittorrent refuses our address", "wait an hour")


pytestmark = pytest.mark.usefixtures("own_logger")


def lines_of(
    outcome: Outcome, *, level: str = "INFO", form: str = "text", several: bool = False
) -> list[str]:
    stream = io.StringIO()
    set_up(level, form, stream)
    reader = LogReader()
    reader.set_tunnels(tunnels("default", "other") if several else tunnels("default"))
    reader.publish(outcome)
    return stream.getvalue().splitlines()


def without_time(lines: list[str]) -> list[str]:
    return [line.split(" - ", 1)[1] for line in lines]


def test_a_line_has_time_name_level_and_message_as_before() -> None:
    [line] = lines_of(IN_SYNC._replace(events=(UPDATED,)))
    time, _, rest = line.partition(" - ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}", time)
    assert rest == "qsticky - INFO - Successfully updated port to 45720"


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_each_event_is_a_line_with_its_level_and_what_to_do(level: str) -> None:
    lines = lines_of(IN_SYNC._replace(events=(UPDATED, TIMED_OUT, BANNED)), level=level)
    assert without_time(lines) == [
        "qsticky - INFO - Successfully updated port to 45720",
        "qsticky - WARNING - Gluetun timed out - look at Gluetun",
        "qsticky - ERROR - qBittorrent refuses our address - wait an hour",
    ]


def test_the_tunnel_is_named_where_there_are_several() -> None:
    lines = lines_of(IN_SYNC._replace(tunnel="other", events=(UPDATED,)), several=True)
    assert without_time(lines) == ["qsticky - INFO - other: Successfully updated port to 45720"]


def test_a_check_in_which_nothing_happens_is_a_line_at_debug_only() -> None:
    assert lines_of(IN_SYNC) == []
    assert without_time(lines_of(IN_SYNC, level="DEBUG")) == [
        "qsticky - DEBUG - still in_sync: Gluetun 45720, qBittorrent 45720, next check in 30.0 s"
    ]


def test_a_watch_for_the_port_alone_is_not_said_at_all() -> None:
    assert lines_of(IN_SYNC._replace(is_watch=True), level="DEBUG") == []


def test_what_is_below_the_level_is_not_said() -> None:
    assert lines_of(IN_SYNC._replace(events=(UPDATED, TIMED_OUT)), level="ERROR") == []


def test_a_json_line_has_the_same_message_and_what_it_is_about() -> None:
    [line] = lines_of(IN_SYNC._replace(events=(TIMED_OUT,)), form="json")

    document = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", document.pop("time"))
    assert document == {
        "level": "WARNING",
        "logger": "qsticky",
        "message": "Gluetun timed out - look at Gluetun",
        "tunnel": "default",
        "event": "state",
    }


def test_a_json_line_about_no_tunnel_names_none_and_a_traceback_stays_in_its_line() -> None:
    stream = io.StringIO()
    set_up("INFO", "json", stream)
    logger.info("Starting qSticky port manager ✓")
    logger.error("Unexpected", exc_info=ValueError("two\nlines"))
    plain, traceback = (json.loads(line) for line in stream.getvalue().splitlines())
    assert sorted(plain) == ["level", "logger", "message", "time"]
    assert "✓" in stream.getvalue()
    assert traceback["traceback"].endswith("ValueError: two\nlines")


def test_setting_it_up_again_does_not_say_things_twice_and_others_are_not_in_our_log() -> None:
    stream = io.StringIO()
    set_up("DEBUG", "text", io.StringIO())
    set_up("DEBUG", "text", stream)
    logger.info("once")
    logging.getLogger("urllib3.connectionpool").debug("Starting new HTTP connection")
    assert without_time(stream.getvalue().splitlines()) == ["qsticky - INFO - once"]
