"""What is in the container image, and which commands it takes; built by `make image`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import exporter
from tests.parts.daemon import ROOT
from tests.parts.docker import BASE, IMAGE, REVISION, DockerFailed, Engine, copied_context

OWN_LAYER_AT_MOST = 35e6
LEFT_OUT_AT_LEAST = 5e6
# as the images of the existing tool were started, and as people started them
OLD_COMMANDS = (
    ("python", "-m", "qsticky"),
    ("python3", "-m", "qsticky"),
    ("python", "qsticky.py"),
    ("python", "/app/qsticky.py"),
    ("sh", "-c", 'sleep 0 && exec python -m qsticky "$@"', "sh"),
)


@pytest.fixture
def once(engine: Engine) -> Callable[..., str]:
    """Run a command in a new container, to its end."""
    return lambda *words: engine("run", "--rm", "--network=none", *words)


def test_starts_the_daemon_or_the_command_that_is_given(once: Callable[..., str]) -> None:
    with pytest.raises(DockerFailed, match="QBITTORRENT_PORT"):
        once("--env=QBITTORRENT_PORT=abc", IMAGE)
    with pytest.raises(DockerFailed, match="status"):
        once(IMAGE, "qsticky", "healthcheck")  # before the first check


@pytest.mark.parametrize("command", OLD_COMMANDS, ids=" ".join)
def test_takes_the_commands_of_the_image_before_it(
    command: tuple[str, ...], once: Callable[..., str]
) -> None:
    said = f"qsticky {exporter.__version__}\n"
    assert once(IMAGE, *command, "version") == said
    program, *words = command
    assert once(f"--entrypoint={program}", IMAGE, *words, "version") == said


# prints each module of ours and of its libraries without byte code, or with such that holds a time
PRINT_UNCOMPILED = """
import os, pkgutil, sys, exporter
ours = [m.name for m in pkgutil.walk_packages(exporter.__path__, "exporter.")]
[__import__(name) for name in ours]
caches = {m: getattr(sys.modules[m], "__cached__", None) or "" for m in sorted(sys.modules)}
# PEP 552: 1 says that there is a hash instead of the time of the source, and nobody checks it
good = lambda file: os.path.exists(file) and open(file, "rb").read(8)[4:] == b"\\1\\0\\0\\0"
print([name for name, file in caches.items() if file and not good(file)], len(caches) > 200)
"""


def test_everything_it_imports_is_compiled_already(once: Callable[..., str]) -> None:
    printed = once("--entrypoint=python3", IMAGE, "-c", PRINT_UNCOMPILED)
    assert printed == "[] True\n"


PRINT_PACKAGES = """
import importlib.metadata as m, json, os, sysconfig
place = sysconfig.get_paths()["purelib"]
print(json.dumps({each.name: each.version for each in m.distributions(path=[place])}))
"""


def test_holds_the_locked_packages_and_the_files_of_the_pages(once: Callable[..., str]) -> None:
    held = json.loads(once("--entrypoint=python3", IMAGE, "-c", PRINT_PACKAGES))
    found = {canonicalize_name(name): version for name, version in held.items()}
    assert found == {**locked_for_linux(), "qsticky": exporter.__version__}

    listing = ("sh", "-c", "cd /opt/qsticky/lib/python3*/site-packages && find exporter -type f")
    packed = set(once("--entrypoint=", IMAGE, *listing).splitlines())
    assert {file for file in packed if not file.endswith(".pyc")} == {
        str(file.relative_to(ROOT))
        for file in (ROOT / "exporter").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def locked_for_linux() -> dict[str, str]:
    """Return the packages of requirements.txt with their versions, without other systems' ones."""
    linux = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    wishes = [Requirement(line.rstrip(" \\")) for line in lines if line[:1].isalpha()]
    return {
        canonicalize_name(wish.name): str(wish.specifier).removeprefix("==")
        for wish in wishes
        if wish.marker is None or wish.marker.evaluate(dict(linux))
    }


def inspected(engine: Engine, image: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(engine("image", "inspect", image))[0]
    return said


def test_says_where_it_comes_from(engine: Engine) -> None:
    labels = inspected(engine, IMAGE)["Config"]["Labels"]

    prefix = "org.opencontainers.image."
    assert labels.keys() == {
        f"{prefix}{name}"
        for name in (
            *("title", "description", "licenses", "url", "source", "documentation"),
            *("version", "revision", "created"),
        )
    }
    assert labels[f"{prefix}version"] == exporter.__version__
    assert labels[f"{prefix}revision"] == REVISION
    assert labels[f"{prefix}created"] == "2023-11-14T22:13:20Z"


def test_is_the_same_to_the_bit_when_it_is_made_again_elsewhere(
    engine: Engine, image_context: Path, tmp_path: Path
) -> None:
    """Python's part too: it is not downloaded again with a release on the same base."""
    again = copied_context(tmp_path / "elsewhere", image_context)  # at another time
    for file in again.rglob("*.py"):
        file.chmod(0o600)  # with another umask
    engine.make_image(again, f"{IMAGE}-again")
    engine.make_image(again, f"{IMAGE}-by-another-builder", buildkit=False)

    first, second, third = (
        inspected(engine, image)["RootFS"]["Layers"]
        for image in (IMAGE, f"{IMAGE}-again", f"{IMAGE}-by-another-builder")
    )

    assert first == second
    # Docker's older builder leaves files of its own, such as /.dockerenv, in Python's part
    assert first[1] == third[1]


def test_is_small_and_holds_nothing_to_install_with(
    engine: Engine, show: Callable[[str], None]
) -> None:
    image, base = (inspected(engine, name)["Size"] for name in (IMAGE, BASE))
    own = int(engine("run", "--rm", IMAGE, "du", "-sb", "/opt/qsticky").split()[0])
    show(
        f"image: {image / 1e6:.1f} MB, {own / 1e6:.1f} MB of them in the layer of each release; "
        f"its base: {base / 1e6:.1f} MB"
    )
    assert own < OWN_LAYER_AT_MOST
    assert image - own < base - LEFT_OUT_AT_LEAST
    for module in ("pip", "ensurepip", "idlelib", "pydoc_data"):
        assert "No module named" in engine(
            "run",
            "--rm",
            IMAGE,
            "/opt/qsticky/bin/python3",
            "-c",
            f"import {module}",
            ignore_errors=True,
        )
