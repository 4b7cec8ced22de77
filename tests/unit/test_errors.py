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
        "HttpError": "other",
        "InvalidResponse": "invalid_response",
        "VerifyMismatch": "verify_mismatch",
        "BindFailed": "bind_failed",
    }


@pytest.mark.parametrize(
    "kind",
    [kind for kind in family(QstickyError) if kind not in (QstickyError, ServerError)],
    ids=lambda kind: kind.__name__,
)
def test_an_error_says_what_to_do_in_a_line(kind: type[QstickyError]) -> None:
    assert kind.default_fix
    assert not re.search(r"\n|\.$|[a-z]Error|Exception", kind.default_fix)


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
    assert errors.Unreachable("gone").fix == (
        "check that the container runs, and the host and port settings"
    )
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

CANNOT_BE_REACHED = (Reason.CONNECTION, f"{WHERE} can't be reached")
NETWORK_ERROR = (Reason.CONNECTION, f"{WHERE} can't be reached: network error")
TIMED_OUT = (Reason.TIMEOUT, f"{WHERE} did not answer within 5 s")
TLS_FAILED = (Reason.TLS, f"the TLS handshake with {WHERE} failed")
CANNOT_UNPACK = (Reason.INVALID_RESPONSE, f"{WHERE} answered with a body that can't be unpacked")
BROKE_OFF = (Reason.INVALID_RESPONSE, f"{WHERE} broke off in the middle of an answer")
BAD_HTTP = (Reason.INVALID_RESPONSE, f"{WHERE} does not speak HTTP as it should")
CLOSED = (Reason.CONNECTION, f"{WHERE} closed the connection without an answer")

_REQUESTS = {
    "RequestException": NETWORK_ERROR,
    "InvalidJSONError": NETWORK_ERROR,
    "JSONDecodeError": NETWORK_ERROR,
    "HTTPError": NETWORK_ERROR,
    "ConnectionError": NETWORK_ERROR,
    "ProxyError": NETWORK_ERROR,
    "SSLError": TLS_FAILED,
    "Timeout": TIMED_OUT,
    "ConnectTimeout": TIMED_OUT,
    "ReadTimeout": TIMED_OUT,
    "URLRequired": NETWORK_ERROR,
    "TooManyRedirects": NETWORK_ERROR,
    "MissingSchema": NETWORK_ERROR,
    "InvalidSchema": NETWORK_ERROR,
    "InvalidURL": NETWORK_ERROR,
    "InvalidHeader": NETWORK_ERROR,
    "InvalidProxyURL": NETWORK_ERROR,
    "ChunkedEncodingError": NETWORK_ERROR,
    "ContentDecodingError": CANNOT_UNPACK,
    "StreamConsumedError": NETWORK_ERROR,
    "RetryError": NETWORK_ERROR,
    "UnrewindableBodyError": NETWORK_ERROR,
}

_URLLIB3 = {
    "HTTPError": CANNOT_BE_REACHED,
    "PoolError": CANNOT_BE_REACHED,
    "RequestError": CANNOT_BE_REACHED,
    "SSLError": TLS_FAILED,
    "ProxyError": CANNOT_BE_REACHED,
    "DecodeError": CANNOT_UNPACK,
    "ProtocolError": BAD_HTTP,
    "ConnectionError": BAD_HTTP,
    "MaxRetryError": CANNOT_BE_REACHED,
    "HostChangedError": CANNOT_BE_REACHED,
    "TimeoutStateError": CANNOT_BE_REACHED,
    "TimeoutError": TIMED_OUT,
    "ReadTimeoutError": TIMED_OUT,
    "ConnectTimeoutError": TIMED_OUT,
    "NewConnectionError": NETWORK_ERROR,
    "NameResolutionError": (
        Reason.CONNECTION,
        f"{WHERE} can't be reached: the name 'gluetun' is not known here",
    ),
    "EmptyPoolError": CANNOT_BE_REACHED,
    "FullPoolError": CANNOT_BE_REACHED,
    "ClosedPoolError": CANNOT_BE_REACHED,
    "LocationValueError": CANNOT_BE_REACHED,
    "LocationParseError": CANNOT_BE_REACHED,
    "URLSchemeUnknown": CANNOT_BE_REACHED,
    "ResponseError": CANNOT_BE_REACHED,
    "ResponseNotChunked": BAD_HTTP,
    "BodyNotHttplibCompatible": CANNOT_BE_REACHED,
    "IncompleteRead": BROKE_OFF,
    "InvalidChunkLength": BROKE_OFF,
    "InvalidHeader": CANNOT_BE_REACHED,
    "ProxySchemeUnknown": CANNOT_BE_REACHED,
    "ProxySchemeUnsupported": CANNOT_BE_REACHED,
    "HeaderParsingError": CANNOT_BE_REACHED,
    "UnrewindableBodyError": CANNOT_BE_REACHED,
}

