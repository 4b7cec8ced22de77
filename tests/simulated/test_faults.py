"""Every fault at every operation: what is said, shown, counted and done, and how it ends."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exporter.report.log import logger
from exporter.simulator.world import (
    AnyFault,
    Fault,
    RedirectAway,
    Role,
    SimulatedGluetun,
    SimulatedQbittorrent,
    Status,
)
from tests.rig import Rig
from tests.simulated.faults import Result, Scene, play, scenes

NOT_JSON = "answered with something that is not JSON"
HTML_PAGE = "answered with an HTML page; is that a proxy's login page?"
TOO_LARGE = "answered with more than"
CAUSES = {
    "refused": ("connection", "refuses the connection; does it run there?"),
    "DNS failure": ("connection", "the name 'gluetun' is not known here"),
    "expired certificate": ("tls", "no certificate that we trust: certificate has expired - renew"),
    "wrong host certificate": ("tls", "certificate is not valid for 'gluetun' - put the name"),
    "unknown authority": ("tls", "issuer certificate - name the certificate authority"),
    "no HTTPS": ("timeout", "https to a plain http port hangs too"),
    "reset": ("connection", "closed the connection without an answer"),
    "answer lost": ("connection", "closed the connection without an answer"),
    "hang": ("timeout", "did not answer within 5 s"),
    "slow drip": ("timeout", "did not answer within 5 s"),
    "cut body": ("invalid_response", "broke off in the middle of an answer"),
    "wrong length": ("invalid_response", NOT_JSON),
    "status 400": ("http_4xx", "answered with status 400"),
    "status 401": ("forbidden_host", "refuses the Host header"),
    "status 403": ("http_4xx", "answered with status 403"),
    "status 404": ("http_4xx", "answered with status 404"),
    "status 500": ("http_5xx", "answered with status 500"),
    "status 502": ("http_5xx", "answered with status 502"),
    "redirect loop": ("http_4xx", "answered with status 302"),
    "redirect to another host": ("http_4xx", "answered with status 302"),
    "HTML": ("invalid_response", HTML_PAGE),
    "wrong JSON type": ("invalid_response", "answered"),
    "deep JSON": ("invalid_response", NOT_JSON),
    "50 MB": ("invalid_response", TOO_LARGE),
    "endless body": ("invalid_response", TOO_LARGE),
    "bad UTF-8": ("invalid_response", NOT_JSON),
    "bad gzip": ("invalid_response", "answered with a body that can't be unpacked"),
    "read-only disk": ("io", "Read-only file system - mount that folder writable"),
    "full disk": ("io", "No space left on device - free some space"),
    "a file in place of the folder": ("io", "can't write the status file"),
}
"""What each fault counts as, and what the log says of it."""

GLUETUN_DOWN, QBITTORRENT_DOWN = "gluetun_unreachable", "qbittorrent_unreachable"
STATES = {
    "reading the forwarded port": (GLUETUN_DOWN, "gluetun_port: {}"),
    "reading the VPN status": ("in_sync", "gluetun_status: {}"),
    "reading the public address": ("in_sync", "gluetun_public_ip: {}"),
    # the first failure is the one that asks for a login
    "asking whether a login is needed": (
        QBITTORRENT_DOWN,
        "qbittorrent_login: {}, qbittorrent_preferences: auth",
    ),
    "logging in": (QBITTORRENT_DOWN, "qbittorrent_login: {}, qbittorrent_preferences: auth"),
    "reading the listening port": (QBITTORRENT_DOWN, "qbittorrent_preferences: {}"),
    "reading the connection status": ("in_sync", "qbittorrent_transfer: {}"),
    "reading the log": ("in_sync", "qbittorrent_log: {}"),
    "setting the port": (QBITTORRENT_DOWN, "qbittorrent_set_port: {}"),
    "writing status.json": ("in_sync", "status_file: {}"),
    "telling the time": ("in_sync", ""),
}
"""The state that a failure of each operation leads to, and how it is counted."""

NOTHING = ("in_sync", "", "")
FORBIDDEN = "forbidden_host"
KEEPS = "was given port 50001 but keeps 45720"
OTHERWISE = {
    ("reading the forwarded port", "status 401"): (
        "gluetun_unauthorized",
        "gluetun_port: auth",
        "check GLUETUN_APIKEY against the apikey in /gluetun/auth/config.toml",
    ),
    ("reading the forwarded port", "status 404"): (
        GLUETUN_DOWN,
        "gluetun_port: http_4xx",
        "answered with status 404; is that a Gluetun? - check that GLUETUN_HOST and GLUETUN_PORT",
    ),
    ("reading the forwarded port", "wrong JSON type"): (
        GLUETUN_DOWN,
        "gluetun_port: invalid_response",
        "answered with a port that is not a number",
    ),
    # no role for these: nothing to complain about
    ("reading the VPN status", "status 401"): NOTHING,
    ("reading the VPN status", "status 404"): NOTHING,
    ("reading the public address", "status 401"): NOTHING,
    ("reading the public address", "status 404"): NOTHING,
    ("reading the public address", "wrong JSON type"): NOTHING,
    ("asking whether a login is needed", "status 401"): (
        "qbittorrent_unauthorized",
        "qbittorrent_login: forbidden_host, qbittorrent_preferences: auth",
        "refuses the Host header",
    ),
    # 403 is what it should be; only the version stays unknown
    ("asking whether a login is needed", "status 403"): (
        "in_sync",
        "qbittorrent_preferences: auth",
        "no longer knows our session",
    ),
    ("logging in", "status 401"): (
        "qbittorrent_unauthorized",
        "qbittorrent_login: auth, qbittorrent_preferences: auth",
        "rejects the user name or password",
    ),
    ("logging in", "status 403"): (
        "qbittorrent_banned",
        "qbittorrent_login: banned, qbittorrent_preferences: auth",
        "has banned our address after too many failed logins",
    ),
    ("reading the listening port", "status 401"): (
        "qbittorrent_unauthorized",
        "qbittorrent_preferences: forbidden_host",
        "refuses the Host header",
    ),
    ("reading the listening port", "status 403"): (
        "qbittorrent_unauthorized",
        "qbittorrent_preferences: auth",
        "accepts our login but refuses the next request",
    ),
    ("reading the listening port", "expired session"): (
        "in_sync",
        "qbittorrent_preferences: auth",
        "",
    ),
    ("reading the connection status", "status 403"): (
        "in_sync",
        "qbittorrent_transfer: auth",
        "no longer knows our session",
    ),
    ("reading the log", "status 403"): (
        "in_sync",
        "qbittorrent_log: auth",
        "no longer knows our session",
    ),
    ("setting the port", "status 401"): (
        "qbittorrent_unauthorized",
        "qbittorrent_set_port: forbidden_host",
        "refuses the Host header",
    ),
    ("setting the port", "status 403"): (
        "qbittorrent_unauthorized",
        "qbittorrent_set_port: auth",
        "accepts our login but refuses the next request",
    ),
    # 200 with any body may be a proxy's; what counts is the port that is read back
    ("setting the port", "HTML"): ("out_of_sync", "qbittorrent_set_port: verify_mismatch", KEEPS),
    ("setting the port", "deep JSON"): (
        "out_of_sync",
        "qbittorrent_set_port: verify_mismatch",
        KEEPS,
    ),
    ("setting the port", "bad UTF-8"): (
        "out_of_sync",
        "qbittorrent_set_port: verify_mismatch",
        KEEPS,
    ),
    ("telling the time", "clock forward"): ("in_sync", "", "was set by +3600 s"),
    ("telling the time", "clock back"): ("in_sync", "", "was set by -3600 s"),
    ("telling the time", "end of daylight saving"): NOTHING,
}
"""Where a fault at an operation is more than a plain failure: state, counted as, said."""

CARRIED_OUT = ("answer lost", "slow drip")
"""Faults of the answer only: the request was done."""
WAITS_FOR_LOGIN = {
    ("logging in", "status 401"): 270,
    ("logging in", "status 403"): 3570,
    ("reading the listening port", "status 403"): 60,
    # the pauses double while a server hangs, so the look falls a second later
    ("logging in", "hang"): 61,
    ("logging in", "slow drip"): 61,
}
"""Seconds until a login is tried again, though the fault is over.

