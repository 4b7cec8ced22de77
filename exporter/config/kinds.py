"""The kinds of values: what each has to look like, in words, and how its text is parsed."""

from __future__ import annotations

import ipaddress
import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from exporter.config.given import quoted, quoted_path, why
from exporter.healthcheck import at_home, holds_credentials

TRUE_WORDS, FALSE_WORDS = (
    ("true", "t", "1", "yes", "y", "on"),
    ("false", "f", "0", "no", "n", "off"),
)
_BASE_PATH = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+")
_ZONE = re.compile(r"[A-Za-z0-9_.-]+")
_HOST_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")


class Kind(NamedTuple):
    """What a setting expects, in words, and how a trimmed text becomes its value."""

    expected: str
    convert: Callable[[str], Any]
    """Returns the value; raises ValueError with what was given."""
    secret: bool = False
    keeps_blanks: bool = False
    """Whether blanks at its ends are a part of it."""
    quoted_in_yaml: bool = False
    """Whether YAML may take it for something else, such as 0123 for 83 and no for false."""
    empty_is_a_value: bool = False
    """Whether an empty variable differs from one that is not set."""
    words: tuple[str, ...] = ()
    """All values there are, where they are few."""
    substitute: Callable[[str], str] | None = None
    """What is used in place of a wrong text, where that is safe; empty: the default."""

    def trim(self, text: str) -> str:
        """Return the text without what does not belong to the value at its ends."""
        return text.rstrip("\r\n") if self.keeps_blanks else text.strip()

    def parse(self, text: str) -> Any:
        """Return the value of a text; raise ValueError with what was given."""
        return self.convert(self.trim(text))


def choice(*words: str) -> Kind:
    """Return the kind with these values, in capitals or not."""
    by_folded = {word.lower(): word for word in words}

    def convert(text: str) -> str:
        if text.lower() not in by_folded:
            raise _wrong(text)
        return by_folded[text.lower()]

    return Kind(f"one of {', '.join(words)}", convert, words=words)


def safe_choice(*words: str, aliases: Mapping[str, str] = MappingProxyType({})) -> Kind:
    """Return a choice whose default is used in place of a wrong word."""
    strict = choice(*words)

    def convert(text: str) -> str:
        chosen: str = strict.convert(aliases.get(text.lower(), text))
        return chosen

    return strict._replace(convert=convert, substitute=lambda _: "")


def safe_words(*words: str) -> Kind:
    """Return the kind of some of these words; the default is used in place of a wrong one."""
    one = choice(*words)

    def convert(text: str) -> tuple[str, ...]:
        return tuple(one.convert(word) for word in text.replace(",", " ").split())

    return Kind(f"some of {', '.join(words)}", convert, substitute=lambda _: "")


def seconds(minimum: float, maximum: float, *, or_never: bool = False) -> Kind:
    """Return the kind of a time within these limits, or the nearest one; 0 may mean never."""
    never = ", or 0 for never" if or_never else ""
    convert = partial(_number, float, minimum, maximum, or_never)

    def nearest(text: str) -> str:
        try:
            number = float(text)
        except ValueError:
            return ""
        if math.isnan(number) or (or_never and number < 0):
            return ""
        return f"{min(max(number, minimum), maximum):g}"

    return Kind(f"seconds, {minimum:g} to {maximum:g}{never}", convert, substitute=nearest)


def count(minimum: int, maximum: int) -> Kind:
    """Return the kind of a whole number within these limits."""
    convert = partial(_number, _whole, minimum, maximum, False)
    return Kind(f"a whole number, {minimum} to {maximum}", convert)


def _number(
    make: Callable[[str], float], minimum: float, maximum: float, or_never: bool, text: str
) -> float:
    try:
        number = make(text)
    except ValueError:
        raise _wrong(text) from None
    if not minimum <= number <= maximum and not (or_never and number == 0):
        raise _wrong(text)
    return number


def _wrong(text: str) -> ValueError:
    return ValueError(f"given {quoted(text)}")


def _line(text: str) -> str:
    """Return one line of text; it may be a secret, so no error shows it."""
    _key(text.replace("\t", ""))
    return text


def _key(text: str) -> str:
    """Return what a header of HTTP can hold: one line without a tab."""
    categories = {unicodedata.category(character) for character in text}
    if "Cc" in categories:
        raise ValueError("given a line break or another control character")
    if "Cs" in categories:
        raise ValueError("given what is not UTF-8")
    return text


def _in_one_line(text: str) -> str:
    """Return a text whose lines may each hold a value; what it says is judged by its user."""
    return " ".join(text.split())


class Address(NamedTuple):
    """A host, and what `http://host:port/path` says beside it, as text; empty: nothing."""

    host: str
    port: str = ""
    https: str = ""
    path: str = ""
    usual_port: str = ""
    """What scheme and path mean where no port is named."""


_ADDRESS = re.compile(
    r"((?P<scheme>https?)://)?(?P<host>\[.*\]|[^:/]*)(:(?P<port>[0-9]+))?(?P<path>/.*)?", re.I
)


def _address(text: str, *, may_have_path: bool = False) -> Address:
    if _is_host(text):
        return Address(text)
    parts = _ADDRESS.fullmatch(text)
    host = _in_ascii(parts["host"]) if parts else ""
    if not parts or not _is_host(host):
        raise _wrong(text)
    try:
        _port(parts["port"] or "1")
        path = _base_path(parts["path"] or "")
    except ValueError:
        raise _wrong(text) from None
    if path and not may_have_path:
        raise _wrong(text)
    port = parts["port"] or ""
    match (parts["scheme"] or "").lower():
        case "https":
            return Address(host, port, "true", path, "443")
        case "http":  # by habit, and the port is qBittorrent's, unless a proxy is meant
            return Address(host, port, "false", path, path and "80")
        case _:
            return Address(host, port, "", path)


