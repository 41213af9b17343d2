r"""
# Ties of a page without code

A page that shows no module has formulas too. There a tie names its module and function in full: `\code{package.module.function.mean}{\mu}`. The card says what it says where that
function is shown, and leads there; the page ends in a list of its symbols. A name without a dot is left to the page.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

from markdown import Markdown
from markdown.preprocessors import Preprocessor
from markdown.treeprocessors import Treeprocessor
from mkdocs.exceptions import PluginError

from ..document import SourceError
from ..read.source import unfenced
from ..understand.index import Index, Module, address
from ..understand.run import recorded
from ..understand.symbols import DEMO, Entry, Symbols, Tie, nearest, ties
from .page import page, passage, section

CODE_SPAN = re.compile(r"`[^`\n]+`")
PIECES = re.compile(r"(`[^`]*`|\$[^$]*\$)")
ROW = (
    '<tr data-scope data-card="{n}"{value}><td>{symbol}<span hidden> {plain}</span></td> '
    '<td><a href="{href}" title="{title}"><code data-tie="{n}">{name}</code></a></td> '
    "<td>{meaning}</td> <td>{shape}</td></tr>"
)
HEAD = "<thead><tr><th>symbol</th><th>name</th><th>meaning</th><th>shape</th></tr></thead>"


@dataclass(frozen=True)
class Known:
    """A tie that was found: its number on the page, what is said of it, and the module that says it."""

    number: str
    entry: Entry
    module: Module


class PageTies(Preprocessor):
    """What a page ties, found before it is converted, so that its formulas can be numbered."""

    def __init__(self, md: Markdown, index: Index, demos: str) -> None:
        super().__init__(md)
        self.index, self.demos = index, demos
        self.known: dict[str, Known] = {}

    def run(self, lines: list[str]) -> list[str]:
        self.known = {}
        if section() is None:
            for name, symbol, _ in ties(CODE_SPAN.sub("", unfenced("\n".join(lines)))):
                if name not in self.known and self.index.owns(name):
                    number = str(len(self.known) + 1)
                    self.known[name] = Known(number, *self._find(name, symbol))
        return lines

    def _find(self, name: str, symbol: str) -> tuple[Entry, Module]:
        where = passage(self.md).place(f"\\code{{{name}}}")
        parts = name.split(".")
        sizes = range(len(parts) - 1, 0, -1)
        module = next(
            filter(None, (self.index.module(".".join(parts[:n])) for n in sizes)), None
        )
        if module is None:
            raise PluginError(f"{where}: there is no module of which `{name}` names anything.")
        scope, _, own = name.removeprefix(f"{module.name}.").rpartition(".")
        if scope.rpartition(".")[2] == "self":
            scope, own = scope.removesuffix("self").removesuffix("."), f"self.{own}"
        document = self.index.document(module.name)
        if self.demos and (self.index.root / self.demos).is_dir():
            document = recorded(document, self.index.root / self.demos)
        symbols = Symbols(document, module.scopes)
        names = {".".join(filter(None, key)) for key in {**symbols.places, **symbols.uses}}
        if ".".join(filter(None, [scope, own])) not in names:
            advice = nearest(name, {f"{module.name}.{n}" for n in names})
            raise PluginError(f"{where}: `{name}` names nothing. {advice}")
        tie = Tie(own, symbol, where, scope, scope.partition(".")[0] or DEMO)
        try:
            return symbols.legend([tie])[0], module
        except SourceError as error:
            raise PluginError(str(error)) from error


class PageSymbols(Treeprocessor):
    """The list of what a page ties, at its end. `formula` sets one in a line."""

    def __init__(self, md: Markdown, found: PageTies, formula: Callable[[str], str]) -> None:
        super().__init__(md)
        self.found, self.formula = found, formula

    def run(self, root: Element) -> None:
        if section() is None and self.found.known:
            rows = "\n".join(self._row(name, known) for name, known in self.found.known.items())
            element = SubElement(root, "div", {"class": "meanings"})
            element.text = self.md.htmlStash.store(
                '<details class="legend"><summary>symbols</summary>'
                f'<table class="symbols">{HEAD}<tbody>\n{rows}\n</tbody></table></details>'
            )

    def _row(self, name: str, known: Known) -> str:
        entry, module, index = known.entry, known.module, self.found.index
        line, here = entry.place.line, page(self.md)
        shown = index.pages.get(module.name)
        if shown is None:
            raise PluginError(
                f"{entry.tie.place}: no page shows `{module.name}`, so the tie leads nowhere."
            )
        return ROW.format(
            n=known.number,
            value=f' data-value="{escape(entry.value)}"' if entry.value else "",
            symbol=self._math(f"\\code{{{name}}}{{{entry.tie.symbol}}}"),
            plain=escape(entry.plain),
            href=f"{address(here, shown)}#{index.line(module.name, line)}",
            title=f"line {line} of {escape(Path(module.source.place).name)}",
            name=escape(entry.tie.name),
            meaning=self._inline(entry.meaning),
            shape=f"<code>{escape(entry.shape)}</code>" if entry.shape else "",
        )

    def _math(self, tex: str) -> str:
        return f'<var class="math nobr">{self.formula(tex)}</var>'

    def _inline(self, text: str) -> str:
        """A meaning is a clause with code and formulas in it, and nothing else."""
        pieces = PIECES.split(text)
        for n, piece in enumerate(pieces):
            if n % 2:
                code = f"<code>{escape(piece[1:-1])}</code>"
                pieces[n] = code if piece[0] == "`" else self._math(piece[1:-1])
            else:
                pieces[n] = escape(piece, quote=False)
        return "".join(pieces)
