"""compose.yaml and what it mounts: complete, pinned, without a secret, understood by all."""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.config.kinds import BOOLEAN
from exporter.config.settings import SETTINGS
from tests.conftest import missing_part
from tests.parts import debian, monitoring
from tests.parts.daemon import ROOT

COMPOSE = ROOT / "compose.yaml"
MONITORING = {"prometheus", "alertmanager", "grafana"}
SERVICES = {"gluetun", "qbittorrent", "qsticky"} | MONITORING
OURS = "ghcr.io/qsticky/qsticky:2"
KEYS = {
    "build", "cap_add", "cap_drop", "command", "container_name", "depends_on", "devices",
    "environment", "healthcheck", "image", "network_mode", "ports", "profiles", "read_only",
    "restart", "secrets", "security_opt", "volumes",
}  # fmt: skip
"""What we use of the Compose specification; a slip of the pen is none of these."""
PROMETHEUS_YML = ROOT / "deploy" / "prometheus" / "prometheus.yml"
ALERTMANAGER_YML = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
ROLE = ROOT / "deploy" / "gluetun" / "config.toml"
ENV_EXAMPLE = ROOT / ".env.example"
VARIABLE = re.compile(r"\$\{([A-Z_]+):-([^}]*)\}")

DOCUMENT: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
EVERY_SERVICE = pytest.mark.parametrize("name", sorted(SERVICES))


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["services"][name]
    return found


def mounts(name: str) -> list[tuple[str, str, str]]:
    """Source, target and mode of each volume; a variable has its default."""
    found = []
    for line in service(name).get("volumes", ()):
        parts = VARIABLE.sub(lambda variable: variable[2], line).split(":")
        found.append((parts[0], parts[1], parts[2] if len(parts) > 2 else "rw"))
    return found


def examples() -> dict[str, str]:
    lines = ENV_EXAMPLE.read_text().splitlines()
    pairs = [line.split("=", 1) for line in lines if line and not line.startswith("#")]
    return dict(pairs)


def test_it_has_the_three_services_and_three_more_for_monitoring() -> None:
    assert set(DOCUMENT["services"]) == SERVICES
    with_profile = {name for name in SERVICES if service(name).get("profiles")}
    assert with_profile == MONITORING
    assert all(service(name)["profiles"] == ["monitoring"] for name in MONITORING)


@EVERY_SERVICE
def test_a_service_uses_known_keys_and_named_volumes_and_secrets(name: str) -> None:
    assert set(service(name)) <= KEYS
    named = {source for source, _, _ in mounts(name) if "/" not in source}
    assert named <= set(DOCUMENT["volumes"])
    assert set(service(name).get("secrets", ())) <= set(DOCUMENT["secrets"])
    assert set(service(name).get("depends_on", ())) <= SERVICES


def test_every_volume_and_secret_is_used() -> None:
    volumes = {source for name in SERVICES for source, _, _ in mounts(name)}
    secrets = {secret for name in SERVICES for secret in service(name).get("secrets", ())}
    assert set(DOCUMENT["volumes"]) <= volumes
    assert set(DOCUMENT["secrets"]) == secrets


@EVERY_SERVICE
def test_every_image_has_one_exact_version(name: str) -> None:
    image = service(name)["image"]
    if name == "qsticky":
        assert (image, service(name)["build"]) == (OURS, ".")
    else:
        assert re.search(r":v?\d+\.\d+\.\d+$", image)


def test_the_readme_names_the_same_image_of_ours() -> None:
    assert f"image: {OURS}" in (ROOT / "README.md").read_text()


