"""The first dashboard: is my port open?"""

from __future__ import annotations

from docs.dashboards.parts import (
    DETAILS_LINK,
    About,
    Place,
    dashboard,
    fields,
    graph,
    now,
    override,
    panel,
    row,
    stat,
    steps,
    target,
    timeline,
)
from docs.dashboards.words import (
    ALL,
    ANSWERS,
    CHOSEN,
    CONNECTION_WORDS,
    GREEN,
    NEVER,
    NO_PORT_WORD,
    NOT_KNOWN,
    PER_TUNNEL,
    RED,
    STATES,
    VPN_WORDS,
    WHICH,
    YELLOW,
    Json,
    coded,
    each,
    grown,
    state_of,
)
from exporter.model import ConnectionStatus, VpnStatus

CHOOSE = {
    "title": "Show this tunnel below",
    "url": "/d/qsticky-overview?${datasource:queryparam}&${job:queryparam}&${instance:queryparam}"
    "&var-tunnel=${__field.labels.tunnel}&${__url_time_range}",
    "targetBlank": False,
}


COLORED = {"type": "color-background", "mode": "basic"}
TINTED = {"type": "color-text"}
COLUMNS: tuple[tuple[str, str, Json], ...] = (
    ("Open now?", state_of(ALL), {"mappings": ANSWERS, "custom__cellOptions": COLORED}),
    ("Forwarded port", each("qsticky_forwarded_port"), {"mappings": NO_PORT_WORD}),
    ("Listening port", each("qsticky_qbittorrent_listen_port"), {"mappings": NO_PORT_WORD}),
    (
        "VPN",
        coded("qsticky_vpn_status", VpnStatus, ALL),
        {"mappings": VPN_WORDS, "custom__cellOptions": TINTED},
    ),
    (
        "Peers",
        coded("qsticky_qbittorrent_connection_status", ConnectionStatus, ALL),
        {"mappings": CONNECTION_WORDS, "custom__cellOptions": TINTED},
    ),
    (
        "Last in sync",
        f"1000 * {each('qsticky_sync_last_success_timestamp_seconds')}",
        {"unit": "dateTimeFromNow", "mappings": NEVER},
    ),
    (
        "Port last changed",
        f"1000 * {each('qsticky_port_last_change_timestamp_seconds')}",
        {"unit": "dateTimeFromNow", "mappings": NEVER},
    ),
    (
        "Open in this time",
        f"{PER_TUNNEL} (avg_over_time(qsticky_port_in_sync{{{ALL}}}[$__range]))",
        {"unit": "percentunit", "decimals": 1},
    ),
)
"""Of the table of all tunnels: heading, query, looks."""


def tunnel_table(place: Place) -> Json:
    """One line for each tunnel."""
    names = {"tunnel": "Tunnel", "instance": "Instance"}
    targets = []
    for ref, (name, expr, _) in zip("ABCDEFGH", COLUMNS, strict=True):
        names[f"Value #{ref}"] = name
        targets.append(now(ref, expr, "") | {"format": "table"})
    about = About(
        "Each tunnel in numbers",
        "One line for each tunnel, those in trouble first. "
        f"A port shown as {NOT_KNOWN} is none, or not known.",
        place,
    )
    options = {
        "showHeader": True,
        "cellHeight": "sm",
        "sortBy": [{"displayName": "Open now?", "desc": True}],
    }
    looks = fields(
        (override("byName", name, **how) for name, _, how in COLUMNS),
        unit="none",
        decimals=0,
        noValue=NOT_KNOWN,
        color={"mode": "thresholds"},
        custom={"align": "left", "filterable": False},
    )
    columns = {
        "excludeByName": {"Time": True, "job": True},
        "indexByName": {name: index for index, name in enumerate(names)},
        "renameByName": names,
    }
    return panel("table", about, targets, options, looks) | {
        "transformations": [
            {"id": "merge", "options": {}},
            {"id": "organize", "options": columns},
        ]
    }


PORT_LINES = (
    override(
        "byRegexp",
        "/ forwarded$/",
        custom__lineWidth=5,
        color={"mode": "fixed", "fixedColor": "light-blue"},
    ),
    override(
        "byRegexp",
        "/ listening$/",
        custom__lineWidth=2,
        color={"mode": "fixed", "fixedColor": "dark-orange"},
    ),
)


