"""A whole tunnel in a network of its own: real qBittorrent, real qSticky, a VPN that moves."""

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlencode

from exporter.simulator.world import Role, SimulatedGluetun, Status
from tests.parts import namespace
from tests.parts.daemon import QstickyProcess, way_to
from tests.parts.outside import Outside
from tests.parts.peer import Peer, connects
from tests.parts.qbittorrent import RealQbittorrent, Seed

CHECK_INTERVAL = 5.0
AWAY_SECONDS = 1.3
"""How long a reconnect takes by itself, on Gluetun v3.41.1 under WireGuard."""
STOPPING_SECONDS = 0.1
STARTING_SECONDS = 0.43
"""What Gluetun's API takes from the start of the tunnel to the port in it."""
PORT = 45720
WEB_PORT = 9809
PATIENCE = 20.0

REOPENS_SOCKETS = {"4.5.2": False, "5.1.0": True, "5.3.0": True}
"""Whether that qBittorrent opens its socket again where it is bound to the interface by name."""


@dataclass(frozen=True, slots=True)
class Binding:
    """Where qBittorrent listens, and how its VPN interface comes up."""

    name: str
    interface: str
    address_first: bool = False

    def __str__(self) -> str:
        return self.name


TUN0 = Binding("tun0", "tun0", address_first=True)
ALL = Binding("all", "")
ALL_OF_KERNEL = Binding("all-kernel-wireguard", "", address_first=True)
"""libtorrent only hears of new addresses, and that one comes before it can be used."""
LOOPBACK = Binding("lo", "lo")


def reopens_socket(version: str, binding: Binding) -> bool:
    """Return whether one can rely on it that the socket opens again after a reconnect."""
    return REOPENS_SOCKETS[version] and binding.interface != ""


_STARTING = threading.BoundedSemaphore(3)


class Cancelled(Exception):
    """The test run ends before the story does."""


