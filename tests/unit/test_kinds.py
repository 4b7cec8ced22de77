"""What each kind of value takes, to the letter, and what it says of the rest."""

from pathlib import Path
from typing import Any

import pytest

from exporter.config import kinds
from exporter.config.given import LARGEST_FILE_BYTES, quoted, quoted_path, read_text, shown_key, why
from exporter.config.kinds import Address, Kind
from exporter.model import RebindPolicy
from tests.conftest import Certificate

SECONDS = kinds.seconds(0.5, 60)
RARELY = kinds.seconds(300, 600, or_never=True)
COUNT = kinds.count(0, 31)
CHOICE = kinds.choice(*RebindPolicy)

TAKEN: list[tuple[Kind, str, Any]] = [
    (kinds.TEXT, " pässwörd ¡ € ", "pässwörd ¡ €"),
    (kinds.PASSWORD, " two words \r\n\n", " two words "),
    (kinds.PASSWORD, "fox\ttail", "fox\ttail"),
    (kinds.KEY, "\tone key \n", "one key"),
    (kinds.HOST, "my_box-1.example.", Address("my_box-1.example.")),
    (kinds.HOST, "10.0.0.1", Address("10.0.0.1")),
    (kinds.HOST, "::1", Address("::1")),
    (kinds.HOST, "[fd00::1]", Address("[fd00::1]")),
    (kinds.HOST, "fe80::1%eth0.1", Address("fe80::1%eth0.1")),
    (kinds.HOST, "http://bücher.example:81", Address("xn--bcher-kva.example", "81", "false")),
    (kinds.HOST, "box:8001", Address("box", "8001")),
    (kinds.HOST, "HTTP://box/", Address("box", https="false")),
    (kinds.HOST, "https://[fd00::1]:443", Address("[fd00::1]", "443", "true", "", "443")),
    (kinds.HOST, "https://box", Address("box", "", "true", "", "443")),
    (kinds.HOST_AND_PATH, "https://box/my/qb/", Address("box", "", "true", "/my/qb", "443")),
    (kinds.HOST_AND_PATH, "http://box/qb", Address("box", "", "false", "/qb", "80")),
    (kinds.HOST_AND_PATH, "http://box:8080/qb", Address("box", "8080", "false", "/qb", "80")),
    (kinds.HOST_AND_PATH, "box:81/qb", Address("box", "81", path="/qb")),
    (kinds.HOSTS, "", ()),
    (
        kinds.HOSTS,
        "nas.example, https://10.0.0.1:443/ ,,[::1]",
        ("nas.example", "10.0.0.1", "[::1]"),
    ),
    (kinds.BASE_PATH, "", ""),
    (kinds.BASE_PATH, "/", ""),
    (kinds.BASE_PATH, "/qbittorrent", "/qbittorrent"),
    (kinds.BASE_PATH, "/box", "/box"),
    (kinds.BASE_PATH, "my_apps/..q-1.~/", "/my_apps/..q-1.~"),
    (kinds.PORT_URL, "", ""),
    (kinds.PORT_URL, "http://box:81/{ip}?p={port}", "http://box:81/{ip}?p={port}"),
    (kinds.PROXY, "", ""),
    (kinds.PROXY, "http://ann:p%40ss@gluetun:8888", "http://ann:p%40ss@gluetun:8888"),
    (kinds.PORT, "1", 1),
    (kinds.PORT, " 08080 ", 8080),
    (kinds.PORT, "65535", 65535),
    (kinds.PORT, "+8080.0", 8080),
    (SECONDS, "0.5", 0.5),
    (SECONDS, "60", 60),
    (RARELY, "0", 0),
    (RARELY, "300", 300),
    (COUNT, "0", 0),
    (COUNT, "31", 31),
    (CHOICE, "Always", RebindPolicy.ALWAYS),
    (kinds.FILE, "", None),
    (kinds.FILE, "/dev/null", Path("/dev/null")),
    (kinds.CA_FILE, "", ""),
    (kinds.PATH, "", None),
    (kinds.PATH, "/data/me@home/status.json", Path("/data/me@home/status.json")),
    (kinds.PATH, "/" + "x" * 300, Path("/" + "x" * 300)),
    (kinds.LISTEN_ADDRESS, "", ""),
    (kinds.LISTEN_ADDRESS, ":9809", ":9809"),
    (kinds.LISTEN_ADDRESS, "[::]:9809", "[::]:9809"),
    (kinds.LISTEN_ADDRESS, "127.0.0.1:0", "127.0.0.1:0"),
    (kinds.LISTEN_ADDRESS, "127.0.0.1:65535", "127.0.0.1:65535"),
]
TAKEN += [
    (kinds.BOOLEAN, word, True)
    for word in ("true", "1", "yes", "on", "y", "t", "True", "YES", "On")
]
TAKEN += [
    (kinds.BOOLEAN, word, False) for word in ("false", "0", "no", "off", "n", "f", "NO", "Off")
]

