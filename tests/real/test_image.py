"""The container image: really built by `make image`, and really run."""

import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import exporter
from exporter.simulator.world import Role, SimulatedGluetun, SimulatedQbittorrent
from tests.parts import image

IMAGE = image.UNDER_TEST
IMAGE_AGAIN = "localhost/qsticky-made-again"
EXIT_CONFIGURATION = 2

# the health check in the compose file of the existing qSticky, word for word
OLD_HEALTH_CHECK = (
    "import json; exit(0 if json.load(open('/app/health/status.json'))['healthy'] else 1)"
)

# prints each loaded module whose byte code is not in the image
PRINT_UNCOMPILED = """
import os, sys, exporter.cli, exporter.daemon.loop, exporter.tunnel.tunnel
cached = {name: getattr(module, "__cached__", None) for name, module in sys.modules.items()}
print([name for name, place in cached.items() if place and not os.path.exists(place)])
"""

# nobody listens on port 1, so each read ends at once
NOBODY_THERE = {
    "GLUETUN_HOST": "127.0.0.1",
    "GLUETUN_PORT": "1",
    "QBITTORRENT_HOST": "127.0.0.1",
    "QBITTORRENT_PORT": "1",
    "WEB_LISTEN_ADDRESS": "",
}


@dataclass(frozen=True, slots=True)
class File:
    """All that a layer says of a file."""

    mode: int
    owner: tuple[int, int]
    modified: float
    link: str
    digest: str


@dataclass(frozen=True, slots=True)
class Contents:
    """The compressed size of each layer in bytes, and each file of the layers on the base's."""

    sizes: list[int]
    own: dict[str, File]


@pytest.fixture(scope="module")
def contents(buildah: image.Buildah) -> Contents:
    return contents_of(buildah, IMAGE)


def contents_of(tool: image.Buildah, name: str) -> Contents:
    with tool.pushed(name) as layers:
        own = {name: file for layer in layers[1:] for name, file in files_in(layer)}
        return Contents([layer.stat().st_size for layer in layers], own)


def files_in(layer: Path) -> Iterator[tuple[str, File]]:
    with tarfile.open(layer) as archive:
        for each in archive:
            content = archive.extractfile(each) if each.isfile() else None
            digest = hashlib.sha256(content.read()).hexdigest() if content else ""
            owner = (each.uid, each.gid)
            yield each.name, File(each.mode, owner, each.mtime, each.linkname, digest)


@pytest.fixture(scope="module")
def used_container(buildah: image.Buildah) -> Iterator[image.Container]:
    with buildah.container(IMAGE) as container:
        yield container


@pytest.fixture
def container(used_container: image.Container) -> image.Container:
    """A container without a status file; a new one for each test would take seconds."""
    for left_over in (used_container.root / "app/health").iterdir():
        left_over.unlink()
    return used_container


def test_runs_as_an_ordinary_user(container: image.Container) -> None:
    done = container.execute("python3", "-c", "import os; print(os.getuid(), os.getgid())")

    assert done.output == "1000 1000\n"


def test_takes_commands_as_the_program_does(container: image.Container) -> None:
    done = container.start("version")

    assert done.exit_code == 0
    assert exporter.__version__ in done.output


def test_the_program_is_on_the_path_beside_python(container: image.Container) -> None:
    done = container.execute("sh", "-c", "command -v python3; command -v qsticky")

    assert done.output.split() == ["/opt/qsticky/bin/python3", "/opt/qsticky/bin/qsticky"]


def test_a_mistake_in_the_configuration_ends_it_with_exit_code_2(
    container: image.Container,
) -> None:
    done = container.start("once", CHECK_INTERVAL="abc")

    assert done.exit_code == EXIT_CONFIGURATION
    assert "CHECK_INTERVAL" in done.errors


def test_both_health_checks_fail_before_the_first_cycle(
    buildah: image.Buildah, container: image.Container
) -> None:
    _, *new = buildah.inspect(IMAGE)["config"]["Healthcheck"]["Test"]

    assert new == ["qsticky", "healthcheck"]
    assert container.execute(*new).exit_code == 1
    assert container.execute("python3", "-c", OLD_HEALTH_CHECK).exit_code == 1