_STANDARD: dict[Exception, tuple[Reason, str]] = {
    ConnectionRefusedError(111, "Connection refused"): (
        Reason.CONNECTION,
        f"{WHERE} refuses the connection; does it run there?",
    ),
    ConnectionResetError(104, "Connection reset by peer"): CLOSED,
    BrokenPipeError(32, "Broken pipe"): CLOSED,
    TimeoutError("timed out"): TIMED_OUT,
    OSError(113, "No route to host"): (
        Reason.CONNECTION,
        f"{WHERE} can't be reached: No route to host",
    ),
    ssl.SSLEOFError(8, "EOF occurred in violation of protocol"): TLS_FAILED,
    http.client.RemoteDisconnected("Remote end closed connection without response"): CLOSED,
    http.client.BadStatusLine("hunter2"): BAD_HTTP,
    http.client.LineTooLong("hunter2"): BAD_HTTP,
    http.client.IncompleteRead(b"hunter2", 5): BROKE_OFF,
    ValueError("hunter2"): CANNOT_BE_REACHED,
}


def what_users_read(error: Exception) -> tuple[Reason, str]:
    translated = from_exception(error, WHERE, 5.0)
    assert translated.fix
    return translated.reason, translated.message


def test_every_error_of_requests_has_a_translation() -> None:
    assert {
        name: what_users_read(raised_by_library(kind))
        for name, kind in classes(requests.exceptions).items()
    } == _REQUESTS


def test_every_error_of_urllib3_has_a_translation() -> None:
    assert {
        name: what_users_read(raised_by_library(kind))
        for name, kind in classes(urllib3.exceptions).items()
    } == _URLLIB3


@pytest.mark.parametrize("error", _STANDARD, ids=repr)
def test_errors_of_the_standard_library_have_a_translation(error: Exception) -> None:
    assert what_users_read(error) == _STANDARD[error]


def test_no_translation_holds_the_name_of_a_class_or_what_the_library_said() -> None:
    everything = [*_REQUESTS.values(), *_URLLIB3.values(), *_STANDARD.values()]

    assert not [said for _, said in everything if re.search(r"Error|Exception|hunter2", said)]


def test_the_cause_counts_however_deep_it_is_hidden() -> None:
    refused = ConnectionRefusedError(111, "Connection refused")
    by_reason = urllib3.exceptions.MaxRetryError(
        urllib3.HTTPConnectionPool("gluetun"), "/", refused
    )
    by_argument = requests.ConnectionError(by_reason)
    error = requests.ConnectionError("something")
    error.__cause__ = by_argument

    assert what_users_read(error) == (
        Reason.CONNECTION,
        f"{WHERE} refuses the connection; does it run there?",
    )


def test_an_error_that_causes_itself_ends_too() -> None:
    error = OSError("round and round")
    error.args = (error,)

    assert what_users_read(error) == NETWORK_ERROR


def test_what_was_translated_before_does_not_colour_the_next_error() -> None:
    first = from_exception(http.client.RemoteDisconnected("closed"), WHERE, 5.0)
    first.__cause__ = http.client.RemoteDisconnected("closed")
    second = requests.ConnectionError("bad status line")
    second.__context__ = first

    assert what_users_read(second) == NETWORK_ERROR
