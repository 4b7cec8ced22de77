"""What the status page says: states, ports and times in plain words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from exporter.clock import span
from exporter.config.load import TunnelConfig
from exporter.model import (
    NO_PORT,
    BindResult,
    ConnectionStatus,
    Outcome,
    Reason,
    RebindPolicy,
    SyncState,
    VpnStatus,
)
from exporter.report.board import TunnelView


class Tone(Enum):
    """How serious a state is; worst first."""

    BAD = "bad"
    """Somebody may have to do something."""
    WAITING = "waiting"
    """It resolves itself once the VPN is back."""
    STARTING = "starting"
    GOOD = "good"


TONE_LABELS = {
    Tone.BAD: "Attention",
    Tone.WAITING: "Waiting",
    Tone.STARTING: "Starting",
    Tone.GOOD: "In sync",
}


class Words(NamedTuple):
    """The words for a state; `sentence` may hold {forwarded}, {listening}, {keeps}, {forwards}."""

    label: str
    tone: Tone
    sentence: str
    hint: str = ""
    """What happens next, and what to look at if it doesn't."""


_TRIES_AGAIN = "qSticky tries again at every check."

WORDS = {
    SyncState.IN_SYNC: Words(
        "In sync", Tone.GOOD, "qBittorrent listens on {forwarded}, the port that your VPN forwards."
    ),
    SyncState.OUT_OF_SYNC: Words(
        "Out of sync",
        Tone.BAD,
        "Your VPN forwards port {forwarded}, but qBittorrent listens on {listening}.",
        _TRIES_AGAIN,
    ),
    SyncState.NOT_LISTENING: Words(
        "Not listening",
        Tone.BAD,
        "qBittorrent is set to port {forwarded}, but no socket is open there.",
        "qSticky reopens it by itself: after 1 minute, after 5, then every 30.",
    ),
    SyncState.NO_PORT: Words(
        "No port",
        Tone.WAITING,
        "Your VPN forwards no port right now. {keeps}",
        "That is usual for a while after a reconnect. If it stays, the VPN server or plan may not "
        "offer port forwarding, or VPN_PORT_FORWARDING is off in Gluetun.",
    ),
    SyncState.VPN_DOWN: Words(
        "VPN down",
        Tone.WAITING,
        "Your VPN is not connected. {keeps}",
        "qSticky checks often, and sets the port about a second after the VPN is back.",
    ),
    SyncState.GLUETUN_UNREACHABLE: Words(
        "Gluetun unreachable",
        Tone.BAD,
        "Gluetun does not answer, so its port is unknown. {keeps}",
        "qSticky keeps trying.",
    ),
    SyncState.GLUETUN_UNAUTHORIZED: Words(
        "Gluetun refuses",
        Tone.BAD,
        "Gluetun denied qSticky access to the port. {keeps}",
        "The key or the role in Gluetun's config.toml does not match.",
    ),
    SyncState.QBITTORRENT_UNREACHABLE: Words(
        "qBittorrent unreachable",
        Tone.BAD,
        "qBittorrent does not answer, so its port can't be set. {forwards}",
        "qSticky keeps trying.",
    ),
    SyncState.QBITTORRENT_UNAUTHORIZED: Words(
        "Login refused",
        Tone.BAD,
        "qBittorrent refuses qSticky's login, so its port can't be set. {forwards}",
        "qSticky tries again only occasionally: five wrong passwords would ban it for an hour.",
    ),
    SyncState.QBITTORRENT_BANNED: Words(
        "Banned",
        Tone.BAD,
        "qBittorrent has banned qSticky after too many wrong passwords. {forwards}",
        "The ban ends by itself, usually after an hour; or restart qBittorrent and then qSticky.",
    ),
    SyncState.STARTING: Words("Starting", Tone.STARTING, "The first check is still under way."),
    SyncState.NOT_REACHABLE: Words(
        "Not reachable",
        Tone.BAD,
        "qBittorrent listens on {forwarded}, but nobody outside gets in: your VPN does not forward "
        "the port.",
        "qSticky has reopened the port, which did not help, and goes on asking.",
    ),
}

