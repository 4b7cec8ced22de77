"""Whether a peer could really connect: sockets of every real qBittorrent, proved and repaired."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exporter.model import EventKind, Reason, SyncState
from tests.conftest import missing_part
from tests.parts import namespace
from tests.parts.daemon import listens, wait_until
from tests.parts.namespace import NamespaceMissing, in_namespace, own_interface
from tests.parts.proxy import CutOff, Page
from tests.parts.qbittorrent import Seed
from tests.real.rig import STATUS_LAG, Rig
from tests.rig import kinds, rebinds

SET = "/api/v2/app/setPreferences"
VPN_SEED = Seed(interface="tun0")


@contextlib.contextmanager
def occupied(port: int, kind: socket.SocketKind, addresses: tuple[str, ...] = ()) -> Iterator[None]:
    """Let another program hold the port."""
    with contextlib.ExitStack() as stack:
        for address in addresses or own_interface()[1]:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            holder = stack.enter_context(socket.socket(family, kind))
            holder.bind((address, port))
            if kind is socket.SOCK_STREAM:
                holder.listen()
        yield


@pytest.fixture
def rig(qbittorrent_version: str, tmp_path: Path) -> Iterator[Rig]:
    with Rig(qbittorrent_version, tmp_path).running() as rig:
        yield rig


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["TCP", "UDP"])
def test_an_occupied_port_is_named_and_opened_once_it_is_free(
    rig: Rig, kind: socket.SocketKind
) -> None:
    with occupied(rig.port, kind):
        outcome = rig.check()
        assert outcome.state is SyncState.NOT_LISTENING
        assert outcome.failures[0].reason is Reason.BIND_FAILED
        time.sleep(STATUS_LAG)
        # in small steps: an old libtorrent's port, not read for long, may have reconnected
        assert rig.check_for(60, every=5.0).state is SyncState.NOT_LISTENING
        outcome = rig.later(1)  # the first repair, too early
        assert outcome.state is SyncState.NOT_LISTENING
        assert rebinds(outcome) == 1
    early = [rig.later(5) for _ in range(57)]
    assert sum(map(rebinds, early)) == 0
    outcome = rig.later(17)
    assert outcome.in_sync
    assert listens(rig.port)
    # libtorrent opens it by itself where an address of the machine comes or goes
    assert rebinds(outcome) == (0 if early[-1].in_sync else 1)


def test_a_port_that_is_taken_for_ipv4_alone_is_not_in_sync(rig: Rig) -> None:
    """Forwarded ports are IPv4: that one has to be open."""
    with occupied(rig.port, socket.SOCK_STREAM, own_interface()[1][:1]):
        assert rig.check().state is SyncState.NOT_LISTENING
    assert rig.later(61).in_sync
    assert listens(rig.port)


def test_a_missing_interface_is_named_and_repaired_when_it_is_set_right(rig: Rig) -> None:
    assert rig.check().in_sync
    rig.set_by_hand({"current_network_interface": "tun9"})
    wait_until(lambda: not listens(rig.port), "the socket is closed")
    time.sleep(STATUS_LAG)
    rig.later(30)
    outcome = rig.later(3)
    assert outcome.state is SyncState.NOT_LISTENING
    assert "network interface" in outcome.failures[0].fix
    rig.set_by_hand({"current_network_interface": own_interface()[0]})
    wait_until(lambda: listens(rig.port), "the socket is open again")
    time.sleep(STATUS_LAG)
    rig.later(30)
    assert rig.later(330).in_sync


@pytest.mark.parametrize("which", [1, 2], ids=["away", "back"])
def test_a_rebind_that_is_interrupted_ends_on_the_right_port(rig: Rig, which: int) -> None:
    rig.restart(REBIND="always")
    assert rig.check().in_sync
    before = rig.proxy.count(SET)

    def cut(path: str) -> Page | None:
        if path == SET and rig.proxy.count(SET) == before + which:
            raise CutOff
        return None

    rig.proxy.after = cut
    assert not rig.reconnect().in_sync
    outcome = rig.later(1)
    assert outcome.in_sync
    assert listens(rig.port)
    assert not listens(rig.port + 1)
    assert EventKind.DRIFT not in kinds(outcome)


@pytest.mark.parametrize("policy", ["auto", "always", "never"])
def test_opens_the_port_again_after_a_reconnect_as_rebind_says(
    rig: Rig, policy: str, qbittorrent_version: str
) -> None:
    dies = qbittorrent_version == "4.5.2"  # libtorrent 2.0.8 sits on a dead socket
    expected = {"auto": int(dies), "always": 1, "never": 0}[policy]
    rig.restart(REBIND=policy)
    assert rig.check().in_sync
    assert rig.later(30).in_sync
    before = rig.proxy.count(SET)
    outcome = rig.reconnect()
    assert rebinds(outcome) == expected
    assert rig.proxy.count(SET) == before + 2 * expected
    assert listens(rig.port)


def test_upnp_is_switched_off_on_request_and_the_socket_stays(rig: Rig) -> None:
    rig.set_by_hand({"upnp": True})
    assert rig.check().in_sync
    rig.restart(DISABLE_UPNP="true")
    rig.check()
    outcome = rig.later(30)
    assert (outcome.in_sync, outcome.failures) == (True, ())
    assert outcome.qbittorrent
    assert not outcome.qbittorrent.upnp
    assert listens(rig.port)


# an interface that goes and comes back, as a VPN's does


def with_a_vpn(work: Callable[[], None]) -> None:
    """Run in a network of its own that has a VPN interface."""

    def run() -> None:
        namespace.make_vpn()
        work()

    try:
        in_namespace(run)
    except NamespaceMissing as error:
        missing_part(str(error))


def hears_a_peer(port: int) -> bool:
    """Connect as a peer does; in this namespace it falsifies nobody's connection status."""
    try:
        socket.create_connection(("10.2.0.2", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_a_peer_is_heard_again_after_the_vpns_interface_came_back(
    qbittorrent_version: str, tmp_path: Path
) -> None:
    def work() -> None:
        with Rig(qbittorrent_version, tmp_path, VPN_SEED).running() as rig:
            assert rig.check().in_sync
            assert hears_a_peer(rig.port)
            namespace.lose_vpn()
            time.sleep(0.5)
            namespace.make_vpn()
            time.sleep(STATUS_LAG)
            assert rig.reconnect().in_sync
            assert hears_a_peer(rig.port)

    with_a_vpn(work)


def test_an_interface_that_stays_away_is_named(qbittorrent_version: str, tmp_path: Path) -> None:
    def work() -> None:
        with Rig(qbittorrent_version, tmp_path, VPN_SEED).running() as rig:
            assert rig.check().in_sync
            namespace.lose_vpn()
            time.sleep(STATUS_LAG)
            rig.gluetun.forwarded_ports = [rig.port + 10]
            outcomes = [rig.check(), rig.later(3), rig.later(3)]
            assert outcomes[-1].state is SyncState.NOT_LISTENING
            namespace.make_vpn()
            time.sleep(STATUS_LAG)
            rig.later(1)
            assert rig.later(330).in_sync
            assert hears_a_peer(rig.port + 10)

    with_a_vpn(work)
