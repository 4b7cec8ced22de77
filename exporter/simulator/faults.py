"""What can go wrong with an exchange, on request."""

import gzip
import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto

from exporter.simulator.http import CHUNK_BYTES, Answer, Request

HUGE_BYTES = 50_000_000
DRIP_SECONDS = 0.1

Head = Callable[[Answer], bytes]


class Fault(Enum):
    """What can go wrong with an exchange."""

    REFUSE = auto()  # connection refused; for one path or a number of times: reset at once
    RESET = auto()  # connection reset after the request, which is not carried out
    LOST = auto()  # the request is carried out, then the connection is reset
    HANG = auto()  # no answer until the server stops or is healed
    SLOW = auto()  # the answer drips, a byte every 0.1 s
    CUT = auto()  # the connection ends in the middle of the body
    WRONG_LENGTH = auto()  # Content-Length says half of what is sent
    GARBAGE = auto()  # bytes that are no text
    HTML = auto()  # the login page of something else
    HUGE = auto()  # JSON of 50 MB
    ENDLESS = auto()  # a body that never ends
    WRONG_TYPE = auto()  # the right JSON with values of the wrong type
    DEEP_JSON = auto()  # JSON nested 100,000 deep
    BAD_GZIP = auto()  # says gzip, and is not
    REDIRECT_LOOP = auto()  # redirects to itself


@dataclass(frozen=True, slots=True)
class Status:
    """The fault of answering with a status of one's choice."""

    code: int
    body: str = ""


@dataclass(frozen=True, slots=True)
class RedirectAway:
    """The fault of sending the client to another address."""

    url: str


AnyFault = Fault | Status | RedirectAway


@dataclass(slots=True)
class _Rule:
    prefix: str | None
    fault: AnyFault
    left: int | None


class Rules:
    """Which requests are to fail, and how often."""

    def __init__(self) -> None:
        self._rules: list[_Rule] = []

    def add(self, prefix: str | None, fault: AnyFault, times: int | None) -> None:
        """Fail requests whose path begins so, all of them for None."""
        self._rules.append(_Rule(prefix, fault, times))

    def clear(self) -> bool:
        """Forget all rules; tells whether one of them refused all connections."""
        refused = any((each.fault, each.prefix) == (Fault.REFUSE, None) for each in self._rules)
        self._rules.clear()
        return refused

    def for_connection(self) -> bool:
        """Tell whether the connection is to be refused."""
        return self._take(lambda rule: rule.fault is Fault.REFUSE and not rule.prefix) is not None

    def for_request(self, request: Request) -> AnyFault | None:
        """Return the fault that the request is to meet."""
        return self._take(lambda rule: request.target.startswith(rule.prefix or ""))

    def _take(self, wanted: Callable[[_Rule], bool]) -> AnyFault | None:
        for rule in self._rules:
            if not wanted(rule):
                continue
            if rule.left is not None:
                rule.left -= 1
                if rule.left <= 0:
                    self._rules.remove(rule)
            return rule.fault
        return None


def pour(connection: socket.socket, fault: Fault, released: threading.Event) -> None:
    """Send a huge or an endless body."""
    endless = fault is Fault.ENDLESS
    length = "transfer-encoding: chunked" if endless else f"content-length: {HUGE_BYTES}"
    connection.sendall(
        f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{length}\r\n\r\n".encode()
    )
    chunk = b" " * CHUNK_BYTES
    framed = b"%x\r\n%s\r\n" % (CHUNK_BYTES, chunk) if endless else chunk
    left = HUGE_BYTES
    while left > 0 and not released.is_set():
        connection.sendall(framed if endless else chunk[:left])
        left -= 0 if endless else CHUNK_BYTES
        if endless:
            released.wait(0.01)


def drip(connection: socket.socket, whole: bytes, released: threading.Event) -> None:
    """Send a byte from time to time."""
    for byte in whole:
        if released.wait(DRIP_SECONDS):
            return
        connection.sendall(bytes([byte]))


def spoiled(answer: Answer, head: Head, fault: Fault) -> bytes:
    """Return the answer as the fault leaves it."""
    half = replace(answer, body=answer.body[: len(answer.body) // 2])
    if fault is Fault.CUT:
        return head(answer) + half.body
    if fault is Fault.WRONG_LENGTH:
        return head(half) + answer.body
    wrong = replace(_plain(answer), status=200)
    return head(wrong) + (b"" if wrong.without_body else wrong.body)


def replaced(fault: AnyFault, request: Request) -> Answer | None:
    """Return the answer of a fault that needs nothing of the real one."""
    if isinstance(fault, Status):
        return Answer(fault.code, fault.body.encode(), {"content-type": "text/plain"})
    if isinstance(fault, RedirectAway):
        return Answer(302, b"", {"location": fault.url})
    if fault is Fault.REDIRECT_LOOP:
        return Answer(302, b"", {"location": request.target})
    return _FIXED.get(fault)


_JSON = {"content-type": "application/json"}
_PAGE = b"<!DOCTYPE html><title>Sign in</title><form><input type=password></form>"
_FIXED = {
    Fault.GARBAGE: Answer(200, bytes(range(128, 256)) * 4, _JSON),
    Fault.HTML: Answer(200, _PAGE, {"content-type": "text/html; charset=utf-8"}),
    Fault.DEEP_JSON: Answer(200, b"[" * 100_000 + b"]" * 100_000, _JSON),
    Fault.BAD_GZIP: Answer(200, b"this is not gzip", _JSON | {"content-encoding": "gzip"}),
}


def _plain(answer: Answer) -> Answer:
    """Return the answer with wrong types in it, unpacked."""
    packed = answer.headers.get("content-encoding") == "gzip"
    headers = {name: value for name, value in answer.headers.items() if name != "content-encoding"}
    body = gzip.decompress(answer.body) if packed else answer.body
    return replace(answer, body=_wrong_types(body), headers=headers)


def _wrong_types(body: bytes) -> bytes:
    try:
        right = json.loads(body)
    except ValueError:
        return b'{"unexpected":true}'
    if isinstance(right, dict):
        return json.dumps({name: {"unexpected": True} for name in right}).encode()
    return b'{"unexpected":"no list"}' if isinstance(right, list) else b"[]"
