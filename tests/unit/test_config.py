"""The configuration: where each value comes from, and the whole message for each mistake."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from exporter.config.load import Config, GluetunConfig, QbittorrentConfig, Server, load_config
from exporter.config.secret import Secret
from exporter.config.settings import health_file
from exporter.errors import ConfigError
from exporter.model import RebindPolicy
from tests.conftest import Certificate

NOWHERE = Path("/nonexistent")
KEY = {"GLUETUN_APIKEY": "gluetun-key"}
"""Without it there is a warning."""
SECRET = "hunter2"


def message_of(environ: Mapping[str, str], run_secrets: Path = NOWHERE) -> str:
    with pytest.raises(ConfigError) as raised:
        load_config(environ, run_secrets)
    return raised.value.message


def only_mistake(environ: Mapping[str, str], run_secrets: Path = NOWHERE) -> str:
    head, *mistakes = message_of(environ, run_secrets).split("\n")
    assert head == "the configuration has 1 mistake:"
    assert len(mistakes) == 1
    return mistakes[0]


def source_of(config: Config, name: str) -> tuple[str, str]:
    """What `qsticky config` shows for a value, and where it says that it comes from."""
    [value] = [value for value in config.values if value.name == name]
    return value.shown, value.source


@pytest.fixture
def yaml_file(tmp_path: Path) -> Path:
    return tmp_path / "qsticky.yml"


def with_yaml(file: Path, text: str) -> dict[str, str]:
    file.write_text(text, encoding="utf-8")
    return {"QSTICKY_CONFIG": str(file), **KEY}


# Where values come from


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
    assert tunnel.interval_seconds == 30
    assert tunnel.request_timeout_seconds == 5
    assert (config.log_level, config.log_format) == ("INFO", "text")
    assert config.web.listen_address == "0.0.0.0:9809"
    assert config.web.users_file is None
    assert config.warnings == ()


def test_every_variable_arrives_where_it_belongs(certificate: Certificate, tmp_path: Path) -> None:
    users = tmp_path / "users.yml"
    users.touch()
    config = load_config(
        {
            "QBITTORRENT_HOST": "qbittorrent.example",
            "QBITTORRENT_PORT": "8081",
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
            "CHECK_INTERVAL": "12.5",
            "REQUEST_TIMEOUT": "0.5",
            "LOG_LEVEL": "debug",
            "LOG_FORMAT": "JSON",
            "HEALTH_FILE": "/tmp/elsewhere.json",
            "WEB_LISTEN_ADDRESS": "[::1]:1234",
            "WEB_USERS_FILE": str(users),
        },
        NOWHERE,
    )

    [tunnel] = config.tunnels
    assert tunnel.qbittorrent == QbittorrentConfig(
        Server("qbittorrent.example", 8081, https=True, verify=True),
        user="ann",
        password=Secret("qbittorrent-password"),
        api_key=Secret("qbt_key"),
    )
    assert tunnel.qbittorrent.auth == "apikey"
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
    assert (config.log_level, config.log_format) == ("DEBUG", "json")
    assert config.health_file == Path("/tmp/elsewhere.json")
    assert (config.web.listen_address, config.web.users_file) == ("[::1]:1234", users)


def test_the_name_of_a_host_stays_as_it_is() -> None:
    assert Server("xbox", 8080, https=False, verify=True).address == "xbox:8080"


def test_a_secret_from_a_file_says_which_variable_names_it_and_where_it_is(tmp_path: Path) -> None:
    file = tmp_path / "pass"
    file.write_text("abc")
    config = load_config({**KEY, "QBITTORRENT_PASS_FILE": str(file)}, NOWHERE)

    assert source_of(config, "QBITTORRENT_PASS_FILE") == ("***", str(file))


def test_docker_puts_secrets_into_one_folder() -> None:
    assert load_config.__defaults__ == (Path("/run/secrets"),)


def test_a_secret_that_is_not_set_is_shown_as_nothing_and_one_from_a_variable_is_hidden() -> None:
    config = load_config({"GLUETUN_APIKEY": "abc"}, NOWHERE)

    assert source_of(config, "GLUETUN_APIKEY") == ("***", "environment")
    assert source_of(config, "GLUETUN_PASSWORD") == ("", "default")
    assert config.tunnels[0].gluetun.apikey.current().value == "abc"


def test_qbittorrent_gets_the_password_unless_there_is_an_api_key() -> None:
    [tunnel] = load_config(KEY, NOWHERE).tunnels
    assert tunnel.qbittorrent.auth == "password"
    [tunnel] = load_config({**KEY, "QBITTORRENT_API_KEY": "qbt_1"}, NOWHERE).tunnels
    assert tunnel.qbittorrent.auth == "apikey"


def test_an_empty_variable_counts_as_not_set() -> None:
    config = load_config({**KEY, "QBITTORRENT_HOST": "", "CHECK_INTERVAL": "  "}, NOWHERE)

    assert config.tunnels[0].qbittorrent.server.host == "gluetun"
    assert config.interval_seconds == 30
    assert source_of(config, "QBITTORRENT_HOST") == ("gluetun", "default")


def test_blanks_around_a_variable_are_cut_off() -> None:
    config = load_config({**KEY, "QBITTORRENT_PORT": " 8081 "}, NOWHERE)

    assert config.tunnels[0].qbittorrent.server.port == 8081


def test_an_empty_listen_address_is_no_web_server_and_not_the_default() -> None:
    config = load_config({**KEY, "WEB_LISTEN_ADDRESS": ""}, NOWHERE)

    assert config.web.listen_address == ""
    assert source_of(config, "WEB_LISTEN_ADDRESS") == ("", "environment")


def test_a_url_has_an_ipv6_address_in_brackets_once() -> None:
    bare = Server("fd00::1", 8000, https=False, verify=True)
    bracketed = Server("[fd00::1]", 8000, https=True, verify=True)

    assert bare.url == "http://[fd00::1]:8000"
    assert bracketed.url == "https://[fd00::1]:8000"


# Secrets


def test_a_variable_wins_over_its_file_which_wins_over_a_docker_secret(tmp_path: Path) -> None:
    file = tmp_path / "named"
    file.write_text("from the named file\n")
    (tmp_path / "qbittorrent_pass").write_text("from /run/secrets\n")
    variable = {**KEY, "QBITTORRENT_PASS": "from the variable", "QBITTORRENT_PASS_FILE": str(file)}
    named = {**KEY, "QBITTORRENT_PASS": "", "QBITTORRENT_PASS_FILE": str(file)}
    docker = {**KEY, "QBITTORRENT_PASS_FILE": ""}

    passwords = [
        load_config(environ, tmp_path).tunnels[0].qbittorrent.password
        for environ in (variable, named, docker)
    ]

    assert passwords == [
        Secret("from the variable"),
        Secret("from the named file", file),
        Secret("from /run/secrets", tmp_path / "qbittorrent_pass"),
    ]


@pytest.mark.parametrize(
    "name", ["QBITTORRENT_PASS", "QBITTORRENT_API_KEY", "GLUETUN_PASSWORD", "GLUETUN_APIKEY"]
)
def test_every_secret_can_be_a_docker_secret(name: str, tmp_path: Path) -> None:
    file = tmp_path / name.lower()
    file.write_text(SECRET)

    config = load_config({}, tmp_path)

    assert source_of(config, name) == ("***", str(file))


def test_what_is_not_secret_is_not_read_from_docker_secrets(tmp_path: Path) -> None:
    (tmp_path / "qbittorrent_user").write_text("somebody")

    assert load_config(KEY, tmp_path).tunnels[0].qbittorrent.user == "admin"


@pytest.mark.parametrize(
    "content", [b"hunter2", b"hunter2\n", b"hunter2\r\n", b"\xef\xbb\xbfhunter2"]
)
def test_a_newline_at_the_end_and_an_editors_mark_are_no_part_of_a_secret(
    content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "qbittorrent_pass").write_bytes(content)

    assert load_config(KEY, tmp_path).tunnels[0].qbittorrent.password.value == "hunter2"


def test_blanks_are_a_part_of_a_secret(tmp_path: Path) -> None:
    (tmp_path / "qbittorrent_pass").write_text(" two words \n")

    assert load_config(KEY, tmp_path).tunnels[0].qbittorrent.password.value == " two words "


@pytest.mark.parametrize("name", ["GLUETUN_APIKEY", "QBITTORRENT_API_KEY"])
def test_blanks_around_a_key_are_no_part_of_it(name: str, tmp_path: Path) -> None:
    """They can't be sent: a header begins and ends with something else."""
    file = tmp_path / name.lower()
    file.write_text(" one key \n")
    path = "gluetun: {apikey" if name == "GLUETUN_APIKEY" else "qbittorrent: {api_key"
    yaml = tmp_path / "qsticky.yml"
    yaml.write_text(f"tunnels: [{{{path}: ' one key '}}}}]")
    configs = [
        load_config({name: " one key\t"}, NOWHERE),
        load_config({f"{name}_FILE": str(file)}, NOWHERE),
        load_config({}, tmp_path),
        load_config({name: "  "}, tmp_path),
        load_config({"QSTICKY_CONFIG": str(yaml)}, NOWHERE),
    ]

    secrets = [key_of(config, name) for config in configs]
    assert [secret.value for secret in secrets] == ["one key"] * 5
    file.write_text("\tanother\n")
    assert secrets[1].current().value == "another"


