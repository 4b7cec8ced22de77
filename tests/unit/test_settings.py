"""The table of settings, and the pages that are made from it."""

import re
from pathlib import Path

import pytest

from docs import generate_settings
from exporter.config.load import load_config
from exporter.config.settings import SETTINGS, Setting

PAGE = Path(generate_settings.__file__).with_name("configuration.md")
EVERY_SETTING = pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)


def test_the_existing_variables_keep_their_names_and_defaults() -> None:
    existing = {
        "QBITTORRENT_HOST": "gluetun",
        "QBITTORRENT_PORT": "8080",
        "QBITTORRENT_USER": "admin",
        "QBITTORRENT_PASS": "adminadmin",
        "QBITTORRENT_API_KEY": "",
        "QBITTORRENT_HTTPS": "false",
        "QBITTORRENT_VERIFY_SSL": "false",
        "GLUETUN_HOST": "gluetun",
        "GLUETUN_PORT": "8000",
        "GLUETUN_AUTH_TYPE": "apikey",
        "GLUETUN_USERNAME": "",
        "GLUETUN_PASSWORD": "",
        "GLUETUN_APIKEY": "",
        "CHECK_INTERVAL": "30",
        "LOG_LEVEL": "INFO",
        "HEALTH_FILE": "",
    }
    ours = {setting.name: setting.default for setting in SETTINGS}

    assert {name: ours.get(name) for name in existing} == existing


def test_the_secrets_are_the_passwords_and_the_keys() -> None:
    assert [setting.name for setting in SETTINGS if setting.kind.secret] == [
        "QBITTORRENT_PASS",
        "QBITTORRENT_API_KEY",
        "GLUETUN_APIKEY",
        "GLUETUN_PASSWORD",
        "REACHABILITY_PROXY",
        "NOTIFY_URLS",
    ]


def test_the_keys_in_yaml_mirror_the_variables() -> None:
    paths = {setting.name: setting.yaml_path for setting in SETTINGS}

    assert paths["QBITTORRENT_API_KEY"] == ("qbittorrent", "api_key")
    assert paths["GLUETUN_AUTH_TYPE"] == ("gluetun", "auth_type")
    assert paths["REBIND"] == ("rebind",)
    assert paths["CHECK_INTERVAL"] == ()


@EVERY_SETTING
def test_a_default_is_a_right_value_and_the_help_a_sentence(setting: Setting) -> None:
    setting.kind.parse(setting.default)
    assert re.fullmatch(r"(?:[A-Z]|qBittorrent)[^|\n]*\.", setting.help)


def test_what_is_expected_of_values_is_said_in_these_words() -> None:
    assert {setting.kind.expected for setting in SETTINGS} == {
        "text",
        "a host name or address",
        "host names or addresses, separated by commas",
        "a port, 1 to 65535",
        "a path such as /qbittorrent",
        "true or false",
        "a whole number, 0 to 31",
        "seconds, 1 to 3600",
        "seconds, 0.1 to 60",
        "seconds, 300 to 86400, or 0 for never",
        "seconds, 60 to 86400",
        "an http or https URL with {port} in its path",
        "a URL such as http://gluetun:8888",
        "one of apikey, basic, none",
        "one of auto, always, never",
        "one of DEBUG, INFO, WARNING, ERROR, CRITICAL",
        "one of text, json",
        "URLs of Apprise, separated by blanks or commas",
        "some of problem, recovery, port_change",
        "the path of a file",
        "the path of a readable file",
        "the path of a readable PEM file",
        "host:port, :port, or empty for none",
    }


def test_a_row_of_a_page_says_all_about_a_setting() -> None:
    assert (
        "| `QBITTORRENT_PASS` | `qbittorrent.pass` | text | `adminadmin` "
        "| Password of the Web UI. Secret. |"
    ) in generate_settings.settings_table()
    assert (
        "| `QBITTORRENT_PASS` | `adminadmin` | Password of the Web UI. Secret. |"
    ) in generate_settings.variables_table()


def test_the_yaml_example_of_the_page_is_taken_as_it_is(tmp_path: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    [example] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    file = tmp_path / "qsticky.yml"
    file.write_text(example.replace("/run/secrets", str(tmp_path)), encoding="utf-8")
    (tmp_path / "gluetun_1").write_text("key\n")
    (tmp_path / "qbittorrent_1").write_text("password\n")

    config = load_config({"QSTICKY_CONFIG": str(file)}, tmp_path)

    assert [tunnel.name for tunnel in config.tunnels] == ["seedbox-1", "seedbox-2"]
    assert config.tunnels[0].gluetun.apikey.value == "key"
    assert config.tunnels[1].qbittorrent.server.url == "http://gluetun-2:8081"
    assert config.warnings == ()
