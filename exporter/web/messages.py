"""Requests and responses as the pages see them, and what makes WSGI of them."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs

from exporter.web.unread import Unread

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
_SMALLEST_GZIP_BYTES = 1_000
_GZIP_LEVEL = 2
"""Metrics shrink to a tenth already; higher levels cost several times the CPU."""
_LARGEST_FORM_BYTES = 4_096
_MOST_FIELDS = 1_000

_SECURITY_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    # not no-referrer: browsers would then hide our own origin from the check on POST
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)


class Request(NamedTuple):
    """What a client asks for."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: WSGIEnvironment

    def header(self, name: str) -> str:
        """Return a header as the client sent it; empty where it sent none."""
        return str(self.headers.get(f"HTTP_{name.upper().replace('-', '_')}", ""))

    def first(self, name: str) -> str | None:
        """Return the first value of a field of the query string."""
        return next(iter(self.query.get(name, ())), None)

    @property
    def may_have_a_body(self) -> bool:
        """Whether it says how long its body is; 0 bytes, perhaps.

        A proxy may still take what follows for something else than the server does. So nothing may
        follow: waitress closes the connection after an answer without a length.
        """
        return bool(self.headers.get("CONTENT_LENGTH") or self.header("Transfer-Encoding"))

    def form(self) -> Mapping[str, str]:
        """Return the fields of a posted form; empty where the body is something else."""
        if not str(self.headers.get("CONTENT_TYPE", "")).startswith(
            "application/x-www-form-urlencoded"
        ):
            return {}
        body = self.headers["wsgi.input"].read(_LARGEST_FORM_BYTES)
        return {key: values[0] for key, values in _fields(body.decode("latin-1")).items()}


class Response(NamedTuple):
    """What a client gets; `style` is the source of styles that a page may use."""

    status: HTTPStatus
    body: bytes
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()
    style: str = "'none'"
    may_be_compressed: bool = True


Handler = Callable[[Request], Response]


def text(status: HTTPStatus, message: str, *headers: tuple[str, str]) -> Response:
    """Return an answer of one line."""
    return Response(status, f"{message}\n".encode(), TEXT, headers)


def serve(
    answer: Handler, unread: Unread, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    """Pass a request to `answer`, and its response back to the server."""
    request = Request(
        method=environ["REQUEST_METHOD"],
        path=environ.get("PATH_INFO", ""),
        query=_fields(environ.get("QUERY_STRING", "")),
        headers=environ,
    )
    response = answer(request)
    if response.may_be_compressed:
        response = compressed(response, accepted=accepts_gzip(request))
    ends = request.may_have_a_body
    length = () if ends else (("Content-Length", str(len(response.body))),)
    policy = (
        f"default-src 'none'; style-src {response.style}; img-src data:; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    )
    start_response(
        f"{response.status.value} {response.status.phrase}",
        [
            ("Content-Type", response.content_type),
            *length,
            ("Content-Security-Policy", policy),
            *_SECURITY_HEADERS,
            *response.headers,
        ],
    )
    if request.method == "HEAD":
        return []
    if ends:
        return iter([response.body])
    if wrap := environ.get("wsgi.file_wrapper"):
        # the server need not copy what is large: clients share it
        return wrap(unread.open(response.body))  # type: ignore[no-any-return]  # as WSGI says
    return [response.body]


def _fields(query: str) -> Mapping[str, list[str]]:
    """Return the fields of a query string; none at all where there are absurdly many."""
    try:
        return parse_qs(query, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        return {}


def compressed(response: Response, *, accepted: bool) -> Response:
    """Return the response as it is sent: compressed where that is accepted and worth it."""
    if len(response.body) < _SMALLEST_GZIP_BYTES:
        return response._replace(may_be_compressed=False)
    headers = (*response.headers, ("Vary", "Accept-Encoding"))
    if not accepted:
        return response._replace(headers=headers, may_be_compressed=False)
    body = gzip.compress(response.body, compresslevel=_GZIP_LEVEL, mtime=0)
    headers = (*headers, ("Content-Encoding", "gzip"))
    return response._replace(body=body, headers=headers, may_be_compressed=False)


def accepts_gzip(request: Request) -> bool:
    """Return whether the client accepts a body packed with gzip."""
    header = request.header("Accept-Encoding").replace(" ", "").lower()
    codings = [coding.split(";") for coding in header.split(",")]
    return any(coding[0] == "gzip" and "q=0" not in coding[1:] for coding in codings)
