"""The table of settings, and the pages that are made from it."""

import re
from pathlib import Path

import pytest

from docs import generate_settings
from exporter.config.kinds import check
from exporter.config.load import load_config
from exporter.config.settings import SETTINGS, Setting

EXISTING = {
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
"""The variables of the tool that people switch from, with its defaults."""


def test_the_existing_variables_keep_their_names_and_defaults() -> None:
    ours = {setting.name: setting.default for setting in SETTINGS}

    assert {name: ours.get(name) for name in EXISTING} == EXISTING


def test_the_secrets_are_the_passwords_and_the_keys() -> None:
    assert [setting.name for setting in SETTINGS if setting.secret] == [
        "QBITTORRENT_PASS",
        "QBITTORRENT_API_KEY",
        "GLUETUN_APIKEY",
        "GLUETUN_PASSWORD",
    ]


def test_the_keys_in_yaml_mirror_the_variables() -> None:
    paths = {setting.name: setting.yaml_path for setting in SETTINGS}

    assert paths["QBITTORRENT_API_KEY"] == ("qbittorrent", "api_key")
    assert paths["GLUETUN_AUTH_TYPE"] == ("gluetun", "auth_type")
    assert paths["REBIND"] == ("rebind",)
    assert paths["CHECK_INTERVAL"] == ()


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_default_is_a_right_value(setting: Setting) -> None:
    check(setting, setting.default)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_setting_is_explained_in_a_sentence_that_fits_a_table(setting: Setting) -> None:
    assert re.fullmatch(r"(?:[A-Z]|qBittorrent)[^|\n]*\.", setting.help)


def test_the_page_about_the_configuration_is_not_stale() -> None:
    page = generate_settings.PAGE.read_text(encoding="utf-8")

    assert page == generate_settings.generated(page), "run `make docs`"


def test_a_row_of_the_page_says_all_about_a_setting() -> None:
    assert (
        "| `GLUETUN_AUTH_TYPE` | `gluetun.auth_type` | one of apikey, basic, none | `apikey` "
        "| How to authenticate with the control server. |"
    ) in generate_settings.settings_table()


def test_a_row_of_the_readme_says_what_a_variable_is_for() -> None:
    assert (
        "| `QBITTORRENT_PASS` | `adminadmin` | qBittorrent's password. Secret. |"
    ) in generate_settings.variables_table()


def test_the_yaml_example_of_the_page_is_taken_as_it_is(tmp_path: Path) -> None:
    page = generate_settings.PAGE.read_text(encoding="utf-8")
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
