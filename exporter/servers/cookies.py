"""The cookies of a session: that of qBittorrent, under any name, and what a proxy adds."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from exporter.servers.http import Response

_LARGEST_COOKIES = 8_192
_COOKIE = re.compile(r"[!-:<>-~]+=[!-:<-~]*")
"""Without `=` in the name: what matches in one way only takes no time."""


@dataclass(slots=True)
class Cookies:
    """What is sent back; bounded."""

    pairs: dict[str, str] = field(default_factory=dict)

    def take(self, response: Response) -> None:
        """Keep what a response sets, whatever it says of expiry and scope.

        A broken HTTPS set-up marks the cookie `secure`, and clocks may disagree: a cookie jar
        would withhold it, and every login would be useless.
        """
        for line in response.set_cookies():
            pair = line.partition(";")[0].strip()
            if _COOKIE.fullmatch(pair):
                name = pair.partition("=")[0]
                fresh = self.pairs | {name: pair}
                if len("; ".join(fresh.values())) <= _LARGEST_COOKIES:
                    self.pairs = fresh

    def header(self) -> str | None:
        """Return what to send; None where there is none."""
        return "; ".join(self.pairs.values()) or None
