"""The dashboards, held to the rules of Grafana's dashboard-linter and to our metrics.

That a real Prometheus answers every query: tests/real/test_chain.py.
"""

import importlib
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from exporter.config.load import load_config
from exporter.model import Outcome, QbittorrentReading, SyncState
from exporter.report.metrics import Metrics
from exporter.report.tally import Tally
from exporter.web.words import WORDS, Tone
from tests.fakes import FakeClock

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "grafana"
NAMES = sorted(file.name for file in (GRAFANA / "dashboards").iterdir())
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
UNITS = {"none", "percentunit", "s", "bytes", "dateTimeFromNow"}
"""The ones that we use of those that Grafana knows."""
SELECTOR = re.compile(r"\b([a-z_]+|ALERTS)\{([^}]*)\}", re.DOTALL)
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')

Json = dict[str, Any]


def load(name: str) -> Json:
    dashboard: Json = json.loads((GRAFANA / "dashboards" / name).read_text(encoding="utf-8"))
    return dashboard


EVERY_DASHBOARD = pytest.mark.parametrize("dashboard", [pytest.param(load(n), id=n) for n in NAMES])


def panels(dashboard: Json) -> list[Json]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


EVERY_PANEL = pytest.mark.parametrize(
    "panel",
    [
        pytest.param(panel, id=f"{name.removesuffix('.json')}: {panel['title']}")
        for name in NAMES
        for panel in panels(load(name))
    ],
)


def queries(dashboard: Json) -> list[str]:
    return [target["expr"] for panel in panels(dashboard) for target in panel["targets"]]


def annotations(dashboard: Json) -> list[Json]:
    found: list[Json] = dashboard["annotations"]["list"]
    return found


def expressions(dashboard: Json) -> list[str]:
    return queries(dashboard) + [note["target"]["expr"] for note in annotations(dashboard)]


# The rules of dashboard-linter, and some of our own.


@EVERY_DASHBOARD
def test_data_source_job_instance_and_tunnel_can_be_selected(dashboard: Json) -> None:
    source, *others = dashboard["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == (
        "datasource",
        "datasource",
        "prometheus",
    )
    # a tunnel may be missing where others have no such label
    assert [(v["name"], v["allValue"], v["query"]) for v in others] == [
        ("job", ".+", "label_values(qsticky_build_info, job)"),
        ("instance", ".+", 'label_values(qsticky_build_info{job=~"$job"}, instance)'),
        (
            "tunnel",
            ".*",
            'label_values(qsticky_port_in_sync{job=~"$job", instance=~"$instance"}, tunnel)',
        ),
    ]
    for variable in others:
        assert variable["label"] == variable["name"].title()
        assert (variable["multi"], variable["includeAll"], variable["refresh"]) == (True, True, 2)


@EVERY_DASHBOARD
def test_everything_asks_the_selected_data_source(dashboard: Json) -> None:
    asking = [
        *dashboard["templating"]["list"][1:],
        *panels(dashboard),
        *(target for panel in panels(dashboard) for target in panel["targets"]),
        *annotations(dashboard),
        *(note["target"] for note in annotations(dashboard)),
    ]
    assert all(one["datasource"] == SOURCE for one in asking)


@EVERY_PANEL
def test_a_panel_explains_itself_and_shows_units_words_and_names(panel: Json) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    assert panel["title"]
    assert re.fullmatch(r"[^$]+\.", panel["description"], re.DOTALL)
    assert "mappings" in defaults or defaults["unit"] in UNITS
    assert defaults["noValue"]
    # Grafana's own thresholds show everything from 80 on in red, a port too
    assert defaults["thresholds"]["steps"][0]["value"] is None
    letters = [target["refId"] for target in panel["targets"]]
    assert letters
    assert letters == list("ABCDEFGH"[: len(letters)])
    if panel["type"] != "table":  # which shows the labels themselves
        assert all(target["legendFormat"] for target in panel["targets"])


@EVERY_PANEL
def test_what_is_said_of_now_is_asked_for_now(panel: Json) -> None:
    # else the last value stays in sight when qSticky is gone
    if panel["type"] in {"stat", "table"}:
        assert all(t["instant"] and not t["range"] for t in panel["targets"])


@EVERY_PANEL
def test_a_counter_is_shown_as_a_rate_over_time_and_as_a_number_over_the_range(
    panel: Json,
) -> None:
    # overlapping windows of increase() would count an event once in each point of a graph
    function, window = ("increase", "$__range")
    if panel["type"] not in {"stat", "table"}:
        function, window = ("rate", "$__rate_interval")
    for target in panel["targets"]:
        used = re.findall(r"\b(i?rate|increase)\([^[]*\[([^]]*)\]", target["expr"])
        assert set(used) <= {(function, window)}
        for counter in re.finditer(r"\b\w+_(?:total|bucket)\{", target["expr"]):
            assert target["expr"][: counter.start()].endswith(f"{function}(")


