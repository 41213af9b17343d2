"""
# A page as Markdown

For programs that read: prose, code and what the code showed, in reading order, with formulas as TeX. It is written from the same documents as the page that people see, and its
references become links to the Markdown of other pages.
"""

from __future__ import annotations

import difflib
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import griffe

from ..document import Document, Section
from ..prose.cite import CITATION, EVERYTHING, Work
from ..prose.links import REFERENCE
from ..read.source import split_fences
from ..understand.index import Directive, Index, directives
from ..understand.run import recorded
from ..understand.symbols import untied
from ..understand.torch_docs import torch_url
from .diff import find

SPAN = re.compile(r"`[^`\n]+`")
LINK = re.compile(r"(?<=\]\()([^()\s]+)(?=\))")
CROSS = re.compile(r"\[([^\[\]]+)\]\[([\w.]*)\]")
# What only a renderer needs: included drawings, classes, anchors, and the tags that hold two blocks beside each other.
LAYOUT = re.compile(
    r"^--8<-- .*\n?|^\{ ?[.#:][^{}\n]*\}\n?|^</?div[^>\n]*>\n?"
    r"| *\{ ?[.#][^{}\n]*\}(?=\s*$)|(?<=\))\{ download \}",
    re.MULTILINE,
)
LISTING = re.compile(rf"^{re.escape(EVERYTHING)}$", re.MULTILINE)
SUFFIX = ".html.md"


def address(path: str) -> str:
    """Where the Markdown of a page is: beside its HTML, as https://llmstxt.org proposes."""
    return f"{path.removesuffix('.md')}{SUFFIX}"


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
        parts, at = [], 0
        for directive in directives(text):
            parts += [text[at : directive.start], self._shown(directive)]
            at = directive.end
        whole = "\n\n".join(part.strip("\n") for part in [*parts, text[at:]] if part.strip())
        works = "\n".join(work.markdown() for work in self.works.values())
        pieces = split_fences(whole)
        pieces[::2] = [LISTING.sub(lambda _: works, piece) for piece in pieces[::2]]
        # What came in has fences of its own.
        pieces = split_fences("".join(pieces))
        pieces[::2] = [self._words(piece, path) for piece in pieces[::2]]
        return re.sub(r"\n{3,}", "\n\n", "".join(pieces)).strip() + "\n"

    def _shown(self, directive: Directive) -> str:
        name, options = directive.name, directive.options.get("options") or {}
        if old := options.get("diff_from"):
            return self._difference(old, name)
        if not directive.shows:
            return self._signature(name)
        found = self.index.document(name)
        return document(
            recorded(found, self.records) if self.records else found,
            int(options.get("heading_level", 1)),
        )

    def _difference(self, old: str, new: str) -> str:
        a, b = ([line.text for line in find(name, self.index).lines] for name in (old, new))
        lines = difflib.unified_diff(a, b, old, new, lineterm="")
        return "\n".join(["```diff", *lines, "```"])

    def _signature(self, name: str) -> str:
        """What another handler shows in full: how a name is called, and where the reasons are."""
        package, _, inner = name.partition(".")
        found = griffe.load(package, search_paths=self.index.paths, allow_inspection=False)[
            inner
        ]
        target = found.final_target if isinstance(found, griffe.Alias) else found
        if not isinstance(target, griffe.Class | griffe.Function):
            return f"`{name}`"
        called = target.signature() or f"{target.name}(…)"
        explained = f"\n\n[Explained][{name}]" if self.index.find(name) else ""
        return f"### {target.name}\n\n```python\n{called}\n```{explained}"

    # ## Its words

    def _words(self, text: str, path: str) -> str:
        """Code is left as it is, unless it is what a link says."""
        pieces, at = [], 0
        for code in SPAN.finditer(text):
            linked = text[: code.start()].endswith("[") and text[code.end() :].startswith("]")
            if not linked:
                pieces += [text[at : code.start()], code[0]]
                at = code.end()
        pieces.append(text[at:])
        pieces[::2] = [LAYOUT.sub("", self._linked(piece, path)) for piece in pieces[::2]]
        return "".join(pieces)

    def _linked(self, text: str, path: str) -> str:
        """References become links from the page at `path` to the Markdown of others."""

        def to(other: str) -> str:
            return posixpath.relpath(address(other), posixpath.dirname(path) or ".")

        def cited(m: re.Match[str]) -> str:
            return f"[{m[1] or self.works[m[2]].label}]({to(self.bibliography)})"

        def torch(m: re.Match[str]) -> str:
            url = torch_url(m[3] or m[2]) if (m[3] or m[2]).startswith("torch.") else None
            return f"[{m[1]}{m[2]}{m[1]}]({url})" if url else m[0]

        def crossed(m: re.Match[str]) -> str:
            place = self.index.find(m[2] or m[1].strip("`"))
            return f"[{m[1]}]({to(place[0])})" if place else m[0]

        def followed(m: re.Match[str]) -> str:
            outside = "://" in m[1] or SUFFIX in m[1]
            return m[1] if outside else re.sub(r"\.md(?=#|$)", SUFFIX, m[1])

        text = re.sub(CITATION, cited, untied(text))
        return LINK.sub(followed, CROSS.sub(crossed, re.sub(REFERENCE, torch, text)))


def document(document: Document, level: int = 1) -> str:
    """A module or a notebook, section by section; its title is a heading of the given level."""
    deeper = "#" * (level - 1)
    return "\n\n".join(part for s in document.sections for part in _section(s, deeper))


def _section(section: Section, deeper: str) -> Iterator[str]:
    if section.prose:
        yield re.sub(r"^(?=#+ )", deeper, section.prose, flags=re.MULTILINE)
    if section.code:
        yield f"```python\n{section.code.strip(chr(10))}\n```"
    for output in section.outputs:
        text = output.data if output.mime == "text/plain" else output.alt
        if output.mime.startswith("image/"):
            yield f"*Figure: {output.alt}*"
        elif text:
            yield f"```text\n{text.strip(chr(10))}\n```"
