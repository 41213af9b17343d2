"""
# A document as HTML

Each section becomes a row: its heading, its prose, set, and its code, highlighted. A template puts the rows together; what a page shows beside them, the outline, the list of
symbols and what there is to take along, is gathered while they are made.
"""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from markupsafe import Markup

from ..document import Document, Output, Section, Source
from ..prose.page import GREEK, Heading, Passage, converting, free
from ..read.source import unfenced
from ..understand.index import Index, Page
from ..understand.run import shapes
from ..understand.scopes import Scopes
from ..understand.symbols import Entry, Symbols, Tie, ties
from .figures import inline_png, inline_svg
from .highlight import Token, code_links, highlight
from .take import Take

CODE_SPAN = re.compile(r"`[^`\n]+`")


@dataclass
class Row:
    """
    A section as the template wants it. `named` is how its own heading looks: as its author wrote it, small where there is nothing else to read, or only heard.
    """

    section: Section
    anchor: str
    scope: str
    heading: Markup
    label: str
    level: int
    looks: str
    prose: Markup
    terms: Markup
    words: str
    listed: bool
    source: str
    formerly: list[str]
    folded: list[tuple[int, Markup]] = field(default_factory=list)
    code: list[tuple[int, Markup]] = field(default_factory=list)
    outputs: list[tuple[str, Markup]] = field(default_factory=list)
    inner: list[Row] = field(default_factory=list)

    @property
    def wide(self) -> bool:
        return any(output.wide for output in self.section.outputs)

    @property
    def own_name(self) -> str:
        return self.section.name.rpartition(".")[2] if self.section.defines else ""

    @property
    def silent(self) -> bool:
        """Nothing stands in the column of the code."""
        aside = self.code or self.folded or self.terms or (self.outputs and not self.wide)
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
        entries = self._legend()
        lines = self._highlighted()
        for row in rows:
            row.folded = self._lines(row.section, lines, 0, row.section.folded)
            row.code = self._lines(row.section, lines, row.section.folded, None)
        listed = [row for row in rows if row.listed] if self.options.outline else []
        return {
            "document": document,
            "line": line,
            "rows": nested(rows),
            "outline": listed,
            "legend": entries,
            "shapes": shapes(document),
            "take": self.take.along(
                document.name, document.source.place, self.here.url, self.options.bundle
            ),
        }

    # ### What its names are

    @cached_property
    def _scopes(self) -> Scopes:
        return self.index.scopes(self.document)

    @cached_property
    def _symbols(self) -> Symbols | None:
        return Symbols(self.document, self._scopes) if self.document.numbered else None

    def _scope(self, section: Section) -> str:
        return self._symbols.scope(section) if self._symbols else ""

    # ### Ties

    @cached_property
    def _ties(self) -> dict[tuple[str, str], str]:
        """
        The number of each tie, by scope and name. What the introduction ties, it ties everywhere; what a class, a function or the demo ties, within itself.
        """
        tied = [
            (self._scope(section), name)
            for section in self.document.sections
            for name, _, _ in ties(CODE_SPAN.sub("", unfenced(section.prose)))
            if self._symbols
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
        self.met.extend(Tie(*tie, section.name, self._scope(section)) for tie in passage.ties)
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
            self._scope(section),
            heading,
            passage.parts.get("label", "") if heading else name,
            min(level, 6),
            said if heading or defines else "",
            prose,
            Markup(passage.parts.get("terms", "")),
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
        above = section.prose.split("\n* ", 1)[0].count("\n") + 1
        return Passage(
            document.source.place,
            section.prose,
            section.prose_lines,
            section.name or document.name,
            symbols.visible(section) if symbols else None,
            lambda text: self._leads(section, text),
            self._tied(self._scope(section)),
            Heading(self.anchors[section.anchor], role, name),
            # A long docstring beside a short `def` leaves the column of code empty.
            section.defines and len(section.code_lines) <= above + 4,
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
        scopes = {n: self._scope(section) for section in sections for n in section.code_lines}
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
        self, section: Section, lines: Sequence[str], start: int, stop: int | None
    ) -> list[tuple[int, Markup]]:
        """Numbered lines of highlighted code. A blank line keeps its place and loses its number: there is nothing there to point at."""
        part = [(n, lines[n - 1]) for n in section.code_lines[start:stop]]
        while part and not part[0][1].strip():
            part.pop(0)
        numbered = self.document.numbered
        return [(n if numbered and line.strip() else 0, Markup(line)) for n, line in part]

    # ### Its symbols

    def _legend(self) -> list[dict[str, Any]]:
        entries = self._symbols.legend(self.met) if self._symbols else []
        return [self._symbol(entry) for entry in entries]

    def _symbol(self, entry: Entry) -> dict[str, Any]:
        tied = self._tied(entry.tie.scope)

        def inline(text: str) -> Markup:
            with converting(Passage("", "", (), tied=tied, ids=self.ids)):
                html = self.convert(text, 0).strip()
            return Markup(html.removeprefix("<p>").removesuffix("</p>"))

        symbol = inline(f"$\\code{{{entry.tie.name}}}{{{entry.tie.symbol}}}$")
        meaning, tie = inline(entry.meaning), tied.get(entry.tie.name, "")
        return {"entry": entry, "symbol": symbol, "meaning": meaning, "tie": tie}


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