_USELESS_ANSWER = {
    SyncState.GLUETUN_UNREACHABLE: "Gluetun gives no answer that qSticky can use, so its port is "
    "unknown. {keeps}",
    SyncState.QBITTORRENT_UNREACHABLE: "qBittorrent gives no answer that qSticky can use, so its "
    "port can't be set. {forwards}",
}
_REFUSED_HOST = (
    "qBittorrent refuses the address that qSticky uses for it, so its port can't be set. {forwards}"
)
_REFUSED_KEY = "qBittorrent refuses qSticky's API key, so its port can't be set. {forwards}"
_ON_LOOPBACK = (
    "qBittorrent is set to port {forwarded}, but listens on the loopback interface alone, where no "
    "peer gets in."
)
_REOPENS_OFTEN = (
    "Your VPN reconnects so often that qSticky has reopened port {forwarded} six times in five "
    "minutes. Peers may not get in."
)
_WAITS_A_LITTLE = "qSticky reopens it as soon as those five minutes are over."
_NEVER_REBINDS = "REBIND=never keeps qSticky from reopening it; restart qBittorrent."

STUCK = Words(
    "Stuck",
    Tone.BAD,
    "qSticky has stopped checking. The information below is out of date.",
    "Restart qSticky, and look at the end of its log.",
)
"""Shown instead of the last state when the next check is long overdue."""

VPN = {
    VpnStatus.STARTING: ("Connecting", "Gluetun is bringing the VPN up."),
    VpnStatus.RUNNING: ("Running", "Gluetun reports the VPN as up."),
    VpnStatus.STOPPING: ("Stopping", "Gluetun is taking the VPN down."),
    VpnStatus.STOPPED: ("Stopped", "Gluetun reports the VPN as stopped."),
    VpnStatus.CRASHED: ("Crashed", "The VPN program exited with an error; see Gluetun's log."),
    VpnStatus.COMPLETED: ("Exited", "The VPN program has exited; see Gluetun's log."),
    VpnStatus.UNKNOWN: ("Unknown", "Gluetun did not say, or qSticky may not ask."),
}

CONNECTION = {
    ConnectionStatus.CONNECTED: ("Connected", "A peer has connected from outside: the port works."),
    ConnectionStatus.FIREWALLED: (
        "Waiting for peers",
        "No peer has connected from outside since the port was opened (qBittorrent calls it "
        "“firewalled”). Normal for a while after a change, and with few torrents.",
    ),
    ConnectionStatus.DISCONNECTED: (
        "Disconnected",
        "qBittorrent has no open socket. Normal for two seconds after a change.",
    ),
    ConnectionStatus.UNKNOWN: ("Unknown", "qBittorrent did not say."),
}


def words_for(view: TunnelView, now: float) -> Words:
    """Return the words for a tunnel at this moment."""
    if view.is_stale(now):
        return STUCK
    words = WORDS[view.state]
    return words if view.outcome is None else _exactly(words, view.outcome, view.config)


def _exactly(words: Words, outcome: Outcome, config: TunnelConfig) -> Words:
    """Replace the usual words of a state where they would be untrue."""
    match outcome.state, _reason(outcome):
        case SyncState.NOT_LISTENING, _:
            return _closed(words, outcome, config)
        case SyncState.GLUETUN_UNREACHABLE | SyncState.QBITTORRENT_UNREACHABLE, reason:
            silent = reason in (None, Reason.CONNECTION, Reason.TIMEOUT)
            return words if silent else words._replace(sentence=_USELESS_ANSWER[outcome.state])
        case SyncState.QBITTORRENT_UNAUTHORIZED, Reason.FORBIDDEN_HOST:
            return words._replace(sentence=_REFUSED_HOST, hint=_TRIES_AGAIN)
        case SyncState.QBITTORRENT_UNAUTHORIZED, _ if config.qbittorrent.auth == "apikey":
            return words._replace(sentence=_REFUSED_KEY, hint=_TRIES_AGAIN)
    return words


