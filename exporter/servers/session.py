"""Who may log in to qBittorrent, and when: one session, and never a ban through our fault."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TypeVar

from exporter.config.load import QbittorrentConfig
from exporter.errors import (
    Banned,
    HttpError,
    LoginSuspended,
    ServerError,
    SessionExpired,
    Unauthorized,
)
from exporter.model import LoginNote, Operation, Reason
from exporter.servers.logins import Credentials, Logins
from exporter.servers.operations import Operations
from exporter.servers.qbittorrent import Qbittorrent

T = TypeVar("T")
NoteLogin = Callable[[LoginNote], None]


class Session:
    """Calls qBittorrent within a session, and logs in where that can't lead to a ban."""

    def __init__(
        self,
        qbittorrent: Qbittorrent,
        config: QbittorrentConfig,
        logins: Logins,
        note_login: NoteLogin = lambda note: None,
    ) -> None:
        """`note_login` is told of each login before it is tried."""
        self._qbittorrent = qbittorrent
        self._config = config
        self._logins = logins
        self._note_login = note_login
        self._unproven: Credentials | None = None
        """The credentials of the last login, until it was seen to lead to a session that works."""

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

    def note(self) -> LoginNote | None:
        """What has to survive a restart of ours; None where no login failed of late."""
        return self._logins.note()

    def _prove(self, result: T) -> T:
        if self._unproven:
            self._unproven = None
            self._logins.succeed()
        return result

    def _log_in(self, operations: Operations) -> None:
        if not operations.timed(Operation.QBITTORRENT_LOGIN, self._needs_login):
            return
        credentials = (self._config.user, self._config.password.current().value)
        if not self._logins.begin(credentials):
            raise self._suspended()
        if note := self.note():
            self._note_login(note)
        try:
            log_in = functools.partial(self._qbittorrent.log_in, credentials[1])
            operations.timed(Operation.QBITTORRENT_LOGIN, log_in)
        except ServerError as error:
            self._logins.fail(error.reason, credentials)
            raise
        self._unproven = credentials

    def _needs_login(self) -> bool:
        try:
            return self._qbittorrent.needs_login()
        except ServerError as error:
            if error.reason is Reason.CONNECTION:
                self._logins.server_is_gone()
            raise

    def _suspended(self) -> LoginSuspended:
        reason = self._logins.memory.reason
        what, fix = why_suspended(reason)
        error = LoginSuspended(
            f"{self._qbittorrent.where} {what}; so as not to be banned, the next login waits "
            f"{math.ceil(self._logins.waits_seconds / 60)} min",
            fix,
        )
        error.reason = Reason.AUTH if reason is Reason.OTHER else reason
        return error

    def _lost(self) -> Unauthorized:
        """What to tell where a login was accepted but the session is unknown."""
        if self._unproven:
            self._logins.fail(Reason.OTHER, self._unproven)
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


def why_suspended(reason: Reason) -> tuple[str, str]:
    """What a qBittorrent did with our logins, and what to do about it."""
    return _SUSPENSIONS.get(reason, _NO_ANSWER)


_SUSPENSIONS = {
    Reason.AUTH: ("rejected the user name or password", LoginSuspended.default_fix),
    Reason.BANNED: ("has banned our address", Banned.default_fix),
    Reason.OTHER: (
        "accepts our logins but refuses what follows them",
        "check that its HTTPS set-up under Options, Web UI works or is off, that the clocks of "
        "both machines agree, and that no proxy removes cookies",
    ),
}
_NO_ANSWER = (
    "left several logins without the right answer",
    HttpError.default_fix,
)
