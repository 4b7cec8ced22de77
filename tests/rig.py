"""The service itself on simulated servers, its time turned by hand."""

import contextlib
import io
import json
import logging
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Self

from exporter.config.load import TunnelConfig, load_config
from exporter.daemon.service import Service
from exporter.model import Outcome, SyncState
from exporter.report.log import logger, set_up
from exporter.simulator.world import Role, SimulatedGluetun, SimulatedQbittorrent
from tests.fakes import FakeClock, InlineExecutor

FIRST_PORT = 45720
GLUETUN_KEY = "simulated-key"


class Recorder:
    """A reader that keeps what it is told."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def set_tunnels(self, tunnels: Iterable[TunnelConfig]) -> None:
        """Nothing: it keeps what it is told, of any tunnel."""

    def publish(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


class Rig:
    """Both servers, and a daemon that can be started anew; use it as a context."""

    def __init__(  # noqa: PLR0913  # each is an option, given by name
        self,
        folder: Path,
        *,
        clock: FakeClock | None = None,
        gluetun: SimulatedGluetun | None = None,
        qbittorrent: SimulatedQbittorrent | None = None,
        environ: Mapping[str, str] | None = None,
        log_format: str = "text",
        executor: Executor | None = None,
    ) -> None:
        self.clock = clock or FakeClock()
        self._executor = executor or InlineExecutor()
        time = self.clock.monotonic
        role = Role(auth="apikey", apikey=GLUETUN_KEY)
        self.gluetun = gluetun or SimulatedGluetun("3.41", role=role, clock=time)
        self.qbittorrent = qbittorrent or SimulatedQbittorrent(
            "5.1.0", clock=time, interface="tun0", addresses=("10.2.0.2",)
        )
        self.path = folder / "status.json"
        self.environ = {
            "GLUETUN_HOST": self.gluetun.host,
            "GLUETUN_PORT": str(self.gluetun.port),
            "GLUETUN_APIKEY": GLUETUN_KEY,
            "QBITTORRENT_HOST": self.qbittorrent.host,
            "QBITTORRENT_PORT": str(self.qbittorrent.port),
            "QBITTORRENT_PASS": self.qbittorrent._access.password,
            "HEALTH_FILE": str(self.path),
            "LOG_LEVEL": "DEBUG",
            "LOG_FORMAT": log_format,
            **(environ or {}),
        }
        self.recorder = Recorder()
        self.log = io.StringIO()
        self._leave = contextlib.ExitStack()

    def __enter__(self) -> Self:
        before = (logger.handlers, logger.level, logger.propagate)
        self._leave.callback(_restore_logger, *before)
        self._leave.enter_context(self.gluetun)
        self._leave.enter_context(self.qbittorrent)
        self.start_daemon()
        self._leave.callback(lambda: self.service.close())
        return self

    def __exit__(self, *_: object) -> None:
        self._leave.close()

    def start_daemon(self) -> None:
        """Start qSticky, for the first time or after it was killed."""
        if self.recorder.outcomes:
            self.service.close()
        settings = load_config(self.environ)
        set_up(settings.log_level, settings.log_format, self.log)
        self.service = Service(
            settings, self.clock, executor=self._executor, readers=[self.recorder]
        )
        self.loop = self.service.loop

    # time

    def turn(self) -> None:
        """Let the loop do what is due now."""
        self.loop.step(0)
        self.loop.step(0)

    def run_for(self, seconds: float) -> None:
        """Let time pass, from one thing that is due to the next."""
        end = self.clock.now + seconds
        self.turn()
        while self.clock.now + self.loop.idle() < end:
            self.clock.now += self.loop.idle() + 1e-3  # the job's own times are rounded
            self.turn()
        self.clock.now = end

    def next_check(self) -> Outcome:
        """Let time pass until a check has ended."""
        known = len(self.recorder.outcomes)
        self.turn()
        while len(self.recorder.outcomes) == known:
            self.clock.now += self.loop.idle() + 1e-3
            self.turn()
        return self.last

    # what there is to see

    @property
    def last(self) -> Outcome:
        """The last outcome."""
        return self.recorder.outcomes[-1]

    def lines(self) -> list[tuple[str, str]]:
        """The log since it was asked for last, above DEBUG: level and message of each line."""
        text = self.log.getvalue()
        self.log.seek(0)
        self.log.truncate()
        found = re.findall(r"^\S+ \S+ - qsticky - ([A-Z]+) - (.*)$", text, re.MULTILINE)
        return [(level, message) for level, message in found if level != "DEBUG"]

    @property
    def status(self) -> dict[str, Any]:
        """status.json as it is on the disk."""
        document: dict[str, Any] = json.loads(self.path.read_bytes())
        return document

    def metric(self, name: str, **labels: str) -> float:
        """One sample, as a scrape would see it."""
        value = self.service.metrics.registry.get_sample_value(name, labels)
        assert value is not None, f"nobody exports {name}{labels}"
        return value

    def shown_state(self) -> SyncState:
        """The one state that the metrics show."""
        family = "qsticky_sync_state"
        shown = [s for s in SyncState if self.metric(family, tunnel="default", state=str(s))]
        assert len(shown) == 1
        return shown[0]

    def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Ask the web application; its status code and its body."""
        path, _, query = path.partition("?")
        given = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query}
        given["HTTP_HOST"] = "localhost:9809"
        answered: list[str] = []
        body = b"".join(
            self.service.app(
                given | {"wsgi.input": io.BytesIO()},
                lambda status, *_: answered.append(status) or _ignore,  # type: ignore[func-returns-value]
            )
        )
        return int(answered[0][:3]), body.decode()


def _ignore(_: bytes, /) -> None:
    """WSGI's old way of writing, which nobody uses."""


def _restore_logger(handlers: list[logging.Handler], level: int, propagate: bool) -> None:
    logger.handlers, logger.level, logger.propagate = handlers, level, propagate
