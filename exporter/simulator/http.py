"""HTTP/1.1 as both simulated servers receive it and answer."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, urlsplit

MAX_HEAD_BYTES = 65_536
CHUNK_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    address: str

    @property
    def path(self) -> str:
        """The target without the query string."""
        return urlsplit(self.target, allow_fragments=False).path

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the query string."""
        query = self.target.partition("?")[2]
        return dict(parse_qsl(query, keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; the server of that kind adds its usual headers."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    close: bool = False
    without_body: bool = False
    bare: bool = False


def requests_of(connection: socket.socket) -> Iterator[Request | None]:
    """Yield the requests that come on a connection, None for what is no HTTP."""
    buffer = b""
    while True:
        while b"\r\n\r\n" not in buffer:
            received = connection.recv(CHUNK_BYTES)
            if not received or len(buffer) > MAX_HEAD_BYTES:
                return
            buffer += received
        head, _, buffer = buffer.partition(b"\r\n\r\n")
        request = _parsed(head.decode("latin-1"), str(connection.getpeername()[0]))
        if request is not None:
            length = int(request.headers.get("content-length") or 0)
            while len(buffer) < length:
                received = connection.recv(CHUNK_BYTES)
                if not received:
                    return
                buffer += received
            request = replace(request, body=buffer[:length])
            buffer = buffer[length:]
        yield request


def _parsed(head: str, address: str) -> Request | None:
    first, *lines = head.split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/"):
        return None
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    if not (headers.get("content-length") or "0").isdigit():
        return None
    return Request(words[0], words[1], headers, b"", address)
