"""status.json: what stands in it, and when it says healthy."""

import json
from pathlib import Path
from typing import Any

import pytest

from exporter.model import (
    BindResult,
    Failure,
    Operation,
    Outcome,
    Reason,
    Saved,
    SavedLogins,
    SyncState,
)
from exporter.report.saved import read_saved
from exporter.report.status_file import StatusFile
from tests.fakes import IN_SYNC, NOW, QBITTORRENT, FakeClock, tunnels

WELL = IN_SYNC._replace(qbittorrent=QBITTORRENT._replace(bind_result=BindResult.BOUND))
TIMED_OUT = Failure(Operation.GLUETUN_PORT, Reason.TIMEOUT, "Gluetun timed out", "look")
LOGINS = SavedLogins((NOW - 50.5,), 1, NOW + 1800, Reason.AUTH, "salt:12ab", "gluetun:8080")


def failing(since: float = NOW - 60) -> Outcome:
    return IN_SYNC._replace(
        state=SyncState.GLUETUN_UNREACHABLE,
        gluetun=None,
        saved=IN_SYNC.saved._replace(out_of_sync_since=since, failing_since=since),
        failures=(TIMED_OUT,),
    )


class Written:
    """A status file, and what is in it."""

    def __init__(self, path: Path, *names: str, daemon: bool = True, **saved: Saved) -> None:
        self.path = path
        self.clock = FakeClock()
        self.file = StatusFile(path, "2.0.0", self.clock, saved, daemon=daemon)
        self.file.set_tunnels(tunnels(*(names or ("default",))))

    def publish(self, *outcomes: Outcome) -> None:
        for outcome in outcomes:
            self.file.publish(outcome)

    def document(self, *, public: bool = False, stopped: bool = False) -> dict[str, Any]:
        made: dict[str, Any] = json.loads(self.file.content(public=public, stopped=stopped))
        return made

    def default(self) -> dict[str, Any]:
        facts: dict[str, Any] = self.document()["tunnels"]["default"]
        return facts


@pytest.fixture
def written(path: Path) -> Written:
    return Written(path)


@pytest.fixture
def two(path: Path) -> Written:
    return Written(path, "default", "second")


# What stands in the file


def test_the_whole_file_of_one_tunnel_in_sync(written: Written) -> None:
    written.clock.now += 93_784
    moved = WELL.saved._replace(port_changed_at=NOW - 3600, succeeded_at=NOW + 93_783)
    written.publish(WELL._replace(finished_at=NOW + 93_783, saved=moved))
    written.file.write()

    assert json.loads(written.path.read_text()) == {
        "healthy": True,
        "state": "in_sync",
        "current_port": 45720,
        "last_error": None,
        "uptime": "1 day, 2:03:04",
        "uptime_seconds": 93784.0,
        "last_check": "2026-09-22T16:16:23.000+00:00",
        "last_port_change": "2026-09-21T13:13:20.000+00:00",
        "timestamp": "2026-09-22T16:16:24.000+00:00",
        "services": {
            "gluetun": {"connected": True, "port": 45720},
            "qbittorrent": {"connected": True, "port_synced": True},
        },
        "tunnels": {
            "default": {
                "healthy": True,
                "state": "in_sync",
                "current_port": 45720,
                "listening_port": 45720,
                "port_bound": True,
                "vpn_status": "running",
                "connection_status": "connected",
                "reachable": None,
                "last_reachability_check": None,
                "last_reached": None,
                "last_error": None,
                "fix": None,
                "last_check": "2026-09-22T16:16:23.000+00:00",
                "last_success": "2026-09-22T16:16:23.000+00:00",
                "last_port_change": "2026-09-21T13:13:20.000+00:00",
                "out_of_sync_since": None,
                "failing_since": None,
                "waiting_since": None,
                "last_forwarded_port": 45720,
                "services": {
                    "gluetun": {"connected": True, "port": 45720},
                    "qbittorrent": {"connected": True, "port_synced": True},
                },
                "login": None,
                "vpn_restart": None,
                "push_seen": False,
            }
        },
        "interval_seconds": 30,
        "daemon": True,
        "version": "2.0.0",
    }


def test_a_port_that_is_not_known_is_null_and_the_last_one_is_kept(written: Written) -> None:
    written.publish(failing())
    document, facts = written.document(), written.default()
    assert document["current_port"] is None
    assert document["services"]["gluetun"] == {"connected": False, "port": None}
    assert document["last_error"] == facts["last_error"] == "Gluetun timed out"
    assert (facts["fix"], facts["last_forwarded_port"]) == ("look", 45720)
    assert facts["failing_since"] == "2026-09-21T14:12:20.000+00:00"


def test_before_the_first_check_a_tunnel_is_starting_with_what_was_saved_of_it(path: Path) -> None:
    written = Written(path, default=Saved(forwarded_port=45720))
    assert written.document()["state"] == written.default()["state"] == "starting"
    assert written.document()["last_check"] is written.default()["last_check"] is None
    assert written.document()["services"]["qbittorrent"] == {
        "connected": False,
        "port_synced": False,
    }
    assert written.default()["last_forwarded_port"] == 45720


def test_with_several_tunnels_the_one_in_trouble_stands_on_top(two: Written) -> None:
    two.publish(IN_SYNC, failing()._replace(tunnel="second", finished_at=NOW - 5))

    document = two.document()
    assert (document["state"], document["last_error"]) == (
        "gluetun_unreachable",
        "Gluetun timed out",
    )
    assert document["services"]["qbittorrent"] == {"connected": True, "port_synced": False}
    assert document["last_check"] == "2026-09-21T14:13:20.000+00:00"
    assert list(document["tunnels"]) == ["default", "second"]
    assert document["tunnels"]["default"]["state"] == "in_sync"


