"""Write the shells' completions, `exporter/completion.*`: `python -m docs.generate_completion`.

They are files of the package, so that qSticky itself does not need the library that writes them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import shtab

from exporter import cli

FOLDER = Path(cli.__file__).parent


def file(shell: str) -> Path:
    """Where the completion of that shell is."""
    return FOLDER / f"completion.{shell}"


def completion(shell: str) -> str:
    """The completion of that shell, from the parser of the command line."""
    parser = cli._parser()
    _complete_files(parser)
    text: str = shtab.complete(parser, shell=shell)
    return text.rstrip("\n") + "\n"


def _complete_files(parser: argparse.ArgumentParser) -> None:
    """Let options that take a file offer files."""
    for action in parser._actions:
        if action.metavar == "FILE":
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # as shtab wants it
        if isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                _complete_files(subparser)


if __name__ == "__main__":
    for shell in cli.SHELLS:
        file(shell).write_text(completion(shell), encoding="utf-8")
