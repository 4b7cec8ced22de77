"""The status page: plain HTML made of what the board holds, for a person in a hurry.

Every text that isn't written here is escaped. No script, no outside resource.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from urllib.parse import quote, urlencode

from exporter.board import TimedEvent, TunnelView
from exporter.model import NO_PORT, Level, Outcome, SyncState
from exporter.page_style import ICON_COLOURS, SHAPES, STYLE
from exporter.page_words import (
    TONE_LABELS,
    VPN,
    WORDS,
    Tone,
    Words,
    ago,
    overview_sentence,
    peers,
    proof,
    sentence,
    span,
    title,
    words_for,
)

_TONES = list(Tone)
_STATES = list(SyncState)

_LEVEL_TONES = {Level.WARNING: Tone.WAITING, Level.ERROR: Tone.BAD}


@dataclass(frozen=True, slots=True)
class Setting:
    """What a page needs besides the tunnels; `now` is in Unix seconds."""

    now: float
    version: str
    docs_url: str = ""
    refresh_seconds: int = 0
    """0 = the page stays as it is."""
    asked: bool = False
    """Whether a check has just been asked for from this page."""
    tunnel: str | None = None
    """The tunnel that was picked by name."""
    state: SyncState | None = None
    """Show the tunnels in this state only."""

    def address(self, *, refreshing: bool) -> str:
        """The relative address of this very page, refreshing by itself or not."""
        return _address(self.tunnel, self.state, refresh=refreshing)


def tunnel_page(view: TunnelView, setting: Setting, *, alone: bool) -> str:
    """All about one tunnel; `alone` where there is no other."""
    now = setting.now
    tone = words_for(view, now).tone
    heading = title(view, now) if alone else f"{title(view, now)} · {view.name}"
    aside = "" if alone and view.name == "default" else f"<p>{escape(view.name)}</p>"
    aside += "" if alone else '<a href="./">All tunnels</a>'
    content = (
        _hero(view, setting, alone=alone)
        + _ports(view.outcome, tone)
        + _problem(view, now)
        + _facts(view, now)
        + _events(view.events, now)
    )
    return _document(heading, tone, content, setting, aside=aside)


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
        f'<section class="hero {tone.value}" aria-labelledby="state"><p>{_mark(tone, 26)}</p>'
        f'<h1 id="state">{said}</h1>{_check_now(None, setting, "Check all now")}</section>'
        + _filters(views, setting)
        + _table(shown, now)
    )
    return _document(said.rstrip("."), tone, content, setting)


def missing_page(name: str, setting: Setting) -> str:
    """The answer where no tunnel has that name."""
    content = (
        '<section class="hero starting"><h1>There is no tunnel of that name.</h1>'
        f'<p>Asked for: {escape(name)}</p><p><a href="./">All tunnels</a></p></section>'
    )
    return _document("No such tunnel", Tone.STARTING, content, setting, aside="")


def _worst_first(view: TunnelView, now: float) -> tuple[int, int, str]:
    return _TONES.index(words_for(view, now).tone), _STATES.index(view.state), view.name


def _document(
    heading: str, tone: Tone, content: str, setting: Setting, *, aside: str | None = None
) -> str:
    """A whole page; `aside` names the tunnel it is about, None for the wide page of all."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="robots" content="noindex">'
        f"<title>{escape(heading)} · qSticky</title>"
        f'<link rel="icon" href="{_favicon(tone)}"><style>{STYLE}</style></head>'
        f'<body class="{"wide" if aside is None else "narrow"}"><header class="top">'
        f'<a class="brand" href="./">qSticky</a>{aside or ""}</header>'
        f"<main>{content}</main>{_footer(setting)}</body></html>\n"
    )


def _favicon(tone: Tone) -> str:
    colour = ICON_COLOURS[tone.value]
    drawing = SHAPES[tone.value].format(hole='fill="none" stroke="#fff" stroke-width="2.2"')
    drawing = drawing.replace("currentColor", colour)
    image = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 20">{drawing}</svg>'
    return f"data:image/svg+xml,{quote(image)}"


def _icon(tone: Tone, size: int) -> str:
    drawing = SHAPES[tone.value].format(hole='class="hole"')
    box = f'viewBox="0 0 20 20" width="{size}" height="{size}"'
    return f'<svg {box} aria-hidden="true">{drawing}</svg>'


def _own(text: str) -> str:
    """Text of ours as HTML, with the apostrophes that print uses."""
    return escape(text, quote=False).replace("'", "&rsquo;")


def _badge(words: Words, size: int) -> str:
    return _mark(words.tone, size, words.label)


