"""The parts that dashboards are made of, as Grafana's classic JSON wants them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from docs.dashboards.words import ALL, BLUE, CHOSEN, OURS, PURPLE, RED, WHICH, Json

HOME = "https://github.com/qsticky/qsticky/blob/main/docs"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


class Place(NamedTuple):
    """Where a panel stands; the whole width is 24."""

    x: int
    y: int
    w: int
    h: int


class About(NamedTuple):
    """What every panel says of itself, and where it stands."""

    title: str
    description: str
    place: Place


def steps(base: str, *above: tuple[float, str]) -> Json:
    """Thresholds: the colour from the bottom up, and from each value on."""
    pairs = [(None, base), *above]
    return {"mode": "absolute", "steps": [{"value": v, "color": c} for v, c in pairs]}


def target(ref: str, expr: str, legend: str, **more: object) -> Json:
    """One query of a panel."""
    kind: Json = {"instant": False, "range": True} | more
    return {"refId": ref, "datasource": DATASOURCE, "expr": expr, "legendFormat": legend, **kind}


def now(ref: str, expr: str, legend: str) -> Json:
    """A query for this moment, so that an old value is never taken for the present one."""
    return target(ref, expr, legend, instant=True, range=False)


def override(matcher: str, name: str, **properties: object) -> Json:
    """Settings for some of a panel's series; `__` in a name stands for a dot."""
    return {
        "matcher": {"id": matcher, "options": name},
        "properties": [{"id": k.replace("__", "."), "value": v} for k, v in properties.items()],
    }


def panel(kind: str, about: About, targets: list[Json], options: Json, fields: Json) -> Json:
    """What all panels have."""
    return {
        "type": kind,
        "title": about.title,
        "description": about.description,
        "gridPos": about.place._asdict(),
        "datasource": DATASOURCE,
        "targets": targets,
        "options": options,
        "fieldConfig": fields,
    }


def fields(overrides: Iterable[Json], **defaults: object) -> Json:
    """How values look; never Grafana's own thresholds, which show a port in red."""
    base = {"thresholds": steps("text"), "noValue": "no data"}
    return {"defaults": base | defaults, "overrides": list(overrides)}


def row(title: str, y: int) -> Json:
    """A heading."""
    place = Place(0, y, 24, 1)._asdict()
    return {"type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}


def stat(
    about: About,
    targets: list[Json],
    *,
    text: str,
    color: str = "value",
    overrides: Iterable[Json] = (),
    **defaults: object,
) -> Json:
    """Large numbers or words."""
    options: Json = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": color,
        "graphMode": "none",
        "textMode": text,
        "justifyMode": "center",
        "orientation": "auto",
    }
    if color == "background":
        options["text"] = {"titleSize": 12}  # of many tiles, too; Grafana would shrink it to 5
    defaults = {"color": {"mode": "thresholds"}} | defaults
    return panel("stat", about, targets, options, fields(overrides, **defaults))


def timeline(about: About, expr: str, words: list[Json]) -> Json:
    """A coloured bar for each tunnel, over time."""
    options = {
        "mergeValues": True,
        "showValue": "auto",
        "alignValue": "left",
        "rowHeight": 0.85,
        "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom"},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    how = fields(
        (),
        mappings=words,
        color={"mode": "thresholds"},
        custom={"fillOpacity": 80, "lineWidth": 0, "spanNulls": False},
    )
    return panel("state-timeline", about, [target("A", expr, WHICH)], options, how)


