"""The JSON Schema with which editors complete the YAML file of tunnels."""

import re
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from docs import generate_schema
from exporter.config.load import load_config

EXAMPLE = Path(__file__).parents[2] / "deploy" / "qsticky.yaml"


def accepts(document: Any) -> bool:
    return bool(jsonschema.Draft7Validator(generate_schema.schema()).is_valid(document))


def test_it_is_a_schema() -> None:
    jsonschema.Draft7Validator.check_schema(generate_schema.schema())


def test_it_refuses_unknown_keys_and_tunnels_without_names() -> None:
    assert accepts({"tunnels": [{"gluetun": {"apikey_file": "/f"}, "rebind": "Never"}]})
    assert not accepts({"tunnels": []})
    assert not accepts({"tunnels": [{}], "check_interval": 30})
    assert not accepts({"tunnels": [{"gluetun": {"hots": "gluetun"}}]})
    assert not accepts({"tunnels": [{"qbittorrent": "gluetun"}]})
    assert not accepts({"tunnels": [{"name": "a"}, {}]})
    assert not accepts({"tunnels": [{"name": "my seedbox"}]})


def test_the_example_is_taken_as_it_is(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8").replace("/run/secrets", str(tmp_path))
    for name in re.findall(rf"{tmp_path}/(\S+)", text):
        (tmp_path / name).write_text("secret\n")
    file = tmp_path / "qsticky.yaml"
    file.write_text(text)

    config = load_config({"QSTICKY_CONFIG": str(file)}, tmp_path)

    assert accepts(yaml.safe_load(text))
    assert [tunnel.name for tunnel in config.tunnels] == ["films", "music", "archive"]
    assert [tunnel.gluetun.port_index for tunnel in config.tunnels] == [0, 1, 0]
    assert config.warnings == ()
