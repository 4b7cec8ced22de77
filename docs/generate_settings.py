"""The tables of settings in README.md and docs/configuration.md, which docs/generate.py writes."""

from __future__ import annotations

from exporter.config.settings import SETTINGS, Setting


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
