"""
# Code only

Whoever has read a page may want its code without the page. Which string is a docstring, only the syntax tree knows, and where a comment is, only the
tokenizer: what they name is cut out, and every other character stays as its author wrote it. Tidying up the gaps is left to a formatter.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator

from .source import definitions


def code_only(source: str, trailing: bool = False) -> str:
    """
    ## A module without its prose

    * `source`: the text of a module
    * `trailing`: keep the comments that share a line with code, which on these pages are mostly shapes
    * returns a module with the same syntax tree but for the docstrings; a body that was nothing else becomes `pass`
    """
    source = source.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    # Numbered as Python does, from one.
    lines = ["", *source.split("\n")]
    gone: set[int] = set()
    for row, column in _comments(source):
        if not lines[row][:column].strip():
            gone.add(row)
        elif not trailing:
            lines[row] = lines[row][:column].rstrip()
    for doc, alone in _docstrings(ast.parse(source)):
        last = doc.end_lineno or doc.lineno
        # The syntax tree counts bytes.
        before = lines[doc.lineno].encode()[: doc.col_offset].decode()
        after = lines[last].encode()[doc.end_col_offset :].decode()
        # What follows it on its line can only be a comment, unless a semicolon or a backslash stands between.
        shared = before.strip() or after.strip().startswith((";", "\\"))
        gone.update(range(doc.lineno, last + 1))
        if alone or shared:
            lines[doc.lineno] = f"{before}pass{after if shared else ''}"
            gone.discard(doc.lineno)
    kept = "\n".join(line for row, line in enumerate(lines) if row and row not in gone)
    return kept.strip("\n") + "\n" if kept.strip() else ""


def _comments(source: str) -> Iterator[tuple[int, int]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        # A shebang speaks to the system.
        if token.type == tokenize.COMMENT and not (
            token.start == (1, 0) and token.string.startswith("#!")
        ):
            yield token.start


def _docstrings(tree: ast.Module) -> Iterator[tuple[ast.stmt, bool]]:
    """Each docstring with whether its body would be empty without it. A module may be empty."""
    for node in (tree, *(node for node, _ in definitions(tree))):
        if ast.get_docstring(node, clean=False) is not None:
            yield node.body[0], len(node.body) == 1 and not isinstance(node, ast.Module)
