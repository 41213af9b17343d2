r"""
# What the symbols mean

`\code{mean}{\mu}` in a formula ties the symbol to a name of the code beside it. It promises that there is something called `mean` nearby; a promise that the code
doesn't keep fails the build. A page lists the symbols that it ties, each with its meaning and its shape. Nothing is written for that list alone; it is put together
from what the source says anyway:

* a list item that begins with the name, as the arguments of a function do: ``* `eps`: added to the variance``, or with the symbol itself:
  `* $\code{mean}{\mu}$: mean of a filter`
* or the comment behind the line that binds it: `flat = weight.flatten(1)  # [O, I], one filter per row`

The function's own words come first, then those of what lies within it, of what is around it, and of the rest of the module. A symbol without a meaning fails the build.
With the meaning goes the place: the line that first gives the name a value, and what that was when the demo was run. In a notebook the cell is what a function is in a module.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..document import Document, Section, Source, SourceError
from ..read.source import PRAGMA, comments, definitions, guard, headings
from .scopes import Binding, Scopes
from .tokens import names_of
from .words import first_clause, item_shapes, items, plain

T = TypeVar("T")

TIE = re.compile(r"\\code\s*\{([^{}]*)\}\s*(?=\{)")
DEMO = "__main__"
TRAILING = re.compile(r"(?:(?:\[[^\]]*\] -> )?(\[[^\]]*\]))?(?: each)?[,:]?\s*(.*)")


# ## The tie


def ties(tex: str) -> Iterator[tuple[str, str, int]]:
    """Name, symbol and position of each tie. A symbol may have braces of its own, and ties in them."""
    for m in TIE.finditer(tex):
        depth = 0
        for end in range(m.end(), len(tex)):
            depth += {"{": 1, "}": -1}.get(tex[end], 0) * (tex[end - 1] != "\\")
            if not depth:
                yield m[1], tex[m.end() + 1 : end], m.start()
                break


def untied(tex: str) -> str:
    r"""The text without its ties: `\code{mean}{\mu}` is `{\mu}`. The braces keep a symbol one thing, under an accent and beside a letter."""
    return TIE.sub("", tex)


@dataclass(frozen=True)
class Tie:
    r"""A `\code{name}{symbol}` of a formula: where it stands in the file, in the section about what, and in which scope it holds."""

    name: str
    symbol: str
    place: str
    section: str
    scope: str


@dataclass(frozen=True)
class Place:
    """Where a name is given a value: the line, and the shape and the value that it got when the demo was run."""

    line: int
    shape: str = ""
    value: str = ""


@dataclass(frozen=True)
class Entry:
    """A line of the list: a tie with its meaning, the shape of what it names, its place, and the symbol in plain letters."""

    tie: Tie
    meaning: str
    shape: str
    place: Place
    plain: str

    @property
    def value(self) -> str:
        """What was recorded, with the shape where that isn't the one that is written already."""
        shape = self.place.shape if self.place.shape != self.shape else ""
        return " ".join(filter(None, [shape, self.place.value]))


# ## What a module says of its names


