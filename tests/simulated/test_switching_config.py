"""What people have in their compose files: variables and secrets, each row as a process.

What works with the existing tool works here: measured with its 2.4.3, pydantic-settings 2.14.2.
What can't work says what is wrong.
"""

import base64
import contextlib
import http.client
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import bcrypt
import pytest

from tests.conftest import Certificate, missing_part
from tests.parts.daemon import QstickyProcess
from tests.parts.user import SETTINGS, Row, Tunnel, ended, with_run_secrets

NO_AUTH = {"GLUETUN_AUTH_TYPE": "none"}


@pytest.fixture(scope="module", autouse=True)
def namespaces(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Make sure that a process can have mounts of its own."""
    try_one = [*with_run_secrets(tmp_path_factory.mktemp("secrets")), "true"]
    if subprocess.run(try_one, check=False, capture_output=True).returncode:
        missing_part("unshare, from util-linux, or the right to mount in a namespace")


@pytest.fixture
def tunnel(tmp_path: Path) -> Iterator[Tunnel]:
    with Tunnel(tmp_path) as tunnel:
        yield tunnel


# What works with the existing tool


def all_right(form: str = "{}") -> dict[str, str]:
    return {name: form.format(f"<{name}>") for name in SETTINGS}


def small(values: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in values.items()}


WORKS = {
    "secrets": Row(secrets=small(all_right())),
    "secrets in capitals": Row(secrets=all_right("{}\n")),
    "secrets in any case": Row(secrets={n.title(): v for n, v in all_right("{}\r\n").items()}),
    "secrets with blanks": Row(secrets=small(all_right(" {} \n"))),
    "secrets of Notepad": Row(secrets=small(all_right("\ufeff{}\r\n"))),
    "NAME_FILE": Row(
        {f"{name}_FILE": f"/run/secrets/my_{name}" for name in SETTINGS},
        {f"my_{name}": value for name, value in all_right("{}\n").items()},
    ),
    "a variable before a secret": Row(all_right(), dict.fromkeys(SETTINGS, "wrong")),
    "names in small letters": Row(small(all_right())),
    "names in any case": Row({name.title(): value for name, value in all_right().items()}),
    "line ends": Row(all_right("{}\r\n")),
    "a file of variables of Notepad": Row({f"\ufeff{n}": v for n, v in all_right().items()}),
    "a plus": Row({"QBITTORRENT_PORT": "+<QBITTORRENT_PORT>", "CHECK_INTERVAL": " 30 "}),
    "a fraction of zero": Row({"GLUETUN_PORT": "<GLUETUN_PORT>.00", "CHECK_INTERVAL": "30.0"}),
    "a zero": Row({"GLUETUN_PORT": "0<GLUETUN_PORT>", "CHECK_INTERVAL": "1_800"}),
    "an address as the host": Row(
        {
            "QBITTORRENT_HOST": "http://<QBITTORRENT_HOST>:<QBITTORRENT_PORT>/",
            "QBITTORRENT_PORT": "",
            "GLUETUN_HOST": "<GLUETUN_HOST>:<GLUETUN_PORT>",
            "GLUETUN_PORT": "",
        }
    ),
    **{
        f"{name} {word}": Row({name: word})
        for name, words in {
            "QBITTORRENT_HTTPS": ("false", "F", "0", "NO", "n", "oFf"),
            "LOG_LEVEL": ("debug", "Info", "WARN", "warn", "Error", "fatal", "critical", "notset"),
        }.items()
        for word in words
    },
}


@pytest.mark.parametrize("row", WORKS.values(), ids=WORKS.keys())
def test_works_as_with_the_existing_tool(row: Row, tunnel: Tunnel) -> None:
    code, said = tunnel.once(row)

    assert code == 0, said
    assert "WARNING" not in said
    assert len(tunnel.qbittorrent.login_attempts) == 1


@pytest.mark.parametrize("word", ["true", "T", "1", "YES", "y", "oN"])
def test_true_is_a_word_of_the_existing_tool(
    word: str, certificate: Certificate, tmp_path: Path
) -> None:
    with Tunnel(tmp_path, tls=(certificate.file, certificate.key)) as tunnel:
        code, said = tunnel.once(Row({"QBITTORRENT_HTTPS": word}))

    assert code == 0, said


# What is taken with a warning

LINK = "tcp://10.43.12.7:8080"
ASKED_FOR = (
    ", which Kubernetes sets for a Service of that name (unless the pod has enableServiceLinks: "
    "false), and Docker for a link; it is ignored, so set "
)
WARNED = {
    "an interval above the maximum": (
        Row({"CHECK_INTERVAL": "7200"}),
        "CHECK_INTERVAL: given '7200'; expected seconds, 1 to 3600; using 3600 instead",
    ),
    "an interval of 0": (
        Row({"CHECK_INTERVAL": "0"}),
        "CHECK_INTERVAL: given '0'; expected seconds, 1 to 3600; using 1 instead",
    ),
    "a level that Python does not know": (
        Row({"LOG_LEVEL": "trace"}),
        "LOG_LEVEL: given 'trace'; expected one of DEBUG, INFO, WARNING, ERROR, CRITICAL; using "
        "INFO instead",
    ),
    "a Service called qbittorrent": (
        Row(
            {
                "QBITTORRENT_PORT": LINK,
                "QBITTORRENT_SERVICE_HOST": "10.43.12.7",
                "QBITTORRENT_SERVICE_PORT": "8080",
                "QBITTORRENT_SERVICE_PORT_WEBUI": "8080",
                "QBITTORRENT_PORT_8080_TCP": LINK,
                "QBITTORRENT_PORT_8080_TCP_ADDR": "10.43.12.7",
                "QBITTORRENT_PORT_8080_TCP_PORT": "8080",
                "QBITTORRENT_PORT_8080_TCP_PROTO": "tcp",
            }
        ),
        f"QBITTORRENT_PORT: given '{LINK}'{ASKED_FOR}QBITTORRENT_PORT if the port is not 8080",
    ),
    "a link of Docker": (
        Row(
            {
                "GLUETUN_PORT": "udp://172.17.0.2:8888",
                "GLUETUN_NAME": "/qsticky/gluetun",
                "GLUETUN_ENV_HTTP_CONTROL_SERVER_ADDRESS": ":8000",
                "GLUETUN_PORT_8000_TCP": "tcp://172.17.0.2:8000",
                "GLUETUN_PORT_8000_TCP_ADDR": "172.17.0.2",
            }
        ),
        f"GLUETUN_PORT: given 'udp://172.17.0.2:8888'{ASKED_FOR}GLUETUN_PORT if the port is not "
        "8000",
    ),
    "a folder as a secret": (
        Row(secrets={"qbittorrent_pass": None, "kubernetes.io": None}),
        "QBITTORRENT_PASS: '/run/secrets/qbittorrent_pass' is a folder, as Docker makes one where "
        "a file to be mounted does not exist; it is ignored",
    ),
    **{
        wrong: (Row({wrong: "hunter2"}), f"{wrong} is ignored; the setting is called {right}")
        for wrong, right in {
            "QBITTORRENT_PASSWORD": "QBITTORRENT_PASS",
            "QBITTORRENT_PASSWORD_FILE": "QBITTORRENT_PASS_FILE",
            "QBITTORRENT_USERNAME": "QBITTORRENT_USER",
            "QBITTORRENT_URL": "QBITTORRENT_HOST",
            "QBITORRENT_HOST": "QBITTORRENT_HOST",
            "GLUETUN_API_KEY": "GLUETUN_APIKEY",
            "FILE__QBITTORRENT_PASS": "QBITTORRENT_PASS_FILE",
            "FILE__GLUETUN_API_KEY": "GLUETUN_APIKEY_FILE",
            "QSTICKY_QBITTORRENT_HOST": "QBITTORRENT_HOST",
            "QSTICKY_GLUETUN_API_KEY": "GLUETUN_APIKEY",
        }.items()
    },
}


@pytest.mark.parametrize(("row", "warning"), WARNED.values(), ids=WARNED.keys())
def test_is_taken_with_a_warning(row: Row, warning: str, tmp_path: Path) -> None:
    code, said = ended("config", Row({**NO_AUTH, **row.variables}, row.secrets), tmp_path)

    assert code == 0, said
    assert [line for line in said.splitlines() if line.startswith("warning")] == [
        f"warning: {warning}"
    ]
    assert "hunter2" not in said


def test_variables_of_others_are_none_of_our_business(tmp_path: Path) -> None:
    others = ["QSTICKY_PORT", "QSTICKY_PORT_9809_TCP", "QSTICKY_SERVICE_HOST", "QSTICKY_REVISION"]
    others += ["WEBUI_PORT", "QBT_WEBUI_PORT", "FILE__PASSWORD", "GLUETUN_VERSION", "PUID", "UMASK"]
    others += ["GLUETUN_HTTP_CONTROL_SERVER_ENABLE", "QBITTORRENT_WEB_PORT", "LOG_FILE"]

    row = Row({**NO_AUTH, **dict.fromkeys(others, LINK)})

    assert "warning: " not in ended("config", row, tmp_path)[1]


# What is rejected, and why

LOGIN = "correct QBITTORRENT_USER and QBITTORRENT_PASS"
QUOTES = "the secret is in quotes, which count as part of it: remove them, or "
UNREPLACED = "the secret is a variable that nothing has replaced: write the value in its place, or "
A_PATH = "the secret looks like the path of a file: give that to …_FILE, or "


def empty(name: str) -> str:
    return f"the file /run/secrets/{name} is empty: write the secret into it, or "


REJECTED = {
    "in quotes": (Row({"QBITTORRENT_PASS": '"<QBITTORRENT_PASS>"'}), QUOTES + LOGIN, 1),
    "in a file": (
        Row(secrets={"qbittorrent_pass": "wrong"}),
        "correct QBITTORRENT_USER and what is in /run/secrets/qbittorrent_pass; ",
        1,
    ),
    "in a file, in quotes": (
        Row(secrets={"qbittorrent_pass": "'<QBITTORRENT_PASS>'\n"}),
        QUOTES + "correct QBITTORRENT_USER and what is in /run/secrets/qbittorrent_pass; ",
        1,
    ),
    "a variable": (Row({"QBITTORRENT_PASS": "${QBT_PASS:-}"}), UNREPLACED + LOGIN, 1),
    "a variable without braces": (Row({"QBITTORRENT_PASS": "$QBT_PASS"}), UNREPLACED + LOGIN, 1),
    "a variable of Windows": (Row({"QBITTORRENT_PASS": "%QBT_PASS%"}), UNREPLACED + LOGIN, 1),
    "a path": (Row({"QBITTORRENT_PASS": "/run/secrets/qbt"}), A_PATH + LOGIN, 1),
    "a path of Windows": (Row({"QBITTORRENT_PASS": "C:\\secrets\\qbt"}), A_PATH + LOGIN, 1),
    "none at all": (
        Row({"QBITTORRENT_PASS": ""}),
        "set QBITTORRENT_PASS: the default of older versions was tried; qBittorrent 4.6.1 and",
        1,
    ),
    "an empty secret": (
        Row(secrets={"QBITTORRENT_PASS": "\n"}),
        empty("QBITTORRENT_PASS") + LOGIN,
        0,
    ),
    "an empty file": (
        Row({"QBITTORRENT_PASS_FILE": "/run/secrets/empty"}, {"empty": ""}),
        empty("empty") + LOGIN,
        0,
    ),
    "a key in quotes": (
        Row({"GLUETUN_APIKEY": "'<GLUETUN_APIKEY>'"}),
        QUOTES + "check GLUETUN_APIKEY against the apikey in /gluetun/auth/config.toml",
        1,
    ),
    "an empty key": (
        Row(secrets={"gluetun_apikey": ""}),
        empty("gluetun_apikey") + "check GLUETUN_APIKEY against the apikey",
        1,
    ),
}


@pytest.mark.parametrize(("row", "hint", "logins"), REJECTED.values(), ids=REJECTED.keys())
def test_a_rejection_says_what_the_secret_looks_like(
    row: Row, hint: str, logins: int, tunnel: Tunnel
) -> None:
    code, said = tunnel.once(row)

    assert code == 3
    assert f" - {hint}" in said
    assert len(tunnel.qbittorrent.login_attempts) == logins


def test_the_hint_stays_while_the_next_login_waits(tunnel: Tunnel) -> None:
    row = Row({"QBITTORRENT_PASS": "${QBT_PASS}"})
    tunnel.once(row)

    said = tunnel.once(row)[1]

    assert "next login attempt in 5 min" in said
    assert f" - {UNREPLACED}{LOGIN}" in said
    assert len(tunnel.qbittorrent.login_attempts) == 1


def test_a_name_that_is_not_known_may_be_gluetuns(tunnel: Tunnel) -> None:
    code, said = tunnel.once(Row({"QBITTORRENT_HOST": "qbittorrent.invalid"}))

    assert code == 3
    assert "cannot resolve host 'qbittorrent.invalid'" in said
    assert "; behind Gluetun, qBittorrent has Gluetun's name" in said


# Mistakes


def test_a_mistake_is_json_where_the_log_is(tmp_path: Path) -> None:
    row = Row({"log_format": "JSON", "QBITTORRENT_PORT": "x", "GLUETUN_HOST": "a b"})

    code, said = ended("run", row, tmp_path)

    [line] = said.splitlines()
    assert code == 2
    assert json.loads(line)["level"] == "ERROR"
    assert json.loads(line)["message"] == (
        "the configuration has 2 mistakes:\n"
        "GLUETUN_HOST: given 'a b'; expected a host name or address\n"
        "QBITTORRENT_PORT: given 'x'; expected a port, 1 to 65535 - "
        "correct the settings above; `qsticky config` then shows where each value comes from"
    )


@pytest.mark.parametrize("variables", [{}, {"XDG_STATE_HOME": "~/state"}, {"HEALTH_FILE": "~/s"}])
def test_without_a_home_there_is_no_folder_called_tilde(
    variables: Mapping[str, str], tmp_path: Path
) -> None:
    row = Row({"HEALTH_FILE": "", **NO_AUTH, **variables})

    code, said = ended("config", row, tmp_path, ("unshare", "--user", "--map-user=4242"))

    [line] = [line for line in said.splitlines() if line.startswith("HEALTH_FILE")]
    assert (code, line.split()[1][:5]) == (0, "/tmp/")


# What the web server takes


def test_gluetuns_push_gives_the_password_that_htpasswd_printed(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_bytes(b"ann:" + bcrypt.hashpw(b"two words", bcrypt.gensalt(4)) + b"\r\n\r\n")
    variables = {"WEB_USERS_FILE": str(users), "WEB_LISTEN_ADDRESS": "127.0.0.1:0", **NO_AUTH}
    basic = f"Basic {base64.b64encode(b'ann:two words').decode()}"  # of http://ann:two%20words@…

    with QstickyProcess(variables, tmp_path) as daemon:
        address = daemon.wait_for("Status page and metrics at").split("//")[1].strip("/\n")
        answers = [
            status(address, method, path, {"Authorization": given})
            for given in (basic, "")
            for method, path in (("POST", "/-/sync"), ("GET", "/metrics/"))
        ]

    assert answers == [202, 200, 401, 401]


def status(address: str, method: str, path: str, headers: Mapping[str, str]) -> int:
    with contextlib.closing(http.client.HTTPConnection(address, timeout=30)) as connection:
        connection.request(method, path, headers=headers)
        return connection.getresponse().status
