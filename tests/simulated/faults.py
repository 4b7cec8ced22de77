"""What can go wrong with each operation, and how to make it go wrong on simulated servers."""

from __future__ import annotations

import contextlib
import datetime
import errno
import functools
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from exporter.model import Operation, Outcome
from exporter.report import status_file as health
from exporter.simulator.world import AnyFault, Fault, RedirectAway, SimulatedServer, Status
from tests.rig import Rig

ELSEWHERE = "http://127.0.0.1:9/"
"""Nobody listens there; what is asked of it would show as another failure."""


@dataclass(frozen=True)
class Step:
    """An operation, the requests that it consists of, and how the daemon comes to it."""

    title: str
    operation: Operation
    paths: tuple[str, ...]
    prepare: Callable[[Rig], None]
    server: str


def in_sync(rig: Rig) -> None:
    """A tunnel that has been in sync."""
    assert rig.next_check().in_sync
    assert rig.next_check().in_sync


def without_session(rig: Rig) -> None:
    """qBittorrent was restarted: a login is needed."""
    in_sync(rig)
    rig.qbittorrent.restart()


def with_another_port(rig: Rig) -> None:
    """Gluetun forwards another port: it has to be set."""
    in_sync(rig)
    rig.gluetun.forwarded_ports = [50001]


GLUETUN, QBITTORRENT = "Gluetun", "qBittorrent"
_PORT_PATHS = ("/v1/portforward", "/v1/openvpn/portforwarded")
STEPS = (
    Step("reading the forwarded port", Operation.GLUETUN_PORT, _PORT_PATHS, in_sync, GLUETUN),
    Step(
        "reading the VPN status",
        Operation.GLUETUN_STATUS,
        ("/v1/vpn/status",),
        in_sync,
        GLUETUN,
    ),
    Step(
        "reading the public address",
        Operation.GLUETUN_PUBLIC_IP,
        ("/v1/publicip/ip",),
        in_sync,
        GLUETUN,
    ),
    Step(
        "asking whether a login is needed",
        Operation.QBITTORRENT_LOGIN,
        ("/api/v2/app/version",),
        without_session,
        QBITTORRENT,
    ),
    Step(
        "logging in",
        Operation.QBITTORRENT_LOGIN,
        ("/api/v2/auth/login",),
        without_session,
        QBITTORRENT,
    ),
    Step(
        "reading the listening port",
        Operation.QBITTORRENT_PREFERENCES,
        ("/api/v2/app/preferences",),
        in_sync,
        QBITTORRENT,
    ),
    Step(
        "reading the connection status",
        Operation.QBITTORRENT_TRANSFER,
        ("/api/v2/transfer/info",),
        in_sync,
        QBITTORRENT,
    ),
    Step(
        "reading the log",
        Operation.QBITTORRENT_LOG,
        ("/api/v2/log/main",),
        in_sync,
        QBITTORRENT,
    ),
    Step(
        "setting the port",
        Operation.QBITTORRENT_SET_PORT,
        ("/api/v2/app/setPreferences",),
        with_another_port,
        QBITTORRENT,
    ),
)

ANSWERS: dict[str, AnyFault] = {
    "reset": Fault.RESET,
    "answer lost": Fault.LOST,
    "hang": Fault.HANG,
    "slow drip": Fault.SLOW,
    "cut body": Fault.CUT,
    "wrong length": Fault.WRONG_LENGTH,
    "status 400": Status(400),
    "status 401": Status(401),
    "status 403": Status(403),
    "status 404": Status(404),
    "status 500": Status(500),
    "status 502": Status(502, "<html>Bad Gateway</html>"),
    "redirect loop": Fault.REDIRECT_LOOP,
    "redirect to another host": RedirectAway(ELSEWHERE),
    "HTML": Fault.HTML,
    "wrong JSON type": Fault.WRONG_TYPE,
    "deep JSON": Fault.DEEP_JSON,
    "50 MB": Fault.HUGE,
    "endless body": Fault.ENDLESS,
    "bad UTF-8": Fault.GARBAGE,
    "bad gzip": Fault.BAD_GZIP,
}
SLOW = ("hang", "slow drip", "no HTTPS")
"""They last until the time limit, so it is made short for them."""
SHORT_SECONDS = 0.4
HARMLESS = {
    ("setting the port", "cut body"),
    ("setting the port", "wrong length"),
    ("setting the port", "wrong JSON type"),
    ("asking whether a login is needed", "wrong length"),
}
"""An empty answer can't be spoiled so; the status alone is looked at."""


@dataclass(frozen=True)
class Scene:
    """A fault at a step, and how to make it happen; `undo` runs when it is over."""

    step: str
    fault: str
    operation: Operation | None
    rig: Callable[[Path], Rig]
    prepare: Callable[[Rig], None]
    strike: Callable[[Rig, pytest.MonkeyPatch], None]
    undo: Callable[[Rig], None]

    @property
    def name(self) -> str:
        return f"{self.step}: {self.fault}"


