"""What both simulated servers share: they serve over threads, and fail on request."""

import contextlib
import socket
import ssl
import struct
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self

from exporter.simulator.faults import AnyFault, Fault, Rules, drip, pour, replaced, spoiled
from exporter.simulator.http import Answer, Request, requests_of


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
        self._rules = Rules()
        self._listener: socket.socket | None = None
        self._free_port: Callable[[], object] = lambda: None
        """Closes what keeps the port ours while connections to it are refused."""
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
    def malformed(self) -> Answer:
        """The answer to what is not a request."""

    @property
    def absent(self) -> bool:
        """Whether the process behind the address is away at this moment of the clock.

        Connections are reset then: the same to a client as if they were refused.
        """
        return False

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
            self._rules.add(prefix, fault, times)

    def heal(self) -> None:
        """End all faults; what hangs is cut off."""
        with self._lock:
            refused = self._rules.clear()
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
        holder = self._bound()
        self._free_port = weakref.finalize(self, holder.close)
        return int(holder.getsockname()[1])

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
                refused = self._rules.for_connection() or self.absent
                if refused or self._listener is not listener:
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
            for request in requests_of(connection):
                if not self._exchange(connection, request):
                    return
        except OSError:
            return  # the client went away, or stop() cut it off
        finally:
            with self._lock:
                self._connections -= {raw, connection}
            connection.close()

    def _exchange(self, connection: socket.socket, request: Request | None) -> bool:
        """Answer; False when the connection is to end."""
        if request is None:
            self._send(connection, self.malformed())
            return False
        with self._lock:
            if self.absent:
                _reset(connection)
                return False
            self.requests.append((request.method, request.target, request.headers))
            fault = self._rules.for_request(request)
        if fault is not None:
            return self._disturb(connection, request, fault)
        answer = self.answer(request)
        self._send(connection, answer)
        return not answer.close and request.headers.get("connection", "").lower() != "close"

    def _send(self, connection: socket.socket, answer: Answer) -> None:
        body = b"" if answer.without_body else answer.body
        connection.sendall(self.head(answer) + body)

    def _disturb(self, connection: socket.socket, request: Request, fault: AnyFault) -> bool:
        instead = replaced(fault, request)
        if instead is not None:
            self._send(connection, instead)
            return True
        match fault:
            case Fault.HANG:
                self._released.wait()
            case Fault.HUGE | Fault.ENDLESS:
                pour(connection, fault, self._released)
            case Fault.SLOW:
                answer = self.answer(request)
                drip(connection, self.head(answer) + answer.body, self._released)
            case Fault.CUT | Fault.WRONG_LENGTH | Fault.WRONG_TYPE:
                connection.sendall(spoiled(self.answer(request), self.head, fault))
                return fault is Fault.WRONG_TYPE
            case Fault.LOST:
                self.answer(request)
                _reset(connection)
            case _:
                _reset(connection)
        return False


def _reset(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
