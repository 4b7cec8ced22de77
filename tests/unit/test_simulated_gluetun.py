"""The simulated Gluetun answers as the real one was measured."""

import json
import threading
import time

import pytest
import requests

from exporter.simulator.world import (
    Generation,
    Role,
    SimulatedGluetun,
)
from tests.fakes import FakeClock

GENERATIONS: tuple[Generation, ...] = ("3.40", "3.41", "main")
KEY = {"X-API-Key": "the-key"}


def gluetun_of(generation: Generation, clock: FakeClock | None = None) -> SimulatedGluetun:
    role = Role(auth="apikey", apikey="the-key")
    now = clock.monotonic if clock else time.monotonic
    return SimulatedGluetun(generation, role=role, forwarded_port=42001, clock=now)


def ask(
    server: SimulatedGluetun,
    path: str,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    data: str | None = None,
) -> tuple[int, str, str]:
    answer = requests.request(
        method,
        server.url + path,
        headers=KEY if headers is None else headers,
        data=data,
        allow_redirects=False,
        timeout=5,
    )
    return answer.status_code, answer.text, answer.headers.get("Content-Type", "")


TEXT = "text/plain; charset=utf-8"
REDIRECTED = (
    301,
    '<a href="/v1/portforward">Moved Permanently</a>.\n\n',
    "text/html; charset=utf-8",
)
REFUSED = (401, "Unauthorized\n", TEXT)

# one row of the table for each request: the answers of v3.40, v3.41 and main
TABLE: list[tuple[str, str, list[tuple[int, str, str]]]] = [
    (
        "GET",
        "/v1/portforward",
        [
            REFUSED,
            (200, '{"port":42001}\n', TEXT),
            (200, '{"port":42001,"ports":[42001]}\n', TEXT),
        ],
    ),
    (
        "GET",
        "/v1/openvpn/portforwarded",
        [(200, '{"port":42001}\n', TEXT), REDIRECTED, REDIRECTED],
    ),
    ("GET", "/v1/vpn/status", [(200, '{"status":"running"}\n', TEXT)] * 3),
    ("GET", "/v1/openvpn/status", [(200, '{"status":"stopped"}\n', TEXT)] * 3),
    ("GET", "/v1/unknown", [REFUSED, REFUSED, (404, "404 page not found\n", TEXT)]),
    ("POST", "/v1/vpn/status", [REFUSED, REFUSED, (405, "Method Not Allowed\n", TEXT)]),
    ("HEAD", "/v1/vpn/status", [(401, "", TEXT), (401, "", TEXT), (405, "", TEXT)]),
    ("GET", "/v1/vpn/status/", [REFUSED, REFUSED, (404, "404 page not found\n", TEXT)]),
    ("GET", "//v1/vpn/status", [REFUSED, REFUSED, (404, "404 page not found\n", TEXT)]),
    (
        "GET",
        "/v1/vpn/status?api_key=the-key",
        [(400, "route /status?api_key=the-key not supported\n", TEXT)] * 3,
    ),
]


@pytest.mark.parametrize(
    ("generation", "method", "path", "expected"),
    [
        pytest.param(generation, method, path, answers[column], id=f"{generation} {method} {path}")
        for method, path, answers in TABLE
        for column, generation in enumerate(GENERATIONS)
    ],
)
def test_gluetun_answers_as_the_table_says(
    generation: Generation, method: str, path: str, expected: tuple[int, str, str]
) -> None:
    with gluetun_of(generation) as gluetun:
        assert ask(gluetun, path, method) == expected


