"""The container image: built by `make image` and run by a real Docker Engine, as people run it."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import exporter
from tests.parts.daemon import ROOT, wait_until
from tests.parts.docker import IMAGE, REVISION, DockerFailed, Engine, copied_context

API_KEY = "YOUR_API_KEY"
PASSWORD = "YOUR_PASSWORD"
SECRETS = ("wireguard_private_key", "gluetun_config.toml", "gluetun_apikey", "qbittorrent_pass")
PORT = 45720
STOP_SECONDS = 5.0
OWN_LAYER_AT_MOST = 35e6

# word for word as in people's compose files
OLD_HEALTH_CHECK = (
    "python3",
    "-c",
    "import json; exit(0 if json.load(open('/app/health/status.json'))['healthy'] else 1)",
)
GREP_HEALTH_CHECKS = (
    "grep -q '\"healthy\": true' /app/health/status.json",
    "cat $HEALTH_FILE | grep -q '\"healthy\": true' || exit 1",
)
# as the images of the existing tool were started, and as people started them
OLD_COMMANDS = (
    ("python", "-m", "qsticky"),
    ("python3", "-m", "qsticky"),
    ("python", "qsticky.py"),
    ("python", "/app/qsticky.py"),
    ("sh", "-c", 'sleep 0 && exec python -m qsticky "$@"', "sh"),
)
OLD_SERVICE = """
environment:
  QBITTORRENT_HOST: gluetun
  QBITTORRENT_HTTPS: false
  QBITTORRENT_PORT: 8080
  QBITTORRENT_USER: admin
  QBITTORRENT_PASS: YOUR_PASSWORD
  GLUETUN_HOST: gluetun
  GLUETUN_AUTH_TYPE: apikey
  GLUETUN_APIKEY: YOUR_API_KEY
  LOG_LEVEL: INFO
"""

# stands in for Gluetun with a qBittorrent behind it
SERVERS = f"""
import threading
from exporter.simulator.world import Role, SimulatedGluetun, SimulatedQbittorrent
role = Role(auth="apikey", apikey={API_KEY!r}, routes=ROUTES)
anywhere = {{"host": "0.0.0.0", "port": 8000}}
gluetun = SimulatedGluetun("GENERATION", role=role, forwarded_port={PORT}, **anywhere)
with gluetun, SimulatedQbittorrent(password={PASSWORD!r}, host="0.0.0.0", port=8080):
    threading.Event().wait()
"""
OLD_ROUTES = ("GET /v1/openvpn/portforwarded", "GET /v1/openvpn/status")
NEW_ROUTES = ("GET /v1/portforward", "GET /v1/vpn/status", "GET /v1/publicip/ip")

# with what a test needs to be otherwise
OVERRIDE = """
services:
  gluetun:
    image: qsticky-under-test
    cap_add: !reset []
    devices: !reset []
    environment: !reset []
    entrypoint: [python3, /servers.py]
    volumes: !override ["./servers.py:/servers.py:ro"]
    ports: !reset []
    secrets: !reset []
    healthcheck:
      test: [CMD, python3, -c, "import socket; socket.create_connection(('127.0.0.1', 8080))"]
      interval: 300ms
      start_period: 0s
    stop_grace_period: 0s
  qsticky:
    depends_on: {gluetun: {condition: service_healthy}}
    image: qsticky-under-test
    build: !reset null
    ports: !reset []
    healthcheck: {interval: 1s, start_period: 0s}
"""


@dataclass(frozen=True)
class Project:
    """What `docker compose up` starts in a folder."""

    engine: Engine
    folder: Path
    routes: tuple[str, ...] = field(default=NEW_ROUTES)

    def up(self, service: Mapping[str, Any] | None = None, **more: Any) -> None:
        """Start our compose file; where given, with somebody else's qSticky in it."""
        document = yaml.safe_load((ROOT / "compose.yaml").read_text())
        if service is not None:
            document["services"]["qsticky"] = {"container_name": "qsticky", **service}
        document["services"]["qsticky"] |= more
        (self.folder / "compose.yaml").write_text(yaml.safe_dump(document))
        (self.folder / "override.yaml").write_text(OVERRIDE)
        old = self.routes == OLD_ROUTES
        servers = SERVERS.replace("ROUTES", str(self.routes))
        servers = servers.replace("GENERATION", "3.40" if old else "3.41")
        (self.folder / "servers.py").write_text(servers)
        self._write_secrets()
        self.compose("up", "--detach", "--no-build", "--pull=never", "gluetun", "qsticky")

    def compose(self, *words: str) -> None:
        """Run `docker compose …` here."""
        files = [f"--file={self.folder / name}.yaml" for name in ("compose", "override")]
        self.engine.run(self.engine.compose, *files, *words)

    def execute(self, *command: str) -> bool:
        """Run a command beside qSticky; whether it ended well."""
        try:
            self.engine("exec", "qsticky", *command)
        except DockerFailed:
            return False
        return True

    def logs(self) -> str:
        """Return what qSticky said."""
        return self.engine("logs", "qsticky")

    def state(self) -> dict[str, Any]:
        """Return what Docker knows of qSticky's container."""
        said: dict[str, Any] = json.loads(
            self.engine("inspect", "--format={{json .State}}", "qsticky")
        )
        return said

    def is_healthy(self) -> bool:
        """Return what Docker's own health check found last."""
        return bool(self.state()["Health"]["Status"] == "healthy")

    def _write_secrets(self) -> None:
        folder = self.folder / "secrets"
        folder.mkdir(exist_ok=True)
        for name in SECRETS:
            (folder / name).write_text(PASSWORD if "pass" in name else API_KEY)


