"""Reads both servers for one check, and asks no more than the check needs."""

from __future__ import annotations

import math

from exporter.clock import Clock
from exporter.errors import ServerError
from exporter.model import (
    NO_PORT,
    BindResult,
    ConnectionStatus,
    Failure,
    GluetunReading,
    Operation,
    Outcome,
    QbittorrentReading,
    SyncState,
    VpnStatus,
)
from exporter.servers.gluetun import Gluetun
from exporter.servers.operations import Operations
from exporter.servers.qbittorrent import Qbittorrent
from exporter.tunnel.proof import BindProof

ASK_ALL_EVERY = 300.0
"""How long a calm check leaves out what can only confirm what is known."""
STATUS_LAG_SECONDS = 2.0
"""For how long `disconnected` may be stale: 1.5 s from qBittorrent 4.6 on, and some margin."""
SETTLING_PAUSE = 0.2
"""Pause between two readings of a connection status that may be stale."""


class Observer:
    """Reads one Gluetun and one qBittorrent; `last` is always the outcome of the last check."""

    def __init__(self, gluetun: Gluetun, qbittorrent: Qbittorrent, clock: Clock) -> None:
        self._gluetun = gluetun
        self._qbittorrent = qbittorrent
        self._proof = BindProof(qbittorrent, clock)
        self._clock = clock
        self._asked_all_at = -math.inf

    def forwarded_port(self, did: Operations) -> int | Failure:
        """Ask Gluetun for the port alone."""
        try:
            return self._gluetun.forwarded_port(did)
        except ServerError as error:
            return did.fail(Operation.GLUETUN_PORT, error)

    def is_calm(self, port: int | Failure, last: Outcome | None) -> bool:
        """Whether the last check found all well, and the port is still the same."""
        if last is None or not last.in_sync or last.failures:
            return False
        asked_ago = self._clock.monotonic() - self._asked_all_at
        return port == last.forwarded_port and asked_ago < ASK_ALL_EVERY

    def gluetun(
        self, port: int | Failure, last: Outcome | None, did: Operations, *, calm: bool
    ) -> GluetunReading | Failure:
        """Add to the port what else Gluetun knows; in calm that is what it said before."""
        if isinstance(port, Failure):
            return port
        if calm and last and last.gluetun:
            return last.gluetun
        self._asked_all_at = self._clock.monotonic()
        status, public_ip = VpnStatus.UNKNOWN, None
        with did.may_fail(Operation.GLUETUN_STATUS):
            status = self._gluetun.vpn_status(did, forwarded_port=port)
        with did.may_fail(Operation.GLUETUN_PUBLIC_IP):
            public_ip = self._gluetun.public_ip(did)
        return GluetunReading(port, status, public_ip)

    def qbittorrent(
        self, gluetun: GluetunReading | Failure, last: Outcome | None, did: Operations
    ) -> QbittorrentReading | Failure:
        """Read what shows whether qBittorrent listens on its port."""
        try:
            listening = self._qbittorrent.listening(did)
        except ServerError as error:
            return did.fail(Operation.QBITTORRENT_PREFERENCES, error)
        status, bound = ConnectionStatus.UNKNOWN, BindResult.UNKNOWN
        with did.may_fail(Operation.QBITTORRENT_TRANSFER):
            status = self._qbittorrent.connection_status(did)
        forwarded = NO_PORT if isinstance(gluetun, Failure) else gluetun.forwarded_port
        is_set = forwarded == listening.port and not listening.random_port
        # after the status, so that it shows whether a socket was opened shortly before that
        log_is_known = False
        with did.may_fail(Operation.QBITTORRENT_LOG):
            # nobody waits for what is said of a port that is not the one
            read = self._proof.read if is_set else self._qbittorrent.bind_result
            bound = read(did, listening.port)
            log_is_known = True
        if listening.on_loopback_alone:
            bound = BindResult.LOOPBACK
        if is_set and status is ConnectionStatus.DISCONNECTED:
            status = self._settled_status(self._stale_until(last, log_is_known=log_is_known), did)
        if is_set:
            self._learn_version(did)
        return self._with_version(
            QbittorrentReading(
                listening_port=listening.port,
                random_port=listening.random_port,
                connection_status=status,
                bind_result=bound,
                on_one_interface=listening.on_one_interface,
                upnp=listening.upnp,
                auth=self._qbittorrent.session.auth,
            )
        )

    def with_details(
        self, reading: QbittorrentReading, last: Outcome | None, did: Operations, *, calm: bool
    ) -> QbittorrentReading:
        """Add what only the readers want to know, after what matters is done."""
        if not self._qbittorrent.session.open:
            return reading
        if not reading.version:
            self._learn_version(did)
            reading = self._with_version(reading)
        if reading.connection_status is ConnectionStatus.FIREWALLED:
            before = last.qbittorrent if last else None
            torrents = before.has_torrents if calm and before else None
            if torrents is None:
                with did.may_fail(Operation.QBITTORRENT_TRANSFER):
                    torrents = self._qbittorrent.has_torrents(did)
            reading = reading._replace(has_torrents=torrents)
        return reading

    def _stale_until(self, last: Outcome | None, *, log_is_known: bool) -> float:
        """Return until when `disconnected` may be stale: for a while after a socket was opened."""
        was_away = not (last and last.gluetun and last.gluetun.has_port)
        # the log may be late by some milliseconds, and a VPN that is back opens sockets
        if was_away or not (log_is_known or _was_disconnected(last)):
            return self._clock.monotonic() + STATUS_LAG_SECONDS
        return self._qbittorrent.opened_at + STATUS_LAG_SECONDS

    def _settled_status(self, stale_until: float, did: Operations) -> ConnectionStatus:
        """Read it again while it is `disconnected`, for as long as that may be stale."""
        status = ConnectionStatus.DISCONNECTED
        with did.may_fail(Operation.QBITTORRENT_TRANSFER):
            while status is ConnectionStatus.DISCONNECTED and self._clock.monotonic() < stale_until:
                self._clock.sleep(SETTLING_PAUSE)
                status = self._qbittorrent.connection_status(did)
        return status

    def _with_version(self, reading: QbittorrentReading) -> QbittorrentReading:
        version = self._qbittorrent.version
        if version is None:
            return reading
        return reading._replace(
            version=version.app,
            webapi_version=version.webapi,
            reopens_sockets=reading.on_one_interface and version.reopens_sockets,
        )

    def _learn_version(self, did: Operations) -> None:
        if self._qbittorrent.version is None:
            with did.may_fail(Operation.QBITTORRENT_PREFERENCES):
                self._qbittorrent.learn_version(did)


def _was_disconnected(last: Outcome | None) -> bool:
    """Whether the last check believed it already."""
    return (
        last is not None
        and last.state is SyncState.NOT_LISTENING
        and last.connection_status is ConnectionStatus.DISCONNECTED
    )
