"""What each fault counts as, and what a fault of each operation leads to."""

from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.model import Reason, SyncState
from exporter.simulator.world import AnyFault, Fault, RedirectAway, Status
from tests.rig import Rig, make_rig

SHORT = {"REQUEST_TIMEOUT": "1"}
"""For faults that last until the time limit."""

NO_PORT: dict[AnyFault, Reason] = {
    Fault.HTML: Reason.INVALID_RESPONSE,
    Fault.WRONG_TYPE: Reason.INVALID_RESPONSE,
    Status(200, ""): Reason.INVALID_RESPONSE,
    Status(200, "{}"): Reason.INVALID_RESPONSE,
    Status(200, '{"port":"x"}'): Reason.INVALID_RESPONSE,
    Status(200, '{"port":-1}'): Reason.INVALID_RESPONSE,
    Status(200, '{"port":1023}'): Reason.INVALID_RESPONSE,
    Status(200, '{"port":65536}'): Reason.INVALID_RESPONSE,
    Status(200, '{"port":true}'): Reason.INVALID_RESPONSE,
    Status(200, '{"port":45720.5}'): Reason.INVALID_RESPONSE,
    Status(200, '{"ports":"45720"}'): Reason.INVALID_RESPONSE,
    Status(200, "[45720]"): Reason.INVALID_RESPONSE,
    RedirectAway("http://127.0.0.1:9/"): Reason.HTTP_4XX,
    Status(403): Reason.HTTP_4XX,
    Status(502, "<html>Bad Gateway</html>"): Reason.HTTP_5XX,
}
"""What breaks a connection is tried on the transport: tests/unit/test_http.py."""


@pytest.mark.parametrize(("fault", "reason"), NO_PORT.items(), ids=str)
def test_an_answer_that_is_no_port_has_its_reason_keeps_the_port_and_is_over_when_it_ends(
    rig: Rig, fault: AnyFault, reason: Reason
) -> None:
    rig.check()
    rig.gluetun.fail(None, fault)
    outcome = rig.later(30)
    assert outcome.state is SyncState.GLUETUN_UNREACHABLE
    assert outcome.failures[0].reason is reason
    [event] = outcome.events
    assert event.fix
    assert rig.qbittorrent.writes == [45720]
    assert outcome.next_check_seconds == 1.0
    rig.gluetun.heal()
    assert rig.next_check().in_sync


def fresh(_: Rig) -> None:
    """The first check asks for everything."""


def in_sync(rig: Rig) -> None:
    assert rig.later(30).in_sync
    assert rig.later(30).in_sync


def without_session(rig: Rig) -> None:
    """A login is needed."""
    in_sync(rig)
    rig.qbittorrent.restart()


def with_another_port(rig: Rig) -> None:
    """The port has to be set."""
    in_sync(rig)
    rig.gluetun.forwarded_ports = [50001]


GLUETUN_AWAY, QBITTORRENT_AWAY = SyncState.GLUETUN_UNREACHABLE, SyncState.QBITTORRENT_UNREACHABLE
STEPS: dict[str, tuple[str, Callable[[Rig], None], SyncState]] = {
    "gluetun_port": ("/v1/portforward", in_sync, GLUETUN_AWAY),
    "gluetun_status": ("/v1/vpn/status", fresh, SyncState.IN_SYNC),
    "gluetun_public_ip": ("/v1/publicip/ip", fresh, SyncState.IN_SYNC),
    "qbittorrent_login, asking": ("/api/v2/app/version", without_session, QBITTORRENT_AWAY),
    "qbittorrent_login": ("/api/v2/auth/login", without_session, QBITTORRENT_AWAY),
    "qbittorrent_preferences": ("/api/v2/app/preferences", in_sync, QBITTORRENT_AWAY),
    "qbittorrent_transfer": ("/api/v2/transfer/info", in_sync, SyncState.IN_SYNC),
    "qbittorrent_log": ("/api/v2/log/main", in_sync, SyncState.IN_SYNC),
    "qbittorrent_set_port": ("/api/v2/app/setPreferences", with_another_port, QBITTORRENT_AWAY),
}
"""For each operation: what it asks for, how a check comes to it, and where its failure leads."""
THREE = {
    Fault.RESET: Reason.CONNECTION,
    Status(500): Reason.HTTP_5XX,
    Fault.HANG: Reason.TIMEOUT,
}


