r"""
# Where am I?

Whoever converts a text, a formula or a link, may have to say where it stands: in a message, in a relative address. A page is known to its builder, and
MkDocs and Zensical each keep it in a processor of theirs. The prose of a module is known to [the handler][mkdocstrings_handlers.annotated.handler], which says so while
it converts it. Both answers are given here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from markdown import Markdown

from ..understand.index import Page

GREEK = "GREEK SMALL LETTER"

# ## In which order they run
#
# Python-Markdown has four lists of processors, for a page's text, its blocks, its inline text and its tree, and goes through each by priority, the highest first. Ours, in one table, with the neighbors that they have to keep to; only
# numbers of one list compare.
PRIORITIES = {
    "annotated-assets": 40,  # first, and once
    "annotated-ties": 39,
    "annotated-works": 27,  # before the fences are taken out of a page
    "annotated-links": 191,  # before code spans are taken out, as a name may be one
    "annotated-math": 189.9,  # after those, before a backslash escapes anything
    "annotated-citations": 172,  # before autorefs looks for a name in the second pair of brackets
    "annotated-formulas": 79.9,  # before a block becomes a heading or a list
    "annotated-symbols": 9,
    "annotated-terms": 8,  # once the text has become a tree
    "annotated-opening": 6,  # after attribute lists, before `toc` names what has no id
    "annotated-ids": 3,  # after `toc` has named the headings, before mkdocstrings reports them
    "annotated-names": -1,  # after MkDocs has turned links to other pages into addresses
    "annotated-whole": -2,
    "annotated-parts": -9,  # last: what it takes out of the tree is finished
}


@dataclass(frozen=True)
class Heading:
    """What a section's heading carries: the section's anchor, and what of a module it stands for."""

    anchor: str
    role: str = ""
    name: str = ""


@dataclass
class Passage:
    r"""
    ## A text that is being converted

    * `path`, `text`, `lines`: the file, the text, and the line in the file of each of the text's lines

    What a section of a module knows beyond that:

    * `names`: those that `\code` may use there, `scope` being what the names are said to be the scope of
    * `href`: where a name leads that stands in the prose
    * `tied`: for each name that formulas tie there, the number of the tie
    * `heading`: what a heading at its beginning carries
    * `ids`: those that the page has so far, as none may come twice

    and what its conversion leaves behind: `ties`, the symbols that were tied; `letters`, the Greek ones of its formulas; `parts`, the HTML of what stands elsewhere than in the prose.
    """

    path: str
    text: str
    lines: Sequence[int]
    scope: str = ""
    names: Set[str] | None = None
    href: Callable[[str], str | None] | None = None
    tied: Mapping[str, str] = field(default_factory=dict)
    heading: Heading | None = None
    ids: set[str] = field(default_factory=set)
    ties: list[tuple[str, str, str]] = field(default_factory=list)
    letters: set[str] = field(default_factory=set)
    parts: dict[str, str] = field(default_factory=dict)

    def place(self, text: str, line: int = 0) -> str:
        """File and line of a stretch of the text, or of a line in it, for a message."""
        # Inside a list a formula has lost its indentation, so it is looked for as a whole, and if need be by its first line.
        blank = len(text) - len(text.lstrip())
        whole = self.text.find(f"${text}$") + 1
        at = whole + blank if whole else max(self.text.find(text[blank:].split("\n")[0]), 0)
        # An error's line is counted from the delimiter, and `at` is where the first symbol stands.
        row = self.text[:at].count("\n") + max(line - text[:blank].count("\n"), 0)
        return f"{self.path}:{self.lines[min(row, len(self.lines) - 1)] if self.lines else 1}"


def free(name: str, ids: Set[str]) -> str:
    """The name, with a count if an element of the page has it already."""
    spelled, n = name, 1
    while spelled in ids:
        n += 1
        spelled = f"{name}-{n}"
    return spelled


_section: ContextVar[Passage | None] = ContextVar("section", default=None)


@contextmanager
def converting(passage: Passage) -> Iterator[Passage]:
    """Says for a while that it's this section that is being converted, and no page."""
    before = _section.set(passage)
    try:
        yield passage
    finally:
        _section.reset(before)


def section() -> Passage | None:
    """The section that is being converted, if it is one."""
    return _section.get()


def passage(md: Markdown) -> Passage:
    """What is being converted: a section, else a page."""
    return _section.get() or _page(md)


def page(md: Markdown) -> Page:
    """The page that is being converted, below the folder of all pages, and its address."""
    for file in _files(md):
        if path := getattr(file, "src_uri", None) or getattr(file, "path", None):
            return Page(str(path), str(getattr(file, "url", "")))
    return Page("")


def page_file(md: Markdown) -> str:
    """The file of the page, as one would name it in a message."""
    for file in _files(md):
        if path := getattr(file, "abs_src_path", None) or getattr(file, "path", None):
            # Zensical names a page below the folder of all pages.
            source = next((p for p in (Path(path), Path("docs", path)) if p.is_file()), None)
            return os.path.relpath(source) if source else str(path)
    return ""


def _page(md: Markdown) -> Passage:
    path = page_file(md)
    text = Path(path).read_text(encoding="utf-8") if Path(path).is_file() else ""
    return Passage(path or "a page", text, range(1, text.count("\n") + 2))


def site(md: Markdown) -> Path | None:
    """The folder of the site that is being built."""
    for processors in (md.treeprocessors, md.preprocessors):
        for processor in processors:
            config = getattr(processor, "config", None)
            if isinstance(config, Mapping) and (folder := config.get("site_dir")):
                return Path(config.get("root_dir") or "", folder)
    return None


def _files(md: Markdown) -> Iterator[object]:
    for processors in (md.treeprocessors, md.preprocessors):
        for processor in processors:
            if file := getattr(processor, "file", None) or getattr(processor, "page", None):
                yield file
