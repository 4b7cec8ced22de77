"""qBittorrent's Web UI API: log in, read and set the listening port, prove that it is bound.

Facts: qBittorrent 4.2.5, 4.5.2, 5.1.0 and 5.3.0 as measured, others from their source.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from exporter.config.load import QbittorrentConfig
from exporter.errors import (
    Banned,
    ForbiddenHost,
    HttpError,
    InvalidResponse,
    LoginRejected,
    SessionExpired,
    Unauthorized,
    VerifyMismatch,
)
from exporter.model import BindResult, ConnectionStatus
from exporter.servers.bind_log import BindLog, LogEntry
from exporter.servers.http import LARGEST_BODY_BYTES, Response, Transport

_LARGEST_LOG_BYTES = 8_000_000  # qBittorrent keeps up to 20,000 entries


@dataclass(frozen=True, slots=True)
class Listening:
    """The listening port as stored; that says nothing about a socket."""

    port: int
    random_port: bool
    """Whether qBittorrent picks a port of its own at each start (up to 4.3 beside `port`)."""


@dataclass(frozen=True, slots=True)
class Version:
    """Versions as qBittorrent tells them, and libtorrent's as numbers."""

    app: str
    webapi: str
    libtorrent: tuple[int, ...]

    @property
    def reopens_sockets(self) -> bool:
        """Whether a vanished network interface that comes back is listened on again.

        libtorrent 2.0.8 does not, 2.0.11 and 2.0.14 do (measured).
        """
        return self.libtorrent >= (2, 0, 11)


