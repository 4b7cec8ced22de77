"""What was given, as text: small files read, and as much of a value as a message may show."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from exporter.healthcheck import holds_credentials

LARGEST_FILE_BYTES = 1_000_000
_BEFORE_QUERY = re.compile(r"[^?#]*[?#]?")
_KEY_START = re.compile(r"[A-Za-z0-9_.-]{0,40}")


def read_text(path: Path) -> str:
    """Return the file's text; raise OSError or ValueError where it can't be a configuration."""
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE_BYTES + 1)
    if len(content) > LARGEST_FILE_BYTES:
        raise ValueError(f"larger than {LARGEST_FILE_BYTES} bytes")
    return content.decode("utf-8-sig")  # some editors begin a file with a mark


def read_value(path: Path) -> str:
    """Return the one value that a file holds; blanks at its ends are the editor's, not its own."""
    return read_text(path).strip()


def why(error: OSError | ValueError) -> str:
    """Return why a file can't be used."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    if not isinstance(error, OSError):
        return str(error)
    denied = isinstance(error, PermissionError) and error.filename
    words = whose(Path(error.filename)) if denied else ""
    if not words:
        return error.strerror or "input/output error"
    owner = Path(error.filename).stat()
    return (
        f"{error.strerror}; it {words}, or run qSticky as its owner "
        f'(`user: "{owner.st_uid}:{owner.st_gid}"` in Compose)'
    )


def whose(path: Path) -> str:
    """Return in words whose this is, and what helps; empty where it is ours, or not to be seen."""
    try:
        owner = path.stat()
    except (OSError, ValueError):
        return ""
    us = f"{os.geteuid()}:{os.getegid()}"
    if owner.st_uid == os.geteuid():
        return ""
    return (
        f"belongs to user {owner.st_uid} with mode {stat.S_IMODE(owner.st_mode):04o}, and qSticky "
        f"runs as {us}: `chown {us}` it, on the host where it is mounted from there"
    )


def quoted(text: str, longest: int = 80) -> str:
    """Return the start of a value for a message, but nothing of what may hold a password.

    Every value that a message quotes goes through here, whole: a part would not show what it is.
    """
    if holds_credentials(text):
        return "what looks like credentials (not shown)"
    shown: str = _BEFORE_QUERY.findall(text)[0][:longest]
    return repr(text) if shown == text else f"{shown!r}…"


def quoted_path(path: str) -> str:
    """Return a path for a message, as long as a path may be."""
    return quoted(path, longest=4096)


def shown_key(key: object) -> str:
    """Return a YAML key as far as it looks like one: in `{pass:hunter2}` all of it is the key."""
    text = str(key)
    start: str = _KEY_START.findall(text)[0]
    return start if start == text else f"{start}…"
