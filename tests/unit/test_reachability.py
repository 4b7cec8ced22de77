"""Asking a service out there: which answers are understood, and the way through a proxy."""

import socket
import ssl
from collections.abc import Iterator

import pytest
from urllib3 import HTTPHeaderDict

from exporter.config.load import load_config
from exporter.errors import InvalidResponse
from exporter.model import Answer, Reason
from exporter.servers.http import Response
from exporter.servers.reachability import probe, understand
from tests.conftest import Certificate
from tests.fakes import NOW, FakeClock
from tests.parts.outside import Outside

IP = "203.0.113.7"

ANSWERS = {
    "1": True,
    "0": False,
    "1\n": True,
    "true": True,
    "False": False,
    '{"ip":"203.0.113.7","ip_decimal":3405803783,"port":45720,"reachable":true}': True,
    '{"ip":"203.0.113.7","port":45720,"reachable":false}': False,
    '{"open": true}': True,
    '{"status": false}': False,
    '{"error":false,"msg":null,"check":[{"port":45720,"status":true}],"host":"x"}': True,
    '{"check":[{"port":45720,"status":false}]}': False,
    '{"data":{"open":true}}': True,
    # `status` may be that of the request
    '{"status":true,"data":{"open":false}}': False,
    '{"ip":"::ffff","reachable":true}': None,
    '{"ip":"198.51.100.1","reachable":false}': None,
    '{"ip":"unknown","reachable":true}': True,
    '{"ip":5,"reachable":true}': True,
    '{"error":true,"open":false}': None,
    '{"open":false,"blocked":true}': None,
    '{"check":[{"status":true},{"status":false}]}': None,
    '{"check":{"deeper":{"status":true}}}': None,
    '{"reachable":"yes"}': None,
    '{"reachable":1}': None,
    "{}": None,
    "[true]": None,
    "2": None,
    "open": None,
    "": None,
    "да": None,
    "<html><body>1</body></html>": None,
    "{" * 9000: None,
}


@pytest.mark.parametrize("body", ANSWERS, ids=lambda body: body[:40])
def test_only_a_clear_answer_counts(body: str) -> None:
    response = Response(200, HTTPHeaderDict(), body.encode(), "the service")
    expected = ANSWERS[body]
    if expected is None:
        with pytest.raises(InvalidResponse):
            understand(response, IP)
    else:
        assert understand(response, IP) is expected


@pytest.fixture
def service() -> Iterator[Outside]:
    with Outside() as service:
        yield service


def asked(url: str, proxy: str = "", ip: str = IP) -> Answer:
    given = {"GLUETUN_APIKEY": "key", "REACHABILITY_URL": url, "REACHABILITY_PROXY": proxy}
    config = load_config(given).tunnels[0].reachability
    assert config
    return probe(config, 45720, ip, FakeClock())


def reason(answer: Answer) -> Reason:
    assert answer.reachable is None
    assert answer.failure
    assert answer.failure.fix
    assert answer.operation.reason is answer.failure.reason
    return answer.failure.reason


def test_the_port_and_the_address_are_put_into_the_url(service: Outside) -> None:
    answer = asked(f"{service.url}/api/{{ip}}/{{port}}?key=a%20b#top")
    assert service.asked == [f"/api/{IP}/45720?key=a%20b"]
    assert (answer.port, answer.asked_at, answer.reachable) == (45720, NOW, True)
    assert (answer.operation.reason, answer.failure) == (None, None)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (429, "", Reason.RATE_LIMITED),
        (403, "0", Reason.HTTP_4XX),
        (301, "", Reason.HTTP_4XX),
        (503, "0", Reason.HTTP_5XX),
        (200, "<html>", Reason.INVALID_RESPONSE),
        (200, " " * 10_001 + "1", Reason.INVALID_RESPONSE),
    ],
)
def test_what_is_no_answer_has_its_reason(
    service: Outside, status: int, body: str, expected: Reason
) -> None:
    service.says(body, status)
    assert reason(asked(f"{service.url}/{{port}}")) is expected


def test_a_service_that_is_away_is_not_known_either() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert reason(asked(f"http://127.0.0.1:{port}/{{port}}")) is Reason.CONNECTION


def test_a_service_whose_certificate_nobody_trusts_is_not_believed(
    certificate: Certificate,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.file, certificate.key)
    with Outside(context=context) as service:
        assert reason(asked(f"{service.url}/{{port}}")) is Reason.TLS


def test_https_is_asked_for_on_port_443_through_a_proxy_too(service: Outside) -> None:
    asked("https://ifconfig.example/{port}", service.url)
    assert service.asked == ["ifconfig.example:443"]


def test_a_proxy_is_asked_in_place_of_the_service(service: Outside) -> None:
    proxy = service.url.replace("http://", "http://user:secret@")
    assert asked("http://ifconfig.example/port/{port}#top", proxy).reachable is True
    assert service.asked == ["http://ifconfig.example:80/port/45720"]
    [(_, _, headers)] = service.requests
    assert headers["host"] == "ifconfig.example"
    assert headers["proxy-authorization"] == "Basic dXNlcjpzZWNyZXQ="


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_refuses_is_named_without_its_password(service: Outside, scheme: str) -> None:
    service.says("no", 407)
    proxy = service.url.replace("http://", "http://user:secret@")
    if scheme == "http":
        with socket.create_server(("127.0.0.1", 0)) as free:
            proxy = f"http://user:secret@127.0.0.1:{free.getsockname()[1]}"
    answer = asked(f"{scheme}://ifconfig.example/port/{{port}}", proxy)
    assert reason(answer) is Reason.CONNECTION
    assert answer.failure
    assert "proxy" in answer.failure.message
    assert "REACHABILITY_PROXY" in answer.failure.fix
    assert "secret" not in f"{answer}"