class Qbittorrent:
    """Client of one qBittorrent; it never logs in unless `log_in()` is called."""

    def __init__(self, config: QbittorrentConfig, timeout_seconds: float) -> None:
        self._config = config
        self._transport = Transport("qBittorrent", config.server, timeout_seconds)
        self._last_entry: LogEntry | None = None
        self.bind_log = BindLog()
        self.version: Version | None = None
        self.ready = False
        """Whether a session, an API key or the bypass was seen to work and not to fail since."""
        self.auth = config.auth
        """How we authenticate: password, apikey or bypass."""

    @property
    def where(self) -> str:
        """The server in words for messages."""
        return self._transport.where

    def reannounce(self) -> None:
        """Have all torrents announced to their trackers, with the listening port in force."""
        response = self._transport.post("/api/v2/torrents/reannounce", {"hashes": "all"})
        self._check(response, accepted=range(200, 300))

    def needs_login(self) -> bool:
        """Ask without a password what is needed; costs no credit against a ban.

        Raises ForbiddenHost (401 to everything: the Host header), Unauthorized (wrong API key),
        InvalidResponse (not a qBittorrent), Unreachable.
        """
        api_key = self._config.api_key.current()
        key = api_key.value
        self._transport.set_header("Authorization", f"Bearer {key}".encode() if key else None)
        self._transport.cookies.clear()
        response = self._transport.get("/api/v2/app/version")
        if response.status == 200 and response.body[:1] == b"v":
            self.auth = "apikey" if key else "bypass"
            self._new_session()
            return False
        self._refuse_proxy(response)
        if response.status == 403 and key:
            raise Unauthorized(
                f"{self.where} does not accept the API key",
                f"{api_key.fix_prefix}correct QBITTORRENT_API_KEY (Options, Web UI; qBittorrent "
                "5.2 and later), or unset it and use QBITTORRENT_USER and QBITTORRENT_PASS",
            )
        if response.status == 401:
            raise ForbiddenHost(f"{self.where} refuses the Host header {self._host_header!r}")
        if response.status != 403:
            raise self._not_qbittorrent(response)
        self.auth = "password"
        return True

    def log_in(self, password: str) -> None:
        """Log in once, on a fresh cookie jar: a live cookie would hide a wrong password.

        Raises LoginRejected, Banned (403 on this very call), Unreachable, HttpError.
        """
        self._transport.cookies.clear()
        response = self._transport.post(
            "/api/v2/auth/login",
            {"username": self._config.user, "password": password},
        )
        self._refuse_proxy(response)
        if response.status == 403:
            raise Banned(f"{self.where} has banned our address after too many failed logins")
        # up to 5.1: 200 and `Ok.` or `Fails.`; from 5.2 on: 204 or 401
        if response.status == 204 or (response.status == 200 and response.body.strip() == b"Ok."):
            self._new_session()
            return
        if response.status == 401 or response.body.strip() == b"Fails.":
            fix = self._config.password.current().fix_prefix + LoginRejected.default_fix
            raise LoginRejected(f"{self.where} rejects the user name or password", fix)
        raise self._not_qbittorrent(response)

    def listening(self) -> Listening:
        """Read the listening port; the rest of the preferences (passwords too) stays here."""
        document = self._get("/api/v2/app/preferences").json(self.where)
        port = document.get("listen_port") if isinstance(document, dict) else None
        if type(port) is not int:
            raise InvalidResponse(f"{self.where} answered preferences without a listening port")
        return Listening(port, random_port=document.get("random_port") is True)

    def connection_status(self) -> ConnectionStatus:
        """Read `connection_status`; up to 1.5 s old from qBittorrent 4.6 on."""
        document = self._get("/api/v2/transfer/info").json(self.where)
        word = document.get("connection_status") if isinstance(document, dict) else None
        if not isinstance(word, str):
            raise InvalidResponse(f"{self.where} answered without a connection status")
        known = word in tuple(ConnectionStatus)
        return ConnectionStatus(word) if known else ConnectionStatus.UNKNOWN

    def has_torrents(self) -> bool:
        """Ask whether there is any torrent at all."""
        document = self._get("/api/v2/torrents/info", {"limit": "1"}).json(self.where)
        if not isinstance(document, list):
            raise InvalidResponse(f"{self.where} answered without a list of torrents")
        return bool(document)

    def send_listening_port(self, port: int) -> None:
        """Ask for a port. The answer proves nothing: see `listening()` and `bind_result()`.

        `random_port` is needed up to 4.3, where it is independent of the port.
        """
        self.bind_log.forget(port)
        preferences = json.dumps({"listen_port": port, "random_port": False})
        response = self._transport.post("/api/v2/app/setPreferences", {"json": preferences})
        self._check(response, accepted=range(200, 300))

    def confirm_listening_port(self, port: int) -> None:
        """Read the port back; VerifyMismatch where it is another one."""
        kept = self.listening()
        if kept.port != port or kept.random_port:
            raise VerifyMismatch(
                f"{self.where} was given port {port} but keeps "
                f"{'a random one' if kept.random_port else kept.port}"
            )

    def bind_result(self, port: int) -> BindResult:
        """Read what is new in the log and tell what it says about a port."""
        entries = self._new_entries()  # this may begin a new log
        self.bind_log.fold(entries)
        return self.bind_log.result(port)

    def learn_version(self) -> None:
        """Ask for the versions, which are known from then on until another session begins."""
        app = self._get("/api/v2/app/version").body.decode("utf-8", "replace").strip()
        webapi = self._get("/api/v2/app/webapiVersion").body.decode("utf-8", "replace").strip()
        build = self._get("/api/v2/app/buildInfo").json(self.where)
        libtorrent = str(build.get("libtorrent", "")) if isinstance(build, dict) else ""
        numbers = tuple(int(number) for number in re.findall(r"\d{1,9}", libtorrent)[:4])
        self.version = Version(app[:32], webapi[:32], numbers)

    def has_secure_cookie_over_http(self) -> bool:
        """Whether the session can't work: a broken HTTPS set-up marks its cookie `secure`."""
        secure = any(cookie.secure for cookie in self._transport.cookies)
        return secure and not self._config.server.https

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    @property
    def _host_header(self) -> str:
        return self._config.server.address

    def _new_session(self) -> None:
        self.ready = True
        self.version = None
        self._last_entry = None
        self.bind_log = BindLog()

    def _get(
        self, path: str, params: dict[str, str] | None = None, limit: int = LARGEST_BODY_BYTES
    ) -> Response:
        response = self._transport.get(path, params=params, limit=limit)
        self._check(response, accepted=range(200, 201))
        return response

    def _refuse_proxy(self, response: Response) -> None:
        """Raise HttpError for a refusal that is not qBittorrent's: its own are plain text."""
        if response.status not in (401, 403):
            return
        page = response.headers.get("Content-Type", "").startswith("text/html")
        if page or "WWW-Authenticate" in response.headers:
            raise HttpError(
                f"a proxy answers for {self.where}, with status {response.status}",
                response.status,
                "let QBITTORRENT_HOST and QBITTORRENT_PORT lead to qBittorrent itself, past the "
                "proxy; or let the proxy pass /api/ on without a login of its own",
            )

    def _check(self, response: Response, accepted: range) -> None:
        self._refuse_proxy(response)
        if response.status == 403:
            self.ready = False
            raise SessionExpired(f"{self.where} no longer knows our session")
        if response.status == 401:
            self.ready = False
            raise ForbiddenHost(f"{self.where} refuses the Host header {self._host_header!r}")
        if response.status not in accepted:
            raise HttpError(f"{self.where} answered with status {response.status}", response.status)

    def _not_qbittorrent(self, response: Response) -> HttpError | InvalidResponse:
        if response.status != 200:
            return HttpError(
                f"{self.where} answered with status {response.status}", response.status
            )
        return InvalidResponse(
            f"{self.where} is no qBittorrent: it answered {response.describe_body()}"
        )

    def _new_entries(self) -> list[LogEntry]:
        """Read the entries after the last one seen.

        Ids start at 0 again when qBittorrent is restarted. So the last entry is read once more:
        where it is not found again, that has happened, and everything is read anew. Its time
        counts, too: a start with the same addresses writes the same entries.
        """
        last = self._last_entry
        entries = self._read_log(after_id=-1 if last is None else last.id - 1)
        if last is not None and last not in entries:
            self.version = last = None
            self.bind_log = BindLog()
            entries = self._read_log(after_id=-1)
        if entries:
            self._last_entry = entries[-1]
        return entries if last is None else entries[entries.index(last) + 1 :]

    def _read_log(self, *, after_id: int) -> list[LogEntry]:
        document = self._get(
            "/api/v2/log/main",
            {"last_known_id": str(after_id), "normal": "false", "warning": "false"},
            _LARGEST_LOG_BYTES,
        ).json(self.where)
        if not isinstance(document, list):
            raise InvalidResponse(f"{self.where} answered without a log")
        return [_log_entry(item, self.where) for item in document]


def _log_entry(item: Any, where: str) -> LogEntry:
    if isinstance(item, dict):
        number, kind, message = item.get("id"), item.get("type"), item.get("message")
        if type(number) is int and type(kind) is int and isinstance(message, str):
            stamp = item.get("timestamp")
            return LogEntry(number, kind, message, stamp if type(stamp) is int else None)
    raise InvalidResponse(f"{where} answered with a log entry that makes no sense")
