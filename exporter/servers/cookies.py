"""The cookies of a session: that of qBittorrent, under any name, and what a proxy adds."""

from __future__ import annotations

import re

from exporter.servers.http import Response

_LARGEST_COOKIES = 8_192
_COOKIE = re.compile(r"[!-:<>-~]+=[!-:<-~]*")
"""Without `=` in the name: what matches in one way only takes no time."""


class Cookies:
    """What is sent back; bounded."""

    def __init__(self) -> None:
        self._pairs: dict[str, str] = {}

    def take(self, response: Response) -> None:
        """Keep what a response sets, whatever it says of expiry and scope.

        A broken HTTPS set-up marks the cookie `secure`, and clocks may disagree: a cookie jar
        would withhold it, and every login would be useless.
        """
        for line in response.headers.getlist("Set-Cookie"):
            pair = line.partition(";")[0].strip()
            if _COOKIE.fullmatch(pair):
                name = pair.partition("=")[0]
                fresh = self._pairs | {name: pair}
                if len("; ".join(fresh.values())) <= _LARGEST_COOKIES:
                    self._pairs = fresh

    def header(self) -> str | None:
        """Return what to send; None where there is none."""
        return "; ".join(self._pairs.values()) or None
