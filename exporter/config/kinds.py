"""What a value has to look like: one check for each kind of setting, and reading small files."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from pathlib import Path

from exporter.config.settings import Kind, Setting

LARGEST_FILE_BYTES = 1_000_000

TRUE_WORDS, FALSE_WORDS = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
_HOST_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")


def check(setting: Setting, given: str) -> None:
    """Raise ValueError, with what was given, unless the text is a right value."""
    checks = {
        Kind.TEXT: check_text,
        Kind.HOST: _check_host,
        Kind.PORT: _check_port,
        Kind.BOOLEAN: _check_boolean,
        Kind.FILE: _check_file,
        Kind.CA_FILE: _check_ca_file,
        Kind.PATH: _check_path,
        Kind.LISTEN_ADDRESS: _check_listen_address,
    }
    if setting.kind in checks:
        checks[setting.kind](given)
    elif setting.kind in (Kind.SECONDS, Kind.COUNT):
        _check_number(setting, given)
    elif setting.kind is Kind.CHOICE and given.lower() not in map(str.lower, setting.choices):
        raise ValueError(_given(given))


def _given(text: str) -> str:
    return f"given {text!r}" if len(text) <= 80 else f"given {text[:80]!r}…"


def check_text(given: str) -> None:
    """Raise ValueError for what is not one line of text; it may be a secret, so it is not shown."""
    if any(unicodedata.category(character) == "Cc" for character in given):
        raise ValueError("given a line break or another control character")
    if any(unicodedata.category(character) == "Cs" for character in given):
        raise ValueError("given what is not UTF-8")


def _check_host(given: str) -> None:
    if "://" in given:  # not shown, it may hold a password
        raise ValueError("given an address with a scheme; write the host only")
    if "@" in given:
        raise ValueError("given a host with credentials; write the host only")
    if not _is_host(given):
        raise ValueError(_given(given))


def _is_host(given: str) -> bool:
    if _HOST_NAME.fullmatch(given):
        return True
    bracketed = given.startswith("[") and given.endswith("]")
    try:
        ipaddress.IPv6Address(given[1:-1] if bracketed else given)
    except ValueError:
        return False
    return True


def _check_port(given: str) -> None:
    if not _is_port(given) or int(given) == 0:
        raise ValueError(_given(given))


def _is_port(given: str) -> bool:
    return re.fullmatch("[0-9]{1,5}", given) is not None and int(given) <= 65535


def _check_boolean(given: str) -> None:
    if given.lower() not in TRUE_WORDS + FALSE_WORDS:
        raise ValueError(_given(given))


def _check_file(given: str) -> None:
    if not given:
        return
    try:
        with Path(given).open("rb"):
            pass
    except OSError as error:
        raise ValueError(f"can't read {given!r} ({why(error)})") from error


def _check_ca_file(given: str) -> None:
    import ssl  # 15 ms that people without such a file should not wait for

    _check_file(given)
    if not given:
        return
    try:
        ssl.create_default_context(cafile=given)
    except ssl.SSLError as error:
        raise ValueError(f"given {given!r}, which holds no certificate") from error


def _check_path(given: str) -> None:
    try:
        is_folder = bool(given) and Path(given).is_dir()
    except OSError:
        return  # whether it can be written is said later, with the reason
    if is_folder:
        raise ValueError(f"given the folder {given!r}")


def _check_number(setting: Setting, given: str) -> None:
    try:
        number = float(given) if setting.kind is Kind.SECONDS else int(given)
    except ValueError:
        raise ValueError(_given(given)) from None
    never = setting.zero_means_never and number == 0
    if not never and not setting.minimum <= number <= setting.maximum:
        raise ValueError(_given(given))


def _check_listen_address(given: str) -> None:
    if not given:
        return
    host, colon, port = given.rpartition(":")
    bracketed = host.startswith("[") or ":" not in host
    if not colon or not bracketed or (host and not _is_host(host)) or not _is_port(port):
        raise ValueError(_given(given))


def is_true(text: str) -> bool:
    """Whether a checked boolean is true."""
    return text.lower() in TRUE_WORDS


def read_text(path: Path) -> str:
    """The file's text without its trailing newline; ValueError where it can't be a secret."""
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE_BYTES + 1)
    if len(content) > LARGEST_FILE_BYTES:
        raise ValueError(f"larger than {LARGEST_FILE_BYTES} bytes")
    return content.decode("utf-8-sig").rstrip("\r\n")  # some editors begin a file with a mark


def why(error: OSError | ValueError) -> str:
    """Say why a file can't be used."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    return error.strerror or "input/output error" if isinstance(error, OSError) else str(error)


def shown_key(key: object) -> str:
    """A key as far as it looks like one: in `{pass:hunter2}` all of it is the key."""
    text = str(key)
    start: str = _KEY_START.findall(text)[0]
    return start if start == text else f"{start}…"


_KEY_START = re.compile(r"[A-Za-z0-9_.-]{0,40}")
