"""Answers as Go's net/http and Gluetun write them."""

import json
from email.utils import formatdate
from http import HTTPStatus

from exporter.simulator.http import Answer, Request
from exporter.simulator.roles import PORT_ROUTE


def head(answer: Answer) -> bytes:
    """Return status line and headers."""
    reason = HTTPStatus(answer.status).phrase
    headers = {name.title(): value for name, value in answer.headers.items()}
    headers["Date"] = formatdate(usegmt=True)
    headers["Content-Length"] = str(len(answer.body))
    if answer.body:
        headers.setdefault("Content-Type", "text/plain; charset=utf-8")
    lines = [f"{name}: {headers[name]}" for name in sorted(headers)]
    return "\r\n".join([f"HTTP/1.1 {answer.status} {reason}", *lines, "", ""]).encode()


def encoded(value: object) -> Answer:
    """Return a good answer in JSON."""
    return Answer(200, json.dumps(value, separators=(",", ":")).encode() + b"\n")


def error(status: int, message: str, request: Request | None = None) -> Answer:
    """Return an answer as http.Error writes it."""
    without_body = request is not None and request.method == "HEAD"
    headers = {"x-content-type-options": "nosniff"}
    return Answer(status, f"{message}\n".encode(), headers, without_body=without_body)


def unauthorized(request: Request, *, basic: bool) -> Answer:
    """Refuse a request, and where `basic` is meant ask for a user name and a password."""
    answer = error(401, "Unauthorized", request)
    if basic:
        answer.headers["www-authenticate"] = 'Basic realm="restricted", charset="UTF-8"'
    return answer


def moved() -> Answer:
    """Redirect the old route of the port to the new one."""
    page = f'<a href="{PORT_ROUTE}">Moved Permanently</a>.\n\n'
    headers = {"location": PORT_ROUTE, "content-type": "text/html; charset=utf-8"}
    return Answer(301, page.encode(), headers)
