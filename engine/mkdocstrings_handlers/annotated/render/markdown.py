r"""
# A document as Markdown

A program that reads a site wants neither columns nor colors. It gets prose, code and what the code showed, in the order in which a person reads them, with formulas as TeX.
The words are those of the file. Only what this engine adds to Markdown is put into plain Markdown: `\code{mean}{\mu}` is `{\mu}`, and a reference by name is a link.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence

from ..document import Document, Section
from ..read.source import headings, split_fences
from ..understand.index import Directive, directives
from ..understand.symbols import untied

# From the words of a link and what they lead to, as the source has it, to what stands there instead. It may be the name of an object, an address, or, with
# no words, the `@key` of a work.
Link = Callable[[str, str], str]
WORDS = r"\[(?P<words>(?:`[^`\n]+`|[^\[\]`])+)\]"
TARGET = r"\[(?P<name>@?[\w.:-]*)\]|\((?P<address>[^()\s]+)\)"
# Code is left as it is, unless it is what a link says.
SPAN = re.compile(r"(`+[^`]+`+)")
LINK = re.compile(rf"{SPAN.pattern}|\[(?P<key>@[A-Za-z][\w:.-]*)\]|{WORDS}(?:{TARGET})")
# What only a renderer needs: included drawings, classes, anchors, and the tags that hold two blocks beside each other.
LAYOUT = re.compile(
    r"^--8<-- .*\n?|^\{ ?[.#:][^{}\n]*\}\n?|^</?div[^>\n]*>\n?| *\{ ?[.#][^{}\n]*\}(?=\s*$)|(?<=\))\{ download \}",
    re.MULTILINE,
)


def prose(text: str, link: Link, beside_code: Callable[[str], str] = untied) -> str:
    """Prose in plain Markdown. `beside_code` is what becomes of its text once the links are there, where it is no code."""

    def plain(m: re.Match[str]) -> str:
        if m["key"]:
            return link("", m["key"])
        name = m["address"] or m["name"] or (m["words"] or "").strip("`")
        leads = m["address"] or "." in name or name.startswith("@")
        return link(m["words"], name) if m["words"] and leads else m[0]

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


def difference(old: str, new: str, before: Sequence[str], after: Sequence[str]) -> str:
    """What changed from the lines of one object to those of another, by their names."""
    lines = difflib.unified_diff(before, after, old, new, lineterm="")
    return _fenced("diff", "\n".join(lines))


def page(text: str, block: Callable[[Directive], str], link: Link) -> str:
    """The Markdown of a page whose source is `text`. `block` says what stands in the place of a directive."""
    parts, at = [], 0
    for directive in directives(text):
        parts += [text[at : directive.start], block(directive)]
        at = directive.end
    whole = "\n\n".join(part.strip("\n") for part in [*parts, text[at:]] if part.strip())
    pieces = split_fences(prose(whole, link))
    pieces[::2] = [LAYOUT.sub("", piece) for piece in pieces[::2]]
    return re.sub(r"\n{3,}", "\n\n", "".join(pieces)).strip() + "\n"
