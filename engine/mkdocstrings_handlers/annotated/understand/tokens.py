"""
# Where the code names things

A symbol is tied to a name, and the name stands in the code many times: as a variable, as an attribute, as what a `def` defines. These places light up together.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from ..document import Source


@dataclass(frozen=True)
class Token:
    """A name in the code, and where it begins."""

    line: int
    start: int
    name: str


def names_of(source: Source) -> Iterator[Token]:
    """Where the code names a variable, an attribute of `self`, a function or a class. The name of an argument in a call is none of these."""
    for node in ast.walk(source.tree):
        match node:
            case ast.Name(id=name):
                yield from _token(source, node.lineno, node.col_offset, name)
            case ast.arg(arg=name) | ast.alias(name=name, asname=None):
                yield from _token(source, node.lineno, node.col_offset, name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name, end_lineno=int(line)):
                end = (node.end_col_offset or 0) - len(name.encode())
                yield from _token(source, line, end, name, "self.")
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                text = source.lines[node.lineno - 1]
                start = text.find(f" {node.name}", node.col_offset) + 1
                yield Token(node.lineno, start, node.name)


def _token(
    source: Source, line: int, column: int, name: str, owner: str = ""
) -> Iterator[Token]:
    start = source.column(line, column)
    # In an f-string, Python 3.11 doesn't always know.
    if source.lines[line - 1].startswith(name, start):
        yield Token(line, start, owner + name)
