"""
# What a demo printed and bound

A comment can say that `mean` has one value per filter, and be wrong. So each module ends in a demo under `if __name__ == "__main__":`, which is run while the site is
built. What each of its statements prints stands below the lines that printed it; what each line of the module bound, the shape of a tensor and its mean and spread, or
the value, stands at the end of that line. It can't go stale.

The module is run as it is, but for calls that are put into its syntax tree: one behind each place where a name is given a value, one before each statement of the
demo. Nothing is kept but text. The record knows a place by its number among the others and not by its line, so that a better comment leaves it valid.

`python -m mkdocstrings_handlers.annotated.understand.run FOLDER pkg/mod.py …` writes `FOLDER/pkg.mod.json`, where the code has changed since.
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
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from ..document import Binding as Bound
from ..document import Document, Output, Source, SourceError
from ..read.source import code_only, demo
from . import scopes
from .index import Index
from .scopes import Binding, Scopes

MISSING = object()
USUAL = {"float32", "int64"}
RECORD = "__record__"


# ## What a value is, in few words


@dataclass
class Value:
    """What one name was bound to: the first time, and what was different later. `exact` is a value that isn't rounded, `raw` all digits of one that is."""

    shape: str
    text: str
    exact: bool
    raw: str = ""
    later: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        sign = ("= " if self.shape else "") if self.exact else "≈ "
        then = ", ".join(self.later[:2]) + (", …" if len(self.later) > 2 else "")
        return f"{f'{sign}{self.text}' if self.text else ''}{f' (then {then})' if then else ''}".strip()


def describe(value: Any, texts: bool = False, numbers: bool = True) -> Value | None:
    """
    A tensor's shape, mean and spread; a number; a short text or list. None for what has no such description. Without `numbers` a tensor's are not asked for.
    A text that a line makes may be about the machine, and isn't told without `texts`.
    """
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and hasattr(value, "dtype"):
        dtype = str(value.dtype).removeprefix("torch.")
        measured = measure(value) if numbers else None
        text, exact = _spread(*measured, bool(shape)) if measured else ("", False)
        words = [dtype] if dtype not in USUAL else []
        words += [str(list(shape))] if shape or not text else []
        return Value(" ".join(words), text, exact)
    if isinstance(value, float):
        short = len(repr(value)) <= 6
        # To the last digit: a clock that has run for weeks hardly moves between two runs.
        return Value("", repr(value) if short else _number(value), short, value.hex())
    if isinstance(value, bool | int | str | tuple | list) and _plain(value, texts):
        text = repr(value)
        return Value("", text, True) if value not in ("", [], ()) and len(text) <= 28 else None
    return None


def measure(value: Any) -> tuple[float, float, bool] | None:
    """
    Mean, standard deviation, and whether all is one number, of what computes like a tensor of PyTorch. Integers that are not one number are labels or indices: their
    mean says nothing.
    """
    numeric = hasattr(value, "detach") and value.numel() and not value.is_complex()
    if not numeric or str(value.dtype).endswith("bool"):
        return None
    try:
        numbers = value.detach().double()
        constant = bool(numbers.min() == numbers.max())
        if not constant and not value.is_floating_point():
            return None
        return numbers.mean().item(), numbers.std(correction=0).item(), constant
    except RuntimeError:  # a tensor that has a shape and no numbers, as on the meta device
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


# ## Run it


