"""Who may read the web pages: basic authentication against a file of bcrypt hashes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import secrets
import threading
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from exporter.web.users_file import UsersFileError, read_users

_BCRYPT_BYTES = 72
_HASHES_AT_ONCE = 2
_ANY_SALT = b"." * 22

_log = logging.getLogger("qsticky")


class Verdict(Enum):
    """What became of a request's credentials."""

    ALLOWED = "allowed"
    DENIED = "denied"
    BUSY = "busy"
    """Too many unknown passwords are being checked; ask again in a second."""


class Users:
    """The users of one file, read again when it changes.

    A wrong password costs the same for every name, in the file or not; a right one is recognised
    by a keyed digest from then on. At most two are computed at a time, so that wrong ones leave
    threads for the others.
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
            if not _matches(password, stored, max(map(_cost, hashes.values()))):
                return Verdict.DENIED
        finally:
            self._slots.release()
        self._known[user] = digest
        return Verdict.ALLOWED

    def _digest(self, user: str, password: bytes, stored: bytes) -> bytes:
        """Return a digest that holds the stored hash too: a changed one voids what we knew."""
        text = b"\0".join((user.encode(), stored, password))
        return hmac.new(self._key, text, hashlib.sha256).digest()

    def _current(self) -> Mapping[str, bytes]:
        """Return the users as of now; a file that went bad leaves the former ones valid."""
        with self._reading:
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._hashes = read_users(self._path)
                    self._known = {}
                    _log.info("Web users reloaded from %s", self._path)
                except UsersFileError as error:
                    _log.error("%s; the former users stay valid; %s", error.message, error.fix)
            return self._hashes


def _matches(password: bytes, stored: bytes | None, highest_cost: int) -> bool:
    """Return whether a password is right; a wrong one costs what the costliest hash does.

    A hash of cost n takes 2^n rounds, so one of each cost from n up to the highest adds up to it.
    """
    import bcrypt  # which costs a megabyte, and `qsticky check` imports this module always

    if stored is not None and bcrypt.checkpw(password, stored):
        return True
    costs = [highest_cost] if stored is None else range(_cost(stored), highest_cost)
    for cost in costs:
        bcrypt.hashpw(password, b"$2b$%02d$" % cost + _ANY_SALT)
    return False


def _cost(stored: bytes) -> int:
    return int(stored[4:6])


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError:
        return ()
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def _credentials(authorization: str) -> tuple[str, bytes] | None:
    """Return user name and password; None where the header is not of basic authentication."""
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
