"""Brings programs from Debian packages, without root, into a cache beside the checkout."""

import os
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent


class PartMissing(Exception):
    """A real part could not be brought to this machine; the message says why."""


def cache() -> Path:
    """The folder that holds the parts: $QSTICKY_PARTS, or .cache/parts in the checkout."""
    given = os.environ.get("QSTICKY_PARTS")
    return Path(given).resolve() if given else REPOSITORY / ".cache" / "parts"


def bring(name: str, suite: str, *packages: str) -> Path:
    """Unpack packages of a Debian suite; the answer is the folder of their launchers."""
    return run_script("get-debian-packages", name, suite, *packages)


def run_script(script: str, name: str, *arguments: str) -> Path:
    """Run a get-… script for the part of that name; quick where the part is there already."""
    directory = cache() / name
    command = [str(HERE / script), str(directory), *arguments]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PartMissing(f"{script} did not finish: {error}") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise PartMissing(f"{name}: {lines[-1]}")
    return directory / "bin"