def _in_ascii(host: str) -> str:
    """Return a name such as bücher.example as DNS has it."""
    try:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        return host


def _is_host(text: str) -> bool:
    if _HOST_NAME.fullmatch(text):
        return True
    bracketed = text.startswith("[") and text.endswith("]")
    address, percent, zone = (text[1:-1] if bracketed else text).partition("%")
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        return False
    return not percent or bool(_ZONE.fullmatch(zone))


def _base_path(text: str) -> str:
    path = f"/{text.strip('/')}"
    if path == "/":
        return ""
    if not _BASE_PATH.fullmatch(path):
        raise _wrong(text)
    return path


def _hosts(text: str) -> tuple[str, ...]:
    try:
        return tuple(_address(host.strip()).host for host in text.split(",") if host.strip())
    except ValueError:
        raise _wrong(text) from None


def _http_url(text: str) -> SplitResult:
    """Return the parts of an absolute URL; raise ValueError, which may quote it."""
    parts = urlsplit(text)
    host = parts.hostname or ""
    plain = text.isascii() and text.isprintable() and " " not in text
    if parts.scheme not in ("http", "https") or not _is_host(host) or parts.port == 0 or not plain:
        raise ValueError
    return parts


def _port_url(text: str) -> str:
    if not text:
        return ""
    try:
        parts = _http_url(text)
    except ValueError:
        raise _wrong(text) from None
    named = re.findall(r"\{([^{}]*)\}", parts.path + parts.query)
    if "@" in parts.netloc or "port" not in named or set(named) - {"port", "ip"}:
        raise _wrong(text)
    return text


def _proxy(text: str) -> str:
    """Return the URL of a proxy, which may hold a password, so no error shows it."""
    try:
        return text and _http_url(text).geturl()
    except ValueError:
        raise ValueError("given something else") from None


def _whole(text: str) -> int:
    """Return a whole number, also one with a plus or a fraction of zero."""
    if not text.isascii():
        raise ValueError
    return int(re.sub(r"\.0+$", "", text))


def _port(text: str) -> int:
    return int(_number(_whole, 1, 65535, False, text))


def _boolean(text: str) -> bool:
    if text.lower() not in TRUE_WORDS + FALSE_WORDS:
        raise _wrong(text)
    return text.lower() in TRUE_WORDS


def _readable_file(text: str) -> Path | None:
    if not text:
        return None
    try:
        with Path(text).open("rb"):
            return Path(text)
    except (OSError, ValueError) as error:
        raise ValueError(f"can't read {quoted_path(text)} ({why(error)})") from None


def _ca_file(text: str) -> str:
    if _readable_file(text) is None:
        return ""
    import ssl  # 15 ms that people without such a file should not wait for

    try:
        ssl.create_default_context(cafile=text)
    except ssl.SSLError:
        raise ValueError(f"given {quoted_path(text)}, which holds no certificate") from None
    return text


def _path(text: str) -> Path | None:
    if not text:
        return None
    if holds_credentials(text):  # it would be shown in the log and by the healthcheck
        raise _wrong(text)
    path = Path(at_home(text))
    try:
        is_folder = path.is_dir()
    except OSError:
        is_folder = False  # whether it can be written is said later, with the reason
    # one with the file's name was put there, by Docker where a mounted file did not exist, or by
    # somebody else who may write there: the start goes on, and says it when it writes
    if is_folder and path.suffix != ".json":
        raise ValueError(f"given the folder {quoted_path(text)}")
    return path


def _listen_address(text: str) -> str:
    if not text:
        return ""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") or ":" not in host
    is_port = re.fullmatch("[0-9]{1,5}", port) and int(port) <= 65535
    if not colon or not bracketed or not is_port or (host and not _is_host(host)):
        raise _wrong(text)
    return text


TEXT = Kind("text", _line, quoted_in_yaml=True)
PASSWORD = Kind("text", _line, secret=True, keeps_blanks=True, quoted_in_yaml=True)
KEY = Kind("text", _key, secret=True, quoted_in_yaml=True)
"""Sent as a header of HTTP, which can't have blanks at its ends."""
URLS = Kind("URLs of Apprise, separated by blanks or commas", _in_one_line, secret=True)
HOST = Kind("a host name or address", _address, quoted_in_yaml=True)
HOST_AND_PATH = HOST._replace(convert=partial(_address, may_have_path=True))
BASE_PATH = Kind("a path such as /qbittorrent", _base_path)
HOSTS = Kind("host names or addresses, separated by commas", _hosts)
PORT_URL = Kind(
    "an http or https URL with {port} in its path",
    _port_url,
    substitute=lambda _: "",  # the port matters more than its proof
)
PROXY = Kind("a URL such as http://gluetun:8888", _proxy, secret=True, quoted_in_yaml=True)
PORT = Kind("a port, 1 to 65535", _port)
BOOLEAN = Kind("true or false", _boolean)
FILE = Kind("the path of a readable file", _readable_file)
CA_FILE = Kind("the path of a readable PEM file", _ca_file, quoted_in_yaml=True)
PATH = Kind("the path of a file", _path)
LISTEN_ADDRESS = Kind("host:port, :port, or empty for none", _listen_address, empty_is_a_value=True)
