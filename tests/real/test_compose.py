"""The compose files that people have, on a real Docker Engine; only the images are stand-ins.

Nothing in the files is changed; an override has Docker look at health each second.
"""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts.compose import Stack
from tests.parts.daemon import ROOT
from tests.parts.docker import Engine
from tests.parts.stand_ins import images as stand_ins
from tests.parts.stand_ins.gluetun import FIRST_PORT as PORT

EXISTING = ROOT / "tests" / "parts" / "existing"
PROMETHEUS = "http://127.0.0.1:9090/api/v1"


@pytest.fixture(scope="module")
def images(engine: Engine) -> Engine:
    """An engine with every image that the compose files name, except Grafana's."""
    stand_ins.make(engine)
    return engine


@pytest.fixture
def stack(images: Engine, tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(images, tmp_path)
    yield stack
    stack("--profile=*", "down", "--volumes", "--timeout=1")


def block(language: str, beginning: str) -> str:
    """Return what the README tells people to paste."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (found,) = re.findall(rf"```{language}\n({re.escape(beginning)}.*?)```", text, re.DOTALL)
    return str(found)


def a_new_port_is_pushed(stack: Stack) -> None:
    stack.engine("kill", "--signal=USR1", "gluetun")
    stack.wait_for_open(PORT + 1)
    assert stack.status()["tunnels"]["default"]["push_seen"]


def may_be_made_again(stack: Stack, *services: str) -> None:
    for service in services:
        stack("up", "--detach", "--force-recreate", service)
        stack("up", "--detach")  # what shares Gluetun's network has lost it
        stack.wait_for_open(PORT)


def test_the_compose_file_of_the_readme(stack: Stack) -> None:
    stack.write("compose.yaml", block("yaml", "services:"))
    stack.write("gluetun/config.toml", block("toml", "[[roles]]"))
    stack.hurry("gluetun", "qsticky")
    stack("up", "--wait")
    stack.set_password("YOUR_PASSWORD")
    stack.wait_for_open(PORT)
    assert str(PORT) in stack.engine.fetch("http://127.0.0.1:9809/")
    a_new_port_is_pushed(stack)

    stack("restart", "gluetun")
    stack.wait_for("qbittorrent_unreachable")
    stack("restart", "qbittorrent")
    stack.wait_for_open(PORT)
    may_be_made_again(stack, "qsticky", "qbittorrent", "gluetun")


def test_the_whole_setup(stack: Stack) -> None:
    for name in ("compose.yaml", "alerts.yml"):
        shutil.copy(ROOT / name, stack.folder)
    shutil.copy(ROOT / ".env.example", stack.folder / ".env")
    shutil.copytree(ROOT / "deploy", stack.folder / "deploy")
    for name, secret in {
        "wireguard_private_key": "a key",
        "gluetun_apikey": "YOUR_API_KEY",
        "qbittorrent_pass": "a secret",
        "gluetun_config.toml": (ROOT / "deploy/gluetun/config.toml").read_text(),
    }.items():
        stack.write(f"secrets/{name}", secret)
    stack.hurry("gluetun", "qbittorrent", "qsticky", "prometheus", "alertmanager")
    stack("up", "--wait")
    stack.set_password("a secret")
    stack.wait_for_open(PORT)
    a_new_port_is_pushed(stack)

    stack("restart", "gluetun")  # and with it, by itself, what shares its network
    stack.wait_for_open(PORT)
    may_be_made_again(stack, "gluetun")
    stack.wait_for_health("healthy")

    stack("stop", "qbittorrent")
    stack.engine.fetch("http://127.0.0.1:9809/-/sync", "--data", "")
    stack("--profile=monitoring", "up", "--wait", "prometheus", "alertmanager")
    stack.wait(lambda: targets(stack).get("qsticky") == "up", "Prometheus scrapes")
    assert "QStickyPortNotListening" in rules(stack)
    stack.wait_for_health("unhealthy")

    stack("start", "qbittorrent")
    stack.wait_for_health("healthy")


def asked(stack: Stack, path: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(stack.engine.fetch(f"{PROMETHEUS}/{path}"))["data"]
    return answer


def targets(stack: Stack) -> dict[str, str]:
    found = asked(stack, "targets")["activeTargets"]
    return {target["labels"]["job"]: target["health"] for target in found}


def rules(stack: Stack) -> set[str]:
    return {rule["name"] for group in asked(stack, "rules")["groups"] for rule in group["rules"]}


def test_the_compose_file_that_people_have(stack: Stack) -> None:
    text = (EXISTING / "compose.yaml").read_text()
    ours = text.replace("ghcr.io/monstermuffin/qsticky:latest", "ghcr.io/qsticky/qsticky:2")
    assert ours != text
    stack.write("compose.yaml", ours)
    stack.write("gluetun/config.toml", (EXISTING / "config.toml").read_text())
    stack.hurry("gluetun", "qsticky")
    stack("up", "--detach")
    stack.set_password("YOURPASS")
    stack.wait_for_open(PORT)
    stack.wait_for_health("healthy")
