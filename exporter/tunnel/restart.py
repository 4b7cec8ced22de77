"""Restarts a VPN that runs without a port (`RESTART_VPN_AFTER`), and sees to it that it starts."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace

from exporter.clock import Clock
from exporter.errors import TimedOut, Unauthorized
from exporter.model import NO_PORT, Event, Failure, Operation, VpnNote, VpnStatus
from exporter.servers.gluetun import Gluetun
from exporter.servers.operations import Operations
from exporter.tunnel import events
from exporter.tunnel.decide import GluetunReading
from exporter.tunnel.decide_restart import (
    VPN_STOP_MAY_TAKE,
    VpnMemory,
    VpnPhase,
    VpnStep,
    notice_vpn,
    vpn_restart_at,
    vpn_step,
)

STOP_PROOF_SECONDS = 5.0
"""How long to wait for the VPN to stop (measured: 0.1 s) before it is left to the next cycle."""


class VpnRestart:
    """Takes one step a cycle: plan (noted in status.json), stop and start, start until it runs."""

    def __init__(
        self, gluetun: Gluetun, clock: Clock, after_seconds: float, note: VpnNote | None
    ) -> None:
        self._gluetun = gluetun
        self._clock = clock
        self._after = after_seconds
        self._was_down = False
        self._vpn = self._restored(note) if note else VpnMemory()

    def step(self, reading: GluetunReading | Failure, operations: Operations) -> list[Event]:
        """Do what is due, after Gluetun was read; errors end up in `operations`."""
        now = self._clock.monotonic()
        self._vpn = notice_vpn(reading, self._vpn, now)
        status = VpnStatus.UNKNOWN if isinstance(reading, Failure) else reading.vpn_status
        said: list[Event] = []

        def act() -> None:
            match vpn_step(self._vpn, status, now, self._after):
                case VpnStep.NOTHING:
                    self._check_role(reading, now)
                case VpnStep.PLAN:
                    said.append(self._plan(now))
                case VpnStep.FORGET:
                    self._vpn = replace(self._vpn, phase=VpnPhase.DONE)
                case VpnStep.STOP:
                    self._stop(operations)
                    said.extend(self._start(operations))
                case VpnStep.START:
                    said.extend(self._start(operations))

        operations.attempt(Operation.GLUETUN_STATUS, act)
        return said

    @property
    def next_look_seconds(self) -> float:
        """How soon the next step is due; infinity where none is."""
        match self._vpn.phase:
            case VpnPhase.PLANNED:
                return 0.0
            case VpnPhase.STOPPED:
                return 1.0
            case VpnPhase.DONE:
                return math.inf

    def note(self) -> VpnNote | None:
        """What has to survive a restart of ours; None where the VPN was never restarted."""
        if math.isinf(self._vpn.restarted_at):
            return None
        ago = self._clock.monotonic() - self._vpn.restarted_at
        return VpnNote(
            restarted_at=self._clock.wall() - ago,
            restarts=self._vpn.restarts,
            unfinished=self._vpn.phase is not VpnPhase.DONE,
        )

    def _restored(self, note: VpnNote) -> VpnMemory:
        return VpnMemory(
            phase=VpnPhase.STOPPED if note.unfinished else VpnPhase.DONE,
            restarts=note.restarts,
            restarted_at=self._clock.monotonic() - max(0.0, self._clock.wall() - note.restarted_at),
        )

    def _check_role(self, reading: GluetunReading | Failure, now: float) -> None:
        """Say what is missing where a restart would be due if we could tell that the VPN runs."""
        told = isinstance(reading, GluetunReading)
        if told and self._gluetun.hides_status and now >= vpn_restart_at(self._vpn, self._after):
            raise self._gluetun.restart_refused()

    def _plan(self, now: float) -> Event:
        waited = now - self._vpn.portless_since
        restarts = self._vpn.restarts + 1
        self._vpn = replace(self._vpn, phase=VpnPhase.PLANNED, restarts=restarts, restarted_at=now)
        return events.vpn_restarting(waited)

    def _stop(self, operations: Operations) -> None:
        self._was_down = False
        self._vpn = replace(self._vpn, phase=VpnPhase.STOPPED)
        try:
            with contextlib.suppress(TimedOut):  # a down command may run first
                operations.timed(Operation.GLUETUN_STATUS, self._gluetun.stop_vpn)
        except Unauthorized:
            self._vpn = replace(self._vpn, phase=VpnPhase.DONE)
            raise
        deadline = self._clock.monotonic() + STOP_PROOF_SECONDS
        while self._status(operations) is VpnStatus.RUNNING and self._clock.monotonic() < deadline:
            self._clock.sleep(0.05)

    def _start(self, operations: Operations) -> list[Event]:
        """Tell it to start; once more each cycle until it can no longer be about to stop."""
        if not self._is_under_way(operations):
            with contextlib.suppress(TimedOut):  # Gluetun answers when the tunnel is up
                operations.timed(Operation.GLUETUN_STATUS, self._gluetun.start_vpn)
            if not self._is_under_way(operations):
                return []
        self._vpn = replace(self._vpn, phase=VpnPhase.DONE, portless_since=math.inf)
        return [events.vpn_restarted(self._pause())]

    def _is_under_way(self, operations: Operations) -> bool:
        status = self._status(operations)
        ago = self._clock.monotonic() - self._vpn.restarted_at
        return status in _UNDER_WAY and (self._was_down or ago >= VPN_STOP_MAY_TAKE)

    def _pause(self) -> float:
        """The least time until the next restart."""
        again = replace(self._vpn, portless_since=-math.inf)
        return vpn_restart_at(again, self._after or 1.0) - self._clock.monotonic()

    def _status(self, operations: Operations) -> VpnStatus:
        status = operations.timed(
            Operation.GLUETUN_STATUS, lambda: self._gluetun.vpn_status(forwarded_port=NO_PORT)
        )
        self._was_down = self._was_down or not status.may_run
        return status


_UNDER_WAY = (VpnStatus.STARTING, VpnStatus.RUNNING)
