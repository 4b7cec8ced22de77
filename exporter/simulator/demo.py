"""`qsticky demo`: the real daemon at work on simulated servers, to which things happen."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from pathlib import Path

from exporter.clock import Clock
from exporter.config.load import Config, load_config
from exporter.daemon.service import Service
from exporter.errors import QstickyError
from exporter.report import log
from exporter.report.log import logger
from exporter.simulator.versions import Version
from exporter.simulator.world import World
from exporter.web.server import try_to_listen

# its libtorrent, 2.0.8, is one whose sockets die with the VPN's interface
VERSION: Version = "4.5.2"
SECONDS_BETWEEN_EVENTS = 20.0
CHECK_INTERVAL = "5"
WEB_LISTEN_ADDRESS = "127.0.0.1:9809"
ANY_FREE_PORT = "127.0.0.1:0"


def run_demo() -> None:
    """Run until Ctrl-C."""
    with (
        tempfile.TemporaryDirectory(prefix="qsticky-demo-") as folder,
        World(version=VERSION) as world,
    ):
        log.set_up("INFO", "text")
        settings = _with_a_page(load_config(_environment(world, Path(folder))))
        service = Service(settings, Clock())
        _introduce(settings, world)
        service.start()
        # the terminal was closed
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
        ended = threading.Event()
        storyteller = threading.Thread(target=_narrate, args=(world, ended), daemon=True)
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


def _with_a_page(settings: Config) -> Config:
    """Take another port where the usual one is taken: a demo without its page shows little."""
    try:
        if settings.web.listen_address:
            try_to_listen(settings.web.listen_address)
    except QstickyError as error:
        logger.info("Demo: %s, so its page gets another port", error.message)
        return settings._replace(web=settings.web._replace(listen_address=ANY_FREE_PORT))
    return settings


def _introduce(settings: Config, world: World) -> None:
    logger.info("Demo: Gluetun and qBittorrent are simulated, and nothing leaves this machine")
    logger.info("Simulated Gluetun: %s", world.gluetun.url)
    logger.info("Simulated qBittorrent %s: %s", VERSION, world.qbittorrent.url)
    logger.info("Status file: %s", settings.health_file)
    logger.info(
        "Every %.0f s something happens to them (a line with >>>), and what broke before works "
        "again. All other lines are what qSticky always says. Stop with Ctrl-C",
        SECONDS_BETWEEN_EVENTS,
    )


def _narrate(world: World, ended: threading.Event) -> None:
    """Let something happen from time to time, and log what."""
    while not ended.wait(SECONDS_BETWEEN_EVENTS):
        logger.info(">>> %s", world.next_event())
