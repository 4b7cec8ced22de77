"""How often a login is tried: no servers, no clock."""

import math

from exporter.decide_login import LoginMemory, login_failed, login_opens_at, login_tried, may_log_in
from exporter.model import Reason

NOW = 5000.0


def failed(login: LoginMemory, now: float, reason: Reason, fingerprint: str) -> LoginMemory:
    return login_failed(login_tried(login, now), now, reason, fingerprint)


def rejected(times: int, *, every: float = 0.0) -> LoginMemory:
    login = LoginMemory()
    for index in range(times):
        login = failed(login, NOW + index * every, Reason.AUTH, "print")
    return login


def test_a_first_login_is_always_allowed() -> None:
    assert may_log_in(LoginMemory(), NOW, same_credentials=True)


def test_waits_5_minutes_then_30_then_an_hour_between_rejected_logins() -> None:
    login, now, waits = LoginMemory(), NOW, []
    for _ in range(5):
        login = failed(login, now, Reason.AUTH, "print")
        opens = login_opens_at(login, now)
        waits.append(opens - now)
        now = opens
        assert may_log_in(login, now, same_credentials=True)
    assert waits == [300.0, 1800.0, 3600.0, 3600.0, 3600.0]


def test_other_credentials_are_tried_at_once() -> None:
    assert not may_log_in(rejected(1), NOW + 1, same_credentials=True)
    assert may_log_in(rejected(1), NOW + 1, same_credentials=False)


def test_however_often_the_credentials_change_4_tries_an_hour_are_the_most() -> None:
    login = rejected(4, every=60.0)
    assert not may_log_in(login, NOW + 3599, same_credentials=False)
    assert may_log_in(login, NOW + 3600, same_credentials=False)


def test_a_ban_is_waited_out_for_an_hour_whatever_the_credentials() -> None:
    login = failed(LoginMemory(), NOW, Reason.BANNED, "print")
    assert not may_log_in(login, NOW + 3599, same_credentials=False)
    assert may_log_in(login, NOW + 3600, same_credentials=False)


def test_a_try_without_an_answer_counts_but_does_not_suspend() -> None:
    login = failed(LoginMemory(), NOW, Reason.TIMEOUT, "")
    assert may_log_in(login, NOW + 1, same_credentials=True)
    for second in range(1, 4):
        login = failed(login, NOW + second, Reason.TIMEOUT, "")
    assert not may_log_in(login, NOW + 4, same_credentials=True)
    assert login_opens_at(login, NOW + 4) == NOW + 3600


def test_a_try_is_forgotten_after_exactly_an_hour() -> None:
    login = LoginMemory(attempts_at=(NOW, NOW + 1, NOW + 2, NOW + 3))
    assert login_opens_at(login, NOW + 3599) == NOW + 3600
    assert login_opens_at(login, NOW + 3600) == -math.inf
