"""The log: a reader of outcomes, as text or as JSON lines.

What happened is said once, at its level; a cycle like the one before is a line at DEBUG.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

from exporter.model import Event, Level, Outcome

logger = logging.getLogger("qsticky")

_LEVELS = {Level.INFO: logging.INFO, Level.WARNING: logging.WARNING, Level.ERROR: logging.ERROR}


def set_up(level: str, form: str, stream: TextIO | None = None) -> None:
    """Send our log to standard output; `form` is text or json."""
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(
        _JsonFormatter()
        if form == "json"
        else logging.Formatter("%(asctime)s - %(name)s - %(levelname)s - %(message)s")
    )
    logger.handlers = [handler]
    logger.setLevel(level)
    logger.propagate = False


class LogReader:
    """Says what the outcomes tell; names the tunnel only where there are several."""

    def __init__(self, *, several_tunnels: bool) -> None:
        self.several_tunnels = several_tunnels

    def publish(self, outcome: Outcome) -> None:
        """Say what happened in this cycle."""
        for event in outcome.events:
            self.say(outcome.tunnel, event)
        if not outcome.events and logger.isEnabledFor(logging.DEBUG):
            logger.debug(
                "%sstill %s: Gluetun %d, qBittorrent %d, next look in %.1f s",
                self._prefix(outcome.tunnel),
                outcome.state,
                outcome.forwarded_port,
                outcome.listening_port,
                outcome.next_look_seconds,
                extra={"tunnel": outcome.tunnel},
            )

    def say(self, tunnel: str, event: Event) -> None:
        """Say one event, with its fix."""
        logger.log(
            _LEVELS[event.level],
            "%s%s%s",
            self._prefix(tunnel),
            event.message,
            f" - {event.fix}" if event.fix else "",
            extra={"tunnel": tunnel, "event": str(event.kind)},
        )

    def _prefix(self, tunnel: str) -> str:
        return f"{tunnel}: " if self.several_tunnels else ""


class _JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        document = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key in ("tunnel", "event"):
            if value := getattr(record, key, None):
                document[key] = value
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False)
