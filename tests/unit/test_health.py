"""status.json: what stands in it, how it is written and read, and when it says healthy."""

import errno
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from exporter.errors import StatusFileError
from exporter.healthcheck import judge, main, status_path
from exporter.model import (
    ConnectionStatus,
    Failure,
    SavedLogins,
    Operation,
    OperationResult,
    Outcome,
    Reason,
    Saved,
    SyncState,
    SavedVpnRestart,
    VpnStatus,
)
from exporter.report.status_file import StatusFile, is_kept_up, remembered
from tests.fakes import FakeClock

NOW = 1_800_000_000.0
"""2027-01-15 08:00:00 UTC."""

IN_SYNC = Outcome(
    tunnel="default",
    state=SyncState.IN_SYNC,
    finished_at=NOW - 1,
    interval_seconds=30,
    next_check_seconds=30,
    forwarded_port=45720,
    last_forwarded_port=45720,
    listening_port=45720,
    port_bound=True,
    gluetun_up=True,
    qbittorrent_up=True,
    vpn_status=VpnStatus.RUNNING,
    connection_status=ConnectionStatus.CONNECTED,
    last_success_at=NOW - 1,
    last_port_change_at=NOW - 3600,
    operations=(OperationResult(Operation.GLUETUN_PORT, 0.01),),
)
FAILING = replace(
    IN_SYNC,
    state=SyncState.GLUETUN_UNREACHABLE,
    forwarded_port=0,
    gluetun_up=False,
    last_success_at=NOW - 61,
    out_of_sync_since=NOW - 60,
    failing_since=NOW - 60,
    failures=(Failure(Operation.GLUETUN_PORT, Reason.TIMEOUT, "Gluetun timed out", "look"),),
)
NOTE = SavedLogins(
    attempts_at=(NOW - 100, NOW - 50.5),
    rejections=2,
    suspended_until=NOW + 1800,
    reason=Reason.AUTH,
    fingerprint="salt:12ab",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "status.json"


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def status_file(path: Path, *outcomes: Outcome) -> StatusFile:
    made = StatusFile(path, "2.0.0", started_at=NOW - 93_784, interval=30)
    for outcome in outcomes:
        made.publish(outcome)
    return made


def document(*outcomes: Outcome, now: float = NOW) -> dict[str, Any]:
    return status_file(Path("unused"), *outcomes).document(now)


# What stands in the file


def test_the_whole_file_of_one_tunnel_in_sync(path: Path) -> None:
    status_file(path, IN_SYNC).write(NOW)

    assert json.loads(path.read_text()) == {
        "healthy": True,
        "state": "in_sync",
        "current_port": 45720,
        "last_error": None,
        "uptime": "1 day, 2:03:04",
        "uptime_seconds": 93784.0,
        "last_check": "2027-01-15T07:59:59.000+00:00",
        "last_port_change": "2027-01-15T07:00:00.000+00:00",
        "timestamp": "2027-01-15T08:00:00.000+00:00",
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
                "last_error": None,
                "fix": None,
                "last_check": "2027-01-15T07:59:59.000+00:00",
                "last_success": "2027-01-15T07:59:59.000+00:00",
                "last_port_change": "2027-01-15T07:00:00.000+00:00",
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
            }
        },
        "interval_seconds": 30,
        "daemon": True,
        "version": "2.0.0",
    }


def test_a_port_that_is_not_known_is_null_and_the_last_one_is_kept() -> None:
    facts = document(FAILING)

    assert facts["current_port"] is None
    assert facts["services"]["gluetun"] == {"connected": False, "port": None}
    assert facts["last_error"] == "Gluetun timed out"
    assert facts["tunnels"]["default"]["fix"] == "look"
    assert facts["tunnels"]["default"]["last_forwarded_port"] == 45720
    assert facts["tunnels"]["default"]["failing_since"] == "2027-01-15T07:59:00.000+00:00"


def test_nothing_was_checked_and_nothing_is_well_before_the_first_cycle() -> None:
    facts = document()

    assert facts["healthy"] is False
    assert facts["state"] == "starting"
    assert facts["last_check"] is None
    assert facts["services"] == {
        "gluetun": {"connected": False, "port": None},
        "qbittorrent": {"connected": False, "port_synced": False},
    }


