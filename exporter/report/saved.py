"""What status.json keeps over a restart, as JSON and back; every number and time in its range."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from exporter.clock import Clock
from exporter.errors import StatusFileError
from exporter.healthcheck import MALFORMED, STALE_AFTER_SECONDS
from exporter.model import (
    HIGHEST_PORT,
    LOWEST_PORT,
    NO_PORT,
    Reason,
    Saved,
    SavedLogins,
    SavedVpnRestart,
)
from exporter.report import safe_file

_LATEST_UNIX = 4_102_444_800.0
"""The year 2100: no clock of ours shows a later time."""
_EMPTY = {"healthy": False, "state": "starting", "interval_seconds": 0, "daemon": False}
"""What an empty file stands for: somebody has just made it for us."""
_MOST = 1_000_000
_LONGEST_TEXT = 300


def saved_facts(saved: Saved, clock: Clock) -> dict[str, Any]:
    """Return the members of a tunnel that a start takes back."""
    return {
        "last_success": iso(saved.succeeded_at, clock),
        "last_port_change": iso(saved.port_changed_at, clock),
        "out_of_sync_since": iso(saved.out_of_sync_since, clock),
        "failing_since": iso(saved.failing_since, clock),
        "waiting_since": iso(saved.waiting_since, clock),
        "last_forwarded_port": saved.forwarded_port or None,
        "push_seen": saved.push_seen,
        "login": _login_facts(saved.logins, clock) if saved.logins else None,
        "vpn_restart": _vpn_facts(saved.vpn_restart, clock) if saved.vpn_restart else None,
    }


def read_saved(path: Path, clock: Clock) -> dict[str, Saved]:
    """Read what has to survive a restart, by tunnel; nothing where there is no file.

    A file that is damaged or somebody else's is renamed to `<name>.damaged`, never fatal; raises
    StatusFileError with the new name then, so that it can be said.
    """
    try:
        return saved_of(read_status(path), clock)
    except (FileNotFoundError, IsADirectoryError):
        return {}  # whoever writes it says what helps
    except OSError as error:
        raise StatusFileError(
            f"can't read the status file {path}: {error.strerror or error}"
        ) from error
    except MALFORMED:
        aside = path.with_name(path.name + ".damaged")
        raise StatusFileError(
            f"the status file {path} can't be understood; it is set aside as {aside.name}"
            if _set_aside(path, aside)
            else f"the status file {path} can't be understood",
            "nothing to do: a new one is written",
        ) from None


def read_status(path: Path) -> dict[str, Any]:
    """Read the file as it is; raises OSError or one of MALFORMED; an empty one is no damage."""
    content = safe_file.read(path)
    document = json.loads(content) if content.strip() else _EMPTY
    document["healthy"]  # in every status file, the older ones too
    return dict(document)


def saved_of(document: Mapping[str, Any], clock: Clock) -> dict[str, Saved]:
    """Return what a status file keeps, by tunnel; raises one of MALFORMED."""
    tunnels = document.get("tunnels", {})
    return {str(name): _saved(facts, clock) for name, facts in tunnels.items()}


def daemon_is_running(path: Path, document: Mapping[str, Any], clock: Clock) -> bool:
    """Whether the daemon that writes the file is running; raises OSError or one of MALFORMED."""
    if "interval_seconds" not in document:  # the tool that was here before wrote it
        return False
    age = clock.wall() - path.stat().st_mtime
    fresh = age <= 3 * float(document["interval_seconds"]) + STALE_AFTER_SECONDS
    return fresh and document["state"] != "stopped" and document.get("daemon") is not False


def iso(moment: float | None, clock: Clock) -> str | None:
    """Return a moment as ISO 8601 in UTC; None stays None."""
    if moment is None:
        return None
    return datetime.fromtimestamp(clock.unix(moment), UTC).isoformat(timespec="milliseconds")


def _login_facts(logins: SavedLogins, clock: Clock) -> dict[str, Any]:
    until = logins.suspended_until
    return {
        "attempts_at": [clock.unix(at) for at in logins.attempts_at],
        "rejections": logins.rejections,
        "suspended_until": 0.0 if until is None else clock.unix(until),
        "reason": logins.reason,
        "fingerprint": logins.fingerprint,
        "server": logins.server,
    }


def _vpn_facts(restart: SavedVpnRestart, clock: Clock) -> dict[str, Any]:
    return {
        "restarted_at": clock.unix(restart.restarted_at),
        "restarts": restart.restarts,
        "unfinished": restart.unfinished,
    }


def _saved(facts: Mapping[str, Any], clock: Clock) -> Saved:
    login, vpn = facts.get("login"), facts.get("vpn_restart")
    port = int(facts.get("last_forwarded_port") or NO_PORT)
    if port != NO_PORT and not LOWEST_PORT <= port <= HIGHEST_PORT:
        raise ValueError("not a port")
    return Saved(
        forwarded_port=port,
        port_changed_at=_past(facts.get("last_port_change"), clock),
        succeeded_at=_past(facts.get("last_success"), clock),
        out_of_sync_since=_past(facts.get("out_of_sync_since"), clock),
        failing_since=_past(facts.get("failing_since"), clock),
        waiting_since=_past(facts.get("waiting_since"), clock),
        logins=_logins(login, clock) if login else None,
        vpn_restart=_vpn_restart(vpn, clock) if vpn else None,
        push_seen=facts.get("push_seen") is True,
        was_unhealthy=facts.get("healthy") is False,
    )


def _past(text: Any, clock: Clock) -> float | None:
    """Return the moment of an ISO time; where the clock was set back meanwhile, it is now."""
    if not text:
        return None
    unix = datetime.fromisoformat(text).timestamp()
    return min(clock.monotonic(), clock.moment(_checked_unix(unix)))


def _logins(login: Mapping[str, Any], clock: Clock) -> SavedLogins:
    attempts = login["attempts_at"]
    if len(attempts) > _LONGEST_TEXT:
        raise ValueError("too many attempts")
    until = _checked_unix(float(login["suspended_until"]))
    return SavedLogins(
        attempts_at=tuple(clock.moment(_checked_unix(float(at))) for at in attempts),
        rejections=_count(login["rejections"]),
        suspended_until=clock.moment(until) if until else None,
        reason=Reason(login["reason"]),
        fingerprint=str(login["fingerprint"])[:_LONGEST_TEXT],
        server=str(login.get("server", ""))[:_LONGEST_TEXT],
    )


def _vpn_restart(vpn: Mapping[str, Any], clock: Clock) -> SavedVpnRestart:
    return SavedVpnRestart(
        restarted_at=clock.moment(_checked_unix(float(vpn["restarted_at"]))),
        restarts=_count(vpn["restarts"]),
        unfinished=vpn["unfinished"] is True,
    )


def _count(value: Any) -> int:
    return max(0, min(_MOST, int(value)))


def _checked_unix(unix: float) -> float:
    if not math.isfinite(unix) or not 0 <= unix <= _LATEST_UNIX:
        raise ValueError("not a time")
    return unix


def _set_aside(path: Path, aside: Path) -> bool:
    try:
        path.replace(aside)
    except OSError:
        return False
    return True
