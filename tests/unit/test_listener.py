"""Connections make room for one another: the longest silent gives way."""

import errno
import os
import resource
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import pytest

from exporter.web.listener import Listener


class Host:
    """A listener whose clock is turned by hand, and what it has accepted."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.listener = Listener(socket.AF_INET, 3, 30.0, lambda: self.now)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.stack = ExitStack()
        self.stack.enter_context(self.listener)

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """Both ends of a new connection, a second after the one before."""
        self.now += 1
        client = socket.create_connection(self.listener.getsockname(), timeout=10)
        accepted, _ = self.listener.accept()
        for end in (client, accepted):
            self.stack.enter_context(end)
        return client, accepted


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    with made.stack:
        yield made


def is_open(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) != b""
    except BlockingIOError:
        return True


def test_the_newest_gets_in_and_the_longest_silent_gives_way(host: Host) -> None:
    clients = [host.connect()[0] for _ in range(5)]
    assert [is_open(client) for client in clients] == [False, False, True, True, True]


@pytest.mark.parametrize("sends", [True, False], ids=["sends", "takes in"])
def test_who_was_heard_of_lately_stays(host: Host, sends: bool) -> None:
    clients, accepted = zip(*(host.connect() for _ in range(3)), strict=True)
    host.now += 1
    if sends:
        clients[0].send(b"x")
        assert accepted[0].recv(10) == b"x"
    else:
        accepted[0].send(b"x")
        assert clients[0].recv(10) == b"x"
    host.connect()
    assert [is_open(client) for client in clients] == [True, False, True]


def test_who_takes_in_nothing_is_silent(host: Host) -> None:
    clients, accepted = zip(*(host.connect() for _ in range(3)), strict=True)
    accepted[0].setblocking(False)
    with suppress(BlockingIOError):
        while True:
            accepted[0].send(b"x" * 100_000)
    host.now += 1
    with pytest.raises(BlockingIOError):
        accepted[0].send(b"x")
    for other in accepted[1:]:
        other.send(b"x")
    host.connect()
    with pytest.raises(BrokenPipeError):
        accepted[0].send(b"x")
    assert [is_open(client) for client in clients[1:]] == [True, True]


def test_silence_is_measured_by_the_clock_that_only_moves_forward(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _ = host.connect()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 86_400)
    host.now += 29
    host.connect()
    assert is_open(client)
    host.now += 2
    host.connect()
    assert not is_open(client)


def test_a_connection_that_was_closed_makes_room(host: Host) -> None:
    clients, accepted = zip(*(host.connect() for _ in range(3)), strict=True)
    accepted[2].close()
    host.connect()
    assert [is_open(client) for client in clients] == [True, True, False]


@pytest.mark.skipif(sys.platform != "linux", reason="others count otherwise")
def test_what_the_kernel_holds_for_a_connection_is_bounded(host: Host) -> None:
    _, accepted = host.connect()
    held = [
        accepted.getsockopt(socket.SOL_SOCKET, option)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF)
    ]
    assert held == [131_072, 32_768]  # the kernel doubles what it is told
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000


def test_out_of_files_it_waits_and_ends_a_connection_rather_than_spin(host: Host) -> None:
    client, _ = host.connect()
    other = host.stack.enter_context(socket.socket())
    other.connect(host.listener.getsockname())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)  # the next that would be opened
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        began = time.monotonic()
        for _ in range(3):
            with pytest.raises(OSError) as raised:  # noqa: PT011  # the number says which
                host.listener.accept()
            assert raised.value.errno == errno.EMFILE
        assert time.monotonic() - began >= 0.3
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not is_open(client)
    accepted, _ = host.listener.accept()
    with closing(accepted):
        assert is_open(other)
