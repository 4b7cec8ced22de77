"""compose.yaml and what it mounts, as far as users notice; Compose itself reads it in `.ci/run`."""

import json
import re
import tomllib
from typing import Any

import pytest
import yaml

from exporter.config.settings import SETTINGS
from tests.parts.debian import REPOSITORY as ROOT

COMPOSE = ROOT / "compose.yaml"
README = (ROOT / "README.md").read_text(encoding="utf-8")
VARIABLE = re.compile(r"\$\{([A-Z_]+):-([^}]*)\}")
DOCUMENT: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]
EVERY_SERVICE = pytest.mark.parametrize("name", SERVICES)


def mounts(name: str) -> list[list[str]]:
    """Return source, target and mode of each volume; a variable has its default."""
    lines = SERVICES[name].get("volumes", ())
    return [VARIABLE.sub(lambda variable: variable[2], line).split(":") for line in lines]


@EVERY_SERVICE
def test_a_service_has_one_exact_version_a_health_check_and_is_restarted(name: str) -> None:
    service = SERVICES[name]
    assert re.search(r":v?\d+\.\d+\.\d+$|^ghcr.io/qsticky/qsticky:2$", service["image"])
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["restart"] == "unless-stopped"
    assert service.get("profiles", []) == (
        [] if name in {"gluetun", "qbittorrent", "qsticky"} else ["monitoring"]
    )


@EVERY_SERVICE
def test_every_mounted_file_exists_and_can_only_be_read(name: str) -> None:
    for source, target, *mode in mounts(name):
        if source.startswith("./") and source != "./downloads":
            assert (ROOT / source).exists(), source
            assert mode == ["ro"], f"{name} could write {source} at {target}"


@EVERY_SERVICE
def test_ports_are_published_on_this_machine_only_unless_somebody_says_otherwise(name: str) -> None:
    for line in SERVICES[name].get("ports", ()):
        address, outside, inside = VARIABLE.sub(lambda variable: variable[2], line).split(":")
        assert address == "127.0.0.1"
        assert outside == inside != "8000"  # that is Gluetun's control server
        # what could change something, or has no password, is never published wider
        assert ("BIND_ADDRESS" in line) == (inside in {"8080", "9809", "3000"})


def test_secrets_are_files_that_git_ignores_and_the_first_lines_say_how_to_make() -> None:
    head = COMPOSE.read_text().partition("\nname:")[0]
    assert {"/secrets/", ".env"} <= set((ROOT / ".gitignore").read_text().splitlines())
    for secret in DOCUMENT["secrets"].values():
        assert f"> {secret['file'].removeprefix('./')}" in head


def test_qsticky_gets_only_what_it_knows_and_may_write_nothing_but_its_status() -> None:
    service = SERVICES["qsticky"]
    names = {setting.name for setting in SETTINGS}
    assert set(service["environment"]) - {"TZ"} <= names
    assert {secret.upper() for secret in service["secrets"]} <= names
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert mounts("qsticky") == [["qsticky", "/app/health"]]


def test_gluetun_pushes_to_qsticky_as_the_readme_says() -> None:
    command = SERVICES["gluetun"]["environment"]["VPN_PORT_FORWARDING_UP_COMMAND"]
    assert command == "/bin/sh -c 'wget -qO- --post-data= http://qsticky:9809/-/sync'"
    assert f"VPN_PORT_FORWARDING_UP_COMMAND: {command}" in README
    # the first version that resolves the names of containers
    assert SERVICES["gluetun"]["image"].rpartition(":")[2] >= "v3.41"


def test_qbittorrent_is_behind_gluetun_and_follows_it() -> None:
    service = SERVICES["qbittorrent"]
    assert service["network_mode"] == "service:gluetun"
    assert service["depends_on"]["gluetun"] == {"condition": "service_healthy", "restart": True}


def test_the_role_of_gluetun_is_that_of_the_readme() -> None:
    file = ROOT / "deploy" / "gluetun" / "config.toml"
    (role,) = tomllib.loads(file.read_text())["roles"]
    assert f"routes = {json.dumps(role['routes'])}" in README


def test_the_example_has_every_variable_with_the_same_default() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    examples = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert examples == dict(VARIABLE.findall(COMPOSE.read_text()))


def test_the_monitoring_finds_its_parts_where_they_are() -> None:
    prometheus = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    targets = {
        job["job_name"]: job["static_configs"][0]["targets"] for job in prometheus["scrape_configs"]
    }
    (manager,) = prometheus["alerting"]["alertmanagers"]
    sources = ROOT / "grafana" / "provisioning" / "datasources" / "prometheus.yml"
    (source,) = yaml.safe_load(sources.read_text())["datasources"]

    assert targets["qsticky"] == ["qsticky:9809"]
    assert manager["static_configs"][0]["targets"] == ["alertmanager:9093"]
    assert source["url"] == "http://prometheus:9090"


def test_an_alert_that_qsticky_is_down_silences_the_rest_of_that_instance() -> None:
    file = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
    (rule,) = yaml.safe_load(file.read_text())["inhibit_rules"]
    assert rule == {
        "source_matchers": ['alertname="QStickyDown"'],
        "target_matchers": ['alertname=~"QSticky.+"', 'alertname!="QStickyDown"'],
        "equal": ["instance"],
    }
