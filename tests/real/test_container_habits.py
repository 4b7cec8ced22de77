"""docs/containers.md: each snippet is what the parser of its platform takes."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import missing_part
from tests.parts import debian
from tests.parts.documentation import ROOT, tokens

SNIPPETS = [block for block in tokens(ROOT / "docs" / "containers.md") if block.type == "fence"]


def texts(language: str) -> list[str]:
    return [block.content for block in SNIPPETS if block.info == language]


def bring(name: str, suite: str, *packages: str) -> Path:
    try:
        return debian.bring(name, suite, *packages)
    except debian.PartMissing as missing:
        missing_part(str(missing))


@pytest.mark.parametrize("snippet", texts("yaml"))
def test_compose_reads_the_services(snippet: str, tmp_path: Path) -> None:
    compose = bring("docker-sid", "sid", "docker-compose", "docker-buildx") / "docker-compose"
    (tmp_path / "compose.yaml").write_text(snippet)
    run([compose, f"--project-directory={tmp_path}", "config", "--quiet"])


def test_podman_makes_services_of_the_quadlets(tmp_path: Path) -> None:
    quadlet = bring("podman-trixie", "trixie", "podman") / "quadlet"
    for snippet in texts("ini"):
        name = snippet.splitlines()[0].removeprefix("# ")
        (tmp_path / name).write_text(snippet)

    made = run([quadlet, "--dryrun"], QUADLET_UNIT_DIRS=str(tmp_path))

    for service in ("vpn-network", "gluetun", "qbittorrent", "qsticky"):
        assert f"---{service}.service---" in made
    assert "Requires=gluetun.service" in made  # qBittorrent follows the container it depends on


def run(command: list[str | Path], **environ: str) -> str:
    """Return what a command that ends well prints."""
    secrets = {"GLUETUN_APIKEY": "key", "QBITTORRENT_PASS": "word"}
    done = subprocess.run(
        command,
        env={**os.environ, **secrets, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
