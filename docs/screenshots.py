"""Makes the README's pictures of the status page: python docs/screenshots.py.

Needs the system's Chromium and the development packages. Each picture is kept below 150 kB.
"""

import sys
from pathlib import Path
from typing import Literal

REPOSITORY = Path(__file__).parent.parent
sys.path.insert(0, str(REPOSITORY))

from playwright.sync_api import Browser, ViewportSize, sync_playwright  # noqa: E402  # after the path is set
from prometheus_client import CollectorRegistry  # noqa: E402

from exporter import __version__  # noqa: E402
from exporter.board import StatusBoard  # noqa: E402
from exporter.model import SyncState  # noqa: E402
from exporter.web import WebApp  # noqa: E402
from exporter.webserver import WebServer  # noqa: E402
from tests.outcomes import NOW, OUTCOMES, board_of, board_of_many  # noqa: E402
from tests.real.test_browser import CHROMIUM, OPTIONS  # noqa: E402

PICTURES = REPOSITORY / "docs" / "img"
LARGEST_BYTES = 150_000

Scheme = Literal["light", "dark"]
SHOWN: list[tuple[str, StatusBoard, int, int, Scheme]] = [
    ("in-sync-light", board_of(OUTCOMES[SyncState.IN_SYNC]), 820, 560, "light"),
    ("in-sync-dark", board_of(OUTCOMES[SyncState.IN_SYNC]), 820, 560, "dark"),
    ("phone", board_of(OUTCOMES[SyncState.GLUETUN_UNAUTHORIZED]), 390, 780, "dark"),
    ("many", board_of_many(12), 960, 700, "light"),
]


def main() -> None:
    """Write every picture; exits with a message where one is too large."""
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        for name, board, width, height, scheme in SHOWN:
            size = ViewportSize(width=width, height=height)
            picture = take(browser, board, size, scheme)
            file = PICTURES / f"status-page-{name}.png"
            file.write_bytes(picture)
            print(f"{file.relative_to(REPOSITORY)}: {len(picture):,} bytes")  # noqa: T201
            if len(picture) > LARGEST_BYTES:
                raise SystemExit(f"{file} is above {LARGEST_BYTES:,} bytes")
        browser.close()


def take(browser: Browser, board: StatusBoard, size: ViewportSize, scheme: Scheme) -> bytes:
    """A picture of what a browser window of that size shows of the board."""
    app = WebApp(
        board=board,
        registry=CollectorRegistry(),
        status_json=lambda: b"{}",
        request_sync=lambda _tunnel, _pushed: None,
        version=__version__,
        clock=lambda: NOW,
    )
    server = WebServer(app, "127.0.0.1:0")
    server.start()
    try:
        page = browser.new_page(viewport=size, color_scheme=scheme, device_scale_factor=1.5)
        page.goto(f"http://{server.address}/")
        return page.screenshot()
    finally:
        server.stop()


if __name__ == "__main__":
    main()
