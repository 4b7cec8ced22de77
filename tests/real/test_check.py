"""`qsticky check` as a process, on every real qBittorrent."""

from pathlib import Path

from exporter.simulator.world import SimulatedGluetun
from tests.parts.daemon import QstickyProcess
from tests.parts.proxy import Proxy
from tests.parts.qbittorrent import RealQbittorrent, free_port


def checked(environ: dict[str, str], folder: Path) -> tuple[int, str]:
    """The exit code and what was printed."""
    with QstickyProcess(environ, folder, command=["check"]) as check:
        code = check.process.wait(30)
        check._reader.join()
        return code, check.output


def test_names_the_cause_until_all_is_well(qbittorrent_version: str, tmp_path: Path) -> None:
    port = free_port()
    with (
        SimulatedGluetun("3.40", forwarded_port=port) as gluetun,
        RealQbittorrent(qbittorrent_version, tmp_path / "profile") as qbittorrent,
        Proxy(qbittorrent.port) as proxy,
    ):
        environ = {
            "GLUETUN_HOST": gluetun.host,
            "GLUETUN_PORT": str(gluetun.port),
            "GLUETUN_AUTH_TYPE": "none",
            "QBITTORRENT_HOST": "127.0.0.1",
            "QBITTORRENT_PORT": str(proxy.port),
            "QBITTORRENT_PASS": "wrong",
        }
        for _ in range(3):
            code, said = checked(environ, tmp_path)
            assert code == 3
            assert "correct QBITTORRENT_USER and QBITTORRENT_PASS" in said
        assert len(proxy.logins) == 1

        environ["QBITTORRENT_PASS"] = qbittorrent.password
        code, said = checked(environ, tmp_path)
        assert code == 3
        before = qbittorrent.first_listening_port
        assert f"✗ qBittorrent's listening port is {before}, not {port}\n" in said
        assert "→ start qsticky, which sets it" in said
        with QstickyProcess(environ, tmp_path) as daemon:
            daemon.wait_for(f"Successfully updated port to {port}")
            daemon.wait_for("Initial status")
            code, said = checked(environ, tmp_path)
            assert code == 0, said
            assert "✓ The running qsticky is logged in to qBittorrent" in said
            assert "✓ qBittorrent listens on its port" in said
            assert daemon.stop() == 0
        code, said = checked(environ, tmp_path)
        assert code == 0, said
        assert "✓ qBittorrent accepts the password of admin" in said
        assert "Traceback" not in said
        assert qbittorrent.password not in said


def test_a_published_port_that_is_not_qbittorrents_own(
    qbittorrent_version: str, tmp_path: Path
) -> None:
    """As Docker's 8081:8080 does, without a proxy that mends the Host header."""
    with (
        SimulatedGluetun("3.40") as gluetun,
        RealQbittorrent(qbittorrent_version, tmp_path / "profile") as qbittorrent,
        Proxy(qbittorrent.port, keep_host=True) as proxy,
    ):
        environ = {
            "GLUETUN_HOST": gluetun.host,
            "GLUETUN_PORT": str(gluetun.port),
            "GLUETUN_AUTH_TYPE": "none",
            "QBITTORRENT_HOST": "127.0.0.1",
            "QBITTORRENT_PORT": str(proxy.port),
            "QBITTORRENT_PASS": qbittorrent.password,
        }
        code, said = checked(environ, tmp_path)
        assert code == 3
        assert "refuses the Host header" in said
        assert proxy.logins == []
