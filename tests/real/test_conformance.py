"""The simulated qBittorrent answers, listens and dies as the real one of the same version does."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from exporter.simulator.world import VERSIONS, SimulatedQbittorrent, Version
from tests.conftest import Certificate, missing_part
from tests.parts.namespace import NamespaceMissing, in_namespace
from tests.parts.qbittorrent import RealQbittorrent, Seed, free_port, loopback_addresses
from tests.real import conformance_logins as logins
from tests.real import conformance_network as network
from tests.real import conformance_ports as ports
from tests.real.conformance_client import API_KEY, PASSWORD, Client, MovedClock, Scenario, Setting

SCENARIOS: list[tuple[Scenario, dict[str, Any]]] = [
    (logins.nobody_is_logged_in, {}),
    (logins.logging_in_by_password, {}),
    (logins.too_many_failures, {"ban_after": 3, "ban_seconds": 2}),
    (logins.wrong_things_that_never_ban, {"ban_after": 3}),
    (logins.a_good_login_forgets_failures, {"ban_after": 3}),
    (logins.an_idle_session_expires, {"session_timeout": 1}),
    (logins.host_and_origin, {"ban_after": 30}),
    (logins.methods_and_paths, {}),
    (ports.what_is_read, {}),
    (ports.what_the_log_tells, {}),
    (ports.listening_port_values, {}),
    (ports.values_that_mean_a_random_port, {}),
    (ports.the_random_port_flag, {}),
    (ports.sets_that_change_nothing, {}),
    (ports.setting_by_get_or_multipart, {}),
    (ports.an_occupied_port, {}),
    (ports.an_unknown_interface, {}),
    (ports.a_restart, {}),
    (logins.a_changed_password, {}),
    # only 5.3 limits them
    (logins.many_sessions, {"versions": ("5.1.0", "5.3.0")}),
    (logins.an_api_key, {"api_key": API_KEY}),
    (logins.basic_authentication, {"ban_after": 3}),
    (logins.no_login_needed, {"ban_after": 2, "bypass": True}),
    (logins.over_https, {"https": True}),
    (logins.shutting_down, {}),
]


SEED_NAMES = {"bypass": "bypass_local_auth", "session_timeout": "session_timeout_seconds"}


def _seed(options: dict[str, Any], port: int, certificate: Certificate) -> Seed:
    given = {SEED_NAMES.get(name, name): value for name, value in _settings(options).items()}
    if options.get("https"):
        given |= {"certificate": certificate.file, "certificate_key": certificate.key}
    return Seed(password=PASSWORD, listening_port=port, **given)


def _settings(options: dict[str, Any]) -> dict[str, Any]:
    """Return what both servers are told; the rest is about the comparison."""
    return {name: value for name, value in options.items() if name not in ("https", "versions")}


def _simulated(
    version: Version,
    options: dict[str, Any],
    port: int,
    certificate: Certificate,
    clock: MovedClock,
) -> SimulatedQbittorrent:
    return SimulatedQbittorrent(
        version,
        password=PASSWORD,
        listening_port=port,
        interface="lo",
        loopback=loopback_addresses(),
        privileged_ports=os.geteuid() == 0,
        clock=clock,
        tls=(certificate.file, certificate.key) if options.get("https") else None,
        **_settings(options),
    )


@pytest.mark.usefixtures("qbittorrent_binaries")
@pytest.mark.parametrize(
    ("scenario", "options"), [pytest.param(*each, id=each[0].__name__) for each in SCENARIOS]
)
def test_the_simulation_answers_as_the_real_server_does(
    scenario: Scenario, options: dict[str, Any], tmp_path: Path, certificate: Certificate
) -> None:
    """All versions at once: mostly they wait."""

    def compare(version: Version) -> list[str]:
        return _differences(version, scenario, options, tmp_path / version, certificate)

    versions = options.get("versions", VERSIONS)
    with ThreadPoolExecutor(len(versions)) as pool:
        differences = [each for found in pool.map(compare, versions) for each in found]
    assert not differences, "\n" + "\n".join(differences)


def _differences(
    version: Version,
    scenario: Scenario,
    options: dict[str, Any],
    folder: Path,
    certificate: Certificate,
) -> list[str]:
    port = free_port()
    with RealQbittorrent(version, folder, _seed(options, port, certificate)) as server:
        real = Client(server)
        scenario(real, Setting(port, set()))
    clock = MovedClock()
    with _simulated(version, options, port, certificate, clock) as simulation:
        clock.pause(0.1)  # the real one has bound its first port by the time it answers
        simulated = Client(simulation, pause=clock.pause)
        scenario(simulated, Setting(port, simulation.occupied))
    return [
        f"{version}, {name}\n  real:      {true}\n  simulated: {ours}"
        for (name, true), (_, ours) in zip(real.seen, simulated.seen, strict=True)
        if true != ours
    ]


@pytest.fixture(scope="session", autouse=True)
def _versions_are_still_there(
    qbittorrent_binaries: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Debian's backports move on: a version that is not simulated can't be compared."""
    for version in qbittorrent_binaries:
        with RealQbittorrent(version, tmp_path_factory.mktemp(version)) as server:
            found = server.app_version()
        if not found.startswith(version.rpartition(".")[0]):
            pytest.skip(f"Debian has moved on from {version} to {found}")


