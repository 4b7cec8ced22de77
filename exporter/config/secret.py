"""A value that is never shown, and the file that it comes from: read again at each use."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from exporter.config.given import read_value, why
from exporter.config.kinds import PASSWORD


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that is never printed; `path` is the file that it came from, if it did."""

    value: str = field(default="", repr=False)
    path: Path | None = None
    parse: Callable[[str], str] = field(default=PASSWORD.parse, compare=False, repr=False)
    """Turns what the file holds into the value; raises ValueError."""
    problem: str = field(default="", compare=False)
    """Why the file can no longer be used; the value is the last one that it held before."""
    _last: list[str] = field(default_factory=list, compare=False, repr=False)
    """The last good value, once one was read again."""

    def __str__(self) -> str:
        return "***" if self.value else ""

    def current(self) -> Secret:
        """Read the file again; what was read before stays where that fails."""
        if self.path is None:
            return self
        try:
            text = self.parse(read_value(self.path))
        except (OSError, ValueError) as error:
            return replace(self, value=self._last_value, problem=why(error))
        if not text:  # somebody is just writing it
            return replace(self, value=self._last_value)
        self._last[:] = [text]
        return replace(self, value=text)

    @property
    def fix_prefix(self) -> str:
        """Return what has to be done first, or is the likely cause of a rejection; else empty."""
        if self.problem:
            return f"fix {self.path} first ({self.problem}), then "
        if self.path and not self.value:
            return f"the file {self.path} is empty: write the secret into it, or "
        return next((f"the secret {slip}, or " for slip, at in _SLIPS if at(self.value)), "")

    @property
    def _last_value(self) -> str:
        return self._last[0] if self._last else self.value


_SLIPS = (
    (
        "is in quotes, which count as part of it: remove them",
        re.compile(r"(['\"]).*\1").fullmatch,
    ),
    (
        "is a variable that nothing has replaced: write the value in its place",
        re.compile(r"\$\{.+\}|\$\w+|%\w+%").fullmatch,
    ),
    (
        "looks like the path of a file: give that to …_FILE",
        re.compile(r"~?\.{0,2}/.+|[A-Za-z]:\\.+").fullmatch,
    ),
)
"""What people write instead of a secret, and what to do about it."""
