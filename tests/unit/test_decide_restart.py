"""When the VPN is restarted: no servers, no clock."""

import math
from dataclasses import replace

import pytest

from exporter.model import Failure, Operation, Reason, VpnStatus
from exporter.tunnel.decide import GluetunReading
from exporter.tunnel.restart import (
    RestartState,
    VpnPhase,
    Step,
    after_reading,
    restart_due,
    choose_step,
)

NOW = 5000.0
PORT = 45720
RUNNING = GluetunReading(PORT, VpnStatus.RUNNING, "203.0.113.7")


def failure(operation: Operation, reason: Reason = Reason.CONNECTION) -> Failure:
    return Failure(operation, reason, "it failed", "mend it")


PORTLESS = GluetunReading(0, VpnStatus.RUNNING)
NEVER = math.inf


def portless(since: float = NOW - 600, **more: object) -> RestartState:
    return replace(RestartState(portless_since=since), **more)  # type: ignore[arg-type]


def test_counts_the_time_without_a_port_from_the_first_look_that_shows_none() -> None:
    first = after_reading(PORTLESS, RestartState(), NOW)
    assert after_reading(PORTLESS, first, NOW + 30).portless_since == NOW


@pytest.mark.parametrize(
    "reading",
    [
        RUNNING,
        GluetunReading(0, VpnStatus.STOPPED),
        GluetunReading(0, VpnStatus.STARTING),
        failure(Operation.GLUETUN_PORT),
        failure(Operation.GLUETUN_PORT, Reason.AUTH),
    ],
)
def test_starts_counting_anew_after_anything_else(reading: GluetunReading | Failure) -> None:
    assert after_reading(reading, portless(), NOW).portless_since == NEVER


def test_a_time_out_neither_counts_nor_ends_the_counting() -> None:
    timeout = failure(Operation.GLUETUN_PORT, Reason.TIMEOUT)
    assert after_reading(timeout, portless(), NOW) == portless()
    assert after_reading(timeout, RestartState(), NOW) == RestartState()


def test_a_port_ends_the_doubling() -> None:
    assert after_reading(RUNNING, portless(restarts=3), NOW).restarts == 0
    assert after_reading(PORTLESS, portless(restarts=3), NOW).restarts == 3


@pytest.mark.parametrize(
    ("restarts", "hours"), [(0, 1), (1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 24), (2000, 24)]
)
def test_waits_an_hour_between_restarts_then_twice_as_long_up_to_a_day(
    restarts: int, hours: int
) -> None:
    vpn = portless(NOW - 1e6, restarts=restarts, restarted_at=NOW)
    assert restart_due(vpn, 600) == NOW + hours * 3600


def test_the_first_restart_of_all_doubles_nothing() -> None:
    first = replace(portless(NOW - 1e6), restarts=RestartState().restarts + 1, restarted_at=NOW)
    assert restart_due(first, 600) == NOW + 3600


def test_plans_a_restart_only_when_it_is_due_and_the_vpn_says_that_it_runs() -> None:
    assert choose_step(portless(), VpnStatus.RUNNING, NOW, 600) is Step.PLAN
    assert choose_step(portless(), VpnStatus.RUNNING, NOW - 1, 600) is Step.NOTHING
    assert choose_step(portless(), VpnStatus.RUNNING, NOW, 0) is Step.NOTHING
    assert choose_step(portless(), VpnStatus.UNKNOWN, NOW, 600) is Step.NOTHING


def test_stops_the_vpn_only_if_all_is_still_as_when_it_was_planned() -> None:
    planned = portless(phase=VpnPhase.PLANNED, restarted_at=NOW)
    assert choose_step(planned, VpnStatus.RUNNING, NOW, 600) is Step.STOP
    assert choose_step(planned, VpnStatus.UNKNOWN, NOW, 600) is Step.FORGET
    came_back = after_reading(RUNNING, planned, NOW)
    assert choose_step(came_back, VpnStatus.RUNNING, NOW, 600) is Step.FORGET


@pytest.mark.parametrize("status", VpnStatus)
@pytest.mark.parametrize("after", [0, 600])
def test_a_stopped_vpn_is_started_whatever_is_set_and_read(status: VpnStatus, after: float) -> None:
    assert choose_step(RestartState(phase=VpnPhase.STOPPED), status, NOW, after) is Step.START
