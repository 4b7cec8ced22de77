"""A fake qBittorrent WebUI, true to 4.2.5, 4.5.2, 5.1.0 and 5.3.0."""

import base64
import gzip
import json
import random
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import parse_qsl, urlsplit

from exporter.simulated_listening import (
    CRITICAL,
    INFO,
    NORMAL,
    WARNING,
    WORDS,
    WORDS_4_2,
    ConnectionStatus,
    Listening,
    Words,
)
from exporter.simulated_server import Answer, Request, SimulatedServer

Version = Literal["4.2.5", "4.5.2", "5.1.0", "5.3.0"]
VERSIONS: tuple[Version, ...] = get_args(Version)

BANNED = "Your IP address has been banned after too many failed authentication attempts."
GZIP_FROM_BYTES = 1025
API_KEY_LETTERS = "23456789ABCDEFGHIJKLMNPQRSTUVWXYZabcdefghjkmnpqrstuvwxyz"
LIBTORRENT_HEALS_SINCE = (2, 0, 11)

_FORM = "application/x-www-form-urlencoded"
_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "script-src 'self' 'unsafe-inline'; object-src 'none'; form-action 'self'; "
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """In what one version differs from another."""

    api: str
    build: dict[str, str | int]
    words: Words = WORDS
    # 4.2.5 sends errors without a body, and has no list of methods
    old: bool = False
    qt6: bool = True
    # from 5.2 on: 204 and 401 on login, API key, basic authentication, cookie named by port
    modern: bool = False


TRAITS: dict[Version, Traits] = {
    "4.2.5": Traits(
        api="2.5.1",
        build={"libtorrent": "1.2.9.0", "openssl": "1.1.1w", "qt": "5.12.5", "boost": "1.71.0"},
        words=WORDS_4_2,
        old=True,
        qt6=False,
    ),
    "4.5.2": Traits(
        api="2.8.19",
        build={"libtorrent": "2.0.8.0", "openssl": "3.0.20", "qt": "5.15.8", "boost": "1.74.0"},
        qt6=False,
    ),
    "5.1.0": Traits(
        api="2.11.4",
        build={"libtorrent": "2.0.11.0", "openssl": "3.5.9", "qt": "6.8.2", "boost": "1.83.0"},
    ),
    "5.3.0": Traits(
        api="2.16.2",
        build={"libtorrent": "2.0.11.0", "openssl": "3.5.9", "qt": "6.8.2", "boost": "1.83.0"},
        modern=True,
    ),
}

_SCOPES = ("app", "auth", "log", "torrents", "transfer")
_POST_ONLY = frozenset(
    {
        "app/deleteAPIKey",
        "app/rotateAPIKey",
        "app/setPreferences",
        "app/shutdown",
        "auth/login",
        "auth/logout",
        "torrents/reannounce",
    }
)


class HttpError(Exception):
    """Ends a request with an error status and a body, by default the status' own words."""

    def __init__(self, status: int, body: str | None = None) -> None:
        super().__init__(status)
        self.answer_status = status
        self.body = HTTPStatus(status).phrase if body is None else body


@dataclass(slots=True)
class _Session:
    last_used: float
    cookie_sent: float
    resend_cookie: bool = False


