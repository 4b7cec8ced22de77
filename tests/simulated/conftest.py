"""What the simulated tests share: the rig, and how much hypothesis tries."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.rig import Rig

EXAMPLES = os.environ.get("EXAMPLES", "")
"""`EXAMPLES=1000` looks for others than the same few of each run."""
IN_CI = os.environ.get("CI") == "true"

settings.register_profile(
    "simulated",
    max_examples=int(EXAMPLES or (40 if IN_CI else 15)),
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
    # to make a failing case smaller takes minutes, in which nobody sees that it failed
    phases=[phase for phase in Phase if EXAMPLES or phase is not Phase.shrink],
)
settings.load_profile("simulated")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path) as rig:
        yield rig


@pytest.fixture
def signals() -> Iterator[None]:
    """Gives the signals back that a loop has taken."""
    taken = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in taken]
    yield
    for number, handler in zip(taken, before, strict=True):
        signal.signal(number, handler)
