"""The tests' own Docker Engine shares nothing with this machine, and leaves nothing on it."""

import subprocess
from pathlib import Path

from tests.conftest import missing_part
from tests.parts import debian, docker


def traces(folder: Path) -> set[str]:
    """Return what an engine can leave: processes, mounts, control groups, networks, filters."""
    found = {f"folder {folder}"} if folder.exists() else set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            text = (process / "cmdline").read_text() + (process / "cgroup").read_text()
        except OSError:  # it has ended
            continue
        if folder.name in text:
            found.add(f"process {text}")
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    found |= {f"mount {line}" for line in mounts if folder.name in line}
    found |= {f"group {place}" for place in docker.CONTROL_GROUPS.rglob(folder.name)}
    return found


def networks() -> set[str]:
    """Return this machine's interfaces and chains of its packet filter."""
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    chains = {line.split()[0] for line in rules.splitlines() if line.startswith(":")}
    return {*(path.name for path in Path("/sys/class/net").iterdir()), *chains}


def test_nothing_stays_of_an_engine_that_was_busy() -> None:
    before = networks()
    try:
        engine = docker.Engine()
    except debian.PartMissing as missing:
        missing_part(str(missing))
    with engine:
        engine.import_base()
        busy = ("--detach", "--restart=always", "--publish=8080:80", "--volume=data:/data")
        engine("run", *busy, docker.BASE, "sleep", "1000")
        engine("network", "create", "another")
        assert any(trace.startswith("process") for trace in traces(engine.folder))
        assert networks() == before

    assert traces(engine.folder) == set()
    assert networks() == before
