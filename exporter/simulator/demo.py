"""`qsticky demo`: the real daemon at work on simulated servers, to which things happen."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

from exporter.clock import Clock
from exporter.config.load import Config, load_config
from exporter.daemon.service import Service
from exporter.report import log
from exporter.report.log import logger
from exporter.simulator.world import World

SECONDS_BETWEEN_EVENTS = 20.0
CHECK_INTERVAL = "5"
WEB_LISTEN_ADDRESS = "127.0.0.1:9809"


def run_demo() -> None:
    """Run until Ctrl-C."""
    with tempfile.TemporaryDirectory(prefix="qsticky-demo-") as folder, World() as world:
        settings = load_config(_environment(world, Path(folder)))
        log.set_up("INFO", "text")
        service = Service(settings, Clock())
        _introduce(settings, world)
        service.start()
        ended = threading.Event()
        storyteller = threading.Thread(target=_tell, args=(world, ended), daemon=True)
        storyteller.start()
        service.run()
        ended.set()
        storyteller.join()


def _environment(world: World, folder: Path) -> dict[str, str]:
    return {
        "GLUETUN_HOST": world.gluetun.host,
        "GLUETUN_PORT": str(world.gluetun.port),
        "GLUETUN_APIKEY": "simulated-key",
        "QBITTORRENT_HOST": world.qbittorrent.host,
        "QBITTORRENT_PORT": str(world.qbittorrent.port),
        "QBITTORRENT_PASS": world.qbittorrent.password,
        "CHECK_INTERVAL": CHECK_INTERVAL,
        "REQUEST_TIMEOUT": "2",
        "HEALTH_FILE": str(folder / "status.json"),
        "WEB_LISTEN_ADDRESS": os.environ.get("WEB_LISTEN_ADDRESS", WEB_LISTEN_ADDRESS),
    }


def _introduce(settings: Config, world: World) -> None:
    logger.info("This is a demo: Gluetun and qBittorrent are simulated, nothing leaves this host")
    logger.info("Gluetun's control server: %s", world.gluetun.url)
    logger.info("qBittorrent's Web UI API: %s", world.qbittorrent.url)
    logger.info("The status file: %s", settings.health_file)
    logger.info("Something happens every %.0f s; stop with Ctrl-C", SECONDS_BETWEEN_EVENTS)


def _tell(world: World, ended: threading.Event) -> None:
    """Let the next thing happen from time to time."""
    while not ended.wait(SECONDS_BETWEEN_EVENTS):
        logger.info(">>> %s", world.next_event())
