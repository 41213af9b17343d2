r"""
# Formulas

`$…$` in a line, `$$…$$` or `\begin{align}…\end{align}` on lines of their own: in comments, docstrings and ordinary pages alike, because this is a Markdown extension.
[KaTeX](https://katex.org) turns them into HTML for the eye and MathML for a screen reader while the site is built. The reader's browser computes nothing and nothing jumps.

`\code{mean}{\mu}` ties the symbol $\mu$ to the identifier `mean`. It becomes an attribute, `data-code="mean"`, that a few lines of script light up.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
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

from ..understand.symbols import nearest, ties, untied
from .katex import Katex, MathError

BLOCK = re.compile(rf"(?sm)^(?:{RE_DOLLAR_BLOCK}|{RE_TEX_BLOCK})[ ]*$")


@dataclass
class Origin:
    r"""
    Where the text that is being converted stands: the file, and the line in it of each of the text's lines.
    If it stands beside code, `known` are the names that `\code` may use there, in the scope called `scope`; `ties` gathers those that were used.
    """

    path: str
    text: str
    lines: Sequence[int]
    scope: str = ""
    known: Set[str] | None = None
    ties: list[tuple[str, str, str]] = field(default_factory=list)

    def check(self, tex: str) -> None:
        for name, symbol, at in ties(tex) if self.known is not None else ():
            place = self.place(tex, tex[:at].count("\n"))
            if name not in (self.known or ()):
                raise PluginError(
                    f"{place}: `\\code{{{name}}}` names nothing in the scope of {self.scope}. {nearest(name, self.known or set())}"
                )
            self.ties.append((name, symbol, place))

    def place(self, tex: str, line: int = 0) -> str:
        # Inside a list the formula has lost its indentation, so it is looked for as a whole, and if need be by its first line.
        blank = len(tex) - len(tex.lstrip())
        whole = self.text.find(f"${tex}$") + 1
        at = whole + blank if whole else max(self.text.find(tex[blank:].split("\n")[0]), 0)
        # An error's line is counted from the delimiter, and `at` is where the first symbol stands.
        row = self.text[:at].count("\n") + max(line - tex[:blank].count("\n"), 0)
        return f"{self.path}:{self.lines[min(row, len(self.lines) - 1)] if self.lines else 1}"


# What a formula looks like, as far as its length goes.
COMMAND = re.compile(r"\\[A-Za-z]+")
UNSEEN = str.maketrans("", "", "{}^_ \\")


class MathExtension(Extension):
    """
    ## The Markdown side

    `origin` is set by whoever converts text that isn't a page, as the handler does with prose from a module. For a page the builder knows the file.
    """

    katex: ClassVar[dict[tuple[str, str], Katex]] = {}

    def __init__(self, **config: Any) -> None:
        self.config = {
            "node_modules": ["node_modules", "where npm put KaTeX"],
            "cache": ["build/math", "where set formulas are kept"],
        }
        super().__init__(**config)
        self.origin: Origin | None = None

    def extendMarkdown(self, md: Markdown) -> None:
        md.registerExtension(self)
        escape_chars(md, ["$"])
        md.inlinePatterns.register(
            Inline(RE_SMART_DOLLAR_INLINE, md, self), "annotated-math", 189.9
        )
        md.parser.blockprocessors.register(Block(md, self), "annotated-math", 79.9)

    def html(self, md: Markdown, tex: str, display: bool) -> str:
        config = (self.getConfig("node_modules"), self.getConfig("cache"))
        # A page and the prose of a module are converted by different instances; they share one process.
        katex = self.katex.setdefault(config, Katex(*config))
        if self.origin:
            self.origin.check(tex)
        try:
            return md.htmlStash.store(katex.render(tex, display))
        except MathError as error:
            origin = self.origin or _page(md)
            raise PluginError(
                f"{origin.place(tex, error.line)}: KaTeX can't set the formula `{' '.join(tex.split())}`: {error}. "
                "Mend the TeX, or write `\\$` where a dollar sign is meant."
            ) from error


class Inline(InlineProcessor):
    def __init__(self, pattern: str, md: Markdown, extension: MathExtension) -> None:
        super().__init__(pattern, md)
        self.extension = extension

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[Element | str, int, int]:
        if m.group(1):
            return m.group(1).replace("\\\\", f"{STX}{ord(chr(92))}{ETX}"), m.start(0), m.end(0)
        # `var` is HTML's word for a mathematical variable. KaTeX has no such element inside, by which the search index can tell where a formula ends.
        element = Element("var", {"class": "math", "data-search-exclude": "true"})
        element.text = self.extension.html(self.md, m.group(3), display=False)
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

    def __init__(self, md: Markdown, extension: MathExtension) -> None:
        super().__init__(md.parser)
        self.md, self.extension = md, extension

    def test(self, parent: Element, block: str) -> bool:
        return BLOCK.search(block) is not None

    def run(self, parent: Element, blocks: list[str]) -> None:
        block = blocks.pop(0)
        m = BLOCK.search(block)
        assert m
        if before := block[: m.start()].strip("\n"):
            self.parser.parseBlocks(parent, [before])
        element = SubElement(parent, "div", {"class": "math", "data-search-exclude": "true"})
        element.text = self.extension.html(
            self.md, m.group("math") or m.group("math2"), display=True
        )
        if after := block[m.end() :].strip("\n"):
            blocks.insert(0, after)


def _page(md: Markdown) -> Origin:
    """Which page is being converted: MkDocs and Zensical each keep it in a processor of theirs."""
    for processors in (md.treeprocessors, md.preprocessors):
        for processor in processors:
            file = getattr(processor, "file", None) or getattr(processor, "page", None)
            if path := getattr(file, "abs_src_path", None) or getattr(file, "path", None):
                found = next((p for p in (Path(path), Path("docs", path)) if p.is_file()), None)
                text = found.read_text(encoding="utf-8") if found else ""
                return Origin(
                    os.path.relpath(found) if found else path,
                    text,
                    range(1, text.count("\n") + 2),
                )
    return Origin("a page", "", ())


def makeExtension(**config: Any) -> MathExtension:
    return MathExtension(**config)