@EVERY_DASHBOARD
def test_the_clocks_of_two_machines_are_not_compared(dashboard: Json) -> None:
    assert not [one for one in expressions(dashboard) if "time()" in one]


@EVERY_DASHBOARD
def test_a_query_asks_the_selected_job_and_instance_only(dashboard: Json) -> None:
    for expression in queries(dashboard):
        found = SELECTOR.findall(expression)
        assert found, expression
        for _, matchers in found:
            # an alert that Prometheus itself raises may have no such label
            selected = MATCHER.findall(matchers.replace('|"', '"'))
            assert ("job", "=~", "$job") in selected, expression
            assert ("instance", "=~", "$instance") in selected, expression


@EVERY_DASHBOARD
def test_a_dashboard_can_be_imported_and_provisioned_and_is_not_edited(dashboard: Json) -> None:
    assert dashboard["id"] is None
    assert re.fullmatch(r"qsticky-[a-z]{1,32}", dashboard["uid"])
    assert dashboard["editable"] is False
    assert not {"__inputs", "__requires"} & dashboard.keys()


def test_the_dashboards_lead_to_each_other_and_to_the_documents() -> None:
    uids = {load(name)["uid"] for name in NAMES}
    for name in NAMES:
        urls = [link["url"] for link in load(name)["links"]]
        inside = {url.removeprefix("/d/") for url in urls if url.startswith("/d/")}
        outside = [url for url in urls if not url.startswith("/d/")]
        assert inside == uids - {load(name)["uid"]}
        assert outside
        assert all((ROOT / "docs" / url.rpartition("/docs/")[2]).is_file() for url in outside)


@EVERY_DASHBOARD
def test_panels_lie_side_by_side_within_the_width(dashboard: Json) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        rows = range(place["y"], place["y"] + place["h"])
        cells = {(x, y) for x in columns for y in rows}
        assert columns.stop <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def shown(name: str, title: str) -> Json:
    [panel] = [one for one in panels(load(name)) if one["title"] == title]
    return panel


def test_every_state_has_the_word_of_the_status_page_and_its_place_the_worst_first() -> None:
    for title in ("State", "Open now?"):
        panel = shown("qsticky-overview.json", title)
        words = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
        # the query codes a state as a number, the panel shows the number as a word
        coded = re.findall(
            r'(\d+) \* qsticky_sync_state\{[^}]*state="(\w+)"\}', panel["targets"][0]["expr"]
        )
        states = [SyncState(state) for _, state in sorted(coded, key=lambda one: -int(one[0]))]
        assert sorted(states) == sorted(SyncState)
        places = [list(Tone).index(WORDS[state].tone) for state in states]
        assert places == sorted(places)
        for number, state in coded:
            word = words[number]["text"]
            label = WORDS[SyncState(state)].label
            assert word.endswith(label) or (title, word) == ("Open now?", "Yes")


def test_the_table_has_the_words_of_the_tiles() -> None:
    tiles = shown("qsticky-overview.json", "Open now?")["fieldConfig"]["defaults"]["mappings"]
    columns = shown("qsticky-overview.json", "All tunnels")["fieldConfig"]["overrides"]
    [column] = [each for each in columns if each["matcher"]["options"] == "Open now?"]
    assert {"id": "mappings", "value": tiles} in column["properties"]


# One tunnel and fifty.


@EVERY_DASHBOARD
def test_the_panels_of_each_tunnel_keep_their_size_with_fifty(dashboard: Json) -> None:
    for panel in panels(dashboard):
        for target in panel["targets"]:
            if panel["type"] == "table" or "{{tunnel}}" not in target["legendFormat"]:
                continue
            one_alone = target["expr"].endswith(" == 1")
            assert one_alone or re.search(r"\b(topk|bottomk)\(\d+, ", target["expr"])


@EVERY_PANEL
def test_where_several_things_are_told_each_has_its_name(panel: Json) -> None:
    if panel["type"] == "stat" and (
        len(panel["targets"]) > 1 or "{{" in panel["targets"][0]["legendFormat"]
    ):
        assert panel["options"]["textMode"] == "value_and_name"


def test_firing_alerts_are_on_the_first_screen() -> None:
    place = shown("qsticky-overview.json", "Firing alerts")["gridPos"]
    assert place["y"] + place["h"] <= 16


