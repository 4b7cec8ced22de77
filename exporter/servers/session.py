"""The session with one qBittorrent: logs in where needed, and where that can't lead to a ban.

Facts: qBittorrent 4.2.5, 4.5.2, 5.1.0 and 5.3.0 as measured, others from their source.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from exporter.config.load import QbittorrentConfig
from exporter.config.settings import BY_NAME
from exporter.errors import (
    Banned,
    ForbiddenHost,
    HttpError,
    InvalidResponse,
    LoginRejected,
    LoginSuspended,
    ServerError,
    SessionExpired,
    Unauthorized,
)
from exporter.model import Operation, Reason, SavedLogins
from exporter.servers.cookies import Cookies
from exporter.servers.http import LARGEST_BODY_BYTES, Response, Transport
from exporter.servers.logins import Credentials, Logins
from exporter.servers.operations import Operations

T = TypeVar("T")
SaveLogins = Callable[[SavedLogins], None]

_VERSION = "/api/v2/app/version"
_SHORTEST_BAN_BYTES = 24


class Request(NamedTuple):
    """A GET, or a POST where there is a form."""

    operation: Operation
    """As what it counts."""
    path: str
    params: Mapping[str, str] | None = None
    form: Mapping[str, str] | None = None
    largest_bytes: int = LARGEST_BODY_BYTES


class Session:
    """Asks one qBittorrent, and logs in by itself."""

    def __init__(
        self,
        config: QbittorrentConfig,
        timeout_seconds: float,
        logins: Logins,
        save_logins: SaveLogins,
    ) -> None:
        """`save_logins` is called before each login is tried, in the thread of the check."""
        self._config = config
        self._http = Transport("qBittorrent", config.server, timeout_seconds)
        self.where = self._http.where
        self._logins = logins
        self._save_logins = save_logins
        self._cookies = Cookies()
        self._unproven: Credentials | None = None
        """The credentials of the last login, until it was seen to lead to a session that works."""
        self.open = False
        """Whether a session, an API key or the bypass was seen to work and not to fail since."""
        self.number = 0
        """Counts the sessions: with a new one, all that is known of the server may be old."""
        self.auth = config.auth
        """How we authenticate: password, apikey or bypass."""

    def ask(self, did: Operations, request: Request, parse: Callable[[Response], T]) -> T:
        """Ask within a session: log in first where needed, once more where the session ended.

        Raises Unreachable, Unauthorized, Banned, ForbiddenHost, HttpError, InvalidResponse, and
        what `parse` raises.
        """
        if self.open:
            with contextlib.suppress(SessionExpired):
                return self._send(did, request, parse)
        self._log_in(did)
        try:
            return self._send(did, request, parse)
        except SessionExpired as error:
            raise self._session_lost() from error

    def _send(self, did: Operations, request: Request, parse: Callable[[Response], T]) -> T:
        with did.measured(request.operation):
            if request.form is not None:
                response = self._http.post(request.path, request.form)
            else:
                response = self._http.get(
                    request.path, params=request.params, limit=request.largest_bytes
                )
            self._check(did, response)
            result = parse(response)
        if self._unproven:
            self._logins.succeed(self._unproven)
            self._unproven = None
        return result

    def _check(self, did: Operations, response: Response) -> None:
        self._refuse_proxy(response)
        if response.status == 403:
            self.open = False
            raise SessionExpired(f"{self.where} no longer knows our session")
        if response.status == 401:
            self.open = False
            raise self._forbidden_host(did)
        if not 200 <= response.status < 300:
            raise self._http.unexpected_status(response)
        self._take_cookies(response)

    def _log_in(self, did: Operations) -> None:
        if not self.needs_login(did):
            return
        password = self._config.password.current()
        if not password.value:
            raise LoginRejected(f"{self.where} needs a password", self._login_fix)
        credentials = (self._config.user, password.value)
        if not self._logins.begin(credentials):
            raise self._suspended()
        if saved := self._logins.saved():
            self._save_logins(saved)
        try:
            with did.measured(Operation.QBITTORRENT_LOGIN):
                self._post_login(credentials)
        except ServerError as error:
            self._logins.fail(error.reason)
            raise
        self._unproven = credentials
        self._begin_session()

    def needs_login(self, did: Operations) -> bool:
        """Ask without a password what is needed; costs no credit against a ban.

        Raises ForbiddenHost (401 to everything: the Host header), Unauthorized (wrong API key),
        InvalidResponse (not a qBittorrent), Unreachable.
        """
        with did.measured(Operation.QBITTORRENT_LOGIN):
            key = self._config.api_key.current().value
            self._http.set_header("Authorization", f"Bearer {key}".encode() if key else None)
            self._drop_cookies()
            try:
                response = self._http.get(_VERSION)
            except ServerError as error:
                if error.reason is Reason.CONNECTION:
                    self._logins.server_is_gone()
                raise
            return self._reads_as_login_needed(did, response)

    def _reads_as_login_needed(self, did: Operations, response: Response) -> bool:
        api_key = self._config.api_key.current()
        if response.status == 200 and response.body[:1] == b"v":
            self.auth = "apikey" if api_key.value else "bypass"
            self._take_cookies(response)
            self._begin_session()
            return False
        self._refuse_proxy(response)
        if response.status == 403 and api_key.value:
            raise Unauthorized(
                f"{self.where} does not accept the API key",
                api_key.advice(_CORRECT_KEY, "QBITTORRENT_API_KEY"),
            )
        if response.status == 401:
            if response.body == _GLUETUN_DENIES:
                raise InvalidResponse(
                    f"{self.where} answers like Gluetun's control server, or a proxy with a login",
                    _THE_WAY,
                )
            raise self._forbidden_host(did)
        if response.status != 403:
            raise self._not_qbittorrent(response)
        self.auth = "password"
        return True

    def _post_login(self, credentials: Credentials) -> None:
        """Log in on no cookies: a live session would hide a wrong password."""
        self._drop_cookies()
        form = {"username": credentials[0], "password": credentials[1]}
        response = self._http.post("/api/v2/auth/login", form)
        self._refuse_proxy(response)
        if response.status == 403 and not _is_ban(response):
            raise self._proxy(response)
        if response.status == 403:
            raise Banned(f"{self.where} has banned our address after too many failed logins")
        # up to 5.1: 200 and `Ok.` or `Fails.`; from 5.2 on: 204 or 401
        if response.status == 204 or (response.status == 200 and response.body.strip() == b"Ok."):
            self._take_cookies(response)
            return
        if response.status == 401 or response.body.strip() == b"Fails.":
            raise LoginRejected(f"{self.where} rejected the user name or password", self._login_fix)
        raise self._not_qbittorrent(response)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _begin_session(self) -> None:
        self.open = True
        self.number += 1

    def _take_cookies(self, response: Response) -> None:
        self._cookies.take(response)
        self._http.set_header("Cookie", self._cookies.header())

    def _drop_cookies(self) -> None:
        self._cookies = Cookies()
        self._http.set_header("Cookie", None)

    # what is wrong

    @property
    def _login_fix(self) -> str:
        password = self._config.password.current()
        if password.value == BY_NAME["QBITTORRENT_PASS"].default:
            return password.advice(_SET_PASSWORD, "QBITTORRENT_PASS")
        return password.advice(LoginRejected.default_fix, "QBITTORRENT_PASS")

    def _suspended(self) -> LoginSuspended:
        reason = self._logins.state.reason
        what, fix = _SUSPENSIONS.get(reason, _NO_ANSWER)
        if reason is Reason.AUTH:
            fix = self._login_fix
        error = LoginSuspended(
            f"{self.where} {what}; next login attempt in "
            f"{math.ceil(self._logins.waits_seconds / 60)} min, to avoid a ban",
            fix,
        )
        error.reason = Reason.AUTH if reason is Reason.OTHER else reason
        return error

    def _session_lost(self) -> Unauthorized:
        """Return the error for a login that was accepted although the session is unknown."""
        if self._unproven:
            self._logins.fail(Reason.OTHER)
        return Unauthorized(
            f"{self.where} accepted our login but refused the next request",
            "check that no proxy in between removes cookies",
        )

    def _forbidden_host(self, did: Operations) -> ForbiddenHost:
        address = self._config.server.address
        host = address.rpartition(":")[0]
        fix = (
            f"add {host} to 'Server domains' under Options, Web UI, or set QBITTORRENT_HOST to "
            "qBittorrent's own address"
        )
        return ForbiddenHost(
            f"{self.where} rejected the Host header {address!r}",
            fix if self._refuses_name(did, host) else None,
        )

    def _refuses_name(self, did: Operations, host: str) -> bool:
        """Whether the host is refused without a port, too, which qBittorrent compares otherwise."""
        self._http.set_header("Host", host)
        try:
            with did.measured(Operation.QBITTORRENT_LOGIN):
                return self._http.get(_VERSION).status == 401
        except ServerError:
            return False
        finally:
            self._http.set_header("Host", None)

    def _not_qbittorrent(self, response: Response) -> HttpError | InvalidResponse:
        if response.status == 404:
            return HttpError(f"{self.where} answered with status 404", 404, _THE_WAY)
        if response.status != 200:
            return self._http.unexpected_status(response)
        return InvalidResponse(
            f"{self.where} is no qBittorrent: it answered {response.describe_body()}", _THE_WAY
        )

    def _refuse_proxy(self, response: Response) -> None:
        """Raise HttpError for a refusal that is not qBittorrent's: its own are plain text."""
        if response.status not in (401, 403):
            return
        page = response.headers.get("Content-Type", "").startswith("text/html")
        if page or "WWW-Authenticate" in response.headers:
            raise self._proxy(response)

    def _proxy(self, response: Response) -> HttpError:
        return HttpError(
            f"a proxy answers for {self.where}, with status {response.status}",
            response.status,
            "let QBITTORRENT_HOST and QBITTORRENT_PORT lead to qBittorrent itself, past the "
            "proxy; or let the proxy pass /api/ on without a login of its own",
        )


