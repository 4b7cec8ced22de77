"""Who may log in to qBittorrent, and when: one session, and never a ban through our fault."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from typing import TypeVar

from exporter.clock import Clock
from exporter.config import Secret
from exporter.decide_login import (
    BAN_SECONDS,
    LoginMemory,
    login_failed,
    login_opens_at,
    login_tried,
    may_log_in,
)
from exporter.errors import (
    Banned,
    HttpError,
    LoginSuspended,
    ServerError,
    SessionExpired,
    Unauthorized,
)
from exporter.model import LoginNote, Operation, Reason
from exporter.operations import Operations
from exporter.qbittorrent import Qbittorrent

T = TypeVar("T")
NoteLogin = Callable[[LoginNote], None]


class Session:
    """Calls qBittorrent within a session; remembers rejected logins, over restarts too."""

    def __init__(
        self,
        qbittorrent: Qbittorrent,
        password: Secret,
        clock: Clock,
        note: LoginNote | None,
        note_login: NoteLogin = lambda note: None,
    ) -> None:
        """`note` is what was remembered; `note_login` is told of each login before it is tried."""
        self._qbittorrent = qbittorrent
        self._password = password
        self._clock = clock
        self._note_login = note_login
        self._rejected_password = ""
        self._proven = True
        """Whether the last login was seen to lead to a session that works."""
        self._login = self._restored(note) if note else LoginMemory()

    def call(self, operations: Operations, operation: Operation, call: Callable[[], T]) -> T:
        """Call; log in before it where needed, or after it where the session has ended."""
        if self._qbittorrent.ready:
            try:
                return self._prove(operations.timed(operation, call))
            except SessionExpired:
                pass
        self._log_in(operations)
        try:
            return self._prove(operations.timed(operation, call))
        except SessionExpired as error:
            raise self._lost() from error

    def _prove(self, result: T) -> T:
        """Forget the failed logins, as qBittorrent does at a good one, once a session works."""
        if not self._proven:
            self._proven = True
            self._login = LoginMemory()
        return result

    def note(self) -> LoginNote | None:
        """What has to survive a restart of ours; None where no login failed of late."""
        login, now = self._login, self._clock.monotonic()
        if not login.attempts_at:
            return None
        wall = self._clock.wall()
        until = login_opens_at(login, now)
        return LoginNote(
            attempts_at=tuple(wall + at - now for at in login.attempts_at),
            rejections=login.rejections,
            suspended_until=wall + until - now if until > now else 0.0,
            reason=login.reason,
            fingerprint=login.fingerprint,
        )

    def _restored(self, note: LoginNote) -> LoginMemory:
        now, wall = self._clock.monotonic(), self._clock.wall()
        return LoginMemory(
            attempts_at=tuple(sorted(now - max(0.0, wall - at) for at in note.attempts_at)),
            rejections=note.rejections,
            # whatever was done to the clock in between, never longer than an hour from now
            suspended_until=now + min(BAN_SECONDS, note.suspended_until - wall),
            reason=note.reason,
            fingerprint=note.fingerprint,
        )

    def _log_in(self, operations: Operations) -> None:
        if not operations.timed(Operation.QBITTORRENT_LOGIN, self._qbittorrent.needs_login):
            return
        self._check_suspension()
        self._login = login_tried(self._login, self._clock.monotonic())
        if note := self.note():
            self._note_login(note)
        try:
            operations.timed(Operation.QBITTORRENT_LOGIN, self._qbittorrent.log_in)
        except ServerError as error:
            self._note_failure(error.reason)
            raise
        self._proven = False

    def _check_suspension(self) -> None:
        now = self._clock.monotonic()
        if may_log_in(self._login, now, same_credentials=self._same_credentials()):
            return
        wait = math.ceil((login_opens_at(self._login, now) - now) / 60)
        what, fix = _SUSPENSIONS.get(self._login.reason, _NO_ANSWER)
        error = LoginSuspended(
            f"{self._qbittorrent.where} {what}; so as not to be banned, the next login waits "
            f"{wait} min",
            fix,
        )
        error.reason = self._login.reason
        raise error

    def _same_credentials(self) -> bool:
        """Whether the rejected credentials are still the ones in force."""
        if not self._login.fingerprint:
            return True
        password = self._password.current().value
        if self._rejected_password:
            return password == self._rejected_password
        salt = self._login.fingerprint.partition(":")[0]
        same = self._qbittorrent.fingerprint(salt) == self._login.fingerprint
        if same:
            self._rejected_password = password
        return same

    def _note_failure(self, reason: Reason) -> None:
        self._rejected_password = self._password.current().value
        fingerprint = self._qbittorrent.fingerprint(secrets.token_hex(4))
        self._login = login_failed(self._login, self._clock.monotonic(), reason, fingerprint)

    def _lost(self) -> Unauthorized:
        where = self._qbittorrent.where
        if self._qbittorrent.has_secure_cookie_over_http():
            return Unauthorized(
                f"{where} marks its cookie as secure although it does not speak HTTPS",
                "its HTTPS set-up is broken: correct the certificate paths under Options, Web UI, "
                "or switch HTTPS off there",
            )
        return Unauthorized(
            f"{where} accepts our login but refuses the next request",
            "check that the clocks of both machines agree, and that no proxy removes cookies",
        )


_SUSPENSIONS = {
    Reason.AUTH: ("rejected the user name or password", LoginSuspended.default_fix),
    Reason.BANNED: ("has banned our address", Banned.default_fix),
}
_NO_ANSWER = (
    "left several logins without the right answer",
    f"{HttpError.default_fix}; restart qSticky then, for a login at once",
)
