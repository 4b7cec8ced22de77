"""Puts the parts together: from a configuration to a running daemon, or to one check."""

from __future__ import annotations

from exporter import __version__
from exporter.clock import Clock
from exporter.config import Config
from exporter.daemon import Daemon
from exporter.errors import StatusFileError
from exporter.health import StatusFile, remembered
from exporter.log import LogReader, logger
from exporter.publisher import Publisher
from exporter.tunnel import Tunnel


def make_daemon(config: Config, clock: Clock) -> Daemon:
    """Make the daemon; nothing runs yet, but status.json says that it is starting."""
    tunnels = _tunnels(config, clock)
    status_file = _status_file(config, clock)
    for tunnel in tunnels:
        status_file.publish(tunnel.starting())
    readers = [LogReader(several_tunnels=len(tunnels) > 1)]
    publisher = Publisher(status_file, readers, clock)
    return Daemon(tunnels, config.interval_seconds, publisher, clock)


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
