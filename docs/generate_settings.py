"""Write the generated part of docs/configuration.md: `python -m docs.generate_settings`."""

from __future__ import annotations

from pathlib import Path

from exporter.config.settings import SETTINGS, Setting

PAGE = Path(__file__).with_name("configuration.md")
BEGIN, END = "<!-- generated: settings -->", "<!-- end of generated: settings -->"


def settings_table() -> str:
    """Return one line for each setting: all that there is to know."""
    lines = ["| Variable | In YAML | Value | Default | Meaning |", "|---|---|---|---|---|"]
    for setting in SETTINGS:
        path = f"`{'.'.join(setting.yaml_path)}`" if setting.yaml_path else ""
        lines.append(
            f"| `{setting.name}` | {path} | {setting.kind.expected} | {_default(setting)} "
            f"| {_meaning(setting)} |"
        )
    return "\n".join(lines)


def variables_table() -> str:
    """Return one line for each variable, as the README shows them."""
    lines = ["| Variable | Default | Meaning |", "|---|---|---|"]
    lines += [f"| `{s.name}` | {_default(s)} | {_meaning(s)} |" for s in SETTINGS]
    return "\n".join(lines)


def _default(setting: Setting) -> str:
    return f"`{setting.default}`" if setting.default else ""


def _meaning(setting: Setting) -> str:
    return f"{setting.help} Secret." if setting.kind.secret else setting.help


def generated(page: str) -> str:
    """Return the page with its table replaced; the prose around it stays."""
    head, rest = page.split(BEGIN)
    return f"{head}{BEGIN}\n{settings_table()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(generated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
