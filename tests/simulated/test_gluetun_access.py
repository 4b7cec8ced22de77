"""Gluetun's roles, routes and keys: what suffices, and what to do where something is missing."""

from pathlib import Path

import pytest

from exporter.model import Reason, SyncState, VpnStatus
from exporter.simulator.world import Generation, Role, SimulatedGluetun, Status
from tests.rig import GLUETUN_KEY, Rig, make_rig, role_with


@pytest.mark.parametrize(
    ("route", "advice"),
    [
        ("GET /v1/openvpn/portforwarded", ['add "GET /v1/portforward" to the routes']),
        (
            "GET /v1/vpn/status",
            [
                '"GET /v1/portforward" (Gluetun 3.41 and later)',
                '"GET /v1/openvpn/portforwarded" (up to 3.40',
            ],
        ),
    ],
)
def test_the_route_that_the_role_lacks_is_named(
    tmp_path: Path, route: str, advice: list[str]
) -> None:
    """With Gluetun's version `qsticky check` is more exact: tests/simulated/test_check.py."""
    with make_rig(tmp_path, role=role_with(route)) as rig:
        outcome = rig.check()
        assert outcome.state is SyncState.GLUETUN_UNAUTHORIZED
        assert [words for words in advice if words not in outcome.failures[0].fix] == []
        assert rig.qbittorrent.writes == []


@pytest.mark.parametrize("generation", ["3.40", "3.41", "main"])
def test_the_role_of_the_tool_that_qsticky_replaces_suffices(
    tmp_path: Path, generation: Generation
) -> None:
    routes = ["GET /v1/openvpn/portforwarded", "GET /v1/openvpn/status"]
    if generation != "3.40":
        routes.append("GET /v1/portforward")
    with make_rig(tmp_path, generation, role=role_with(*routes)) as rig:
        for outcome in (rig.check(), rig.later(30)):
            assert (outcome.state, outcome.failures) == (SyncState.IN_SYNC, ())
            assert outcome.vpn_status is VpnStatus.UNKNOWN


def test_without_a_port_the_old_route_of_the_status_is_believed(tmp_path: Path) -> None:
    role = role_with("GET /v1/portforward", "GET /v1/openvpn/status")
    with make_rig(tmp_path, role=role) as rig:
        rig.gluetun.forwarded_ports = []
        assert rig.check().vpn_status is VpnStatus.STOPPED


@pytest.mark.parametrize("status", [401, 404, 405])
def test_the_old_route_is_taken_however_the_new_one_is_refused(tmp_path: Path, status: int) -> None:
    with make_rig(tmp_path, "3.40") as rig:
        rig.gluetun.fail("/v1/portforward", Status(status))
        assert rig.check().in_sync
        assert rig.later(30).in_sync


@pytest.mark.parametrize("status", [404, 405])
def test_a_server_that_is_no_gluetun_is_not_asked_for_another_key(rig: Rig, status: int) -> None:
    """Each Gluetun answers 401 where a role is missing, on one of the two routes at least."""
    rig.gluetun.fail(None, Status(status))
    outcome = rig.check()
    assert outcome.state is SyncState.GLUETUN_UNREACHABLE
    assert outcome.failures[0].reason is Reason.HTTP_4XX
    assert "GLUETUN_HOST and GLUETUN_PORT" in outcome.failures[0].fix
    assert "APIKEY" not in outcome.failures[0].fix


def test_a_gluetun_without_the_old_route_has_one_route_to_add(tmp_path: Path) -> None:
    with make_rig(tmp_path, "main", role=role_with("GET /v1/vpn/status")) as rig:
        rig.gluetun.fail("/v1/openvpn/portforwarded", Status(404))
        outcome = rig.check()
        assert outcome.state is SyncState.GLUETUN_UNAUTHORIZED
        assert 'add "GET /v1/portforward" to the routes' in outcome.failures[0].fix


def test_the_new_route_is_found_after_gluetun_was_upgraded(tmp_path: Path) -> None:
    with make_rig(tmp_path, "3.40") as rig:
        assert rig.check().in_sync
        rig.gluetun.stop()
        assert rig.later(30).state is SyncState.GLUETUN_UNREACHABLE
        rig.gluetun._free_port()
        with SimulatedGluetun("main", role=role_with(), port=rig.gluetun.port):
            assert rig.later(30).in_sync


def test_the_public_address_is_the_one_that_gluetun_says(rig: Rig) -> None:
    outcome = rig.check()
    assert outcome.gluetun
    assert outcome.gluetun.public_ip == "203.0.113.7"


def test_basic_authentication(tmp_path: Path) -> None:
    role = Role(auth="basic", username="me", password="secret")
    basic = {
        "GLUETUN_AUTH_TYPE": "basic",
        "GLUETUN_USERNAME": "me",
        "GLUETUN_PASSWORD": "secret",
    }
    with make_rig(tmp_path, role=role, environ=basic) as rig:
        assert rig.check().in_sync
        rig.start_daemon(GLUETUN_PASSWORD="other")
        outcome = rig.check()
        assert outcome.state is SyncState.GLUETUN_UNAUTHORIZED
        assert "GLUETUN_USERNAME and GLUETUN_PASSWORD" in outcome.failures[0].fix


@pytest.mark.parametrize("auth_type", ["apikey", "basic"])
def test_a_secret_may_hold_any_letter(tmp_path: Path, auth_type: str) -> None:
    environ = {
        "GLUETUN_AUTH_TYPE": auth_type,
        "GLUETUN_APIKEY": "пароль",
        "GLUETUN_USERNAME": "ñ",
        "GLUETUN_PASSWORD": "пароль",
        "QBITTORRENT_API_KEY": "ключ",
    }
    with make_rig(tmp_path, environ=environ) as rig:
        assert rig.check().state is SyncState.GLUETUN_UNAUTHORIZED


# a file that holds a secret is read at each use


def test_a_key_file_that_gets_a_second_line_is_named_once_the_old_key_is_refused(
    tmp_path: Path,
) -> None:
    file = tmp_path / "key"
    file.write_text(GLUETUN_KEY)
    environ = {"GLUETUN_APIKEY": "", "GLUETUN_APIKEY_FILE": str(file)}
    with make_rig(tmp_path, environ=environ) as rig:
        assert rig.check().in_sync
        file.write_text(f"{GLUETUN_KEY}\n# another\n")
        assert rig.check().in_sync
        rig.gluetun._roles = [Role(auth="apikey", apikey="another")]
        outcome = rig.check()
        assert outcome.state is SyncState.GLUETUN_UNAUTHORIZED
        assert str(file) in outcome.failures[0].fix
        assert "check GLUETUN_APIKEY against the apikey in" in outcome.failures[0].fix
        file.write_text("another")
        assert rig.check().in_sync
