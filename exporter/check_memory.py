"""What `qsticky check` knows from status.json, and what it leaves there: a rejected login."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exporter import __version__
from exporter.clock import Clock
from exporter.config import Config
from exporter.errors import StatusFileError
from exporter.health import StatusFile, is_kept_up, peek
from exporter.healthcheck import NOT_OURS
from exporter.logins import remembered_logins
from exporter.model import LoginNote, Remembered
from exporter.tunnel import Tunnel


@dataclass(frozen=True, slots=True)
class Line:
    """What came of one step."""

    ok: bool
    text: str
    fix: str = ""

    def __str__(self) -> str:
        mark = "✓" if self.ok else "✗"
        return f"{mark} {self.text}" + (f"\n    → {self.fix}" if self.fix else "")


class CheckMemory:
    """What status.json tells, and whether the daemon that writes it is running."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self.facts: dict[str, Any] = {}
        self.notes: dict[str, Remembered] = {}
        self.daemon_runs = False
        self._problem: Line | None = None
        self._read()

    def line(self) -> Line:
        """Say whether status.json can be read and written."""
        return self._problem or Line(True, f"The status file {self._config.health_file} is fine")

    @property
    def can_note(self) -> bool:
        """Whether a rejected login can be remembered."""
        return self._problem is None

    def login_note(self, server: str) -> LoginNote | None:
        """What is remembered of logins at a qBittorrent, such as `gluetun:8080`."""
        notes = [memory.login_note for memory in self.notes.values()]
        return next((note for note in notes if note and note.server == server), None)

    def note_login(self, tunnel: str, note: LoginNote | None) -> None:
        """Remember a rejected login, as the daemon does when it stops; raises StatusFileError."""
        known = self.notes.get(tunnel, Remembered())
        self.notes[tunnel] = replace(known, login_note=note)
        path, now = self._config.health_file, self._clock.wall()
        file = StatusFile(path, __version__, now, self._config.interval_seconds)
        for config in self._config.tunnels:
            memory = self.notes.get(config.name, Remembered())
            server = config.qbittorrent.server.address
            logins = remembered_logins(server, self._clock, memory.login_note, try_at_once=False)
            file.publish(Tunnel(config, self._clock, memory, logins).starting())
        file.write(now, stopped=True)

    def _read(self) -> None:
        path = self._config.health_file
        try:
            document, self.notes = peek(path)
            self.facts = document.get("tunnels", {})
            self.daemon_runs = is_kept_up(path, document, self._clock.wall())
        except FileNotFoundError:
            pass
        except OSError as error:
            self._problem = Line(
                False,
                f"The status file {path} can't be read: {error.strerror or error}",
                StatusFileError.default_fix,
            )
        except NOT_OURS:
            self._problem = Line(
                False, f"The status file {path} can't be understood", "delete it, or start qsticky"
            )
        self._problem = self._problem or _writing_problem(path)


def _writing_problem(path: Path) -> Line | None:
    folder = path.parent
    try:
        if folder.exists():
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"full?")
            return None
        above = next(parent for parent in folder.parents if parent.exists())
    except OSError as error:
        why = error.strerror or str(error)
    else:
        if above.is_dir() and os.access(above, os.W_OK):
            return None
        why = "Permission denied" if above.is_dir() else "Not a directory"
    return Line(
        False, f"The status file {path} can't be written: {why}", StatusFileError.default_fix
    )
