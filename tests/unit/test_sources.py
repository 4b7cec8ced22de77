"""Where a value comes from, which place wins, and what is said of it."""

import errno
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.config.given import why
from exporter.config.load import Config, load_config
from exporter.config.secret import Secret
from exporter.config.settings import SETTINGS
from exporter.errors import ConfigError

NOWHERE = Path("/nonexistent")
KEY = {"GLUETUN_APIKEY": "gluetun-key"}
SECRETS = ["QBITTORRENT_PASS", "QBITTORRENT_API_KEY", "GLUETUN_PASSWORD", "GLUETUN_APIKEY"]
SECRET = "hunter2"


def source_of(config: Config, name: str) -> tuple[str, str]:
    """What `qsticky config` shows for a value, and where it says that it comes from."""
    [value] = [value for value in config.values if value.name == name]
    return value.shown, value.source


def only_mistake(environ: Mapping[str, str], run_secrets: Path = NOWHERE) -> str:
    with pytest.raises(ConfigError) as raised:
        load_config(environ, run_secrets)
    [mistake] = raised.value.mistakes
    return mistake


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "secret"


# Variables


def test_an_empty_variable_counts_as_not_set() -> None:
    config = load_config({**KEY, "QBITTORRENT_HOST": "", "CHECK_INTERVAL": "  "}, NOWHERE)

    assert config.interval_seconds == 30
    assert source_of(config, "QBITTORRENT_HOST") == ("gluetun", "default")
    assert source_of(config, "QBITTORRENT_PASS") == ("***", "default")


def test_blanks_around_a_variable_are_cut_off() -> None:
    config = load_config({**KEY, "QBITTORRENT_PORT": " 8081 "}, NOWHERE)

    assert source_of(config, "QBITTORRENT_PORT") == ("8081", "environment")


def test_an_empty_listen_address_is_no_web_server_and_not_the_default() -> None:
    config = load_config({**KEY, "WEB_LISTEN_ADDRESS": ""}, NOWHERE)

    assert config.web.listen_address == ""
    assert source_of(config, "WEB_LISTEN_ADDRESS") == ("", "environment")


def test_a_mistake_names_the_variable_what_was_given_and_what_is_expected() -> None:
    assert only_mistake({"QBITTORRENT_PORT": "70000"}) == (
        "QBITTORRENT_PORT: given '70000'; expected a port, 1 to 65535"
    )


# The YAML file


def test_a_value_of_the_yaml_file_is_named_by_its_path(tmp_path: Path) -> None:
    yaml = tmp_path / "qsticky.yml"
    yaml.write_text("tunnels: [{gluetun: {host: box}, qbittorrent: {pass: hunter2}}]")
    environ = {**KEY, "QSTICKY_CONFIG": str(yaml), "QBITTORRENT_HOST": "elsewhere"}

    config = load_config(environ, NOWHERE)

    assert source_of(config, "tunnels[0].gluetun.host") == ("box", str(yaml))
    assert source_of(config, "tunnels[0].qbittorrent.pass") == ("***", str(yaml))
    assert source_of(config, "tunnels[0].gluetun.port") == ("8000", "default")
    assert source_of(config, "QBITTORRENT_HOST") == ("elsewhere", "environment")
    yaml.write_text("tunnels: [{gluetun: {port: 8000.5}}]")
    assert only_mistake(environ) == (
        f"{yaml}: tunnels[0].gluetun.port: given '8000.5'; expected a port, 1 to 65535"
    )


def test_a_tunnel_can_name_the_file_of_its_secret(file: Path, tmp_path: Path) -> None:
    file.write_text(f"{SECRET}\n")
    yaml = tmp_path / "qsticky.yml"
    yaml.write_text(f"tunnels: [{{qbittorrent: {{pass_file: {file}}}}}]")
    environ = {**KEY, "QSTICKY_CONFIG": str(yaml)}

    config = load_config(environ, NOWHERE)

    assert config.tunnels[0].qbittorrent.password == Secret(SECRET, file)
    assert source_of(config, "tunnels[0].qbittorrent.pass_file") == ("***", str(file))
    file.unlink()
    assert only_mistake(environ) == (
        f"{yaml}: tunnels[0].qbittorrent.pass_file: can't read '{file}' "
        "(No such file or directory); expected a readable file that holds the value"
    )


