"""A real daemon is killed at random moments: what does it leave behind?"""

import json
import os
import random
import tempfile
import time
from pathlib import Path

from exporter.simulator.world import SimulatedGluetun, SimulatedQbittorrent
from tests.parts.daemon import QstickyProcess, wait_until

LATEST_SECONDS = 2.0
MOST_REJECTED = 4
WRONG = {"QBITTORRENT_PASS": "wrong"}


class Kills:
    """Two simulated servers, and one daemon after the other."""

    def __init__(
        self, gluetun: SimulatedGluetun, qbittorrent: SimulatedQbittorrent, folder: Path
    ) -> None:
        self._gluetun, self._qbittorrent, self._folder = gluetun, qbittorrent, folder
        self._random = random.Random(1)
        self._ports = {qbittorrent.listening_port, *gluetun.forwarded_ports}
        self._environ = {
            "GLUETUN_HOST": gluetun.host,
            "GLUETUN_PORT": str(gluetun.port),
            "GLUETUN_AUTH_TYPE": "none",
            "QBITTORRENT_HOST": qbittorrent.host,
            "QBITTORRENT_PORT": str(qbittorrent.port),
            "QBITTORRENT_PASS": qbittorrent.password,
            "CHECK_INTERVAL": "1",
        }
        self.absent = 0

    def kill_one(self, *, rejected: bool) -> None:
        """Start one, change the port, kill it at some moment, and look at what is left."""
        if self._random.random() < 0.5:
            port = self._random.randrange(20_000, 60_000, 10)
            self._ports.add(port)
            self._gluetun.change_port(port)
        with self._daemon(WRONG if rejected else {}) as daemon:
            time.sleep(self._random.uniform(0, LATEST_SECONDS))
            daemon.kill()
        self._judge()

    def _daemon(self, environ: dict[str, str]) -> QstickyProcess:
        return QstickyProcess(self._environ | environ, self._folder)

    def _judge(self) -> None:
        path = self._folder / "status.json"
        self.absent += not path.exists()
        if path.exists():
            assert json.loads(path.read_bytes())["version"]
        assert self._qbittorrent.failed_logins <= MOST_REJECTED
        port = self._qbittorrent.listening_port
        assert {port - 1, port, port + 1} & self._ports, port  # a re-bind sets the neighbour first

    def must_end_well(self) -> None:
        """Start a last one, long after the others: all is as it was."""
        for file in self._folder.iterdir():
            os.utime(file, (time.time() - 120,) * 2)
        [port] = self._gluetun.forwarded_ports
        with self._daemon({}) as daemon:
            wait_until(lambda: daemon.status["state"] == "in_sync", "all is well")
            assert self._qbittorrent.bound_ports == {port}
            assert daemon.stop() == 0
        assert [file.name for file in self._folder.iterdir()] == ["status.json"]


def run(count: int) -> None:
    """Kill so many, the second half with a wrong password; raises AssertionError."""
    with (
        tempfile.TemporaryDirectory() as folder,
        SimulatedGluetun("3.40", forwarded_port=45720) as gluetun,
        SimulatedQbittorrent("5.1.0", interface="tun0", addresses=("10.2.0.2",)) as qbittorrent,
    ):
        kills = Kills(gluetun, qbittorrent, Path(folder))
        for number in range(count):
            kills.kill_one(rejected=number >= count // 2)
        kills.must_end_well()
        print(
            f"{count} killed: status.json whole, or absent ({kills.absent} times);"
            f" {qbittorrent.failed_logins} logins rejected; nothing left behind"
        )
