"""The lock files against pyproject.toml: people install what was asked for, checked by hash."""

import tomllib
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.parts.debian import REPOSITORY

PROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
GROUPS = PROJECT["dependency-groups"]
RUN_TIME = [
    *PROJECT["project"]["dependencies"],
    *PROJECT["project"]["optional-dependencies"]["notify"],  # the image has it
]
ASKED: dict[str, list[str]] = {
    "requirements.txt": RUN_TIME,
    "requirements-build.txt": GROUPS["build"],
    "requirements-dev.txt": [*RUN_TIME, *(each for each in GROUPS["dev"] if isinstance(each, str))],
}


def lines(lock: str) -> list[str]:
    """Return the lines that pin a package."""
    text = (REPOSITORY / lock).read_text()
    return [line for line in text.splitlines() if "==" in line.split(";")[0]]


def locked(lock: str) -> dict[str, str]:
    return dict(line.split()[0].split("==") for line in lines(lock))


@pytest.mark.parametrize("lock", ASKED)
def test_a_lock_pins_what_pyproject_asks_for_by_hash(lock: str) -> None:
    pins = locked(lock)
    asked = [Requirement(each) for each in ASKED[lock]]

    unmet = [e for e in asked if pins.get(canonicalize_name(e.name), "") not in e.specifier]

    assert unmet == [], "run make lock"
    assert all(line.endswith("\\") for line in lines(lock))  # a hash follows
    assert "://" not in (REPOSITORY / lock).read_text()


def test_the_build_lock_is_for_the_build_backend_that_pyproject_names() -> None:
    assert GROUPS["build"] == PROJECT["build-system"]["requires"]


def test_the_development_lock_holds_the_other_two() -> None:
    rest = locked("requirements.txt") | locked("requirements-build.txt")
    assert rest.items() <= locked("requirements-dev.txt").items()
