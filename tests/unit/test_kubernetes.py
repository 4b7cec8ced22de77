"""The manifests: right by Kubernetes' schemas, of one mind with each other and with the program."""

import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
import pytest
import yaml

from exporter.config.load import load_config
from tests.conftest import missing_part
from tests.parts import debian

ROOT = Path(__file__).parents[2]
BASE = ROOT / "deploy" / "kubernetes" / "base"
GRAFANA = ROOT / "grafana"
VERSIONS = ("1.29", kubernetes_validate.latest_version())
"""The first with sidecars that start first, and the newest."""
CUSTOM = "monitoring.coreos.com/v1"

Document = dict[str, Any]


def resources(folder: Path) -> list[str]:
    """The files that the folder's kustomization names."""
    named = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    return [name for name in named if name.endswith(".yaml")]


def documents() -> list[Document]:
    """Every manifest of the base; kustomize adds the dashboards."""
    texts = [(BASE / name).read_text(encoding="utf-8") for name in resources(BASE)]
    return [document for text in texts for document in yaml.safe_load_all(text)]


def one(kind: str) -> Document:
    [document] = [document for document in documents() if document["kind"] == kind]
    return document


def pod() -> Document:
    spec: Document = one("StatefulSet")["spec"]["template"]["spec"]
    return spec


def container(name: str) -> Document:
    every = pod()["initContainers"] + pod()["containers"]
    [found] = [container for container in every if container["name"] == name]
    assert isinstance(found, dict)
    return found


def strictly(properties: Document, *required: str) -> Document:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": list(required),
    }


TEXT = {"type": "string"}
DURATION = {"type": "string", "pattern": "^([0-9]+(ms|[smhdwy]))+$"}
LABELS = {"type": "object", "additionalProperties": TEXT}
METADATA = strictly({"name": {"pattern": "^[a-z0-9-]{1,63}$"}, "labels": LABELS}, "name")
RULE = strictly(
    {
        "alert": TEXT,
        "record": TEXT,
        "expr": TEXT,
        "for": DURATION,
        "keep_firing_for": DURATION,
        "labels": LABELS,
        "annotations": LABELS,
    },
    "expr",
)
GROUP = strictly(
    {"name": TEXT, "interval": DURATION, "rules": {"type": "array", "minItems": 1, "items": RULE}},
    "name",
    "rules",
)
RELABELING = strictly(
    {
        "sourceLabels": {"type": "array", "items": TEXT},
        "separator": TEXT,
        "regex": TEXT,
        "targetLabel": TEXT,
        "replacement": TEXT,
        "action": {"enum": ["replace", "keep", "drop", "labeldrop", "labelkeep"]},
    }
)
ENDPOINT = strictly(
    {
        "port": TEXT,
        "path": {"type": "string", "pattern": "^/"},
        "interval": DURATION,
        "scrapeTimeout": DURATION,
        "metricRelabelings": {"type": "array", "items": RELABELING},
    },
    "port",
)
CUSTOM_SPECS = {
    "PrometheusRule": strictly({"groups": {"type": "array", "items": GROUP}}, "groups"),
    "PodMonitor": strictly(
        {
            "selector": strictly({"matchLabels": LABELS}, "matchLabels"),
            "podMetricsEndpoints": {"type": "array", "minItems": 1, "items": ENDPOINT},
        },
        "selector",
        "podMetricsEndpoints",
    ),
}
"""As far as we use them: the schemas of the Prometheus Operator's own kinds."""


def check(document: Document, version: str) -> None:
    """Raise an error unless the document is right by its schema."""
    if document["apiVersion"] == CUSTOM:
        own = {
            "apiVersion": {"const": CUSTOM},
            "kind": {"enum": list(CUSTOM_SPECS)},
            "metadata": {"type": "object"},
            "spec": CUSTOM_SPECS[document["kind"]],
        }
        jsonschema.validate(document, strictly(own, *own))
    else:
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_right_by_its_schema(version: str) -> None:
    found = documents()
    for document in found:
        check(document, version)
    kinds = [document["kind"] for document in found]
    assert set(kinds) == {
        "Namespace",
        "StatefulSet",
        "Service",
        "NetworkPolicy",
        "PodMonitor",
        "PrometheusRule",
    }


