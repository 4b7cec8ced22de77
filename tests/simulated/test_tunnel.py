"""Whole cycles against the simulated servers, time turned by hand."""

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from exporter.config.load import load_config
from exporter.model import (
    ConnectionStatus,
    EventKind,
    Outcome,
    Reason,
    Saved,
    SyncState,
    VpnStatus,
)
from exporter.simulator.world import (
    VERSIONS,
    Fault,
    Generation,
    RedirectAway,
    Role,
    SimulatedGluetun,
    SimulatedQbittorrent,
    Status,
    Version,
)
from exporter.tunnel.tunnel import Tunnel
from tests.fakes import FakeClock

KEY = "simulated-key"


@dataclass
class Bench:
    """A tunnel on its two simulated servers."""

    gluetun: SimulatedGluetun
    qbittorrent: SimulatedQbittorrent
    clock: FakeClock
    environ: dict[str, str]

    def __post_init__(self) -> None:
        self.tunnel = self.new_tunnel()

    def new_tunnel(self, remembered: Saved | None = None, **more: str) -> Tunnel:
        settings = load_config(self.environ | more)
        self.tunnel = Tunnel(settings.tunnels[0], self.clock, remembered)
        return self.tunnel

    def cycle(self, *, pushed: bool = False) -> Outcome:
        return self.tunnel.check(pushed=pushed)

    def later(self, seconds: float) -> Outcome:
        self.clock.now += seconds
        return self.check()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def make_bench(
    gluetun: SimulatedGluetun, qbittorrent: SimulatedQbittorrent, clock: FakeClock
) -> Bench:
    environ = {
        "GLUETUN_HOST": gluetun.host,
        "GLUETUN_PORT": str(gluetun.port),
        "GLUETUN_APIKEY": KEY,
        "QBITTORRENT_HOST": qbittorrent.host,
        "QBITTORRENT_PORT": str(qbittorrent.port),
        "QBITTORRENT_PASS": qbittorrent.password,
        "REQUEST_TIMEOUT": "0.4",
    }
    return Bench(gluetun, qbittorrent, clock, environ)


@pytest.fixture
def bench(clock: FakeClock) -> Iterator[Bench]:
    role = Role(auth="apikey", apikey=KEY)
    with (
        SimulatedGluetun("3.41", role=role, clock=clock.monotonic) as gluetun,
        SimulatedQbittorrent("5.1.0", clock=clock.monotonic) as qbittorrent,
    ):
        bench = make_bench(gluetun, qbittorrent, clock)
        yield bench
        bench.tunnel.close()


def said(outcome: Outcome) -> list[str]:
    return [event.message for event in outcome.events]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("generation", ["3.40", "3.41", "main"])
def test_sets_and_proves_the_port_on_every_pair_of_versions(
    clock: FakeClock, version: Version, generation: Generation
) -> None:
    role = Role(auth="apikey", apikey=KEY)
    with (
        SimulatedGluetun(generation, role=role, clock=clock.monotonic) as gluetun,
        SimulatedQbittorrent(version, clock=clock.monotonic) as qbittorrent,
    ):
        bench = make_bench(gluetun, qbittorrent, clock)
        outcome = bench.check()
        assert outcome.failures == ()
        assert (outcome.state, outcome.forwarded_port, outcome.listening_port) == (
            SyncState.IN_SYNC,
            45720,
            45720,
        )
        assert outcome.port_bound
        assert outcome.vpn_status is VpnStatus.RUNNING
        assert qbittorrent.bound_ports == {45720}
        assert outcome.qbittorrent_version == f"v{version}"
        bench.tunnel.close()


def test_says_the_lines_that_users_know(bench: Bench) -> None:
    assert said(bench.check()) == [
        "Port change needed: 21000 -> 45720",
        "Successfully updated port to 45720",
        "Initial status - Gluetun: ✓, qBit: ✓, Port: 45720",
    ]


def test_a_quiet_cycle_says_and_writes_nothing(bench: Bench) -> None:
    bench.check()
    outcome = bench.later(30)
    assert outcome.events == ()
    assert bench.qbittorrent.writes == [45720]


def test_follows_a_changed_port_at_the_next_look(bench: Bench) -> None:
    bench.check()
    bench.gluetun.forwarded_ports = [50001]
    outcome = bench.later(30)
    assert outcome.in_sync
    assert said(outcome) == [
        "Gluetun's forwarded port changed: 45720 -> 50001",
        "Port change needed: 45720 -> 50001",
        "Successfully updated port to 50001",
    ]
    assert outcome.last_port_change_at == pytest.approx(bench.clock.wall(), abs=1)


def test_mends_a_drift_and_names_the_likely_cause_once(bench: Bench) -> None:
    bench.check()
    bench.later(30)
    bench.qbittorrent.listening_port = 6881
    outcome = bench.later(30)
    drift = [event for event in outcome.events if event.kind is EventKind.DRIFT]
    assert [event.message for event in drift] == [
        "qBittorrent left port 45720 for 6881; it is set again"
    ]
    assert drift[0].fix.startswith("likely cause: another program or person set it")
    assert bench.qbittorrent.listening_port == 45720


