"""What is worth saying about a check: compares two outcomes and puts the difference into words."""

from __future__ import annotations

from exporter.errors import WAITING_FIXES
from exporter.model import (
    WAITING_GRACE_SECONDS,
    WAITING_STATES,
    Event,
    EventKind,
    Failure,
    Level,
    Outcome,
    SyncState,
)
from exporter.tunnel.state import RebindCause

_ERRORS = (
    SyncState.GLUETUN_UNAUTHORIZED,
    SyncState.QBITTORRENT_UNAUTHORIZED,
    SyncState.QBITTORRENT_BANNED,
    SyncState.NOT_LISTENING,
    SyncState.NOT_REACHABLE,
)


def changes(previous: Outcome | None, current: Outcome) -> tuple[Event, ...]:
    """Say what changed between two checks, each thing once; `previous` is None for the first."""
    events = [*_state_change(previous, current), *_new_failures(previous, current)]
    if previous is None:
        events.append(_initial_status(current))
    else:
        good_news = any(event.level is Level.INFO for event in events)
        events += _recoveries(previous, current, good_news=good_news)
    if _overdue(current) and (previous is None or not _overdue(previous)):
        events.append(_long_wait(current))
    return tuple(events)


def _state_change(previous: Outcome | None, current: Outcome) -> list[Event]:
    if previous is not None and previous.state is current.state:
        return []
    if current.state is SyncState.IN_SYNC:
        said = previous is None or any(e.kind is EventKind.PORT_UPDATE for e in current.events)
        return [] if said else [_info(f"In sync again on port {current.listening_port}")]
    kept = f"; qBittorrent keeps port {current.listening_port}" if current.listening_port else ""
    if current.state is SyncState.NO_PORT:
        return [_info(f"Gluetun forwards no port at the moment{kept}")]
    if current.state is SyncState.VPN_DOWN:
        return [_info(f"The VPN is {current.vpn_status}{kept}")]
    if not current.failures:
        return [_info(f"State: {current.state}")]
    failure = current.failures[0]
    level = Level.ERROR if current.state in _ERRORS else Level.WARNING
    return [Event(EventKind.STATE, level, failure.message, failure.fix)]


def _recoveries(before: Outcome, now: Outcome, *, good_news: bool) -> list[Event]:
    """Say which servers answer again, unless the news of the state imply it."""
    back = []
    if now.gluetun and not before.gluetun and not good_news:
        back.append(_notice("Gluetun answers again"))
    if now.qbittorrent and not before.qbittorrent and not (good_news and now.in_sync):
        back.append(_notice("qBittorrent answers again"))
    return back


def _new_failures(previous: Outcome | None, current: Outcome) -> list[Event]:
    """Failures beside the one that made the state, such as a status that can't be read."""
    changed = previous is None or previous.state is not current.state
    said = {_key(failure) for failure in previous.failures} if previous else set()
    failures = current.failures
    if changed and current.state not in (SyncState.IN_SYNC, *WAITING_STATES):
        failures = failures[1:]
    return [
        _warning(failure.message, failure.fix) for failure in failures if _key(failure) not in said
    ]


def _key(failure: Failure) -> tuple[str, str]:
    return (failure.operation, failure.reason)


def _initial_status(current: Outcome) -> Event:
    gluetun = "✗" if current.gluetun is None else "✓"
    qbittorrent = "✗" if current.qbittorrent is None else "✓"
    port = current.forwarded_port or "none"
    return _notice(f"Initial status - Gluetun: {gluetun}, qBit: {qbittorrent}, Port: {port}")


def _overdue(outcome: Outcome) -> bool:
    since, now = outcome.saved.waiting_since, outcome.finished_at
    return since is not None and now is not None and now - since > WAITING_GRACE_SECONDS


