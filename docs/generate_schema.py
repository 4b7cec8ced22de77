"""docs/qsticky.schema.json, with which editors complete the YAML file of tunnels.

It knows every key and the words of a closed set; `qsticky config --check` judges the values.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from exporter.config.settings import SETTINGS, Setting
from exporter.config.tunnels_file import NAME_PATTERN, SECTIONS

SCHEMA = Path(__file__).with_name("qsticky.schema.json")
ADDRESS = "https://raw.githubusercontent.com/qsticky/qsticky/main/docs/qsticky.schema.json"

Schema = dict[str, Any]


def schema() -> Schema:
    """Return the whole schema, JSON Schema draft 7: what most editors know."""
    name = {
        "description": "Its name in the metrics, the log and on the page; no two are the same.",
        "type": "string",
        "pattern": f"^{NAME_PATTERN}$",
    }
    sections = {section: _object(_keys(section)) for section in SECTIONS}
    tunnel = _object({"name": name} | sections | _keys())
    tunnels = {
        "description": "What a tunnel leaves out comes from the variable, then from the default.",
        "type": "array",
        "minItems": 1,
        "items": tunnel,
        # only a single tunnel may do without a name
        "anyOf": [{"maxItems": 1}, {"items": {"required": ["name"]}}],
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": ADDRESS,
        "title": "qSticky: the tunnels (QSTICKY_CONFIG)",
        "required": ["tunnels"],
        **_object({"tunnels": tunnels}),
    }


def text() -> str:
    """Return the file's content."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _object(properties: Schema) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _keys(*section: str) -> Schema:
    here = [s for s in SETTINGS if s.per_tunnel and s.yaml_path[:-1] == section]
    keys = {s.yaml_path[-1]: _value(s) for s in here}
    files = {
        f"{s.yaml_path[-1]}_file": {"description": f"The path of a file that holds {s.name}."}
        for s in here
        if s.kind.secret
    }
    return keys | files


def _value(setting: Setting) -> Schema:
    value: Schema = {"description": f"{setting.help} Variable: {setting.name}."}
    if setting.default:
        value["default"] = setting.default
    return value | ({"examples": list(setting.kind.words)} if setting.kind.words else {})
