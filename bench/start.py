"""How long it takes to start: the imports, the first port, the health check."""

from __future__ import annotations

import subprocess
import sys
import time

from bench.figures import TIMES, Figure, in_turn
from bench.processes import ROOT, Child, Workplace

IMPORTS = """
import exporter.cli, exporter.config.load, exporter.report.log, exporter.daemon.service
import os
os._exit(0)
"""
"""All that has to be there before the first request can be sent, and no tidying up after it."""
# as pip writes the command `qsticky`
COMMAND = "import sys\nfrom exporter.__main__ import main\nsys.exit(main())\n"


def measure(place: Workplace) -> list[Figure]:
    """Compare with a Python that does nothing, and with one that only imports."""
    command = place.folder / "qsticky"
    command.write_text(COMMAND)
    with place.child("servers") as servers:
        port_set, imports = in_turn(
            9,
            lambda: _until_port_is_set(place, servers),
            lambda: place.seconds("-c", IMPORTS),
        )
        with place.child("tunnels", servers.greeting):  # leaves a healthy status.json behind
            healthcheck, bare = in_turn(
                21,
                lambda: place.seconds(str(command), "healthcheck"),
                lambda: place.seconds("-c", ""),
            )
    return [
        Figure("start until the port is set / its imports alone", port_set / imports, TIMES, 1.3),
        Figure(
            "`qsticky healthcheck` / a Python that does nothing", healthcheck / bare, TIMES, 1.6
        ),
        Figure("imports alone / a Python that does nothing", imports / bare, TIMES),
        Figure("start until the port is set", port_set * 1000, "ms"),
        Figure("`qsticky healthcheck`", healthcheck * 1000, "ms"),
    ]


def _until_port_is_set(place: Workplace, servers: Child) -> float:
    servers.ask("drift")
    started = time.monotonic()
    daemon = subprocess.Popen(
        [sys.executable, "-m", "exporter", "run"],
        env={**place.environ, **servers.greeting, "LOG_LEVEL": "WARNING"},
        cwd=ROOT,
    )
    try:
        return float(servers.ask("set_at")) - started
    finally:
        daemon.terminate()
        daemon.wait()
