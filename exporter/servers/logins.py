"""May a login be tried now? The rules, pure, and the logins at each qBittorrent.

Fewer than 5 failed tries in any hour, so that nothing bans us. qBittorrent bans an address, so
all tunnels that share a server share its logins: one with another name, one that a reload made,
and the check of its predecessor that is still under way.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace

from exporter.clock import Clock
from exporter.model import Reason, SavedLogins

Credentials = tuple[str, str]
"""User name and password."""

LOGIN_WAITS = (300.0, 1800.0, 3600.0)
"""Waits after the first, the second and each further rejected login."""
UNANSWERED_WAITS = (0.0, 60.0, 300.0, 1200.0)
"""Waits after the first and each further try of an hour that had no answer of qBittorrent's own."""
BAN_SECONDS = 3600.0
LOGIN_TRIES_AN_HOUR = 4
"""One fewer than the failures for which qBittorrent bans an address."""


@dataclass(frozen=True, slots=True)
class LoginState:
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


def may_log_in(
    state: LoginState,
    now: float,
    *,
    same_credentials: bool,
    tries_an_hour: int = LOGIN_TRIES_AN_HOUR,
) -> bool:
    """Whether a login may be tried; other credentials than last time need not wait.

    That is safe while we are banned too: a try then neither counts nor makes the ban longer.
    """
    if len(recent_attempts(state, now)) >= tries_an_hour:
        return False
    return not same_credentials or now >= state.suspended_until


def next_login_at(state: LoginState, now: float, tries_an_hour: int = LOGIN_TRIES_AN_HOUR) -> float:
    """Return when the next try is allowed, as long as the credentials stay the same."""
    recent = recent_attempts(state, now)
    if len(recent) >= tries_an_hour:
        return max(state.suspended_until, recent[-tries_an_hour] + BAN_SECONDS)
    return state.suspended_until


def after_attempt(state: LoginState, now: float) -> LoginState:
    """Take note of a try as soon as it is made: qBittorrent may count it, answer or not."""
    return replace(state, attempts_at=(*recent_attempts(state, now), now))


def after_failure(state: LoginState, now: float, reason: Reason, fingerprint: str) -> LoginState:
    """Take note of how a try ended, and of the fingerprint that is known from now on."""
    match reason:
        case Reason.AUTH:
            wait = LOGIN_WAITS[min(state.rejections, len(LOGIN_WAITS) - 1)]
        case Reason.BANNED:
            wait = BAN_SECONDS
        case _:
            unanswered = max(1, len(state.attempts_at))
            wait = UNANSWERED_WAITS[min(unanswered, len(UNANSWERED_WAITS)) - 1]
    return LoginState(
        attempts_at=state.attempts_at,
        rejections=state.rejections + (reason is Reason.AUTH),
        suspended_until=now + wait,
        reason=reason,
        fingerprint=fingerprint,
    )


def without_wait(state: LoginState) -> LoginState:
    """Let one try come at once: after a start somebody may have corrected what was wrong."""
    return replace(state, suspended_until=-math.inf)


def after_server_restart(state: LoginState) -> LoginState:
    """Forget a ban: it lives in qBittorrent's memory only, so a restart ends it."""
    return without_wait(state) if state.reason is Reason.BANNED else state


def recent_attempts(state: LoginState, now: float) -> tuple[float, ...]:
    """Return the tries of the last hour."""
    return tuple(at for at in state.attempts_at if now - at < BAN_SECONDS)


def fingerprint(credentials: Credentials, salt: str) -> str:
    """Return what shows whether credentials changed; 16 bits, too few to guess a password from."""
    secret = "\n".join(credentials).encode()
    digest = hashlib.pbkdf2_hmac("sha256", secret, salt.encode(), 50_000, 2)
    return f"{salt}:{digest.hex()}"


def matches(credentials: Credentials, known: str) -> bool:
    """Whether a fingerprint is that of these credentials; an empty one is nobody's."""
    return known != "" and fingerprint(credentials, known.partition(":")[0]) == known


