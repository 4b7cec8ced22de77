"""The service itself on simulated servers, its time turned by hand."""

import contextlib
import io
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, Self, TypeVar

from exporter.config.load import Config, TunnelConfig, load_config
from exporter.daemon.service import Service
from exporter.model import EventKind, Operation, Outcome, SyncState
from exporter.report.log import logger, set_up
from exporter.servers.connection import DirectConnection
from exporter.simulator.world import (
    Generation,
    Role,
    SimulatedGluetun,
    SimulatedQbittorrent,
    SimulatedServer,
    Version,
)
from exporter.tunnel.tunnel import Tunnel
from tests.fakes import FakeClock, InlineExecutor
from tests.parts.daemon import way_to

P = ParamSpec("P")
T = TypeVar("T")

FIRST_PORT = 45720
GLUETUN_KEY = "simulated-key"
ON_TUN0: dict[str, Any] = {"interface": "tun0", "addresses": ("10.2.0.2",)}
"""Where qBittorrent listens: in the VPN."""


class Recorder:
    """A reader that keeps what it is told."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.outcomes: list[Outcome] = []

    def set_tunnels(self, tunnels: Iterable[TunnelConfig]) -> None:
        self.names = [tunnel.name for tunnel in tunnels]

    def publish(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


class HeldExecutor(Executor):
    """Holds each call until the test lets the oldest one run: a check that takes long."""

    def __init__(self) -> None:
        self.submitted = 0
        self._held: list[Callable[[], None]] = []

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        self.submitted += 1
        future: Future[T] = Future()
        self._held.append(lambda: future.set_result(fn(*args, **kwargs)))
        return future

    def finish(self) -> None:
        """Let the oldest call run."""
        self._held.pop(0)()

    def shutdown(self, *args: Any, **kwargs: Any) -> None:
        """Leave what is held: it hangs."""


class Rig:
    """Both servers, and a daemon that can be restarted; use it as a context."""

    def __init__(  # noqa: PLR0913  # each is an option, given by name
        self,
        folder: Path,
        *,
        clock: FakeClock | None = None,
        gluetun: SimulatedGluetun | None = None,
        qbittorrent: SimulatedQbittorrent | None = None,
        environ: Mapping[str, str] | None = None,
        tunnels: Sequence[Mapping[str, object]] = (),
        log_format: str = "text",
        executor: Executor | None = None,
    ) -> None:
        """`tunnels` are entries of the YAML file; what they leave out is as in `environ`."""
        self.clock = clock or FakeClock()
        self._inline = InlineExecutor(self.clock)
        self._executor = executor or self._inline
        time = self.clock.monotonic
        self.gluetun = gluetun or SimulatedGluetun("3.41", role=role_with(), clock=time)
        self.qbittorrent = qbittorrent or SimulatedQbittorrent("5.1.0", clock=time, **ON_TUN0)
        self.path = folder / "status.json"
        self.yaml = folder / "qsticky.yaml"
        self.environ = {
            **way_to(self.gluetun, self.qbittorrent, GLUETUN_KEY),
            "HEALTH_FILE": str(self.path),
            "LOG_LEVEL": "DEBUG",
            "LOG_FORMAT": log_format,
            **(environ or {}),
        }
        if tunnels:
            self.write_tunnels(tunnels)
        self.recorder = Recorder()
        self.log = io.StringIO()
        self.service: Service
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

    def start_daemon(self, **environ: str) -> None:
        """Start qSticky, for the first time or after it was killed; `environ` has changed."""
        if hasattr(self, "service"):
            self.service.close()
        self.environ |= environ
        config = self.config()
        set_up(config.log_level, config.log_format, self.log)
        self.service = Service(
            config, self.clock, self.config, self._executor, readers=[self.recorder]
        )
        self.loop = self.service.loop

    def config(self) -> Config:
        """Load the configuration as it is now."""
        return load_config(self.environ)

    def write_tunnels(self, entries: Sequence[Mapping[str, object]]) -> None:
        """Name the tunnels in the YAML file; JSON is YAML too."""
        self.yaml.write_text(json.dumps({"tunnels": list(entries)}))
        self.environ["QSTICKY_CONFIG"] = str(self.yaml)

    def reload(self) -> str:
        """Reload the configuration; returns why that was rejected."""
        with ThreadPoolExecutor(1) as thread:
            answer = thread.submit(self.service.reload)
            while not answer.done():
                self.loop.step(0.005)
        return answer.result()

    # time

    def turn(self) -> None:
        """Let the loop do what is due now."""
        self.loop.step(0)
        self.loop.step(0)

    def check(self, *, pushed: bool = False) -> Outcome:
        """Have a check at once."""
        self.loop.request_check(pushed=pushed)
        self.turn()
        return self.last

    def later(self, seconds: float) -> Outcome:
        """Let time pass without any check, then have one."""
        self.clock.now += seconds
        return self.check()

    def run_for(self, seconds: float) -> None:
        """Let time pass, from one thing that is due to the next."""
        end = self.clock.now + seconds
        self.turn()
        while self.clock.now + self.loop.idle() < end:
            self.clock.now += self.loop.idle()
            self.turn()
        self.clock.now = max(end, self.clock.now)

    def next_check(self) -> Outcome:
        """Let time pass until a check has ended."""
        known = len(self.recorder.outcomes)
        self.turn()
        while len(self.recorder.outcomes) == known:
            self.clock.now += self.loop.idle()
            self.turn()
        return self.last

    # what there is to see

    @property
    def check_began_at(self) -> float:
        """When the last check began."""
        return self._inline.began_at

    @property
    def tunnel(self) -> Tunnel:
        """The one tunnel, for what can't be seen from outside."""
        return self.service._tunnels["default"]

    @property
    def last(self) -> Outcome:
        """The last outcome."""
        return self.recorder.outcomes[-1]

    @property
    def checked(self) -> list[str]:
        """The tunnels whose checks have ended, in that order."""
        return [outcome.tunnel for outcome in self.recorder.outcomes]

    @property
    def said(self) -> list[str]:
        """What the last check said."""
        return [event.message for event in self.last.events]

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

    def operations(self) -> Counter[str]:
        """How many operations of each kind were counted so far."""
        name = "qsticky_operation_duration_seconds_count"
        return Counter(
            {str(kind): int(self.metric(name, operation=str(kind))) for kind in Operation}
        )

    def shown_state(self) -> SyncState:
        """The one state that the metrics show."""
        family = "qsticky_sync_state"
        shown = [s for s in SyncState if self.metric(family, tunnel="default", state=str(s))]
        assert len(shown) == 1
        return shown[0]

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
        """Ask the web application; its status code and its body."""
        path, _, query = path.partition("?")
        given = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, **headers}
        given["HTTP_HOST"] = "localhost:9809"
        answered: list[str] = []
        body = b"".join(
            self.service.app(
                given | {"wsgi.input": io.BytesIO()},
                lambda status, *_: answered.append(status) or _ignore,  # type: ignore[func-returns-value]
            )
        )
        return int(answered[0][:3]), body.decode()


