r"""
# A module as a notebook

Prose becomes Markdown cells, code becomes cells that run from top to bottom. A class can't be cut in the middle, so what is said between its methods stays in its cell, as
comments. The demo loses its guard and its indentation. A formula loses its ties, as no notebook knows them, and links into the site become full addresses, or plain words
where the site has no address yet.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

from ..document import Document, Section, SourceError
from ..read.source import DEFINITIONS, guard, lines_of
from ..understand.symbols import untied
from .markdown import names, prose

ALIGN = re.compile(r"\\begin\{align\*?\}(.*?)\\end\{align\*?\}", re.DOTALL)
# From the name of an object, or an address as a page writes it, to a full address; an empty one if there is none.
Resolve = Callable[[str], str]
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


@dataclass(frozen=True)
class Cell:
    """`kind` is `markdown` or `code`, `output` what the cell printed."""

    kind: str
    source: str
    output: str = ""


def cells(
    document: Document,
    resolve: Resolve,
    dropped: Callable[[ast.stmt], bool] = lambda statement: False,
) -> Iterator[Cell]:
    """The cells of a module. `dropped` says which of its statements, and of its demo's, are left out. Raises `SourceError` for code that can't be moved."""
    tree, lines = document.source.tree, ["", *_absolute(document)]
    demo = guard(tree)
    statements = [*tree.body, *(demo.body if demo else [])]
    inner = {n for node in statements if node is not demo for n in [*lines_of(node)][1:]}
    gone = {n for node in statements if dropped(node) for n in lines_of(node)}
    gone |= {demo.lineno} if demo else set()
    # A definition that was nothing but a docstring.
    empty = {
        (node.body[0].end_lineno or 0): " " * node.body[0].col_offset + "pass"
        for node in tree.body
        if isinstance(node, DEFINITIONS) and len(node.body) == 1 and ast.get_docstring(node)
    }
    # A section that begins inside a statement belongs to the cell of that statement, word for word.
    for first, *others in _groups(document.sections, inner):
        code = [lines[n] for n in first.code_lines if n not in gone]
        code += [empty[n] for n in first.span if n in empty]
        code += [
            lines[n] if n in section.code_lines else untied(lines[n])
            for section in others
            for n in section.span
        ]
        if first.prose:
            yield Cell("markdown", markdown(first.prose, resolve))
        if any(line.strip() for line in code):
            text = _unindented("\n".join(code).strip("\n"), document, first.first_line)
            outputs = [
                output.data for section in (first, *others) for output in section.outputs
            ]
            yield Cell("code", text, "".join(outputs))


def markdown(text: str, resolve: Resolve) -> str:
    """Prose as a notebook understands it."""

    def link(words: str, name: str) -> str:
        if name.startswith("@") or (names(name) and "." not in name):
            return ""
        url = name if "://" in name else resolve(name)
        return f"[{words}]({url})" if url else words

    aligned = r"$$\\begin{aligned}\1\\end{aligned}$$"
    return prose(text, link, lambda piece: ALIGN.sub(aligned, untied(piece)))


def written(cells: Sequence[Cell], others: Sequence[dict[str, Any]] = ()) -> str:
    """
    A notebook's file with these cells, and after them others that are in its format already. No name in it is random. A cell whose code begins with `# @title` is
    folded, in Colab and in Jupyter: nobody came for it.
    """
    entries = [*map(_entry, cells), *others]
    for number, entry in enumerate(entries):
        entry["id"] = f"cell-{number}"
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    content = {"cells": entries, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def _entry(cell: Cell) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "cell_type": cell.kind,
        "metadata": {},
        "source": _lines(cell.source),
    }
    if cell.kind == "code":
        entry |= {"execution_count": None, "outputs": []}
    if cell.source.startswith("# @title"):
        entry["metadata"] = {"cellView": "form", "jupyter": {"source_hidden": True}}
    if cell.output:
        stream = {"name": "stdout", "output_type": "stream", "text": _lines(cell.output)}
        entry["outputs"] = [stream]
    return entry


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def _groups(sections: Sequence[Section], inner: set[int]) -> list[list[Section]]:
    groups: list[list[Section]] = []
    for section in sections:
        if groups and section.span.start in inner:
            groups[-1].append(section)
        else:
            groups.append([section])
    return groups


def _absolute(document: Document) -> list[str]:
    """The lines of a module. A notebook is in no package, so `from .x import y` names the package in full."""
    lines = list(document.source.lines)
    for node in ast.walk(document.source.tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            package = document.name.split(".")[: -node.level]
            name = ".".join([*package, *filter(None, [node.module])])
            line = lines[node.lineno - 1]
            lines[node.lineno - 1] = re.sub(r"from\s+\.+[\w.]*", f"from {name}", line, count=1)
    return lines


def _unindented(code: str, document: Document, line: int) -> str:
    """A demo's lines stand under its guard. Where a string holds line breaks, moving the lines would change what it says."""
    moved = dedent(code)
    if code != moved:
        block = ast.parse(f"if True:\n{code}").body[0]
        if ast.dump(ast.Module(getattr(block, "body", []), [])) != ast.dump(ast.parse(moved)):
            raise SourceError(
                document.source.place,
                line,
                "a string here runs over several lines, and can't be moved to the margin of a notebook's cell. "
                "Write it outside the demo, or as one string per line.",
            )
    return moved
