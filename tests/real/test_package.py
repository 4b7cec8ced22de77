"""What goes to PyPI: what is in it, and that it runs when installed into an empty environment."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from trove_classifiers import classifiers

from exporter import HOME, __version__
from exporter.simulator.world import World
from tests.conftest import missing_part
from tests.parts.daemon import ROOT, way_to

NAME = f"qsticky-{__version__}"
PROGRAM = {
    str(file.relative_to(ROOT))
    for file in (ROOT / "exporter").rglob("*")
    if file.is_file() and "__pycache__" not in file.parts
}
BESIDE = {".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
"""Hatchling always adds .gitignore and PKG-INFO."""

Command = list[str | Path]
Qsticky = Callable[..., subprocess.CompletedProcess[str]]


def run(*command: str | Path, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload,no-any-return]  # options of subprocess
        command, check=False, capture_output=True, text=True, **more
    )


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the source archive of this checkout, and the wheel built from it."""
    folder = tmp_path_factory.mktemp("dist")
    build: Command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT]
    twine: Command = [sys.executable, "-m", "twine", "--no-color", "check", "--strict"]
    for command in (build, [*twine, folder / f"{NAME}.tar.gz", wheel(folder)]):
        done = run(*command)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def wheel(folder: Path) -> Path:
    return folder / f"{NAME}-py3-none-any.whl"


def test_both_files_hold_the_program_with_its_pages_and_nothing_else(distribution: Path) -> None:
    with zipfile.ZipFile(wheel(distribution)) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
        license_text = archive.read(f"{NAME}.dist-info/licenses/LICENSE")
    with tarfile.open(distribution / f"{NAME}.tar.gz") as source:
        members = {each.name.removeprefix(f"{NAME}/") for each in source if each.isfile()}

    assert packed == PROGRAM
    assert "exporter/py.typed" in packed
    assert members == PROGRAM | BESIDE
    assert license_text == (ROOT / "LICENSE").read_bytes()


def test_the_page_on_pypi_leads_into_this_version(distribution: Path) -> None:
    with zipfile.ZipFile(wheel(distribution)) as archive:
        text = archive.read(f"{NAME}.dist-info/METADATA").decode()
    head, _, page = text.partition("\n\n")

    assert set(re.findall(r"^Classifier: (.*)$", head, re.M)) <= set(classifiers)
    for place in re.findall(r"\]\((.*?)\)", page):
        assert place.startswith(("https://", "http://")), place
    ours = re.findall(rf"\]\({HOME}/blob/v{re.escape(__version__)}/([^)#]*)", page)
    assert "docs/configuration.md" in ours
    assert [path for path in ours if not (ROOT / path).exists()] == []


@pytest.fixture(scope="module")
def environment(distribution: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new virtual environment with the locked dependencies and the wheel."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip: Command = [
        folder / "bin" / "python",
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "-q",
    ]
    brought = run(*pip, "--require-hashes", "--requirement", ROOT / "requirements.txt")
    if brought.returncode != 0:
        missing_part(f"pip can't bring the dependencies: {brought.stderr}")
    installed = run(*pip, "--no-deps", "--no-index", wheel(distribution))
    assert installed.returncode == 0, installed.stderr
    return folder


@pytest.fixture
def qsticky(environment: Path, tmp_path: Path) -> Qsticky:
    """Runs a program of the environment with nothing but it, away from the checkout."""

    def started(program: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environ = {"HEALTH_FILE": str(tmp_path / "status.json"), "PATH": os.defpath, **variables}
        return run(environment / "bin" / program, *words, cwd=tmp_path, env=environ)

    return started


@pytest.mark.parametrize(
    "command", [["qsticky", "--version"], ["python", "-m", "exporter", "version"]], ids=" ".join
)
def test_the_installed_command_tells_the_version_of_the_package(
    command: list[str], qsticky: Qsticky
) -> None:
    ended = qsticky(*command)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"qsticky {__version__}\n", "")


def test_nothing_is_missing_from_the_lock(qsticky: Qsticky) -> None:
    checked = qsticky("python", "-m", "pip", "check")
    assert (checked.returncode, checked.stdout) == (0, "No broken requirements found.\n")


def test_the_installed_command_sets_the_port_and_is_healthy_then(qsticky: Qsticky) -> None:
    with World() as world:
        world.gluetun.change_port(40_123)
        servers = way_to(world.gluetun, world.qbittorrent, "simulated-key")
        assert qsticky("qsticky", "healthcheck").returncode == 1
        once = qsticky("qsticky", "once", **servers)
        assert (once.returncode, once.stderr) == (0, "")
        assert world.qbittorrent.listening_port == 40_123
    assert qsticky("qsticky", "healthcheck").returncode == 0
