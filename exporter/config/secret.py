"""A value that is never shown, and the file that it comes from: read again at each use."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from exporter.config.given import read_value, why
from exporter.config.kinds import PASSWORD


class Secret:
    """A value that is never printed; two are equal where value and file are."""

    __slots__ = ("_last", "_parse", "label", "path", "problem", "value")

    def __init__(
        self,
        value: str = "",
        path: Path | None = None,
        parse: Callable[[str], str] = PASSWORD.parse,
        label: str = "",
    ) -> None:
        """`path` is the file that it came from, if it did.

        `parse` turns what the file holds into the value; raises ValueError. `label` is the variable
        or the YAML path that holds the value.
        """
        self.label = label
        self.value = value
        self.path = path
        self.problem = ""
        """Why the file can no longer be used; the value is the last one that it held before."""
        self._parse = parse
        self._last = [value]
        """The last good value: one place for all copies."""

    def __str__(self) -> str:
        return "***" if self.value else ""

    def __repr__(self) -> str:
        return f"Secret({str(self)!r}, {self.path!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return (self.value, self.path) == (other.value, other.path)

    def __hash__(self) -> int:
        return hash((self.value, self.path))

    def current(self) -> Secret:
        """Read the file again; what was read before stays where that fails."""
        if self.path is None:
            return self
        problem = ""
        try:
            # empty: somebody is just writing it
            self._last[:] = [self._parse(read_value(self.path)) or self._last[0]]
        except (OSError, ValueError) as error:
            problem = why(error)
        fresh = Secret(self._last[0], self.path, self._parse, self.label)
        fresh.problem, fresh._last = problem, self._last
        return fresh

    def advice(self, fix: str, variable: str) -> str:
        """Return what to do where the value was rejected, from a fix that names its variable.

        Before it goes what is likely wrong, and instead of the variable its real place is named.
        """
        prefix = self.fix_prefix
        if self.path is None:
            fix = fix.replace(variable, self.label or variable, 1)
        elif str(self.path) not in prefix:
            fix = fix.replace(variable, f"what is in {self.path}", 1)
        return prefix + fix

    @property
    def fix_prefix(self) -> str:
        """Return what has to be done first, or is the likely cause of a rejection; else empty."""
        if self.problem:
            return f"fix {self.path} first ({self.problem}), then "
        if self.path and not self.value:
            return f"the file {self.path} is empty: write the secret into it, or "
        return next((f"the secret {slip}, or " for slip, at in _SLIPS if at(self.value)), "")


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
