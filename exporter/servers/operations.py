"""Keeps account of the operations of one cycle: how long each took, and what failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from exporter.clock import Clock
from exporter.errors import ServerError
from exporter.model import Failure, Operation, OperationResult, Reason

T = TypeVar("T")


class Operations:
    """The account of one cycle; the failure that explains the state stands first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.results: list[OperationResult] = []
        self.failures: list[Failure] = []

    def timed(self, operation: Operation, call: Callable[[], T]) -> T:
        """Call, and count the operation when it ends."""
        started = self._clock.monotonic()
        try:
            result = call()
        except ServerError as error:
            self._count(operation, started, error.reason)
            raise
        self._count(operation, started, None)
        return result

    def attempt(self, operation: Operation, call: Callable[[], T]) -> T | Failure:
        """Call, and turn an error into a value."""
        try:
            return call()
        except ServerError as error:
            return self.fail(operation, error)

    def fail(self, operation: Operation, error: ServerError, *, first: bool = False) -> Failure:
        """Note an error as a value."""
        failure = Failure(operation, error.reason, error.message, error.fix)
        self.failures.insert(0 if first else len(self.failures), failure)
        return failure

    def put_first(self, failure: Failure) -> None:
        """Have this failure explain the state."""
        self.failures.sort(key=lambda each: each is not failure)

    def _count(self, operation: Operation, started: float, reason: Reason | None) -> None:
        seconds = self._clock.monotonic() - started
        self.results.append(OperationResult(operation, seconds, reason))
