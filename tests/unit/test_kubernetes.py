"""The manifests, of one mind with each other and with the program.

`.ci/run` lets kustomize build them and holds them against Kubernetes' schemas.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.config.load import load_config
from tests.parts.debian import REPOSITORY as ROOT

BASE = ROOT / "deploy" / "kubernetes" / "base"

Document = dict[str, Any]


def one(kind: str) -> Document:
    """Return the only manifest of that kind."""
    texts = [file.read_text(encoding="utf-8") for file in sorted(BASE.glob("*.yaml"))]
    found = [document for text in texts for document in yaml.safe_load_all(text)]
    [document] = [document for document in found if document["kind"] == kind]
    assert isinstance(document, dict)
    return document


def pod() -> Document:
    spec: Document = one("StatefulSet")["spec"]["template"]["spec"]
    return spec


def containers() -> dict[str, Document]:
    return {each["name"]: each for each in pod()["initContainers"] + pod()["containers"]}


def test_no_manifest_is_left_out() -> None:
    named = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
    assert {name for name in named if "/" not in name} == {
        file.name for file in BASE.glob("*.yaml") if file.name != "kustomization.yaml"
    }


def test_the_alerts_are_those_of_the_file_for_prometheus() -> None:
    alerts = yaml.safe_load((ROOT / "alerts.yml").read_text(encoding="utf-8"))
    assert one("PrometheusRule")["spec"] == alerts, "run `make docs`"


def test_names_of_ports_and_labels_mean_the_same_everywhere() -> None:
    ports = {port["name"] for c in pod()["containers"] for port in c["ports"]}
    labels = one("StatefulSet")["spec"]["template"]["metadata"]["labels"]

    assert ports == {"webui", "metrics"}
    assert {port["targetPort"] for port in one("Service")["spec"]["ports"]} <= ports
    assert {e["port"] for e in one("PodMonitor")["spec"]["podMetricsEndpoints"]} <= ports
    ingress = one("NetworkPolicy")["spec"]["ingress"]
    assert {port["port"] for rule in ingress for port in rule["ports"]} == ports
    assert one("Service")["spec"]["selector"].items() <= labels.items()
    for kind, key in (("PodMonitor", "selector"), ("NetworkPolicy", "podSelector")):
        assert one(kind)["spec"][key]["matchLabels"].items() <= labels.items()


def test_gluetuns_firewall_lets_in_what_the_pod_serves() -> None:
    variables = {v["name"]: v.get("value") for v in containers()["gluetun"]["env"]}
    served = [str(p["containerPort"]) for c in pod()["containers"] for p in c["ports"]]
    assert variables["FIREWALL_INPUT_PORTS"] == ",".join(served)


@pytest.mark.parametrize("name", ["qbittorrent", "qsticky"])
def test_these_containers_keep_to_the_restricted_standard(name: str) -> None:
    context = containers()[name]["securityContext"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["runAsNonRoot"] is True
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert context["readOnlyRootFilesystem"] is True


def test_gluetun_gets_one_capability_and_the_pod_nothing_of_the_host() -> None:
    assert containers()["gluetun"]["securityContext"]["capabilities"] == {"add": ["NET_ADMIN"]}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod().keys()
    assert {next(iter(v.keys() - {"name"})) for v in pod()["volumes"]} == {"secret", "emptyDir"}
    assert pod()["automountServiceAccountToken"] is False


def test_the_probes_ask_the_two_routes_that_need_no_password() -> None:
    probed = containers()["qsticky"]
    assert probed["livenessProbe"]["httpGet"] == {"path": "/-/healthy", "port": "metrics"}
    assert probed["readinessProbe"]["httpGet"] == {"path": "/-/ready", "port": "metrics"}


def test_qsticky_finds_both_servers_and_its_secrets(tmp_path: Path) -> None:
    [volume] = [volume for volume in pod()["volumes"] if volume["name"] == "qsticky-secrets"]
    for item in volume["secret"]["items"]:
        (tmp_path / item["path"]).write_text(f"the {item['key']}")
    environ = {variable["name"]: variable["value"] for variable in containers()["qsticky"]["env"]}

    config = load_config(environ, tmp_path)

    [tunnel] = config.tunnels
    assert config.warnings == ()
    assert tunnel.gluetun.server.url == "http://127.0.0.1:8000"
    assert tunnel.gluetun.apikey.value == "the gluetun_apikey"
    assert tunnel.qbittorrent.server.url == "http://127.0.0.1:8080"
    assert tunnel.qbittorrent.password.value == "the qbittorrent_pass"


def test_the_page_about_it_makes_the_secret_that_the_pod_reads() -> None:
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    made = set(re.findall(r"--from-(?:literal|file)=(\w+)=", page))
    read = {
        item["key"]
        for volume in pod()["volumes"]
        for item in volume.get("secret", {}).get("items", ())
    }
    references = [
        v["valueFrom"]["secretKeyRef"]["key"]
        for v in containers()["gluetun"]["env"]
        if "valueFrom" in v
    ]
    assert made == read | set(references)
