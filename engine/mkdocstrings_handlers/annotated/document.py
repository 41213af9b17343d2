"""
# The document

A file is read once, and everything that asks it something afterwards asks the same `Source`: its text, its lines, its syntax tree, its tokens. Reading cuts it into
sections of one kind, a notebook as well as a module. What is drawn on the page, written as Markdown or saved as a notebook is
always the same `Document`.

This file imports nothing else of the engine, and everything else may import it.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

MAGIC = re.compile(r"^[ ]*[%!]", re.MULTILINE)


class SourceError(ValueError):
    """What is wrong with a file, and how to mend it. `place` is the file as a reader of the message knows it, `line` the line in it, if it has lines."""

    def __init__(self, place: str, line: int | None, message: str) -> None:
        super().__init__(f"{place}:{line}: {message}" if line else f"{place}: {message}")


# ## The file


@dataclass(frozen=True, eq=False)
class Source:
    """
    A file of Python: its `text`, where it lies, and its `place`, which is its path as an error names it. What takes time to find out is found out when somebody
    asks, and once.
    """

    text: str
    path: Path | None = None
    place: str = "<text>"

    def __post_init__(self) -> None:
        text = self.text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
        object.__setattr__(self, "text", text)

    @classmethod
    def read(cls, path: Path, root: Path | None = None) -> Source:
        """
        The file at `path`, decoded as Python would: by its byte order mark or by the encoding that it declares. The same object as long as the file stays as it
        is. `root` is the project, which an error's path is relative to. Raises `SourceError` for a file that can't be decoded.
        """
        changed = path.stat().st_mtime_ns
        before = _read.get(path)
        if before and before[0] == changed:
            return before[1]
        place = path.relative_to(root) if root and path.is_relative_to(root) else path
        try:
            with tokenize.open(path) as file:
                text = file.read()
        except (SyntaxError, UnicodeDecodeError) as error:
            raise SourceError(
                place.as_posix(),
                1,
                f"this is no text that Python can read: {error}. Save it as UTF-8, or say in its "
                "first line what it is: `# -*- coding: latin-1 -*-`.",
            ) from error
        source = cls(text, path, place.as_posix())
        _read[path] = (changed, source)
        return source

    @cached_property
    def lines(self) -> list[str]:
        """All ends of lines were made line feeds, and nothing else ends one; `str.splitlines` would also cut at a form feed. Line 1 is `lines[0]`."""
        return self.text.split("\n")

    @cached_property
    def tree(self) -> ast.Module:
        r"""
        The syntax tree. Raises `SourceError` for what is no Python, and for what Python only warns of: `"\mu"` only works by luck, and `"\theta"` has lost a letter.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                return ast.parse(self._python)
        except SyntaxError as error:
            raw = ' Begin the string with r""" to keep its backslashes.'
            hint = raw if "escape" in error.msg else ""
            raise SourceError(self.place, error.lineno or 1, f"{error.msg}.{hint}") from error
        except ValueError as error:
            raise SourceError(self.place, 1, f"{error}.") from error

    @cached_property
    def tokens(self) -> list[tokenize.TokenInfo]:
        """The tokens, comments among them, which the tree leaves out."""
        return list(tokenize.generate_tokens(io.StringIO(self._python).readline))

    @property
    def _python(self) -> str:
        """In a notebook, a line that speaks to Jupyter (`%config …`) isn't Python. As a comment it does no harm, and every other line stays where it is."""
        notebook = self.path is not None and self.path.suffix == ".ipynb"
        return MAGIC.sub("#", self.text) if notebook else self.text

    def column(self, line: int, column: int) -> int:
        """The place of a character in a line. The tree counts bytes, and a letter can have several."""
        return len(self.lines[line - 1].encode()[:column].decode())


_read: dict[Path, tuple[int, Source]] = {}


# ## Its sections


@dataclass(frozen=True)
class Output:
    """
    What a cell or a demo showed: its media type, its text (`base64` for a bitmap), and `alt`, which stands for it where only text can stand. `wide` is one that
    takes all of its column, below the code.
    """

    mime: str
    data: str
    alt: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Section:
    """
    ## One section

    A stretch of prose and the code beside it.

    * `prose` is Markdown, and `prose_lines` says for each of its lines where it stands in the file, so that an error in a formula can name its place.
    * `code` keeps the source's own lines, indentation included; `code_lines` has their numbers. They may jump: where a docstring stands between
      a `def` and its body, the docstring is on the left and the two pieces of code meet on the right. The first `folded` of them are closed until somebody asks,
      and `folds` says what they are.
    * `span` is the stretch of the file that the section covers. In a module spans follow one another without a gap, which is what makes *nothing is lost* easy to prove; a notebook's are numbers of cells.
    * `kind` is `module`, `class`, `function`, `comment`, `demo` or `cell`, and `name` the qualified name of the class or function that it is about or stands in.
    * `anchor` is the section's place in an address. A module and a definition have their full name, `pkg.mod.Class.method`; the others have the name that they stand in and their first words, so
      a link to a section survives edits to the others. A count is added only where two sections begin alike.
    """

    prose: str
    prose_lines: tuple[int, ...]
    code: str
    code_lines: tuple[int, ...]
    span: range
    anchor: str
    kind: str
    name: str = ""
    folded: int = 0
    folds: str = "imports"
    outputs: tuple[Output, ...] = ()

    @property
    def first_line(self) -> int:
        return self.code_lines[0] if self.code_lines else self.span.start

    @property
    def defines(self) -> bool:
        """Whether the section is about a class or a function as a whole."""
        return self.kind in {"class", "function"}


@dataclass(frozen=True)
class Result:
    """What a line of a module gave a name when the demo was run: the shape of a tensor, and in few words the value."""

    line: int
    name: str
    shape: str
    value: str


@dataclass(frozen=True, eq=False)
class Document:
    """
    ## All of them

    What every writer starts from. `name` is what others call it: a module's dotted name, the stem of a notebook's file. `numbered` is false for a notebook: its
    cells have lines in `source`, which joins them, but none that a reader could look up. `results` are what its lines bound.
    """

    name: str
    source: Source
    sections: Sequence[Section]
    results: Sequence[Result] = ()
    numbered: bool = True
