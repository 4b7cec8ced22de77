"""Every error has a reason for the metrics and a fix for the user, and no foreign one gets past."""

import http.client
import re
import ssl
from collections.abc import Iterator
from types import ModuleType

import pytest
import requests
import urllib3

from exporter import errors
from exporter.errors import ConfigError, HttpError, QstickyError, ServerError
from exporter.model import Reason
from exporter.servers.http_errors import from_exception

SECRET = "hunter2"
WHERE = "Gluetun at gluetun:8000"


def family(kind: type[QstickyError]) -> Iterator[type[QstickyError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from family(child)


def classes(module: ModuleType) -> dict[str, type[Exception]]:
    """The exceptions of a module by name; warnings are no errors."""
    return {
        name: kind
        for name, kind in vars(module).items()
        if isinstance(kind, type)
        and issubclass(kind, Exception)
        and not issubclass(kind, Warning)
        and kind.__module__ == module.__name__
    }


def raised_by_library(kind: type[Exception]) -> Exception:
    """An instance as from_exception() sees it; each class wants other arguments."""
    return kind.__new__(kind, SECRET)


# Our own errors


def test_the_reasons_are_those_of_the_metrics() -> None:
    assert {kind.__name__: str(kind.reason) for kind in family(QstickyError)} == {
        "QstickyError": "other",
        "ConfigError": "other",
        "StatusFileError": "io",
        "ServerError": "other",
        "Unreachable": "connection",
        "TimedOut": "timeout",
        "TlsFailed": "tls",
        "Unauthorized": "auth",
        "SessionExpired": "auth",
        "LoginRejected": "auth",
        "LoginSuspended": "auth",
        "Banned": "banned",
        "ForbiddenHost": "forbidden_host",
        "Unexpected": "other",
        "HttpError": "other",
        "InvalidResponse": "invalid_response",
        "VerifyMismatch": "verify_mismatch",
        "BindFailed": "bind_failed",
        "NotReachable": "closed",
    }


@pytest.mark.parametrize(
    "kind",
    [kind for kind in family(QstickyError) if kind not in (QstickyError, ServerError)],
    ids=lambda kind: kind.__name__,
)
def test_an_error_says_what_to_do_in_a_line(kind: type[QstickyError]) -> None:
    assert kind.default_fix
    assert not re.search(r"\n|\.$|[a-z]Error|Exception", kind.default_fix)


def test_an_unexpected_error_is_named_with_its_place_and_without_what_it_quotes() -> None:
    with pytest.raises(ValueError, match=SECRET) as caught:
        int(SECRET)
    said = errors.unexpected(caught.value).message
    assert re.fullmatch(r"an unexpected ValueError at test_errors\.py:\d+", said)


def test_the_tree_in_the_docstring_holds_every_error() -> None:
    drawn = re.findall(r"(?:├──|└──) (\w+)", errors.__doc__ or "")
    assert drawn == [kind.__name__ for kind in family(QstickyError)][1:]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (302, Reason.HTTP_4XX),
        (404, Reason.HTTP_4XX),
        (499, Reason.HTTP_4XX),
        (500, Reason.HTTP_5XX),
        (503, Reason.HTTP_5XX),
    ],
)
def test_the_reason_of_a_wrong_status_is_its_class(status: int, reason: Reason) -> None:
    assert HttpError("wrong", status).reason is reason


def test_a_fix_of_its_own_takes_the_place_of_the_usual_one() -> None:
    assert errors.Unreachable("gone").fix == errors.Unreachable.default_fix
    assert errors.Unreachable("gone", "look").fix == "look"
    assert errors.Unreachable("gone", "").fix == ""


def test_only_a_wrong_configuration_has_an_exit_code_of_its_own() -> None:
    assert {kind.__name__ for kind in family(QstickyError) if kind.exit_code != 1} == {
        "ConfigError"
    }


def test_a_configuration_error_lists_every_mistake() -> None:
    assert ConfigError(["A: wrong"]).message == "the configuration has 1 mistake:\nA: wrong"
    assert ConfigError(["A: wrong", "B: too"]).message == (
        "the configuration has 2 mistakes:\nA: wrong\nB: too"
    )


# Foreign errors

CONNECTION = f"{WHERE} can't be reached"
NETWORK = f"{WHERE} can't be reached: network error"
NO_ROUTE = f"{WHERE} can't be reached: No route to host"
NO_NAME = f"{WHERE} can't be reached: cannot resolve host 'gluetun'"
REFUSED = f"{WHERE} refused the connection; is it running?"
CLOSED = f"{WHERE} closed the connection without a response"
PROXY = f"{WHERE} can't be reached through the proxy"
TIMED_OUT = f"{WHERE} did not answer within 5 s"
TLS = f"the TLS handshake with {WHERE} failed"
PACKED = f"{WHERE} sent a response that cannot be decompressed"
CUT = f"{WHERE} closed the connection mid-response"
BAD_HTTP = f"{WHERE} sent an invalid HTTP response"
REASONS = {
    CONNECTION: Reason.CONNECTION,
    NETWORK: Reason.CONNECTION,
    NO_ROUTE: Reason.CONNECTION,
    NO_NAME: Reason.CONNECTION,
    REFUSED: Reason.CONNECTION,
    CLOSED: Reason.CONNECTION,
    PROXY: Reason.CONNECTION,
    TIMED_OUT: Reason.TIMEOUT,
    TLS: Reason.TLS,
    PACKED: Reason.INVALID_RESPONSE,
    CUT: Reason.INVALID_RESPONSE,
    BAD_HTTP: Reason.INVALID_RESPONSE,
}

