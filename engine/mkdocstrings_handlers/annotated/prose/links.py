"""
# Links

Names are links, in the code and in the prose. `[torch.nn.Conv2d][]` is written like a reference to one of our own names, and leads to PyTorch's documentation. And where a docstring or a comment says
`check_weight` or `F.layer_norm`, nothing needs to be written at all: code in the prose that [stands for something][mkdocstrings_handlers.annotated.understand.scopes] becomes a link, the first time
that a section says it. Headings stay as they are, and so does what is a link already.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from markdown import Extension, Markdown
from markdown.inlinepatterns import InlineProcessor
from markdown.treeprocessors import Treeprocessor
from markdown.util import AtomicString

from ..understand.torch_docs import torch_url
from .page import PRIORITIES, section
from .section import text_of

REFERENCE = r"\[(`?)([^\[\]`\n]+)\1\]\[(torch(?:\.\w+)+)?\]"
NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*(?:\(\))?")
LONGEST = 32  # characters that have room in a line on a phone
# A number and its unit, and the name of a method: 5 %, 59 MB, WS + GN.
JOINED = re.compile(
    r"(?<=\d) (?=%|[kMG]B\b|million\b|billion\b)|(?<=[A-Z]) (?=\+ [A-Z]+\b)|(?<=[A-Z] \+) (?=[A-Z]+\b)"
)
NUMBERED = re.compile(r"\b([A-Za-z]+-\d+)\b")
CODE = {"code", "pre", "var"}
ALONE = {"a", "autoref", "h1", "h2", "h3", "h4", "h5", "h6", "pre"}


class TorchReference(InlineProcessor):
    def handleMatch(
        self, m: re.Match[str], data: str
    ) -> tuple[Element | None, int | None, int | None]:
        # Code that shows how a reference is written isn't one.
        if data[: m.start(0)].count("`") % 2:
            return None, None, None
        # What has no page is left to the builder, which complains of a reference that leads nowhere.
        url = torch_url(m[3] or m[2]) if (m[3] or m[2]).startswith("torch.") else None
        if not url:
            return None, None, None
        link = Element("a", {"href": url})
        if m[1]:
            SubElement(link, "code").text = AtomicString(m[2])
        else:
            link.text = m[2]
        return link, m.start(0), m.end(0)


class Names(Treeprocessor):
    """Wraps code that names something. In a page nobody says what its names are, so there nothing happens."""

    def run(self, root: Element) -> None:
        here = section()
        if here and here.href:
            self._wrap(root, here.href, set())

    def _wrap(self, parent: Element, href: Callable[[str], str | None], seen: set[str]) -> None:
        for n, child in enumerate(list(parent)):
            if child.tag in ALONE:
                continue
            if child.tag != "code":
                self._wrap(child, href, seen)
                continue
            text = text_of(self.md, child)
            url = href(text) if NAME.fullmatch(text) and text not in seen else None
            seen.add(text)
            if url:
                link = Element("a", {"href": url})
                link.tail, child.tail = child.tail, None
                link.append(child)
                parent[n] = link


class Whole(Treeprocessor):
    """
    A shape like `[B, C_in, H, W]` is read at one glance, so it isn't broken at its blanks, nor a name like CIFAR-10 at its hyphen, nor 5 % before its sign. What
    has no room in a line has to be.
    """

    def run(self, root: Element) -> None:
        for code in root.iter("code"):
            text = text_of(self.md, code)
            if len(text) <= LONGEST and re.search(r"[ -]", text) and "\n" not in text:
                code.set("class", f"{code.get('class', '')} nobr".strip())
        for element in list(root.iter()):
            for n, child in reversed(list(enumerate(element))):
                if child.tail:
                    child.tail, names = _whole(child.tail)
                    element[n + 1 : n + 1] = names
            if element.text and element.tag not in CODE:
                element.text, names = _whole(element.text)
                element[:0] = names


def _whole(text: str) -> tuple[str, list[Element]]:
    first, *rest = NUMBERED.split(JOINED.sub("\N{NO-BREAK SPACE}", text))
    names = []
    for name, after in zip(rest[::2], rest[1::2], strict=True):
        span = Element("span", {"class": "nobr"})
        span.text, span.tail = name, after
        names.append(span)
    return first, names


class LinksExtension(Extension):
    def extendMarkdown(self, md: Markdown) -> None:
        name = "annotated-links"
        md.inlinePatterns.register(TorchReference(REFERENCE, md), name, PRIORITIES[name])
        for name, made in (("annotated-names", Names(md)), ("annotated-whole", Whole(md))):
            md.treeprocessors.register(made, name, PRIORITIES[name])


def makeExtension(**config: Any) -> LinksExtension:
    return LinksExtension(**config)
