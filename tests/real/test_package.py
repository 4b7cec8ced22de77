"""What goes to PyPI: what is in it, what its page shows, and that it runs when installed."""

import email.message
import email.parser
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from trove_classifiers import classifiers

from exporter import HOME, __version__
from exporter.simulator.world import World
from tests.conftest import missing_part
from tests.parts.daemon import ROOT

NAME = f"qsticky-{__version__}"
PROGRAM = {f"exporter/{file.name}" for file in (ROOT / "exporter").iterdir() if file.is_file()}
INFO = {
    f"{NAME}.dist-info/{name}"
    for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
}
BESIDE = {".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
"""Hatchling always adds .gitignore and PKG-INFO."""

Qsticky = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Distribution:
    """The two files, as `python -m build` writes them."""

    wheel: Path
    source: Path

    @property
    def metadata(self) -> email.message.Message:
        """What PyPI shows beside the page and in it."""
        with zipfile.ZipFile(self.wheel) as archive:
            text = archive.read(f"{NAME}.dist-info/METADATA").decode()
        return email.parser.Parser().parsestr(text)


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Distribution:
    """The source archive of this checkout, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, check=False, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return Distribution(folder / f"{NAME}-py3-none-any.whl", folder / f"{NAME}.tar.gz")


# What is in it


def test_the_two_files_are_right_by_twine(distribution: Distribution) -> None:
    files = [str(distribution.wheel), str(distribution.source)]
    command = [sys.executable, "-m", "twine", "--no-color", "check", "--strict", *files]
    checked = subprocess.run(command, check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count("PASSED") == 2


def test_the_wheel_holds_the_program_and_nothing_else(distribution: Distribution) -> None:
    with zipfile.ZipFile(distribution.wheel) as archive:
        names = set(archive.namelist())
    assert names == PROGRAM | INFO
    assert "exporter/py.typed" in names


def test_the_source_archive_holds_what_the_wheel_is_built_from(distribution: Distribution) -> None:
    with tarfile.open(distribution.source) as archive:
        names = {member.name.removeprefix(f"{NAME}/") for member in archive if member.isfile()}
    assert names == PROGRAM | BESIDE


def test_the_license_and_the_program_are_those_of_the_checkout(distribution: Distribution) -> None:
    with zipfile.ZipFile(distribution.wheel) as archive:
        license_text = archive.read(f"{NAME}.dist-info/licenses/LICENSE")
        for name in PROGRAM:
            assert archive.read(name) == (ROOT / name).read_bytes()
    assert license_text == (ROOT / "LICENSE").read_bytes()


# What PyPI shows


def test_the_metadata_says_what_people_search_and_tools_need(distribution: Distribution) -> None:
    metadata = distribution.metadata
    assert (metadata["Name"], metadata["Version"]) == ("qsticky", __version__)
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "gluetun" in metadata["Keywords"].split(",")
    urls = dict(url.split(", ") for url in metadata.get_all("Project-URL", []))
    assert urls == {
        "Homepage": HOME,
        "Documentation": f"{HOME}/blob/main/docs/README.md",
        "Issues": f"{HOME}/issues",
        "Changelog": f"{HOME}/blob/main/CHANGELOG.md",
    }


def test_every_classifier_is_one_that_pypi_knows(distribution: Distribution) -> None:
    given = distribution.metadata.get_all("Classifier", [])
    assert "Typing :: Typed" in given
    assert set(given) <= set(classifiers)


def test_the_pictures_and_links_of_the_page_lead_into_this_version(
    distribution: Distribution,
) -> None:
    page = distribution.metadata.get_payload()
    assert isinstance(page, str)
    tokens = [t for block in MarkdownIt().parse(page) for t in block.children or []]
    links = [str(t.attrs["href"]) for t in tokens if t.type == "link_open"]
    pictures = [str(t.attrs["src"]) for t in tokens if t.type == "image"]

    files = f"{HOME}/blob/v{__version__}/"
    raw = f"https://raw.githubusercontent.com/qsticky/qsticky/v{__version__}/"
    assert [link for link in links if not re.match("https?:", link)] == []
    assert [picture for picture in pictures if not picture.startswith(raw)] == []
    ours = [link.removeprefix(files) for link in links if link.startswith(files)]
    ours += [picture.removeprefix(raw) for picture in pictures]
    assert "docs/configuration.md" in ours
    assert [path for path in ours if not (ROOT / path.partition("#")[0]).exists()] == []


# Installed into an empty environment


@pytest.fixture(scope="module")
def environment(distribution: Distribution, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new virtual environment with the locked dependencies and the wheel."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    lock = [
        "install",
        "--quiet",
        "--require-hashes",
        "--requirement",
        str(ROOT / "requirements.txt"),
    ]
    brought = subprocess.run([*pip, *lock], check=False, capture_output=True, text=True)
    if brought.returncode != 0:
        missing_part(f"pip can't bring the dependencies: {brought.stderr}")
    wheel = ["install", "--quiet", "--no-deps", "--no-index", str(distribution.wheel)]
    subprocess.run([*pip, *wheel], check=True)
    return folder


@pytest.fixture
def qsticky(environment: Path, tmp_path: Path) -> Qsticky:
    """Runs a program of the environment with nothing but it, away from the checkout."""

    def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(environment / "bin" / command[0]), *command[1:]],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={"HEALTH_FILE": str(tmp_path / "status.json"), "PATH": os.defpath, **variables},
        )

    return run


@pytest.mark.parametrize(
    "command",
    [
        ["qsticky", "--version"],
        ["qsticky", "version"],
        ["python", "-m", "exporter", "--version"],
        ["python", "-m", "exporter", "version"],
    ],
    ids=" ".join,
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
        servers = {
            "GLUETUN_HOST": world.gluetun.host,
            "GLUETUN_PORT": str(world.gluetun.port),
            "GLUETUN_APIKEY": "simulated-key",
            "QBITTORRENT_HOST": world.qbittorrent.host,
            "QBITTORRENT_PORT": str(world.qbittorrent.port),
            "QBITTORRENT_PASS": world.qbittorrent.password,
        }
        before = qsticky("qsticky", "healthcheck")
        once = qsticky("qsticky", "once", **servers)
        after = qsticky("qsticky", "healthcheck")
        checked = qsticky("qsticky", "check", **servers)
        port = world.qbittorrent.listening_port

    assert before.returncode == 1
    assert (once.returncode, once.stderr, port) == (0, "", 40_123)
    assert (after.returncode, after.stdout) == (0, "healthy: in_sync\n")
    assert checked.returncode == 0, checked.stdout


def test_a_type_checker_finds_the_types_of_the_installed_package(
    environment: Path, tmp_path: Path
) -> None:
    (tmp_path / "uses.py").write_text(
        "from exporter.model import SyncState\nreveal_type(SyncState.IN_SYNC.value)\n"
    )
    python = str(environment / "bin" / "python")
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "uses.py"]
    checked = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert 'Revealed type is "str"' in checked.stdout or "Literal['in_sync']" in checked.stdout
    assert checked.returncode == 0, checked.stdout
