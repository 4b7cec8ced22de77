"""YAML without surprises."""

from pathlib import Path

import pytest

from exporter.config.strict_yaml import load_yaml


def loaded(folder: Path, text: str) -> object:
    file = folder / "some.yml"
    file.write_text(text)
    return load_yaml(file)


def test_a_number_of_64_bits_is_a_number(tmp_path: Path) -> None:
    assert loaded(tmp_path, "18446744073709551615") == 18446744073709551615


def test_a_number_too_long_to_print_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^found a huge number at line 2$"):
        loaded(tmp_path, f"\n{'9' * 30}")


@pytest.mark.parametrize("text", ["!it's-hunter2 x", "!hunter2 x", "*hunter2"])
def test_an_error_quotes_nothing_of_the_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r" at line 1$") as raised:
        loaded(tmp_path, text)
    assert "hunter2" not in str(raised.value)
