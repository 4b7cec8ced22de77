"""Logging in: what is told, when the next try comes, and what it takes to get in again."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.model import Reason, SyncState
from exporter.servers.logins import fits
from exporter.simulator.world import SimulatedQbittorrent, Status
from tests.fakes import FakeClock
from tests.rig import Rig

LOGIN = "/api/v2/auth/login"
BY_FILE = {"QBITTORRENT_PASS": ""}


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text("wrong")
    return file


@pytest.fixture
def rig(tmp_path: Path, password_file: Path) -> Iterator[Rig]:
    """A daemon whose password is wrong."""
    environ = {**BY_FILE, "QBITTORRENT_PASS_FILE": str(password_file)}
    with Rig(tmp_path, environ=environ) as rig:
        yield rig


def until_in_sync(rig: Rig) -> float:
    """Seconds until the port is right."""
    started = rig.clock.now
    rig.next_check()
    while not rig.last.in_sync:
        assert rig.clock.now < started + 7200, rig.last.failures
        rig.next_check()
    return round(rig.clock.now - started)


def shown(rig: Rig) -> str:
    """The text of the status page."""
    return re.sub(r"<[^>]*>", "", rig.get("/")[1])


def published(rig: Rig) -> dict[str, Any]:
    """What /status.json says of the logins."""
    login: dict[str, Any] = json.loads(rig.get("/status.json")[1])["tunnels"]["default"]["login"]
    return login


# a person mends it


def test_a_restart_of_qsticky_tries_at_once_after_the_password_was_set_in_qbittorrent(
    rig: Rig,
) -> None:
    rig.next_check()
    rig.run_for(320)
    assert len(rig.qbittorrent.login_attempts) == 2
    rig.qbittorrent.set_password("wrong")
    rig.start_daemon()
    assert until_in_sync(rig) == 0


def test_restarts_of_qsticky_never_spend_a_fifth_try(rig: Rig) -> None:
    for _ in range(20):
        rig.start_daemon()
        rig.next_check()
    assert len(rig.qbittorrent.login_attempts) == 4
    assert "the next login waits 60 min" in rig.last.failures[0].message


def test_a_corrected_password_is_tried_at_once_during_a_ban_too(
    rig: Rig, password_file: Path
) -> None:
    ban(rig)
    rig.next_check()
    assert rig.last.state is SyncState.QBITTORRENT_BANNED
    password_file.write_text(rig.qbittorrent.password)
    rig.next_check()
    assert len(rig.qbittorrent.login_attempts) == 2
    rig.qbittorrent.restart()
    rig.start_daemon()
    assert until_in_sync(rig) == 0


def test_a_restart_of_qbittorrent_that_is_seen_ends_the_wait_for_a_ban(
    rig: Rig, password_file: Path
) -> None:
    password_file.write_text(rig.qbittorrent.password)
    ban(rig)
    states = [rig.next_check().state]
    rig.qbittorrent.stop()
    states.append(rig.next_check().state)
    assert states == [SyncState.QBITTORRENT_BANNED, SyncState.QBITTORRENT_UNREACHABLE]
    rig.qbittorrent.restart()
    assert until_in_sync(rig) <= 1


def ban(rig: Rig) -> None:
    """Somebody else at our address got it wrong too often."""
    rig.qbittorrent._access._banned_until["127.0.0.1"] = rig.clock.now + 3600


# nobody is blamed for what was not rejected


def test_a_login_that_leads_to_no_session_is_never_called_rejected(tmp_path: Path) -> None:
    clock = FakeClock()
    server = SimulatedQbittorrent("5.1.0", secure_cookie=True, clock=clock.monotonic)
    with Rig(tmp_path, clock=clock, qbittorrent=server) as rig:
        for _ in range(60):
            rig.next_check()
            assert rig.last.state is SyncState.QBITTORRENT_UNAUTHORIZED
            assert "rejected" not in rig.last.failures[0].message
            assert "HTTPS" in rig.last.failures[0].fix
        assert server.failed_logins == 0
        assert len(server.login_attempts) == 4


def test_the_suspension_of_another_password_does_not_hold_a_corrected_one(
    rig: Rig, password_file: Path
) -> None:
    rig.next_check()
    rig.run_for(320)
    password_file.write_text(rig.qbittorrent.password)
    rig.qbittorrent.fail(LOGIN, Status(502), times=1)
    assert until_in_sync(rig) <= 360


def test_a_password_that_is_corrected_while_the_old_one_is_tried_is_tried_next(
    rig: Rig, password_file: Path
) -> None:
    rejected = rig.qbittorrent._access.log_in

    def slow(*arguments: Any) -> Any:
        answer = rejected(*arguments)
        password_file.write_text(rig.qbittorrent.password)
        return answer

    rig.qbittorrent._access.log_in = slow  # type: ignore[method-assign,assignment]
    rig.next_check()
    assert rig.last.state is SyncState.QBITTORRENT_UNAUTHORIZED
    assert until_in_sync(rig) <= 30


def test_logins_without_an_answer_are_spread_and_told_as_such(
    rig: Rig, password_file: Path
) -> None:
    password_file.write_text(rig.qbittorrent.password)
    rig.qbittorrent.fail(LOGIN, Status(502))
    rig.next_check()
    rig.run_for(10)
    assert tries(rig) == 2
    assert "without the right answer" in rig.last.failures[0].message
    assert rig.last.failures[0].reason is Reason.HTTP_5XX
    rig.run_for(60)
    assert tries(rig) == 3
    rig.qbittorrent.heal()
    assert until_in_sync(rig) <= 301


def tries(rig: Rig) -> int:
    """How often qBittorrent was asked to let us in."""
    return sum(target == LOGIN for _, target, _ in rig.qbittorrent.requests)


def test_nobody_waits_for_a_login_that_is_no_longer_needed(rig: Rig) -> None:
    rig.next_check()
    name = "qsticky_qbittorrent_login_suspended"
    assert rig.metric(name, tunnel="default") == 1
    rig.qbittorrent.set_preferences({"bypass_local_auth": True})
    assert until_in_sync(rig) <= 30
    assert rig.metric(name, tunnel="default") == 0
    assert "Next login" not in shown(rig)


# what a stranger learns


def test_the_page_tells_no_fingerprint(rig: Rig) -> None:
    rig.next_check()
    assert rig.status["tunnels"]["default"]["login"]["fingerprint"]
    assert "fingerprint" not in published(rig)


def test_one_password_has_one_fingerprint_however_often_it_is_rejected(rig: Rig) -> None:
    seen = set()
    for _ in range(5):
        rig.next_check()
        rig.run_for(3700)
        seen.add(rig.status["tunnels"]["default"]["login"]["fingerprint"])
    assert len(seen) == 1
    assert matches(("admin", "wrong"), seen.pop())


def test_a_ban_leaves_no_fingerprint_of_a_password_that_may_be_right(
    rig: Rig, password_file: Path
) -> None:
    password_file.write_text(rig.qbittorrent.password)
    ban(rig)
    rig.next_check()
    assert rig.status["tunnels"]["default"]["login"]["fingerprint"] == ""
