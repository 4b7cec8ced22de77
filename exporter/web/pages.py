"""The status page: plain HTML made of what the board holds, for a person in a hurry.

Every text that isn't written here is escaped. No script, no outside resource.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from exporter.model import NO_PORT, Level, Outcome
from exporter.report.board import TimedEvent, TunnelView
from exporter.web.page_frame import Setting, badge, check_now, document, icon, own, time_tag
from exporter.web.words import (
    VPN,
    Tone,
    peers,
    proof,
    sentence,
    span,
    title,
    words_for,
)

_LEVEL_TONES = {Level.WARNING: Tone.WAITING, Level.ERROR: Tone.BAD}


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
        + _problem(view, setting)
        + _facts(view, setting)
        + _events(view.events, setting)
    )
    return document(heading, tone, content, setting, aside=aside)


def _hero(view: TunnelView, setting: Setting, *, alone: bool) -> str:
    words = words_for(view, setting.now)
    comfort = f"<p>{own(words.comfort)}</p>" if words.comfort else ""
    asks_for = None if alone else view.name
    said = own(sentence(view, setting.now))
    return (
        f'<section class="hero {words.tone.value}" aria-labelledby="state">'
        f'<p>{badge(words, 26)}</p><h1 id="state">{said}</h1>{comfort}'
        f"{check_now(asks_for, setting, 'Check now', _checked(view, setting))}</section>"
    )


def _checked(view: TunnelView, setting: Setting) -> str:
    if view.outcome is None:
        return ""
    return f"Checked {time_tag(view.outcome.finished_at or setting.now, setting)}."


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
        + _port("VPN forwards", outcome.forwarded_port, known=outcome.gluetun is not None)
        + (comparison if both else "")
        + _port(
            "qBittorrent listens on", outcome.listening_port, known=outcome.qbittorrent is not None
        )
        + "</div></section>"
    )


def _port(name: str, port: int, *, known: bool) -> str:
    kind = "port" if port else "port none"
    value = port or ("none" if known else "unknown")
    return f'<p><span class="name">{name}</span> <span class="{kind}">{value}</span></p>'


def _problem(view: TunnelView, setting: Setting) -> str:
    """The failures of the last cycle, or the last one before it, with what to do."""
    outcome = view.outcome
    if outcome is not None and outcome.failures:
        items = "".join(_failure(failure.message, failure.fix) for failure in outcome.failures)
        return _problem_card("What is wrong", items + _suspended(outcome, setting), "problem")
    if view.last_failure is None:
        return ""
    failure = view.last_failure.failure
    when = f'<p class="soft">{time_tag(view.last_failure.at, setting)}, over since then</p>'
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


def _suspended(outcome: Outcome, setting: Setting) -> str:
    until = outcome.login_suspended_until
    if until is None or until <= setting.now:
        return ""
    return (
        f"<p>Next login try {time_tag(until, setting)}, "
        "or at once when the user name or password changes, four times an hour at most.</p>"
    )


def _facts(view: TunnelView, setting: Setting) -> str:
    outcome = view.outcome
    if outcome is None:
        return ""
    vpn, vpn_note = VPN[outcome.vpn_status]
    rows = [
        _fact("VPN", vpn, vpn_note),
        _fact("Peers", *peers(outcome)),
        _fact("Socket", *proof(outcome)),
        _fact("Last change", _moment(outcome.saved.port_changed_at, setting, "not seen yet")),
        _fact("This state", f"for {span(setting.now - view.state_since)}"),
        _fact("Checks", f"every {span(view.config.interval_seconds)}"),
    ]
    if not outcome.in_sync:
        rows.append(_fact("Last in sync", _moment(outcome.saved.succeeded_at, setting, "never")))
    if outcome.qbittorrent and outcome.qbittorrent.version:
        rows.append(_fact("qBittorrent", escape(outcome.qbittorrent.version)))
    return (
        '<section class="card" aria-labelledby="details"><h2 id="details">Details</h2>'
        f'<dl class="facts">{"".join(rows)}</dl></section>'
    )


def _fact(name: str, value: str, note: str = "") -> str:
    said = f'<br><span class="soft">{own(note)}</span>' if note else ""
    return f"<dt>{name}</dt><dd>{value}{said}</dd>"


def _moment(then: float | None, setting: Setting, never: str) -> str:
    return never if then is None else time_tag(then, setting)


def _events(events: Sequence[TimedEvent], setting: Setting) -> str:
    items = "".join(_event(timed, setting) for timed in events)
    listed = f'<ol class="events">{items}</ol>' if items else '<p class="soft">Nothing yet.</p>'
    return (
        '<section class="card" aria-labelledby="events"><h2 id="events">What happened</h2>'
        f"{listed}</section>"
    )


def _event(timed: TimedEvent, setting: Setting) -> str:
    event = timed.event
    tone = _LEVEL_TONES.get(event.level)
    kind = f' class="{tone.value}"' if tone else ""
    level = f'<span class="unseen">{event.level.value.title()}: </span>' if tone else ""
    fix = f'<p class="fix">To do: {escape(event.fix)}</p>' if event.fix else ""
    return (
        f"<li{kind}>{icon(tone, 16) if tone else _DOT}<span>{time_tag(timed.at, setting)}</span>"
        f"<p>{level}{escape(event.message)}</p>{fix}</li>"
    )


_DOT = (
    '<svg viewBox="0 0 20 20" width="16" height="16" aria-hidden="true">'
    '<circle cx="10" cy="10" r="4" fill="currentColor"/></svg>'
)
