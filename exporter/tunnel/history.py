"""Since when: what a tunnel keeps of its past, over restarts too. Pure."""

from __future__ import annotations

from exporter.model import NO_PORT, WAITING_STATES, Saved, SyncState


def after_port(saved: Saved, forwarded_port: int, now: float) -> Saved:
    """Take note of the port that Gluetun forwards; the first one ever is no change."""
    if forwarded_port in (NO_PORT, saved.forwarded_port):
        return saved
    changed = saved.port_changed_at if saved.forwarded_port == NO_PORT else now
    return saved._replace(forwarded_port=forwarded_port, port_changed_at=changed)


def after_port_was_set(saved: Saved, now: float) -> Saved:
    """Take note that the port was set: a change, where none is known."""
    return saved if saved.port_changed_at is not None else saved._replace(port_changed_at=now)


def after_check(saved: Saved, state: SyncState, now: float) -> Saved:
    """Take note of how a check ended."""
    if state is SyncState.IN_SYNC:
        return saved._replace(
            succeeded_at=now, out_of_sync_since=None, failing_since=None, waiting_since=None
        )
    waits = state in WAITING_STATES
    return saved._replace(
        out_of_sync_since=_first(saved.out_of_sync_since, now),
        failing_since=None if waits else _first(saved.failing_since, now),
        waiting_since=_first(saved.waiting_since, now) if waits else None,
    )


def _first(since: float | None, now: float) -> float:
    return now if since is None else min(since, now)