def key_of(config: Config, name: str) -> Secret:
    [tunnel] = config.tunnels
    return tunnel.gluetun.apikey if name == "GLUETUN_APIKEY" else tunnel.qbittorrent.api_key


def test_a_key_of_blanks_alone_counts_as_not_set() -> None:
    config = load_config({"GLUETUN_APIKEY": "  "}, NOWHERE)

    assert config.tunnels[0].gluetun.apikey.value == ""
    assert len(config.warnings) == 1


def test_a_secret_file_that_changes_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "qbittorrent_pass"
    file.write_text("before")
    secret = load_config(KEY, tmp_path).tunnels[0].qbittorrent.password
    file.write_text("after\n")

    assert secret.current() == Secret("after", file)


def test_a_secret_that_was_read_again_is_not_in_the_configuration_as_python_shows_it(
    tmp_path: Path,
) -> None:
    file = tmp_path / "pass"
    file.write_text("first-fox")
    config = load_config({**KEY, "QBITTORRENT_PASS_FILE": str(file)}, NOWHERE)
    file.write_text("second-fox")

    assert config.tunnels[0].qbittorrent.password.current().value == "second-fox"
    assert "-fox" not in repr(config)


def test_a_secret_whose_file_is_gone_keeps_its_value(tmp_path: Path) -> None:
    file = tmp_path / "qbittorrent_pass"
    file.write_text("before")
    secret = load_config(KEY, tmp_path).tunnels[0].qbittorrent.password
    file.unlink()

    assert secret.current() == Secret("before", file)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"two\nlines\n", "given a line break or another control character"),
        (b"\xff", "it is not UTF-8 text"),
        (b"x" * 1_000_001, "larger than 1000000 bytes"),
        (b"", ""),
        (None, "No such file or directory"),
    ],
)
def test_a_secret_whose_file_goes_bad_keeps_what_was_read_last_and_says_why(
    content: bytes | None, problem: str, tmp_path: Path
) -> None:
    file = tmp_path / "gluetun_apikey"
    file.write_text("first")
    secret = load_config({}, tmp_path).tunnels[0].gluetun.apikey
    file.write_text("second")
    assert secret.current().value == "second"
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)

    kept = secret.current()
    assert (kept.value, kept.problem) == ("second", problem)
    assert kept.to_mend == (
        f"mend {file}, which can't be used any more ({problem}); then " if problem else ""
    )
    file.write_text("third")
    assert (secret.current().value, secret.current().to_mend) == ("third", "")


