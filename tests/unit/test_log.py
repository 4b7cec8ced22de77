"""The log: the form of its lines, and what a cycle makes it say."""

import io
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from exporter.model import Event, EventKind, Level, Outcome, SyncState
from exporter.report.log import LogReader, logger, set_up

IN_SYNC = Outcome(
    tunnel="default",
    state=SyncState.IN_SYNC,
    finished_at=1_800_000_000.0,
    interval_seconds=30,
    next_check_seconds=30,
    forwarded_port=45720,
    listening_port=45720,
)
UPDATED = Event(EventKind.PORT_UPDATE, Level.INFO, "Successfully updated port to 45720")
TIMED_OUT = Event(
    EventKind.STATE,
    Level.WARNING,
    "Gluetun at gluetun:8000 did not answer within 5 s",
    "check that the container runs",
)
BANNED = Event(EventKind.STATE, Level.ERROR, "qBittorrent refuses our address", "wait an hour")


@pytest.fixture(autouse=True)
def untouched_logger() -> Iterator[None]:
    before = (logger.handlers, logger.level, logger.propagate)
    yield
    logger.handlers, logger.level, logger.propagate = before


def lines_of(
    *outcomes: Outcome, level: str = "INFO", form: str = "text", several: bool = False
) -> list[str]:
    stream = io.StringIO()
    set_up(level, form, stream)
    reader = LogReader(several_tunnels=several)
    for outcome in outcomes:
        reader.publish(outcome)
    return stream.getvalue().splitlines()


def without_time(lines: list[str]) -> list[str]:
    return [line.split(" - ", 1)[1] for line in lines]


def test_a_line_has_time_name_level_and_message_as_before() -> None:
    [line] = lines_of(replace(IN_SYNC, events=(UPDATED,)))

    time, _, rest = line.partition(" - ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}", time)
    assert rest == "qsticky - INFO - Successfully updated port to 45720"


def test_each_event_is_a_line_with_its_level_and_what_to_do() -> None:
    lines = lines_of(replace(IN_SYNC, events=(UPDATED, TIMED_OUT, BANNED)))

    assert without_time(lines) == [
        "qsticky - INFO - Successfully updated port to 45720",
        "qsticky - WARNING - Gluetun at gluetun:8000 did not answer within 5 s - "
        "check that the container runs",
        "qsticky - ERROR - qBittorrent refuses our address - wait an hour",
    ]


def test_the_tunnel_is_named_where_there_are_several() -> None:
    lines = lines_of(replace(IN_SYNC, tunnel="seedbox-2", events=(UPDATED,)), several=True)

    assert without_time(lines) == ["qsticky - INFO - seedbox-2: Successfully updated port to 45720"]


def test_a_cycle_in_which_nothing_happens_is_silent() -> None:
    assert lines_of(IN_SYNC, IN_SYNC) == []


def test_a_cycle_in_which_nothing_happens_is_a_line_at_debug() -> None:
    assert without_time(lines_of(IN_SYNC, level="DEBUG")) == [
        "qsticky - DEBUG - still in_sync: Gluetun 45720, qBittorrent 45720, next look in 30.0 s"
    ]


def test_a_cycle_that_is_told_about_is_not_told_about_again_at_debug() -> None:
    lines = lines_of(replace(IN_SYNC, events=(UPDATED,)), level="DEBUG")

    assert without_time(lines) == ["qsticky - INFO - Successfully updated port to 45720"]


def test_what_is_below_the_level_is_not_said() -> None:
    lines = lines_of(replace(IN_SYNC, events=(UPDATED, TIMED_OUT)), level="ERROR")

    assert lines == []


def test_a_json_line_has_the_same_message_and_what_it_is_about() -> None:
    [line] = lines_of(replace(IN_SYNC, events=(TIMED_OUT,)), form="json")

    document = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", document.pop("time"))
    assert document == {
        "level": "WARNING",
        "logger": "qsticky",
        "message": "Gluetun at gluetun:8000 did not answer within 5 s - "
        "check that the container runs",
        "tunnel": "default",
        "event": "state",
    }


def test_a_line_that_is_about_no_tunnel_names_none() -> None:
    stream = io.StringIO()
    set_up("INFO", "json", stream)

    logger.info("Starting qSticky port manager ✓")

    document = json.loads(stream.getvalue())
    assert sorted(document) == ["level", "logger", "message", "time"]
    assert "✓" in stream.getvalue()


def test_a_json_line_stays_one_line_with_a_traceback() -> None:
    stream = io.StringIO()
    set_up("INFO", "json", stream)

    try:
        int("unforeseen")
    except ValueError as error:
        logger.error("An unexpected error", exc_info=error)

    [line] = stream.getvalue().splitlines()
    assert json.loads(line)["traceback"].endswith(": 'unforeseen'")


def test_setting_it_up_again_does_not_say_things_twice() -> None:
    stream = io.StringIO()
    set_up("INFO", "text", io.StringIO())
    set_up("INFO", "text", stream)

    logger.info("once")

    assert len(stream.getvalue().splitlines()) == 1


def test_other_libraries_do_not_write_into_our_log() -> None:
    stream = io.StringIO()
    set_up("DEBUG", "text", stream)

    logging.getLogger("urllib3.connectionpool").debug("Starting new HTTP connection")

    assert stream.getvalue() == ""