def overview() -> Json:
    """All tunnels at a glance, then the chosen ones."""
    counted = [
        now("A", f"sum({state_of(ALL)} == bool 1)", "open"),
        now("B", f"sum({state_of(ALL)} != bool 1)", "not open"),
    ]
    happened = [
        now("A", grown("qsticky_port_changes_total"), "Port changes"),
        now("B", grown("qsticky_port_updates_total"), "Port set"),
        now("C", grown("qsticky_port_drifts_total"), "Drifts"),
        now("D", grown("qsticky_port_rebinds_total"), "Re-binds"),
        now("E", grown("qsticky_push_triggers_total"), "Pushes"),
    ]
    ports = [
        target("A", f"qsticky_forwarded_port{{{CHOSEN}}} > 0", f"{WHICH}, forwarded"),
        target(
            "B",
            f"qsticky_qbittorrent_listen_port{{{CHOSEN}}} > 0",
            f"{WHICH}, listening",
        ),
    ]
    panels = [
        row("Is the port open now?", 0),
        stat(
            About(
                "Tunnels",
                "How many tunnels are open to peers now, and how many are not, or may not be.",
                Place(0, 1, 4, 8),
            ),
            counted,
            color="background",
            text="value_and_name",
            unit="none",
            decimals=0,
            thresholds=steps(RED, (1, GREEN)),
            overrides=[override("byName", "not open", thresholds=steps(GREEN, (1, RED)))],
        ),
        stat(
            About(
                "Open now?",
                "Yes: qBittorrent listens on the very port that the VPN forwards. Else why not, "
                "as the status page says it. Unknown: who would have to tell gives no answer. A "
                "click shows that tunnel below.",
                Place(4, 1, 20, 8),
            ),
            [now("A", state_of(ALL), WHICH)],
            color="background",
            text="value_and_name",
            mappings=ANSWERS,
            noValue="No qSticky found: is Prometheus scraping it?",
            links=[CHOOSE],
        ),
        tunnel_table(Place(0, 9, 24, 7)),
        row("What happened: $tunnel", 16),
        timeline(
            About(
                "State",
                "Where each chosen tunnel stood. For the past week, choose “Last 7 days” above.",
                Place(0, 17, 24, 9),
            ),
            state_of(CHOSEN),
            STATES,
        ),
        graph(
            About(
                "Ports",
                "The port that the VPN forwards (wide line), and the one that qBittorrent listens "
                "on (thin line). They should lie on each other; a gap is no port, or not known. "
                "Of many tunnels, choose one above.",
                Place(0, 26, 24, 8),
            ),
            ports,
            unit="none",
            legend="right",
            decimals=0,
            noValue="no port in this time",
            drawing={"lineInterpolation": "stepAfter"},
            overrides=PORT_LINES,
        ),
        timeline(
            About(
                "VPN",
                "What Gluetun says of its VPN. Unknown: it did not answer, or qSticky may not ask "
                "it.",
                Place(0, 34, 12, 7),
            ),
            coded("qsticky_vpn_status", VpnStatus, CHOSEN),
            VPN_WORDS,
        ),
        timeline(
            About(
                "Peers",
                "What qBittorrent says of its connection. Waiting for peers: nobody has connected "
                "in yet; normal for a while after a change, and with few torrents.",
                Place(12, 34, 12, 7),
            ),
            coded("qsticky_qbittorrent_connection_status", ConnectionStatus, CHOSEN),
            CONNECTION_WORDS,
        ),
        stat(
            About(
                "Open in this time",
                "Share of the time in which the chosen tunnels were proved open, on average; time "
                "without qSticky does not count.",
                Place(0, 41, 4, 4),
            ),
            [now("A", f"avg(avg_over_time(qsticky_port_in_sync{{{CHOSEN}}}[$__range]))", "open")],
            text="value",
            unit="percentunit",
            decimals=1,
            thresholds=steps(RED, (0.8, YELLOW), (0.95, GREEN)),
        ),
        stat(
            About(
                "How often in this time",
                "Port changes: the VPN gave another port. Port set: qSticky wrote it to "
                "qBittorrent. Drifts: something else changed qBittorrent's port. Re-binds: a dead "
                "socket was opened anew. Pushes: somebody, mostly Gluetun, asked for a check at "
                "once.",
                Place(4, 41, 20, 4),
            ),
            happened,
            text="value_and_name",
            unit="none",
            decimals=0,
            overrides=[override("byName", "Drifts", thresholds=steps("text", (1, YELLOW)))],
        ),
    ]
    return dashboard(
        "qsticky-overview",
        "qSticky: is my port open?",
        "Whether the forwarded port of every VPN tunnel is open in its qBittorrent.",
        DETAILS_LINK,
        panels,
    )