class SimulatedQbittorrent(SimulatedServer):
    """Answers as qBittorrent's WebUI does; what happens to it is caused by its methods."""

    idle_seconds = 8.0

    def __init__(  # noqa: PLR0913 - each is an option of the server, given by name
        self,
        version: Version = "5.1.0",
        *,
        username: str = "admin",
        password: str = "simulated-password",  # noqa: S107 - guards nothing
        api_key: str | None = None,
        bypass: bool = False,
        listening_port: int = 21000,
        interface: str = "lo",
        addresses: Sequence[str] = ("127.0.0.1", "::1"),
        privileged_ports: bool = False,
        tls: tuple[Path, Path] | None = None,
        secure_cookie: bool | None = None,
        ban_after: int = 5,
        ban_seconds: int = 3600,
        session_timeout: int = 3600,
        clock: Callable[[], float] = time.monotonic,
        host: str = "127.0.0.1",
        port: int | None = None,
    ) -> None:
        super().__init__(host, port or 0, _tls_context(tls))
        self.version: Version = version
        self.bypass = bypass
        self.username = username
        self.password = password
        self.writes: list[int] = []
        self.login_attempts: list[float] = []
        self.failed_logins = 0
        self.torrents: list[dict[str, object]] = []
        self.reannounced: list[str] = []
        self.transfer: dict[str, object] = {}
        self._traits = TRAITS[version]
        self._clock = clock
        self._secure_cookie = tls is not None if secure_cookie is None else secure_cookie
        self._sessions: dict[str, _Session] = {}
        self._failures: dict[str, int] = {}
        self._banned_until: dict[str, float] = {}
        self._random_port = False
        self._unsaved = True
        self._preferences = _preferences(version) | {
            "bypass_local_auth": bypass,
            "current_network_interface": interface,
            "listen_port": listening_port,
            "web_ui_address": host,
            "web_ui_ban_duration": ban_seconds,
            "web_ui_max_auth_fail_count": ban_after,
            "web_ui_port": self.port,
            "web_ui_session_timeout": session_timeout,
            "web_ui_username": username,
        }
        if "current_interface_name" in self._preferences:
            self._preferences["current_interface_name"] = interface
        if self._traits.modern:
            self._preferences["web_ui_api_key"] = api_key or ""
        self._listening = Listening(
            self._traits.words,
            clock=clock,
            cached_status=self._traits.qt6,
            interface=interface,
            addresses=addresses,
            privileged=privileged_ports,
        )

    # What a test or the demo does to the server

    def start(self) -> None:
        """Start with an empty memory: no sessions, no bans, a new log, ports bound anew."""
        with self._lock:
            if not self.running:
                self._begin()
        super().start()

    def restart(self) -> None:
        """Stop and start with the same settings, address and port."""
        self.stop()
        self.start()

    @property
    def listening_port(self) -> int:
        """The preference, which may differ from what is bound."""
        with self._lock:
            return int(str(self._preferences["listen_port"]))

    @listening_port.setter
    def listening_port(self, port: int) -> None:
        self.set_preferences({"listen_port": port})

    @property
    def random_port(self) -> bool:
        """Whether the system chooses the port; up to 4.3 independent of the preference."""
        with self._lock:
            return self._random_port if self._traits.old else self.listening_port == 0

    @random_port.setter
    def random_port(self, chosen: bool) -> None:
        self.set_preferences({"random_port": chosen})

    @property
    def bound_ports(self) -> set[int]:
        """The ports on which a peer could really connect."""
        with self._lock:
            return self._listening.bound_ports

    @property
    def connection_status(self) -> ConnectionStatus:
        """What transfer/info says at this moment."""
        with self._lock:
            return self._listening.status

    @property
    def occupied(self) -> set[int]:
        """Ports that another program holds; to be added to."""
        return self._listening.occupied

    @property
    def occupied_ipv4(self) -> set[int]:
        """Ports that another program holds on IPv4 only."""
        return self._listening.occupied_ipv4

    @property
    def occupied_udp(self) -> set[int]:
        """Ports that another program holds for UDP only."""
        return self._listening.occupied_udp

    @property
    def api_key(self) -> str:
        """The API key in force; empty for none."""
        with self._lock:
            return str(self._preferences.get("web_ui_api_key", ""))

    def set_password(self, password: str) -> None:
        """The user changes the password; sessions live on."""
        with self._lock:
            self.password = password

    def end_sessions(self) -> None:
        """Forget all sessions, as an expiry does."""
        with self._lock:
            self._sessions.clear()

    def vpn_interface_recreated(self) -> None:
        """The VPN's interface goes and comes back; libtorrent 2.0.8 stays on the dead socket."""
        libtorrent = str(self._traits.build["libtorrent"]).split(".")[:3]
        version = tuple(int(part) for part in libtorrent)
        with self._lock:
            stays_dead = (2,) <= version < LIBTORRENT_HEALS_SINCE
            self._listening.interface_recreated(stays_dead=stays_dead)

    def incoming_peer(self) -> bool:
        """A peer from outside connects; False when no live socket hears it."""
        with self._lock:
            return self._listening.peer_arrives()

    def set_preferences(self, wanted: dict[str, object]) -> None:
        """Apply preferences as app/setPreferences does."""
        with self._lock:
            before = (self.listening_port, self._preferences["current_network_interface"])
            self._store(wanted)
            after = (self.listening_port, self._preferences["current_network_interface"])
            if before != after:
                self._listening.interface = str(after[1])
                self._bind()
            if self._unsaved:
                self._saved()

    # The WebUI

    def answer(self, request: Request) -> Answer:
        """Carry out one request, or say why not."""
        with self._lock:
            try:
                return self._compressed(request, self._answered(request))
            except HttpError as error:
                return self._error(error)

    def head(self, answer: Answer) -> bytes:
        """Status line and headers in qBittorrent's own spelling and order."""
        headers = dict(answer.headers)
        headers["content-length"] = str(len(answer.body))
        if not answer.bare:
            headers.setdefault("connection", "keep-alive")
            headers |= self._security_headers()
        headers["date"] = formatdate(usegmt=True)
        first = ["date"] if self._traits.modern else []
        names = first + [name for name in sorted(headers) if name not in first]
        lines = [f"{name}: {headers[name]}" for name in names]
        reason = HTTPStatus(answer.status).phrase
        if self._traits.modern and answer.status < HTTPStatus.BAD_REQUEST:
            reason = ""
        return "\r\n".join([f"HTTP/1.1 {answer.status} {reason}", *lines, "", ""]).encode()

    def malformed(self, method: str | None) -> Answer:
        """The answer to a request that qBittorrent's parser rejects."""
        status = 501 if method is not None and self._traits.qt6 else 400
        return Answer(status, headers={"connection": "close"}, close=True, bare=True)

    def _answered(self, request: Request) -> Answer:
        if request.method not in ("GET", "HEAD", "POST"):
            return self.malformed(request.method)
        parameters = _parameters(request)
        # 4.2.5 wants a length with each POST
        unsized = request.method == "POST" and "content-length" not in request.headers
        if parameters is None or (unsized and self._traits.old):
            return self.malformed(None)
        self._check_origin(request)
        key = self._presented_key(request)
        if key is not None:
            return self._answered_by_key(request, parameters, key)
        session_id, cookie = self._session(request)
        try:
            answer = self._dispatch(request, parameters, session_id)
        except HttpError as error:
            answer = self._error(error)
        if cookie is not None:
            answer.headers.setdefault("set-cookie", cookie)
        return answer

    def _dispatch(
        self, request: Request, parameters: dict[str, str], session_id: str | None
    ) -> Answer:
        name = _api_name(request.path, old=self._traits.old)
        if name is None:
            return self._page(request)
        unknown = name.partition("/")[0] not in _SCOPES
        if session_id is None and name != "auth/login" and not (unknown and self._traits.old):
            raise HttpError(403)
        if unknown:
            raise HttpError(404)
        self._check_method(request, name)
        if name == "auth/login":
            return self._log_in(request, parameters, session_id)
        if name == "auth/logout":
            return self._log_out(session_id)
        handlers = self._handlers()
        if name not in handlers:
            raise HttpError(404, "Endpoint does not exist" if self._traits.modern else None)
        return handlers[name](parameters)

    def _handlers(self) -> dict[str, Callable[[dict[str, str]], Answer]]:
        handlers = {
            "app/version": lambda _: self._text(f"v{self.version}"),
            "app/webapiVersion": lambda _: self._text(self._traits.api),
            "app/buildInfo": lambda _: _json(self._build_info()),
            "app/preferences": lambda _: _json(self._shown_preferences()),
            "app/setPreferences": self._set_preferences,
            "app/shutdown": lambda _: self._shut_down(),
            "log/main": self._log_main,
            "torrents/info": self._torrents_info,
            "torrents/reannounce": self._reannounce,
            "transfer/info": lambda _: _json(self._transfer_info()),
        }
        if self._traits.modern:
            handlers["app/rotateAPIKey"] = lambda _: self._rotate_key()
            handlers["app/deleteAPIKey"] = lambda _: self._delete_key()
        return handlers

    def _check_method(self, request: Request, name: str) -> None:
        if self._traits.old:
            return
        known = name in _POST_ONLY and (self._traits.modern or not name.endswith("APIKey"))
        method = "GET" if request.method == "HEAD" and self._traits.qt6 else request.method
        if method not in (("POST",) if known else ("GET", "POST")):
            raise HttpError(405)

    def _check_origin(self, request: Request) -> None:
        headers = request.headers
        host = headers.get("host", "")
        port = urlsplit(f"//{host}").port
        if port is not None and port != self.port:
            self._warn(
                f"WebUI: Invalid Host header, port mismatch. Request source IP: "
                f"'{request.address}'. Server port: '{self.port}'. Received Host header: '{host}'"
            )
            raise HttpError(401)
        if self._presented_key(request) is not None:
            return
        for name in ("origin", "referer"):
            value = headers.get(name, "")
            if value and urlsplit(value).netloc != host:
                title = name.title()
                self._warn(
                    f"WebUI: {title} header & Target origin mismatch! Source IP: "
                    f"'{request.address}'. {title} header: '{value}'. Target origin: '{host}'"
                )
                raise HttpError(401)
        if self._traits.modern and headers.get("sec-fetch-site") == "cross-site":
            raise HttpError(401)

    # Who may do what

    def _presented_key(self, request: Request) -> str | None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        return key if self._traits.modern and scheme.lower() == "bearer" and key else None

    def _answered_by_key(self, request: Request, parameters: dict[str, str], key: str) -> Answer:
        if not self.api_key or key != self.api_key:
            raise HttpError(403)
        name = _api_name(request.path, old=False)
        if name is None:
            raise HttpError(404)
        if name.startswith("auth/"):
            raise HttpError(403)
        return self._dispatch(request, parameters, "")

    def _session(self, request: Request) -> tuple[str | None, str | None]:
        """The session of the request, and the cookie to send with the answer."""
        now = self._clock()
        timeout = int(str(self._preferences["web_ui_session_timeout"]))
        session_id = _cookies(request).get(self.cookie_name, "")
        session = self._sessions.get(session_id)
        if session is not None and 0 < timeout <= now - session.last_used:
            del self._sessions[session_id]
            session = None
        if session is not None:
            session.last_used = now
            return session_id, self._renewed_cookie(session_id, session)
        if self.bypass or self._basic_passes(request):
            return self._new_session()
        return None, None

    def _renewed_cookie(self, session_id: str, session: _Session) -> str | None:
        if not self._traits.modern:
            return None
        now = self._clock()
        timeout = int(str(self._preferences["web_ui_session_timeout"]))
        old = timeout > 0 and now - session.cookie_sent > min(timeout / 2, 86_400)
        if not old and not session.resend_cookie:
            return None
        session.cookie_sent, session.resend_cookie = now, False
        return self._cookie(session_id)

    def _new_session(self) -> tuple[str, str]:
        limit = int(str(self._preferences.get("web_ui_sessions_count_limit", 0)))
        while limit and len(self._sessions) >= limit:
            coldest = min(self._sessions, key=lambda each: self._sessions[each].last_used)
            del self._sessions[coldest]
        session_id = base64.b64encode(secrets.token_bytes(24)).decode()
        now = self._clock()
        self._sessions[session_id] = _Session(now, now)
        return session_id, self._cookie(session_id)

    @property
    def cookie_name(self) -> str:
        """The session cookie's name; from 5.2 on it tells the port."""
        return f"QBT_SID_{self.port}" if self._traits.modern else "SID"

    def _cookie(self, session_id: str) -> str:
        parts = [f"{self.cookie_name}={session_id}"]
        parts += ["secure"] if self._secure_cookie else []
        parts += ["HttpOnly"]
        if self._traits.modern:
            timeout = int(str(self._preferences["web_ui_session_timeout"]))
            seconds = timeout if timeout > 0 else 365 * 86_400
            parts += ["SameSite=Lax", f"expires={_cookie_date(seconds)}", "path=/"]
        elif self._traits.qt6:
            parts += ["SameSite=Strict", "path=/"]
        else:
            parts += ["path=/", "SameSite=Strict"]
        return "; ".join(parts)

    def _basic_passes(self, request: Request) -> bool:
        scheme, _, pair = request.headers.get("authorization", "").partition(" ")
        if not self._traits.modern or scheme.lower() != "basic":
            return False
        try:
            username, _, password = base64.b64decode(pair, validate=True).decode().partition(":")
        except ValueError:
            raise HttpError(401) from None
        self._check_credentials(request.address, username, password)
        return True

    def _log_in(
        self, request: Request, parameters: dict[str, str], session_id: str | None
    ) -> Answer:
        if session_id is not None:
            return self._logged_in()
        self.login_attempts.append(self._clock())
        username = parameters.get("username", "")
        try:
            self._check_credentials(request.address, username, parameters.get("password", ""))
        except HttpError as error:
            if error.answer_status == HTTPStatus.UNAUTHORIZED and not self._traits.modern:
                return self._text("Fails.")
            raise
        answer = self._logged_in()
        answer.headers["set-cookie"] = self._new_session()[1]
        return answer

    def _check_credentials(self, address: str, username: str, password: str) -> None:
        reason = "WebAPI login failure. Reason: {}, IP: " + f"{address}, username: {username}"
        if self._banned_until.get(address, float("-inf")) > self._clock():
            self._warn(reason.format("IP has been banned"))
            raise HttpError(403, BANNED)
        if (username, password) == (self.username, self.password):
            self._failures.pop(address, None)
            self._listening.write_log(NORMAL, f"WebAPI login success. IP: {address}")
            return
        self.failed_logins += 1
        failures = self._failures.get(address, 0) + 1
        self._failures[address] = failures
        self._warn(reason.format(f"invalid credentials, attempt count: {failures}"))
        if failures == int(str(self._preferences["web_ui_max_auth_fail_count"])):
            ban = float(str(self._preferences["web_ui_ban_duration"]))
            self._banned_until[address] = self._clock() + ban
            self._failures.pop(address)
        raise HttpError(401)

    def _logged_in(self) -> Answer:
        return Answer(204) if self._traits.modern else self._text("Ok.")

    def _log_out(self, session_id: str | None) -> Answer:
        self._sessions.pop(session_id or "", None)
        answer = self._text("")
        expired = f"{self.cookie_name}=; expires={_cookie_date(-86_400)}; path=/"
        answer.headers["set-cookie"] = expired
        return answer

    def _rotate_key(self) -> Answer:
        key = "qbt_" + "".join(secrets.choice(API_KEY_LETTERS) for _ in range(28))
        self._preferences["web_ui_api_key"] = key
        self._saved()
        return _json({"apiKey": key})

    def _delete_key(self) -> Answer:
        self._preferences["web_ui_api_key"] = ""
        self._saved()
        return Answer(204)

    # What the API tells and does

    def _build_info(self) -> dict[str, object]:
        info: dict[str, object] = {"bitness": 64, "zlib": "1.3.1", **self._traits.build}
        return info | ({"platform": "linux"} if self._traits.qt6 else {})

    def _shown_preferences(self) -> dict[str, object]:
        return self._preferences | {"random_port": self.random_port}

    def _set_preferences(self, parameters: dict[str, str]) -> Answer:
        self._require(parameters, "json")
        try:
            wanted = json.loads(parameters["json"])
        except ValueError:
            wanted = None
        if isinstance(wanted, dict):
            self.set_preferences(wanted)
        return self._text("")

    def _store(self, wanted: dict[str, object]) -> None:
        former = dict(self._preferences)
        port = _port_number(wanted["listen_port"]) if "listen_port" in wanted else None
        if "random_port" in wanted and self._traits.old:
            self._random_port = wanted["random_port"] is True
        elif wanted.get("random_port") is True:
            port = 0
        if port is not None:
            self._preferences["listen_port"] = port
            self.writes.append(port)
        for name, value in wanted.items():
            if name not in ("listen_port", "random_port") and name in self._preferences:
                self._preferences[name] = value
        self.username = str(self._preferences["web_ui_username"])
        self.password = str(wanted.get("web_ui_password") or self.password)
        self.bypass = bool(self._preferences["bypass_local_auth"])
        self._unsaved = self._unsaved or former != self._preferences

    def _saved(self) -> None:
        # after each change of its settings, 5.2 and later send cookies again
        self._unsaved = False
        for session in self._sessions.values():
            session.resend_cookie = True

    def _bind(self) -> None:
        self._listening.bind(0 if self.random_port else self.listening_port)

    def _log_main(self, parameters: dict[str, str]) -> Answer:
        last = _whole_number(parameters.get("last_known_id", ""), -1)
        names = {"normal": NORMAL, "info": INFO, "warning": WARNING, "critical": CRITICAL}
        kinds = {kind for name, kind in names.items() if _true(parameters.get(name, ""))}
        shown = [
            {"id": each.id, "message": each.message, "timestamp": each.timestamp, "type": each.type}
            for each in self._listening.entries()
            if each.id > last and each.type in kinds
        ]
        return _json(shown)

    def _torrents_info(self, parameters: dict[str, str]) -> Answer:
        limit = _whole_number(parameters.get("limit", ""), 0)
        return _json(self.torrents[:limit] if limit > 0 else self.torrents)

    def _reannounce(self, parameters: dict[str, str]) -> Answer:
        self._require(parameters, "hashes")
        self.reannounced.append(parameters["hashes"])
        return self._text("")

    def _transfer_info(self) -> dict[str, object]:
        names = ("info_data", "info_speed", "rate_limit")
        info: dict[str, object] = {f"{way}_{name}": 0 for way in ("dl", "up") for name in names}
        info |= {"connection_status": self._listening.status, "dht_nodes": 0}
        if self._traits.qt6:
            info |= {"last_external_address_v4": "", "last_external_address_v6": ""}
        return info | self.transfer

    def _shut_down(self) -> Answer:
        # from another thread, and late enough for the answer to be sent
        threading.Timer(0.1, self.stop).start()
        return self._text("")

    def _require(self, parameters: dict[str, str], name: str) -> None:
        if name not in parameters:
            missing = f"Missing required parameters: {name}"
            raise HttpError(400, missing if self._traits.modern else None)

    def _begin(self) -> None:
        self._sessions.clear()
        self._failures.clear()
        self._banned_until.clear()
        if self.listening_port < 0:
            self._preferences["listen_port"] = random.randrange(1024, 65_536)  # noqa: S311
        self._unsaved = True
        self._listening.begin()
        started = f"qBittorrent v{self.version} started"
        started += ". Process ID: 7" if self._traits.qt6 else ""
        self._listening.write_log(NORMAL, started)
        self._listening.write_log(NORMAL, "Using config directory: /config/qBittorrent/config")
        self._bind()
        self._listening.write_log(NORMAL, f"WebUI: Now listening on IP: *, port: {self.port}")

    # How it is said

    def _page(self, request: Request) -> Answer:
        if request.path != "/":
            raise HttpError(404)
        page = b'<!DOCTYPE html>\n<html lang="en"><title>qBittorrent WebUI</title></html>'
        return Answer(200, page, {"content-type": "text/html", "cache-control": "no-store"})

    @property
    def _text_type(self) -> dict[str, str]:
        return {"content-type": "text/plain" + ("" if self._traits.old else "; charset=UTF-8")}

    def _text(self, text: str) -> Answer:
        return Answer(200, text.encode(), self._text_type)

    def _error(self, error: HttpError) -> Answer:
        if self._traits.old and error.body != BANNED:
            return Answer(error.answer_status)
        return Answer(error.answer_status, error.body.encode(), self._text_type)

    def _compressed(self, request: Request, answer: Answer) -> Answer:
        accepted = request.headers.get("accept-encoding", "")
        body, headers = answer.body, answer.headers
        if len(body) >= GZIP_FROM_BYTES and ("gzip" in accepted or "*" in accepted):
            body, headers = gzip.compress(body), headers | {"content-encoding": "gzip"}
        without_body = request.method == "HEAD" and self._traits.qt6
        return Answer(answer.status, body, headers, answer.close, without_body, answer.bare)

    def _security_headers(self) -> dict[str, str]:
        frames = "frame-src 'self' blob:; " if self._traits.qt6 else ""
        headers = {
            "content-security-policy": f"{_POLICY}{frames}frame-ancestors 'self';",
            "referrer-policy": "same-origin",
            "x-content-type-options": "nosniff",
            "x-frame-options": "SAMEORIGIN",
            "x-xss-protection": "1; mode=block",
        }
        return headers | ({"cross-origin-opener-policy": "same-origin"} if self._traits.qt6 else {})

    def _warn(self, message: str) -> None:
        self._listening.write_log(WARNING, message)


