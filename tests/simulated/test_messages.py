"""Every error as the log says it: what, where and what to do, with no need to know Python.

The only place where the words of errors are looked at.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter import errors
from exporter.simulator.dialect import BANNED
from exporter.simulator.world import (
    AnyFault,
    Fault,
    RedirectAway,
    SimulatedQbittorrent,
    Status,
)
from tests.conftest import Certificate
from tests.rig import Rig, make_rig, role_with

CANARY = "canary-password"
API_KEY = "qbt_" + "canary" * 4 + "AAAA"
LOGIN = "/api/v2/auth/login"

Strike = Callable[[Rig], object]


def gluetun(fault: AnyFault, *paths: str) -> Strike:
    return lambda rig: [rig.gluetun.fail(path, fault) for path in paths or (None,)]  # type: ignore[func-returns-value]


def qbittorrent(fault: AnyFault, path: str | None = None) -> Strike:
    return lambda rig: rig.qbittorrent.fail(path, fault)


def settings(rig: Rig) -> None:
    """The settings are the fault."""


def for_long(strike: Strike) -> Strike:
    """It has been so for ten minutes."""

    def strike_early(rig: Rig) -> None:
        strike(rig)
        rig.check()
        rig.clock.now += 601

    return strike_early


def role_of(*routes: str) -> Strike:
    def strike(rig: Rig) -> None:
        rig.gluetun._roles = [role_with(*routes)]
        rig.gluetun.forwarded_ports = []

    return for_long(strike)


def another_password(rig: Rig) -> None:
    rig.qbittorrent.set_password("x")


def rejected_before(rig: Rig) -> None:
    another_password(rig)
    rig.check()
    rig.clock.now += 30


def no_answers_to_logins(rig: Rig) -> None:
    rig.qbittorrent.fail(LOGIN, Status(502, "<html>canary</html>"))
    for _ in range(3):
        rig.check()


def drift(rig: Rig) -> None:
    rig.check()
    rig.qbittorrent.listening_port = 6881


def no_port(rig: Rig) -> None:
    rig.gluetun.forwarded_ports = []


def vpn_down(rig: Rig) -> None:
    rig.gluetun.vpn_status = "crashed"


def no_disk(rig: Rig) -> None:
    rig.path.unlink()
    rig.path.mkdir()


STATUS, PORT, ADDRESS = "/v1/vpn/status", "/v1/portforward", "/v1/publicip/ip"
PREFERENCES = "/api/v2/app/preferences"
PAGE = Status(200, "<html>canary</html>")
MAY_READ = role_of(f"GET {STATUS}", f"GET {PORT}")

SCENES: dict[str, tuple[type[errors.QstickyError] | None, Strike, dict[str, str]]] = {
    "Gluetun is away": (errors.Unreachable, gluetun(Fault.REFUSE), {}),
    "an unknown name": (errors.Unreachable, settings, {"GLUETUN_HOST": "nosuchhost.invalid"}),
    "qBittorrent is away": (errors.Unreachable, qbittorrent(Fault.REFUSE), {}),
    "a reset": (errors.Unreachable, gluetun(Fault.RESET), {}),
    "it hangs": (errors.TimedOut, qbittorrent(Fault.HANG), {}),
    "no HTTPS there": (errors.TimedOut, settings, {"GLUETUN_HTTPS": "true"}),
    "no role": (errors.Unauthorized, role_of(f"GET {STATUS}"), {}),
    "no restarts": (errors.Unauthorized, MAY_READ, {"RESTART_VPN_AFTER": "300"}),
    "a wrong API key": (errors.Unauthorized, settings, {"QBITTORRENT_API_KEY": API_KEY}),
    "a wrong password": (errors.LoginRejected, another_password, {}),
    "a suspended login": (errors.LoginSuspended, rejected_before, {}),
    "logins without an answer": (errors.LoginSuspended, no_answers_to_logins, {}),
    "a ban": (errors.Banned, qbittorrent(Status(403, BANNED), LOGIN), {}),
    "cookies are lost": (errors.SessionExpired, qbittorrent(Status(403), PREFERENCES), {}),
    "the Host header": (errors.ForbiddenHost, qbittorrent(Status(401)), {}),
    "a proxy's page": (errors.InvalidResponse, qbittorrent(PAGE), {}),
    "a proxy's login": (errors.HttpError, qbittorrent(Fault.REDIRECT_LOOP), {}),
    "a redirect": (errors.HttpError, gluetun(RedirectAway("http://127.0.0.1:9/canary")), {}),
    "another server": (errors.HttpError, gluetun(Status(404)), {}),
    "an error of its own": (errors.HttpError, gluetun(Status(500, "canary")), {}),
    "a port out of range": (errors.InvalidResponse, gluetun(Status(200, '{"port":80}')), {}),
    "too few ports": (errors.InvalidResponse, settings, {"GLUETUN_PORT_INDEX": "3"}),
    "wrong types": (errors.InvalidResponse, gluetun(Fault.WRONG_TYPE, PORT, STATUS), {}),
    "nonsense": (errors.InvalidResponse, gluetun(Fault.DEEP_JSON, STATUS, ADDRESS), {}),
    "no log": (errors.InvalidResponse, qbittorrent(Fault.WRONG_TYPE, "/api/v2/log/main"), {}),
    "no preferences": (errors.InvalidResponse, qbittorrent(Fault.WRONG_TYPE, PREFERENCES), {}),
    "cut off": (errors.InvalidResponse, gluetun(Fault.CUT), {}),
    "bad gzip": (errors.InvalidResponse, gluetun(Fault.BAD_GZIP), {}),
    "a port that does not stick": (
        errors.VerifyMismatch,
        qbittorrent(Status(200), "/api/v2/app/setPreferences"),
        {},
    ),
    "an occupied port": (errors.BindFailed, lambda rig: rig.qbittorrent.occupied.add(45720), {}),
    "an unwritable file": (errors.StatusFileError, for_long(no_disk), {}),
    "a refused announcement": (
        errors.HttpError,
        qbittorrent(Status(500), "/api/v2/torrents/reannounce"),
        {"REANNOUNCE_AFTER_CHANGE": "true"},
    ),
    "a drift": (None, drift, {}),
    "no port for long": (None, for_long(no_port), {}),
    "no VPN for long": (None, for_long(vpn_down), {}),
}
"""What goes wrong: the error that it is about, how it comes about, and settings."""


def subclasses(kind: type[errors.QstickyError]) -> set[type[errors.QstickyError]]:
    return {kind}.union(*(subclasses(each) for each in kind.__subclasses__()))


def test_every_error_of_the_servers_is_read_here() -> None:
    ours = {kind for kind in subclasses(errors.ServerError) if kind.__module__ == errors.__name__}
    read = {kind for kind, _, _ in SCENES.values()} | {errors.TlsFailed}
    # the last one is about no server of ours: tests/simulated/test_reachability.py
    assert ours - read == {errors.ServerError, errors.Unexpected, errors.NotReachable}


@pytest.mark.parametrize("scene", SCENES)
def test_a_line_says_what_where_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scene: str
) -> None:
    kind, strike, environ = SCENES[scene]
    made: set[type[errors.QstickyError]] = set()
    make = errors.QstickyError.__init__

    def note(self: errors.QstickyError, message: str, fix: str | None = None) -> None:
        made.add(type(self))
        make(self, message, fix)

    monkeypatch.setattr(errors.QstickyError, "__init__", note)
    environ = {"REQUEST_TIMEOUT": "1"} | environ
    with make_rig(tmp_path, password=CANARY, environ=environ) as rig:
        strike(rig)
        rig.check()
        loud = [said for level, said in rig.lines() if level != "INFO"]
        assert loud
        for line in loud:
            assert_reads_well(line)
        for failure in rig.last.failures:
            assert re.search(r"(Gluetun|qBittorrent) at [\w.]+:\d+", failure.message)
        assert "canary" not in rig.log.getvalue()
    assert kind is None or any(issubclass(each, kind) for each in made)


def test_a_certificate_that_is_not_trusted(tmp_path: Path, certificate: Certificate) -> None:
    environ = {"QBITTORRENT_HTTPS": "true", "QBITTORRENT_VERIFY_SSL": "true"}
    tls = (certificate.file, certificate.key)
    with Rig(tmp_path, qbittorrent=SimulatedQbittorrent(tls=tls), environ=environ) as rig:
        rig.check()
        [line] = [said for level, said in rig.lines() if level != "INFO"]
        assert "certificate" in line
        assert_reads_well(line)


_PYTHON = re.compile(
    r"Traceback|Errno|[a-z]Error\b|[a-z]Exception\b|\bNone\b|\bTrue\b|\bFalse\b|0x[0-9a-f]{6}"
    r"|HTTPConnectionPool|Max retries|urllib3|requests\.|exporter\."
)
_CLASS_NAMES = re.compile(
    r"\b("
    + "|".join(
        kind.__name__
        for kind in subclasses(errors.QstickyError)
        if kind not in (errors.Banned, errors.Unauthorized)  # words, too
    )
    + r")\b"
)


def assert_reads_well(said: str) -> None:
    """As a user would judge it."""
    message, dash, fix = said.partition(" - ")
    assert dash, f"nothing to do: {said}"
    assert len(fix) > 20, f"hardly anything to do: {said}"
    assert re.search(r"Gluetun|qBittorrent|The VPN|status file", message), f"where? {said}"
    assert message[0].isupper() or message.startswith(("qBittorrent", "can't", "a ", "the ")), said
    assert not said.rstrip().endswith((".", ":", ",")), said
    assert len(said) < 450, f"too long: {said}"
    assert not _PYTHON.search(said), said
    assert not _CLASS_NAMES.search(said), said
    assert "  " not in said
    assert "<" not in said


def test_nothing_is_said_at_these_levels_while_all_is_well(rig: Rig) -> None:
    rig.run_for(65)
    assert {level for level, _ in rig.lines()} == {"INFO"}
