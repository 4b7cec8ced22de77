"""Puts the parts together: from a configuration to a running daemon, or to one check."""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import logging.handlers
import os
import resource
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from exporter import HOME, __version__
from exporter.clock import Clock
from exporter.config.load import Config, TunnelConfig
from exporter.daemon.loop import Daemon
from exporter.daemon.publisher import Publisher
from exporter.daemon.reload import Changes, compare, needing_restart
from exporter.errors import QstickyError, StatusFileError
from exporter.healthcheck import NOT_OURS
from exporter.model import LoginNote, Remembered
from exporter.report.log import LogReader, logger
from exporter.report.status_file import StatusFile, is_kept_up, peek, remembered
from exporter.servers.logins import AllLogins
from exporter.tunnel.tunnel import Tunnel

if TYPE_CHECKING:
    from exporter.report.board import StatusBoard
    from exporter.report.metrics import Metrics
    from exporter.web.app import WebApp
    from exporter.web.server import WebServer
    from exporter.web.users import Users

_MOST_EARLY_LINES = 10_000
_SWAP_WITHIN_SECONDS = 30.0
_FIRST_CYCLES_SECONDS = 1.0
"""How long the web server waits for them; they take a tenth of that, or a server hangs."""
_OPEN_FILES = 8192
"""A thousand tunnels that all hang have a thousand connections; many systems begin with 1,024."""


class Service:
    """The daemon with all its readers, and the web server."""

    def __init__(
        self, config: Config, clock: Clock, load: Callable[[], Config] | None = None
    ) -> None:
        """Make the parts; raises UsersFileError. Nothing runs yet, status.json says `starting`.

        `load` reads the configuration again, for a reload; None = it never changes.
        """
        _allow_open_files()
        # lines that are logged before there are metrics count as well
        self._early_lines = logging.handlers.MemoryHandler(
            _MOST_EARLY_LINES, flushLevel=logging.CRITICAL + 1
        )
        if config.web.listen_address:  # else nobody would ever take them
            logger.addHandler(self._early_lines)
        self._config = config
        self._clock = clock
        self._load = load
        self._reloading = threading.Lock()
        self._users = _read_users(config)
        self._web_server: WebServer | None = None
        self._metrics: Metrics | None = None
        self._board: StatusBoard | None = None
        self._status_file = _status_file(config, clock)
        self._maker = _TunnelMaker(config, clock, self._status_file, try_at_once=True)
        self._tunnels = {tunnel.config.name: tunnel for tunnel in self._maker.all(config)}
        for tunnel in self._tunnels.values():
            self._status_file.publish(tunnel.starting())
        self._log_reader = LogReader(several_tunnels=len(self._tunnels) > 1)
        self._publisher = Publisher(self._status_file, [self._log_reader], clock)
        self._daemon = Daemon(
            self._tunnels.values(), config.interval_seconds, self._publisher, clock
        )
        if load:
            self._daemon.on_reload = self.reload

    @property
    def address(self) -> str:
        """Where the web server listens, as `host:port`; empty where there is none."""
        return self._web_server.address if self._web_server else ""

    def start(self) -> None:
        """Start the first cycles, and only then what people and Prometheus look at."""
        self._daemon.start()
        self._publisher.write()
        if self._config.web.listen_address:
            if len(self._tunnels) == 1:
                # its imports would slow the first cycle down; one of many must not hold up others
                self._daemon.wait_for_cycles(_FIRST_CYCLES_SECONDS)
            self._start_web()
        # all this stays: the collector need not look through it again, 10 ms each time
        gc.collect()
        gc.freeze()

    def run(self) -> bool:
        """Run until a signal comes; tells whether a cycle still hangs in a request."""
        self._daemon.run()
        if self._web_server:
            self._web_server.stop()
        return self._daemon.has_abandoned_work

    def reload(self) -> str:
        """Load the configuration again; tells why it was rejected, empty where it was not.

        From any thread but the main one: a large file takes a second to read, and the cycles go
        on meanwhile. The main thread then changes over in one step.
        """
        with self._reloading:
            try:
                config = self._load() if self._load else self._config
            except QstickyError as error:
                self._note_reload(success=False)
                mistakes = "; ".join(error.message.split("\n"))
                logger.error(
                    "The configuration is not reloaded, all goes on as before: %s - %s",
                    mistakes,
                    error.fix,
                )
                return error.message
            done = self._daemon.request_call(functools.partial(self._change_over, config))
            try:
                done.result(_SWAP_WITHIN_SECONDS)
            except TimeoutError:
                return "qSticky is stopping"
            return ""

    def _change_over(self, config: Config) -> None:
        """Put a new configuration into force; in the main thread, between two steps."""
        changes = compare(self._config.tunnels, config.tunnels)
        kept = set(changes.kept)
        tunnels = {
            tunnel.name: self._tunnels[tunnel.name]
            if tunnel.name in kept
            else self._maker.one(tunnel, self._status_file.remembered(tunnel.name))
            for tunnel in config.tunnels
        }
        for name in changes.removed:
            self._status_file.forget(name)
        for name in changes.added:
            self._status_file.publish(tunnels[name].starting())
        if self._metrics and self._board:
            self._metrics.set_tunnels(tunnels, config.interval_seconds)
            self._board.set_tunnels(tunnels)
        self._log_reader.several_tunnels = len(tunnels) > 1
        self._daemon.set_tunnels(tunnels.values())
        self._say_reload(config, changes)
        self._tunnels, self._config = tunnels, config
        self._note_reload(success=True)
        self._publisher.write()

    def _say_reload(self, config: Config, changes: Changes) -> None:
        for warning in config.warnings:
            if warning not in self._config.warnings:
                logger.warning("%s", warning)
        for name in needing_restart(self._config, config):
            logger.warning("%s has changed, which a reload can't do - restart qSticky", name)
        logger.info("The configuration is reloaded; tunnels: %s", changes)

    def _note_reload(self, *, success: bool) -> None:
        if self._metrics:
            self._metrics.config_reloaded(success, self._clock.wall())

    def _start_web(self) -> None:
        # these take longer to import than the first port takes to be set
        from exporter.report.board import StatusBoard
        from exporter.report.metrics import LogCounter, Metrics
        from exporter.web.server import WebServer

        names = list(self._tunnels)
        revision = os.environ.get("QSTICKY_REVISION", "")
        metrics = Metrics(
            __version__, revision, self._config.interval_seconds, names, self._clock.wall
        )
        log_counter = LogCounter(metrics)
        logger.removeHandler(self._early_lines)
        logger.addHandler(log_counter)
        self._early_lines.setTarget(log_counter)
        self._early_lines.flush()
        board = StatusBoard(names, self._clock)
        self._publisher.add_readers(metrics, board)
        self._publisher.on_write = metrics.file_written
        self._metrics, self._board = metrics, board
        server = WebServer(self._web_app(board, metrics), self._config.web.listen_address)
        try:
            server.start()
        except QstickyError as error:
            # the port that matters is qBittorrent's: that job goes on
            logger.error("%s - %s", error.message, error.fix)
            return
        self._web_server = server
        logger.info("Status page and metrics at http://%s/", server.address)

    def _web_app(self, board: StatusBoard, metrics: Metrics) -> WebApp:
        from exporter.web.app import WebApp

        def status_json() -> bytes:
            return json.dumps(self._status_file.public_document(self._clock.wall())).encode()

        def request_sync(tunnel: str | None, pushed: bool) -> None:
            if pushed:
                for name in [tunnel] if tunnel else board.views():
                    metrics.count_push(name)
            self._daemon.request_look(tunnel, pushed=pushed)

        return WebApp(
            board,
            metrics.registry,
            status_json,
            request_sync,
            __version__,
            users=self._users,
            docs_url=HOME,
            clock=self._clock.wall,
            reload=self.reload if self._load and self._config.web.enable_lifecycle else None,
        )