# Files


def test_a_variable_wins_over_its_file_which_wins_over_a_docker_secret(tmp_path: Path) -> None:
    file = tmp_path / "named"
    file.write_text("from the named file\n")
    (tmp_path / "qbittorrent_pass").write_text("from /run/secrets\n")
    variable = {**KEY, "QBITTORRENT_PASS": "from the variable", "QBITTORRENT_PASS_FILE": str(file)}
    named = {**KEY, "QBITTORRENT_PASS": "", "QBITTORRENT_PASS_FILE": str(file)}
    docker = {**KEY, "QBITTORRENT_PASS_FILE": ""}

    configs = [load_config(environ, tmp_path) for environ in (variable, named, docker)]

    assert [config.tunnels[0].qbittorrent.password for config in configs] == [
        Secret("from the variable"),
        Secret("from the named file", file),
        Secret("from /run/secrets", tmp_path / "qbittorrent_pass"),
    ]
    assert source_of(configs[1], "QBITTORRENT_PASS_FILE") == ("***", str(file))


@pytest.mark.parametrize("name", SECRETS)
def test_every_secret_can_be_a_docker_secret(name: str, tmp_path: Path) -> None:
    file = tmp_path / name.lower()
    file.write_text(SECRET)

    assert source_of(load_config({}, tmp_path), name) == ("***", str(file))


def test_an_empty_secret_file_is_an_empty_secret_and_read_again_later(tmp_path: Path) -> None:
    (tmp_path / "qbittorrent_pass").touch()

    secret = load_config(KEY, tmp_path).tunnels[0].qbittorrent.password

    assert secret == Secret("", tmp_path / "qbittorrent_pass")
    (tmp_path / "qbittorrent_pass").write_text("written by now\n")
    assert secret.current().value == "written by now"


def test_a_key_whose_file_is_still_empty_is_a_key_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "gluetun_apikey").touch()

    config = load_config({}, tmp_path)

    assert (config.tunnels[0].gluetun.auth_in_use, config.warnings) == ("apikey", ())


