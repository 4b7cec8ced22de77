"""status.json: the last outcome of each tunnel, and what a start takes back.

The keys that older readers know stand at the top; `tunnels` holds the same facts for each tunnel,
and what has to survive a restart.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from exporter.clock import Clock
from exporter.config.load import TunnelConfig
from exporter.errors import StatusFileError
from exporter.model import Outcome, Outside, Saved, SyncState
from exporter.report import safe_file
from exporter.report.saved import iso, saved_facts

MANY_TUNNELS = 50


class _Entry(NamedTuple):
    """One tunnel in the file."""

    outcome: Outcome
    interval_seconds: float
    since: float
    """When its last check ended, or when we began to wait for the first one."""
    facts: Mapping[str, Any]
    text: str
    """The facts as JSON without the opening brace; making it takes longest."""


class StatusFile:
    """Writes the file: the last outcome of each tunnel, and whether all are healthy."""

    def __init__(
        self,
        path: Path,
        version: str,
        clock: Clock,
        saved: Mapping[str, Saved],
        *,
        daemon: bool = True,
    ) -> None:
        """`saved` is what the file held before.

        `daemon` shows readers whether somebody goes on writing the file.
        """
        self.path = path
        self._version = version
        self._clock = clock
        self.saved_before = dict(saved)
        self._daemon = daemon
        self._started_at = clock.monotonic()
        self._entries: dict[str, _Entry] = {}
        self._interval = 0.0
        self._changing = threading.Lock()
        self._writing = threading.Lock()
        self._stopped = False

    def set_tunnels(self, tunnels: Iterable[TunnelConfig]) -> None:
        """Show exactly these: a new one is `starting`, with what the file held of it before."""
        entries: dict[str, _Entry] = {}
        with self._changing:
            for tunnel in tunnels:
                self._interval = tunnel.interval_seconds
                before = self._entries.get(tunnel.name)
                outcome = before.outcome if before else self._starting(tunnel.name)
                since = before.since if before else self._clock.monotonic()
                entries[tunnel.name] = self._entry(outcome, tunnel.interval_seconds, since)
            self._entries = entries  # at once: others may be reading

    def publish(self, outcome: Outcome) -> None:
        """Take in the outcome of a check; one of a tunnel that is gone is dropped."""
        with self._changing:
            if entry := self._entries.get(outcome.tunnel):
                self._entries[outcome.tunnel] = self._entry(
                    outcome, entry.interval_seconds, entry.since
                )

    def saved(self, tunnel: str) -> Saved | None:
        """Return what a tunnel takes back when it is set up again."""
        entry = self._entries.get(tunnel)
        return entry.outcome.saved if entry else self.saved_before.get(tunnel)

    def save(self, tunnel: str, saved: Saved) -> None:
        """Have this on the disk now: killed or not, it can't be forgotten.

        From any thread. Where the file can't be written, its next writer says so. With many
        tunnels the first login of an hour waits for the next write: at a start, a thousand would
        take all time.
        """
        with self._changing:
            if (entry := self._entries.get(tunnel)) is None:
                return
            outcome = entry.outcome._replace(saved=saved)
            self._entries[tunnel] = self._entry(outcome, entry.interval_seconds, entry.since)
        if len(self._entries) < MANY_TUNNELS or not _is_first_login(saved):
            with contextlib.suppress(StatusFileError):
                self.write()

    def write(self, *, stopped: bool = False) -> None:
        """Replace the file; raises StatusFileError. Once stopped, it stays so."""
        with self._writing:
            self._stopped = self._stopped or stopped
            safe_file.write(self.path, self.content(stopped=self._stopped))

    def content(self, *, stopped: bool = False, public: bool = False) -> bytes:
        """Return the file's content as of now.

        `public` leaves out what distinguishes passwords: it is not for everybody on the network.
        """
        entries, now = dict(self._entries), self._clock.monotonic()
        health = {name: _is_healthy(entry, now) for name, entry in entries.items()}
        top = self._top(entries, all_healthy=bool(health) and all(health.values()), stopped=stopped)
        texts = [
            f"    {json.dumps(name)}: {_flag(health[name])}{_text(entry, public=public)}"
            for name, entry in entries.items()
        ]
        tunnels = "{\n" + ",\n".join(texts) + "\n  }" if texts else "{}"
        members = [
            f"  {json.dumps(key)}: {tunnels if key == 'tunnels' else json.dumps(value)}"
            for key, value in top.items()
        ]
        return ("{\n" + ",\n".join(members) + "\n}\n").encode()

    def _top(
        self, entries: Mapping[str, _Entry], *, all_healthy: bool, stopped: bool
    ) -> dict[str, Any]:
        """Return all members in their order; the value of `tunnels` is put in later."""
        outcomes = [entry.outcome for entry in entries.values()]
        first = min(outcomes, key=lambda outcome: outcome.in_sync, default=None)
        uptime = self._clock.monotonic() - self._started_at
        checks = [o.finished_at for o in outcomes if o.finished_at is not None]
        changes = [o.saved.port_changed_at for o in outcomes if o.saved.port_changed_at is not None]
        port = first.forwarded_port or None if first else None
        return {
            "healthy": not stopped and all_healthy,
            "state": "stopped" if stopped else first.state if first else SyncState.STARTING,
            "current_port": port,
            "last_error": first.failures[0].message if first and first.failures else None,
            "uptime": str(timedelta(seconds=int(uptime))),
            "uptime_seconds": round(uptime, 3),
            "last_check": self._iso(max(checks, default=None)),
            "last_port_change": self._iso(max(changes, default=None)),
            "timestamp": self._iso(self._clock.monotonic()),
            "services": _services(outcomes, port),
            "tunnels": None,
            "interval_seconds": self._interval,
            "daemon": self._daemon and not stopped,
            "version": self._version,
        }

    def _entry(self, outcome: Outcome, interval_seconds: float, since: float) -> _Entry:
        facts = self._facts(outcome)
        if outcome.finished_at is not None:
            since = outcome.finished_at
        return _Entry(outcome, interval_seconds, since, facts, _body(facts))

    def _facts(self, outcome: Outcome) -> dict[str, Any]:
        """Return all but whether it is healthy, which changes with the time."""
        port, failures = outcome.forwarded_port or None, outcome.failures
        outside = outcome.outside or Outside()
        return {
            "state": outcome.state,
            "current_port": port,
            "listening_port": outcome.listening_port or None,
            "port_bound": outcome.port_bound,
            "vpn_status": outcome.vpn_status,
            "connection_status": outcome.connection_status,
            "reachable": outside.reachable,
            "last_reachability_check": self._iso(outside.asked_at),
            "last_reached": self._iso(outside.reached_at),
            "last_error": failures[0].message if failures else None,
            "fix": failures[0].fix if failures else None,
            "last_check": self._iso(outcome.finished_at),
            "services": _services([outcome], port),
            **saved_facts(outcome.saved, self._clock),
        }

    def _starting(self, name: str) -> Outcome:
        saved = self.saved_before.get(name, Saved())
        return Outcome(name, SyncState.STARTING, None, saved=saved)

    def _iso(self, moment: float | None) -> str | None:
        return iso(moment, self._clock)


def _services(outcomes: Sequence[Outcome], port: int | None) -> dict[str, dict[str, Any]]:
    """Return what both servers are to all of these tunnels."""
    some = bool(outcomes)
    return {
        "gluetun": {"connected": some and all(o.gluetun for o in outcomes), "port": port},
        "qbittorrent": {
            "connected": some and all(o.qbittorrent for o in outcomes),
            "port_synced": some and all(o.in_sync for o in outcomes),
        },
    }


def _is_first_login(saved: Saved) -> bool:
    stopped_vpn = saved.vpn_restart is not None and saved.vpn_restart.unfinished
    return saved.logins is not None and len(saved.logins.attempts_at) == 1 and not stopped_vpn


def _is_healthy(entry: _Entry, now: float) -> bool:
    """Whether a tunnel is healthy; a first check that does not end counts like any other."""
    outcome = entry.outcome
    if outcome.finished_at is None:
        outcome = outcome._replace(finished_at=entry.since)
    return outcome.is_healthy(now, entry.interval_seconds)


def _flag(healthy: bool) -> str:
    """Return the start of a tunnel's object.

    Without a blank after the colon: people search the file for `"healthy": true`, which must stand
    in it only where all tunnels are.
    """
    return '{"healthy":true,' if healthy else '{"healthy":false,'


def _body(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, separators=(",", ":"))[1:]


def _text(entry: _Entry, *, public: bool) -> str:
    login = entry.facts["login"]
    if not public or not login:
        return entry.text
    shown = {key: value for key, value in login.items() if key != "fingerprint"}
    return _body({**entry.facts, "login": shown})