def test_a_socket_dies_and_lives_with_the_vpns_interface_as_a_real_one(
    qbittorrent_binaries: dict[str, Path], tmp_path: Path
) -> None:
    """All versions at once, each bound to the interface, to all interfaces and to loopback."""
    ports = {
        f"{version} on {binding}": free_port()
        for version in VERSIONS
        for binding in network.BINDINGS
    }
    real = in_a_network(lambda: _played_to_real_servers(ports, tmp_path))
    simulated = _played_to_simulated_servers(ports)
    differences = [
        f"{name}, {what}\n  real:      {true}\n  simulated: {ours}"
        for name in real.seen
        for (what, true), (_, ours) in zip(real.seen[name], simulated.seen[name], strict=True)
        if true != ours
    ]
    assert not differences, "\n" + "\n".join(differences)


def _played_to_real_servers(ports: dict[str, int], folder: Path) -> network.Stage:
    vpn = network.RealNetwork()
    vpn.bring(network.ADDRESS)
    with ExitStack() as stack:
        servers = {}
        for name, port in ports.items():
            version, _, binding = name.partition(" on ")
            interface = network.BINDINGS[binding]
            seed = Seed(listening_port=port, interface=interface, bypass_local_auth=True)
            server = RealQbittorrent(version, folder / name.replace(" ", "-"), seed)
            servers[name] = Client(stack.enter_context(server))
        return network.play(vpn, servers, ports)


def _played_to_simulated_servers(ports: dict[str, int]) -> network.Stage:
    clock = MovedClock()
    with ExitStack() as stack:
        servers = {}
        for name, port in ports.items():
            version, _, binding = name.partition(" on ")
            server = SimulatedQbittorrent(
                cast("Version", version),
                listening_port=port,
                interface=network.BINDINGS[binding],
                addresses=[network.ADDRESS],
                bypass=True,
                loopback=loopback_addresses(),
                clock=clock,
            )
            servers[name] = stack.enter_context(server)
        clients = network.simulated_clients(servers, clock)
        return network.play(network.SimulatedNetwork(servers), clients, ports)


def in_a_network(work: Callable[[], network.Stage]) -> network.Stage:
    """Run in a network namespace; where none can be made, the test fails in CI, else skips."""
    played: list[network.Stage] = []
    try:
        in_namespace(lambda: played.append(work()))
    except NamespaceMissing as error:
        missing_part(str(error))
    return played[0]