def test_a_tunnel_without_a_cycle_has_no_last_check() -> None:
    facts = document(Outcome("default", SyncState.STARTING, NOW, 30))

    assert facts["last_check"] is None
    assert facts["tunnels"]["default"]["last_check"] is None
    assert facts["state"] == "starting"


def test_with_several_tunnels_the_one_in_trouble_stands_on_top() -> None:
    facts = document(IN_SYNC, replace(FAILING, tunnel="second", finished_at=NOW - 5))

    assert (facts["state"], facts["last_error"]) == ("gluetun_unreachable", "Gluetun timed out")
    assert facts["services"]["qbittorrent"] == {"connected": True, "port_synced": False}
    assert facts["last_check"] == "2027-01-15T07:59:59.000+00:00"
    assert list(facts["tunnels"]) == ["default", "second"]
    assert facts["tunnels"]["default"]["state"] == "in_sync"


def test_one_unhealthy_tunnel_of_several_makes_all_unhealthy() -> None:
    long_ago = replace(FAILING, tunnel="b", out_of_sync_since=NOW - 91, failing_since=NOW - 91)

    facts = document(IN_SYNC, long_ago)

    assert facts["healthy"] is False
    assert facts["tunnels"]["default"]["healthy"] is True
    assert facts["tunnels"]["b"]["healthy"] is False


def test_a_tunnel_that_is_forgotten_leaves_the_file() -> None:
    made = status_file(Path("unused"), IN_SYNC, replace(FAILING, tunnel="second"))
    made.forget("second")
    made.forget("never there")

    assert list(made.document(NOW)["tunnels"]) == ["default"]


def test_a_later_outcome_takes_the_place_of_the_earlier_one() -> None:
    assert document(FAILING, IN_SYNC)["state"] == "in_sync"


def test_after_a_clean_stop_it_is_stopped_and_not_healthy(path: Path) -> None:
    status_file(path, IN_SYNC).write(NOW, stopped=True)

    facts = json.loads(path.read_text())
    assert (facts["healthy"], facts["state"]) == (False, "stopped")
    assert facts["daemon"] is False


def test_a_file_that_nobody_goes_on_writing_says_so_and_is_as_healthy(path: Path) -> None:
    file = StatusFile(path, "2.0.0", NOW, 30, daemon=False)
    file.publish(IN_SYNC)
    facts = file.document(NOW)

    assert (facts["healthy"], facts["state"], facts["daemon"]) == (True, "in_sync", False)


@pytest.mark.parametrize(
    ("document", "age", "kept_up"),
    [
        ({"daemon": True}, 0, True),
        ({"daemon": True}, 120, True),
        ({"daemon": True}, 121, False),
        ({"daemon": False}, 0, False),
        ({"state": "stopped"}, 0, False),
        ({}, 0, True),
    ],
)
def test_whether_a_daemon_keeps_the_file_up(
    path: Path, document: dict[str, Any], age: float, kept_up: bool
) -> None:
    """Older files lack `daemon`."""
    path.write_text("{}")
    os.utime(path, (NOW, NOW))
    whole = {"interval_seconds": 30, "state": "in_sync"} | document

    assert daemon_is_running(path, whole, NOW + age) is kept_up


def test_each_tunnel_has_a_line_of_its_own(path: Path) -> None:
    status_file(path, IN_SYNC, replace(IN_SYNC, tunnel="second")).write(NOW)

    starts = [line.split(": ")[0] for line in path.read_text().splitlines()]
    assert {'    "default"', '    "second"', '  "tunnels"', '  "healthy"'} <= set(starts)


@pytest.mark.parametrize("step", [-259_200, 259_200], ids=["back", "on"])
def test_setting_the_system_clock_makes_nothing_unhealthy_and_the_uptime_no_other(
    step: int,
) -> None:
    clock = FakeClock()
    file = StatusFile(Path("unused"), "2.0.0", clock.wall(), 30, clock)
    clock.now += 60
    file.publish(replace(IN_SYNC, finished_at=clock.wall()))
    clock.set_wall(clock.wall() + step)
    clock.now += 30

    facts = file.document(clock.wall())
    assert (facts["uptime"], facts["uptime_seconds"]) == ("0:01:30", 90.0)
    assert facts["healthy"] is facts["tunnels"]["default"]["healthy"] is True


