"""The JSON Schema of the YAML file: editors and qSticky must be of one mind about every file."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from docs import generate_schema
from exporter.config.load import load_config
from exporter.config.settings import SETTINGS, Kind, Setting
from exporter.errors import ConfigError

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "deploy" / "qsticky.yaml"
FORMATS = jsonschema.FormatChecker(["ipv6"])
PER_TUNNEL = [setting for setting in SETTINGS if setting.per_tunnel]

DOCUMENTS = {
    "one tunnel without a name": ("tunnels: [{}]", True),
    "one tunnel with a name": ("tunnels: [{name: seedbox-1.home_2}]", True),
    "two tunnels": ("tunnels: [{name: a}, {name: b}]", True),
    "an anchor": ("tunnels: [{name: a, gluetun: &g {host: h}}, {name: b, gluetun: *g}]", True),
    "a merge": ("tunnels: [&t {name: a, rebind: never}, {<<: *t, name: b}]", True),
    "nothing given": ("tunnels: [{rebind: , gluetun: {host: '', port: }}]", True),
    "a file without a mapping": ("tunnels", False),
    "a list at the top": ("[{name: a}]", False),
    "no tunnels": ("{}", False),
    "an empty list": ("tunnels: []", False),
    "tunnels by name": ("tunnels: {a: {}}", False),
    "another key at the top": ("{tunnels: [{}], interval: 30}", False),
    "a tunnel that is text": ("tunnels: [a]", False),
    "a tunnel that is nothing": ("tunnels: [null]", False),
    "an unknown key": ("tunnels: [{host: gluetun}]", False),
    "an unknown key of a server": ("tunnels: [{gluetun: {hots: gluetun}}]", False),
    "a server that is text": ("tunnels: [{gluetun: gluetun}]", False),
    "a server that is nothing": ("tunnels: [{gluetun: }]", False),
    "two tunnels, one name": ("tunnels: [{name: a}, {}]", False),
    "a number as a name": ("tunnels: [{name: 1}]", False),
    "an empty name": ("tunnels: [{name: ''}]", False),
    "a name with a space": ("tunnels: [{name: my seedbox}]", False),
    "a name that begins with a dot": ("tunnels: [{name: .a}]", False),
    "a name that is too long": (f"tunnels: [{{name: {'a' * 64}}}]", False),
}

VALUES: dict[Kind, tuple[list[Any], list[Any]]] = {
    Kind.TEXT: (
        ["text", "with: signs #'\"", "ünïcode", "", None],
        [83, False, 1.5, [], {}, "a\tb"],
    ),
    Kind.HOST: (
        ["gluetun", "a-b_c.example.com.", "10.0.0.1", "::1", "[fd00::1]", "", None],
        ["http://gluetun", "user@gluetun", "glue tun", "gluetun:8000", "1:2:3", 10, True, []],
    ),
    Kind.PORT: (
        [1, 8080, 65535, "8080", "00080", "", None],
        [0, -1, 65536, 123456, "0", "65536", "080808", "http", "80 ", True, 80.5, []],
    ),
    Kind.BOOLEAN: (
        [True, False, 1, 0, "yes", "Off", "TRUE", "", None],
        ["enabled", "y", 2, -1, [], {}],
    ),
    Kind.COUNT: ([0, 31, "7", "", None], [-1, 32, "one", 1.5, True, []]),
    Kind.SECONDS: ([0, 300, 86400, 512.5, "600", "600.5", "", None], [-1, 299, 86401, "1 h", []]),
    Kind.CHOICE: (["", None], ["sometimes", 1, True, []]),
}


def accepts(document: Any) -> bool:
    """Whether the schema accepts a document."""
    validator = jsonschema.Draft7Validator(generate_schema.schema(), format_checker=FORMATS)
    return bool(validator.is_valid(document))


def is_loaded(text: str, folder: Path) -> bool:
    """Whether qSticky accepts it as a file."""
    file = folder / "qsticky.yaml"
    file.write_text(text, encoding="utf-8")
    try:
        load_config({"QSTICKY_CONFIG": str(file)}, folder)
    except ConfigError:
        return False
    return True


def with_value(setting: Setting, value: Any) -> dict[str, Any]:
    """A file with this value and nothing else."""
    *section, key = setting.yaml_path
    return {"tunnels": [{section[0]: {key: value}} if section else {key: value}]}


def every_value() -> Iterator[Any]:
    """Each setting with right and wrong values of its kind."""
    for setting in PER_TUNNEL:
        if setting.kind is Kind.CA_FILE:
            continue  # whether a file is there is not for a schema to say
        right, wrong = VALUES[setting.kind]
        right = [*right, *setting.choices, *(word.upper() for word in setting.choices)]
        for value in right:
            yield pytest.param(setting, value, True, id=f"{setting.name}={value!r}")
        for value in wrong:
            yield pytest.param(setting, value, False, id=f"{setting.name}={value!r}")


@pytest.mark.parametrize(("text", "right"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_the_schema_and_the_program_agree_on_a_file(text: str, right: bool, tmp_path: Path) -> None:
    assert (is_loaded(text, tmp_path), accepts(yaml.safe_load(text))) == (right, right)


@pytest.mark.parametrize(("setting", "value", "right"), list(every_value()))
def test_the_schema_and_the_program_agree_on_a_value(
    setting: Setting, value: Any, right: bool, tmp_path: Path
) -> None:
    document = with_value(setting, value)

    assert (is_loaded(json.dumps(document), tmp_path), accepts(document)) == (right, right)


def test_every_setting_of_a_tunnel_and_every_secret_file_is_in_the_schema() -> None:
    tunnel = generate_schema.schema()["properties"]["tunnels"]["items"]["properties"]
    keys = {(name,) for name in tunnel} | {
        (section, key)
        for section in ("gluetun", "qbittorrent")
        for key in tunnel[section]["properties"]
    }

    files = {(*s.yaml_path[:-1], f"{s.yaml_path[-1]}_file") for s in PER_TUNNEL if s.secret}
    ours = {setting.yaml_path for setting in PER_TUNNEL} | files
    assert keys == ours | {("name",), ("gluetun",), ("qbittorrent",)}


def test_the_schema_is_one() -> None:
    jsonschema.Draft7Validator.check_schema(generate_schema.schema())


def test_the_file_with_the_schema_is_not_stale() -> None:
    assert generate_schema.SCHEMA.read_text(encoding="utf-8") == generate_schema.text(), (
        "run `make docs`"
    )


def test_the_example_names_the_schema_and_is_right_by_it(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    [named] = re.findall(r"^# yaml-language-server: \$schema=(\S+)$", text, re.MULTILINE)

    assert (EXAMPLE.parent / named).resolve() == generate_schema.SCHEMA
    assert accepts(yaml.safe_load(text))


def test_the_example_is_taken_as_it_is(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8").replace("/run/secrets", str(tmp_path))
    for name in re.findall(rf"{tmp_path}/(\S+)", text):
        (tmp_path / name).write_text("secret\n")
    file = tmp_path / "qsticky.yaml"
    file.write_text(text)

    config = load_config({"QSTICKY_CONFIG": str(file)}, tmp_path)

    assert [tunnel.name for tunnel in config.tunnels] == ["films", "music", "archive"]
    assert [tunnel.gluetun.port_index for tunnel in config.tunnels] == [0, 1, 0]
    assert config.warnings == ()
