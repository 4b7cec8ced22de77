"""What several folders of tests share: the real parts and a certificate."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.parts import qbittorrent
from tests.parts.debian import PartMissing


def missing_part(reason: str) -> NoReturn:
    """A missing part fails in CI; elsewhere it skips, saying why."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must bring every part: {reason}")
    pytest.skip(reason)


_figures: list[str] = []


@pytest.fixture(scope="session")
def show() -> Callable[[str], None]:
    """Puts a figure into pytest's summary, whether the test passes or not."""
    return _figures.append


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Send figures along with a report: pytest-xdist runs tests in other processes."""
    report.user_properties += [("figure", figure) for figure in _figures]
    _figures.clear()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print all figures."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, text in getattr(report, "user_properties", ()):
                if name == "figure":
                    terminalreporter.write_line(text)


@pytest.fixture(scope="session", params=qbittorrent.VERSIONS)
def qbittorrent_version(request: pytest.FixtureRequest) -> str:
    """Each of the real qBittorrents, brought here first; runs the test once for each."""
    version = str(request.param)
    try:
        qbittorrent.launcher(version)
    except PartMissing as error:
        missing_part(f"no real qBittorrent {version}: {error}")
    return version


@pytest.fixture(scope="session")
def qbittorrent_binaries() -> dict[str, Path]:
    """The launchers of all real qBittorrents, by version."""
    try:
        return {version: qbittorrent.launcher(version) for version in qbittorrent.VERSIONS}
    except PartMissing as error:
        missing_part(f"a real qBittorrent is missing: {error}")


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for localhost and 127.0.0.1; it is its own authority."""

    file: Path
    key: Path


Issue = Callable[[str, str], Certificate]


@pytest.fixture(scope="session")
def certificate_for(tmp_path_factory: pytest.TempPathFactory) -> Issue:
    """Makes a self-signed certificate for a common name, with an extension or none."""
    if shutil.which("openssl") is None:
        missing_part("the program openssl makes the certificate, and is missing")

    def make(name: str, extension: str) -> Certificate:
        folder = tmp_path_factory.mktemp("certificate")
        made = Certificate(folder / "certificate.pem", folder / "key.pem")
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        command += ["-subj", f"/CN={name}", *(["-addext", extension] if extension else [])]
        command += ["-keyout", str(made.key), "-out", str(made.file)]
        subprocess.run(command, check=True, capture_output=True)
        return made

    return make


@pytest.fixture(scope="session")
def certificate(certificate_for: Issue) -> Certificate:
    return certificate_for("localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1")