CREDENTIALS = "given what looks like credentials (not shown)"
REFUSED: list[tuple[Kind, str, str]] = [
    (kinds.TEXT, "a\nb", "given a line break or another control character"),
    (kinds.TEXT, "\udcff", "given what is not UTF-8"),
    (kinds.KEY, "one\tkey", "given a line break or another control character"),
    (kinds.PASSWORD, "a\0", "given a line break or another control character"),
    (kinds.HOST, "tcp://box", "given 'tcp://box'"),
    (kinds.HOST, "two words", "given 'two words'"),
    (kinds.HOST, "zwei Wörter", "given 'zwei Wörter'"),
    (kinds.HOST, "\udcff", "given '\\udcff'"),
    (kinds.HOST, "http://", "given 'http://'"),
    (kinds.HOST, "box:", "given 'box:'"),
    (kinds.HOST, "box:65536", "given 'box:65536'"),
    (kinds.HOST, "http://box/qb?password=hunter2", "given 'http://box/qb?'…"),
    (kinds.HOST, "https://box/#/hunter2", "given 'https://box/#'…"),
    (kinds.HOST, "https://admin:12345/67890@box", CREDENTIALS),
    (kinds.HOST, "http://admin:99999/@box", CREDENTIALS),
    (kinds.HOST, "fe80::1%admin:hunter2@box", CREDENTIALS),
    (kinds.HOST, "a..b", "given 'a..b'"),
    (kinds.HOST, "box/path", "given 'box/path'"),
    (kinds.HOST, "[::1", "given '[::1'"),
    (kinds.HOST, "::1]", "given '::1]'"),
    (kinds.HOST, "[gluetun]", "given '[gluetun]'"),
    (kinds.HOSTS, "nas.example, a b", "given 'nas.example, a b'"),
    (kinds.HOSTS, "http://admin:hunter2,hunter3@box", CREDENTIALS),
    (kinds.BASE_PATH, "a//b", "given 'a//b'"),
    (kinds.BASE_PATH, "/qb/..", "given '/qb/..'"),
    (kinds.BASE_PATH, "./qb", "given './qb'"),
    (kinds.BASE_PATH, "a b", "given 'a b'"),
    (kinds.BASE_PATH, "https://box/q", "given 'https://box/q'"),
    (kinds.BASE_PATH, "/a/?token=hunter2", "given '/a/?'…"),
    (kinds.PORT_URL, "https://box/", "given 'https://box/'"),
    (kinds.PORT_URL, "https://box/{port}/{x}", "given 'https://box/{port}/{x}'"),
    (kinds.PORT_URL, "https://box:{port}/", "given 'https://box:{port}/'"),
    (kinds.PORT_URL, "ftp://box/{port}", "given 'ftp://box/{port}'"),
    (kinds.PORT_URL, "box/{port}", "given 'box/{port}'"),
    (kinds.PORT_URL, "http://[/{port}", "given 'http://[/{port}'"),
    (kinds.PORT_URL, "http://box:0/{port}", "given 'http://box:0/{port}'"),
    (kinds.PORT_URL, "http://box/a b{port}", "given 'http://box/a b{port}'"),
    (
        kinds.PORT_URL,
        "http://ann:secret@box/{port}",
        "given what looks like credentials (not shown)",
    ),
    (kinds.PROXY, "gluetun:8888", "given something else"),
    (kinds.PROXY, "socks5://ann:secret@gluetun", "given something else"),
    (kinds.PORT, "0", "given '0'"),
    (kinds.PORT, "65536", "given '65536'"),
    (kinds.PORT, "-1", "given '-1'"),
    (kinds.PORT, "8e3", "given '8e3'"),
    (kinds.PORT, "80.5", "given '80.5'"),
    (kinds.PORT, "٣", "given '٣'"),
    (kinds.PORT, "9" * 5000, f"given '{'9' * 80}'…"),
    (kinds.BOOLEAN, "maybe", "given 'maybe'"),
    (SECONDS, "0.49", "given '0.49'"),
    (SECONDS, "60.1", "given '60.1'"),
    (SECONDS, "0", "given '0'"),
    (SECONDS, "nan", "given 'nan'"),
    (SECONDS, "inf", "given 'inf'"),
    (SECONDS, "30s", "given '30s'"),
    (RARELY, "299", "given '299'"),
    (COUNT, "-1", "given '-1'"),
    (COUNT, "32", "given '32'"),
    (COUNT, "1.5", "given '1.5'"),
    (CHOICE, "sometimes", "given 'sometimes'"),
    (kinds.FILE, "/nonexistent", "can't read '/nonexistent' (No such file or directory)"),
    (kinds.FILE, "/", "can't read '/' (Is a directory)"),
    (kinds.CA_FILE, "/", "can't read '/' (Is a directory)"),
    (kinds.CA_FILE, "/dev/null", "given '/dev/null', which holds no certificate"),
    (kinds.PATH, "/", "given the folder '/'"),
    (kinds.LISTEN_ADDRESS, "9809", "given '9809'"),
    (kinds.LISTEN_ADDRESS, "0.0.0.0:65536", "given '0.0.0.0:65536'"),
    (kinds.LISTEN_ADDRESS, ":9809.0", "given ':9809.0'"),
    (kinds.LISTEN_ADDRESS, ":٣", "given ':٣'"),
    (kinds.LISTEN_ADDRESS, "::1:9809", "given '::1:9809'"),
    (kinds.LISTEN_ADDRESS, "a b:9809", "given 'a b:9809'"),
]


