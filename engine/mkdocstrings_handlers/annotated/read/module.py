r"""
# From source to sections

A page of this site is a Python file, read from top to bottom: on the left what its author had to say, on the right what the machine runs.
This module cuts a file into such pairs. It knows nothing of HTML, of Markdown or of the site generator, so everything in it can be tested from a string.

Two rules carry the rest:

* **Nothing is lost.** Every line of the file that isn't blank stands in exactly one section, in order, under its real number.
* **Nothing is guessed.** Where a docstring is, only the syntax tree knows, and where a comment is, only the tokenizer; a regular expression over lines
  takes the `#` in `"#ff0000"` for a comment, and half of a string for prose.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import takewhile

from ..document import Output as Output, Section
from .source import (
    Definition,
    Opening,
    comments,
    definitions,
    docstrings,
    first_line,
    headers,
    import_zone,
    kind_of,
)


def read_module(source: str) -> list[Section]:
    """
    ## Reading a module

    Sections open at docstrings, at comments that have a line to themselves, and at `if __name__ == "__main__":`, which is
    a module's demo and not the tail of its last function.
    """
    source = source.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    # Python ends lines at `\n` only; `str.splitlines` would also cut at a form feed.
    lines = source.split("\n")
    tree = ast.parse(source)
    heads = {first_line(node): (node, name) for node, name in definitions(tree)}
    openings = {o.line: o for o in docstrings(tree, lines)}
    imports = import_zone(tree)
    # Comments above the module's docstring (shebang, encoding, license) and those among its imports are no one's prose.
    taken = [imports, *(range(o.line, o.prose.stop) for o in openings.values())]
    blocks = {
        b.line: b
        for b in comments(source, lines)
        if not any(b.line in stretch for stretch in taken)
    }

    # A comment directly below a header that has no docstring does a docstring's work, so the header comes along with it.
    for line, (node, name, kind) in headers(tree, heads).items():
        block = next(
            (
                blocks.pop(n)
                for n in range(node.lineno + 1, first_line(node.body[0]))
                if n in blocks
            ),
            None,
        )
        if line not in openings and (block or kind == "demo"):
            block = block or Opening(line, range(line, line), (), kind)
            openings[line] = replace(
                block, line=line, kind=kind, name=name, column=node.col_offset
            )

    # A comment directly above a definition speaks of it: both go into one section.
    sections: list[list[Opening]] = []
    for o in sorted([*openings.values(), *blocks.values()], key=lambda o: o.line):
        before = sections[-1][-1] if sections else None
        touching = before is not None and not any(
            lines[n - 1].strip() for n in range(before.prose.stop, o.line)
        )
        if before and before.kind == "comment" and touching and before.column == o.column:
            sections[-1].append(o)
        else:
            sections.append([o])
    if not sections or any(line.strip() for line in lines[: sections[0][0].line - 1]):
        sections.insert(0, [Opening(1, range(1, 1), (), "module")])

    scopes = [
        (range(line, (node.end_lineno or line) + 1), name)
        for line, (node, name) in heads.items()
    ]
    stops = [group[0].line for group in sections[1:]] + [len(lines) + 1]
    found = [
        _section(group, stop, lines, heads, scopes, imports)
        for group, stop in zip(sections, stops, strict=True)
    ]
    return _unique(found)


def _section(
    group: list[Opening],
    stop: int,
    lines: list[str],
    heads: dict[int, tuple[Definition, str]],
    scopes: list[tuple[range, str]],
    imports: range,
) -> Section:
    """What isn't prose is code. Blank lines between the two only separated them, and are dropped; inside the code they stay."""
    span = range(group[0].line, stop)
    spoken = {n for o in group for n in o.prose}
    code: list[int] = []
    piece: list[int] = []
    for n in [*span, stop]:
        if n in spoken or n == stop:
            while piece and not lines[piece[-1] - 1].strip():
                piece.pop()
            code, piece = code + piece, []
        elif piece or lines[n - 1].strip():
            piece.append(n)

    prose: list[tuple[int, str]] = []
    for o in group:
        prose += [(o.prose.start, ""), *o.text] if prose else o.text

    kind, name = group[-1].kind, group[-1].name
    if kind == "comment" and code and code[0] in heads:
        node, name = heads[code[0]]
        kind = kind_of(node)
    elif kind == "comment":
        name = max(((s.start, name) for s, name in scopes if span.start in s), default=(0, ""))[
            1
        ]
    text = "\n".join(line for _, line in prose)
    return Section(
        prose=text,
        prose_lines=tuple(n for n, _ in prose),
        code="\n".join(lines[n - 1] for n in code),
        code_lines=tuple(code),
        span=span,
        anchor=name
        if kind in {"class", "function"}
        else "--".join(filter(None, [name, slug(text or kind)])),
        kind=kind,
        name=name,
        folded=len(list(takewhile(lambda n: n < imports.stop, code)))
        if kind == "module"
        else 0,
    )


# ## Anchors


def slug(text: str, words: int = 6) -> str:
    """
    The first words of a text, or its heading if it begins with one. Formulas and links are left out: what a reader would say aloud remains.
    """
    first = text.strip().split("\n", 1)[0]
    if first.startswith("#"):
        text, words = first, 99
    text = re.sub(
        r"\$[^$]*\$|\\begin\{(\w+\*?)\}.*?\\end\{\1\}|\]\([^)]*\)", " ", text, flags=re.DOTALL
    )
    text = text.lower().replace("'", "")
    return "-".join(re.findall(r"[a-z0-9]+", text)[:words]) or "formula"


def _unique(sections: Iterable[Section]) -> list[Section]:
    """Two sections that begin with the same words in the same scope are told apart by their order, for want of anything better."""
    seen: Counter[str] = Counter()
    result = []
    for section in sections:
        seen[section.anchor] += 1
        n = seen[section.anchor]
        result.append(section if n == 1 else replace(section, anchor=f"{section.anchor}-{n}"))
    return result