@pytest.mark.parametrize(("fault", "reason"), THREE.items(), ids=str)
@pytest.mark.parametrize("step", STEPS)
def test_a_fault_of_each_operation_is_counted_said_once_and_survived(
    tmp_path: Path, step: str, fault: AnyFault, reason: Reason
) -> None:
    path, prepare, state = STEPS[step]
    with Rig(tmp_path, environ=SHORT) as rig:
        prepare(rig)
        rig.lines()
        server = rig.gluetun if step.startswith("gluetun") else rig.qbittorrent
        server.fail(path, fault)
        outcome = rig.later(30)
        assert outcome.state is rig.shown_state() is state
        assert outcome.failures[0].reason is reason
        counted = {"operation": step.partition(",")[0], "reason": str(reason)}
        assert rig.metric("qsticky_operation_failures_total", **counted) == 1
        rig.next_check()
        loud = [line for line in rig.lines() if line[0] in ("WARNING", "ERROR")]
        assert len(loud) == 1
        assert " - " in loud[0][1], "a warning says what to do"
        rig.qbittorrent.heal()
        rig.gluetun.heal()
        healed_at = rig.clock.now
        while not rig.next_check().in_sync or rig.last.failures:
            assert rig.clock.now < healed_at + 120, rig.last.failures
        assert rig.qbittorrent.bound_ports == {rig.gluetun.forwarded_ports[0]}


def test_a_session_that_ended_is_no_failure_of_the_check(rig: Rig) -> None:
    in_sync(rig)
    rig.qbittorrent.end_sessions()
    outcome = rig.later(30)
    assert (outcome.state, outcome.failures) == (SyncState.IN_SYNC, ())


def test_where_nothing_shows_the_socket_the_right_setting_counts_as_in_sync(
    rig: Rig,
) -> None:
    in_sync(rig)
    rig.qbittorrent.fail("/api/v2/log", Status(500))
    rig.qbittorrent.fail("/api/v2/transfer", Status(500))
    assert rig.later(30).in_sync


def test_200_with_a_strange_body_does_not_prove_that_the_port_was_set(rig: Rig) -> None:
    with_another_port(rig)
    rig.qbittorrent.fail("/api/v2/app/setPreferences", Fault.HTML)
    outcome = rig.later(30)
    assert outcome.state is SyncState.OUT_OF_SYNC
    assert outcome.failures[0].reason is Reason.VERIFY_MISMATCH


@pytest.mark.parametrize("version", ["4.2.5", "5.3.0"])
def test_a_qbittorrent_that_answers_nonsense_from_the_start_is_not_sent_passwords(
    tmp_path: Path, version: str
) -> None:
    with make_rig(tmp_path, version=version) as rig:  # type: ignore[arg-type]
        rig.qbittorrent.fail(None, Fault.HTML)
        assert rig.check().state is SyncState.QBITTORRENT_UNREACHABLE
        assert rig.last.forwarded_port == 45720
        assert rig.qbittorrent.login_attempts == []
        rig.qbittorrent.heal()
        assert rig.later(1).in_sync


def test_a_status_file_that_cannot_be_written_is_counted_and_said_once(rig: Rig) -> None:
    in_sync(rig)
    rig.lines()
    rig.path.unlink()
    rig.path.mkdir()
    rig.run_for(100)
    failed = {"operation": "status_file", "reason": "io"}
    assert rig.metric("qsticky_operation_failures_total", **failed) > 2
    [(level, _)] = rig.lines()
    assert level == "ERROR"
    assert rig.shown_state() is SyncState.IN_SYNC
    rig.path.rmdir()
    rig.run_for(31)
    assert rig.status["healthy"]
    assert [level for level, _ in rig.lines()] == ["INFO"]


@pytest.mark.parametrize("step", [-3600.0, 3600.0, -1e8, 1e8])
def test_setting_the_system_clock_changes_nothing_but_one_line_of_the_log(
    rig: Rig, step: float
) -> None:
    rig.run_for(35)
    rig.lines()
    checked_at = [outcome.finished_at for outcome in rig.recorder.outcomes]
    rig.clock.offset += step
    rig.run_for(70)
    checked_at += [outcome.finished_at for outcome in rig.recorder.outcomes[len(checked_at) :]]
    starts = [round(at - 1000) for at in checked_at if at]
    assert starts == [0, 3, 33, 63, 93]
    assert rig.status["healthy"]
    assert rig.status["uptime_seconds"] < 120
    assert len(rig.lines()) == 1
