"""Sets the listening port, and proves that a socket is open on it."""

from __future__ import annotations

from exporter.clock import Clock
from exporter.errors import BindFailed, ServerError
from exporter.model import (
    HIGHEST_PORT,
    BindResult,
    ConnectionStatus,
    Operation,
    QbittorrentReading,
    Reason,
    SyncState,
)
from exporter.servers.operations import Operations
from exporter.servers.qbittorrent import Qbittorrent
from exporter.tunnel.decide import state_of
from exporter.tunnel.proof import BindProof
from exporter.tunnel.state import MOST_REBINDS, REBINDS_WITHIN


class PortWriter:
    """Writes the port of one qBittorrent."""

    def __init__(self, qbittorrent: Qbittorrent, clock: Clock) -> None:
        self._qbittorrent = qbittorrent
        self._proof = BindProof(qbittorrent, clock)

    def write(
        self, port: int, reading: QbittorrentReading, did: Operations, *, by_another_port: bool
    ) -> tuple[SyncState, QbittorrentReading]:
        """Set the port and prove it; returns the state, and the reading as it is afterwards.

        `by_another_port` moves the socket even where the port is set already. On an error the
        port may have been set or not.
        """
        reading = reading._replace(bind_result=BindResult.UNKNOWN)
        try:
            if by_another_port:
                neighbour = port + 1 if port < HIGHEST_PORT else port - 1
                self._qbittorrent.send_listening_port(did, neighbour)
            self._qbittorrent.set_listening_port(did, port)
            reading = reading._replace(listening_port=port, random_port=False)
            reading = self._with_proof(port, reading, did)
            if _is_refuted(reading):
                did.count_as_failed(Operation.QBITTORRENT_LOG, Reason.BIND_FAILED)
                raise bind_failed(self._qbittorrent.where, port, reading)
        except ServerError as error:
            in_log = isinstance(error, BindFailed)
            operation = Operation.QBITTORRENT_LOG if in_log else Operation.QBITTORRENT_SET_PORT
            failure = did.fail(operation, error)
            did.put_first(failure)
            return state_of(failure), reading
        return SyncState.IN_SYNC, reading

    def _with_proof(
        self, port: int, reading: QbittorrentReading, did: Operations
    ) -> QbittorrentReading:
        """Add whether qBittorrent's log shows that the port is bound."""
        result = self._proof.wait(did, port)
        if result is not BindResult.UNKNOWN:
            return reading._replace(bind_result=result)
        # nothing in the log, as where it is full of other things: the next best witness
        return reading._replace(connection_status=self._qbittorrent.connection_status(did))


def _is_refuted(reading: QbittorrentReading) -> bool:
    """Whether the log says so, or the connection status where the log says nothing."""
    if reading.bind_result is BindResult.UNKNOWN:
        return reading.connection_status is ConnectionStatus.DISCONNECTED
    return reading.bind_result is not BindResult.BOUND


def bind_failed(where: str, port: int, reading: QbittorrentReading) -> BindFailed:
    """Return the error for a port on which no peer gets in; `where` names the qBittorrent."""
    if reading.bind_result is BindResult.LOOPBACK:
        return BindFailed(
            f"{where} listens on port {port} of the loopback interface alone, where no peer "
            "gets in",
            "choose the VPN's network interface, or any, under Options, Advanced; Gluetun's "
            "down command may have set it to lo, and its up command has to set it back",
        )
    if reading.is_closed:
        return BindFailed(f"{where} can't listen on its port {port}")
    return BindFailed(
        f"{where} may sit on a dead socket on port {port}: the VPN reconnected, and the port "
        f"was reopened {MOST_REBINDS} times in {REBINDS_WITHIN / 60:.0f} minutes already",
        "see Gluetun's log for why the VPN reconnects so often",
    )