_REQUESTS = {
    NETWORK: "ChunkedEncodingError ConnectionError HTTPError InvalidJSONError "
    "RequestException RetryError StreamConsumedError TooManyRedirects URLRequired "
    "UnrewindableBodyError",
    BAD_HTTP: "InvalidHeader InvalidSchema JSONDecodeError MissingSchema",
    TLS: "SSLError",
    TIMED_OUT: "ConnectTimeout ReadTimeout Timeout",
    NO_NAME: "InvalidProxyURL InvalidURL",
    PACKED: "ContentDecodingError",
    PROXY: "ProxyError",
}

_URLLIB3 = {
    CONNECTION: "BodyNotHttplibCompatible ClosedPoolError EmptyPoolError FullPoolError HTTPError "
    "HeaderParsingError HostChangedError MaxRetryError PoolError "
    "RequestError ResponseError TimeoutStateError UnrewindableBodyError",
    TLS: "SSLError",
    PACKED: "DecodeError",
    BAD_HTTP: "ConnectionError InvalidHeader LocationValueError ProtocolError ProxySchemeUnknown "
    "ProxySchemeUnsupported ResponseNotChunked URLSchemeUnknown",
    TIMED_OUT: "ConnectTimeoutError ReadTimeoutError TimeoutError",
    NETWORK: "NewConnectionError",
    NO_NAME: "LocationParseError NameResolutionError",
    CUT: "IncompleteRead InvalidChunkLength",
    PROXY: "ProxyError",
}

_STANDARD: dict[Exception, str] = {
    ConnectionRefusedError(111, "Connection refused"): REFUSED,
    ConnectionResetError(104, "Connection reset by peer"): CLOSED,
    BrokenPipeError(32, "Broken pipe"): CLOSED,
    TimeoutError("timed out"): TIMED_OUT,
    OSError(113, "No route to host"): NO_ROUTE,
    ssl.SSLEOFError(8, "EOF occurred in violation of protocol"): TLS,
    http.client.RemoteDisconnected("Remote end closed connection without response"): CLOSED,
    http.client.BadStatusLine(SECRET): BAD_HTTP,
    http.client.LineTooLong(SECRET): BAD_HTTP,
    http.client.IncompleteRead(SECRET.encode(), 5): CUT,
    ValueError(SECRET): BAD_HTTP,
}


def what_users_read(error: Exception) -> str:
    found = from_exception(error, WHERE, 5.0)
    assert found.fix
    assert found.reason is REASONS[found.message]
    return found.message


def read_by_users(module: ModuleType) -> dict[str, str]:
    """What becomes of each error of a library: the names by what is said."""
    found: dict[str, list[str]] = {}
    for name, kind in classes(module).items():
        found.setdefault(what_users_read(raised_by_library(kind)), []).append(name)
    return {said: " ".join(sorted(names)) for said, names in found.items()}


def test_every_error_of_requests_has_a_meaning() -> None:
    assert read_by_users(requests.exceptions) == _REQUESTS


def test_every_error_of_urllib3_has_a_meaning() -> None:
    assert read_by_users(urllib3.exceptions) == _URLLIB3


@pytest.mark.parametrize("error", _STANDARD, ids=repr)
def test_every_error_of_the_standard_library_has_a_meaning(error: Exception) -> None:
    assert what_users_read(error) == _STANDARD[error]


def test_no_meaning_shows_the_name_of_a_class_or_what_the_library_said() -> None:
    assert not [said for said in REASONS if re.search(rf"Error|Exception|{SECRET}", said)]


def test_a_certificate_is_refused_with_its_reason_and_what_to_do_about_that() -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = 10, "certificate has expired."
    found = from_exception(requests.exceptions.SSLError(error), WHERE, 5.0)
    assert found.message == (f"{WHERE} presented an untrusted certificate: certificate has expired")
    assert found.fix == "renew the certificate, or switch GLUETUN_VERIFY_SSL off"


def test_the_cause_counts_however_deep_it_is_hidden() -> None:
    refused = ConnectionRefusedError(111, "Connection refused")
    by_reason = urllib3.exceptions.MaxRetryError(
        urllib3.HTTPConnectionPool("gluetun"), "/", refused
    )
    error = requests.ConnectionError("something")
    error.__cause__ = requests.ConnectionError(by_reason)
    assert what_users_read(error) == REFUSED


def test_an_error_that_causes_itself_ends_too() -> None:
    error = OSError("round and round")
    error.args = (error,)
    assert what_users_read(error) == NETWORK


def test_what_was_turned_into_one_of_our_errors_does_not_colour_the_next_error() -> None:
    first = from_exception(http.client.RemoteDisconnected("closed"), WHERE, 5.0)
    first.__cause__ = http.client.RemoteDisconnected("closed")
    second = requests.ConnectionError("bad status line")
    second.__context__ = first
    assert what_users_read(second) == NETWORK
