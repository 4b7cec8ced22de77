"""One cycle of one tunnel: observe, decide, act, verify, and all of it as one Outcome."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from exporter.clock import Clock
from exporter.config.load import TunnelConfig
from exporter.errors import BindFailed, ServerError
from exporter.model import (
    HIGHEST_PORT,
    NO_PORT,
    WAITING_STATES,
    BindResult,
    ConnectionStatus,
    Event,
    Failure,
    Operation,
    Outcome,
    RebindPolicy,
    Remembered,
    SyncState,
    VpnStatus,
)
from exporter.servers.gluetun import Gluetun
from exporter.servers.logins import Logins, remembered_logins
from exporter.servers.operations import Operations
from exporter.servers.qbittorrent import Qbittorrent
from exporter.servers.session import NoteLogin, Session
from exporter.tunnel import events
from exporter.tunnel.decide import (
    GluetunReading,
    Memory,
    Nothing,
    Observation,
    QbittorrentReading,
    Rebind,
    SetPort,
    Wait,
    decide,
    has_drifted,
    is_dead,
    next_look,
    notice,
    opened,
    settled,
    should_announce,
    state_of,
)
from exporter.tunnel.restart import VpnRestart

T = TypeVar("T")

BIND_PROOF_SECONDS = 3.0
"""How long qBittorrent's log may take to tell about a socket (measured: 2 to 3 ms)."""


@dataclass(slots=True)
class _Cycle:
    """What is found out while a cycle runs."""

    operations: Operations
    events: list[Event] = field(default_factory=list)
    forwarded_port: int = NO_PORT
    listening_port: int = NO_PORT
    bind_result: BindResult = BindResult.UNKNOWN
    vpn_status: VpnStatus = VpnStatus.UNKNOWN
    connection_status: ConnectionStatus = ConnectionStatus.UNKNOWN
    has_torrents: bool | None = None
    gluetun_up: bool = False
    qbittorrent_up: bool = False


