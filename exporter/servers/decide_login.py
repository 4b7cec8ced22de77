"""May a login be tried now? Pure: fewer than 5 failed tries in any hour, so that nothing bans us.

Times are seconds of a clock that only moves forward; its zero means nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from exporter.model import Reason

LOGIN_WAITS = (300.0, 1800.0, 3600.0)
"""Waits after the first, the second and each further rejected login."""
UNANSWERED_WAITS = (0.0, 60.0, 300.0, 1200.0)
"""Waits after the first and each further try of an hour that had no answer of qBittorrent's own."""
BAN_SECONDS = 3600.0
LOGIN_TRIES_AN_HOUR = 4
"""One fewer than the failures for which qBittorrent bans an address."""


@dataclass(frozen=True, slots=True)
class LoginMemory:
    """Failed tries of the last hour, and until when the next one waits."""

    attempts_at: tuple[float, ...] = ()
    rejections: int = 0
    suspended_until: float = -math.inf
    reason: Reason = Reason.TIMEOUT
    """Why the last one failed; `other` where it was accepted and did not lead to a session.

    `timeout` as long as none has ended.
    """
    fingerprint: str = ""
    """Of the credentials that were rejected last; empty = none were."""


def may_log_in(login: LoginMemory, now: float, *, same_credentials: bool) -> bool:
    """Whether a login may be tried; other credentials than last time need not wait.

    That is safe while we are banned too: a try then neither counts nor makes the ban longer.
    """
    if len(_recent(login, now)) >= LOGIN_TRIES_AN_HOUR:
        return False
    return not same_credentials or now >= login.suspended_until


def login_opens_at(login: LoginMemory, now: float) -> float:
    """When the next try is allowed, as long as the credentials stay the same."""
    recent = _recent(login, now)
    if len(recent) >= LOGIN_TRIES_AN_HOUR:
        return max(login.suspended_until, recent[-LOGIN_TRIES_AN_HOUR] + BAN_SECONDS)
    return login.suspended_until


def login_tried(login: LoginMemory, now: float) -> LoginMemory:
    """Take note of a try as soon as it is made: qBittorrent may count it, answer or not."""
    return replace(login, attempts_at=(*_recent(login, now), now))


def login_failed(login: LoginMemory, now: float, reason: Reason, fingerprint: str) -> LoginMemory:
    """Take note of how a try ended, and of the fingerprint that is known from now on."""
    match reason:
        case Reason.AUTH:
            wait = LOGIN_WAITS[min(login.rejections, len(LOGIN_WAITS) - 1)]
        case Reason.BANNED:
            wait = BAN_SECONDS
        case _:
            unanswered = max(1, len(login.attempts_at))
            wait = UNANSWERED_WAITS[min(unanswered, len(UNANSWERED_WAITS)) - 1]
    return LoginMemory(
        attempts_at=login.attempts_at,
        rejections=login.rejections + (reason is Reason.AUTH),
        suspended_until=now + wait,
        reason=reason,
        fingerprint=fingerprint,
    )


def login_restored(login: LoginMemory) -> LoginMemory:
    """After a start of ours one try need not wait: somebody may have mended what was wrong."""
    return replace(login, suspended_until=-math.inf)


def server_restarted(login: LoginMemory) -> LoginMemory:
    """A ban is kept in qBittorrent's memory only, so a restart ends it."""
    return login_restored(login) if login.reason is Reason.BANNED else login


def _recent(login: LoginMemory, now: float) -> tuple[float, ...]:
    return tuple(at for at in login.attempts_at if now - at < BAN_SECONDS)