def test_no_secret_is_in_the_configuration_as_python_shows_it(yaml_file: Path) -> None:
    environ = with_yaml(yaml_file, f"tunnels: [{{qbittorrent: {{pass: {SECRET}}}}}]")
    environ |= {"QBITTORRENT_API_KEY": SECRET, "GLUETUN_PASSWORD": SECRET, "GLUETUN_APIKEY": SECRET}

    config = load_config(environ, NOWHERE)

    assert config.tunnels[0].qbittorrent.password.value == SECRET
    assert SECRET not in repr(config)
    assert SECRET not in str(config.tunnels[0].gluetun.apikey)


def test_an_api_key_that_is_missing_is_warned_about_once() -> None:
    assert load_config({}, NOWHERE).warnings == (
        "GLUETUN_APIKEY is not set, so Gluetun is asked without credentials; set it, or "
        "GLUETUN_AUTH_TYPE=none if that is meant",
    )
    assert load_config({"GLUETUN_AUTH_TYPE": "none"}, NOWHERE).warnings == ()


def test_a_user_name_that_is_missing_is_warned_about_once() -> None:
    assert load_config({"GLUETUN_AUTH_TYPE": "basic"}, NOWHERE).warnings == (
        "GLUETUN_USERNAME is not set, so Gluetun is asked without credentials; set it, or "
        "GLUETUN_AUTH_TYPE=none if that is meant",
    )


# Mistakes in variables

