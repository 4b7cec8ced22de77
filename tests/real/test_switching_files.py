"""The status file as the existing tool's users have it: their mounts, users and health lines.

The mounts are in a namespace of the daemon's own; it has no right to write into what is another
user's, as in its container.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from exporter.simulator.world import SimulatedGluetun, SimulatedQbittorrent
from tests.conftest import missing_part
from tests.parts.daemon import QstickyProcess, wait_until, way_to
from tests.parts.qbittorrent import free_port

PORT = 45720
OTHER = 99

# word for word as people have them, and as the existing image has it
HEALTH_LINES = (
    "python3 -c \"import json; exit(0 if json.load(open('/app/health/status.json'))['healthy']"
    ' else 1)"',
    "grep -q '\"healthy\": true' /app/health/status.json",
    "cat $HEALTH_FILE | grep -q '\"healthy\": true' || exit 1",
)
# as the existing tool writes it
OLD_FILE = json.dumps(
    {
        "healthy": True,
        "services": {
            "gluetun": {"connected": True, "port": PORT},
            "qbittorrent": {"connected": True, "port_synced": True},
        },
        "uptime": "1 day, 2:03:04.567890",
        "last_check": "2026-01-01T00:00:00.123456",
        "last_port_change": None,
        "timestamp": "2026-01-01T00:00:00.123456",
    }
)


@pytest.fixture
def environ() -> Iterator[dict[str, str]]:
    """Both servers, and what leads to them."""
    with (
        SimulatedGluetun("3.40", forwarded_port=PORT) as gluetun,
        SimulatedQbittorrent() as qbittorrent,
    ):
        yield way_to(gluetun, qbittorrent)


def said_healthy(file: Path) -> list[bool]:
    """Return what each health line says of the file."""
    verdicts = []
    for line in HEALTH_LINES:
        command = line.replace("/app/health/status.json", str(file))
        done = subprocess.run(
            ["sh", "-c", command],
            env=os.environ | {"HEALTH_FILE": str(file)},
            stderr=subprocess.DEVNULL,
            check=False,
        )
        verdicts.append(done.returncode == 0)
    return verdicts


YES, NO = [True] * len(HEALTH_LINES), [False] * len(HEALTH_LINES)


def test_every_health_line_says_healthy_while_all_is_well_and_only_then(
    environ: dict[str, str], tmp_path: Path
) -> None:
    with QstickyProcess(environ, tmp_path) as daemon:
        daemon.wait_for("Initial status - Gluetun: ✓, qBit: ✓")
        wait_until(lambda: daemon.status["state"] == "in_sync", "all is well")
        assert said_healthy(daemon.health_file) == YES
        daemon.stop()
        assert said_healthy(daemon.health_file) == NO


def test_every_health_line_says_unhealthy_where_one_of_two_tunnels_is(
    environ: dict[str, str], tmp_path: Path
) -> None:
    broken = {"name": "broken", "qbittorrent": {"port": free_port()}}
    config = tmp_path / "tunnels.yaml"
    config.write_text(yaml.safe_dump({"tunnels": [{"name": "well"}, broken]}))
    long_ago = "2026-01-01T00:00:00.000+00:00"
    before = {"tunnels": {"broken": {"failing_since": long_ago, "out_of_sync_since": long_ago}}}
    (tmp_path / "status.json").write_text(json.dumps({"healthy": False, **before}))
    with QstickyProcess(environ | {"QSTICKY_CONFIG": str(config)}, tmp_path) as daemon:
        daemon.wait_for("Starting")
        wait_until(lambda: daemon.status["tunnels"]["well"]["state"] == "in_sync", "one is well")
        assert [each["healthy"] for each in daemon.status["tunnels"].values()] == [True, False]
        assert said_healthy(daemon.health_file) == NO


class Place:
    """Where the file is, as the daemon and as the host see it, and what mounts it there."""

    def __init__(self, folder: Path, script: str) -> None:
        self.host = folder / "host"
        self.inside = folder / "app" / "health"
        for each in (self.host, self.inside):
            each.mkdir(parents=True)
            each.chmod(0o777)
        self._script = f"cd {folder}; set -e\n{script}\n"

    @property
    def prefix(self) -> list[str]:
        """What goes before the command: mounts, and a root who may not do all."""
        if os.geteuid() != 0 or not (shutil.which("unshare") and shutil.which("setpriv")):
            missing_part("mounts of the daemon's own need root, unshare and setpriv")
        script = f'{self._script}cd "$OLDPWD"; exec setpriv --bounding-set=-all "$@"'
        return ["unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh"]

    def daemon(self, environ: dict[str, str], *command: str) -> QstickyProcess:
        """Return the daemon, or a command, in there."""
        return QstickyProcess(environ, self.inside, command, prefix=self.prefix)


MOUNT_FILE = "touch app/health/status.json; mount --bind host/status.json app/health/status.json"
MOUNT_FOLDER = "mount --bind host app/health"
WRITABLE = {
    "a file that is a mount": f"touch host/status.json; {MOUNT_FILE}",
    "a mounted file of another user": (
        f"touch host/status.json; chown {OTHER} host/status.json; chmod 666 host/status.json; "
        f"{MOUNT_FILE}"
    ),
    "a file of the existing tool": f"echo '{OLD_FILE}' > host/status.json; {MOUNT_FOLDER}",
    "an empty one, as the existing image has it": f": > host/status.json; {MOUNT_FOLDER}",
    "a folder where only the file is writable": (
        f"touch host/status.json; chmod 666 host/status.json; chown {OTHER} host; chmod 755 host; "
        f"{MOUNT_FOLDER}"
    ),
}


@pytest.mark.parametrize("script", WRITABLE.values(), ids=WRITABLE)
def test_writes_the_file_wherever_it_can_be_written(
    script: str, environ: dict[str, str], tmp_path: Path
) -> None:
    place = Place(tmp_path, script)
    with place.daemon(environ, "check") as check:
        check.wait()
        assert check.lines[0] == f"✓ The status file {check.health_file} is fine\n"
    with place.daemon(environ) as daemon:
        file = place.host / "status.json"
        daemon.wait_for("Initial status")
        wait_until(lambda: json.loads(file.read_text())["state"] == "in_sync", "all is well")
        assert said_healthy(file) == YES
        daemon.stop()
        assert said_healthy(file) == NO
        assert json.loads(file.read_text())["state"] == "stopped"
    assert "status file" not in daemon.output
    assert [each.name for each in place.host.iterdir()] == ["status.json"]


NOT_WRITABLE = {
    "a folder of another user": (
        f"chown {OTHER} host; chmod 755 host; {MOUNT_FOLDER}",
        "Permission denied",
        f"HEALTH belongs to user {OTHER} with mode 0755, and qSticky runs as 0:0: `chown 0:0` it, "
        "on the host where it is mounted from there; or name another file in HEALTH_FILE",
    ),
    "a mounted file of another user": (
        f"touch host/status.json; chown {OTHER} host/status.json; {MOUNT_FILE}",
        "Permission denied",
        f"HEALTH/status.json belongs to user {OTHER} with mode 0644, and qSticky runs as 0:0: "
        "`chown 0:0` it, on the host where it is mounted from there; or name another file in "
        "HEALTH_FILE",
    ),
    "a file that is mounted to be read only": (
        f"touch host/status.json; {MOUNT_FILE}; mount -o remount,bind,ro app/health/status.json",
        "Read-only file system",
        "mount it writable, as a volume, or set HEALTH_FILE to another path",
    ),
    "a folder that is mounted to be read only": (
        f"{MOUNT_FOLDER}; mount -o remount,bind,ro app/health",
        "Read-only file system",
        "mount it writable, as a volume, or set HEALTH_FILE to another path",
    ),
    "a folder that Docker made where the mounted file was missing": (
        "mkdir -p host/made app/health/status.json; mount --bind host/made app/health/status.json",
        "Is a directory",
        "remove the folder of that name, or set HEALTH_FILE to another path",
    ),
}


@pytest.mark.parametrize(("script", "why", "fix"), NOT_WRITABLE.values(), ids=NOT_WRITABLE)
def test_says_what_helps_where_it_cannot_be_written_and_does_its_job_all_the_same(
    script: str, why: str, fix: str, environ: dict[str, str], tmp_path: Path
) -> None:
    place = Place(tmp_path, script)
    fix = fix.replace("HEALTH/", f"{place.inside}/").replace("HEALTH ", f"{place.inside} ")
    misnamed = {"GLUETUN_API_KEY": "is warned of"}
    with place.daemon(environ | misnamed, "check") as check:
        assert check.wait() == 3
        problem = f"an't write the status file {check.health_file}: {why}"
        assert check.lines[:2] == [f"✗ C{problem}\n", f"    → {fix}\n"]
    with place.daemon(environ) as daemon:
        assert daemon.wait_for(problem).endswith(f"ERROR - c{problem} - {fix}\n")
        daemon.wait_for(f"Successfully updated port to {PORT}")
        assert daemon.stop() == 0
    assert daemon.output.count("status file") == 1


def test_a_secret_of_another_user_is_a_mistake_that_says_what_helps(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """Compose mounts it as it is on the host; root could read it, as in the existing image."""
    place = Place(tmp_path, f"echo pw > host/pw; chmod 600 host/pw; chown {OTHER}:{OTHER} host/pw")
    del environ["QBITTORRENT_PASS"]
    secret = place.host / "pw"
    with place.daemon(environ | {"QBITTORRENT_PASS_FILE": str(secret)}, "config") as config:
        assert config.wait() == 2
    assert (
        f"QBITTORRENT_PASS_FILE: can't read '{secret}' (Permission denied; it belongs to user "
        f"{OTHER} with mode 0600, and qSticky runs as 0:0: `chown 0:0` it, on the host where it is "
        f'mounted from there, or run qSticky as its owner (`user: "{OTHER}:{OTHER}"` in Compose)); '
        "expected a readable file that holds the value\n"
    ) in config.output
