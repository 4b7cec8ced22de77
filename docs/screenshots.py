"""Makes the README's pictures of the status page from the running demo.

Run it with `python -m docs.screenshots`. It needs the system's Chromium and the development
packages, and takes two minutes: it waits until something breaks in the demo.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, ViewportSize, sync_playwright

from tests.parts.qbittorrent import free_port
from tests.real.test_browser import CHROMIUM, OPTIONS

PICTURES = Path(__file__).parent / "img"
LARGEST_BYTES = 150_000
PATIENCE_SECONDS = 240

Scheme = Literal["light", "dark"]
SHOWN: list[tuple[str, dict[str, str], int, int, Scheme]] = [
    ("in-sync-light", {"connection_status": "connected"}, 820, 985, "light"),
    ("in-sync-dark", {"connection_status": "connected"}, 820, 985, "dark"),
    ("phone", {"state": "gluetun_unreachable"}, 390, 780, "dark"),
]
"""Name, what status.json has to say of the tunnel, width, height, colours."""


def main() -> None:
    """Write every picture; exits with a message where one is too large."""
    PICTURES.mkdir(exist_ok=True)
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "exporter", "demo"]
    demo = subprocess.Popen(command, env={"WEB_LISTEN_ADDRESS": address})
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
            for name, facts, width, height, scheme in SHOWN:
                wait_for(address, facts)
                size = ViewportSize(width=width, height=height)
                save(name, take(browser, address, size, scheme))
            browser.close()
    finally:
        demo.terminate()
        demo.wait()


def wait_for(address: str, facts: dict[str, str]) -> None:
    """Wait until status.json says this of the demo's tunnel."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://{address}/status.json", timeout=5) as answer:
                tunnel = json.load(answer)["tunnels"]["default"]
            if facts.items() <= tunnel.items():
                return
        except OSError:
            pass  # it is only just starting
        time.sleep(0.5)
    raise SystemExit(f"the demo did not show {facts} within {PATIENCE_SECONDS} s")


def take(browser: Browser, address: str, size: ViewportSize, scheme: Scheme) -> bytes:
    """A picture of what a browser window of that size shows."""
    page = browser.new_page(viewport=size, color_scheme=scheme, device_scale_factor=1.5)
    page.goto(f"http://{address}/")
    return page.screenshot()


def save(name: str, picture: bytes) -> None:
    """Keep a picture, unless it is too large for a repository."""
    file = PICTURES / f"status-page-{name}.png"
    file.write_bytes(picture)
    print(f"{file.name}: {len(picture):,} bytes")
    if len(picture) > LARGEST_BYTES:
        raise SystemExit(f"{file.name} is above {LARGEST_BYTES:,} bytes")


if __name__ == "__main__":
    main()
