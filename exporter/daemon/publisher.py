"""Hands every outcome to every reader, and keeps status.json up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from exporter.clock import Clock
from exporter.config.load import TunnelConfig
from exporter.errors import StatusFileError
from exporter.model import Operation, OperationResult, Outcome
from exporter.report.log import logger
from exporter.report.status_file import StatusFile

WRITE_AT_MOST_EVERY = 1.0
"""Seconds between two writes of status.json: an outcome is in the file at once, or this soon."""


class Reader(Protocol):
    """Wants to know the outcome of every check."""

    def set_tunnels(self, tunnels: Iterable[TunnelConfig]) -> None:
        """Learn which tunnels there are from now on."""

    def publish(self, outcome: Outcome) -> None:
        """Take in an outcome."""


class Publisher:
    """Publishes outcomes; used by the main thread only."""

    def __init__(
        self,
        status_file: StatusFile,
        readers: Iterable[Reader],
        clock: Clock,
        interval_seconds: float,
        on_write: Callable[[OperationResult], None] = lambda result: None,
    ) -> None:
        """`on_write` is called after each write of status.json."""
        self._status_file = status_file
        self._readers: tuple[Reader, ...] = (*readers, status_file)
        self._clock = clock
        self._interval = interval_seconds
        self._on_write = on_write
        self._epoch = clock.unix(0.0)
        self._write_error = ""
        self._written_at = clock.monotonic()
        self._is_owing = False

    def add_reader(self, reader: Reader) -> None:
        """Have one more reader, from the next `set_tunnels` on."""
        self._readers = (*self._readers, reader)

    def set_tunnels(self, tunnels: Iterable[TunnelConfig]) -> None:
        """Tell all readers which tunnels there are from now on, and write the file."""
        configs = tuple(tunnels)
        for reader in self._readers:
            reader.set_tunnels(configs)
        self.write()
        self._written_at -= WRITE_AT_MOST_EVERY  # the first outcomes need not wait

    def publish(self, outcome: Outcome) -> None:
        """Hand an outcome to all readers; `due_in_seconds` says when the file will have it."""
        for reader in self._readers:
            reader.publish(outcome)
        self._is_owing = self._is_owing or not outcome.is_watch
        if self._is_owing and self.due_in_seconds == 0:
            self.write()

    @property
    def due_in_seconds(self) -> float:
        """Return when the file is to be written next.

        Soon where it lacks an outcome; else when an interval has brought none: a check hangs.
        """
        pause = WRITE_AT_MOST_EVERY + (0.0 if self._is_owing else self._interval)
        return max(0.0, self._written_at + pause - self._clock.monotonic())

    def write(self, *, stopped: bool = False) -> None:
        """Write status.json; an error is logged once, and when it is over."""
        self._note_clock()
        started = self._clock.monotonic()
        self._is_owing = False
        said, reason = "", None
        try:
            self._status_file.write(stopped=stopped)
        except StatusFileError as error:
            said, reason = f"{error.message} - {error.fix}", error.reason
        self._note_error(said)
        self._written_at = self._clock.monotonic()
        seconds = self._written_at - started
        self._on_write(OperationResult(Operation.STATUS_FILE, seconds, reason))

    def _note_clock(self) -> None:
        epoch = self._clock.unix(0.0)
        if step := epoch - self._epoch:
            logger.info("System clock jumped by %+.0f s; checks are not affected", step)
        self._epoch = epoch

    def _note_error(self, error: str) -> None:
        if error and error != self._write_error:
            logger.error("%s", error)
        if self._write_error and not error:
            logger.info("The status file can be written again")
        self._write_error = error
