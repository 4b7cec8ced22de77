"""Logging in to qBittorrent: once, and never so often that it bans us; the rules are unit tests."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.errors import ForbiddenHost
from exporter.model import Operation, Reason, SyncState
from exporter.simulator.world import Fault, Status
from tests.rig import Rig, asked, ban, make_rig

LOGIN = "/api/v2/auth/login"
HOUR = 3600.0
API_KEY = "qbt_" + "A" * 28


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text("wrong")
    return file


@pytest.fixture
def rejected(tmp_path: Path, password_file: Path) -> Iterator[Rig]:
    """A daemon whose password is wrong."""
    environ = {"QBITTORRENT_PASS": "", "QBITTORRENT_PASS_FILE": str(password_file)}
    with Rig(tmp_path, environ=environ) as rig:
        yield rig


def until_in_sync(rig: Rig) -> float:
    """Seconds until the port is right."""
    started = rig.clock.now
    while not rig.next_check().in_sync:
        assert rig.clock.now < started + 2 * HOUR, rig.last.failures
    return round(rig.clock.now - started)


# ways in


def test_the_bypass_needs_no_login(tmp_path: Path) -> None:
    with make_rig(tmp_path, bypass=True, environ={"QBITTORRENT_PASS": "wrong"}) as rig:
        outcome = rig.check()
        assert outcome.in_sync
        assert outcome.qbittorrent
        assert outcome.qbittorrent.auth == "bypass"
        assert rig.qbittorrent.login_attempts == []


def test_an_api_key_is_used_instead_of_the_password(tmp_path: Path) -> None:
    environ = {"QBITTORRENT_API_KEY": API_KEY, "QBITTORRENT_PASS": "wrong"}
    with make_rig(tmp_path, version="5.3.0", api_key=API_KEY, environ=environ) as rig:
        outcome = rig.check()
        assert outcome.in_sync
        assert outcome.qbittorrent
        assert outcome.qbittorrent.auth == "apikey"
        rig.start_daemon(QBITTORRENT_API_KEY="qbt_" + "B" * 28)
        outcome = rig.check()
        assert outcome.state is SyncState.QBITTORRENT_UNAUTHORIZED
        assert "QBITTORRENT_API_KEY" in outcome.failures[0].fix
        assert rig.qbittorrent.login_attempts == []


# never banned


def test_a_rejected_password_is_not_tried_at_each_check(rejected: Rig) -> None:
    for _ in range(120):
        rejected.later(60)
    attempts = rejected.qbittorrent.login_attempts
    assert [round(at - attempts[0]) for at in attempts] == [0, 300, 2100, 5700]
    assert rejected.last.state is SyncState.QBITTORRENT_UNAUTHORIZED
    assert rejected.last.login_suspended_until
    assert rejected.last.login_suspended_until > rejected.clock.now


def test_restarts_of_qsticky_never_spend_a_fifth_try(rejected: Rig) -> None:
    for _ in range(10):
        rejected.start_daemon()
        rejected.check()
    assert len(rejected.qbittorrent.login_attempts) == 4
    rejected.qbittorrent.set_password("wrong")
    rejected.clock.now += HOUR
    rejected.start_daemon()
    assert rejected.check().in_sync


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.HTML, Status(502)], ids=str)
def test_a_login_whose_answer_goes_astray_is_tried_four_times_an_hour_at_most(
    rejected: Rig, fault: Fault
) -> None:
    """It may have been counted all the same."""
    rejected.qbittorrent.fail(LOGIN, fault)
    for _ in range(59):
        rejected.later(60)
    assert 1 <= asked(rejected.qbittorrent).count(f"POST {LOGIN}") <= 4
    assert rejected.last.state is SyncState.QBITTORRENT_UNREACHABLE


def test_tunnels_that_share_a_qbittorrent_share_its_logins(tmp_path: Path) -> None:
    tunnels = [{"name": name, "qbittorrent": {"pass": "wrong"}} for name in "abcdef"]
    with Rig(tmp_path, tunnels=tunnels) as rig:
        rig.run_for(120)
        assert set(rig.checked) == set("abcdef")
        assert len(rig.qbittorrent.login_attempts) == 1


def test_a_login_is_on_disk_before_it_is_tried(rejected: Rig) -> None:
    """Killed in the middle of it, we would forget what qBittorrent counts."""
    found: list[Any] = []
    log_in = rejected.qbittorrent._access.log_in

    def look(*arguments: Any) -> Any:
        found.append(rejected.status["tunnels"]["default"]["login"])
        return log_in(*arguments)

    rejected.qbittorrent._access.log_in = look  # type: ignore[method-assign, assignment]
    rejected.check()
    rejected.later(301)
    assert [len(login["attempts_at"]) for login in found] == [1, 2]


# in again as soon as somebody corrects it


def test_a_corrected_password_is_tried_at_once_also_during_a_ban(
    rejected: Rig, password_file: Path
) -> None:
    ban(rejected)
    assert rejected.check().state is SyncState.QBITTORRENT_BANNED
    password_file.write_text(rejected.qbittorrent.password)
    rejected.later(30)
    assert len(rejected.qbittorrent.login_attempts) == 2
    rejected.qbittorrent.restart()
    rejected.start_daemon()
    assert until_in_sync(rejected) == 0


def test_a_ban_is_waited_out(rejected: Rig, password_file: Path) -> None:
    password_file.write_text(rejected.qbittorrent.password)
    ban(rejected)
    rejected.check()
    assert rejected.later(HOUR / 2).state is SyncState.QBITTORRENT_BANNED
    assert rejected.later(HOUR / 2 + 1).in_sync
    assert len(rejected.qbittorrent.login_attempts) == 2


def test_a_restart_of_qbittorrent_that_is_seen_ends_the_wait_for_a_ban(
    rejected: Rig, password_file: Path
) -> None:
    password_file.write_text(rejected.qbittorrent.password)
    ban(rejected)
    assert rejected.check().state is SyncState.QBITTORRENT_BANNED
    rejected.qbittorrent.stop()
    assert rejected.next_check().state is SyncState.QBITTORRENT_UNREACHABLE
    rejected.qbittorrent.restart()
    assert until_in_sync(rejected) <= 1


def test_a_password_that_is_corrected_while_the_old_one_is_tried_is_tried_next(
    rejected: Rig, password_file: Path
) -> None:
    log_in = rejected.qbittorrent._access.log_in

    def slow(*arguments: Any) -> Any:
        answer = log_in(*arguments)
        password_file.write_text(rejected.qbittorrent.password)
        return answer

    rejected.qbittorrent._access.log_in = slow  # type: ignore[method-assign, assignment]
    assert rejected.check().state is SyncState.QBITTORRENT_UNAUTHORIZED
    assert until_in_sync(rejected) <= 30


def test_nobody_waits_for_a_login_that_is_no_longer_needed(rejected: Rig) -> None:
    name = "qsticky_qbittorrent_login_suspended"
    rejected.check()
    assert rejected.metric(name, tunnel="default") == 1
    rejected.qbittorrent.set_preferences({"bypass_local_auth": True})
    assert until_in_sync(rejected) <= 30
    assert rejected.metric(name, tunnel="default") == 0


# nobody is blamed for what was not rejected


def test_a_host_header_that_qbittorrent_refuses_is_no_wrong_password(rig: Rig) -> None:
    rig.qbittorrent.fail(None, Status(401, "Unauthorized"))
    outcome = rig.check()
    assert outcome.state is SyncState.QBITTORRENT_UNAUTHORIZED
    assert outcome.failures[0].reason is Reason.FORBIDDEN_HOST
    assert "add 127.0.0.1 to 'Server domains'" in outcome.failures[0].fix
    questions = [line for line in asked(rig.qbittorrent) if line.endswith("/app/version")]
    counted = [each for each in outcome.operations if each.operation is Operation.QBITTORRENT_LOGIN]
    assert len(questions) == len(counted) == 2
    assert rig.qbittorrent.login_attempts == []


def test_a_port_that_qbittorrent_does_not_listen_on_is_told_from_a_refused_name(rig: Rig) -> None:
    rig.qbittorrent.fail(None, Status(401, "Unauthorized"), times=1)
    outcome = rig.check()
    assert outcome.failures[0].reason is Reason.FORBIDDEN_HOST
    assert outcome.failures[0].fix == ForbiddenHost.default_fix
    assert rig.later(30).in_sync


def test_a_proxy_that_removes_cookies_is_named_and_not_asked_at_each_check(rig: Rig) -> None:
    rig.qbittorrent.fail("/api/v2/app/preferences", Status(403, "Forbidden"))
    for _ in range(59):
        rig.later(60)
    assert len(rig.qbittorrent.login_attempts) <= 4
    assert rig.last.state is SyncState.QBITTORRENT_UNAUTHORIZED
    assert "rejected" not in rig.last.failures[0].message
    assert "proxy" in rig.last.failures[0].fix


# what status.json tells of a password


def test_one_password_has_one_fingerprint_which_the_web_does_not_show(rejected: Rig) -> None:
    seen = set()
    for _ in range(3):
        rejected.later(HOUR + 100)
        rejected.run_for(1)
        seen.add(rejected.status["tunnels"]["default"]["login"]["fingerprint"])
    [fingerprint] = seen
    salt, _, digest = fingerprint.partition(":")
    assert (len(salt), len(digest)) == (10, 4), "16 bits: too few to guess a password from"
    shown = json.loads(rejected.get("/status.json")[1])["tunnels"]["default"]["login"]
    assert shown["rejections"] == 3
    assert "fingerprint" not in shown
