"""Brings and starts a real Prometheus and a real Alertmanager."""

import datetime
import json
import os
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from tests.parts import debian
from tests.parts.daemon import end, wait_until
from tests.parts.qbittorrent import free_port

SUITE = "sid"
"""Debian's Prometheus 3.5, which compose.yaml names too, and the Alertmanager of that time."""

TEMPLATES = Path("/usr/share/prometheus/alertmanager")


def promtool() -> Path:
    """Return Prometheus' checker; or raise PartMissing."""
    return _program("promtool")


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


def _program(name: str) -> Path:
    packages = ("prometheus", "promtool", "prometheus-alertmanager")
    return debian.bring(f"monitoring-{SUITE}", SUITE, *packages) / name


class Server:
    """A server on a loopback port of its own; a context manager that leaves no process behind."""

    program = ""

    def __init__(self, directory: Path, config: str) -> None:
        self.directory = directory
        self.port = free_port()
        self.config = directory / f"{self.program}.yml"
        self.config.write_text(config)
        self._program = _program(self.program)
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
        wait_until(self._ready, f"{self.program} is ready")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        end(self._process)

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


class RealPrometheus(Server):
    """A Prometheus with its data in the directory."""

    program = "prometheus"

    def arguments(self) -> list[str]:
        """Run on what is in the directory only."""
        return [
            f"--config.file={self.config}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]

    def query(self, expression: str) -> list[Any]:
        """Return the series that the expression gives now."""
        found: list[Any] = self.get("/api/v1/query", query=expression)["data"]["result"]
        return found


class RealAlertmanager(Server):
    """An Alertmanager that talks to no other."""

    program = "prometheus-alertmanager"

    def send(self, alerts: Iterable[Mapping[str, str]], *, ended: bool = False) -> None:
        """Say that alerts of these labels fire, or ended, as Prometheus does."""
        end = {"endsAt": datetime.datetime.now(datetime.UTC).isoformat()} if ended else {}
        body = json.dumps([{"labels": dict(labels), **end} for labels in alerts]).encode()
        head = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/api/v2/alerts", body, head)
        urllib.request.urlopen(request, timeout=30).close()

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