@EVERY_SERVICE
def test_every_service_has_a_health_check_and_is_restarted(name: str) -> None:
    check = service(name)["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "start_period", "retries"} <= set(check)
    assert service(name)["restart"] == "unless-stopped"


def test_every_mounted_file_exists_and_none_of_them_can_be_written() -> None:
    for name in SERVICES:
        for source, target, mode in mounts(name):
            if source.startswith("./") and source != "./downloads":
                assert (ROOT / source).exists(), f"{name}: {source} is missing"
                assert mode == "ro", f"{name} could write {source} at {target}"


@EVERY_SERVICE
def test_ports_are_published_on_this_machine_only_unless_somebody_says_otherwise(
    name: str,
) -> None:
    for line in service(name).get("ports", ()):
        address, outside, inside = VARIABLE.sub(lambda variable: variable[2], line).split(":")
        assert address == "127.0.0.1"
        # qBittorrent refuses a Host header with another port; for the others it is simpler to say
        assert outside == inside


def test_what_could_change_something_or_has_no_password_is_never_published_wider() -> None:
    published = {line for name in SERVICES for line in service(name).get("ports", ())}
    wider = {line for line in published if "BIND_ADDRESS" in line}
    assert {line.rpartition(":")[2] for line in wider} == {"8080", "9809", "3000"}
    # Gluetun's control server
    assert not any(line.endswith(":8000") for line in published)


def test_secrets_are_files_that_git_ignores_and_the_first_lines_say_how_to_make() -> None:
    text = COMPOSE.read_text()
    head = text.partition("\nname:")[0]
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
    for secret in DOCUMENT["secrets"].values():
        assert set(secret) == {"file"}
        assert secret["file"].startswith("./secrets/")
        assert f"> {secret['file'].removeprefix('./')}" in head


def test_qsticky_finds_its_secrets_by_their_names() -> None:
    names = {setting.name.lower() for setting in SETTINGS if setting.kind.secret}
    assert set(service("qsticky")["secrets"]) <= names


@pytest.mark.parametrize(
    "path", [COMPOSE, ENV_EXAMPLE, PROMETHEUS_YML, ALERTMANAGER_YML, ROLE], ids=lambda p: p.name
)
def test_no_value_looks_like_a_secret(path: Path) -> None:
    secret = re.compile(r"(?i)(pass(word)?|secret|token|api_?key|private_key)\b\s*[:=]\s*(\S.*)")
    for line in path.read_text().splitlines():
        found = secret.search(line)
        if found and not line.lstrip().startswith("#"):
            assert found[3] in ('"YOUR_API_KEY"', "[wireguard_private_key, gluetun_config]"), line
    # nothing long and random either: keys of WireGuard have 44 characters, tokens 20 and more
    words = re.findall(r"[A-Za-z0-9+=]{20,}", path.read_text())
    assert [word for word in words if re.search(r"\d", word)] == []


def test_qsticky_is_configured_by_variables_that_it_has() -> None:
    known = {setting.name: setting for setting in SETTINGS}
    for name in set(service("qsticky")["environment"]) - {"TZ"}:
        assert name in known
        assert known[name].kind is not BOOLEAN


def test_qsticky_may_write_nothing_but_its_status() -> None:
    ours = service("qsticky")
    assert ours["read_only"] is True
    assert ours["cap_drop"] == ["ALL"]
    assert ours["security_opt"] == ["no-new-privileges:true"]
    assert mounts("qsticky") == [("qsticky", "/app/health", "rw")]


def test_gluetun_pushes_to_qsticky_as_the_readme_says() -> None:
    environment = service("gluetun")["environment"]
    command = environment["VPN_PORT_FORWARDING_UP_COMMAND"]
    assert command == "/bin/sh -c 'wget -qO- --post-data= http://qsticky:9809/-/sync'"
    assert f"VPN_PORT_FORWARDING_UP_COMMAND: {command}" in (ROOT / "README.md").read_text()
    # the first version that resolves the names of containers
    assert service("gluetun")["image"].rpartition(":")[2] >= "v3.41"


def test_qbittorrent_is_behind_gluetun_and_follows_it() -> None:
    ours = service("qbittorrent")
    assert ours["network_mode"] == "service:gluetun"
    assert ours["depends_on"]["gluetun"] == {"condition": "service_healthy", "restart": True}
    assert "ports" not in ours


def test_the_role_of_gluetun_is_that_of_the_readme() -> None:
    (role,) = tomllib.loads(ROLE.read_text())["roles"]
    assert role["name"] == "qSticky"
    routes = json.dumps(role["routes"])
    assert f"routes = {routes}" in (ROOT / "README.md").read_text()


def test_the_example_has_every_variable_with_the_same_default() -> None:
    assert examples() == dict(VARIABLE.findall(COMPOSE.read_text()))


def test_prometheus_scrapes_qsticky_and_tells_the_alertmanager() -> None:
    config = yaml.safe_load(PROMETHEUS_YML.read_text())
    targets = {
        job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]
    }
    assert targets["qsticky"] == ["qsticky:9809"]
    (manager,) = config["alerting"]["alertmanagers"]
    assert manager["static_configs"][0]["targets"] == ["alertmanager:9093"]


