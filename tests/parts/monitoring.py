"""Brings and starts real Prometheus and Alertmanager servers of several Debian releases."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any, NamedTuple, Self, TypeVar

import pytest

from tests.parts import debian
from tests.parts.qbittorrent import free_port

T = TypeVar("T")

SUITES = {"2.42": "bookworm", "2.53": "trixie", "3.5": "sid"}
"""Prometheus' version in each Debian suite that we try; the Alertmanager there is of that time."""

VERSIONS = tuple(SUITES)
NEWEST = VERSIONS[-1]

TEMPLATES = Path("/usr/share/prometheus/alertmanager")

START_SECONDS = 30.0
STOP_SECONDS = 5.0


def promtool(version: str = NEWEST) -> Path:
    """Prometheus' checker of that version; or PartMissing."""
    return _program(version, "promtool")


def amtool(version: str = NEWEST) -> Path:
    """The checker of the Alertmanager that goes with that Prometheus; or PartMissing."""
    return _program(version, "amtool")


def or_skip(bring: Callable[[], T]) -> T:
    """Bring a part; a missing one fails in CI, elsewhere it skips."""
    try:
        return bring()
    except debian.PartMissing as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))


def run(program: Path, *arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a checker to its end; its output is in stdout, that of stderr too."""
    return subprocess.run(
        [program, *arguments],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
        # a checker ends soon: collecting its garbage costs a quarter of its time
        env={**os.environ, "GOGC": "800"},
    )


def _program(version: str, name: str) -> Path:
    suite = SUITES[version]
    # bookworm's promtool is part of the server's package
    checker = () if suite == "bookworm" else ("promtool",)
    return (
        debian.bring(
            f"monitoring-{suite}", suite, "prometheus", *checker, "prometheus-alertmanager"
        )
        / name
    )


class Server:
    """A server on a loopback port of its own; a context manager that leaves no process behind."""

    program = ""

    def __init__(self, directory: Path, config: str, version: str = NEWEST) -> None:
        self.directory = directory
        self.port = free_port()
        self.config = directory / f"{self.program}.yml"
        self.config.write_text(config)
        self._program = _program(version, self.program)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The server's address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        with (self.directory / f"{self.program}.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*self.wrapper(), self._program, *self.arguments()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
            )
        wait_until(self._ready, f"{self.program} to be ready", START_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def arguments(self) -> list[str]:
        """The command line, without the program."""
        raise NotImplementedError

    def wrapper(self) -> list[str]:
        """What the program has to be started by."""
        return []

    def get(self, path: str, **parameters: str | float) -> Any:
        """The JSON that the server answers."""
        with urllib.request.urlopen(
            f"{self.url}{path}?{urllib.parse.urlencode(parameters)}", timeout=30
        ) as answer:
            return json.load(answer)

    def _ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            log = (self.directory / f"{self.program}.log").read_text(errors="replace")
            raise RuntimeError(f"{self.program} ended: {log[-1000:]}")
        try:
            urllib.request.urlopen(f"{self.url}/-/ready", timeout=5).close()
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False
        return True


class Series(NamedTuple):
    """One line of a query's result."""

    labels: Mapping[str, str]
    value: float


class RealPrometheus(Server):
    """A Prometheus with its data in the directory."""

    program = "prometheus"

    def arguments(self) -> list[str]:
        """Run on what is in the directory only."""
        return [
            f"--config.file={self.config}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--web.enable-lifecycle",
        ]

    def query(self, expression: str, at: float | None = None) -> list[Series]:
        """What the expression gives now, or at a Unix time."""
        when = {} if at is None else {"time": at}
        answer = self.get("/api/v1/query", query=expression, **when)
        assert answer["data"]["resultType"] == "vector", answer
        return [Series(one["metric"], float(one["value"][1])) for one in answer["data"]["result"]]

    def alerts(self) -> set[tuple[str, str]]:
        """The alerts that are not quiet: name and state."""
        found = self.get("/api/v1/alerts")["data"]["alerts"]
        return {(alert["labels"]["alertname"], alert["state"]) for alert in found}


class RealAlertmanager(Server):
    """An Alertmanager that talks to no other."""

    program = "prometheus-alertmanager"

    def arguments(self) -> list[str]:
        """Run on what is in the directory only."""
        return [
            f"--config.file={self.config}",
            f"--storage.path={self.directory / 'alertmanager'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
        ]

    def wrapper(self) -> list[str]:
        """Let it find its templates, which Debian's build expects in one fixed folder."""
        if TEMPLATES.exists():
            return []
        ours = self._program.parent.parent / "root" / TEMPLATES.relative_to("/")
        # an empty /usr/share with just that folder, for this process only
        place = f"mkdir -p {TEMPLATES.parent} && ln -s '{ours}' {TEMPLATES}"
        script = f'mount -t tmpfs none /usr/share && {place} && exec "$@"'
        return ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh"]


class WebhookReceiver:
    """Takes what an Alertmanager sends to a webhook; wait for `notifications`."""

    def __init__(self) -> None:
        self.notifications: Queue[dict[str, Any]] = Queue()
        arrived = self.notifications

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                arrived.put(json.loads(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                """Stay quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def wait_until(happened: Callable[[], object], what: str, seconds: float) -> None:
    """Ask another process again and again until it says yes; it can't call us."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.05)
