"""
# A document as HTML

Each section becomes a row: its heading, its typeset prose and its highlighted code. A template puts the rows together; what a page shows beside them, the outline, the list of
symbols and what there is to take along, is gathered while they are made.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from ..document import Document, Output, Section
from ..prose.page import GREEK, Heading, Passage, converting, free
from ..read.source import unfenced
from ..understand.index import Index, Page
from ..understand.run import shapes
from ..understand.scopes import Scopes
from ..understand.symbols import Entry, Symbols, Tie, ties
from ..understand.tokens import names_of
from .figures import inline_png, inline_svg
from .highlight import code_links, highlight
from .take import Take, needs

CODE_SPAN = re.compile(r"`[^`\n]+`")


@dataclass
class Row:
    """
    A section as the template wants it. `looks` is how its own heading looks: as its author wrote it, small where there is nothing else to read, or only heard. `told` is
    the one that explains what stands at the end of lines, as it is the first on the page to have that.
    """

    section: Section
    anchor: str
    scope: str
    heading: Markup
    label: str
    level: int
    looks: str
    prose: Markup
    words: str
    listed: bool
    source: str
    formerly: list[str]
    folded: list[tuple[int, Markup, bool]] = field(default_factory=list)
    code: list[tuple[int, Markup, bool]] = field(default_factory=list)
    outputs: list[tuple[str, Markup]] = field(default_factory=list)
    inner: list[Row] = field(default_factory=list)
    told: bool = False

    @property
    def wide(self) -> bool:
        return any(output.wide for output in self.section.outputs)

    @property
    def own_name(self) -> str:
        return self.section.name.rpartition(".")[2] if self.section.defines else ""

    @property
    def line(self) -> bool:
        """A comment and the one line that it is about, as in a list of settings."""
        return self.section.kind == "comment" and len(self.section.code.split("\n")) == 1

    @property
    def silent(self) -> bool:
        """Nothing stands in the column of the code."""
        aside = self.code or self.folded or self.outputs
        return self.section.kind != "module" and not aside


@dataclass
class Html:
    """
    ## One page's block

    * `convert` sets Markdown, `contents` enters a heading that no text has into the page's table of contents; both are mkdocstrings'
    * `ids` are those that the page has so far
    """

    document: Document
    options: Any
    index: Index
    take: Take
    here: Page
    convert: Callable[[str, int], Markup]
    contents: Callable[..., object]
    ids: set[str]
    met: list[Tie] = field(default_factory=list)
    anchors: dict[str, str] = field(default_factory=dict)

    def page(self) -> dict[str, Any]:
        """What the template shows."""
        document = self.document
        # Another module on the page may have lines and steps of the same names.
        line = self.index.line(document.name)
        line = f"{document.name}.L" if line in self.ids else line
        self.ids.add(line)
        for section in document.sections:
            self.anchors[section.anchor] = free(section.anchor, self.ids)
            self.ids.add(self.anchors[section.anchor])
        rows = [self._row(section) for section in document.sections]
        lines = self._highlighted()
        legend = self._legend(line)
        led = {row["entry"].place.line for row in legend}
        for row in rows:
            row.folded = self._lines(row.section, lines, led, 0, row.section.folded)
            row.code = self._lines(row.section, lines, led, row.section.folded, None)
        results = shapes(document)
        first = next((row for row in rows if any(n in results for n, *_ in row.code)), None)
        if first and "told" not in self.ids:
            self.ids.add("told")
            first.told = True
        listed = [row for row in rows if row.listed] if self.options.outline else []
        return {
            "document": document,
            "line": line,
            "rows": nested(rows),
            "outline": listed,
            "legend": legend,
            "shapes": results,
            "needs": needs(document.source) if document.numbered else [],
            "take": self.take.along(
                document.name, document.source.place, self.here.url, self.options.bundle
            ),
        }

    # ### What its names are

    @cached_property
    def _scopes(self) -> Scopes:
        return self.index.scopes(self.document)

    @cached_property
    def _symbols(self) -> Symbols:
        return Symbols(self.document, self._scopes)

    # ### Ties

    @cached_property
    def _ties(self) -> dict[tuple[str, str], str]:
        """
        The number of each tie, by scope and name. What the introduction ties, it ties everywhere; what a class, a function or the demo ties, within itself.
        """
        tied = [
            (self._symbols.scope(section), name)
            for section in self.document.sections
            for name, _, _ in ties(CODE_SPAN.sub("", unfenced(section.prose)))
        ]
        everywhere = {name for scope, name in tied if not scope}
        keys = [("" if name in everywhere else scope, name) for scope, name in tied]
        return {key: str(n) for n, key in enumerate(dict.fromkeys(keys), 1)}

    def _tied(self, scope: str) -> dict[str, str]:
        return {name: n for (where, name), n in self._ties.items() if where in ("", scope)}

    # ### One section

    def _row(self, section: Section) -> Row:
        anchor = self.anchors[section.anchor]
        private = section.name.rpartition(".")[2].startswith("_")
        defines = section.defines or section.kind == "module"
        name = section.name.rpartition(".")[2] or self.document.name if defines else ""
        passage = self._passage(section, name if section.defines else "")
        with converting(passage):
            prose = self.convert(section.prose, self.options.heading_level - 1)
        self.met.extend(self._symbols.tie(*tie, section) for tie in passage.ties)
        heading = Markup(passage.parts.get("heading", ""))
        level = self.options.heading_level + (
            section.name.count(".") + 1 if section.name else 0
        )
        if not heading and defines:
            # A name that begins with an underscore is nobody's entry point; it gets an anchor, but no line in the table of contents.
            role = {"role": section.kind, "id": anchor}
            listed = 6 if private else min(4, level)
            self.contents(Markup.escape(name), listed, hidden=True, **role)
        said = "written" if heading else "small" if not prose and section.defines else "heard"
        lines = section.code_lines
        return Row(
            section,
            anchor,
            self._symbols.scope(section) if self._ties else "",
            heading,
            passage.parts.get("label", "") if heading else name,
            min(level, 6),
            said if heading or defines else "",
            prose,
            spelled(passage.letters),
            bool(section.kind != "module" and (heading or (defines and not private))),
            self.take.source(self.document.source.place, lines[0], lines[-1])
            if lines and self.document.numbered
            else "",
            list(self._formerly(section)),
            outputs=[
                drawn(output, f"{anchor}-{n}") for n, output in enumerate(section.outputs, 1)
            ],
        )

    def _passage(self, section: Section, name: str) -> Passage:
        document, symbols = self.document, self._symbols
        if document.numbered:
            self.index.check(document, section)
        role = section.kind if section.defines or section.kind == "module" else ""
        return Passage(
            document.source.place,
            section.prose,
            section.prose_lines,
            section.name or document.name,
            symbols.visible(section),
            lambda text: self._leads(section, text),
            self._tied(self._symbols.scope(section)),
            Heading(self.anchors[section.anchor], role, name),
            self.ids,
        )

    def _leads(self, section: Section, text: str) -> str | None:
        """Where code in the prose leads: not into the section that says it."""
        name = self._scopes.spoken(text, section.name, section.kind)
        url = self.index.href(name, self.here) if name else None
        return url if url != f"#{section.anchor}" else None

    def _formerly(self, section: Section) -> Iterator[str]:
        """The section's anchors from when its module had another name."""
        name = self.document.name
        for old in self.options.formerly:
            if section.anchor == name or section.anchor.startswith(f"{name}."):
                anchor = f"{old}{section.anchor.removeprefix(name)}"
                if anchor not in self.ids:
                    self.ids.add(anchor)
                    yield anchor

    # ### Its code

    def _highlighted(self) -> list[str]:
        """The lines of the code as HTML, each name in them linked to where it is explained, or tied to a symbol."""
        sections = self.document.sections
        here = {n: section.anchor for section in sections for n in section.code_lines}
        folded = {n for section in sections for n in section.code_lines[: section.folded]}
        links = code_links(
            self._scopes.references(),
            lambda reference: self.index.stretch(reference, self.here),
            here,
            folded,
        )
        met = {("", tie.name) for tie in self.met} | {(t.scope, t.name) for t in self.met}
        scopes = {n: self._symbols.scope(s) for s in sections for n in s.code_lines}
        ties = {
            (token.line, token.start): self._ties[key]
            for token in names_of(self.document.source)
            for key in (("", token.name), (scopes.get(token.line, ""), token.name))
            if self.met and key in met and key in self._ties
        }
        # A line that speaks to Jupyter (`%config …`) is none that Python reads.
        lines = list(self.document.source.lines)
        for section in sections:
            for n, line in zip(section.code_lines, section.code.split("\n"), strict=False):
                lines[n - 1] = line
        return highlight("\n".join(lines), links, ties)

    def _lines(
        self,
        section: Section,
        lines: Sequence[str],
        led: Container[int],
        start: int,
        stop: int | None,
    ) -> list[tuple[int, Markup, bool]]:
        """
        Numbered lines of highlighted code, and of each whether the file has something between it and the line before, which stands in the prose. A blank line keeps its place
        and loses its number: there is nothing there to point at. Of a notebook, only those have one that a symbol has `led` to.
        """
        numbers = list(section.code_lines[start:stop])
        while numbers and not lines[numbers[0] - 1].strip():
            numbers.pop(0)
        gaps = {after for before, after in pairwise(numbers) if after != before + 1}
        numbered = self.document.numbered

        def known(n: int) -> int:
            return n if lines[n - 1].strip() and (numbered or n in led) else 0

        return [(known(n), Markup(lines[n - 1]), n in gaps) for n in numbers]

    # ### Its symbols

    def _legend(self, line: str, page: str = "") -> list[dict[str, Any]]:
        """
        A row for each scope, name and meaning: it is what a card shows of a tie. `line` and `page` say where lines are found. Where the list says the same already, of the same name elsewhere, the row isn't seen.
        """
        rows: list[dict[str, Any]] = []
        seen: set[tuple[str, str]] = set()
        for entry in self._symbols.legend(self.met):
            number = self._tied(entry.tie.scope).get(entry.tie.name, "")
            words = (entry.tie.name, entry.meaning)
            where = {"tie": number, "page": page, "line": line, "again": words in seen}
            rows.append(self._symbol(entry) | where)
            seen.add(words)
        return rows

    def _symbol(self, entry: Entry) -> dict[str, Any]:
        tied = self._tied(entry.tie.scope)

        def inline(text: str) -> Markup:
            with converting(Passage("", "", (), tied=tied, ids=self.ids)):
                html = self.convert(text, 0).strip()
            return Markup(html.removeprefix("<p>").removesuffix("</p>"))

        symbol = inline(f"$\\code{{{entry.tie.name}}}{{{entry.tie.symbol}}}$")
        return {"entry": entry, "symbol": symbol, "meaning": inline(entry.meaning)}


