"""What the tests of the image share: it is built once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import missing_part
from tests.parts import debian, image


@pytest.fixture(scope="session")
def image_context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the image is built from."""
    return image.copied_context(tmp_path_factory.mktemp("image") / "context")


@pytest.fixture(scope="session")
def buildah(image_context: Path) -> Iterator[image.Buildah]:
    """buildah, with the image in its storage."""
    try:
        tool = image.buildah()
    except debian.PartMissing as missing:
        missing_part(str(missing))
        raise
    tool.make(image_context, image.UNDER_TEST)
    yield tool
    tool("rmi", image.UNDER_TEST)