@pytest.mark.parametrize("name", ["GLUETUN_APIKEY", "QBITTORRENT_API_KEY"])
def test_blanks_around_a_key_are_no_part_of_it_wherever_it_stands(
    name: str, tmp_path: Path
) -> None:
    """They can't be sent: a header begins and ends with something else."""
    (tmp_path / name.lower()).write_text(" one key \n")
    path = "gluetun: {apikey" if name == "GLUETUN_APIKEY" else "qbittorrent: {api_key"
    yaml = tmp_path / "qsticky.yml"
    yaml.write_text(f"tunnels: [{{{path}: ' one key '}}}}]")
    configs = [
        load_config({name: " one key\t"}, NOWHERE),
        load_config({name: "  "}, tmp_path),
        load_config({"QSTICKY_CONFIG": str(yaml)}, NOWHERE),
    ]

    for config in configs:
        [tunnel] = config.tunnels
        keys = {tunnel.gluetun.apikey.value, tunnel.qbittorrent.api_key.value}
        assert keys == {"one key", ""}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe", "can't read '{file}' (it is not UTF-8 text); expected a readable file"),
        (b"x" * 1_000_001, "can't read '{file}' (larger than 1000000 bytes); expected a readable"),
        (
            b"hunter2\nhunter2\n",
            "given a line break or another control character in '{file}'; expected text",
        ),
    ],
)
def test_a_secret_file_that_cannot_be_one_is_a_mistake_and_not_shown(
    content: bytes, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "gluetun_apikey"
    file.write_bytes(content)

    mistake = only_mistake({}, tmp_path)

    assert mistake.startswith("GLUETUN_APIKEY: " + said.format(file=file))
    assert SECRET not in mistake


def test_a_file_of_somebody_else_says_who_may_read_it_and_what_to_do(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a daemon without root's rights meets one: tests/real/test_switching_files.py."""
    file.touch(0o600)
    owner, group = file.stat().st_uid, file.stat().st_gid
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)
    monkeypatch.setattr("os.getegid", lambda: 7)
    denied = PermissionError(errno.EACCES, "Permission denied", str(file))

    assert why(denied) == (
        f"Permission denied; it belongs to user {owner} with mode 0600, and qSticky runs as "
        f"{owner + 1}:7: `chown {owner + 1}:7` it, on the host where it is mounted from there, or "
        f'run qSticky as its owner (`user: "{owner}:{group}"` in Compose)'
    )
    monkeypatch.undo()
    assert why(denied) == "Permission denied"


def test_a_file_that_is_not_needed_is_no_mistake(tmp_path: Path) -> None:
    environ = {**KEY, "LOG_FORMAT_FILE": "/"}

    assert load_config(environ, NOWHERE).warnings == (
        "LOG_FORMAT_FILE: can't read '/' (Is a directory); "
        "expected a readable file that holds the value; using text instead",
    )


def test_a_folder_of_docker_secrets_that_we_cannot_look_into_holds_none() -> None:
    too_long = Path("/" + "x" * 300)  # an error for root too, unlike a closed folder

    assert load_config(KEY, too_long).tunnels[0].qbittorrent.password.value == "adminadmin"


@pytest.mark.parametrize("name", ["gluetun_port", "GLUETUN_PORT", "Gluetun_Port"])
def test_every_setting_can_be_in_a_file_or_a_docker_secret_in_any_case(
    name: str, file: Path, tmp_path: Path
) -> None:
    file.write_text("8001\n")
    (tmp_path / name).write_text("8002\r\n")

    by_variable = load_config({**KEY, "GLUETUN_PORT_FILE": str(file)}, tmp_path)
    by_docker = load_config(KEY, tmp_path)

    assert source_of(by_variable, "GLUETUN_PORT_FILE") == ("8001", str(file))
    assert source_of(by_docker, "GLUETUN_PORT") == ("8002", str(tmp_path / name))
    assert by_docker.tunnels[0].gluetun.server.port == 8002


def test_an_empty_file_of_what_is_no_secret_counts_as_not_set(tmp_path: Path) -> None:
    (tmp_path / "gluetun_port").write_text("\n")

    assert source_of(load_config(KEY, tmp_path), "GLUETUN_PORT") == ("8000", "default")


def test_quotes_that_came_along_are_named() -> None:
    """Docker and systemd keep those of an env file, or take them off, each in its own way."""
    assert only_mistake({**KEY, "GLUETUN_PORT": '"8000"'}, NOWHERE) == (
        "GLUETUN_PORT: given '\"8000\"'; expected a port, 1 to 65535, without quotes around it"
    )


def test_what_a_file_holds_is_never_quoted(tmp_path: Path) -> None:
    """A setting may name the file of somebody's secret by mistake."""
    (tmp_path / "gluetun_port").write_text(SECRET)

    assert only_mistake(KEY, tmp_path) == (
        f"GLUETUN_PORT: can't use what '{tmp_path}/gluetun_port' holds; expected a port, 1 to 65535"
    )


# What the existing qSticky runs with


def test_names_may_be_in_any_case_and_capitals_win() -> None:
    config = load_config(
        {
            "qbittorrent_host": "small",
            "Gluetun_ApiKey": "k",
            "gluetun_host": "a",
            "GLUETUN_HOST": "b",
        },
        NOWHERE,
    )

    [tunnel] = config.tunnels
    assert (tunnel.qbittorrent.server.host, tunnel.gluetun.server.host) == ("small", "b")
    assert (tunnel.gluetun.apikey.value, config.warnings) == ("k", ())


@pytest.mark.parametrize(
    ("name", "text", "used"),
    [
        ("CHECK_INTERVAL", "0", "1"),
        ("CHECK_INTERVAL", "-5", "1"),
        ("CHECK_INTERVAL", "7200", "3600"),
        ("CHECK_INTERVAL", "inf", "3600"),
        ("CHECK_INTERVAL", "nan", "30"),
        ("CHECK_INTERVAL", "30s", "30"),
        ("REQUEST_TIMEOUT", "120", "60"),
        ("RESTART_VPN_AFTER", "60", "300"),
        ("RESTART_VPN_AFTER", "-1", "0"),
        ("LOG_LEVEL", "LOUD", "INFO"),
        ("LOG_FORMAT", "xml", "text"),
    ],
)
def test_a_value_with_a_safe_substitute_is_a_warning(name: str, text: str, used: str) -> None:
    config = load_config({**KEY, name: text}, NOWHERE)

    [warning] = config.warnings
    assert warning.startswith(f"{name}: given '{text}'; expected ")
    assert warning.endswith(f"; using {used} instead")
    assert source_of(config, name) == (used, "environment")
    [tunnel] = config.tunnels
    times = (
        config.interval_seconds,
        tunnel.request_timeout_seconds,
        tunnel.restart_vpn_after_seconds,
    )
    assert used in [*(f"{seconds:g}" for seconds in times), config.log_level, config.log_format]


@pytest.mark.parametrize(
    ("given", "level"),
    [("warn", "WARNING"), ("Fatal", "CRITICAL"), ("NOTSET", "DEBUG"), ("info", "INFO")],
)
def test_the_names_of_levels_that_python_knows_are_taken(given: str, level: str) -> None:
    config = load_config({**KEY, "LOG_LEVEL": given}, NOWHERE)

    assert (config.log_level, config.warnings) == (level, ())


def test_a_word_too_many_in_notify_on_leaves_the_default() -> None:
    config = load_config({**KEY, "NOTIFY_ON": "port_change, Problem"}, NOWHERE)
    assert config.notify.topics == ("port_change", "problem")

    config = load_config({**KEY, "NOTIFY_ON": "problem,always"}, NOWHERE)
    assert config.notify.topics == ("problem", "recovery")
    assert config.warnings == (
        "NOTIFY_ON: given 'always'; expected some of problem, recovery, port_change; "
        "using problem,recovery instead",
    )


def test_urls_may_have_a_line_each_in_their_file(tmp_path: Path) -> None:
    file = tmp_path / "urls"
    file.write_text("json://a,\njson://b\n")
    urls = load_config({**KEY, "NOTIFY_URLS_FILE": str(file)}, NOWHERE).notify.urls
    assert urls.value == "json://a, json://b"
    file.write_text("json://a\njson://c\n")
    assert urls.current().value == "json://a json://c"


@pytest.mark.parametrize("link", ["tcp://10.0.0.1:9090", "udp://[fd00::1]:9090"])
def test_a_port_that_kubernetes_or_docker_sets_is_ignored(link: str, tmp_path: Path) -> None:
    config = load_config({**KEY, "QBITTORRENT_PORT": link}, NOWHERE)

    assert config.tunnels[0].qbittorrent.server.port == 8080
    assert config.warnings == (
        f"QBITTORRENT_PORT: given '{link}', which Kubernetes sets for a Service of that name "
        "(unless the pod has enableServiceLinks: false), and Docker for a link; it is ignored, so "
        "set QBITTORRENT_PORT if the port is not 8080",
    )
    (tmp_path / "qbittorrent_port").write_text("8081")
    config = load_config({**KEY, "QBITTORRENT_PORT": link}, tmp_path)
    assert config.tunnels[0].qbittorrent.server.port == 8081


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("QBITTORRENT_PASSWORD", "QBITTORRENT_PASS"),
        ("qbittorrent_password_file", "QBITTORRENT_PASS_FILE"),
        ("QBITTORRENT_USERNAME", "QBITTORRENT_USER"),
        ("QBITTORRENT_APIKEY", "QBITTORRENT_API_KEY"),
        ("QBIT_HOST", "QBITTORRENT_HOST"),
        ("QBITTORENT_HOST", "QBITTORRENT_HOST"),
        ("GLUETUN_API_KEY", "GLUETUN_APIKEY"),
        ("GLUETUN_PASS", "GLUETUN_PASSWORD"),
        ("GLUETUNPASS", "GLUETUN_PASSWORD"),
        ("GLUETUN_USER", "GLUETUN_USERNAME"),
        ("GLUETUN_AUTH", "GLUETUN_AUTH_TYPE"),
        ("LOGLEVEL", "LOG_LEVEL"),
        ("NOTIFY_URL", "NOTIFY_URLS"),
        ("CHECK_INTERVALL", "CHECK_INTERVAL"),
        ("CHECK_INTERVAL_S", "CHECK_INTERVAL"),
        ("HCECK_INTERVAL", "CHECK_INTERVAL"),
        ("QSTICKY_LOG_LEVEL", "LOG_LEVEL"),
        ("FILE__GLUETUN_APIKEY", "GLUETUN_APIKEY_FILE"),
        ("GLUETUN_HOTS", "GLUETUN_HOST"),
        ("QBITTORRENT_USR", "QBITTORRENT_USER"),
        ("QBITTORRENT_SSL_FILE", "QBITTORRENT_HTTPS_FILE"),
        ("GLUETUN_VERIFY_TLS_FILE", "GLUETUN_VERIFY_SSL_FILE"),
    ],
)
def test_a_variable_with_another_spelling_is_warned_about(wrong: str, right: str) -> None:
    said = f"{wrong.upper()} is ignored; the setting is called {right}"

    assert said in load_config({wrong: SECRET}, NOWHERE).warnings
    both = {wrong: SECRET, right: "/dev/null" if right.endswith("FILE") else "basic"}
    assert said not in load_config(both, NOWHERE).warnings


