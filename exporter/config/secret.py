"""A value that is never shown, and the file that it comes from: read again at each use."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from exporter.config.given import read_text, why
from exporter.config.kinds import PASSWORD, Kind


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that is never printed; `path` is the file that it came from, if it did."""

    value: str = field(default="", repr=False)
    path: Path | None = None
    kind: Kind = field(default=PASSWORD, compare=False, repr=False)
    """How its file is parsed."""
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
            text = self.kind.parse(read_text(self.path))
        except (OSError, ValueError) as error:
            return replace(self, value=self._last_value, problem=why(error))
        if not text:  # somebody is just writing it
            return replace(self, value=self._last_value)
        self._last[:] = [text]
        return replace(self, value=text)

    @property
    def fix_prefix(self) -> str:
        """Return what has to be done first where the file can't be used; else empty."""
        if not self.problem:
            return ""
        return f"fix {self.path} first ({self.problem}), then "

    @property
    def _last_value(self) -> str:
        return self._last[0] if self._last else self.value
