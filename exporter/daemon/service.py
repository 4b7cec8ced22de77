"""Puts the parts together: from a configuration to a running daemon, or to one check."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import resource
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING

from exporter import HOME, __version__
from exporter.clock import Clock
from exporter.config.load import Config, TunnelConfig
from exporter.daemon.loop import Loop
from exporter.daemon.publisher import Publisher, Reader
from exporter.daemon.reload import Changes, compare, needing_restart
from exporter.daemon.scheduler import CancelJob, SteadyJob
from exporter.errors import QstickyError, StatusFileError
from exporter.healthcheck import MALFORMED
from exporter.model import Outcome, Saved
from exporter.report import safe_file
from exporter.report.board import StatusBoard
from exporter.report.log import LogReader, logger
from exporter.report.saved import daemon_is_running, read_saved, read_status
from exporter.report.status_file import StatusFile
from exporter.report.tally import LogCounter, Tally
from exporter.servers.logins import LoginRegistry
from exporter.tunnel.tunnel import Tunnel

if TYPE_CHECKING:
    from exporter.daemon.prober import Prober
    from exporter.report.metrics import Metrics
    from exporter.report.notifier import Notifier
    from exporter.web.app import WebApp
    from exporter.web.server import WebServer
    from exporter.web.users import Users

_SWAP_WITHIN_SECONDS = 30.0
_FIRST_CHECK_SECONDS = 0.5
"""How long the web server waits for the first check, which takes a tenth of that as a rule."""
_OPEN_FILES = 8192
"""A thousand tunnels that all hang have a thousand connections; many systems begin with 1,024."""


class Service:
    """The daemon with all its readers, and the web server."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        load: Callable[[], Config] | None = None,
        executor: Executor | None = None,
        readers: Iterable[Reader] = (),
    ) -> None:
        """Make the parts; raises UsersFileError. Nothing runs yet, status.json says `starting`.

        `load` reads the configuration again, for a reload; None = it never changes. `executor`
        runs the checks; None = threads. `readers` get the outcomes beside our own.
        """
        _allow_open_files()
        self._config = config
        self._web = config.web  # a reload can't change it
        self._load = load
        self._reloading = threading.Lock()
        self._web_server: WebServer | None = None
        self._executor = executor
        self._prober: Prober | None = None
        self.tally = Tally(__version__, os.environ.get("QSTICKY_REVISION", ""), clock)
        logger.addHandler(LogCounter(self.tally))
        self._clock = clock
        self._users = _read_users(config)
        self.status_file = _status_file(config, clock)
        self.board = StatusBoard()
        self._factory = TunnelFactory(clock, self.status_file, try_at_once=True)
        self.notifier = self._make_notifier()
        ours: list[Reader] = [LogReader(), self.tally, self.board]
        ours += [self.notifier] if self.notifier else []
        self._publisher = Publisher(
            self.status_file,
            [*ours, *readers],
            clock,
            config.interval_seconds,
            on_write=self.tally.count_file_write,
        )
        self.loop = Loop(
            config.interval_seconds,
            self._publisher,
            clock,
            executor,
            on_reload=self.reload if load else None,
        )
        for warning in config.warnings:
            logger.warning("%s", warning)
        self._tunnels = {tunnel.name: self._factory.make(tunnel) for tunnel in config.tunnels}
        self._set_tunnels(config)

    @property
    def address(self) -> str:
        """Return where the web server listens, as `host:port`; empty where there is none."""
        return self._web_server.address if self._web_server else ""

    @functools.cached_property
    def metrics(self) -> Metrics:
        """Return what Prometheus scrapes."""
        from exporter.report.metrics import Metrics

        return Metrics(self.tally)

    @functools.cached_property
    def app(self) -> WebApp:
        """Return all that the web server serves."""
        from exporter.web.app import WebApp, WebParts

        def request_sync(tunnel: str | None, pushed: bool) -> None:
            if pushed:
                self.tally.count_push(tunnel)
            self.loop.request_check(tunnel, pushed=pushed)

        web = self._web
        parts = WebParts(
            board=self.board,
            registry=lambda: self.metrics.registry,
            status_json=lambda: self.status_file.content(public=True),
            request_sync=request_sync,
            version=__version__,
            docs_url=HOME,
            users=self._users,
            clock=self._clock,
            reload=self.reload if self._load and web.enable_lifecycle else None,
            allowed_hosts=web.allowed_hosts,
        )
        return WebApp(parts)

    def start(self) -> None:
        """Start the first checks; what people and Prometheus look at follows in `run`."""
        if self.notifier:
            self.notifier.start()
        start_others = self.loop.add_job(self._start_others)
        start_others.run_in(_FIRST_CHECK_SECONDS)
        self._publisher.add_reader(_FirstOutcome(start_others))
        self.loop.start()

    def run(self) -> bool:
        """Run until a signal comes; returns whether a worker still hangs in a request."""
        self.loop.run()
        if self._web_server:
            self._web_server.stop()
        is_asking = self._prober is not None and self._prober.stop()
        return self.loop.has_abandoned_work or is_asking

    def reload(self) -> str:
        """Load the configuration again; returns why it was rejected, empty where it was not.

        From any thread but the main one: a large file takes a second to read, and the checks go
        on meanwhile. The main thread then changes over in one step.
        """
        with self._reloading:
            try:
                config = self._load() if self._load else self._config
            except QstickyError as error:
                self.tally.count_reload(success=False)
                mistakes = "; ".join(error.message.split("\n"))
                logger.error(
                    "Reload failed, keeping the current configuration: %s - %s", mistakes, error.fix
                )
                return error.message
            done = self.loop.request_call(functools.partial(self._change_over, config))
            try:
                done.result(_SWAP_WITHIN_SECONDS)
            except TimeoutError:
                return "qSticky is stopping"
            return ""

    def close(self) -> None:
        """Close all connections; for whoever does not run it to its end."""
        if self._web_server:
            self._web_server.stop()
        for tunnel in self._tunnels.values():
            tunnel.close()

    def _change_over(self, config: Config) -> None:
        """Put a new configuration into force; in the main thread, between two steps."""
        changed = needing_restart(self._config, config)
        config = _with_interval(config, self._config.interval_seconds)
        changes = compare(self._config.tunnels, config.tunnels)
        kept = set(changes.kept)
        self._tunnels = {
            tunnel.name: self._tunnels[tunnel.name]
            if tunnel.name in kept
            else self._factory.make(tunnel)
            for tunnel in config.tunnels
        }
        self._set_tunnels(config)
        self._log_reload(config, changes, changed)
        self._config = config
        self.tally.count_reload(success=True)

    def _set_tunnels(self, config: Config) -> None:
        if self._prober is None and any(tunnel.reachability for tunnel in config.tunnels):
            from exporter.daemon.prober import Prober

            self._prober = Prober(self.loop, self._clock, self._executor)
            self._publisher.add_reader(self._prober)
        self._publisher.set_tunnels(config.tunnels)
        self.loop.set_tunnels(self._tunnels.values())

    def _log_reload(self, config: Config, changes: Changes, changed: Iterable[str]) -> None:
        for warning in config.warnings:
            if warning not in self._config.warnings:
                logger.warning("%s", warning)
        for name in changed:
            logger.warning("%s changed; restart qSticky to apply it", name)
        logger.info("Configuration reloaded; tunnels: %s", changes)

    def _make_notifier(self) -> Notifier | None:
        notify = self._config.notify
        if not notify.urls.value:
            return None
        from exporter.report.notices import Notices
        from exporter.report.notifier import Notifier

        notices = Notices(notify.topics, self._clock, self.status_file.saved_before)
        return Notifier(notices, notify.urls, self._clock, self.tally.count_notification)

    def _start_others(self) -> CancelJob:
        """Start what would slow down the check that sets the port, by its imports."""
        if self._web.listen_address:
            self._start_web()
        # all this stays: the collector need not look through it again, 10 ms each time
        gc.collect()
        gc.freeze()
        return CancelJob()

    def _start_web(self) -> None:
        from exporter.web.server import WebServer

        server = WebServer(self.app, self._web.listen_address)
        try:
            server.start()
        except QstickyError as error:
            # the port that matters is qBittorrent's: that job goes on
            logger.error("%s - %s", error.message, error.fix)
            return
        self._web_server = server
        logger.info("Status page and metrics at http://%s/", server.address)


