"""What answers from outside mean for a tunnel, and when to ask again. Pure.

Two `closed` 30 s apart lead to one re-bind; one more, and the port counts as not reachable until
an answer says `open` or the port is another one.
"""

from __future__ import annotations

import math

from exporter.errors import NotReachable
from exporter.model import Answer, Outside

ASK_AFTER_CHANGE = 10.0
CONFIRM_AFTER = 30.0
"""An answer `closed` alone may be about a moment: it is asked once more."""
ASK_AT_MOST_EVERY = 60.0
_ENOUGH = 2


def not_reachable(port: int) -> NotReachable:
    """Return the error for a port on which nobody outside gets in."""
    return NotReachable(
        f"Nobody outside gets in on port {port}, although Gluetun forwards it and qBittorrent "
        "listens on it"
    )


def is_closed(known: Outside) -> bool:
    """Whether enough answers in a row say so."""
    return known.closed >= _ENOUGH


def wants_rebind(known: Outside) -> bool:
    """Whether a re-bind might help that was not tried yet."""
    return is_closed(known) and not known.rebound


def after_another_port(known: Outside, now: float) -> Outside:
    """Forget all but when somebody was asked."""
    return Outside(changed_at=now, asked_at=known.asked_at)


def after_change(known: Outside, now: float) -> Outside:
    """Take note that the socket or the VPN is a new one: a verdict stays until `open` ends it."""
    decided = known.rebound or is_closed(known)
    return known._replace(changed_at=now, closed=known.closed if decided else 0)


def after_rebind(known: Outside, now: float) -> Outside:
    """Take note of the re-bind: one more `closed` is enough now."""
    return known._replace(changed_at=now, closed=_ENOUGH - 1, rebound=True)


def after_answer(known: Outside, answer: Answer, *, explained: bool) -> Outside:
    """Take in an answer; `explained` where nobody can get in anyway."""
    known = known._replace(asked_at=answer.asked_at)
    if answer.asked_at <= known.changed_at:
        return known
    problem = answer.failure.reason if answer.failure else None
    known = known._replace(reachable=answer.reachable, problem=problem)
    if answer.reachable:
        return known._replace(reached_at=answer.asked_at, closed=0, rebound=False)
    counts = answer.reachable is False and not explained
    return known._replace(closed=min(known.closed + 1, _ENOUGH)) if counts else known


def ask_at(known: Outside, interval_seconds: float) -> float:
    """Return the moment of the next question."""
    asked_at = -math.inf if known.asked_at is None else known.asked_at
    if asked_at <= known.changed_at:
        return max(known.changed_at + ASK_AFTER_CHANGE, asked_at + ASK_AT_MOST_EVERY)
    if known.reachable is False and known.closed == _ENOUGH - 1 and not known.rebound:
        return asked_at + CONFIRM_AFTER
    return asked_at + max(interval_seconds, ASK_AT_MOST_EVERY)
