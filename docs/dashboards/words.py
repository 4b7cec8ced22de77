"""The queries of the dashboards, and the words and colours for what they give.

The words are those of the status page, so that a state has one name wherever it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from exporter.model import ConnectionStatus, SyncState, VpnStatus
from exporter.web.words import CONNECTION, STUCK, VPN, WORDS, Tone

Json = dict[str, Any]

ALL = 'job=~"$job", instance=~"$instance"'
CHOSEN = f'{ALL}, tunnel=~"$tunnel"'
OURS = f"and on (job, instance) qsticky_build_info{{{ALL}}}"
"""Keeps the process metrics of qSticky alone, where every job is chosen."""
WHICH = "{{tunnel}} @ {{instance}}"
PER_TUNNEL = "sum by (job, instance, tunnel)"

GREEN, YELLOW, RED, BLUE, PURPLE, GREY = "green", "orange", "red", "blue", "purple", "#8e8e8e"
TONES = {Tone.GOOD: GREEN, Tone.WAITING: YELLOW, Tone.BAD: RED, Tone.STARTING: BLUE}
SURELY_CLOSED = {
    SyncState.OUT_OF_SYNC, SyncState.NOT_LISTENING, SyncState.NO_PORT, SyncState.VPN_DOWN,
}  # fmt: skip
STUCK_NUMBER, DOWN_NUMBER = 20, 21
"""Beside the numbers of the states, which begin with 1."""


def coded(metric: str, states: type[StrEnum], selector: str) -> str:
    """One number for each tunnel: the place of its state among the states."""
    terms = [f'{n} * {metric}{{{selector}, state="{s}"}}' for n, s in enumerate(states, 1)]
    return f"{PER_TUNNEL} ({' or '.join(terms)})"


def state_of(selector: str) -> str:
    """The coded state of each tunnel; or that qSticky is stuck, or was there today and is down."""
    attempt = f"qsticky_sync_last_attempt_timestamp_seconds{{{selector}}}"
    overdue = f"5 * qsticky_sync_interval_seconds{{{selector}}} + 60"
    was_there = f"last_over_time(qsticky_port_in_sync{{{selector}}}[1d])"
    stuck = f"{STUCK_NUMBER} + 0 * (time() - ({attempt} > 0) > {overdue})"
    down = f"{DOWN_NUMBER} + 0 * ({was_there} and on (job, instance) up{{{ALL}}} == 0)"
    code = coded("qsticky_sync_state", SyncState, selector)
    return f"({PER_TUNNEL} ({stuck}) or {code} or {PER_TUNNEL} ({down}))"


def mappings(words: Mapping[int, tuple[str, str]]) -> list[Json]:
    """Text and colour for numbers."""
    options = {
        str(number): {"text": text, "color": color, "index": index}
        for index, (number, (text, color)) in enumerate(words.items())
    }
    return [{"type": "value", "options": options}]


def _answer(state: SyncState) -> str:
    label = WORDS[state].label
    if state is SyncState.IN_SYNC:
        return "Yes"
    if state is SyncState.STARTING:
        return label
    return f"{'No' if state in SURELY_CLOSED else 'Unknown'}: {label}"


def _tone(state: SyncState) -> str:
    return TONES[WORDS[state].tone]


ANSWERS = mappings(
    {n: (_answer(s), _tone(s)) for n, s in enumerate(SyncState, 1)}
    | {
        STUCK_NUMBER: ("qSticky is stuck", PURPLE),
        DOWN_NUMBER: ("qSticky is down", PURPLE),
    }
)
STATES = mappings(
    {n: (WORDS[s].label, _tone(s)) for n, s in enumerate(SyncState, 1)}
    | {STUCK_NUMBER: (STUCK.label, PURPLE), DOWN_NUMBER: ("qSticky is down", PURPLE)}
)
_VPN_COLORS = {VpnStatus.RUNNING: GREEN, VpnStatus.STARTING: YELLOW, VpnStatus.STOPPING: YELLOW}
VPN_WORDS = mappings(
    {
        n: (VPN[s][0], GREY if s is VpnStatus.UNKNOWN else _VPN_COLORS.get(s, RED))
        for n, s in enumerate(VpnStatus, 1)
    }
)
_CONNECTION_COLORS = {
    ConnectionStatus.CONNECTED: GREEN,
    ConnectionStatus.FIREWALLED: BLUE,
    ConnectionStatus.DISCONNECTED: RED,
    ConnectionStatus.UNKNOWN: GREY,
}
CONNECTION_WORDS = mappings(
    {n: (CONNECTION[s][0], _CONNECTION_COLORS[s]) for n, s in enumerate(ConnectionStatus, 1)}
)
NOT_KNOWN = "\N{EN DASH}"
NO_PORT_WORD = mappings({0: (NOT_KNOWN, "text")})
NEVER = mappings({0: ("never", "text")})


def each(metric: str) -> str:
    """The metric of all tunnels, with the same labels as their state."""
    return f"{PER_TUNNEL} ({metric}{{{ALL}}})"


def grown(metric: str) -> str:
    """What a counter of the chosen tunnels grew by in the time that is shown."""
    return f"sum(increase({metric}{{{CHOSEN}}}[$__range]))"


def per_operation(expr: str) -> str:
    """Exchanges of all chosen processes, by kind."""
    return f"sum by (operation) ({expr})"


def quantile(q: float) -> str:
    """How long an exchange takes at most, in this share of the cases; nothing where none was."""
    buckets = f"rate(qsticky_operation_duration_seconds_bucket{{{ALL}}}[$__rate_interval])"
    return f"histogram_quantile({q}, sum by (operation, le) ({buckets})) > 0"


def rate(metric: str, selector: str = ALL) -> str:
    """How often a second."""
    return f"rate({metric}{{{selector}}}[$__rate_interval])"


def ours(metric: str) -> str:
    """A metric that every process has, of qSticky alone."""
    return f"{metric}{{{ALL}}} {OURS}"
