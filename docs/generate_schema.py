"""Write docs/qsticky.schema.json, by which editors complete and check the YAML file of tunnels.

Run it with `python -m docs.generate_schema`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from exporter.config.kinds import FALSE_WORDS, TRUE_WORDS
from exporter.config.settings import SETTINGS, Kind, Setting
from exporter.config.tunnels_file import NAME_PATTERN

SCHEMA = Path(__file__).with_name("qsticky.schema.json")
ADDRESS = "https://raw.githubusercontent.com/qsticky/qsticky/main/docs/qsticky.schema.json"

Schema = dict[str, Any]

_PRINTABLE = r"^[^\u0000-\u001f\u007f-\u009f]*$"
_HOST_NAME = r"^(?:[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?)?$"
_PORT_TEXT = (
    "^(?=.{1,5}$)0*(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}"
    "|655[0-2][0-9]|6553[0-5])$"
)
_SECTIONS = {
    "gluetun": "Gluetun's control server.",
    "qbittorrent": "The qBittorrent behind it.",
}


def schema() -> Schema:
    """The whole schema, JSON Schema draft 7: what most editors know."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": ADDRESS,
        "title": "qSticky: the tunnels (QSTICKY_CONFIG)",
        "description": "What a tunnel leaves out comes from the variable, then from the default.",
        "type": "object",
        "additionalProperties": False,
        "required": ["tunnels"],
        "properties": {
            "tunnels": {
                "description": "Each is one Gluetun port and the one qBittorrent behind it.",
                "type": "array",
                "minItems": 1,
                "items": _tunnel(),
                # only a single tunnel may do without a name
                "anyOf": [{"maxItems": 1}, {"items": {"required": ["name"]}}],
            }
        },
    }


def text() -> str:
    """The file's content."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _tunnel() -> Schema:
    name = {
        "description": "Its name in the metrics, the log and on the page; no two are the same.",
        "type": "string",
        "pattern": f"^{NAME_PATTERN}$",
        "default": "default",
    }
    properties: Schema = {"name": name}
    for section, text_ in _SECTIONS.items():
        keys = _keys(section)
        properties[section] = {
            "description": text_,
            "type": "object",
            "additionalProperties": False,
            "properties": keys,
        }
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties | _keys(),
    }


def _keys(*section: str) -> Schema:
    keys: Schema = {}
    for setting in SETTINGS:
        if not setting.per_tunnel or setting.yaml_path[:-1] != section:
            continue
        key = setting.yaml_path[-1]
        described: Schema = {"description": f"{setting.help} Variable: {setting.name}."}
        if setting.default:
            described["default"] = _default(setting)
        keys[key] = described | _value(setting)
        if setting.secret:
            keys[f"{key}_file"] = {
                "description": f"The path of a file that holds it. Variable: {setting.name}_FILE.",
                "type": ["string", "null"],
            }
    return keys


def _default(setting: Setting) -> bool | int | float | str:
    match setting.kind:
        case Kind.BOOLEAN:
            return setting.default == "true"
        case Kind.PORT | Kind.COUNT:
            return int(setting.default)
        case Kind.SECONDS:
            return float(setting.default) if "." in setting.default else int(setting.default)
        case _:
            return setting.default


def _value(setting: Setting) -> Schema:
    """What the value may be; nothing at all and empty text count as not set."""
    match setting.kind:
        case Kind.TEXT:
            return {"type": ["string", "null"], "pattern": _PRINTABLE}
        case Kind.HOST:
            # an address in brackets is checked no further
            ipv6: Schema = {"type": "string", "format": "ipv6", "pattern": ":"}
            either = [_text(_HOST_NAME), ipv6, _text(r"^\[[0-9A-Fa-f:.]+\]$")]
        case Kind.PORT:
            number: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
            either = [number, _text(_PORT_TEXT)]
        case Kind.BOOLEAN:
            words = _text(_any_case((*TRUE_WORDS, *FALSE_WORDS)))
            either = [{"type": "boolean"}, {"enum": [0, 1]}, words]
        case Kind.CHOICE:
            either = [{"enum": list(setting.choices)}, _text(_any_case(setting.choices))]
        case Kind.COUNT | Kind.SECONDS:
            either = _numbers(setting)
        case _:
            return {"type": ["string", "null"]}
    return {"anyOf": [*either, {"type": ["string", "null"], "maxLength": 0}]}


def _text(pattern: str) -> Schema:
    return {"type": "string", "pattern": pattern}


def _numbers(setting: Setting) -> list[Schema]:
    """Numbers within the limits; as text, only their form is checked."""
    kind, form = (
        ("integer", "[0-9]+") if setting.kind is Kind.COUNT else ("number", r"[0-9]+(?:\.[0-9]+)?")
    )
    limits: Schema = {"type": kind, "minimum": setting.minimum, "maximum": setting.maximum}
    zero: list[Schema] = [{"const": 0}] if setting.zero_means_never else []
    return [limits, *zero, _text(f"^{form}$")]


def _any_case(words: tuple[str, ...]) -> str:
    """A pattern for these words in capitals or not."""
    either = (
        "".join(f"[{letter}{letter.upper()}]" if letter.isalpha() else letter for letter in word)
        for word in map(re.escape, words)
    )
    return f"^(?:{'|'.join(either)})$"


if __name__ == "__main__":
    SCHEMA.write_text(text(), encoding="utf-8")
