"""What runs on GitHub, against what it promises; `.ci/run` lets actionlint and zizmor read it."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import exporter
from tests.parts.debian import REPOSITORY as ROOT

FOLDER = ROOT / ".github" / "workflows"
CI, RELEASE = (yaml.safe_load((FOLDER / name).read_text()) for name in ("ci.yml", "release.yml"))
OURS = "ghcr.io/qsticky/qsticky"


def run(*command: str | Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def commands(workflow: dict[str, Any]) -> str:
    steps = [step for job in workflow["jobs"].values() for step in job.get("steps", ())]
    return "\n".join(step.get("run", "") for step in steps)


def test_a_job_may_write_only_what_it_publishes_and_runs_no_code_of_ours_then() -> None:
    writers = {}
    for workflow in (CI, RELEASE):
        assert workflow["permissions"] == {}
        for name, job in workflow["jobs"].items():
            if write := [what for what, may in job["permissions"].items() if may == "write"]:
                writers[name] = write
                assert "checkout" not in str(job), name
                assert not re.search(r"\b(make|python|bash)\b", str(job["steps"])), name

    assert writers == {"push": ["packages"], "pypi": ["id-token"], "release": ["contents"]}


def test_nothing_is_published_before_everything_is_checked() -> None:
    needs = {name: job.get("needs", []) for name, job in RELEASE["jobs"].items()}

    assert RELEASE["jobs"]["test"]["uses"] == "./.github/workflows/ci.yml"
    assert "bash .ci/run" in commands(CI)
    assert needs == {
        "test": [],
        "package": [],
        "image": ["test", "package"],
        "push": ["image"],
        "pypi": ["push"],
        "release": ["pypi"],
    }


def test_the_image_has_one_base_pinned_by_digest_where_dependabot_moves_it() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    dependabot = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())

    first, *others = re.findall(r"^FROM (.*)", dockerfile, re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+-slim@sha256:[0-9a-f]{64} AS base", first)
    assert others == ["base AS build", "base AS pruned", "scratch"]
    assert {"docker", "/"} in [
        {each["package-ecosystem"], each["directory"]} for each in dependabot["updates"]
    ]


def test_a_release_has_the_names_that_people_write_into_compose_files(tmp_path: Path) -> None:
    named = image_tags(tmp_path, "2.1.3", "v2.1.3").stdout.split()
    now = run(ROOT / ".ci" / "image-tags", f"v{exporter.__version__}").stdout.split()

    assert named == [f"{OURS}:2.1.3", f"{OURS}:2.1", f"{OURS}:2", f"{OURS}:latest"]
    for document in ("compose.yaml", "README.md"):
        (image,) = re.findall(rf"image: ({OURS}\S*)", (ROOT / document).read_text())
        assert image in now


@pytest.mark.parametrize("tag", ["", "2.1.3", "v2.1.4", "v2", "v2.1.3-1"])
def test_a_tag_that_is_not_the_version_is_refused(tag: str, tmp_path: Path) -> None:
    assert image_tags(tmp_path, "2.1.3", tag).returncode == 1


def test_a_release_candidate_does_not_become_the_latest(tmp_path: Path) -> None:
    assert image_tags(tmp_path, "2.1.0rc1", "v2.1.0rc1").stdout == f"{OURS}:2.1.0rc1\n"


def image_tags(folder: Path, version: str, tag: str) -> subprocess.CompletedProcess[str]:
    """Return the names of an image of that version of the program, tagged so."""
    return run(copied(folder, version) / ".ci" / "image-tags", tag)


@pytest.mark.parametrize(
    ("engine", "flags"),
    [("docker", ""), ("/usr/bin/docker buildx", ""), ("podman", "--format docker")],
)
def test_make_image_works_without_git_and_knows_the_engines(
    engine: str, flags: str, tmp_path: Path
) -> None:
    dated = "SOURCE_DATE_EPOCH=1700000000"
    given = ("--dry-run", "image", f"DOCKER={engine}", dated)
    said = run("make", *given, folder=copied(tmp_path, "2.1.3")).stdout

    assert f"{engine} build {flags} --tag qsticky ".replace("  ", " ") in said.replace("  ", " ")
    assert "--build-arg VERSION=2.1.3 " in said
    assert f"--build-arg {dated} " in said
    assert ("--timestamp 1700000000" in said) is bool(flags)


def copied(folder: Path, version: str) -> Path:
    """Copy what needs to know the version of the program."""
    for name in ("exporter", ".ci"):
        (folder / name).mkdir()
    (folder / "exporter" / "__init__.py").write_text(f'__version__ = "{version}"\n')
    for name in ("Makefile", ".ci/image-tags"):
        shutil.copy(ROOT / name, folder / name)
    return folder