def test_a_folder_with_the_name_of_the_file_is_no_reason_not_to_start(tmp_path: Path) -> None:
    """Docker makes one where a mounted file does not exist."""
    folder = tmp_path / "status.json"
    folder.mkdir()
    assert kinds.PATH.parse(str(folder)) == folder


@pytest.mark.parametrize(("kind", "text", "value"), TAKEN)
def test_a_right_text_becomes_its_value(kind: Kind, text: str, value: Any) -> None:
    assert kind.parse(text) == value


@pytest.mark.parametrize(("kind", "text", "said"), REFUSED)
def test_a_wrong_text_is_refused_and_quoted(kind: Kind, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        kind.parse(text)

    assert str(raised.value) == said


def test_a_file_with_a_certificate_is_an_authority(certificate: Certificate) -> None:
    assert kinds.CA_FILE.parse(str(certificate.file)) == str(certificate.file)


def test_each_kind_says_what_it_expects() -> None:
    assert [kind.expected for kind in (SECONDS, RARELY, COUNT, CHOICE)] == [
        "seconds, 0.5 to 60",
        "seconds, 300 to 600, or 0 for never",
        "a whole number, 0 to 31",
        "one of auto, always, never",
    ]


# What a message shows


def test_a_long_value_is_shown_up_to_its_80th_character() -> None:
    assert quoted("x" * 80) == f"'{'x' * 80}'"
    assert quoted("x" * 81) == f"'{'x' * 80}'…"
    assert quoted_path("/x" * 2048) == f"'{'/x' * 2048}'"


def test_what_may_hold_a_password_is_not_shown() -> None:
    assert quoted("http://ann:hunter2@box") == "what looks like credentials (not shown)"
    assert quoted_path("http://ann:hunter2@box") == "what looks like credentials (not shown)"


def test_an_error_without_words_is_named_too() -> None:
    assert why(OSError()) == "input/output error"
    assert why(ValueError("no certificate")) == "no certificate"


@pytest.mark.parametrize(
    ("key", "shown"),
    [("port", "port"), ("pass:hunter2", "pass…"), (":hunter2", "…"), ("k" * 41, "k" * 40 + "…")],
)
def test_of_a_key_only_its_name_is_shown(key: str, shown: str) -> None:
    assert shown_key(key) == shown


def test_a_file_may_have_a_million_bytes_and_an_editors_mark(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"\xef\xbb\xbf fox\n")
    assert read_text(file) == " fox\n"

    file.write_bytes(b"x" * LARGEST_FILE_BYTES)
    assert read_text(file) == "x" * 1_000_000
    file.write_bytes(b"x" * (LARGEST_FILE_BYTES + 1))
    with pytest.raises(ValueError, match=r"^larger than 1000000 bytes$"):
        read_text(file)
