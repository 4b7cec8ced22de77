"""Runs a program in the files of a container as a container engine with every lock on would.

For `read_only: true`, `cap_drop: [ALL]`, `security_opt: [no-new-privileges:true]` and a `user:`,
where no container engine can be had: a namespace of mounts and one of processes, the files mounted
read-only but for the volume, no capability, not even one to gain. Secrets and the names of hosts
are mounted as Docker does it. The network is that of the caller. Needs root.
"""

import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Self

from tests.parts.image import Container, Finished

VOLUME = "app/health"
PATIENCE = 30.0

# The process that the kernel starts first in the new namespace becomes the program: like the first
# process of a container, it gets only those signals that it asked for.
_CONFINE = """
root=$1 target=$2 given=$3 uid=$4 gid=$5 folder=$6; shift 6
mount --bind "$root" "$target"
mount -o remount,bind,ro "$target"
mount --bind "$root/app/health" "$target/app/health"
mount --bind "$given/hosts" "$target/etc/hosts"
mount --bind "$given/secrets" "$target/run/secrets"
mount -o remount,bind,ro "$target/run/secrets"
mount -t proc -o nosuid,nodev,noexec proc "$target/proc"
exec chroot "$target" setpriv --reuid="$uid" --regid="$gid" --clear-groups --no-new-privs \
  --inh-caps=-all --ambient-caps=-all --bounding-set=-all -- env --chdir="$folder" -i "$@"
"""


@dataclass(frozen=True)
class Confinement:
    """How a container is started, in the words of a compose file."""

    container: Container
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)
    user: str = ""

    def run(self, *command: str) -> Finished:
        """Run a command to its end, as `docker exec` does."""
        with self._started(*command) as process:
            output, errors = process.communicate(timeout=PATIENCE)
        return Finished(process.returncode, output, errors)

    @contextmanager
    def service(self, *arguments: str) -> Iterator["Service"]:
        """What the image starts by default, as long as the context is open."""
        command = [*self.container.config["Entrypoint"], *(self.container.config["Cmd"] or [])]
        words = (*command, *arguments)
        with (
            self._started(*words, errors=subprocess.STDOUT) as process,
            Service(process) as service,
        ):
            yield service

    @contextmanager
    def _started(
        self, *command: str, errors: int = subprocess.PIPE
    ) -> Iterator[subprocess.Popen[str]]:
        with tempfile.TemporaryDirectory() as folder:
            given = Path(folder)
            (given / "target").mkdir()
            self._give(given)
            process = subprocess.Popen(
                self._words(given, command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
            with process:
                try:
                    yield process
                finally:
                    kill(process)

    def _give(self, given: Path) -> None:
        names = {"localhost": "127.0.0.1", **self.hosts}
        (given / "hosts").write_text("".join(f"{at}\t{name}\n" for name, at in names.items()))
        (given / "secrets").mkdir()
        for name, value in self.secrets.items():
            (given / "secrets" / name).write_text(value)
        for folder in (given, given / "target"):
            folder.chmod(0o755)
        # Docker makes the places of mounts, too
        (self.container.root / "run/secrets").mkdir(exist_ok=True)
        (self.container.root / "etc/hosts").touch()

    def _words(self, given: Path, command: tuple[str, ...]) -> list[str]:
        config = self.container.config
        uid, _, gid = (self.user or config["User"]).partition(":")
        return [
            *("unshare", "--mount", "--propagation=private", "--pid", "--fork"),
            *("sh", "-euc", _CONFINE, "sh", str(self.container.root), str(given / "target")),
            *(str(given), uid, gid or "0", config["WorkingDir"]),
            *(*config["Env"], *(f"{name}={value}" for name, value in self.environment.items())),
            *command,
        ]


class Service:
    """A process that goes on, what it says, and how it ends."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: list[str] = []
        self._unread: SimpleQueue[str | None] = SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        kill(self._process)
        self._reader.join()

    def wait_for(self, text: str) -> str:
        """Wait for a line that holds the text, among those not waited for yet."""
        while True:
            try:
                line = self._unread.get(timeout=PATIENCE)
            except Empty:
                line = None
            if line is None:
                raise AssertionError(f"no line with {text!r} in:\n{self.output}")
            if text in line:
                return line

    @property
    def output(self) -> str:
        """All that it said."""
        return "".join(self._lines)

    def stop(self, seconds: float) -> int:
        """Send SIGTERM, as `docker stop` does; its exit code, or an error after that time."""
        (program,) = children(self._process)
        os.kill(program, signal.SIGTERM)
        code = self._process.wait(seconds)
        self._reader.join()
        return code

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.append(line)
            self._unread.put(line)
        self._unread.put(None)


def children(process: subprocess.Popen[str]) -> list[int]:
    """The processes that it started itself."""
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(number) for number in listed.read_text().split()]


def kill(process: subprocess.Popen[str]) -> None:
    """End a namespace and all in it: its first process can't ask to die with its parent."""
    if process.poll() is None:
        for number in (*children(process), process.pid):
            os.kill(number, signal.SIGKILL)
        process.wait()