def make_rig(  # noqa: PLR0913  # each is an option, given by name
    folder: Path,
    generation: Generation = "3.41",
    version: Version = "5.1.0",
    *,
    role: Role | None = None,
    forwarded_port: int = FIRST_PORT,
    environ: Mapping[str, str] | None = None,
    **options: Any,
) -> Rig:
    """Return a rig with servers of these kinds; `options` are those of qBittorrent."""
    clock = FakeClock()
    gluetun = SimulatedGluetun(
        generation, role=role or role_with(), forwarded_port=forwarded_port, clock=clock.monotonic
    )
    qbittorrent = SimulatedQbittorrent(version, clock=clock.monotonic, **{**ON_TUN0, **options})
    return Rig(folder, clock=clock, gluetun=gluetun, qbittorrent=qbittorrent, environ=environ)


def role_with(*routes: str) -> Role:
    """Return a role of our key for these routes of Gluetun; for all where none is named."""
    return Role(auth="apikey", apikey=GLUETUN_KEY, routes=routes or None)


def is_connected(tunnel: Tunnel) -> bool:
    """Return whether a tunnel keeps its connection to Gluetun open."""
    way = tunnel._gluetun._transport._connection
    return isinstance(way, DirectConnection) and way._connection is not None


def named(names: Iterable[str]) -> list[dict[str, object]]:
    """Return entries of the YAML file that have a name and nothing else."""
    return [{"name": name} for name in names]


def kinds(*outcomes: Outcome) -> list[EventKind]:
    """Return what happened in these checks."""
    return [event.kind for outcome in outcomes for event in outcome.events]


def rebinds(*outcomes: Outcome) -> int:
    """Count how often the port was opened again."""
    return kinds(*outcomes).count(EventKind.REBIND)


def ban(rig: Rig) -> None:
    """Have somebody else at our address get the password wrong too often, for an hour."""
    rig.qbittorrent._access._banned_until["127.0.0.1"] = rig.clock.now + 3600


def asked(server: SimulatedServer) -> list[str]:
    """Return the paths that a server was asked for since it was looked at last."""
    paths = [f"{method} {target.partition('?')[0]}" for method, target, _ in server.requests]
    server.requests.clear()
    return paths


def _ignore(_: bytes, /) -> None:
    """WSGI's old way of writing, which nobody uses."""


def _restore_logger(handlers: list[logging.Handler], level: int, propagate: bool) -> None:
    logger.handlers, logger.level, logger.propagate = handlers, level, propagate