@pytest.mark.parametrize("step", [-259_200, 259_200], ids=["back", "on"])
def test_setting_the_system_clock_does_not_hide_a_cycle_that_hangs(step: int) -> None:
    clock = FakeClock()
    file = StatusFile(Path("unused"), "2.0.0", clock.wall(), 30, clock)
    file.publish(replace(IN_SYNC, finished_at=clock.wall()))
    clock.set_wall(clock.wall() + step)
    clock.now += 121

    assert file.document(clock.wall())["healthy"] is False


def test_the_uptime_is_never_negative() -> None:
    facts = document(IN_SYNC, now=NOW - 1_000_000)

    assert (facts["uptime"], facts["uptime_seconds"]) == ("0:00:00", 0.0)


# When a tunnel is healthy


@pytest.mark.parametrize(
    ("interval", "grace"), [(1, 90), (30, 90), (31, 93), (300, 900), (3600, 10_800)]
)
def test_a_failure_has_a_grace_of_three_intervals_and_of_90_seconds_at_least(
    interval: float, grace: float
) -> None:
    outcome = replace(
        FAILING,
        interval_seconds=interval,
        finished_at=NOW,
        out_of_sync_since=NOW - grace,
        failing_since=NOW - grace,
    )

    assert outcome.is_healthy(NOW)
    assert not outcome.is_healthy(NOW + 0.001)


@pytest.mark.parametrize("state", [SyncState.NO_PORT, SyncState.VPN_DOWN])
@pytest.mark.parametrize("interval", [1, 30, 3600])
def test_waiting_for_the_vpn_has_a_grace_of_ten_minutes(state: SyncState, interval: float) -> None:
    outcome = replace(
        IN_SYNC,
        state=state,
        interval_seconds=interval,
        finished_at=NOW,
        out_of_sync_since=NOW - 600,
    )

    assert outcome.is_healthy(NOW)
    assert not outcome.is_healthy(NOW + 0.001)


def test_waiting_and_failing_by_turns_does_not_stay_healthy() -> None:
    outcome = replace(FAILING, finished_at=NOW, out_of_sync_since=NOW - 600, failing_since=NOW - 5)

    assert outcome.is_healthy(NOW)
    assert not outcome.is_healthy(NOW + 0.001)


def test_a_cycle_that_does_not_end_is_unhealthy_after_the_grace() -> None:
    assert IN_SYNC.next_check_seconds == 30

    assert IN_SYNC.is_healthy(IN_SYNC.finished_at + 120)
    assert not IN_SYNC.is_healthy(IN_SYNC.finished_at + 120.001)


# Writing


def test_the_folder_is_made_where_it_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "status.json"
    status_file(path, IN_SYNC).write(NOW)

    assert json.loads(path.read_text())["healthy"] is True


@pytest.fixture
def closed_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("closed_umask")
def test_everybody_may_read_the_file_whatever_the_umask(path: Path) -> None:
    status_file(path, IN_SYNC).write(NOW)

    assert path.stat().st_mode & 0o777 == 0o644


def test_nothing_else_is_left_in_the_folder(path: Path) -> None:
    made = status_file(path, IN_SYNC)
    made.write(NOW)
    made.write(NOW + 1)

    assert names_in(path.parent) == ["status.json"]


def test_a_reader_never_sees_half_a_file(path: Path) -> None:
    many = [replace(IN_SYNC, tunnel=f"tunnel-{number}") for number in range(200)]
    made = status_file(path, *many)
    made.write(NOW)
    seen: list[int] = []
    enough = threading.Event()

    def read() -> None:
        while not enough.is_set():
            seen.append(len(json.loads(path.read_bytes())["tunnels"]))

    reader = threading.Thread(target=read)
    reader.start()
    for second in range(10):
        made.write(NOW + second)
    enough.set()
    reader.join()

    assert set(seen) == {200}


