"""The dashboards, held to the rules of Grafana's dashboard-linter and to our metrics."""

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

from docs import generate_dashboards
from exporter.model import SyncState
from exporter.report.metrics import Metrics
from exporter.web.words import WORDS
from tests.outcomes import OUTCOMES
from tests.parts import monitoring

GRAFANA = Path(__file__).parents[2] / "grafana"
NAMES = sorted(file.name for file in (GRAFANA / "dashboards").iterdir())
OURS = {"type": "prometheus", "uid": "${datasource}"}

UNITS = {"none", "percentunit", "s", "bytes", "dateTimeFromNow"}
"""The ones that we use of those that Grafana knows."""
FROM_PROMETHEUS = {"up", "ALERTS"}
CLIENT_LIBRARY = "process_"

RANGED = {"$__rate_interval": "5m", "$__range": "6h"}
SELECTOR = re.compile(r"\b([a-z_]+|ALERTS)\{([^}]*)\}(\[[^]]*\])?", re.DOTALL)
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


def targets(dashboard: Json) -> Iterator[Json]:
    return (target for panel in panels(dashboard) for target in panel["targets"])


def variables(dashboard: Json) -> dict[str, Json]:
    return {variable["name"]: variable for variable in dashboard["templating"]["list"]}


def expressions(dashboard: Json) -> list[str]:
    asked = [target["expr"] for target in targets(dashboard)]
    noted = [note["target"]["expr"] for note in dashboard["annotations"]["list"]]
    return asked + noted


def filled_in(expression: str) -> str:
    for name, value in RANGED.items():
        expression = expression.replace(name, value)
    return re.sub(r"\$(job|instance|tunnel)\b", ".+", expression)


# The rules of dashboard-linter, by name. The two on LogQL ask that Loki's queries are right.


@EVERY_DASHBOARD
def test_the_data_source_can_be_chosen(dashboard: Json) -> None:  # template-datasource
    sources = [v for v in variables(dashboard).values() if v["type"] == "datasource"]
    assert [(v["name"], v["label"], v["query"]) for v in sources] == [
        ("datasource", "Data source", "prometheus")
    ]


@EVERY_DASHBOARD
def test_job_instance_and_tunnel_can_be_chosen(dashboard: Json) -> None:
    # template-job, template-instance; a tunnel may be missing where others have no such label
    for name, everything in {"job": ".+", "instance": ".+", "tunnel": ".*"}.items():
        variable = variables(dashboard)[name]
        assert variable["type"] == "query"
        assert variable["label"] == name.title()
        assert variable["datasource"] == OURS
        assert variable["multi"] is True
        assert variable["includeAll"] is True
        assert variable["allValue"] == everything


@EVERY_DASHBOARD
def test_choices_come_from_our_own_series(dashboard: Json) -> None:  # template-label-promql
    queries = [v["query"] for v in variables(dashboard).values() if v["type"] == "query"]
    assert queries == [
        "label_values(qsticky_build_info, job)",
        'label_values(qsticky_build_info{job=~"$job"}, instance)',
        'label_values(qsticky_port_in_sync{job=~"$job", instance=~"$instance"}, tunnel)',
    ]


@EVERY_DASHBOARD
def test_choices_follow_the_time_range(dashboard: Json) -> None:  # template-on-time-change-reload
    assert {v["refresh"] for v in variables(dashboard).values() if v["type"] == "query"} == {2}


@EVERY_DASHBOARD
def test_everything_asks_the_chosen_data_source(dashboard: Json) -> None:  # panel-datasource
    assert all(panel["datasource"] == OURS for panel in panels(dashboard))
    assert all(target["datasource"] == OURS for target in targets(dashboard))
    for note in dashboard["annotations"]["list"]:
        assert note["datasource"] == note["target"]["datasource"] == OURS


@EVERY_PANEL
def test_a_panel_has_a_title_and_says_what_it_shows(panel: Json) -> None:
    assert panel["title"]  # panel-title-description
    assert re.fullmatch(r"[^$]+\.", panel["description"], re.DOTALL)


@EVERY_PANEL
def test_a_value_is_shown_as_words_or_with_its_unit(panel: Json) -> None:  # panel-units
    defaults = panel["fieldConfig"]["defaults"]
    assert "mappings" in defaults or defaults["unit"] in UNITS


@EVERY_PANEL
def test_a_panel_asks_something(panel: Json) -> None:  # panel-no-targets
    assert panel["targets"]
    assert [target["refId"] for target in panel["targets"]] == list(
        "ABCDEFGH"[: len(panel["targets"])]
    )
    assert all(target["expr"] for target in panel["targets"])


