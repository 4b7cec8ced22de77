"""Publishing: every reader hears of every outcome, and trouble with the file is said once."""

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.clock import Clock
from exporter.daemon.publisher import Publisher
from exporter.model import (
    SavedLogins,
    Operation,
    OperationResult,
    Outcome,
    Reason,
    SyncState,
    SavedVpnRestart,
)
from exporter.report.log import logger, set_up
from exporter.report.status_file import StatusFile

NOW = 1_800_000_000.0
OUTCOME = Outcome("default", SyncState.IN_SYNC, finished_at=NOW, interval_seconds=30)


class TurnedClock(Clock):
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.offset = NOW - 100.0

    def monotonic(self) -> float:
        return self.seconds

    def wall(self) -> float:
        return self.seconds + self.offset


class Listener:
    """A reader that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[Outcome] = []

    def publish(self, outcome: Outcome) -> None:
        self.heard.append(outcome)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    before = (logger.handlers, logger.level, logger.propagate)
    stream = io.StringIO()
    set_up("INFO", "text", stream)
    yield stream
    logger.handlers, logger.level, logger.propagate = before


def said(log: io.StringIO) -> list[str]:
    return [line.partition(" - qsticky - ")[2] for line in log.getvalue().splitlines()]


def publisher(path: Path, clock: Clock, *readers: Listener) -> Publisher:
    return Publisher(StatusFile(path, "2.0.0", NOW, 30), readers, clock)


def test_every_reader_and_the_file_get_every_outcome(tmp_path: Path) -> None:
    path, first, second = tmp_path / "status.json", Listener(), Listener()

    publisher(path, TurnedClock(), first, second).publish(OUTCOME)

    assert first.heard == second.heard == [OUTCOME]
    assert json.loads(path.read_text())["state"] == "in_sync"


def test_a_file_that_cannot_be_written_is_said_once_and_when_it_is_over(
    tmp_path: Path, log: io.StringIO
) -> None:
    path, listener = tmp_path / "folder" / "status.json", Listener()
    path.parent.touch()
    made = publisher(path, TurnedClock(), listener)

    made.publish(OUTCOME)
    made.publish(OUTCOME)
    path.parent.unlink()
    made.publish(OUTCOME)
    made.publish(OUTCOME)

    assert said(log) == [
        f"ERROR - can't write the status file {path}: Not a directory - make the folder writable "
        "for qSticky's user, or name another file in HEALTH_FILE",
        "INFO - The status file can be written again",
    ]
    assert len(listener.heard) == 4


def test_the_file_is_written_between_cycles_too(tmp_path: Path) -> None:
    path, clock = tmp_path / "status.json", TurnedClock()
    made = publisher(path, clock)
    made.publish(OUTCOME)

    clock.seconds += 600
    made.beat()

    assert json.loads(path.read_text())["timestamp"] == "2027-01-15T08:10:00.000+00:00"
    assert json.loads(path.read_text())["healthy"] is False


@pytest.mark.parametrize(
    ("step", "line"),
    [
        (-3600.0, ["INFO - The system clock was set by -3600 s; the checks go on as before"]),
        (3600.0, ["INFO - The system clock was set by +3600 s; the checks go on as before"]),
        (1.5, []),
    ],
)
def test_a_step_of_the_system_clock_is_said_once(
    step: float, line: list[str], tmp_path: Path, log: io.StringIO
) -> None:
    clock = TurnedClock()
    made = publisher(tmp_path / "status.json", clock)

    clock.seconds += 30
    made.beat()
    clock.offset += step
    clock.seconds += 30
    made.beat()
    made.beat()

    assert said(log) == line


def test_the_last_file_says_that_we_stopped(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    made = publisher(path, TurnedClock())
    made.publish(OUTCOME)

    made.write(stopped=True)

    assert json.loads(path.read_text())["state"] == "stopped"


def test_many_tunnels_share_a_write_a_second(tmp_path: Path) -> None:
    path, clock = tmp_path / "status.json", TurnedClock()
    made = publisher(path, clock)
    made.write_every_time = False
    made.write()
    path.unlink()

    made.publish(OUTCOME)
    clock.seconds += 0.25
    made.publish(replace(OUTCOME, tunnel="other"))

    assert not path.exists()
    assert made.due_in_seconds == 0.75
    made.beat()
    assert list(json.loads(path.read_text())["tunnels"]) == ["default", "other"]
    assert made.due_in_seconds is None


def test_a_restart_of_the_vpn_is_written_down_before_it_happens(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    made = publisher(path, TurnedClock())
    made.write_every_time = False
    made.write()

    made.publish(replace(OUTCOME, vpn_restart=SavedVpnRestart(NOW, restarts=1, unfinished=True)))

    assert json.loads(path.read_text())["tunnels"]["default"]["vpn_restart"]["unfinished"] is True


def test_a_rejected_login_is_written_down_at_once(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    made = publisher(path, TurnedClock())
    made.write_every_time = False
    made.write()

    rejected = OperationResult(Operation.QBITTORRENT_LOGIN, 2.0, Reason.AUTH)
    note = SavedLogins((OUTCOME.finished_at - 2.0,), 1, OUTCOME.finished_at + 300, Reason.AUTH, "")
    made.publish(replace(OUTCOME, operations=(rejected,), logins=note))

    assert json.loads(path.read_text())["tunnels"]["default"]["login"]["rejections"] == 1


def test_of_many_tunnels_a_login_of_before_and_one_not_reached_are_not_written_at_once(
    tmp_path: Path,
) -> None:
    path = tmp_path / "status.json"
    made = publisher(path, TurnedClock())
    made.write_every_time = False
    made.write()
    refused = (OperationResult(Operation.QBITTORRENT_LOGIN, 0.01, Reason.CONNECTION),)
    note = SavedLogins((OUTCOME.finished_at - 60,), 1, OUTCOME.finished_at + 300, Reason.AUTH, "")

    made.publish(replace(OUTCOME, operations=refused))
    made.publish(replace(OUTCOME, operations=refused, logins=note))

    assert json.loads(path.read_text())["tunnels"] == {}


def test_the_first_of_many_outcomes_is_written_at_once(tmp_path: Path) -> None:
    made = publisher(tmp_path / "status.json", TurnedClock())
    made.write_every_time = False

    made.publish(OUTCOME)

    assert made.due_in_seconds == 0


@pytest.mark.parametrize(("write_takes", "pause"), [(0.01, 1.0), (0.2, 4.0), (3.0, 10.0)])
def test_writing_the_file_takes_a_small_part_of_the_time(
    write_takes: float, pause: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = TurnedClock()
    made = publisher(tmp_path / "status.json", clock)
    made.write_every_time = False

    def write_slowly(*_: object, **__: object) -> None:
        clock.seconds += write_takes

    monkeypatch.setattr(StatusFile, "write", write_slowly)
    made.write()
    made.publish(OUTCOME)

    assert made.due_in_seconds == pytest.approx(pause)
