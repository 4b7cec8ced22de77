"""A file in a folder where others may write: whole, ours alone, and never waited for."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exporter.errors import StatusFileError
from exporter.model import Reason
from exporter.report import safe_file
from tests.traps import TRAPS

FREE_SPACE = "free some space on that disk; qSticky goes on without the file meanwhile"


@pytest.fixture
def closed_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def message_of(path: Path) -> str:
    with pytest.raises(StatusFileError) as raised:
        safe_file.write(path, b"new")
    assert raised.value.reason is Reason.IO
    return raised.value.message


@pytest.fixture(params=TRAPS, ids=lambda kind: kind.__name__)
def trap(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    """Puts something in our way; what it leads to stays as it was."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    yield lambda path: request.param(path, victim)
    assert victim.read_text() == "precious"


# Writing


@pytest.mark.usefixtures("closed_umask")
def test_the_file_is_replaced_as_a_whole_for_everybody_to_read(path: Path) -> None:
    safe_file.write(path, b"the first and longer one")
    safe_file.write(path, b"the second")
    assert path.read_bytes() == b"the second"
    assert path.stat().st_mode & 0o777 == 0o644
    assert names_in(path.parent) == ["status.json"]


def test_the_folder_is_made_where_it_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "status.json"
    safe_file.write(path, b"new")
    assert path.read_bytes() == b"new"


WRITER = """
import json, sys, time
from pathlib import Path
from exporter.report import safe_file
path, content = Path(sys.argv[1]), json.dumps({"healthy": True, "by": sys.argv[2] * 200_000})
until = time.monotonic() + 1
while time.monotonic() < until:
    safe_file.write(path, content.encode())
"""


def test_two_processes_on_one_volume_never_give_a_reader_an_empty_or_half_a_file(
    path: Path,
) -> None:
    """As two containers, where both are process 1; anybody may read, without our care."""
    path.parent.chmod(0o777)
    safe_file.write(path, b"{}")
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), by]) for by in "ab"]
    reads = 0
    while any(writer.poll() is None for writer in writers):
        json.loads(path.read_bytes())
        reads += 1
    assert [writer.returncode for writer in writers] == [0, 0]
    assert reads > 100
    assert names_in(path.parent) == ["status.json"]


def test_what_lies_under_the_name_of_the_new_file_is_neither_waited_for_nor_written_through(
    trap: Callable[[Path], None], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.report.safe_file.secrets.token_hex", lambda _: "guessed")
    trap(path.with_name(".status.json.guessed.new"))
    assert message_of(path).endswith("File exists")


def test_the_name_of_the_new_file_cannot_be_guessed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = []
    monkeypatch.setattr(Path, "replace", lambda new, _: used.append(new.name))
    for _ in "ab":
        safe_file.write(path, b"new")
    assert len(set(used)) == 2
    assert all(len(name) == len(".status.json..new") + 16 for name in used)


def test_what_lies_under_the_name_of_the_file_is_replaced(
    trap: Callable[[Path], None], path: Path
) -> None:
    trap(path)
    safe_file.try_to_write(path)
    safe_file.write(path, b"new")
    assert path.read_bytes() == b"new"


# Writing where only the file itself can be written


def refuse_new_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a folder of somebody else."""
    really = os.open

    def refuse(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, "Permission denied")
        return really(path, flags, mode)

    monkeypatch.setattr("exporter.report.safe_file.os.open", refuse)


def refuse_replacing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the file itself is a mount."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(Path, "replace", refuse)


in_place_only = pytest.mark.parametrize("only_in_place", [refuse_new_files, refuse_replacing])


@in_place_only
def test_a_file_that_cannot_be_replaced_is_overwritten(
    only_in_place: Callable[[pytest.MonkeyPatch], None],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path.write_bytes(b"the first and longer one")
    inode = path.stat().st_ino
    only_in_place(monkeypatch)
    safe_file.write(path, b"the second")
    assert path.read_bytes() == b"the second"
    assert path.stat().st_ino == inode
    assert names_in(path.parent) == ["status.json"]


@in_place_only
def test_what_is_not_a_file_of_its_own_is_not_overwritten(
    only_in_place: Callable[[pytest.MonkeyPatch], None],
    trap: Callable[[Path], None],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trap(path)
    only_in_place(monkeypatch)
    assert message_of(path).startswith(f"can't write the status file {path}: ")


def test_a_fifo_that_somebody_reads_is_not_written_to(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    refuse_replacing(monkeypatch)
    message_of(path)
    assert os.read(reader, 10) == b""
    os.close(reader)


# What can't be written


def test_a_file_in_the_place_of_the_folder_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "file" / "status.json"
    path.parent.touch()
    assert message_of(path) == f"can't write the status file {path}: Not a directory"
    with pytest.raises(StatusFileError, match="Not a directory"):
        safe_file.try_to_write(path)


def test_a_folder_in_the_place_of_the_file_is_a_clear_error_and_no_litter(path: Path) -> None:
    path.mkdir()
    assert message_of(path) == f"can't write the status file {path}: Is a directory"
    with pytest.raises(StatusFileError, match="Is a directory"):
        safe_file.try_to_write(path)
    assert names_in(path.parent) == ["status.json"]


@pytest.mark.parametrize(
    ("number", "fix"),
    [
        (errno.ENOSPC, FREE_SPACE),
        (errno.EDQUOT, FREE_SPACE),
        (errno.EROFS, "mount it writable, as a volume, or set HEALTH_FILE to another path"),
        (errno.EISDIR, "remove the folder of that name, or set HEALTH_FILE to another path"),
        (errno.EIO, StatusFileError.default_fix),
    ],
)
def test_what_people_can_change_has_a_fix_of_its_own(
    number: int, fix: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("exporter.report.safe_file.os.open", refuse)
    with pytest.raises(StatusFileError) as raised:
        safe_file.write(path, b"new")

    assert raised.value.fix == fix


# Reading


def test_only_a_regular_file_is_read_and_nothing_is_waited_for(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        safe_file.read(path)
    os.mkfifo(path)
    with pytest.raises(ValueError, match="not a regular file"):
        safe_file.read(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        safe_file.read(path)


def test_at_most_20_million_bytes_are_read(path: Path) -> None:
    path.write_bytes(b" " * 20_000_000)
    assert len(safe_file.read(path)) == 20_000_000
    path.write_bytes(b" " * 20_000_001)
    with pytest.raises(ValueError, match="too large"):
        safe_file.read(path)


# What a writer that was killed left behind


def test_new_files_that_were_never_moved_into_place_are_removed_later(path: Path) -> None:
    old, young, other = (
        path.with_name(n) for n in (".status.json.1.new", ".status.json.2.new", "x")
    )
    for file in (old, young, other):
        file.touch()
    path.with_name(".status.json.0.new").mkdir()
    for file in (old, other, path.with_name(".status.json.0.new")):
        os.utime(file, (1.0, 1.0))
    safe_file.remove_left_behind(path)

    assert names_in(path.parent) == [".status.json.0.new", ".status.json.2.new", "x"]
