"""Has a child process send a message, and puts into words what each service answered.

Apprise takes 46 MB and half a second to load, so the daemon never imports it. No URL comes back
from the child: what is said here may be shown to everybody.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Mapping
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired
from typing import Any, NamedTuple

from exporter import send_notifications
from exporter.config.settings import BY_NAME
from exporter.model import Topic
from exporter.report.notices import Message
from exporter.send_notifications import NO_APPRISE

LIMIT_SECONDS = 30.0
_TYPES = {Topic.PROBLEM: "failure", Topic.RECOVERY: "success", Topic.PORT_CHANGE: "info"}


class Answer(NamedTuple):
    """What one service answered; its number is its place in NOTIFY_URLS, 0 = all of them."""

    number: int
    ok: bool
    text: str
    fix: str = ""
    may_try_again: bool = False


def ask(
    urls: str,
    message: Message | None,
    only: Collection[int] = (),
    limit_seconds: float = LIMIT_SECONDS,
) -> list[Answer]:
    """Send a message to all services or some, by their numbers; None = the URLs are only read."""
    kind = _TYPES[message.topic] if message else ""
    text = {"type": kind, "title": message.title, "body": message.body} if message else None
    asked = json.dumps({"urls": urls, "only": sorted(only), "message": text}).encode()
    try:
        # -P and the path, so that nothing in the working directory is taken for a module
        program = [sys.executable, "-P", send_notifications.__file__]
        with Popen(  # noqa: S603  # a program of ours
            program, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=_environment()
        ) as child:
            return _answers(*_ended(child, asked, limit_seconds), is_sent=message is not None)
    except OSError as error:  # no more processes
        return [_failed(f"can't be started: {error.strerror}")]


def _ended(child: Popen[bytes], asked: bytes, limit_seconds: float) -> tuple[bytes, int]:
    """Return what it wrote and how it ended."""
    try:
        said, _ = child.communicate(asked, limit_seconds)
    except TimeoutExpired:
        child.kill()
        said, _ = child.communicate()
    return said, child.returncode


def _environment() -> dict[str, str]:
    """Return ours without the settings: a plugin has no use for our secrets."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.upper().removesuffix("_FILE") not in BY_NAME
    }


def _answers(said: bytes, code: int, *, is_sent: bool) -> list[Answer]:
    if code == NO_APPRISE:
        return [_MISSING]
    lines = [json.loads(line) for line in said.splitlines()]
    last = {line["number"]: _answer(line, is_sent=is_sent) for line in lines}
    return list(last.values()) or ([_failed(f"ended with code {code}")] if code else [])


def _answer(line: Mapping[str, Any], *, is_sent: bool) -> Answer:
    number = line["number"]
    where = f"URL {number} of NOTIFY_URLS"
    name = f"{where} ({line['scheme']}://…)" if line["scheme"] else where
    if not line["is_url"]:
        fix = "compare it with the list at https://appriseit.com/services/"
        return Answer(number, ok=False, text=f"{name} is none that Apprise understands", fix=fix)
    if line["ok"]:
        done = "accepted the notification" if is_sent else "is one that Apprise understands"
        return Answer(number, ok=True, text=f"{name} {done}")
    fix = "check that the service runs, and its address and token in the URL"
    return Answer(number, False, f"{name} {line['said']}", fix, may_try_again=True)


def _failed(how: str) -> Answer:
    text = f"the program that sends notifications {how}"
    fix = "allow qSticky another process and 50 MB of memory"
    return Answer(0, False, text, fix, may_try_again=True)


_MISSING = Answer(
    0,
    ok=False,
    text="NOTIFY_URLS is set, but Apprise, which sends the notifications, is not installed",
    fix="install it with: pip install 'qsticky[notify]'",
)