_MISTAKES = {
    "QBITTORRENT_HOST=http://ann:hunter2@box": "QBITTORRENT_HOST: given an address with a scheme; "
    "write the host only; expected a host name or address",
    "QBITTORRENT_HOST=ann:hunter2@box": "QBITTORRENT_HOST: given a host with credentials; "
    "write the host only; expected a host name or address",
    "GLUETUN_HOST=two words": "GLUETUN_HOST: given 'two words'; expected a host name or address",
    "GLUETUN_HOST=10.0.0.1:8000": "GLUETUN_HOST: given '10.0.0.1:8000'; "
    "expected a host name or address",
    "GLUETUN_HOST=a..b": "GLUETUN_HOST: given 'a..b'; expected a host name or address",
    "GLUETUN_HOST=box/path": "GLUETUN_HOST: given 'box/path'; expected a host name or address",
    "QBITTORRENT_PORT=70000": "QBITTORRENT_PORT: given '70000'; expected a port, 1 to 65535",
    "QBITTORRENT_PORT=0": "QBITTORRENT_PORT: given '0'; expected a port, 1 to 65535",
    "GLUETUN_PORT=-1": "GLUETUN_PORT: given '-1'; expected a port, 1 to 65535",
    "GLUETUN_PORT=8e3": "GLUETUN_PORT: given '8e3'; expected a port, 1 to 65535",
    "GLUETUN_PORT=" + "9" * 5000: f"GLUETUN_PORT: given '{'9' * 80}'…; expected a port, 1 to 65535",
    "QBITTORRENT_HTTPS=maybe": "QBITTORRENT_HTTPS: given 'maybe'; expected true or false",
    "QBITTORRENT_USER=a\nb": "QBITTORRENT_USER: given a line break or another control character; "
    "expected text",
    "QBITTORRENT_USER=\udcff": "QBITTORRENT_USER: given what is not UTF-8; expected text",
    "QBITTORRENT_PASS=hunter2\0": "QBITTORRENT_PASS: given a line break or another control "
    "character; expected text",
    "GLUETUN_AUTH_TYPE=digest": "GLUETUN_AUTH_TYPE: given 'digest'; "
    "expected one of apikey, basic, none",
    "GLUETUN_PORT_INDEX=first": "GLUETUN_PORT_INDEX: given 'first'; "
    "expected a whole number, 0 to 31",
    "GLUETUN_PORT_INDEX=1.5": "GLUETUN_PORT_INDEX: given '1.5'; expected a whole number, 0 to 31",
    "REBIND=sometimes": "REBIND: given 'sometimes'; expected one of auto, always, never",
    "CHECK_INTERVAL=0": "CHECK_INTERVAL: given '0'; expected seconds, 1 to 3600",
    "CHECK_INTERVAL=abc": "CHECK_INTERVAL: given 'abc'; expected seconds, 1 to 3600",
    "CHECK_INTERVAL=nan": "CHECK_INTERVAL: given 'nan'; expected seconds, 1 to 3600",
    "CHECK_INTERVAL=inf": "CHECK_INTERVAL: given 'inf'; expected seconds, 1 to 3600",
    "CHECK_INTERVAL=30s": "CHECK_INTERVAL: given '30s'; expected seconds, 1 to 3600",
    "REQUEST_TIMEOUT=0": "REQUEST_TIMEOUT: given '0'; expected seconds, 0.1 to 60",
    "LOG_LEVEL=LOUD": "LOG_LEVEL: given 'LOUD'; "
    "expected one of DEBUG, INFO, WARNING, ERROR, CRITICAL",
    "LOG_FORMAT=xml": "LOG_FORMAT: given 'xml'; expected one of text, json",
    "HEALTH_FILE=/": "HEALTH_FILE: given the folder '/'; expected the path of a file",
    "WEB_LISTEN_ADDRESS=9809": "WEB_LISTEN_ADDRESS: given '9809'; "
    "expected host:port, :port, or empty for none",
    "WEB_LISTEN_ADDRESS=0.0.0.0:70000": "WEB_LISTEN_ADDRESS: given '0.0.0.0:70000'; "
    "expected host:port, :port, or empty for none",
    "WEB_LISTEN_ADDRESS=::1:9809": "WEB_LISTEN_ADDRESS: given '::1:9809'; "
    "expected host:port, :port, or empty for none",
    "WEB_USERS_FILE=/nonexistent/users": "WEB_USERS_FILE: can't read '/nonexistent/users' "
    "(No such file or directory); expected the path of a readable file",
    "QBITTORRENT_CA_FILE=/": "QBITTORRENT_CA_FILE: can't read '/' (Is a directory); "
    "expected the path of a readable PEM file",
    "GLUETUN_CA_FILE=/dev/null": "GLUETUN_CA_FILE: given '/dev/null', which holds no certificate; "
    "expected the path of a readable PEM file",
    "QBITTORRENT_PASS_FILE=/nonexistent/secret": "QBITTORRENT_PASS_FILE: "
    "can't read '/nonexistent/secret' (No such file or directory); "
    "expected a readable file that holds the secret",
    "QBITTORRENT_PASS_FILE=/": "QBITTORRENT_PASS_FILE: can't read '/' (Is a directory); "
    "expected a readable file that holds the secret",
    "QSTICKY_CONFIG=/nonexistent/q.yml": "QSTICKY_CONFIG: can't read '/nonexistent/q.yml' "
    "(No such file or directory); expected the path of a readable file",
}


