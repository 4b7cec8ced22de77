"""Write the generated parts of docs/configuration.md and README.md.

Run it with `python -m docs.generate_settings`.
"""

from __future__ import annotations

from pathlib import Path

from exporter.settings import SETTINGS, Setting

PAGE = Path(__file__).with_name("configuration.md")
README = PAGE.parent.parent / "README.md"

PAGE_MARKS = ("<!-- generated: settings -->", "<!-- end of generated: settings -->")
README_MARKS = ("<!-- settings -->", "<!-- /settings -->")


def settings_table() -> str:
    """One line for each setting: all that there is to know."""
    lines = ["| Variable | In YAML | Value | Default | Meaning |", "|---|---|---|---|---|"]
    for setting in SETTINGS:
        path = f"`{'.'.join(setting.yaml_path)}`" if setting.yaml_path else ""
        lines.append(
            f"| `{setting.name}` | {path} | {setting.expected} | {_default(setting)} "
            f"| {_meaning(setting)} |"
        )
    return "\n".join(lines)


def variables_table() -> str:
    """One line for each variable, as the README shows them."""
    lines = ["| Variable | Default | Meaning |", "|---|---|---|"]
    lines += [f"| `{s.name}` | {_default(s)} | {_meaning(s)} |" for s in SETTINGS]
    return "\n".join(lines)


def _default(setting: Setting) -> str:
    return f"`{setting.default}`" if setting.default else ""


def _meaning(setting: Setting) -> str:
    return f"{setting.help} Secret." if setting.secret else setting.help


def generated(page: str, marks: tuple[str, str], table: str) -> str:
    """The page with the part between the marks made anew; the prose around it stays."""
    begin, end = marks
    head, rest = page.split(begin)
    return f"{head}{begin}\n{table}\n{end}{rest.split(end)[1]}"


def write() -> None:
    """Make both pages anew; a README that is not there yet stays away."""
    for page, marks, table in (
        (PAGE, PAGE_MARKS, settings_table()),
        (README, README_MARKS, variables_table()),
    ):
        if page.exists():
            text = page.read_text(encoding="utf-8")
            page.write_text(generated(text, marks, table), encoding="utf-8")


if __name__ == "__main__":
    write()