def test_names_the_random_port_option_as_the_cause_of_a_drift(bench: Bench) -> None:
    bench.check()
    bench.qbittorrent.random_port = True
    outcome = bench.later(30)
    assert "Use random port" in outcome.events[0].fix
    assert not bench.qbittorrent.random_port


@pytest.mark.parametrize("version", VERSIONS)
def test_a_random_port_is_left_for_the_forwarded_one_even_where_the_setting_looks_right(
    clock: FakeClock, version: Version
) -> None:
    with (
        SimulatedGluetun("3.40", clock=clock.monotonic) as gluetun,
        SimulatedQbittorrent(version, clock=clock.monotonic) as qbittorrent,
    ):
        bench = make_bench(gluetun, qbittorrent, clock)
        bench.check()
        qbittorrent.random_port = True
        qbittorrent.restart()
        assert qbittorrent.bound_ports != {45720}
        outcome = bench.later(30)
        assert outcome.in_sync
        assert qbittorrent.bound_ports == {45720}
        bench.tunnel.close()


def test_keeps_the_port_while_the_vpn_is_down_and_is_back_with_it(bench: Bench) -> None:
    bench.check()
    bench.gluetun.reconnect(50002, gap_seconds=5)
    states = []
    while True:
        outcome = bench.later(1.0)
        states.append(outcome.state)
        if outcome.in_sync:
            break
        assert outcome.next_check_seconds == 1.0
        assert bench.qbittorrent.listening_port == 45720
    assert set(states) <= {SyncState.VPN_DOWN, SyncState.NO_PORT, SyncState.IN_SYNC}
    assert bench.qbittorrent.bound_ports == {50002}


def test_survives_a_restart_of_qbittorrent(bench: Bench) -> None:
    bench.check()
    bench.qbittorrent.restart()
    outcome = bench.later(30)
    assert outcome.in_sync
    assert outcome.port_bound
    assert len(bench.qbittorrent.login_attempts) == 2


def test_a_restart_that_shows_in_its_log_alone_does_not_lose_the_proof(clock: FakeClock) -> None:
    """Without a login there is no session that could end."""
    with (
        SimulatedGluetun("3.40", clock=clock.monotonic) as gluetun,
        SimulatedQbittorrent("5.1.0", bypass=True, clock=clock.monotonic) as qbittorrent,
    ):
        bench = make_bench(gluetun, qbittorrent, clock)
        bench.check()
        qbittorrent.restart()
        clock.now += 5
        outcome = bench.check()
        assert outcome.in_sync
        assert outcome.port_bound
        bench.tunnel.close()


def test_an_upgrade_is_noticed_although_its_log_ends_like_the_one_before(clock: FakeClock) -> None:
    """Without a login there is no session that could end."""
    start = functools.partial(
        SimulatedQbittorrent, bypass=True, clock=clock.monotonic, listening_port=45720
    )
    with SimulatedGluetun("3.40", clock=clock.monotonic) as gluetun:
        with start("4.5.2") as qbittorrent:
            clock.now += 1
            bench = make_bench(gluetun, qbittorrent, clock)
            assert bench.check().qbittorrent_version == "v4.5.2"
            before = qbittorrent._listening.entries()[-1]
        with start("5.1.0", port=qbittorrent.port) as upgraded:
            clock.now += 1
            outcome = bench.check()
            after = upgraded._listening.entries()[-1]
        bench.tunnel.close()
    assert (after.id, after.message) == (before.id, before.message)
    assert outcome.qbittorrent_version == "v5.1.0"
    assert (outcome.in_sync, outcome.port_bound) == (True, True)


@pytest.mark.parametrize("stamp", ["", ', "timestamp": null', ', "timestamp": "now"'])
def test_a_log_without_times_proves_as_much(bench: Bench, stamp: str) -> None:
    entries = f'[{{"id": 3, "type": 2, "message": "listening on TCP/45720"{stamp}}}]'
    bench.check()
    bench.qbittorrent.fail("/api/v2/log/main", Status(200, entries))
    for _ in range(2):
        outcome = bench.later(30)
        assert (outcome.port_bound, outcome.failures) == (True, ())


def test_the_failure_that_makes_the_state_goes_before_others(bench: Bench) -> None:
    bench.gluetun.fail("/v1/vpn/status", Status(500))
    bench.qbittorrent.stop()
    outcome = bench.check()
    assert outcome.state is SyncState.QBITTORRENT_UNREACHABLE
    told = [failure.message.split(" at ")[0] for failure in outcome.failures]
    assert told == ["qBittorrent", "Gluetun"]


def test_logs_in_once_and_keeps_the_session(bench: Bench) -> None:
    for _ in range(5):
        assert bench.later(30).in_sync
    assert len(bench.qbittorrent.login_attempts) == 1


