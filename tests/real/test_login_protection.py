"""Fewer than 5 failed logins in any hour, whatever happens: on every real qBittorrent.

The rules themselves are tested in tests/unit/test_logins.py; here a proxy counts attempts.
"""

import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exporter.model import Reason, SyncState
from tests.parts.daemon import QstickyProcess, wait_until
from tests.parts.proxy import LOGIN, CutOff, Page
from tests.parts.qbittorrent import Seed
from tests.real.rig import HOUR, Rig

BAN_SECONDS = 2


@pytest.fixture
def rig(qbittorrent_version: str, tmp_path: Path) -> Iterator[Rig]:
    with Rig(qbittorrent_version, tmp_path, Seed(ban_seconds=BAN_SECONDS)).running() as rig:
        yield rig


def test_a_wrong_password_and_a_daemon_that_is_restarted_every_minute(rig: Rig) -> None:
    rig.password_file.write_text("wrong\n")
    for _ in range(59):
        assert rig.check_for(60).state is SyncState.QBITTORRENT_UNAUTHORIZED
        rig.restart()
    assert 1 <= len(rig.proxy.logins) <= 4
    assert not rig.is_banned()
    rig.password_file.write_text(rig.qbittorrent.password)
    assert rig.later(HOUR).in_sync


def test_a_ban_in_force_is_waited_out_and_not_made_longer(rig: Rig) -> None:
    for _ in range(5):  # somebody at our address gets it wrong
        rig.qbittorrent.password, right = "guessed", rig.qbittorrent.password
        with rig.qbittorrent._signed_in():
            pass
        rig.qbittorrent.password = right
    outcome = rig.check()
    assert outcome.state is SyncState.QBITTORRENT_BANNED
    assert outcome.failures[0].reason is Reason.BANNED
    for _ in range(10):
        rig.restart()
        assert rig.check_for(60).state is SyncState.QBITTORRENT_BANNED
    assert len(rig.proxy.logins) <= 4
    time.sleep(BAN_SECONDS)
    assert rig.later(HOUR).in_sync


def test_passwords_proxies_and_restarts_of_both_for_hours(rig: Rig) -> None:
    # not more different ones: each is tried at once, as a person would want it to be
    passwords: Iterator[str] = itertools.cycle(["wrong", "other", "wrong"])
    pages: Iterator[Callable[[str], Page | None]] = itertools.cycle(
        [lambda _: None, lambda path: Page(401) if path == LOGIN else None, lambda _: None]
    )
    for number in range(40):
        rig.password_file.write_text(next(passwords))
        rig.proxy.after = next(pages)
        rig.check_for(300, every=150.0)
        if number % 2:
            rig.restart()
        if number % 5 == 0:
            rig.qbittorrent.restart()
    assert rig.most_logins_in_an_hour() < 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
@pytest.mark.parametrize("qbittorrent_version", ["5.1.0"], indirect=True)
def test_a_daemon_that_ends_while_a_login_hangs(
    rig: Rig, number: signal.Signals, tmp_path: Path
) -> None:
    """qBittorrent may have counted it, so the next daemon has to know.

    One version shows it: no answer of qBittorrent takes part.
    """
    ended = threading.Event()

    def hang(path: str) -> Page | None:
        if path == LOGIN:
            ended.wait(60)
            raise CutOff
        return None

    rig.proxy.after = hang
    environ = rig.environ | {"REQUEST_TIMEOUT": "60"}
    folder = tmp_path / "daemon"
    folder.mkdir()
    for tries in range(1, 6):
        with QstickyProcess(environ, folder) as daemon:
            if tries == 5:
                daemon.wait_for("Initial status")
            else:
                wait_until(lambda n=tries: len(rig.proxy.logins) == n, "a login hangs")  # type: ignore[misc]
            daemon.stop(number)
    ended.set()
    assert len(rig.proxy.logins) == 4
    assert not rig.is_banned()
