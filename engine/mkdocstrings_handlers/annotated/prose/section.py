"""
# A section's elements

What [the handler][mkdocstrings_handlers.annotated.handler] knows of a section (its anchor, its names) is set on the elements that Markdown made of its text, never written into
the text: a heading may hold braces, a formula or an id of its own, and stays what its author wrote.
"""

from __future__ import annotations

import html
import re
from xml.etree.ElementTree import Element, SubElement

from markdown import Markdown
from markdown.treeprocessors import Treeprocessor
from markdown.util import HTML_PLACEHOLDER_RE
from markupsafe import Markup

from .page import Passage, free, section

HEADINGS = frozenset(f"h{n}" for n in range(1, 7))


def text_of(md: Markdown, element: Element) -> str:
    """The text of an element. Highlighting may have put it away, to come back when the page is written."""
    text = element.text or ""
    if stashed := HTML_PLACEHOLDER_RE.fullmatch(text):
        text = Markup(md.htmlStash.rawHtmlBlocks[int(stashed[1])]).striptags()
    return html.unescape(text) if stashed else text


def label(md: Markdown, heading: Element) -> str:
    """What a heading says where no formula can be drawn: in a list, to a screen reader."""
    parts: list[str] = []

    def walk(element: Element) -> None:
        if element.tag != "var":
            parts.append(text_of(md, element))
            for child in element:
                walk(child)
                parts.append(child.tail or "")

    walk(heading)
    return re.sub(r"\s+", " ", "".join(parts)).strip()


def _opening(root: Element) -> Element | None:
    """The heading that a text begins with."""
    first = next(iter(root), None)
    return first if first is not None and first.tag in HEADINGS else None


class Opening(Treeprocessor):
    """The heading that a section begins with carries the section's anchor and role. An id of its own goes on working beside it."""

    def run(self, root: Element) -> None:
        passage = section()
        if passage is None:
            return
        # A rule of `####` is a rule.
        for element in [e for e in root.iter() if e.tag in HEADINGS]:
            if not len(element) and not (element.text or "").strip():
                element.tag, element.text = "hr", None
        first = _opening(root)
        if first is None or passage.heading is None:
            return
        if (given := first.get("id")) and given != passage.heading.anchor:
            first.insert(0, Element("a", {"id": given}))
            first[0].tail, first.text = first.text, None
        first.set("id", passage.heading.anchor)
        if passage.heading.role:
            first.set("data-role", passage.heading.role)


class Ids(Treeprocessor):
    """No id comes twice on a page, though each section is converted by itself: a second *Begin*, a second footnote 1."""

    def run(self, root: Element) -> None:
        passage = section()
        if passage is None:
            return
        renamed: dict[str, str] = {}
        for element in root.iter():
            if (given := element.get("id")) is None:
                continue
            opens = passage.heading is not None and given == passage.heading.anchor
            name = given if opens else free(given, passage.ids)
            if name != given:
                element.set("id", name)
                renamed[f"#{given}"] = f"#{name}"
            passage.ids.add(element.get("id", ""))
        for link in root.iter("a"):
            link.set("href", renamed.get(link.get("href", ""), link.get("href", "")))
            if not link.get("href"):
                del link.attrib["href"]
        # A section has a permalink of its own.
        for element in root.iter():
            for link in [e for e in element if e.get("class") == "headerlink"]:
                element.remove(link)


class Parts(Treeprocessor):
    """
    What stands elsewhere than in the prose: the heading, as a child of the section itself, where a search index takes all that follows for its own.
    """

    def run(self, root: Element) -> None:
        passage = section()
        if passage is None:
            return
        for code in root.iter("code"):
            if tie := passage.tied.get(text_of(self.md, code)):
                code.set("data-tie", tie)
        first = _opening(root)
        if first is not None and passage.heading:
            passage.parts["label"] = label(self.md, first)
            self._named(first, passage)
            root.remove(first)
            passage.parts["heading"] = self._html(first)

    @staticmethod
    def _named(heading: Element, passage: Passage) -> None:
        """Whoever searches for a function by its name finds its heading, which may not say the name."""
        name = passage.heading.name if passage.heading else ""
        if name and name not in passage.parts["label"]:
            SubElement(heading, "span", {"hidden": "hidden"}).text = f" ({name})"

    def _html(self, element: Element) -> str:
        root = Element("div")
        root.append(element)
        text = self.md.serializer(root).strip().removeprefix("<div>").removesuffix("</div>")
        for process in self.md.postprocessors:
            text = process.run(text)
        return text.strip()
