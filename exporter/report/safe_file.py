"""Reads and replaces a file in a folder where others may write, too.

Whatever somebody puts there (a FIFO, a link to another file) neither stops us nor gets written
through: new files have random names and are ours alone, only regular files are read.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import time
from pathlib import Path

from exporter.errors import StatusFileError
from exporter.healthcheck import LARGEST_FILE_BYTES

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_EXISTING = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_IN_PLACE = (errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS)
"""The file itself is a mount, or its folder is not ours to write in."""
_LEFT_BEHIND_AFTER_SECONDS = 60.0


def write(path: Path, content: bytes) -> None:
    """Replace the file in one step, mode 0644, and make its folder where it is missing.

    Where only the file itself can be written it is overwritten in place. Raises StatusFileError.
    """
    try:
        try:
            _replace(path, content)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path, content)
        except OSError as error:
            if error.errno not in _IN_PLACE or not _overwrite(path, content):
                raise
    except OSError as error:
        raise StatusFileError(
            f"can't write the status file {path}: {error.strerror or error}",
            _FIXES.get(error.errno or 0),
        ) from error


def read(path: Path) -> bytes:
    """Return the content; raises OSError, or ValueError for what is not a file or too large."""
    with open(path, "rb", opener=lambda name, _: os.open(name, _READ)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("not a regular file")
        content = file.read(LARGEST_FILE_BYTES + 1)
    if len(content) > LARGEST_FILE_BYTES:
        raise ValueError("too large")
    return content


def remove_left_behind(path: Path) -> None:
    """Remove new files that were never moved into place: their writer was killed."""
    latest = time.time() - _LEFT_BEHIND_AFTER_SECONDS
    for file in path.parent.glob(f".{path.name}.*.new"):
        with contextlib.suppress(OSError):
            if file.lstat().st_mtime < latest:
                file.unlink()


def _replace(path: Path, content: bytes) -> None:
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    descriptor = os.open(new, _NEW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(content)
        new.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise


def _overwrite(path: Path, content: bytes) -> bool:
    """Write into the file that is there; returns whether it was ours to write."""
    try:
        descriptor = os.open(path, _EXISTING)
    except OSError:
        return False
    with os.fdopen(descriptor, "wb") as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode) or facts.st_nlink > 1:
            return False
        file.write(content)
        file.truncate()
    return True


_FIXES = {
    errno.EISDIR: "remove the folder of that name, or set HEALTH_FILE to another path",
    errno.ENOSPC: "free some space on that disk; qSticky goes on without the file meanwhile",
    errno.EDQUOT: "free some space on that disk; qSticky goes on without the file meanwhile",
    errno.EROFS: "mount that folder writable, as a volume, or set HEALTH_FILE to another path",
}