def test_two_processes_that_write_do_not_disturb_each_other(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from exporter.report.status_file import StatusFile\n"
        "file = StatusFile(Path(sys.argv[1]), sys.argv[2] * 100_000, 0.0, 30.0)\n"
        "for second in range(40): file.write(float(second))"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(path), version]) for version in "ab"
    ]
    versions = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            versions.add(json.loads(path.read_bytes())["version"])

    assert [writer.returncode for writer in writers] == [0, 0]
    assert versions <= {"a" * 100_000, "b" * 100_000}
    assert names_in(path.parent) == ["status.json"]


def test_a_link_in_the_way_is_not_written_through(path: Path) -> None:
    victim = path.with_name("victim")
    victim.write_text("precious")
    path.with_name(f".status.json.{os.getpid()}.new").symlink_to(victim)

    with pytest.raises(StatusFileError):
        status_file(path, IN_SYNC).write(NOW)

    assert victim.read_text() == "precious"


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "status.json"

    with pytest.raises(StatusFileError) as raised:
        status_file(path, IN_SYNC).write(NOW)

    assert raised.value.message == f"can't write the status file {path}: Not a directory"
    assert raised.value.fix == (
        "make the folder writable for qSticky's user, or name another file in HEALTH_FILE"
    )
    assert raised.value.reason is Reason.IO


