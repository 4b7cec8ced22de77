"""Every metric is one row of one table; a scrape reads all of one moment.

The client library's own counters are not used: their `_created` series can be switched off for
the whole process only, and a scrape could fall between two increments of the same check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from prometheus_client.metrics_core import Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.samples import Sample

from exporter.model import (
    ConnectionStatus,
    EventKind,
    Outcome,
    QbittorrentReading,
    SyncState,
    VpnStatus,
)
from exporter.report.tally import Snapshot, Tally, Timing, TunnelTally

Labels = dict[str, str]
Value = tuple[Labels, float | Timing]


class Row(NamedTuple):
    """One metric: what docs/metrics.md says of it, and how a scrape gets its values."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...]
    read: Callable[[Snapshot], Iterable[Value]]

    def family(self) -> Metric:
        """Return it without a sample; the client library wants the name without `_total`."""
        return Metric(self.name.removesuffix("_total"), self.help, self.kind)

    def collect(self, seen: Snapshot) -> Metric:
        """Return it with the samples of one moment."""
        metric, name = self.family(), self.name
        for labels, value in self.read(seen):
            if isinstance(value, Timing):
                metric.samples += _histogram_samples(name, labels, value)
            else:
                metric.samples.append(Sample(name, labels, value))
        return metric


def _histogram_samples(name: str, labels: Labels, timing: Timing) -> Iterator[Sample]:
    bounds, total = (*map(str, timing.bounds), "+Inf"), 0
    for bound, count in zip(bounds, timing.buckets, strict=True):
        total += count
        yield Sample(f"{name}_bucket", {**labels, "le": bound}, total)
    yield Sample(f"{name}_count", labels, total)
    yield Sample(f"{name}_sum", labels, timing.seconds)


def _process(name: str, kind: str, read: Callable[[Snapshot], float], text: str) -> Row:
    """Show one value for the whole process."""
    return Row(name, kind, text, (), lambda seen: [({}, read(seen))])


def _tunnel(name: str, kind: str, read: Callable[[TunnelTally], float | None], text: str) -> Row:
    """Show one value for each tunnel; no series where it is None."""

    def values(seen: Snapshot) -> Iterator[Value]:
        for tunnel, t in seen.tunnels.items():
            if (value := read(t)) is not None:
                yield {"tunnel": tunnel}, value

    return Row(name, kind, text, ("tunnel",), values)


def _gauge(name: str, read: Callable[[Outcome], float | None], text: str) -> Row:
    """Show a fact of each tunnel's last outcome; no series where it is not known."""
    return _tunnel(name, "gauge", lambda t: read(t.outcome), text)


def _moment(
    name: str, read: Callable[[Outcome], float | None], text: str, *, or_zero: bool = True
) -> Row:
    """Show a moment of each tunnel's last outcome, in Unix seconds; 0 or nothing before."""

    def values(seen: Snapshot) -> Iterator[Value]:
        for tunnel, t in seen.tunnels.items():
            moment = read(t.outcome)
            if or_zero or moment is not None:
                yield {"tunnel": tunnel}, seen.unix(moment)

    return Row(name, "gauge", text, ("tunnel",), values)


def _counter(name: str, read: Callable[[TunnelTally], int], text: str) -> Row:
    """Show a count since the start for each tunnel."""
    return _tunnel(name, "counter", read, text)


def _states(name: str, states: type[StrEnum], read: Callable[[Outcome], StrEnum], text: str) -> Row:
    """Show 1 for the state that a tunnel is in, 0 for every other."""

    names = [state.value for state in states]

    def values(seen: Snapshot) -> Iterator[Value]:
        for tunnel, t in seen.tunnels.items():
            current = read(t.outcome)
            for state in names:
                yield {"tunnel": tunnel, "state": state}, state == current

    return Row(name, "gauge", text, ("tunnel", "state"), values)


def _info(
    name: str, labels: tuple[str, ...], read: Callable[[TunnelTally], Labels | None], text: str
) -> Row:
    """The constant 1 with facts as labels; no series while the facts are not known."""

    def values(seen: Snapshot) -> Iterator[Value]:
        for tunnel, t in seen.tunnels.items():
            if (facts := read(t)) is not None:
                yield {"tunnel": tunnel, **facts}, 1

    return Row(name, "gauge", text, ("tunnel", *labels), values)


