r"""
# A document as Markdown

A program that reads a site wants neither columns nor colors. It gets prose, code and what the code printed or drew, in the order in which a person reads them, with formulas as TeX.
The words are those of the file. What this engine adds to Markdown is put into plain Markdown (`\code{mean}{\mu}` is `{\mu}`, and a reference by name is a link), and what only a renderer needs is left out: classes, anchors, the values at the ends of lines.
"""

from __future__ import annotations

import difflib
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from textwrap import dedent

import griffe

from ..document import Document, Section
from ..prose.cite import EVERYTHING, Work
from ..read.source import headings, split_fences
from ..understand.index import Directive, Index, directives
from ..understand.run import recorded
from ..understand.symbols import untied
from ..understand.torch_docs import torch_url
from .diff import find
from .excerpt import heart

# From the words of a link and what they lead to, as the source has it, to what stands there instead; nothing, if it is no link of ours. They lead to an
# address, to the name of an object or, perhaps without words, to the `@key` of a work.
Link = Callable[[str, str], str]
WORDS = r"\[(?P<words>(?:`[^`\n]+`|[^\[\]`])+)\]"
NAME = re.compile(r"[A-Za-z_][\w.]*")
TARGET = r"\[(?P<name>@?[\w.:-]*)\]|\((?P<address>[^()\s]+)\)"
# Code is left as it is, unless it is what a link says.
SPAN = re.compile(r"(`+[^`]+`+)")
LINK = re.compile(rf"{SPAN.pattern}|\[(?P<key>@[A-Za-z][\w:.-]*)\]|{WORDS}(?:{TARGET})")
LISTING = re.compile(rf"^{re.escape(EVERYTHING)}$", re.MULTILINE)
# What only a renderer needs: included drawings, classes, anchors, and the tags that hold two blocks beside each other.
LAYOUT = re.compile(
    r"^--8<-- .*\n?|^\{ ?[.#:][^{}\n]*\}\n?|^</?div[^>\n]*>\n?| *\{ ?[.#][^{}\n]*\}(?=\s*$)|(?<=\))\{ download \}",
    re.MULTILINE,
)


def names(target: str) -> bool:
    """Whether what a link leads to is the name of an object, and no address."""
    return bool(NAME.fullmatch(target)) and not target.endswith(
        (".md", ".html", ".ipynb", ".py")
    )


def prose(text: str, link: Link, beside_code: Callable[[str], str] = untied) -> str:
    """Prose in plain Markdown. `beside_code` is what becomes of its text once the links are there, where it is no code."""

    def plain(m: re.Match[str]) -> str:
        if m["key"]:
            return link("", m["key"])
        name = m["address"] or m["name"] or (m["words"] or "").strip("`")
        return (link(m["words"], name) if m["words"] else "") or m[0]

    parts = split_fences(text)
    for n, part in enumerate(parts[::2]):
        pieces = SPAN.split(LINK.sub(plain, part))
        pieces[::2] = map(beside_code, pieces[::2])
        parts[2 * n] = "".join(pieces)
    return "".join(parts)


def markdown(document: Document, level: int = 1) -> str:
    """A document whose title is a heading of `level`. Its links are still those of the source."""
    return "\n\n".join(_section(section, "#" * (level - 1)) for section in document.sections)


