"""One check of one tunnel: observe, decide, act, verify, and all of it as one Outcome."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable

from exporter.clock import Clock
from exporter.config.load import TunnelConfig
from exporter.errors import unexpected
from exporter.model import (
    NO_PORT,
    Answer,
    Event,
    Failure,
    GluetunReading,
    Operation,
    Outcome,
    Outside,
    QbittorrentReading,
    Saved,
    SavedLogins,
    SavedVpnRestart,
    SyncState,
)
from exporter.servers.gluetun import Gluetun
from exporter.servers.logins import Logins
from exporter.servers.operations import Operations
from exporter.servers.qbittorrent import Qbittorrent
from exporter.tunnel import events, history, outside
from exporter.tunnel.decide import Nothing, Rebind, SetPort, Wait, decide, next_check, state_of
from exporter.tunnel.observe import Observer
from exporter.tunnel.restart import VpnRestart
from exporter.tunnel.state import (
    Observation,
    RebindCause,
    TunnelState,
    after_check,
    after_reading,
    after_write,
    has_drifted,
    opened_after,
    should_announce,
)
from exporter.tunnel.watch import Watch
from exporter.tunnel.write import PortWriter, bind_failed

Save = Callable[[str, Saved], None]
"""Writes what must not be forgotten of a tunnel to the disk, at once."""


class Tunnel:
    """The clients of one tunnel and its state; `check()` runs in one thread at a time."""

    def __init__(
        self, config: TunnelConfig, clock: Clock, saved: Saved | None, logins: Logins, save: Save
    ) -> None:
        """`logins` are those at its qBittorrent, where other tunnels may try some too.

        `save` is called before a login is tried and before the VPN is stopped, in the thread of
        the check.
        """
        self.config = config
        self._clock = clock
        self._saved = saved or Saved()
        self._save = save
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
        self._state = TunnelState(policy=config.rebind, push_seen=self._saved.push_seen)
        self._previous: Outcome | None = None
        self._observer = Observer(self._gluetun, self._qbittorrent, clock)
        self._writer = PortWriter(self._qbittorrent, clock)
        self._watch = Watch(clock)
        self._heard: queue.SimpleQueue[Answer] = queue.SimpleQueue()

    def hear(self, answer: Answer) -> None:
        """Take an answer from outside into the next check; from any thread."""
        self._heard.put(answer)

    def check(self, *, pushed: bool = False) -> Outcome:
        """Run one check; every error, expected or not, ends up in the outcome."""
        did, said = Operations(self._clock), list[Event]()
        try:
            outcome = self._check(did, said, pushed=pushed)
        except Exception as error:  # noqa: BLE001  # no reader may stay at the last good state
            did.put_first(did.fail(Operation.QBITTORRENT_PREFERENCES, unexpected(error)))
            outcome = self._outcome(SyncState.QBITTORRENT_UNREACHABLE, None, None, did)
        if said:
            outcome = outcome._replace(events=tuple(said))
        if changes := events.changes(self._previous, outcome):
            outcome = outcome._replace(events=(*outcome.events, *changes))
        self._previous = outcome
        return outcome

    def inherit(self, other: Tunnel) -> None:
        """Go on where a tunnel of the same name ended, as far as its servers are the same."""
        if other.config.gluetun.server != self.config.gluetun.server:
            return
        saved = other._all_saved()
        self._restart.restore(saved.vpn_restart)
        if other.config.qbittorrent.server == self.config.qbittorrent.server:
            same = other.config.reachability == self.config.reachability
            seen = other._state.outside if same else Outside()
            self._state = other._state._replace(policy=self.config.rebind, outside=seen)
            self._saved, self._previous = saved, other._previous

    def close(self) -> None:
        """Close the connections."""
        self._gluetun.close()
        self._qbittorrent.close()

    def _check(self, did: Operations, said: list[Event], *, pushed: bool) -> Outcome:
        observe, last = self._observer, self._previous
        port = observe.forwarded_port(did)
        unwatched = self._watch.is_overdue(port)
        answer = self._answer(did, said)
        if last and not (pushed or unwatched or answer) and self._watch.suffices(port, last):
            return self._watch.outcome(last, did)
        calm = not pushed and observe.is_calm(port, last)
        gluetun = observe.gluetun(port, last, did, calm=calm)
        qbittorrent = observe.qbittorrent(gluetun, last, did)
        observation = Observation(
            gluetun, qbittorrent, pushed=pushed, unwatched=unwatched, answer=answer
        )
        now = self._clock.monotonic()
        said += self._note_port(gluetun, now)
        self._state = after_reading(observation, self._state, now)
        state, after = self._act(observation, now, did, said)
        state = self._seen_from_outside(state, did)
        self._announce(state, did, said)
        if after:
            after = self._without_upnp(after, did, said)
            after = observe.with_details(after, last, did, calm=calm)
            said += self._watch.note(after, self._state)
        said += self._restart.step(gluetun, did, reachable=self._is_reachable(state))
        reading = None if isinstance(gluetun, Failure) else gluetun
        return self._outcome(state, reading, after, did)

    def _outcome(
        self,
        state: SyncState,
        gluetun: GluetunReading | None,
        qbittorrent: QbittorrentReading | None,
        did: Operations,
    ) -> Outcome:
        now = self._clock.monotonic()
        opened = opened_after(state, self._state, now)
        self._state = after_check(state, self._state, now)
        self._saved = history.after_check(self._saved, state, now)
        return Outcome(
            tunnel=self.config.name,
            state=state,
            finished_at=now,
            next_check_seconds=self._pause(state, gluetun, qbittorrent, now),
            gluetun=gluetun,
            qbittorrent=qbittorrent,
            outside=self._state.outside if self.config.reachability else None,
            saved=self._all_saved(),
            failures=tuple(did.failures),
            operations=tuple(did.results),
            opened_after_seconds=opened,
        )

    # act and verify

    def _act(
        self, observation: Observation, now: float, did: Operations, said: list[Event]
    ) -> tuple[SyncState, QbittorrentReading | None]:
        """Do what is decided; returns the state, and qBittorrent's reading as it is afterwards."""
        decision = decide(observation, self._state, now)
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
            case Rebind(port, cause):
                return self._rebind(port, cause, reading, did, said)

    def _rebind(
        self,
        port: int,
        cause: RebindCause,
        reading: QbittorrentReading,
        did: Operations,
        said: list[Event],
    ) -> tuple[SyncState, QbittorrentReading]:
        said.append(events.rebinding(port, cause))
        self._state = after_write(self._state, self._clock.monotonic(), rebind=cause)
        state, reading = self._writer.write(port, reading, did, by_another_port=True)
        if state not in (SyncState.IN_SYNC, SyncState.NOT_LISTENING):
            self._state = self._state._replace(wanted=cause)  # it did not come about
        return state, reading

    def _set_port(
        self, port: int, reading: QbittorrentReading, now: float, did: Operations, said: list[Event]
    ) -> tuple[SyncState, QbittorrentReading]:
        if has_drifted(reading, self._state):
            kept = NO_PORT if reading.random_port else reading.listening_port
            said.append(events.drift(kept, port, random_port=reading.random_port))
        if not self._tried_before(port, reading):
            said.append(events.update_needed(reading.listening_port, port))
        self._state = after_write(self._state, now)
        self._state = self._state._replace(announce=self.config.reannounce_after_change)
        # up to 4.3, switching the random port off leaves the socket where it is
        detour = reading.listening_port == port
        state, reading = self._writer.write(port, reading, did, by_another_port=detour)
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

    def _announce(self, state: SyncState, did: Operations, said: list[Event]) -> None:
        """Announce a new port once it is open: by itself that takes half an hour."""
        now = self._clock.monotonic()
        if state is not SyncState.IN_SYNC or not should_announce(self._state, now):
            return
        self._state = self._state._replace(announced_at=now)
        with did.may_fail(Operation.QBITTORRENT_TRANSFER):
            self._qbittorrent.reannounce(did)
            self._state = self._state._replace(announce=False)
            said.append(events.announced(self._state.forwarded_port))

    def _without_upnp(
        self, reading: QbittorrentReading, did: Operations, said: list[Event]
    ) -> QbittorrentReading:
        """Switch UPnP off where that is wanted."""
        if self.config.disable_upnp and reading.upnp:
            with did.may_fail(Operation.QBITTORRENT_PREFERENCES):
                self._qbittorrent.switch_off_upnp(did)
                said.append(events.upnp_switched_off())
                return reading._replace(upnp=False)
        return reading

    # from outside

    def _answer(self, did: Operations, said: list[Event]) -> Answer | None:
        """Return what was heard since the last check; why it is not known is said once."""
        with contextlib.suppress(queue.Empty):
            answer = self._heard.get_nowait()
            did.results.append(answer.operation)
            failure = answer.failure
            if failure and failure.reason is not self._state.outside.problem:
                said.append(events.not_known_from_outside(failure))
            return answer
        return None

    def _seen_from_outside(self, state: SyncState, did: Operations) -> SyncState:
        """Return the state with what somebody outside found, where all here looks right."""
        if state is not SyncState.IN_SYNC or not outside.is_closed(self._state.outside):
            return state
        error = outside.not_reachable(self._state.forwarded_port)
        did.put_first(did.fail(Operation.REACHABILITY, error))
        return SyncState.NOT_REACHABLE

    def _is_reachable(self, state: SyncState) -> bool | None:
        """Return whether the port can be used, as far as it has one; None = not known yet."""
        if self.config.reachability is None:
            return True
        if state is SyncState.NOT_REACHABLE:
            return False
        return self._state.outside.reachable or None

    def _explain(self, state: SyncState, observation: Observation, did: Operations) -> None:
        """Put first why the state is what it is, where no exchange failed too."""
        for reading in (observation.gluetun, observation.qbittorrent):
            if isinstance(reading, Failure) and state_of(reading) is state:
                did.put_first(reading)
        if state is SyncState.NOT_LISTENING and not isinstance(observation.qbittorrent, Failure):
            reading = observation.qbittorrent
            error = bind_failed(self._qbittorrent.where, reading.listening_port, reading)
            did.put_first(did.fail(Operation.QBITTORRENT_LOG, error))

    # state and saved

    def _note_port(self, reading: GluetunReading | Failure, now: float) -> list[Event]:
        if isinstance(reading, Failure) or reading.forwarded_port == NO_PORT:
            return []
        before, after = self._state.forwarded_port, reading.forwarded_port
        self._saved = history.after_port(self._saved, after, now)
        return [] if before in (NO_PORT, after) else [events.port_change(before, after)]

    def _pause(
        self,
        state: SyncState,
        gluetun: GluetunReading | None,
        reading: QbittorrentReading | None,
        now: float,
    ) -> float:
        pause = next_check(state, reading, self._state, now, self.config.interval_seconds)
        pause = min(pause, self._restart.next_check_seconds)
        return self._watch.pause(pause, gluetun)

    def _all_saved(self) -> Saved:
        logins, restart = self._logins.saved(), self._restart.saved()
        known, push_seen = self._saved, self._state.push_seen
        if (known.logins, known.vpn_restart, known.push_seen) != (logins, restart, push_seen):
            known = known._replace(logins=logins, vpn_restart=restart, push_seen=push_seen)
        return known

    def _save_logins(self, logins: SavedLogins) -> None:
        self._save(self.config.name, self._all_saved()._replace(logins=logins))

    def _save_vpn_restart(self, restart: SavedVpnRestart) -> None:
        self._save(self.config.name, self._all_saved()._replace(vpn_restart=restart))