def test_uses_the_bypass_without_ever_logging_in(clock: FakeClock) -> None:
    role = Role(auth="apikey", apikey=KEY)
    with (
        SimulatedGluetun("3.41", role=role, clock=clock.monotonic) as gluetun,
        SimulatedQbittorrent("5.1.0", bypass=True, clock=clock.monotonic) as qbittorrent,
    ):
        bench = make_bench(gluetun, qbittorrent, clock)
        bench.environ["QBITTORRENT_PASS"] = "wrong"
        outcome = bench.check()
        assert outcome.in_sync
        assert outcome.qbittorrent_auth == "bypass"
        assert qbittorrent.login_attempts == []


def test_uses_an_api_key_instead_of_the_password(clock: FakeClock) -> None:
    api_key = "qbt_" + "A" * 28
    with (
        SimulatedGluetun("3.40", clock=clock.monotonic) as gluetun,
        SimulatedQbittorrent("5.3.0", api_key=api_key, clock=clock.monotonic) as qbittorrent,
    ):
        bench = make_bench(gluetun, qbittorrent, clock)
        bench.new_tunnel(QBITTORRENT_API_KEY=api_key, QBITTORRENT_PASS="wrong")
        outcome = bench.check()
        assert outcome.in_sync
        assert outcome.qbittorrent_auth == "apikey"
        assert qbittorrent.login_attempts == []
        bench.new_tunnel(QBITTORRENT_API_KEY="qbt_" + "B" * 28)
        outcome = bench.check()
        assert outcome.state is SyncState.QBITTORRENT_UNAUTHORIZED
        assert "QBITTORRENT_API_KEY" in outcome.failures[0].fix


@pytest.mark.parametrize("key", [f" {KEY}", f"{KEY} ", f"\t{KEY}\t"])
def test_blanks_around_a_key_do_not_matter(bench: Bench, key: str) -> None:
    bench.new_tunnel(GLUETUN_APIKEY=key)
    assert bench.check().in_sync