def _json(value: object) -> Answer:
    text = json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return Answer(200, text.encode(), {"content-type": "application/json"})


def _tls_context(files: tuple[Path, Path] | None) -> ssl.SSLContext | None:
    if files is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    return context


def _api_name(path: str, *, old: bool) -> str | None:
    """The scope and action of an API path, or None for what is a file of the WebUI."""
    words = path.split("/")
    if len(words) != 5 or words[:3] != ["", "api", "v2"]:
        return None
    scope, action = words[3:]
    letters = scope.isalpha() and action.isalnum()
    return f"{scope}/{action}" if letters and not (old and not scope.islower()) else None


def _parameters(request: Request) -> dict[str, str] | None:
    """The parameters, or None where the body is of a kind that qBittorrent's parser rejects."""
    if request.method != "POST":
        return request.query
    kind, _, rest = request.headers.get("content-type", "").partition(";")
    if not request.body:
        return {}
    if kind.strip().lower() == _FORM:
        text = request.body.decode("utf-8", "replace")
        return dict(parse_qsl(text, keep_blank_values=True))
    if kind.strip().lower() == "multipart/form-data":
        return _multipart(request.body, rest.partition("boundary=")[2].strip('" '))
    return None


def _multipart(body: bytes, boundary: str) -> dict[str, str]:
    fields = {}
    for part in body.split(b"--" + boundary.encode())[1:-1]:
        head, _, value = part.strip(b"\r\n").partition(b"\r\n\r\n")
        name = head.decode("latin-1").partition('name="')[2].partition('"')[0]
        fields[name] = value.decode("utf-8", "replace")
    return fields


