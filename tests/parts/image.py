"""Builds the container image of this project and runs it, where no container engine is needed.

buildah's chroot isolation gives a container its own files and user, but the network and the
processes of this machine: servers of a test are at 127.0.0.1 for it. The base is a stand-in for the
official Python image (see get-python-base). Needs root.
"""

import ast
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.parts import debian

UNDER_TEST = "localhost/qsticky-under-test"
COMMITTED_AT = 1_700_000_000
REVISION = "0123456789abcdef0123456789abcdef01234567"
BASE = "localhost/python-stand-in"
BASE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CERTIFICATES = Path("/etc/ssl/certs")
CONTEXT = (
    *("Dockerfile", ".dockerignore", "Makefile", "LICENSE", "README.md", "pyproject.toml"),
    *("requirements.txt", "requirements-build.txt", "exporter"),
)
"""What the image is made from."""
BUILD_SECONDS = 600.0
RUN_SECONDS = 60.0


class BuildFailed(Exception):
    """buildah answered with an error; the message is what it printed."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command in a container ended."""

    exit_code: int
    output: str
    errors: str


class Container:
    """A container's files: what one command wrote, the next one finds."""

    def __init__(self, buildah: "Buildah", name: str, config: Mapping[str, Any]) -> None:
        self._buildah = buildah
        self._name = name
        self.config = config
        self.root = Path(buildah("mount", name))

    def start(self, *arguments: str, user: str = "", **environment: str) -> Finished:
        """Run what the image starts, as `docker run IMAGE ARGUMENTS` does."""
        command = [*self.config["Entrypoint"], *(arguments or self.config["Cmd"] or [])]
        return self.execute(*command, user=user, **environment)

    def execute(self, *command: str, user: str = "", **environment: str) -> Finished:
        """Run a command beside it, as `docker exec` does."""
        flags = [f"--env={name}={value}" for name, value in environment.items()]
        if user:
            flags.append(f"--user={user}")
        done = subprocess.run(
            self._buildah.command("run", "--isolation=chroot", *flags, self._name, "--", *command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)


class Buildah:
    """buildah with a storage folder of its own, so that nothing else on the machine changes."""

    def __init__(self, storage: Path) -> None:
        self._storage = storage

    def command(self, *arguments: str) -> list[str]:
        """The words of a buildah command."""
        places = [f"--root={self._storage / 'root'}", f"--runroot={self._storage / 'run'}"]
        return ["buildah", "--storage-driver=vfs", *places, *arguments]

    def __call__(self, verb: str, *arguments: str) -> str:
        """Run buildah and return what it printed."""
        done = subprocess.run(
            self.command(verb, *arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise BuildFailed(f"buildah {verb} failed:\n{done.stdout}\n{done.stderr}")
        return done.stdout.strip()

    def import_base(self, rootfs: Path) -> None:
        """Make an image of a packed root file system, where it isn't there yet."""
        if self("images", "--quiet", "--filter", f"reference={BASE}"):
            return
        container = self("from", "scratch")
        try:
            self("add", "--quiet", container, str(rootfs), "/")
            self("config", f"--env=PATH={BASE_PATH}", "--cmd=python3", container)
            self("commit", "--quiet", "--format=docker", container, BASE)
        finally:
            self("rm", container)

    def make(self, context: Path, image: str) -> None:
        """Run `make image` in a folder, on the stand-in base, as if for a certain commit."""
        with pip_mounts() as mounts:
            flags = ["--isolation=chroot", "--pull-never", "--format=docker"]
            flags += [f"--volume={source}:{target}:ro" for source, target in mounts]
            values = {
                "DOCKER": shlex.join(self.command()),
                "IMAGE_FLAGS": shlex.join(flags),
                "IMAGE": image,
                "BASE": BASE,
                "SOURCE_DATE_EPOCH": str(COMMITTED_AT),
                "REVISION": REVISION,
            }
            given = [f"{name}={value}" for name, value in values.items()]
            done = subprocess.run(
                ["make", f"--directory={context}", "image", *given],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=BUILD_SECONDS,
                check=False,
                # without what an outer make says to its own children
                env={name: value for name, value in os.environ.items() if "MAKE" not in name},
            )
        if done.returncode != 0:
            raise BuildFailed(f"make image failed:\n{done.stdout}\n{done.stderr}")

    @contextmanager
    def pushed(self, image: str) -> Iterator[list[Path]]:
        """The layers of an image as a registry would get them, packed, the base's first."""
        with tempfile.TemporaryDirectory(dir=self._storage) as folder:
            self("push", "--quiet", image, f"oci:{folder}:image")
            blobs = Path(folder) / "blobs" / "sha256"
            index = json.loads((Path(folder) / "index.json").read_text())
            digest = index["manifests"][0]["digest"].removeprefix("sha256:")
            layers = json.loads((blobs / digest).read_text())["layers"]
            yield [blobs / layer["digest"].removeprefix("sha256:") for layer in layers]

    @contextmanager
    def container(self, image: str) -> Iterator[Container]:
        """A container of that image; its files are gone afterwards."""
        name = self("from", "--pull-never", image)
        try:
            yield Container(self, name, self.inspect(image)["config"])
        finally:
            self("rm", name)

    def inspect(self, image: str) -> dict[str, Any]:
        """What the image says of itself, in Docker's words."""
        docker: dict[str, Any] = json.loads(self("inspect", "--type=image", image))["Docker"]
        return docker


@contextmanager
def pip_mounts() -> Iterator[list[tuple[Path, Path]]]:
    """How pip reaches its index from here (index, proxy, certificates), as mounts for a build."""
    settings = pip_settings()
    certificates = {CERTIFICATES, Path(settings.get("cert", CERTIFICATES))}
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as configuration:
        lines = [f"{name} = {value}" for name, value in settings.items()]
        configuration.write("\n".join(["[global]", *lines, ""]))
        configuration.flush()
        mounts = [(place, place) for place in certificates if place.exists()]
        yield [*mounts, (Path(configuration.name), Path("/etc/pip.conf"))]


def pip_settings() -> dict[str, str]:
    """pip's own settings on this machine, from its files and its PIP_ variables."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    settings = {}
    for line in listed.stdout.splitlines():
        place, _, value = line.partition("=")
        settings[place.rpartition(".")[2]] = str(ast.literal_eval(value))
    settings.pop("find-links", None)  # folders of this machine, not of the build
    return settings


def copied_context(target: Path, source: Path = debian.REPOSITORY) -> Path:
    """What the image is made from, in a folder of its own; the copies have the time of now."""
    target.mkdir()
    for name in CONTEXT:
        if (source / name).is_dir():
            byte_code = shutil.ignore_patterns("__pycache__")
            shutil.copytree(
                source / name, target / name, ignore=byte_code, copy_function=shutil.copy
            )
        else:
            shutil.copy(source / name, target / name)
    return target


def buildah() -> Buildah:
    """buildah with the stand-in base in its storage; PartMissing where that can't be had."""
    if os.geteuid() != 0:
        raise debian.PartMissing("building the image needs root")
    if shutil.which("buildah") is None:
        raise debian.PartMissing("buildah is missing; apt install buildah")
    base = debian.run_script("get-python-base", "python-base").parent
    storage = debian.cache() / "image"
    storage.mkdir(parents=True, exist_ok=True)
    built = Buildah(storage)
    built.import_base(base / "rootfs.tar")
    return built
