r"""
# A formula and the lines that compute it

The heart of a function, for a page that has no room for all of it: the formula that its docstring gives first, and of its code the statements that bind what the
formula ties. Both are the module's own, line numbers and ties with them, so an excerpt can't say anything else than the page that it leads to.

```markdown
::: labml_ws.standardization
    handler: annotated
    options:
      excerpt: weight_standardization
      whole: false
```
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ..document import Document, Section, SourceError
from ..prose.page import converting
from ..read.source import definitions
from ..understand.symbols import Tie, nearest, ties
from .html import Html

FORMULA = re.compile(r"\$\$.*?\$\$", re.DOTALL)
INDENT = re.compile(r'^(<span class="w">)? +')
TIED = re.compile(r'data-tie="(\d+)"')


@dataclass(frozen=True)
class Heart:
    """
    ## What is shown of a function

    * `section`: the one that its docstring opens; `formula`: the first formula there, with its dollar signs
    * `lines`: the numbers of the lines of its code, each with the tied names that its statement binds
    """

    section: Section
    formula: str
    lines: dict[int, list[str]]


def heart(document: Document, name: str) -> Heart:
    """Of the function `name`. Raises `SourceError` if there is none, it has no formula, or nothing in its own body binds what the formula ties."""
    place = document.source.place
    sections = {s.name: s for s in document.sections if s.kind == "function"}
    nodes = {n: node for node, n in definitions(document.source.tree)}
    if name not in sections:
        hint = nearest(name, sections, "Name one that has a docstring.")
        raise SourceError(place, None, f"there is no function `{name}` to show. {hint}")
    formula = FORMULA.search(sections[name].prose)
    tied = {name for name, _, _ in ties(formula[0])} if formula else set()
    lines = {
        n: sorted(bound)
        for statement in nodes[name].body
        if (bound := bound_by(statement) & tied)
        for n in range(statement.lineno, (statement.end_lineno or 0) + 1)
    }
    if not (formula and lines):
        missing = "binds what its formula ties" if formula else "is a formula"
        hint = (
            "Write `$$…$$` into its docstring, with `\\code` for names that its body assigns."
        )
        raise SourceError(place, nodes[name].lineno, f"nothing in `{name}` {missing}. {hint}")
    return Heart(sections[name], formula[0], lines)


def bound_by(statement: ast.stmt) -> set[str]:
    """The names that an assignment binds; of another statement, none."""
    match statement:
        case ast.Assign(targets=targets):
            bound = targets
        case ast.AnnAssign(target=target):
            bound = [target]
        case _:
            bound = []
    return {n.id for target in bound for n in ast.walk(target) if isinstance(n, ast.Name)}


class Excerpt(Html):
    """
    ## As a part of a page

    A block that can show the heart of a function, by itself or below all of the module.
    """

    def excerpt(self, name: str) -> dict[str, Any]:
        """
        What the template shows. In the code a tied name says which it is, as a symbol in a formula does (`data-code`), and a line what it binds (`data-binds`): a page
        can color both.
        """
        shown = heart(self.document, name)
        self.anchors.setdefault(shown.section.anchor, shown.section.anchor)
        passage = self._passage(shown.section, "")
        with converting(passage):
            formula = self.convert(shown.formula, 0)
        scope = self._symbols.scope(shown.section)
        self.met.extend(Tie(*tie, shown.section.name, scope) for tie in passage.ties)
        whole = (self.index.href(self.document.name, self.here) or "").partition("#")[0]
        return {
            "formula": formula,
            "lines": list(self._excerpted(shown.lines, whole)),
            "legend": self._legend(self.index.line(self.document.name), whole),
        }

    def _excerpted(self, lines: dict[int, list[str]], whole: str) -> Iterator[dict[str, Any]]:
        """Each line: its number, where that leads on the page `whole`, its HTML, what it binds."""
        highlighted = self._highlighted()
        names = {number: name for (_, name), number in self._ties.items()}
        for n, bound in lines.items():
            html = INDENT.sub(lambda m: m[1] or "", highlighted[n - 1], count=1)
            html = TIED.sub(lambda m: f'{m[0]} data-code="{names[m[1]]}"', html)
            href = f"{whole}#{self.index.line(self.document.name, n)}"
            yield {"number": n, "href": href, "html": Markup(html), "binds": " ".join(bound)}
