"""The status page: what the board holds, rendered for a person in a hurry.

To be imported when the first page is asked for: until then nobody pays for the templates.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from exporter.clock import span
from exporter.model import Level, Outcome, SyncState
from exporter.report.board import TunnelView
from exporter.web.words import (
    TONE_LABELS,
    VPN,
    WORDS,
    Tone,
    ago,
    overview_sentence,
    peers,
    proof,
    sentence,
    title,
    words_for,
)

_HERE = Path(__file__).parent
_STYLE = (_HERE / "style.css").read_text("utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode("ascii")
STYLE_SOURCE = f"'sha256-{_STYLE_HASH}'"
"""What the security policy must allow. The sheet is part of each page: it needs no route of its
own that a proxy in front would have to let through, and a stored page keeps its looks."""

_REFRESH_SECONDS = {Tone.GOOD: 15, Tone.WAITING: 5, Tone.BAD: 5, Tone.STARTING: 2}
_OVERVIEW_REFRESH_SECONDS = 15
_ASKED_REFRESH_SECONDS = 2
_TONES = list(Tone)
_STATES = list(SyncState)


class PageContext(NamedTuple):
    """What a page needs besides the tunnels; `now` is a moment."""

    now: float
    unix: Callable[[float], float]
    """Turns a moment into Unix seconds."""
    version: str
    docs_url: str = ""
    refreshing: bool = True
    asked: bool = False
    """Whether a check has just been asked for from this page."""
    tunnel: str | None = None
    """The tunnel that was picked by name."""
    state: SyncState | None = None
    """Show the tunnels in this state only."""

    def utc(self, moment: float) -> str:
        """Return a moment in UTC."""
        return datetime.fromtimestamp(self.unix(moment), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def address(self, *, refreshing: bool) -> str:
        """Return the relative address of this very page, refreshing by itself or not."""
        return page_address(self.tunnel, self.state, refresh=refreshing)


class Page(NamedTuple):
    """A rendered page, and the value of its `Refresh` header (empty = it stays as it is)."""

    html: str
    refresh: str
    found: bool = True


def status_page(views: Mapping[str, TunnelView], context: PageContext) -> Page:
    """Return the page of the tunnel that was picked, of the only one, or of all."""
    alone = len(views) == 1
    if context.tunnel is not None:
        view = views.get(context.tunnel)
        return tunnel_page(view, context, alone=alone) if view else missing_page(context)
    if alone:
        return tunnel_page(next(iter(views.values())), context, alone=True)
    return overview_page(list(views.values()), context)


def tunnel_page(view: TunnelView, context: PageContext, *, alone: bool) -> Page:
    """Return the page of one tunnel; `alone` where there is no other."""
    now, words = context.now, words_for(view, context.now)
    heading = title(view, now) if alone else f"{title(view, now)} · {view.name}"
    values: dict[str, Any] = {
        "view": view,
        "words": words,
        "sentence": sentence(view, now),
        "alone": alone,
        "facts": [] if view.outcome is None else _facts(view.outcome, now),
    }
    seconds = _REFRESH_SECONDS[words.tone]
    return _page("tunnel.html", context, seconds, heading=heading, tone=words.tone, **values)


def _facts(outcome: Outcome, now: float) -> list[tuple[str, str, str]]:
    return [
        ("VPN", *VPN[outcome.vpn_status]),
        ("Peers", *peers(outcome, now)),
        ("Socket", *proof(outcome)),
    ]


def overview_page(views: Sequence[TunnelView], context: PageContext) -> Page:
    """Return the page of all tunnels in a table, worst first, with a filter by state."""
    told = [(view, words_for(view, context.now)) for view in views]
    rows = [(view, words) for view, words in told if context.state in (None, view.state)]
    rows.sort(key=lambda row: (*_worst_first(row[1].tone, row[0].state), row[0].name))
    counts = Counter(view.state for view in views)
    said = overview_sentence(views, context.now)
    values: dict[str, Any] = {
        "sentence": said,
        "tone": min((words.tone for _, words in told), key=_TONES.index, default=Tone.STARTING),
        "total": len(views),
        "counts": sorted(counts.items(), key=lambda one: _worst_first(WORDS[one[0]].tone, one[0])),
        "rows": rows,
    }
    heading = said.rstrip(".")
    return _page("overview.html", context, _OVERVIEW_REFRESH_SECONDS, heading=heading, **values)


def _worst_first(tone: Tone, state: SyncState) -> tuple[int, int]:
    return _TONES.index(tone), _STATES.index(state)


def missing_page(context: PageContext) -> Page:
    """Return the answer where no tunnel has the name that was asked for."""
    values: dict[str, Any] = {"heading": "No such tunnel", "tone": Tone.STARTING, "found": False}
    return _page("missing.html", context, _OVERVIEW_REFRESH_SECONDS, **values)


def page_address(
    tunnel: str | None = None, state: SyncState | None = None, *, refresh: bool = True
) -> str:
    """Return a relative address: it works below any path that a proxy may put in front."""
    query = {"tunnel": tunnel, "state": state, "refresh": None if refresh else "off"}
    given = {key: value for key, value in query.items() if value is not None}
    return f"./?{urlencode(given, errors='replace')}" if given else "./"


def _page(
    template: str, context: PageContext, seconds: int, *, found: bool = True, **values: Any
) -> Page:
    seconds = seconds if context.refreshing else 0
    refresh = str(seconds or "")
    if context.asked:
        refresh = f"{_ASKED_REFRESH_SECONDS}; url={context.address(refreshing=True)}"
    html = _templates.get_template(template).render(
        context=context, refresh_seconds=seconds, **values
    )
    return Page(html, refresh, found)


_templates = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
# sets the apostrophes of our own words as print does
_templates.filters["curly_quotes"] = lambda text: text.replace("'", "\u2019")
_templates.globals.update(
    style=Markup(_STYLE),  # noqa: S704  # our own file, and its hash allows these bytes alone
    ago=ago,
    span=span,
    page_address=page_address,
    tone_labels=TONE_LABELS,
    state_words=WORDS,
    level_tones={Level.WARNING: Tone.WAITING, Level.ERROR: Tone.BAD},
)
