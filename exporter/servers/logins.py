"""May a login be tried now? The rules, pure, and the logins at each qBittorrent.

qBittorrent bans an address for an hour after 5 failed logins. So credentials that were rejected are
tried fewer than 5 times in any hour, all tunnels together that share a server: one with another
name, one that a reload made, and the check of its predecessor that is still under way.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import threading
from collections.abc import Iterable
from typing import NamedTuple

from exporter.clock import Clock
from exporter.model import Reason, SavedLogins

Credentials = tuple[str, str]
"""User name and password."""

LOGIN_WAITS = (300.0, 1800.0, 3600.0)
"""Waits after the first, the second and each further rejected login."""
UNANSWERED_WAITS = (0.0, 60.0, 300.0, 1200.0)
"""Waits after the first and each further try of an hour that had no answer of qBittorrent's own."""
LONGEST_WAIT_OF_PROVED = 300.0
"""The same for credentials that have worked: they can't lead to a ban."""
BAN_SECONDS = 3600.0
LOGIN_TRIES_AN_HOUR = 4
"""One fewer than the failures for which qBittorrent bans an address."""
_SALT_BYTES, _ROUNDS = 5, 10_000
_OLD_SALT_LENGTH, _OLD_ROUNDS = 8, 50_000
"""As versions before wrote it; a login waits for it."""
_DIGEST_BYTES = 2


class Attempt(NamedTuple):
    """A login that did not lead to a session, or is not known to yet."""

    at: float
    digest: str
    """Shows whether two attempts had the same credentials."""


class LoginState(NamedTuple):
    """Failed tries of the last hour, and until when the next one waits."""

    attempts: tuple[Attempt, ...] = ()
    rejections: int = 0
    """How many tries in a row were rejected."""
    suspended_until: float = -math.inf
    reason: Reason = Reason.TIMEOUT
    """Why the last one failed; `other` where it was accepted and did not lead to a session.

    `timeout` as long as none has ended.
    """
    proved: bool = False
    """Whether the credentials of the last try have worked, and were not rejected since."""


def may_log_in(
    state: LoginState, now: float, digest: str, tries_an_hour: int = LOGIN_TRIES_AN_HOUR
) -> bool:
    """Whether a login may be tried now.

    Credentials that were not tried in this hour need not wait, even where qBittorrent then bans us:
    that costs no more than waiting, and a try during a ban neither counts nor prolongs it.
    """
    recent = recent_attempts(state, now)
    if recent and all(attempt.digest != digest for attempt in recent):
        return True
    return now >= next_login_at(state, now, tries_an_hour)


def next_login_at(state: LoginState, now: float, tries_an_hour: int = LOGIN_TRIES_AN_HOUR) -> float:
    """Return when the next try is allowed, as long as the credentials stay the same."""
    recent = recent_attempts(state, now)
    if len(recent) >= tries_an_hour and not state.proved:
        return max(state.suspended_until, recent[-tries_an_hour].at + BAN_SECONDS)
    return state.suspended_until


def after_attempt(state: LoginState, now: float, digest: str, *, proved: bool) -> LoginState:
    """Take note of a try as soon as it is made: qBittorrent may count it, answer or not."""
    attempts = (*recent_attempts(state, now), Attempt(now, digest))
    return state._replace(attempts=attempts, proved=proved)


def after_failure(state: LoginState, now: float, reason: Reason) -> LoginState:
    """Take note of how a try ended."""
    rejected = reason is Reason.AUTH
    return state._replace(
        rejections=state.rejections + rejected,
        suspended_until=now + _wait(state, reason),
        reason=reason,
        proved=state.proved and not rejected,
    )


def without_wait(state: LoginState) -> LoginState:
    """Let one try come at once: after a start somebody may have corrected what was wrong."""
    return state._replace(suspended_until=-math.inf)


def after_server_restart(state: LoginState) -> LoginState:
    """Forget a ban: it lives in qBittorrent's memory only, so a restart ends it."""
    return without_wait(state) if state.reason is Reason.BANNED else state


def recent_attempts(state: LoginState, now: float) -> tuple[Attempt, ...]:
    """Return the tries of the last hour."""
    return tuple(attempt for attempt in state.attempts if now - attempt.at < BAN_SECONDS)


