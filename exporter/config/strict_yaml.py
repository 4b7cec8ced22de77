"""YAML without surprises: no key twice, no dates, no huge numbers, no text in error messages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError
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

    def compose_scalar_node(self, anchor: Any) -> Any:
        """Return a text, unless it is `&hunter2`, which YAML takes for the name of a nothing."""
        event = self.peek_event()  # type: ignore[no-untyped-call]  # the published types lack it
        if anchor is not None and not event.style:
            raise ComposerError(
                problem="found text that needs quotes", problem_mark=event.start_mark
            )
        return super().compose_scalar_node(anchor)

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
    """Say where and what is wrong, without the text itself: it may hold a secret.

    PyYAML quotes the text in some messages: `*hunter2` is to it an undefined alias 'hunter2'.
    """
    problem = getattr(error, "problem", None) or "found a control character"
    fallback = ("", _QUOTED_TEXT.sub("", problem), _HERE)
    _, plain, at = next((row for row in _PLAIN_WORDS if re.match(row[0], problem)), fallback)
    mark = getattr(error, at, None)
    return f"line {mark.line + 1}, column {mark.column + 1}: {plain}" if mark else plain


_QUOTED_TEXT = re.compile(r""" '(?!<)[^']{3,}'| "[^"]{3,}\"""")
"""More than one character; `<block end>` and the like are PyYAML's own words."""

_HERE, _BEGINNING = "problem_mark", "context_mark"
_PLAIN_WORDS = (
    (r"found character '\\t'", "a tab; indent with spaces", _HERE),
    (
        "mapping values are not allowed",
        "this colon does not fit; check the indentation, the space after each colon, and quotes "
        "around text that has one",
        _HERE,
    ),
    ("expected <block end>, but found '<scalar>'", "text after the closing quote", _HERE),
    ("expected <block end>", "the indentation does not fit the lines above", _HERE),
    ("could not find expected ':'", "a key without a colon", _BEGINNING),
    ("found unexpected end of stream", "a quote that is never closed", _BEGINNING),
    (".* '<stream end>'", "a bracket that is never closed", _BEGINNING),
    ("expected ',' or", "a comma or a closing bracket is missing before this", _HERE),
    ("found unknown escape", "a backslash in double quotes; use single quotes", _HERE),
    (
        "found character|found undefined|could not determine a constructor for the tag"
        "|expected alphabetic or numeric|expected chomping",
        "text that begins with a special character needs quotes",
        _HERE,
    ),
    ("expected the node content", "a value is missing, or it needs quotes", _HERE),
    ("but found another document", "a second document; only one is read", _HERE),
)
"""What people do wrong most, and which of PyYAML's two places shows it."""