# fmt: off
ROWS: tuple[Row, ...] = (
    # each tunnel, as of its last finished check
    _states("qsticky_sync_state", SyncState, lambda o: o.state,
        "State of the tunnel: 1 for the current state, 0 for all others."),
    _gauge("qsticky_port_in_sync", lambda o: o.in_sync,
        "1 if the last check found the forwarded port set in qBittorrent and no sign of a closed "
        "socket, else 0."),
    _gauge("qsticky_forwarded_port", lambda o: o.forwarded_port,
        "Port that Gluetun forwards, as of the last check; 0 = none or unknown."),
    _gauge("qsticky_qbittorrent_listen_port", lambda o: o.listening_port,
        "Listening port set in qBittorrent, as of the last check; 0 = unknown."),
    _gauge("qsticky_qbittorrent_port_bound", lambda o: o.port_bound,
        "1 if qBittorrent's log shows a socket that peers can reach on its listening port, and the "
        "VPN is not known to be down, else 0."),
    _gauge("qsticky_gluetun_up", lambda o: o.gluetun is not None,
        "1 if Gluetun gave a valid answer in the last check, else 0."),
    _gauge("qsticky_qbittorrent_up", lambda o: o.qbittorrent is not None,
        "1 if qBittorrent accepted the login and gave a valid answer in the last check, else 0."),
    _states("qsticky_vpn_status", VpnStatus, lambda o: o.vpn_status,
        "VPN status in Gluetun: 1 for the current one; unknown if the role lacks the route."),
    _states("qsticky_qbittorrent_connection_status",
        ConnectionStatus, lambda o: o.connection_status,
        "Connection status in qBittorrent: 1 for the current one; firewalled = no peer from "
        "outside yet."),
    _gauge("qsticky_qbittorrent_has_torrents",
        lambda o: o.qbittorrent.has_torrents if o.qbittorrent else None,
        "1 if qBittorrent has torrents, else 0; no series while that is unknown: it is requested "
        "only while qBittorrent is firewalled."),
    _gauge("qsticky_port_reachable", lambda o: o.outside.reachable if o.outside else None,
        "1 if the service outside got in when it was last asked, 0 if not; no series while it is "
        "not asked or gives no clear answer."),
    _moment("qsticky_reachability_last_check_timestamp_seconds",
        lambda o: o.outside.asked_at if o.outside else None,
        "Unix time when the service outside was last asked; no series before.", or_zero=False),
    _gauge("qsticky_qbittorrent_login_suspended",
        lambda o: o.login_suspended_until is not None,
        "1 while logins are suspended after a rejection, to avoid a ban, else 0."),
    _info("qsticky_qbittorrent_info", ("version", "webapi_version"),
        lambda t: _versions(t.outcome.qbittorrent),
        "Version of the connected qBittorrent, always 1; no series while it is unknown."),
    _info("qsticky_config_info", ("gluetun_auth", "qbittorrent_auth"),
        lambda t: {"gluetun_auth": t.config.gluetun.auth_in_use,
                   "qbittorrent_auth": t.qbittorrent_auth}
        if t.outcome.finished_at is not None else None,
        "How qSticky authenticates, always 1; no series before the first check."),
    _tunnel("qsticky_sync_interval_seconds", "gauge", lambda t: t.config.interval_seconds,
        "Configured time between two checks."),
    _moment("qsticky_sync_last_attempt_timestamp_seconds", lambda o: o.finished_at,
        "Unix time when the last check ended, failed or not; 0 = none yet."),
    _moment("qsticky_sync_last_success_timestamp_seconds", lambda o: o.saved.succeeded_at,
        "Unix time when a check last ended in sync, kept across restarts; 0 = never."),
    _moment("qsticky_port_last_change_timestamp_seconds", lambda o: o.saved.port_changed_at,
        "Unix time when the forwarded port last changed, kept across restarts; 0 = never seen."),
    _counter("qsticky_syncs_total", lambda t: t.checks,
        "Finished checks; asking for the port alone between two checks does not count."),
    _counter("qsticky_sync_failures_total", lambda t: t.failed_checks,
        "Finished checks that did not end in sync."),
    _counter("qsticky_syncs_with_errors_total", lambda t: t.checks_with_errors,
        "Finished checks in which a request failed, in sync or not at their end."),
    _counter("qsticky_port_changes_total", lambda t: t.events[EventKind.PORT_CHANGE],
        "Times the forwarded port changed; the first port after a start does not count."),
    _counter("qsticky_port_updates_total", lambda t: t.events[EventKind.PORT_UPDATE],
        "Times qSticky set the port in qBittorrent and its socket did not fail to open."),
    _counter("qsticky_port_drifts_total", lambda t: t.events[EventKind.DRIFT],
        "Times something other than qSticky changed qBittorrent's port."),
    _counter("qsticky_port_rebinds_total", lambda t: t.events[EventKind.REBIND],
        "Times qSticky set another port and then the right one: the socket was or might be dead."),
    _counter("qsticky_push_triggers_total", lambda t: t.pushes,
        "Requests for an immediate check, such as those from Gluetun's up command."),
    # the process
    Row("qsticky_operations_total", "counter",
        "Finished requests to a server and writes of status.json.", ("operation",),
        lambda s: (({"operation": o.value}, sum(t.buckets)) for o, t in s.timings.items())),
    Row("qsticky_operation_failures_total", "counter",
        "Operations that failed, by reason.", ("operation", "reason"),
        lambda s: (({"operation": o.value, "reason": r.value}, count)
                   for (o, r), count in s.failures.items())),
    Row("qsticky_operation_duration_seconds", "histogram",
        "Duration of the operations, including failed ones.", ("operation",),
        lambda s: (({"operation": o.value}, timing) for o, timing in s.timings.items())),
    Row("qsticky_port_open_duration_seconds", "histogram",
        "Time from a new forwarded port, or the return of the VPN, to the check that found the "
        "port open; the first one after a start counts if it had to be set.", (),
        lambda s: [({}, s.openings)]),
    _process("qsticky_time_seconds", "gauge", lambda s: s.clock.wall(),
        "Unix time at the scrape, by the clock that all other times here are from."),
    _process("qsticky_status_file_last_write_timestamp_seconds", "gauge",
        lambda s: s.unix(s.file_written_at),
        "Unix time when status.json was last written; 0 = not since the start."),
    _process("qsticky_config_last_reload_successful", "gauge", lambda s: s.load_accepted,
        "1 if the last load of the configuration was accepted, else 0."),
    _process("qsticky_config_last_reload_success_timestamp_seconds", "gauge",
        lambda s: s.unix(s.loaded_at),
        "Unix time when a configuration was last accepted."),
    _process("qsticky_config_reloads_total", "counter", lambda s: s.reloads,
        "Reloads of the configuration."),
    _process("qsticky_config_reload_failures_total", "counter", lambda s: s.failed_reloads,
        "Reloads of the configuration that were rejected."),
    _process("qsticky_notifications_total", "counter", lambda s: s.notifications,
        "Tries to send a notification, one for each service."),
    _process("qsticky_notification_failures_total", "counter", lambda s: s.failed_notifications,
        "Tries to send a notification that failed."),
    Row("qsticky_log_messages_total", "counter",
        "Log lines of level warning and above.", ("level",),
        lambda s: (({"level": level}, count) for level, count in s.log_lines.items())),
    Row("qsticky_build_info", "gauge",
        "Version of the running qSticky, always 1.", ("version", "revision"),
        lambda s: [({"version": s.version, "revision": s.revision}, 1)]),
)
# fmt: on


def _versions(reading: QbittorrentReading | None) -> Labels | None:
    if reading is None or not reading.version:
        return None
    return {"version": reading.version, "webapi_version": reading.webapi_version}


class Metrics(Collector):
    """What Prometheus scrapes: the rows above, of one moment."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def describe(self) -> list[Metric]:
        """Return the names, so that a scrape can ask for some of them."""
        return [row.family() for row in ROWS]

    def collect(self) -> Iterator[Metric]:
        """Return every metric, all of the same moment."""
        seen = self._tally.snapshot()
        return (row.collect(seen) for row in ROWS)
