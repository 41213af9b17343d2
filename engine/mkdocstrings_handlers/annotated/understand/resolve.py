"""
# What a name stands for

In `F.layer_norm`, what is `F`? Whatever the file's imports say it is, unless a parameter, an assignment or a loop has taken the name for something else.
It is never known by its spelling. Where there is any doubt this module says nothing, and the page has one link less.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from .scopes import Scope, Scopes

FROM = re.compile(r"from\s+\.*")


@dataclass(frozen=True)
class Reference:
    """
    A stretch of a line that names something: where it starts and where it could end, with what it then stands for. The longest comes first:
    `F.relu.__name__` stands for nothing that has a page, but `F.relu` does.
    """

    line: int
    start: int
    ends: tuple[tuple[int, str], ...]


class Meanings:
    """
    ## The names of one file

    `module` is the name that the file is imported by. A notebook has none, so what it defines itself can't be linked to.
    """

    def __init__(self, source: str, module: str, package: bool = False) -> None:
        self.module = module
        self.lines = source.split("\n")
        self.walk = Scopes(ast.parse(source), module, package)

    def references(self) -> Iterator[Reference]:
        """
        ### In the code

        Every name, in no particular order. A name inside brackets that span lines is still on one line; a chain of attributes that is broken
        over two isn't, and is left alone.
        """
        for imported, target in self.walk.imported:
            start = self._column(imported.lineno, imported.col_offset)
            line = self.lines[imported.lineno - 1]
            spelled = (
                imported.name if isinstance(imported, ast.alias) else imported.module or ""
            )
            if isinstance(imported, ast.ImportFrom) and (before := FROM.match(line, start)):
                start = before.end()
            if line.startswith(spelled, start):
                end = start + len(spelled)
                yield Reference(imported.lineno, start, ((end, target),))
        for node, scope in self.walk.used:
            parts: list[ast.Attribute | ast.Name] = [node]
            while isinstance(parts[-1], ast.Attribute):
                assert isinstance(parts[-1].value, ast.Attribute | ast.Name)
                parts.append(parts[-1].value)
            found = [
                (part, self._target(ast.unparse(part).split("."), scope)) for part in parts
            ]
            ends = tuple(
                (self._column(part.end_lineno or 0, part.end_col_offset or 0), name)
                for part, name in found
                if name
            )
            if ends and node.lineno == node.end_lineno:
                start = self._column(node.lineno, node.col_offset)
                yield Reference(node.lineno, start, ends)

    def spoken(self, text: str, scope: str, kind: str) -> str | None:
        """
        ### In the prose

        What `text` stands for in a section about `scope`. A function's own names come before the module's. A class's docstring explains
        the arguments of its methods, so there an argument called `norm` comes before a function of that name.
        """
        names = text.removesuffix("()").split(".")
        around = [
            inner
            for name, inner in self.walk.scopes.items()
            if f"{scope}.".startswith(f"{name}.")
            or (kind == "class" and name.startswith(f"{scope}."))
        ]
        if any(inner.kind == "function" and names[0] in inner.bound for inner in around):
            return None
        return self._target(names, self.walk.scopes.get(scope, self.walk.top))

    def _target(self, names: list[str], scope: Scope) -> str | None:
        base, where = scope.look_up(names[0])
        if base:
            return ".".join([base, *names[1:]])
        # `self.update` is the class's method of that name, or that of a base class in this file.
        if where and where.instance == names[0] and len(names) > 1 and where.parent:
            method = self._method(names[1], where.parent)
            return ".".join([method, *names[2:]]) if method else None
        return None

    def _method(
        self, name: str, owner: Scope, seen: frozenset[str] = frozenset()
    ) -> str | None:
        if name in owner.bound or owner.name in seen or not owner.parent:
            return owner.bound.get(name)
        for base in owner.bases:
            target, _ = (
                owner.parent.look_up(base.id) if isinstance(base, ast.Name) else (None, None)
            )
            inner = self.walk.scopes.get((target or "").removeprefix(f"{self.module}."))
            if inner and (found := self._method(name, inner, seen | {owner.name})):
                return found
        return None

    # `ast` counts columns in bytes.
    def _column(self, line: int, column: int) -> int:
        return len(self.lines[line - 1].encode()[:column].decode())
