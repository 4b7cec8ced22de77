"""How often a login is tried: the rules, and what of them survives a restart."""

import math
from dataclasses import replace

import pytest

from exporter.model import Reason, SavedLogins
from exporter.servers.logins import (
    LoginRegistry,
    Logins,
    LoginState,
    after_attempt,
    after_failure,
    after_server_restart,
    may_log_in,
    next_login_at,
    without_wait,
)
from tests.fakes import NOW, FakeClock

RIGHT, WRONG = ("admin", "right"), ("admin", "wrong")


def failed(login: LoginState, now: float, reason: Reason, fingerprint: str = "") -> LoginState:
    return after_failure(after_attempt(login, now), now, reason, fingerprint)


def rejected(times: int, *, every: float = 0.0) -> LoginState:
    login = LoginState()
    for index in range(times):
        login = failed(login, NOW + index * every, Reason.AUTH, "print")
    return login


def waits(reason: Reason, tries: int) -> list[float]:
    """How long each further try waits where each comes as soon as it may."""
    login, now, found = LoginState(), NOW, []
    for _ in range(tries):
        login = failed(login, now, reason)
        found.append(next_login_at(login, now) - now)
        now += found[-1]
        assert may_log_in(login, now, same_credentials=True)
    return found


# The rules


def test_a_first_login_is_always_allowed() -> None:
    assert may_log_in(LoginState(), NOW, same_credentials=True)


def test_rejected_logins_wait_5_minutes_then_30_then_an_hour() -> None:
    assert waits(Reason.AUTH, 5) == [300.0, 1800.0, 3600.0, 3600.0, 3600.0]


def test_logins_without_an_answer_follow_at_once_then_after_1_and_5_minutes() -> None:
    assert waits(Reason.TIMEOUT, 4) == [0.0, 60.0, 300.0, 3600.0 - 360.0]


def test_a_fourth_try_without_an_answer_is_followed_by_20_minutes_at_least() -> None:
    login = LoginState(attempts_at=(NOW - 3000, NOW - 2000, NOW - 1000))
    assert next_login_at(failed(login, NOW, Reason.TIMEOUT), NOW) == NOW + 1200


def test_other_credentials_are_tried_at_once() -> None:
    assert not may_log_in(rejected(1), NOW + 1, same_credentials=True)
    assert may_log_in(rejected(1), NOW + 1, same_credentials=False)


def test_four_tries_an_hour_are_the_most_whatever_the_credentials() -> None:
    login = rejected(4, every=60.0)
    assert not may_log_in(login, NOW + 3599, same_credentials=False)
    assert may_log_in(login, NOW + 3600, same_credentials=False)


def test_a_try_is_forgotten_after_exactly_an_hour() -> None:
    login = LoginState(attempts_at=(NOW, NOW + 1, NOW + 2, NOW + 3))
    assert next_login_at(login, NOW + 3599) == NOW + 3600
    assert next_login_at(login, NOW + 3600) == -math.inf


def test_a_ban_is_waited_out_for_an_hour_unless_the_credentials_are_others() -> None:
    banned = failed(LoginState(), NOW, Reason.BANNED)
    assert not may_log_in(banned, NOW + 3599, same_credentials=True)
    assert may_log_in(banned, NOW + 3600, same_credentials=True)
    assert may_log_in(banned, NOW + 1, same_credentials=False)


def test_a_restart_of_qbittorrent_ends_a_ban_and_no_other_suspension() -> None:
    banned = failed(LoginState(), NOW, Reason.BANNED)
    assert may_log_in(after_server_restart(banned), NOW + 1, same_credentials=True)
    assert not may_log_in(after_server_restart(rejected(1)), NOW + 1, same_credentials=True)


def test_a_start_allows_one_try_at_once_but_never_a_fifth_in_an_hour() -> None:
    assert may_log_in(without_wait(rejected(3)), NOW + 1, same_credentials=True)
    assert not may_log_in(without_wait(rejected(4)), NOW + 1, same_credentials=True)
    again = failed(without_wait(rejected(2)), NOW, Reason.AUTH, "print")
    assert next_login_at(again, NOW) == NOW + 3600


