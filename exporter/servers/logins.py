"""What is remembered of the logins at each qBittorrent, whichever tunnel tried them.

qBittorrent bans an address, so whoever shares one shares the memory: a tunnel with another name,
one that a reload made anew, and the cycle of its predecessor that is still under way.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Iterable

from exporter.clock import Clock
from exporter.model import LoginNote, Reason
from exporter.servers.decide_login import (
    BAN_SECONDS,
    LoginMemory,
    login_failed,
    login_opens_at,
    login_restored,
    login_tried,
    may_log_in,
    server_restarted,
)

Credentials = tuple[str, str]
"""User name and password."""


def fingerprint(credentials: Credentials, salt: str) -> str:
    """Tells whether credentials changed; 16 bits, too few to guess a password from."""
    secret = "\n".join(credentials).encode()
    digest = hashlib.pbkdf2_hmac("sha256", secret, salt.encode(), 50_000, 2)
    return f"{salt}:{digest.hex()}"


def fits(credentials: Credentials, known: str) -> bool:
    """Whether a fingerprint is that of these credentials; an empty one is nobody's."""
    return known != "" and fingerprint(credentials, known.partition(":")[0]) == known


class Logins:
    """The logins at one qBittorrent; for any thread."""

    def __init__(self, server: str, clock: Clock) -> None:
        self.memory = LoginMemory()
        self._server = server
        self._clock = clock
        self._lock = threading.Lock()
        self._tried: Credentials | None = None

    def restore(self, note: LoginNote, *, try_at_once: bool) -> None:
        """Take over what status.json remembers; `try_at_once` where somebody waits for it."""
        now, wall = self._clock.monotonic(), self._clock.wall()
        memory = LoginMemory(
            attempts_at=tuple(sorted(now - max(0.0, wall - at) for at in note.attempts_at)),
            rejections=note.rejections,
            # whatever was done to the clock in between, never longer than an hour from now
            suspended_until=now + min(BAN_SECONDS, note.suspended_until - wall),
            reason=note.reason,
            fingerprint=note.fingerprint,
        )
        self.memory = login_restored(memory) if try_at_once else memory

    def begin(self, credentials: Credentials) -> bool:
        """Take note of a try, if it is allowed now."""
        same = self._are_the_same(credentials)
        with self._lock:
            now = self._clock.monotonic()
            if not may_log_in(self.memory, now, same_credentials=same):
                return False
            self.memory = login_tried(self.memory, now)
            self._tried = credentials
            return True

    def fail(self, reason: Reason, credentials: Credentials) -> None:
        """Take note of how a try ended."""
        known = self.memory.fingerprint
        # the same salt for the same credentials: two fingerprints would tell more than one
        if reason is Reason.AUTH and not fits(credentials, known):
            known = fingerprint(credentials, secrets.token_hex(4))
        with self._lock:
            self.memory = login_failed(self.memory, self._clock.monotonic(), reason, known)

    def succeed(self) -> None:
        """Forget the failed tries, as qBittorrent does at a good one."""
        self.memory = LoginMemory()

    def server_is_gone(self) -> None:
        """Nobody listens at that address: it may be restarted, which ends a ban."""
        self.memory = server_restarted(self.memory)

    @property
    def waits_seconds(self) -> float:
        """Until the next try with the same credentials."""
        now = self._clock.monotonic()
        return login_opens_at(self.memory, now) - now

    def note(self) -> LoginNote | None:
        """What has to survive a restart of ours; None where no login failed of late."""
        memory, now = self.memory, self._clock.monotonic()
        if not memory.attempts_at:
            return None
        wall, until = self._clock.wall(), login_opens_at(memory, now)
        return LoginNote(
            attempts_at=tuple(wall + at - now for at in memory.attempts_at),
            rejections=memory.rejections,
            suspended_until=wall + until - now if until > now else 0.0,
            reason=memory.reason,
            fingerprint=memory.fingerprint,
            server=self._server,
        )

    def _are_the_same(self, credentials: Credentials) -> bool:
        """Whether these were tried last, or rejected before a restart of ours."""
        if self._tried:
            return credentials == self._tried
        known = self.memory.fingerprint
        if known and not fits(credentials, known):
            return False
        self._tried = credentials  # making a fingerprint takes long
        return True


class AllLogins:
    """The logins at every qBittorrent, by its address."""

    def __init__(
        self, clock: Clock, notes: Iterable[LoginNote | None], *, try_at_once: bool
    ) -> None:
        """What status.json remembers; `try_at_once` where somebody waits for a login."""
        self._clock = clock
        self._known = {
            note.server: remembered_logins(note.server, clock, note, try_at_once=try_at_once)
            for note in notes
            if note
        }

    def at(self, server: str) -> Logins:
        """Those at one address, such as `gluetun:8080`."""
        return self._known.setdefault(server, Logins(server, self._clock))


def remembered_logins(
    server: str, clock: Clock, note: LoginNote | None, *, try_at_once: bool = True
) -> Logins:
    """The logins at one address, after a restart of ours."""
    logins = Logins(server, clock)
    if note:
        logins.restore(note, try_at_once=try_at_once)
    return logins
