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
import tempfile
import time
from pathlib import Path
from typing import BinaryIO

from exporter.config.given import whose
from exporter.errors import StatusFileError
from exporter.healthcheck import LARGEST_FILE_BYTES

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_EXISTING = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_MOUNTED = (errno.EBUSY, errno.EXDEV)
_IN_PLACE = (*_MOUNTED, errno.EACCES, errno.EPERM, errno.EROFS)
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
            with _existing(path, error) as file:
                file.write(content)
                file.truncate()
    except OSError as error:
        raise _explained(path, error) from error


def try_to_write(path: Path) -> None:
    """Raise StatusFileError where `write` would; change nothing."""
    try:
        try:
            _try_to_replace(path)
        except OSError as error:
            _existing(path, error).close()
    except OSError as error:
        raise _explained(path, error) from error


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
        try:
            os.fchmod(descriptor, 0o644)
            while content:  # a disk that gets full takes a part, and then none
                content = content[os.write(descriptor, content) :]
        finally:
            os.close(descriptor)
        new.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise


def _try_to_replace(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if _is_mounted(path):
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
    with tempfile.TemporaryFile(dir=_nearest(path.parent)) as file:
        file.write(b"full?")


def _existing(path: Path, replacing: OSError) -> BinaryIO:
    """Open the file that could not be replaced, to write into it; raises OSError.

    Why it could not be replaced is the better reason, except for a file that is a mount.
    """
    if replacing.errno not in _IN_PLACE:
        raise replacing
    try:
        file = os.fdopen(os.open(path, _EXISTING), "wb")
    except OSError:
        if replacing.errno in _MOUNTED:
            raise
        raise replacing from None
    facts = os.fstat(file.fileno())
    if not stat.S_ISREG(facts.st_mode) or facts.st_nlink > 1:
        file.close()
        raise replacing
    return file


def _is_mounted(path: Path) -> bool:
    """Whether the file itself is a mount, as with `./status.json:/app/health/status.json`."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    except OSError:
        return False
    shown = os.path.realpath(path).replace(" ", r"\040")
    return any(line.split(" ")[4] == shown for line in mounts.splitlines())


def _nearest(folder: Path) -> Path:
    """Return the folder, or the one in which it would be made."""
    return next(each for each in (folder, *folder.parents) if each.exists())


def _explained(path: Path, error: OSError) -> StatusFileError:
    denied = error.errno in (errno.EACCES, errno.EPERM)
    fix = _fix_for_owner(path) if denied else _FIXES.get(error.errno or 0)
    return StatusFileError(f"can't write the status file {path}: {error.strerror or error}", fix)


def _fix_for_owner(path: Path) -> str | None:
    """Say whom the mounted file or the folder belongs to; None where that is us."""
    try:
        place = path if _is_mounted(path) else _nearest(path.parent)
    except OSError:
        return None
    words = whose(place)
    return f"{place} {words}; or name another file in HEALTH_FILE" if words else None


_FIXES = {
    errno.EISDIR: "remove the folder of that name, or set HEALTH_FILE to another path",
    errno.ENOSPC: "free some space on that disk; qSticky goes on without the file meanwhile",
    errno.EDQUOT: "free some space on that disk; qSticky goes on without the file meanwhile",
    errno.EROFS: "mount it writable, as a volume, or set HEALTH_FILE to another path",
}