def _mark(tone: Tone, size: int, label: str = "") -> str:
    words = f"<span>{label or TONE_LABELS[tone]}</span>"
    return f'<span class="badge {tone.value}">{_icon(tone, size)}{words}</span>'


def _time(then: float, now: float) -> str:
    moment = datetime.fromtimestamp(then, UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"
    return f'<time datetime="{moment}" title="{moment}">{ago(then, now)}</time>'


def _hero(view: TunnelView, setting: Setting, *, alone: bool) -> str:
    words = words_for(view, setting.now)
    comfort = f"<p>{_own(words.comfort)}</p>" if words.comfort else ""
    asks_for = None if alone else view.name
    said = _own(sentence(view, setting.now))
    return (
        f'<section class="hero {words.tone.value}" aria-labelledby="state">'
        f'<p>{_badge(words, 26)}</p><h1 id="state">{said}</h1>{comfort}'
        f"{_check_now(asks_for, setting, 'Check now', _checked(view, setting.now))}</section>"
    )


def _checked(view: TunnelView, now: float) -> str:
    if view.outcome is None:
        return ""
    return f"Checked {_time(view.outcome.finished_at, now)}."


def _check_now(tunnel: str | None, setting: Setting, label: str, note: str = "") -> str:
    fields = '<input type="hidden" name="by" value="page">'
    if tunnel is not None:
        fields += f'<input type="hidden" name="tunnel" value="{escape(tunnel)}">'
    said = "A check is under way." if setting.asked else note
    return (
        f'<form class="act" method="post" action="-/sync">{fields}'
        f'<button>{label}</button><p class="soft">{said}</p></form>'
    )


def _ports(outcome: Outcome | None, tone: Tone) -> str:
    if outcome is None:
        return ""
    same = outcome.forwarded_port == outcome.listening_port != NO_PORT
    both = NO_PORT not in (outcome.forwarded_port, outcome.listening_port)
    sign, meaning = ("=", "the same as") if same else ("\N{NOT EQUAL TO}", "not the same as")
    comparison = (
        f'<p class="sign {tone.value}"><span aria-hidden="true">{sign}</span>'
        f'<span class="unseen">{meaning}</span></p>'
    )
    return (
        '<section class="card" aria-label="Ports"><div class="ports">'
        + _port("VPN forwards", outcome.forwarded_port, known=outcome.gluetun_up)
        + (comparison if both else "")
        + _port("qBittorrent listens on", outcome.listening_port, known=outcome.qbittorrent_up)
        + "</div></section>"
    )


def _port(name: str, port: int, *, known: bool) -> str:
    kind = "port" if port else "port none"
    value = port or ("none" if known else "unknown")
    return f'<p><span class="name">{name}</span> <span class="{kind}">{value}</span></p>'


def _problem(view: TunnelView, now: float) -> str:
    """The failures of the last cycle, or the last one before it, with what to do."""
    outcome = view.outcome
    if outcome is not None and outcome.failures:
        items = "".join(_failure(failure.message, failure.fix) for failure in outcome.failures)
        return _problem_card("What is wrong", items + _suspended(outcome, now), "problem")
    if view.last_failure is None:
        return ""
    failure = view.last_failure.failure
    when = f'<p class="soft">{_time(view.last_failure.at, now)}, over since then</p>'
    return _problem_card(
        "Last error", when + _failure(failure.message, failure.fix), "problem over"
    )


def _problem_card(heading: str, content: str, kind: str) -> str:
    return (
        f'<section class="card {kind}" aria-labelledby="problem">'
        f'<h2 id="problem">{heading}</h2>{content}</section>'
    )


def _failure(message: str, fix: str) -> str:
    remedy = f"<p><strong>To do:</strong> {escape(fix)}</p>" if fix else ""
    return f"<div><p>{escape(message)}</p>{remedy}</div>"


def _suspended(outcome: Outcome, now: float) -> str:
    if outcome.login_suspended_until <= now:
        return ""
    return (
        f"<p>Next login try {_time(outcome.login_suspended_until, now)}, "
        "or at once when the user name or password changes.</p>"
    )


def _facts(view: TunnelView, now: float) -> str:
    outcome = view.outcome
    if outcome is None:
        return ""
    vpn, vpn_note = VPN[outcome.vpn_status]
    rows = [
        _fact("VPN", vpn, vpn_note),
        _fact("Peers", *peers(outcome)),
        _fact("Socket", *proof(outcome)),
        _fact("Last change", _moment(outcome.last_port_change_at, now, "not seen yet")),
        _fact("This state", f"for {span(now - view.state_since)}"),
        _fact("Checks", f"every {span(outcome.interval_seconds)}"),
    ]
    if not outcome.in_sync:
        rows.append(_fact("Last in sync", _moment(outcome.last_success_at, now, "never")))
    if outcome.qbittorrent_version:
        rows.append(_fact("qBittorrent", escape(outcome.qbittorrent_version)))
    return (
        '<section class="card" aria-labelledby="details"><h2 id="details">Details</h2>'
        f'<dl class="facts">{"".join(rows)}</dl></section>'
    )


def _fact(name: str, value: str, note: str = "") -> str:
    said = f'<br><span class="soft">{_own(note)}</span>' if note else ""
    return f"<dt>{name}</dt><dd>{value}{said}</dd>"


def _moment(then: float, now: float, never: str) -> str:
    return _time(then, now) if then else never


def _events(events: Sequence[TimedEvent], now: float) -> str:
    items = "".join(_event(timed, now) for timed in events)
    listed = f'<ol class="events">{items}</ol>' if items else '<p class="soft">Nothing yet.</p>'
    return (
        '<section class="card" aria-labelledby="events"><h2 id="events">What happened</h2>'
        f"{listed}</section>"
    )


def _event(timed: TimedEvent, now: float) -> str:
    event = timed.event
    tone = _LEVEL_TONES.get(event.level)
    kind = f' class="{tone.value}"' if tone else ""
    level = f'<span class="unseen">{event.level.value.title()}: </span>' if tone else ""
    fix = f'<p class="fix">To do: {escape(event.fix)}</p>' if event.fix else ""
    return (
        f"<li{kind}>{_icon(tone, 16) if tone else _DOT}<span>{_time(timed.at, now)}</span>"
        f"<p>{level}{escape(event.message)}</p>{fix}</li>"
    )


_DOT = (
    '<svg viewBox="0 0 20 20" width="16" height="16" aria-hidden="true">'
    '<circle cx="10" cy="10" r="4" fill="currentColor"/></svg>'
)


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
    icon = "" if state is None else _icon(WORDS[state].tone, 16)
    tone = "" if state is None else f' class="{WORDS[state].tone.value}"'
    address = _address(None, state, refresh=bool(setting.refresh_seconds))
    return (
        f'<li><a{tone} href="{escape(address)}"{current}>{icon}{escape(label)} {count:,}</a></li>'
    )


def _address(tunnel: str | None, state: SyncState | None, *, refresh: bool) -> str:
    """A relative address, so that it works below any path that a proxy may put in front."""
    query: Mapping[str, str | None] = {
        "tunnel": tunnel,
        "state": state,
        "refresh": None if refresh else "off",
    }
    given = {key: value for key, value in query.items() if value is not None}
    return f"./?{urlencode(given, errors='replace')}" if given else "./"


def _table(views: Sequence[TunnelView], now: float) -> str:
    rows = "".join(_row(view, now) for view in views)
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


def _row(view: TunnelView, now: float) -> str:
    outcome = view.outcome
    address = _address(view.name, None, refresh=True)
    head = (
        f'<tr><th scope="row"><div><a href="{escape(address)}">{escape(view.name)}</a>'
        f"<span>{_badge(words_for(view, now), 16)}</span></div></th>"
    )
    if outcome is None:
        empty = '<td class="number">&ndash;</td>' * 2 + '<td class="wide-only">&ndash;</td>' * 2
        return f"{head}{empty}</tr>"
    return (
        f"{head}"
        f'<td class="number">{outcome.forwarded_port or "&ndash;"}</td>'
        f'<td class="number">{outcome.listening_port or "&ndash;"}</td>'
        f'<td class="wide-only">{span(now - view.state_since)}</td>'
        f'<td class="wide-only">{_time(outcome.finished_at, now)}</td></tr>'
    )


def _footer(setting: Setting) -> str:
    docs = (
        f'<li><a href="{escape(setting.docs_url)}">Documentation</a></li>'
        if setting.docs_url
        else ""
    )
    return (
        '<footer><nav aria-label="More"><ul><li><a href="metrics">Metrics</a></li>'
        f'<li><a href="status.json">status.json</a></li>{docs}</ul></nav>'
        f"<p>{_refreshing(setting)} qSticky {escape(setting.version)}</p></footer>"
    )


def _refreshing(setting: Setting) -> str:
    other = escape(setting.address(refreshing=not setting.refresh_seconds))
    if setting.refresh_seconds:
        said = f"This page refreshes itself every {setting.refresh_seconds} s."
        return f'{said} <a href="{other}">Pause</a> ·'
    return f'This page stays as it is. <a href="{other}">Refresh</a> ·'
