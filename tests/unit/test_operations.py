"""The account of one check: what was sent counts once, with how it ended."""

import pytest

from exporter.errors import BindFailed, TimedOut, Unexpected
from exporter.model import Operation, OperationResult, Reason
from exporter.servers.operations import Operations
from tests.fakes import FakeClock

PORT, LOG = Operation.GLUETUN_PORT, Operation.QBITTORRENT_LOG


@pytest.fixture
def did(clock: FakeClock) -> Operations:
    return Operations(clock)


def test_an_operation_counts_with_its_time_when_it_ends(did: Operations, clock: FakeClock) -> None:
    with did.measured(PORT):
        clock.now += 0.5
    assert did.results == [OperationResult(PORT, 0.5)]
    assert did.failures == []


def test_an_operation_that_fails_counts_with_its_reason_and_raises(
    did: Operations, clock: FakeClock
) -> None:
    def read() -> None:
        with did.measured(PORT):
            clock.now += 5
            raise TimedOut("too slow")

    with pytest.raises(TimedOut):
        read()
    assert did.results == [OperationResult(PORT, 5.0, Reason.TIMEOUT)]


def test_what_nobody_thought_of_counts_and_fails_like_an_error_of_the_server(
    did: Operations,
) -> None:
    def read() -> None:
        with did.measured(PORT):
            raise ZeroDivisionError

    with pytest.raises(Unexpected):
        read()
    assert [result.reason for result in did.results] == [Reason.OTHER]


def test_what_may_fail_becomes_a_failure_and_the_check_goes_on(did: Operations) -> None:
    def read() -> None:
        raise TimedOut("too slow", "wait")

    with did.may_fail(LOG):
        read()
    [failure] = did.failures
    assert (failure.operation, failure.reason) == (LOG, Reason.TIMEOUT)
    assert (failure.message, failure.fix) == ("too slow", "wait")


def test_only_errors_of_a_server_are_caught(did: Operations) -> None:
    with pytest.raises(ZeroDivisionError), did.may_fail(PORT):
        raise ZeroDivisionError


def test_a_response_that_shows_a_failure_makes_its_operation_a_failed_one(did: Operations) -> None:
    for operation in (LOG, LOG, PORT):
        with did.measured(operation):
            pass
    did.count_as_failed(LOG, Reason.BIND_FAILED)
    assert [result.reason for result in did.results] == [None, Reason.BIND_FAILED, None]


def test_the_failure_that_explains_the_state_stands_first(did: Operations) -> None:
    first = did.fail(PORT, TimedOut("too slow"))
    second = did.fail(LOG, BindFailed("closed"))
    did.put_first(second)
    assert did.failures == [second, first]
