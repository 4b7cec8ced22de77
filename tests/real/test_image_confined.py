"""The image with every lock on, started as compose files start it, beside Gluetun and qBittorrent.

The container's network holds what a compose file makes: both servers on their own ports, under the
name that the container knows them by.
"""

import json
import re
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import yaml

from exporter.simulator.world import Generation, Role, SimulatedGluetun, SimulatedQbittorrent
from tests.conftest import missing_part
from tests.parts import debian, image
from tests.parts.confined import Confinement
from tests.parts.namespace import NamespaceMissing, in_namespace

IMAGE = "localhost/qsticky-confined"
ROOT = debian.REPOSITORY
GLUETUN = "127.0.3.1"
API_KEY = "a-key"
PASSWORD = "a-password"
FORWARDED_PORT = 45720
LISTENS = f'qsticky_qbittorrent_listen_port{{tunnel="default"}} {FORWARDED_PORT}\n'
STOP_SECONDS = 5.0
NEW_HEALTH_CHECK = ("qsticky", "healthcheck")

# word for word as in the compose file of the existing qSticky
OLD_HEALTH_CHECK = (
    "python3",
    "-c",
    "import json; exit(0 if json.load(open('/app/health/status.json'))['healthy'] else 1)",
)
OLD_SERVICE = """
environment:
  # qbittorrent settings
  QBITTORRENT_HOST: gluetun
  QBITTORRENT_HTTPS: false
  QBITTORRENT_PORT: 8080
  QBITTORRENT_USER: admin
  QBITTORRENT_PASS: 'YOURPASS'
  # gluetun settings
  GLUETUN_HOST: gluetun
  GLUETUN_AUTH_TYPE: apikey
  GLUETUN_APIKEY: 'YOURAPIKEY'
  # qSticky settings
  LOG_LEVEL: INFO
"""
OLD_ROUTES = ("GET /v1/openvpn/portforwarded", "GET /v1/openvpn/status")
NEW_ROUTES = ("GET /v1/portforward", "GET /v1/vpn/status", "GET /v1/publicip/ip")


@dataclass(frozen=True)
class Start:
    """What a compose file gives to the container."""

    environment: Mapping[str, str]
    secrets: Mapping[str, str] = field(default_factory=dict)
    routes: tuple[str, ...] = NEW_ROUTES


def from_compose_file() -> Start:
    """compose.yaml, with its own defaults and with the secrets that it asks for."""
    text = re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", (ROOT / "compose.yaml").read_text())
    service = yaml.safe_load(text)["services"]["qsticky"]
    files = {"gluetun_apikey": f"{API_KEY}\n", "qbittorrent_pass": PASSWORD}
    return Start(written(service), {name: files[name] for name in service["secrets"]})


def from_readme() -> Start:
    """The compose file to paste, with its words in capitals replaced."""
    (block,) = re.findall(
        r"```yaml\n(services:.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    return Start(written(yaml.safe_load(block)["services"]["qsticky"]))


def from_existing_qsticky() -> Start:
    """The compose file that people have, before the role in Gluetun was changed."""
    return Start(written(yaml.safe_load(OLD_SERVICE)), routes=OLD_ROUTES)


def written(service: Mapping[str, Any]) -> dict[str, str]:
    """A service's variables as Compose passes them on, with the user's values."""
    values = {"YOUR_API_KEY": API_KEY, "YOURAPIKEY": API_KEY}
    values |= {"YOUR_PASSWORD": PASSWORD, "YOURPASS": PASSWORD}
    said = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in service["environment"].items()
    }
    return {name: values.get(value, value) for name, value in said.items()}


@pytest.fixture(scope="module")
def container(buildah: image.Buildah) -> Iterator[image.Container]:
    with buildah.container(image.UNDER_TEST) as container:
        yield container


@pytest.fixture
def confinement(container: image.Container) -> Confinement:
    for left_over in (container.root / "app/health").iterdir():
        left_over.unlink()
    return Confinement(container, hosts={"gluetun": GLUETUN})


def beside_the_servers(start: Start, work: Callable[[SimulatedQbittorrent], None]) -> None:
    """Call it in a network with Gluetun and qBittorrent, each on its usual port."""
    role = Role(auth="apikey", apikey=API_KEY, routes=start.routes)
    generation: Generation = "3.40" if start.routes == OLD_ROUTES else "3.41"

    def in_their_network() -> None:
        with (
            SimulatedGluetun(
                generation, role=role, forwarded_port=FORWARDED_PORT, host=GLUETUN, port=8000
            ),
            SimulatedQbittorrent(password=PASSWORD, host=GLUETUN, port=8080) as qbittorrent,
        ):
            work(qbittorrent)

    try:
        in_namespace(in_their_network)
    except NamespaceMissing as missing:
        missing_part(str(missing))


def does_its_job(confinement: Confinement, start: Start) -> None:
    """Sets the port, tells everybody, and ends when it is asked to."""
    started = replace(confinement, environment=start.environment, secrets=start.secrets)

    def work(qbittorrent: SimulatedQbittorrent) -> None:
        with started.service() as service:
            service.wait_for("Status page and metrics at http://0.0.0.0:9809/")

            assert qbittorrent.bound_ports == {FORWARDED_PORT}
            assert started.run(*OLD_HEALTH_CHECK).exit_code == 0
            assert started.run(*NEW_HEALTH_CHECK).exit_code == 0
            assert (
                f'qsticky_qbittorrent_listen_port{{tunnel="default"}} {FORWARDED_PORT}' in metrics()
            )
            assert service.stop(STOP_SECONDS) == 0
            for level in ("WARNING", "ERROR", "Traceback"):
                assert level not in service.output
        assert started.run(*OLD_HEALTH_CHECK).exit_code == 1

    beside_the_servers(start, work)


def metrics() -> str:
    """What Prometheus gets at the port that the image exposes."""
    with urllib.request.urlopen("http://127.0.0.1:9809/metrics", timeout=10) as answer:
        content: bytes = answer.read()
    return content.decode()


@pytest.mark.parametrize(
    "start", [from_compose_file, from_readme, from_existing_qsticky], ids=lambda each: each.__name__
)
def test_does_its_job_with_the_environment_of_a_compose_file(
    start: Callable[[], Start], confinement: Confinement
) -> None:
    does_its_job(confinement, start())


@pytest.mark.parametrize("user", ["4711:4711", "0:0", "65534:100"])
def test_does_its_job_as_any_user(user: str, confinement: Confinement) -> None:
    does_its_job(replace(confinement, user=user), from_compose_file())

    (status,) = (confinement.container.root / "app/health").iterdir()
    assert f"{status.stat().st_uid}:{status.stat().st_gid}" == user


def test_the_locks_are_on(confinement: Confinement) -> None:
    locked = replace(confinement, user="0:0")

    said = locked.run("grep", "-E", "^(Cap|NoNewPrivs)", "/proc/self/status").output.split()

    assert set(said[1::2]) == {"0000000000000000", "1"}
    for folder in ("/", "/app", "/opt/qsticky", "/run/secrets", "/tmp", "/var/tmp", "/root"):
        assert "Read-only file system" in locked.run("touch", f"{folder}/file").errors
