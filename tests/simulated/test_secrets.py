"""Canaries in every secret; nothing that comes out of the program may hold one."""

import base64
import json
import os
import traceback
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from exporter import cli
from exporter.config.load import load_config
from exporter.errors import ConfigError, QstickyError, ServerError
from exporter.healthcheck import judge
from exporter.report import status_file as health
from exporter.report.status_file import remembered
from exporter.simulator.world import Fault, Role, SimulatedGluetun, SimulatedQbittorrent, Status
from tests.fakes import FakeClock
from tests.rig import Rig
from tests.simulated.faults import ANSWERS

CANARIES = {
    "QBITTORRENT_PASS": "canary-tit'\"&<7f3a>",
    "QBITTORRENT_API_KEY": "qbt_canaryfinchQ2345678ABCDEFGHJ",
    "GLUETUN_APIKEY": "canary-siskin-19c0",
    "GLUETUN_PASSWORD": "canary-serin-8b2d%",
}
FAULTS = [fault for name, fault in ANSWERS.items() if name not in ("hang", "slow drip", "50 MB")]


def spellings(canary: str) -> Iterator[str]:
    """A secret as text, in a URL, in HTML, in JSON, in Python, and in base64 at any offset."""
    yield canary
    yield urllib.parse.quote(canary, safe="")
    yield urllib.parse.quote_plus(canary)
    yield canary.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    yield json.dumps(canary)[1:-1]
    yield repr(canary)[1:-1]
    yield canary.encode().hex()
    for offset in range(3):
        encoded = base64.b64encode(b"x" * offset + canary.encode()).decode()
        yield encoded[4:-4]


def assert_clean(told: str, *, where: str) -> None:
    assert "canary" not in told.lower(), f"a canary sings in {where}"
    for name, canary in CANARIES.items():
        for spelling in spellings(canary):
            assert spelling not in told, f"{name} is in {where}"


def by_variable(folder: Path, names: list[str]) -> dict[str, str]:
    return {name: CANARIES[name] for name in names}


def by_file(folder: Path, names: list[str]) -> dict[str, str]:
    environ = {}
    for name in names:
        path = folder / name.lower()
        path.write_text(CANARIES[name] + "\n")
        environ[f"{name}_FILE"] = str(path)
    return environ


def by_yaml(folder: Path, names: list[str]) -> dict[str, str]:
    entry: dict[str, dict[str, str]] = {"gluetun": {}, "qbittorrent": {}}
    for name in names:
        section, _, key = name.lower().partition("_")
        entry[section][key] = CANARIES[name]
    path = folder / "config.yml"
    path.write_text(json.dumps({"tunnels": [entry]}))  # JSON is YAML too
    return {"QSTICKY_CONFIG": str(path)}


SOURCES = {"variable": by_variable, "file": by_file, "yaml": by_yaml}
PASSWORDS = ["QBITTORRENT_PASS", "GLUETUN_PASSWORD"]
KEYS = ["QBITTORRENT_API_KEY", "GLUETUN_APIKEY"]


@pytest.fixture(params=["passwords", "keys"])
def names(request: pytest.FixtureRequest) -> list[str]:
    return PASSWORDS if request.param == "passwords" else KEYS


def make_rig(folder: Path, environ: Mapping[str, str], names: list[str], log_format: str) -> Rig:
    clock = FakeClock()
    keys = names == KEYS
    role = (
        Role(auth="apikey", apikey=CANARIES["GLUETUN_APIKEY"])
        if keys
        else Role(auth="basic", username="u", password=CANARIES["GLUETUN_PASSWORD"])
    )
    basic = {"GLUETUN_AUTH_TYPE": "basic", "GLUETUN_USERNAME": "u"}
    rig = Rig(
        folder,
        clock=clock,
        gluetun=SimulatedGluetun("3.41", role=role, clock=clock.monotonic),
        qbittorrent=SimulatedQbittorrent(
            "5.3.0",
            password=CANARIES["QBITTORRENT_PASS"],
            api_key=CANARIES["QBITTORRENT_API_KEY"] if keys else None,
            clock=clock.monotonic,
        ),
        log_format=log_format,
        environ={} if keys else basic,
    )
    for name in ("QBITTORRENT_PASS", "GLUETUN_APIKEY"):
        del rig.environ[name]
    rig.environ |= environ
    return rig