def graph(
    about: About,
    targets: list[Json],
    *,
    legend: str = "bottom",
    drawing: Json | None = None,
    overrides: Iterable[Json] = (),
    **defaults: object,
) -> Json:
    """Lines over time; no last values beside them, which may be old."""
    options = {
        "legend": {
            "showLegend": True,
            "displayMode": "list",
            "placement": legend,
            "calcs": [],
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    lines = {"drawStyle": "line", "lineWidth": 2, "fillOpacity": 0, "showPoints": "never"}
    custom = lines | {"spanNulls": False} | (drawing or {})
    defaults = {"color": {"mode": "palette-classic"}, "custom": custom} | defaults
    return panel("timeseries", about, targets, options, fields(overrides, **defaults))


BARS = {
    "drawStyle": "bars",
    "fillOpacity": 70,
    "lineWidth": 0,
    "stacking": {"mode": "normal", "group": "A"},
}

LOGARITHMIC = {"scaleDistribution": {"type": "log", "log": 10}}
"""Milliseconds and seconds on one scale."""


def variable(name: str, query: str, everything: str) -> Json:
    """A choice at the top of a dashboard, filled from the labels that there are."""
    return {
        "type": "query",
        "name": name,
        "label": name.title(),
        "datasource": DATASOURCE,
        "query": query,
        "definition": query,
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": everything,
        "sort": 1,
        "hide": 0,
        "skipUrlSync": False,
        "current": {"text": ["All"], "value": ["$__all"]},
        "options": [],
    }


VARIABLES = [
    {
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "query": "prometheus",
        "refresh": 1,
        "multi": False,
        "includeAll": False,
        "hide": 0,
        "skipUrlSync": False,
        "options": [],
    },
    variable("job", "label_values(qsticky_build_info, job)", ".+"),
    variable("instance", 'label_values(qsticky_build_info{job=~"$job"}, instance)', ".+"),
    variable("tunnel", f"label_values(qsticky_port_in_sync{{{ALL}}}, tunnel)", ".*"),
]


def annotation(name: str, color: str, expr: str, title: str, *, at_value: bool) -> Json:
    """Marks on every graph; `at_value`: the value is the time, in milliseconds."""
    return {
        "name": name,
        "enable": True,
        "hide": False,
        "iconColor": color,
        "datasource": DATASOURCE,
        "target": target("Anno", expr, ""),
        "titleFormat": title,
        "useValueForTime": at_value,
    }


MAYBE_CHOSEN = 'job=~"$job|", instance=~"$instance|", tunnel=~"$tunnel|"'
"""An alert on the process has no tunnel, and one that misses qSticky has no labels at all."""
ANNOTATIONS = [
    annotation(
        "Port changes",
        BLUE,
        f"(qsticky_port_last_change_timestamp_seconds{{{CHOSEN}}} > 0) * 1000",
        "The VPN's port changed: {{tunnel}}",
        at_value=True,
    ),
    annotation(
        "Restarts of qSticky",
        PURPLE,
        f"(process_start_time_seconds{{{ALL}}} {OURS}) * 1000",
        "qSticky started: {{instance}}",
        at_value=True,
    ),
    annotation(
        "Alerts",
        RED,
        f'ALERTS{{alertname=~"QSticky.+", alertstate="firing", {MAYBE_CHOSEN}}}',
        "{{alertname}} {{tunnel}}",
        at_value=False,
    ),
]


def link(title: str, url: str, icon: str, *, keep: bool) -> Json:
    """A link at the top; `keep`: take the chosen time and variables along."""
    return {
        "type": "link",
        "title": title,
        "url": url,
        "icon": icon,
        "tooltip": "",
        "tags": [],
        "asDropdown": False,
        "targetBlank": not keep,
        "includeVars": keep,
        "keepTime": keep,
    }


DOCUMENTS = [
    link("What to do when an alert comes", f"{HOME}/runbooks.md", "doc", keep=False),
    link("Metrics", f"{HOME}/metrics.md", "doc", keep=False),
]
OVERVIEW_LINK = link("Overview", "/d/qsticky-overview", "dashboard", keep=True)
DETAILS_LINK = link("Details", "/d/qsticky-details", "dashboard", keep=True)


def dashboard(uid: str, title: str, description: str, other: Json, panels: list[Json]) -> Json:
    """What both dashboards have."""
    for number, one in enumerate(panels, 1):
        one["id"] = number
    return {
        "id": None,
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["qsticky"],
        "schemaVersion": 41,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "timezone": "browser",
        "liveNow": False,
        "links": [other, *DOCUMENTS],
        "templating": {"list": VARIABLES},
        "annotations": {"list": ANNOTATIONS},
        "panels": panels,
    }
