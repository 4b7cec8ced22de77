"""A clock and an executor that tests turn by hand, and an outcome in which all is well."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from exporter.clock import Clock
from exporter.config.load import TunnelConfig, load_config
from exporter.model import (
    ConnectionStatus,
    GluetunReading,
    Outcome,
    QbittorrentReading,
    Saved,
    SyncState,
    VpnStatus,
)

P = ParamSpec("P")
T = TypeVar("T")

START = 1_790_000_000.0
"""2026-09-21 14:13:20 UTC."""
NOW = 1000.0
"""The same moment on the clock that only moves forward."""

GLUETUN = GluetunReading(45720, VpnStatus.RUNNING, "203.0.113.7")
QBITTORRENT = QbittorrentReading(
    45720,
    connection_status=ConnectionStatus.CONNECTED,
    version="v5.1.0",
    webapi_version="2.11.4",
)
IN_SYNC = Outcome(
    "default",
    SyncState.IN_SYNC,
    finished_at=NOW,
    next_check_seconds=30.0,
    gluetun=GLUETUN,
    qbittorrent=QBITTORRENT,
    saved=Saved(forwarded_port=45720, port_changed_at=NOW - 3600, succeeded_at=NOW),
)


def tunnels(*names: str, **variables: str) -> list[TunnelConfig]:
    """Configured tunnels of these names, else alike."""
    given = {"GLUETUN_APIKEY": "key", **variables}
    [made] = load_config(given, Path("/nonexistent")).tunnels
    return [made._replace(name=name) for name in names]


class FakeClock(Clock):
    """Stands still until told; `sleep` moves it on at once."""

    def __init__(self, now: float = NOW, unix: float = START) -> None:
        self.now = now
        self.offset = unix - now
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
    """Runs each call at once, in the thread that submits it, and notes when the last one began."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.began_at = 0.0

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        self.began_at = self._clock.now
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # as every executor does
            future.set_exception(error)
        return future

    def shutdown(self, *args: Any, **kwargs: Any) -> None:
        """Nothing runs behind anybody's back."""
