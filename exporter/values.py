"""What a value has to look like: one check for each kind of setting, and reading small files."""

from __future__ import annotations

import re
from pathlib import Path

from exporter.settings import Kind, Setting

LARGEST_FILE_BYTES = 1_000_000

_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
_HOST = re.compile(r"[A-Za-z0-9_.-]+|\[?[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%\w+)?\]?")


def check(setting: Setting, given: str) -> None:
    """Raise ValueError, with what was given, unless the text is a right value."""
    checks = {
        Kind.HOST: _check_host,
        Kind.PORT: _check_port,
        Kind.BOOLEAN: _check_boolean,
        Kind.FILE: _check_file,
        Kind.LISTEN_ADDRESS: _check_listen_address,
    }
    if setting.kind in checks:
        checks[setting.kind](given)
    elif setting.kind in (Kind.SECONDS, Kind.COUNT):
        _check_number(setting, given)
    elif setting.kind is Kind.CHOICE and given.lower() not in map(str.lower, setting.choices):
        raise ValueError(f"given {given!r}")


def _check_host(given: str) -> None:
    if "://" in given:  # not shown, it may hold a password
        raise ValueError("given an address with a scheme; write the host only")
    if "@" in given:
        raise ValueError("given a host with credentials; write the host only")
    if not _HOST.fullmatch(given):
        raise ValueError(f"given {given!r}")


def _check_port(given: str) -> None:
    if not given.isascii() or not given.isdigit() or not 1 <= int(given) <= 65535:
        raise ValueError(f"given {given!r}")


def _check_boolean(given: str) -> None:
    if given.lower() not in _TRUE + _FALSE:
        raise ValueError(f"given {given!r}")


def _check_file(given: str) -> None:
    if not given:
        return
    try:
        with Path(given).open("rb"):
            pass
    except OSError as error:
        raise ValueError(f"can't read {given!r} ({why(error)})") from error


def _check_number(setting: Setting, given: str) -> None:
    try:
        number = float(given) if setting.kind is Kind.SECONDS else int(given)
    except ValueError:
        raise ValueError(f"given {given!r}") from None
    if not setting.minimum <= number <= setting.maximum:
        raise ValueError(f"given {given!r}")


def _check_listen_address(given: str) -> None:
    if not given:
        return
    host, colon, port = given.rpartition(":")
    if not colon or (host and not _HOST.fullmatch(host)):
        raise ValueError(f"given {given!r}")
    _check_port(port)


def is_true(text: str) -> bool:
    """Whether a checked boolean is true."""
    return text.lower() in _TRUE


def read_text(path: Path) -> str:
    """The file's text without its trailing newline; ValueError where it can't be a secret."""
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE_BYTES + 1)
    if len(content) > LARGEST_FILE_BYTES:
        raise ValueError(f"larger than {LARGEST_FILE_BYTES} bytes")
    return content.decode("utf-8").rstrip("\r\n")


def why(error: OSError | ValueError) -> str:
    """Say why a file can't be used."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    return error.strerror or "input/output error" if isinstance(error, OSError) else str(error)
