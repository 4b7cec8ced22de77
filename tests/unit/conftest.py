"""What several unit tests need: a clock that stands still, a place for status.json, the logger."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.report.log import logger
from tests.fakes import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "status.json"


@pytest.fixture
def own_logger() -> Iterator[None]:
    """Let the test set up qSticky's logger, and give it back as it was."""
    before = (logger.handlers, logger.level, logger.propagate)
    yield
    logger.handlers, logger.level, logger.propagate = before
