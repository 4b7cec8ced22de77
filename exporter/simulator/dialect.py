"""How a qBittorrent of some version reads requests and words its answers."""

import gzip
import json
import time
from dataclasses import replace
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import parse_qsl

from exporter.simulator.http import Answer, Request
from exporter.simulator.versions import Traits

BANNED = "Your IP address has been banned after too many failed authentication attempts."
GZIP_FROM_BYTES = 1025

_FORM = "application/x-www-form-urlencoded"
_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "script-src 'self' 'unsafe-inline'; object-src 'none'; form-action 'self'; "
)


class HttpError(Exception):
    """Ends a request with an error status and a body, by default the status' own words."""

    def __init__(self, status: int, body: str | None = None) -> None:
        super().__init__(status)
        self.answer_status = status
        self.body = HTTPStatus(status).phrase if body is None else body


class Dialect:
    """The answers of one version."""

    def __init__(self, traits: Traits) -> None:
        self._traits = traits

    def head(self, answer: Answer) -> bytes:
        """Return status line and headers in qBittorrent's own spelling and order."""
        headers = dict(answer.headers)
        headers["content-length"] = str(len(answer.body))
        if not answer.bare:
            headers.setdefault("connection", "keep-alive")
            headers |= self._security_headers()
        headers["date"] = formatdate(usegmt=True)
        first = [name for name in ("date", "connection") if self._traits.modern]
        names = first + [name for name in sorted(headers) if name not in first]
        lines = [f"{name}: {headers[name]}" for name in names]
        reason = HTTPStatus(answer.status).phrase
        if self._traits.modern and answer.status < HTTPStatus.BAD_REQUEST:
            reason = ""
        return "\r\n".join([f"HTTP/1.1 {answer.status} {reason}", *lines, "", ""]).encode()

    def malformed(self, method: str | None) -> Answer:
        """Answer a request that qBittorrent's parser rejects."""
        status = 501 if method is not None and self._traits.qt6 else 400
        return Answer(status, headers={"connection": "close"}, close=True, bare=True)

    def page(self, request: Request) -> Answer:
        """Return a file of the WebUI; there is only one."""
        if request.path != "/":
            raise HttpError(404)
        page = b'<!DOCTYPE html>\n<html lang="en"><title>qBittorrent WebUI</title></html>'
        return Answer(200, page, {"content-type": "text/html", "cache-control": "no-store"})

    @property
    def _text_type(self) -> dict[str, str]:
        return {"content-type": "text/plain" + ("" if self._traits.old else "; charset=UTF-8")}

    def text(self, text: str) -> Answer:
        """Return a good answer in plain text."""
        return Answer(200, text.encode(), self._text_type)

    def error(self, error: HttpError) -> Answer:
        """Return the answer to a refused request."""
        if self._traits.old and error.body != BANNED:
            return Answer(error.answer_status)
        return Answer(error.answer_status, error.body.encode(), self._text_type)

    def finished(self, request: Request, answer: Answer) -> Answer:
        """Return the answer as it is sent, compressed or without its body."""
        accepted = request.headers.get("accept-encoding", "")
        body, headers = answer.body, answer.headers
        if len(body) >= GZIP_FROM_BYTES and ("gzip" in accepted or "*" in accepted):
            body, headers = gzip.compress(body), headers | {"content-encoding": "gzip"}
        without_body = request.method == "HEAD" and self._traits.qt6
        return replace(answer, body=body, headers=headers, without_body=without_body)

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


def json_answer(value: object) -> Answer:
    """Return a good answer in JSON, as compact as Qt writes it."""
    text = json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return Answer(200, text.encode(), {"content-type": "application/json"})


def api_name(path: str, *, old: bool) -> str | None:
    """Return the scope and action of an API path, or None for a file of the WebUI."""
    words = path.split("/")
    if len(words) != 5 or words[:3] != ["", "api", "v2"]:
        return None
    scope, action = words[3:]
    letters = scope.isalpha() and action.isalnum()
    return f"{scope}/{action}" if letters and not (old and not scope.islower()) else None


def parameters_of(request: Request) -> dict[str, str] | None:
    """Return the parameters; None where qBittorrent's parser rejects the body."""
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


def cookies_of(request: Request) -> dict[str, str]:
    """Return the cookies of a request."""
    pairs = (pair.partition("=") for pair in request.headers.get("cookie", "").split(";"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def cookie_date(seconds: float) -> str:
    """Return the date so many seconds from now, as cookies spell it."""
    day, date = formatdate(time.time() + seconds, usegmt=True).split(", ")
    return f"{day}, {date.replace(' ', '-', 2)}"


def is_true(text: str) -> bool:
    """Tell what qBittorrent takes for true, which is all but the word false."""
    return text.lower() != "false"


def whole_number(text: str, otherwise: int) -> int:
    """Return the number that a text holds, or the other one."""
    try:
        return int(text)
    except ValueError:
        return otherwise


def port_number(value: object) -> int:
    """Return what Qt's conversion to a 32-bit integer makes of a value."""
    if isinstance(value, str):
        return whole_number(value, 0) if "_" not in value else 0
    if isinstance(value, bool | int | float):
        number = int(value + 0.5 if value >= 0 else value - 0.5)
        return (number + 2**31) % 2**32 - 2**31
    return 0
