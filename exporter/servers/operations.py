"""Keeps account of the operations of one check: how long each took, and what failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from exporter.clock import Clock
from exporter.errors import ServerError, unexpected
from exporter.model import Failure, Operation, OperationResult, Reason


class Operations:
    """The account of one check; the clients write down what they really sent."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.results: list[OperationResult] = []
        self.failures: list[Failure] = []
        """The one that explains the state stands first."""

    def now(self) -> float:
        """Return the moment, on the clock of the check."""
        return self._clock.monotonic()

    @contextmanager
    def measured(self, operation: Operation) -> Iterator[None]:
        """Count an operation when it ends, with the reason where it fails."""
        started = self._clock.monotonic()
        reason = None
        try:
            yield
        except ServerError as error:
            reason = error.reason
            raise
        except Exception as error:
            reason = Reason.OTHER
            raise unexpected(error) from error
        finally:
            seconds = self._clock.monotonic() - started
            self.results.append(OperationResult(operation, seconds, reason))

    @contextmanager
    def may_fail(self, operation: Operation) -> Iterator[None]:
        """Note an error as a failure and go on after the block."""
        try:
            yield
        except ServerError as error:
            self.fail(operation, error)

    def fail(self, operation: Operation, error: ServerError) -> Failure:
        """Note an error as a value."""
        failure = Failure(operation, error.reason, error.message, error.fix)
        self.failures.append(failure)
        return failure

    def count_as_failed(self, operation: Operation, reason: Reason) -> None:
        """Count the last operation of that kind as failed, for what its response showed."""
        for at, result in reversed(list(enumerate(self.results))):
            if result.operation is operation:
                self.results[at] = OperationResult(operation, result.seconds, reason)
                return

    def put_first(self, failure: Failure) -> None:
        """Have this failure explain the state."""
        self.failures.sort(key=lambda each: each is not failure)
