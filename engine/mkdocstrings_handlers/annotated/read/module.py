r"""
# From source to sections

A page of this site is a Python file, read from top to bottom: on the left what its author had to say, on the right what the machine runs.
This module cuts a file into such pairs. It makes no HTML and knows no site generator, and of Markdown only what a heading is, so everything in it can be tested from a string.

Two rules carry the rest:

* **Nothing is lost.** Every line of the file that isn't blank stands in exactly one section, in order, under its real number.
* **Nothing is guessed.** [What is prose and what is code][mkdocstrings_handlers.annotated.read.source], the syntax tree and the tokens say.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from ..document import Section, Source
from .source import (
    Definition,
    Text,
    around,
    comments,
    definitions,
    docstrings,
    first_line,
    guard,
    headings,
    import_zone,
    lines_of,
    trimmed,
    words_of,
)


@dataclass(frozen=True)
class Opening:
    """
    Where a section may begin. It covers the file from `line` on; `prose` are the lines that speak, and `text` is what they say, numbered. A definition that
    nobody explains has none. `name` is the qualified name of what is defined, or of what a comment stands in.
    """

    line: int
    prose: range
    text: Text = field(default_factory=list)
    kind: str = ""
    name: str = ""
    column: int = 0
    nested: bool = False


def read_module(source: Source, module: str = "") -> list[Section]:
    """
    ## Reading a module

    The sections of a file. They open at docstrings, at comments that have a line to themselves, at definitions that nobody explains, unless they belong to the section before, and at
    `if __name__ == "__main__":`, which is a module's demo and not the tail of its last function. `module` is the name that the file is imported by.

    Raises `SourceError` for what is no Python, and for a docstring that lost letters to its backslashes.
    """
    lines, imports = source.lines, import_zone(source.tree)
    groups: list[list[Opening]] = []
    for opening in openings(source, imports):
        before = groups[-1][-1] if groups else None
        between = lines[before.prose.stop - 1 : opening.line - 1] if before else []
        same = before and before.kind == "comment" and before.column == opening.column
        # A comment directly above a definition speaks of it: both go into one section.
        if same and not any(line.strip() for line in between):
            groups[-1].append(opening)
        elif opening.text or not before or not _belongs(opening, before):
            groups.append([opening])
    if not groups or any(line.strip() for line in lines[: groups[0][0].line - 1]):
        groups.insert(0, [Opening(1, range(1, 1), [], "module")])
    stops = [group[0].line for group in groups[1:]] + [len(lines) + 1]
    return unique(
        _section(group, stop, source, module, imports)
        for group, stop in zip(groups, stops, strict=True)
    )


def _belongs(opening: Opening, before: Opening) -> bool:
    """
    Whether a definition that nobody explains stays in the section before it: a method in that of its class, a setter in that of its property, and what is
    defined in the middle of a function or of an `if`, as the lines behind it are not about it.
    """
    inside = before.name and f"{opening.name}.".startswith(f"{before.name}.")
    return opening.kind != "demo" and bool(opening.nested or inside)


def openings(source: Source, imports: range) -> list[Opening]:
    """Everything that may open a section, in the order of the file."""
    tree, demo = source.tree, guard(source.tree)
    kinds = {ast.Module: "module", ast.ClassDef: "class", ast.If: "demo"}
    heads: dict[ast.AST, Opening] = {}
    for node, name, docstring in docstrings(tree):
        before, after = around(source, docstring)
        # One that shares its lines with code (`def f(): "..."`) can't be taken apart by lines, so it stays code.
        apart = not before.strip() and after.strip()[:1] in ("", "#")
        if apart and (text := words_of(source, docstring)):
            # It belongs beside the `def` or `class` line that it documents, decorators included.
            heads[node] = Opening(
                1 if isinstance(node, ast.Module) else first_line(node),
                lines_of(docstring),
                text,
                kinds.get(type(node), "function"),
                name,
                0 if isinstance(node, ast.Module) else node.col_offset,
            )

    scopes = [(lines_of(node), name) for node, name in definitions(tree)]
    silent = [imports, *(range(o.line, o.prose.stop) for o in heads.values())]
    silent += [range(first_line(node), node.lineno) for node, _ in definitions(tree)]
    blocks = {block.line: block for block in _blocks(source, scopes, silent)}

    bodies = (n.body for n in ast.walk(tree) if isinstance(n, ast.Module | ast.ClassDef))
    members = {node for body in bodies for node in body}
    headers: list[tuple[Definition | ast.If, str]] = [*definitions(tree)]
    headers += [(demo, "")] if demo else []
    for head, name in headers:
        if head in heads:
            continue
        # A comment directly below a header does a docstring's work, so the header comes along with it.
        below = range(head.lineno + 1, first_line(head.body[0]))
        line = first_line(head)
        heads[head] = replace(
            next(
                (blocks.pop(n) for n in below if n in blocks), Opening(line, range(line, line))
            ),
            line=line,
            kind=kinds.get(type(head), "function"),
            name=name,
            column=head.col_offset,
            nested=head not in members,
        )
    return sorted([*heads.values(), *blocks.values()], key=lambda o: o.line)


def _blocks(
    source: Source, scopes: list[tuple[range, str]], silent: list[range]
) -> Iterator[Opening]:
    """
    Comments on consecutive lines, in one column, are one paragraph or more. Those above the module's docstring (shebang, encoding, license), among its imports and
    among a definition's decorators are no one's prose.
    """
    block: Text = []
    last = (0, 0)
    for line, column, text, paragraph in comments(source):
        if not paragraph or any(line in stretch for stretch in silent):
            continue
        if block and (line - 1, column) != last:
            yield from _block(block, last[1], scopes)
            block = []
        # A rule (`# ####`) only sets off what it stands above.
        block.append(
            (line, "" if not text.strip("# ") else text[1:].removeprefix(" ").rstrip())
        )
        last = (line, column)
    yield from _block(block, last[1], scopes)


def _block(block: Text, column: int, scopes: list[tuple[range, str]]) -> Iterator[Opening]:
    if text := trimmed(block):
        prose = range(block[0][0], block[-1][0] + 1)
        around = [(stretch.start, name) for stretch, name in scopes if prose.start in stretch]
        name = max(around, default=(0, ""))[1]
        yield Opening(prose.start, prose, text, "comment", name, column)


def _section(
    group: list[Opening], stop: int, source: Source, module: str, imports: range
) -> Section:
    """What isn't prose is code. Blank lines between the two only separated them, and are dropped; inside the code they stay."""
    span, lines = range(group[0].line, stop), source.lines
    speaking = {n for o in group for n in o.prose}
    code: list[int] = []
    piece: list[int] = []
    for n in [*span, stop]:
        if n in speaking or n == stop:
            while piece and not lines[piece[-1] - 1].strip():
                piece.pop()
            code, piece = code + piece, []
        elif piece or lines[n - 1].strip():
            piece.append(n)

    prose: Text = []
    for o in group:
        prose += [(o.prose.start, ""), *o.text] if prose and o.text else o.text
    text = "\n".join(line for _, line in prose)
    kind, name = group[-1].kind, group[-1].name
    words = "--".join(filter(None, [name, slug(text or kind)]))
    full = ".".join(filter(None, [module, name]))
    anchors = {"module": module, "class": full, "function": full}
    return Section(
        prose=text,
        prose_lines=tuple(n for n, _ in prose),
        code="\n".join(lines[n - 1] for n in code),
        code_lines=tuple(code),
        span=span,
        anchor=anchors.get(kind) or words,
        kind=kind,
        name=name,
        folded=sum(n < imports.stop for n in code) if kind == "module" else 0,
    )


# ## Anchors


def slug(text: str, words: int = 6) -> str:
    """
    The first words of a text, or its heading if it begins with one. Formulas and links are left out: what a reader would say aloud remains.
    """
    heading = next(headings(text.strip()), None)
    if heading and not heading.start():
        text, words = heading[2], 99
    text = re.sub(
        r"\$[^$]*\$|\\begin\{(\w+\*?)\}.*?\\end\{\1\}|\]\([^)]*\)", " ", text, flags=re.DOTALL
    )
    parts = re.findall(r"[^\W_]+", text.lower().replace("'", ""))
    return "-".join(parts[:words]) or "formula"


def unique(sections: Iterable[Section]) -> list[Section]:
    """
    The sections with anchors that differ. Two that begin with the same words in the same scope are told apart by a number, for want of anything better; a
    definition keeps its name, and of several with one name that which is explained.
    """
    made = list(sections)
    counts: Counter[str] = Counter()
    for n, section in sorted(
        enumerate(made), key=lambda item: (not item[1].defines, not item[1].prose)
    ):
        counts[section.anchor] += 1
        count = counts[section.anchor]
        if count > 1:
            made[n] = replace(section, anchor=f"{section.anchor}-{count}")
    return made
