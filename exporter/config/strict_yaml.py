"""YAML without surprises: no key twice, no dates, no huge numbers, no text in error messages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from exporter.config.given import read_text, shown_key


def load_yaml(path: Path) -> Any:
    """Read a file; raises OSError or ValueError, whose text never holds a value of the file."""
    try:
        return yaml.load(read_text(path), _StrictLoader)  # noqa: S506  # it is a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(_without_snippet(error)) from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


class _StrictLoader(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys without a word, and trusts what looks like a date."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping whose keys are all different."""
        seen: list[Any] = []
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue  # `<<: *other` gives only what the mapping leaves out
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise ConstructorError(
                    problem=f"found key {shown_key(key)} a second time",
                    problem_mark=key_node.start_mark,
                )
            seen.append(key)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return a value, unless it makes no sense."""
        try:
            made = super().construct_object(node, deep)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            # such as 2024-13-45
            raise ConstructorError(
                problem="found text that needs quotes", problem_mark=node.start_mark
            ) from error
        if isinstance(made, int) and made.bit_length() > _MOST_BITS:
            raise ConstructorError(problem="found a huge number", problem_mark=node.start_mark)
        return made


_MOST_BITS = 64
"""Python refuses to print numbers of more than 4,300 digits."""


def _without_snippet(error: Any) -> str:
    """Say what is wrong and where, without the text itself: it may hold a secret.

    PyYAML quotes the text in some messages: `*hunter2` is to it an undefined alias 'hunter2'.
    """
    mark = getattr(error, "problem_mark", None)
    problem = _QUOTED_TEXT.sub("", getattr(error, "problem", None) or "not YAML")
    return f"{problem} at line {mark.line + 1}" if mark else problem


_QUOTED_TEXT = re.compile(r""" '(?!<)[^']{3,}'| "[^"]{3,}\"""")
"""More than one character; `<block end>` and the like are PyYAML's own words."""
