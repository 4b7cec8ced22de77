"""Bodies of answers that clients have not read to their end, bounded in bytes.

A slow reader holds its answer in memory, and a thousand tunnels make answers of 3 MB. Readers of
the same answer share it; beyond the bound, those of the oldest answer are cut off.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

MOST_BYTES = 16_000_000
_READER_BYTES = 1_000
"""What a reader costs beside the answer."""


class Unread:
    """Hands out answers as files, which whoever sends them closes at the end."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._answers: dict[int, _Answer] = {}
        self.total_bytes = 0

    def open(self, content: bytes) -> BinaryIO:
        """Return a file with this content; readers of older contents may lose theirs for it."""
        body = _Body(content, self._closed)
        with self._lock:
            if body.key not in self._answers:
                self._answers[body.key] = _Answer(content, set())
                self.total_bytes += len(content)
            self._answers[body.key].readers.add(body)
            self.total_bytes += _READER_BYTES
            too_slow = self._oldest_beyond_the_bound(body.key)
        for each in too_slow:
            each.close()
        return body

    def _oldest_beyond_the_bound(self, newest: int) -> list[_Body]:
        excess, found = self.total_bytes - self._most_bytes, list[_Body]()
        for key, answer in self._answers.items():
            if excess <= 0:
                break
            if key != newest:
                found += answer.readers
                excess -= len(answer.content) + len(answer.readers) * _READER_BYTES
        return found

    def _closed(self, body: _Body) -> None:
        with self._lock:
            answer = self._answers.get(body.key)
            if answer is None or body not in answer.readers:
                return  # closed before
            answer.readers.remove(body)
            self.total_bytes -= _READER_BYTES
            if not answer.readers:
                del self._answers[body.key]
                self.total_bytes -= len(answer.content)


class _Body(io.BytesIO):
    """A reader's own place in a content that all readers share."""

    def __init__(self, content: bytes, closed: Callable[[_Body], None]) -> None:
        super().__init__(content)
        self.key = id(content)
        self._closed = closed

    def close(self) -> None:
        super().close()
        self._closed(self)


class _Answer(NamedTuple):
    content: bytes
    readers: set[_Body]