def everything_told(rig: Rig) -> dict[str, str]:
    """All that somebody outside may get to see."""
    pages = ("/", "/?tunnel=default", "/metrics", "/status.json", "/-/ready", "/nowhere")
    shown = {f"the page {path}": rig.get(path)[1] for path in pages}
    kept = {
        str(path): path.read_text(errors="replace") for path in rig.path.parent.glob("*status*")
    }
    return shown | kept | {"the log": rig.log.getvalue(), "an outcome": repr(rig.last)}


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("source", SOURCES)
def test_no_secret_comes_out_whatever_happens(
    tmp_path: Path, names: list[str], source: str, log_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets, state = tmp_path / "secrets", tmp_path / "state"
    for folder in (secrets, state):
        folder.mkdir()
    environ = SOURCES[source](secrets, names)
    with make_rig(state, environ, names, log_format) as rig:
        assert rig.next_check().in_sync
        assert rig.next_check().in_sync
        for server in (rig.gluetun, rig.qbittorrent):
            for fault in FAULTS:
                server.fail(None, fault)
                rig.next_check()
                server.heal()
            server.stop()
            rig.next_check()
            server.start()
        # the credentials are refused, then banned, and remembered over a restart
        rig.qbittorrent.set_password("another")
        rig.qbittorrent._preferences["web_ui_api_key"] = ""
        rig.qbittorrent.restart()
        rig.run_for(300)
        rig.start_daemon()
        rig.run_for(300)
        rig.qbittorrent.fail("/api/v2/auth/login", Status(403, "banned"))
        rig.run_for(3600)
        rig.gluetun._roles = []
        rig.next_check()
        with monkeypatch.context() as patch:
            patch.setattr(health, "_open_own_file", lambda *_: os.open("/", os.O_WRONLY))
            rig.next_check()
            patch.setattr(rig.tunnel, "cycle", lambda **_: 1 / 0)
            rig.run_for(60)
        assert "unexpected error" in rig.log.getvalue()
        for where, told in everything_told(rig).items():
            assert_clean(told, where=where)
        assert_clean(repr(rig.tunnel.config) + str(rig.tunnel.config), where="the configuration")


@pytest.mark.parametrize("source", SOURCES)
def test_config_prints_no_secret(
    tmp_path: Path,
    names: list[str],
    source: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in os.environ:
        if name.startswith(("GLUETUN_", "QBITTORRENT_", "QSTICKY_")):
            monkeypatch.delenv(name)
    for name, value in SOURCES[source](tmp_path, names).items():
        monkeypatch.setenv(name, value)
    assert cli.main(["config"]) == 0
    printed = capsys.readouterr()
    assert "***" in printed.out
    assert_clean(printed.out + printed.err, where="qsticky config")


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and all that it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


HARMLESS_TO_A_LOGIN = (Fault.CUT, Fault.WRONG_LENGTH)
"""From qBittorrent 5.2 on its answer has no body that they could spoil."""


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_no_exception_holds_a_secret(tmp_path: Path, names: list[str], fault: Fault) -> None:
    with make_rig(tmp_path, by_variable(tmp_path, names), names, "text") as rig:
        password = CANARIES["QBITTORRENT_PASS"]
        calls: list[Callable[[], object]] = [rig.tunnel._gluetun.forwarded_port]
        if fault not in HARMLESS_TO_A_LOGIN:
            calls.append(lambda: rig.tunnel._qbittorrent.log_in(password))
        for server in (rig.gluetun, rig.qbittorrent):
            server.fail(None, fault)
        for call in calls:
            with pytest.raises(ServerError) as caught:
                call()
            error = caught.value
            told = [str(e) + repr(e) + repr(e.args) for e in chain(error)]
            told += traceback.format_exception(error)
            told += [error.message, error.fix]
            assert_clean("\n".join(told), where=type(error).__name__)


MISTAKES = {
    "a line break in it": {"QBITTORRENT_PASS": "canary\nfinch", "GLUETUN_APIKEY": "canary\x00"},
    "an address as the host": {"GLUETUN_HOST": "http://user:canary-finch@gluetun"},
    "credentials before the host": {"QBITTORRENT_HOST": "admin:canary-finch@qbittorrent"},
    "a folder as its file": {"QBITTORRENT_PASS": "canary-finch", "GLUETUN_APIKEY_FILE": "/"},
    "YAML of the wrong form": {"QSTICKY_CONFIG": "tunnels: {qbittorrent: {pass: canary-finch}}"},
    "YAML with a list": {"QSTICKY_CONFIG": "tunnels: [{qbittorrent: {pass: [canary-finch]}}]"},
    "YAML with a missing space": {"QSTICKY_CONFIG": "tunnels: [{qbittorrent: {pass:canary}}]"},
    "YAML with an alias": {"QSTICKY_CONFIG": "tunnels: [{qbittorrent: {pass: *canary}}]"},
    "YAML with an unknown tag": {"QSTICKY_CONFIG": "tunnels: [{qbittorrent: {pass: !canary x}}]"},
    "YAML that never ends": {"QSTICKY_CONFIG": "tunnels: [{qbittorrent: {pass: 'canary-finch"},
    "YAML with an unknown key": {"QSTICKY_CONFIG": "tunnels: [{qbittorrent: {word: canary}}]"},
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_in_the_configuration_is_told_without_the_secret(
    tmp_path: Path, mistake: dict[str, str]
) -> None:
    environ = dict(mistake)
    if "QSTICKY_CONFIG" in environ:
        file = tmp_path / "config.yml"
        file.write_text(environ["QSTICKY_CONFIG"])
        environ["QSTICKY_CONFIG"] = str(file)
    with pytest.raises(ConfigError) as caught:
        load_config(environ, tmp_path)
    told = [str(caught.value), repr(caught.value), *traceback.format_exception(caught.value)]
    assert_clean("\n".join(told), where="the mistakes")


def test_a_stolen_status_file_does_not_tell_which_password_was_tried(tmp_path: Path) -> None:
    """16 bits and a salt: one in 65536 of all guesses fits, so a fit proves nothing."""
    with Rig(tmp_path, environ={"QBITTORRENT_PASS": CANARIES["QBITTORRENT_PASS"]}) as rig:
        rig.next_check()
        assert rig.status["state"] == "qbittorrent_unauthorized"
        login = rig.status["tunnels"]["default"]["login"]
        salt, _, digest = login["fingerprint"].partition(":")
        assert (len(salt), len(digest)) == (8, 4)
        assert_clean(rig.path.read_text(), where="status.json")
        assert remembered(rig.path)["default"].login_note is not None
        assert_clean(judge(str(rig.path), rig.clock.wall())[1], where="the healthcheck")


def test_the_preferences_of_qbittorrent_stay_at_the_edge(tmp_path: Path) -> None:
    """`app/preferences` holds passwords of mail, proxy and dynamic DNS."""
    with Rig(tmp_path) as rig:
        rig.qbittorrent._preferences |= {
            "mail_notification_password": "canary-mail",
            "proxy_password": "canary-proxy",
            "dyndns_password": "canary-dyndns",
        }
        for _ in range(3):
            rig.next_check()
        rig.qbittorrent.fail("/api/v2/app/preferences", Status(200, '{"proxy_password":"canary"}'))
        rig.next_check()
        assert rig.last.failures
        for where, told in everything_told(rig).items():
            assert_clean(told, where=where)


def test_every_error_of_ours_shows_its_message_and_nothing_else() -> None:
    error = QstickyError("what and where", "what to do")
    assert (str(error), repr(error)) == ("what and where", "QstickyError('what and where')")


@pytest.mark.parametrize("name", CANARIES)
def test_the_search_finds_a_secret_however_it_is_written(name: str) -> None:
    secret = CANARIES[name]
    basic = base64.b64encode(f"u:{secret}".encode()).decode()
    for told in (secret, f"X-API-Key: {secret}", f"Authorization: Basic {basic}", repr([secret])):
        with pytest.raises(AssertionError, match=r"."):
            assert_clean(told, where="a test")