def test_no_failure_is_green() -> None:
    for title in ("Failures per minute", "Failure ratio"):
        config = shown("qsticky-details.json", title)["fieldConfig"]
        colours = [config["defaults"]["color"]]
        colours += [one["value"] for rule in config["overrides"] for one in rule["properties"]]
        assert {colour["mode"] for colour in colours} == {"shades"}  # a palette begins with green
        assert {colour["fixedColor"] for colour in colours} == {"orange", "red", "purple"}


# Against the metrics that there are.


def exported() -> dict[str, list[dict[str, str]]]:
    tally = Tally("2.0.0", "abc", FakeClock())
    tally.set_tunnels(load_config({}).tunnels)
    answered = QbittorrentReading(45720, version="v5.1.0", webapi_version="2.11.4")
    tally.publish(Outcome("default", SyncState.IN_SYNC, 1000.0, qbittorrent=answered))
    text = generate_latest(Metrics(tally).registry).decode()
    series: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series.setdefault(sample.name, []).append(dict(sample.labels))
    return series


@EVERY_DASHBOARD
def test_every_metric_and_label_value_exists(dashboard: Json) -> None:
    series = exported()
    for expression in expressions(dashboard):
        for metric, matchers in SELECTOR.findall(expression):
            if metric in {"up", "ALERTS"}:  # Prometheus' own
                continue
            assert metric in series, expression
            for label, _, value in MATCHER.findall(matchers):
                if not value.startswith("$"):
                    assert value in {labels[label] for labels in series[metric]}, expression


@EVERY_DASHBOARD
def test_every_label_that_is_grouped_by_or_shown_exists(dashboard: Json) -> None:
    series = exported()
    for panel in panels(dashboard):
        for target in panel["targets"]:
            metrics = [metric for metric, _ in SELECTOR.findall(target["expr"])]
            known = {"job", "instance", "alertname", "severity"}.union(
                *(series.get(m, [{}])[0] for m in metrics)
            )
            grouped = re.findall(r"\bby \(([^)]*)\)", target["expr"])
            assert {label for group in grouped for label in group.split(", ")} <= known
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= known


@EVERY_DASHBOARD
def test_a_process_is_only_counted_where_it_is_qsticky(dashboard: Json) -> None:
    for expression in expressions(dashboard):
        if "process_" in expression:
            assert "and on (job, instance) qsticky_build_info{" in expression


# Against what Grafana knows.


def lost(given: object, kept: object, path: str = "") -> Iterator[str]:
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            if key in kept:
                yield from lost(value, kept[key], f"{path}.{key}")
            elif value is not None:
                yield f"{path}.{key}"
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for index, (one, other) in enumerate(zip(given, kept, strict=True)):
            yield from lost(one, other, f"{path}[{index}]")
    elif given != kept:
        yield path


def understood(dashboard: Json) -> Json:
    """Return what Grafana's own library makes of it; keys that it doesn't know are gone."""
    with warnings.catch_warnings():
        # it calls the classic format, which every Grafana reads, deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        models = importlib.import_module("grafana_foundation_sdk.models.dashboard")
        plugins = importlib.import_module("grafana_foundation_sdk.cog.plugins")
        encoder = importlib.import_module("grafana_foundation_sdk.cog.encoder")
        plugins.register_default_plugins()
        read = models.Dashboard.from_json(json.loads(json.dumps(dashboard)))
        kept: Json = json.loads(json.dumps(read, cls=encoder.JSONEncoder))
    return kept


@EVERY_DASHBOARD
def test_grafana_knows_every_setting(dashboard: Json) -> None:
    assert list(lost(dashboard, understood(dashboard))) == []


def test_a_misspelt_setting_would_be_noticed() -> None:
    dashboard = load("qsticky-overview.json")
    panel = panels(dashboard)[0]
    panel["options"]["colourMode"] = panel["options"].pop("colorMode")
    panel["targets"][0]["exprr"] = "up"
    found = list(lost(dashboard, understood(dashboard)))
    assert [path.rpartition(".")[2] for path in found] == ["exprr", "colourMode"]


# Provisioning.


def test_grafana_finds_prometheus_and_the_dashboards() -> None:
    provisioning = GRAFANA / "provisioning"
    sources = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())
    [source] = sources["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    prometheus = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]

    providers = yaml.safe_load((provisioning / "dashboards" / "qsticky.yml").read_text())
    [provider] = providers["providers"]
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)
    grafana = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["grafana"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in grafana["volumes"]