def _wait(state: LoginState, reason: Reason) -> float:
    match reason:
        case Reason.AUTH:
            return LOGIN_WAITS[min(state.rejections, len(LOGIN_WAITS) - 1)]
        case Reason.BANNED:
            return BAN_SECONDS
        case _:
            unanswered = min(max(1, len(state.attempts)), len(UNANSWERED_WAITS))
            wait = UNANSWERED_WAITS[unanswered - 1]
            return min(wait, LONGEST_WAIT_OF_PROVED) if state.proved else wait


class Logins:
    """The logins at one qBittorrent; for any thread."""

    def __init__(self, server: str, clock: Clock, tries_an_hour: int = LOGIN_TRIES_AN_HOUR) -> None:
        self.state = LoginState()
        self._server = server
        self._clock = clock
        self._tries_an_hour = tries_an_hour
        self._lock = threading.Lock()
        self._salt = secrets.token_hex(_SALT_BYTES)
        self._digests: dict[Credentials, str] = {}
        self._proved: Credentials | None = None

    def restore(self, saved: SavedLogins, *, try_at_once: bool) -> None:
        """Take over what status.json keeps; `try_at_once` where somebody waits for it."""
        now = self._clock.monotonic()
        salt, *digests = saved.fingerprint.split(":")
        if salt:
            self._salt = salt
        # a file of an older version has one digest for all, or none
        missing = len(saved.attempts_at) - len(digests)
        digests = [digests[-1] if digests else ""] * missing + digests
        times = sorted(min(now, at) for at in saved.attempts_at)
        until = -math.inf if saved.suspended_until is None else saved.suspended_until
        state = LoginState(
            attempts=tuple(map(Attempt, times, digests)),
            rejections=saved.rejections,
            # even where the clock was set in between, never longer than an hour from now
            suspended_until=min(now + BAN_SECONDS, until),
            reason=saved.reason,
        )
        self.state = without_wait(state) if try_at_once else state

    def begin(self, credentials: Credentials) -> bool:
        """Take note of a try, if it is allowed now."""
        digest = self._digest(credentials)
        with self._lock:
            now = self._clock.monotonic()
            if not may_log_in(self.state, now, digest, self._tries_an_hour):
                return False
            proved = credentials == self._proved
            self.state = after_attempt(self.state, now, digest, proved=proved)
            return True

    def fail(self, reason: Reason) -> None:
        """Take note of how the last try ended."""
        with self._lock:
            self.state = after_failure(self.state, self._clock.monotonic(), reason)
            if not self.state.proved:
                self._proved = None

    def succeed(self, credentials: Credentials) -> None:
        """Forget the failed tries, as qBittorrent does at a good one."""
        with self._lock:
            self.state = LoginState()
            self._proved = credentials

    def server_is_gone(self) -> None:
        """Take note that nobody listens at that address: a restart would end a ban."""
        with self._lock:
            self.state = after_server_restart(self.state)

    @property
    def waits_seconds(self) -> float:
        """Return the time until the next try with the same credentials."""
        now = self._clock.monotonic()
        return next_login_at(self.state, now, self._tries_an_hour) - now

    def saved(self) -> SavedLogins | None:
        """Return what has to survive a restart; None where no login failed of late."""
        state, now = self.state, self._clock.monotonic()
        if not state.attempts:
            return None
        until = next_login_at(state, now)
        return SavedLogins(
            attempts_at=tuple(attempt.at for attempt in state.attempts),
            rejections=state.rejections,
            suspended_until=until if until > now else None,
            reason=state.reason,
            fingerprint=":".join([self._salt, *(attempt.digest for attempt in state.attempts)]),
            server=self._server,
        )

    def _digest(self, credentials: Credentials) -> str:
        """Return what shows whether credentials changed.

        16 bits: too few to guess a password from.
        """
        if credentials not in self._digests:
            secret = "\n".join(credentials).encode()
            rounds = _OLD_ROUNDS if len(self._salt) == _OLD_SALT_LENGTH else _ROUNDS
            salt = self._salt.encode()
            digest = hashlib.pbkdf2_hmac("sha256", secret, salt, rounds, _DIGEST_BYTES)
            self._digests[credentials] = digest.hex()
        return self._digests[credentials]


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
        # of several tunnels at one server, the one that knows of the latest try comes last
        for logins in sorted(filter(None, saved), key=lambda each: each.attempts_at[-1:]):
            self.for_server(logins.server).restore(logins, try_at_once=try_at_once)

    def for_server(self, address: str) -> Logins:
        """Return those at one address, such as `gluetun:8080`, with its path."""
        if address not in self._known:
            self._known[address] = Logins(address, self._clock, self._tries_an_hour)
        return self._known[address]