class Recorder(io.TextIOBase):
    """
    It stands in for the standard output, and is what the calls in the syntax tree call. `values` are what the bindings of a file were given, by their numbers; `printed` are the texts, each with the number of
    the demo's statement that was being run.
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

    def told(self) -> dict[int, Value]:
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
    Puts the calls into a syntax tree. A literal is on its line already, and so is a new name for an old one: neither is recorded. Without a line of their own the
    calls have that of what they belong to, so an error still names the line that made it.
    """

    def __init__(self, walk: Scopes) -> None:
        self.bindings = walk.bindings
        self.numbers: dict[ast.AST, list[int]] = {}
        for number, binding in enumerate(walk.bindings):
            if isinstance(binding.node, ast.arg) or not _evident(binding):
                self.numbers.setdefault(binding.node, []).append(number)
        self.statements = {node: n for n, node in enumerate(demo(walk.source.tree))}

    def visit(self, node: ast.AST) -> Any:
        self.generic_visit(node)
        calls = [self._bound(number) for number in self.numbers.get(node, ())]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = (n for arg in ast.walk(node.args) for n in self.numbers.get(arg, ()))
            at = 0 if ast.get_docstring(node, clean=False) is None else 1
            node.body[at:at] = [self._bound(number) for number in sorted(arguments)]
        elif isinstance(node, ast.NamedExpr) and calls:
            node.value = _call("bound", node, ast.Constant(self.numbers[node][0]), node.value)
        elif isinstance(node, ast.For | ast.AsyncFor | ast.With | ast.AsyncWith):
            node.body[:0] = calls
        elif isinstance(node, ast.stmt) and calls:
            return [*self._begin(node), node, *calls]
        return [*begin, node] if (begin := self._begin(node)) else node

    def _begin(self, node: ast.AST) -> list[ast.stmt]:
        number = self.statements.get(node)  # type: ignore[call-overload]
        call = _call("begin", node, ast.Constant(number))
        return [] if number is None else [ast.copy_location(ast.Expr(call), node)]

    def _bound(self, number: int) -> ast.stmt:
        binding = self.bindings[number]
        name, *attributes = binding.name.split(".")
        value: ast.expr = ast.Name(name, ast.Load())
        for attribute in attributes:
            value = ast.Attribute(value, attribute, ast.Load())
        call = _call("bound", binding.node, ast.Constant(number), value)
        return ast.copy_location(ast.Expr(call), binding.node)


def _call(method: str, place: ast.AST, *arguments: ast.expr) -> ast.Call:
    function = ast.Attribute(ast.Name(RECORD, ast.Load()), method, ast.Load())
    return ast.fix_missing_locations(
        ast.copy_location(ast.Call(function, list(arguments), []), place)
    )


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

    It's run twice, and only what both runs agree on is told. A measured time, a temporary folder, the number of a process say nothing about the code, and there is
    no telling them from a result by looking at one run: a clock can be asked by C++, and what it says be averaged in a tensor. What is printed is that of
    the first run, so a measured time is that of a program that has not been run before.
    """
    # A tree of its own, as the calls are put into it.
    walk = Scopes(Source(source.text, source.path, source.place))
    tree = ast.fix_missing_locations(Calls(walk).visit(walk.source.tree))
    code = compile(tree, str(source.path), "exec", dont_inherit=True)
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
    agreed = second.told()
    bound = []
    for number, value in sorted(first.told().items()):
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
            f"its demo has not been run, as {folder.name}/{path.name} is missing. `make site` runs it; do that first.",
        )
    record = json.loads(path.read_text(encoding="utf-8"))
    sections = []
    for section in document.sections:
        texts = [t for n, t in record["printed"] if statements[n].lineno in section.span]
        outputs = (Output("text/plain", "".join(texts)),) if texts else ()
        sections.append(replace(section, outputs=outputs))
    bindings = Scopes(document.source, document.name).bindings
    bound = [Bound(bindings[n].line, *words) for n, *words in record["bound"]]
    return replace(document, sections=sections, bindings=bound)


def shapes(document: Document) -> dict[int, tuple[str, int]]:
    """What stands at the end of which line, and how far that line is indented, should it need a row of its own."""
    texts: dict[int, list[str]] = {}
    for bound in document.bindings:
        colon = "" if bound.value.startswith("≈") and not bound.shape else ":"
        words = filter(None, [f"{bound.name}{colon}", bound.shape, bound.value])
        texts.setdefault(bound.line, []).append(" ".join(words))
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
    wanted = fingerprint(module.source, name, index, (__file__, scopes.__file__))
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


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