class Symbols:
    """
    What the names of a document mean, gathered by scope. `words`, `shapes` and `places` go from a scope and a name in it to what the source says of it, and to where
    it is bound, `uses` to where it is named first; what the demo showed comes after what was written.
    """

    def __init__(self, document: Document, scopes: Scopes) -> None:
        self.document, self.scopes = document, scopes
        self.demo = getattr(guard(document.source.tree), "lineno", None)
        self.cells = {
            line: section.anchor
            for section in document.sections
            for line in section.code_lines
            if not document.numbered
        }
        self.words: dict[tuple[str, str], str] = {}
        self.shapes: dict[tuple[str, str], str] = {}
        self.places: dict[tuple[str, str], Place] = {}
        self.uses: dict[tuple[str, str], Place] = {}
        self._read_prose()
        self._read_code()

    def _read_prose(self) -> None:
        for section in self.document.sections:
            for name, meaning in items(section.prose):
                self.words.setdefault((self._about(section), name), meaning)
            # A class or a function is what its heading says.
            heading = next(headings(section.prose), None)
            if section.defines and heading and not heading.start():
                outer, _, name = section.name.rpartition(".")
                self.words.setdefault((outer, name), heading[2])

    def _read_code(self) -> None:
        source, bindings = self.document.source, self.scopes.bindings
        keys = [(self.cells.get(b.line, b.scope), b.name) for b in bindings]
        behind = {
            line: text[1:].strip()
            for line, column, text, _ in comments(source)
            if source.lines[line - 1][:column].strip() and not PRAGMA.match(text)
        }
        for key, binding in zip(keys, bindings, strict=True):
            m = TRAILING.fullmatch(behind.get(binding.line, ""))
            if m and m[1]:
                self.shapes.setdefault(key, m[1])
            if m and m[2]:
                self.words.setdefault(key, first_clause(m[2]))
        for section in self.document.sections:
            for name, shape in item_shapes(section.prose):
                self.shapes.setdefault((self._about(section), name), shape)
        results = {(r.line, r.name): r for r in self.document.results}
        # What the demo gave a value comes first; a default may have been there before.
        for key, binding in zip(keys, bindings, strict=True):
            if result := results.get((binding.line, binding.name)):
                place = Place(binding.node.lineno, result.shape, result.value)
                self.places.setdefault(key, place)
        for key, binding in zip(keys, bindings, strict=True):
            self.places.setdefault(
                key, Place(binding.node.lineno, value=_default(source, binding))
            )
        within: dict[int, str] = {}
        for node, name in definitions(source.tree):
            outer, _, own = name.rpartition(".")
            for said in (own, f"self.{own}"):
                key = (self.cells.get(node.lineno, outer), said)
                self.places.setdefault(key, Place(node.lineno))
            within |= dict.fromkeys(range(node.lineno, (node.end_lineno or 0) + 1), name)
        for token in sorted(names_of(source), key=lambda token: (token.line, token.start)):
            key = (self.cells.get(token.line, within.get(token.line, "")), token.name)
            self.uses.setdefault(key, Place(token.line))

    def _place(self, tie: Tie) -> Place:
        """Where a tie's name is bound in its own scope, or first used there, as a class uses what it has from torch's; else where it is bound at all."""
        scope = "" if tie.scope == DEMO else tie.scope
        for places in (self.places, self.uses) if tie.scope else ():
            own = {k: place for k, place in places.items() if k[0].partition(".")[0] == scope}
            if place := _nearest(own, tie, exact=True):
                return place
        near = (_nearest(places, tie, exact=True) for places in (self.places, self.uses))
        return next(filter(None, near), Place(0))

    def _shapes(self, tie: Tie, meaning: str) -> Mapping[tuple[str, str], str]:
        """The shapes that may be those of a tie. In a notebook, another cell's name of the same spelling is another variable, unless it is explained in one place."""
        if self.document.numbered:
            return self.shapes
        return {
            key: shape
            for key, shape in self.shapes.items()
            if key[0] == tie.section or self.words.get(key) == meaning
        }

    def _about(self, section: Section) -> str:
        return section.name if self.document.numbered else section.anchor

    def tie(self, name: str, symbol: str, place: str, section: Section) -> Tie:
        """A tie of a section, which says what its place in the file is."""
        return Tie(name, symbol, place, self._about(section), self.scope(section))

    def scope(self, section: Section) -> str:
        """
        Where a tie holds: in a class or function as a whole, in the demo, or in a cell of a notebook. What the introduction ties, it ties everywhere.
        """
        if not self.document.numbered:
            return section.anchor
        if self.demo and section.span.start >= self.demo:
            return DEMO
        return section.name.partition(".")[0]

    def visible(self, section: Section) -> set[str]:
        """The names that formulas in a section may use."""
        if self.document.numbered:
            return self.scopes.visible(section.name, section.kind)
        return {t.name for t in names_of(self.document.source) if t.line in section.code_lines}

    def legend(self, used: Sequence[Tie]) -> list[Entry]:
        """One entry for each scope, name and meaning of the ties that a page uses, in the order in which a reader meets them. Raises `SourceError` for a tie without a meaning."""
        entries: dict[tuple[str, str, str], Entry] = {}
        for tie in used:
            meaning = _nearest(self.words, tie)
            if not meaning:
                raise SourceError(
                    tie.place,
                    None,
                    f"nothing says what `{tie.name}` is, to which `\\code` ties `{tie.symbol}`. "
                    f"Write a list item (* `{tie.name}`: …), "
                    "or a comment behind the line that binds it.",
                )
            place = self._place(tie)
            recorded = {key: other.shape for key, other in self.places.items() if other.shape}
            shape = _nearest(self._shapes(tie, meaning), tie) or place.shape
            shape = shape or _nearest(recorded, tie) or ""
            # A name may have had another shape elsewhere.
            if place.shape and "*" not in shape and place.shape.count(",") != shape.count(","):
                shape = place.shape
            entry = Entry(tie, meaning, shape, place, plain(tie.symbol))
            entries.setdefault((tie.scope, tie.name, meaning), entry)
        return list(entries.values())


def _nearest(said: Mapping[tuple[str, str], T], tie: Tie, exact: bool = False) -> T | None:
    """
    What is `said` of a tie's name in its own scope, then in what lies within, then in what lies around it, then anywhere. An introduction has the demo last, as it speaks
    of the rest. Unless it is to be `exact`, an attribute may be explained as the argument that it was.
    """
    scope, others = tie.section, [s for s, _ in said]
    chain = [scope.rsplit(".", n)[0] for n in range(scope.count(".") + 1)]
    inner = [s for s in others if s.startswith(f"{scope}.")]
    near = [*chain[:1], *inner, *chain[1:], ""] if scope or tie.scope else []
    names = [tie.name] if exact else [tie.name, tie.name.removeprefix("self.")]
    for place in [*near, *filter(None, others), ""]:
        for name in names:
            if (place, name) in said:
                return said[place, name]
    return None


def _default(source: Source, binding: Binding) -> str:
    """What a parameter is unless a call says otherwise, where that is a number."""
    value = binding.value if isinstance(binding.node, ast.arg) else None
    number = isinstance(value, ast.Constant) and type(value.value) in (int, float)
    return (
        f"{ast.get_source_segment(source.text, value)} by default" if number and value else ""
    )


def nearest(
    name: str,
    names: Collection[str],
    otherwise: str = "Use a name that the code beside it uses.",
) -> str:
    """The advice to somebody who wrote a name that isn't among `names`."""
    close = difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.5)
    return f"Did you mean `{close[0]}`?" if close else otherwise
