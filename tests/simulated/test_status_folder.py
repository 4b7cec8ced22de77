"""Whoever may write in the status folder stops no start, and gets nothing else written."""

import os
from pathlib import Path

import pytest

from tests.rig import FIRST_PORT, make_rig
from tests.traps import TRAPS, Trap


def link_to_nothing(path: Path, victim: Path) -> None:
    path.symlink_to(victim.with_name("nothing"))


def folder(path: Path, _: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("lay", [*TRAPS, link_to_nothing, folder])
def test_a_start_goes_on_whatever_lies_in_the_place_of_the_file(lay: Trap, tmp_path: Path) -> None:
    status_folder = tmp_path / "health"
    status_folder.mkdir(mode=0o777)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    lay(status_folder / "status.json", victim)
    os.mkfifo(status_folder / ".status.json.1.new")  # the name that was once used in a container
    with make_rig(status_folder) as rig:
        assert rig.check().in_sync
        assert rig.qbittorrent.listening_port == FIRST_PORT
        if lay is not folder:
            assert rig.status["state"] == "in_sync"
    assert victim.read_text() == "precious"
    assert {file.name for file in tmp_path.iterdir()} == {"health", "victim"}
