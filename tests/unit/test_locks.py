"""The lock files against pyproject.toml: people install what was asked for, checked by hash."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parent.parent.parent
RUN_TIME, BUILD, DEVELOPMENT = LOCKS = (
    "requirements.txt",
    "requirements-build.txt",
    "requirements-dev.txt",
)


def pyproject() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def locked(lock: str) -> dict[str, str]:
    """The version of each package in a lock."""
    lines = (REPOSITORY / lock).read_text().splitlines()
    pins = [line.split()[0].split("==") for line in lines if "==" in line.split(";")[0]]
    return dict(pins)


def asked(lock: str) -> list[Requirement]:
    groups = pyproject()["dependency-groups"]
    run_time = pyproject()["project"]["dependencies"]
    wishes = {
        RUN_TIME: run_time,
        BUILD: groups["build"],
        DEVELOPMENT: [*run_time, *(wish for wish in groups["dev"] if isinstance(wish, str))],
    }
    return [Requirement(wish) for wish in wishes[lock]]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_what_pyproject_asks_for(lock: str) -> None:
    pins = locked(lock)

    unmet = [
        str(wish)
        for wish in asked(lock)
        if pins.get(canonicalize_name(wish.name), "") not in wish.specifier
    ]

    assert unmet == [], "run make lock"


def test_the_build_lock_is_for_the_build_backend_that_pyproject_names() -> None:
    assert pyproject()["dependency-groups"]["build"] == pyproject()["build-system"]["requires"]


def test_the_development_lock_holds_the_other_two() -> None:
    assert (locked(RUN_TIME) | locked(BUILD)).items() <= locked(DEVELOPMENT).items()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_a_hash_and_no_place_to_come_from(lock: str) -> None:
    text = (REPOSITORY / lock).read_text()
    pins = [block for block in text.split("\n") if "==" in block.split(";")[0]]

    assert all(line.endswith("\\") for line in pins)
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text
