"""What status.json keeps over a restart, and that nothing in it can stop a start."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from exporter.errors import StatusFileError
from exporter.model import Reason, Saved, SavedLogins, SavedVpnRestart
from exporter.report.saved import (
    daemon_is_running,
    iso,
    read_saved,
    read_status,
    saved_facts,
)
from tests.fakes import NOW, START, FakeClock

LOGINS = SavedLogins(
    attempts_at=(NOW - 100, NOW - 50.5),
    rejections=2,
    suspended_until=NOW + 1800,
    reason=Reason.AUTH,
    fingerprint="salt:12ab",
    server="gluetun:8080",
)
EVERYTHING = Saved(
    forwarded_port=45720,
    port_changed_at=NOW - 3600,
    succeeded_at=NOW - 61,
    out_of_sync_since=NOW - 60,
    failing_since=NOW - 60,
    waiting_since=NOW - 30,
    logins=LOGINS,
    vpn_restart=SavedVpnRestart(restarted_at=NOW - 5.5, restarts=3, unfinished=True),
    push_seen=True,
)


def write(path: Path, facts: object) -> None:
    path.write_text(json.dumps({"healthy": True, "tunnels": {"default": facts}}))


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


# What comes back


@pytest.mark.parametrize(
    "saved",
    [
        Saved(),
        EVERYTHING,
        Saved(forwarded_port=1024),
        Saved(forwarded_port=65535),
        Saved(logins=LOGINS._replace(suspended_until=None, reason=Reason.BANNED)),
        Saved(vpn_restart=SavedVpnRestart(NOW - 5.5, restarts=1, unfinished=False)),
    ],
)
def test_what_is_written_comes_back(saved: Saved, path: Path, clock: FakeClock) -> None:
    write(path, saved_facts(saved, clock))
    assert read_saved(path, clock) == {"default": saved}


def test_moments_come_back_on_the_clock_of_the_new_process(path: Path, clock: FakeClock) -> None:
    write(path, saved_facts(EVERYTHING, clock))
    later = FakeClock(now=50.0, unix=START + 100)
    saved = read_saved(path, later)["default"]
    assert saved.out_of_sync_since == pytest.approx(50.0 - 160)
    assert saved.logins is not None
    assert saved.logins.suspended_until == pytest.approx(50.0 + 1700)


def test_a_time_that_lies_ahead_because_the_clock_was_set_back_is_now(
    path: Path, clock: FakeClock
) -> None:
    write(path, saved_facts(EVERYTHING, clock))
    clock.set_wall(START - 86_400)
    saved = read_saved(path, clock)["default"]
    assert saved.succeeded_at == saved.out_of_sync_since == saved.port_changed_at == NOW


def test_without_a_file_nothing_comes_back(path: Path, clock: FakeClock) -> None:
    assert read_saved(path, clock) == {}


def test_an_empty_file_is_no_damage_and_no_daemon_writes_it(path: Path, clock: FakeClock) -> None:
    path.write_text(" \n")
    assert read_saved(path, clock) == {}
    assert names_in(path.parent) == ["status.json"]
    clock.set_wall(path.stat().st_mtime)
    assert not daemon_is_running(path, read_status(path), clock)


def test_the_file_of_the_existing_qsticky_is_taken_over(path: Path, clock: FakeClock) -> None:
    path.write_text(
        '{"healthy": true, "services": {"gluetun": {"connected": true, "port": 45720}, '
        '"qbittorrent": {"connected": true, "port_synced": true}}, "uptime": "0:05:00", '
        '"last_check": "2026-09-21T08:00:00", "last_port_change": null, "last_error": null, '
        '"timestamp": "2026-09-21T08:00:00"}'
    )
    assert read_saved(path, clock) == {}
    assert path.exists()


def test_logins_of_an_older_version_lack_their_server(path: Path, clock: FakeClock) -> None:
    facts = saved_facts(EVERYTHING, clock)
    del facts["login"]["server"]
    write(path, facts)
    assert read_saved(path, clock)["default"].logins == LOGINS._replace(server="")


def test_numbers_and_texts_have_a_limit(path: Path, clock: FakeClock) -> None:
    facts = saved_facts(EVERYTHING, clock)
    facts["login"] |= {"rejections": -5, "fingerprint": "f" * 1000, "server": "s" * 1000}
    facts["vpn_restart"] |= {"restarts": 10**100, "unfinished": 1}
    write(path, facts)
    saved = read_saved(path, clock)["default"]
    assert saved.logins == LOGINS._replace(rejections=0, fingerprint="f" * 300, server="s" * 300)
    assert saved.vpn_restart == SavedVpnRestart(NOW - 5.5, 1_000_000, unfinished=False)


# What can't be used

_TUNNEL = '{"healthy": true, "tunnels": {"default": %s}}'


def _time(text: str) -> str:
    return _TUNNEL % f'{{"last_port_change": "{text}"}}'


def _login(**facts: str) -> str:
    given = {
        "attempts_at": "[]",
        "rejections": "1",
        "suspended_until": "0",
        "reason": '"auth"',
        "fingerprint": '""',
    } | facts
    text = ", ".join(f'"{key}": {value}' for key, value in given.items())
    return _TUNNEL % f'{{"login": {{{text}}}}}'


def _vpn(at: str, restarts: str = "1") -> str:
    facts = f'"restarted_at": {at}, "restarts": {restarts}, "unfinished": true'
    return _TUNNEL % f'{{"vpn_restart": {{{facts}}}}}'


_DAMAGED = {
    "half": '{"healthy": true, "tunn',
    "a list": "[]",
    "null": "null",
    "deep": "[" * 100_000,
    "huge": " " * 20_000_001,
    "somebody else's": '{"name": "left-pad", "version": "1.0.0"}',
    "tunnels a list": '{"healthy": true, "tunnels": [1]}',
    "tunnel a text": _TUNNEL % '"x"',
    "port a text": _TUNNEL % '{"last_forwarded_port": "x"}',
    "port infinite": _TUNNEL % '{"last_forwarded_port": 1e999}',
    "port of 5000 digits": _TUNNEL % f'{{"last_forwarded_port": {"9" * 5000}}}',
    "port too high": _TUNNEL % '{"last_forwarded_port": 65536}',
    "port too low": _TUNNEL % '{"last_forwarded_port": 1023}',
    "time a number": _TUNNEL % '{"last_success": 5}',
    "time nonsense": _time("yesterday"),
    "time before 1970": _time("1969-12-31T23:59:59+00:00"),
    "time of the year 1": _time("0001-01-01T00:00:00"),
    "time of the year 9999": _time("9999-12-31T23:59:59-23:59"),
    "time after 2100": _time("2100-01-01T00:00:01+00:00"),
    "login a text": _TUNNEL % '{"login": "x"}',
    "login half": _TUNNEL % '{"login": {"attempts_at": []}}',
    "login attempts, many": _login(attempts_at=str([1] * 301)),
    "login attempt NaN": _login(attempts_at="[NaN]"),
    "login attempt negative": _login(attempts_at="[-1]"),
    "login rejections infinite": _login(rejections="Infinity"),
    "login until infinite": _login(suspended_until="1e999"),
    "login until, far away": _login(suspended_until="1e300"),
    "login reason a list": _login(reason="[]"),
    "VPN restarted, far away": _vpn("1e18"),
    "VPN restarted, text": _vpn('"soon"'),
    "VPN restarts NaN": _vpn("1", "NaN"),
}


@pytest.mark.parametrize("content", _DAMAGED.values(), ids=_DAMAGED)
def test_a_damaged_or_foreign_file_is_set_aside_and_never_fatal(
    content: str, path: Path, clock: FakeClock
) -> None:
    path.write_text(content)
    with pytest.raises(StatusFileError) as raised:
        read_saved(path, clock)
    assert raised.value.message == (
        f"the status file {path} can't be understood; it is set aside as status.json.damaged"
    )
    assert raised.value.fix == "nothing to do: a new one is written"
    assert names_in(path.parent) == ["status.json.damaged"]
    assert path.with_name("status.json.damaged").read_text() == content
    assert read_saved(path, clock) == {}


def test_a_fifo_is_set_aside_without_waiting_for_it(path: Path, clock: FakeClock) -> None:
    os.mkfifo(path)
    with pytest.raises(StatusFileError, match="set aside"):
        read_saved(path, clock)


def test_a_damaged_file_that_cannot_be_set_aside_is_said_all_the_same(
    path: Path, clock: FakeClock
) -> None:
    path.write_text("hello")
    path.with_name("status.json.damaged").mkdir()
    with pytest.raises(StatusFileError) as raised:
        read_saved(path, clock)
    assert raised.value.message == f"the status file {path} can't be understood"


def test_a_file_that_cannot_be_read_is_a_clear_error(path: Path, clock: FakeClock) -> None:
    path.touch()
    with pytest.raises(StatusFileError) as raised:
        read_saved(path / "status.json", clock)
    assert raised.value.message == (
        f"can't read the status file {path}/status.json: Not a directory"
    )


def test_a_folder_in_its_place_is_for_the_one_who_writes_to_explain(
    path: Path, clock: FakeClock
) -> None:
    path.mkdir()
    assert read_saved(path, clock) == {}
    assert path.is_dir()


# Whether a daemon writes it, and its times


@pytest.mark.parametrize(
    ("document", "age", "running"),
    [
        ({"daemon": True}, 0, True),
        ({"daemon": True}, 120, True),
        ({"daemon": True}, 121, False),
        ({"daemon": False}, 0, False),
        ({"state": "stopped"}, 0, False),
        ({}, 0, True),  # of an older version
    ],
)
def test_a_daemon_is_running_where_it_has_written_the_file_of_late(
    document: dict[str, Any], age: float, running: bool, path: Path, clock: FakeClock
) -> None:
    path.touch()
    os.utime(path, (START - age, START - age))
    whole = {"interval_seconds": 30, "state": "in_sync"} | document
    assert daemon_is_running(path, whole, clock) is running


def test_a_foreign_document_says_nothing_of_a_daemon(path: Path, clock: FakeClock) -> None:
    path.touch()
    assert not daemon_is_running(path, {"healthy": True}, clock)


def test_times_are_written_in_utc(clock: FakeClock) -> None:
    assert iso(NOW + 0.25, clock) == "2026-09-21T14:13:20.250+00:00"
    assert iso(None, clock) is None
