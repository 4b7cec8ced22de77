"""Turns errors of requests, urllib3 and the operating system into our own; nothing else does."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable

import urllib3

from exporter.errors import InvalidResponse, ServerError, TimedOut, TlsFailed, Unreachable
from exporter.servers.http_library import requests

Chain = list[BaseException]


class ConnectionClosed(Unreachable):
    """The server closed the connection instead of answering."""

    default_fix = f"{Unreachable.default_fix}; if it speaks HTTPS only, switch …_HTTPS on"


def from_exception(error: Exception, where: str, timeout_seconds: float) -> ServerError:
    """Turn an error of requests, urllib3 or the operating system into one of ours.

    What it holds of a body, which may hold passwords, it holds no longer.
    """
    chain = _chain(error)
    for link in chain:
        partial = getattr(link, "partial", None)  # urllib3's is a number
        if isinstance(link, http.client.IncompleteRead) and isinstance(partial, bytes):
            link.partial, link.args = b"", ()
    for kinds, make in _MEANINGS:
        if any(isinstance(link, kinds) for link in chain):
            return _with_names(make(where, timeout_seconds, chain), where)
    return _with_names(Unreachable(f"{where} can't be reached"), where)


def _with_names(error: ServerError, where: str) -> ServerError:
    """Name in the fix the settings of this server: `…_HOST` is QBITTORRENT_HOST."""
    error.fix = error.fix.replace("…", where.partition(" at ")[0].upper())
    return error


def _unknown_name(where: str, _: float, __: Chain) -> ServerError:
    host = where.rpartition(" at ")[2].rpartition(":")[0]
    fix = "check …_HOST; containers know each other's names in a common network only"
    if where.startswith("qBittorrent"):
        fix += "; behind Gluetun, qBittorrent has Gluetun's name"
    return Unreachable(f"{where} can't be reached: cannot resolve host {host!r}", fix)


_ANOTHER_NAME = (
    "set …_HOST to a name in the certificate's subjectAltName; if it has a common name alone, it "
    "names no subjectAltName and has to be issued again with one"
)
_CERTIFICATE_FIXES = {
    9: "check the clocks of both machines, and from when on the certificate is valid",
    10: "renew the certificate, or switch …_VERIFY_SSL off",
    62: _ANOTHER_NAME,
    64: _ANOTHER_NAME,
}
"""By OpenSSL's X509_V_ERR_…: not yet valid, expired, another host's, another address'."""


def _tls_failed(where: str, _: float, chain: Chain) -> ServerError:
    if any(map(_is_about_authorities, chain)):
        return TlsFailed(
            f"{where} was not asked: the certificate authority can't be read",
            "check the file that …_CA_FILE names; where a mount is missing, restart the container",
        )
    verify_errors = [e for e in chain if isinstance(e, ssl.SSLCertVerificationError)]
    if verify_errors:
        why = verify_errors[0].verify_message.rstrip(".")
        fix = _CERTIFICATE_FIXES.get(verify_errors[0].verify_code)
        return TlsFailed(f"{where} presented an untrusted certificate: {why}", fix)
    return TlsFailed(
        f"the TLS handshake with {where} failed",
        "check that it speaks HTTPS on that port, or switch …_HTTPS off",
    )


def _is_about_authorities(error: BaseException) -> bool:
    """Whether it is about the file of the authorities, as where it went since the start."""
    return isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError)


def _timed_out(where: str, limit: float, _: Chain) -> ServerError:
    return TimedOut(f"{where} did not answer within {limit:g} s")


def _system_error(where: str, _: float, chain: Chain) -> ServerError:
    reasons = [e.strerror for e in chain if isinstance(e, OSError) and e.strerror]
    return Unreachable(f"{where} can't be reached: {reasons[0] if reasons else 'network error'}")


_MEANINGS: tuple[
    tuple[tuple[type[BaseException], ...], Callable[[str, float, Chain], ServerError]], ...
] = (
    # before its cause, which is about the proxy and not about the server
    (
        (urllib3.exceptions.ProxyError, requests.exceptions.ProxyError),
        lambda where, *_: Unreachable(f"{where} can't be reached through the proxy"),
    ),
    (
        (
            urllib3.exceptions.NameResolutionError,
            urllib3.exceptions.LocationParseError,
            requests.exceptions.InvalidURL,
        ),
        _unknown_name,
    ),
    ((ssl.SSLError, requests.exceptions.SSLError, urllib3.exceptions.SSLError), _tls_failed),
    (
        (ConnectionRefusedError,),
        lambda where, *_: Unreachable(f"{where} refused the connection; is it running?"),
    ),
    ((TimeoutError,), _timed_out),
    # before its base class, which is a time-out by name only
    ((urllib3.exceptions.NewConnectionError,), _system_error),
    ((requests.Timeout, urllib3.exceptions.TimeoutError), _timed_out),
    (
        (urllib3.exceptions.DecodeError, requests.exceptions.ContentDecodingError),
        lambda where, *_: InvalidResponse(f"{where} sent a response that cannot be decompressed"),
    ),
    (
        (urllib3.exceptions.IncompleteRead, http.client.IncompleteRead),
        lambda where, *_: InvalidResponse(f"{where} closed the connection mid-response"),
    ),
    (
        (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError),
        lambda where, *_: ConnectionClosed(f"{where} closed the connection without a response"),
    ),
    (
        (
            http.client.HTTPException,
            urllib3.exceptions.ProtocolError,
            urllib3.exceptions.InvalidHeader,
            ValueError,
        ),
        lambda where, *_: InvalidResponse(f"{where} sent an invalid HTTP response"),
    ),
    ((OSError,), _system_error),
)


def _chain(error: BaseException) -> Chain:
    """Return the error and all that it was caused by; urllib3 hides causes in `reason` and `args`.

    It ends at our own errors: what they stand for has been turned into one before.
    """
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting and len(found) < 32:
        link = waiting.pop()
        if isinstance(link, ServerError) or link in found:
            continue
        if isinstance(link, BaseException):
            found.append(link)
            waiting += [link.__cause__, link.__context__, getattr(link, "reason", None), *link.args]
    return found
