"""
# What changed, line by line

Two classes or functions, side by side. Only their code is compared: docstrings and comments are taken out first, by the syntax tree and the tokenizer, as
what one of them says of itself is no difference between the two. A page asks for it with an option:

```markdown
::: labml_ws.layers.Conv2d
    handler: annotated
    options:
      diff_from: docs.variants.Conv2d
```
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import cache
from itertools import zip_longest
from typing import Any

from markupsafe import Markup

from ..document import SourceError
from ..read.source import code_of
from ..understand.index import Index, Page, address
from ..understand.symbols import nearest
from .highlight import Wrap, highlight

DEFINES = re.compile(r"\s*(@|(async\s+)?def\b|class\b)")
TOKEN = re.compile(r"\w+|\s+|.")
WORD = re.compile(r"\w")
# Where a line that is too long may go on below itself: before a dot, and after a bracket.
BREAKS = re.compile(
    r'(?<!>self</span>)(?<!>torch</span>)(?=<span class="o">\.</span>)|(?<=[([]</span>)'
)
# Lines less alike than this are two lines, not one that changed.
ALIKE = 0.6
# This many common lines are left to stand around a difference.
CONTEXT = 3


@dataclass(frozen=True)
class Line:
    """A line of an object's code: its number in the file, and the stretches of it that the other object doesn't have."""

    number: int
    text: str
    marks: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Object:
    """A class or function: its dotted name, the module that defines it, and its code."""

    name: str
    module: str
    lines: list[Line]


@dataclass(frozen=True)
class Difference:
    old: Object
    new: Object


@dataclass(frozen=True)
class Row:
    """
    What stands side by side: a line that both have (then it's the `same`), a line and what it became, or lines that only one of the two has, next to one another, so that none
    of them pushes the others' neighbors apart.
    """

    old: Sequence[Line]
    new: Sequence[Line]
    same: bool = False


def find(name: str, index: Index) -> Object:
    """The object that a page names, or an error that says what is missing."""
    parts = name.split(".")
    for n in range(len(parts) - 1, 0, -1):
        module, qualified = index.module(".".join(parts[:n])), ".".join(parts[n:])
        if module and (code := code_of(module.source, qualified)):
            return Object(name, module.name, [Line(*line) for line in code])
        if module:
            raise SourceError(
                module.source.place,
                None,
                f"there is no class or function {qualified} to compare. "
                + nearest(qualified, module.anchors),
            )
    raise SourceError(
        name,
        None,
        f"there is no such module below {index.root}. Name an object as one imports it.",
    )


def compare(old: Sequence[Line], new: Sequence[Line]) -> list[Row]:
    """## Side by side"""
    rows: list[Row] = []
    a, b = ([line.text for line in side] for side in (old, new))
    for kind, i, j, k, m in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if kind == "equal":
            rows += [Row([x], [y], True) for x, y in zip(old[i:j], new[k:m], strict=True)]
        else:
            rows += _pair(old[i:j], new[k:m])
    return rows


def _pair(old: Sequence[Line], new: Sequence[Line]) -> Iterator[Row]:
    """Of a stretch that differs, the two lines that are most alike are one line that changed; and so on with what is before and after them."""
    ratios = [
        (_alike(a.text, b.text), -i, -k)
        for i, a in enumerate(old)
        for k, b in enumerate(new)
        if WORD.search(a.text) and WORD.search(b.text)
    ]
    ratio, i, k = max(ratios, default=(0.0, 0, 0))
    if ratio >= ALIKE:
        i, k = -i, -k
        yield from _pair(old[:i], new[:k])
        a, b = _marked(old[i], new[k])
        yield Row([a], [b])
        yield from _pair(old[i + 1 :], new[k + 1 :])
        return
    # A definition begins anew, lest one's lines seem to be in the other's body.
    for one, other in zip_longest(_bodies(old), _bodies(new), fillvalue=()):
        if one or other:
            yield Row(one, other)


def _bodies(lines: Sequence[Line]) -> list[list[Line]]:
    """What comes before the first definition, and each definition with its body."""
    bodies: list[list[Line]] = [[]]
    for line in lines:
        if DEFINES.match(line.text):
            bodies.append([])
        bodies[-1].append(line)
    return bodies


@cache
def _alike(old: str, new: str) -> float:
    """How much two lines have in common, from 0 to 1; 0 too where a glance shows that it can't be enough."""
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    if min(matcher.real_quick_ratio(), matcher.quick_ratio()) < ALIKE:
        return 0.0
    return matcher.ratio()


def indent(text: str) -> int:
    return len(text) - len(text.lstrip())


def _marked(old: Line, new: Line) -> tuple[Line, Line]:
    a, b = TOKEN.findall(old.text), TOKEN.findall(new.text)
    marks: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    for kind, i, j, k, m in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        for side, tokens, start, stop in ((0, a, i, j), (1, b, k, m)):
            if kind != "equal" and start < stop:
                at = len("".join(tokens[:start]))
                end = at + len("".join(tokens[start:stop]))
                # How far a line is indented is seen without a mark.
                at = max(at, indent((old, new)[side].text))
                if at < end:
                    marks[side].append((at, end))
    return replace(old, marks=tuple(marks[0])), replace(new, marks=tuple(marks[1]))


def folded(rows: Sequence[Row]) -> list[tuple[bool, list[Row]]]:
    """## What both have, in between

    Stretches of rows, and whether each is folded away: one that both have, long enough to be worth it, and some lines away from any difference.
    """
    near = {
        n + d
        for n, row in enumerate(rows)
        if not row.same
        for d in range(-CONTEXT, CONTEXT + 1)
    }
    stretches: list[tuple[bool, list[Row]]] = []
    for n, row in enumerate(rows):
        far = n not in near
        if not stretches or stretches[-1][0] != far:
            stretches.append((far, []))
        stretches[-1][1].append(row)
    return [(far and len(part) > CONTEXT, part) for far, part in stretches]


def shown(difference: Difference, index: Index, here: Page) -> dict[str, Any]:
    """
    ## As a template wants it

    The rows, with what is far from any difference folded. Each side is highlighted as a whole, and the rows take their lines from it.
    """
    rows = compare(difference.old.lines, difference.new.lines)
    old = _drawn(difference.old, [line for row in rows for line in row.old], index, here)
    new = _drawn(difference.new, [line for row in rows for line in row.new], index, here)

    def drawn(row: Row) -> dict[str, Any]:
        lines = {
            "old": [old[line.number] for line in row.old],
            "new": [new[line.number] for line in row.new],
        }
        return {"same": row.same, **lines}

    objects = [
        {
            "name": Markup("<wbr>.").join(side.name.split(".")),
            "href": index.href(side.name, here),
        }
        for side in (difference.old, difference.new)
    ]
    stretches = [(far, len(part), [drawn(row) for row in part]) for far, part in folded(rows)]
    return {"objects": objects, "stretches": stretches}


def _drawn(
    side: Object, lines: Sequence[Line], index: Index, here: Page
) -> dict[int, dict[str, Any]]:
    """The lines of a side by their numbers. A number leads to the line, if a page shows its module."""
    page = index.pages.get(side.module)
    wraps = [
        Wrap(n, start, stop, "<mark>", "</mark>")
        for n, line in enumerate(lines, 1)
        for start, stop in line.marks
    ]
    html = highlight("\n".join(line.text for line in lines), wraps)
    return {
        line.number: {
            "number": line.number,
            "href": f"{address(here, page)}#{index.line(side.module, line.number)}"
            if page and line.text
            else "",
            "html": Markup(BREAKS.sub("<wbr>", text)),
            "indent": indent(line.text),
        }
        for line, text in zip(lines, html, strict=True)
    }
