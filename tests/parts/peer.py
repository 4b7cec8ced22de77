"""A peer out there that connects all the time, and what status.json says meanwhile."""

import contextlib
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.parts.namespace import PEER_ADDRESS, VPN_ADDRESS, leave_network

EVERY_SECONDS = 0.1
CONNECT_SECONDS = 0.5
NEWS_SECONDS = 0.5
"""For how long a change is new: a check that began before it may still end as if it were not."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Whether the peer got in, and what status.json said just after."""

    at: float
    open: bool
    state: str
    bound: bool = False


@dataclass(frozen=True, slots=True)
class Lie:
    """A time for which status.json said one thing and the peer met the other."""

    what: str
    at: float
    seconds: float
    is_claim: bool
    """Whether it was said of what had been otherwise for a while; else it is only old."""

    def __str__(self) -> str:
        kind = "claimed" if self.is_claim else "still said"
        return f"{self.seconds:.1f} s from {self.at:.1f} s on, {kind}: {self.what}"


class Peer:
    """A thread in a network of its own, the other end of the VPN; a context manager."""

    def __init__(self, port: int, status_file: Path) -> None:
        self.port = port
        self.samples: list[Sample] = []
        self._status_file = status_file
        self._ready = threading.Event()
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._started_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="peer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._error:
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop connecting: what comes now is only the end."""
        self._stopped.set()
        self._thread.join()

    @property
    def thread(self) -> int:
        """The native id of the thread, which names its network."""
        assert self._thread.native_id is not None
        return self._thread.native_id

    @property
    def last(self) -> Sample:
        """The newest sample."""
        return self.samples[-1]

    @property
    def now(self) -> float:
        """Seconds since the peer was made, as in its samples."""
        return time.monotonic() - self._started_at

    def _run(self) -> None:
        try:
            leave_network()
            self._sample()
        except BaseException as error:  # noqa: BLE001  # the caller gets it
            self._error = error
        finally:
            self._ready.set()
        due = time.monotonic()
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            due = max(due + EVERY_SECONDS, time.monotonic())
            self._sample()

    def _sample(self) -> None:
        at, is_open = self.now, connects(self.port)
        state, bound = _said(self._status_file)
        self.samples.append(Sample(at, is_open, state, bound))


def lies(samples: Sequence[Sample]) -> list[Lie]:
    """Find each time for which status.json said one thing and the peer met the other."""
    found = [lie for what, is_lie in _LIES.items() for lie in _stretches(samples, what, is_lie)]
    return sorted(found, key=lambda lie: lie.at)


_LIES: dict[str, Callable[[Sample], bool]] = {
    "in_sync, but closed": lambda it: it.state == "in_sync" and not it.open,
    "not_listening, but open": lambda it: it.state == "not_listening" and it.open,
    "port_bound, but closed": lambda it: it.state != "in_sync" and it.bound and not it.open,
}


def _stretches(
    samples: Sequence[Sample], what: str, is_lie: Callable[[Sample], bool]
) -> Iterator[Lie]:
    for lied, group in itertools.groupby(samples, is_lie):
        stretch = list(group)
        begin = stretch[0].at
        if lied:
            since = _since(samples, stretch[0])
            yield Lie(what, begin, stretch[-1].at - begin, begin - since > NEWS_SECONDS)


def _since(samples: Sequence[Sample], sample: Sample) -> float:
    """When the peer first met what it meets in this sample."""
    earlier = [it for it in samples if it.at <= sample.at]
    same = itertools.takewhile(lambda it: it.open == sample.open, reversed(earlier))
    return min(it.at for it in same)


def connects(port: int) -> bool:
    """Whether a peer gets in, from the network of this thread."""
    try:
        socket.create_connection((VPN_ADDRESS, port), CONNECT_SECONDS, (PEER_ADDRESS, 0)).close()
    except OSError:
        return False
    return True


def _said(status_file: Path) -> tuple[str, bool]:
    """The state and whether the port is bound; a file that is not there says nothing."""
    with contextlib.suppress(OSError, ValueError):
        document = json.loads(status_file.read_bytes())
        if document["state"] != "stopped":
            tunnel = document["tunnels"]["default"]
            return str(tunnel["state"]), bool(tunnel["port_bound"])
        return "stopped", False
    return "", False
