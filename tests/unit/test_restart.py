"""When the VPN is restarted: the rules, without servers and without a clock."""

import math

import pytest

from exporter.model import Failure, GluetunReading, Operation, Reason, VpnStatus
from exporter.tunnel.restart import RestartState, Step, after_reading, choose_step, restart_due
from tests.fakes import GLUETUN, NOW

PORTLESS = GluetunReading(0, VpnStatus.RUNNING)
NEVER = math.inf


def failure(reason: Reason) -> Failure:
    return Failure(Operation.GLUETUN_PORT, reason, "it failed", "repair it")


def portless(since: float = NOW - 600, *, restarts: int = 0) -> RestartState:
    return RestartState(portless_since=since, restarts=restarts)


def test_counts_the_time_without_a_port_from_the_first_check_that_shows_none() -> None:
    first = after_reading(PORTLESS, RestartState(), NOW)
    assert after_reading(PORTLESS, first, NOW + 30).portless_since == NOW


def test_a_status_that_may_not_be_asked_counts_as_up() -> None:
    hidden = GluetunReading(0, VpnStatus.UNKNOWN)
    assert after_reading(hidden, RestartState(), NOW).portless_since == NOW


@pytest.mark.parametrize(
    "reading",
    [
        GLUETUN,
        GluetunReading(0, VpnStatus.STOPPED),
        GluetunReading(0, VpnStatus.STARTING),
        failure(Reason.CONNECTION),
        failure(Reason.AUTH),
    ],
)
def test_anything_else_ends_the_counting(reading: GluetunReading | Failure) -> None:
    assert after_reading(reading, portless(), NOW).portless_since == NEVER


def test_a_time_out_neither_counts_nor_ends_the_counting() -> None:
    timeout = failure(Reason.TIMEOUT)
    assert after_reading(timeout, portless(), NOW) == portless()
    assert after_reading(timeout, RestartState(), NOW) == RestartState()


def test_a_port_ends_the_doubling_of_the_pauses() -> None:
    assert after_reading(GLUETUN, portless(restarts=3), NOW).restarts == 0
    assert after_reading(PORTLESS, portless(restarts=3), NOW).restarts == 3


def test_a_port_on_which_nobody_outside_gets_in_counts_as_none() -> None:
    first = after_reading(GLUETUN, RestartState(), NOW, reachable=False)
    assert after_reading(GLUETUN, first, NOW + 30, reachable=False).portless_since == NOW
    assert after_reading(GLUETUN, portless(restarts=3), NOW, reachable=False).restarts == 3


def test_a_port_that_is_not_yet_proved_ends_the_counting_and_not_the_doubling() -> None:
    known = after_reading(GLUETUN, portless(restarts=3), NOW, reachable=None)
    assert (known.portless_since, known.restarts) == (NEVER, 3)


@pytest.mark.parametrize(
    ("restarts", "hours"), [(0, 1), (1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 24), (2000, 24)]
)
def test_waits_an_hour_between_restarts_then_twice_as_long_up_to_a_day(
    restarts: int, hours: int
) -> None:
    known = portless(NOW - 1e6, restarts=restarts)._replace(restarted_at=NOW)
    assert restart_due(known, 600) == NOW + hours * 3600


def test_the_vpn_is_restarted_only_when_that_is_due_and_it_says_that_it_is_up() -> None:
    assert choose_step(portless(), VpnStatus.RUNNING, NOW, 600) is Step.RESTART
    assert choose_step(portless(), VpnStatus.RUNNING, NOW - 1, 600) is Step.NOTHING
    assert choose_step(portless(), VpnStatus.UNKNOWN, NOW, 600) is Step.NOTHING
    assert choose_step(portless(), VpnStatus.RUNNING, NOW, 0) is Step.NOTHING


@pytest.mark.parametrize("status", VpnStatus)
@pytest.mark.parametrize("after", [0, 600])
def test_a_stopped_vpn_is_started_whatever_is_set_and_read(status: VpnStatus, after: float) -> None:
    assert choose_step(RestartState(unfinished=True), status, NOW, after) is Step.START
