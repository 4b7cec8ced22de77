"""One tunnel at work on every real qBittorrent."""

from pathlib import Path

from exporter.model import EventKind, Outcome, Reason, SyncState
from tests.conftest import Certificate
from tests.parts.daemon import listens
from tests.parts.qbittorrent import Seed, free_port
from tests.real.rig import Rig
from tests.rig import kinds

API_KEY = "qbt_" + "A" * 28


def assert_open(outcome: Outcome, port: int) -> None:
    assert outcome.failures == ()
    assert outcome.state is SyncState.IN_SYNC
    assert listens(port)


def test_the_port_is_set_kept_corrected_and_set_again_after_a_restart(
    qbittorrent_version: str, tmp_path: Path
) -> None:
    with Rig(qbittorrent_version, tmp_path).running() as rig:
        assert_open(rig.check(), rig.port)
        assert_open(rig.later(30), rig.port)

        drifted = free_port()
        rig.set_by_hand({"listen_port": drifted})
        outcome = rig.later(30)
        assert_open(outcome, rig.port)
        assert EventKind.DRIFT in kinds(outcome)
        assert not listens(drifted)

        rig.qbittorrent.restart()
        rig.qbittorrent.wait_until_listening()
        assert_open(rig.later(30), rig.port)

        new = free_port()
        rig.gluetun.forwarded_ports = [new]
        assert_open(rig.later(30), new)
        assert not listens(rig.port)


def test_a_random_port_is_switched_off(qbittorrent_version: str, tmp_path: Path) -> None:
    with Rig(qbittorrent_version, tmp_path).running() as rig:
        rig.set_by_hand({"random_port": True})
        assert_open(rig.check(), rig.port)
        # up to 4.3 the port that is set stays what it was, and only the socket moves
        rig.set_by_hand({"random_port": True})
        assert_open(rig.later(30), rig.port)
        rig.qbittorrent.restart()
        rig.qbittorrent.wait_until_listening()
        assert_open(rig.later(30), rig.port)


def test_works_without_a_login_where_local_clients_need_none(
    qbittorrent_version: str, tmp_path: Path
) -> None:
    with Rig(qbittorrent_version, tmp_path, Seed(bypass_local_auth=True)).running() as rig:
        rig.password_file.write_text("wrong")
        assert_open(rig.check(), rig.port)
        assert rig.proxy.logins == []


def test_works_with_an_api_key_where_qbittorrent_has_them(
    qbittorrent_version: str, tmp_path: Path
) -> None:
    with Rig(
        qbittorrent_version, tmp_path, Seed(api_key=API_KEY), QBITTORRENT_API_KEY=API_KEY
    ).running() as rig:
        outcome = rig.check()
        if qbittorrent_version == "5.3.0":
            assert_open(outcome, rig.port)
        else:
            assert outcome.state is SyncState.QBITTORRENT_UNAUTHORIZED
        assert rig.proxy.logins == []


def test_https_is_checked_with_an_authority_of_the_user_or_not_at_all(
    qbittorrent_version: str, tmp_path: Path, certificate: Certificate
) -> None:
    seed = Seed(certificate=certificate.file, certificate_key=certificate.key)
    with Rig(qbittorrent_version, tmp_path, seed, QBITTORRENT_HTTPS="true").running() as rig:
        rig.restart(QBITTORRENT_PORT=str(rig.qbittorrent.port))
        assert_open(rig.check(), rig.port)
        rig.restart(QBITTORRENT_CA_FILE=str(certificate.file))
        assert_open(rig.check(), rig.port)
        rig.restart(QBITTORRENT_CA_FILE="", QBITTORRENT_VERIFY_SSL="true")
        outcome = rig.check()
        assert outcome.state is SyncState.QBITTORRENT_UNREACHABLE
        assert outcome.failures[0].reason is Reason.TLS
        rig.restart(QBITTORRENT_HTTPS="false")
        assert rig.check().state is SyncState.QBITTORRENT_UNREACHABLE
