"""The YAML file: what mutation testing and fuzzing found untested."""

from pathlib import Path

import pytest

from exporter.config.tunnels_file import read_tunnels


def mistakes_of(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "config.yml"
    file.write_text(text)
    return read_tunnels(file)[1]


def test_two_tunnels_without_names_are_two_mistakes_and_not_a_third_for_equal_names(
    tmp_path: Path,
) -> None:
    expected = "expected a name of up to 63 letters, digits, '.', '_' and '-'"
    assert mistakes_of(tmp_path, "tunnels: [{rebind: auto}, {rebind: auto}]") == [
        f"tunnels[0].name: given nothing; {expected}",
        f"tunnels[1].name: given nothing; {expected}",
    ]


@pytest.mark.parametrize("place", ["{gluetun: {port: %s}}", "{? %s : 1}", "{name: %s}"])
def test_a_number_too_long_to_print_is_a_mistake_wherever_it_stands(
    tmp_path: Path, place: str
) -> None:
    """Python refuses to print numbers of more than 4,300 digits."""
    (mistake,) = mistakes_of(tmp_path, f"tunnels: [{place % ('0b' + '1' * 20_000)}]")
    assert "found a huge number at line 1" in mistake
