"""
# What a demo prints

A module ends in a demo under `if __name__ == "__main__":`. It's run while the site is built, and what each of its statements prints stands below the
lines that printed it. The record names a statement by its place in the demo and not by its line, so that a better comment leaves it valid.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import runpy
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..read.module import Output, Section
from ..read.source import guard

Printed = list[tuple[int, str]]


def demo(source: str) -> list[ast.stmt]:
    """The statements of a module's demo. A lone `sys.exit(main())` is a command line and no demo."""
    node = guard(ast.parse(source))
    if node is None or (
        len(node.body) == 1 and ast.unparse(node.body[0]).startswith("sys.exit(")
    ):
        return []
    return node.body


class Recorder(io.TextIOBase):
    """Takes the place of the standard output, and asks for each text which line of the file at `path` is being run."""

    def __init__(self, path: str, statements: Sequence[ast.stmt]) -> None:
        self.path, self.statements = path, statements
        self.printed: Printed = []

    def write(self, text: str) -> int:
        frame = sys._getframe(1)
        while frame.f_back and (frame.f_code.co_filename, frame.f_code.co_name) != (
            self.path,
            "<module>",
        ):
            frame = frame.f_back
        spans = [
            range(node.lineno, (node.end_lineno or node.lineno) + 1) for node in self.statements
        ]
        index = next(
            (i for i, span in enumerate(spans) if frame.f_lineno in span), len(spans) - 1
        )
        if self.printed and self.printed[-1][0] == index:
            text = self.printed.pop()[1] + text
        self.printed.append((index, text))
        return len(text)


def run(path: Path) -> Printed:
    """Runs the demo of a module as `python path` would. Whatever it raises passes through, and fails the build."""
    recorder = Recorder(str(path), demo(path.read_text(encoding="utf-8")))
    with contextlib.redirect_stdout(recorder):
        run_as_main(path)
    return recorder.printed


def run_as_main(path: Path) -> None:
    """As from a command line without arguments: the program that runs the demos has its own, which are none of theirs."""
    arguments, sys.argv = sys.argv, [str(path)]
    try:
        runpy.run_path(str(path), run_name="__main__")
    finally:
        sys.argv = arguments


def with_printed(sections: list[Section], source: str, printed: Printed) -> list[Section]:
    """Each text goes to the section in which its statement stands."""
    lines = [node.lineno for node in demo(source)]
    found = []
    for section in sections:
        text = "".join(
            text
            for index, text in printed
            if index < len(lines) and lines[index] in section.span
        )
        found.append(
            replace(section, outputs=(Output("text/plain", text),)) if text else section
        )
    return found


def read(path: Path) -> dict[str, Any]:
    """The record: what was `printed`, and what the lines `bound`, which [the tracer][mkdocstrings_handlers.annotated.understand.trace] tells."""
    record = json.loads(path.read_text(encoding="utf-8"))
    return {
        key: [tuple(entry) for entry in record.get(key, ())] for key in ("printed", "bound")
    }
