"""Fewer than 5 failed logins in any hour, whatever happens: on every real qBittorrent.

The attempts are counted by a proxy in between, and time is turned by hand: the daemon lives
through hours while qBittorrent, with its short bans, lives through seconds.
"""

import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exporter.config.load import load_config
from exporter.model import Outcome, Reason, SyncState
from exporter.report.status_file import StatusFile, remembered
from exporter.simulator.world import SimulatedGluetun
from exporter.tunnel.tunnel import Tunnel
from tests.fakes import FakeClock
from tests.parts.daemon import QstickyProcess, wait_until
from tests.parts.proxy import LOGIN, CutOff, Page, Proxy
from tests.parts.qbittorrent import RealQbittorrent, Seed, free_port

HOUR = 3600.0
BAN_SECONDS = 2
HTML = {"Content-Type": "text/html"}


class Rig:
    """The real qBittorrent behind a counting proxy, and a daemon that can be restarted."""

    def __init__(self, version: str, folder: Path) -> None:
        self.clock = FakeClock()
        self.gluetun = SimulatedGluetun("3.40", forwarded_port=free_port())
        self.qbittorrent = RealQbittorrent(version, folder, Seed(ban_seconds=BAN_SECONDS))
        self.proxy = Proxy(self.qbittorrent.port, self.clock.monotonic)
        self.password_file = folder / "password"
        self.password_file.write_text("wrong\n")
        self.file = StatusFile(folder / "status.json", "2.0.0", self.clock.wall(), 30.0)
        self.tunnel = self.restart()

    def restart(self, **more: str) -> Tunnel:
        """Start the daemon anew: it knows what status.json says."""
        if hasattr(self, "tunnel"):
            self.tunnel.close()
        note = remembered(self.file.path).get("default")
        settings = load_config(self.environ() | more)
        self.tunnel = Tunnel(settings.tunnels[0], self.clock, note)
        return self.tunnel

    def environ(self) -> dict[str, str]:
        """The variables that a daemon gets; the password is in a file."""
        return {
            "GLUETUN_HOST": self.gluetun.host,
            "GLUETUN_PORT": str(self.gluetun.port),
            "GLUETUN_AUTH_TYPE": "none",
            "QBITTORRENT_HOST": "127.0.0.1",
            "QBITTORRENT_PORT": str(self.proxy.port),
            "QBITTORRENT_PASS_FILE": str(self.password_file),
        }

    def cycle(self) -> Outcome:
        outcome = self.tunnel.cycle()
        self.file.publish(outcome)
        self.file.write(self.clock.wall())
        return outcome

    def run_for(self, seconds: float, every: float = 60.0) -> Outcome:
        """Look every so often; returns the last outcome."""
        end = self.clock.now + seconds
        while True:
            outcome = self.cycle()
            self.clock.now += every
            if self.clock.now >= end:
                return outcome

    def most_in_an_hour(self) -> int:
        """The most logins that were tried in any hour."""
        tries = self.proxy.logins
        return max(
            (sum(at <= other < at + HOUR for other in tries) for at in tries),
            default=0,
        )

    def assert_not_banned(self) -> None:
        """The right password still opens, from this very address."""
        with self.qbittorrent._signed_in() as (_, headers):
            assert headers["Cookie"]


