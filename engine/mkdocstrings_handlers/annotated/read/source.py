"""
# What opens a section

A docstring, a comment that has a line to itself, the guard of a module's demo. Each of them is found by the part of Python that knows: the syntax tree or the tokenizer.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

# A comment that speaks to a tool, not to a reader, stays in the code.
PRAGMA = re.compile(
    r"#(!|\s*-\*-|\s*%%|:|\s*(noqa|nosec|region|endregion)\b"
    r"|\s*(type|fmt|pragma|pylint|mypy|pyright|ty|ruff|flake8|isort|yapf|coding|vim)\s*[:=])"
)


@dataclass(frozen=True)
class Opening:
    """Where a section begins. It covers the file from `line` on; `prose` are the lines that speak, and `text` is what they say, numbered."""

    line: int
    prose: range
    text: tuple[tuple[int, str], ...]
    kind: str
    name: str = ""
    column: int = 0


def definitions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[Definition, str]]:
    """Every class and function with its qualified name, whatever statement it is nested in."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, DEFINITIONS):
            yield node, prefix + node.name
            yield from definitions(node, f"{prefix}{node.name}.")
        elif not isinstance(node, ast.expr):
            yield from definitions(node, prefix)


def docstrings(tree: ast.Module, lines: list[str]) -> Iterator[Opening]:
    """
    A docstring belongs beside the `def` or `class` line that it documents, decorators included: that is where its section begins.
    One that shares its line with code (`def f(): "..."`) can't be taken apart by lines, so it stays code.
    """
    nodes: list[tuple[ast.Module | Definition, str]] = [(tree, ""), *definitions(tree)]
    for node, name in nodes:
        if not (ast.get_docstring(node, clean=False) or "").strip():
            continue
        doc = node.body[0]
        end = doc.end_lineno or doc.lineno
        rest = lines[end - 1].encode()[doc.end_col_offset :].strip()
        if lines[doc.lineno - 1].encode()[: doc.col_offset].strip() or not (
            not rest or rest.startswith(b"#")
        ):
            continue
        text = _without_margin(ast.get_docstring(node, clean=False) or "", doc.lineno)
        yield Opening(
            first_line(node),
            range(doc.lineno, end + 1),
            text,
            kind_of(node),
            name,
            getattr(node, "col_offset", 0),
        )


def comments(source: str, lines: list[str]) -> Iterator[Opening]:
    """
    Comments on consecutive lines, in one column, are one paragraph or more.

    Inside brackets a comment stays code. A call or a table of settings is one thought, and a reader who meets it in five pieces, each beside
    half a sentence, has to put it together again; what must be said about it can be said above it.
    """
    depth = 0
    block: list[tuple[int, str]] = []
    last = (0, 0)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        line, column = token.start
        if token.type == tokenize.OP:
            depth += (token.string in "([{") - (token.string in ")]}")
        if (
            token.type != tokenize.COMMENT
            or depth
            or lines[line - 1][:column].strip()
            or PRAGMA.match(token.string)
        ):
            continue
        if block and (line - 1, column) != last:
            yield _block(block, last[1])
            block = []
        block.append((line, token.string[1:].removeprefix(" ").rstrip()))
        last = (line, column)
    if block:
        yield _block(block, last[1])


def _block(text: list[tuple[int, str]], column: int) -> Opening:
    line = text[0][0]
    return Opening(line, range(line, line + len(text)), tuple(text), "comment", column=column)


def headers(
    tree: ast.Module, heads: dict[int, tuple[Definition, str]]
) -> dict[int, tuple[Definition | ast.If, str, str]]:
    """Definitions by their first line, and the `if` that guards the demo."""
    found: dict[int, tuple[Definition | ast.If, str, str]] = {
        line: (node, name, kind_of(node)) for line, (node, name) in heads.items()
    }
    if demo := guard(tree):
        found[demo.lineno] = (demo, "", "demo")
    return found


def guard(tree: ast.Module) -> ast.If | None:
    """The `if __name__ == "__main__":` that a module's demo stands under."""
    guards = (
        n
        for n in tree.body
        if isinstance(n, ast.If) and ast.unparse(n.test) == "__name__ == '__main__'"
    )
    return next(guards, None)


def import_zone(tree: ast.Module) -> range:
    """From the first of a module's leading imports to the last: what every module has and no reader came for, so the page folds it away."""
    body = tree.body[1:] if ast.get_docstring(tree, clean=False) is not None else tree.body
    zone = list(takewhile(_imports, body))
    return range(zone[0].lineno, (zone[-1].end_lineno or 0) + 1) if zone else range(0)


def _imports(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom) or (
        isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    )


def first_line(node: ast.AST) -> int:
    if isinstance(node, ast.Module):
        return 1
    return min(
        n.lineno
        for n in [node, *getattr(node, "decorator_list", [])]
        if isinstance(n, ast.stmt | ast.expr)
    )


def kind_of(node: ast.AST) -> str:
    return {ast.Module: "module", ast.ClassDef: "class"}.get(type(node), "function")


def _without_margin(text: str, line: int) -> tuple[tuple[int, str], ...]:
    """A docstring's lines without their common indentation (the first has none) and without the blank lines around them, numbered from `line`."""
    first, *rest = text.split("\n")
    margin = min((len(t) - len(t.lstrip()) for t in rest if t.strip()), default=0)
    bare = [
        (line + i, t.rstrip())
        for i, t in enumerate([first.lstrip(), *(t[margin:] for t in rest)])
    ]
    spoken = [i for i, (_, t) in enumerate(bare) if t]
    return tuple(bare[spoken[0] : spoken[-1] + 1]) if spoken else ()
