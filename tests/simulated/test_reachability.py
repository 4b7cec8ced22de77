"""Proof from outside: a service that gets in or not, and what becomes of the tunnel.

What answers mean is a unit test; here is the way from the service to all who read outcomes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.model import SyncState
from exporter.servers.reachability import probe
from tests.fakes import FakeClock, InlineExecutor
from tests.parts.outside import Outside
from tests.rig import FIRST_PORT, HeldExecutor, Rig, asked, make_rig, rebinds, role_with

ORDER = "PUT /v1/vpn/status"
ROLE = role_with("GET /v1/portforward", "GET /v1/vpn/status", "GET /v1/publicip/ip", ORDER)


@pytest.fixture
def service() -> Iterator[Outside]:
    with Outside() as service:
        yield service


def rig_for(folder: Path, service: Outside, path: str = "/{port}", **environ: str) -> Rig:
    given = {"REACHABILITY_URL": service.url + path, **environ}
    return make_rig(folder, role=ROLE, environ=given)


@pytest.fixture
def rig(tmp_path: Path, service: Outside) -> Iterator[Rig]:
    """A tunnel that was found open."""
    with rig_for(tmp_path, service) as rig:
        rig.run_for(20)
        assert len(service.asked) == 1
        yield rig


def reachable(rig: Rig) -> float | None:
    labels = {"tunnel": "default"}
    return rig.service.metrics.registry.get_sample_value("qsticky_port_reachable", labels)


def shut(rig: Rig, service: Outside) -> None:
    """Have nobody get in until that is the state."""
    service.says("0")
    rig.run_for(750)
    assert rig.last.state is SyncState.NOT_REACHABLE


def test_nobody_is_asked_unless_that_is_configured(tmp_path: Path, service: Outside) -> None:
    with make_rig(tmp_path, environ={"REACHABILITY_PROXY": service.url}) as rig:
        rig.run_for(700)
        assert service.asked == []
        assert rig.service._prober is None
        assert rig.last.outside is None


def test_a_port_is_asked_for_10_s_after_a_change_and_then_by_the_interval(
    rig: Rig, service: Outside
) -> None:
    rig.run_for(600)
    assert service.asked == [f"/{FIRST_PORT}"] * 2
    rig.run_for(300)
    rig.gluetun.forwarded_ports = [50001]
    changed_at = rig.check().finished_at
    rig.run_for(9)
    assert len(service.asked) == 2
    rig.run_for(2)
    assert service.asked[2:] == ["/50001"]
    name = "qsticky_reachability_last_check_timestamp_seconds"
    at = rig.metric(name, tunnel="default")
    assert changed_at
    assert at == pytest.approx(rig.clock.unix(changed_at + 10), abs=0.1)
    assert rig.operations()["reachability"] == 3


def test_nobody_gets_in_although_all_looks_right_and_everybody_is_told(
    rig: Rig, service: Outside
) -> None:
    told = rig.status["tunnels"]["default"]
    assert (reachable(rig), told["reachable"]) == (1, True)
    assert told["last_reached"] == told["last_reachability_check"] is not None
    service.says("0")
    rig.run_for(591)  # the next question
    assert (rig.last.state, rebinds(*rig.recorder.outcomes), reachable(rig)) == (
        SyncState.IN_SYNC,
        0,
        0,
    )
    rig.run_for(30)  # once more
    assert (rig.last.state, rebinds(*rig.recorder.outcomes)) == (SyncState.IN_SYNC, 1)
    rig.lines()
    rig.run_for(60)  # a minute is the least
    assert (rig.last.state, rebinds(*rig.recorder.outcomes)) == (SyncState.NOT_REACHABLE, 1)
    assert rig.lines() == [
        (
            "ERROR",
            "Nobody outside gets in on port 45720, although Gluetun forwards it and qBittorrent "
            "listens on it - the VPN provider does not forward what it says it does: restart "
            "Gluetun, or choose another VPN server; where peers do get in, see that "
            "REACHABILITY_URL is asked through the VPN (REACHABILITY_PROXY)",
        )
    ]
    assert rig.shown_state() is SyncState.NOT_REACHABLE
    assert (rig.status["state"], rig.status["healthy"]) == ("not_reachable", True)
    assert rig.status["tunnels"]["default"]["reachable"] is False
    assert "Nobody outside gets in" in rig.get("/")[1]
    rig.run_for(130)
    assert not rig.status["healthy"]
    rig.run_for(1200)
    assert (rig.last.state, rebinds(*rig.recorder.outcomes)) == (SyncState.NOT_REACHABLE, 1)
    service.says("1")
    rig.run_for(600)
    assert rig.last.in_sync
    assert rig.status["healthy"]
    assert "Somebody outside last got in" in rig.get("/")[1]


def test_a_reconnect_with_the_same_port_is_no_proof(rig: Rig, service: Outside) -> None:
    shut(rig, service)
    rig.gluetun.reconnect(gap_seconds=2.0)
    rig.qbittorrent.vpn_interface_recreated()
    assert rig.later(1).state is SyncState.VPN_DOWN
    rig.run_for(5)
    assert rig.last.state is SyncState.NOT_REACHABLE
    service.says("1")
    rig.run_for(10)
    assert rig.last.in_sync


def test_a_service_without_an_answer_changes_nothing_and_is_said_once(
    rig: Rig, service: Outside
) -> None:
    service.says("", 429)
    rig.lines()
    rig.run_for(1900)
    assert len(service.asked) == 4
    [(level, said)] = rig.lines()
    assert (level, "REACHABILITY_" in said or "docs/" in said) == ("WARNING", True)
    assert {outcome.state for outcome in rig.recorder.outcomes} == {SyncState.IN_SYNC}
    assert rig.last.failures == ()
    assert reachable(rig) is None
    failures = "qsticky_operation_failures_total"
    assert rig.metric(failures, operation="reachability", reason="rate_limited") == 3


def test_where_an_old_libtorrent_is_watched_the_answer_is_heard_too(
    tmp_path: Path, service: Outside
) -> None:
    given = {"REACHABILITY_URL": service.url + "/{port}"}
    service.says("0")
    with make_rig(tmp_path, version="4.5.2", role=ROLE, environ=given) as rig:
        rig.run_for(60)
        assert any(outcome.is_watch for outcome in rig.recorder.outcomes)
        assert rebinds(*rig.recorder.outcomes) == 1


def test_a_vpn_that_lets_nobody_in_is_restarted(tmp_path: Path, service: Outside) -> None:
    service.says("0")
    with rig_for(tmp_path, service, RESTART_VPN_AFTER="300") as rig:
        rig.run_for(380)
        assert rig.last.state is SyncState.NOT_REACHABLE
        asked(rig.gluetun)
        rig.run_for(60)
        assert asked(rig.gluetun).count(ORDER) == 2
        assert any("nobody outside has got in for 5 minutes" in line for _, line in rig.lines())


def test_the_vpns_address_is_named_and_without_it_nobody_is_asked(
    tmp_path: Path, service: Outside
) -> None:
    with rig_for(tmp_path, service, "/api/{ip}/{port}") as rig:
        address = rig.gluetun.public_ip
        rig.gluetun.public_ip = ""
        rig.run_for(60)
        assert service.asked == []
        rig.gluetun.public_ip = address
        rig.run_for(600)
        assert set(service.asked) == {f"/api/{address}/{FIRST_PORT}"}


def test_a_reload_begins_and_ends_it(tmp_path: Path, service: Outside) -> None:
    with make_rig(tmp_path) as rig:
        rig.run_for(5)
        entry: dict[str, Any] = {"name": "default", "reachability_url": service.url + "/{port}"}
        rig.write_tunnels([entry])
        assert rig.reload() == ""
        service.says("0")
        rig.run_for(200)
        assert rig.last.state is SyncState.NOT_REACHABLE
        rig.write_tunnels([{"name": "default"}])
        assert rig.reload() == ""
        rig.run_for(700)
        assert rig.last.in_sync
        assert len(service.asked) == 3


def test_a_url_that_cannot_be_used_does_not_end_port_forwarding(tmp_path: Path) -> None:
    with make_rig(tmp_path, environ={"REACHABILITY_URL": "http://example.com/"}) as rig:
        assert rig.check().in_sync
        assert (
            "WARNING",
            "REACHABILITY_URL: given 'http://example.com/'; expected an http or https URL with "
            "{port} in its path; it is ignored",
        ) in rig.lines()


def test_nobody_is_asked_for_a_port_that_is_known_to_be_closed(
    tmp_path: Path, service: Outside
) -> None:
    with rig_for(tmp_path, service) as rig:
        rig.qbittorrent.occupied.add(FIRST_PORT)
        rig.run_for(50)
        assert rig.last.state is SyncState.NOT_LISTENING
        assert service.asked == []


def test_a_question_is_dropped_when_its_port_is_gone_before_it_is_due(
    tmp_path: Path, service: Outside
) -> None:
    with rig_for(tmp_path, service) as rig:
        rig.run_for(5)
        rig.gluetun.forwarded_ports = []
        rig.check()
        rig.run_for(60)
        assert service.asked == []


def test_a_check_that_began_before_the_answer_does_not_ask_again(
    tmp_path: Path, service: Outside
) -> None:
    with rig_for(tmp_path, service) as rig:
        rig.run_for(9)
        early = rig.last
        rig.run_for(10)
        assert rig.service._prober
        rig.service._prober.set_tunnels([rig.tunnel.config])  # as after a reload
        rig.service._prober.publish(early)
        rig.turn()
        assert len(service.asked) == 1


class Hanging(HeldExecutor):
    """Checks run at once, a question from outside hangs."""

    def __init__(self) -> None:
        super().__init__()
        self._inline = InlineExecutor(FakeClock())

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        if fn is probe:
            return super().submit(fn, *args, **kwargs)
        return self._inline.submit(fn, *args, **kwargs)


def test_a_service_that_hangs_delays_nothing_and_is_not_asked_again(
    tmp_path: Path, service: Outside
) -> None:
    executor = Hanging()
    rig = rig_for(tmp_path, service)
    rig._executor = executor
    with rig:
        rig.run_for(15)
        assert executor.submitted == 1
        rig.gluetun.change_port(50001)
        rig.run_for(1500)
        assert rig.last.in_sync
        assert rig.last.listening_port == 50001
        assert executor.submitted == 1
        assert rig.service._prober
        assert rig.service._prober.stop(), "it is left behind"
        executor.finish()
        rig.turn()
        assert reachable(rig) is None, "it was about another port"


def test_many_tunnels_are_asked_for_one_after_the_other(tmp_path: Path, service: Outside) -> None:
    names = [f"t{number}" for number in range(60)]
    given = {"REACHABILITY_URL": service.url + "/{port}", "CHECK_INTERVAL": "3600"}
    with make_rig(tmp_path, environ=given) as rig:
        rig.write_tunnels([{"name": name} for name in names])
        rig.start_daemon()
        rig.run_for(30)
        assert 15 <= len(service.asked) <= 22, "one a second"
        rig.run_for(50)
        assert len(service.asked) == 60


def test_many_tunnels_with_a_short_interval_are_asked_for_faster(
    tmp_path: Path, service: Outside
) -> None:
    url = service.url + "/{port}"
    given = {"REACHABILITY_URL": url, "REACHABILITY_INTERVAL": "60", "CHECK_INTERVAL": "3600"}
    with make_rig(tmp_path, environ=given) as rig:
        rig.write_tunnels([{"name": f"t{number}"} for number in range(60)])
        rig.start_daemon()
        rig.run_for(48)
        assert len(service.asked) == 60, "two a second"
