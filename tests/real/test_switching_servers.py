"""What refuses us for its set-up or its proxy's: `qsticky check` says what helps, and that helps.

Real qBittorrents, a real nginx, real certificates.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exporter.simulator.world import SimulatedGluetun
from tests.conftest import Certificate, Issue, missing_part
from tests.parts.daemon import QstickyProcess
from tests.parts.debian import PartMissing
from tests.parts.namespace import own_interface
from tests.parts.nginx import Nginx, under
from tests.parts.proxy import Proxy
from tests.parts.qbittorrent import RealQbittorrent, Seed, free_port

Check = Callable[..., list[str]]
BehindNginx = Callable[..., Nginx]

PORT = free_port()
ONE_VERSION = pytest.mark.parametrize("qbittorrent_version", ["5.1.0"], indirect=True)


@pytest.fixture
def check(tmp_path: Path) -> Iterator[Check]:
    """Runs `qsticky check` with some variables; returns what is wrong, each with its fix."""
    with SimulatedGluetun("3.40", forwarded_port=PORT) as gluetun:

        def run(**environ: str | int) -> list[str]:
            gluetun_at = {"GLUETUN_HOST": gluetun.host, "GLUETUN_PORT": str(gluetun.port)}
            given = {name: str(value) for name, value in environ.items()}
            every = {**gluetun_at, "GLUETUN_AUTH_TYPE": "none", **given}
            with QstickyProcess(every, tmp_path, ["check"]) as process:
                process.wait()
                return re.findall(r"✗ (.*\n(?:    → .*)?)", process.output)

        yield run


def qbittorrent(version: str, folder: Path, **seed: object) -> RealQbittorrent:
    """Return one that listens on the forwarded port."""
    seed |= {"interface": own_interface()[0], "listening_port": PORT}
    return RealQbittorrent(version, folder / "profile", Seed(**seed))  # type: ignore[arg-type]


def way_to(server: RealQbittorrent) -> dict[str, str | int]:
    return {"QBITTORRENT_PORT": server.port, "QBITTORRENT_PASS": server.password}


def test_a_name_that_is_none_of_the_server_domains(
    qbittorrent_version: str, check: Check, tmp_path: Path
) -> None:
    with qbittorrent(qbittorrent_version, tmp_path, server_domains="example.com") as server:
        address = f"localhost:{server.port}"
        assert check(**way_to(server), QBITTORRENT_HOST="localhost") == [
            f"qBittorrent at {address} rejected the Host header '{address}'\n"
            "    → add localhost to 'Server domains' under Options, Web UI, or set QBITTORRENT_HOST"
            " to qBittorrent's own address"
        ]
        assert check(**way_to(server), QBITTORRENT_HOST="127.0.0.1") == []
    added = '"example.com;localhost"'
    with qbittorrent(qbittorrent_version, tmp_path, server_domains=added) as server:
        assert check(**way_to(server), QBITTORRENT_HOST="localhost") == []


def test_a_port_that_is_published_under_another_number(
    qbittorrent_version: str, check: Check, tmp_path: Path
) -> None:
    known = {"QBITTORRENT_HOST": "localhost"}
    with qbittorrent(qbittorrent_version, tmp_path) as server:
        with Proxy(server.port, keep_host=True) as published:
            [said] = check(**way_to(server) | known | {"QBITTORRENT_PORT": published.port})
        assert "→ the port in QBITTORRENT_PORT must be the one that qBittorrent itself" in said
        assert check(**way_to(server) | known) == []


@pytest.fixture
def behind_nginx(tmp_path: Path, certificate: Certificate) -> BehindNginx:
    """Puts servers behind a proxy, each under its path; it may redirect to HTTPS."""

    def make(targets: dict[str, int], redirect_status: int = 0) -> Nginx:
        redirect = (redirect_status, certificate) if redirect_status else None
        try:
            return Nginx(tmp_path, under(targets), redirect)
        except PartMissing as missing:
            missing_part(f"no real nginx: {missing}")

    return make


@ONE_VERSION
@pytest.mark.parametrize("status", [301, 302, 308])
def test_a_proxy_that_redirects_to_https(
    status: int,
    qbittorrent_version: str,
    behind_nginx: BehindNginx,
    check: Check,
    tmp_path: Path,
) -> None:
    known: dict[str, str | int] = {"QBITTORRENT_HOST": "127.0.0.1"}
    with (
        qbittorrent(qbittorrent_version, tmp_path) as server,
        behind_nginx({"": server.port}, status) as proxy,
    ):
        known |= way_to(server) | {"QBITTORRENT_PORT": proxy.port}
        address = f"https://127.0.0.1:{proxy.https_port}"
        assert check(**known) == [
            f"qBittorrent at 127.0.0.1:{proxy.port} answered with status {status}\n"
            f"    → it redirects to HTTPS: set QBITTORRENT_HOST={address}"
        ]
        del known["QBITTORRENT_PORT"]
        known["QBITTORRENT_HOST"] = address
        assert check(**known) == []


def test_a_web_ui_that_a_proxy_has_under_a_path(
    qbittorrent_version: str, behind_nginx: BehindNginx, check: Check, tmp_path: Path
) -> None:
    with (
        qbittorrent(qbittorrent_version, tmp_path) as server,
        behind_nginx({"/apps/qbittorrent": server.port}) as proxy,
    ):
        known = way_to(server) | {"QBITTORRENT_HOST": "127.0.0.1", "QBITTORRENT_PORT": proxy.port}
        [said] = check(**known)
        assert said == (
            f"qBittorrent at 127.0.0.1:{proxy.port} answered with status 404\n"
            "    → check that QBITTORRENT_HOST, QBITTORRENT_PORT and, behind a reverse proxy, "
            "QBITTORRENT_PATH lead to the right server"
        )
        assert check(**known, QBITTORRENT_PATH="/apps/qbittorrent") == []


@ONE_VERSION
def test_a_certificate_with_a_common_name_alone(
    qbittorrent_version: str, certificate_for: Issue, check: Check, tmp_path: Path
) -> None:
    known: dict[str, str | int] = {"QBITTORRENT_HOST": "localhost", "QBITTORRENT_HTTPS": "true"}
    for names, wrong in (("", 1), ("subjectAltName=DNS:localhost", 0)):
        made = certificate_for("localhost", names)
        of_it = {"certificate": made.file, "certificate_key": made.key}
        with qbittorrent(qbittorrent_version, tmp_path, **of_it) as server:
            trusted = {"QBITTORRENT_CA_FILE": str(made.file)}
            said = check(**known, **way_to(server), **trusted)
        assert len(said) == wrong
        assert all("it names no subjectAltName" in each for each in said)