5 minutes after a rejection, an hour in a ban, a minute where a second login led to no session.
"""
NEXT_LOGIN = 60
"""The same after a second login without an answer."""


def expected(scene: Scene) -> tuple[str, str, str]:
    """State, counted as, said."""
    if (scene.step, scene.fault) in OTHERWISE:
        return OTHERWISE[scene.step, scene.fault]
    reason, words = CAUSES[scene.fault]
    state, counted = STATES[scene.step]
    return state, counted.format(reason), words


@pytest.mark.parametrize("scene", list(scenes()), ids=lambda scene: scene.name)
def test_every_fault_is_named_counted_and_survived(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = play(scene, tmp_path, monkeypatch)
    state, counted, words = expected(scene)
    assert (result.state, result.reason) == (state, counted)
    assert result.shown_state == state
    if scene.step != "writing status.json":
        assert result.stored_state == state
    check_lines(result, words)
    unreachable = state in (GLUETUN_DOWN, QBITTORRENT_DOWN, "out_of_sync")
    assert result.next_check_seconds == (1.0 if unreachable else 30.0)
    if scene.step == "setting the port":
        assert result.writes == ((50001,) if scene.fault in CARRIED_OUT else ())
    else:
        assert result.writes == ()
    key = (scene.step, scene.fault)
    # where the port was set all the same, the next look finds that
    at_once = 1 if unreachable and result.writes == () else 30
    wait = WAITS_FOR_LOGIN.get(key, NEXT_LOGIN if scene.step == "logging in" else at_once)
    assert result.back_after_seconds == wait


def check_lines(result: Result, words: str) -> None:
    """One line with the cause, said once; a warning or worse says what to do."""
    loud = [message for level, message in result.said if level in ("WARNING", "ERROR")]
    if result.step == "telling the time":
        assert loud == []
        loud = [message for _, message in result.said]
    assert len(loud) == (1 if words else 0)
    for message in loud:
        assert words in message
        assert " - " in message or "system clock" in message
        assert "Traceback" not in message
        assert "Error" not in message
    done = (("INFO", "In sync again on port 50001"),)
    assert result.said_again == (done if result.writes else ())


# a login whose answer goes astray may have been counted all the same

ASTRAY: dict[str, AnyFault] = {
    "answer lost": Fault.LOST,
    "cut body": Fault.CUT,
    "wrong length": Fault.WRONG_LENGTH,
    "wrong type": Fault.WRONG_TYPE,
    "a proxy's 502": Status(502, "<html>Bad Gateway</html>"),
    "bad gzip": Fault.BAD_GZIP,
    "HTML": Fault.HTML,
}


@pytest.mark.parametrize("fault", ASTRAY.values(), ids=ASTRAY.keys())
def test_a_wrong_password_is_tried_at_most_four_times_an_hour_whatever_becomes_of_the_answer(
    tmp_path: Path, fault: AnyFault
) -> None:
    with Rig(tmp_path, environ={"QBITTORRENT_PASS": "wrong"}) as rig:
        rig.qbittorrent.fail("/api/v2/auth/login", fault)
        for _ in range(59):
            rig.tunnel.check()
            rig.clock.now += 60
        logins = [path for _, path, _ in rig.qbittorrent.requests if path.endswith("/auth/login")]
        assert 1 <= len(logins) <= 4


# credentials stay with the server that they are for


@pytest.fixture
def stranger() -> Iterator[SimulatedGluetun]:
    """Another host, which would answer anything that it is asked."""
    with SimulatedGluetun("3.41", role=Role(), host="127.0.0.2") as server:
        yield server


REDIRECTED: dict[str, Callable[[Rig], SimulatedGluetun | SimulatedQbittorrent]] = {
    "gluetun": lambda rig: rig.gluetun,
    "qbittorrent": lambda rig: rig.qbittorrent,
}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("server", REDIRECTED)
def test_no_redirect_is_followed_to_another_host(
    tmp_path: Path, stranger: SimulatedGluetun, server: str, status: int
) -> None:
    environ = {"GLUETUN_AUTH_TYPE": "basic", "GLUETUN_USERNAME": "u", "GLUETUN_PASSWORD": "p"}
    with Rig(tmp_path, environ=environ if status == 301 else {}) as rig:
        REDIRECTED[server](rig).fail(None, RedirectAway(f"{stranger.url}/v1/portforward"))
        for _ in range(3):
            rig.next_check()
        assert stranger.requests == []
        assert not rig.last.in_sync


# the log


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_failing_cycle_has_one_line_however_it_is_logged(tmp_path: Path, log_format: str) -> None:
    with Rig(tmp_path, log_format=log_format) as rig:
        rig.next_check()
        rig.log.seek(0)
        rig.log.truncate()
        rig.gluetun.stop()
        rig.next_check()
        (line,) = rig.log.getvalue().splitlines()
        if log_format == "json":
            assert json.loads(line)["level"] == "WARNING"
        assert "refuses the connection" in line


def test_the_rig_leaves_the_logger_as_it_was(tmp_path: Path) -> None:
    handler = logging.StreamHandler(io.StringIO())
    logger.addHandler(handler)
    with Rig(tmp_path):
        assert handler not in logger.handlers
    assert handler in logger.handlers
    logger.removeHandler(handler)