@pytest.fixture
def rig(qbittorrent_version: str, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(qbittorrent_version, tmp_path)
    with rig.gluetun, rig.qbittorrent, rig.proxy:
        yield rig
        rig.tunnel.close()


def test_a_wrong_password_for_three_hours(rig: Rig) -> None:
    outcome = rig.run_for(3 * HOUR - 60, every=100.0)
    assert outcome.state is SyncState.QBITTORRENT_UNAUTHORIZED
    first = rig.proxy.logins[0]
    assert [at - first for at in rig.proxy.logins] == [0, 300, 2100, 5700, 9300]
    assert rig.most_in_an_hour() == 3


def test_a_wrong_password_and_a_daemon_that_is_restarted_every_minute(rig: Rig) -> None:
    for _ in range(59):
        rig.run_for(60)
        rig.restart()
    assert len(rig.proxy.logins) == 4
    rig.assert_not_banned()


def test_another_wrong_password_each_minute(rig: Rig) -> None:
    for number in range(130):
        rig.password_file.write_text(f"wrong-{number}\n")
        rig.run_for(60)
        if number % 10 == 0:
            rig.restart()
        if number == 59:
            assert len(rig.proxy.logins) == 4
            rig.assert_not_banned()
    assert rig.most_in_an_hour() == 4


def test_a_corrected_password_file_is_picked_up_without_a_restart(rig: Rig) -> None:
    assert rig.run_for(60).state is SyncState.QBITTORRENT_UNAUTHORIZED
    assert len(rig.proxy.logins) == 1
    rig.password_file.write_text(f"{rig.qbittorrent.password}\n")
    outcome = rig.cycle()
    assert outcome.in_sync
    assert outcome.port_bound
    assert outcome.login_note is None
    assert len(rig.proxy.logins) == 2


def test_a_wrong_key_never_logs_in_and_never_bans(rig: Rig) -> None:
    rig.restart(QBITTORRENT_API_KEY="qbt_" + "B" * 28)
    outcome = rig.run_for(HOUR, every=200.0)
    assert outcome.state is SyncState.QBITTORRENT_UNAUTHORIZED
    assert "QBITTORRENT_API_KEY" in outcome.failures[0].fix
    assert rig.proxy.logins == []
    rig.assert_not_banned()


def test_a_temporary_password_that_changed_with_a_restart_of_qbittorrent(rig: Rig) -> None:
    rig.password_file.write_text(rig.qbittorrent.password)
    assert rig.cycle().in_sync
    rig.qbittorrent.stop()
    old = rig.qbittorrent.password
    renamed = RealQbittorrent(
        rig.qbittorrent.version,
        rig.qbittorrent.profile.parent / "renewed",
        Seed(password="made-up-anew", web_port=rig.qbittorrent.port, ban_seconds=BAN_SECONDS),
    )
    with renamed:
        for _ in range(15):
            rig.run_for(120)
            renamed.restart()
        assert rig.cycle().state is SyncState.QBITTORRENT_UNAUTHORIZED
        assert len(rig.proxy.logins) <= 1 + 3
        assert rig.most_in_an_hour() < 5
        rig.password_file.write_text("made-up-anew")
        assert rig.cycle().in_sync
    assert old not in rig.file.path.read_text()


def test_a_ban_in_force_is_waited_out_and_not_made_longer(rig: Rig) -> None:
    ban(rig)
    rig.password_file.write_text(rig.qbittorrent.password)
    outcome = rig.cycle()
    assert outcome.state is SyncState.QBITTORRENT_BANNED
    assert outcome.failures[0].reason is Reason.BANNED
    assert len(rig.proxy.logins) == 1
    for _ in range(59):
        assert rig.run_for(60).state is SyncState.QBITTORRENT_BANNED
    assert len(rig.proxy.logins) == 1
    time.sleep(BAN_SECONDS)
    rig.clock.now += 61
    assert rig.cycle().in_sync
    assert len(rig.proxy.logins) == 2


def test_restarts_of_ours_during_a_ban_do_not_make_it_longer(rig: Rig) -> None:
    ban(rig)
    started = time.monotonic()
    rig.password_file.write_text(rig.qbittorrent.password)
    for _ in range(10):
        rig.restart()
        assert rig.cycle().state is SyncState.QBITTORRENT_BANNED
    assert len(rig.proxy.logins) == 4
    time.sleep(max(0.0, started + BAN_SECONDS + 0.1 - time.monotonic()))
    rig.clock.now += HOUR
    assert rig.cycle().in_sync


def ban(rig: Rig) -> None:
    """Somebody at our address gets it wrong five times."""
    for _ in range(5):
        rig.qbittorrent.password, right = "guessed", rig.qbittorrent.password
        with rig.qbittorrent._signed_in():
            pass
        rig.qbittorrent.password = right


PROXIES: dict[str, Page] = {
    "its own login page": Page(200),
    "401 and a password of its own": Page(401, b"", {"WWW-Authenticate": 'Basic realm="home"'}),
    "403 with a page": Page(403, b"<html>Forbidden</html>"),
    "a redirect to its login": Page(302, b"", {"Location": "http://127.0.0.1:9/login"}),
    "502": Page(502, b"<html>Bad Gateway</html>"),
}


@pytest.mark.parametrize("page", PROXIES.values(), ids=PROXIES.keys())
def test_no_password_is_sent_to_a_proxy_that_answers_for_qbittorrent(rig: Rig, page: Page) -> None:
    rig.password_file.write_text(rig.qbittorrent.password)
    rig.proxy.before = lambda path: page
    outcome = rig.run_for(600)
    assert outcome.state is SyncState.QBITTORRENT_UNREACHABLE
    assert "proxy" in outcome.failures[0].message + outcome.failures[0].fix
    assert rig.proxy.logins == []
    rig.proxy.before = lambda path: None
    assert rig.cycle().in_sync


@pytest.mark.parametrize("page", PROXIES.values(), ids=PROXIES.keys())
@pytest.mark.parametrize("password", ["wrong", "real-password"])
def test_a_proxy_that_hides_the_answer_to_a_login(rig: Rig, page: Page, password: str) -> None:
    """Each try may have counted: qBittorrent got it."""
    rig.password_file.write_text(password)
    rig.proxy.after = lambda path: page if path == LOGIN else None
    for _ in range(8):
        rig.run_for(30, every=10.0)
        rig.restart()
    assert 1 <= len(rig.proxy.logins) <= 4
    assert rig.most_in_an_hour() < 5
    rig.assert_not_banned()
    rig.proxy.after = lambda path: None
    rig.password_file.write_text("real-password")
    rig.clock.now += HOUR
    assert rig.cycle().in_sync


def test_a_connection_that_breaks_at_each_login(rig: Rig) -> None:
    def cut(path: str) -> Page | None:
        if path == LOGIN:
            raise CutOff
        return None

    rig.proxy.after = cut
    for _ in range(8):
        rig.run_for(30, every=10.0)
        rig.restart()
    assert len(rig.proxy.logins) == 4
    rig.assert_not_banned()


def test_a_proxy_that_loses_the_session_does_not_use_up_qbittorrents_sessions(rig: Rig) -> None:
    """From 5.3 on there are 15, and the users' own would end."""
    rig.password_file.write_text(rig.qbittorrent.password)
    page = Page(204, b"", {}) if rig.qbittorrent.version == "5.3.0" else Page(200, b"Ok.", {})
    rig.proxy.after = lambda path: page if path == LOGIN else None
    outcome = rig.run_for(HOUR - 60, every=300.0)
    assert outcome.state is not SyncState.IN_SYNC
    assert len(rig.proxy.logins) == 4
    rig.proxy.after = lambda path: None
    rig.clock.now += HOUR
    assert rig.cycle().in_sync


def test_everything_at_once(rig: Rig) -> None:
    """Hours of changing passwords, proxies and restarts of both; no luck of order helps."""
    passwords: Iterator[str] = itertools.cycle(["wrong", "other", "wrong", "", "third"])
    pages: Iterator[Callable[[str], Page | None]] = itertools.cycle(
        [lambda _: None, lambda path: Page(401) if path == LOGIN else None, lambda _: None]
    )
    for number in range(40):
        rig.password_file.write_text(next(passwords))
        rig.proxy.after = next(pages)
        rig.run_for(300, every=150.0)
        if number % 2:
            rig.restart()
        if number % 5 == 0:
            rig.qbittorrent.restart()
    assert rig.most_in_an_hour() < 5


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
    environ = rig.environ() | {"REQUEST_TIMEOUT": "60"}
    for tries in range(1, 6):
        with QstickyProcess(environ, tmp_path) as daemon:
            if tries == 5:
                assert "rejected" not in daemon.wait_for("so as not to be banned")
            else:
                wait_until(lambda n=tries: len(rig.proxy.logins) == n, "a login hangs")  # type: ignore[misc]
            daemon.stop(number)
    ended.set()
    assert len(rig.proxy.logins) == 4
    rig.assert_not_banned()
