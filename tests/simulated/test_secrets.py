"""Canaries in every secret; nothing that comes out of the program may hold one."""

import base64
import json
import os
import traceback
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from exporter import cli
from exporter.clock import Clock
from exporter.config.load import load_config
from exporter.errors import ConfigError, ServerError
from exporter.healthcheck import judge
from exporter.servers.logins import LoginState
from exporter.servers.operations import Operations
from exporter.simulator.dialect import BANNED
from exporter.simulator.world import AnyFault, Fault, RedirectAway, Role, Status
from tests.rig import Rig, make_rig

CANARIES = {
    "QBITTORRENT_PASS": "canary-tit'\"&<7f3a>",
    "QBITTORRENT_API_KEY": "qbt_canaryfinchQ2345678ABCDEFGHJ",
    "GLUETUN_APIKEY": "canary-siskin-19c0",
    "GLUETUN_PASSWORD": "canary-serin-8b2d%",
    "REACHABILITY_PROXY": "http://canary:linnet-5e1f@127.0.0.1:9",
}
PASSWORDS = ["QBITTORRENT_PASS", "GLUETUN_PASSWORD", "REACHABILITY_PROXY"]
KEYS = ["QBITTORRENT_API_KEY", "GLUETUN_APIKEY"]
FAULTS: list[AnyFault] = [
    *(Fault.RESET, Fault.LOST, Fault.CUT, Fault.WRONG_LENGTH, Fault.GARBAGE, Fault.HTML),
    *(Fault.WRONG_TYPE, Fault.DEEP_JSON, Fault.BAD_GZIP, Fault.REDIRECT_LOOP),
    RedirectAway("http://127.0.0.1:9/"),
    *(Status(401), Status(403), Status(404), Status(500)),
]


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


def assert_clean(said: str, *, where: str) -> None:
    assert "canary" not in said.lower(), f"a canary sings in {where}"
    for name, canary in CANARIES.items():
        for spelling in spellings(canary):
            assert spelling not in said, f"{name} is in {where}"


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
    entry: dict[str, Any] = {"gluetun": {}, "qbittorrent": {}}
    for name in names:
        section, _, key = name.lower().partition("_")
        keys, key = (entry[section], key) if section in entry else (entry, name.lower())
        keys[key] = CANARIES[name]
    path = folder / "config.yml"
    path.write_text(json.dumps({"tunnels": [entry]}))  # JSON is YAML too
    return {"QSTICKY_CONFIG": str(path)}


Source = Callable[[Path, list[str]], dict[str, str]]


def secret_rig(folder: Path, environ: Mapping[str, str], names: list[str], log_format: str) -> Rig:
    keys = names == KEYS
    basic = {"GLUETUN_AUTH_TYPE": "basic", "GLUETUN_USERNAME": "u"}
    basic |= {"REACHABILITY_URL": "https://box.example/{port}"}
    rig = make_rig(
        folder,
        version="5.3.0",
        role=Role(auth="apikey", apikey=CANARIES["GLUETUN_APIKEY"])
        if keys
        else Role(auth="basic", username="u", password=CANARIES["GLUETUN_PASSWORD"]),
        password=CANARIES["QBITTORRENT_PASS"],
        api_key=CANARIES["QBITTORRENT_API_KEY"] if keys else None,
        environ={} if keys else basic,
    )
    for name in ("QBITTORRENT_PASS", "GLUETUN_APIKEY"):
        del rig.environ[name]
    rig.environ |= {"LOG_FORMAT": log_format, **environ}
    return rig


def everything_said(rig: Rig) -> dict[str, str]:
    """All that somebody outside may get to see."""
    pages = ("/", "/?tunnel=default", "/metrics", "/status.json", "/-/ready", "/nowhere")
    shown = {f"the page {path}": rig.get(path)[1] for path in pages}
    kept = {
        str(path): path.read_text(errors="replace") for path in rig.path.parent.glob("*status*")
    }
    healthcheck = judge(str(rig.path), rig.clock.wall())[1]
    return shown | kept | {
        "the log": rig.log.getvalue(),
        "an outcome": repr(rig.last),
        "the configuration": repr(rig.config()) + str(rig.config()),
        "the healthcheck": healthcheck,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("names", "source", "log_format"),
    [(PASSWORDS, by_file, "text"), (KEYS, by_yaml, "json")],
    ids=["passwords", "keys"],
)
def test_no_secret_comes_out_whatever_happens(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    names: list[str],
    source: Source,
    log_format: str,
) -> None:
    secrets, state = tmp_path / "secrets", tmp_path / "state"
    for folder in (secrets, state):
        folder.mkdir()
    with secret_rig(state, source(secrets, names), names, log_format) as rig:
        assert rig.check().in_sync
        rig.run_for(20)
        assert names == KEYS or "through the proxy" in rig.log.getvalue()
        for server in (rig.gluetun, rig.qbittorrent):
            for fault in FAULTS:
                server.fail(None, fault)
                rig.later(10)
                server.heal()
            server.stop()
            rig.later(10)
            server.start()
        # the credentials are refused, then banned, and saved over a restart
        rig.clock.now += 3600
        rig.qbittorrent.set_password("another")
        rig.qbittorrent._preferences["web_ui_api_key"] = ""
        rig.qbittorrent.restart()
        rig.later(30)
        rig.start_daemon()
        rig.later(300)
        rig.qbittorrent.fail("/api/v2/auth/login", Status(403, BANNED))
        rig.later(3600)
        rig.gluetun._roles = []
        rig.later(30)
        with monkeypatch.context() as patch:
            patch.setattr(rig.tunnel, "_check", None)
            rig.run_for(40)
        for where, said in everything_said(rig).items():
            assert_clean(said, where=where)


