"""A listening socket, handed to waitress, whose connections make room for one another.

waitress stops accepting at its limit, and counts silence by the clock of the day: whoever opens
enough connections locks all others out, for as long as that clock is set back. Here the newest
connection always gets in, and the one that has been silent the longest gives way.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from exporter.web.lengths import Lengths

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_SEND_BUFFER_BYTES = 65_536
_RECEIVE_BUFFER_BYTES = 16_384
_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)
_PAUSE_SECONDS = 0.1


class Listener(socket.socket):
    """Accepts so many connections, each of which may be silent for so long."""

    def __init__(
        self,
        family: int,
        most: int,
        silent_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(family, socket.SOCK_STREAM)
        self._most = most
        self._silent_seconds = silent_seconds
        self._clock = clock
        self._open: set[_Connection] = set()
        self._next_look = 0.0
        self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bound_what_the_kernel_holds(self, silent_seconds)

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection, and end one where there are too many; raises OSError."""
        try:
            accepted, address = super().accept()
        except OSError as error:
            if error.errno in _OUT_OF_FILES:
                self._wait_for_files()
            raise
        self._make_room()
        return _Connection(accepted, self._open, self._clock), address

    def _make_room(self) -> None:
        now = self._clock()
        if len(self._open) >= self._most:
            self._end(min(self._open, key=lambda each: each.active_at))
        if now >= self._next_look:
            self._next_look = now + 1
            for each in [e for e in self._open if now - e.active_at > self._silent_seconds]:
                self._end(each)

    def _wait_for_files(self) -> None:
        """End a connection, or wait: waitress asks again at once, for ever."""
        if self._open:
            self._end(min(self._open, key=lambda each: each.active_at))
        time.sleep(_PAUSE_SECONDS)

    def _end(self, connection: _Connection) -> None:
        """Let waitress see the end of a connection, and close it."""
        self._open.discard(connection)
        connection.end()


class _Connection(socket.socket):
    """Notes when its client last sent or took in anything; spoils ambiguous requests."""

    def __init__(
        self, accepted: socket.socket, others: set[_Connection], clock: Callable[[], float]
    ) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, accepted.detach())
        self._others = others
        self._clock = clock
        self._lengths = Lengths()
        self.active_at = clock()
        others.add(self)

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        data = super().recv(bufsize, flags)
        self.active_at = self._clock()
        return self._lengths.checked(data)

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        sent = super().send(data, flags)
        self.active_at = self._clock()
        return sent

    def close(self) -> None:
        self._others.discard(self)
        super().close()

    def end(self) -> None:
        try:
            self.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the client was faster


def _bound_what_the_kernel_holds(listener: socket.socket, silent_seconds: float) -> None:
    """Bound buffers, and have the kernel drop who takes in nothing: waitress waits for ever.

    Each connection takes this over from the socket that listens. Not every system has the last.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
    if option := getattr(socket, "TCP_USER_TIMEOUT", None):
        listener.setsockopt(socket.IPPROTO_TCP, option, int(silent_seconds * 1000))
