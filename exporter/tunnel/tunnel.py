"""One check of one tunnel: observe, decide, act, verify, and all of it as one Outcome."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from exporter.clock import Clock
from exporter.config.load import TunnelConfig
from exporter.errors import BindFailed, ServerError
from exporter.model import (
    HIGHEST_PORT,
    NO_PORT,
    BindResult,
    ConnectionStatus,
    Event,
    Failure,
    GluetunReading,
    Operation,
    Outcome,
    QbittorrentReading,
    Reason,
    Saved,
    SavedLogins,
    SavedVpnRestart,
    SyncState,
    VpnStatus,
)
from exporter.servers.gluetun import Gluetun
from exporter.servers.logins import LoginRegistry, Logins
from exporter.servers.operations import Operations
from exporter.servers.qbittorrent import Qbittorrent
from exporter.tunnel import events, history
from exporter.tunnel.decide import (
    Nothing,
    Observation,
    Rebind,
    SetPort,
    TunnelState,
    Wait,
    after_check,
    after_reading,
    after_write,
    decide,
    has_drifted,
    is_dead,
    next_check,
    should_announce,
    state_of,
)
from exporter.tunnel.restart import VpnRestart

Save = Callable[[str, Saved], None]
"""Writes what must not be forgotten of a tunnel to the disk, at once."""

BIND_PROOF_SECONDS = 3.0
"""How long qBittorrent's log may take to show a socket (measured: 2 to 3 ms)."""
ASK_ALL_EVERY = 300.0
"""How long a calm check leaves out what can only confirm what is known."""


