"""A secret is never shown, and its file is read again at each use."""

from pathlib import Path

import pytest

from exporter.config.secret import Secret


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("first-fox\n")
    return path


def test_it_is_shown_as_stars_and_an_empty_one_as_nothing() -> None:
    assert (str(Secret("hunter2")), str(Secret())) == ("***", "")
    assert "hunter2" not in repr(Secret("hunter2"))


def test_one_from_a_variable_stays_as_it_is() -> None:
    assert Secret("hunter2").current() == Secret("hunter2")


def test_its_file_is_read_again_and_nothing_of_it_is_shown(file: Path) -> None:
    secret = Secret("first-fox", file)
    file.write_text(" second-fox \n")

    assert secret.current() == Secret("second-fox", file)
    assert "-fox" not in repr(secret) + repr(secret.current())


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"two\nlines\n", "given a line break or another control character"),
        (b"\xff", "it is not UTF-8 text"),
        (b"x" * 1_000_001, "larger than 1000000 bytes"),
        (b"", ""),
        (None, "No such file or directory"),
    ],
)
def test_a_file_that_goes_bad_keeps_what_was_read_last_and_says_why(
    content: bytes | None, problem: str, file: Path
) -> None:
    secret = Secret("first", file)
    file.write_text("second")
    assert secret.current().value == "second"
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)

    kept = secret.current()
    assert (kept.value, kept.problem) == ("second", problem)
    assert kept.fix_prefix == (f"fix {file} first ({problem}), then " if problem else "")
    file.write_text("third")
    assert (secret.current().value, secret.current().fix_prefix) == ("third", "")


def test_advice_names_the_place_where_the_value_is(file: Path) -> None:
    fix, name = "correct QBITTORRENT_PASS; then wait", "QBITTORRENT_PASS"
    assert Secret("x").advice(fix, name) == fix
    in_yaml = Secret("x", label="tunnels[1].qbittorrent.pass").current()
    assert in_yaml.advice(fix, name) == "correct tunnels[1].qbittorrent.pass; then wait"
    in_file = Secret("x", file, label="QBITTORRENT_PASS_FILE")
    assert in_file.advice(fix, name) == f"correct what is in {file}; then wait"
    file.write_text("")
    empty = Secret("", file, label="QBITTORRENT_PASS_FILE").current()
    assert empty.advice(fix, name).startswith(f"the file {file} is empty: write the secret")
    assert empty.advice(fix, name).endswith(f"into it, or {fix}")


def test_a_file_that_is_gone_before_it_was_read_again_keeps_the_first_value(file: Path) -> None:
    file.unlink()

    assert Secret("first", file).current().value == "first"
