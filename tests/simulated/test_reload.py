"""A reload of the configuration: what changed is made again, all else goes on undisturbed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig import HeldExecutor, Rig, is_connected, named


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A daemon with the tunnels a and b in sync."""
    environ = {"WEB_ENABLE_LIFECYCLE": "true", "CHECK_INTERVAL": "3600"}
    with Rig(tmp_path, tunnels=named("ab"), environ=environ) as rig:
        rig.run_for(10)
        rig.recorder.outcomes.clear()
        yield rig


def syncs(rig: Rig, tunnel: str) -> float:
    return rig.metric("qsticky_syncs_total", tunnel=tunnel)


def shown(rig: Rig) -> list[str]:
    return list(json.loads(rig.get("/status.json")[1])["tunnels"])


def test_of_20_tunnels_those_that_did_not_change_are_kept_with_all_that_they_know(
    tmp_path: Path,
) -> None:
    with Rig(tmp_path, tunnels=named("abcdefghijklmnopqrst")) as rig:
        rig.run_for(5)
        before, logins = dict(rig.service._tunnels), len(rig.qbittorrent.login_attempts)
        kept, changed = [*"abcdefghijklmnopqr"], {"name": "s", "rebind": "never"}
        rig.write_tunnels([*named("abcdefghijklmnopqr"), changed, *named("u")])
        assert rig.reload() == ""
        assert "1 added, 1 removed, 1 changed, 18 unchanged" in rig.lines()[-1][1]
        after = rig.service._tunnels
        assert [name for name in after if after[name] is before.get(name)] == kept
        assert shown(rig) == list(rig.status["tunnels"]) == [*kept, "s", "u"]
        known = len(rig.checked)
        rig.run_for(5)
        assert sorted(rig.checked[known:]) == ["s", "u"]
        assert len(rig.qbittorrent.login_attempts) == logins + 2


def test_a_removed_tunnel_is_gone_from_page_metrics_and_file(rig: Rig) -> None:
    rig.write_tunnels(named("a"))
    rig.reload()
    assert shown(rig) == list(rig.status["tunnels"]) == ["a"]
    assert 'tunnel="b"' not in rig.get("/metrics")[1]
    rig.run_for(3601)
    assert set(rig.checked) == {"a"}


def test_a_rejected_file_changes_nothing_and_says_why(rig: Rig) -> None:
    rig.yaml.write_text("tunnels: [{name: a}, {name: a, rebind: sometimes}]")
    assert "given 'sometimes'" in rig.reload()
    assert rig.lines()[-1][0] == "ERROR"
    assert rig.metric("qsticky_config_last_reload_successful") == 0
    assert rig.metric("qsticky_config_reload_failures_total") == 1
    assert shown(rig) == ["a", "b"]
    rig.write_tunnels(named("ab"))
    assert rig.reload() == ""
    assert rig.metric("qsticky_config_last_reload_successful") == 1
    assert rig.checked == []


def test_a_changed_tunnel_keeps_its_counters_and_what_a_restart_would_keep(rig: Rig) -> None:
    rig.run_for(3600)
    changed_at = rig.status["tunnels"]["a"]["last_port_change"]
    before = [syncs(rig, name) for name in "ab"]
    rig.write_tunnels([{"name": "a", "rebind": "never"}, *named("b")])
    rig.reload()
    rig.run_for(5)
    assert [syncs(rig, name) for name in "ab"] == [before[0] + 1, before[1]]
    assert rig.last.tunnel == "a"
    assert rig.status["tunnels"]["a"]["last_port_change"] == changed_at


def test_the_connections_of_what_is_removed_or_changed_are_closed(rig: Rig) -> None:
    rig.gluetun.forwarded_ports = []
    rig.check()
    before = [*rig.service._tunnels.values()]
    assert all(map(is_connected, before)), "kept for the next check, which is soon"
    rig.write_tunnels([{"name": "a", "rebind": "never"}])
    rig.reload()
    assert not any(map(is_connected, before))


def test_a_rejected_login_is_known_whatever_else_changes(rig: Rig) -> None:
    """Each try counts for qBittorrent, whatever the tunnel is called."""
    entry: dict[str, object] = {"qbittorrent": {"pass": "wrong"}}
    for number in range(5):
        rig.write_tunnels([{"name": f"renamed-{number}", **entry}])
        rig.reload()
        rig.run_for(5)
        assert rig.last.tunnel == f"renamed-{number}"
        assert rig.last.login_suspended_until
    assert rig.qbittorrent.failed_logins == 1
    rig.write_tunnels(named("c"))
    rig.reload()
    rig.run_for(5)
    assert rig.last.in_sync, "a corrected password is tried at once"


def test_nobody_reloads_by_a_request_unless_that_is_switched_on(rig: Rig) -> None:
    rig.start_daemon(WEB_ENABLE_LIFECYCLE="false")
    assert rig.get("/-/reload", "POST")[0] == 403


def test_what_counts_at_a_start_only_is_named(rig: Rig) -> None:
    rig.environ["CHECK_INTERVAL"] = "60"
    rig.lines()
    assert rig.reload() == ""
    assert ("WARNING", "CHECK_INTERVAL changed; restart qSticky to apply it") in rig.lines()


# a reload while a check is under way


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Rig, HeldExecutor]]:
    """A daemon whose one check has begun."""
    executor = HeldExecutor()
    with Rig(tmp_path, tunnels=named("a"), executor=executor) as rig:
        rig.loop.step(0)
        assert executor.submitted == 1
        yield rig, executor


def test_what_a_removed_tunnel_still_finds_out_is_told_to_nobody(
    held: tuple[Rig, HeldExecutor],
) -> None:
    rig, executor = held
    rig.gluetun.forwarded_ports = []
    rig.loop.request_check(pushed=True)
    removed = rig.service._tunnels["a"]
    rig.write_tunnels(named("b"))
    rig.reload()
    assert rig.loop.has_abandoned_work
    executor.finish()
    rig.turn()
    assert not is_connected(removed)
    assert rig.checked == []
    executor.finish()
    rig.turn()
    assert rig.checked == ["b"]
    assert executor.submitted == 2
    assert not rig.loop.has_abandoned_work


@pytest.mark.parametrize("between", ["", "b"], ids=["changed", "removed and added again"])
def test_a_tunnel_waits_for_the_end_of_its_predecessors_check(
    held: tuple[Rig, HeldExecutor], between: str
) -> None:
    rig, executor = held
    if between:
        rig.write_tunnels(named(between))
        rig.reload()
        executor._held.pop()  # the check of b never ends
    begun = executor.submitted
    rig.write_tunnels([{"name": "a", "rebind": "never"}])
    rig.reload()
    rig.clock.now += 60
    rig.turn()
    assert executor.submitted == begun
    executor.finish()
    rig.turn()
    assert (rig.checked, executor.submitted) == ([], begun + 1)
    executor.finish()
    rig.turn()
    assert rig.checked == ["a"]


def test_a_login_of_a_check_that_a_reload_overtakes_is_known(
    held: tuple[Rig, HeldExecutor],
) -> None:
    rig, executor = held
    rig.qbittorrent.set_password("another")
    rig.write_tunnels([{"name": "a", "rebind": "never"}])
    rig.reload()
    executor.finish()
    rig.turn()
    executor.finish()
    rig.turn()
    assert rig.last.login_suspended_until
    assert rig.qbittorrent.failed_logins == 1