class _FirstOutcome:
    """A reader that has a job run as soon as there is an outcome."""

    def __init__(self, job: SteadyJob) -> None:
        self._job = job
        self._is_there = False

    def set_tunnels(self, tunnels: Iterable[TunnelConfig]) -> None:
        """Learn nothing: the first outcome of any tunnel counts."""

    def publish(self, outcome: Outcome) -> None:
        """Have the job run, the first time."""
        if not self._is_there:
            self._is_there = True
            self._job.run_in(0)


def run_once(config: Config, clock: Clock) -> bool:
    """Run one check of each tunnel; returns whether all are in sync.

    Raises StatusFileError: rejected logins are kept in that file, so that a cron job does not get
    us banned.
    """
    # a daemon may run beside us, and goes on writing the file
    daemon = _daemon_is_running(config.health_file, clock)
    status_file = _status_file(config, clock, daemon=daemon)
    factory = TunnelFactory(clock, status_file, try_at_once=False)
    log_reader = LogReader()
    for warning in config.warnings:
        logger.warning("%s", warning)
    for reader in (log_reader, status_file):
        reader.set_tunnels(config.tunnels)
    status_file.write()  # before a login that could not be saved
    outcomes = []
    for tunnel in config.tunnels:
        outcomes.append(factory.make(tunnel).check())
        for reader in (log_reader, status_file):
            reader.publish(outcomes[-1])
    status_file.write()
    return all(outcome.in_sync for outcome in outcomes)