_GLUETUN_DENIES = b"Unauthorized\n"
"""What Gluetun up to 3.41 says of routes that it lacks, in Go's words; qBittorrent ends no line."""
_CORRECT_KEY = (
    "correct QBITTORRENT_API_KEY, of Options, Web UI (qBittorrent 5.2 and later), or unset it and "
    "use QBITTORRENT_USER and QBITTORRENT_PASS"
)
_SET_PASSWORD = (
    "set QBITTORRENT_PASS: the default of older versions was tried; "
    + LoginRejected.default_fix.partition("; ")[2]
)
_THE_WAY = (
    "check that QBITTORRENT_HOST, QBITTORRENT_PORT and, behind a reverse proxy, QBITTORRENT_PATH "
    "lead to the right server"
)


def _is_ban(response: Response) -> bool:
    """Whether a 403 is a sentence about an IP address, as in every language of qBittorrent.

    Proxies say `Forbidden`, or nothing.
    """
    return len(response.body) >= _SHORTEST_BAN_BYTES and b"IP" in response.body


_SUSPENSIONS = {
    Reason.AUTH: ("rejected the user name or password", LoginSuspended.default_fix),
    Reason.BANNED: ("has banned our address", Banned.default_fix),
    Reason.OTHER: (
        "accepted our logins but refused what followed them",
        "check that no proxy in between removes cookies",
    ),
}
"""What a qBittorrent did with our logins, and what to do about it."""
_NO_ANSWER = ("did not give a valid answer to several logins", HttpError.default_fix)
