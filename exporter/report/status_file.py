"""status.json: written after every cycle, read at the start and by `healthcheck`.

The keys that older readers know stay at the top; `tunnels` holds the same facts for each tunnel,
and what has to survive a restart.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from exporter.clock import Clock
from exporter.errors import StatusFileError
from exporter.healthcheck import LARGEST_FILE_BYTES, NOT_OURS, STALE_AFTER_SECONDS
from exporter.model import (
    FEW_TUNNELS,
    HIGHEST_PORT,
    LOWEST_PORT,
    NO_PORT,
    LoginNote,
    Outcome,
    Reason,
    Remembered,
    VpnNote,
)


class StatusFile:
    """Writes the file: the last outcome of each tunnel, and whether all are healthy."""

    def __init__(  # noqa: PLR0913  # two of them have defaults that nearly everybody wants
        self,
        path: Path,
        version: str,
        started_at: float,
        interval: float,
        clock: Clock | None = None,
        *,
        daemon: bool = True,
    ) -> None:
        """`clock` tells when the system clock is set, so that it changes no age and no uptime.

        `daemon` tells readers whether somebody goes on writing the file.
        """
        self.path = path
        self._daemon = daemon
        self._version = version
        self._started_at = started_at
        self._interval = interval
        self._clock = clock or Clock()
        self._offset = self._clock.difference()
        self._known: dict[str, tuple[Outcome, dict[str, Any], float]] = {}
        """The last outcome of each tunnel, its facts (making those takes longest), and how far
        the clocks were apart then."""
        self._writing = threading.Lock()

    def publish(self, outcome: Outcome) -> None:
        """Take in the outcome of a cycle."""
        self._known[outcome.tunnel] = (outcome, _facts(outcome), self._clock.difference())

    def forget(self, tunnel: str) -> None:
        """Drop a tunnel that is no longer configured."""
        self._known.pop(tunnel, None)

    def remembered(self, tunnel: str) -> Remembered | None:
        """What survives when a tunnel is set up anew, as it would over a restart."""
        known = self._known.get(tunnel)
        return _remembered(known[1]) if known else None

    def note_login(self, tunnel: str, note: LoginNote, now: float) -> None:
        """Have a login in the file before it is tried: killed or not, we can't forget it.

        From any thread. A thousand tunnels do so only after a login that failed. Where the file
        can't be written, its next writer says so.
        """
        known = self._known.get(tunnel)
        if known is None or (len(self._known) > FEW_TUNNELS and len(note.attempts_at) == 1):
            return
        outcome, facts, offset = known
        self._known[tunnel] = (outcome, facts | {"login": asdict(note)}, offset)
        with contextlib.suppress(StatusFileError):
            self.write(now)

    def document(self, now: float, *, stopped: bool = False) -> dict[str, Any]:
        """Build the file's content as of `now` (Unix seconds)."""
        known = list(self._known.values())
        outcomes = [outcome for outcome, _, _ in known]
        step_since = self._clock.step_since
        tunnels = {
            o.tunnel: {"healthy": o.is_healthy(now - step_since(offset)), **facts}
            for o, facts, offset in known
        }
        healthy = bool(tunnels) and all(facts["healthy"] for facts in tunnels.values())
        first = _worst(outcomes)
        uptime = max(0.0, now - step_since(self._offset) - self._started_at)
        return {
            "healthy": not stopped and healthy,
            "state": "stopped" if stopped else first.state if first else "starting",
            "current_port": first.forwarded_port or None if first else None,
            "last_error": _last_error(first) if first else None,
            "uptime": str(timedelta(seconds=int(uptime))),
            "uptime_seconds": round(uptime, 3),
            "last_check": _latest(o.finished_at for o in outcomes if o.operations),
            "last_port_change": _latest(o.last_port_change_at for o in outcomes),
            "timestamp": _iso(now),
            "services": {
                "gluetun": {
                    "connected": bool(outcomes) and all(o.gluetun_up for o in outcomes),
                    "port": first.forwarded_port or None if first else None,
                },
                "qbittorrent": {
                    "connected": bool(outcomes) and all(o.qbittorrent_up for o in outcomes),
                    "port_synced": bool(outcomes) and all(o.in_sync for o in outcomes),
                },
            },
            "tunnels": tunnels,
            "interval_seconds": self._interval,
            "daemon": self._daemon and not stopped,
            "version": self._version,
        }

    def public_document(self, now: float) -> dict[str, Any]:
        """The same for everybody on the network: without what tells a password from another."""
        document = self.document(now)
        for facts in document["tunnels"].values():
            if login := facts["login"]:
                facts["login"] = {k: v for k, v in login.items() if k != "fingerprint"}
        return document

    def write(self, now: float, *, stopped: bool = False) -> None:
        """Replace the file in one step, mode 0644; raises StatusFileError."""
        with self._writing:
            self._replace(_rendered(self.document(now, stopped=stopped)))

    def _replace(self, content: bytes) -> None:
        # `qsticky once` may write at the same time as the daemon: each has a file of its own
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.new")
        try:
            with _created(temporary) as file:
                os.fchmod(file.fileno(), 0o644)
                file.write(content)
            temporary.replace(self.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise StatusFileError(
                f"can't write the status file {self.path}: {error.strerror or error}",
                _FIXES.get(error.errno or 0),
            ) from error


_FIXES = {
    errno.ENOSPC: "free some space on that disk; qSticky goes on without the file meanwhile",
    errno.EDQUOT: "free some space on that disk; qSticky goes on without the file meanwhile",
    errno.EROFS: "mount that folder writable, as a volume or tmpfs, or name another HEALTH_FILE",
}


def _rendered(document: Mapping[str, Any]) -> bytes:
    """JSON with a line for each fact and each tunnel; Python's own indentation takes long."""
    texts = {key: json.dumps(value) for key, value in document.items() if key != "tunnels"}
    tunnels = {name: json.dumps(facts) for name, facts in document["tunnels"].items()}
    members = {key: texts.get(key) or _object(tunnels, "  ") for key in document}
    return _object(members, "").encode() + b"\n"


def _object(members: Mapping[str, str], indent: str) -> str:
    lines = [f"{indent}  {json.dumps(name)}: {text}" for name, text in members.items()]
    return "\n".join(["{", ",\n".join(lines), indent + "}"])


def _created(path: Path) -> BinaryIO:
    """An empty file, and its folder where that is missing."""
    try:
        return open(path, "wb", opener=_open_own_file)  # Path.open has no opener
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return open(path, "wb", opener=_open_own_file)


def _open_own_file(path: str, flags: int) -> int:
    """Open without following a link that somebody else may have put there."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o644)


def remembered(path: Path) -> dict[str, Remembered]:
    """Read what has to survive a restart, by tunnel; nothing where there is no file.

    A file that is damaged or not ours is renamed to `<name>.damaged`, never fatal; raises
    StatusFileError with the new name then, so that it can be said.
    """
    try:
        return peek(path)[1]
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StatusFileError(
            f"can't read the status file {path}: {error.strerror or error}"
        ) from error
    except NOT_OURS:
        aside = path.with_name(path.name + ".damaged")
        raise StatusFileError(
            f"the status file {path} can't be understood; it is set aside as {aside.name}"
            if _set_aside(path, aside)
            else f"the status file {path} can't be understood",
            "nothing to do: a new one is written",
        ) from None


def peek(path: Path) -> tuple[dict[str, Any], dict[str, Remembered]]:
    """Read the file as it is, and what it remembers; raises OSError or one of NOT_OURS."""
    document = _read(path)
    document["healthy"]  # in every status file, the older ones too
    tunnels = document.get("tunnels", {})
    return document, {name: _remembered(facts) for name, facts in tunnels.items()}


def is_kept_up(path: Path, document: Mapping[str, Any], now: float) -> bool:
    """Whether the daemon that writes the file is running; raises OSError or one of NOT_OURS."""
    age = now - path.stat().st_mtime
    fresh = age <= 3 * float(document["interval_seconds"]) + STALE_AFTER_SECONDS
    return fresh and document["state"] != "stopped" and document.get("daemon") is not False


def _read(path: Path) -> Any:
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE_BYTES + 1)
    if len(content) > LARGEST_FILE_BYTES:
        raise ValueError("too large")
    return json.loads(content)


def _facts(outcome: Outcome) -> dict[str, Any]:
    """All but whether it is healthy, which changes with the time."""
    return {
        "state": outcome.state,
        "current_port": outcome.forwarded_port or None,
        "listening_port": outcome.listening_port or None,
        "port_bound": outcome.port_bound,
        "vpn_status": outcome.vpn_status,
        "connection_status": outcome.connection_status,
        "last_error": _last_error(outcome),
        "fix": outcome.failures[0].fix if outcome.failures else None,
        "last_check": _iso(outcome.finished_at) if outcome.operations else None,
        "last_success": _iso(outcome.last_success_at),
        "last_port_change": _iso(outcome.last_port_change_at),
        "out_of_sync_since": _iso(outcome.out_of_sync_since),
        "failing_since": _iso(outcome.failing_since),
        "waiting_since": _iso(outcome.waiting_since),
        "last_forwarded_port": outcome.last_forwarded_port or None,
        "services": {
            "gluetun": {"connected": outcome.gluetun_up, "port": outcome.forwarded_port or None},
            "qbittorrent": {
                "connected": outcome.qbittorrent_up,
                "port_synced": outcome.in_sync,
            },
        },
        "login": asdict(outcome.login_note) if outcome.login_note else None,
        "vpn_restart": asdict(outcome.vpn_note) if outcome.vpn_note else None,
    }


def _worst(outcomes: list[Outcome]) -> Outcome | None:
    """The tunnel that stands at the top of the file: the first that is not in sync."""
    return min(outcomes, key=lambda outcome: outcome.in_sync, default=None)


def _last_error(outcome: Outcome) -> str | None:
    """The error in force; none once all is well again."""
    return outcome.failures[0].message if outcome.failures else None


def _iso(at: float) -> str | None:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds") if at else None


def _latest(times: Any) -> str | None:
    return _iso(max(times, default=0.0))


def _unix(text: Any) -> float:
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def _remembered(facts: Mapping[str, Any]) -> Remembered:
    login, vpn = facts.get("login"), facts.get("vpn_restart")
    port = int(facts.get("last_forwarded_port") or NO_PORT)
    if port != NO_PORT and not LOWEST_PORT <= port <= HIGHEST_PORT:
        raise ValueError("not a port")
    return Remembered(
        forwarded_port=port,
        last_port_change_at=_unix(facts.get("last_port_change")),
        last_success_at=_unix(facts.get("last_success")),
        out_of_sync_since=_unix(facts.get("out_of_sync_since")),
        failing_since=_unix(facts.get("failing_since")),
        waiting_since=_unix(facts.get("waiting_since")),
        login_note=_login_note(login) if login else None,
        vpn_note=_vpn_note(vpn) if vpn else None,
    )


def _login_note(login: Mapping[str, Any]) -> LoginNote:
    return LoginNote(
        attempts_at=tuple(float(at) for at in login["attempts_at"]),
        rejections=max(0, int(login["rejections"])),
        suspended_until=float(login["suspended_until"]),
        reason=Reason(login["reason"]),
        fingerprint=str(login["fingerprint"]),
        server=str(login.get("server", "")),
    )


def _vpn_note(vpn: Mapping[str, Any]) -> VpnNote:
    return VpnNote(
        restarted_at=float(vpn["restarted_at"]),
        restarts=int(vpn["restarts"]),
        unfinished=vpn["unfinished"] is True,
    )


def _set_aside(path: Path, aside: Path) -> bool:
    try:
        path.replace(aside)
    except OSError:
        return False
    return True
