"""The second dashboard: how qSticky itself does."""

from __future__ import annotations

from docs.dashboards.parts import (
    BARS,
    LOGARITHMIC,
    OVERVIEW_LINK,
    About,
    Place,
    dashboard,
    graph,
    now,
    override,
    row,
    stat,
    target,
)
from docs.dashboards.words import (
    ALL,
    CHOSEN,
    GREEN,
    GREY,
    NEVER,
    OURS,
    PURPLE,
    RED,
    YELLOW,
    Json,
    mappings,
    ours,
    per_operation,
    quantile,
    rate,
)


def details() -> Json:
    """Checks, operations, durations, process."""
    failed_checks = (
        f"sum({rate('qsticky_sync_failures_total', CHOSEN)})"
        f" / (sum({rate('qsticky_syncs_total', CHOSEN)}) > 0)"
    )
    failing = (
        f"{per_operation(rate('qsticky_operation_failures_total'))}"
        f" / ({per_operation(rate('qsticky_operations_total'))} > 0)"
    )
    failures = f"increase(qsticky_operation_failures_total{{{ALL}}}[$__rate_interval])"
    panels = [
        row("Checks: $tunnel", 0),
        graph(
            About(
                "Checks a minute",
                "How often qSticky looked at the chosen tunnels. More often while it waits for a "
                "port or for a server.",
                Place(0, 1, 8, 7),
            ),
            [target("A", f"60 * sum({rate('qsticky_syncs_total', CHOSEN)})", "checks")],
            unit="none",
            decimals=1,
            min=0,
        ),
        graph(
            About(
                "Checks that did not end in sync",
                "Their share of all checks of the chosen tunnels.",
                Place(8, 1, 8, 7),
            ),
            [target("A", failed_checks, "not in sync")],
            unit="percentunit",
            min=0,
            max=1,
            color={"mode": "fixed", "fixedColor": RED},
            drawing={"fillOpacity": 20},
        ),
        graph(
            About(
                "Longest time since a check",
                "Of the chosen tunnels, the one that waits longest. It should stay about the "
                "interval between two checks (dashed); far above it, qSticky is stuck.",
                Place(16, 1, 8, 7),
            ),
            [
                target(
                    "A",
                    f"max(time() - (qsticky_sync_last_attempt_timestamp_seconds{{{CHOSEN}}} > 0))",
                    "since the last check",
                ),
                target("B", f"max(qsticky_sync_interval_seconds{{{CHOSEN}}})", "interval"),
            ],
            unit="s",
            min=0,
            overrides=[
                override(
                    "byName",
                    "interval",
                    custom__lineStyle={"fill": "dash", "dash": [8, 8]},
                    color={"mode": "fixed", "fixedColor": GREY},
                )
            ],
        ),
        row("Operations: all tunnels", 8),
        graph(
            About(
                "Operations a minute",
                "Finished exchanges with Gluetun, qBittorrent and the disk.",
                Place(0, 9, 8, 8),
            ),
            [
                target(
                    "A", f"60 * {per_operation(rate('qsticky_operations_total'))}", "{{operation}}"
                )
            ],
            unit="none",
            decimals=1,
            min=0,
        ),
        graph(
            About(
                "Failures",
                "Exchanges that failed, by what was done and why; see “Metrics” above for the "
                "reasons.",
                Place(8, 9, 8, 8),
            ),
            [
                target(
                    "A",
                    f"sum by (operation, reason) ({failures}) > 0",
                    "{{operation}}: {{reason}}",
                )
            ],
            unit="none",
            decimals=0,
            min=0,
            noValue="none failed",
            drawing=BARS,
        ),
        graph(
            About(
                "Share that failed", "Failures among all exchanges of a kind.", Place(16, 9, 8, 8)
            ),
            [target("A", failing, "{{operation}}")],
            unit="percentunit",
            min=0,
            max=1,
        ),
        row("Durations: all tunnels", 17),
        graph(
            About(
                "Usual duration",
                "Half of the exchanges of a kind are faster than this (median), those that failed "
                "too.",
                Place(0, 18, 8, 8),
            ),
            [target("A", quantile(0.5), "{{operation}}")],
            unit="s",
            drawing=LOGARITHMIC,
        ),
        graph(
            About(
                "Slow ones",
                "One exchange in twenty takes longer than this (95th percentile). Near 5 s they "
                "run into REQUEST_TIMEOUT.",
                Place(8, 18, 8, 8),
            ),
            [target("A", quantile(0.95), "{{operation}}")],
            unit="s",
            drawing=LOGARITHMIC,
        ),
        graph(
            About(
                "Slowest ones",
                "One exchange in a hundred takes longer than this (99th percentile).",
                Place(16, 18, 8, 8),
            ),
            [target("A", quantile(0.99), "{{operation}}")],
            unit="s",
            drawing=LOGARITHMIC,
        ),
        row("Process", 26),
        *_process(27),
    ]
    return dashboard(
        "qsticky-details",
        "qSticky: details",
        "How qSticky itself does: its checks, its exchanges with both servers, and its process.",
        OVERVIEW_LINK,
        panels,
    )


