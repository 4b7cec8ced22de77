"""The YAML file of `QSTICKY_CONFIG`: a list of tunnels whose keys mirror the variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from exporter.config.given import quoted, quoted_path, shown_key, why
from exporter.config.settings import SETTINGS, Setting

NAME_PATTERN = "[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"
SECTIONS = ("gluetun", "qbittorrent")

KeyPath = tuple[str, ...]


class Entry(NamedTuple):
    """One tunnel of the file, or the empty one where only environment variables are used."""

    name: str
    given: Mapping[KeyPath, str]
    where: str = ""
    """Its place in the file, such as `tunnels[0]`; empty: there is no file."""
    file: str = ""

    def get(self, setting: Setting) -> str:
        """Return the value of a setting, as text; empty where the entry leaves it out."""
        return self.given.get(setting.yaml_path, "")

    def get_file(self, setting: Setting) -> str:
        """Return the file that holds a secret; empty where the entry names none."""
        return self.given.get(_file_key(setting), "") if setting.per_tunnel else ""

    def label(self, setting: Setting) -> str:
        """Return what a user looks for: the path in the file, or the variable without a file."""
        return f"{self.where}.{'.'.join(setting.yaml_path)}" if self.where else setting.name


NO_FILE = Entry("default", {})
"""The one tunnel where only environment variables are used."""


def read_tunnels(path: Path) -> tuple[list[Entry], list[str]]:
    """Return the tunnels of the file, and everything that is wrong with it."""
    # PyYAML takes 45 ms to import, which people without a YAML file should not wait for
    from exporter.config.strict_yaml import load_yaml

    reader = _Reader(str(path))
    try:
        document = load_yaml(path)
    except (OSError, ValueError) as error:
        shown = quoted_path(str(path))
        return [], [f"can't use {shown} ({why(error)}); expected a YAML file"]
    entries = reader.document(document)
    return entries, reader.mistakes


class _Reader:
    """Walks through the document and collects mistakes."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.mistakes: list[str] = []

    def document(self, document: Any) -> list[Entry]:
        if not isinstance(document, dict):
            self.mistakes.append(
                f"{self.file}: given {_kind(document)}; expected a mapping with the key 'tunnels'"
            )
            return []
        self.mistakes += [
            f"{self.file}: unknown key '{shown_key(key)}'; expected 'tunnels'"
            for key in document
            if key != "tunnels"
        ]
        tunnels = document.get("tunnels")
        if not isinstance(tunnels, list) or not tunnels:
            self.mistakes.append(f"tunnels: given {_kind(tunnels)}; expected a list with entries")
            return []
        entries = [self._entry(item, i, len(tunnels)) for i, item in enumerate(tunnels)]
        self._check_names([entry.name for entry in entries])
        return entries

    def _entry(self, item: Any, index: int, count: int) -> Entry:
        where = f"tunnels[{index}]"
        if not isinstance(item, dict):
            self.mistakes.append(f"{where}: given {_kind(item)}; expected a mapping")
            return Entry(where, {}, where, self.file)
        given: dict[KeyPath, str] = {}
        for key, value in item.items():
            if key in SECTIONS:
                self._section(given, where, key, value)
            elif key != "name":
                self._value(given, where, (str(key),), value)
        return Entry(self._name(item, where, count), given, where, self.file)

    def _name(self, item: dict[Any, Any], where: str, count: int) -> str:
        name = item.get("name", NO_FILE.name if count == 1 else None)
        if isinstance(name, str) and re.fullmatch(NAME_PATTERN, name):
            return name
        shown = quoted(name) if isinstance(name, str) else _kind(name)
        self.mistakes.append(
            f"{where}.name: given {shown}; "
            "expected a name of up to 63 letters, digits, '.', '_' and '-'"
        )
        return where

    def _check_names(self, names: list[str]) -> None:
        for index, name in enumerate(names):
            if (first := names.index(name)) < index:
                self.mistakes.append(
                    f"tunnels[{index}].name: given {quoted(name)}, as at tunnels[{first}]; "
                    "expected a name of its own for each tunnel"
                )

    def _section(self, given: dict[KeyPath, str], where: str, key: str, section: Any) -> None:
        if not isinstance(section, dict):
            self.mistakes.append(f"{where}.{key}: given {_kind(section)}; expected a mapping")
            return
        for name, value in section.items():
            self._value(given, where, (key, str(name)), value)

    def _value(self, given: dict[KeyPath, str], where: str, path: KeyPath, value: Any) -> None:
        setting = _BY_KEY.get(path)
        label = f"{where}.{'.'.join(map(shown_key, path))}"
        if setting is None:
            self.mistakes.append(f"{label}: unknown key; expected one of {_siblings(path)}")
        elif value == "" or (value is None and not setting.kind.secret):
            pass  # counts as not set, like an empty variable
        elif isinstance(value, (dict, list)):
            self.mistakes.append(f"{label}: given {_kind(value)}; expected {setting.kind.expected}")
        elif setting.kind.quoted_in_yaml and not isinstance(value, str):
            # YAML reads 0123 as 83, no as false, #fox as nothing: no password is guessed back
            self.mistakes.append(f"{label}: given {_kind(value)}; expected text, in quotes")
        else:
            given[path] = str(value)


def _file_key(setting: Setting) -> KeyPath:
    *section, key = setting.yaml_path
    return (*section, f"{key}_file")


_PER_TUNNEL = [setting for setting in SETTINGS if setting.per_tunnel]
_BY_KEY: Mapping[KeyPath, Setting] = {
    **{setting.yaml_path: setting for setting in _PER_TUNNEL},
    **{_file_key(setting): setting for setting in _PER_TUNNEL if setting.kind.secret},
}


def _siblings(path: KeyPath) -> str:
    names = [key[-1] for key in _BY_KEY if key[:-1] == path[:-1]]
    return ", ".join(names if len(path) > 1 else ["name", *SECTIONS, *names])


def _kind(value: Any) -> str:
    """Name a YAML value without showing it."""
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true or false"}
    if value is None:
        return "nothing"
    if value == []:
        return "an empty list"
    return names.get(type(value), f"a value of type {type(value).__name__}")