def scenes() -> Iterator[Scene]:
    """The whole table, in the order of docs/faults.md."""
    for step in STEPS:
        if step.title in ("reading the forwarded port", "reading the listening port"):
            yield from _server_scenes(step)
        for name, fault in ANSWERS.items():
            if (step.title, name) in HARMLESS:
                continue
            yield Scene(
                step.title,
                name,
                step.operation,
                functools.partial(_rig, name),
                step.prepare,
                lambda rig, _, step=step, fault=fault: _fail(rig, step, fault),  # type: ignore[misc]
                _heal,
            )
        if step.title == "reading the listening port":
            yield _scene(step.title, "expired session", None, _end_sessions)
    yield from _status_file_scenes()
    yield from _clock_scenes()


def _rig(fault: str, folder: Path, **environ: str) -> Rig:
    limit = f"{SHORT_SECONDS:g}" if fault in SLOW else "10"
    return Rig(folder, environ={"REQUEST_TIMEOUT": limit, **environ})


def _scene(
    step: str,
    fault: str,
    operation: Operation | None,
    strike: Callable[[Rig, pytest.MonkeyPatch], None],
) -> Scene:
    return Scene(step, fault, operation, Rig, in_sync, strike, _heal)


def _fail(rig: Rig, step: Step, fault: AnyFault) -> None:
    server = server_of(rig, step.server)
    for path in step.paths:
        server.fail(path, fault)


def server_of(rig: Rig, name: str) -> SimulatedServer:
    return rig.gluetun if name == GLUETUN else rig.qbittorrent


def _heal(rig: Rig) -> None:
    for server in (rig.gluetun, rig.qbittorrent):
        server.heal()


def _end_sessions(rig: Rig, _: pytest.MonkeyPatch) -> None:
    rig.qbittorrent.end_sessions()


# a server as a whole: no connection, no name, no certificate


def _server_scenes(step: Step) -> Iterator[Scene]:
    name = step.server
    yield Scene(
        step.title,
        "refused",
        step.operation,
        Rig,
        step.prepare,
        lambda rig, _: server_of(rig, name).fail(None, Fault.REFUSE),
        _heal,
    )
    yield Scene(
        step.title,
        "DNS failure",
        step.operation,
        lambda folder: Rig(folder, environ={f"{name.upper()}_HOST": "localhost"}),
        step.prepare,
        lambda rig, patch: _forget_names(rig, name, patch),
        _heal,
    )
    for fault in ("expired certificate", "wrong host certificate", "unknown authority", "no HTTPS"):
        yield Scene(
            step.title,
            fault,
            step.operation,
            functools.partial(_https_rig, name, fault),
            step.prepare,
            lambda rig, _, fault=fault: _present(rig, name, _certificate(fault)),  # type: ignore[misc]
            lambda rig: _present(rig, name, _certificate("right")),
        )


