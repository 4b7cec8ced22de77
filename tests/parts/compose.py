"""qSticky in a container, alone or started by `docker compose up`, and what users do with it."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.parts.docker import Engine

WEB_UI = "http://127.0.0.1:8080/api/v2"
TEMPORARY_PASSWORD = re.compile("temporary password .*: (.+)")
PATIENCE = 180.0


@dataclass(frozen=True)
class Container:
    """The container "qsticky" of an engine."""

    engine: Engine

    def status(self) -> dict[str, Any]:
        """Return what qSticky says about itself."""
        said = self.engine("exec", "qsticky", "cat", "/app/health/status.json", ignore_errors=True)
        status: dict[str, Any] = json.loads(said) if said.startswith("{") else {}
        return status

    def inspected(self, template: str) -> str:
        """Return what Docker says about it."""
        return self.engine("inspect", f"--format={template}", "qsticky").strip()

    def wait_for(self, state: str) -> None:
        """Wait until qSticky is in that state."""
        self.wait(lambda: self.status().get("state") == state, state)

    def wait_for_health(self, health: str) -> None:
        """Wait until Docker says so of qSticky."""
        self.wait(lambda: self.inspected("{{.State.Health.Status}}") == health, health)

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something that Docker announces in no other way."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited in vain for {what}: {self.status()}\n{self.logs()}")
            time.sleep(0.2)

    def logs(self) -> str:
        """Return what qSticky said."""
        return self.engine("logs", "qsticky", ignore_errors=True)


@dataclass(frozen=True)
class Stack(Container):
    """A folder with a compose file, started by a Docker Engine."""

    folder: Path

    def hurry(self, *services: str) -> None:
        """Have Docker look each second, not after half a minute; all else stays as it is."""
        often = {name: {"healthcheck": {"interval": "1s"}} for name in services}
        self.write("compose.override.yaml", json.dumps({"services": often}))

    def write(self, name: str, text: str) -> None:
        """Make a file, as the documentation tells people to."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def __call__(self, *words: str) -> str:
        """Run `docker compose …` in the folder."""
        return self.engine("compose", f"--project-directory={self.folder}", *words)

    def set_password(self, password: str) -> None:
        """Do what the documentation says about qBittorrent's first start."""
        self.wait(lambda: self._first_password() is not None, "qBittorrent's first password")
        login = f"username=admin&password={self._first_password()}"
        jar = str(self.folder / "cookies")
        self.engine.fetch(f"{WEB_UI}/auth/login", "--cookie-jar", jar, "--data", login)
        wanted = f"json={json.dumps({'web_ui_password': password})}"
        self.engine.fetch(f"{WEB_UI}/app/setPreferences", "--cookie", jar, "--data", wanted)
        self("restart", "qsticky")

    def _first_password(self) -> str | None:
        found = TEMPORARY_PASSWORD.search(self.engine("logs", "qbittorrent"))
        return found[1] if found else None

    def wait_for_open(self, port: int) -> None:
        """Wait until the port is open behind Gluetun, and qSticky knows."""
        connect = f"import socket; socket.create_connection(('127.0.0.1', {port}))"

        def opened() -> bool:
            status = self.status()
            in_sync = (status.get("state"), status.get("current_port")) == ("in_sync", port)
            closed = self.engine("exec", "gluetun", "python3", "-c", connect, ignore_errors=True)
            return in_sync and not closed

        self.wait(opened, f"port {port} is open")
