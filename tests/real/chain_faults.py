"""What can happen to a tunnel or to qSticky itself, and the one alert that each is to give."""

import itertools
import signal
from functools import partial

from exporter.simulator.world import Fault as ServerFault
from exporter.simulator.world import Role, Status
from tests.parts.chain import API_KEY, Fault, Stand
from tests.parts.daemon import wait_until

FIRST_PORT = 45720
SET_PREFERENCES = "/api/v2/app/setPreferences"
TORRENT: dict[str, object] = {"hash": "0" * 40, "name": "debian.iso"}


def one(alert: str) -> frozenset[str]:
    return frozenset({alert})


# what ends by itself


def port_changes(stand: Stand) -> None:
    stand.gluetun.change_port(50001)


def vpn_reconnects(stand: Stand) -> None:
    stand.gluetun.reconnect(gap_seconds=4.0 * stand.pace)
    stand.qbittorrent.vpn_interface_recreated()


def qbittorrent_is_updated(stand: Stand) -> None:
    stand.qbittorrent.stop()
    stand.let_pass(minutes=4)
    stand.qbittorrent.start()


def qsticky_is_updated(stand: Stand) -> None:
    stand.kill_daemon()
    stand.let_pass(minutes=2)
    stand.start_daemon()


# Gluetun


def vpn_stops(stand: Stand) -> None:
    stand.gluetun.forwarded_ports = []
    stand.gluetun.vpn_status = "stopped"


def vpn_runs(stand: Stand) -> None:
    stand.gluetun.vpn_status = "running"
    stand.gluetun.forwarded_ports = [50002]


def port_is_lost(stand: Stand) -> None:
    stand.gluetun.forwarded_ports = []


def port_is_there(stand: Stand) -> None:
    stand.gluetun.forwarded_ports = [50003]


def role_loses_its_routes(stand: Stand) -> None:
    stand.roles[:] = [Role(auth="apikey", apikey=API_KEY, routes=["GET /v1/version"])]


def role_has_the_port_only(stand: Stand) -> None:
    stand.roles[:] = [Role(auth="apikey", apikey=API_KEY, routes=["GET /v1/portforward"])]


def key_is_another(stand: Stand) -> None:
    stand.roles[:] = [Role(auth="apikey", apikey="another-key")]


def role_is_right(stand: Stand) -> None:
    stand.roles[:] = [Role(auth="apikey", apikey=API_KEY)]


def ports_come_and_go(stand: Stand) -> None:
    for port in range(50010, 50015):
        stand.gluetun.change_port(port)
        wait_until(partial(is_set, stand, port), f"port {port} is set")


# qBittorrent


def setting_is_ignored(stand: Stand) -> None:
    stand.qbittorrent.fail(SET_PREFERENCES, Status(200))
    stand.gluetun.change_port(50004)


def port_is_occupied(stand: Stand) -> None:
    stand.qbittorrent.occupied.add(50005)
    stand.gluetun.change_port(50005)


def another_port_is_forwarded(stand: Stand) -> None:
    stand.gluetun.change_port(50006)


def password_is_changed(stand: Stand) -> None:
    stand.qbittorrent.set_password("another-password")
    stand.qbittorrent.end_sessions()


def password_is_corrected(stand: Stand) -> None:
    stand.password_file.write_text("another-password")


def no_peer_comes(stand: Stand) -> None:
    stand.qbittorrent.torrents.append(TORRENT)


def a_peer_comes(stand: Stand) -> None:
    stand.qbittorrent.incoming_peer()


def something_else_sets_the_port(stand: Stand) -> None:
    for port in (51001, 51002, 51003):
        before = stand.qbittorrent.writes.count(FIRST_PORT)
        stand.qbittorrent.listening_port = port
        wait_until(partial(is_set, stand, FIRST_PORT, before + 1), "the right port is set again")
        stand.let_pass(minutes=3)  # until it is verified, what comes next is no drift


