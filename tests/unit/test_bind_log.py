"""What qBittorrent's log proves about a port."""

from exporter.model import BindResult
from exporter.servers.bind_log import BindLog, LogEntry

OK, BAD = 2, 8


def log_of(*entries: tuple[int, str]) -> BindLog:
    log = BindLog()
    log.fold(LogEntry(number, kind, text) for number, (kind, text) in enumerate(entries))
    return log


def entry(kind: int, address: str, socket: str) -> tuple[int, str]:
    """As 4.5.2 writes it, in English."""
    if kind == OK:
        return kind, f'Successfully listening on IP. IP: "{address}". Port: "{socket}"'
    return kind, f'Failed to listen on IP. IP: "{address}". Port: "{socket}". Reason: "in use"'


def test_a_tcp_socket_on_an_address_of_the_vpn_is_the_proof() -> None:
    assert log_of(entry(OK, "10.2.0.2", "TCP/45720")).result(45720) is BindResult.BOUND


def test_a_socket_on_another_port_proves_nothing() -> None:
    log = log_of(entry(OK, "10.2.0.2", "TCP/45721"), entry(OK, "10.2.0.2", "UTP/45720"))
    assert log.result(45720) is BindResult.UNKNOWN


def test_the_language_of_the_log_does_not_matter() -> None:
    log = log_of((OK, "Lausche erfolgreich auf folgender IP: „10.2.0.2“ Port: „TCP/45720“"))
    assert log.result(45720) is BindResult.BOUND


def test_loopback_alone_counts_only_where_there_is_nothing_else() -> None:
    loopback = entry(OK, "127.0.0.1", "TCP/45720")
    assert log_of(loopback).result(45720) is BindResult.BOUND
    assert log_of(entry(OK, "::1", "TCP/45720")).result(45720) is BindResult.BOUND
    failed = entry(BAD, "10.2.0.2", "TCP/45720")
    assert log_of(loopback, failed).result(45720) is BindResult.FAILED


def test_a_forwarded_port_is_ipv4_so_ipv6_alone_is_a_failure() -> None:
    ipv6 = entry(OK, "fd7d:76ee::2", "TCP/45720")
    assert log_of(ipv6).result(45720) is BindResult.BOUND
    taken = entry(BAD, "10.2.0.2", "TCP/45720")
    assert log_of(taken, ipv6).result(45720) is BindResult.FAILED


def test_ipv6_that_fails_does_no_harm() -> None:
    log = log_of(entry(OK, "10.2.0.2", "TCP/45720"), entry(BAD, "fd7d:76ee::2", "TCP/45720"))
    assert log.result(45720) is BindResult.BOUND


def test_a_link_local_address_that_is_still_being_checked_is_no_failure() -> None:
    log = log_of(entry(BAD, "fe80::1", "TCP/45720"))
    assert log.result(45720) is BindResult.UNKNOWN


def test_a_taken_udp_port_alone_is_a_failure() -> None:
    assert log_of(entry(BAD, "10.2.0.2", "UTP/45720")).result(45720) is BindResult.FAILED
    assert log_of(entry(BAD, "10.2.0.2", "UDP/45720")).result(45720) is BindResult.FAILED


def test_the_last_word_on_a_socket_counts() -> None:
    bound, failed = entry(OK, "10.2.0.2", "TCP/45720"), entry(BAD, "10.2.0.2", "TCP/45720")
    assert log_of(bound, failed).result(45720) is BindResult.FAILED
    assert log_of(failed, bound).result(45720) is BindResult.BOUND


def test_other_kinds_of_entries_are_no_proof() -> None:
    assert log_of((1, "Trying to listen on 10.2.0.2 TCP/45720")).result(45720) is BindResult.UNKNOWN


def test_a_session_of_years_does_not_fill_the_memory() -> None:
    log = log_of(*(entry(OK, "10.2.0.2", f"TCP/{port}") for port in range(1024, 65536)))
    assert len(log.sockets) == 256
    assert log.result(65535) is BindResult.BOUND
