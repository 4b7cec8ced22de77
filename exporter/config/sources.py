"""Where each value comes from, parsed once; every mistake is collected.

In this order: the tunnel's entry in the YAML file, the variable, the file named by `NAME_FILE`
(secrets only), `/run/secrets/<name in lower case>` (secrets only), the default. An empty variable
counts as not set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.config.given import quoted, read_text, why
from exporter.config.secret import Secret
from exporter.config.settings import BY_NAME, Setting
from exporter.config.tunnels_file import NO_FILE, Entry


@dataclass(frozen=True, slots=True)
class Value:
    """One effective value for `qsticky config`: a secret is already hidden."""

    name: str
    shown: str
    source: str


@dataclass(frozen=True, slots=True)
class Found:
    """A text and where it stands; `label` is what a user looks for."""

    label: str
    text: str
    source: str
    path: Path | None = None
    """The file that holds it, which is read again later."""


class Sources:
    """Looks up and parses values; a mistaken one is replaced by its default meanwhile."""

    def __init__(self, environ: Mapping[str, str], run_secrets: Path) -> None:
        self._environ = environ
        self._run_secrets = run_secrets
        self.mistakes: list[str] = []
        self.values: list[Value] = []

    def value(self, name: str, entry: Entry = NO_FILE) -> Any:
        """Return the parsed value of a setting, a `Secret` where it is one."""
        setting = BY_NAME[name]
        found = self._found(setting, entry)
        value = self._parsed(setting, found)
        if setting.kind.secret:
            value = Secret(value, found.path, setting.kind)
        shown = str(value) if setting.kind.secret else found.text
        self.values.append(Value(found.label, shown, found.source))
        return value

    def _parsed(self, setting: Setting, found: Found) -> Any:
        try:
            return setting.kind.parse(found.text)
        except ValueError as error:
            self.mistakes.append(f"{found.label}: {error}; expected {setting.kind.expected}")
            return setting.kind.parse(setting.default)

    def _found(self, setting: Setting, entry: Entry) -> Found:
        default = Found(entry.label(setting), setting.default, "default")
        return next(self._all_found(setting, entry), default)

    def _all_found(self, setting: Setting, entry: Entry) -> Iterator[Found]:
        """Go through the places where the value is, the one that wins first."""
        label, variable, kind = entry.label(setting), setting.name, setting.kind
        if given := kind.trim(entry.get(setting)):
            yield Found(label, given, entry.file)
        if path := entry.get_file(setting):
            yield self._read(setting, f"{label}_file", path)
        if variable in self._environ:
            given = kind.trim(self._environ[variable])
            if given or kind.empty_is_a_value:
                yield Found(variable, given, "environment")
        if kind.secret:
            yield from self._secret_files(setting)

    def _secret_files(self, setting: Setting) -> Iterator[Found]:
        variable = f"{setting.name}_FILE"
        if path := self._environ.get(variable):
            yield self._read(setting, variable, path)
        path = str(self._run_secrets / setting.name.lower())
        if _is_file(path):
            yield self._read(setting, setting.name, path)

    def _read(self, setting: Setting, label: str, path: str) -> Found:
        try:
            return Found(label, read_text(Path(path)), path, Path(path))
        except (OSError, ValueError) as error:
            self.mistakes.append(
                f"{label}: can't read {quoted(path)} ({why(error)}); "
                "expected a readable file that holds the secret"
            )
            return Found(label, setting.default, path)


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except OSError:  # a folder that is not for us to look into
        return False