def is_set(stand: Stand, port: int, times: int = 1) -> bool:
    return stand.qbittorrent.writes.count(port) >= times


# qSticky


def it_is_killed(stand: Stand) -> None:
    stand.kill_daemon()


def it_is_killed_and_gluetun_is_stopped(stand: Stand) -> None:
    stand.gluetun.stop()
    stand.kill_daemon()


def both_are_started(stand: Stand) -> None:
    stand.gluetun.start()
    stand.start_daemon()


def it_is_frozen(stand: Stand) -> None:
    stand.daemon.process.send_signal(signal.SIGSTOP)


def it_is_thawed(stand: Stand) -> None:
    stand.daemon.process.send_signal(signal.SIGCONT)


def it_restarts_three_times(stand: Stand) -> None:
    for _ in range(3):
        stand.restart_daemon()


def config_gets_a_mistake(stand: Stand) -> None:
    stand.config_file.write_text("tunnels: [{name: default, color: blue}]\n")
    stand.daemon.process.send_signal(signal.SIGHUP)


def config_is_corrected(stand: Stand) -> None:
    stand.config_file.write_text("tunnels: [{name: default}]\n")
    stand.daemon.process.send_signal(signal.SIGHUP)


def status_folder_is_lost(stand: Stand) -> None:
    stand.state.rename(stand.state.with_name("lost"))
    stand.state.touch()


def status_folder_is_back(stand: Stand) -> None:
    stand.state.unlink()
    stand.state.with_name("lost").rename(stand.state)


# what changes


def reasons_change(stand: Stand) -> None:
    turns = itertools.cycle((port_is_lost, lambda each: each.gluetun.stop(), gluetun_without_port))
    stand.at_work(lambda: next(turns)(stand), pause_minutes=4)


def gluetun_without_port(stand: Stand) -> None:
    stand.gluetun.forwarded_ports = []
    stand.gluetun.start()


def all_is_well(stand: Stand) -> None:
    stand.end_work()
    stand.gluetun.start()
    stand.gluetun.forwarded_ports = [50007]


