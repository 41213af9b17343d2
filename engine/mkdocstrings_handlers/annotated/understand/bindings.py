"""
# Where names are bound

Which lines of a module bind a name, and which: an assignment, a loop, a `with`, a parameter. [The tracer][mkdocstrings_handlers.annotated.understand.trace] asks these what they were given,
and [the list of symbols][mkdocstrings_handlers.annotated.understand.legend] what is said behind them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from ..read.source import DEFINITIONS

MISSING = object()


@dataclass(frozen=True)
class Site:
    """
    A statement or a parameter. A site is known by its place among the others and not by its line, so a record survives better comments.
    A literal is on the line already, and so is a new name for an old one: neither is a site.
    """

    node: ast.stmt | ast.arg
    line: int
    names: tuple[str, ...]
    default: object = MISSING


def sites(tree: ast.Module) -> list[Site]:
    found: list[Site] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found += _parameters(node)
        elif isinstance(node, ast.stmt) and (names := tuple(_bound(node))):
            found.append(Site(node, header(node)[-1], names))
    return found


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Site]:
    a = node.args
    plain = [*a.posonlyargs, *a.args]
    defaults = dict(zip(plain[::-1], a.defaults[::-1], strict=False))
    defaults |= {k: d for k, d in zip(a.kwonlyargs, a.kw_defaults, strict=True) if d}
    for arg in filter(None, [*plain, a.vararg, *a.kwonlyargs]):
        default = defaults.get(arg)
        value = ast.literal_eval(default) if default and _literal(default) else MISSING
        if arg.arg not in {"self", "cls"}:
            yield Site(arg, arg.end_lineno or arg.lineno, (arg.arg,), value)


def _bound(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.Assign(targets=several, value=value) if not (_literal(value) or _named(value)):
            yield from (name for target in several for name in targets(target))
        case ast.AnnAssign(target=target, value=ast.expr() as value) if not (
            _literal(value) or _named(value)
        ):
            yield from targets(target)
        case (
            ast.AugAssign(target=target) | ast.For(target=target) | ast.AsyncFor(target=target)
        ):
            yield from targets(target)
        case ast.With(items=items) | ast.AsyncWith(items=items):
            for item in items:
                yield from targets(item.optional_vars) if item.optional_vars else ()
    if not isinstance(node, DEFINITIONS):
        own = [n for n in ast.iter_child_nodes(node) if isinstance(n, ast.expr | ast.withitem)]
        for walrus in (w for n in own for w in ast.walk(n) if isinstance(w, ast.NamedExpr)):
            yield walrus.target.id


def targets(target: ast.expr) -> Iterator[str]:
    """The names that an assignment binds, as they are written: `x`, `self.x`."""
    match target:
        case ast.Name(id=name) if name != "_":
            yield name
        case ast.Attribute(value=ast.Name(id="self"), attr=attr):
            yield f"self.{attr}"
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            for part in parts:
                yield from targets(part)
        case ast.Starred(value=value):
            yield from targets(value)


def _literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True


def _named(node: ast.expr) -> bool:
    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    return all(isinstance(part, ast.Name) for part in parts)


def header(node: ast.stmt | ast.arg) -> range:
    """The lines of a statement without those of the block that it opens."""
    stop = (node.end_lineno or node.lineno) + 1
    body = getattr(node, "body", None) or getattr(node, "cases", None)
    if isinstance(body, list):
        first = getattr(body[0], "lineno", None) or body[0].pattern.lineno
        heads = [n for n in ast.iter_child_nodes(node) if getattr(n, "lineno", first) < first]
        stop = max([node.lineno, *(getattr(n, "end_lineno", 0) for n in heads)]) + 1
    return range(node.lineno, stop)