def _with_interval(config: Config, seconds: float) -> Config:
    """Return the configuration with the interval in force: another one needs a restart."""
    tunnels = tuple(tunnel._replace(interval_seconds=seconds) for tunnel in config.tunnels)
    return config._replace(tunnels=tunnels, interval_seconds=seconds)


class TunnelFactory:
    """Makes tunnels with what status.json keeps of them, and with the logins at their server."""

    def __init__(self, clock: Clock, status_file: StatusFile, *, try_at_once: bool) -> None:
        """`try_at_once` where somebody may wait for a login."""
        self._clock = clock
        self._status_file = status_file
        saved = [known.logins for known in status_file.saved_before.values()]
        self._logins = LoginRegistry(clock, saved, try_at_once=try_at_once)

    def make(self, config: TunnelConfig) -> Tunnel:
        """Make one tunnel."""
        return Tunnel(
            config,
            self._clock,
            self._status_file.saved(config.name),
            self._logins.for_server(config.qbittorrent.server.place),
            self._status_file.save,
        )


def _status_file(config: Config, clock: Clock, *, daemon: bool = True) -> StatusFile:
    path = config.health_file
    safe_file.remove_left_behind(path)
    saved: dict[str, Saved] = {}
    try:
        saved = read_saved(path, clock)
    except StatusFileError as error:
        logger.warning("%s - %s", error.message, error.fix)
    return StatusFile(path, __version__, clock, saved, daemon=daemon)


def _daemon_is_running(path: Path, clock: Clock) -> bool:
    try:
        return daemon_is_running(path, read_status(path), clock)
    except (OSError, *MALFORMED):
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
    from exporter.web.users import Users  # with bcrypt and PyYAML, for those who have users

    return Users(config.web.users_file)