@pytest.mark.parametrize("given", _MISTAKES, ids=lambda given: ascii(given)[1:40])
def test_a_mistake_in_a_variable_says_what_was_given_and_what_is_expected(given: str) -> None:
    name, _, value = given.partition("=")

    said = only_mistake({name: value})

    assert said == _MISTAKES[given]
    assert SECRET not in said


@pytest.mark.parametrize(
    "given",
    [
        "QBITTORRENT_HOST=my_box-1.example",
        "QBITTORRENT_HOST=10.0.0.1",
        "QBITTORRENT_HOST=[::1]",
        "QBITTORRENT_PORT=65535",
        "QBITTORRENT_PORT=1",
        "QBITTORRENT_HTTPS=Yes",
        "QBITTORRENT_HTTPS=0",
        "GLUETUN_AUTH_TYPE=APIKEY",
        "CHECK_INTERVAL=1",
        "CHECK_INTERVAL=3600",
        "REQUEST_TIMEOUT=0.1",
        "REQUEST_TIMEOUT=60",
        "GLUETUN_PORT_INDEX=31",
        "WEB_LISTEN_ADDRESS=:9809",
        "WEB_LISTEN_ADDRESS=[::]:9809",
        "WEB_LISTEN_ADDRESS=127.0.0.1:0",
        "QBITTORRENT_PASS=pässwörd ¡ €",
    ],
)
def test_values_at_the_border_of_what_is_allowed_are_taken(given: str) -> None:
    name, _, value = given.partition("=")

    assert source_of(load_config({**KEY, name: value}, NOWHERE), name)[1] == "environment"


def test_all_mistakes_are_in_one_message(yaml_file: Path) -> None:
    environ = with_yaml(yaml_file, "tunnels: [{gluetun: {prot: 1}, rebind: off}]")
    environ |= {"CHECK_INTERVAL": "0", "QBITTORRENT_PORT": "x", "QBITTORRENT_PASS_FILE": "/"}

    assert message_of(environ) == (
        "the configuration has 5 mistakes:\n"
        "tunnels[0].gluetun.prot: unknown key; expected one of host, port, auth_type, apikey, "
        "username, password, https, verify_ssl, ca_file, port_index, apikey_file, password_file\n"
        "CHECK_INTERVAL: given '0'; expected seconds, 1 to 3600\n"
        "QBITTORRENT_PORT: given 'x'; expected a port, 1 to 65535\n"
        "QBITTORRENT_PASS_FILE: can't read '/' (Is a directory); "
        "expected a readable file that holds the secret\n"
        "tunnels[0].rebind: given 'False'; expected one of auto, always, never"
    )


def test_a_mistake_ends_the_program_with_code_2_and_says_what_helps() -> None:
    with pytest.raises(ConfigError) as raised:
        load_config({"CHECK_INTERVAL": "0"}, NOWHERE)

    assert raised.value.exit_code == 2
    assert raised.value.fix == (
        "correct the settings above; `qsticky config` shows where each value comes from"
    )


def test_a_docker_secret_that_is_not_text_is_a_mistake(tmp_path: Path) -> None:
    file = tmp_path / "qbittorrent_pass"
    file.write_bytes(b"\xff\xfe")

    assert only_mistake({}, tmp_path) == (
        f"{file}: can't read '{file}' (it is not UTF-8 text); "
        "expected a readable file that holds the secret"
    )


def test_a_docker_secret_of_several_lines_is_a_mistake_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "gluetun_apikey").write_text(f"{SECRET}\n{SECRET}\n")

    assert only_mistake({}, tmp_path) == (
        "GLUETUN_APIKEY: given a line break or another control character; expected text"
    )


def test_a_secret_file_that_is_far_too_large_is_a_mistake(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"x" * 1_000_001)

    assert only_mistake({"GLUETUN_APIKEY_FILE": str(file)}) == (
        f"GLUETUN_APIKEY_FILE: can't read '{file}' (larger than 1000000 bytes); "
        "expected a readable file that holds the secret"
    )


def test_a_folder_of_docker_secrets_that_we_cannot_look_into_holds_none() -> None:
    too_long = Path("/" + "x" * 300)  # an error for root too, unlike a closed folder

    assert load_config(KEY, too_long).tunnels[0].qbittorrent.password.value == "adminadmin"


# YAML


