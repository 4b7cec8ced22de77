"""Is the VPN to be restarted now (`RESTART_VPN_AFTER`)? Pure: one step of the plan at a time.

Times are seconds of a clock that only moves forward; its zero means nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum, auto

from exporter.model import NO_PORT, Failure, Reason, VpnStatus
from exporter.tunnel.decide import GluetunReading

VPN_RESTART_PAUSES = (3600.0, 7200.0, 14400.0, 28800.0, 57600.0, 86400.0)
"""The least times after the first, the second and each further restart of the VPN."""
VPN_STOP_MAY_TAKE = 75.0
"""Gluetun first runs the user's down command, for a minute at most."""


class VpnPhase(Enum):
    """How far a restart of the VPN has got."""

    DONE = auto()
    PLANNED = auto()
    """It is noted in status.json before anything is done, so that a crash can't hide it."""
    STOPPED = auto()
    """The VPN was told to stop, or may have been, and has to be told to start again."""


class VpnStep(Enum):
    """What to do about the VPN now."""

    NOTHING = auto()
    PLAN = auto()
    FORGET = auto()
    STOP = auto()
    START = auto()


@dataclass(frozen=True, slots=True)
class VpnMemory:
    """Since when a running VPN has had no port, and what was done about it."""

    portless_since: float = math.inf
    phase: VpnPhase = VpnPhase.DONE
    restarts: int = 0
    """Since a port was seen last."""
    restarted_at: float = -math.inf


def notice_vpn(reading: GluetunReading | Failure, vpn: VpnMemory, now: float) -> VpnMemory:
    """Take note of whether the VPN runs without a port; a time-out tells nothing."""
    if isinstance(reading, Failure):
        return vpn if reading.reason is Reason.TIMEOUT else replace(vpn, portless_since=math.inf)
    if reading.forwarded_port != NO_PORT:
        return replace(vpn, portless_since=math.inf, restarts=0)
    if not reading.vpn_status.may_run:
        return replace(vpn, portless_since=math.inf)
    return replace(vpn, portless_since=min(vpn.portless_since, now))


def vpn_restart_at(vpn: VpnMemory, after_seconds: float) -> float:
    """When to restart the VPN; infinity = not at all. At most once an hour, doubling."""
    if after_seconds == 0:
        return math.inf
    pause = VPN_RESTART_PAUSES[min(max(vpn.restarts, 1), len(VPN_RESTART_PAUSES)) - 1]
    return max(vpn.portless_since + after_seconds, vpn.restarted_at + pause)


def vpn_step(vpn: VpnMemory, status: VpnStatus, now: float, after_seconds: float) -> VpnStep:
    """Choose the next step of a restart; `vpn` has taken note of the reading already."""
    runs = status is VpnStatus.RUNNING
    match vpn.phase:
        case VpnPhase.STOPPED:
            return VpnStep.START
        case VpnPhase.PLANNED:
            return VpnStep.STOP if runs and vpn.portless_since != math.inf else VpnStep.FORGET
        case VpnPhase.DONE:
            due = runs and now >= vpn_restart_at(vpn, after_seconds)
            return VpnStep.PLAN if due else VpnStep.NOTHING
