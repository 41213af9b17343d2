r"""
# Citations and definitions

`[@wei2008dynamics]` cites a work of the bibliography, in a module's prose as on any page, and becomes a link in the usual form, *Wei et al., 2008*;
`[that study][@wei2008dynamics]` is the same link with words of its own. The bibliography is one BibTeX file, and `[@*]` on a line of its own lists all of it.

A term of the glossary needs no mark. Where a page first uses it, it becomes a link to its entry.

Either link has, where a page has it first, what it leads to as its `title`: the whole reference, or the definition's first sentence. That is enough without a script. With one, the
same words come up for the keyboard and for a finger too.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from bibtexparser.entrypoint import parse_file
from bibtexparser.middlewares import SeparateCoAuthors, SplitNameParts
from markdown import Extension, Markdown
from markdown.inlinepatterns import InlineProcessor
from markdown.preprocessors import Preprocessor
from markdown.treeprocessors import Treeprocessor
from markdown.util import AtomicString
from mkdocs.exceptions import PluginError

from ..understand.symbols import nearest
from .page import PRIORITIES, page_file, passage

CITATION = r"\[(?:([^\[\]\n]+)\]\[)?@([A-Za-z][\w:.-]*)\]"
EVERYTHING = "[@*]"
ENTRY = re.compile(
    r"^## (?P<form>.+?) *\{ *#(?P<anchor>[\w-]+) *\}\n+"
    r"(?:Also: (?P<also>[^\n]+)\n\{ \.also \}\n+)?(?P<text>.+?)(?:\n\n|\n*\Z)",
    re.M | re.S,
)
MARKS = re.compile(r"\[([^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])|[*`]")
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
# Text in these is a name, a formula or a link already.
CLOSED = frozenset(
    ("a", "autoref", "code", "pre", "var", "button", "summary", *(f"h{n}" for n in range(1, 7)))
)


# ## Works


@dataclass(frozen=True)
class Work:
    """
    `label` is how a text cites it, `reference` how a list does (in Markdown, with its link), and `bibtex` the entry as it stands in the file.
    """

    key: str
    label: str
    title: str
    reference: str
    bibtex: str

    def markdown(self) -> str:
        return (
            f"## {self.title} {{ #{self.key} }}\n\n{self.reference}\n\n"
            f"```bibtex\n{self.bibtex}\n```\n"
        )


@cache
def read_works(path: Path, changed: int = 0) -> dict[str, Work]:
    """
    The works of a BibTeX file, by their keys. Reading that format is [bibtexparser](https://bibtexparser.readthedocs.io)'s work. `changed`, the file's time, is there
    for the cache: a file that has been edited meanwhile is read again.
    """
    library = parse_file(str(path), append_middleware=[SeparateCoAuthors(), SplitNameParts()])
    for block in library.failed_blocks:
        raise PluginError(
            f"{path}:{(block.start_line or 0) + 1}: this is no BibTeX entry, or its key is taken. "
            "Mend it, or give it another key."
        )
    labels: dict[str, str] = {}
    for entry in library.entries:
        missing = [
            name for name in ("author", "title", "year") if name not in entry.fields_dict
        ]
        if missing:
            raise PluginError(
                f"{path}:{(entry.start_line or 0) + 1}: {entry.key} has no "
                f"{' and no '.join(missing)}. Add it to the entry."
            )
        last = [" ".join([*name.von, *name.last]) for name in entry["author"]]
        names = f"{last[0]} et al." if len(last) > 2 else " and ".join(last)
        labels[entry.key] = f"{names}, {entry['year']}"
    often, nth = Counter(labels.values()), Counter[str]()
    works = {}
    for entry in library.entries:
        label = labels[entry.key]
        # Two works of the same people in one year are told apart by a letter, in the order of the file.
        letter = chr(ord("a") + nth[label]) if often[label] > 1 else ""
        nth[label] += 1
        fields = {name: field.value for name, field in entry.fields_dict.items()}
        # BibTeX keeps capitals with braces.
        title = re.sub(r"[{}]", "", fields["title"])
        reference = _reference(fields, letter)
        raw = (entry.raw or "").strip()
        works[entry.key] = Work(entry.key, label + letter, title, reference, raw)
    return works


def _reference(fields: Mapping[str, Any], letter: str) -> str:
    names = [" ".join([*n.first, *n.von, *n.last, *n.jr]) for n in fields["author"]]
    authors = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    place = fields.get("journal") or fields.get("booktitle") or fields.get("institution")
    linked = ARXIV.sub(r"[\g<0>](https://arxiv.org/abs/\1)", place or "")
    volume = fields.get("volume", "") + (f"({fields['number']})" if "number" in fields else "")
    pages = fields.get("pages", "").replace("--", "–")
    where = [
        " ".join(filter(None, [f"*{linked}*" if linked else fields.get("note"), volume])),
        f"pages {pages}" if pages else "",
        fields["year"] + letter,
    ]
    url = fields.get("url", "")
    address = url.removeprefix("https://").removesuffix("/").replace("arxiv.org/abs/", "arXiv:")
    return f"{authors}. {', '.join(filter(None, where))}." + f" [{address}]({url})" * bool(url)


# ## Terms


@dataclass(frozen=True)
class Term:
    """
    The glossary is a page like any other. An entry's heading is its term and ends in its anchor. A line `Also: one, another` with the class `also` names other forms of it. The first
    sentence below is what is shown where the term is used. Plurals are understood.
    """

    anchor: str
    forms: tuple[str, ...]
    definition: str


@cache
def read_terms(path: Path, changed: int = 0) -> list[Term]:
    text = path.read_text(encoding="utf-8")
    terms = []
    for entry in ENTRY.finditer(text):
        words = " ".join(MARKS.sub(r"\1", entry["text"]).split())
        first = re.split(r"(?<=[.!?])\s+(?=[A-ZÀ-ÞΑ-Ω\[])", words)[0]
        if "$" in first or "[@" in first:
            line = text[: entry.start("text")].count("\n") + 1
            raise PluginError(
                f"{path}:{line}: a definition's first sentence is shown as plain text. "
                "Move its formula or citation to a later one."
            )
        forms = tuple(filter(None, [entry["form"], *(entry["also"] or "").split(", ")]))
        terms.append(Term(entry["anchor"], forms, first))
    return terms


def pattern(forms: Sequence[str]) -> str:
    """The longest form comes first, so that *running mean* is not found as *mean*."""
    spelled = []
    for form in sorted(forms, key=len, reverse=True):
        # A line may break within a term.
        words = r"\s+".join(map(re.escape, form.split()))
        spelled.append(f"{words[:-1]}(?:y|ies)" if words.endswith("y") else f"{words}(?:e?s)?")
    return "|".join(spelled)


# ## The Markdown side


class ReferencesExtension(Extension):
    """
    There is one instance for a page and one for the modules on it, as the builder makes them anew for each page. What each one's `met` holds is therefore what
    the page has said so far.
    """

    def __init__(self, **config: Any) -> None:
        self.config = {
            "works": ["docs/references.bib", "the bibliography's entries"],
            "bibliography": ["docs/bibliography.md", "the page that lists them"],
            "glossary": ["docs/glossary.md", "the page that defines terms"],
        }
        super().__init__(**config)
        self.met: set[str] = set()

    def extendMarkdown(self, md: Markdown) -> None:
        self.md = md
        for registry, name, made in (
            (md.preprocessors, "annotated-works", Listing(self)),
            (md.inlinePatterns, "annotated-citations", Citation(self)),
            (md.treeprocessors, "annotated-terms", Definitions(self)),
        ):
            registry.register(made, name, PRIORITIES[name])

    @cached_property
    def page(self) -> Path:
        """The file of the page, which the modules on it are part of."""
        return Path(page_file(self.md))

    @property
    def works(self) -> dict[str, Work]:
        path = Path(self.getConfig("works"))
        return read_works(path, path.stat().st_mtime_ns) if path.is_file() else {}

    @property
    def terms(self) -> list[Term]:
        path = Path(self.getConfig("glossary"))
        return read_terms(path, path.stat().st_mtime_ns) if path.is_file() else []

    def link(self, page: str, anchor: str, kind: str, title: str) -> Element:
        """A link as an author would write it in this page, to a Markdown file; the builder makes an address of it. A title is given once per page."""
        href = os.path.relpath(self.getConfig(page), self.page.parent)
        element = Element("a", {"class": kind, "href": f"{Path(href).as_posix()}#{anchor}"})
        if anchor not in self.met:
            element.set("title", title)
        self.met.add(anchor)
        return element


class Listing(Preprocessor):
    """The line of the bibliography's page that stands for all works becomes their list."""

    def __init__(self, extension: ReferencesExtension) -> None:
        super().__init__(extension.md)
        self.extension = extension

    def run(self, lines: list[str]) -> list[str]:
        if EVERYTHING not in lines:
            return lines
        at = lines.index(EVERYTHING)
        works = "\n".join(work.markdown() for work in self.extension.works.values())
        return [*lines[:at], *works.split("\n"), *lines[at + 1 :]]


class Citation(InlineProcessor):
    """`[@key]` becomes a link to the work; a work that the file doesn't hold fails the build, with the nearest key."""

    def __init__(self, extension: ReferencesExtension) -> None:
        super().__init__(CITATION, extension.md)
        self.extension = extension

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[Element, int, int]:
        works, key = self.extension.works, m[2]
        if key not in works:
            raise PluginError(
                f"{passage(self.md).place(f'@{key}]')}: `[@{key}]` cites a work that "
                f"{self.extension.getConfig('works')} does not hold. "
                + nearest(key, works, "Add its BibTeX entry there.")
            )
        work = works[key]
        plain = MARKS.sub(r"\1", f"{work.title}. {work.reference}")
        link = self.extension.link("bibliography", key, "cite", plain)
        link.text = m[1] or AtomicString(work.label)
        return link, m.start(0), m.end(0)


class Definitions(Treeprocessor):
    """The first use of a term on a page becomes a link to its definition, in whichever of its forms it comes."""

    def __init__(self, extension: ReferencesExtension) -> None:
        super().__init__(extension.md)
        self.extension = extension

    def run(self, root: Element) -> None:
        self.terms = self.extension.terms
        if self.terms and self.extension.page != Path(self.extension.getConfig("glossary")):
            each = (f"(?P<t{n}>{pattern(term.forms)})" for n, term in enumerate(self.terms))
            self.forms = re.compile(rf"(?<![\w-])(?:{'|'.join(each)})(?![\w-])", re.IGNORECASE)
            self._walk(root)

    def _walk(self, element: Element) -> None:
        if element.tag in CLOSED or not isinstance(element.tag, str):
            return
        # From the first text to the last, as the first use is the one to be linked.
        texts = [(None, element.text), *((child, child.tail) for child in element)]
        for child, text in texts:
            if child is not None:
                self._walk(child)
            if text and not isinstance(text, AtomicString):
                self._link(element, child, text)

    def _link(self, parent: Element, before: Element | None, text: str) -> None:
        """Puts links into a text that stands in `parent`, after the child `before` or before all of them."""
        at = 0
        for m in self.forms.finditer(text):
            term = self.terms[int((m.lastgroup or "t0")[1:])]
            if term.anchor in self.extension.met:
                continue
            link = self.extension.link("glossary", term.anchor, "term", term.definition)
            link.text = AtomicString(m[0])
            self._put(parent, before, text[at : m.start()])
            parent.insert(0 if before is None else list(parent).index(before) + 1, link)
            before, at = link, m.end()
        self._put(parent, before, text[at:])

    @staticmethod
    def _put(parent: Element, before: Element | None, text: str) -> None:
        if before is None:
            parent.text = text
        else:
            before.tail = text