def test_one_tunnel_in_yaml_needs_no_name(yaml_file: Path) -> None:
    environ = with_yaml(yaml_file, "tunnels:\n- gluetun: {port: 8001}\n  rebind: always\n")

    [tunnel] = load_config(environ, NOWHERE).tunnels

    assert tunnel.name == "default"
    assert tunnel.gluetun.server.port == 8001
    assert tunnel.rebind is RebindPolicy.ALWAYS


def test_yaml_wins_over_the_variable_which_wins_over_the_default(yaml_file: Path) -> None:
    environ = with_yaml(
        yaml_file,
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

    config = load_config(environ, NOWHERE)

    one, two = config.tunnels
    assert (one.name, two.name) == ("one", "two")
    assert one.gluetun.server.url == "http://gluetun-1:8000"
    assert one.qbittorrent.server.url == "https://gluetun-1:8081"
    assert two.gluetun.server.url == "http://elsewhere:8000"
    assert two.qbittorrent.server.url == "http://gluetun:8082"
    assert two.qbittorrent.password.value == "0123"
    assert source_of(config, "tunnels[0].gluetun.host") == ("gluetun-1", str(yaml_file))
    assert source_of(config, "GLUETUN_HOST") == ("elsewhere", "environment")
    assert source_of(config, "tunnels[1].qbittorrent.pass") == ("***", str(yaml_file))
    assert source_of(config, "tunnels[0].gluetun.port") == ("8000", "default")


def test_an_empty_key_counts_as_left_out(yaml_file: Path) -> None:
    environ = with_yaml(yaml_file, "tunnels: [{gluetun: {host: , port: ''}}]")

    assert load_config(environ, NOWHERE).tunnels[0].gluetun.server.url == "http://gluetun:8000"


def test_a_tunnel_can_name_the_file_of_its_secret(yaml_file: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    environ = with_yaml(yaml_file, f"tunnels: [{{qbittorrent: {{pass_file: {secret}}}}}]")

    config = load_config(environ, NOWHERE)

    assert config.tunnels[0].qbittorrent.password == Secret(SECRET, secret)
    assert source_of(config, "tunnels[0].qbittorrent.pass_file") == ("***", str(secret))


def test_a_tunnel_can_take_over_the_keys_of_another_one(yaml_file: Path) -> None:
    environ = with_yaml(
        yaml_file,
        """
        tunnels:
        - &first {name: one, rebind: never, gluetun: {host: box}}
        - {<<: *first, name: two}
        """,
    )

    two = load_config(environ, NOWHERE).tunnels[1]

    assert (two.name, two.rebind, two.gluetun.server.host) == ("two", "never", "box")


def test_a_wrong_variable_that_all_tunnels_use_is_said_once(yaml_file: Path) -> None:
    environ = with_yaml(yaml_file, "tunnels: [{name: a}, {name: b}, {name: c}]")

    assert only_mistake(environ | {"GLUETUN_PORT": "x"}) == (
        "GLUETUN_PORT: given 'x'; expected a port, 1 to 65535"
    )


def test_each_tunnel_without_an_api_key_is_named(yaml_file: Path) -> None:
    text = "tunnels: [{name: a}, {name: b, gluetun: {apikey: k}, qbittorrent: {host: b}}]"
    environ = with_yaml(yaml_file, text)
    del environ["GLUETUN_APIKEY"]

    assert load_config(environ, NOWHERE).warnings == (
        "tunnels[0].gluetun.apikey is not set, so Gluetun is asked without credentials; set it, "
        "or GLUETUN_AUTH_TYPE=none if that is meant",
    )


_TUNNEL_KEYS = (
    "expected one of name, gluetun, qbittorrent, rebind, restart_vpn_after, reannounce_after_change"
)
_SERVER_KEYS = (
    "expected one of host, port, user, pass, api_key, https, verify_ssl, ca_file, pass_file, "
    "api_key_file"
)
_NAME = "expected a name of up to 63 letters, digits, '.', '_' and '-'"

_YAML_MISTAKES = {
    "tunnels: [{colour: red}]": f"tunnels[0].colour: unknown key; {_TUNNEL_KEYS}",
    "tunnels: [{5: red}]": f"tunnels[0].5: unknown key; {_TUNNEL_KEYS}",
    "tunnels: [{qbittorrent: {hots: box}}]": "tunnels[0].qbittorrent.hots: unknown key; "
    + _SERVER_KEYS,
    "tunnels: [{qbittorrent: {pass:hunter2, host: box}}]": "tunnels[0].qbittorrent.pass…: "
    f"unknown key; {_SERVER_KEYS}",
    "tunnels: nothing": "tunnels: given text; expected a list with entries",
    "tunnels: {}": "tunnels: given a mapping; expected a list with entries",
    "tunnels: []": "tunnels: given an empty list; expected a list with entries",
    "tunnels:": "tunnels: given nothing; expected a list with entries",
    "tunnels: [box]": "tunnels[0]: given text; expected a mapping",
    "tunnels: [{gluetun: box}]": "tunnels[0].gluetun: given text; expected a mapping",
    "tunnels: [{gluetun: }]": "tunnels[0].gluetun: given nothing; expected a mapping",
    "tunnels: [{gluetun: {port: [1]}}]": "tunnels[0].gluetun.port: given a list; "
    "expected a port, 1 to 65535",
    "tunnels: [{gluetun: {port: 70000}}]": "tunnels[0].gluetun.port: given '70000'; "
    "expected a port, 1 to 65535",
    "tunnels: [{gluetun: {port: 8000.0}}]": "tunnels[0].gluetun.port: given '8000.0'; "
    "expected a port, 1 to 65535",
    "tunnels: [{gluetun: {port_index: .inf}}]": "tunnels[0].gluetun.port_index: given 'inf'; "
    "expected a whole number, 0 to 31",
    "tunnels: [{gluetun: {https: 2}}]": "tunnels[0].gluetun.https: given '2'; "
    "expected true or false",
    "tunnels: [{qbittorrent: {pass: 0123}}]": "tunnels[0].qbittorrent.pass: "
    "given a value of type int; expected text, in quotes",
    "tunnels: [{qbittorrent: {pass: no}}]": "tunnels[0].qbittorrent.pass: "
    "given true or false; expected text, in quotes",
    "tunnels: [{qbittorrent: {pass: 2024-01-01}}]": "tunnels[0].qbittorrent.pass: "
    "given a value of type date; expected text, in quotes",
    "tunnels: [{qbittorrent: {user: 12:30}}]": "tunnels[0].qbittorrent.user: "
    "given a value of type int; expected text, in quotes",
    "tunnels: [{qbittorrent: {ca_file: /nonexistent/ca}}]": "tunnels[0].qbittorrent.ca_file: "
    "can't read '/nonexistent/ca' (No such file or directory); "
    "expected the path of a readable PEM file",
    "tunnels: [{qbittorrent: {pass_file: /nonexistent/secret}}]": "tunnels[0].qbittorrent."
    "pass_file: can't read '/nonexistent/secret' (No such file or directory); "
    "expected a readable file that holds the secret",
    'tunnels: [{qbittorrent: {pass: "hunter2\\n"}}]': "tunnels[0].qbittorrent.pass: "
    "given a line break or another control character; expected text",
    "tunnels: [{rebind: off}]": "tunnels[0].rebind: given 'False'; "
    "expected one of auto, always, never",
    "tunnels: [{name: 5}]": f"tunnels[0].name: given a value of type int; {_NAME}",
    "tunnels: [{name: 'a b'}]": f"tunnels[0].name: given 'a b'; {_NAME}",
    "tunnels: [{name: ''}]": f"tunnels[0].name: given ''; {_NAME}",
    "tunnels: [{name: a}, {}]": f"tunnels[1].name: given nothing; {_NAME}",
    "tunnels: [{name: a}, {name: b}, {name: a}]": "tunnels[2].name: given 'a', as at tunnels[0]; "
    "expected a name of its own for each tunnel",
}


@pytest.mark.parametrize("text", _YAML_MISTAKES)
def test_a_mistake_in_yaml_says_its_path_and_what_is_expected(text: str, yaml_file: Path) -> None:
    said = only_mistake(with_yaml(yaml_file, text))

    assert said == _YAML_MISTAKES[text]
    assert SECRET not in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "given nothing"),
        ("pass:hunter2", "given text"),
        ("[tunnels]", "given a list"),
        ("5", "given a value of type int"),
    ],
)
def test_a_document_that_is_no_mapping_is_a_mistake(text: str, said: str, yaml_file: Path) -> None:
    assert only_mistake(with_yaml(yaml_file, text)) == (
        f"{yaml_file}: {said}; expected a mapping with the key 'tunnels'"
    )


