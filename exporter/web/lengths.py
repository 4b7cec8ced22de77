"""Spoils requests that do not say plainly how long their body is, so that waitress refuses them.

A proxy in front may count such a body otherwise, and be made to send on another request in it.
waitress shows the application none of this, so it is looked for in what the socket receives.
"""

from __future__ import annotations

import re

_END = b"\r\n\r\n"
_SPOILT = b"\0" + _END
"""No header may hold a NUL: waitress answers 400, after what was asked before, and closes."""
_SAYS_LENGTH = re.compile(rb"[ \t]|(?:content-length|transfer-encoding)[ \t]*[:\0]", re.I)
"""Such a header, or the folded line of any: some take that for a header of its own."""
_PLAIN = re.compile(rb"[a-z-]+:[ \t]*[\w-]+[ \t]*\r?", re.I)
_LONGEST_KEPT = 200


class Lengths:
    """Looks at the headers of all requests on a connection, and keeps no line that is complete."""

    def __init__(self) -> None:
        self._line = b""
        """The one that is not complete, shortened."""
        self._after_line_end = False
        self._said = 0
        """How many lines say the length, and how many of them plainly."""
        self._said_plainly = 0
        self._is_last = False

    def checked(self, data: bytes) -> bytes:
        """Return what may be read instead of the bytes that came next."""
        if self._is_last:  # nothing is served behind a request that says how long its body is
            return data
        before, start, text = len(self._line), 0, self._line + data
        while (end := text.find(b"\n", start)) >= 0:
            if self._ends_head(text[start:end]) and self._said:
                self._line, self._is_last = b"", True
                is_plain = self._said == self._said_plainly == 1
                return data if is_plain else data[: max(0, end - 3 - before)] + _SPOILT
            start = end + 1
        self._line = _shortened(text[start:])
        return data

    def _ends_head(self, line: bytes) -> bool:
        is_end = self._after_line_end and line == b"\r"
        self._after_line_end = line.endswith(b"\r") and not is_end
        if _SAYS_LENGTH.match(line):
            self._said += 1
            self._said_plainly += bool(_PLAIN.fullmatch(line))
        return is_end


def _shortened(line: bytes) -> bytes:
    """Return what decides later what the line is; a NUL stands for a middle that is not plain."""
    if len(line) <= _LONGEST_KEPT:
        return line
    return line[:_LONGEST_KEPT] + (b"" if _PLAIN.fullmatch(line) else b"\0") + line[-1:]
