"""
# What each line produced

A comment can say that `mean` has one value per filter, and be wrong. So a module's demo is run under a tracer, which notes for each line of the module what
it bound: the shape, the mean and spread, or the value. That stands at the end of the line on the page, and it cannot go stale.

Only the module's own file is traced, and nothing is kept but the text. The output that the page shows comes from a run without the tracer, so a
measured time is not that of a traced program.
"""

from __future__ import annotations

import ast
import contextlib
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from ..read.source import first_line
from .bindings import MISSING, Site, header, sites
from .demos import run_as_main

# The mean and the standard deviation of a tensor, and whether all of it is one number: asked of the caller, as the engine doesn't know PyTorch.
Measure = Callable[[Any], tuple[float, float, bool] | None]
# For each binding: the place of its site, the name, the shape, the value.
Record = list[tuple[int, str, str, str]]
USUAL = {"float32", "int64"}


@dataclass
class Seen:
    """What one name was bound to: the first time, and what was different later."""

    shape: str
    value: str
    exact: bool
    raw: str = ""
    later: list[str] = field(default_factory=list)

    def told(self) -> str:
        sign = ("= " if self.shape else "") if self.exact else "≈ "
        then = ", ".join(self.later[:2]) + (", …" if len(self.later) > 2 else "")
        return f"{f'{sign}{self.value}' if self.value else ''}{f' (then {then})' if then else ''}".strip()


# ## Run it


