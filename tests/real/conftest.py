"""What the tests on real parts share."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import missing_part
from tests.parts import debian, docker


@pytest.fixture(scope="session")
def image_context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the image is built from."""
    return docker.copied_context(tmp_path_factory.mktemp("image") / "context")


@pytest.fixture(scope="session")
def engine(image_context: Path) -> Iterator[docker.Engine]:
    """A Docker Engine that has built the image; one for each process of the tests."""
    with contextlib.ExitStack() as stack:
        try:
            engine = stack.enter_context(docker.Engine())
        except debian.PartMissing as missing:
            missing_part(str(missing))
        engine.import_base()
        engine.make_image(image_context, docker.IMAGE)
        yield engine