@pytest.mark.parametrize(
    ("number", "fix"),
    [
        (errno.ENOSPC, "free some space on that disk; qSticky goes on without the file meanwhile"),
        (errno.EDQUOT, "free some space on that disk; qSticky goes on without the file meanwhile"),
        (
            errno.EROFS,
            "mount that folder writable, as a volume or tmpfs, or name another HEALTH_FILE",
        ),
    ],
)
def test_a_disk_that_is_full_or_read_only_has_a_remedy_of_its_own(
    number: int, fix: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("exporter.report.status_file.os.open", refuse)
    with pytest.raises(StatusFileError) as raised:
        status_file(path, IN_SYNC).write(NOW)

    assert raised.value.fix == fix


def test_a_folder_in_the_place_of_the_file_is_a_clear_error_and_no_litter(path: Path) -> None:
    path.mkdir()

    with pytest.raises(StatusFileError) as raised:
        status_file(path, IN_SYNC).write(NOW)

    assert raised.value.message == f"can't write the status file {path}: Is a directory"
    assert names_in(path.parent) == ["status.json"]


# Reading after a restart


def test_what_has_to_survive_a_restart_survives_it(path: Path) -> None:
    outcome = replace(FAILING, logins=NOTE, waiting_since=NOW - 30)
    status_file(path, outcome, replace(IN_SYNC, tunnel="second")).write(NOW)

    assert remembered(path) == {
        "default": Saved(
            forwarded_port=45720,
            last_port_change_at=NOW - 3600,
            last_success_at=NOW - 61,
            out_of_sync_since=NOW - 60,
            failing_since=NOW - 60,
            waiting_since=NOW - 30,
            logins=NOTE,
        ),
        "second": Saved(
            forwarded_port=45720, last_port_change_at=NOW - 3600, last_success_at=NOW - 1
        ),
    }


def test_a_login_stands_in_the_file_before_it_is_tried(path: Path) -> None:
    file = status_file(path, IN_SYNC)

    file.note_login("default", NOTE, NOW)

    assert remembered(path)["default"].login_note == NOTE


def test_of_many_tunnels_only_a_login_after_a_failed_one_is_written_at_once(path: Path) -> None:
    file = status_file(path, *(replace(IN_SYNC, tunnel=f"t{number}") for number in range(11)))

    file.note_login("t3", replace(NOTE, attempts_at=(NOW,)), NOW)
    assert not path.exists()
    file.note_login("t4", NOTE, NOW)
    assert remembered(path)["t4"].login_note == NOTE


def test_of_ten_tunnels_each_login_is_written_before_it_is_tried(path: Path) -> None:
    file = status_file(path, *(replace(IN_SYNC, tunnel=f"t{number}") for number in range(10)))

    file.note_login("t3", replace(NOTE, attempts_at=(NOW,)), NOW)

    assert path.exists()


@pytest.mark.parametrize(
    "note",
    [
        replace(NOTE, server="gluetun:8080"),
        replace(NOTE, rejections=0, reason=Reason.BANNED, fingerprint=""),
    ],
)
def test_what_is_known_of_logins_comes_back_as_it_was(note: SavedLogins, path: Path) -> None:
    status_file(path, replace(IN_SYNC, logins=note)).write(NOW)

    assert remembered(path)["default"].login_note == note


def test_a_login_may_be_remembered_without_its_server(path: Path) -> None:
    status_file(path, replace(IN_SYNC, logins=NOTE)).write(NOW)
    path.write_text(path.read_text().replace('"server"', '"another"'))

    note = remembered(path)["default"].login_note
    assert note is not None
    assert note.server == ""


def test_what_everybody_may_read_holds_all_but_the_fingerprint() -> None:
    file = status_file(Path("unused"), replace(IN_SYNC, logins=NOTE))
    own, public = file.document(NOW), file.public_document(NOW)

    assert own["tunnels"]["default"]["login"].pop("fingerprint") == "salt:12ab"
    assert public == own
    assert status_file(Path("unused"), IN_SYNC).public_document(NOW) == document(IN_SYNC)


def test_a_login_of_a_tunnel_that_is_gone_is_not_written(path: Path) -> None:
    status_file(path).note_login("default", NOTE, NOW)

    assert not path.exists()


def test_a_login_goes_on_where_the_file_cannot_be_written(path: Path) -> None:
    path.mkdir()

    status_file(path, IN_SYNC).note_login("default", NOTE, NOW)


def test_it_survives_a_clean_stop_too(path: Path) -> None:
    status_file(path, replace(IN_SYNC, logins=NOTE)).write(NOW, stopped=True)

    assert remembered(path)["default"].login_note == NOTE


def test_a_restart_of_the_vpn_that_is_under_way_survives(path: Path) -> None:
    for unfinished in (True, False):
        note = SavedVpnRestart(restarted_at=NOW - 5.5, restarts=3, unfinished=unfinished)
        status_file(path, replace(IN_SYNC, vpn_restart=note)).write(NOW)
        assert remembered(path)["default"].vpn_note == note


def test_a_tunnel_that_is_made_anew_gets_what_a_restart_would_give_it(path: Path) -> None:
    file = status_file(path, replace(IN_SYNC, last_forwarded_port=1024))
    file.write(NOW)

    assert file.remembered("default") == remembered(path)["default"]
    assert remembered(path)["default"].forwarded_port == 1024
    assert file.remembered("another") is None


def test_a_file_of_more_than_20_million_bytes_is_not_ours(path: Path) -> None:
    status_file(path, IN_SYNC).write(NOW)
    content = path.read_text()

    path.write_text(content.ljust(20_000_000))
    assert "default" in remembered(path)
    path.write_text(content.ljust(20_000_001))
    with pytest.raises(StatusFileError, match="can't be understood"):
        remembered(path)


def test_without_a_file_nothing_is_remembered(path: Path) -> None:
    assert remembered(path) == {}


def test_the_file_of_the_existing_qsticky_is_taken_over(path: Path) -> None:
    path.write_text(
        '{"healthy": true, "services": {"gluetun": {"connected": true, "port": 45720}, '
        '"qbittorrent": {"connected": true, "port_synced": true}}, "uptime": "0:05:00", '
        '"last_check": "2027-01-15T08:00:00", "last_port_change": null, "last_error": null, '
        '"timestamp": "2027-01-15T08:00:00"}'
    )

    assert remembered(path) == {}
    assert path.exists()


_TUNNEL = '{"healthy": true, "tunnels": {"default": %s}}'
_LOGIN = _TUNNEL % '{"login": %s}'

_DAMAGED = {
    "empty": "",
    "half": '{"healthy": true, "tunn',
    "garbage": "\x00\x01\x02",
    "not JSON": "hello",
    "a list": "[]",
    "a number": "5",
    "null": "null",
    "deep": "[" * 100_000,
    "huge": " " * 20_000_001,
    "somebody else's": '{"name": "left-pad", "version": "1.0.0"}',
    "tunnels a list": '{"healthy": true, "tunnels": [1]}',
    "tunnels null": '{"healthy": true, "tunnels": null}',
    "tunnel a text": _TUNNEL % '"x"',
    "port a text": _TUNNEL % '{"last_forwarded_port": "x"}',
    "port a list": _TUNNEL % '{"last_forwarded_port": [1]}',
    "port infinite": _TUNNEL % '{"last_forwarded_port": 1e999}',
    "port too high": _TUNNEL % '{"last_forwarded_port": 70000}',
    "port negative": _TUNNEL % '{"last_forwarded_port": -45720}',
    "time a number": _TUNNEL % '{"last_success": 5}',
    "time nonsense": _TUNNEL % '{"failing_since": "yesterday"}',
    "time out of range": _TUNNEL % '{"last_port_change": "0001-01-01T00:00:00"}',
    "login a text": _LOGIN % '"x"',
    "login half": _LOGIN % '{"attempts_at": []}',
    "login attempts": _LOGIN
    % '{"attempts_at": 5, "rejections": 1, "suspended_until": 0, "reason": "auth", '
    '"fingerprint": ""}',
    "login reason": _LOGIN
    % '{"attempts_at": [], "rejections": 1, "suspended_until": 0, "reason": "bad mood", '
    '"fingerprint": ""}',
}


@pytest.mark.parametrize("content", _DAMAGED.values(), ids=_DAMAGED)
def test_a_damaged_or_foreign_file_is_set_aside(content: str, path: Path) -> None:
    path.write_text(content)

    with pytest.raises(StatusFileError) as raised:
        remembered(path)

    assert raised.value.message == (
        f"the status file {path} can't be understood; it is set aside as status.json.damaged"
    )
    assert raised.value.fix == "nothing to do: a new one is written"
    assert names_in(path.parent) == ["status.json.damaged"]
    assert path.with_name("status.json.damaged").read_text() == content
    assert remembered(path) == {}


def test_a_damaged_file_that_cannot_be_set_aside_is_said_all_the_same(path: Path) -> None:
    path.write_text("hello")
    path.with_name("status.json.damaged").mkdir()

    with pytest.raises(StatusFileError) as raised:
        remembered(path)

    assert raised.value.message == f"the status file {path} can't be understood"


def test_a_file_that_cannot_be_read_is_a_clear_error(path: Path) -> None:
    path.mkdir()

    with pytest.raises(StatusFileError) as raised:
        remembered(path)

    assert raised.value.message == f"can't read the status file {path}: Is a directory"
    assert path.is_dir()


# The healthcheck


def test_a_fresh_healthy_file_is_healthy(path: Path) -> None:
    status_file(path, IN_SYNC).write(NOW)

    assert judge(str(path), NOW) == (True, "healthy: in_sync")


def test_an_unhealthy_file_says_why(path: Path) -> None:
    status_file(path, FAILING).write(NOW + 100)

    assert judge(str(path), NOW + 100) == (
        False,
        "unhealthy: gluetun_unreachable: Gluetun timed out",
    )


def test_a_stopped_daemon_is_unhealthy(path: Path) -> None:
    status_file(path, IN_SYNC).write(NOW, stopped=True)

    assert judge(str(path), NOW) == (False, "unhealthy: stopped")


def test_a_file_older_than_three_intervals_and_30_seconds_is_unhealthy(path: Path) -> None:
    status_file(path, IN_SYNC).write(NOW)

    assert judge(str(path), NOW + 120) == (True, "healthy: in_sync")
    assert judge(str(path), NOW + 120.6) == (
        False,
        f"unhealthy: nothing was written to {path} for 121 s",
    )


def test_without_a_file_it_is_unhealthy(path: Path) -> None:
    assert judge(str(path), NOW) == (
        False,
        f"unhealthy: can't read {path}: No such file or directory",
    )


_TIME = '"timestamp": "2027-01-15T08:00:00+00:00", "state": "in_sync"'
_HEALTHY = f'{{"healthy": true, {_TIME}, "interval_seconds": 30}}'


def test_the_file_of_the_image_is_where_people_s_healthcheck_lines_look() -> None:
    assert status_path.__defaults__ == ("/app/health",)


def test_the_file_may_have_20_million_bytes_and_space_around_its_content(path: Path) -> None:
    path.write_text(_HEALTHY.center(20_000_000))
    assert judge(str(path), NOW)[0]

    path.write_text(_HEALTHY.ljust(20_000_001))
    assert not judge(str(path), NOW)[0]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "hello",
        "null",
        "[]",
        '"healthy"',
        "{}",
        "[" * 100_000,
        f"{_HEALTHY}x",
        _HEALTHY.replace("in_sync", "in\tsync"),
        f'{{"healthy": true, {_TIME}}}',
        f'{{"healthy": true, {_TIME}, "interval_seconds": "often"}}',
        f'{{"healthy": true, {_TIME}, "interval_seconds": null}}',
        f'{{"healthy": true, {_TIME}, "interval_seconds": [30]}}',
        '{"healthy": true, "state": "in_sync", "interval_seconds": 30, "timestamp": 1800000000}',
        '{"healthy": true, "state": "in_sync", "interval_seconds": 30, "timestamp": "now"}',
        '{"healthy": true, "interval_seconds": 30, "timestamp": "2027-01-15T08:00:00+00:00"}',
    ],
    ids=lambda content: content[:100],
)
def test_what_is_no_status_file_is_unhealthy(content: str, path: Path) -> None:
    path.write_text(content)

    assert judge(str(path), NOW) == (False, f"unhealthy: {path} is not a status file of qSticky")


