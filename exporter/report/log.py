"""The log: a reader of outcomes, as text or as JSON lines.

What happened is logged once, at its level; a check like the one before is a line at DEBUG.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TextIO

from exporter.config.load import TunnelConfig
from exporter.model import Level, Outcome

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
    """Logs what the outcomes say; names the tunnel only where there are several."""

    def __init__(self) -> None:
        self._several_tunnels = False

    def set_tunnels(self, tunnels: Iterable[TunnelConfig]) -> None:
        """Learn how many there are."""
        self._several_tunnels = len(tuple(tunnels)) > 1

    def publish(self, outcome: Outcome) -> None:
        """Say what happened in this check, and what to do about it."""
        prefix = f"{outcome.tunnel}: " if self._several_tunnels else ""
        for event in outcome.events:
            logger.log(
                _LEVELS[event.level],
                "%s%s%s",
                prefix,
                event.message,
                f" - {event.fix}" if event.fix else "",
                extra={"tunnel": outcome.tunnel, "event": str(event.kind)},
            )
        if not outcome.events and not outcome.is_watch and logger.isEnabledFor(logging.DEBUG):
            logger.debug(
                "%sstill %s: Gluetun %d, qBittorrent %d, next check in %.1f s",
                prefix,
                outcome.state,
                outcome.forwarded_port,
                outcome.listening_port,
                outcome.next_check_seconds,
                extra={"tunnel": outcome.tunnel},
            )


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
