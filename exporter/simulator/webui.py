"""The Web UI API of a simulated qBittorrent: from a request to its answer."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from exporter.simulator.access import Access
from exporter.simulator.dialect import (
    Dialect,
    HttpError,
    api_name,
    is_true,
    json_answer,
    parameters_of,
    whole_number,
)
from exporter.simulator.http import Answer, Request
from exporter.simulator.journal import CRITICAL, INFO, NORMAL, WARNING, Journal
from exporter.simulator.listening import Listening
from exporter.simulator.preferences import Preferences
from exporter.simulator.versions import Traits

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

Parameters = dict[str, str]


@dataclass(eq=False, kw_only=True)
class WebUi:
    """Answers as the version does; what a request asks for is done by the parts of the server."""

    traits: Traits
    dialect: Dialect
    port: int
    access: Access
    preferences: Preferences
    listening: Listening
    journal: Journal
    apply: Callable[[dict[str, object]], None]
    """Sets preferences."""
    shut_down: Callable[[], None]
    torrents: list[dict[str, object]] = field(default_factory=list)
    reannounced: list[str] = field(default_factory=list)

    def answer(self, request: Request) -> Answer:
        """Carry out one request, or say why not."""
        try:
            return self.dialect.finished(request, self._answered(request))
        except HttpError as error:
            return self.dialect.error(error)

    # Who may come in

    def _answered(self, request: Request) -> Answer:
        if request.method not in ("GET", "HEAD", "POST"):
            return self.dialect.malformed(request.method)
        parameters = parameters_of(request)
        # 4.2.5 wants a length with each POST
        unsized = request.method == "POST" and "content-length" not in request.headers
        if parameters is None or (unsized and self.traits.old):
            return self.dialect.malformed(None)
        self._check_host(request)
        key = self.access.presented_key(request)
        if key is not None:
            return self._answered_by_key(request, parameters, key)
        self._check_origin(request)
        return self._answered_in_session(request, parameters)

    def _answered_in_session(self, request: Request, parameters: Parameters) -> Answer:
        session_id, cookie = self.access.session(request)
        try:
            answer = self._dispatch(request, parameters, session_id)
        except HttpError as error:
            answer = self.dialect.error(error)
        if cookie is not None:
            answer.headers.setdefault("set-cookie", cookie)
        return answer

    def _answered_by_key(self, request: Request, parameters: Parameters, key: str) -> Answer:
        self.access.check_key(key)
        name = api_name(request.path, old=False)
        if name is None:
            raise HttpError(404)
        if name.startswith("auth/"):
            raise HttpError(403)
        return self._dispatch(request, parameters, "")

    def _check_host(self, request: Request) -> None:
        host = request.headers.get("host", "")
        port = host.rpartition(":")[2] if ":" in host.rpartition("]")[2] else ""
        if port not in ("", str(self.port)):
            self.journal.write(
                WARNING,
                f"WebUI: Invalid Host header, port mismatch. Request source IP: "
                f"'{request.address}'. Server port: '{self.port}'. "
                f"Received Host header: '{host}'",
            )
            raise HttpError(401)

    def _check_origin(self, request: Request) -> None:
        host = request.headers.get("host", "")
        for name in ("origin", "referer"):
            value = request.headers.get(name, "")
            if value and urlsplit(value).netloc != host:
                title = name.title()
                self.journal.write(
                    WARNING,
                    f"WebUI: {title} header & Target origin mismatch! Source IP: "
                    f"'{request.address}'. {title} header: '{value}'. Target origin: '{host}'",
                )
                raise HttpError(401)
        if self.traits.modern and request.headers.get("sec-fetch-site") == "cross-site":
            raise HttpError(401)

    # What is asked for

    def _dispatch(self, request: Request, parameters: Parameters, session_id: str | None) -> Answer:
        name = api_name(request.path, old=self.traits.old)
        if name is None:
            return self.dialect.page(request)
        unknown = name.partition("/")[0] not in _SCOPES
        if session_id is None and name != "auth/login" and not (unknown and self.traits.old):
            raise HttpError(403)
        if unknown:
            raise HttpError(404)
        self._check_method(request, name)
        if name == "auth/login":
            return self.access.log_in(request, parameters, session_id)
        if name == "auth/logout":
            return self.access.log_out(session_id)
        handlers = self._handlers()
        if name not in handlers:
            raise HttpError(404, "Endpoint does not exist" if self.traits.modern else None)
        return handlers[name](parameters)

    def _check_method(self, request: Request, name: str) -> None:
        if self.traits.old:
            return
        known = name in _POST_ONLY and (self.traits.modern or not name.endswith("APIKey"))
        method = "GET" if request.method == "HEAD" and self.traits.qt6 else request.method
        if method not in (("POST",) if known else ("GET", "POST")):
            raise HttpError(405)

    def _handlers(self) -> dict[str, Callable[[Parameters], Answer]]:
        handlers = {
            "app/version": lambda _: self.dialect.text(f"v{self.traits.version}"),
            "app/webapiVersion": lambda _: self.dialect.text(self.traits.api),
            "app/buildInfo": lambda _: json_answer(self._build_info()),
            "app/preferences": lambda _: json_answer(self.preferences.shown()),
            "app/setPreferences": self._set_preferences,
            "app/shutdown": self._order_shutdown,
            "log/main": self._log_main,
            "torrents/info": self._torrents_info,
            "torrents/reannounce": self._reannounce,
            "transfer/info": lambda _: json_answer(self._transfer_info()),
        }
        if self.traits.modern:
            handlers["app/rotateAPIKey"] = lambda _: self.access.rotate_key()
            handlers["app/deleteAPIKey"] = lambda _: self.access.delete_key()
        return handlers

    def _build_info(self) -> dict[str, object]:
        info: dict[str, object] = {"bitness": 64, "zlib": "1.3.1", **self.traits.build}
        return info | ({"platform": "linux"} if self.traits.qt6 else {})

    def _set_preferences(self, parameters: Parameters) -> Answer:
        self._require(parameters, "json")
        try:
            wanted = json.loads(parameters["json"])
        except ValueError:
            wanted = None
        if isinstance(wanted, dict):
            self.apply(wanted)
        return self.dialect.text("")

    def _order_shutdown(self, _: Parameters) -> Answer:
        self.shut_down()
        return self.dialect.text("")

    def _log_main(self, parameters: Parameters) -> Answer:
        last = whole_number(parameters.get("last_known_id", ""), -1)
        names = {"normal": NORMAL, "info": INFO, "warning": WARNING, "critical": CRITICAL}
        kinds = {kind for name, kind in names.items() if is_true(parameters.get(name, ""))}
        shown = [
            {"id": each.id, "message": each.message, "timestamp": each.timestamp, "type": each.type}
            for each in self.listening.entries()
            if each.id > last and each.type in kinds
        ]
        return json_answer(shown)

    def _torrents_info(self, parameters: Parameters) -> Answer:
        limit = whole_number(parameters.get("limit", ""), 0)
        return json_answer(self.torrents[:limit] if limit > 0 else self.torrents)

    def _reannounce(self, parameters: Parameters) -> Answer:
        self._require(parameters, "hashes")
        self.reannounced.append(parameters["hashes"])
        return self.dialect.text("")

    def _transfer_info(self) -> dict[str, object]:
        names = ("info_data", "info_speed", "rate_limit")
        info: dict[str, object] = {f"{way}_{name}": 0 for way in ("dl", "up") for name in names}
        info |= {"connection_status": self.listening.status, "dht_nodes": 0}
        if self.traits.qt6:
            info |= {"last_external_address_v4": "", "last_external_address_v6": ""}
        return info

    def _require(self, parameters: Parameters, name: str) -> None:
        if name not in parameters:
            missing = f"Missing required parameters: {name}"
            raise HttpError(400, missing if self.traits.modern else None)
