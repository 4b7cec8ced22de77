"""How the status page looks: its style sheet, allowed by its hash, and its drawings by tone."""

from __future__ import annotations

import base64
import hashlib

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #f6f5f1; --card: #fff; --ink: #1d1c1a; --soft: #5d5a53; --line: #dedad1; --link: #1f4f8f;
  --good: #0a6647; --good-tint: #e3f1ea; --waiting: #7d5200; --waiting-tint: #fbefd6;
  --bad: #a9211a; --bad-tint: #fce8e6; --starting: #37557f; --starting-tint: #e7edf6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #131312; --card: #1c1c1a; --ink: #ecebe6; --soft: #a9a69c; --line: #35342f;
    --link: #9cc2f5;
    --good: #74d8ab; --good-tint: #12291f; --waiting: #f0bf63; --waiting-tint: #2d2412;
    --bad: #ff9f94; --bad-tint: #381714; --starting: #a8c5f2; --starting-tint: #182338;
  }
}
.good { --tone: var(--good); --tint: var(--good-tint); }
.waiting { --tone: var(--waiting); --tint: var(--waiting-tint); }
.bad { --tone: var(--bad); --tint: var(--bad-tint); }
.starting { --tone: var(--starting); --tint: var(--starting-tint); }

*, ::before, ::after { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 Inter, -apple-system, BlinkMacSystemFont, "Segoe UI", Roboto, "Noto Sans",
    "Liberation Sans", sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere;
}
body > * { max-width: 46rem; margin-inline: auto; padding-inline: 1.25rem; }
body.wide > * { max-width: 64rem; }
h1, h2, p, dl, dd, ol, ul, form { margin: 0; }
h1 {
  font-size: clamp(1.6rem, 1.15rem + 2.2vw, 2.3rem); line-height: 1.2; font-weight: 650;
  letter-spacing: -0.018em; text-wrap: balance;
}
h2 { font-size: 1rem; font-weight: 650; }
a { color: var(--link); text-underline-offset: 0.2em; text-decoration-thickness: 1px; }
a:hover { text-decoration-thickness: 2px; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 4px; }
.soft { color: var(--soft); }
svg { display: block; flex: none; }

.top {
  display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; justify-content: space-between;
  align-items: baseline; padding-block: 1.25rem 0.9rem;
}
.brand { font-weight: 700; letter-spacing: -0.01em; color: var(--ink); text-decoration: none; }
main { display: grid; gap: 1.25rem; grid-template-columns: minmax(0, 1fr); }
section { display: grid; gap: 0.9rem; grid-template-columns: minmax(0, 1fr); }
.card {
  background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 1.25rem;
}
.hole { fill: none; stroke: var(--card); stroke-width: 2.2; }
.hero {
  background: var(--tint); border: 1px solid var(--tone); border-radius: 18px;
  padding: clamp(1.25rem, 4vw, 2rem); gap: 0.9rem;
}
.badge {
  display: inline-flex; align-items: center; gap: 0.5em; font-weight: 650; color: var(--tone);
}
.hero .badge { font-size: 1.05rem; }
.act {
  display: flex; flex-wrap: wrap; gap: 0.75rem 1.25rem; align-items: center; margin-top: 0.35rem;
}
button {
  font: inherit; font-weight: 600; min-height: 2.75rem; padding: 0.4rem 1.15rem; cursor: pointer;
  color: var(--card); background: var(--ink); border: 1px solid var(--ink); border-radius: 10px;
}
button:hover { background: var(--card); color: var(--ink); }

.ports { display: flex; gap: clamp(0.9rem, 4vw, 2rem); align-items: end; }
.ports span { display: block; }
.ports .name { color: var(--soft); font-size: 0.875rem; line-height: 1.35; }
.ports .port, .ports .sign {
  font-size: clamp(1.7rem, 1rem + 4.5vw, 2.75rem); line-height: 1.15; font-weight: 650;
  letter-spacing: -0.02em;
}
.ports .none { font-weight: 500; font-size: 1.35rem; line-height: 1.6; color: var(--soft); }
.ports .sign { text-align: center; color: var(--tone); }

.facts { display: grid; grid-template-columns: minmax(7rem, 11rem) minmax(0, 1fr); }
.facts > * { padding-block: 0.6rem; border-top: 1px solid var(--line); }
.facts > :nth-child(-n + 2) { border-top: 0; padding-top: 0; }
.facts > :nth-last-child(-n + 2) { padding-bottom: 0; }
.facts dt { color: var(--soft); padding-right: 1rem; }
.facts dd { font-weight: 500; }
.facts .soft, .fix { font-weight: 400; font-size: 0.9375rem; }
.problem { border-left: 4px solid var(--bad); }
.problem.over { border-left-color: var(--line); }