def _closed(words: Words, outcome: Outcome, config: TunnelConfig) -> Words:
    """Say why the port counts as closed, and whether qSticky will reopen it."""
    reading = outcome.qbittorrent
    if reading is not None and reading.bind_result is BindResult.LOOPBACK:
        return words._replace(sentence=_ON_LOOPBACK, hint="")
    if config.rebind is RebindPolicy.NEVER:
        return words._replace(hint=_NEVER_REBINDS)
    if reading is not None and not reading.is_closed and not outcome.failures:
        return words._replace(sentence=_REOPENS_OFTEN, hint=_WAITS_A_LITTLE)
    return words


def _reason(outcome: Outcome) -> Reason | None:
    """Return why the server that the state is named after could not be used."""
    server = outcome.state.partition("_")[0]
    reasons = (one.reason for one in outcome.failures if one.operation.startswith(server))
    return next(reasons, None)


def sentence(view: TunnelView, now: float) -> str:
    """Return the state of a tunnel in one or two short sentences."""
    outcome = view.outcome
    forwarded = NO_PORT if outcome is None else outcome.forwarded_port
    listening = NO_PORT if outcome is None else outcome.listening_port
    said = words_for(view, now).sentence.format(
        forwarded=forwarded,
        listening=listening or "another port",
        keeps=f"qBittorrent keeps port {listening}."
        if listening
        else "qBittorrent keeps its port.",
        forwards=f"Your VPN forwards port {forwarded}." if forwarded else "",
    )
    return said.rstrip()


def title(view: TunnelView, now: float) -> str:
    """Return the state in a few words, for the tab of a browser."""
    words, outcome = words_for(view, now), view.outcome
    if outcome is None or words.tone is not Tone.GOOD:
        return words.label
    return f"{words.label}, port {outcome.forwarded_port}"


def peers(outcome: Outcome, now: float) -> tuple[str, str]:
    """Say whether peers reach qBittorrent, what that means, and what was found from outside."""
    said, note = _peers(outcome)
    seen = outcome.outside
    if seen and seen.reached_at is not None:
        return said, f"{note} Somebody outside last got in {ago(seen.reached_at, now)}."
    if seen and seen.reachable is False:
        return said, f"{note} Nobody outside has got in on this port."
    return said, note


def _peers(outcome: Outcome) -> tuple[str, str]:
    firewalled = outcome.connection_status is ConnectionStatus.FIREWALLED
    reading = outcome.qbittorrent
    if firewalled and reading and reading.has_torrents is False:
        return (
            "No torrents yet",
            "Without a torrent nobody connects, so this says nothing about the port.",
        )
    return CONNECTION[outcome.connection_status]


def proof(outcome: Outcome) -> tuple[str, str]:
    """Say whether a socket is known to be open on the port, and how."""
    if outcome.port_bound:
        return "Open", "Confirmed by qBittorrent's own log."
    if outcome.qbittorrent is None:
        return "Unknown", "qBittorrent did not say."
    return "Not confirmed", "qBittorrent's log does not show a socket on this port."


def overview_sentence(views: Sequence[TunnelView], now: float) -> str:
    """Return the state of all tunnels in one or two short sentences."""
    counts = Counter(words_for(view, now).tone for view in views)
    parts = [
        f"1 tunnel {one}." if counts[tone] == 1 else f"{counts[tone]:,} tunnels {many}."
        for tone, one, many in _OVERVIEW
        if counts[tone]
    ]
    if not parts:
        return f"All {len(views):,} tunnels are in sync."
    if counts[Tone.GOOD]:
        parts.append("The rest is in sync.")
    return " ".join(parts)


_OVERVIEW = (
    (Tone.BAD, "needs attention", "need attention"),
    (Tone.WAITING, "is waiting for the VPN", "are waiting for the VPN"),
    (Tone.STARTING, "is starting", "are starting"),
)


def ago(then: float, now: float) -> str:
    """Return how long ago or how soon it is, such as `12 s ago` and `in 5 min`."""
    if then > now:
        return f"in {span(then - now)}"
    return f"{span(now - then)} ago"