class VpnLife:
    """One story of a tunnel; made and used in a thread that has a network of its own."""

    def __init__(
        self,
        version: str,
        binding: Binding,
        folder: Path,
        cancelled: threading.Event,
        *,
        asked: bool = False,
    ) -> None:
        """`asked`: a service outside is asked, which connects back from the VPN's other end."""
        self.reopens_socket = reopens_socket(version, binding)
        self.gluetun = SimulatedGluetun(
            "3.41", role=Role(auth="apikey", apikey="key"), forwarded_port=PORT
        )
        seed = Seed(interface=binding.interface, listening_port=PORT)
        self.qbittorrent = RealQbittorrent(version, folder / "profile", seed)
        self.outside = Outside()
        self.outside.reply = self._connects_back
        self._asked = asked
        self.qsticky = self._qsticky(folder)
        self._earlier_output = ""
        self.peer = Peer(PORT, self.qsticky.health_file)
        self._folder = folder
        self.binding = binding
        self._cancelled = cancelled

    @contextlib.contextmanager
    def running(self, *, vpn: bool = True, calm: bool = True) -> Iterator["VpnLife"]:
        """Start all, by default up to the first time that all is well; end all at the end."""
        with self.peer, self.gluetun, self.outside:
            if vpn:
                self.make_vpn()
            with self.qbittorrent, self._qsticky_running():
                if calm:
                    self.wait_until_calm(PATIENCE)
                yield self

    @contextlib.contextmanager
    def _qsticky_running(self) -> Iterator[None]:
        """Run it; at the end that is another one where it was updated."""
        try:
            self._start_qsticky()
            yield
        finally:
            self.peer.stop()
            self.qsticky.__exit__()

    def _start_qsticky(self) -> None:
        """Start it, and wait for its first check; few at a time, so that none is slow."""
        with _STARTING:
            self.qsticky.start()
            self.wait_until(self._has_checked, PATIENCE, "the first check has ended")

    def _has_checked(self) -> bool:
        return self.peer.last.state not in ("", "starting", "stopped")

    def _qsticky(self, folder: Path, *command: str) -> QstickyProcess:
        environ = {
            **way_to(self.gluetun, self.qbittorrent, "key"),
            "CHECK_INTERVAL": f"{CHECK_INTERVAL:.0f}",
            "WEB_LISTEN_ADDRESS": f"127.0.0.1:{WEB_PORT}",
        }
        if self._asked:
            environ["REACHABILITY_URL"] = f"{self.outside.url}/{{port}}"
            environ["REACHABILITY_INTERVAL"] = "60"
        return QstickyProcess(environ, folder, command)

    def _connects_back(self, target: str) -> str:
        namespace.enter_network(self.peer.thread)  # each request has a thread of its own
        return str(int(connects(int(target.removeprefix("/")))))

    # what happens

    def reconnect(self, away_seconds: float = AWAY_SECONDS, *, push: bool = False) -> None:
        """Have the VPN go and come back with the same port; returns once the port is there."""
        begin = time.monotonic()
        self.gluetun.reconnect(gap_seconds=away_seconds - STARTING_SECONDS)
        self.sleep(STOPPING_SECONDS)
        namespace.lose_vpn()
        self.sleep_until(begin + away_seconds - STARTING_SECONDS)
        self.make_vpn()
        self.sleep_until(begin + away_seconds)
        if push:
            self.push()

    def provider_drops(self, drop: bool) -> None:
        """Have nothing from outside come in, while Gluetun's VPN runs; or again."""
        namespace.drop_incoming(self.peer.thread, drop=drop)

    def restart_gluetun(self, away_seconds: float) -> None:
        """Stop Gluetun, so that connections are refused, and start it again."""
        self.gluetun.stop()
        namespace.lose_vpn()
        self.sleep(away_seconds)
        self.gluetun.start(tunnel_seconds=STARTING_SECONDS)
        self.make_vpn()
        self.sleep(STARTING_SECONDS)

    def refuse_key(self) -> None:
        """Have Gluetun know another key from now on, until it is healed."""
        self.gluetun.fail(None, Status(401, "Unauthorized\n"))

    def set_by_hand(self, **preferences: object) -> None:
        """Change preferences of qBittorrent as a person does, or a down command of Gluetun."""
        with self.qbittorrent._signed_in() as (connection, headers):
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            form = urlencode({"json": json.dumps(preferences)})
            connection.request("POST", "/api/v2/app/setPreferences", form, headers | kind)
            assert connection.getresponse().status == HTTPStatus.OK

    def make_vpn(self) -> None:
        """Bring up tun0, with the peer at its other end."""
        namespace.make_vpn(self.peer.thread, address_first=self.binding.address_first)

    def push(self) -> None:
        """Call qSticky as Gluetun's up command does."""
        connection = self._web()
        try:
            connection.request("POST", "/-/sync")
            assert connection.getresponse().status == HTTPStatus.ACCEPTED
        finally:
            connection.close()

    def once(self) -> int:
        """Run `qsticky once`, with a status file of its own; returns its exit code."""
        with self._qsticky(self._folder / "once", "once") as process:
            return process.process.wait(PATIENCE)

    def update_qsticky(self, meanwhile: Callable[[], None]) -> None:
        """Stop qSticky as Docker does, and start it again after that."""
        assert self.qsticky.stop() == 0
        self.qsticky.__exit__()
        self._earlier_output = self.output
        meanwhile()
        self.qsticky = self._qsticky(self._folder)
        self._start_qsticky()

    # how time passes

    def sleep(self, seconds: float) -> None:
        """Let real time pass: the durations are what is tested."""
        if self._cancelled.wait(max(0.0, seconds)):
            raise Cancelled

    def sleep_until(self, at: float) -> None:
        """Let time pass up to that moment of the steady clock."""
        self.sleep(at - time.monotonic())

    def wait_until(self, condition: Callable[[], bool], seconds: float, what: str) -> float:
        """Wait for what the peer and status.json say; returns how long it took."""
        begin = time.monotonic()
        while not condition():
            waited = time.monotonic() - begin
            assert waited < seconds, f"waited {waited:.1f} s in vain until {what}"
            self.sleep(0.05)
        return time.monotonic() - begin

    def wait_for_check(self) -> None:
        """Wait for the end of a check, so that the next one is a whole interval away."""
        before = self._last_check()
        self.wait_until(lambda: self._last_check() != before, PATIENCE, "a check ended")

    def wait_until_calm(self, seconds: float) -> float:
        """Wait until a peer gets in and status.json says so; returns how long it took."""
        return self.wait_until(lambda: self.is_calm, seconds, "the port is open and in sync")

    @property
    def is_calm(self) -> bool:
        """Whether a peer gets in and status.json says so."""
        return self.peer.last.open and self.peer.last.state == "in_sync"

    # what is known

    @property
    def output(self) -> str:
        """All that qSticky printed."""
        return self._earlier_output + self.qsticky.output

    @property
    def rebinds(self) -> int:
        """How often qSticky opened the port again, by its metrics."""
        connection = self._web()
        try:
            connection.request("GET", "/metrics")
            page = connection.getresponse().read().decode()
        finally:
            connection.close()
        counts = [line for line in page.splitlines() if line.startswith("qsticky_port_rebinds_t")]
        return int(float(counts[0].rpartition(" ")[2]))

    def _last_check(self) -> object:
        with contextlib.suppress(OSError, ValueError):
            return self.qsticky.status["last_check"]
        return None

    def _web(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", WEB_PORT, timeout=5)
