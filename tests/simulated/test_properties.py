"""Runs life.py in a process of its own: what other tests leave behind slows it down."""

import subprocess
import sys
from pathlib import Path

LIFE = Path(__file__).with_name("life.py")


def test_whatever_happens_the_promises_hold() -> None:
    command = [sys.executable, "-m", "pytest", "-q", str(LIFE)]
    done = subprocess.run(
        command, cwd=LIFE.parents[2], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
