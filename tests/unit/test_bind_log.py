"""What qBittorrent's log proves about a port."""

import pytest

from exporter.model import BindResult
from exporter.servers.bind_log import BindLog, LogEntry

OK, BAD = 2, 8
BOUND, FAILED, UNKNOWN = BindResult.BOUND, BindResult.FAILED, BindResult.UNKNOWN
ON_LOOPBACK = BindResult.LOOPBACK


def log_of(*entries: tuple[int, str]) -> BindLog:
    log = BindLog()
    log.fold(LogEntry(number, kind, text) for number, (kind, text) in enumerate(entries))
    return log


def entry(kind: int, address: str, socket: str = "TCP/45720") -> tuple[int, str]:
    """As 4.5.2 writes it, in English."""
    if kind == OK:
        return kind, f'Successfully listening on IP. IP: "{address}". Port: "{socket}"'
    return kind, f'Failed to listen on IP. IP: "{address}". Port: "{socket}". Reason: "in use"'


VPN, VPN_FAILED = entry(OK, "10.2.0.2"), entry(BAD, "10.2.0.2")
IPV6, IPV6_FAILED = entry(OK, "fd7d:76ee::2"), entry(BAD, "fd7d:76ee::2")
LOOPBACK, TAKEN = entry(OK, "127.0.0.1"), entry(BAD, "10.2.0.2", "UTP/45720")


BEHIND = "IP: 10.2.0.2, port: TCP/45720"
IN_ENGLISH_OF_4_2 = "Successfully listening on IP: 10.2.0.2, port: TCP/45720"
PROVED: dict[str, tuple[BindResult, list[tuple[int, str]]]] = {
    "a TCP socket on an address of the VPN is the proof": (BOUND, [VPN]),
    "the last word on a socket counts: failed": (FAILED, [VPN, VPN_FAILED]),
    "the last word on a socket counts: bound": (BOUND, [VPN_FAILED, VPN]),
    "another port proves nothing": (UNKNOWN, [entry(OK, "10.2.0.2", "TCP/45721")]),
    "UDP alone proves nothing": (UNKNOWN, [entry(OK, "10.2.0.2", "UTP/45720")]),
    "a taken UTP port": (FAILED, [TAKEN]),
    "a taken UDP port": (FAILED, [entry(BAD, "10.2.0.2", "UDP/45720")]),
    # loopback, by which no peer comes
    "loopback alone": (ON_LOOPBACK, [LOOPBACK]),
    "loopback alone, IPv6": (ON_LOOPBACK, [entry(OK, "::1")]),
    "loopback beside an address does no harm": (BOUND, [LOOPBACK, VPN]),
    "loopback does not outweigh a failure": (FAILED, [LOOPBACK, VPN_FAILED]),
    # a forwarded port is IPv4
    "IPv6 where there is nothing else": (BOUND, [IPV6]),
    "IPv6 is not enough": (FAILED, [VPN_FAILED, IPV6]),
    "IPv6 that fails does no harm": (BOUND, [VPN, IPV6_FAILED]),
    "IPv6 beside a taken UTP port": (FAILED, [TAKEN, IPV6]),
    "a link-local address alone": (UNKNOWN, [entry(OK, "fe80::1%tun0")]),
    "a link-local address still being checked": (UNKNOWN, [entry(BAD, "fe80::1")]),
    "a link-local address beside a taken UTP port": (FAILED, [TAKEN, entry(OK, "fe80::1%tun0")]),
    # the language does not matter
    "as 4.2 writes it": (BOUND, [(OK, IN_ENGLISH_OF_4_2)]),
    "a failure as 4.2 writes it": (FAILED, [(BAD, f"Failed to listen on {BEHIND}. Reason: x")]),
    "in German": (BOUND, [(OK, "Lausche auf folgender IP: „10.2.0.2“ Port: „TCP/45720“")]),
    "in Chinese": (BOUND, [(OK, '成功监听 IP。IP:"10.2.0.2"。端口:"TCP/45720"')]),
    "a verb that comes last": (BOUND, [(OK, 'IP "fd7d:76ee::2" portu "TCP/45720" dinleniyor')]),
    "a full stop behind": (BOUND, [(OK, "Listens on 10.2.0.2. The port is TCP/45720")]),
    # what is about something else
    "another kind of entry": (UNKNOWN, [(1, IN_ENGLISH_OF_4_2)]),
    "an entry far too long": (UNKNOWN, [(OK, f"{'a long story ' * 40} {BEHIND}")]),
    "no word for port before its number": (UNKNOWN, [(OK, "10.2.0.2, TCP/45720")]),
    "a colon behind": (UNKNOWN, [(OK, f"{BEHIND}: no peer")]),
    "a number behind": (UNKNOWN, [(OK, f"{BEHIND}, 3 peers")]),
    "a sentence behind": (UNKNOWN, [(OK, f"{BEHIND}{' and so on' * 4}")]),
    "another number before": (UNKNOWN, [(OK, f"Saved 3 files. {BEHIND}")]),
    "two ports in one entry": (UNKNOWN, [(OK, "10.2.0.2 TCP/45720 and 10.2.0.3 TCP/45720")]),
    "a torrent's name, the port first": (
        UNKNOWN,
        [(OK, "Performance alert: film TCP/45720.1.2.3.4: send buffer watermark too low")],
    ),
    "a torrent's name, the address first": (
        UNKNOWN,
        [(OK, "Performance alert: 1.2.3.4 TCP/45720: performance warning: too few peers")],
    ),
    "a torrent's name in a short entry": (
        UNKNOWN,
        [(OK, "Torrent: 1.2.3.4 TCP/45720. Error: no space")],
    ),
}


@pytest.mark.parametrize("case", PROVED)
def test_what_the_log_proves(case: str) -> None:
    result, entries = PROVED[case]
    assert log_of(*entries).result(45720) is result


def test_a_port_that_is_about_to_be_opened_again_has_to_be_proved_again() -> None:
    log = log_of(VPN, entry(OK, "10.2.0.2", "TCP/38201"))
    log.forget(45720)
    assert log.result(45720) is UNKNOWN
    assert log.result(38201) is BOUND


def test_it_says_of_each_new_socket_whether_it_was_opened() -> None:
    entries = [LogEntry(0, *VPN_FAILED), LogEntry(1, OK, "Torrent added"), LogEntry(2, *VPN)]
    assert BindLog().fold(entries) == [False, True]
    assert BindLog().fold(entries[1:2]) == []


def test_a_session_of_years_does_not_fill_the_memory() -> None:
    log = log_of(*(entry(OK, "10.2.0.2", f"TCP/{port}") for port in range(1024, 65536)))
    assert len(log.sockets) == 256
    assert log.result(65535) is BOUND


def test_a_message_of_any_length_takes_no_time() -> None:
    """An expression that backtracks would hold the whole process for minutes here."""
    log = log_of((OK, "TCP/45720 " + "a:." * 400_000), (BAD, "1.2.3.4 " * 100_000 + "TCP/45720"))
    assert log.result(45720) is UNKNOWN