class Tunnel:
    """The clients of one tunnel and its state; `check()` runs in one thread at a time."""

    def __init__(
        self,
        config: TunnelConfig,
        clock: Clock,
        saved: Saved | None = None,
        logins: Logins | None = None,
        save: Save = lambda tunnel, saved: None,
    ) -> None:
        """`logins` are those at its qBittorrent, where other tunnels may try some too.

        `save` is called before a login is tried and before the VPN is stopped, in the thread of
        the check.
        """
        self.config = config
        self._clock = clock
        self._saved = saved or Saved()
        self._save = save
        if logins is None:
            registry = LoginRegistry(clock, [self._saved.logins], try_at_once=True)
            logins = registry.for_server(config.qbittorrent.server.address)
        self._logins = logins
        timeout = config.request_timeout_seconds
        self._gluetun = Gluetun(config.gluetun, timeout)
        self._qbittorrent = Qbittorrent(config.qbittorrent, timeout, logins, self._save_logins)
        self._restart = VpnRestart(
            self._gluetun,
            clock,
            config.restart_vpn_after_seconds,
            self._saved.vpn_restart,
            self._save_vpn_restart,
        )
        self._state = TunnelState()
        self._previous: Outcome | None = None
        self._asked_all_at = -math.inf

    def starting(self) -> Outcome:
        """Return the outcome before the first check has ended."""
        return Outcome(self.config.name, SyncState.STARTING, None, saved=self._all_saved())

    def check(self, *, pushed: bool = False) -> Outcome:
        """Run one check; every error of the two servers ends up in the outcome."""
        did, said = Operations(self._clock), list[Event]()
        port = self._read_port(did)
        calm = not pushed and self._is_calm(port)
        gluetun = self._read_gluetun(port, did, calm=calm)
        observation = Observation(gluetun, self._read_qbittorrent(did), pushed=pushed)
        now = self._clock.monotonic()
        said += self._note_port(gluetun, now)
        self._state = after_reading(observation, self._state, now)
        state, qbittorrent = self._act(observation, now, did, said)
        self._announce(state, did, said)
        qbittorrent = self._learn_more(qbittorrent, did, calm=calm)
        said += self._restart.step(gluetun, did)
        now = self._clock.monotonic()
        self._state = after_check(state, self._state, now)
        self._saved = history.after_check(self._saved, state, now)
        outcome = Outcome(
            tunnel=self.config.name,
            state=state,
            finished_at=now,
            next_check_seconds=self._pause(state, now),
            gluetun=None if isinstance(gluetun, Failure) else gluetun,
            qbittorrent=qbittorrent,
            saved=self._all_saved(),
            failures=tuple(did.failures),
            events=tuple(said),
            operations=tuple(did.results),
        )
        said += events.changes(self._previous, outcome)
        self._previous = replace(outcome, events=tuple(said))
        return self._previous

    def close(self) -> None:
        """Close the connections."""
        self._gluetun.close()
        self._qbittorrent.close()

    # observe

    def _read_port(self, did: Operations) -> int | Failure:
        try:
            return self._gluetun.forwarded_port(did)
        except ServerError as error:
            return did.fail(Operation.GLUETUN_PORT, error)

    def _is_calm(self, port: int | Failure) -> bool:
        """Whether the last check found all well, and the port is still the same."""
        last, now = self._previous, self._clock.monotonic()
        if last is None or not last.in_sync or last.failures:
            return False
        return port == last.forwarded_port and now - self._asked_all_at < ASK_ALL_EVERY

    def _read_gluetun(
        self, port: int | Failure, did: Operations, *, calm: bool
    ) -> GluetunReading | Failure:
        if isinstance(port, Failure):
            return port
        if calm and self._previous and self._previous.gluetun:
            return self._previous.gluetun
        self._asked_all_at = self._clock.monotonic()
        status, public_ip = VpnStatus.UNKNOWN, ""
        with did.may_fail(Operation.GLUETUN_STATUS):
            status = self._gluetun.vpn_status(did, forwarded_port=port)
        with did.may_fail(Operation.GLUETUN_PUBLIC_IP):
            public_ip = self._gluetun.public_ip(did)
        return GluetunReading(port, status, public_ip)

    def _read_qbittorrent(self, did: Operations) -> QbittorrentReading | Failure:
        try:
            listening = self._qbittorrent.listening(did)
        except ServerError as error:
            return did.fail(Operation.QBITTORRENT_PREFERENCES, error)
        status, bound = ConnectionStatus.UNKNOWN, BindResult.UNKNOWN
        with did.may_fail(Operation.QBITTORRENT_TRANSFER):
            status = self._qbittorrent.connection_status(did)
        with did.may_fail(Operation.QBITTORRENT_LOG):
            bound = self._qbittorrent.bind_result(did, listening.port)
        version = self._qbittorrent.version
        return QbittorrentReading(
            listening_port=listening.port,
            random_port=listening.random_port,
            connection_status=status,
            bind_result=bound,
            reopens_sockets=version.reopens_sockets if version else None,
            auth=self._qbittorrent.session.auth,
        )

    # act and verify

    def _act(
        self, observation: Observation, now: float, did: Operations, said: list[Event]
    ) -> tuple[SyncState, QbittorrentReading | None]:
        """Do what is decided; returns the state, and qBittorrent's reading as it is afterwards."""
        decision = decide(observation, self._state, now, self.config.rebind)
        reading = observation.qbittorrent
        if isinstance(reading, Failure):
            state = decision.state if isinstance(decision, Wait) else state_of(reading)
            self._explain(state, observation, did)
            return state, None
        match decision:
            case Nothing():
                return SyncState.IN_SYNC, reading
            case Wait(state):
                self._explain(state, observation, did)
                return state, reading
            case SetPort(port):
                return self._set_port(port, reading, now, did, said)
            case Rebind(port):
                return self._rebind(port, reading, now, did, said)

    def _set_port(
        self, port: int, reading: QbittorrentReading, now: float, did: Operations, said: list[Event]
    ) -> tuple[SyncState, QbittorrentReading]:
        if has_drifted(reading, self._state):
            kept = NO_PORT if reading.random_port else reading.listening_port
            said.append(events.drift(kept, port, random_port=reading.random_port))
        if not self._tried_before(port, reading):
            said.append(events.update_needed(reading.listening_port, port))
        self._state = after_write(self._state, now, rebind=False)
        self._state = replace(self._state, announce=self.config.reannounce_after_change)
        # up to 4.3, switching the random port off leaves the socket where it is
        detour = reading.listening_port == port
        state, reading = self._write(port, reading, did, by_another_port=detour)
        if state is SyncState.IN_SYNC:
            said.append(events.updated(port))
            self._saved = history.after_port_was_set(self._saved, now)
        return state, reading

    def _tried_before(self, port: int, reading: QbittorrentReading) -> bool:
        """Whether the last check tried the same in vain: that was said already."""
        last = self._previous
        if last is None or last.in_sync or last.qbittorrent is None:
            return False
        tried = any(done.operation is Operation.QBITTORRENT_SET_PORT for done in last.operations)
        before = (last.qbittorrent.listening_port, last.qbittorrent.random_port)
        same = before == (reading.listening_port, reading.random_port)
        return tried and same and last.forwarded_port == port

    def _rebind(
        self, port: int, reading: QbittorrentReading, now: float, did: Operations, said: list[Event]
    ) -> tuple[SyncState, QbittorrentReading]:
        said.append(events.rebinding(port, dead=is_dead(reading, self._state, now)))
        self._state = after_write(self._state, now, rebind=True)
        return self._write(port, reading, did, by_another_port=True)

    def _write(
        self, port: int, reading: QbittorrentReading, did: Operations, *, by_another_port: bool
    ) -> tuple[SyncState, QbittorrentReading]:
        """Set the port and prove it; on an error it may have been set or not."""
        reading = replace(reading, bind_result=BindResult.UNKNOWN)
        try:
            if by_another_port:
                neighbour = port + 1 if port < HIGHEST_PORT else port - 1
                self._qbittorrent.send_listening_port(did, neighbour)
            self._qbittorrent.set_listening_port(did, port)
            reading = replace(reading, listening_port=port, random_port=False)
            reading = self._with_proof(port, reading, did)
            if reading.is_closed:
                did.count_as_failed(Operation.QBITTORRENT_LOG, Reason.BIND_FAILED)
                raise self._bind_failed(port)
        except ServerError as error:
            bind_failed = isinstance(error, BindFailed)
            operation = Operation.QBITTORRENT_LOG if bind_failed else Operation.QBITTORRENT_SET_PORT
            failure = did.fail(operation, error)
            did.put_first(failure)
            return state_of(failure), reading
        return SyncState.IN_SYNC, reading

    def _with_proof(
        self, port: int, reading: QbittorrentReading, did: Operations
    ) -> QbittorrentReading:
        """Wait until qBittorrent's log shows whether the port is bound."""
        result = self._qbittorrent.bind_result(did, port)
        deadline = self._clock.monotonic() + BIND_PROOF_SECONDS
        pause = 0.002
        while result is BindResult.UNKNOWN and self._clock.monotonic() < deadline:
            self._clock.sleep(pause)
            pause = min(2 * pause, 0.05)
            result = self._qbittorrent.bind_result(did, port)
        if result is not BindResult.UNKNOWN:
            return replace(reading, bind_result=result)
        # nothing in the log, as where it is full of other things: the next best witness
        return replace(reading, connection_status=self._qbittorrent.connection_status(did))

    def _bind_failed(self, port: int) -> BindFailed:
        return BindFailed(f"{self._qbittorrent.where} can't listen on its port {port}")

    def _announce(self, state: SyncState, did: Operations, said: list[Event]) -> None:
        """Announce a new port once it is open: by itself that takes half an hour."""
        now = self._clock.monotonic()
        if state is not SyncState.IN_SYNC or not should_announce(self._state, now):
            return
        self._state = replace(self._state, announced_at=now)
        with did.may_fail(Operation.QBITTORRENT_TRANSFER):
            self._qbittorrent.reannounce(did)
            self._state = replace(self._state, announce=False)
            said.append(events.announced(self._state.forwarded_port))

    def _explain(self, state: SyncState, observation: Observation, did: Operations) -> None:
        """Put first why the state is what it is, where no exchange failed too."""
        for reading in (observation.gluetun, observation.qbittorrent):
            if isinstance(reading, Failure) and state_of(reading) is state:
                did.put_first(reading)
        if state is SyncState.NOT_LISTENING and not isinstance(observation.qbittorrent, Failure):
            error = self._bind_failed(observation.qbittorrent.listening_port)
            did.put_first(did.fail(Operation.QBITTORRENT_LOG, error))

    def _learn_more(
        self, reading: QbittorrentReading | None, did: Operations, *, calm: bool
    ) -> QbittorrentReading | None:
        """Ask what only the readers want to know, after what matters is done."""
        if reading is None or not self._qbittorrent.session.open:
            return reading
        if self._qbittorrent.version is None:
            with did.may_fail(Operation.QBITTORRENT_PREFERENCES):
                self._qbittorrent.learn_version(did)
        if version := self._qbittorrent.version:
            reading = replace(reading, version=version.app, webapi_version=version.webapi)
        if reading.connection_status is ConnectionStatus.FIREWALLED:
            last = self._previous.qbittorrent if self._previous else None
            torrents = last.has_torrents if calm and last else None
            if torrents is None:
                with did.may_fail(Operation.QBITTORRENT_TRANSFER):
                    torrents = self._qbittorrent.has_torrents(did)
            reading = replace(reading, has_torrents=torrents)
        return reading

    # state and saved

    def _note_port(self, reading: GluetunReading | Failure, now: float) -> list[Event]:
        if isinstance(reading, Failure) or reading.forwarded_port == NO_PORT:
            return []
        before, after = self._state.forwarded_port, reading.forwarded_port
        self._saved = history.after_port(self._saved, after, now)
        return [] if before in (NO_PORT, after) else [events.port_change(before, after)]

    def _pause(self, state: SyncState, now: float) -> float:
        interval, policy = self.config.interval_seconds, self.config.rebind
        pause = next_check(state, self._state, now, interval, policy)
        return min(pause, self._restart.next_check_seconds)

    def _all_saved(self) -> Saved:
        return replace(self._saved, logins=self._logins.saved(), vpn_restart=self._restart.saved())

    def _save_logins(self, logins: SavedLogins) -> None:
        self._save(self.config.name, replace(self._all_saved(), logins=logins))

    def _save_vpn_restart(self, restart: SavedVpnRestart) -> None:
        self._save(self.config.name, replace(self._all_saved(), vpn_restart=restart))
