"""The web pages: status page, metrics, status.json, probes, and the push that asks for a check.

Everything is handed in, so nothing here knows what the others look like. `/-/healthy` and
`/-/ready` are open to all; with users given, all else asks for a name and a password.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

from exporter.clock import Clock
from exporter.model import SyncState
from exporter.report.board import StatusBoard
from exporter.web.messages import (
    HTML,
    JSON,
    Handler,
    Request,
    Response,
    accepts_gzip,
    compressed,
    serve,
    text,
)
from exporter.web.origin import is_local_host, is_own_page
from exporter.web.shared import Shared
from exporter.web.unread import Unread

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from prometheus_client import CollectorRegistry

    from exporter.web.scrape import Scrapes
    from exporter.web.users import Users

_log = logging.getLogger("qsticky")


_MOST_KEPT = 2
_MOST_WAITING = 2
"""How many of the workers may be busy with pages: the others serve scrapes and probes."""
_OPEN_TO_ALL = frozenset({"/-/healthy", "/-/ready"})


class WebParts(NamedTuple):
    """What the web application shows, and whom it asks."""

    board: StatusBoard
    registry: Callable[[], CollectorRegistry]
    """Returns what Prometheus scrapes; called at the first scrape."""
    status_json: Callable[[], bytes]
    """Returns the document to serve."""
    request_sync: Callable[[str | None, bool], None]
    """`(tunnel, pushed)` asks for a check of one tunnel (None = all) and returns at once.

    `pushed` is True for Gluetun's hook and False for the page's button, since a check by hand is
    no VPN reconnect.
    """
    version: str
    docs_url: str = ""
    users: Users | None = None
    """None = open to all."""
    clock: Clock = Clock()
    reload: Callable[[], str] | None = None
    """Loads the configuration again and returns why it was rejected; None = nobody may."""
    allowed_hosts: tuple[str, ...] = ()
    """Further names by which a browser may send a POST, such as that of a reverse proxy."""


class WebApp:
    """The WSGI application."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts
        self._unread = Unread()
        self._now = parts.clock.monotonic
        self._shared = Shared(self._now, most_kept=_MOST_KEPT, most_waiting=_MOST_WAITING)
        self._routes: Mapping[str, Mapping[str, Handler]] = {
            "/": {"GET": self._page},
            "/metrics": {"GET": lambda request: self._scrapes.answer(request)},
            "/status.json": {"GET": self._status_json},
            "/-/healthy": {"GET": lambda _: text(HTTPStatus.OK, "healthy")},
            "/-/ready": {"GET": self._ready},
            "/-/sync": {"POST": self._sync},
            "/-/reload": {"POST": self._reload},
        }

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        return serve(self._answer, self._unread, environ, start_response)

    def _answer(self, request: Request) -> Response:
        try:
            return self._refusal(request) or self._handle(request)
        except Exception as error:  # noqa: BLE001  # one page must not take the others along
            _log.error(
                "Web page %r failed: %s: %s; please report it",
                request.path,
                type(error).__name__,
                error,
            )
            return text(HTTPStatus.INTERNAL_SERVER_ERROR, "qSticky failed here; its log says why")

    def _handle(self, request: Request) -> Response:
        route = self._routes.get(_page(request))
        if route is None:
            return text(HTTPStatus.NOT_FOUND, "no such page; the status page is at /")
        handler = route.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            allow = ", ".join([*route, "HEAD"] if "GET" in route else route)
            return text(HTTPStatus.METHOD_NOT_ALLOWED, f"allowed here: {allow}", ("Allow", allow))
        return handler(request)

    def _refusal(self, request: Request) -> Response | None:
        """Return the answer to those who may not ask; None for the others."""
        if request.may_have_a_body and request.method in {"GET", "HEAD"}:
            return text(HTTPStatus.BAD_REQUEST, "a GET has no body here")
        if self._parts.users is not None and _page(request) not in _OPEN_TO_ALL:
            refused = _without_password(self._parts.users, request)
            if refused is not None:
                return refused
        return self._foreign_post(request) if request.method == "POST" else None

    def _foreign_post(self, request: Request) -> Response | None:
        host = request.header("Host")
        if not is_local_host(host, self._parts.allowed_hosts):
            return text(
                HTTPStatus.FORBIDDEN,
                "refused: the Host header is not a local name; add it to WEB_ALLOWED_HOSTS",
            )
        if is_own_page(request.header("Sec-Fetch-Site"), request.header("Origin"), host):
            return None
        return text(
            HTTPStatus.FORBIDDEN,
            "refused: another site sent this form; a proxy between must keep the Host header",
        )

    @functools.cached_property
    def _scrapes(self) -> Scrapes:
        # the client library costs 2.4 MB, and many installations have no Prometheus; two first
        # scrapes at once may make two of these, one of which is dropped
        from exporter.web.scrape import Scrapes

        return Scrapes(self._parts.registry(), self._now)

    def _page(self, request: Request) -> Response:
        # templates cost 3 MB, and many installations never show a page
        from exporter.web.pages import STYLE_SOURCE, PageContext, status_page

        asked_for = PageContext(
            now=0.0,
            unix=self._parts.clock.unix,
            version=self._parts.version,
            docs_url=self._parts.docs_url,
            refreshing=request.first("refresh") != "off",
            asked=request.first("asked") is not None,
            tunnel=request.first("tunnel"),
            state=_state(request.first("state")),
        )
        packed = accepts_gzip(request)

        def make() -> Response:
            context = asked_for._replace(now=self._now())
            page = status_page(self._parts.board.views(), context)
            status = HTTPStatus.OK if page.found else HTTPStatus.NOT_FOUND
            refresh = (("Refresh", page.refresh),) if page.refresh else ()
            body = page.html.encode("utf-8", "replace")
            return compressed(Response(status, body, HTML, refresh, STYLE_SOURCE), accepted=packed)

        return self._shared.get((asked_for, packed), make)

    def _status_json(self, request: Request) -> Response:
        packed = accepts_gzip(request)

        def make() -> Response:
            return compressed(
                Response(HTTPStatus.OK, self._parts.status_json(), JSON), accepted=packed
            )

        return self._shared.get(("/status.json", packed), make)

    def _ready(self, _request: Request) -> Response:
        if self._parts.board.is_ready():
            return text(HTTPStatus.OK, "ready")
        return text(HTTPStatus.SERVICE_UNAVAILABLE, "the first check is still under way")

    def _reload(self, _request: Request) -> Response:
        if self._parts.reload is None:
            return text(HTTPStatus.FORBIDDEN, "switched off; set WEB_ENABLE_LIFECYCLE=true")
        if mistake := self._parts.reload():
            return text(HTTPStatus.INTERNAL_SERVER_ERROR, f"not reloaded: {mistake}")
        return text(HTTPStatus.OK, "reloaded")

    def _sync(self, request: Request) -> Response:
        form = request.form()
        tunnel = request.first("tunnel") or form.get("tunnel")
        if tunnel is not None and not self._parts.board.has(tunnel):
            return text(HTTPStatus.NOT_FOUND, "no tunnel has that name")
        by_hand = form.get("by") == "page"
        self._parts.request_sync(tunnel, not by_hand)
        if not by_hand:
            return text(HTTPStatus.ACCEPTED, "a check was asked for")
        query = urlencode({"asked": "1"} | ({} if tunnel is None else {"tunnel": tunnel}))
        return text(HTTPStatus.SEE_OTHER, "a check was asked for", ("Location", f"../?{query}"))


def _page(request: Request) -> str:
    return request.path.removesuffix("/") or request.path


def _without_password(users: Users, request: Request) -> Response | None:
    """Return the answer to a request without a right name and password; None for the others."""
    from exporter.web.users import Verdict  # with bcrypt, which most installations never need

    verdict = users.check(request.header("Authorization"))
    if verdict is Verdict.ALLOWED:
        return None
    if verdict is Verdict.BUSY:
        return text(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "too many passwords are being checked; try again",
            ("Retry-After", "1"),
        )
    challenge = ("WWW-Authenticate", 'Basic realm="qSticky", charset="UTF-8"')
    return text(HTTPStatus.UNAUTHORIZED, "a user name and a password are needed", challenge)


def _state(name: str | None) -> SyncState | None:
    return SyncState(name) if name in set(SyncState) else None
