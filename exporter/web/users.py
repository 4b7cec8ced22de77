"""Who may read the web pages: basic authentication against a file of bcrypt hashes.

The file is the one that Prometheus calls its web configuration: `basic_auth_users:` with a
mapping of user name to bcrypt hash; the bare mapping alone will do as well.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import re
import secrets
import threading
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import bcrypt
import yaml

from exporter.errors import QstickyError

_SECTION = "basic_auth_users"
_HASH = re.compile(r"\$2[aby]\$(?P<cost>\d\d)\$[./A-Za-z0-9]{53}")
_LOWEST_COST, _HIGHEST_COST = 4, 16
_BCRYPT_BYTES = 72
_HASHES_AT_ONCE = 2
_LARGEST_FILE_BYTES = 1_000_000
_MAKE_ONE = "make one with `htpasswd -nBC 10 NAME`"

_log = logging.getLogger("qsticky")


class UsersFileError(QstickyError):
    """The file of web users can't be used; the message names the file and the user."""

    default_fix = (
        "correct WEB_USERS_FILE: a YAML file with a line `user: bcrypt hash` for each user"
    )
    exit_code = 2


def read_users(path: Path) -> Mapping[str, bytes]:
    """Read user names and their bcrypt hashes; raises UsersFileError on the first mistake."""
    section = _load(path)
    if isinstance(section, dict) and _SECTION in section:
        others = sorted(str(key) for key in section if key != _SECTION)
        if others:
            raise UsersFileError(
                f"{path}: only {_SECTION} is understood here, not {', '.join(others)}"
            )
        section = section[_SECTION]
    if not isinstance(section, dict) or not section:
        raise UsersFileError(f"{path}: expected a mapping of user name to bcrypt hash, found none")
    return {_user(path, name): _hash(path, name, value) for name, value in section.items()}


def _load(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE_BYTES + 1)
        if len(content) > _LARGEST_FILE_BYTES:
            raise UsersFileError(f"{path}: larger than {_LARGEST_FILE_BYTES} bytes")
        return yaml.safe_load(content)
    except OSError as error:
        raise UsersFileError(f"{path}: can't be read: {error.strerror}") from error
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


class Verdict(Enum):
    """What became of a request's credentials."""

    ALLOWED = "allowed"
    DENIED = "denied"
    BUSY = "busy"
    """Too many unknown passwords are being checked; ask again in a second."""


class Users:
    """The users of one file, read again when it changes.

    A password costs one bcrypt, known user or not; once right, it is known again by a keyed
    digest. At most two are computed at a time, so that wrong ones leave threads for the others.
    """

    def __init__(self, path: Path) -> None:
        """Read the file; raises UsersFileError."""
        self._path = path
        self._stamp = _stamp(path)
        self._hashes = read_users(path)
        self._key = secrets.token_bytes(32)
        self._known: dict[str, bytes] = {}
        self._reading = threading.Lock()
        self._slots = threading.BoundedSemaphore(_HASHES_AT_ONCE)

    def check(self, authorization: str) -> Verdict:
        """Judge the value of an `Authorization` header."""
        credentials = _credentials(authorization)
        if credentials is None:
            return Verdict.DENIED
        user, password = credentials
        hashes = self._current()
        stored = hashes.get(user)
        digest = self._digest(user, password, stored or b"")
        if hmac.compare_digest(self._known.get(user, b""), digest):
            return Verdict.ALLOWED
        if not self._slots.acquire(blocking=False):
            return Verdict.BUSY
        try:
            matches = bcrypt.checkpw(password, stored or next(iter(hashes.values())))
        finally:
            self._slots.release()
        if stored is None or not matches:
            return Verdict.DENIED
        self._known[user] = digest
        return Verdict.ALLOWED

    def _digest(self, user: str, password: bytes, stored: bytes) -> bytes:
        """Holds the stored hash too: a changed one makes what we knew void."""
        text = b"\0".join((user.encode(), stored, password))
        return hmac.new(self._key, text, hashlib.sha256).digest()

    def _current(self) -> Mapping[str, bytes]:
        """The users as of now; a file that went bad leaves the former ones valid."""
        with self._reading:
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._hashes = read_users(self._path)
                    self._known = {}
                    _log.info("Web users read anew from %s", self._path)
                except UsersFileError as error:
                    _log.error("%s; the former users stay valid; %s", error.message, error.fix)
            return self._hashes


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError:
        return ()
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def _credentials(authorization: str) -> tuple[str, bytes] | None:
    """User name and password; None where the header is not one of basic authentication."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        raw = base64.b64decode(token.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    user, colon, password = raw.partition(b":")
    if not colon or b"\0" in raw:
        return None
    # bcrypt reads 72 bytes and no more; newer versions of the package refuse to cut by themselves
    return user.decode("utf-8", "replace"), password[:_BCRYPT_BYTES]