def _section(section: Section, deeper: str) -> str:
    text, signs = section.prose, [m.start() for m in headings(section.prose)]
    for at in reversed(signs):
        text = f"{text[:at]}{deeper}{text[at:]}"
    parts = [text] if text else []
    if section.code:
        parts.append(_fenced("python", section.code))
    for output in section.outputs:
        if output.mime.startswith("image/"):
            parts.append(f"*Figure: {output.alt}*")
        elif words := output.data if output.mime == "text/plain" else output.alt:
            parts.append(_fenced("text", words))
    return "\n\n".join(parts)


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text.strip(chr(10))}\n```"


# ## A page


def address(path: str) -> str:
    """Where the Markdown of a page is: beside its HTML, as https://llmstxt.org proposes."""
    return f"{path.removesuffix('.md')}.html.md"


def outside(text: str, change: Callable[[str], str]) -> str:
    """The text, changed where nothing is fenced."""
    parts = split_fences(text)
    parts[::2] = map(change, parts[::2])
    return "".join(parts)


@dataclass(frozen=True)
class Writer:
    """
    * `index`: which page explains a name
    * `works`: the bibliography, whose page is `bibliography`
    * `records`: the folder of what demos printed
    """

    index: Index
    works: Mapping[str, Work] = field(default_factory=dict)
    records: Path | None = None
    bibliography: str = "bibliography.md"

    def page(self, path: str, text: str) -> str:
        """The page at `path`, below the folder of all pages, with its directives carried out. `text` is its Markdown, without front matter."""
        works = "\n".join(work.markdown() for work in self.works.values())
        text, parts, at = outside(text, lambda part: LISTING.sub(lambda _: works, part)), [], 0
        for directive in directives(text):
            parts += [text[at : directive.start], self.block(directive)]
            at = directive.end
        whole = "\n\n".join(part.strip("\n") for part in [*parts, text[at:]] if part.strip())
        whole = outside(prose(whole, partial(self.link, path)), partial(LAYOUT.sub, ""))
        return re.sub(r"\n{3,}", "\n\n", whole).strip() + "\n"

    def block(self, directive: Directive) -> str:
        """What stands in the place of a directive, with the source's own links."""
        name, options = directive.name, directive.options.get("options") or {}
        if old := options.get("diff_from"):
            a, b = ([line.text for line in find(n, self.index).lines] for n in (old, name))
            return _fenced(
                "diff", "\n".join(difflib.unified_diff(a, b, old, name, lineterm=""))
            )
        if anchor := options.get("figure"):
            sections = {s.anchor: s for s in self.index.document(name).sections}
            return _section(replace(sections[anchor], prose="", code=""), "")
        if not directive.shows and (function := options.get("excerpt")):
            document = self.index.document(name)
            shown = heart(document, function)
            code = "\n".join(document.source.lines[n - 1] for n in shown.lines)
            return f"{shown.formula}\n\n{_fenced('python', dedent(code))}"
        if not directive.shows:
            return self.signature(name)
        document = self.index.document(name)
        document = recorded(document, self.records) if self.records else document
        return markdown(document, int(options.get("heading_level", 1)))

    def signature(self, name: str) -> str:
        """What another handler shows in full: how a name is called, and where the reasons are."""
        package, _, inner = name.partition(".")
        found = griffe.load(package, search_paths=self.index.paths, allow_inspection=False)[
            inner
        ]
        target = found.final_target if isinstance(found, griffe.Alias) else found
        if not isinstance(target, griffe.Class | griffe.Function):
            return f"`{name}`"
        call = target.signature() or f"{target.name}(…)"
        explained = f"\n\n[Explained][{name}]" if self.index.find(name) else ""
        return f"### {target.name}\n\n{_fenced('python', call)}{explained}"

    def link(self, path: str, words: str, name: str) -> str:
        """A link from the page at `path` to the Markdown of another."""

        def to(page: str) -> str:
            return posixpath.relpath(address(page), posixpath.dirname(path) or ".")

        if name.startswith("@"):
            return f"[{words or self.works[name[1:]].label}]({to(self.bibliography)})"
        if name.startswith("torch.") and (url := torch_url(name)):
            return f"[{words}]({url})"
        place = self.index.find(name) if NAME.fullmatch(name) else None
        if place or names(name):
            return f"[{words}]({to(place[0])})" if place else ""
        outer = "://" in name or ".html.md" in name
        return f"[{words}]({name if outer else re.sub(r'[.]md(?=#|$)', '.html.md', name)})"
