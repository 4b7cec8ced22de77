"""What the comparison with real servers cannot show: the truth behind them, and time by hand."""

from collections.abc import Iterator

import pytest
import requests

from exporter.simulator.world import SimulatedGluetun, SimulatedQbittorrent, Version, World
from tests.fakes import FakeClock

PORT = 45720
KEY = "simulated-key"


@pytest.fixture
def world(clock: FakeClock) -> Iterator[World]:
    """A world in sync, with a libtorrent whose sockets die."""
    with World(version="4.5.2", clock=clock.monotonic) as made:
        made.qbittorrent.listening_port = PORT
        clock.now += 5
        yield made


def messages(qbittorrent: SimulatedQbittorrent) -> list[str]:
    qbittorrent.set_preferences({"bypass_local_auth": True})
    url = f"{qbittorrent.url}/api/v2/log/main"
    return [entry["message"] for entry in requests.get(url, timeout=5).json()]


def status_of(qbittorrent: SimulatedQbittorrent) -> str:
    return qbittorrent.connection_status


def ask(gluetun: SimulatedGluetun) -> int:
    url = f"{gluetun.url}/v1/portforward"
    return requests.get(url, headers={"X-API-Key": KEY}, timeout=5).status_code


# The VPN and the socket


def test_a_reconnect_takes_port_and_interface_away_and_brings_both_back(
    world: World, clock: FakeClock
) -> None:
    seen = []
    world.gluetun.reconnect(gap_seconds=0.87)
    for moment in (0.0, 0.1, 0.12, 0.9, 0.98, 1.31):
        clock.now = 1005.0 + moment
        interface = world.qbittorrent.vpn_interface.up
        seen.append((world.gluetun.vpn_status, world.gluetun.forwarded_ports, interface))
    assert seen == [
        ("running", [], True),
        ("stopping", [], True),
        ("stopped", [], False),
        ("starting", [], False),
        ("running", [], True),
        ("running", [PORT], True),
    ]


@pytest.mark.parametrize(
    ("version", "survives"), [("4.2.5", True), ("4.5.2", False), ("5.1.0", True), ("5.3.0", True)]
)
def test_a_reconnect_that_nobody_saw_leaves_what_libtorrent_leaves(
    version: Version, survives: bool, clock: FakeClock
) -> None:
    with World(version=version, clock=clock.monotonic) as world:
        world.qbittorrent.listening_port = PORT
        assert world.is_open()
        world.gluetun.reconnect(gap_seconds=0.87)
        clock.now += 30
        assert world.is_open() == survives
        assert status_of(world.qbittorrent) == "firewalled"
        world.qbittorrent.listening_port = PORT + 1
        world.qbittorrent.listening_port = PORT
        assert world.is_open()


def test_ten_reconnects_in_a_row_end_with_the_last(world: World, clock: FakeClock) -> None:
    for _ in range(10):
        world.gluetun.reconnect(gap_seconds=0.87)
        clock.now += 0.7
        assert not world.is_open()
    clock.now += 1
    assert (world.gluetun.vpn_status, world.gluetun.forwarded_ports) == ("running", [PORT])


def test_a_restarted_gluetun_is_away_then_has_another_key_then_no_port(
    world: World, clock: FakeClock
) -> None:
    world.gluetun.restart(away_seconds=2, another_key_seconds=20, tunnel_seconds=30)
    with pytest.raises(requests.ConnectionError):
        ask(world.gluetun)
    assert not world.qbittorrent.peer_gets_in(PORT)
    clock.now += 2
    assert ask(world.gluetun) == 401
    clock.now += 20
    assert (ask(world.gluetun), world.gluetun.forwarded_ports) == (200, [])
    clock.now += 10
    assert world.gluetun.forwarded_ports == [PORT]
    assert world.qbittorrent.vpn_interface.up


def test_a_stopped_vpn_takes_the_interface_with_it_whoever_stops_it(
    world: World, clock: FakeClock
) -> None:
    seen = []
    for status in ("crashed", "running"):
        world.gluetun.vpn_status = status
        seen.append(world.qbittorrent.vpn_interface.up)
    url = f"{world.gluetun.url}/v1/vpn/status"
    requests.put(url, headers={"X-API-Key": KEY}, data='{"status":"stopped"}', timeout=5)
    clock.now += 1
    seen.append(world.qbittorrent.vpn_interface.up)
    world.gluetun.stop()
    world.gluetun.start(tunnel_seconds=5)
    clock.now += 5
    seen.append(world.qbittorrent.vpn_interface.up)
    assert seen == [False, True, False, True]


def test_a_port_that_the_provider_changes_during_a_reconnect_is_the_one_that_comes(
    world: World, clock: FakeClock
) -> None:
    world.gluetun.reconnect(public_ip="198.51.100.9")
    clock.now += 1
    world.gluetun.change_port(50001)
    assert world.gluetun.forwarded_ports == []
    clock.now += 2
    assert (world.gluetun.forwarded_ports, world.gluetun.public_ip) == ([50001], "198.51.100.9")


# Who gets in