def test_variables_of_others_are_not_warned_about() -> None:
    others = [
        *("QBITTORRENT_SERVICE_HOST", "QBITTORRENT_PORT_8080_TCP_ADDR", "GLUETUN_PORT_8000_TCP"),
        *("GLUETUN_HTTP_CONTROL_SERVER_ENABLE", "HOSTNAME", "PATH", "USER", "PASSWORD", "TZ"),
        *("QBITTORRENT_OPTS", "QBITTORRENT_HASH"),
    ]

    assert load_config({**KEY, **dict.fromkeys(others, "x")}, NOWHERE).warnings == ()


# What is never shown


def test_no_secret_is_in_the_configuration_as_python_shows_it() -> None:
    config = load_config(dict.fromkeys(SECRETS, SECRET), NOWHERE)

    assert config.tunnels[0].qbittorrent.password.value == SECRET
    assert SECRET not in repr(config) + str(config.tunnels[0].gluetun.apikey)
    assert {source_of(config, name) for name in SECRETS} == {("***", "environment")}


def shown_of(environ: Mapping[str, str]) -> str:
    """All that a user sees of a configuration, right or wrong."""
    try:
        config = load_config(environ, NOWHERE)
    except ConfigError as error:
        return error.message + repr(error)
    return f"{config.values}{config.warnings}{config.health_file}"


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=100)
NAMES = {f"{setting.name}{suffix}" for setting in SETTINGS for suffix in ("", "_FILE")}


@settings(max_examples=300)
@given(
    st.sampled_from(sorted(NAMES - {"QBITTORRENT_USER", "GLUETUN_USERNAME"})),
    WORDS,
    st.sampled_from(["", "http://", "//", "tcp://"]),
    WORDS,
)
def test_a_password_in_an_address_is_never_shown(
    name: str, user: str, scheme: str, host: str
) -> None:
    assert SECRET not in shown_of({name: f"{scheme}{user}:pw-{SECRET}@{host}"})


@pytest.mark.parametrize(
    "address",
    [
        *("http://box/qb?password={}", "http://box/#{}", "box/?{}", "/qb?token={}"),
        *("https://admin:1{}/x@box", "http://admin:{}/2@box", "http://admin:80,{}@box"),
        *("fe80::1%admin:{}@box", "[fe80::1%{}@box]", "admin:{}/@box"),
    ],
)
def test_no_part_of_an_address_that_may_be_a_password_is_shown(address: str) -> None:
    for name in NAMES - {"QBITTORRENT_USER", "GLUETUN_USERNAME", "HEALTH_FILE"}:
        for secret in (SECRET, "99999"):
            assert secret not in shown_of({name: address.format(secret)}), name