@pytest.mark.parametrize(
    ("generation", "path", "none", "several"),
    [
        ("3.40", "/v1/openvpn/portforwarded", '{"port":0}\n', '{"port":1001}\n'),
        ("3.41", "/v1/portforward", '{"port":0}\n', '{"ports":[1001,1002]}\n'),
        (
            "main",
            "/v1/portforward",
            '{"port":0,"ports":null}\n',
            '{"port":1001,"ports":[1001,1002]}\n',
        ),
    ],
)
def test_gluetun_reports_none_and_several_ports(
    generation: Generation, path: str, none: str, several: str
) -> None:
    with gluetun_of(generation) as gluetun:
        gluetun.forwarded_ports = []
        assert ask(gluetun, path) == (200, none, TEXT)
        gluetun.forwarded_ports = [1001, 1002]
        assert ask(gluetun, path) == (200, several, TEXT)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_gluetun_reports_the_public_address_only_while_it_knows_it(generation: Generation) -> None:
    with gluetun_of(generation) as gluetun:
        told = json.loads(ask(gluetun, "/v1/publicip/ip")[1])
        assert told["public_ip"] == "203.0.113.7"
        assert told["country"] == "Netherlands"
        gluetun.public_ip = ""
        assert ask(gluetun, "/v1/publicip/ip") == (200, '{"public_ip":""}\n', TEXT)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_gluetun_refuses_missing_and_wrong_keys_alike(generation: Generation) -> None:
    with gluetun_of(generation) as gluetun:
        for headers in ({}, {"X-API-Key": "wrong"}, {"X-API-Key": ""}):
            assert ask(gluetun, "/v1/vpn/status", headers=headers) == REFUSED
        assert ask(gluetun, "/v1/vpn/status", headers={"x-api-key": "the-key"})[0] == 200


def test_gluetun_refuses_routes_that_the_role_does_not_list() -> None:
    role = Role(auth="apikey", apikey="the-key", routes=["GET /v1/portforward"])
    with SimulatedGluetun("3.41", role=role) as gluetun:
        assert ask(gluetun, "/v1/portforward")[0] == 200
        assert ask(gluetun, "/v1/vpn/status") == REFUSED
        # the old route is checked on its own before it redirects
        assert ask(gluetun, "/v1/openvpn/portforwarded") == REFUSED


def test_gluetun_accepts_either_of_two_roles() -> None:
    roles = [Role(auth="apikey", apikey="the-key"), Role(auth="apikey", apikey="another")]
    with SimulatedGluetun("3.41", role=roles) as gluetun:
        assert ask(gluetun, "/v1/vpn/status")[0] == 200
        assert ask(gluetun, "/v1/vpn/status", headers={"X-API-Key": "another"})[0] == 200


def test_gluetun_asks_for_basic_authentication() -> None:
    role = Role(auth="basic", username="user", password="secret")
    with SimulatedGluetun("3.41", role=role) as gluetun:
        url = f"{gluetun.url}/v1/vpn/status"
        refused = requests.get(url, timeout=5)
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"] == 'Basic realm="restricted", charset="UTF-8"'
        assert requests.get(url, auth=("user", "secret"), timeout=5).status_code == 200


def test_gluetun_is_open_without_roles_up_to_3_40_only() -> None:
    with SimulatedGluetun("3.40") as gluetun:
        assert ask(gluetun, "/v1/openvpn/portforwarded", headers={})[0] == 200
    with SimulatedGluetun("3.41") as gluetun:
        assert ask(gluetun, "/v1/portforward", headers={}) == REFUSED


def test_gluetun_does_not_start_with_a_role_for_an_unknown_route() -> None:
    role = Role(routes=["GET /v1/portforward"])
    with pytest.raises(ValueError, match=r"route not supported .*: GET /v1/portforward"):
        SimulatedGluetun("3.40", role=role)


def test_the_tunnel_is_stopped_and_started_over_the_api(clock: FakeClock) -> None:
    with gluetun_of("3.41", clock) as gluetun:
        path = "/v1/vpn/status"
        stopped = ask(gluetun, path, "PUT", data='{"status":"stopped"}')
        assert stopped == (200, '{"outcome":"stopped"}\n', TEXT)
        clock.now += 0.2
        assert ask(gluetun, path)[1] == '{"status":"stopped"}\n'
        assert ask(gluetun, path, "PUT", data='{"status":"running"}')[0] == 200
        clock.now += 0.5
        assert (gluetun.vpn_status, gluetun.forwarded_ports) == ("running", [42001])


def test_the_port_list_waits_for_a_running_command() -> None:
    with gluetun_of("main") as gluetun:
        answers: list[str] = []
        asking = threading.Thread(target=lambda: answers.append(ask(gluetun, "/v1/portforward")[1]))
        with gluetun.running_up_command():
            asking.start()
            assert ask(gluetun, "/v1/vpn/status")[0] == 200
            assert answers == []
        asking.join(5)
        assert answers == ['{"port":42001,"ports":[42001]}\n']
