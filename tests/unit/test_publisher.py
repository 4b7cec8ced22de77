"""Publishing: every reader gets every outcome, and status.json is written often enough."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from exporter.daemon.publisher import Publisher
from exporter.model import Operation, OperationResult, Reason, SyncState
from exporter.report.log import set_up
from exporter.report.status_file import StatusFile
from tests.fakes import IN_SYNC, FakeClock, tunnels
from tests.rig import Recorder

NO_PORT = IN_SYNC._replace(state=SyncState.NO_PORT)


class Published:
    """A publisher with two readers, and what it has written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = FakeClock()
        self.readers = (Recorder(), Recorder())
        self.writes: list[OperationResult] = []
        file = StatusFile(path, "2.0.0", self.clock, {})
        self.publisher = Publisher(file, self.readers, self.clock, 30.0, self.writes.append)

    def start(self) -> None:
        self.publisher.set_tunnels(tunnels("default", "other"))

    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.path.read_text())
        return found

    def state(self, tunnel: str = "default") -> str:
        return str(self.document()["tunnels"][tunnel]["state"])


@pytest.fixture
def published(tmp_path: Path) -> Published:
    return Published(tmp_path / "folder" / "status.json")


@pytest.fixture
def log(own_logger: None) -> io.StringIO:
    stream = io.StringIO()
    set_up("INFO", "text", stream)
    return stream


def said(log: io.StringIO) -> list[str]:
    return [line.partition(" - qsticky - ")[2] for line in log.getvalue().splitlines()]


def test_every_reader_and_the_file_learn_of_the_tunnels_and_get_every_outcome(
    published: Published,
) -> None:
    published.start()
    assert [reader.names for reader in published.readers] == [["default", "other"]] * 2
    assert published.state() == "starting"
    published.publisher.publish(IN_SYNC)
    assert [reader.outcomes for reader in published.readers] == [[IN_SYNC]] * 2
    assert published.state() == "in_sync"


def test_an_outcome_is_in_the_file_at_once_where_the_last_write_is_a_second_old(
    published: Published,
) -> None:
    published.start()
    published.publisher.publish(IN_SYNC)
    assert published.publisher.due_in_seconds == 31.0
    published.clock.now += 1
    published.publisher.publish(NO_PORT)
    assert published.state() == "no_port"


def test_an_outcome_that_follows_sooner_is_in_the_file_within_a_second(
    published: Published,
) -> None:
    published.start()
    published.publisher.publish(IN_SYNC)
    published.clock.now += 0.25
    published.publisher.publish(NO_PORT)
    published.clock.now += 0.25
    published.publisher.publish(IN_SYNC._replace(tunnel="other"))
    assert (published.state(), published.state("other")) == ("in_sync", "starting")
    assert published.publisher.due_in_seconds == 0.5

    published.clock.now += 0.5
    published.publisher.write()
    assert (published.state(), published.state("other")) == ("no_port", "in_sync")
    assert published.publisher.due_in_seconds == 31.0


def test_a_watch_for_the_port_alone_is_no_reason_to_write(published: Published) -> None:
    published.start()
    written = len(published.writes)
    published.publisher.publish(IN_SYNC._replace(is_watch=True))
    assert published.publisher.due_in_seconds == 30.0
    assert len(published.writes) == written


def test_a_file_that_cannot_be_written_is_said_once_and_when_it_is_over(
    published: Published, log: io.StringIO
) -> None:
    published.path.parent.touch()
    published.start()
    for outcome in (IN_SYNC, NO_PORT):
        published.clock.now += 1
        published.publisher.publish(outcome)
    published.path.parent.unlink()
    for outcome in (IN_SYNC, NO_PORT):
        published.clock.now += 1
        published.publisher.publish(outcome)

    assert said(log) == [
        f"ERROR - can't write the status file {published.path}: Not a directory - make the folder "
        "writable for qSticky's user, or name another file in HEALTH_FILE",
        "INFO - The status file can be written again",
    ]
    assert len(published.readers[0].outcomes) == 4
    assert [write.reason for write in published.writes] == [Reason.IO] * 3 + [None] * 2
    assert {write.seconds for write in published.writes} == {0.0}
    assert {write.operation for write in published.writes} == {Operation.STATUS_FILE}


@pytest.mark.parametrize(
    ("step", "line"),
    [
        (-3600.0, ["INFO - System clock jumped by -3600 s; checks are not affected"]),
        (3600.0, ["INFO - System clock jumped by +3600 s; checks are not affected"]),
        (0.9, []),
    ],
)
def test_a_step_of_the_system_clock_is_said_once(
    step: float, line: list[str], published: Published, log: io.StringIO
) -> None:
    published.start()
    published.clock.now += 30
    published.publisher.write()
    published.clock.offset += step
    published.publisher.publish(IN_SYNC)
    for _ in "ab":
        published.clock.now += 30
        published.publisher.write()
    assert said(log) == line