def test_grafana_finds_prometheus_and_the_dashboards_where_they_are() -> None:
    folder = ROOT / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())[
        "datasources"
    ]
    interval = yaml.safe_load(PROMETHEUS_YML.read_text())["global"]["scrape_interval"]
    assert source["url"] == "http://prometheus:9090"
    assert source["jsonData"]["timeInterval"] == interval
    (provider,) = yaml.safe_load((folder / "dashboards" / "qsticky.yml").read_text())["providers"]
    places = {target: source for source, target, _ in mounts("grafana")}
    assert places[provider["options"]["path"]] == "./grafana/dashboards"
    home = Path(service("grafana")["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (ROOT / places[str(home.parent)] / home.name).exists()


def test_an_alert_that_qsticky_is_down_silences_the_rest_of_that_instance() -> None:
    (rule,) = yaml.safe_load(ALERTMANAGER_YML.read_text())["inhibit_rules"]
    assert rule == {
        "source_matchers": ['alertname="QStickyDown"'],
        "target_matchers": ['alertname=~"QSticky.+"', 'alertname!="QStickyDown"'],
        "equal": ["instance"],
    }


@pytest.mark.parametrize("version", monitoring.VERSIONS)
def test_promtool_accepts_the_configuration_of_prometheus(version: str, tmp_path: Path) -> None:
    promtool = monitoring.or_skip(lambda: monitoring.promtool(version))
    for source, target, _ in mounts("prometheus"):
        if target.startswith("/etc/prometheus/"):
            (tmp_path / Path(target).name).write_text((ROOT / source).read_text())
    checked = monitoring.run(promtool, "check", "config", tmp_path / "prometheus.yml")
    assert checked.returncode == 0, checked.stdout
    assert "19 rules found" in checked.stdout


@pytest.mark.parametrize("version", monitoring.VERSIONS)
def test_amtool_accepts_the_configuration_as_it_is(version: str) -> None:
    amtool = monitoring.or_skip(lambda: monitoring.amtool(version))
    checked = monitoring.run(amtool, "check-config", ALERTMANAGER_YML)
    assert checked.returncode == 0, checked.stdout


# Alertmanager 0.25, which goes with Prometheus 2.42, can't read these secrets from files yet
@pytest.mark.parametrize("version", ["2.53", "3.5"])
@pytest.mark.parametrize("receiver", ["telegram", "discord", "mail", "webhook"])
def test_amtool_accepts_the_configuration_with_each_of_the_receivers(
    receiver: str, version: str, tmp_path: Path
) -> None:
    amtool = monitoring.or_skip(lambda: monitoring.amtool(version))
    lines = ALERTMANAGER_YML.read_text().splitlines()
    start = lines.index("receivers:")
    # what a user does: take the comment signs away, and name the receiver
    opened = [re.sub(r"^  # (?=- | {2})", "  ", line) for line in lines[start:]]
    text = "\n".join([*lines[:start], *opened]).replace("receiver: nobody", f"receiver: {receiver}")
    assert receiver in {one["name"] for one in yaml.safe_load(text)["receivers"]}
    file = tmp_path / "alertmanager.yml"
    file.write_text(text)
    checked = monitoring.run(amtool, "check-config", file)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("profile", [[], ["--profile", "monitoring"]], ids=["plain", "monitoring"])
def test_docker_compose_itself_understands_the_file(profile: list[str]) -> None:
    try:
        program = debian.bring("compose-sid", "sid", "docker-compose") / "docker-compose"
    except debian.PartMissing as error:
        missing_part(f"no Docker Compose: {error}")
        raise
    command = [str(program), "--env-file", str(ENV_EXAMPLE), "--file", str(COMPOSE), *profile]
    done = subprocess.run(
        [*command, "config", "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
        env={},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    expected = SERVICES if profile else SERVICES - MONITORING
    assert set(json.loads(done.stdout)["services"]) == expected
