"""What all pages share: the frame, the footer, icons, times and the button for a check.

No script, no outside resource.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from urllib.parse import quote, urlencode

from exporter.model import SyncState
from exporter.web.page_style import ICON_COLOURS, SHAPES, STYLE
from exporter.web.words import TONE_LABELS, Tone, Words, ago


@dataclass(frozen=True, slots=True)
class Setting:
    """What a page needs besides the tunnels; `now` is a moment."""

    now: float
    unix: Callable[[float], float]
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
        return page_address(self.tunnel, self.state, refresh=refreshing)


def missing_page(name: str, setting: Setting) -> str:
    """The answer where no tunnel has that name."""
    content = (
        '<section class="hero starting"><h1>There is no tunnel of that name.</h1>'
        f'<p>Asked for: {escape(name)}</p><p><a href="./">All tunnels</a></p></section>'
    )
    return document("No such tunnel", Tone.STARTING, content, setting, aside="")


def document(
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


def icon(tone: Tone, size: int) -> str:
    """The shape of a tone, `size` pixels wide; told apart without colours."""
    drawing = SHAPES[tone.value].format(hole='class="hole"')
    box = f'viewBox="0 0 20 20" width="{size}" height="{size}"'
    return f'<svg {box} aria-hidden="true">{drawing}</svg>'


def own(text: str) -> str:
    """Text of ours as HTML, with the apostrophes that print uses."""
    return escape(text, quote=False).replace("'", "&rsquo;")


def badge(words: Words, size: int) -> str:
    """Icon and short name of a state."""
    return mark(words.tone, size, words.label)


def mark(tone: Tone, size: int, label: str = "") -> str:
    """Icon and a word of one's own, or that of the tone."""
    words = f"<span>{label or TONE_LABELS[tone]}</span>"
    return f'<span class="badge {tone.value}">{icon(tone, size)}{words}</span>'


def time_tag(then: float, setting: Setting) -> str:
    """How long ago it was; the moment itself (UTC) shows under the pointer."""
    moment = (
        datetime.fromtimestamp(setting.unix(then), UTC)
        .replace(microsecond=0, tzinfo=None)
        .isoformat()
        + "Z"
    )
    return f'<time datetime="{moment}" title="{moment}">{ago(then, setting.now)}</time>'


def check_now(tunnel: str | None, setting: Setting, label: str, note: str = "") -> str:
    """The button that asks for a check of one tunnel, or of all (None), and a note beside it."""
    fields = '<input type="hidden" name="by" value="page">'
    if tunnel is not None:
        fields += f'<input type="hidden" name="tunnel" value="{escape(tunnel)}">'
    said = "A check is under way." if setting.asked else note
    return (
        f'<form class="act" method="post" action="-/sync">{fields}'
        f'<button>{label}</button><p class="soft">{said}</p></form>'
    )


def page_address(tunnel: str | None, state: SyncState | None, *, refresh: bool) -> str:
    """A relative address, so that it works below any path that a proxy may put in front."""
    query: Mapping[str, str | None] = {
        "tunnel": tunnel,
        "state": state,
        "refresh": None if refresh else "off",
    }
    given = {key: value for key, value in query.items() if value is not None}
    return f"./?{urlencode(given, errors='replace')}" if given else "./"


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