def _process(y: int) -> list[Json]:
    connected = f"sum by (version) (qsticky_qbittorrent_info{{{CHOSEN}}})"
    return [
        stat(
            About(
                "qSticky",
                "Versions of qSticky, and how many processes run each.",
                Place(0, y, 6, 4),
            ),
            [now("A", f"sum by (version) (qsticky_build_info{{{ALL}}})", "{{version}}")],
            text="value_and_name",
            unit="none",
            decimals=0,
            noValue="qSticky is down",
        ),
        stat(
            About(
                "qBittorrent",
                "Versions of the chosen tunnels' qBittorrents, and how many have each.",
                Place(6, y, 6, 4),
            ),
            [now("A", connected, "{{version}}")],
            text="value_and_name",
            unit="none",
            decimals=0,
            noValue="none known",
        ),
        stat(
            About("Running since", "When the process started.", Place(12, y, 4, 4)),
            [now("A", f"1000 * ({ours('process_start_time_seconds')})", "{{instance}}")],
            text="value",
            unit="dateTimeFromNow",
            noValue="qSticky is down",
        ),
        stat(
            About(
                "status.json written",
                "When it was last written. The health check reads it.",
                Place(16, y, 4, 4),
            ),
            [
                now(
                    "A",
                    f"1000 * qsticky_status_file_last_write_timestamp_seconds{{{ALL}}}",
                    "{{instance}}",
                )
            ],
            text="value",
            unit="dateTimeFromNow",
            mappings=NEVER,
            noValue="qSticky is down",
        ),
        stat(
            About(
                "Configuration",
                "Whether it was accepted when it was last loaded.",
                Place(20, y, 4, 4),
            ),
            [now("A", f"qsticky_config_last_reload_successful{{{ALL}}}", "{{instance}}")],
            text="value",
            mappings=mappings({0: ("Rejected", RED), 1: ("Accepted", GREEN)}),
            noValue="qSticky is down",
        ),
        graph(
            About("Memory", "What the process holds in memory.", Place(0, y + 4, 6, 7)),
            [target("A", ours("process_resident_memory_bytes"), "{{instance}}")],
            unit="bytes",
            min=0,
        ),
        graph(
            About("Processor", "Share of one core.", Place(6, y + 4, 6, 7)),
            [target("A", f"{rate('process_cpu_seconds_total')} {OURS}", "{{instance}}")],
            unit="percentunit",
            min=0,
        ),
        graph(
            About(
                "Open files",
                "Files and connections. It should not grow for days on end.",
                Place(12, y + 4, 6, 7),
            ),
            [target("A", ours("process_open_fds"), "{{instance}}")],
            unit="none",
            decimals=0,
            min=0,
        ),
        graph(
            About(
                "Warnings and errors in the log",
                "Lines of level warning and above; each says what to do.",
                Place(18, y + 4, 6, 7),
            ),
            [
                target(
                    "A",
                    f"sum by (level) (increase(qsticky_log_messages_total{{{ALL}}}"
                    "[$__rate_interval]))",
                    "{{level}}",
                )
            ],
            unit="none",
            decimals=0,
            min=0,
            drawing=BARS,
            overrides=[
                override("byName", "warning", color={"mode": "fixed", "fixedColor": YELLOW}),
                override("byName", "error", color={"mode": "fixed", "fixedColor": RED}),
                override("byName", "critical", color={"mode": "fixed", "fixedColor": PURPLE}),
            ],
        ),
    ]
