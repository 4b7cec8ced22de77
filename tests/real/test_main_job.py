"""One tunnel at work on every real qBittorrent."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.clock import Clock
from exporter.config.load import load_config
from exporter.model import EventKind, Outcome, Reason, SyncState
from exporter.simulator.world import SimulatedGluetun
from exporter.tunnel.tunnel import Tunnel
from tests.conftest import Certificate
from tests.parts.daemon import listens
from tests.parts.qbittorrent import RealQbittorrent, Seed, free_port

API_KEY = "qbt_" + "A" * 28


@pytest.fixture
def gluetun() -> Iterator[SimulatedGluetun]:
    with SimulatedGluetun("3.40", forwarded_port=free_port()) as gluetun:
        yield gluetun


def tunnel_to(gluetun: SimulatedGluetun, qbittorrent: RealQbittorrent, **more: str) -> Tunnel:
    environ = {
        "GLUETUN_HOST": gluetun.host,
        "GLUETUN_PORT": str(gluetun.port),
        "GLUETUN_AUTH_TYPE": "none",
        "QBITTORRENT_HOST": qbittorrent.host,
        "QBITTORRENT_PORT": str(qbittorrent.port),
        "QBITTORRENT_USER": qbittorrent.username,
        "QBITTORRENT_PASS": qbittorrent.password,
    }
    return Tunnel(load_config(environ | more).tunnels[0], Clock())


def assert_bound(outcome: Outcome, port: int) -> None:
    assert outcome.failures == ()
    assert outcome.state is SyncState.IN_SYNC
    assert outcome.listening_port == port
    assert outcome.port_bound
    assert listens(port)


def test_the_port_is_set_and_bound_kept_mended_and_set_again_after_a_restart(
    gluetun: SimulatedGluetun, qbittorrent_version: str, tmp_path: Path
) -> None:
    port = gluetun.forwarded_ports[0]
    with RealQbittorrent(qbittorrent_version, tmp_path) as qbittorrent:
        tunnel = tunnel_to(gluetun, qbittorrent)
        assert_bound(tunnel.cycle(), port)
        quiet = tunnel.cycle()
        assert_bound(quiet, port)
        assert quiet.qbittorrent_version.startswith(f"v{qbittorrent_version.rpartition('.')[0]}")

        drifted = free_port()
        with_session_of_a_user(qbittorrent, {"listen_port": drifted})
        outcome = tunnel.cycle()
        assert_bound(outcome, port)
        assert EventKind.DRIFT in [event.kind for event in outcome.events]
        assert not listens(drifted)

        qbittorrent.restart()
        assert_bound(tunnel.cycle(), port)

        new = free_port()
        gluetun.forwarded_ports = [new]
        assert_bound(tunnel.cycle(), new)
        assert not listens(port)
        tunnel.close()


def with_session_of_a_user(qbittorrent: RealQbittorrent, preferences: dict[str, object]) -> None:
    """Change preferences as a person does in the Web UI."""
    with qbittorrent._signed_in() as (connection, headers):
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        form = "json=" + json.dumps(preferences)
        connection.request("POST", "/api/v2/app/setPreferences", form, headers | kind)
        assert connection.getresponse().read() == b""


def test_a_random_port_is_switched_off(
    gluetun: SimulatedGluetun, qbittorrent_version: str, tmp_path: Path
) -> None:
    with RealQbittorrent(qbittorrent_version, tmp_path) as qbittorrent:
        with_session_of_a_user(qbittorrent, {"random_port": True})
        tunnel = tunnel_to(gluetun, qbittorrent)
        assert_bound(tunnel.cycle(), gluetun.forwarded_ports[0])
        # up to 4.3 the port that is set stays what it was, and only the socket moves
        with_session_of_a_user(qbittorrent, {"random_port": True})
        assert_bound(tunnel.cycle(), gluetun.forwarded_ports[0])
        qbittorrent.restart()
        assert_bound(tunnel.cycle(), gluetun.forwarded_ports[0])
        tunnel.close()


def test_a_wrong_password_is_tried_once_and_named(
    gluetun: SimulatedGluetun, qbittorrent_version: str, tmp_path: Path
) -> None:
    with RealQbittorrent(qbittorrent_version, tmp_path, Seed(ban_after=2)) as qbittorrent:
        tunnel = tunnel_to(gluetun, qbittorrent, QBITTORRENT_PASS="wrong")
        for _ in range(5):
            outcome = tunnel.cycle()
            assert outcome.state is SyncState.QBITTORRENT_UNAUTHORIZED
            assert "QBITTORRENT_PASS" in outcome.failures[0].fix
        # with two failures this address would be banned now
        right = tunnel_to(gluetun, qbittorrent)
        assert_bound(right.cycle(), gluetun.forwarded_ports[0])
        tunnel.close()
        right.close()


def test_works_without_a_login_where_local_clients_need_none(
    gluetun: SimulatedGluetun, qbittorrent_version: str, tmp_path: Path
) -> None:
    seed = Seed(bypass_local_auth=True)
    with RealQbittorrent(qbittorrent_version, tmp_path, seed) as qbittorrent:
        tunnel = tunnel_to(gluetun, qbittorrent, QBITTORRENT_PASS="wrong")
        outcome = tunnel.cycle()
        assert_bound(outcome, gluetun.forwarded_ports[0])
        assert outcome.qbittorrent_auth == "bypass"
        tunnel.close()


def test_works_with_an_api_key_where_qbittorrent_has_them(
    gluetun: SimulatedGluetun, qbittorrent_version: str, tmp_path: Path
) -> None:
    with RealQbittorrent(qbittorrent_version, tmp_path, Seed(api_key=API_KEY)) as qbittorrent:
        tunnel = tunnel_to(gluetun, qbittorrent, QBITTORRENT_API_KEY=API_KEY)
        outcome = tunnel.cycle()
        if qbittorrent_version == "5.3.0":
            assert_bound(outcome, gluetun.forwarded_ports[0])
            assert outcome.qbittorrent_auth == "apikey"
        else:
            assert outcome.state is SyncState.QBITTORRENT_UNAUTHORIZED
            assert "5.2 and later" in outcome.failures[0].fix
        tunnel.close()


def test_https_is_checked_with_an_own_authority_or_not_at_all(
    gluetun: SimulatedGluetun, qbittorrent_version: str, tmp_path: Path, certificate: Certificate
) -> None:
    port = gluetun.forwarded_ports[0]
    seed = Seed(certificate=certificate.file, certificate_key=certificate.key)
    with RealQbittorrent(qbittorrent_version, tmp_path, seed) as qbittorrent:
        unverified = tunnel_to(gluetun, qbittorrent, QBITTORRENT_HTTPS="true")
        assert_bound(unverified.cycle(), port)
        own = tunnel_to(
            gluetun,
            qbittorrent,
            QBITTORRENT_HTTPS="true",
            QBITTORRENT_CA_FILE=str(certificate.file),
        )
        assert_bound(own.cycle(), port)
        strict = tunnel_to(
            gluetun, qbittorrent, QBITTORRENT_HTTPS="true", QBITTORRENT_VERIFY_SSL="true"
        )
        outcome = strict.cycle()
        assert outcome.state is SyncState.QBITTORRENT_UNREACHABLE
        assert outcome.failures[0].reason is Reason.TLS
        plain = tunnel_to(gluetun, qbittorrent)
        assert plain.cycle().state is SyncState.QBITTORRENT_UNREACHABLE
        for tunnel in (unverified, own, strict, plain):
            tunnel.close()
