"""What both simulated servers share: HTTP/1.1 over threads, and faults on request."""

import contextlib
import gzip
import json
import socket
import ssl
import struct
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Self
from urllib.parse import parse_qsl, urlsplit

MAX_HEAD_BYTES = 65_536
HUGE_BYTES = 50_000_000
CHUNK_BYTES = 65_536
DRIP_SECONDS = 0.1


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


@dataclass(slots=True)
class _Rule:
    prefix: str | None
    fault: AnyFault
    left: int | None


class SimulatedServer(ABC):
    """Serves on a loopback address from start() to stop(), always on the same port."""

    idle_seconds = 60.0

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, context: ssl.SSLContext | None = None
    ) -> None:
        self.host = host
        self.port = port
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self._context = context
        self._lock = threading.RLock()
        self._rules: list[_Rule] = []
        self._listener: socket.socket | None = None
        # keeps the port ours while connections to it are refused
        self._holder: socket.socket | None = None
        self._last_resort: weakref.finalize[[], SimulatedServer] | None = None
        self._released = threading.Event()
        self._connections: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        if port == 0:
            self.port = self._hold_port()

    @abstractmethod
    def answer(self, request: Request) -> Answer:
        """Carry out the request; called in the thread of its connection."""

    @abstractmethod
    def head(self, answer: Answer) -> bytes:
        """The status line and the headers, as this kind of server writes them."""

    @abstractmethod
    def malformed(self, method: str | None) -> Answer:
        """The answer to what is not a request, or not one of a method it knows."""

    @property
    def url(self) -> str:
        """The server's address, without a slash at the end."""
        return f"{'https' if self._context else 'http'}://{self.host}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether connections are accepted."""
        return self._listener is not None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._free_port()

    def start(self) -> None:
        """Accept connections, on the same port as before."""
        with self._lock:
            if self._listener is None:
                self._released = threading.Event()
                self._open()

    def stop(self) -> None:
        """Refuse connections and end the open ones, hanging ones too."""
        with self._lock:
            self._close()
            self._drop_connections()
            threads = [each for each in self._threads if each is not threading.current_thread()]
        for thread in threads:
            thread.join(timeout=1)

    def fail(self, prefix: str | None, fault: AnyFault, times: int | None = None) -> None:
        """Fail requests whose path begins so (None: all), for a number of times or until healed."""
        with self._lock:
            if fault is Fault.REFUSE and prefix is None and times is None:
                self._close()
                self._drop_connections()
            self._rules.append(_Rule(prefix, fault, times))

    def heal(self) -> None:
        """End all faults; what hangs is cut off."""
        with self._lock:
            refused = any((each.fault, each.prefix) == (Fault.REFUSE, None) for each in self._rules)
            self._rules.clear()
            self._released.set()
            self._released = threading.Event()
            if refused and self._listener is None:
                self._open()

    def _bound(self) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((self.host, self.port))
        except OSError:
            made.close()
            raise
        return made

    def _open(self) -> None:
        listener = self._bound()
        listener.listen(128)
        self._free_port()
        self._listener = listener
        self._spawn(self._accept, listener)

    def _close(self) -> None:
        if self._listener is None:
            return
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._listener.close()
        self._listener = None
        with contextlib.suppress(OSError):
            self._hold_port()

    def _hold_port(self) -> int:
        self._holder = self._bound()
        self._last_resort = weakref.finalize(self, self._holder.close)
        return int(self._holder.getsockname()[1])

    def _free_port(self) -> None:
        if self._holder is not None:
            self._holder.close()
            self._holder = None
        if self._last_resort is not None:
            self._last_resort.detach()

    def _drop_connections(self) -> None:
        self._released.set()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _spawn(self, work: Callable[[socket.socket], None], connection: socket.socket) -> None:
        def run() -> None:
            try:
                work(connection)
            finally:
                with self._lock:
                    self._threads.discard(threading.current_thread())

        name = f"{type(self).__name__}:{self.port}"
        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.add(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                refused = self._take(lambda rule: rule.fault is Fault.REFUSE and not rule.prefix)
                if refused is not None or self._listener is not listener:
                    _reset(connection)
                    continue
                self._connections.add(connection)
                self._spawn(self._serve, connection)

    def _serve(self, raw: socket.socket) -> None:
        connection = raw
        try:
            raw.settimeout(self.idle_seconds)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                connection = self._context.wrap_socket(raw, server_side=True)
            with self._lock:
                self._connections = self._connections - {raw} | {connection}
            for request in self._requests(connection):
                if not self._exchange(connection, request):
                    return
        except OSError:
            return  # the client went away, or stop() cut it off
        finally:
            with self._lock:
                self._connections -= {raw, connection}
            connection.close()

    def _requests(self, connection: socket.socket) -> Iterator[Request | None]:
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

    def _exchange(self, connection: socket.socket, request: Request | None) -> bool:
        """Answer; False when the connection is to end."""
        if request is None:
            self._send(connection, self.malformed(None))
            return False
        with self._lock:
            self.requests.append((request.method, request.target, request.headers))
            fault = self._take(lambda rule: request.target.startswith(rule.prefix or ""))
        if fault is not None:
            return self._disturb(connection, request, fault)
        answer = self.answer(request)
        self._send(connection, answer)
        return not answer.close and request.headers.get("connection", "").lower() != "close"

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

    def _send(self, connection: socket.socket, answer: Answer) -> None:
        body = b"" if answer.without_body else answer.body
        connection.sendall(self.head(answer) + body)

    def _disturb(self, connection: socket.socket, request: Request, fault: AnyFault) -> bool:
        replaced = _replaced(fault, request)
        if replaced is not None:
            self._send(connection, replaced)
            return True
        match fault:
            case Fault.HANG:
                self._released.wait()
            case Fault.HUGE | Fault.ENDLESS:
                self._pour(connection, fault)
            case Fault.SLOW | Fault.CUT | Fault.WRONG_LENGTH | Fault.WRONG_TYPE | Fault.LOST:
                return self._spoil(connection, self.answer(request), fault)
            case _:
                _reset(connection)
        return False

    def _pour(self, connection: socket.socket, fault: Fault) -> None:
        endless = fault is Fault.ENDLESS
        length = "transfer-encoding: chunked" if endless else f"content-length: {HUGE_BYTES}"
        connection.sendall(
            f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{length}\r\n\r\n".encode()
        )
        chunk = b" " * CHUNK_BYTES
        framed = b"%x\r\n%s\r\n" % (CHUNK_BYTES, chunk) if endless else chunk
        left = HUGE_BYTES
        while left > 0 and not self._released.is_set():
            connection.sendall(framed if endless else chunk[:left])
            left -= 0 if endless else CHUNK_BYTES
            if endless:
                self._released.wait(0.01)

    def _spoil(self, connection: socket.socket, answer: Answer, fault: Fault) -> bool:
        half = len(answer.body) // 2
        if fault is Fault.LOST:
            _reset(connection)
        elif fault is Fault.SLOW:
            for byte in self.head(answer) + answer.body:
                if self._released.wait(DRIP_SECONDS):
                    return False
                connection.sendall(bytes([byte]))
        elif fault is Fault.CUT:
            connection.sendall(self.head(answer) + answer.body[:half])
        elif fault is Fault.WRONG_LENGTH:
            connection.sendall(self.head(replace(answer, body=answer.body[:half])) + answer.body)
        else:
            self._send(connection, replace(_plain(answer), status=200))
            return True
        return False


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


def _reset(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _replaced(fault: AnyFault, request: Request) -> Answer | None:
    """The answer of faults that need nothing of the real one."""
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
    """The answer with wrong types in it, packed no more."""
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
