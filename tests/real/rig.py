"""A tunnel on a real qBittorrent behind a counting proxy, its time turned by hand.

The daemon lives through hours while qBittorrent, with its short bans, lives through seconds.
"""

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from exporter.config.load import load_config
from exporter.daemon.service import TunnelFactory
from exporter.model import Outcome
from exporter.report.saved import read_saved
from exporter.report.status_file import StatusFile
from exporter.simulator.world import SimulatedGluetun
from tests.fakes import FakeClock
from tests.parts.namespace import own_interface
from tests.parts.proxy import Proxy
from tests.parts.qbittorrent import RealQbittorrent, Seed, free_port

HOUR = 3600.0
STATUS_LAG = 2.0
"""From 4.6 on the connection status is up to 1.5 s old, in real time."""


class WaitingClock(FakeClock):
    """Turned by hand, but what the program waits for a real qBittorrent is waited for."""

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
        super().sleep(seconds)


class Rig:
    """Both servers and a daemon that can be restarted; use `running`."""

    def __init__(
        self, version: str, folder: Path, seed: Seed | None = None, **environ: str
    ) -> None:
        self.clock = WaitingClock()
        self.port = free_port()
        self.gluetun = SimulatedGluetun(
            "3.40", forwarded_port=self.port, clock=self.clock.monotonic
        )
        seed = seed or Seed()
        if seed.interface == "lo":  # where no peer gets in
            seed = replace(seed, interface=own_interface()[0])
        self.qbittorrent = RealQbittorrent(version, folder / "profile", seed)
        self.proxy = Proxy(self.qbittorrent.port, self.clock.monotonic)
        self.password_file = folder / "password"
        self.password_file.write_text(self.qbittorrent.password)
        self.environ = {
            "GLUETUN_HOST": self.gluetun.host,
            "GLUETUN_PORT": str(self.gluetun.port),
            "GLUETUN_AUTH_TYPE": "none",
            "QBITTORRENT_HOST": "127.0.0.1",
            "QBITTORRENT_PORT": str(self.proxy.port),
            "QBITTORRENT_PASS_FILE": str(self.password_file),
            "HEALTH_FILE": str(folder / "status.json"),
            **environ,
        }
        self._start()

    @contextlib.contextmanager
    def running(self) -> Iterator["Rig"]:
        """Run both servers; qBittorrent has opened its first port."""
        with self.gluetun, self.qbittorrent, self.proxy:
            self.qbittorrent.wait_until_listening()
            yield self
            self._tunnel.close()

    def restart(self, **environ: str) -> None:
        """Start the daemon again; it knows what status.json says."""
        self._tunnel.close()
        self.environ |= environ
        self._start()

    def check(self) -> Outcome:
        """Check once, and write status.json."""
        outcome = self._tunnel.check()
        self._file.publish(outcome)
        self._file.write()
        return outcome

    def later(self, seconds: float) -> Outcome:
        """Check after a while of the daemon's time."""
        self.clock.now += seconds
        return self.check()

    def check_for(self, seconds: float, every: float = 60.0) -> Outcome:
        """Check every so often; return the last outcome."""
        end = self.clock.now + seconds
        while True:
            outcome = self.check()
            self.clock.now += every
            if self.clock.now >= end:
                return outcome

    def reconnect(self) -> Outcome:
        """Let the VPN go and come back with the same port; the daemon sees both."""
        self.gluetun.reconnect(gap_seconds=2.0)
        assert not self.later(1).in_sync
        return self.later(5)

    def most_logins_in_an_hour(self) -> int:
        """Return the most logins that were tried in any hour."""
        tries = self.proxy.logins
        return max((sum(at <= other < at + HOUR for other in tries) for at in tries), default=0)

    def is_banned(self) -> bool:
        """Whether the right password no longer opens, from this very address."""
        with self.qbittorrent._signed_in() as (_, headers):
            return not headers["Cookie"]

    def set_by_hand(self, preferences: dict[str, object]) -> None:
        """Change preferences as a person does in the Web UI."""
        with self.qbittorrent._signed_in() as (connection, headers):
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            form = "json=" + json.dumps(preferences)
            connection.request("POST", "/api/v2/app/setPreferences", form, headers | kind)
            assert connection.getresponse().read() == b""

    def _start(self) -> None:
        config = load_config(self.environ)
        saved = read_saved(config.health_file, self.clock)
        self._file = StatusFile(config.health_file, "2.0.0", self.clock, saved)
        self._file.set_tunnels(config.tunnels)
        self._file.write()
        (tunnel,) = config.tunnels
        self._tunnel = TunnelFactory(self.clock, self._file, try_at_once=True).make(tunnel)
