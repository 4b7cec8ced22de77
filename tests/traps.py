"""What somebody may lay in the place of our file, in a folder where others may write."""

import os
from collections.abc import Callable
from pathlib import Path

Trap = Callable[[Path, Path], None]
"""Lays something at the first path; where it leads anywhere, to the second."""


def fifo(path: Path, _: Path) -> None:
    os.mkfifo(path)


def symbolic_link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def hard_link(path: Path, victim: Path) -> None:
    path.hardlink_to(victim)


def link_to_itself(path: Path, _: Path) -> None:
    path.symlink_to(path)


TRAPS: list[Trap] = [fifo, symbolic_link, hard_link, link_to_itself]
