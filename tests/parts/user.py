"""What a user of the existing tool has, and qSticky as a process with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from exporter.simulator.world import Role, SimulatedGluetun, SimulatedQbittorrent
from tests.parts.daemon import QstickyProcess
from tests.rig import ON_TUN0

SETTINGS = (
    *("QBITTORRENT_HOST", "QBITTORRENT_PORT", "QBITTORRENT_USER", "QBITTORRENT_PASS"),
    *("GLUETUN_HOST", "GLUETUN_PORT", "GLUETUN_APIKEY"),
)


@dataclass(frozen=True)
class Row:
    """What a user has; `<NAME>` stands for the right value of a setting."""

    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str | None] = field(default_factory=dict)
    """The files in /run/secrets; None = a folder."""


class Tunnel:
    """Both servers, and qSticky as a process with what a row gives it."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.gluetun = SimulatedGluetun(role=Role(auth="apikey", apikey="the-key"))
        self.qbittorrent = SimulatedQbittorrent(password="two words", **ON_TUN0, **options)

    def __enter__(self) -> Self:
        self.gluetun.start()
        self.qbittorrent.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.qbittorrent.__exit__()
        self.gluetun.__exit__()

    def once(self, row: Row) -> tuple[int, str]:
        """Have one check; what the row leaves out has its right value."""
        host, port = self.qbittorrent.host, str(self.qbittorrent.port)
        values = (host, port, "admin", "two words", host, str(self.gluetun.port), "the-key")
        right = dict(zip(SETTINGS, values, strict=True))
        named = (*row.variables, *row.secrets)
        given = {name.lstrip("\ufeff").upper().removesuffix("_FILE") for name in named}
        rest = {name: value for name, value in right.items() if name not in given}
        variables = rest | {name: filled(value, right) for name, value in row.variables.items()}
        secrets = {name: value and filled(value, right) for name, value in row.secrets.items()}
        return ended("once", Row(variables, secrets), self.folder)


def filled(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"<{name}>", value)
    return text


def ended(command: str, row: Row, folder: Path, prefix: Sequence[str] = ()) -> tuple[int, str]:
    """Run a command to its end; return its exit code and what it printed."""
    if row.secrets:
        prefix = [*with_run_secrets(written(row.secrets, folder / "secrets")), *prefix]
    with QstickyProcess(row.variables, folder, [command], prefix=prefix) as process:
        return process.wait(), process.output


def written(secrets: Mapping[str, str | None], folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name, value in secrets.items():
        if value is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(value.encode())
    return folder


def with_run_secrets(folder: Path) -> Sequence[str]:
    """Return what runs a command where /run/secrets holds the files of a folder."""
    mount = 'mount -t tmpfs none /run; mkdir /run/secrets; cp -R "$0"/. /run/secrets; exec "$@"'
    return ("unshare", "--map-root-user", "--mount", "sh", "-ec", mount, str(folder))
