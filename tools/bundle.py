"""Several modules of the library as one: what a reader drops into a project that has torch and nothing of ours.

The modules' imports of each other fall away, their other imports are merged, their demos are left out. Two modules that
mean different things by one name can't share a file: that is an error, with its place.
"""

import ast
import sys
from dataclasses import dataclass, field
from pathlib import Path

from mkdocstrings_handlers.annotated.document import Source
from mkdocstrings_handlers.annotated.read.source import code_only, guard, import_zone

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "labml_ws"

# What a network is built of. The trainer stays out: it needs a dozen packages, and whoever trains has a loop already.
MODULES = ("standardization", "layers", "batch_channel_norm", "vgg")
NAME = f"{PACKAGE}_single.py"


class BundleError(ValueError):
    """Modules that can't be put into one file: where, what, and what to write instead."""


def path(module: str) -> Path:
    return ROOT / PACKAGE / f"{module}.py"


def own(node: ast.stmt) -> str:
    """The module of the library that a `from` imports names from, if it is one."""
    if isinstance(node, ast.ImportFrom) and not node.level and node.module:
        top, _, module = node.module.partition(".")
        return module if top == PACKAGE else ""
    return ""


def needs(*modules: str) -> list[str]:
    """What the modules are built on, directly or through others, in an order in which it can be read."""
    found: list[str] = []

    def visit(module: str) -> None:
        for node in ast.parse(path(module).read_text(encoding="utf-8")).body:
            if (other := own(node)) and other not in found:
                visit(other)
                found.append(other)

    for module in modules:
        visit(module)
    return found


@dataclass
class Joined:
    """`meanings` says what each name of the file stands for, and which module says so."""

    meanings: dict[str, tuple[str, str]] = field(default_factory=dict)
    imports: dict[str, list[str]] = field(default_factory=dict)
    bodies: list[str] = field(default_factory=list)

    def add(self, module: str) -> None:
        source = path(module).read_text(encoding="utf-8")
        tree = ast.parse(source)
        zone, demo = import_zone(tree), guard(tree)
        for node in tree.body:
            if node.lineno in zone or isinstance(node, ast.Import | ast.ImportFrom):
                self._import(node, module)
            elif node is not demo:
                for name in _defined(node):
                    self._mean(name, f"{module}.{name}", module, node)

        bare = code_only(Source(source), trailing=True)
        tree = ast.parse(bare)
        demo = guard(tree)
        lines = bare.split("\n")[: demo.lineno - 1 if demo else None]
        start = import_zone(tree).stop - 1 if import_zone(tree) else 0
        self.bodies.append("\n".join(lines[start:]).strip("\n"))

    def _import(self, node: ast.stmt, module: str) -> None:
        if own(node) and all(not alias.asname for alias in getattr(node, "names", ())):
            return
        if not isinstance(node, ast.Import | ast.ImportFrom) or PACKAGE in ast.unparse(node):
            raise _error(
                module, node, "only `from labml_ws.module import name` can be left out there"
            )
        origin = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            clause = ast.unparse(alias)
            if self._mean(name, f"{origin} {clause}", module, node):
                self.imports.setdefault(origin or f"import {clause}", []).append(clause)

    def _mean(self, name: str, meaning: str, module: str, node: ast.stmt) -> bool:
        """Whether the name is new."""
        known, where = self.meanings.setdefault(name, (meaning, module))
        if known != meaning:
            raise _error(module, node, f"{PACKAGE}/{where}.py means something else by `{name}`")
        return where == module

    def head(self) -> str:
        """The imports, in the order that ruff gives them: the standard library's first."""
        groups: tuple[list[str], list[str]] = ([], [])
        for origin in sorted(self.imports, key=lambda o: (not o.startswith("import "), o)):
            clauses = ", ".join(sorted(set(self.imports[origin])))
            line = origin if origin.startswith("import ") else f"from {origin} import {clauses}"
            top = line.split()[1].partition(".")[0]
            groups[top not in sys.stdlib_module_names].append(line)
        return "\n\n".join("\n".join(group) for group in groups if group)


def together(modules: list[str]) -> Joined:
    joined = Joined()
    for module in dict.fromkeys(m for n in modules for m in (*needs(n), n)):
        joined.add(module)
    return joined


def single() -> str:
    """The file that the site offers: a word on what it is, the code with its shapes, the license."""
    joined = together(list(MODULES))
    public = [name for name in _public() if name in joined.meanings]
    license_text = (ROOT / "LICENSE").read_text(encoding="utf-8").strip()
    return f'''"""Weight Standardization and Batch-Channel Normalization in one file that needs torch and nothing else.

It is made of {PACKAGE}'s modules {", ".join(MODULES[:-1])} and {MODULES[-1]}. Their pages explain
every line; here only the shapes are left. The license stands at the end, and stays with copies.
"""

{joined.head()}

__all__ = {public!r}


{(chr(10) * 3).join(joined.bodies)}


{chr(10).join(f"# {line}".rstrip() for line in license_text.split(chr(10)))}
'''


def _public() -> list[str]:
    tree = ast.parse((ROOT / PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    values = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    return list(ast.literal_eval(values[0]))


def _defined(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return {node.name}
    return {
        name.id
        for name in ast.walk(node)
        if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
    }


def _error(module: str, node: ast.stmt, why: str) -> BundleError:
    what = ast.unparse(node).split("\n")[0]
    return BundleError(
        f"{PACKAGE}/{module}.py:{node.lineno}: `{what}` can't go into one file with the others, as {why}. "
        "Write it differently, or take the module out of `MODULES` in tools/bundle.py."
    )
