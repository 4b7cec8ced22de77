"""`make sbom`: the list of what is in the image, for those who have to know."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import exporter
from tests.parts import debian, image

LINUX = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
PRINT_PACKAGES = """
import importlib.metadata as m, json
print(json.dumps({each.name: each.version for each in m.distributions(path=PATH)}))
"""


def make_sbom(file: Path) -> Path:
    subprocess.run(
        ["make", "sbom", f"SBOM={file}", "SOURCE_DATE_EPOCH=1700000000"],
        cwd=debian.REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        # without what an outer make says to its own children
        env={name: value for name, value in os.environ.items() if "MAKE" not in name},
    )
    return file


@pytest.fixture(scope="module")
def sbom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sbom(tmp_path_factory.mktemp("sbom") / "sbom.cdx.json")


@pytest.fixture(scope="module")
def document(sbom: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(sbom.read_text())
    return read


@pytest.fixture(scope="module")
def container(buildah: image.Buildah) -> Iterator[image.Container]:
    with buildah.container(image.UNDER_TEST) as container:
        yield container


def components(document: dict[str, Any]) -> dict[str, str]:
    return {canonicalize_name(each["name"]): each["version"] for each in document["components"]}


def locked_for_linux() -> dict[str, str]:
    """The packages of requirements.txt with their versions, but for those of other systems."""
    lines = (debian.REPOSITORY / "requirements.txt").read_text().splitlines()
    wishes = [Requirement(line.rstrip(" \\")) for line in lines if line[:1].isalpha()]
    return {
        canonicalize_name(wish.name): str(wish.specifier).removeprefix("==")
        for wish in wishes
        if wish.marker is None or wish.marker.evaluate(dict(LINUX))
    }


def test_it_is_valid_cyclonedx(sbom: Path) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(sbom.read_text()) is None


def test_it_is_of_this_version_of_ours(document: dict[str, Any]) -> None:
    ours = document["metadata"]["component"]

    assert (ours["type"], ours["name"]) == ("application", "qsticky")
    assert ours["version"] == exporter.__version__


def test_it_lists_each_locked_package_with_its_version_and_license(
    document: dict[str, Any],
) -> None:
    assert components(document) == locked_for_linux()
    assert "requests" in components(document)
    for each in document["components"]:
        assert each["licenses"], each["name"]
        name = canonicalize_name(each["name"])
        assert each["purl"] == f"pkg:pypi/{name}@{each['version']}"


def test_it_lists_what_is_in_the_image(
    document: dict[str, Any], container: image.Container
) -> None:
    place = "__import__('sysconfig').get_paths()['purelib']"
    printed = container.execute("python3", "-c", PRINT_PACKAGES.replace("PATH", f"[{place}]"))

    held = {canonicalize_name(name): each for name, each in json.loads(printed.output).items()}

    assert held == components(document) | {"qsticky": exporter.__version__}


def test_it_is_the_same_when_it_is_made_again(sbom: Path, tmp_path: Path) -> None:
    assert make_sbom(tmp_path / "sbom.cdx.json").read_bytes() == sbom.read_bytes()
