"""What runs on GitHub, checked by linters and against what is written elsewhere."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import exporter
from tests.conftest import missing_part
from tests.parts import debian

ROOT = debian.REPOSITORY
FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
CI, RELEASE = (yaml.safe_load((FOLDER / name).read_text()) for name in ("ci.yml", "release.yml"))
SCRIPTS = sorted([*(ROOT / ".ci").iterdir(), *(ROOT / "tests" / "parts").glob("get-*")])
EVERY_WORKFLOW = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
OURS = "ghcr.io/qsticky/qsticky"


def run(*command: str | Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def actionlint() -> list[str]:
    """The words of a command that checks workflows, and their shell scripts with ShellCheck."""
    try:
        program = debian.run_script("get-actionlint", "actionlint") / "actionlint"
    except debian.PartMissing as missing:
        missing_part(f"no actionlint: {missing}")
    return [str(program), "-no-color", "-shellcheck", str(shellcheck()), "-pyflakes", ""]


def shellcheck() -> Path:
    try:
        return debian.bring("shellcheck-bookworm", "bookworm", "shellcheck") / "shellcheck"
    except debian.PartMissing as missing:
        missing_part(f"no ShellCheck: {missing}")


def jobs(workflow: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = workflow["jobs"]
    return found


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in jobs(workflow).values() for step in job.get("steps", ())]


def commands(workflow: dict[str, Any]) -> str:
    return "\n".join(step.get("run", "") for step in steps(workflow))


@EVERY_WORKFLOW
def test_actionlint_finds_nothing(path: Path, actionlint: list[str]) -> None:
    checked = run(*actionlint, path)

    assert checked.stdout == ""
    assert checked.returncode == 0


def test_actionlint_would_find_a_slip(actionlint: list[str], tmp_path: Path) -> None:
    slip = (FOLDER / "ci.yml").read_text().replace("github.ref }}", "github.reff }}")
    (tmp_path / "ci.yml").write_text(slip)

    checked = run(*actionlint, tmp_path / "ci.yml")

    assert 'property "reff" is not defined' in checked.stdout
    assert checked.returncode == 1


def test_zizmor_finds_no_weak_point() -> None:
    program = Path(sys.executable).with_name("zizmor")

    checked = run(program, "--offline", "--no-progress", "--format=plain", ROOT / ".github")

    assert checked.returncode == 0, checked.stdout


def test_shellcheck_finds_nothing_in_the_scripts() -> None:
    checked = run(shellcheck(), "--severity=warning", *SCRIPTS)

    assert checked.stdout == ""
    assert len(SCRIPTS) >= 5


@EVERY_WORKFLOW
def test_every_action_is_pinned_by_its_hash_with_the_version_beside_it(path: Path) -> None:
    pinned = re.compile(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    used = re.findall(r"uses: (.*)", path.read_text())

    assert [use for use in used if not use.startswith("./") and not pinned.fullmatch(use)] == []


def test_an_action_has_one_version_everywhere() -> None:
    used = {use for path in WORKFLOWS for use in re.findall(r"uses: (.*)", path.read_text())}

    names = [use.partition("@")[0] for use in used]
    assert sorted(names) == sorted(set(names))


def test_a_job_may_write_only_what_it_publishes() -> None:
    written: dict[str, list[str]] = {}
    for workflow in (CI, RELEASE):
        assert workflow["permissions"] == {}
        for name, job in jobs(workflow).items():
            write = [what for what, may in job["permissions"].items() if may == "write"]
            written[name] = write if write else written.get(name, [])

    assert {name: what for name, what in written.items() if what} == {
        "image": ["packages"],
        "pypi": ["id-token"],
        "release": ["contents"],
    }
    # what could run somebody else's code is in none of these two
    assert all("checkout" not in str(jobs(RELEASE)[name]) for name in ("pypi", "release"))


def test_no_checkout_leaves_credentials_behind() -> None:
    checkouts = [
        step
        for workflow in (CI, RELEASE)
        for step in steps(workflow)
        if step.get("uses", "").startswith("actions/checkout@")
    ]

    assert len(checkouts) >= 4
    assert all(step["with"] == {"persist-credentials": False} for step in checkouts)


def test_nothing_is_published_before_everything_is_checked() -> None:
    needs = {name: job.get("needs", []) for name, job in jobs(RELEASE).items()}

    assert jobs(RELEASE)["test"]["uses"] == "./.github/workflows/ci.yml"
    assert "bash .ci/run" in commands(CI)
    assert needs == {
        "test": [],
        "package": [],
        "image": ["test", "package"],
        "pypi": ["image"],
        "release": ["pypi"],
    }


def test_the_workflows_call_the_targets_that_people_call() -> None:
    called = {
        target
        for line in re.findall(r"^ *make ([^\\\n]*)", commands(CI) + "\n" + commands(RELEASE), re.M)
        for target in re.findall(r"(?:^| )([a-z]+)(?= |$)", line.partition("=")[0])
    }

    assert called == {"audit", "dist", "image", "sbom"}
    listed = run("make", "help").stdout
    assert all(f"make {target} " in listed for target in called)


def test_the_image_is_for_three_architectures_with_an_sbom_and_its_provenance() -> None:
    said = commands(RELEASE)

    assert "--platform linux/amd64,linux/arm64,linux/arm/v7 " in said
    assert "--sbom=true --provenance=mode=max " in said
    assert "rewrite-timestamp=true" in said


def test_a_release_has_the_names_that_people_write_into_compose_files(tmp_path: Path) -> None:
    named = image_tags(tmp_path, "2.1.3", "v2.1.3").stdout.split()
    now = run(ROOT / ".ci" / "image-tags", f"v{exporter.__version__}").stdout.split()

    assert named == [f"{OURS}:2.1.3", f"{OURS}:2.1", f"{OURS}:2", f"{OURS}:latest"]
    for document in ("compose.yaml", "README.md"):
        (image,) = re.findall(rf"image: ({OURS}\S*)", (ROOT / document).read_text())
        assert image in now


@pytest.mark.parametrize("tag", ["", "2.1.3", "v2.1.4", "v2", "v2.1.3-1"])
def test_a_tag_that_is_not_the_version_is_refused(tag: str, tmp_path: Path) -> None:
    refused = image_tags(tmp_path, "2.1.3", tag)

    assert refused.returncode == 1
    assert refused.stdout == (
        f"The tag '{tag}' is not v2.1.3, the version in exporter/__init__.py\n"
    )


def test_a_release_candidate_does_not_become_the_latest(tmp_path: Path) -> None:
    assert image_tags(tmp_path, "2.1.0rc1", "v2.1.0rc1").stdout == f"{OURS}:2.1.0rc1\n"


def image_tags(folder: Path, version: str, tag: str) -> subprocess.CompletedProcess[str]:
    """The names of an image of that version of the program, tagged so."""
    copied(folder, version)
    return run(folder / ".ci" / "image-tags", tag)


@pytest.mark.parametrize(
    ("engine", "flags"),
    [
        ("docker", []),
        ("docker buildx", []),
        ("podman", ["--format docker", "--timestamp 1700000000"]),
        ("buildah", ["--format docker", "--timestamp 1700000000"]),
    ],
)
def test_make_image_dates_the_image_by_the_last_commit(
    engine: str, flags: list[str], tmp_path: Path
) -> None:
    repository = committed(tmp_path)

    said = run("make", "--dry-run", "image", f"DOCKER={engine}", folder=repository).stdout

    assert f"{engine} build " in said
    assert "--build-arg SOURCE_DATE_EPOCH=1700000000 " in said
    assert "--build-arg VERSION=2.1.3 " in said
    assert re.search(r"--build-arg REVISION=[0-9a-f]{40} ", said)
    assert all(flag in said for flag in flags)
    assert ("--timestamp" in said) is bool(flags)


def test_make_image_works_without_git(tmp_path: Path) -> None:
    said = run("make", "--dry-run", "image", "DOCKER=buildah", folder=copied(tmp_path)).stdout

    assert "buildah build --format docker --tag qsticky" in said
    assert "SOURCE_DATE_EPOCH" not in said


def copied(folder: Path, version: str = "2.1.3") -> Path:
    """What needs to know the version of the program, in a folder of its own."""
    for name in ("exporter", ".ci"):
        (folder / name).mkdir()
    (folder / "exporter" / "__init__.py").write_text(f'__version__ = "{version}"\n')
    for name in ("Makefile", ".ci/image-tags"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def committed(folder: Path) -> Path:
    """A repository whose last commit is of a known time."""
    if shutil.which("git") is None:
        missing_part("git is missing")
    copied(folder)
    for words in (
        ["init", "--quiet"],
        ["add", "."],
        [
            *("-c", "user.name=x", "-c", "user.email=x@localhost", "-c", "commit.gpgsign=false"),
            *("commit", "--quiet", "--message=x", "--date=@1600000000 +0000"),
        ],
    ):
        environment = {"PATH": "/usr/bin:/bin", "GIT_COMMITTER_DATE": "@1700000000 +0000"}
        subprocess.run(["git", *words], cwd=folder, check=True, env=environment)
    return folder