@EVERY_DASHBOARD
def test_nothing_asks_loki(dashboard: Json) -> None:  # target-logql, target-logql-auto
    assert "loki" not in json.dumps(dashboard).lower()


@pytest.mark.parametrize("version", monitoring.VERSIONS)
def test_prometheus_understands_every_query(version: str, tmp_path: Path) -> None:  # target-promql
    promtool = monitoring.or_skip(lambda: monitoring.promtool(version))
    asked = [filled_in(expression) for name in NAMES for expression in expressions(load(name))]
    rules = [{"record": f"query:{n}", "expr": expression} for n, expression in enumerate(asked)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    checked = monitoring.run(promtool, "check", "rules", "--lint=none", file)
    assert checked.returncode == 0, checked.stdout
    assert f"SUCCESS: {len(asked)} rules found" in checked.stdout


@EVERY_DASHBOARD
def test_a_rate_adapts_to_the_scrape_interval(dashboard: Json) -> None:  # target-rate-interval
    for expression in expressions(dashboard):
        for ranged in re.findall(r"\bi?rate\([^[]*\[([^]]*)\]", expression):
            assert ranged == "$__rate_interval", expression


@EVERY_DASHBOARD
def test_a_query_asks_the_chosen_job_and_instance_only(dashboard: Json) -> None:
    # target-job, target-instance
    for expression in (target["expr"] for target in targets(dashboard)):
        found = SELECTOR.findall(expression)
        assert found, expression
        for _, matchers, _ in found:
            chosen = MATCHER.findall(matchers)
            assert ("job", "=~", "$job") in chosen, expression
            assert ("instance", "=~", "$instance") in chosen, expression


@EVERY_DASHBOARD
def test_a_counter_is_only_used_for_what_it_grew_by(dashboard: Json) -> None:  # target-counter-agg
    for expression in expressions(dashboard):
        for counter in re.finditer(r"\b\w+_total\{", expression):
            before = expression[: counter.start()]
            assert before.endswith(("rate(", "increase(")), expression


@EVERY_DASHBOARD
def test_a_dashboard_is_not_edited_where_an_update_would_undo_it(dashboard: Json) -> None:
    assert dashboard["editable"] is False  # uneditable-dashboard


# What the linter doesn't ask, and we do.


@pytest.mark.parametrize("name", NAMES)
def test_the_dashboards_are_up_to_date(name: str) -> None:
    text = (GRAFANA / "dashboards" / name).read_text(encoding="utf-8")
    assert text == generate_dashboards.generated(name), "run `make docs`"


def test_every_dashboard_is_generated() -> None:
    assert sorted(generate_dashboards.DASHBOARDS) == NAMES


@EVERY_DASHBOARD
def test_a_dashboard_can_be_imported_by_hand_and_provisioned(dashboard: Json) -> None:
    assert dashboard["id"] is None
    assert re.fullmatch(r"qsticky-[a-z]{1,32}", dashboard["uid"])
    assert 39 <= dashboard["schemaVersion"] <= 41
    assert "__inputs" not in dashboard
    assert "__requires" not in dashboard
    assert "DS_PROMETHEUS" not in json.dumps(dashboard)


def test_the_dashboards_lead_to_each_other_and_to_the_documents() -> None:
    uids = {load(name)["uid"] for name in NAMES}
    documents = Path(__file__).parents[2] / "docs"
    for name in NAMES:
        dashboard = load(name)
        urls = [link["url"] for link in dashboard["links"]]
        inside = [url for url in urls if url.startswith("/d/")]
        outside = [url for url in urls if url not in inside]
        assert {url.removeprefix("/d/") for url in inside} == uids - {dashboard["uid"]}
        assert outside
        assert all((documents / url.rpartition("/docs/")[2]).is_file() for url in outside)


@EVERY_DASHBOARD
def test_panels_lie_side_by_side_within_the_width(dashboard: Json) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        rows = range(place["y"], place["y"] + place["h"])
        columns = range(place["x"], place["x"] + place["w"])
        cells = {(x, y) for x in columns for y in rows}
        assert columns.stop <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


@EVERY_PANEL
def test_a_panel_never_falls_back_on_grafanas_thresholds(panel: Json) -> None:
    # which show everything from 80 on in red, a port number too
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert steps[0]["value"] is None
    assert panel["fieldConfig"]["defaults"]["noValue"]


@EVERY_PANEL
def test_a_port_is_shown_as_the_number_that_it_is(panel: Json) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    for target in panel["targets"]:
        if re.search(r"qsticky_(forwarded|qbittorrent_listen)_port", target["expr"]):
            assert (defaults["unit"], defaults["decimals"]) == ("none", 0)


@EVERY_PANEL
def test_a_series_has_a_name_for_people(panel: Json) -> None:
    if panel["type"] != "table":  # which shows the labels themselves
        assert all(target["legendFormat"] for target in panel["targets"])


@EVERY_PANEL
def test_what_is_said_of_now_is_asked_for_now(panel: Json) -> None:
    # else the last value stays in sight when qSticky is gone
    if panel["type"] in {"stat", "table"}:
        assert all(t["instant"] and not t["range"] for t in panel["targets"])


@EVERY_DASHBOARD
def test_port_changes_restarts_and_alerts_are_marked(dashboard: Json) -> None:
    notes = {note["name"]: note for note in dashboard["annotations"]["list"]}
    assert set(notes) == {"Port changes", "Restarts of qSticky", "Alerts"}
    assert notes["Port changes"]["useValueForTime"] is True
    assert "qsticky_port_last_change_timestamp_seconds" in notes["Port changes"]["target"]["expr"]
    assert all(note["enable"] for note in notes.values())


def test_every_state_has_the_words_of_the_status_page() -> None:
    shown = {panel["title"]: panel for panel in panels(load("qsticky-overview.json"))}
    timeline = shown["State"]["fieldConfig"]["defaults"]["mappings"][0]["options"]
    answers = shown["Open now?"]["fieldConfig"]["defaults"]["mappings"][0]["options"]
    for number, state in enumerate(SyncState, 1):
        assert timeline[str(number)]["text"] == WORDS[state].label
        assert (
            f'{number} * qsticky_sync_state{{job=~"$job", instance=~"$instance", '
            + (f'state="{state.value}"}}')
            in (shown["Open now?"]["targets"][0]["expr"])
        )
    assert answers["1"] == {"text": "Yes", "color": "green", "index": 0}
    texts = [answer["text"] for answer in answers.values()]
    assert len(texts) == len(set(texts))
    assert [text for text in texts if not text.startswith(("Yes", "No: ", "Unknown: "))] == [
        "Starting",
        "qSticky is stuck",
        "qSticky is down",
    ]


# Against the metrics that there are.


def exported() -> dict[str, list[dict[str, str]]]:
    metrics = Metrics("2.0.0", "abc", 30.0, ["default"], clock=lambda: 0.0)
    metrics.publish(OUTCOMES[SyncState.IN_SYNC])
    series: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(generate_latest(metrics.registry).decode()):
        for sample in family.samples:
            series.setdefault(sample.name, []).append(dict(sample.labels))
    return series


@EVERY_DASHBOARD
def test_every_metric_and_label_value_exists(dashboard: Json) -> None:
    series = exported()
    for expression in expressions(dashboard):
        for metric, matchers, _ in SELECTOR.findall(expression):
            if metric in FROM_PROMETHEUS:
                continue
            assert metric in series, expression
            for label, operator, value in MATCHER.findall(matchers):
                if label in {"job", "instance"}:
                    continue
                values = {labels[label] for labels in series[metric]}
                assert operator == "=" or value == "$tunnel", expression
                assert value == "$tunnel" or value in values, expression


@EVERY_DASHBOARD
def test_every_label_that_is_grouped_by_or_shown_exists(dashboard: Json) -> None:
    series = exported()
    for panel in panels(dashboard):
        for target in panel["targets"]:
            metrics = [m for m, _, _ in SELECTOR.findall(target["expr"])]
            known = {"job", "instance"}.union(*(series.get(m, [{}])[0] for m in metrics))
            grouped = re.findall(r"\bby \(([^)]*)\)", target["expr"])
            assert {label for group in grouped for label in group.split(", ")} <= known
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= known


@EVERY_DASHBOARD
def test_a_process_is_only_counted_where_it_is_qsticky(dashboard: Json) -> None:
    for expression in expressions(dashboard):
        if CLIENT_LIBRARY in expression:
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
    """What Grafana's own library makes of it; keys that it doesn't know are gone."""
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


def test_grafana_finds_prometheus_and_scrapes_as_often_as_it_thinks() -> None:
    file = GRAFANA / "provisioning" / "datasources" / "prometheus.yml"
    document = yaml.safe_load(file.read_text())
    assert document["apiVersion"] == 1
    (source,) = document["datasources"]
    assert (source["type"], source["uid"], source["isDefault"]) == (
        "prometheus",
        "prometheus",
        True,
    )
    prometheus = yaml.safe_load((GRAFANA.parent / "deploy/prometheus/prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]


def test_grafana_finds_the_dashboards_where_no_json_lies_beside_the_provider() -> None:
    folder = GRAFANA / "provisioning" / "dashboards"
    assert [file.name for file in folder.iterdir()] == ["qsticky.yml"]
    document = yaml.safe_load((folder / "qsticky.yml").read_text())
    assert document["apiVersion"] == 1
    (provider,) = document["providers"]
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
