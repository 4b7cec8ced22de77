"""Every error as the log tells it: what, where and what to do, with no need to know Python."""

import io
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exporter import errors
from exporter.config.load import load_config
from exporter.daemon.publisher import Publisher
from exporter.model import Outcome, Saved
from exporter.report import log
from exporter.report.log import LogReader, logger
from exporter.report.status_file import StatusFile
from exporter.simulator.world import (
    Fault,
    RedirectAway,
    Role,
    SimulatedGluetun,
    SimulatedQbittorrent,
    Status,
)
from exporter.tunnel.tunnel import Tunnel
from tests.conftest import Certificate
from tests.fakes import FakeClock

CANARIES = {
    "GLUETUN_APIKEY": "canary-gluetun-key",
    "QBITTORRENT_PASS": "canary-password",
}
WRONG_KEY = "qbt_" + "canary" * 4 + "AAAA"


class Bench:
    """A tunnel, its log as text, and the kinds of errors that were made on the way."""

    def __init__(self, folder: Path, certificate: Certificate) -> None:
        self.certificate = certificate
        self.clock = FakeClock()
        self.folder = folder
        self.role = Role(auth="apikey", apikey=CANARIES["GLUETUN_APIKEY"])
        self.gluetun = SimulatedGluetun("3.41", role=self.role, clock=self.clock.monotonic)
        self.qbittorrent = SimulatedQbittorrent(
            "5.1.0", password=CANARIES["QBITTORRENT_PASS"], clock=self.clock.monotonic
        )
        self.text = io.StringIO()
        self.environ = {
            "GLUETUN_HOST": self.gluetun.host,
            "GLUETUN_PORT": str(self.gluetun.port),
            "QBITTORRENT_HOST": self.qbittorrent.host,
            "QBITTORRENT_PORT": str(self.qbittorrent.port),
            "REQUEST_TIMEOUT": "0.3",
            "HEALTH_FILE": str(folder / "status.json"),
        } | CANARIES
        self.outcome: Outcome | None = None

    def run(self, *pauses: float, **more: str) -> None:
        """Look once, and after each pause again."""
        settings = load_config(self.environ | more)
        remembered = Saved(logins=self.outcome.login_note) if self.outcome else None
        tunnel = Tunnel(settings.tunnels[0], self.clock, remembered)
        file = StatusFile(settings.health_file, "2.0.0", self.clock.wall(), 30.0)
        publisher = Publisher(file, [LogReader(several_tunnels=False)], self.clock)
        for pause in (0.0, *pauses):
            self.clock.now += pause
            self.outcome = tunnel.check()
            publisher.publish(self.outcome)
        tunnel.close()

    @property
    def warnings(self) -> list[str]:
        """The lines that somebody has to read."""
        lines = self.text.getvalue().splitlines()
        return [line for line in lines if re.search(" - (WARNING|ERROR|CRITICAL) - ", line)]


@pytest.fixture
def bench(tmp_path: Path, certificate: Certificate) -> Iterator[Bench]:
    bench = Bench(tmp_path, certificate)
    before = (logger.handlers, logger.level, logger.propagate)
    log.set_up("DEBUG", "text", bench.text)
    with bench.gluetun, bench.qbittorrent:
        yield bench
    logger.handlers, _, logger.propagate = before
    logger.setLevel(before[1])


def _gluetun_away(bench: Bench) -> None:
    bench.gluetun.stop()
    bench.run()


def _unknown_name(bench: Bench) -> None:
    bench.run(GLUETUN_HOST="nosuchhost.invalid")


def _qbittorrent_away(bench: Bench) -> None:
    bench.qbittorrent.stop()
    bench.run()


def _hangs(bench: Bench) -> None:
    bench.qbittorrent.fail(None, Fault.HANG)
    bench.run()


def _no_https(bench: Bench) -> None:
    bench.run(GLUETUN_HTTPS="true")


def _untrusted(bench: Bench) -> None:
    files = (bench.certificate.file, bench.certificate.key)
    with SimulatedQbittorrent(tls=files) as qbittorrent:
        bench.run(
            QBITTORRENT_PORT=str(qbittorrent.port),
            QBITTORRENT_HTTPS="true",
            QBITTORRENT_VERIFY_SSL="true",
        )


def _no_role(bench: Bench) -> None:
    role = Role(auth="apikey", apikey=bench.role.apikey, routes=["GET /v1/vpn/status"])
    with SimulatedGluetun("3.41", role=role) as gluetun:
        bench.run(GLUETUN_PORT=str(gluetun.port))


def _no_gluetun(bench: Bench) -> None:
    bench.run(GLUETUN_PORT=str(bench.qbittorrent.port))


def _may_not_restart(bench: Bench) -> None:
    routes = ["GET /v1/vpn/status", "GET /v1/portforward"]
    role = Role(auth="apikey", apikey=bench.role.apikey, routes=routes)
    with SimulatedGluetun("3.41", role=role, forwarded_port=0) as gluetun:
        bench.run(601, 1, GLUETUN_PORT=str(gluetun.port), RESTART_VPN_AFTER="300")


