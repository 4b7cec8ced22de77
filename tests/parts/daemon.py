"""Starts the real qSticky as a process and waits for what it says."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from tests.parts.debian import PartMissing

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0
STOP_SECONDS = 5.0


class QstickyProcess:
    """`python -m exporter` with an environment of its own; a context manager."""

    def __init__(
        self,
        environ: Mapping[str, str],
        folder: Path,
        command: Sequence[str] = (),
        *,
        prefix: Sequence[str] = (),
    ) -> None:
        self.health_file = folder / "status.json"
        self.environ = {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": str(ROOT),
            "HEALTH_FILE": str(self.health_file),
            "WEB_LISTEN_ADDRESS": "",
            **environ,
        }
        self.lines: list[str] = []
        self._arguments = [*prefix, sys.executable, "-m", "exporter", *command]
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """End it without a warning, as the kernel does when memory is short."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        if self.process.stdout:
            self.process.stdout.close()

    def start(self) -> None:
        """Start, and collect what it prints."""
        self.process = subprocess.Popen(
            self._arguments,
            env=self.environ,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, text: str) -> str:
        """Wait for a line that holds the text, among those not waited for yet."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                line = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no line with {text!r} in:\n{self.output}") from None
            if line is None:
                raise AssertionError(f"it ended without a line with {text!r}:\n{self.output}")
            if text in line:
                return line

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; returns the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end and for all that it prints; return the exit code."""
        code = self.process.wait(PATIENCE)
        self._reader.join()
        return code

    @property
    def output(self) -> str:
        """All that it printed."""
        return "".join(self.lines)

    @property
    def status(self) -> dict[str, Any]:
        """What status.json says."""
        document: dict[str, Any] = json.loads(self.health_file.read_bytes())
        return document

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line)
            self._queue.put(line)
        self._queue.put(None)


class Server(Protocol):
    """A Gluetun or a qBittorrent, real or simulated."""

    host: str
    port: int


class Client(Server, Protocol):
    """A qBittorrent."""

    @property
    def password(self) -> str: ...


def way_to(gluetun: Server, qbittorrent: Client, key: str = "") -> dict[str, str]:
    """Return the variables that lead to both servers; without a key Gluetun asks for none."""
    return {
        "GLUETUN_HOST": gluetun.host,
        "GLUETUN_PORT": str(gluetun.port),
        **({"GLUETUN_APIKEY": key} if key else {"GLUETUN_AUTH_TYPE": "none"}),
        "QBITTORRENT_HOST": qbittorrent.host,
        "QBITTORRENT_PORT": str(qbittorrent.port),
        "QBITTORRENT_PASS": qbittorrent.password,
    }


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process cleanly, by force where that takes too long."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that announces itself in no other way."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE:.0f} s in vain until {what}"
        time.sleep(0.01)


def clock_off_by(seconds: float) -> dict[str, str]:
    """Return the variables for a process whose system clock is so far ahead."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        raise PartMissing("libfaketime, from Debian's package faketime")
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": f"{seconds:+.0f}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def listens(port: int) -> bool:
    """Whether a TCP socket listens on the port, without connecting to it."""
    for name in ("tcp", "tcp6"):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            _, local, _, state = line.split()[:4]
            if state == "0A" and int(local.rpartition(":")[2], 16) == port:
                return True
    return False
