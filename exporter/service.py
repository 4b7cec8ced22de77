"""Puts the parts together: from a configuration to a running daemon, or to one check."""

from __future__ import annotations

import json
import logging.handlers
import os
from typing import TYPE_CHECKING

from exporter import __version__
from exporter.clock import Clock
from exporter.config import Config
from exporter.daemon import Daemon
from exporter.errors import QstickyError, StatusFileError
from exporter.health import StatusFile, remembered
from exporter.log import LogReader, logger
from exporter.publisher import Publisher
from exporter.tunnel import Tunnel

if TYPE_CHECKING:
    from exporter.board import StatusBoard
    from exporter.metrics import Metrics
    from exporter.users import Users
    from exporter.web import WebApp
    from exporter.webserver import WebServer

_MOST_EARLY_LINES = 10_000


class Service:
    """The daemon with all its readers, and the web server."""

    def __init__(self, config: Config, clock: Clock) -> None:
        """Make the parts; raises UsersFileError. Nothing runs yet, status.json says `starting`."""
        # lines that are logged before there are metrics count as well
        self._early_lines = logging.handlers.MemoryHandler(
            _MOST_EARLY_LINES, flushLevel=logging.CRITICAL + 1
        )
        logger.addHandler(self._early_lines)
        self._config = config
        self._clock = clock
        self._users = _read_users(config)
        self._web_server: WebServer | None = None
        tunnels = _tunnels(config, clock)
        self._status_file = _status_file(config, clock)
        for tunnel in tunnels:
            self._status_file.publish(tunnel.starting())
        log_reader = LogReader(several_tunnels=len(tunnels) > 1)
        self._publisher = Publisher(self._status_file, [log_reader], clock)
        self._daemon = Daemon(tunnels, config.interval_seconds, self._publisher, clock)

    @property
    def address(self) -> str:
        """Where the web server listens, as `host:port`; empty where there is none."""
        return self._web_server.address if self._web_server else ""

    def start(self) -> None:
        """Start the first cycles, and only then what people and Prometheus look at."""
        self._daemon.start()
        self._publisher.write()
        if self._config.web.listen_address:
            self._start_web()

    def run(self) -> bool:
        """Run until a signal comes; tells whether a cycle still hangs in a request."""
        self._daemon.run()
        if self._web_server:
            self._web_server.stop()
        return self._daemon.has_abandoned_work

    def _start_web(self) -> None:
        # these take longer to import than the first port takes to be set
        from exporter.board import StatusBoard
        from exporter.metrics import LogCounter, Metrics
        from exporter.webserver import WebServer

        names = [tunnel.name for tunnel in self._config.tunnels]
        revision = os.environ.get("QSTICKY_REVISION", "")
        metrics = Metrics(
            __version__, revision, self._config.interval_seconds, names, self._clock.wall
        )
        log_counter = LogCounter(metrics)
        logger.removeHandler(self._early_lines)
        logger.addHandler(log_counter)
        self._early_lines.setTarget(log_counter)
        self._early_lines.flush()
        board = StatusBoard(names)
        self._publisher.add_readers(metrics, board)
        self._publisher.on_write = metrics.file_written
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
        from exporter.web import WebApp

        def status_json() -> bytes:
            return json.dumps(self._status_file.document(self._clock.wall())).encode()

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
            clock=self._clock.wall,
        )


def run_once(config: Config, clock: Clock) -> bool:
    """Run one cycle of each tunnel; tells whether all are in sync.

    Raises StatusFileError: rejected logins are remembered in that file, so that a cron job does
    not get us banned.
    """
    status_file = _status_file(config, clock)
    log_reader = LogReader(several_tunnels=len(config.tunnels) > 1)
    outcomes = []
    for tunnel in _tunnels(config, clock):
        outcomes.append(tunnel.cycle())
        log_reader.publish(outcomes[-1])
        status_file.publish(outcomes[-1])
    status_file.write(clock.wall())
    return all(outcome.in_sync for outcome in outcomes)


def _tunnels(config: Config, clock: Clock) -> list[Tunnel]:
    for warning in config.warnings:
        logger.warning("%s", warning)
    try:
        memory = remembered(config.health_file)
    except StatusFileError as error:
        logger.warning("%s - %s", error.message, error.fix)
        memory = {}
    return [Tunnel(tunnel, clock, memory.get(tunnel.name)) for tunnel in config.tunnels]


def _status_file(config: Config, clock: Clock) -> StatusFile:
    return StatusFile(config.health_file, __version__, clock.wall(), config.interval_seconds)


def _read_users(config: Config) -> Users | None:
    if config.web.users_file is None or not config.web.listen_address:
        return None
    from exporter.users import Users

    return Users(config.web.users_file)
