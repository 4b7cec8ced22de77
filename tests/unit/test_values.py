"""What a value has to look like, to the letter."""

from pathlib import Path

import pytest

from exporter.config.kinds import LARGEST_FILE_BYTES, check, is_true, read_text, shown_key, why
from exporter.config.settings import BY_NAME

HOST, PORT, SWITCH = (
    BY_NAME[name] for name in ("GLUETUN_HOST", "GLUETUN_PORT", "QBITTORRENT_HTTPS")
)


@pytest.mark.parametrize("word", ["true", "1", "yes", "on", "True", "YES", "On"])
def test_words_that_switch_something_on(word: str) -> None:
    check(SWITCH, word)
    assert is_true(word)


@pytest.mark.parametrize("word", ["false", "0", "no", "off", "False", "NO", "Off"])
def test_words_that_switch_something_off(word: str) -> None:
    check(SWITCH, word)
    assert not is_true(word)


def test_a_long_value_is_shown_up_to_its_80th_character() -> None:
    with pytest.raises(ValueError, match=f"^given '{'!' * 80}'$"):
        check(SWITCH, "!" * 80)
    with pytest.raises(ValueError, match=f"^given '{'!' * 80}'…$"):
        check(SWITCH, "!" * 81)


@pytest.mark.parametrize("host", ["[::1", "::1]", "[gluetun]"])
def test_half_a_pair_of_brackets_is_no_host(host: str) -> None:
    with pytest.raises(ValueError, match=r"^given "):
        check(HOST, host)


def test_the_highest_port_is_65535() -> None:
    check(PORT, "65535")
    with pytest.raises(ValueError, match=r"^given '65536'$"):
        check(PORT, "65536")


def test_a_file_may_have_a_million_bytes(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"x" * LARGEST_FILE_BYTES)
    assert read_text(file) == "x" * 1_000_000

    file.write_bytes(b"x" * (LARGEST_FILE_BYTES + 1))
    with pytest.raises(ValueError, match=r"^larger than 1000000 bytes$"):
        read_text(file)


def test_only_the_ends_of_lines_are_cut_off_a_secret(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b" fox\r\n\n")
    assert read_text(file) == " fox"


def test_an_error_without_words_is_told_too() -> None:
    assert why(OSError()) == "input/output error"
    assert why(ValueError("no certificate")) == "no certificate"


@pytest.mark.parametrize(
    ("key", "shown"),
    [("port", "port"), ("pass:hunter2", "pass…"), (":hunter2", "…"), ("k" * 41, "k" * 40 + "…")],
)
def test_of_a_key_only_its_name_is_shown(key: str, shown: str) -> None:
    assert shown_key(key) == shown
