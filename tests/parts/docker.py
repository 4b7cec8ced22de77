"""A Docker Engine of the tests' own, of which nothing stays; needs root and Debian's docker.io.

It has processes, mounts and a network of its own, as a machine has: ports may be published that
are taken here, and all of it ends with the engine's first process. Nothing is pulled: a stand-in
for the official Python image (see get-python-base) holds what pip installs.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

from tests.parts import debian

IMAGE = "qsticky-under-test"
BASE = "python-stand-in"
IMPORTED = f"{BASE}-without-wheels"
PLUGINS = ("docker-compose", "docker-buildx")
COMMITTED_AT = 1_700_000_000
REVISION = "0123456789abcdef0123456789abcdef01234567"
CONTROL_GROUPS = Path("/sys/fs/cgroup")
START_SECONDS = 30.0
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
        absent = [name for name in ("dockerd", "docker", "curl") if shutil.which(name) is None]
        if absent:
            raise debian.PartMissing(f"{', '.join(absent)} missing; apt install docker.io curl")
        if os.geteuid() != 0:
            raise debian.PartMissing("a Docker Engine of the tests' own needs root")
        self._rootfs = debian.run_script("get-python-base", "python-base").parent / "rootfs.tar"
        self._plugins = debian.bring("docker-sid", "sid", *PLUGINS)
        # the path of a socket has room for 107 letters
        self.folder = Path(tempfile.mkdtemp(prefix="qsticky-docker-"))
        self.environ = {
            **{name: value for name, value in os.environ.items() if "MAKE" not in name},
            "DOCKER_HOST": f"unix://{self.folder / 'docker.sock'}",
            "DOCKER_CONFIG": str(self.folder / "config"),
            "DOCKER_BUILDKIT": "1",
        }

    def __enter__(self) -> Self:
        (self.folder / "daemon.json").write_text("{}")  # instead of the machine's own
        (self.folder / "data").mkdir()
        plugins = self.folder / "config" / "cli-plugins"
        plugins.mkdir(parents=True)
        for name in PLUGINS:
            (plugins / name).write_text(f'#!/bin/sh\nexec "{self._plugins / name}" "$@"\n')
            (plugins / name).chmod(0o755)
        with (self.folder / "log").open("w") as log:
            self._parent = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # nothing outlives the first process of a PID namespace, and its parent waits for that
        if self._parent.poll() is None:
            os.kill(self._pid(), signal.SIGKILL)
            self._parent.wait()
        for group in sorted(self._control_groups(), reverse=True):  # the inner ones first
            group.rmdir()
        shutil.rmtree(self.folder)

    def __call__(self, *words: str | Path, ignore_errors: bool = False) -> str:
        """Run `docker …`; return what it printed."""
        return self.run("docker", *words, ignore_errors=ignore_errors)

    def fetch(self, url: str, *options: str) -> str:
        """Ask a published port from the machine on which the engine runs."""
        return self.inside("curl", "--silent", "--show-error", "--fail", *options, url)

    def inside(self, *words: str) -> str:
        """Run a command in the engine's network and among its processes."""
        return self.run("nsenter", f"--target={self._pid()}", "--net", "--pid", *words)

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

    def import_base(self) -> None:
        """Make the stand-in for the official Python image."""
        path = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        changes = ["--change", path, "--change", 'CMD ["python3"]']
        self("import", *changes, self._rootfs, IMPORTED)
        context = self.folder / "base"
        download_wheels(context / "wheels")
        self.build(
            BASE,
            f"FROM {IMPORTED}\nENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels\nCOPY wheels /wheels\n",
            context,
        )

    def build(self, image: str, dockerfile: str, context: Path) -> None:
        """Build an image by the lines of a Dockerfile."""
        file = self.folder / "Dockerfile"
        file.write_text(dockerfile)
        self("build", "--quiet", "--network=none", f"--tag={image}", f"--file={file}", context)

    def make_image(self, context: Path, image: str, *, buildkit: bool = True) -> None:
        """Run `make image` in a copied context, as if for a certain commit."""
        values = {
            "DOCKER": "docker",
            "IMAGE_FLAGS": "--network=none --no-cache",
            "IMAGE": image,
            "SOURCE_DATE_EPOCH": str(COMMITTED_AT),
            "REVISION": REVISION,
        }
        given = [f"{name}={value}" for name, value in values.items()]
        builder = ("env", f"DOCKER_BUILDKIT={buildkit:d}")
        self.run(*builder, "make", f"--directory={context}", "image", *given)

    def _command(self) -> list[str]:
        data = self.folder / "data"  # in memory: faster, and gone with the rest
        return [
            *("setpriv", "--pdeathsig=KILL"),  # it ends with a test run that is killed
            *("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"),
            *("sh", "-c", f'ip link set lo up && mount -t tmpfs none {data} && exec "$@"', "sh"),
            "dockerd",
            f"--config-file={self.folder / 'daemon.json'}",
            f"--data-root={data}",
            f"--exec-root={self.folder / 'exec'}",
            f"--pidfile={self.folder / 'pid'}",
            f"--host={self.environ['DOCKER_HOST']}",
            "--exec-opt=native.cgroupdriver=cgroupfs",
            f"--cgroup-parent={self.folder.name}",
        ]

    def _pid(self) -> int:
        parent = self._parent.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text()
        return int(children or parent)

    def _control_groups(self) -> list[Path]:
        # version 1 has a tree for each controller
        tops = CONTROL_GROUPS.rglob(self.folder.name)
        return [group for top in tops for group in (top, *top.rglob("*/"))]

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while "Server Version" not in self("info", ignore_errors=True):
            if self._parent.poll() is not None or time.monotonic() > deadline:
                last = (self.folder / "log").read_text()[-500:]
                raise debian.PartMissing(f"dockerd does not start here: {last}")
            time.sleep(0.1)


def download_wheels(folder: Path) -> None:
    """Let pip bring what the image's build installs, by the locks, as it does on this machine."""
    locks = [
        f"--requirement={debian.REPOSITORY / name}"
        for name in CONTEXT
        if name.startswith("requirements")
    ]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes"]
    wheels = ["--only-binary=:all:", "--python-version=3.13"]
    subprocess.run([*command, *wheels, f"--dest={folder}", *locks], check=True)


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