class Tunnel:
    """The clients of one tunnel and what it remembers; `cycle()` runs in one thread at a time."""

    def __init__(
        self,
        config: TunnelConfig,
        clock: Clock,
        remembered: Remembered | None = None,
        logins: Logins | None = None,
        note_login: NoteLogin = lambda note: None,
    ) -> None:
        """`logins` are those at its qBittorrent, where other tunnels may try some too.

        `note_login` is told of each login before it is tried, in the thread of the cycle.
        """
        remembered = remembered or Remembered()
        server = config.qbittorrent.server.address
        self.config = config
        self._clock = clock
        self._gluetun = Gluetun(config.gluetun, config.request_timeout_seconds)
        self._qbittorrent = Qbittorrent(config.qbittorrent, config.request_timeout_seconds)
        self._session = Session(
            self._qbittorrent,
            config.qbittorrent,
            logins or remembered_logins(server, clock, remembered.login_note),
            note_login,
        )
        self._restart = VpnRestart(
            self._gluetun, clock, config.restart_vpn_after_seconds, remembered.vpn_note
        )
        self._memory = Memory()
        self._previous: Outcome | None = None
        self._now = _Cycle(Operations(clock))
        self._last_port = remembered.forwarded_port
        self._last_change = remembered.last_port_change_at
        self._last_success = remembered.last_success_at
        self._out_of_sync_at = self._monotonic_time(remembered.out_of_sync_since)
        self._failing_at = self._monotonic_time(remembered.failing_since)
        self._waiting_at = self._monotonic_time(remembered.waiting_since)

    def starting(self) -> Outcome:
        """The outcome before the first cycle has ended."""
        return self._outcome(SyncState.STARTING, 0.0)

    def cycle(self, *, pushed: bool = False) -> Outcome:
        """Run one cycle; every error of the two servers ends up in the outcome."""
        self._now = _Cycle(Operations(self._clock))
        observation = self._observe(pushed=pushed)
        now = self._clock.monotonic()
        self._note_port_change()
        self._memory = notice(observation, self._memory, now)
        state = self._act(observation, now)
        self._announce(state)
        self._learn_more()
        self._now.events += self._restart.step(observation.gluetun, self._now.operations)
        now = self._clock.monotonic()
        self._memory = settled(state, self._memory, now)
        self._note_sync(state, now)
        interval, policy = self.config.interval_seconds, self.config.rebind
        pause = next_look(state, self._memory, now, interval, policy)
        outcome = self._outcome(state, min(pause, self._restart.next_look_seconds))
        said = (*outcome.events, *events.changes(self._previous, outcome))
        self._previous = replace(outcome, events=said)
        return self._previous

    def close(self) -> None:
        """Close the connections."""
        self._gluetun.close()
        self._qbittorrent.close()

    # observe

    def _observe(self, *, pushed: bool) -> Observation:
        attempt = self._now.operations.attempt
        gluetun = attempt(Operation.GLUETUN_PORT, self._read_gluetun)
        qbittorrent = attempt(Operation.QBITTORRENT_PREFERENCES, self._read_qbittorrent)
        return Observation(gluetun, qbittorrent, pushed=pushed)

    def _read_gluetun(self) -> GluetunReading:
        timed = self._now.operations.timed
        port = timed(Operation.GLUETUN_PORT, self._gluetun.forwarded_port)
        self._now.forwarded_port, self._now.gluetun_up = port, True
        ask_status = functools.partial(self._gluetun.vpn_status, forwarded_port=port)
        self._now.vpn_status = self._read(
            Operation.GLUETUN_STATUS, ask_status, otherwise=VpnStatus.UNKNOWN
        )
        address = self._read(Operation.GLUETUN_PUBLIC_IP, self._gluetun.public_ip, otherwise="")
        return GluetunReading(port, self._now.vpn_status, address)

    def _read_qbittorrent(self) -> QbittorrentReading:
        listening = self._in_session(Operation.QBITTORRENT_PREFERENCES, self._qbittorrent.listening)
        self._now.qbittorrent_up = True
        self._now.listening_port = NO_PORT if listening.random_port else listening.port
        self._now.connection_status = self._read(
            Operation.QBITTORRENT_TRANSFER,
            self._qbittorrent.connection_status,
            otherwise=ConnectionStatus.UNKNOWN,
        )
        self._now.bind_result = self._read(
            Operation.QBITTORRENT_LOG,
            functools.partial(self._qbittorrent.bind_result, listening.port),
            otherwise=BindResult.UNKNOWN,
        )
        version = self._qbittorrent.version
        return QbittorrentReading(
            listening_port=listening.port,
            random_port=listening.random_port,
            connection_status=self._now.connection_status,
            bind_result=self._now.bind_result,
            reopens_sockets=version.reopens_sockets if version else None,
        )

    def _read(self, operation: Operation, call: Callable[[], T], *, otherwise: T) -> T:
        """Read what is good to know but not needed for the decision."""
        operations = self._now.operations
        result = operations.attempt(operation, lambda: operations.timed(operation, call))
        return otherwise if isinstance(result, Failure) else result

    def _in_session(self, operation: Operation, call: Callable[[], T]) -> T:
        return self._session.call(self._now.operations, operation, call)

    # act and verify

    def _act(self, observation: Observation, now: float) -> SyncState:
        decision = decide(observation, self._memory, now, self.config.rebind)
        reading = observation.qbittorrent
        try:
            match decision:
                case Nothing():
                    pass
                case Wait(state):
                    self._explain(state, observation)
                    return state
                case SetPort(port) if isinstance(reading, QbittorrentReading):
                    self._set_port(port, reading, now)
                case Rebind(port) if isinstance(reading, QbittorrentReading):
                    self._rebind(port, reading, now)
        except ServerError as error:
            # the port may have been set or not; the next cycle finds out
            bind_failed = isinstance(error, BindFailed)
            operation = Operation.QBITTORRENT_LOG if bind_failed else Operation.QBITTORRENT_SET_PORT
            return state_of(self._now.operations.fail(operation, error, first=True))
        return SyncState.IN_SYNC

    def _set_port(self, port: int, reading: QbittorrentReading, now: float) -> None:
        if has_drifted(reading, self._memory):
            kept = NO_PORT if reading.random_port else reading.listening_port
            self._now.events.append(events.drift(kept, port, random_port=reading.random_port))
        if not self._tried_before(port):
            self._now.events.append(events.update_needed(reading.listening_port, port))
        self._memory = opened(self._memory, now, rebind=False)
        self._memory = replace(self._memory, announce=self.config.reannounce_after_change)
        if reading.listening_port == port:
            # up to 4.3, switching the random port off leaves the socket where it is
            self._send_neighbour(port)
        self._send_port(port)
        self._prove(port)
        self._now.events.append(events.updated(port))
        self._last_change = self._last_change or self._clock.wall()

    def _tried_before(self, port: int) -> bool:
        """Whether the last cycle tried the same in vain: that was said already."""
        last = self._previous
        if last is None or last.in_sync:
            return False
        tried = any(done.operation is Operation.QBITTORRENT_SET_PORT for done in last.operations)
        same = (last.listening_port, last.forwarded_port) == (self._now.listening_port, port)
        return tried and same

    def _rebind(self, port: int, reading: QbittorrentReading, now: float) -> None:
        dead = is_dead(reading, self._memory, now)
        self._now.events.append(events.rebinding(port, dead=dead))
        self._memory = opened(self._memory, now, rebind=True)
        self._send_neighbour(port)
        self._send_port(port)
        self._prove(port)

    def _send_neighbour(self, port: int) -> None:
        neighbour = port + 1 if port < HIGHEST_PORT else port - 1
        self._now.bind_result = BindResult.UNKNOWN
        self._in_session(
            Operation.QBITTORRENT_SET_PORT,
            functools.partial(self._qbittorrent.send_listening_port, neighbour),
        )

    def _send_port(self, port: int) -> None:
        self._now.bind_result = BindResult.UNKNOWN

        def send() -> None:
            self._qbittorrent.send_listening_port(port)
            self._qbittorrent.confirm_listening_port(port)

        self._in_session(Operation.QBITTORRENT_SET_PORT, send)
        self._now.listening_port = port

    def _prove(self, port: int) -> None:
        """Wait until qBittorrent's log tells whether the port is bound; BindFailed if it is not."""
        self._now.bind_result = self._in_session(
            Operation.QBITTORRENT_LOG, functools.partial(self._wait_for_proof, port)
        )
        if self._now.bind_result is BindResult.BOUND:
            return
        # nothing in the log, as where it is full of other things: the next best witness
        self._now.connection_status = self._in_session(
            Operation.QBITTORRENT_TRANSFER, self._qbittorrent.connection_status
        )
        if self._now.connection_status is ConnectionStatus.DISCONNECTED:
            raise self._bind_failed(port)

    def _wait_for_proof(self, port: int) -> BindResult:
        deadline = self._clock.monotonic() + BIND_PROOF_SECONDS
        pause = 0.002
        result = self._qbittorrent.bind_result(port)
        while result is BindResult.UNKNOWN and self._clock.monotonic() < deadline:
            self._clock.sleep(pause)
            pause = min(2 * pause, 0.05)
            result = self._qbittorrent.bind_result(port)
        if result is BindResult.FAILED:
            raise self._bind_failed(port)
        return result

    def _bind_failed(self, port: int) -> BindFailed:
        return BindFailed(f"{self._qbittorrent.where} can't listen on its port {port}")

    def _announce(self, state: SyncState) -> None:
        """Have the trackers told once a new port is open: by itself that takes half an hour."""
        now = self._clock.monotonic()
        if state is not SyncState.IN_SYNC or not should_announce(self._memory, now):
            return
        self._memory = replace(self._memory, announced_at=now)
        call = functools.partial(
            self._in_session, Operation.QBITTORRENT_TRANSFER, self._qbittorrent.reannounce
        )
        failed = self._now.operations.attempt(Operation.QBITTORRENT_TRANSFER, call)
        if failed is None:
            self._memory = replace(self._memory, announce=False)
            self._now.events.append(events.announced(self._now.listening_port))

    def _explain(self, state: SyncState, observation: Observation) -> None:
        """Put first why the state is what it is, where no exchange failed too."""
        for reading in (observation.gluetun, observation.qbittorrent):
            if isinstance(reading, Failure) and state_of(reading) is state:
                self._now.operations.put_first(reading)
        if state is SyncState.NOT_LISTENING:
            error = self._bind_failed(self._now.listening_port)
            self._now.operations.fail(Operation.QBITTORRENT_LOG, error, first=True)

    def _learn_more(self) -> None:
        """Ask what only the readers want to know, after what matters is done."""
        if not self._qbittorrent.ready:
            return
        if self._qbittorrent.version is None:
            self._read(
                Operation.QBITTORRENT_PREFERENCES, self._qbittorrent.learn_version, otherwise=None
            )
        if self._now.connection_status is ConnectionStatus.FIREWALLED:
            self._now.has_torrents = self._read(
                Operation.QBITTORRENT_TRANSFER, self._qbittorrent.has_torrents, otherwise=None
            )

    # remember and tell

    def _note_port_change(self) -> None:
        after = self._now.forwarded_port
        if after == NO_PORT:
            return
        before = self._memory.forwarded_port
        if before not in (NO_PORT, after):
            self._now.events.append(events.port_change(before, after))
        if self._last_port not in (NO_PORT, after):
            self._last_change = self._clock.wall()
        self._last_port = after

    def _note_sync(self, state: SyncState, now: float) -> None:
        if state is SyncState.IN_SYNC:
            self._last_success = self._clock.wall()
            self._out_of_sync_at = self._failing_at = self._waiting_at = math.inf
            return
        self._out_of_sync_at = min(self._out_of_sync_at, now)
        waiting = state in WAITING_STATES
        self._failing_at = math.inf if waiting else min(self._failing_at, now)
        self._waiting_at = min(self._waiting_at, now) if waiting else math.inf

    def _outcome(self, state: SyncState, pause: float) -> Outcome:
        cycle, version, note = self._now, self._qbittorrent.version, self._session.note()
        waits = not self._qbittorrent.ready
        return Outcome(
            tunnel=self.config.name,
            state=state,
            finished_at=self._clock.wall(),
            interval_seconds=self.config.interval_seconds,
            next_look_seconds=pause,
            forwarded_port=cycle.forwarded_port,
            last_forwarded_port=self._last_port,
            listening_port=cycle.listening_port,
            port_bound=_is_proved(cycle, state),
            rebinds=self.config.rebind is not RebindPolicy.NEVER,
            gluetun_up=cycle.gluetun_up,
            qbittorrent_up=cycle.qbittorrent_up,
            vpn_status=cycle.vpn_status,
            connection_status=cycle.connection_status,
            has_torrents=cycle.has_torrents,
            gluetun_auth=self._gluetun.auth,
            qbittorrent_auth=self._qbittorrent.auth,
            qbittorrent_version=version.app if version else "",
            webapi_version=version.webapi if version else "",
            login_suspended_until=note.suspended_until if waits and note else 0.0,
            last_success_at=self._last_success,
            last_port_change_at=self._last_change,
            out_of_sync_since=self._wall_time(self._out_of_sync_at),
            failing_since=self._wall_time(self._failing_at),
            waiting_since=self._wall_time(self._waiting_at),
            failures=tuple(cycle.operations.failures),
            events=tuple(cycle.events),
            operations=tuple(cycle.operations.results),
            login_note=note,
            vpn_note=self._restart.note(),
        )

    def _monotonic_time(self, wall: float) -> float:
        """A past Unix time as one of the forward-moving clock; 0 becomes never."""
        if not wall:
            return math.inf
        return self._clock.monotonic() - max(0.0, self._clock.wall() - wall)

    def _wall_time(self, monotonic: float) -> float:
        """A time of the forward-moving clock as Unix time; never becomes 0."""
        if math.isinf(monotonic):
            return 0.0
        return self._clock.wall() + monotonic - self._clock.monotonic()


def _is_proved(cycle: _Cycle, state: SyncState) -> bool:
    """Whether the log shows an open socket, and nothing newer speaks against it.

    A socket that dies with its interface leaves no entry, but `disconnected`; right after a
    change that may be a stale reading.
    """
    closed = cycle.connection_status is ConnectionStatus.DISCONNECTED
    return cycle.bind_result is BindResult.BOUND and (state is SyncState.IN_SYNC or not closed)
