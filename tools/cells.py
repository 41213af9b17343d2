r"""A module as a notebook: prose in Markdown cells, code in cells that run from top to bottom.

A class can't be cut in the middle, so what is said between its methods stays in its cell, as comments. The demo loses its
guard and its indentation. Formulas lose `\code`, which is this site's own word; links into the site become full addresses,
or plain words where the site has no address yet.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from textwrap import dedent

from mkdocstrings_handlers.annotated.document import Section, Source
from mkdocstrings_handlers.annotated.read.module import read_module
from mkdocstrings_handlers.annotated.read.source import DEFINITIONS, first_line, guard

FENCE = re.compile(r"(^[ ]*```.*?^[ ]*```[ ]*$)", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(`[^`\n]+`)")
REFERENCE = re.compile(r"\[((?:`[^`\n]+`|[^\[\]`])+)\]\[([\w.]*)\]")
LINK = re.compile(r"\[((?:`[^`\n]+`|[^\[\]`])+)\]\(([^()\s]+)\)")
ALIGN = re.compile(r"\\begin\{align\*?\}(.*?)\\end\{align\*?\}", re.DOTALL)

# From the name of an object, or an address as a page writes it, to a full address; an empty one if there is none.
Resolve = Callable[[str], str]


@dataclass(frozen=True)
class Cell:
    kind: str  # "markdown" or "code"
    source: str
    section: Section | None = None


def cells(source: str, resolve: Resolve, dropped: Callable[[ast.stmt], bool]) -> Iterator[Cell]:
    """`dropped` says which of the module's statements are left out."""
    lines = ["", *source.split("\n")]
    tree = ast.parse(source)
    demo = guard(tree)
    tops = [*tree.body, *(demo.body if demo else [])]
    inner = {
        n
        for node in tops
        if node is not demo
        for n in range(first_line(node) + 1, (node.end_lineno or 0) + 1)
    }
    gone = {
        n
        for node in tops
        if dropped(node)
        for n in range(first_line(node), (node.end_lineno or 0) + 1)
    }
    if demo:
        gone.add(demo.lineno)
    empty = {
        (node.body[0].end_lineno or 0): " " * node.body[0].col_offset + "pass"
        for node in tree.body
        if isinstance(node, DEFINITIONS) and len(node.body) == 1 and ast.get_docstring(node)
    }

    # A section that begins inside a statement belongs to the cell of that statement, word for word.
    for group in _groups(read_module(Source(source)), inner):
        head = group[0]
        code = [lines[n] for n in head.code_lines if n not in gone]
        code += [empty[n] for n in head.span if n in empty]
        code += [
            lines[n] if n in section.code_lines else symbols(lines[n])
            for section in group[1:]
            for n in section.span
        ]
        if head.prose:
            yield Cell("markdown", markdown(head.prose, resolve), head)
        if any(line.strip() for line in code):
            text = "\n".join(code).strip("\n")
            section = replace(head, span=range(head.span.start, group[-1].span.stop))
            yield Cell("code", _without_indentation(text, head.first_line), section)


def _groups(sections: list[Section], inner: set[int]) -> list[list[Section]]:
    groups: list[list[Section]] = []
    for section in sections:
        if groups and section.span.start in inner:
            groups[-1].append(section)
        else:
            groups.append([section])
    return groups


def _without_indentation(code: str, line: int) -> str:
    """A demo's lines stand under its guard. Where a string holds line breaks, moving the lines would change what it says."""
    moved = dedent(code)
    if code != moved:
        block = ast.parse(f"if True:\n{code}").body[0]
        if ast.dump(ast.Module(getattr(block, "body", []), [])) != ast.dump(ast.parse(moved)):
            raise ValueError(
                f"{line}: a string here runs over several lines, and can't be moved to the margin of a notebook's cell. "
                "Write it outside the demo, or as one string per line."
            )
    return moved


def markdown(text: str, resolve: Resolve) -> str:
    """Prose as a notebook understands it."""
    parts = FENCE.split(text)
    parts[::2] = [_words(part, resolve) for part in parts[::2]]
    return "".join(parts)


def _words(text: str, resolve: Resolve) -> str:
    def linked(words: str, address: str) -> str:
        return f"[{words}]({address})" if address else words

    text = REFERENCE.sub(
        lambda m: (
            linked(m[1], resolve(m[2] or m[1].strip("`"))) if "." in (m[2] or m[1]) else m[0]
        ),
        text,
    )
    text = LINK.sub(lambda m: m[0] if "://" in m[2] else linked(m[1], resolve(m[2])), text)
    parts = SPAN.split(text)
    parts[::2] = [
        ALIGN.sub(r"$$\\begin{aligned}\1\\end{aligned}$$", symbols(part)) for part in parts[::2]
    ]
    return "".join(parts)


def symbols(tex: str) -> str:
    r"""`\code{name}{symbol}` becomes `{symbol}`; the braces keep it one thing under an exponent."""
    while match := re.search(r"\\code\s*\{[^{}]*\}\s*", tex):
        tex = tex[: match.start()] + tex[match.end() :]
    return tex