@pytest.mark.parametrize(("names", "source"), [(PASSWORDS, by_yaml), (KEYS, by_variable)])
def test_config_prints_no_secret(
    tmp_path: Path,
    names: list[str],
    source: Source,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in os.environ:
        if name.startswith(("GLUETUN_", "QBITTORRENT_", "QSTICKY_")):
            monkeypatch.delenv(name)
    for name, value in source(tmp_path, names).items():
        monkeypatch.setenv(name, value)
    assert cli.main(["config"]) == 0
    printed = capsys.readouterr()
    assert "***" in printed.out
    assert_clean(printed.out + printed.err, where="qsticky config")


def test_no_url_of_a_notification_comes_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # a service that does not run, a wrong token, an unknown scheme, and no URL at all
    urls = "json://canary:finch@127.0.0.1:9/canary, tgram://canary discrod://canary/x canary"
    with make_rig(tmp_path, environ={"NOTIFY_URLS": urls}) as rig:
        notifier = rig.service.notifier
        assert notifier
        notifier.check_urls()
        rig.check()
        rig.gluetun.stop()
        for seconds in (95, 11, 11):
            rig.run_for(seconds)
            notifier.step()
        assert rig.metric("qsticky_notification_failures_total") == 5
        for where, said in everything_said(rig).items():
            assert_clean(said, where=where)
    for name, value in rig.environ.items():
        monkeypatch.setenv(name, value)
    assert [cli.main([command]) for command in ("notify", "check", "config")] == [3, 3, 0]
    printed = capsys.readouterr()
    assert "NOTIFY_URLS" in printed.out
    assert_clean(printed.out + printed.err, where="the commands")


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and all that it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("names", [PASSWORDS, KEYS], ids=["passwords", "keys"])
def test_no_exception_holds_a_secret(tmp_path: Path, names: list[str]) -> None:
    with secret_rig(tmp_path, by_variable(tmp_path, names), names, "text") as rig:
        calls: list[Callable[[Operations], object]] = [
            rig.tunnel._gluetun.forwarded_port,
            rig.tunnel._qbittorrent.listening,
        ]
        for fault in FAULTS:
            rig.gluetun.fail(None, fault)
            for path in ("/api/v2/auth/login", "/api/v2/app/preferences"):
                rig.qbittorrent.fail(path if names == PASSWORDS else None, fault)
            rig.tunnel._logins.state = LoginState()  # nothing is suspended
            rig.tunnel._qbittorrent.session.open = False
            for call in calls:
                with pytest.raises(ServerError) as caught:
                    call(Operations(Clock()))
                error = caught.value
                said = [str(e) + repr(e) + repr(e.args) for e in chain(error)]
                said += traceback.format_exception(error)
                said += [error.message, error.fix]
                assert_clean("\n".join(said), where=f"{type(error).__name__} of {fault}")
            rig.gluetun.heal()
            rig.qbittorrent.heal()
        assert names == KEYS or len(rig.qbittorrent.login_attempts) > 3


MISTAKES = {
    "a line break in it": {"QBITTORRENT_PASS": "canary\nfinch", "GLUETUN_APIKEY": "canary\x00"},
    "an address as the host": {"GLUETUN_HOST": "http://user:canary-finch@gluetun"},
    "credentials before the host": {"QBITTORRENT_HOST": "admin:canary-finch@qbittorrent"},
    "a proxy of another kind": {"REACHABILITY_PROXY": "socks5://canary:finch@gluetun"},
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
def test_a_mistake_in_the_configuration_is_named_without_the_secret(
    tmp_path: Path, mistake: dict[str, str]
) -> None:
    environ = dict(mistake)
    if "QSTICKY_CONFIG" in environ:
        file = tmp_path / "config.yml"
        file.write_text(environ["QSTICKY_CONFIG"])
        environ["QSTICKY_CONFIG"] = str(file)
    with pytest.raises(ConfigError) as caught:
        load_config(environ, tmp_path)
    said = [str(caught.value), repr(caught.value), *traceback.format_exception(caught.value)]
    assert_clean("\n".join(said), where="the mistakes")


def test_the_preferences_of_qbittorrent_stay_at_the_edge(rig: Rig) -> None:
    """`app/preferences` holds passwords of mail, proxy and dynamic DNS, canaries in this one."""
    assert "canary-proxy-password" in json.dumps(rig.qbittorrent._preferences)
    rig.check()
    rig.qbittorrent.fail("/api/v2/app/preferences", Status(200, '{"proxy_password":"canary"}'))
    rig.later(30)
    assert rig.last.failures
    for where, said in everything_said(rig).items():
        assert_clean(said, where=where)


@pytest.mark.parametrize("name", CANARIES)
def test_the_search_finds_a_secret_however_it_is_written(name: str) -> None:
    secret = CANARIES[name]
    basic = base64.b64encode(f"u:{secret}".encode()).decode()
    for said in (secret, f"X-API-Key: {secret}", f"Authorization: Basic {basic}", repr([secret])):
        with pytest.raises(AssertionError, match=r"."):
            assert_clean(said, where="a test")
