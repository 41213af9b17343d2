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
from itertools import groupby, zip_longest
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
    """What stands side by side. `same` is true of a line that both have; beside a line that only one has there is nothing."""

    old: Line | None
    new: Line | None
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
    matcher = SequenceMatcher(
        None, [a.text for a in old], [b.text for b in new], autojunk=False
    )
    for kind, i, j, k, m in matcher.get_opcodes():
        if kind == "equal":
            rows += [Row(a, b, same=True) for a, b in zip(old[i:j], new[k:m], strict=True)]
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
    if ratio < ALIKE:
        yield from (Row(line, None) for line in old)
        yield from (Row(None, line) for line in new)
        return
    yield from _pair(old[:-i], new[:-k])
    yield Row(*_marked(old[-i], new[-k]))
    yield from _pair(old[-i + 1 :], new[-k + 1 :])


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

    Each side is highlighted as a whole, then the rows take their lines from it in turn. A line's number leads to the line, if a page shows its module.
    """
    rows = compare(difference.old.lines, difference.new.lines)
    sides = [
        _side(difference.old, [row.old for row in rows if row.old], index, here),
        _side(difference.new, [row.new for row in rows if row.new], index, here),
    ]
    drawn = {
        id(row): {
            "old": next(sides[0]) if row.old else None,
            "new": next(sides[1]) if row.new else None,
        }
        for row in rows
    }
    objects = (difference.old, difference.new)
    return {
        "objects": [
            {
                "name": Markup("<wbr>.").join(o.name.split(".")),
                "href": index.href(o.name, here),
            }
            for o in objects
        ],
        "stretches": [
            (far, len(part), [_merged(block, drawn) for block in _blocks(part)])
            for far, part in folded(rows)
        ],
    }


def _blocks(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """
    Rows that are drawn as one: lines that only one of the two has, next to one another, so that none of them pushes the others' neighbors apart. A definition
    begins anew, lest one's lines seem to be in the other's body.
    """
    for alone, part in groupby(rows, lambda row: row.old is None or row.new is None):
        if not alone:
            yield from ([row] for row in part)
            continue
        run = list(part)
        old, new = ([row for row in run if getattr(row, side)] for side in ("old", "new"))
        for one, other in zip_longest(_bodies(old, "old"), _bodies(new, "new"), fillvalue=()):
            if one or other:
                yield [*one, *other]


def _bodies(rows: Sequence[Row], side: str) -> list[list[Row]]:
    """What comes before the first definition, and each definition with its body."""
    bodies: list[list[Row]] = [[]]
    for row in rows:
        if DEFINES.match(getattr(row, side).text):
            bodies.append([])
        bodies[-1].append(row)
    return bodies


def _merged(block: Sequence[Row], drawn: dict[int, dict[str, Any]]) -> dict[str, Any]:
    halves = [drawn[id(row)] for row in block]
    return {"same": block[0].same} | {
        side: [half[side] for half in halves if half[side]] for side in ("old", "new")
    }


def _side(
    side: Object, lines: Sequence[Line], index: Index, here: Page
) -> Iterator[dict[str, Any]]:
    page = index.pages.get(side.module)
    wraps = [
        Wrap(n, start, stop, "<mark>", "</mark>")
        for n, line in enumerate(lines, 1)
        for start, stop in line.marks
    ]
    text = "\n".join(line.text for line in lines)
    for line, html in zip(lines, highlight(text, wraps), strict=True):
        href = f"{address(here, page)}#L{line.number}" if page and line.text else ""
        yield {
            "number": line.number,
            "href": href,
            "html": Markup(BREAKS.sub("<wbr>", html)),
            "indent": indent(line.text),
        }
