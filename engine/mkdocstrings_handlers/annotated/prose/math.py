r"""
# Formulas

`$…$` in a line, `$$…$$` or `\begin{align}…\end{align}` on lines of their own: in comments, docstrings and ordinary pages alike, because this is a Markdown extension.
[KaTeX](https://katex.org) turns them into HTML for the eye and MathML for a screen reader while the site is built. The reader's browser computes nothing and nothing jumps.

`\code{mean}{\mu}` ties the symbol $\mu$ to the identifier `mean`. It becomes an attribute, `data-code="mean"`, and beside a module's code a second, `data-tie`, whose number the name in the code has as well.
On a page without code [the identifier is named in full][mkdocstrings_handlers.annotated.prose.ties].
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar
from xml.etree.ElementTree import Element, SubElement

from markdown import Extension, Markdown
from markdown.blockprocessors import BlockProcessor
from markdown.inlinepatterns import InlineProcessor
from markdown.util import ETX, STX
from mkdocs.exceptions import PluginError
from pymdownx.arithmatex import RE_DOLLAR_BLOCK, RE_SMART_DOLLAR_INLINE, RE_TEX_BLOCK
from pymdownx.util import escape_chars

from ..understand.index import Index
from ..understand.symbols import nearest, ties, untied
from .katex import Katex, MathError
from .page import GREEK, PRIORITIES, Passage, passage, section
from .ties import Known, PageSymbols, PageTies

BLOCK = re.compile(rf"(?sm)^(?:{RE_DOLLAR_BLOCK}|{RE_TEX_BLOCK})[ ]*$")


# What a formula looks like, as far as its length goes.
COMMAND = re.compile(r"\\[A-Za-z]+")
UNSEEN = str.maketrans("", "", "{}^_ \\")


TIES = "annotated-ties"
TIED = re.compile(r' data-code="([^"]*)"')


def set_formula(md: Markdown, katex: Katex, tex: str, display: bool) -> str:
    """The HTML of a formula, put away until the page is written. What it says of its section is noted there."""
    here = section()
    if here:
        _tie(tex, here)
    try:
        html = katex.render(tex, display)
    except MathError as error:
        raise PluginError(
            f"{passage(md).place(tex, error.line)}: KaTeX can't set the formula "
            f"`{' '.join(tex.split())}`: {error}. "
            "Mend the TeX, or write `\\$` where a dollar sign is meant."
        ) from error
    if here:
        here.letters |= {c for c in html if unicodedata.name(c, "").startswith(GREEK)}
        html = TIED.sub(partial(_numbered, here), html)
    elif TIES in md.preprocessors:
        html = TIED.sub(partial(_known, md.preprocessors[TIES].known), html)
    return md.htmlStash.store(html)


def _tie(tex: str, here: Passage) -> None:
    """Notes which names a formula ties. Each must be one that the code beside it has."""
    for name, symbol, at in ties(tex) if here.names is not None else ():
        place = here.place(tex, tex[:at].count("\n"))
        if name not in (here.names or ()):
            raise PluginError(
                f"{place}: `\\code{{{name}}}` names nothing in the scope of {here.scope}. "
                + nearest(name, here.names or set())
            )
        here.ties.append((name, symbol, place))


def _numbered(here: Passage, attribute: re.Match[str]) -> str:
    tie = here.tied.get(attribute[1])
    return f'{attribute[0]} data-tie="{tie}"' if tie else attribute[0]


def _known(known: Mapping[str, Known], attribute: re.Match[str]) -> str:
    """On a page without code the name is shortened to the variable's own."""
    tie = known.get(attribute[1])
    return f' data-code="{tie.entry.tie.name}" data-tie="{tie.number}"' if tie else attribute[0]


class MathExtension(Extension):
    """
    ## The Markdown side

    A page and the prose of its modules are converted by different instances; they share one process of KaTeX's.
    """

    katex: ClassVar[dict[str, Katex]] = {}
    indices: ClassVar[dict[tuple[Path, ...], Index]] = {}

    def __init__(self, **config: Any) -> None:
        self.config = {
            "cache": ["build/math", "where formulas that were set are kept"],
            "docs": ["docs", "the folder of the pages"],
            "paths": [["."], "where the modules are found that a page's formulas are tied to"],
            "demos": ["", "the folder of what their demos printed and bound"],
        }
        super().__init__(**config)

    def extendMarkdown(self, md: Markdown) -> None:
        md.registerExtension(self)
        escape_chars(md, ["$"])
        cache = self.getConfig("cache")
        katex = self.katex.setdefault(cache, Katex(cache))
        name = "annotated-math"
        inline = Inline(RE_SMART_DOLLAR_INLINE, md, katex)
        md.inlinePatterns.register(inline, name, PRIORITIES[name])
        name = "annotated-formulas"
        md.parser.blockprocessors.register(Block(md, katex), name, PRIORITIES[name])
        found = PageTies(md, self._index(), self.getConfig("demos"))
        md.preprocessors.register(found, TIES, PRIORITIES[TIES])
        name = "annotated-symbols"

        def formula(tex: str) -> str:
            return TIED.sub(partial(_known, found.known), katex.render(tex, False))

        made = PageSymbols(md, found, formula)
        md.treeprocessors.register(made, name, PRIORITIES[name])

    def _index(self) -> Index:
        root = Path.cwd()
        docs, paths = root / self.getConfig("docs"), [root / p for p in self.getConfig("paths")]
        return self.indices.setdefault((root, docs, *paths), Index(root, docs, paths))


class Inline(InlineProcessor):
    def __init__(self, pattern: str, md: Markdown, katex: Katex) -> None:
        super().__init__(pattern, md)
        self.katex = katex

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[Element | str, int, int]:
        if m.group(1):
            return m.group(1).replace("\\\\", f"{STX}{ord(chr(92))}{ETX}"), m.start(0), m.end(0)
        # `var` is HTML's word for a mathematical variable.
        element = Element("var", {"class": "math"})
        element.text = set_formula(self.md, self.katex, m.group(3), display=False)
        # A browser would break the line behind any sign of a formula, and between a formula and the comma that follows it. Long formulas must stay breakable.
        tex = untied(m.group(3))
        if len(tex) >= 24 and len(COMMAND.sub("x", tex).translate(UNSEEN)) > 12:
            return element, m.start(0), m.end(0)
        after = data[m.end(0) : m.end(0) + 1]
        if not after or after not in ".,;:!?)":
            element.set("class", "math nobr")
            return element, m.start(0), m.end(0)
        whole = Element("span", {"class": "nobr"})
        whole.append(element)
        element.tail = after
        return whole, m.start(0), m.end(0) + 1


class Block(BlockProcessor):
    """A formula on lines of its own. Text may touch it above and below, which comments often do."""

    def __init__(self, md: Markdown, katex: Katex) -> None:
        super().__init__(md.parser)
        self.md, self.katex = md, katex

    def test(self, parent: Element, block: str) -> bool:
        return BLOCK.search(block) is not None

    def run(self, parent: Element, blocks: list[str]) -> None:
        block = blocks.pop(0)
        m = BLOCK.search(block)
        assert m
        if before := block[: m.start()].strip("\n"):
            self.parser.parseBlocks(parent, [before])
        element = SubElement(parent, "div", {"class": "math", "data-search-exclude": "true"})
        tex = m.group("math") or m.group("math2")
        element.text = set_formula(self.md, self.katex, tex, display=True)
        if after := block[m.end() :].strip("\n"):
            blocks.insert(0, after)


def makeExtension(**config: Any) -> MathExtension:
    return MathExtension(**config)