def _cookies(request: Request) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in request.headers.get("cookie", "").split(";"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def _cookie_date(seconds: float) -> str:
    moment = time.gmtime(time.time() + seconds)
    days = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    date = f"{moment.tm_mday:02}-{months[moment.tm_mon - 1]}-{moment.tm_year}"
    return f"{days[moment.tm_wday]}, {date} {time.strftime('%H:%M:%S', moment)} GMT"


def _true(text: str) -> bool:
    return text.lower() != "false"


def _whole_number(text: str, otherwise: int) -> int:
    try:
        return int(text)
    except ValueError:
        return otherwise


def _port_number(value: object) -> int:
    """What qBittorrent makes of a value: Qt's conversion to a 32-bit integer."""
    if isinstance(value, str):
        return _whole_number(value, 0) if "_" not in value else 0
    if isinstance(value, bool | int | float):
        number = int(value + 0.5 if value >= 0 else value - 0.5)
        return (number + 2**31) % 2**32 - 2**31
    return 0


def _preferences(version: Version) -> dict[str, object]:
    """What app/preferences tells besides: a part of the real keys, each secret one filled."""
    preferences: dict[str, object] = {
        "add_trackers": "",
        "alt_dl_limit": 10240,
        "alt_up_limit": 10240,
        "anonymous_mode": False,
        "async_io_threads": 10,
        "banned_IPs": "",
        "bypass_auth_subnet_whitelist": "",
        "bypass_auth_subnet_whitelist_enabled": False,
        "current_interface_address": "",
        "dht": False,
        "dl_limit": 0,
        "dyndns_domain": "changeme.dyndns.org",
        "dyndns_enabled": False,
        "dyndns_password": "canary-dyndns-password",
        "dyndns_service": 0,
        "dyndns_username": "canary-dyndns-user",
        "embedded_tracker_port": 9000,
        "encryption": 0,
        "locale": "en",
        "lsd": False,
        "mail_notification_auth_enabled": True,
        "mail_notification_email": "canary-mail@example.com",
        "mail_notification_enabled": True,
        "mail_notification_password": "canary-mail-password",
        "mail_notification_sender": "qBittorrent_notification@example.com",
        "mail_notification_smtp": "smtp.example.com",
        "mail_notification_username": "canary-mail-user",
        "max_connec": 500,
        "max_uploads": 20,
        "outgoing_ports_max": 0,
        "outgoing_ports_min": 0,
        "pex": False,
        "proxy_auth_enabled": True,
        "proxy_ip": "0.0.0.0",  # noqa: S104 - a setting, not an address to bind
        "proxy_password": "canary-proxy-password",
        "proxy_port": 8080,
        "proxy_username": "canary-proxy-user",
        "save_path": "/downloads/",
        "up_limit": 0,
        "upnp": False,
        "upnp_lease_duration": 0,
        "web_ui_clickjacking_protection_enabled": True,
        "web_ui_csrf_protection_enabled": True,
        "web_ui_domain_list": "*",
        "web_ui_host_header_validation_enabled": True,
        "web_ui_https_cert_path": "",
        "web_ui_https_key_path": "",
        "web_ui_secure_cookie_enabled": True,
        "web_ui_upnp": False,
    }
    traits = TRAITS[version]
    if not traits.old:
        preferences |= {"reannounce_when_address_changed": False}
    if traits.qt6:
        preferences |= {"current_interface_name": "", "ssl_enabled": False, "ssl_listen_port": 4320}
    if traits.modern:
        preferences |= {"web_ui_api_key": "", "web_ui_sessions_count_limit": 15}
    return preferences