def test_a_python_without_the_scanner_of_ours_reads_the_file_too(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text(_HEALTHY)
    monkeypatch.setitem(sys.modules, "_json", None)

    assert judge(str(path), NOW) == (True, "healthy: in_sync")


@pytest.mark.parametrize("value", ['"true"', "1", "{}", "null", "false"])
def test_only_true_is_healthy(value: str, path: Path) -> None:
    path.write_text(f'{{"healthy": {value}, {_TIME}, "interval_seconds": 30}}')

    assert judge(str(path), NOW) == (False, "unhealthy: in_sync")


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "unhealthy: in_sync: Schlüssel 🔑\n"),
        ("ascii", r"unhealthy: in_sync: Schl\xfcssel \U0001f511" + "\n"),
    ],
)
def test_the_verdict_is_printed_whatever_the_terminal_can_show(
    encoding: str, shown: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = '"healthy": false, "last_error": "Schlüssel 🔑"'
    path.write_text(_HEALTHY.replace('"healthy": true', error), encoding="utf-8")
    monkeypatch.setenv("HEALTH_FILE", str(path))
    monkeypatch.setattr("exporter.healthcheck.time.time", lambda: NOW)
    screen = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(screen, encoding, write_through=True))

    assert main() == 1
    assert screen.getvalue().decode(encoding) == shown