def _wrong_api_key(bench: Bench) -> None:
    bench.run(QBITTORRENT_API_KEY=WRONG_KEY)


def _wrong_password(bench: Bench) -> None:
    bench.qbittorrent.set_password("another-canary")
    bench.run()


def _suspended(bench: Bench) -> None:
    _wrong_password(bench)
    bench.run(60)


def _suspended_by_a_proxy(bench: Bench) -> None:
    bench.qbittorrent.fail("/api/v2/auth/login", Status(502, "<html>canary</html>"))
    bench.run(1, 1, 1, 1, 1)
    bench.run(1)


def _banned(bench: Bench) -> None:
    bench.qbittorrent.fail("/api/v2/auth/login", Status(403, "banned"))
    bench.run()


def _ban_goes_on(bench: Bench) -> None:
    _banned(bench)
    bench.run(60)


def _session_lost(bench: Bench) -> None:
    bench.qbittorrent.fail("/api/v2/app/preferences", Status(403, "Forbidden"))
    bench.run()


def _secure_cookie(bench: Bench) -> None:
    with SimulatedQbittorrent(
        secure_cookie=True, password=CANARIES["QBITTORRENT_PASS"], clock=bench.clock.monotonic
    ) as qbittorrent:
        bench.run(QBITTORRENT_PORT=str(qbittorrent.port))


def _host_header(bench: Bench) -> None:
    bench.qbittorrent.fail(None, Status(401, "Unauthorized"))
    bench.run()


def _proxy_page(bench: Bench) -> None:
    bench.qbittorrent.fail(None, Status(200, "<html>canary</html>"))
    bench.run()


def _redirect(bench: Bench) -> None:
    bench.gluetun.fail(None, RedirectAway("http://127.0.0.1:9/canary"))
    bench.run()


def _server_error(bench: Bench) -> None:
    bench.gluetun.fail(None, Status(500, "canary"))
    bench.run()


def _port_out_of_range(bench: Bench) -> None:
    bench.gluetun.forwarded_ports = [80]
    bench.run()


def _port_index(bench: Bench) -> None:
    bench.run(GLUETUN_PORT_INDEX="3")


def _nonsense(bench: Bench) -> None:
    for path in ("/v1/portforward", "/v1/vpn/status", "/v1/publicip/ip"):
        bench.gluetun.fail(path, Fault.WRONG_TYPE)
    bench.run()


def _nonsense_beside(bench: Bench) -> None:
    for path in ("/v1/vpn/status", "/v1/publicip/ip"):
        bench.gluetun.fail(path, Fault.DEEP_JSON)
    for path in ("/api/v2/transfer/info", "/api/v2/log/main"):
        bench.qbittorrent.fail(path, Fault.WRONG_TYPE, times=1)
    bench.run()


def _no_preferences(bench: Bench) -> None:
    bench.qbittorrent.fail("/api/v2/app/preferences", Fault.WRONG_TYPE)
    bench.run()


def _cut(bench: Bench) -> None:
    bench.gluetun.fail(None, Fault.CUT)
    bench.run()


def _too_much(bench: Bench) -> None:
    bench.gluetun.fail(None, Fault.HUGE)
    bench.run(REQUEST_TIMEOUT="5")


def _does_not_stick(bench: Bench) -> None:
    bench.qbittorrent.fail("/api/v2/app/setPreferences", Status(200))
    bench.run()


def _occupied(bench: Bench) -> None:
    bench.qbittorrent.occupied.add(45720)
    bench.run()


def _drifted(bench: Bench) -> None:
    bench.run()
    tunnel = Tunnel(load_config(bench.environ).tunnels[0], bench.clock)
    for port in (45720, 6881):
        bench.qbittorrent.listening_port = port
        LogReader(several_tunnels=False).publish(tunnel.check())
    tunnel.close()


def _no_port_for_long(bench: Bench) -> None:
    bench.gluetun.forwarded_ports = []
    bench.run(601)


def _vpn_down_for_long(bench: Bench) -> None:
    bench.gluetun.vpn_status = "crashed"
    bench.run(601)


def _unwritable(bench: Bench) -> None:
    (bench.folder / "file").write_text("")
    bench.run(HEALTH_FILE=str(bench.folder / "file" / "status.json"))


def _refused_announcement(bench: Bench) -> None:
    bench.qbittorrent.fail("/api/v2/torrents/reannounce", Status(500))
    bench.run(REANNOUNCE_AFTER_CHANGE="true")


