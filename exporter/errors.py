"""The typed errors. Each owns its `reason` (a metric label) and the `fix` for the user.

QstickyError
├── ConfigError          the configuration is wrong; exit code 2
├── StatusFileError      status.json can't be written
└── ServerError          one exchange with Gluetun or qBittorrent failed
    ├── Unreachable      nobody answers
    │   ├── TimedOut     … in time
    │   └── TlsFailed    … with a trusted certificate
    ├── Unauthorized     the credentials or the role don't suffice
    │   ├── SessionExpired   qBittorrent no longer knows our session
    │   ├── LoginRejected    wrong user name or password
    │   └── LoginSuspended   the next attempt waits, to avoid a ban
    ├── Banned           qBittorrent refuses our address
    ├── ForbiddenHost    qBittorrent refuses the Host header
    ├── Unexpected       a mistake of ours, or a response that nobody thought of
    ├── HttpError        any other status than the one expected
    ├── InvalidResponse  an answer that the server would never give
    ├── VerifyMismatch   qBittorrent did not keep the port
    ├── BindFailed       qBittorrent could not open a socket on the port
    └── NotReachable     … it could, and nobody outside gets in

Messages hold no secret: they go to the log, the status page and status.json as they are.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from exporter.model import Reason, SyncState

WAITING_FIXES = {
    SyncState.VPN_DOWN: "see Gluetun's log for the reason; restarting Gluetun often helps",
    SyncState.NO_PORT: "check that VPN_PORT_FORWARDING=on and that the VPN server supports port "
    "forwarding; restarting Gluetun often helps",
}
"""What to do where a state that heals by itself stays."""


class QstickyError(Exception):
    """Base of all our errors: `message` says what and where, `fix` what to do."""

    reason: Reason = Reason.OTHER
    default_fix: ClassVar[str] = ""
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = self.default_fix if fix is None else fix


class ConfigError(QstickyError):
    """The configuration can't be used; `mistakes` lists everything that is wrong with it."""

    default_fix = (
        "correct the settings above; `qsticky config` then shows where each value comes from"
    )
    exit_code = 2

    def __init__(self, mistakes: list[str], warnings: Iterable[str] = ()) -> None:
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        warned = [f"warning: {warning}" for warning in warnings]
        super().__init__("\n".join([f"the configuration has {count}:", *mistakes, *warned]))
        self.mistakes = tuple(mistakes)


class StatusFileError(QstickyError):
    """status.json could not be written."""

    reason = Reason.IO
    default_fix = "make the folder writable for qSticky's user, or name another file in HEALTH_FILE"


class ServerError(QstickyError):
    """An exchange with a server failed."""


class Unreachable(ServerError):
    """No connection, or one that broke before an answer came."""

    reason = Reason.CONNECTION
    default_fix = "check that the container is running, and …_HOST and …_PORT"


class TimedOut(Unreachable):
    """No whole answer within REQUEST_TIMEOUT: we know nothing about the server's state."""

    reason = Reason.TIMEOUT
    default_fix = "check that the server is not overloaded; …_HTTPS to a plain http port hangs too"


class TlsFailed(Unreachable):
    """The TLS handshake failed, mostly for an untrusted or expired certificate."""

    reason = Reason.TLS
    default_fix = "set …_CA_FILE to the certificate authority, or switch …_VERIFY_SSL off"


class Unauthorized(ServerError):
    """The server does not know us, or does not let us do this."""

    reason = Reason.AUTH
    default_fix = "check the user name, password or API key"


class SessionExpired(Unauthorized):
    """403 from a call that needs a session: it ended, or qBittorrent was restarted."""

    default_fix = "nothing to do, qSticky logs in again"


class LoginRejected(Unauthorized):
    """qBittorrent does not accept the user name or password."""

    default_fix = (
        "correct QBITTORRENT_USER and QBITTORRENT_PASS; qBittorrent 4.6.1 and later generate a new "
        "password at each start unless one is set under Options, Web UI"
    )


class LoginSuspended(Unauthorized):
    """A login was rejected before; the next try has to wait, or qBittorrent would ban us."""

    default_fix = LoginRejected.default_fix


class Banned(ServerError):
    """qBittorrent refuses our address after too many failed logins."""

    reason = Reason.BANNED
    default_fix = (
        "correct QBITTORRENT_PASS; the ban ends by itself (default: 1 hour), or at once where "
        "you restart qBittorrent and then qSticky"
    )


class ForbiddenHost(ServerError):
    """qBittorrent answers 401 to everything: it rejects the Host header."""

    reason = Reason.FORBIDDEN_HOST
    default_fix = (
        "the port in QBITTORRENT_PORT must be the one that qBittorrent itself listens on: map it "
        "unchanged (8081:8081 with WEBUI_PORT=8081, not 8081:8080), or switch off Options, Web UI, "
        "'Enable Host header validation'"
    )


class Unexpected(ServerError):
    """A mistake of ours, or a response that nobody thought of."""

    reason = Reason.OTHER
    default_fix = "please report this line; it is tried again"


def unexpected(error: Exception) -> Unexpected:
    """Return an error that names the kind and the place of another, and nothing that it quotes."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return Unexpected(f"an unexpected {type(error).__name__}{place}")


class HttpError(ServerError):
    """A status code that has no meaning for us."""

    default_fix = "check that host and port lead to the right server, without a proxy in between"

    def __init__(self, message: str, status: int, fix: str | None = None) -> None:
        super().__init__(message, fix)
        self.reason = Reason.HTTP_5XX if status >= 500 else Reason.HTTP_4XX


class InvalidResponse(ServerError):
    """The answer is not what this server answers in any version."""

    reason = Reason.INVALID_RESPONSE
    default_fix = "check that host and port lead to the right server, without a proxy in between"


class VerifyMismatch(ServerError):
    """qBittorrent took the port, but reads back another one."""

    reason = Reason.VERIFY_MISMATCH
    default_fix = "check that no other tool sets qBittorrent's port, and that its disk is not full"


class BindFailed(ServerError):
    """qBittorrent says in its log that it could not open a socket on the port."""

    reason = Reason.BIND_FAILED
    default_fix = (
        "see the log in qBittorrent (View, Log): another program may use the port, or the network "
        "interface set under Options, Advanced may be gone"
    )


class NotReachable(ServerError):
    """A service out there says that it does not get in, although everything here looks right."""

    reason = Reason.CLOSED
    default_fix = (
        "the VPN provider does not forward what it says it does: restart Gluetun, or choose "
        "another VPN server; where peers do get in, see that REACHABILITY_URL is asked through the "
        "VPN (REACHABILITY_PROXY)"
    )
