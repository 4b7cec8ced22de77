"""Whether a POST comes from our own page or a program, and not from another site's page.

A page on the internet can make its own name resolve to our address (DNS rebinding): the browser
then takes us for that site, and `Origin` and `Host` agree. Only the name gives it away.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

_LOCAL_SUFFIXES = (".local", ".lan", ".internal", ".home.arpa")
_OWN_FETCH_SITES = {"same-origin", "none"}


def is_local_host(host: str, allowed: Collection[str] = ()) -> bool:
    """Return whether a Host header names us in a way that nobody outside could have registered.

    That is an address, a name without a dot, one of a local network, or one that is allowed.
    Programs may leave the header out: browsers never do.
    """
    name = _name(host)
    if name is None:
        return False
    if "." not in name or name.endswith(_LOCAL_SUFFIXES) or _is_address(name):
        return True
    return name in {one.lower().rstrip(".") for one in allowed}


def is_own_page(fetch_site: str, origin: str, host: str) -> bool:
    """Return whether the headers of a browser say that our own page sent the request.

    Browsers leave Sec-Fetch-Site out on plain http, hence the second look at Origin. Programs such
    as wget send neither.
    """
    if fetch_site:
        return fetch_site in _OWN_FETCH_SITES
    try:
        return not origin or urlsplit(origin).netloc == host
    except ValueError:  # such as `http://[`, which no browser sends
        return False


def _name(host: str) -> str | None:
    """Return the name or address without its port; None for what can't be one."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
