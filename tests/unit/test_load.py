"""The configuration: what arrives where, and all mistakes in one message."""

import functools
from pathlib import Path

import pytest

from exporter.config.load import (
    GluetunConfig,
    QbittorrentConfig,
    ReachabilityConfig,
    Server,
    WebConfig,
    load_config,
)
from exporter.config.secret import Secret
from exporter.errors import ConfigError
from exporter.healthcheck import default_path
from exporter.model import RebindPolicy
from tests.conftest import Certificate

NOWHERE = Path("/nonexistent")
KEY = {"GLUETUN_APIKEY": "gluetun-key"}
"""Without it there is a warning."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "qsticky.yml"


def with_yaml(file: Path, text: str) -> dict[str, str]:
    file.write_text(text, encoding="utf-8")
    return {"QSTICKY_CONFIG": str(file), **KEY}


# What arrives where


def test_the_defaults_are_those_of_the_existing_qsticky() -> None:
    config = load_config(KEY, NOWHERE)

    [tunnel] = config.tunnels
    assert tunnel.name == "default"
    assert tunnel.gluetun == GluetunConfig(
        Server("gluetun", 8000, https=False, verify=True),
        auth="apikey",
        username="",
        password=Secret(""),
        apikey=Secret("gluetun-key"),
        port_index=0,
    )
    assert tunnel.qbittorrent == QbittorrentConfig(
        Server("gluetun", 8080, https=False, verify=False),
        user="admin",
        password=Secret("adminadmin"),
        api_key=Secret(""),
    )
    assert tunnel.rebind is RebindPolicy.AUTO
    assert (tunnel.interval_seconds, tunnel.request_timeout_seconds) == (30, 5)
    assert (tunnel.restart_vpn_after_seconds, tunnel.reannounce_after_change) == (0, False)
    assert (tunnel.disable_upnp, tunnel.reachability) == (False, None)
    assert (config.log_level, config.log_format) == ("INFO", "text")
    assert config.web == WebConfig("0.0.0.0:9809", None, enable_lifecycle=False, allowed_hosts=())
    assert config.warnings == ()


def test_every_variable_arrives_where_it_belongs(certificate: Certificate, tmp_path: Path) -> None:
    users = tmp_path / "users.yml"
    users.touch()
    config = load_config(
        {
            "QBITTORRENT_HOST": "qbittorrent.example",
            "QBITTORRENT_PORT": "8081",
            "QBITTORRENT_PATH": "/apps/qbittorrent/",
            "QBITTORRENT_USER": "ann",
            "QBITTORRENT_PASS": "qbittorrent-password",
            "QBITTORRENT_API_KEY": "qbt_key",
            "QBITTORRENT_HTTPS": "true",
            "QBITTORRENT_VERIFY_SSL": "true",
            "GLUETUN_HOST": "::1",
            "GLUETUN_PORT": "8001",
            "GLUETUN_AUTH_TYPE": "basic",
            "GLUETUN_USERNAME": "bob",
            "GLUETUN_PASSWORD": "gluetun-password",
            "GLUETUN_APIKEY": "gluetun-key",
            "GLUETUN_HTTPS": "true",
            "GLUETUN_VERIFY_SSL": "false",
            "GLUETUN_CA_FILE": str(certificate.file),
            "GLUETUN_PORT_INDEX": "1",
            "REBIND": "never",
            "RESTART_VPN_AFTER": "600",
            "REANNOUNCE_AFTER_CHANGE": "yes",
            "DISABLE_UPNP": "yes",
            "REACHABILITY_URL": "http://box/{port}",
            "REACHABILITY_PROXY": "http://gluetun:8888",
            "REACHABILITY_INTERVAL": "60",
            "CHECK_INTERVAL": "12.5",
            "REQUEST_TIMEOUT": "0.5",
            "LOG_LEVEL": "debug",
            "LOG_FORMAT": "JSON",
            "HEALTH_FILE": "/tmp/elsewhere.json",
            "WEB_LISTEN_ADDRESS": "[::1]:1234",
            "WEB_USERS_FILE": str(users),
            "WEB_ALLOWED_HOSTS": "nas.example, qsticky.example",
            "WEB_ENABLE_LIFECYCLE": "true",
        },
        NOWHERE,
    )

    [tunnel] = config.tunnels
    assert tunnel.qbittorrent == QbittorrentConfig(
        Server("qbittorrent.example", 8081, https=True, verify=True, path="/apps/qbittorrent"),
        user="ann",
        password=Secret("qbittorrent-password"),
        api_key=Secret("qbt_key"),
    )
    assert tunnel.gluetun == GluetunConfig(
        Server("::1", 8001, https=True, verify=str(certificate.file)),
        auth="basic",
        username="bob",
        password=Secret("gluetun-password"),
        apikey=Secret("gluetun-key"),
        port_index=1,
    )
    assert tunnel.rebind is RebindPolicy.NEVER
    assert (tunnel.interval_seconds, tunnel.request_timeout_seconds) == (12.5, 0.5)
    assert (tunnel.restart_vpn_after_seconds, tunnel.reannounce_after_change) == (600, True)
    assert tunnel.disable_upnp is True
    assert tunnel.reachability == ReachabilityConfig(
        "http://box/{port}", Secret("http://gluetun:8888"), 60
    )
    assert (config.log_level, config.log_format) == ("DEBUG", "json")
    assert config.health_file == Path("/tmp/elsewhere.json")
    allowed = ("nas.example", "qsticky.example")
    assert config.web == WebConfig("[::1]:1234", users, True, allowed)


def test_without_a_chosen_one_the_status_file_is_where_the_machine_keeps_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # this machine may be an image that has its folder
    elsewhere = functools.partial(default_path, image_folder=str(NOWHERE))
    monkeypatch.setattr("exporter.config.load.default_path", elsewhere)
    config = load_config({"STATE_DIRECTORY": "/var/lib/qsticky"}, NOWHERE)

    assert str(config.health_file) == "/var/lib/qsticky/status.json"
    [shown] = [value.shown for value in config.values if value.name == "HEALTH_FILE"]
    assert shown == "/var/lib/qsticky/status.json"


def test_docker_puts_secrets_into_one_folder() -> None:
    assert load_config.__defaults__ == (Path("/run/secrets"),)


def test_qbittorrent_gets_the_password_unless_there_is_an_api_key() -> None:
    [tunnel] = load_config(KEY, NOWHERE).tunnels
    assert tunnel.qbittorrent.auth == "password"
    [tunnel] = load_config({**KEY, "QBITTORRENT_API_KEY": "qbt_1"}, NOWHERE).tunnels
    assert tunnel.qbittorrent.auth == "apikey"


def test_a_url_has_an_ipv6_address_in_brackets_once() -> None:
    assert Server("fd00::1", 8000, https=False, verify=True).url == "http://[fd00::1]:8000"
    assert Server("[fd00::1]", 8000, https=True, verify=True).url == "https://[fd00::1]:8000"
    assert Server("xbox", 8080, https=False, verify=True).address == "xbox:8080"


def test_a_url_ends_in_the_path_that_a_proxy_gives() -> None:
    server = Server("box", 443, https=True, verify=True, path="/one")
    assert server.url == "https://box:443/one"
    assert (server.address, server.place) == ("box:443", "box:443/one")


def test_a_tunnel_takes_what_it_leaves_out_from_the_variable_and_the_default(file: Path) -> None:
    environ = with_yaml(
        file,
        """
        tunnels:
        - name: one
          gluetun: {host: gluetun-1}
          qbittorrent: {host: gluetun-1, https: yes}
        - name: two
          qbittorrent: {port: 8082, pass: "0123"}
        """,
    )
    environ |= {"GLUETUN_HOST": "elsewhere", "QBITTORRENT_PORT": "8081"}

    one, two = load_config(environ, NOWHERE).tunnels

    assert (one.name, two.name) == ("one", "two")
    assert one.gluetun.server.url == "http://gluetun-1:8000"
    assert one.qbittorrent.server.url == "https://gluetun-1:8081"
    assert two.gluetun.server.url == "http://elsewhere:8000"
    assert two.qbittorrent.server.url == "http://gluetun:8082"
    assert two.qbittorrent.password.value == "0123"


@pytest.mark.parametrize(
    ("environ", "entry", "url", "ignored"),
    [
        ({"HOST": "https://q", "PORT": "8443", "HTTPS": "false"}, "", "https://q:8443", ["HTTPS"]),
        ({"HOST": "https://q:8443/a", "PORT": "1"}, "", "https://q:8443/a", ["PORT"]),
        ({"HOST": "q:81/a", "PATH": "/b", "PORT": "81"}, "", "http://q:81/a", ["PATH"]),
        ({"HOST": "http://q", "HTTPS": "true"}, "", "https://q:8080", []),
        ({"PORT": "x"}, "host: q:81", "http://q:81", []),
        ({"PORT": "1", "HTTPS": "true"}, "host: q", "https://q:1", []),
        ({"PORT": "1", "HTTPS": "true"}, "host: http://q/a", "http://q:80/a", []),
        ({"PORT": "1", "HTTPS": "no", "PATH": "/b"}, "host: https://q/a", "https://q:443/a", []),
        ({"HOST": "https://q:81/a"}, "port: 1, https: no", "http://q:1/a", []),
        ({"HOST": "https://q:81/a"}, "host: other", "http://other:8080", []),
        ({}, "host: https://q:81, https: no", "https://q:81", ["tunnels[0].qbittorrent.https"]),
    ],
)
def test_what_an_address_says_counts_as_much_as_the_address(
    environ: dict[str, str], entry: str, url: str, ignored: list[str], file: Path
) -> None:
    given = {f"QBITTORRENT_{name}": text for name, text in environ.items()}
    if entry:
        given |= with_yaml(file, f"tunnels: [{{qbittorrent: {{{entry}}}}}]")

    config = load_config(KEY | given, NOWHERE)

    assert config.tunnels[0].qbittorrent.server.url == url
    where = "tunnels[0].qbittorrent.host" if entry else "QBITTORRENT_HOST"
    assert config.warnings == tuple(
        f"{name if entry else f'QBITTORRENT_{name}'} is ignored: the address in {where} says "
        "otherwise; remove one of the two"
        for name in ignored
    )


def test_an_address_in_a_file_is_no_less_than_a_variable(tmp_path: Path) -> None:
    (tmp_path / "gluetun_host").write_text("https://box:8443")

    config = load_config({**KEY, "GLUETUN_HTTPS": "false"}, tmp_path)

    assert config.tunnels[0].gluetun.server.url == "https://box:8443"
    assert config.warnings[0].startswith("GLUETUN_HTTPS is ignored: the address in GLUETUN_HOST ")


# Warnings


@pytest.mark.parametrize(
    ("auth", "variable"), [("apikey", "GLUETUN_APIKEY"), ("basic", "GLUETUN_USERNAME")]
)
def test_missing_credentials_are_warned_about(auth: str, variable: str) -> None:
    assert load_config({"GLUETUN_AUTH_TYPE": auth}, NOWHERE).warnings == (
        f"{variable} is not set, so Gluetun is asked without credentials; set it, or "
        "GLUETUN_AUTH_TYPE=none if that is meant",
    )
    assert load_config({"GLUETUN_AUTH_TYPE": "none"}, NOWHERE).warnings == ()


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"GLUETUN_USERNAME": "fox"}, "GLUETUN_AUTH_TYPE=basic to use the user name"),
        ({"GLUETUN_PASSWORD": "hunter2"}, "GLUETUN_AUTH_TYPE=none if that is meant"),
        (
            {"GLUETUN_PASSWORD": "hunter2", "GLUETUN_AUTH_TYPE": "basic"},
            "GLUETUN_AUTH_TYPE=none if that is meant",
        ),
    ],
)
def test_a_user_name_without_its_kind_of_authentication_is_warned_about(
    given: dict[str, str], meant: str
) -> None:
    [warning] = load_config(given, NOWHERE).warnings
    assert warning.endswith(f"set it, or {meant}")


def test_each_tunnel_without_credentials_is_named(file: Path) -> None:
    environ = with_yaml(
        file,
        "tunnels: [{name: a}, {name: b, gluetun: {host: b, apikey: k}, qbittorrent: {host: b}}]",
    )
    del environ["GLUETUN_APIKEY"]

    assert load_config(environ, NOWHERE).warnings == (
        "tunnels[0].gluetun.apikey is not set, so Gluetun is asked without credentials; set it, "
        "or GLUETUN_AUTH_TYPE=none if that is meant",
    )


def test_tunnels_that_share_a_server_are_warned_about_once(file: Path) -> None:
    same = with_yaml(file, "tunnels: [{name: a}, {name: b}, {name: c}]")
    assert load_config(same, NOWHERE).warnings == (
        "tunnels such as a and b share qBittorrent gluetun:8080 and will keep overwriting each "
        "other's port; use one qBittorrent per tunnel",
        "tunnels such as a and b share port 0 of Gluetun gluetun:8000, where one qBittorrent alone "
        "can listen; use one port_index per tunnel",
    )

    entry = "{name: b, gluetun: {port_index: 1}, qbittorrent: {port: 8081}}"
    different = with_yaml(file, f"tunnels: [{{name: a}}, {entry}]")
    assert load_config(different, NOWHERE).warnings == ()


# Mistakes


def test_all_mistakes_are_in_one_message(file: Path) -> None:
    environ = with_yaml(file, "tunnels: [{gluetun: {prot: 1}, rebind: off}]")
    environ |= {"WEB_LISTEN_ADDRESS": "x", "QBITTORRENT_PORT": "x", "QBITTORRENT_PASS_FILE": "/"}

    with pytest.raises(ConfigError) as raised:
        load_config(environ, NOWHERE)

    assert raised.value.exit_code == 2
    assert raised.value.message == (
        "the configuration has 5 mistakes:\n"
        f"{file}: tunnels[0].gluetun.prot: unknown key; expected one of host, port, auth_type, "
        "apikey, username, password, https, verify_ssl, ca_file, port_index, apikey_file, "
        "password_file\n"
        "QBITTORRENT_PORT: given 'x'; expected a port, 1 to 65535\n"
        "QBITTORRENT_PASS_FILE: can't read '/' (Is a directory); "
        "expected a readable file that holds the value\n"
        f"{file}: tunnels[0].rebind: given 'False'; expected one of auto, always, never\n"
        "WEB_LISTEN_ADDRESS: given 'x'; expected host:port, :port, or empty for none"
    )
    assert raised.value.fix == (
        "correct the settings above; `qsticky config` then shows where each value comes from"
    )


def test_mistakes_do_not_hide_the_warnings_about_what_was_given() -> None:
    environ = {"CHECK_INTERVAL": "0", "QBITTORRENT_PASSWORD": "hunter2", "GLUETUN_PORT": "x"}
    with pytest.raises(ConfigError) as raised:
        load_config(environ, NOWHERE)
    assert raised.value.message == (
        "the configuration has 1 mistake:\n"
        "GLUETUN_PORT: given 'x'; expected a port, 1 to 65535\n"
        "warning: QBITTORRENT_PASSWORD is ignored; the setting is called QBITTORRENT_PASS\n"
        "warning: CHECK_INTERVAL: given '0'; expected seconds, 1 to 3600; using 1 instead"
    )


def test_a_file_that_cannot_be_used_is_a_mistake(file: Path) -> None:
    file.write_text("tunnels: [")
    with pytest.raises(ConfigError, match=r"can't use '.*' \(line 1, column 11: "):
        load_config({"QSTICKY_CONFIG": str(file)}, NOWHERE)


def test_a_wrong_variable_that_all_tunnels_use_is_said_once(file: Path) -> None:
    environ = with_yaml(file, "tunnels: [{name: a}, {name: b}, {name: c}]")

    with pytest.raises(ConfigError) as raised:
        load_config(environ | {"GLUETUN_PORT": "x"}, NOWHERE)
    assert raised.value.mistakes == ("GLUETUN_PORT: given 'x'; expected a port, 1 to 65535",)