@pytest.fixture
def project(engine: Engine, tmp_path: Path) -> Iterator[Project]:
    project = Project(engine, tmp_path)
    yield project
    project.compose("down", "--volumes", "--timeout=1")


def from_readme() -> dict[str, Any]:
    """Return qSticky in the compose file to paste."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(services:.*?)```", text, re.DOTALL)
    service: dict[str, Any] = yaml.safe_load(block)["services"]["qsticky"]
    return service


def does_its_job(project: Project) -> None:
    """Set the port, say so to everybody, and end when asked to."""
    wait_until(project.is_healthy, f"Docker calls it healthy: {project.logs()}")
    assert f"Successfully updated port to {PORT}" in project.logs()
    assert project.execute("qsticky", "healthcheck")
    assert project.execute(*OLD_HEALTH_CHECK)
    for line in GREP_HEALTH_CHECKS:
        assert project.execute("sh", "-c", line)

    started = time.monotonic()
    project.engine("stop", "--time=10", "qsticky")
    assert time.monotonic() - started < STOP_SECONDS
    assert project.state()["ExitCode"] == 0
    assert re.findall(".*(?:WARNING|ERROR|Traceback).*", project.logs()) == []


@pytest.mark.parametrize("user", ["", "4711:4711", "0:0", "65534:100"])
def test_does_its_job_with_every_lock_of_our_compose_file_as_any_user(
    user: str, project: Project
) -> None:
    more: dict[str, Any] = {"user": user} if user else {}
    project.up(**more)

    wait_until(project.is_healthy, "the status file is written")
    owner = project.engine("exec", "qsticky", "stat", "--format=%u:%g", "/app/health/status.json")
    assert owner.strip() == (user or "1000:1000")
    does_its_job(project)


def test_does_its_job_with_the_compose_file_of_the_readme(project: Project) -> None:
    project.up(from_readme())
    does_its_job(project)


def test_does_its_job_with_the_compose_file_that_people_have(
    engine: Engine, project: Project
) -> None:
    old = Project(engine, project.folder, OLD_ROUTES)
    old.up(yaml.safe_load(OLD_SERVICE))
    does_its_job(old)


def test_the_user_may_change_while_the_volume_stays(project: Project) -> None:
    project.up()
    wait_until(project.is_healthy, "the first user has written the status file")
    project.up(user="4711:0")
    assert project.state()["Health"]["Status"] == "starting"
    wait_until(project.is_healthy, "another user has replaced it")


def test_writes_nothing_but_the_status_file(project: Project) -> None:
    project.up(user="0:0", read_only=False, volumes=[])
    wait_until(project.is_healthy, "it is healthy")

    changed = project.engine("diff", "qsticky").splitlines()

    ours = {line for line in changed if not line.startswith("C") and "/run" not in line}
    assert ours == {"A /app/health/status.json"}


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
    again = copied_context(tmp_path / "elsewhere", image_context)  # at another time
    for file in again.rglob("*.py"):
        file.chmod(0o600)  # with another umask
    engine.make_image(again, f"{IMAGE}-again")

    first, second = inspected(engine, IMAGE), inspected(engine, f"{IMAGE}-again")

    assert first["RootFS"] == second["RootFS"]


def test_its_own_layer_is_small(engine: Engine, show: Callable[[str], None]) -> None:
    sizes = engine("history", "--human=false", "--format={{.Size}}", IMAGE).split()
    own, *_ = [int(size) for size in sizes if size != "0"]
    show(f"image: {own / 1e6:.1f} MB on its base")
    assert own < OWN_LAYER_AT_MOST
