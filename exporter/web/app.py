"""The web pages: status page, metrics, status.json, probes, and the push that asks for a check.

Everything is handed in, so nothing here knows what the others look like. `/-/healthy` and
`/-/ready` are open to all; with users given, all else asks for a name and a password.
"""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

from prometheus_client import CollectorRegistry

from exporter.clock import Clock
from exporter.model import SyncState
from exporter.report.board import StatusBoard
from exporter.web.exposition import choose_encoder
from exporter.web.page_frame import Setting, missing_page
from exporter.web.page_overview import overview_page
from exporter.web.page_style import STYLE_HASH
from exporter.web.pages import tunnel_page
from exporter.web.users import Users, Verdict
from exporter.web.words import Tone, words_for

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_HTML = "text/html; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"
_SMALLEST_GZIP_BYTES = 1_000
_LARGEST_FORM_BYTES = 4_096
_MOST_FIELDS = 1_000
_REFRESH_SECONDS = {Tone.GOOD: 15, Tone.WAITING: 5, Tone.BAD: 5, Tone.STARTING: 2}
_OVERVIEW_REFRESH_SECONDS = 15
_ASKED_REFRESH_SECONDS = 2

_SECURITY_HEADERS = (
    (
        "Content-Security-Policy",
        f"default-src 'none'; style-src '{STYLE_HASH}'; img-src data:; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    # not no-referrer: browsers would then hide our own origin from the check on POST
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)

_log = logging.getLogger("qsticky")


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: WSGIEnvironment

    def header(self, name: str) -> str:
        """A header as the client sent it; empty where it sent none."""
        return str(self.headers.get(f"HTTP_{name.upper().replace('-', '_')}", ""))

    def first(self, name: str) -> str | None:
        """The first value of a field of the query string."""
        return next(iter(self.query.get(name, ())), None)

    def form(self) -> Mapping[str, str]:
        """The fields of a posted form; empty where the body is something else."""
        if not str(self.headers.get("CONTENT_TYPE", "")).startswith(
            "application/x-www-form-urlencoded"
        ):
            return {}
        body = self.headers["wsgi.input"].read(_LARGEST_FORM_BYTES)
        return {key: values[0] for key, values in _fields(body.decode("latin-1")).items()}


@dataclass(frozen=True, slots=True)
class _Response:
    status: HTTPStatus
    body: bytes
    content_type: str = _TEXT
    headers: tuple[tuple[str, str], ...] = ()


_Handler = Callable[[_Request], _Response]


@dataclass(frozen=True)
class WebApp:
    """The WSGI application.

    `status_json` gives the document to serve; `request_sync(tunnel, pushed)` asks for a check of
    one tunnel (None = all) and must return at once; `pushed` is True for Gluetun's hook and False
    for the page's button, since a check by hand is no VPN reconnect. `users` None = open to all.
    """

    board: StatusBoard
    registry: CollectorRegistry
    status_json: Callable[[], bytes]
    request_sync: Callable[[str | None, bool], None]
    version: str
    users: Users | None = None
    docs_url: str = ""
    clock: Clock = field(default_factory=Clock)
    reload: Callable[[], str] | None = None
    """Loads the configuration again and tells why it was rejected; None = nobody may."""
    _routes: Mapping[str, Mapping[str, _Handler]] = field(init=False, repr=False)
    _open_to_all = frozenset({"/-/healthy", "/-/ready"})

    def __post_init__(self) -> None:
        routes: Mapping[str, Mapping[str, _Handler]] = {
            "/": {"GET": self._page},
            "/metrics": {"GET": self._metrics},
            "/status.json": {"GET": self._status_json},
            "/-/healthy": {"GET": self._healthy},
            "/-/ready": {"GET": self._ready},
            "/-/sync": {"POST": self._sync},
            "/-/reload": {"POST": self._reload},
        }
        object.__setattr__(self, "_routes", routes)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        request = _Request(
            method=environ["REQUEST_METHOD"],
            path=environ.get("PATH_INFO", ""),
            query=_fields(environ.get("QUERY_STRING", "")),
            headers=environ,
        )
        response = _compressed(self._answer(request), request)
        start_response(
            f"{response.status.value} {response.status.phrase}",
            [
                ("Content-Type", response.content_type),
                ("Content-Length", str(len(response.body))),
                *_SECURITY_HEADERS,
                *response.headers,
            ],
        )
        return [] if request.method == "HEAD" else [response.body]

    def _answer(self, request: _Request) -> _Response:
        try:
            return self._refusal(request) or self._handle(request)
        except Exception as error:  # noqa: BLE001  # one page must not take the others along
            _log.error(
                "Web page %r failed: %s: %s; please report it",
                request.path,
                type(error).__name__,
                error,
            )
            return _text(HTTPStatus.INTERNAL_SERVER_ERROR, "qSticky failed here; its log says why")

    def _handle(self, request: _Request) -> _Response:
        route = self._routes.get(request.path)
        if route is None:
            return _text(HTTPStatus.NOT_FOUND, "no such page; the status page is at /")
        handler = route.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            methods = [*route, "HEAD"] if "GET" in route else [*route]
            allow = ", ".join(methods)
            return _text(HTTPStatus.METHOD_NOT_ALLOWED, f"allowed here: {allow}", ("Allow", allow))
        return handler(request)

    def _refusal(self, request: _Request) -> _Response | None:
        """The answer to those who may not ask; None for the others."""
        if self.users is None or request.path in self._open_to_all:
            return None
        verdict = self.users.check(request.header("Authorization"))
        if verdict is Verdict.ALLOWED:
            return None
        if verdict is Verdict.BUSY:
            return _text(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "too many passwords are being checked; try again",
                ("Retry-After", "1"),
            )
        challenge = ("WWW-Authenticate", 'Basic realm="qSticky", charset="UTF-8"')
        return _text(HTTPStatus.UNAUTHORIZED, "a user name and a password are needed", challenge)

    def _page(self, request: _Request) -> _Response:
        views = self.board.views()
        picked = request.first("tunnel")
        alone = len(views) == 1
        view = views.get(picked) if picked is not None else None
        if alone and picked is None:
            view = next(iter(views.values()))
        tone = None if view is None else words_for(view, self.clock.monotonic()).tone
        setting = self._setting(request, tone)
        if view is not None:
            return _html(HTTPStatus.OK, tunnel_page(view, setting, alone=alone), setting)
        if picked is not None:
            return _html(HTTPStatus.NOT_FOUND, missing_page(picked, setting), setting)
        return _html(HTTPStatus.OK, overview_page(list(views.values()), setting), setting)

    def _setting(self, request: _Request, tone: Tone | None) -> Setting:
        asked = request.first("asked") is not None
        refresh = _OVERVIEW_REFRESH_SECONDS if tone is None else _REFRESH_SECONDS[tone]
        return Setting(
            now=self.clock.monotonic(),
            unix=self.clock.unix,
            version=self.version,
            docs_url=self.docs_url,
            refresh_seconds=0 if request.first("refresh") == "off" else refresh,
            asked=asked,
            tunnel=request.first("tunnel"),
            state=_state(request.first("state")),
        )

    def _metrics(self, request: _Request) -> _Response:
        try:
            encode, content_type = choose_encoder(request.header("Accept"))
        except TypeError:  # a version that isn't made of numbers
            encode, content_type = choose_encoder("")
        names = request.query.get("name[]")
        source = self.registry.restricted_registry(names) if names else self.registry
        return _Response(HTTPStatus.OK, encode(source), content_type, (("Vary", "Accept"),))

    def _status_json(self, _request: _Request) -> _Response:
        return _Response(HTTPStatus.OK, self.status_json(), _JSON)

    def _healthy(self, _request: _Request) -> _Response:
        return _text(HTTPStatus.OK, "healthy")

    def _ready(self, _request: _Request) -> _Response:
        if self.board.is_ready():
            return _text(HTTPStatus.OK, "ready")
        return _text(HTTPStatus.SERVICE_UNAVAILABLE, "the first check is still under way")

    def _reload(self, request: _Request) -> _Response:
        if self.reload is None:
            return _text(HTTPStatus.FORBIDDEN, "switched off; set WEB_ENABLE_LIFECYCLE=true")
        if _comes_from_elsewhere(request):
            return _foreign_form()
        if mistake := self.reload():
            return _text(HTTPStatus.INTERNAL_SERVER_ERROR, f"not reloaded: {mistake}")
        return _text(HTTPStatus.OK, "reloaded")

    def _sync(self, request: _Request) -> _Response:
        if _comes_from_elsewhere(request):
            return _foreign_form()
        form = request.form()
        tunnel = request.first("tunnel") or form.get("tunnel")
        if tunnel is not None and not self.board.has(tunnel):
            return _text(HTTPStatus.NOT_FOUND, "no tunnel has that name")
        by_hand = form.get("by") == "page"
        self.request_sync(tunnel, not by_hand)
        if not by_hand:
            return _text(HTTPStatus.ACCEPTED, "a check was asked for")
        query = urlencode({"asked": "1"} | ({} if tunnel is None else {"tunnel": tunnel}))
        return _text(HTTPStatus.SEE_OTHER, "a check was asked for", ("Location", f"../?{query}"))


def _fields(query: str) -> Mapping[str, list[str]]:
    """The fields of a query string; none at all where there are absurdly many."""
    try:
        return parse_qs(query, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        return {}


def _state(text: str | None) -> SyncState | None:
    return SyncState(text) if text in set(SyncState) else None


def _comes_from_elsewhere(request: _Request) -> bool:
    """Whether a browser sent this for another site; programs such as wget say nothing of it.

    Browsers leave Sec-Fetch-Site out on plain http, hence the second look at Origin.
    """
    site = request.header("Sec-Fetch-Site")
    if site:
        return site == "cross-site"
    origin = request.header("Origin")
    try:
        return bool(origin) and urlsplit(origin).netloc != request.header("Host")
    except ValueError:  # such as `http://[`, which no browser sends
        return True


def _foreign_form() -> _Response:
    return _text(
        HTTPStatus.FORBIDDEN,
        "refused: another site sent this form; a proxy between must keep the Host header",
    )


def _text(status: HTTPStatus, message: str, *headers: tuple[str, str]) -> _Response:
    return _Response(status, f"{message}\n".encode(), _TEXT, headers)


def _html(status: HTTPStatus, page: str, setting: Setting) -> _Response:
    """A page; it refreshes itself by a header, which the reader can switch off on the page."""
    refresh: tuple[tuple[str, str], ...] = ()
    if setting.asked:
        refresh = (
            ("Refresh", f"{_ASKED_REFRESH_SECONDS}; url={setting.address(refreshing=True)}"),
        )
    elif setting.refresh_seconds:
        refresh = (("Refresh", str(setting.refresh_seconds)),)
    return _Response(status, page.encode("utf-8", "replace"), _HTML, refresh)


def _compressed(response: _Response, request: _Request) -> _Response:
    if len(response.body) < _SMALLEST_GZIP_BYTES:
        return response
    headers = (*response.headers, ("Vary", "Accept-Encoding"))
    if not _accepts_gzip(request.header("Accept-Encoding")):
        return _Response(response.status, response.body, response.content_type, headers)
    body = gzip.compress(response.body, compresslevel=_GZIP_LEVEL, mtime=0)
    headers = (*headers, ("Content-Encoding", "gzip"))
    return _Response(response.status, body, response.content_type, headers)


_GZIP_LEVEL = 2
"""Metrics shrink to a tenth already; higher levels cost several times the CPU."""


def _accepts_gzip(header: str) -> bool:
    codings = [coding.replace(" ", "").lower().split(";") for coding in header.split(",")]
    return any(coding[0] == "gzip" and "q=0" not in coding[1:] for coding in codings)
