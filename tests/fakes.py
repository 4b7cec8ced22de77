"""A clock and an executor that tests turn by hand."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

from exporter.clock import Clock

P = ParamSpec("P")
T = TypeVar("T")

START = 1_790_000_000.0


class FakeClock(Clock):
    """Stands still until told; `sleep` moves it on at once."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.offset = START - self.now
        super().__init__()

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + self.offset

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def set_wall(self, unix: float) -> None:
        """Set the system clock, as a person or NTP does."""
        self.offset = unix - self.now


class InlineExecutor(Executor):
    """Runs each call at once, in the thread that submits it."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # as every executor does
            future.set_exception(error)
        return future

    def shutdown(self, *args: Any, **kwargs: Any) -> None:
        """Nothing runs behind anybody's back."""