def test_each_tunnel_has_a_line_of_its_own(two: Written) -> None:
    starts = [line.split(": ")[0] for line in two.file.content().decode().splitlines()]
    assert {'    "default"', '    "second"', '  "tunnels"', '  "healthy"'} <= set(starts)


def test_without_a_tunnel_nothing_is_well(path: Path) -> None:
    file = StatusFile(path, "2.0.0", FakeClock(), {})
    document = json.loads(file.content())
    assert (document["healthy"], document["state"]) == (False, "starting")
    assert document["tunnels"] == {}


def test_a_file_that_nobody_goes_on_writing_says_so(path: Path) -> None:
    stopped = Written(path)
    once = Written(path, daemon=False)
    for written in (stopped, once):
        written.publish(IN_SYNC)

    def said(document: dict[str, Any]) -> list[object]:
        return [document[key] for key in ("healthy", "state", "daemon")]

    assert said(stopped.document(stopped=True)) == [False, "stopped", False]
    assert said(once.document()) == [True, "in_sync", False]


def test_what_everybody_may_read_holds_all_but_the_fingerprint(two: Written) -> None:
    two.publish(IN_SYNC._replace(saved=Saved(logins=LOGINS)), IN_SYNC._replace(tunnel="second"))
    own, public = two.document(), two.document(public=True)
    assert own["tunnels"]["default"]["login"].pop("fingerprint") == "salt:12ab"
    assert public == own
    assert b"fingerprint" not in two.file.content(public=True)


# When it says healthy


def test_healthy_true_stands_in_the_file_once_and_only_when_all_are_healthy(two: Written) -> None:
    """People search it for these words."""
    said = b'"healthy": true'
    lies = TIMED_OUT._replace(message='"healthy": true', fix='"healthy": true')
    two.publish(IN_SYNC, failing()._replace(tunnel="second", failures=(lies,)))
    assert two.file.content().count(said) == 1
    two.publish(failing(NOW - 91)._replace(tunnel="second", failures=(lies,)))
    assert two.file.content().count(said) == 0
    healthy = {name: facts["healthy"] for name, facts in two.document()["tunnels"].items()}
    assert healthy == {"default": True, "second": False}


@pytest.mark.parametrize("outcomes", [[], [IN_SYNC]], ids=["the first one", "a later one"])
def test_a_check_that_does_not_end_is_unhealthy_after_the_grace(
    outcomes: list[Outcome], written: Written
) -> None:
    written.publish(*(outcome._replace(next_check_seconds=0.0) for outcome in outcomes))
    written.clock.now += 90
    assert written.document()["healthy"] is True
    written.clock.now += 1
    assert written.document()["healthy"] is False


# Tunnels that come and go


def test_a_tunnel_that_is_gone_leaves_the_file_and_does_not_come_back(two: Written) -> None:
    two.file.set_tunnels(tunnels("second"))
    two.publish(IN_SYNC)
    two.file.save("default", Saved(logins=LOGINS))
    assert list(two.document()["tunnels"]) == ["second"]
    assert not two.path.exists()


def test_a_reload_keeps_what_is_known_of_tunnels_that_stay(written: Written) -> None:
    written.publish(failing(NOW - 91)._replace())
    written.file.set_tunnels(tunnels("new", "default", CHECK_INTERVAL="60"))
    document = written.document()
    assert document["interval_seconds"] == 60
    assert document["tunnels"]["new"]["state"] == "starting"
    assert document["tunnels"]["default"]["state"] == "gluetun_unreachable"
    assert document["tunnels"]["default"]["healthy"] is True  # the grace is longer now


def test_a_tunnel_that_is_set_up_again_gets_what_a_restart_would_give_it(path: Path) -> None:
    written = Written(path, default=Saved(forwarded_port=1024), gone=Saved(forwarded_port=1025))
    assert written.file.saved("default") == Saved(forwarded_port=1024)
    assert written.file.saved("gone") == Saved(forwarded_port=1025)
    assert written.file.saved("another") is None
    written.publish(failing())
    written.file.write()
    assert written.file.saved("default") == read_saved(path, written.clock)["default"]


# What must not be forgotten


def test_what_is_saved_is_on_the_disk_at_once_and_survives_a_stop(written: Written) -> None:
    written.publish(IN_SYNC)
    saved = IN_SYNC.saved._replace(logins=LOGINS)
    written.file.save("default", saved)
    assert read_saved(written.path, written.clock) == {"default": saved}
    assert written.default()["state"] == "in_sync"
    written.file.write(stopped=True)
    assert read_saved(written.path, written.clock) == {"default": saved}


def test_saving_goes_on_where_the_file_cannot_be_written(written: Written) -> None:
    written.path.mkdir()
    written.file.save("default", Saved(logins=LOGINS))


def test_of_many_tunnels_only_the_first_login_of_an_hour_waits_for_the_next_write(
    path: Path,
) -> None:
    many = Written(path, *(f"t{number}" for number in range(50)))
    many.file.save("t0", Saved(logins=LOGINS))
    assert not path.exists()
    many.file.save("t0", Saved(logins=LOGINS._replace(attempts_at=(NOW - 50, NOW))))
    assert path.exists()
