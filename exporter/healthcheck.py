"""`qsticky healthcheck`: judges status.json, every 30 seconds in every container.

It starts in an instant: it imports nothing else of qSticky, and neither pathlib nor argparse,
which take about as long as the interpreter itself.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from datetime import datetime

TYPE_CHECKING = False  # typing takes long to import, too
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

STALE_AFTER_SECONDS = 30.0
"""Beyond three intervals, how old the file may be before the healthcheck fails."""
LARGEST_FILE_BYTES = 20_000_000
"""A thousand tunnels make 1.3 MB."""
IMAGE_FOLDER = "/app/health"
"""Where the image, and the one that it replaces, keeps status.json."""
_OF_IMAGE = ("HEALTH_FILE", f"{IMAGE_FOLDER}/status.json")
"""What the image sets: it is the default there, and nobody's choice."""
RUN_SECRETS = "/run/secrets"
LONGEST_PATH = 4096

MALFORMED = (ValueError, TypeError, AttributeError, KeyError, RecursionError, OverflowError)
"""What comes of reading a file that is damaged or somebody else's."""


def main() -> int:
    """Print the verdict on the file that the environment names; return the exit code."""
    try:
        healthy, text = judge(status_path(os.environ), time.time())
    except (OSError, ValueError):
        healthy, text = False, "unhealthy: can't read the file that holds HEALTH_FILE"
    encoding = sys.stdout.encoding
    print(text.encode(encoding, "backslashreplace").decode(encoding))
    return 0 if healthy else 1


def status_path(
    environ: Mapping[str, str], image_folder: str = IMAGE_FOLDER, run_secrets: str = RUN_SECRETS
) -> str:
    """Return where status.json is, whether it exists or not."""
    variables = in_capitals(environ)
    if chosen := variables.get("HEALTH_FILE", "").strip():
        return at_home(chosen)
    for file in (variables.get("HEALTH_FILE_FILE"), files_in(run_secrets).get("HEALTH_FILE")):
        if file:
            with open(file, encoding="utf-8-sig") as opened:
                return at_home(opened.read(LONGEST_PATH).strip())
    return default_path(environ, image_folder)


def default_path(environ: Mapping[str, str], image_folder: str = IMAGE_FOLDER) -> str:
    """Return where status.json is when nobody chose a place."""
    if _OF_IMAGE in environ.items():
        return _OF_IMAGE[1]
    if os.path.isdir(image_folder):
        return os.path.join(image_folder, "status.json")
    if state_folder := environ.get("STATE_DIRECTORY", "").split(":")[0]:
        return os.path.join(state_folder, "status.json")
    state_home = at_home(environ.get("XDG_STATE_HOME") or "~/.local/state")
    return os.path.join(state_home, "qsticky", "status.json")


def at_home(path: str) -> str:
    """Return a path with its `~` replaced: by /tmp without HOME and an entry in passwd."""
    path = os.path.expanduser(path)
    return f"/tmp/{path.lstrip('~/')}" if path.startswith("~") else path  # noqa: S108


def in_capitals(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by their names in capitals; one that is written so wins."""
    chosen = [name for name in environ if (name, environ[name]) != _OF_IMAGE]
    names = sorted(chosen, key=str.isupper)
    # Podman takes the mark with which some editors begin a file for a part of the first name
    return {name.lstrip("\ufeff").upper(): environ[name] for name in names}


def files_in(folder: str, is_wanted: Callable[[str], bool] = os.path.isfile) -> dict[str, str]:
    """Return the paths of the files in a folder, by their names in capitals."""
    try:
        names = sorted(os.listdir(folder), key=str.islower)
    except OSError:  # there is none, or it is not for us to look into
        return {}
    paths = {name.upper(): os.path.join(folder, name) for name in names}
    return {name: path for name, path in paths.items() if is_wanted(path)}


def holds_credentials(text: str) -> bool:
    """Return whether a text may be `user:password@host`, which nobody else may see.

    An absolute path is none, even with an `@` in it.
    """
    before, at, _ = text.rpartition("@")
    is_path = before.startswith("/") and not before.startswith("//") and ":" not in before
    return bool(at) and not is_path


def judge(path: str, now: float) -> tuple[bool, str]:
    """Return whether the status file is healthy and fresh; and the reason in words."""
    shown = "what HEALTH_FILE names" if holds_credentials(path) else path
    try:
        document = _read(path)
        healthy = document["healthy"] is True
        age = now - datetime.fromisoformat(document["timestamp"]).timestamp()
        interval = float(document["interval_seconds"])
        state = str(document["state"])
    except OSError as error:
        return False, f"unhealthy: can't read {shown}: {error.strerror or error}"
    except MALFORMED:
        return False, f"unhealthy: {shown} is not a status file of qSticky"
    if not age <= 3 * interval + STALE_AFTER_SECONDS:  # NaN is old too
        return False, f"unhealthy: nothing was written to {shown} for {age:.0f} s"
    if not healthy:
        cause = document.get("last_error")
        return False, f"unhealthy: {state}" + (f": {cause}" if cause else "")
    if document.get("daemon") is False:
        return True, f"healthy: {state}, as `qsticky once` found {age:.0f} s ago; no daemon runs"
    return True, f"healthy: {state}"


def _read(path: str) -> Any:
    # others may write in that folder, too: a FIFO must not stop the healthcheck
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("not a regular file")
        content = file.read(LARGEST_FILE_BYTES + 1)
    if len(content) > LARGEST_FILE_BYTES:
        raise ValueError("too large")
    return json.loads(content)