def test_sets_the_port_and_satisfies_both_health_checks(container: image.Container) -> None:
    with (
        SimulatedGluetun(role=Role(auth="apikey", apikey="a-key"), forwarded_port=45720) as gluetun,
        SimulatedQbittorrent(listening_port=54219) as qbittorrent,
    ):
        done = container.start(
            "once",
            GLUETUN_HOST=gluetun.host,
            GLUETUN_PORT=str(gluetun.port),
            GLUETUN_AUTH_TYPE="apikey",
            GLUETUN_APIKEY="a-key",
            QBITTORRENT_HOST=qbittorrent.host,
            QBITTORRENT_PORT=str(qbittorrent.port),
            QBITTORRENT_USER=qbittorrent.username,
            QBITTORRENT_PASS=qbittorrent.password,
        )
        bound = qbittorrent.bound_ports

    assert done.exit_code == 0, done.output + done.errors
    assert bound == {45720}
    assert container.execute("qsticky", "healthcheck").exit_code == 0
    assert container.execute("python3", "-c", OLD_HEALTH_CHECK).exit_code == 0


def test_a_status_file_can_be_replaced_by_another_user(container: image.Container) -> None:
    status = container.root / "app/health/status.json"

    container.start("once", **NOBODY_THERE)
    assert (status.stat().st_uid, status.stat().st_gid) == (1000, 1000)
    container.start("once", user="4711:0", **NOBODY_THERE)
    assert (status.stat().st_uid, status.stat().st_gid) == (4711, 0)


def test_everything_it_imports_is_compiled_already(container: image.Container) -> None:
    assert container.execute("python3", "-c", PRINT_UNCOMPILED).output == "[]\n"


def test_writes_nothing_but_the_status_file(container: image.Container) -> None:
    before = set(container.root.rglob("*"))

    container.start("once", user="0:0", **NOBODY_THERE)

    written = set(container.root.rglob("*")) - before
    assert {str(place.relative_to(container.root)) for place in written} == {
        "app/health/status.json"
    }


def test_holds_no_pip_in_its_environment(container: image.Container) -> None:
    assert container.execute("python3", "-c", "import pip").exit_code == 1


def test_its_own_layer_is_small(contents: Contents, capsys: pytest.CaptureFixture[str]) -> None:
    base, *own = contents.sizes

    with capsys.disabled():
        size = f"{sum(own) / 1e6:.1f} MB on a base of {base / 1e6:.1f} MB, compressed"
        print(f"\nimage: {size}")  # noqa: T201  # a figure for the log of CI
    assert sum(own) < 12_000_000


def test_says_where_it_comes_from(buildah: image.Buildah) -> None:
    labels = buildah.inspect(IMAGE)["config"]["Labels"]
    prefix = "org.opencontainers.image."

    said = {name.removeprefix(prefix): labels[name] for name in labels if name.startswith(prefix)}

    assert said == {
        "title": "qSticky",
        "description": (
            "Keeps qBittorrent's listening port equal to the port that Gluetun's VPN forwards"
        ),
        "licenses": "MIT",
        "url": exporter.HOME,
        "source": exporter.HOME,
        "documentation": f"{exporter.HOME}/blob/main/docs/README.md",
        "version": exporter.__version__,
        "revision": image.REVISION,
        "created": "2023-11-14T22:13:20Z",
    }


def test_every_file_of_ours_has_the_time_of_the_commit(contents: Contents) -> None:
    assert len(contents.own) > 500
    assert {file.modified for file in contents.own.values()} == {image.COMMITTED_AT}


def test_the_byte_code_holds_no_times(container: image.Container) -> None:
    compiled = list(container.root.rglob("opt/qsticky/**/*.pyc"))

    # PEP 552: 1 says that there is a hash instead of the time of the source, and nobody checks it
    assert {file.read_bytes()[4:8] for file in compiled} == {b"\x01\0\0\0"}
    assert len(compiled) > 300


def test_is_the_same_to_the_bit_when_it_is_made_again(
    buildah: image.Buildah, image_context: Path, contents: Contents, tmp_path: Path
) -> None:
    again = image.copied_context(tmp_path / "elsewhere", image_context)  # at another time
    for file in again.rglob("*.py"):
        file.chmod(0o600)  # with another umask
    buildah.make(again, IMAGE_AGAIN)
    try:
        first, second = description(buildah, IMAGE), description(buildah, IMAGE_AGAIN)
        if first != second:  # say in which file
            assert contents_of(buildah, IMAGE_AGAIN).own == contents.own
        assert first == second
    finally:
        buildah("rmi", IMAGE_AGAIN)


def description(tool: image.Buildah, name: str) -> dict[str, Any]:
    """All that the image says of itself, with the digest of each layer."""
    said = tool.inspect(name)
    # buildah 1.28 writes down in which container it worked, and that has a random name
    del said["container"]
    for config in (said["config"], said["container_config"]):
        del config["Hostname"]
    return said