def test_a_key_file_that_gets_a_second_line_is_named_once_the_old_key_is_refused(
    bench: Bench, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text(KEY)
    bench.new_tunnel(GLUETUN_APIKEY="", GLUETUN_APIKEY_FILE=str(file))
    assert bench.check().in_sync
    file.write_text(f"{KEY}\n# another\n")
    assert bench.check().in_sync
    role = Role(auth="apikey", apikey="another")
    bench.gluetun._roles = [role]
    outcome = bench.check()
    assert outcome.state is SyncState.GLUETUN_UNAUTHORIZED
    assert outcome.failures[0].fix.startswith(
        f"fix {file} first (given a line break or another control "
        "character), then check GLUETUN_APIKEY against the apikey in"
    )
    file.write_text("another")
    assert bench.check().in_sync


def test_a_password_file_that_gets_a_second_line_is_named_once_the_old_one_is_refused(
    bench: Bench, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text(bench.qbittorrent.password)
    bench.new_tunnel(QBITTORRENT_PASS="", QBITTORRENT_PASS_FILE=str(file))
    assert bench.check().in_sync
    file.write_text("one\ntwo\n")
    assert bench.check().in_sync
    bench.qbittorrent.set_password("two")
    bench.qbittorrent.restart()
    outcome = bench.check()
    assert outcome.state is SyncState.QBITTORRENT_UNAUTHORIZED
    assert outcome.failures[0].fix.startswith(f"fix {file} first")
    file.write_text("two")
    assert bench.check().in_sync


def test_a_file_of_an_api_key_that_gets_a_second_line_is_named_once_the_old_one_is_refused(
    bench: Bench, clock: FakeClock, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text(f" qbt_{'A' * 28}\n")
    with SimulatedQbittorrent(
        "5.3.0", api_key="qbt_" + "A" * 28, clock=clock.monotonic
    ) as qbittorrent:
        bench.environ["QBITTORRENT_PORT"] = str(qbittorrent.port)
        bench.new_tunnel(QBITTORRENT_API_KEY_FILE=str(file))
        assert bench.check().in_sync
        qbittorrent._preferences["web_ui_api_key"] = "qbt_" + "B" * 28
        file.write_text("one\ntwo\n")
        outcome = bench.check()
    assert outcome.state is SyncState.QBITTORRENT_UNAUTHORIZED
    assert outcome.failures[0].fix.startswith(f"fix {file} first")
    assert "), then correct QBITTORRENT_API_KEY" in outcome.failures[0].fix


# what an unauthorized Gluetun is told to do


@pytest.mark.parametrize(
    ("generation", "route", "advice"),
    [
        ("3.41", "GET /v1/openvpn/portforwarded", 'add "GET /v1/portforward" to the routes'),
        ("3.40", "GET /v1/vpn/status", '"GET /v1/openvpn/portforwarded" (up to 3.40'),
        ("main", "GET /v1/vpn/status", '"GET /v1/portforward" (Gluetun 3.41 and later)'),
    ],
)
def test_names_the_role_line_that_is_missing(
    bench: Bench, generation: Generation, route: str, advice: str
) -> None:
    role = Role(auth="apikey", apikey=KEY, routes=[route])
    with SimulatedGluetun(generation, role=role) as gluetun:
        bench.new_tunnel(GLUETUN_PORT=str(gluetun.port))
        outcome = bench.check()
    assert outcome.state is SyncState.GLUETUN_UNAUTHORIZED
    assert advice in outcome.failures[0].fix
    assert "GLUETUN_APIKEY" in outcome.failures[0].fix
    assert bench.qbittorrent.writes == []


@pytest.mark.parametrize("status", [401, 404, 405])
def test_takes_the_old_route_however_the_new_one_is_refused(bench: Bench, status: int) -> None:
    role = Role(auth="apikey", apikey=KEY)
    with SimulatedGluetun("3.40", role=role) as gluetun:
        gluetun.fail("/v1/portforward", Status(status))
        bench.new_tunnel(GLUETUN_PORT=str(gluetun.port))
        assert bench.check().in_sync
        assert bench.check().in_sync


@pytest.mark.parametrize("status", [404, 405])
def test_a_server_that_is_no_gluetun_is_not_asked_for_another_key(
    bench: Bench, status: int
) -> None:
    """Each Gluetun answers 401 where a role is missing, on one of the two routes at least."""
    bench.gluetun.fail(None, Status(status))
    outcome = bench.check()
    assert outcome.state is SyncState.GLUETUN_UNREACHABLE
    assert outcome.failures[0].reason is Reason.HTTP_4XX
    assert outcome.failures[0].message.endswith(f"with status {status}; is that a Gluetun?")
    assert "GLUETUN_HOST and GLUETUN_PORT" in outcome.failures[0].fix
    assert "APIKEY" not in outcome.failures[0].fix


@pytest.mark.parametrize("status", [404, 405])
def test_a_gluetun_without_the_old_route_is_told_which_one_its_role_lacks(
    bench: Bench, status: int
) -> None:
    """Gluetun's main branch answers 404 to what it does not know."""
    role = Role(auth="apikey", apikey=KEY, routes=["GET /v1/vpn/status"])
    with SimulatedGluetun("main", role=role) as gluetun:
        gluetun.fail("/v1/openvpn/portforwarded", Status(status))
        bench.new_tunnel(GLUETUN_PORT=str(gluetun.port))
        outcome = bench.check()
    assert outcome.state is SyncState.GLUETUN_UNAUTHORIZED
    assert 'add "GET /v1/portforward" to the routes of qSticky\'s role' in outcome.failures[0].fix


@pytest.mark.parametrize("generation", ["3.40", "3.41", "main"])
def test_lives_with_the_role_of_the_tool_it_replaces(bench: Bench, generation: Generation) -> None:
    routes = ["GET /v1/openvpn/portforwarded", "GET /v1/openvpn/status"]
    if generation != "3.40":
        routes.append("GET /v1/portforward")
    role = Role(auth="apikey", apikey=KEY, routes=routes)
    with SimulatedGluetun(generation, role=role) as gluetun:
        bench.new_tunnel(GLUETUN_PORT=str(gluetun.port))
        first, second = bench.check(), bench.later(30)
    assert first.in_sync
    assert second.in_sync
    assert second.vpn_status is VpnStatus.UNKNOWN
    assert first.failures == second.failures == ()


def test_asks_a_refused_status_route_once_and_not_each_cycle(bench: Bench) -> None:
    role = Role(auth="apikey", apikey=KEY, routes=["GET /v1/portforward"])
    with SimulatedGluetun("3.41", role=role) as gluetun:
        bench.new_tunnel(GLUETUN_PORT=str(gluetun.port))
        bench.check()
        asked = len(gluetun.requests)
        assert bench.later(30).in_sync
        assert [path for _, path, _ in gluetun.requests[asked:]] == ["/v1/portforward"]


def test_finds_the_new_route_after_gluetun_was_upgraded(bench: Bench) -> None:
    with SimulatedGluetun("3.40") as old:
        bench.new_tunnel(GLUETUN_PORT=str(old.port))
        assert bench.check().in_sync
        old.stop()
        assert bench.later(30).state is SyncState.GLUETUN_UNREACHABLE
        port = old.port
        old._free_port()
        with SimulatedGluetun("main", role=Role(auth="apikey", apikey=KEY), port=port):
            assert bench.later(30).in_sync


def test_authenticates_with_basic_authentication(bench: Bench) -> None:
    role = Role(auth="basic", username="me", password="secret")
    with SimulatedGluetun("3.41", role=role) as gluetun:
        bench.environ |= {"GLUETUN_PORT": str(gluetun.port), "GLUETUN_AUTH_TYPE": "basic"}
        bench.new_tunnel(GLUETUN_USERNAME="me", GLUETUN_PASSWORD="secret")
        assert bench.check().in_sync
        bench.new_tunnel(GLUETUN_USERNAME="me", GLUETUN_PASSWORD="other")
        outcome = bench.check()
        assert outcome.state is SyncState.GLUETUN_UNAUTHORIZED
        assert "GLUETUN_USERNAME and GLUETUN_PASSWORD" in outcome.failures[0].fix


@pytest.mark.parametrize("auth_type", ["apikey", "basic"])
def test_a_secret_may_hold_any_letter(bench: Bench, auth_type: str) -> None:
    secrets = {"GLUETUN_APIKEY": "пароль", "GLUETUN_USERNAME": "ñ", "GLUETUN_PASSWORD": "пароль"}
    bench.environ |= secrets
    bench.new_tunnel(GLUETUN_AUTH_TYPE=auth_type, QBITTORRENT_API_KEY="ключ")
    assert bench.check().state is SyncState.GLUETUN_UNAUTHORIZED


def test_picks_one_of_several_forwarded_ports(bench: Bench) -> None:
    bench.gluetun.forwarded_ports = [50001, 50002]
    bench.new_tunnel(GLUETUN_PORT_INDEX="1")
    assert bench.check().listening_port == 50002
    bench.new_tunnel(GLUETUN_PORT_INDEX="2")
    outcome = bench.check()
    assert outcome.state is SyncState.GLUETUN_UNREACHABLE
    assert "GLUETUN_PORT_INDEX" in outcome.failures[0].fix
    assert bench.qbittorrent.listening_port == 50002


# bad answers


BAD_PORTS = {
    "HTML": Fault.HTML,
    "bytes that are no text": Fault.GARBAGE,
    "a port that is text": Status(200, '{"port":"x"}'),
    "a negative port": Status(200, '{"port":-1}'),
    "a port below 1024": Status(200, '{"port":80}'),
    "a port above 65535": Status(200, '{"port":70000}'),
    "a port that is true": Status(200, '{"port":true}'),
    "a fraction": Status(200, '{"port":45720.5}'),
    "ports that are no list": Status(200, '{"ports":"45720"}'),
    "a list": Status(200, "[45720]"),
    "no port at all": Status(200, "{}"),
    "an empty body": Status(200, ""),
    "a body of 50 MB": Fault.HUGE,
    "a body without end": Fault.ENDLESS,
    "a body that drips": Fault.SLOW,
    "a body cut off": Fault.CUT,
    "a wrong length": Fault.WRONG_LENGTH,
    "values of wrong types": Fault.WRONG_TYPE,
    "JSON too deep": Fault.DEEP_JSON,
    "bad gzip": Fault.BAD_GZIP,
    "a redirect to itself": Fault.REDIRECT_LOOP,
    "a redirect elsewhere": RedirectAway("http://127.0.0.1:9/"),
    "no answer": Fault.HANG,
    "a reset": Fault.RESET,
    "refused": Fault.REFUSE,
    "an error of its own": Status(500),
}


@pytest.mark.parametrize("fault", BAD_PORTS.values(), ids=BAD_PORTS.keys())
def test_keeps_the_port_and_goes_on_whatever_gluetun_answers(bench: Bench, fault: Fault) -> None:
    bench.check()
    bench.gluetun.fail("/v1/portforward", fault)
    bench.gluetun.fail("/v1/openvpn/portforwarded", fault)
    outcome = bench.later(30)
    assert outcome.state is SyncState.GLUETUN_UNREACHABLE
    assert len(outcome.events) == 1
    assert outcome.events[0].message.count("\n") == 0
    assert outcome.events[0].fix
    assert bench.qbittorrent.writes == [45720]
    bench.gluetun.heal()
    assert bench.later(1).in_sync


@pytest.mark.parametrize(
    "fault", [Status(200, '{"port":0}'), Status(200, '{"ports":[]}'), Status(200, '{"ports":null}')]
)
def test_an_empty_list_is_no_port(bench: Bench, fault: Status) -> None:
    bench.check()
    bench.gluetun.fail("/v1/portforward", fault)
    outcome = bench.later(30)
    assert outcome.state is SyncState.NO_PORT
    assert said(outcome) == ["Gluetun forwards no port at the moment; qBittorrent keeps port 45720"]


BAD_QBITTORRENT = {
    "HTML": Fault.HTML,
    "bytes that are no text": Fault.GARBAGE,
    "a body of 50 MB": Fault.HUGE,
    "values of wrong types": Fault.WRONG_TYPE,
    "JSON too deep": Fault.DEEP_JSON,
    "a proxy's redirect to its login page": RedirectAway("http://127.0.0.1:9/login"),
    "no answer": Fault.HANG,
    "a reset": Fault.RESET,
    "an error of its own": Status(502, "<html>Bad Gateway</html>"),
}


@pytest.mark.parametrize("fault", BAD_QBITTORRENT.values(), ids=BAD_QBITTORRENT.keys())
@pytest.mark.parametrize("from_the_start", [True, False])
def test_says_one_clear_line_whatever_qbittorrent_answers(
    bench: Bench, fault: Fault, from_the_start: bool
) -> None:
    if not from_the_start:
        bench.check()
    bench.qbittorrent.fail(None, fault)
    outcome = bench.later(30)
    assert outcome.state is SyncState.QBITTORRENT_UNREACHABLE
    assert outcome.events[0].fix
    assert outcome.forwarded_port == 45720
    bench.qbittorrent.heal()
    assert bench.later(1).in_sync
    assert len(bench.qbittorrent.login_attempts) <= 2


def test_a_host_header_that_qbittorrent_refuses_names_the_port_mapping(bench: Bench) -> None:
    bench.qbittorrent.fail(None, Status(401, "Unauthorized"))
    outcome = bench.check()
    assert outcome.state is SyncState.QBITTORRENT_UNAUTHORIZED
    assert outcome.failures[0].reason is Reason.FORBIDDEN_HOST
    assert "WEBUI_PORT" in outcome.failures[0].fix
    assert bench.qbittorrent.login_attempts == []


# the socket


def test_an_occupied_port_is_not_in_sync_and_is_repaired_once_it_is_free(bench: Bench) -> None:
    bench.qbittorrent.occupied.add(45720)
    outcome = bench.check()
    assert outcome.state is SyncState.NOT_LISTENING
    assert outcome.listening_port == 45720
    assert not outcome.port_bound
    assert "another program may use the port" in outcome.failures[0].fix
    assert bench.later(30).state is SyncState.NOT_LISTENING
    bench.qbittorrent.occupied.clear()
    outcome = bench.later(31)
    assert outcome.in_sync
    assert outcome.port_bound
    assert bench.qbittorrent.writes == [45720, 45721, 45720]


def test_a_port_that_is_set_but_not_opened_is_no_update(bench: Bench) -> None:
    bench.qbittorrent.occupied.add(45720)
    outcome = bench.check()
    assert bench.qbittorrent.writes == [45720]
    assert EventKind.PORT_UPDATE not in [event.kind for event in outcome.events]


def test_where_nothing_tells_of_the_socket_the_right_setting_counts_as_in_sync(
    bench: Bench,
) -> None:
    bench.check()
    bench.qbittorrent.fail("/api/v2/log", Status(500))
    bench.qbittorrent.fail("/api/v2/transfer", Status(500))
    outcome = bench.later(30)
    assert outcome.in_sync
    assert not outcome.port_bound


def test_an_open_socket_is_proved_whatever_gluetun_says(bench: Bench) -> None:
    bench.check()
    bench.gluetun.forwarded_ports = []
    assert bench.later(30).port_bound
    bench.gluetun.stop()
    outcome = bench.later(30)
    assert outcome.state is SyncState.GLUETUN_UNREACHABLE
    assert outcome.port_bound


def test_a_socket_that_qbittorrent_says_is_closed_is_not_proved_by_an_old_log_entry(
    bench: Bench,
) -> None:
    bench.check()
    bench.gluetun.forwarded_ports = []
    closed = Status(200, '{"connection_status": "disconnected"}')
    bench.qbittorrent.fail("/api/v2/transfer/info", closed)
    outcome = bench.later(30)
    assert outcome.connection_status is ConnectionStatus.DISCONNECTED
    assert not outcome.port_bound


def test_the_proof_of_the_old_port_is_none_of_the_new_one(bench: Bench) -> None:
    bench.check()
    bench.gluetun.forwarded_ports = [50001]
    bench.qbittorrent.occupied.add(50001)
    outcome = bench.later(30)
    assert outcome.state is SyncState.NOT_LISTENING
    assert outcome.listening_port == 50001
    assert not outcome.port_bound


def test_where_rebinding_is_forbidden_an_occupied_port_is_looked_at_each_interval(
    bench: Bench,
) -> None:
    bench.new_tunnel(REBIND="never")
    bench.qbittorrent.occupied.add(45720)
    looks = [bench.check(), bench.later(30), bench.later(60), bench.later(600)]
    assert [look.state for look in looks] == [SyncState.NOT_LISTENING] * 4
    assert [look.next_check_seconds for look in looks] == [30, 30, 30, 30]
    assert not any(look.rebinds for look in looks)


def test_repairs_the_dead_socket_that_an_old_libtorrent_keeps_after_a_reconnect(
    clock: FakeClock,
) -> None:
    role = Role(auth="apikey", apikey=KEY)
    with (
        SimulatedGluetun("3.41", role=role, clock=clock.monotonic) as gluetun,
        SimulatedQbittorrent(
            "4.5.2", clock=clock.monotonic, interface="tun0", addresses=("10.2.0.2",)
        ) as qbittorrent,
    ):
        bench = make_bench(gluetun, qbittorrent, clock)
        bench.check()
        gluetun.reconnect(gap_seconds=1)
        bench.later(0.5)
        qbittorrent.vpn_interface_recreated()
        assert not qbittorrent.incoming_peer()
        outcome = bench.later(2)
        assert said(outcome) == [
            "Opening port 45720 anew, because the VPN reconnected with the same port",
            "In sync again on port 45720",
        ]
        assert qbittorrent.incoming_peer()


@pytest.mark.parametrize(
    ("policy", "writes"),
    [("auto", [45720, 45721, 45720, 45721, 45720, 45721, 45720]), ("never", [45720])],
)
def test_however_often_it_is_pushed_it_opens_the_port_anew_once_in_5_minutes_at_most(
    clock: FakeClock, policy: str, writes: list[int]
) -> None:
    """What SECURITY.md says of those who reach the web port; 4.5.2 has an old libtorrent."""
    with (
        SimulatedGluetun("3.40", clock=clock.monotonic) as gluetun,
        SimulatedQbittorrent("4.5.2", clock=clock.monotonic) as qbittorrent,
    ):
        bench = make_bench(gluetun, qbittorrent, clock)
        bench.new_tunnel(REBIND=policy)
        bench.check()
        for _ in range(60):
            bench.clock.now += 10
            bench.check(pushed=True)
            assert bench.later(2).in_sync
        assert qbittorrent.writes == writes
        bench.tunnel.close()


def test_a_rebind_that_breaks_off_in_the_middle_is_ended_by_the_next_check(bench: Bench) -> None:
    bench.qbittorrent.occupied.add(45720)
    bench.check()
    bench.qbittorrent.occupied.clear()
    bench.clock.now += 60
    # the neighbour is set, the answer to it is lost
    bench.qbittorrent.fail("/api/v2/app/setPreferences", Fault.LOST, times=1)
    outcome = bench.check()
    assert outcome.state is SyncState.QBITTORRENT_UNREACHABLE
    assert bench.qbittorrent.listening_port == 45721
    outcome = bench.later(1)
    assert outcome.in_sync
    assert [event.kind for event in outcome.events if event.kind is EventKind.DRIFT] == []
    assert bench.qbittorrent.bound_ports == {45720}


def test_a_preference_that_does_not_stick_is_out_of_sync(bench: Bench) -> None:
    bench.qbittorrent.fail("/api/v2/app/setPreferences", Status(200))
    outcome = bench.check()
    assert outcome.state is SyncState.OUT_OF_SYNC
    assert outcome.failures[0].reason is Reason.VERIFY_MISMATCH


# logging in


def test_a_rejected_password_is_not_retried_at_the_polling_rate(bench: Bench) -> None:
    bench.new_tunnel(QBITTORRENT_PASS="wrong")
    outcomes = [bench.later(30) for _ in range(120)]
    assert {outcome.state for outcome in outcomes} == {SyncState.QBITTORRENT_UNAUTHORIZED}
    started = bench.qbittorrent.login_attempts[0]
    assert [at - started for at in bench.qbittorrent.login_attempts] == [0, 300, 2100]
    assert outcomes[-1].login_suspended_until > bench.clock.wall()


def test_a_suspension_is_said_once(bench: Bench) -> None:
    bench.new_tunnel(QBITTORRENT_PASS="wrong")
    bench.check()
    assert [said(bench.later(30)) for _ in range(5)] == [[], [], [], [], []]


def test_rejections_survive_restarts_of_ours_which_spend_a_try_each(bench: Bench) -> None:
    bench.new_tunnel(QBITTORRENT_PASS="wrong")
    outcome = bench.check()
    for restarts in (1, 2):
        bench.new_tunnel(Saved(logins=outcome.login_note), QBITTORRENT_PASS="wrong")
        for _ in range(5):
            outcome = bench.later(1)
        assert len(bench.qbittorrent.login_attempts) == 1 + restarts
    assert outcome.login_note is not None
    assert outcome.login_note.rejections == 3
    bench.new_tunnel(Saved(logins=outcome.login_note))
    assert bench.check().in_sync


def test_a_clock_set_back_does_not_suspend_for_more_than_an_hour(bench: Bench) -> None:
    bench.new_tunnel(QBITTORRENT_PASS="wrong")
    note = bench.check().login_note
    bench.clock.set_wall(bench.clock.wall() - 1e6)
    bench.new_tunnel(Saved(logins=note), QBITTORRENT_PASS="wrong")
    outcome = bench.check()
    assert outcome.login_suspended_until <= bench.clock.wall() + 3600


def test_a_ban_is_waited_out(bench: Bench) -> None:
    for _ in range(5):
        bench.qbittorrent.fail("/api/v2/auth/login", Status(403, "banned"), times=1)
    outcome = bench.check()
    assert outcome.state is SyncState.QBITTORRENT_BANNED
    assert bench.later(1800).state is SyncState.QBITTORRENT_BANNED
    bench.qbittorrent.heal()
    assert bench.later(1801).in_sync


def test_a_corrected_password_file_is_tried_at_once(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("wrong\n")
    del bench.environ["QBITTORRENT_PASS"]
    bench.new_tunnel(QBITTORRENT_PASS_FILE=str(file))
    assert bench.check().state is SyncState.QBITTORRENT_UNAUTHORIZED
    assert bench.later(30).state is SyncState.QBITTORRENT_UNAUTHORIZED
    file.write_text(f"{bench.qbittorrent.password}\n")
    assert bench.later(30).in_sync


def test_a_broken_https_set_up_that_loses_the_cookie_is_named(clock: FakeClock) -> None:
    role = Role(auth="apikey", apikey=KEY)
    with (
        SimulatedGluetun("3.41", role=role, clock=clock.monotonic) as gluetun,
        SimulatedQbittorrent("5.1.0", secure_cookie=True, clock=clock.monotonic) as qbittorrent,
    ):
        outcome = make_bench(gluetun, qbittorrent, clock).check()
    assert outcome.state is SyncState.QBITTORRENT_UNAUTHORIZED
    assert "HTTPS set-up is broken" in outcome.failures[0].fix


# what is remembered


def test_the_first_port_after_a_start_is_not_a_change(bench: Bench) -> None:
    bench.new_tunnel(Saved(forwarded_port=45720, last_port_change_at=123.0))
    outcome = bench.check()
    assert EventKind.PORT_CHANGE not in [event.kind for event in outcome.events]
    assert outcome.last_port_change_at == 123.0


def test_a_restart_does_not_renew_the_grace(bench: Bench) -> None:
    bench.gluetun.stop()
    outcome = bench.check()
    for _ in range(3):
        remembered = Saved(
            out_of_sync_since=outcome.out_of_sync_since, failing_since=outcome.failing_since
        )
        bench.new_tunnel(remembered)
        assert outcome.is_healthy(bench.clock.wall())
        outcome = bench.later(31)
    assert not outcome.is_healthy(bench.clock.wall())


def test_a_clock_that_jumps_does_not_make_it_unhealthy(bench: Bench) -> None:
    bench.gluetun.stop()
    bench.check()
    bench.clock.set_wall(bench.clock.wall() + 1e7)
    outcome = bench.later(30)
    assert outcome.is_healthy(bench.clock.wall())


def test_a_silent_wait_is_said_aloud_after_ten_minutes(bench: Bench) -> None:
    bench.gluetun.forwarded_ports = []
    bench.check()
    assert said(bench.later(599)) == []
    outcome = bench.later(2)
    assert said(outcome) == ["Gluetun has had no forwarded port for 10 minutes"]
    assert said(bench.later(30)) == []


def test_a_reconnect_after_a_long_trouble_with_qbittorrent_is_no_long_wait(bench: Bench) -> None:
    bench.check()
    bench.qbittorrent.stop()
    bench.later(30)
    bench.later(1200)
    bench.gluetun.forwarded_ports = []
    outcome = bench.later(5)
    assert outcome.state is SyncState.NO_PORT
    assert said(outcome) == ["Gluetun forwards no port at the moment"]
    assert outcome.waiting_since == pytest.approx(bench.clock.wall(), abs=1)


def test_a_wait_that_ended_starts_anew_and_is_said_again_after_ten_minutes_only(
    bench: Bench,
) -> None:
    bench.gluetun.forwarded_ports = []
    bench.check()
    assert said(bench.later(601)) == ["Gluetun has had no forwarded port for 10 minutes"]
    bench.gluetun.stop()
    assert bench.later(60).waiting_since == 0.0
    bench.gluetun.start()
    assert said(bench.later(60)) == [
        "Gluetun forwards no port at the moment; qBittorrent keeps port 21000"
    ]
    assert said(bench.later(599)) == []
    assert said(bench.later(2)) == ["Gluetun has had no forwarded port for 10 minutes"]


def test_a_restart_of_ours_does_not_end_a_wait(bench: Bench) -> None:
    bench.gluetun.forwarded_ports = []
    outcome = bench.check()
    bench.new_tunnel(Saved(waiting_since=outcome.waiting_since))
    assert said(bench.later(601))[-1] == "Gluetun has had no forwarded port for 10 minutes"


def test_knows_of_torrents_also_while_no_port_is_forwarded(bench: Bench) -> None:
    bench.qbittorrent.torrents = [{"hash": "a"}]
    bench.gluetun.forwarded_ports = []
    bench.check()
    outcome = bench.later(30)
    assert outcome.state is SyncState.NO_PORT
    assert outcome.connection_status is ConnectionStatus.FIREWALLED
    assert outcome.has_torrents is True


def test_does_not_say_that_there_are_no_torrents_where_qbittorrent_does_not_tell(
    bench: Bench,
) -> None:
    bench.qbittorrent.fail("/api/v2/torrents", Status(500))
    bench.check()
    outcome = bench.later(30)
    assert outcome.connection_status is ConnectionStatus.FIREWALLED
    assert outcome.has_torrents is None


def test_asks_for_torrents_only_while_firewalled(bench: Bench) -> None:
    bench.qbittorrent.torrents = [{"hash": "a"}]
    bench.check()
    outcome = bench.later(30)
    assert outcome.connection_status is ConnectionStatus.FIREWALLED
    assert outcome.has_torrents
    bench.qbittorrent.incoming_peer()
    bench.later(30)
    asked = len(bench.qbittorrent.requests)
    assert bench.later(30).connection_status is ConnectionStatus.CONNECTED
    paths = [path for _, path, _ in bench.qbittorrent.requests[asked:]]
    assert not [path for path in paths if "torrents" in path]


def test_no_secret_reaches_an_outcome(bench: Bench) -> None:
    bench.new_tunnel(QBITTORRENT_PASS="hunter2-canary", GLUETUN_APIKEY="apikey-canary")
    outcome = bench.check()
    told = json.dumps([str(outcome), repr(bench.tunnel.config), repr(outcome)])
    assert "canary" not in told


def test_an_outcome_is_one_value_that_cannot_change(bench: Bench) -> None:
    outcome = bench.check()
    with pytest.raises(AttributeError):
        outcome.state = SyncState.NO_PORT  # type: ignore[misc]
    assert replace(outcome, events=()) != outcome
