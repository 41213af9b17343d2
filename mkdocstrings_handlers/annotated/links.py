"""
# PyTorch's names are links

`[torch.nn.Conv2d][]` is written like a reference to one of our own names, and leads to PyTorch's documentation. Its pages are named by a rule, so
no inventory has to be fetched to build the site.
"""

from __future__ import annotations

import re
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from markdown import Extension, Markdown
from markdown.inlinepatterns import InlineProcessor
from markdown.util import AtomicString

DOCS = "https://docs.pytorch.org/docs/stable"
REFERENCE = r"\[(`?)([^\[\]`\n]+)\1\]\[(torch(?:\.\w+)+)?\]"
# Modules have a page of their own, at another place than the names in them.
MODULES = {
    "torch.nn",
    "torch.nn.functional",
    "torch.optim",
    "torch.func",
    "torch.fx",
    "torch.autograd",
    "torch.amp",
    "torch.utils.data",
}


def torch_url(name: str) -> str:
    return (
        f"{DOCS}/{name.removeprefix('torch.')}.html"
        if name in MODULES
        else f"{DOCS}/generated/{name}.html"
    )


class TorchReference(InlineProcessor):
    def handleMatch(
        self, m: re.Match[str], data: str
    ) -> tuple[Element | None, int | None, int | None]:
        name = m[3] or m[2]
        if not name.startswith("torch."):
            return None, None, None
        link = Element("a", {"href": torch_url(name)})
        if m[1]:
            SubElement(link, "code").text = AtomicString(m[2])
        else:
            link.text = m[2]
        return link, m.start(0), m.end(0)


class LinksExtension(Extension):
    def extendMarkdown(self, md: Markdown) -> None:
        # Before code spans are taken out, as a name may be one.
        md.inlinePatterns.register(TorchReference(REFERENCE, md), "annotated-links", 191)


def makeExtension(**config: Any) -> LinksExtension:
    return LinksExtension(**config)