Scene = Callable[[Bench], None]
SCENES: dict[Scene, type[errors.QstickyError] | None] = {
    _gluetun_away: errors.Unreachable,
    _unknown_name: errors.Unreachable,
    _qbittorrent_away: errors.Unreachable,
    _hangs: errors.TimedOut,
    _no_https: errors.TimedOut,
    _untrusted: errors.TlsFailed,
    _no_role: errors.Unauthorized,
    _no_gluetun: errors.HttpError,
    _may_not_restart: errors.Unauthorized,
    _wrong_api_key: errors.Unauthorized,
    _wrong_password: errors.LoginRejected,
    _suspended: errors.LoginSuspended,
    _suspended_by_a_proxy: errors.LoginSuspended,
    _banned: errors.Banned,
    _ban_goes_on: errors.LoginSuspended,
    _session_lost: errors.SessionExpired,
    _secure_cookie: errors.SessionExpired,
    _host_header: errors.ForbiddenHost,
    _proxy_page: errors.InvalidResponse,
    _redirect: errors.HttpError,
    _server_error: errors.HttpError,
    _port_out_of_range: errors.InvalidResponse,
    _port_index: errors.InvalidResponse,
    _nonsense: errors.InvalidResponse,
    _nonsense_beside: errors.InvalidResponse,
    _no_preferences: errors.InvalidResponse,
    _cut: errors.InvalidResponse,
    _too_much: errors.InvalidResponse,
    _does_not_stick: errors.VerifyMismatch,
    _occupied: errors.BindFailed,
    _drifted: None,
    _no_port_for_long: None,
    _vpn_down_for_long: None,
    _unwritable: errors.StatusFileError,
    _refused_announcement: errors.HttpError,
}
"""What goes wrong, and the error that it is about."""


def made_errors(monkeypatch: pytest.MonkeyPatch) -> set[type[errors.QstickyError]]:
    """The kinds of errors that are made from now on."""
    made: set[type[errors.QstickyError]] = set()
    make = errors.QstickyError.__init__

    def note(self: errors.QstickyError, message: str, fix: str | None = None) -> None:
        made.add(type(self))
        make(self, message, fix)

    monkeypatch.setattr(errors.QstickyError, "__init__", note)
    return made


def subclasses(kind: type[errors.QstickyError]) -> set[type[errors.QstickyError]]:
    return {kind}.union(*(subclasses(each) for each in kind.__subclasses__()))


def test_every_error_of_the_servers_is_read_here() -> None:
    told = {kind for kind in SCENES.values() if kind is not None}
    ours = {kind for kind in subclasses(errors.ServerError) if kind.__module__ == errors.__name__}
    assert ours - told == {errors.ServerError}


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__.strip("_"))
def test_a_line_says_what_where_and_what_to_do(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, scene: Scene
) -> None:
    made = made_errors(monkeypatch)
    scene(bench)
    expected = SCENES[scene]
    assert expected is None or expected in made
    assert bench.warnings
    for line in bench.warnings:
        assert_reads_well(line)
    assert "canary" not in bench.text.getvalue()


_PYTHON = re.compile(
    r"Traceback|Errno|[a-z]Error\b|[a-z]Exception\b|\bNone\b|\bTrue\b|\bFalse\b|0x[0-9a-f]{6}"
    r"|HTTPConnectionPool|Max retries|urllib3|requests\.|exporter\."
)
_CLASS_NAMES = re.compile(
    r"\b("
    + "|".join(
        kind.__name__
        for kind in subclasses(errors.QstickyError)
        if kind not in (errors.Banned, errors.Unauthorized)  # words, too
    )
    + r")\b"
)


def assert_reads_well(line: str) -> None:
    """As a user would judge it."""
    _, _, _, said = line.split(" - ", 3)
    message, dash, fix = said.partition(" - ")
    assert dash, f"nothing to do: {said}"
    assert len(fix) > 20, f"hardly anything to do: {said}"
    assert re.search(r"Gluetun|qBittorrent|The VPN|status file", message), f"where? {said}"
    assert message[0].isupper() or message.startswith(("qBittorrent", "can't", "a ", "the ")), said
    assert not said.rstrip().endswith((".", ":", ",")), said
    assert len(said) < 450, f"too long: {said}"
    assert not _PYTHON.search(said), said
    assert not _CLASS_NAMES.search(said), said
    assert "  " not in said
    assert "<" not in said


@pytest.mark.parametrize(
    "scene",
    [scene for scene, kind in SCENES.items() if kind and issubclass(kind, errors.ServerError)],
    ids=lambda scene: scene.__name__.strip("_"),
)
def test_a_server_is_named_with_its_address(bench: Bench, scene: Scene) -> None:
    scene(bench)
    assert bench.outcome is not None
    assert bench.outcome.failures
    for failure in bench.outcome.failures:
        assert re.search(r"(Gluetun|qBittorrent) at [\w.]+:\d+", failure.message), failure.message


def test_nothing_at_all_is_said_at_these_levels_while_all_is_well(bench: Bench) -> None:
    bench.run(30, 30)
    assert bench.warnings == []
    assert logging.getLevelName(logger.level) == "DEBUG"