# ## Between sections


def nested(rows: Sequence[Row]) -> list[Row]:
    """
    What has no heading goes on with the section before it that has one, if it is about the same thing: so a step of a function is found, by a search as by a
    screen reader, under the function.
    """
    tops: list[Row] = []
    for row in rows:
        head = tops[-1] if tops else None
        if (
            head
            and not row.looks
            and head.looks
            and head.section.kind != "module"
            and f"{row.section.name}.".startswith(f"{head.section.name}.")
        ):
            head.inner.append(row)
        else:
            tops.append(row)
    return tops


def spelled(letters: set[str]) -> str:
    """Greek letters of formulas as letter and as word, for a search, which finds no formula."""
    names = {c: unicodedata.name(c).removeprefix(GREEK).strip().lower() for c in letters}
    return ", ".join(f"{letter} {names[letter]}" for letter in sorted(letters))


def drawn(output: Output, prefix: str) -> tuple[str, Markup]:
    """What a cell showed, and of which kind it is."""
    if output.mime == "image/svg+xml":
        return "figure", Markup(inline_svg(output.data, output.alt, prefix))
    if output.mime == "image/png":
        return "figure", Markup(inline_png(output.data, output.alt))
    if output.mime == "text/html":
        return "html", Markup(output.data)
    return "text", Markup.escape(output.data.strip("\n"))