class Tracer:
    """
    Python tells a tracer *before* it runs a line. What the line bound can be read when the next one begins, or when the function returns; if it
    raised, it bound nothing.
    """

    def __init__(self, path: Path, measure: Measure) -> None:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        self.path, self.measure = str(path), measure
        self.sites = sites(tree)
        self.seen: dict[tuple[int, str], Seen | None] = {}
        place = {site.node: index for index, site in enumerate(self.sites)}
        statements = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
        self.at = {
            line: (node, place.get(node)) for node in statements for line in header(node)
        }
        self.functions = {
            (node.name, first_line(node), range(node.lineno, (node.end_lineno or 0) + 1)): [
                place[arg] for arg in ast.walk(node.args) if arg in place
            ]
            for node in statements
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        self.parameters = {key[:2]: places for key, places in self.functions.items()}

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        code: CodeType = frame.f_code
        # `<lambda>` and its like are parts of a line; `<module>` is not.
        if code.co_filename != self.path or code.co_name.startswith(("<l", "<g", "<s", "<d")):
            return None
        for index in self.parameters.get((code.co_name, code.co_firstlineno), ()):
            self.note(index, frame)
        pending: tuple[ast.AST, int | None] | None = None

        def line(frame: FrameType, event: str, arg: Any) -> Any:
            nonlocal pending
            if event == "exception":
                pending = None
                return line
            now = self.at.get(frame.f_lineno) if event == "line" else None
            if now is None or pending is None or now[0] is not pending[0]:
                if pending is not None and pending[1] is not None and self.ran(pending[0], now):
                    self.note(pending[1], frame)
                pending = now
            return line

        return line

    @staticmethod
    def ran(node: ast.AST, now: tuple[ast.AST, int | None] | None) -> bool:
        """A loop that ends passes its header once more, without binding anything."""
        return not isinstance(node, ast.For | ast.AsyncFor) or (
            now is not None and now[0] is node.body[0]
        )

    def note(self, index: int, frame: FrameType) -> None:
        site, known = self.sites[index], frame.f_locals
        for name in site.names:
            owner, _, attribute = name.rpartition(".")
            value = (
                getattr(known.get(owner), attribute, MISSING)
                if owner
                else known.get(name, MISSING)
            )
            key = (index, name)
            if key not in self.seen:
                same = type(value) is type(site.default) and value == site.default
                self.seen[key] = None if same else self.describe(value, site, full=True)
            elif before := self.seen[key]:
                again = self.describe(value, site, full=False)
                other = (again.shape or (again.value if again.exact else "")) if again else ""
                if other and other not in {before.shape or before.value, *before.later}:
                    before.later.append(other)

    def told(self) -> dict[tuple[int, str], Seen | None]:
        """Where a function's parameters say that later calls differ, its lines needn't say it again."""
        for function, places in self.functions.items():
            if any(
                seen.later for (index, _), seen in self.seen.items() if seen and index in places
            ):
                for (index, _), seen in self.seen.items():
                    if seen and index not in places and self.sites[index].line in function[2]:
                        seen.later.clear()
        return self.seen

    def describe(self, value: Any, site: Site, full: bool) -> Seen | None:
        shape = getattr(value, "shape", None)
        if isinstance(shape, tuple) and hasattr(value, "dtype"):
            dtype = str(value.dtype).removeprefix("torch.")
            numbers = self.measure(value) if full else None
            text, exact = _spread(*numbers, bool(shape)) if numbers else ("", False)
            told = [dtype] if dtype not in USUAL else []
            told += [str(list(shape))] if shape or not text else []
            return Seen(" ".join(told), text, exact)
        if isinstance(value, float):
            short = len(repr(value)) <= 6
            # To the last digit: a clock that has run for weeks hardly moves between two runs.
            return Seen("", repr(value) if short else _number(value), short, value.hex())
        # A text that a line makes may be about the machine; one that a function is given is about the demo.
        texts = isinstance(site.node, ast.arg | ast.For)
        if isinstance(value, bool | int | str | tuple | list) and _plain(value, texts):
            text = repr(value)
            return (
                Seen("", text, True) if value not in ("", [], ()) and len(text) <= 28 else None
            )
        return None


def _plain(value: object, texts: bool) -> bool:
    if isinstance(value, tuple | list):
        return len(value) <= 8 and all(_plain(part, texts) for part in value)
    return isinstance(value, bool | int | float) or (texts and isinstance(value, str))


def _number(value: float) -> str:
    # What is below a millionth is a rounding error here, and another one on another machine.
    return f"{value:.3g}" if abs(value) >= 1e-6 else "0"


def _spread(mean: float, std: float, constant: bool, many: bool) -> tuple[str, bool]:
    """Mean and spread, to the same place: digits beyond the second of the spread say nothing about the mean."""
    if constant or std < 1e-5 * abs(mean):
        exact = constant and mean == float(f"{mean:.3g}") and (many or mean != 0)
        return _number(mean), exact
    size = max(abs(mean), std)
    if size < 1e-6:
        return "0", False
    if not 1e-4 <= size < 1e5:
        return f"{mean:.1e} ± {std:.1e}", False
    digits = max(1 - int(f"{max(std, size / 1000):.1e}".partition("e")[2]), 0)
    middle = f"{mean:.{digits}f}"
    return f"{middle if float(middle) else 0} ± {std:.{digits}f}", False


def run(path: Path, measure: Measure) -> Record:
    """
    Runs the demo twice and keeps what both runs agree on: a measured time, a temporary folder or the number of a process say nothing about the code.
    """
    first, second = _trace(path, measure), _trace(path, measure)
    found: Record = []
    for (index, name), seen in first.items():
        again = second.get((index, name))
        if seen and again and seen.shape == again.shape:
            same = (seen.raw, seen.told()) == (again.raw, again.told())
            if seen.shape or same:
                found.append((index, name, seen.shape, seen.told() if same else ""))
    return sorted(found, key=lambda item: item[0])


def _trace(path: Path, measure: Measure) -> dict[tuple[int, str], Seen | None]:
    tracer = Tracer(path, measure)
    before = sys.gettrace()
    with contextlib.redirect_stdout(io.StringIO()):
        sys.settrace(tracer)
        try:
            run_as_main(path)
        finally:
            sys.settrace(before)
    return tracer.told()


# ## Show it


def shapes(source: str, record: Record) -> dict[int, tuple[str, int]]:
    """What stands at the end of which line, and how far that line is indented, should it need a row of its own."""
    known, lines = sites(ast.parse(source)), source.removeprefix("\ufeff").split("\n")
    found: dict[int, list[str]] = {}
    for index, name, shape, value in record:
        colon = "" if value.startswith("≈") and not shape else ":"
        text = " ".join(filter(None, [f"{name}{colon}", shape, value]))
        found.setdefault(known[index].line, []).append(text)
    return {
        line: (" · ".join(texts), len(lines[line - 1]) - len(lines[line - 1].lstrip()))
        for line, texts in found.items()
    }