def test_an_interval_that_is_not_a_number_makes_the_file_old(path: Path) -> None:
    path.write_text(f'{{"healthy": true, {_TIME}, "interval_seconds": NaN}}')

    assert not judge(str(path), NOW)[0]


def test_the_healthcheck_looks_at_the_clock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALTH_FILE", str(path))
    status_file(path, IN_SYNC).write(NOW)
    document = json.loads(path.read_text())
    now = datetime.now().astimezone()

    document["timestamp"] = now.isoformat()
    path.write_text(json.dumps(document))
    fresh = main()
    document["timestamp"] = (now - timedelta(minutes=5)).isoformat()
    path.write_text(json.dumps(document))
    old = main()

    assert (fresh, old) == (0, 1)


@pytest.mark.parametrize(("outcome", "code"), [(IN_SYNC, 0), (FAILING, 1)])
def test_the_existing_healthcheck_line_works_unchanged(
    outcome: Outcome, code: int, path: Path
) -> None:
    status_file(path, outcome).write(NOW + 60)
    line = "import json; exit(0 if json.load(open('/app/health/status.json'))['healthy'] else 1)"

    ended = subprocess.run(
        [sys.executable, "-c", line.replace("/app/health/status.json", str(path))], check=False
    )

    assert ended.returncode == code
