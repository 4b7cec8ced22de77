"""With a libtorrent that does not reopen sockets, and no push, the port alone is asked for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig import Rig, asked, make_rig, rebinds

PORT = "GET /v1/portforward"


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Rig]:
    """A qBittorrent 4.5.2, whose libtorrent sits on a dead socket after a reconnect."""
    with make_rig(tmp_path, version="4.5.2") as rig:
        rig.run_for(5)
        yield rig


def test_gluetun_is_asked_every_second_and_qbittorrent_once_in_an_interval(old: Rig) -> None:
    asked(old.gluetun), asked(old.qbittorrent)
    old.run_for(60)
    assert asked(old.gluetun).count(PORT) == 60
    assert asked(old.qbittorrent).count("GET /api/v2/app/preferences") == 2
    assert old.last.next_check_seconds == 1
    # the one that was set at the start
    assert old.metric("qsticky_port_open_duration_seconds_count") == 1


def test_a_watch_shows_what_the_last_check_read(old: Rig) -> None:
    outcome = old.next_check()
    assert outcome.is_watch
    assert (outcome.in_sync, outcome.port_bound) == (True, True)
    assert (outcome.forwarded_port, outcome.listening_port) == (45720, 45720)


def test_a_reconnect_between_two_checks_is_noticed_and_answered(old: Rig) -> None:
    old.gluetun.carry(old.qbittorrent.vpn_interface)
    old.gluetun.reconnect(gap_seconds=0.87)
    old.run_for(4)
    assert old.qbittorrent.incoming_peer()
    assert rebinds(*old.recorder.outcomes) == 1


def test_a_push_makes_it_unnecessary_for_good(old: Rig) -> None:
    assert old.check(pushed=True).saved.push_seen
    old.run_for(31)
    asked(old.gluetun)
    old.run_for(60)
    assert asked(old.gluetun) == [PORT, PORT]
    old.start_daemon()
    old.run_for(5)
    asked(old.gluetun)
    old.run_for(60)
    assert asked(old.gluetun) == [PORT, PORT]


def test_it_is_said_once(tmp_path: Path) -> None:
    with make_rig(tmp_path, version="4.5.2") as rig:
        rig.run_for(200)
        lines = [message for _, message in rig.lines() if "every second" in message]
        assert len(lines) == 1
