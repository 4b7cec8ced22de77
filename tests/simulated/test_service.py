"""The parts put together: what the log leaves in memory, with and without a web server."""

import gc
import io
import json
import logging
import socket
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.config.load import load_config
from exporter.daemon.service import Service
from exporter.report.log import logger, set_up
from tests.fakes import FakeClock


@pytest.fixture(autouse=True)
def _log() -> Iterator[None]:
    before = (logger.handlers, logger.level, logger.propagate)
    yield
    logger.handlers, logger.level, logger.propagate = before


def make_service(folder: Path, web_address: str, clock: FakeClock | None = None) -> Service:
    set_up("DEBUG", "text", io.StringIO())  # pytest's handlers, which keep all lines, are gone then
    environ = {"HEALTH_FILE": str(folder / "status.json"), "WEB_LISTEN_ADDRESS": web_address}
    return Service(load_config(environ, folder), clock or FakeClock())


def lines_kept() -> int:
    """How many of the lines that are logged now stay in memory."""
    made: list[weakref.ref[logging.LogRecord]] = []

    def note(record: logging.LogRecord) -> bool:
        made.append(weakref.ref(record))
        return True

    logger.addFilter(note)
    for _ in range(100):
        logger.warning("a line")
    logger.removeFilter(note)
    gc.collect()
    assert len(made) == 100
    return sum(line() is not None for line in made)


def test_no_line_of_the_log_is_kept_where_no_web_server_is_wanted(tmp_path: Path) -> None:
    """Lines from before the start of the web server wait for their counter: nobody else's."""
    service = make_service(tmp_path, "")
    assert lines_kept() == 0
    assert service.address == ""


def test_no_line_of_the_log_is_kept_where_the_web_server_can_not_start(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        service = make_service(tmp_path, f"127.0.0.1:{other.getsockname()[1]}")
        assert lines_kept() == 100
        service._start_web()
    assert service.address == ""
    assert lines_kept() == 0


def test_setting_the_system_clock_makes_the_uptime_no_other_and_nothing_unhealthy(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    service = make_service(tmp_path, "", clock)
    clock.now += 60
    clock.set_wall(clock.wall() + 259_200)
    service._publisher.write()
    facts = json.loads((tmp_path / "status.json").read_text())
    assert facts["uptime"] == "0:01:00"
    assert facts["healthy"] is True
