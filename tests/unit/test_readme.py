"""README.md: its tables are those of the code."""

from docs import generate_readme


def test_the_tables_of_the_readme_are_not_stale() -> None:
    page = generate_readme.README.read_text(encoding="utf-8")

    assert page == generate_readme.generated(page), "run `make docs`"


def test_the_prose_around_the_tables_stays() -> None:
    page = "\n".join(
        f"before\n<!-- generated: {name} -->\nstale\n<!-- end of generated: {name} -->\nafter"
        for name in ("variables", "metrics", "alerts")
    )

    made = generate_readme.generated(page)

    assert "stale\n" not in made
    assert (made.count("before\n"), made.count("\nafter")) == (3, 3)


def test_a_metric_and_an_alert_each_have_a_line() -> None:
    assert "| `qsticky_syncs_total` | Finished cycles. |" in generate_readme.metrics_table()
    assert (
        "| [QStickyVPNDown](docs/runbooks.md#qstickyvpndown) | critical | The VPN is down. |"
    ) in generate_readme.alerts_table()
