"""The page of all tunnels: a table, worst first, with a filter by state that needs no script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

from exporter.model import SyncState
from exporter.report.board import TunnelView
from exporter.web.page_frame import (
    Setting,
    badge,
    check_now,
    document,
    icon,
    mark,
    page_address,
    time_tag,
)
from exporter.web.words import (
    WORDS,
    Tone,
    overview_sentence,
    span,
    words_for,
)

_TONES = list(Tone)
_STATES = list(SyncState)


def overview_page(views: Sequence[TunnelView], setting: Setting) -> str:
    """All tunnels in a table, worst first, with a filter by state."""
    now = setting.now
    tone = min(
        (words_for(view, now).tone for view in views), key=_TONES.index, default=Tone.STARTING
    )
    shown = [view for view in views if setting.state in (None, view.state)]
    shown.sort(key=lambda view: _worst_first(view, now))
    said = overview_sentence(views, now)
    content = (
        f'<section class="hero {tone.value}" aria-labelledby="state"><p>{mark(tone, 26)}</p>'
        f'<h1 id="state">{said}</h1>{check_now(None, setting, "Check all now")}</section>'
        + _filters(views, setting)
        + _table(shown, setting)
    )
    return document(said.rstrip("."), tone, content, setting)


def _worst_first(view: TunnelView, now: float) -> tuple[int, int, str]:
    return _TONES.index(words_for(view, now).tone), _STATES.index(view.state), view.name


def _filters(views: Sequence[TunnelView], setting: Setting) -> str:
    counts = Counter(view.state for view in views)
    present = sorted(
        counts, key=lambda state: (_TONES.index(WORDS[state].tone), _STATES.index(state))
    )
    items = [_filter("All", len(views), None, setting)]
    items += [_filter(WORDS[state].label, counts[state], state, setting) for state in present]
    return f'<nav aria-label="Filter by state"><ul class="filters">{"".join(items)}</ul></nav>'


def _filter(label: str, count: int, state: SyncState | None, setting: Setting) -> str:
    current = ' aria-current="page"' if setting.state is state else ""
    shape = "" if state is None else icon(WORDS[state].tone, 16)
    tone = "" if state is None else f' class="{WORDS[state].tone.value}"'
    address = page_address(None, state, refresh=bool(setting.refresh_seconds))
    return (
        f'<li><a{tone} href="{escape(address)}"{current}>{shape}{escape(label)} {count:,}</a></li>'
    )


def _table(views: Sequence[TunnelView], setting: Setting) -> str:
    rows = "".join(_row(view, setting) for view in views)
    if not rows:
        return '<section class="card"><p>No tunnel is in that state.</p></section>'
    return (
        '<section class="card table" aria-label="Tunnels"><table><thead><tr>'
        '<th scope="col">Tunnel and state</th>'
        '<th scope="col" class="number">VPN</th>'
        '<th scope="col" class="number">qBittorrent</th>'
        '<th scope="col" class="wide-only">For</th><th scope="col" class="wide-only">Checked</th>'
        f"</tr></thead><tbody>{rows}</tbody></table></section>"
    )


def _row(view: TunnelView, setting: Setting) -> str:
    now = setting.now
    outcome = view.outcome
    address = page_address(view.name, None, refresh=True)
    head = (
        f'<tr><th scope="row"><div><a href="{escape(address)}">{escape(view.name)}</a>'
        f"<span>{badge(words_for(view, now), 16)}</span></div></th>"
    )
    if outcome is None:
        empty = '<td class="number">&ndash;</td>' * 2 + '<td class="wide-only">&ndash;</td>' * 2
        return f"{head}{empty}</tr>"
    return (
        f"{head}"
        f'<td class="number">{outcome.forwarded_port or "&ndash;"}</td>'
        f'<td class="number">{outcome.listening_port or "&ndash;"}</td>'
        f'<td class="wide-only">{span(now - view.state_since)}</td>'
        f'<td class="wide-only">{time_tag(outcome.finished_at or now, setting)}</td></tr>'
    )