def _long_wait(current: Outcome) -> Event:
    minutes = round(WAITING_GRACE_SECONDS / 60)
    if current.state is SyncState.VPN_DOWN:
        return _warning(
            f"The VPN has not been up with a forwarded port for {minutes} minutes; "
            f"it is {current.vpn_status}",
            WAITING_FIXES[current.state],
        )
    return _warning(
        f"Gluetun has had no forwarded port for {minutes} minutes", WAITING_FIXES[SyncState.NO_PORT]
    )


def _info(message: str) -> Event:
    return Event(EventKind.STATE, Level.INFO, message)


def _notice(message: str, fix: str = "") -> Event:
    return Event(EventKind.NOTICE, Level.INFO, message, fix)


def _warning(message: str, fix: str) -> Event:
    return Event(EventKind.NOTICE, Level.WARNING, message, fix)


def port_change(before: int, after: int) -> Event:
    """Say that Gluetun's forwarded port changed."""
    return Event(
        EventKind.PORT_CHANGE, Level.INFO, f"Gluetun's forwarded port changed: {before} -> {after}"
    )


def drift(kept: int, wanted: int, *, random_port: bool) -> Event:
    """Say that qBittorrent left the right port, and what is the likely cause."""
    cause = (
        "its option 'Use random port on startup' is on; qSticky switches it off"
        if random_port
        else "another program or person set it; let only one tool set qBittorrent's port"
    )
    return Event(
        EventKind.DRIFT,
        Level.WARNING,
        f"qBittorrent left port {wanted} for {kept or 'a random one'}; setting it again",
        f"likely cause: {cause}",
    )


def update_needed(before: int, after: int) -> Event:
    """Announce that the listening port is about to be set."""
    return Event(
        EventKind.PORT_UPDATE_NEEDED, Level.INFO, f"Port change needed: {before} -> {after}"
    )


def updated(port: int) -> Event:
    """Say that the listening port was set and verified."""
    return Event(EventKind.PORT_UPDATE, Level.INFO, f"Successfully updated port to {port}")


def vpn_restarting(waited_seconds: float, *, has_port: bool) -> Event:
    """Announce that the VPN is about to be restarted."""
    why = "nobody outside has got in" if has_port else "has had no forwarded port"
    return _notice(f"Restarting the VPN: it is up, but {why} for {waited_seconds / 60:.0f} minutes")


def vpn_restarted(pause_seconds: float) -> Event:
    """Say that the VPN was restarted."""
    return _notice(
        f"The VPN is starting again; the next restart waits at least "
        f"{pause_seconds / 60:.0f} minutes"
    )


def not_known_from_outside(failure: Failure) -> Event:
    """Say why nobody outside could say whether the port is open."""
    return _warning(failure.message, failure.fix)


def upnp_switched_off() -> Event:
    """Say that qBittorrent no longer asks for a port by itself."""
    return _notice("Switched off UPnP and NAT-PMP in qBittorrent")


def announced(port: int) -> Event:
    """Say that the torrents are announced with a new port."""
    return _notice(f"Announced all torrents to their trackers with port {port}")


_CAUSES = {
    RebindCause.RECONNECT: "the VPN reconnected with the same port",
    RebindCause.START: "the VPN may have reconnected unseen",
    RebindCause.CLOSED: "it was not listening",
    RebindCause.NOT_REACHABLE: "nobody outside gets in",
}


WATCHING = (
    "qBittorrent may not reopen its socket after a VPN reconnect, so Gluetun is asked for its port "
    "every second"
)


def watching() -> Event:
    """Say that Gluetun is asked every second, and what makes that unnecessary."""
    return _notice(
        WATCHING,
        "set Gluetun's VPN_PORT_FORWARDING_UP_COMMAND as in the README, and that is no longer "
        "needed; until then HTTP_CONTROL_SERVER_LOG=off keeps Gluetun's log quiet",
    )


def rebinding(port: int, cause: RebindCause) -> Event:
    """Say that the socket is being reopened, and why."""
    return Event(EventKind.REBIND, Level.INFO, f"Reopening port {port}: {_CAUSES[cause]}")
