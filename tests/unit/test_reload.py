"""What a reload changes: seen from the old and the new configuration alone."""

from pathlib import Path

import pytest

from exporter.config.load import Config, load_config
from exporter.daemon.reload import Changes, compare, needing_restart

FOLDER = Path("/nonexistent")


def configured(file: Path, text: str, **environ: str) -> Config:
    file.write_text(text)
    return load_config({"QSTICKY_CONFIG": str(file), "GLUETUN_APIKEY": "key", **environ}, FOLDER)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "qsticky.yaml"


def changes(file: Path, before: str, after: str) -> Changes:
    return compare(configured(file, before).tunnels, configured(file, after).tunnels)


def test_names_tell_which_tunnel_is_which(file: Path) -> None:
    before = "tunnels: [{name: a}, {name: b}, {name: c, rebind: never}]"
    after = "tunnels: [{name: d}, {name: c, rebind: always}, {name: b}]"
    found = changes(file, before, after)
    assert found == Changes(added=("d",), removed=("a",), changed=("c",), kept=("b",))
    assert str(found) == "1 added, 1 removed, 1 changed, 1 unchanged"


@pytest.mark.parametrize(
    "keys",
    [
        "gluetun: {port: 8001}",
        "gluetun: {apikey: other}",
        "qbittorrent: {pass: other}",
        "rebind: never",
        "reachability_url: 'http://box/{port}'",
    ],
)
def test_any_other_value_is_a_change(keys: str, file: Path) -> None:
    assert changes(file, "tunnels: [{name: a}]", f"tunnels: [{{name: a, {keys}}}]").changed == (
        "a",
    )


def test_a_secret_file_with_another_content_is_no_change(file: Path, tmp_path: Path) -> None:
    secret, text = tmp_path / "s", f"tunnels: [{{qbittorrent: {{pass_file: {tmp_path / 's'}}}}}]"
    secret.write_text("old")
    before = configured(file, text).tunnels
    secret.write_text("new")
    assert compare(before, configured(file, text).tunnels).kept == ("default",)


def test_an_api_key_file_that_was_filled_is_a_change(file: Path, tmp_path: Path) -> None:
    secret, text = tmp_path / "s", f"tunnels: [{{qbittorrent: {{api_key_file: {tmp_path / 's'}}}}}]"
    secret.write_text("")
    before = configured(file, text).tunnels
    secret.write_text("key")
    assert compare(before, configured(file, text).tunnels).changed == ("default",)


def test_names_what_needs_a_restart(file: Path) -> None:
    text = "tunnels: [{}]"
    before = configured(file, text)
    after = configured(file, text, WEB_LISTEN_ADDRESS=":9000", NOTIFY_URLS="json://a")
    assert needing_restart(before, before) == ()
    assert needing_restart(before, after) == ("WEB_LISTEN_ADDRESS", "NOTIFY_URLS")
    assert needing_restart(before, before._replace(health_file=Path("/x"))) == ("HEALTH_FILE",)
