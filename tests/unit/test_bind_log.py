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
LOOPBACK = entry(OK, "127.0.0.1")


@pytest.mark.parametrize(
    ("entries", "result"),
    [
        pytest.param([VPN], BOUND, id="a TCP socket on an address of the VPN is the proof"),
        pytest.param(
            [(OK, "Lausche erfolgreich auf folgender IP: „10.2.0.2“ Port: „TCP/45720“")],
            BOUND,
            id="the language of the log does not matter",
        ),
        pytest.param(
            [entry(OK, "10.2.0.2", "TCP/45721"), entry(OK, "10.2.0.2", "UTP/45720")],
            UNKNOWN,
            id="another port, or UDP alone, proves nothing",
        ),
        pytest.param(
            [(1, "Trying to listen on IP: 10.2.0.2, port: TCP/45720")],
            UNKNOWN,
            id="other kinds of entries are no proof",
        ),
        pytest.param(
            [(OK, f"{'a long story ' * 40} IP: 10.2.0.2, port: TCP/45720")],
            UNKNOWN,
            id="an entry far longer than those about sockets",
        ),
        pytest.param(
            [(OK, "10.2.0.2, TCP/45720")], UNKNOWN, id="no word for port before its number"
        ),
        pytest.param(
            [(OK, "IP: 10.2.0.2, port: TCP/45720: no peer")], UNKNOWN, id="a colon behind"
        ),
        pytest.param(
            [(OK, "IP: 10.2.0.2, port: TCP/45720, 3 peers")], UNKNOWN, id="a number behind"
        ),
        pytest.param(
            [(OK, f"IP: 10.2.0.2, port: TCP/45720{' and so on' * 4}")],
            UNKNOWN,
            id="a sentence behind",
        ),
        pytest.param(
            [(OK, "Listens on 10.2.0.2. The port is TCP/45720")], BOUND, id="a full stop behind"
        ),
        pytest.param([VPN, VPN_FAILED], FAILED, id="the last word on a socket counts: failed"),
        pytest.param([VPN_FAILED, VPN], BOUND, id="the last word on a socket counts: bound"),
        pytest.param([LOOPBACK], ON_LOOPBACK, id="no peer reaches loopback"),
        pytest.param([entry(OK, "::1")], ON_LOOPBACK, id="no peer reaches loopback, IPv6"),
        pytest.param([LOOPBACK, VPN], BOUND, id="loopback beside an address does no harm"),
        pytest.param(
            [(OK, "Successfully listening on IP: 10.2.0.2, port: TCP/45720")],
            BOUND,
            id="as 4.2 writes it",
        ),
        pytest.param(
            [(BAD, "Failed to listen on IP: 10.2.0.2, port: TCP/45720. Reason: in use")],
            FAILED,
            id="a failure as 4.2 writes it",
        ),
        pytest.param(
            [(OK, '成功监听 IP。IP:"10.2.0.2"。端口:"TCP/45720"')], BOUND, id="in Chinese"
        ),
        pytest.param(
            [(OK, 'IP "fd7d:76ee::2" portu "TCP/45720" dinleniyor')],
            BOUND,
            id="in a language whose verb comes last",
        ),
        pytest.param(
            [(OK, "Performance alert: film TCP/45720.1.2.3.4: send buffer watermark too low")],
            UNKNOWN,
            id="a torrent's name with a port before an address",
        ),
        pytest.param(
            [(OK, "Performance alert: 1.2.3.4 TCP/45720: performance warning: too few peers")],
            UNKNOWN,
            id="a torrent's name with an address before a port",
        ),
        pytest.param(
            [(OK, "Torrent: 1.2.3.4 TCP/45720. Error: no space")],
            UNKNOWN,
            id="a torrent's name in a short entry",
        ),
        pytest.param(
            [(OK, "10.2.0.2 TCP/45720 and 10.2.0.3 TCP/45720")],
            UNKNOWN,
            id="two ports in one entry",
        ),
        pytest.param(
            [(OK, 'Saved 3 files. IP: "10.2.0.2". Port: "TCP/45720"')],
            UNKNOWN,
            id="another number before",
        ),
        pytest.param([LOOPBACK, VPN_FAILED], FAILED, id="loopback does not outweigh a failure"),
        pytest.param([IPV6], BOUND, id="IPv6 where there is nothing else"),
        pytest.param([VPN_FAILED, IPV6], FAILED, id="a forwarded port is IPv4: IPv6 is not enough"),
        pytest.param([VPN, IPV6_FAILED], BOUND, id="IPv6 that fails does no harm"),
        pytest.param(
            [entry(BAD, "fe80::1")],
            UNKNOWN,
            id="a link-local address still being checked is no failure",
        ),
        pytest.param([entry(BAD, "10.2.0.2", "UTP/45720")], FAILED, id="a taken UTP port"),
        pytest.param(
            [entry(BAD, "10.2.0.2", "UTP/45720"), entry(OK, "fe80::1%tun0")],
            FAILED,
            id="a taken UTP port beside a link-local address, by which no peer comes",
        ),
        pytest.param(
            [entry(BAD, "10.2.0.2", "UTP/45720"), IPV6],
            FAILED,
            id="a taken UTP port of IPv4 beside an open one of IPv6",
        ),
        pytest.param([entry(OK, "fe80::1%tun0")], UNKNOWN, id="a link-local address alone"),
        pytest.param([entry(BAD, "10.2.0.2", "UDP/45720")], FAILED, id="a taken UDP port"),
    ],
)
def test_what_the_log_proves(entries: list[tuple[int, str]], result: BindResult) -> None:
    assert log_of(*entries).result(45720) is result


def test_a_port_that_is_about_to_be_opened_again_has_to_be_proved_again() -> None:
    log = log_of(VPN, entry(OK, "10.2.0.2", "TCP/38201"))
    log.forget(45720)
    assert log.result(45720) is UNKNOWN
    assert log.result(38201) is BOUND


def test_it_says_whether_a_socket_was_opened() -> None:
    entries = [LogEntry(0, *VPN_FAILED), LogEntry(1, OK, "Torrent added"), LogEntry(2, *VPN)]
    assert not BindLog().fold(entries[:2])
    assert BindLog().fold([entries[2], entries[0]])


def test_a_session_of_years_does_not_fill_the_memory() -> None:
    log = log_of(*(entry(OK, "10.2.0.2", f"TCP/{port}") for port in range(1024, 65536)))
    assert len(log.sockets) == 256
    assert log.result(65535) is BOUND


def test_a_message_of_any_length_takes_no_time() -> None:
    """An expression that backtracks would hold the whole process for minutes here."""
    log = log_of((OK, "TCP/45720 " + "a:." * 400_000), (BAD, "1.2.3.4 " * 100_000 + "TCP/45720"))
    assert log.result(45720) is UNKNOWN
