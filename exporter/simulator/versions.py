"""In what the simulated qBittorrent's versions differ."""

from dataclasses import dataclass
from typing import Literal, get_args

from exporter.simulator.journal import WORDS, WORDS_4_2, Words

Version = Literal["4.2.5", "4.5.2", "5.1.0", "5.3.0"]
VERSIONS: tuple[Version, ...] = get_args(Version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """In what one version differs from another."""

    version: Version
    api: str
    build: dict[str, str | int]
    words: Words = WORDS
    # 4.2.5 sends errors without a body, and has no list of methods
    old: bool = False
    qt6: bool = True
    # from 5.2 on: 204 and 401 on login, API key, basic authentication, cookie named by port
    modern: bool = False

    @property
    def reopens_sockets(self) -> bool:
        """Whether libtorrent reopens a socket; 2.0 to 2.0.10 leave it as dead as its interface."""
        version = tuple(int(part) for part in str(self.build["libtorrent"]).split("."))
        return not (2,) <= version < (2, 0, 11)


TRAITS: dict[Version, Traits] = {
    "4.2.5": Traits(
        version="4.2.5",
        api="2.5.1",
        build={"libtorrent": "1.2.9.0", "openssl": "1.1.1w", "qt": "5.12.5", "boost": "1.71.0"},
        words=WORDS_4_2,
        old=True,
        qt6=False,
    ),
    "4.5.2": Traits(
        version="4.5.2",
        api="2.8.19",
        build={"libtorrent": "2.0.8.0", "openssl": "3.0.20", "qt": "5.15.8", "boost": "1.74.0"},
        qt6=False,
    ),
    "5.1.0": Traits(
        version="5.1.0",
        api="2.11.4",
        build={"libtorrent": "2.0.11.0", "openssl": "3.5.9", "qt": "6.8.2", "boost": "1.83.0"},
    ),
    "5.3.0": Traits(
        version="5.3.0",
        api="2.16.2",
        build={"libtorrent": "2.0.11.0", "openssl": "3.5.9", "qt": "6.8.2", "boost": "1.83.0"},
        modern=True,
    ),
}
