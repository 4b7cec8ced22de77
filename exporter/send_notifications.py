"""The child process that alone imports Apprise; it imports nothing else of qSticky.

It reads one JSON object from standard input, for others can see a command line and an environment:
`urls` as in NOTIFY_URLS, `only` the numbers of those that are meant (null = all), and `message`
with `type`, `title` and `body` (null = nothing is sent, the URLs are only read). It writes lines of
JSON with `number`, `scheme`, `is_url`, `ok` and `said`: one for each URL before its service is
asked, should no answer ever come, and another one with the answer. Of the URL itself there is
nothing but the scheme: in any other part a token may stand.
"""

from __future__ import annotations

import json
import logging
import re
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import apprise

NO_APPRISE = 3
_AT_MOST_SECONDS = 60
_AT_A_TIME = 16
_BETWEEN = re.compile(r"\s+|,(?=[A-Za-z][\w+.-]*://)")
"""A comma may also stand in a URL, as between two addresses of a mail."""
_SCHEME = re.compile(r"([A-Za-z][\w+.-]{0,30})://")


def main() -> int:
    """Answer what standard input asks for."""
    signal.alarm(_AT_MOST_SECONDS)  # whoever started it may be gone by then
    asked = json.load(sys.stdin)
    try:
        import apprise
    except ImportError:
        return NO_APPRISE
    heard = _Heard()
    apprise.logger.addHandler(heard)
    with ThreadPoolExecutor(_AT_A_TIME) as threads:
        answers = []
        for number, url in enumerate(_urls(asked["urls"]), 1):
            if not asked["only"] or number in asked["only"]:
                # here, one after the other: the first one loads the plugins
                service = _service(url)
                named = {"number": number, "scheme": _scheme(url), "is_url": service is not None}
                _say(named | {"ok": False, "said": "did not answer in time"})
                answers.append(threads.submit(_answer, named, service, asked["message"], heard))
        for answer in as_completed(answers):
            _say(answer.result())
    return 0


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class _Heard(logging.Handler):
    """What Apprise logged last in each thread: it alone says why a service did not accept."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._last: dict[int, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self._last[threading.get_ident()] = record.getMessage()

    def reason(self) -> str:
        """Return why in words of ours: Apprise's may quote the URL."""
        said = self._last.pop(threading.get_ident(), "")
        if status := re.search(r"error=(\d{3})\b", said):
            return f"answered {status[1]}"
        return "gave no answer" if "onnection error" in said else "did not accept it"


def _urls(text: str) -> list[str]:
    return [url for part in _BETWEEN.split(text) if (url := part.strip(","))]


def _scheme(url: str) -> str:
    scheme = _SCHEME.match(url)
    return scheme[1].lower() if scheme else ""


def _service(url: str) -> apprise.NotifyBase | None:
    import apprise

    asset = apprise.AppriseAsset(app_id="qSticky", app_desc="qSticky")
    try:
        return apprise.Apprise.instantiate(url, asset=asset)
    except Exception:  # noqa: BLE001  # of any of 150 plugins; it may quote the URL
        return None


def _answer(
    named: dict[str, Any],
    service: apprise.NotifyBase | None,
    message: dict[str, str] | None,
    heard: _Heard,
) -> dict[str, Any]:
    if service is None or message is None:
        return named | {"ok": service is not None, "said": ""}
    try:
        accepted = service.notify(
            title=message["title"],
            body=message["body"],
            notify_type=message["type"],
            body_format="text",
        )
    except Exception:  # noqa: BLE001  # as above
        accepted = False
    return named | {"ok": accepted, "said": "" if accepted else heard.reason()}


if __name__ == "__main__":
    sys.exit(main())