def test_a_key_beside_tunnels_is_a_mistake(yaml_file: Path) -> None:
    environ = with_yaml(yaml_file, "tunnels: [{}]\ncheck_interval: 5\n")

    assert only_mistake(environ) == (
        f"{yaml_file}: unknown key 'check_interval'; expected 'tunnels'"
    )


_NOT_YAML = {
    b"tunnels: [": "expected the node content, but found '<stream end>' at line 1",
    b"tunnels:\n\t- x": "found character '\\t' that cannot start any token at line 2",
    b"a: 1\nb: 2\na: 3": "found key a a second time at line 3",
    b"{pass:hunter2, pass:hunter2}": "found key pass… a second time at line 1",
    b"a: *hunter2": "found undefined alias at line 1",
    b"a: !hunter2": "could not determine a constructor for the tag at line 1",
    b"a: !hunter2!b c": "found undefined tag handle at line 1",
    b"a: !!bool hunter2": "found text that needs quotes at line 1",
    b"a: !!int hunter2": "found text that needs quotes at line 1",
    b"a:\n  2024-13-45": "found text that needs quotes at line 2",
    b"a: @hunter2": "found character '@' that cannot start any token at line 1",
    b'a: "hunter2': "found unexpected end of stream at line 1",
    b"a: !!python/object/apply:os.system [hunter2]": "could not determine a constructor for the "
    "tag at line 1",
    b"? [a]\n: b": "found unhashable key at line 1",
    b"a: \x00": "not YAML",
    b"a: \xff": "it is not UTF-8 text",
    b"[" * 600: "nested too deeply",
    b"#" * 1_000_001: "larger than 1000000 bytes",
    b"--- a\n--- b": "but found another document at line 2",
}


