"""Tells every reader about every outcome, and keeps status.json up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from exporter.clock import Clock
from exporter.errors import StatusFileError
from exporter.model import Operation, OperationResult, Outcome
from exporter.report.log import logger
from exporter.report.status_file import StatusFile

CLOCK_STEP_SECONDS = 2.0
"""How far the system clock has to jump before we say so."""
LEAST_PAUSE_SECONDS = 1.0
MOST_PAUSE_SECONDS = 10.0
WRITING_SHARE = 0.05
"""How much of the time may go into writing the file, where it is not written every time."""
_ROUNDING_SECONDS = 0.5


class Reader(Protocol):
    """Somebody who wants to know the outcome of every cycle."""

    def publish(self, outcome: Outcome) -> None:
        """Take in an outcome."""


class Publisher:
    """Publishes outcomes; used by the main thread only."""

    def __init__(self, status_file: StatusFile, readers: Iterable[Reader], clock: Clock) -> None:
        self._status_file = status_file
        self._readers: tuple[Reader, ...] = (*readers, status_file)
        self._clock = clock
        self._clock_offset = clock.difference()
        self._write_error = ""
        self._next_write_at: float | None = None
        self._written_at = clock.monotonic() - MOST_PAUSE_SECONDS
        self._writing_seconds = 0.0
        self.write_every_time = True
        """Whether the file is written after each cycle; else many share one write."""
        self.on_write: Callable[[OperationResult, float], None] | None = None
        """Told of each write of the file, and the Unix time of its end."""

    def add_readers(self, *readers: Reader) -> None:
        """Tell these too, from now on."""
        self._readers = (*self._readers, *readers)

    @property
    def due_in_seconds(self) -> float | None:
        """When `beat` should write what was published; None where nothing waits for it."""
        if self._next_write_at is None:
            return None
        return max(0.0, self._next_write_at - self._clock.monotonic())

    def publish(self, outcome: Outcome) -> None:
        """Tell all readers, and write the file now or soon."""
        for reader in self._readers:
            reader.publish(outcome)
        if self.write_every_time or _must_survive_us(outcome):
            self.write()
        elif self._next_write_at is None:
            pause = max(LEAST_PAUSE_SECONDS, self._writing_seconds / WRITING_SHARE)
            self._next_write_at = self._written_at + min(MOST_PAUSE_SECONDS, pause)

    def beat(self) -> None:
        """Write the file even while a cycle hangs, and notice a clock that was set."""
        offset = self._clock.difference()
        step = offset - self._clock_offset
        self._clock_offset = offset
        if abs(step) > CLOCK_STEP_SECONDS:
            logger.info("The system clock was set by %+.0f s; the checks go on as before", step)
        self.write()

    def write(self, *, stopped: bool = False) -> None:
        """Write status.json; an error is said once, and when it is over."""
        started = self._clock.monotonic()
        self._next_write_at = None
        reason = None
        try:
            self._status_file.write(self._clock.wall(), stopped=stopped)
        except StatusFileError as error:
            reason = error.reason
            self._note_error(f"{error.message} - {error.fix}")
        else:
            self._note_error("")
        self._written_at = self._clock.monotonic()
        self._writing_seconds = self._written_at - started
        if self.on_write:
            result = OperationResult(Operation.STATUS_FILE, self._writing_seconds, reason)
            self.on_write(result, self._clock.wall())

    def _note_error(self, error: str) -> None:
        """Say an error once, and when it is over."""
        if error and error != self._write_error:
            logger.error("%s", error)
        if self._write_error and not error:
            logger.info("The status file can be written again")
        self._write_error = error


def _must_survive_us(outcome: Outcome) -> bool:
    """Whether something may not be forgotten even where we are killed a moment later.

    A VPN that we stopped must be started again, and a rejected login counts towards a ban.
    """
    stopped_vpn = outcome.vpn_note is not None and outcome.vpn_note.unfinished
    return stopped_vpn or _tried_to_log_in(outcome)


def _tried_to_log_in(outcome: Outcome) -> bool:
    """Whether this very cycle tried a login that did not lead to a session."""
    note = outcome.login_note
    if note is None or not note.attempts_at:
        return False
    took = sum(done.seconds for done in outcome.operations)
    return note.attempts_at[-1] > outcome.finished_at - took - _ROUNDING_SECONDS
