"""A fake qBittorrent WebUI, true to 4.2.5, 4.5.2, 5.1.0 and 5.3.0."""

import json
import random
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from exporter.simulator.access import Access
from exporter.simulator.dialect import (
    Dialect,
    HttpError,
    api_name,
    is_true,
    json_answer,
    parameters_of,
    port_number,
    whole_number,
)
from exporter.simulator.listening import (
    CRITICAL,
    INFO,
    NORMAL,
    WARNING,
    ConnectionStatus,
    Listening,
)
from exporter.simulator.server import Answer, Request, SimulatedServer
from exporter.simulator.versions import TRAITS, Version, preferences_of

LIBTORRENT_HEALS_SINCE = (2, 0, 11)

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
        self.writes: list[int] = []
        self.torrents: list[dict[str, object]] = []
        self.reannounced: list[str] = []
        self.transfer: dict[str, object] = {}
        self._traits = TRAITS[version]
        self._clock = clock
        self._dialect = Dialect(self._traits)
        self._random_port = False
        self._unsaved = True
        self._preferences = preferences_of(self._traits) | {
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
        self._access = Access(
            self._traits,
            self._preferences,
            password=password,
            clock=clock,
            write_log=self._listening.write_log,
        )
        self._access.secure_cookie = tls is not None if secure_cookie is None else secure_cookie

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

    @property
    def username(self) -> str:
        """The user name that is let in."""
        return str(self._preferences["web_ui_username"])

    @property
    def password(self) -> str:
        """The password that is let in."""
        return self._access.password

    def set_password(self, password: str) -> None:
        """The user changes the password; sessions live on."""
        with self._lock:
            self._access.password = password

    def end_sessions(self) -> None:
        """Forget all sessions, as an expiry does."""
        with self._lock:
            self._access.end_sessions()

    @property
    def login_attempts(self) -> list[float]:
        """When a login was tried, by the clock: each POST to auth/login without a session."""
        return self._access.login_attempts

    @property
    def failed_logins(self) -> int:
        """How many logins had wrong credentials."""
        return self._access.failed_logins

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
                return self._dialect.finished(request, self._answered(request))
            except HttpError as error:
                return self._dialect.error(error)

    def head(self, answer: Answer) -> bytes:
        """Status line and headers in qBittorrent's own spelling and order."""
        return self._dialect.head(answer)

    def malformed(self, method: str | None) -> Answer:
        """The answer to a request that qBittorrent's parser rejects."""
        return self._dialect.malformed(method)

    def _answered(self, request: Request) -> Answer:
        if request.method not in ("GET", "HEAD", "POST"):
            return self.malformed(request.method)
        parameters = parameters_of(request)
        # 4.2.5 wants a length with each POST
        unsized = request.method == "POST" and "content-length" not in request.headers
        if parameters is None or (unsized and self._traits.old):
            return self.malformed(None)
        self._check_origin(request)
        key = self._access.presented_key(request)
        if key is not None:
            return self._answered_by_key(request, parameters, key)
        session_id, cookie = self._access.session(request)
        try:
            answer = self._dispatch(request, parameters, session_id)
        except HttpError as error:
            answer = self._dialect.error(error)
        if cookie is not None:
            answer.headers.setdefault("set-cookie", cookie)
        return answer

    def _dispatch(
        self, request: Request, parameters: dict[str, str], session_id: str | None
    ) -> Answer:
        name = api_name(request.path, old=self._traits.old)
        if name is None:
            return self._dialect.page(request)
        unknown = name.partition("/")[0] not in _SCOPES
        if session_id is None and name != "auth/login" and not (unknown and self._traits.old):
            raise HttpError(403)
        if unknown:
            raise HttpError(404)
        self._check_method(request, name)
        if name == "auth/login":
            return self._access.log_in(request, parameters, session_id)
        if name == "auth/logout":
            return self._access.log_out(session_id)
        handlers = self._handlers()
        if name not in handlers:
            raise HttpError(404, "Endpoint does not exist" if self._traits.modern else None)
        return handlers[name](parameters)

    def _handlers(self) -> dict[str, Callable[[dict[str, str]], Answer]]:
        handlers = {
            "app/version": lambda _: self._dialect.text(f"v{self.version}"),
            "app/webapiVersion": lambda _: self._dialect.text(self._traits.api),
            "app/buildInfo": lambda _: json_answer(self._build_info()),
            "app/preferences": lambda _: json_answer(self._shown_preferences()),
            "app/setPreferences": self._set_preferences,
            "app/shutdown": lambda _: self._shut_down(),
            "log/main": self._log_main,
            "torrents/info": self._torrents_info,
            "torrents/reannounce": self._reannounce,
            "transfer/info": lambda _: json_answer(self._transfer_info()),
        }
        if self._traits.modern:
            handlers["app/rotateAPIKey"] = lambda _: self._access.rotate_key()
            handlers["app/deleteAPIKey"] = lambda _: self._access.delete_key()
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
        port = host.rpartition(":")[2] if ":" in host.rpartition("]")[2] else ""
        if port not in ("", str(self.port)):
            self._warn(
                f"WebUI: Invalid Host header, port mismatch. Request source IP: "
                f"'{request.address}'. Server port: '{self.port}'. Received Host header: '{host}'"
            )
            raise HttpError(401)
        if self._access.presented_key(request) is not None:
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

    def _answered_by_key(self, request: Request, parameters: dict[str, str], key: str) -> Answer:
        self._access.check_key(key)
        name = api_name(request.path, old=False)
        if name is None:
            raise HttpError(404)
        if name.startswith("auth/"):
            raise HttpError(403)
        return self._dispatch(request, parameters, "")

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
        return self._dialect.text("")

    def _store(self, wanted: dict[str, object]) -> None:
        former = dict(self._preferences)
        port = port_number(wanted["listen_port"]) if "listen_port" in wanted else None
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
        self._access.password = str(wanted.get("web_ui_password") or self._access.password)
        self._unsaved = self._unsaved or former != self._preferences

    def _saved(self) -> None:
        self._unsaved = False
        self._access.resend_cookies()

    def _bind(self) -> None:
        self._listening.bind(0 if self.random_port else self.listening_port)

    def _log_main(self, parameters: dict[str, str]) -> Answer:
        last = whole_number(parameters.get("last_known_id", ""), -1)
        names = {"normal": NORMAL, "info": INFO, "warning": WARNING, "critical": CRITICAL}
        kinds = {kind for name, kind in names.items() if is_true(parameters.get(name, ""))}
        shown = [
            {"id": each.id, "message": each.message, "timestamp": each.timestamp, "type": each.type}
            for each in self._listening.entries()
            if each.id > last and each.type in kinds
        ]
        return json_answer(shown)

    def _torrents_info(self, parameters: dict[str, str]) -> Answer:
        limit = whole_number(parameters.get("limit", ""), 0)
        return json_answer(self.torrents[:limit] if limit > 0 else self.torrents)

    def _reannounce(self, parameters: dict[str, str]) -> Answer:
        self._require(parameters, "hashes")
        self.reannounced.append(parameters["hashes"])
        return self._dialect.text("")

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
        return self._dialect.text("")

    def _require(self, parameters: dict[str, str], name: str) -> None:
        if name not in parameters:
            missing = f"Missing required parameters: {name}"
            raise HttpError(400, missing if self._traits.modern else None)

    def _begin(self) -> None:
        self._access.begin()
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

    def _warn(self, message: str) -> None:
        self._listening.write_log(WARNING, message)


def _tls_context(files: tuple[Path, Path] | None) -> ssl.SSLContext | None:
    if files is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    return context
