#!/opt/qsticky/bin/python3
"""Gluetun in a container: the simulated one, told by Gluetun's own variables and files.

Each SIGUSR1 makes the provider forward the next port. `healthcheck` is Gluetun's command.
"""

import os
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

from exporter.simulator.world import Role, SimulatedGluetun

FIRST_PORT = 45720
CONTROL_SERVER = 8000
ROLES = "HTTP_CONTROL_SERVER_AUTH_CONFIG_FILEPATH"


def main() -> None:
    """Serve until SIGTERM."""
    signals = {signal.SIGUSR1, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    file = Path(os.environ.get(ROLES, "/gluetun/auth/config.toml"))
    roles = tomllib.loads(file.read_text())["roles"]
    port = FIRST_PORT
    with SimulatedGluetun(
        os.environ["GENERATION"],  # type: ignore[arg-type] # the image says which
        role=[Role(**{key: role[key] for key in role if key != "name"}) for role in roles],
        forwarded_port=port,
        host="0.0.0.0",
        port=CONTROL_SERVER,
    ) as gluetun:
        report()
        while signal.sigwait(signals) == signal.SIGUSR1:
            port += 1
            gluetun.forwarded_ports = [port]
            report()


def report() -> None:
    """Run the user's command, as Gluetun does when a port is forwarded."""
    command = os.environ.get("VPN_PORT_FORWARDING_UP_COMMAND")
    if command:
        done = subprocess.run(["sh", "-c", command], check=False)
        print(f"up command: {done.returncode}", flush=True)  # noqa: T201 # what the log shows


def look() -> None:
    """End with an error unless the control server is there."""
    socket.create_connection(("127.0.0.1", CONTROL_SERVER)).close()


if __name__ == "__main__":
    look() if sys.argv[1:] == ["healthcheck"] else main()
