"""What a check asks the servers, and that exactly this is timed and counted."""

from collections import Counter
from pathlib import Path

from exporter.model import ConnectionStatus, SyncState
from exporter.simulator.world import Fault, Status
from tests.rig import Rig, asked, make_rig, role_with

PORT, STATUS, ADDRESS = "GET /v1/portforward", "GET /v1/vpn/status", "GET /v1/publicip/ip"
TORRENTS = "GET /api/v2/torrents/info"
CALM = [f"GET /api/v2/{path}" for path in ("app/preferences", "transfer/info", "log/main")]

OPERATIONS = {PORT: "gluetun_port", STATUS: "gluetun_status", ADDRESS: "gluetun_public_ip"}


def settle(rig: Rig) -> None:
    """Have the checks after which nothing is left to find out."""
    rig.check()
    assert rig.later(30).in_sync
    asked(rig.gluetun)
    asked(rig.qbittorrent)


def test_a_calm_check_asks_gluetun_one_question_and_qbittorrent_three(rig: Rig) -> None:
    settle(rig)
    for _ in range(3):
        rig.later(30)
        assert asked(rig.gluetun) == [PORT]
        assert sorted(asked(rig.qbittorrent)) == sorted(CALM)


def test_the_rest_is_asked_every_5_minutes(rig: Rig) -> None:
    settle(rig)
    rig.run_for(901)
    in_all, others = Counter(asked(rig.gluetun)), Counter(asked(rig.qbittorrent))
    assert in_all[PORT] == others[CALM[0]] == 30
    assert in_all[STATUS] == in_all[ADDRESS] == others[TORRENTS] == 3


def test_the_rest_is_asked_at_a_start_and_after_a_change_or_a_failure(rig: Rig) -> None:
    rig.check()
    assert asked(rig.gluetun) == [PORT, STATUS, ADDRESS]
    settle(rig)
    rig.gluetun.forwarded_ports = [50001]
    rig.later(30)
    assert asked(rig.gluetun) == [PORT, STATUS, ADDRESS]
    rig.gluetun.fail(PORT.removeprefix("GET "), Status(500), times=1)
    rig.later(30)
    asked(rig.gluetun)
    rig.later(1)
    assert asked(rig.gluetun) == [PORT, STATUS, ADDRESS]


def test_a_push_asks_for_the_rest_too(rig: Rig) -> None:
    settle(rig)
    rig.check(pushed=True)
    assert asked(rig.gluetun) == [PORT, STATUS, ADDRESS]


def test_torrents_are_asked_for_only_while_qbittorrent_is_firewalled(rig: Rig) -> None:
    rig.qbittorrent.torrents.append({"hash": "a"})
    settle(rig)
    assert rig.last.qbittorrent
    assert rig.last.qbittorrent.has_torrents is True
    rig.qbittorrent.incoming_peer()
    rig.later(30)
    asked(rig.qbittorrent)
    assert rig.later(301).connection_status is ConnectionStatus.CONNECTED
    assert TORRENTS not in asked(rig.qbittorrent)


def test_nobody_says_that_there_are_no_torrents_where_qbittorrent_does_not_answer(
    rig: Rig,
) -> None:
    rig.qbittorrent.fail("/api/v2/torrents", Status(500))
    rig.check()
    outcome = rig.later(30)
    assert outcome.connection_status is ConnectionStatus.FIREWALLED
    assert outcome.qbittorrent
    assert outcome.qbittorrent.has_torrents is None


def test_a_refused_connection_status_does_not_hide_what_was_read_before(rig: Rig) -> None:
    rig.check()
    rig.qbittorrent.fail("/api/v2/transfer/info", Status(401))
    outcome = rig.later(30)
    assert outcome.listening_port == 45720
    assert outcome.port_bound
    assert [failure.operation for failure in outcome.failures] == ["qbittorrent_transfer"]


def test_torrents_are_known_also_while_no_port_is_forwarded(rig: Rig) -> None:
    rig.qbittorrent.torrents.append({"hash": "a"})
    rig.gluetun.forwarded_ports = []
    rig.check()
    outcome = rig.later(30)
    assert outcome.state is SyncState.NO_PORT
    assert outcome.qbittorrent
    assert outcome.qbittorrent.has_torrents is True


# what is counted


def test_each_request_is_counted_once_and_nothing_else_is(rig: Rig) -> None:
    rig.run_for(700)
    rig.gluetun.forwarded_ports = [50001]
    rig.qbittorrent.end_sessions()
    rig.run_for(100)
    rig.check(pushed=True)
    rig.gluetun.fail("/v1/vpn/status", Status(500), times=1)
    rig.qbittorrent.fail("/api/v2/transfer/info", Fault.HTML, times=1)
    rig.run_for(700)
    counted = rig.operations()
    assert Counter(OPERATIONS[path] for path in asked(rig.gluetun)) == Counter(
        {name: counted[name] for name in OPERATIONS.values()}
    )
    # what a request to qBittorrent counts as hangs on what it is for
    of_qbittorrent = [count for name, count in counted.items() if name.startswith("qbittorrent")]
    assert sum(of_qbittorrent) == len(asked(rig.qbittorrent))


def test_what_was_not_sent_is_not_counted(tmp_path: Path) -> None:
    """Nobody listens: no further question is put to that server in the same check."""
    with make_rig(tmp_path, environ={"QBITTORRENT_PASS": "wrong"}) as rig:
        rig.gluetun.stop()
        rig.check()
        before = rig.operations()
        rig.later(30)  # the login is suspended
        sent = rig.operations() - before
        del sent["status_file"]
        assert sent == Counter({"gluetun_port": 1, "qbittorrent_login": 1})


def test_a_refused_vpn_status_is_one_failure_and_not_asked_again_until_gluetun_failed(
    tmp_path: Path,
) -> None:
    with make_rig(tmp_path, role=role_with(PORT)) as rig:

        def refusals() -> float:
            name = "qsticky_operation_failures_total"
            return rig.metric(name, operation="gluetun_status", reason="auth")

        assert rig.check().in_sync
        assert asked(rig.gluetun)[:2] == [PORT, STATUS]
        rig.run_for(1000)
        assert (rig.last.state, rig.last.failures) == (SyncState.IN_SYNC, ())
        assert (refusals(), rig.operations()["gluetun_status"]) == (1, 1)
        assert set(asked(rig.gluetun)) == {PORT}
        rig.gluetun.stop()
        rig.check()
        rig.gluetun.start()
        rig.later(1)
        assert (refusals(), asked(rig.gluetun)[:2]) == (2, [PORT, STATUS])
