"""Since when: what a tunnel keeps of its past."""

from exporter.model import Saved, SyncState
from exporter.tunnel import history

NOW = 5000.0
FAILING, WAITING = SyncState.GLUETUN_UNREACHABLE, (SyncState.NO_PORT, SyncState.VPN_DOWN)


def after(*checks: tuple[float, SyncState], saved: Saved = Saved()) -> Saved:  # noqa: B008  # frozen
    for now, state in checks:
        saved = history.after_check(saved, state, now)
    return saved


def test_the_first_port_ever_is_no_change_and_each_other_one_is() -> None:
    first = history.after_port(Saved(), 45720, NOW)
    assert first == Saved(forwarded_port=45720)
    changed = history.after_port(first, 38201, NOW + 1)
    assert changed == Saved(forwarded_port=38201, port_changed_at=NOW + 1)


def test_a_gap_keeps_the_port_and_the_time_of_its_change() -> None:
    saved = Saved(forwarded_port=45720, port_changed_at=NOW)
    assert history.after_port(saved, 0, NOW + 1) == saved
    assert history.after_port(saved, 45720, NOW + 2) == saved


def test_a_port_that_is_set_is_a_change_only_where_none_is_known() -> None:
    assert history.after_port_was_set(Saved(), NOW).port_changed_at == NOW
    known = Saved(port_changed_at=NOW)
    assert history.after_port_was_set(known, NOW + 1) == known


def test_a_check_in_sync_ends_all_trouble() -> None:
    trouble = Saved(out_of_sync_since=1.0, failing_since=2.0, waiting_since=3.0)
    assert after((NOW, SyncState.IN_SYNC), saved=trouble) == Saved(succeeded_at=NOW)


def test_trouble_is_dated_from_its_first_check() -> None:
    found = after((NOW, FAILING), (NOW + 30, FAILING))
    assert found == Saved(out_of_sync_since=NOW, failing_since=NOW)


def test_waiting_for_the_vpn_and_then_for_its_port_is_one_wait_and_no_failure() -> None:
    for first, second in (WAITING, WAITING[::-1]):
        found = after((NOW, first), (NOW + 30, second))
        assert found == Saved(out_of_sync_since=NOW, waiting_since=NOW)


def test_failing_and_waiting_in_turn_is_one_time_out_of_sync() -> None:
    found = after((NOW, FAILING), (NOW + 30, SyncState.NO_PORT), (NOW + 60, FAILING))
    assert found == Saved(out_of_sync_since=NOW, failing_since=NOW + 60)


def test_a_time_from_before_a_restart_is_kept() -> None:
    assert after((NOW, FAILING), saved=Saved(out_of_sync_since=-86_400.0)).out_of_sync_since == (
        -86_400.0
    )
