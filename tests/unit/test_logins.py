"""How often a login is tried: the rules, and what of them survives a restart."""

import math

import pytest

from exporter.model import Reason, SavedLogins
from exporter.servers.logins import (
    Attempt,
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
SAME, OTHER = "1a2b", "3c4d"


def failed(
    login: LoginState, now: float, reason: Reason, digest: str = SAME, *, proved: bool = False
) -> LoginState:
    return after_failure(after_attempt(login, now, digest, proved=proved), now, reason)


def rejected(times: int, *, every: float = 0.0) -> LoginState:
    login = LoginState()
    for index in range(times):
        login = failed(login, NOW + index * every, Reason.AUTH)
    return login


def waits(reason: Reason, tries: int, *, proved: bool = False) -> list[float]:
    """How long each further try waits where each comes as soon as it may."""
    login, now, found = LoginState(), NOW, []
    for _ in range(tries):
        login = failed(login, now, reason, proved=proved)
        found.append(next_login_at(login, now) - now)
        now += found[-1]
        assert may_log_in(login, now, SAME)
    return found


# The rules


def test_a_first_login_is_always_allowed() -> None:
    assert may_log_in(LoginState(), NOW, SAME)


def test_rejected_logins_wait_5_minutes_then_30_then_an_hour() -> None:
    assert waits(Reason.AUTH, 5) == [300.0, 1800.0, 3600.0, 3600.0, 3600.0]


def test_logins_without_an_answer_follow_at_once_then_after_1_and_5_minutes() -> None:
    assert waits(Reason.TIMEOUT, 4) == [0.0, 60.0, 300.0, 3600.0 - 360.0]


def test_credentials_that_have_worked_never_wait_longer_than_5_minutes_for_an_answer() -> None:
    expected = [0.0, 60.0, 300.0, 300.0, 300.0, 300.0]
    assert waits(Reason.TIMEOUT, 6, proved=True) == expected


def test_credentials_that_have_worked_wait_like_others_once_they_are_rejected_or_banned() -> None:
    assert waits(Reason.AUTH, 3, proved=True) == [300.0, 1800.0, 3600.0]
    banned = failed(LoginState(), NOW, Reason.BANNED, proved=True)
    assert next_login_at(banned, NOW) == NOW + 3600


def test_a_fourth_try_without_an_answer_is_followed_by_20_minutes_at_least() -> None:
    attempts = tuple(Attempt(NOW - ago, SAME) for ago in (3000, 2000, 1000))
    login = failed(LoginState(attempts), NOW, Reason.TIMEOUT)
    assert next_login_at(login, NOW) == NOW + 1200


def test_credentials_that_were_not_tried_in_this_hour_are_tried_at_once_even_as_the_fifth() -> None:
    assert not may_log_in(rejected(1), NOW + 1, SAME)
    assert may_log_in(rejected(1), NOW + 1, OTHER)
    assert may_log_in(rejected(4), NOW + 1, OTHER)


def test_rejected_credentials_are_tried_four_times_an_hour_at_most() -> None:
    login = rejected(4, every=60.0)
    assert not may_log_in(login, NOW + 3599, SAME)
    assert not may_log_in(failed(login, NOW + 3000, Reason.TIMEOUT, OTHER), NOW + 3599, OTHER)
    assert may_log_in(without_wait(login), NOW + 3600, SAME)


def test_a_try_is_forgotten_after_exactly_an_hour() -> None:
    login = LoginState(tuple(Attempt(NOW + n, SAME) for n in range(4)))
    assert next_login_at(login, NOW + 3599) == NOW + 3600
    assert next_login_at(login, NOW + 3600) == -math.inf


def test_a_ban_is_waited_out_for_an_hour_unless_the_credentials_are_others() -> None:
    banned = failed(LoginState(), NOW, Reason.BANNED)
    assert not may_log_in(banned, NOW + 3599, SAME)
    assert may_log_in(banned, NOW + 3600, SAME)
    assert may_log_in(banned, NOW + 1, OTHER)


def test_a_restart_of_qbittorrent_ends_a_ban_and_no_other_suspension() -> None:
    banned = failed(LoginState(), NOW, Reason.BANNED)
    assert may_log_in(after_server_restart(banned), NOW + 1, SAME)
    assert not may_log_in(after_server_restart(rejected(1)), NOW + 1, SAME)


def test_a_start_allows_one_try_at_once_but_no_fifth_in_an_hour() -> None:
    assert may_log_in(without_wait(rejected(3)), NOW + 1, SAME)
    assert not may_log_in(without_wait(rejected(4)), NOW + 1, SAME)
    again = failed(without_wait(rejected(2)), NOW, Reason.AUTH)
    assert next_login_at(again, NOW) == NOW + 3600


def test_nothing_is_called_rejected_before_an_answer_says_so() -> None:
    assert after_attempt(LoginState(), NOW, SAME, proved=False).reason is Reason.TIMEOUT
    assert after_attempt(rejected(1), NOW, SAME, proved=False).reason is Reason.AUTH


def test_a_try_without_an_answer_leaves_the_count_of_rejections() -> None:
    assert failed(rejected(2), NOW, Reason.HTTP_5XX).rejections == 2


# The logins at one server, and what a restart keeps of them


def fail(
    logins: Logins, credentials: tuple[str, str] = WRONG, reason: Reason = Reason.AUTH
) -> None:
    assert logins.begin(credentials)
    logins.fail(reason)


def rejected_once(clock: FakeClock) -> SavedLogins:
    logins = Logins("gluetun:8080", clock)
    fail(logins)
    saved = logins.saved()
    assert saved is not None
    return saved


def test_a_try_counts_from_its_beginning_answered_or_not(clock: FakeClock) -> None:
    logins = Logins("gluetun:8080", clock)
    assert [logins.begin(WRONG) for _ in range(5)] == [True] * 4 + [False]


def test_a_good_login_forgets_the_failed_ones(clock: FakeClock) -> None:
    logins = Logins("gluetun:8080", clock)
    fail(logins)
    assert logins.saved() is not None
    assert logins.begin(RIGHT)
    logins.succeed(RIGHT)
    assert logins.saved() is None


def test_only_the_credentials_that_worked_are_trusted_until_they_are_rejected(
    clock: FakeClock,
) -> None:
    logins = Logins("gluetun:8080", clock)
    assert logins.begin(RIGHT)
    logins.succeed(RIGHT)
    for _ in range(8):
        fail(logins, RIGHT, Reason.TIMEOUT)
        clock.now += 300
    fail(logins, RIGHT)
    clock.now += 300
    assert not logins.begin(RIGHT)  # eight tries of this hour count now


@pytest.mark.parametrize(("credentials", "allowed"), [(WRONG, False), (RIGHT, True)])
def test_over_a_restart_rejected_credentials_wait_and_others_do_not(
    credentials: tuple[str, str], allowed: bool, clock: FakeClock
) -> None:
    registry = LoginRegistry(clock, [rejected_once(clock)], try_at_once=False)
    assert registry.for_server("gluetun:8080").begin(credentials) is allowed


def test_over_restarts_each_of_several_credentials_is_known(clock: FakeClock) -> None:
    logins = Logins("gluetun:8080", clock)
    for number in range(4):
        fail(logins, ("admin", str(number)))
    registry = LoginRegistry(clock, [logins.saved()], try_at_once=True)
    again = registry.for_server("gluetun:8080")
    assert [again.begin(("admin", str(number))) for number in range(4)] == [False] * 4
    assert again.begin(RIGHT)


def test_a_file_of_an_older_version_has_one_fingerprint_for_all_tries(clock: FakeClock) -> None:
    saved = rejected_once(clock)
    older = saved._replace(attempts_at=(NOW - 60, NOW - 30, NOW))
    logins = LoginRegistry(clock, [older], try_at_once=True).for_server("gluetun:8080")
    assert [attempt.digest for attempt in logins.state.attempts] == [
        saved.fingerprint.partition(":")[2]
    ] * 3


def test_the_digests_of_older_versions_are_known_again(clock: FakeClock) -> None:
    """They hashed with more rounds; else an upgrade would spend a fifth try."""
    older = SavedLogins(
        (NOW - 3, NOW - 2, NOW - 1, NOW), 4, None, Reason.AUTH, "0123abcd:2269", "gluetun:8080"
    )
    logins = LoginRegistry(clock, [older], try_at_once=True).for_server("gluetun:8080")
    assert not logins.begin(WRONG)


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
    later = earlier._replace(attempts_at=(NOW, NOW + 1, NOW + 2, NOW + 3))
    clock.now += 60
    registry = LoginRegistry(clock, [earlier, later][::order], try_at_once=True)
    assert not registry.for_server("gluetun:8080").begin(WRONG)


def test_a_clock_that_was_set_back_makes_nobody_wait_longer_than_an_hour(clock: FakeClock) -> None:
    saved = rejected_once(clock)._replace(attempts_at=(NOW + 1e6,), suspended_until=NOW + 1e6)
    logins = LoginRegistry(clock, [saved], try_at_once=False).for_server("gluetun:8080")
    assert logins.waits_seconds == 3600.0


def test_one_try_of_an_hour_can_be_left_to_somebody_else(clock: FakeClock) -> None:
    registry = LoginRegistry(clock, [], try_at_once=False, tries_an_hour=3)
    logins = registry.for_server("gluetun:8080")
    assert [logins.begin(WRONG) for _ in range(4)] == [True] * 3 + [False]


def test_a_fingerprint_holds_16_bits_of_each_try_and_no_password(clock: FakeClock) -> None:
    logins = Logins("gluetun:8080", clock)
    fail(logins)
    clock.now += 300
    fail(logins)
    saved = logins.saved()
    assert saved is not None
    salt, *digests = saved.fingerprint.split(":")
    assert len(salt) == 10
    assert [len(digest) for digest in digests] == [4, 4]
    assert digests[0] == digests[1]
