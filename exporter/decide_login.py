"""May a login be tried now? Pure: fewer than 5 failed tries in any hour, so that nothing bans us.

Times are seconds of a clock that only moves forward; its zero means nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from exporter.model import Reason

LOGIN_WAITS = (300.0, 1800.0, 3600.0)
"""Waits after the first, the second and each further rejected login."""
BAN_SECONDS = 3600.0
LOGIN_TRIES_AN_HOUR = 4
"""One fewer than the failures for which qBittorrent bans an address."""


@dataclass(frozen=True, slots=True)
class LoginMemory:
    """Failed tries of the last hour, and until when the next one waits."""

    attempts_at: tuple[float, ...] = ()
    rejections: int = 0
    suspended_until: float = -math.inf
    reason: Reason = Reason.AUTH
    fingerprint: str = ""
    """Of the credentials that were rejected; empty = none were."""


def may_log_in(login: LoginMemory, now: float, *, same_credentials: bool) -> bool:
    """Whether a login may be tried: fewer than 5 failed tries in any hour, whatever happens."""
    recent = [at for at in login.attempts_at if now - at < BAN_SECONDS]
    if len(recent) >= LOGIN_TRIES_AN_HOUR:
        return False
    if login.reason is Reason.BANNED or same_credentials:
        return now >= login.suspended_until
    return True


def login_opens_at(login: LoginMemory, now: float) -> float:
    """When the next try is allowed, as long as the credentials stay the same."""
    recent = [at for at in login.attempts_at if now - at < BAN_SECONDS]
    if len(recent) >= LOGIN_TRIES_AN_HOUR:
        return max(login.suspended_until, recent[-LOGIN_TRIES_AN_HOUR] + BAN_SECONDS)
    return login.suspended_until


def login_tried(login: LoginMemory, now: float) -> LoginMemory:
    """Take note of a try as soon as it is made: qBittorrent may count it, answer or not."""
    recent = (at for at in login.attempts_at if now - at < BAN_SECONDS)
    return replace(login, attempts_at=(*recent, now))


def login_failed(login: LoginMemory, now: float, reason: Reason, fingerprint: str) -> LoginMemory:
    """Take note of how a try ended.

    Without an answer of qBittorrent's own (a time-out, a proxy's page) it suspends nothing.
    """
    attempts = login.attempts_at
    if reason is Reason.BANNED:
        return LoginMemory(attempts, login.rejections, now + BAN_SECONDS, reason, fingerprint)
    if reason is not Reason.AUTH:
        return replace(login, reason=reason)
    wait = LOGIN_WAITS[min(login.rejections, len(LOGIN_WAITS) - 1)]
    return LoginMemory(attempts, login.rejections + 1, now + wait, reason, fingerprint)
