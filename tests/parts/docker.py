"""A Docker Engine of the tests' own, in a folder of its own; needs root and Debian's docker.io.

Its base image is a stand-in for the official Python image (see get-python-base), so that no
registry is needed; pip reaches its index from a build as it does from this machine.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

from tests.parts import debian

IMAGE = "qsticky-under-test"
BASE = "python-stand-in"
IMPORTED = f"{BASE}-without-settings"
COMMITTED_AT = 1_700_000_000
REVISION = "0123456789abcdef0123456789abcdef01234567"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
START_SECONDS = 30.0
STOP_SECONDS = 20.0
COMMAND_SECONDS = 600.0
CONTEXT = (
    *("Dockerfile", ".dockerignore", "Makefile", "LICENSE", "README.md", "pyproject.toml"),
    *("requirements.txt", "requirements-build.txt", "exporter"),
)
"""What the image is made from."""


class DockerFailed(Exception):
    """A command ended with an error; the message is what it printed."""


class Engine:
    """A dockerd that shares nothing with another one on this machine; a context manager."""

    def __init__(self) -> None:
        absent = [name for name in ("dockerd", "docker") if shutil.which(name) is None]
        if absent:
            raise debian.PartMissing(f"{', '.join(absent)} missing; apt install docker.io")
        if os.geteuid() != 0:
            raise debian.PartMissing("a Docker Engine of the tests' own needs root")
        self.rootfs = debian.run_script("get-python-base", "python-base").parent / "rootfs.tar"
        self.compose = debian.bring("compose-sid", "sid", "docker-compose") / "docker-compose"
        # the path of a socket has room for 107 letters
        self.folder = Path(tempfile.mkdtemp(prefix="qsticky-docker-"))
        self.socket = self.folder / "docker.sock"
        self.environ = {
            **{name: value for name, value in os.environ.items() if "MAKE" not in name},
            "DOCKER_HOST": f"unix://{self.socket}",
            "DOCKER_BUILDKIT": "0",  # the engine of Debian 12 has no other builder
        }

    def __enter__(self) -> Self:
        (self.folder / "daemon.json").write_text("{}")  # instead of the machine's own
        with (self.folder / "log").open("w") as log:
            self._daemon = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._wait_until_ready()
            self._import_base()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._daemon.terminate()
        try:
            self._daemon.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._daemon.kill()
            self._daemon.wait()
        for mount in sorted(_mounts_below(self.folder), reverse=True):
            subprocess.run(["umount", mount], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __call__(self, *words: str | Path, ignore_errors: bool = False) -> str:
        """Run `docker …`; return what it printed."""
        return self.run("docker", *words, ignore_errors=ignore_errors)

    def run(self, *words: str | Path, ignore_errors: bool = False) -> str:
        """Run a command that talks to this engine; return what it printed, errors too."""
        done = subprocess.run(
            words,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        if done.returncode and not ignore_errors:
            raise DockerFailed(f"{' '.join(map(str, words))}\n{done.stdout}")
        return done.stdout

    def make_image(self, context: Path, image: str) -> None:
        """Run `make image` in a copied context, as if for a certain commit."""
        values = {
            "DOCKER": "docker",
            "IMAGE_FLAGS": "--network=host --no-cache",
            "IMAGE": image,
            "SOURCE_DATE_EPOCH": str(COMMITTED_AT),
            "REVISION": REVISION,
        }
        given = [f"{name}={value}" for name, value in values.items()]
        self.run("make", f"--directory={context}", "image", *given)

    def _command(self) -> list[str]:
        # the network of all machines (a bridge with NAT) stays as it is
        network = ["--bridge=none", "--iptables=false", "--ip6tables=false"]
        return [
            *("setpriv", "--pdeathsig=TERM"),  # it ends with a test run that is killed
            "dockerd",
            f"--config-file={self.folder / 'daemon.json'}",
            f"--data-root={self.folder / 'data'}",
            f"--exec-root={self.folder / 'exec'}",
            f"--pidfile={self.folder / 'pid'}",
            f"--host=unix://{self.socket}",
            f"--containerd-namespace={self.folder.name}",
            f"--containerd-plugins-namespace={self.folder.name}-plugins",
            *network,
        ]

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while "Server Version" not in self("info", ignore_errors=True):
            if self._daemon.poll() is not None or time.monotonic() > deadline:
                last = (self.folder / "log").read_text()[-500:]
                raise debian.PartMissing(f"dockerd does not start here: {last}")
            time.sleep(0.1)

    def _import_base(self) -> None:
        path = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        changes = ["--change", path, "--change", 'CMD ["python3"]']
        self("import", *changes, self.rootfs, IMPORTED)
        with tempfile.TemporaryDirectory() as folder:
            context = Path(folder)
            (context / "pip.conf").write_text(pip_settings())
            shutil.copy(CERTIFICATES, context)
            (context / "Dockerfile").write_text(
                f"FROM {IMPORTED}\nCOPY pip.conf /etc/\nCOPY {CERTIFICATES.name} /etc/ssl/certs/\n"
            )
            self("build", "--quiet", f"--tag={BASE}", context)


def pip_settings() -> str:
    """Return a pip.conf with pip's own settings on this machine (index, proxy, certificates)."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)
    settings = {}
    for line in listed.stdout.splitlines():
        place, _, value = line.partition("=")
        settings[place.rpartition(".")[2]] = str(ast.literal_eval(value))
    settings.pop("find-links", None)  # folders of this machine, not of the build
    if "cert" in settings:
        settings["cert"] = str(CERTIFICATES)
    return "".join(["[global]\n", *(f"{name} = {value}\n" for name, value in settings.items())])


def copied_context(target: Path, source: Path = debian.REPOSITORY) -> Path:
    """Copy what the image is made from, with our stand-in as its base; at the time of now."""
    target.mkdir()
    byte_code = shutil.ignore_patterns("__pycache__")
    for name in CONTEXT:
        if (source / name).is_dir():
            shutil.copytree(
                source / name, target / name, ignore=byte_code, copy_function=shutil.copy
            )
        else:
            shutil.copy(source / name, target / name)
    dockerfile = target / "Dockerfile"
    official = re.compile("^FROM python:.*", re.MULTILINE)
    dockerfile.write_text(official.sub(f"FROM {BASE} AS base", dockerfile.read_text(), count=1))
    return target


def _mounts_below(folder: Path) -> list[str]:
    places = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return [place for place in places if place.startswith(f"{folder}/")]
