"""Where each value comes from, parsed once; every mistake is collected.

In this order: the tunnel's entry in the YAML file, the variable, the file named by `NAME_FILE`,
`/run/secrets/<name>`, the default. Names may be in capitals or not. An empty variable counts as
not set.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from exporter.config.given import quoted, quoted_path, read_value, why
from exporter.config.kinds import PORT
from exporter.config.secret import Secret
from exporter.config.settings import BY_NAME, Setting, meant_by
from exporter.config.tunnels_file import NO_FILE, Entry
from exporter.healthcheck import files_in, in_capitals


class Value(NamedTuple):
    """One effective value for `qsticky config`: a secret is already hidden."""

    name: str
    shown: str
    source: str


class Found(NamedTuple):
    """A text and where it stands; `label` is what a user looks for."""

    label: str
    text: str
    source: str
    path: Path | None = None
    """The file that holds it, which is read again later."""


class Said(NamedTuple):
    """What the address in the setting `by` says of another setting, as text; empty: nothing."""

    by: str
    text: str
    firmly: bool = True
    """Whether it wins over that setting where both stand in the same place."""


class Sources:
    """Looks up and parses values; a mistaken one is replaced by its default meanwhile."""

    def __init__(self, environ: Mapping[str, str], run_secrets: Path) -> None:
        self._variables = in_capitals(environ)
        self._docker_secrets = files_in(str(run_secrets))
        self.mistakes: list[str] = []
        self.warnings = [*_misnamed(self._variables), *_folders(str(run_secrets))]
        self.values: list[Value] = []

    def value(self, name: str, entry: Entry = NO_FILE, said: Said | None = None) -> Any:
        """Return the parsed value of a setting, a `Secret` where it is one."""
        setting = BY_NAME[name]
        if said and said.text:
            setting = setting._replace(default=said.text)
            found = self._found_or_said(setting, entry, said)
        else:
            found = self._found(setting, entry)
        text, value = self._parsed(setting, found)
        if setting.kind.secret:
            value = Secret(value, found.path, setting.kind.parse, found.label)
        shown = str(value) if setting.kind.secret else text
        self.values.append(Value(found.label, shown, found.source))
        return value

    def _parsed(self, setting: Setting, found: Found) -> tuple[str, Any]:
        """Return the text that is used, and its value."""
        kind = setting.kind
        try:
            return kind.trim(found.text), kind.parse(found.text)
        except ValueError as error:
            shown = quoted_path(found.source)
            # a file that was named by mistake may hold a secret of somebody else
            held = f"{error} in {shown}" if kind.secret else f"can't use what {shown} holds"
            problem = f"{found.label}: {held if found.path else error}; expected {kind.expected}"
            if not found.path and kind.trim(found.text).startswith(("'", '"')):
                problem += ", without quotes around it"
        if kind.substitute is None:
            self.mistakes.append(problem)
            return setting.default, kind.parse(setting.default)
        text = kind.substitute(found.text) or setting.default
        used = f"using {text} instead" if text else "it is ignored"
        self.warnings.append(f"{problem}; {used}")
        return text, kind.parse(text)

    def _found(self, setting: Setting, entry: Entry) -> Found:
        default = Found(entry.label(setting), setting.default, "default")
        return next(self._all_found(setting, entry), default)

    def _found_or_said(self, setting: Setting, entry: Entry, said: Said) -> Found:
        """Return what wins: what an address says stands where the address does."""
        found, address = self._found(setting, entry), self._found(BY_NAME[said.by], entry)
        place, its_place = _place(found, entry), _place(address, entry)
        if place < its_place or (place == its_place and not said.firmly):
            return found
        if place == its_place and self._parsed(setting, found)[1] != setting.kind.parse(said.text):
            self.warnings.append(
                f"{found.label} is ignored: the address in {address.label} says otherwise; "
                "remove one of the two"
            )
        return Found(entry.label(setting), said.text, address.label)

    def _all_found(self, setting: Setting, entry: Entry) -> Iterator[Found]:
        """Go through the places where the value is, the one that wins first."""
        label, variable, kind = entry.label(setting), setting.name, setting.kind
        if given := kind.trim(entry.get(setting)):
            yield Found(label, given, entry.file)
        if path := entry.get_file(setting):
            yield self._read(setting, f"{label}_file", path)
        if variable in self._variables:
            given = kind.trim(self._variables[variable])
            if kind is PORT and _SERVICE_LINK.fullmatch(given):
                self._warn_of_service_link(setting, given)
            elif given or kind.empty_is_a_value:
                yield Found(variable, given, "environment")
        yield from self._all_read(setting)

    def _all_read(self, setting: Setting) -> Iterator[Found]:
        variable, kind = f"{setting.name}_FILE", setting.kind
        files = {variable: self._variables.get(variable, "").strip()}
        files[setting.name] = self._docker_secrets.get(setting.name, "")
        for label, path in files.items():
            if path:
                found = self._read(setting, label, path)
                if found.text or kind.secret or kind.empty_is_a_value:
                    yield found

    def _read(self, setting: Setting, label: str, path: str) -> Found:
        try:
            return Found(label, read_value(Path(path)), path, Path(path))
        except (OSError, ValueError) as error:
            problem = (
                f"{label}: can't read {quoted_path(path)} ({why(error)}); "
                "expected a readable file that holds the value"
            )
            if setting.kind.substitute is None:
                self.mistakes.append(problem)
            else:
                self.warnings.append(f"{problem}; using {setting.default} instead")
            return Found(label, setting.default, "default")

    def _warn_of_service_link(self, setting: Setting, given: str) -> None:
        self.warnings.append(
            f"{setting.name}: given {quoted(given)}, which Kubernetes sets for a Service of that "
            "name (unless the pod has enableServiceLinks: false), and Docker for a link; it is "
            f"ignored, so set {setting.name} if the port is not {setting.default}"
        )


def _place(found: Found, entry: Entry) -> int:
    """Return how far down the list of places: the entry, variables and files, the default."""
    return 0 if found.source == entry.file else 2 if found.source == "default" else 1


_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://[^/@]+:[0-9]+")


def _misnamed(variables: Mapping[str, str]) -> Iterator[str]:
    for variable, given in variables.items():
        meant = meant_by(variable)
        if meant and meant not in variables and not _SERVICE_LINK.fullmatch(given):
            yield f"{variable} is ignored; the setting is called {meant}"


def _folders(run_secrets: str) -> Iterator[str]:
    for name, path in files_in(run_secrets, os.path.isdir).items():
        if name in BY_NAME:
            yield (
                f"{name}: {quoted_path(path)} is a folder, as Docker makes one where a file to be "
                "mounted does not exist; it is ignored"
            )