FAULTS = (
    Fault(name="port-change", title="The VPN forwards another port", happens=port_changes),
    Fault(
        name="reconnect",
        title="The VPN reconnects within 4 minutes, with the same port",
        happens=vpn_reconnects,
    ),
    Fault(
        name="qbittorrent-update",
        title="qBittorrent is away for 4 minutes",
        happens=qbittorrent_is_updated,
    ),
    Fault(
        name="qsticky-update",
        title="qSticky is away for 2 minutes",
        happens=qsticky_is_updated,
    ),
    Fault(
        name="role-port-only",
        title="Gluetun's role allows the forwarded port and nothing else",
        happens=role_has_the_port_only,
        ends=role_is_right,
    ),
    Fault(
        name="vpn-down",
        title="The VPN is stopped",
        alerts=one("QStickyVPNDown"),
        happens=vpn_stops,
        ends=vpn_runs,
    ),
    Fault(
        name="no-port",
        title="The VPN runs and forwards no port",
        alerts=one("QStickyNoForwardedPort"),
        happens=port_is_lost,
        ends=port_is_there,
    ),
    Fault(
        name="gluetun-gone",
        title="Gluetun is stopped",
        alerts=one("QStickyGluetunUnreachable"),
        happens=lambda stand: stand.gluetun.stop(),
        ends=lambda stand: stand.gluetun.start(),
    ),
    Fault(
        name="gluetun-hangs",
        title="Gluetun accepts connections and never answers",
        alerts=one("QStickyGluetunUnreachable"),
        happens=lambda stand: stand.gluetun.fail(None, ServerFault.HANG),
        ends=lambda stand: stand.gluetun.heal(),
    ),
    Fault(
        name="role-missing",
        title="Gluetun's role lacks the route of the port",
        alerts=one("QStickyGluetunUnauthorized"),
        happens=role_loses_its_routes,
        ends=role_is_right,
    ),
    Fault(
        name="wrong-key",
        title="Gluetun's API key is another one",
        alerts=one("QStickyGluetunUnauthorized"),
        happens=key_is_another,
        ends=role_is_right,
    ),
    Fault(
        name="mismatch",
        title="qBittorrent says yes to the new port and keeps the old one",
        alerts=one("QStickyPortOutOfSync"),
        happens=setting_is_ignored,
        ends=lambda stand: stand.qbittorrent.heal(),
    ),
    Fault(
        name="occupied",
        title="Another program holds the new port",
        alerts=one("QStickyPortNotListening"),
        happens=port_is_occupied,
        ends=another_port_is_forwarded,
    ),
    Fault(
        name="qbittorrent-gone",
        title="qBittorrent is stopped",
        alerts=one("QStickyQbittorrentUnreachable"),
        happens=lambda stand: stand.qbittorrent.stop(),
        ends=lambda stand: stand.qbittorrent.start(),
    ),
    Fault(
        name="wrong-password",
        title="qBittorrent's password is changed",
        alerts=one("QStickyQbittorrentUnauthorized"),
        happens=password_is_changed,
        ends=password_is_corrected,
    ),
    Fault(
        name="changing-reasons",
        title="No port and no Gluetun in turn, 4 minutes each",
        alerts=one("QStickySyncFailing"),
        happens=reasons_change,
        ends=all_is_well,
    ),
    Fault(
        name="firewalled",
        title="There are torrents, the port is open, and no peer connects",
        alerts=one("QStickyFirewalled"),
        happens=no_peer_comes,
        ends=a_peer_comes,
    ),
    Fault(
        name="flapping",
        title="The VPN forwards five other ports one after another",
        alerts=one("QStickyPortFlapping"),
        happens=ports_come_and_go,
    ),
    Fault(
        name="drift",
        title="Another program sets qBittorrent's port, three times",
        alerts=one("QStickyPortDrift"),
        happens=something_else_sets_the_port,
    ),
    Fault(
        name="failing-route",
        title="Gluetun's public address fails with status 500, the rest is well",
        alerts=one("QStickyHighFailureRatio"),
        happens=lambda stand: stand.gluetun.fail("/v1/publicip/ip", Status(500)),
        ends=lambda stand: stand.gluetun.heal(),
    ),
    Fault(
        name="killed",
        title="qSticky is killed",
        alerts=one("QStickyDown"),
        happens=it_is_killed,
        ends=Stand.start_daemon,
    ),
    Fault(
        name="frozen",
        title="The whole of qSticky is frozen (SIGSTOP)",
        alerts=one("QStickyDown"),
        happens=it_is_frozen,
        ends=it_is_thawed,
    ),
    Fault(
        name="killed-in-fault",
        title="qSticky is killed while Gluetun is stopped",
        alerts=one("QStickyDown"),
        happens=it_is_killed_and_gluetun_is_stopped,
        ends=both_are_started,
    ),
    Fault(
        name="hanging-loop",
        title="qSticky's loop hangs, its web server answers",
        alerts=one("QStickySyncStalled"),
        happens=Stand.hang,
        ends=Stand.hang_no_longer,
    ),
    Fault(
        name="restarts",
        title="qSticky is restarted three times in a row",
        alerts=one("QStickyRestarting"),
        happens=it_restarts_three_times,
    ),
    Fault(
        name="bad-config",
        title="qSticky is told to load a configuration with a mistake",
        alerts=one("QStickyConfigReloadFailed"),
        happens=config_gets_a_mistake,
        ends=config_is_corrected,
    ),
    Fault(
        name="status-file",
        title="The folder of status.json can't be written",
        alerts=one("QStickyStatusFileStale"),
        happens=status_folder_is_lost,
        ends=status_folder_is_back,
    ),
)
