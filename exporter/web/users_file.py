"""Reads the file of those who may see the web pages: their names and bcrypt hashes.

It is the one that Prometheus calls its web configuration (`basic_auth_users:` with a mapping
of user name to bcrypt hash), that mapping alone, or what `htpasswd -B` writes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exporter.errors import QstickyError

_SECTION = "basic_auth_users"
_HASH = re.compile(r"\$2[aby]\$(?P<cost>\d\d)\$[./A-Za-z0-9]{53}")
_HTPASSWD_LINE = re.compile(r"[^:]+:\S.*")
"""No YAML: there a blank follows the colon."""
_YAML_STARTS = tuple("'\"{[-")
_LOWEST_COST, _HIGHEST_COST = 4, 16
_LARGEST_FILE_BYTES = 1_000_000
_MAKE_ONE = "make one with `htpasswd -nBC 10 NAME`"


class UsersFileError(QstickyError):
    """The file of web users can't be used; the message names the file and the user."""

    default_fix = (
        "correct WEB_USERS_FILE: a YAML file with a line `user: bcrypt hash` for each user, or "
        "what htpasswd -B writes"
    )
    exit_code = 2


def read_users(path: Path) -> Mapping[str, bytes]:
    """Read user names and their bcrypt hashes; raises UsersFileError on the first mistake."""
    content = _content(path)
    lines = [line for line in content.splitlines() if line.strip() and line[0] != "#"]
    is_yaml = not lines or lines[0].startswith(_YAML_STARTS)
    if is_yaml or not _HTPASSWD_LINE.fullmatch(lines[0]):
        found = _section(path, content)
    else:
        found = _htpasswd(path, lines)
    return {_user(path, name): _hash(path, name, value) for name, value in found.items()}


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise UsersFileError(f"{path}: can't be read: {error.strerror}") from error
    if len(content) > _LARGEST_FILE_BYTES:
        raise UsersFileError(f"{path}: larger than {_LARGEST_FILE_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsersFileError(f"{path}: not valid UTF-8") from error


def _htpasswd(path: Path, lines: list[str]) -> dict[str, str]:
    found = {}
    for line in lines:
        name, colon, value = line.rstrip().partition(":")
        if not colon:  # may be a lone password: not quoted
            raise UsersFileError(f"{path}: a line has no colon, expected NAME:HASH in each")
        found[name] = value
    return found


def _section(path: Path, content: str) -> dict[Any, Any]:
    section = _load_yaml(path, content)
    if isinstance(section, dict) and _SECTION in section:
        others = sorted(str(key) for key in section if key != _SECTION)
        if others:
            raise UsersFileError(
                f"{path}: only {_SECTION} is understood here, not {', '.join(others)}"
            )
        section = section[_SECTION]
    if not isinstance(section, dict) or not section:
        raise UsersFileError(f"{path}: expected a mapping of user name to bcrypt hash, found none")
    return section


def _load_yaml(path: Path, content: str) -> Any:
    import yaml  # which costs 1 MB, and htpasswd's format needs none of it

    try:
        return yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = "" if line is None else f" (line {line + 1})"
        raise UsersFileError(f"{path}: not valid YAML{where}") from error


def _user(path: Path, name: Any) -> str:
    if not isinstance(name, str):
        raise UsersFileError(f"{path}: user {name!r}: put the name in quotes, it must be text")
    if not name or ":" in name:
        raise UsersFileError(f"{path}: user {name!r}: a name must not be empty nor hold a colon")
    return name


def _hash(path: Path, name: str, value: Any) -> bytes:
    match = _HASH.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise UsersFileError(
            f"{path}: user {name!r}: expected a bcrypt hash ($2y$10$…, 60 characters), {_MAKE_ONE}"
        )
    cost = int(match["cost"])
    if not _LOWEST_COST <= cost <= _HIGHEST_COST:
        raise UsersFileError(
            f"{path}: user {name!r}: bcrypt cost {cost} is not within {_LOWEST_COST} and "
            f"{_HIGHEST_COST}, {_MAKE_ONE}"
        )
    return match.group().encode("ascii")