def _forget_names(rig: Rig, name: str, patch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(host: str, *_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    patch.setattr(socket, "getaddrinfo", getaddrinfo)
    _drop_connections(server_of(rig, name))


AUTHORITY, STRANGER = trustme.CA(), trustme.CA()


def _certificate(fault: str) -> ssl.SSLContext | None:
    if fault == "no HTTPS":
        return None
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    host = "other.example" if fault == "wrong host certificate" else "127.0.0.1"
    authority = STRANGER if fault == "unknown authority" else AUTHORITY
    expires = {"not_before": past, "not_after": past} if fault == "expired certificate" else {}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host, **expires).configure_cert(context)  # type: ignore[arg-type]
    return context


def _https_rig(name: str, fault: str, folder: Path) -> Rig:
    authority = folder / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(str(authority))
    variable = name.upper()
    https = {f"{variable}_HTTPS": "true", f"{variable}_CA_FILE": str(authority)}
    rig = _rig(fault, folder, **https)
    server_of(rig, name)._context = _certificate("right")
    return rig


def _present(rig: Rig, name: str, context: ssl.SSLContext | None) -> None:
    server = server_of(rig, name)
    server._context = context
    _drop_connections(server)


def _drop_connections(server: SimulatedServer) -> None:
    with server._lock:
        server._drop_connections()


# the disk


def _status_file_scenes() -> Iterator[Scene]:
    title, operation = "writing status.json", Operation.STATUS_FILE
    yield _scene(title, "read-only disk", operation, _read_only_disk)
    yield _scene(title, "full disk", operation, _full_disk)
    yield Scene(
        title, "a file in place of the folder", operation, Rig, in_sync, _no_folder, _folder_back
    )


def _read_only_disk(rig: Rig, patch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, flags: int) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    patch.setattr(health, "_open_own_file", refuse)


def _full_disk(rig: Rig, patch: pytest.MonkeyPatch) -> None:
    """The kernel's own full device."""
    patch.setattr(health, "_open_own_file", lambda *_: os.open("/dev/full", os.O_WRONLY))
    patch.setattr(os, "fchmod", lambda *_: None)  # the device is everybody's


def _no_folder(rig: Rig, _: pytest.MonkeyPatch) -> None:
    folder = rig.path.parent
    rig.path.unlink()
    folder.rmdir()
    folder.write_text("")


def _folder_back(rig: Rig) -> None:
    with contextlib.suppress(IsADirectoryError, PermissionError):
        rig.path.parent.unlink()


# the clock


def _clock_scenes() -> Iterator[Scene]:
    yield _scene("telling the time", "clock forward", None, _set_clock(3600.0))
    yield _scene("telling the time", "clock back", None, _set_clock(-3600.0))
    yield _scene("telling the time", "end of daylight saving", None, _end_of_summer)


def _set_clock(step: float) -> Callable[[Rig, pytest.MonkeyPatch], None]:
    def strike(rig: Rig, _: pytest.MonkeyPatch) -> None:
        rig.clock.offset += step

    return strike


def _end_of_summer(rig: Rig, patch: pytest.MonkeyPatch) -> None:
    """In Amsterdam local time is about to go back from 3:00 to 2:00."""
    patch.setenv("TZ", "Europe/Amsterdam")
    time.tzset()
    change = datetime.datetime(2026, 10, 25, 0, 59, 50, tzinfo=datetime.UTC).timestamp()
    rig.clock.set_wall(change)
    rig.publisher.beat()  # being there is not what is tried here
    rig.lines()


# what came of it


@dataclass(frozen=True)
class Result:
    """A row of docs/faults.md."""

    step: str
    fault: str
    state: str
    reason: str
    said: tuple[tuple[str, str], ...]
    next_check_seconds: float
    writes: tuple[int, ...]
    said_again: tuple[tuple[str, str], ...]
    back_after_seconds: float
    shown_state: str
    stored_state: str
    outcome: Outcome


def play(scene: Scene, folder: Path, patch: pytest.MonkeyPatch) -> Result:
    """Let the fault happen, look at everything, and let it end."""
    folder = folder / "state"
    folder.mkdir()
    with scene.rig(folder) as rig:
        scene.prepare(rig)
        rig.lines()
        writes = len(rig.qbittorrent.writes)
        before = failures(rig)
        with patch.context() as patched:
            scene.strike(rig, patched)
            outcome = rig.next_check()
            said = _neutral(rig, rig.lines())
            counted = sorted(key for key, value in failures(rig).items() if value > before[key])
            shown, stored = str(rig.shown_state()), _stored_state(rig)
            written = tuple(rig.qbittorrent.writes[writes:])
            rig.next_check()
            said_again = _neutral(rig, rig.lines())
        time.tzset()
        scene.undo(rig)
        return Result(
            step=scene.step,
            fault=scene.fault,
            state=str(outcome.state),
            reason=", ".join(f"{operation}: {reason}" for operation, reason in counted),
            said=said,
            next_check_seconds=round(outcome.next_check_seconds, 1),
            writes=written,
            said_again=said_again,
            back_after_seconds=_seconds_until_well(rig),
            shown_state=shown,
            stored_state=stored,
            outcome=outcome,
        )


def failures(rig: Rig) -> dict[tuple[str, str], float]:
    """How often each operation failed for each reason, as Prometheus sees it."""
    return {
        (sample.labels["operation"], sample.labels["reason"]): sample.value
        for family in rig.metrics.registry.collect()
        if family.name == "qsticky_operation_failures"
        for sample in family.samples
        if sample.name.endswith("_total")
    }


def _stored_state(rig: Rig) -> str:
    try:
        return str(rig.status["state"])
    except OSError:
        return ""


def _neutral(rig: Rig, lines: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """What differs from run to run gets the value that it has for most users."""
    words = {
        f"{rig.gluetun.host}:{rig.gluetun.port}": "gluetun:8000",
        f"localhost:{rig.gluetun.port}": "gluetun:8000",
        f"{rig.qbittorrent.host}:{rig.qbittorrent.port}": "gluetun:8080",
        f"localhost:{rig.qbittorrent.port}": "gluetun:8080",
        "'localhost'": "'gluetun'",
        "'127.0.0.1'": "'gluetun'",
        f"within {SHORT_SECONDS:g} s": "within 5 s",
        str(rig.path): "/app/health/status.json",
    }

    def neutral(message: str) -> str:
        for found, put in words.items():
            message = message.replace(found, put)
        return message

    return tuple((level, neutral(message)) for level, message in lines)


def _seconds_until_well(rig: Rig) -> float:
    """How long it takes from the end of the fault until all is well and status.json says so."""
    ended = rig.clock.now
    while rig.clock.now < ended + 7200:
        if rig.next_check().in_sync and rig.status["state"] == "in_sync":
            return round(rig.clock.now - ended)
    raise AssertionError("not in sync within two hours")
