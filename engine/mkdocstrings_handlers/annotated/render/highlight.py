"""
# Colors and links in one pass

Pygments knows what each stretch of code is, and [the names][mkdocstrings_handlers.annotated.understand.scopes] know where some stretches lead. Both say where a stretch stands, so they are put
together token by token, once per file, and only then cut into lines. A string that spans lines keeps its color, and the text stays
what it was, character for character.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from html import escape
from itertools import groupby, pairwise

from pygments.lexers.python import PythonLexer
from pygments.token import STANDARD_TYPES

from ..understand.scopes import Reference

LINE = re.compile(r"#(?:\w+-)?L(\d+)")


@dataclass(frozen=True)
class Wrap:
    """The characters from `start` to `stop` of a line, and the tags that go around them. Two wraps don't overlap."""

    line: int
    start: int
    stop: int
    opening: str
    closing: str


@dataclass(frozen=True)
class Piece:
    text: str
    css: str
    wrap: Wrap | None
    tie: str = ""


def highlight(
    source: str, wraps: Iterable[Wrap] = (), ties: Mapping[tuple[int, int], str] | None = None
) -> list[str]:
    """
    The lines of `source` as HTML. Neighbors of one color share an element, unless a wrap begins or ends between them, or one of them is tied to a symbol:
    `ties` has the number of the tie by line and column.
    """
    by_line: dict[int, list[Wrap]] = defaultdict(list)
    for wrap in wraps:
        by_line[wrap.line].append(wrap)
    lexer = PythonLexer(stripnl=False, ensurenl=False)
    tokens = [
        (_class(kind), text) for _, kind, text in lexer.get_tokens_unprocessed(source) if text
    ]
    return [_html(pieces) for pieces in _lines(tokens, by_line, ties or {})]


def _lines(
    tokens: list[tuple[str, str]],
    wraps: dict[int, list[Wrap]],
    ties: Mapping[tuple[int, int], str],
) -> Iterator[list[Piece]]:
    line, column = 1, 0
    pieces: list[Piece] = []
    for css, text in tokens:
        for n, part in enumerate(text.split("\n")):
            if n:
                yield pieces
                line, column, pieces = line + 1, 0, []
            cut = _cut(part, css, column, wraps.get(line, []))
            tie = ties.get((line, column), "")
            pieces += [replace(piece, tie=tie) for piece in cut] if tie else cut
            column += len(part)
    yield pieces


def _cut(text: str, css: str, column: int, wraps: list[Wrap]) -> Iterator[Piece]:
    """A token may begin or end in the middle of a wrap, as a dotted name in an import does, or hold one."""
    edges = {edge - column for wrap in wraps for edge in (wrap.start, wrap.stop)}
    cuts = sorted({0, len(text)} | {edge for edge in edges if 0 < edge < len(text)})
    for start, stop in pairwise(cuts):
        at = column + start
        wrap = next((w for w in wraps if w.start <= at < w.stop), None)
        yield Piece(text[start:stop], css, wrap)


def _html(pieces: list[Piece]) -> str:
    html = ""
    for wrap, wrapped in groupby(pieces, key=lambda piece: piece.wrap):
        inner = ""
        for (css, tie), same in groupby(wrapped, key=lambda piece: (piece.css, piece.tie)):
            text = escape("".join(piece.text for piece in same), quote=False)
            shown = f'{css} tied" data-tie="{tie}' if tie else css
            inner += f'<span class="{shown}">{text}</span>' if shown else text
        html += f"{wrap.opening}{inner}{wrap.closing}" if wrap else inner
    return html


def _class(kind: object) -> str:
    """Pygments' short name for a kind of token, or for the kind that it is a kind of."""
    while kind not in STANDARD_TYPES:
        kind = kind.parent  # type: ignore[attr-defined]
    return STANDARD_TYPES[kind]


def code_links(
    references: Iterable[Reference],
    stretch: Callable[[Reference], tuple[int, str] | None],
    own: Mapping[int, str],
    folded: Container[int],
) -> Iterator[Wrap]:
    """
    ## Links

    Every name that leads somewhere is a link, except into the section that it stands in; `own` has each line's. They look like code, and a page has a hundred
    of them, so the Tab key stops once for each place they lead to. What is folded away has stops of its own; the key comes there when it is opened.
    """
    seen: set[str] = set()
    for reference in sorted(references, key=lambda r: (r.line, r.start)):
        stop, url = stretch(reference) or (0, "")
        here = own.get(reference.line)
        line = LINE.fullmatch(url)
        if not url or here in {url[1:], own.get(int(line[1]) if line else 0)}:
            continue
        again = "" if reference.line in folded or url not in seen else ' tabindex="-1"'
        if reference.line not in folded:
            seen.add(url)
        opening = f'<a href="{escape(url)}"{again}>'
        yield Wrap(reference.line, reference.start, stop, opening, "</a>")