def test_nobody_gets_in_through_loopback_or_the_local_network(clock: FakeClock) -> None:
    with SimulatedQbittorrent(
        "5.1.0", interface="lo", listening_port=PORT, lan=("172.18.0.2",), clock=clock.monotonic
    ) as qbittorrent:
        assert qbittorrent.bound_ports == {PORT}
        assert not qbittorrent.peer_gets_in(PORT)
        assert not qbittorrent.incoming_peer()
        qbittorrent.set_preferences({"current_network_interface": ""})
        assert qbittorrent.peer_gets_in(PORT)
        qbittorrent.vpn_interface.lose()
        assert qbittorrent.bound_ports == {PORT}
        assert not qbittorrent.peer_gets_in(PORT)


def test_nobody_gets_in_over_ipv4_where_only_ipv6_is_open(clock: FakeClock) -> None:
    addresses = ("10.2.0.2", "fd00::2")
    with SimulatedQbittorrent(
        "4.5.2", clock=clock.monotonic, interface="tun0", addresses=addresses
    ) as qbittorrent:
        qbittorrent.occupied_at.add(("10.2.0.2", PORT))
        qbittorrent.listening_port = PORT
        assert status_of(qbittorrent) == "firewalled"
        assert not qbittorrent.peer_gets_in(PORT)


@pytest.mark.parametrize("version", ["4.2.5", "4.5.2", "5.1.0", "5.3.0"])
def test_on_all_interfaces_one_that_comes_up_late_may_be_missed(
    version: Version, clock: FakeClock
) -> None:
    with SimulatedQbittorrent(
        version, interface="", listening_port=PORT, clock=clock.monotonic
    ) as qbittorrent:
        qbittorrent.vpn_interface.comes_up_late = True
        qbittorrent.vpn_interface.lose(back_after=1)
        clock.now += 60
        assert not qbittorrent.peer_gets_in(PORT)
        qbittorrent.restart()
        assert qbittorrent.peer_gets_in(PORT)


def test_no_port_below_1024_without_privileges(clock: FakeClock) -> None:
    with SimulatedQbittorrent("4.5.2", clock=clock.monotonic) as qbittorrent:
        qbittorrent.listening_port = 80
        assert (qbittorrent.listening_port, qbittorrent.bound_ports) == (80, set())


# What the API says of it


def test_the_connection_status_lags_from_4_6_on(clock: FakeClock) -> None:
    old = SimulatedQbittorrent("4.5.2", clock=clock.monotonic)
    new = SimulatedQbittorrent("5.1.0", clock=clock.monotonic)

    def statuses() -> tuple[str, str]:
        return old.connection_status, new.connection_status

    with old, new:
        assert statuses() == ("firewalled", "disconnected")
        clock.now += 1.5
        assert statuses() == ("firewalled", "firewalled")
        for qbittorrent in (old, new):
            qbittorrent.occupied.add(PORT)
            qbittorrent.listening_port = PORT
        assert statuses() == ("disconnected", "firewalled")
        clock.now += 1.5
        assert statuses() == ("disconnected", "disconnected")


def test_disconnected_is_still_shown_for_a_moment_after_the_interface_is_back(
    clock: FakeClock,
) -> None:
    with SimulatedQbittorrent("5.1.0", listening_port=PORT, clock=clock.monotonic) as qbittorrent:
        clock.now += 3
        qbittorrent.vpn_interface.lose(back_after=4.6)
        clock.now += 4.7
        assert qbittorrent.peer_gets_in(PORT)
        assert status_of(qbittorrent) == "disconnected"
        clock.now += 1.5
        assert status_of(qbittorrent) == "firewalled"


def test_a_peer_makes_it_connected_until_the_port_changes(clock: FakeClock) -> None:
    with SimulatedQbittorrent("4.5.2", clock=clock.monotonic) as qbittorrent:
        assert qbittorrent.incoming_peer()
        assert status_of(qbittorrent) == "connected"
        qbittorrent.listening_port = PORT
        assert status_of(qbittorrent) == "firewalled"


@pytest.mark.parametrize("version", ["4.2.5", "4.5.2"])
def test_qt_5_sees_within_ten_seconds_that_the_interface_is_gone(
    version: Version, clock: FakeClock
) -> None:
    with SimulatedQbittorrent(version, listening_port=PORT, clock=clock.monotonic) as qbittorrent:
        clock.now += 5
        qbittorrent.vpn_interface.lose(back_after=30)
        clock.now += 10
        *_, changed, offline, invalid, trying = messages(qbittorrent)
        assert changed == "Network configuration of tun0 has changed, refreshing session binding"
        assert offline == "System network status changed to OFFLINE"
        assert "invalid" in invalid
        assert f"tun0:{PORT}" in trying
        clock.now += 30
        assert "System network status changed to ONLINE" in messages(qbittorrent)


# The demo


def test_the_demos_first_minute_shows_a_port_change_a_reconnect_and_a_dead_socket(
    clock: FakeClock,
) -> None:
    with World(version="4.5.2", clock=clock.monotonic) as world:
        first = world.next_event()
        clock.now += 1
        world.qbittorrent.listening_port = world.gluetun.forwarded_ports[0]
        assert world.is_open()
        second = world.next_event()
        clock.now += 19
        assert not world.is_open()
    assert "another port" in first
    assert "reconnects" in second


def test_what_the_demo_broke_is_whole_again_at_the_next_event() -> None:
    with World() as world:
        told = [world.next_event() for _ in range(11)]
        assert any("stops answering" in each for each in told)
        assert world.gluetun.running
        assert world.qbittorrent.running
