r"""
# Names that formulas may use

`\code{mean}{\mu}` promises that there is something called `mean` nearby. Here is what counts as nearby; a promise that the code doesn't keep fails the build.
"""

from __future__ import annotations

import ast
import builtins
import difflib
import re
from collections import defaultdict
from collections.abc import Iterator, Set

from ..read.module import Section
from ..read.source import DEFINITIONS, guard

TIE = re.compile(r"\\code\s*\{([^{}]*)\}\s*")
DEMO = "__main__"


def symbols(tex: str) -> Iterator[tuple[str, str, int]]:
    """Name, symbol and position of each tie. A symbol may have braces of its own."""
    for m in TIE.finditer(tex):
        depth = 0
        for end in range(m.end(), len(tex)):
            depth += (tex[end] == "{") - (tex[end] == "}")
            if not depth:
                yield m[1], tex[m.end() :][1 : end - m.end()], m.start()
                break


class Names:
    """
    ## Which names a section sees

    * In a function: its parameters and everything it names, and the same for the functions and classes around it.
    * In a class: its attributes, those set on `self` (written `self.x`), and whatever its methods name, as a class's docstring explains what they do.
    * Everywhere: what the module itself names. The module's own docstring may speak of anything in it.
    """

    def __init__(self, source: str) -> None:
        self.scopes: dict[str, set[str]] = defaultdict(set)
        tree = ast.parse(source)
        self._walk(tree, "")
        self.demo = getattr(guard(tree), "lineno", None)

    def scope(self, section: Section) -> str:
        """Where a tie holds: in a class or function as a whole, or in the demo. What the introduction ties, it ties everywhere."""
        if self.demo and section.span.start >= self.demo:
            return DEMO
        return section.name.partition(".")[0]

    def visible(self, name: str, kind: str) -> set[str]:
        within = kind in {"module", "class"}
        return {
            known
            for scope, names in self.scopes.items()
            if not scope
            or f"{name}.".startswith(f"{scope}.")
            or (within and f"{scope}.".startswith(f"{name}." if name else ""))
            for known in names
        }

    def _walk(self, node: ast.AST, scope: str, owner: str = "") -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, DEFINITIONS):
                self.scopes[scope].add(child.name)
                inner = f"{scope}.{child.name}".lstrip(".")
                is_class = isinstance(child, ast.ClassDef)
                self._walk(child, inner, inner if is_class else owner)
                continue
            match child:
                case ast.Name(id=name) if not hasattr(builtins, name) or isinstance(
                    child.ctx, ast.Store
                ):
                    self.scopes[scope].add(name)
                case ast.arg(arg=name) | ast.keyword(arg=str(name)):
                    self.scopes[scope].add(name)
                case ast.alias(name=name, asname=asname):
                    self.scopes[scope].add(asname or name.partition(".")[0])
                case ast.Attribute(value=ast.Name(id="self"), attr=attr):
                    self.scopes[owner or scope].add(f"self.{attr}")
            self._walk(child, scope, owner)


def nearest(name: str, known: Set[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return (
        f"Did you mean `{close[0]}`?" if close else "Use a name that the code beside it uses."
    )
