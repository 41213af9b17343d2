"""
# What a demo printed and bound

A comment can say that `mean` has one value per filter, and be wrong. So a module can end in a demo under `if __name__ == "__main__":`, which is run while the site is
built. What each of its statements prints stands below the lines that printed it; what each line of the module bound, the shape of a tensor and its mean and spread, or
the value, stands at the end of that line. It can't go stale.

The module is run as it is, but for calls that are put into its syntax tree: one behind each place where a name is given a value, one before each statement of the
demo. Nothing is kept but text. The record knows a place by its number among the others and not by its line, so that a better comment leaves it valid.

`python -m mkdocstrings_handlers.annotated FOLDER pkg/mod.py …` writes `FOLDER/pkg.mod.json`, where the code has changed since.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import io
import json
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from ..document import Document, Output, Result, Source, SourceError
from ..read.source import code_only, demo
from . import scopes, values
from .index import Index
from .scopes import Binding, Scopes
from .values import Value, describe

MISSING = object()
# The name that the calls have in the module.
RECORD = "__record__"


# ## Run it


class Recorder(io.TextIOBase):
    """
    What the calls in the syntax tree call, and what stands in for the standard output. `values` are what the bindings of a file were given, by their numbers;
    `printed` are the texts, each with the number of the demo's statement that was being run.
    """

    def __init__(self, bindings: Sequence[Binding]) -> None:
        self.bindings = bindings
        self.values: dict[int, Value | None] = {}
        self.printed: list[tuple[int, str]] = []
        self.statement = 0

    def bound(self, number: int, value: Any) -> Any:
        """Notes what a binding was given, and returns it."""
        binding = self.bindings[number]
        texts = isinstance(binding.node, ast.arg | ast.For)
        if number not in self.values:
            default = _literal(binding.value)
            same = type(value) is type(default) and value == default
            self.values[number] = None if same else describe(value, texts)
        elif before := self.values[number]:
            again = describe(value, texts, numbers=False)
            other = (again.shape or (again.text if again.exact else "")) if again else ""
            if other and other not in {before.shape or before.text, *before.later}:
                before.later.append(other)
        return value

    def write(self, text: str) -> int:
        if self.printed and self.printed[-1][0] == self.statement:
            text = self.printed.pop()[1] + text
        self.printed.append((self.statement, text))
        return len(text)

    def begin(self, statement: int) -> None:
        self.statement = statement

    def results(self) -> dict[int, Value]:
        """The values. Where a function's parameters say that later calls differ, its lines needn't say it again."""
        values = {number: value for number, value in self.values.items() if value}
        varied = {
            self.bindings[number].scope
            for number, value in values.items()
            if value.later and isinstance(self.bindings[number].node, ast.arg)
        }
        for number, value in values.items():
            binding = self.bindings[number]
            inside = any(f"{binding.scope}.".startswith(f"{scope}.") for scope in varied)
            if inside and not (isinstance(binding.node, ast.arg) and binding.scope in varied):
                value.later.clear()
        return values


class Calls(ast.NodeTransformer):
    """
    Puts the calls into a syntax tree. They have the line of what they belong to, so that an error still names the line that made it. A literal is on its line
    already, and so is a new name for an old one: neither is recorded.
    """

    def __init__(self, scopes: Scopes) -> None:
        self.bindings = scopes.bindings
        self.numbers: dict[ast.AST, list[int]] = {}
        for number, binding in enumerate(scopes.bindings):
            if isinstance(binding.node, ast.arg) or not _evident(binding):
                self.numbers.setdefault(binding.node, []).append(number)
        self.statements: dict[ast.AST, int] = {
            node: number for number, node in enumerate(demo(scopes.source.tree))
        }

    def visit(self, node: ast.AST) -> Any:
        self.generic_visit(node)
        numbers = self.numbers.get(node, [])
        after: list[ast.stmt] = []
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                arguments = (
                    n for arg in ast.walk(node.args) for n in self.numbers.get(arg, ())
                )
                at = 0 if ast.get_docstring(node, clean=False) is None else 1
                node.body[at:at] = [self._bound(number) for number in sorted(arguments)]
            case ast.For() | ast.AsyncFor() | ast.With() | ast.AsyncWith():
                node.body[:0] = [self._bound(number) for number in numbers]
            case ast.NamedExpr() if numbers:
                call = self._bound(numbers[0])
                call.value.args[1], node.value = node.value, call.value
            case ast.stmt():
                after = [self._bound(number) for number in numbers]
        number = self.statements.get(node)
        before = [] if number is None else [_call(f"{RECORD}.begin({number})", node)]
        return [*before, node, *after] if before or after else node

    def _bound(self, number: int) -> Any:
        binding = self.bindings[number]
        return _call(f"{RECORD}.bound({number}, {binding.name})", binding.node)


def _call(code: str, place: ast.AST) -> ast.stmt:
    (call,) = ast.parse(code).body
    for node in ast.walk(call):
        ast.copy_location(node, place)
    return call


def _evident(binding: Binding) -> bool:
    """Whether a line says itself what it binds, or binds nothing, as `x: int` does."""
    value = binding.value
    parts = value.elts if isinstance(value, ast.Tuple) else [value]
    empty = isinstance(binding.node, ast.AnnAssign) and value is None
    return (
        empty or _literal(value) is not MISSING or all(isinstance(p, ast.Name) for p in parts)
    )


def _literal(node: ast.expr | None) -> object:
    try:
        return MISSING if node is None else ast.literal_eval(node)
    except ValueError:
        return MISSING


def run(source: Source) -> dict[str, Any]:
    """
    The record of a module: what its demo `printed`, and what its lines `bound`. It's run as `python path` would. Raises `SourceError` with the line of the module
    that raised or warned.

    It's run twice, and of what lines bound only that is told which both runs agree on. A measured time, a temporary folder, the number of a process say nothing about the code, and there is
    no telling them from a result by looking at one run: a clock can be asked by C++, and what it says be averaged in a tensor. What is printed is that of
    the first run, so a measured time is that of a program that has not been run before.
    """
    # A tree of its own, as the calls are put into it.
    walk = Scopes(Source(source.text, source.path, source.place))
    code = compile(
        Calls(walk).visit(walk.source.tree), str(source.path), "exec", dont_inherit=True
    )
    try:
        first, second = (_execute(code, source, walk.bindings) for _ in range(2))
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(source.path)]
        message = f"the demo raised {type(error).__name__}: {error}".removesuffix(": ")
        name = source.place.removesuffix(".py").replace("/", ".")
        hint = f"(`python -m {name}` shows the way there)"
        raise SourceError(
            source.place, lines[-1] if lines else 1, f"{message} {hint}"
        ) from error
    agreed = second.results()
    bound = []
    for number, value in sorted(first.results().items()):
        again = agreed.get(number)
        if again and value.shape == again.shape:
            same = (value.raw, str(value)) == (again.raw, str(again))
            if value.shape or same:
                name = walk.bindings[number].name
                bound.append((number, name, value.shape, str(value) if same else ""))
    return {"printed": first.printed, "bound": bound}


def _execute(code: CodeType, source: Source, bindings: Sequence[Binding]) -> Recorder:
    """As from a command line without arguments: the program that runs the demos has its own, which are none of theirs."""
    recorder, module = Recorder(bindings), ModuleType("__main__")
    module.__dict__.update({"__file__": str(source.path), RECORD: recorder})
    main, arguments = sys.modules["__main__"], sys.argv
    sys.modules["__main__"], sys.argv = module, [str(source.path)]
    try:
        with contextlib.redirect_stdout(recorder):
            exec(code, module.__dict__)
    finally:
        sys.modules["__main__"], sys.argv = main, arguments
    return recorder


# ## Show it


def recorded(document: Document, folder: Path) -> Document:
    """
    The document with what its demo printed, each text in the section whose statement printed it, and with what its lines bound. `folder` holds the records.
    Raises `SourceError` where there should be one and isn't.
    """
    statements = demo(document.source.tree) if document.numbered else []
    if not statements:
        return document
    path = folder / f"{document.name}.json"
    if not path.is_file():
        raise SourceError(
            document.name,
            None,
            f"its demo has not been run, as {folder.name}/{path.name} is missing. "
            "`make site` runs it; do that first.",
        )
    record = json.loads(path.read_text(encoding="utf-8"))
    sections = []
    for section in document.sections:
        numbers = [n for n, node in enumerate(statements) if node.lineno in section.span]
        texts = [text for n, text in record["printed"] if n in numbers]
        outputs = (Output("text/plain", "".join(texts)),) if texts else ()
        sections.append(replace(section, outputs=outputs))
    places = Scopes(document.source, document.name).bindings
    # A record may be older than the code: while somebody writes, with the site being served.
    results = [
        Result(places[n].line, name, *words)
        for n, name, *words in record["bound"]
        if n < len(places) and places[n].name == name
    ]
    return replace(document, sections=sections, results=results)


def shapes(document: Document) -> dict[int, tuple[str, int]]:
    """What stands at the end of which line, and how far that line is indented, should it need a row of its own."""
    texts: dict[int, list[str]] = {}
    for result in document.results:
        colon = "" if result.value.startswith("≈") and not result.shape else ":"
        words = filter(None, [f"{result.name}{colon}", result.shape, result.value])
        texts.setdefault(result.line, []).append(" ".join(words))
    lines = document.source.lines
    return {
        n: (" · ".join(parts), len(lines[n - 1]) - len(lines[n - 1].lstrip()))
        for n, parts in texts.items()
    }


# ## Keep it


def fingerprint(
    source: Source, module: str, index: Index, programs: Sequence[str | None] = ()
) -> str:
    """
    What the results of a file depend on, in 64 hexadecimal digits: its code, that of the modules of the project that it imports and of the `programs` that run it, without
    their prose, and the versions of all others. `module` is the name that the file is imported by, if it has one.
    """
    digest = hashlib.sha256()
    for program in filter(None, programs):
        digest.update(_code(Source.read(Path(program))).encode())
    for name, other in sorted(_imports(source, module, index).items()):
        digest.update(f"{name} {_code(other) if other else _version(name)}\n".encode())
    return digest.hexdigest()


def _imports(source: Source, module: str, index: Index) -> dict[str, Source | None]:
    """A file and the modules that it imports, directly or through another. What isn't the project's has no source."""
    sources: dict[str, Source | None] = {module: source}
    pending = [target for _, target in Scopes(source, module).imported]
    while pending:
        parts = pending.pop().split(".")
        names = [".".join(parts[:n]) for n in range(1, len(parts) + 1)]
        files = {name: path for name in names if (path := index.file(name))}
        for name in files.keys() - sources.keys():
            inner = sources[name] = Source.read(files[name], index.root)
            pending += [target for _, target in Scopes(inner, name).imported]
        if not files:
            sources[parts[0]] = None
    return sources


def _code(source: Source) -> str:
    """What a file computes: neither words nor layout."""
    return ast.dump(ast.parse(code_only(source)))


def _version(module: str) -> str:
    try:
        return version(module)
    except PackageNotFoundError:
        return ""


def make(name: str, index: Index, folder: Path) -> None:
    """Writes the record of a module, unless there is one that is still true, or no demo."""
    module = index.module(name)
    if module is None or not demo(module.source.tree):
        return
    target = folder / f"{name}.json"
    recorder = (__file__, scopes.__file__, values.__file__)
    wanted = fingerprint(module.source, name, index, recorder)
    if target.exists() and json.loads(target.read_text())["fingerprint"] == wanted:
        return
    print(f"running {module.source.place}", flush=True)
    record = {"fingerprint": wanted, **run(module.source)}
    folder.mkdir(parents=True, exist_ok=True)
    # Written under another name and then renamed: a run that is interrupted leaves no half of a record.
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(record, indent=1) + "\n")
    unfinished.replace(target)


def main(folder: str, *files: str) -> int:
    """Makes the records of the modules in `files`, whose paths are relative to the project that this is called in. 0, or 1 if a demo failed."""
    root = Path.cwd()
    index = Index(root, root)
    # A warning is one that every reader who runs the demo would see.
    warnings.simplefilter("error")
    try:
        for file in files:
            path = Path(file).resolve().relative_to(root)
            make(".".join(path.with_suffix("").parts), index, Path(folder))
    except SourceError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
