r"""
# A module as a notebook

Prose in Markdown cells, code in cells that run from top to bottom. A class can't be cut in the middle, so what is said between its methods stays in its cell, as comments. The demo
loses its guard and its indentation. Formulas lose `\code`, which is this engine's own word; links become full addresses, or plain words where there is none.
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
from ..read.source import DEFINITIONS, guard, lines_of, split_fences
from ..understand.symbols import untied

SPAN = re.compile(r"(`[^`\n]+`)")
WORDS = r"\[((?:`[^`\n]+`|[^\[\]`])+)\]"
REFERENCE = re.compile(rf"{WORDS}\[([\w.]*)\]")
LINK = re.compile(rf"{WORDS}\(([^()\s]+)\)")
ALIGN = re.compile(r"\\begin\{align\*?\}(.*?)\\end\{align\*?\}", re.DOTALL)

# From the name of an object, or an address as a page writes it, to a full address; an empty one if there is none.
Resolve = Callable[[str], str]


@dataclass(frozen=True)
class Cell:
    """`kind` is `markdown` or `code`; `output` is what the code printed."""

    kind: str
    source: str
    output: str = ""


def cells(
    document: Document,
    resolve: Resolve,
    dropped: Callable[[ast.stmt], bool] = lambda statement: False,
) -> Iterator[Cell]:
    """
    The cells of a module, the demo's with what they printed. `dropped` says which of its statements are left out. Raises `SourceError` for a demo with a string over
    several lines, which would change if the demo moved to the margin.
    """
    source, package = document.source, document.name.rpartition(".")[0]
    tree, demo = source.tree, guard(source.tree)
    lines = dict(enumerate(_absolute(source.lines, tree, package), 1))
    tops = [node for node in [*tree.body, *(demo.body if demo else [])] if node is not demo]
    inner = {n for node in tops for n in lines_of(node)[1:]}
    gone = {
        n
        for node in [*tops, *([demo] if demo else [])]
        if dropped(node)
        for n in lines_of(node)
    }
    gone |= {demo.lineno} if demo else set()
    # What holds a docstring and nothing else would be empty without it.
    empty = {
        node.body[0].lineno: " " * node.body[0].col_offset + "pass"
        for node in tree.body
        if isinstance(node, DEFINITIONS) and len(node.body) == 1 and ast.get_docstring(node)
    }
    lines |= empty

    for head, *rest in _groups(document.sections, inner):
        if head.prose:
            yield Cell("markdown", markdown(head.prose, resolve))
        code = [
            lines[n]
            for n in head.span
            if (n in head.code_lines or n in empty) and n not in gone
        ]
        code += [
            lines[n] if n in section.code_lines else untied(lines[n])
            for section in rest
            for n in section.span
        ]
        if any(line.strip() for line in code):
            printed = (o.data for s in (head, *rest) for o in s.outputs)
            text = "\n".join(code).strip("\n")
            yield Cell(
                "code", _to_margin(text, source.place, head.first_line), "".join(printed)
            )


def _groups(sections: Sequence[Section], inner: set[int]) -> list[list[Section]]:
    """A section that begins inside a statement belongs to the cell of that statement, word for word."""
    groups: list[list[Section]] = []
    for section in sections:
        if groups and section.span.start in inner:
            groups[-1].append(section)
        else:
            groups.append([section])
    return groups


def _absolute(lines: Sequence[str], tree: ast.Module, package: str) -> list[str]:
    """A notebook is in no package: `from .x import y` names the package in full."""
    made = list(lines)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            outer = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1])
            name = f"{outer}.{node.module or ''}".rstrip(".")
            line = made[node.lineno - 1]
            made[node.lineno - 1] = re.sub(r"from\s+\.+[\w.]*", f"from {name}", line, count=1)
    return made


def _to_margin(code: str, place: str, line: int) -> str:
    """A demo's lines stand under its guard. Where a string holds line breaks, moving the lines would change what it says."""
    moved = dedent(code)
    if code != moved:
        block = ast.parse(f"if True:\n{code}").body[0]
        if ast.dump(ast.Module(getattr(block, "body", []), [])) != ast.dump(ast.parse(moved)):
            raise SourceError(
                place,
                line,
                "a string here runs over several lines, and can't be moved to the margin of a notebook's cell. "
                "Write it outside the demo, or as one string per line.",
            )
    return moved


# ## Its words


def markdown(text: str, resolve: Resolve) -> str:
    """Prose as a notebook understands it."""
    parts = split_fences(text)
    parts[::2] = [_words(part, resolve) for part in parts[::2]]
    return "".join(parts)


def _words(text: str, resolve: Resolve) -> str:
    def linked(words: str, address: str) -> str:
        return f"[{words}]({address})" if address else words

    def referred(m: re.Match[str]) -> str:
        name = m[2] or m[1].strip("`")
        return linked(m[1], resolve(name)) if "." in name else m[0]

    text = REFERENCE.sub(referred, text)
    text = LINK.sub(lambda m: m[0] if "://" in m[2] else linked(m[1], resolve(m[2])), text)
    parts = SPAN.split(text)
    parts[::2] = [
        ALIGN.sub(r"$$\\begin{aligned}\1\\end{aligned}$$", untied(part)) for part in parts[::2]
    ]
    return "".join(parts)


# ## The file


def written(cells: Sequence[Cell]) -> str:
    """A notebook's file, with no random names in it. A cell whose code begins with `# @title` is folded, in Colab and in Jupyter: nobody came for it."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {
        "cells": [_cell(number, cell) for number, cell in enumerate(cells)],
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def _cell(number: int, cell: Cell) -> dict[str, Any]:
    source = cell.source.strip("\n")
    made: dict[str, Any] = {"cell_type": cell.kind, "id": f"cell-{number}", "metadata": {}}
    made["source"] = source.splitlines(keepends=True)
    if cell.kind == "code":
        output = {
            "output_type": "stream",
            "name": "stdout",
            "text": cell.output.splitlines(True),
        }
        made |= {"execution_count": None, "outputs": [output] if cell.output else []}
    if source.startswith("# @title"):
        made["metadata"] = {"cellView": "form", "jupyter": {"source_hidden": True}}
    return made
