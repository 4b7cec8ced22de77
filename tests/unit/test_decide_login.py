"""How often a login is tried: no servers, no clock."""

import math

from exporter.model import Reason
from exporter.servers.logins import (
    LoginState,
    after_failure,
    next_login_at,
    without_wait,
    after_attempt,
    may_log_in,
    after_server_restart,
)

NOW = 5000.0


def failed(login: LoginState, now: float, reason: Reason, fingerprint: str) -> LoginState:
    return after_failure(after_attempt(login, now), now, reason, fingerprint)


def rejected(times: int, *, every: float = 0.0) -> LoginState:
    login = LoginState()
    for index in range(times):
        login = failed(login, NOW + index * every, Reason.AUTH, "print")
    return login


def test_a_first_login_is_always_allowed() -> None:
    assert may_log_in(LoginState(), NOW, same_credentials=True)


def test_waits_5_minutes_then_30_then_an_hour_between_rejected_logins() -> None:
    login, now, waits = LoginState(), NOW, []
    for _ in range(5):
        login = failed(login, now, Reason.AUTH, "print")
        opens = next_login_at(login, now)
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


def test_a_ban_is_waited_out_for_an_hour_unless_the_credentials_are_others() -> None:
    login = failed(LoginState(), NOW, Reason.BANNED, "")
    assert not may_log_in(login, NOW + 3599, same_credentials=True)
    assert may_log_in(login, NOW + 3600, same_credentials=True)
    assert may_log_in(login, NOW + 1, same_credentials=False)


def test_a_restart_of_qbittorrent_ends_a_ban_and_no_other_suspension() -> None:
    banned = failed(LoginState(), NOW, Reason.BANNED, "")
    assert may_log_in(after_server_restart(banned), NOW + 1, same_credentials=True)
    assert not may_log_in(after_server_restart(rejected(1)), NOW + 1, same_credentials=True)


def test_a_start_of_ours_allows_one_try_at_once_but_never_a_fifth_in_an_hour() -> None:
    assert may_log_in(without_wait(rejected(3)), NOW + 1, same_credentials=True)
    assert not may_log_in(without_wait(rejected(4)), NOW + 1, same_credentials=True)
    again = failed(without_wait(rejected(2)), NOW, Reason.AUTH, "print")
    assert next_login_at(again, NOW) == NOW + 3600


def test_tries_without_an_answer_follow_each_other_at_once_then_after_1_and_after_5_minutes() -> (
    None
):
    login, now, waits = LoginState(), NOW, []
    for _ in range(4):
        login = failed(login, now, Reason.TIMEOUT, "")
        waits.append(next_login_at(login, now) - now)
        now += waits[-1]
    assert waits == [0.0, 60.0, 300.0, 3600.0 - 360.0]


def test_a_fourth_try_without_an_answer_is_followed_by_20_minutes_at_least() -> None:
    login = LoginState(attempts_at=(NOW - 3000, NOW - 2000, NOW - 1000))
    login = failed(login, NOW, Reason.TIMEOUT, "")
    assert next_login_at(login, NOW) == NOW + 1200


def test_nothing_is_called_rejected_before_an_answer_says_so() -> None:
    assert after_attempt(LoginState(), NOW).reason is Reason.TIMEOUT
    assert after_attempt(rejected(1), NOW).reason is Reason.AUTH


def test_a_try_without_an_answer_leaves_the_count_of_rejections() -> None:
    login = failed(rejected(2), NOW, Reason.HTTP_5XX, "print")
    assert (login.rejections, login.fingerprint) == (2, "print")


def test_a_try_is_forgotten_after_exactly_an_hour() -> None:
    login = LoginState(attempts_at=(NOW, NOW + 1, NOW + 2, NOW + 3))
    assert next_login_at(login, NOW + 3599) == NOW + 3600
    assert next_login_at(login, NOW + 3600) == -math.inf
