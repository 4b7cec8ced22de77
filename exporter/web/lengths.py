"""Spoils requests that do not say plainly how long their body is, so that waitress refuses them.

A proxy in front may count such a body otherwise, and be made to send on another request in it.
waitress shows the application none of this, so it is looked for in what the socket receives.
"""

from __future__ import annotations

import re

_END = b"\r\n\r\n"
_SPOILT = b"\0" + _END
"""No header may hold a NUL: waitress answers 400, after what was asked before, and closes."""
_SAYS_LENGTH = re.compile(rb"^(?:[ \t]|(?:content-length|transfer-encoding)[ \t]*:).*", re.I | re.M)
"""Such a header, or the folded line of any: some take that for a header of its own."""
_PLAIN = re.compile(rb"[a-z-]+:[ \t]*[\w-]+[ \t]*\r?", re.I)


class Lengths:
    """Looks at the headers of all requests on a connection."""

    def __init__(self) -> None:
        self._head = b""
        self._is_last = False

    def checked(self, data: bytes) -> bytes:
        """Return what may be read instead of the bytes that came next."""
        if self._is_last:  # nothing is served behind a request that says how long its body is
            return data
        before, head, start = len(self._head), self._head + data, 0
        while (end := head.find(_END, start)) >= 0:
            if found := _SAYS_LENGTH.findall(head, start, end):
                self._head, self._is_last = b"", True
                is_plain = len(found) == 1 and _PLAIN.fullmatch(found[0])
                return data if is_plain else data[: max(0, end - before)] + _SPOILT
            start = end + len(_END)
        self._head = head[start:]
        return data