@pytest.mark.parametrize("content", _NOT_YAML, ids=lambda content: ascii(content[:30]))
def test_a_file_that_is_not_yaml_is_a_mistake_and_shows_no_text_of_it(
    content: bytes, yaml_file: Path
) -> None:
    yaml_file.write_bytes(content)

    said = only_mistake({"QSTICKY_CONFIG": str(yaml_file), **KEY})

    assert said == (
        f"QSTICKY_CONFIG: can't use '{yaml_file}' ({_NOT_YAML[content]}); expected a YAML file"
    )


def test_two_tunnels_with_one_qbittorrent_are_warned_about(yaml_file: Path) -> None:
    same = with_yaml(yaml_file, "tunnels: [{name: a}, {name: b}, {name: c}]")
    assert load_config(same, NOWHERE).warnings == (
        "the tunnels of qBittorrent gluetun:8080, such as a and b, change its port in turn; "
        "give each tunnel a qBittorrent of its own",
    )

    text = "tunnels: [{name: a}, {name: b, qbittorrent: {port: 8081}}]"
    assert load_config(with_yaml(yaml_file, text), NOWHERE).warnings == ()


def test_two_wrong_names_are_two_mistakes_and_not_one_name_twice(yaml_file: Path) -> None:
    text = with_yaml(yaml_file, "tunnels: [{name: 'a b'}, {name: 'c d'}]")

    assert message_of(text).split("\n")[1:] == [
        "tunnels[0].name: given 'a b'; "
        "expected a name of up to 63 letters, digits, '.', '_' and '-'",
        "tunnels[1].name: given 'c d'; "
        "expected a name of up to 63 letters, digits, '.', '_' and '-'",
    ]


def test_a_folder_is_no_yaml_file(tmp_path: Path) -> None:
    assert only_mistake({"QSTICKY_CONFIG": str(tmp_path), **KEY}) == (
        f"QSTICKY_CONFIG: can't read '{tmp_path}' (Is a directory); "
        "expected the path of a readable file"
    )


# Where status.json is


def test_the_status_file_is_where_the_image_keeps_it(tmp_path: Path) -> None:
    environ = {"STATE_DIRECTORY": "/var/lib/qsticky", "XDG_STATE_HOME": "/home/ann/state"}

    assert health_file(environ, tmp_path) == tmp_path / "status.json"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "XDG_STATE_HOME": "/s"}, "/var/lib/a"),
        ({"XDG_STATE_HOME": "/home/ann/state"}, "/home/ann/state/qsticky"),
        ({"XDG_STATE_HOME": ""}, "/home/bob/.local/state/qsticky"),
        ({}, "/home/bob/.local/state/qsticky"),
    ],
)
def test_elsewhere_the_status_file_is_in_the_users_folder_for_state(
    environ: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/bob")

    assert health_file(environ, NOWHERE) == Path(expected) / "status.json"


def test_a_chosen_status_file_wins_over_every_default(tmp_path: Path) -> None:
    environ = {"HEALTH_FILE": " /data/status.json ", "STATE_DIRECTORY": "/var/lib/qsticky"}

    assert health_file(environ, tmp_path) == Path("/data/status.json")


def test_the_status_file_in_force_is_shown_with_its_source() -> None:
    chosen = load_config({**KEY, "HEALTH_FILE": "/data/status.json"}, NOWHERE)
    default = load_config({**KEY, "STATE_DIRECTORY": "/var/lib/qsticky"}, NOWHERE)

    assert source_of(chosen, "HEALTH_FILE") == ("/data/status.json", "environment")
    assert source_of(default, "HEALTH_FILE")[1] == "default"
    assert default.health_file.name == "status.json"