def run_once(config: Config, clock: Clock) -> bool:
    """Run one cycle of each tunnel; tells whether all are in sync.

    Raises StatusFileError: rejected logins are remembered in that file, so that a cron job does
    not get us banned.
    """
    # a daemon may run beside us, and goes on writing the file
    daemon = _daemon_runs(config.health_file, clock.wall())
    status_file = _status_file(config, clock, daemon=daemon)
    log_reader = LogReader(several_tunnels=len(config.tunnels) > 1)
    tunnels = _TunnelMaker(config, clock, status_file, try_at_once=False).all(config)
    outcomes = []
    for tunnel in tunnels:
        status_file.publish(tunnel.starting())
    status_file.write(clock.wall())  # before a login that could not be remembered
    for tunnel in tunnels:
        outcomes.append(tunnel.cycle())
        log_reader.publish(outcomes[-1])
        status_file.publish(outcomes[-1])
    status_file.write(clock.wall())
    return all(outcome.in_sync for outcome in outcomes)


class _TunnelMaker:
    """Makes tunnels that know what is remembered, of their logins too."""

    def __init__(
        self, config: Config, clock: Clock, status_file: StatusFile, *, try_at_once: bool
    ) -> None:
        self._clock = clock
        self._status_file = status_file
        self._memory = _remembered(config)
        notes = [memory.login_note for memory in self._memory.values()]
        self._logins = AllLogins(clock, notes, try_at_once=try_at_once)

    def all(self, config: Config) -> list[Tunnel]:
        """Those of a configuration, after a start."""
        for warning in config.warnings:
            logger.warning("%s", warning)
        return [self.one(tunnel, self._memory.get(tunnel.name)) for tunnel in config.tunnels]

    def one(self, config: TunnelConfig, remembered: Remembered | None) -> Tunnel:
        """One tunnel; who else logs in to its qBittorrent is known."""

        def note_login(note: LoginNote) -> None:
            self._status_file.note_login(config.name, note, self._clock.wall())

        logins = self._logins.at(config.qbittorrent.server.address)
        return Tunnel(config, self._clock, remembered, logins, note_login)


def _remembered(config: Config) -> dict[str, Remembered]:
    try:
        return remembered(config.health_file)
    except StatusFileError as error:
        logger.warning("%s - %s", error.message, error.fix)
        return {}


def _status_file(config: Config, clock: Clock, *, daemon: bool = True) -> StatusFile:
    path, interval = config.health_file, config.interval_seconds
    return StatusFile(path, __version__, clock.wall(), interval, clock, daemon=daemon)


def _daemon_runs(path: Path, now: float) -> bool:
    try:
        return is_kept_up(path, peek(path)[0], now)
    except (OSError, *NOT_OURS):
        return False


def _allow_open_files() -> None:
    """Ask for as many open files as we may have, up to what many tunnels need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _read_users(config: Config) -> Users | None:
    if config.web.users_file is None or not config.web.listen_address:
        return None
    from exporter.web.users import Users

    return Users(config.web.users_file)