def test_the_schemas_find_a_misspelt_key() -> None:
    service, rule = one("Service"), one("PrometheusRule")
    service["spec"]["selectors"] = service["spec"].pop("selector")
    rule["spec"]["groups"][0]["rules"][0]["four"] = "10m"
    with pytest.raises(kubernetes_validate.ValidationError):
        check(service, VERSIONS[0])
    with pytest.raises(jsonschema.ValidationError):
        check(rule, VERSIONS[0])


def test_no_manifest_is_left_out() -> None:
    files = [file.name for file in BASE.glob("*.yaml")]
    assert sorted([*resources(BASE), "kustomization.yaml"]) == sorted(files)


def test_kustomize_builds_them_all() -> None:
    try:
        kubectl = debian.bring("kubectl-trixie", "trixie", "kubernetes-client") / "kubectl"
    except debian.PartMissing as error:
        missing_part(f"kubectl builds the manifests, and is missing: {error}")
    command = [str(kubectl), "kustomize", str(BASE)]
    built = subprocess.run(command, capture_output=True, text=True, check=True)
    assert built.stderr == ""
    made = list(yaml.safe_load_all(built.stdout))
    for document in made:
        check(document, VERSIONS[0])
    maps = [document for document in made if document["kind"] == "ConfigMap"]
    names = {(document["kind"], document["metadata"]["name"]) for document in made}
    assert names == {(d["kind"], d["metadata"]["name"]) for d in [*documents(), *maps]}
    assert all(d["metadata"]["labels"]["grafana_dashboard"] == "1" for d in maps)
    dashboards = {f.name: f.read_text() for f in GRAFANA.glob("dashboards/*.json")}
    assert {name: text for d in maps for name, text in d["data"].items()} == dashboards
    homes = {d["metadata"].get("namespace") for d in made if d["kind"] != "Namespace"}
    assert homes == {"seedbox"}


def test_the_alerts_are_those_of_the_file_for_prometheus() -> None:
    alerts = yaml.safe_load((ROOT / "alerts.yml").read_text(encoding="utf-8"))
    assert one("PrometheusRule")["spec"] == alerts


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
    variables = {v["name"]: v.get("value") for v in container("gluetun")["env"]}
    served = [str(p["containerPort"]) for c in pod()["containers"] for p in c["ports"]]
    assert variables["FIREWALL_INPUT_PORTS"] == ",".join(served)


@pytest.mark.parametrize("name", ["qbittorrent", "qsticky"])
def test_these_containers_keep_to_the_restricted_standard(name: str) -> None:
    context = container(name)["securityContext"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert context["readOnlyRootFilesystem"] is True


def test_gluetun_gets_one_capability_and_the_pod_nothing_of_the_host() -> None:
    assert container("gluetun")["securityContext"]["capabilities"] == {"add": ["NET_ADMIN"]}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod().keys()
    assert {next(iter(v.keys() - {"name"})) for v in pod()["volumes"]} == {"secret", "emptyDir"}
    assert pod()["automountServiceAccountToken"] is False


def test_every_mounted_volume_exists() -> None:
    claims = [c["metadata"]["name"] for c in one("StatefulSet")["spec"]["volumeClaimTemplates"]]
    volumes = {volume["name"] for volume in pod()["volumes"]} | set(claims)
    mounted = {
        mount["name"]
        for container in pod()["initContainers"] + pod()["containers"]
        for mount in container["volumeMounts"]
    }
    assert mounted == volumes


def test_the_probes_ask_the_two_routes_that_need_no_password() -> None:
    probed = container("qsticky")
    assert probed["livenessProbe"]["httpGet"] == {"path": "/-/healthy", "port": "metrics"}
    assert probed["readinessProbe"]["httpGet"] == {"path": "/-/ready", "port": "metrics"}


def test_qsticky_finds_both_servers_and_its_secrets(tmp_path: Path) -> None:
    [volume] = [volume for volume in pod()["volumes"] if volume["name"] == "qsticky-secrets"]
    for item in volume["secret"]["items"]:
        (tmp_path / item["path"]).write_text(f"the {item['key']}")
    environ = {variable["name"]: variable["value"] for variable in container("qsticky")["env"]}

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
        v["valueFrom"]["secretKeyRef"] for v in container("gluetun")["env"] if "valueFrom" in v
    ]
    assert made == read | {reference["key"] for reference in references}
