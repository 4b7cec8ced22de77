"""Small mistakes that somebody could make in a module, found in its syntax tree.

mutmut 3 changes the bodies of functions only, not the tables and constants that much of our
modules consists of; cosmic-ray starts Python anew for each of a thousand mutants.
"""

import ast
import copy
from collections.abc import Iterator
from typing import NamedTuple

OTHER: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
}
NAMES = {"annotation", "returns", "decorator_list", "cause", "names", "type_comment"}
"""Parts of the tree that are no behaviour, or that mypy and ruff guard."""


class Mutant(NamedTuple):
    """A module with one mistake; `change` names it, without line numbers, which move."""

    change: str
    tree: ast.Module


def mutants(source: str) -> Iterator[Mutant]:
    """Every module that differs from this one by one small mistake."""
    tree = ast.parse(source)
    said: dict[str, int] = {}
    for place in list(_places(tree, (), "")):
        for number in range(len(_changes(_at(tree, place.path)))):
            other = copy.deepcopy(tree)
            node = _at(other, place.path)
            before = ast.unparse(node)
            after = _changes(node)[number]
            _put(other, place.path, after)
            change = f"{place.function}: `{_short(before)}` becomes `{_short(ast.unparse(after))}`"
            said[change] = said.get(change, 0) + 1
            nth = f" ({said[change]})" if said[change] > 1 else ""
            yield Mutant(change + nth, ast.fix_missing_locations(other))


Path = tuple[tuple[str, int | None], ...]


class _Place(NamedTuple):
    path: Path
    function: str


def _places(node: ast.AST, path: Path, function: str) -> Iterator[_Place]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        function = f"{function}.{node.name}" if function else node.name
    yield _Place(path, function or "module")
    for name, value in ast.iter_fields(node):
        if name in NAMES:
            continue
        children = value if isinstance(value, list) else [value]
        for index, child in enumerate(children):
            if isinstance(child, ast.AST) and not _is_text(child):
                where = index if isinstance(value, list) else None
                yield from _places(child, (*path, (name, where)), function)


def _is_text(node: ast.AST) -> bool:
    """A docstring, the text after a constant, or a type variable."""
    if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("TypeVar("):
        return True
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _at(tree: ast.AST, path: Path) -> ast.AST:
    found: ast.AST = tree
    for name, index in path:
        part = getattr(found, name)
        found = part if index is None else part[index]
    return found


def _put(tree: ast.AST, path: Path, node: ast.AST) -> None:
    parent, (name, index) = _at(tree, path[:-1]), path[-1]
    if index is None:
        setattr(parent, name, node)
    else:
        getattr(parent, name)[index] = node


def _changes(node: ast.AST) -> list[ast.AST]:  # noqa: PLR0911  # a table of cases
    match node:
        case ast.Compare(ops=[operator, *rest]) if type(operator) in OTHER:
            return [_with(node, ops=[OTHER[type(operator)](), *rest])]
        case ast.BoolOp(op=operator) | ast.BinOp(op=operator) if type(operator) in OTHER:
            return [_with(node, op=OTHER[type(operator)]())]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return [operand]
        case ast.Constant(value=bool() as value):
            return [ast.Constant(not value)]
        case ast.Constant(value=int() | float() as value):
            return [ast.Constant(value + 1)]
        case ast.Constant(value=str() as value):
            return [ast.Constant(f"{value}x")]
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise():
            return [ast.Pass()]
        case ast.Return(value=ast.Constant(value=False | None)):
            return []  # as good as None, and mypy guards the type
        case ast.Return(value=ast.expr()):
            return [ast.Return(None)]
        case _:
            return []


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 90 else f"{flat[:90]}…"