def test_nothing_is_called_rejected_before_an_answer_says_so() -> None:
    assert after_attempt(LoginState(), NOW).reason is Reason.TIMEOUT
    assert after_attempt(rejected(1), NOW).reason is Reason.AUTH


def test_a_try_without_an_answer_leaves_the_count_of_rejections() -> None:
    login = failed(rejected(2), NOW, Reason.HTTP_5XX, "print")
    assert (login.rejections, login.fingerprint) == (2, "print")


# The logins at one server, and what a restart keeps of them


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def fail(logins: Logins, credentials: tuple[str, str] = WRONG) -> None:
    assert logins.begin(credentials)
    logins.fail(Reason.AUTH, credentials)


def rejected_once(clock: FakeClock) -> SavedLogins:
    logins = Logins("gluetun:8080", clock)
    fail(logins)
    saved = logins.saved()
    assert saved is not None
    return saved


def test_a_try_counts_from_its_beginning_answered_or_not(clock: FakeClock) -> None:
    logins = Logins("gluetun:8080", clock)
    assert [logins.begin((f"user {n}", "x")) for n in range(5)] == [True] * 4 + [False]


def test_a_good_login_forgets_the_failed_ones(clock: FakeClock) -> None:
    logins = Logins("gluetun:8080", clock)
    fail(logins)
    assert logins.saved() is not None
    logins.succeed()
    assert logins.saved() is None


@pytest.mark.parametrize(("credentials", "allowed"), [(WRONG, False), (RIGHT, True)])
def test_over_a_restart_rejected_credentials_wait_and_others_do_not(
    credentials: tuple[str, str], allowed: bool, clock: FakeClock
) -> None:
    registry = LoginRegistry(clock, [rejected_once(clock)], try_at_once=False)
    assert registry.for_server("gluetun:8080").begin(credentials) is allowed


def test_after_a_start_of_the_daemon_one_try_comes_at_once(clock: FakeClock) -> None:
    registry = LoginRegistry(clock, [rejected_once(clock), None], try_at_once=True)
    logins = registry.for_server("gluetun:8080")
    fail(logins)
    assert logins.waits_seconds == 1800.0
    assert not logins.begin(WRONG)


def test_tunnels_at_one_server_share_its_logins(clock: FakeClock) -> None:
    registry = LoginRegistry(clock, [], try_at_once=True)
    fail(registry.for_server("gluetun:8080"))
    assert not registry.for_server("gluetun:8080").begin(WRONG)
    assert registry.for_server("elsewhere:8080").begin(WRONG)


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_tunnels_at_one_server_the_later_knowledge_counts(
    order: int, clock: FakeClock
) -> None:
    earlier = rejected_once(clock)
    later = replace(earlier, attempts_at=(NOW, NOW + 1, NOW + 2, NOW + 3))
    clock.now += 60
    registry = LoginRegistry(clock, [earlier, later][::order], try_at_once=True)
    assert not registry.for_server("gluetun:8080").begin(RIGHT)


def test_a_clock_that_was_set_back_makes_nobody_wait_longer_than_an_hour(clock: FakeClock) -> None:
    saved = replace(rejected_once(clock), attempts_at=(NOW + 1e6,), suspended_until=NOW + 1e6)
    logins = LoginRegistry(clock, [saved], try_at_once=False).for_server("gluetun:8080")
    assert logins.waits_seconds == 3600.0


def test_one_try_of_an_hour_can_be_left_to_somebody_else(clock: FakeClock) -> None:
    registry = LoginRegistry(clock, [], try_at_once=False, tries_an_hour=3)
    logins = registry.for_server("gluetun:8080")
    assert [logins.begin((f"user {n}", "x")) for n in range(4)] == [True] * 3 + [False]


def test_the_fingerprint_holds_no_password_and_is_kept_for_the_same_one(clock: FakeClock) -> None:
    logins = Logins("gluetun:8080", clock)
    fail(logins)
    first = logins.state.fingerprint
    assert "wrong" not in first
    assert len(first.partition(":")[2]) == 4
    clock.now += 300
    fail(logins)
    assert logins.state.fingerprint == first