.events { list-style: none; padding: 0; }
.events li {
  display: grid; grid-template-columns: 1.25rem 6.25rem minmax(0, 1fr); gap: 0.15rem 0.6rem;
  padding-block: 0.55rem; border-top: 1px solid var(--line);
}
.events li:first-child { border-top: 0; padding-top: 0; }
.events li:last-child { padding-bottom: 0; }
.events svg { margin-top: 0.28rem; color: var(--tone, var(--soft)); }
.events time { color: var(--soft); }
.events .fix { grid-column: 3; color: var(--soft); }

.filters { display: flex; flex-wrap: wrap; gap: 0.5rem; list-style: none; padding: 0; }
.filters a {
  display: inline-flex; align-items: center; gap: 0.5em; min-height: 2.5rem; padding: 0.2rem 0.9rem;
  border: 1px solid var(--line); border-radius: 999px; background: var(--card); color: var(--ink);
  text-decoration: none;
}
.filters a[aria-current] { background: var(--ink); color: var(--card); border-color: var(--ink); }
.filters a:hover { border-color: var(--ink); }
.filters svg { color: var(--tone); }
.filters a[aria-current] svg { color: inherit; }
.table { padding: 0; overflow: hidden; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: 0.65rem 0.75rem; vertical-align: baseline; }
th:first-child, td:first-child { padding-left: 1.25rem; }
thead th { font-size: 0.875rem; font-weight: 500; color: var(--soft); vertical-align: bottom; }
tbody tr { border-top: 1px solid var(--line); }
thead th { overflow-wrap: normal; }
tbody th { font-weight: 600; }
td.number, th.number { text-align: right; white-space: nowrap; }
th div { display: grid; grid-template-columns: minmax(0, 1fr) 15rem; gap: 0.1rem 1rem; }
th .badge { font-size: 0.9375rem; }

footer { padding-block: 2rem 2.5rem; color: var(--soft); font-size: 0.9375rem; }
footer ul {
  display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; list-style: none; padding: 0 0 0.5rem;
}
footer a { color: inherit; display: inline-block; padding-block: 0.3rem; }
.unseen {
  position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap;
}
@media (max-width: 40rem) {
  .facts { grid-template-columns: 6.75rem minmax(0, 1fr); }
  .facts dt { padding-right: 0.5rem; }
  .events li { grid-template-columns: 1.25rem minmax(0, 1fr); }
  .events p { grid-column: 2; }
  .events .fix { grid-column: 2; }
  .wide-only { display: none; }
  th, td { padding-inline: 0.5rem; }
  th:first-child, td:first-child { padding-left: 0.9rem; }
  th:last-child, td:last-child { padding-right: 0.9rem; }
  .ports .name { max-width: 6.5rem; }
  th:first-child { width: 75%; }
  thead th { font-size: 0.8125rem; }
  th div { grid-template-columns: minmax(0, 1fr); }
}
"""

STYLE_HASH = "sha256-" + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode("ascii")

# Each tone has its own outline, so that no colour is needed to tell them apart.
SHAPES = {
    "good": (
        '<circle cx="10" cy="10" r="9" fill="currentColor"/>'
        '<path d="M5.8 10.4l2.9 2.9 5.5-6.1" {hole}/>'
    ),
    "waiting": (
        '<path d="M10 1.2L19.4 18H.6z" fill="currentColor"/><path d="M10 7v5.2M10 14v2" {hole}/>'
    ),
    "bad": (
        '<path d="M6 .8h8L19.2 6v8L14 19.2H6L.8 14V6z" fill="currentColor"/>'
        '<path d="M6.6 6.6l6.8 6.8M13.4 6.6l-6.8 6.8" {hole}/>'
    ),
    "starting": (
        '<circle cx="10" cy="10" r="8" fill="none" stroke="currentColor" stroke-width="2.2"/>'
        '<path d="M10 5.5V10l3 2" fill="none" stroke="currentColor" stroke-width="2.2"/>'
    ),
}
ICON_COLOURS = {
    "good": "#12805c",
    "waiting": "#b87800",
    "bad": "#c62f26",
    "starting": "#5579ad",
}
"""Of the icon in the browser's tab, on a light or a dark bar."""