class Logins:
    """The logins at one qBittorrent; for any thread."""

    def __init__(self, server: str, clock: Clock, tries_an_hour: int = LOGIN_TRIES_AN_HOUR) -> None:
        self.state = LoginState()
        self._tries_an_hour = tries_an_hour
        self._server = server
        self._clock = clock
        self._lock = threading.Lock()
        self._tried: Credentials | None = None

    def restore(self, saved: SavedLogins, *, try_at_once: bool) -> None:
        """Take over what status.json keeps; `try_at_once` where somebody waits for it."""
        now = self._clock.monotonic()
        until = -math.inf if saved.suspended_until is None else saved.suspended_until
        state = LoginState(
            attempts_at=tuple(sorted(min(now, at) for at in saved.attempts_at)),
            rejections=saved.rejections,
            # even where the clock was set in between, never longer than an hour from now
            suspended_until=min(now + BAN_SECONDS, until),
            reason=saved.reason,
            fingerprint=saved.fingerprint,
        )
        self.state = without_wait(state) if try_at_once else state

    def begin(self, credentials: Credentials) -> bool:
        """Take note of a try, if it is allowed now."""
        same = self._are_the_same(credentials)
        with self._lock:
            now = self._clock.monotonic()
            allowed = may_log_in(
                self.state, now, same_credentials=same, tries_an_hour=self._tries_an_hour
            )
            if not allowed:
                return False
            self.state = after_attempt(self.state, now)
            self._tried = credentials
            return True

    def fail(self, reason: Reason, credentials: Credentials) -> None:
        """Take note of how a try ended."""
        known = self.state.fingerprint
        # the same salt for the same credentials: two fingerprints would reveal more than one
        if reason is Reason.AUTH and not matches(credentials, known):
            known = fingerprint(credentials, secrets.token_hex(4))
        with self._lock:
            self.state = after_failure(self.state, self._clock.monotonic(), reason, known)

    def succeed(self) -> None:
        """Forget the failed tries, as qBittorrent does at a good one."""
        self.state = LoginState()

    def server_is_gone(self) -> None:
        """Take note that nobody listens at that address: a restart would end a ban."""
        self.state = after_server_restart(self.state)

    @property
    def waits_seconds(self) -> float:
        """Return the time until the next try with the same credentials."""
        now = self._clock.monotonic()
        return next_login_at(self.state, now, self._tries_an_hour) - now

    def saved(self) -> SavedLogins | None:
        """Return what has to survive a restart; None where no login failed of late."""
        state, now = self.state, self._clock.monotonic()
        if not state.attempts_at:
            return None
        until = next_login_at(state, now)
        return SavedLogins(
            attempts_at=state.attempts_at,
            rejections=state.rejections,
            suspended_until=until if until > now else None,
            reason=state.reason,
            fingerprint=state.fingerprint,
            server=self._server,
        )

    def _are_the_same(self, credentials: Credentials) -> bool:
        """Whether these were tried last, or rejected before a restart."""
        if self._tried:
            return credentials == self._tried
        known = self.state.fingerprint
        if known and not matches(credentials, known):
            return False
        self._tried = credentials  # making a fingerprint takes long
        return True


class LoginRegistry:
    """The logins at every qBittorrent, by its address."""

    def __init__(
        self,
        clock: Clock,
        saved: Iterable[SavedLogins | None],
        *,
        try_at_once: bool,
        tries_an_hour: int = LOGIN_TRIES_AN_HOUR,
    ) -> None:
        """Take over what status.json keeps; `try_at_once` where somebody waits for a login."""
        self._clock = clock
        self._tries_an_hour = tries_an_hour
        self._known: dict[str, Logins] = {}
        for logins in saved:
            if logins:
                self.for_server(logins.server).restore(logins, try_at_once=try_at_once)

    def for_server(self, address: str) -> Logins:
        """Return those at one address, such as `gluetun:8080`."""
        if address not in self._known:
            self._known[address] = Logins(address, self._clock, self._tries_an_hour)
        return self._known[address]
