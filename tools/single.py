"""
The library as one text, for whoever has torch and nothing of ours.

Its modules stand one after another, without docstrings, comments and demos, and without their imports of one another.
ruff sorts the imports that remain, drops those that only a demo needed, and puts the layout in order.
"""

import ast
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from mkdocstrings_handlers.annotated.document import Source
from mkdocstrings_handlers.annotated.read.source import code_only, guard
from mkdocstrings_handlers.annotated.understand.scopes import Scopes
from tools import run
from tools.run import PACKAGE

NAME = f"{PACKAGE}_single.py"
# What the library keeps in a module of its own, and a single file has beside the layers.
CONVERSION = ("check_state_dict", "fold", "standardize")
NETWORK = "experiment.vgg"  # goes along: something to put the layers in
HEAD = '''"""Weight Standardization and Batch-Channel Normalization in one file that needs torch and nothing else.

Its parts are {modules}.
Their pages explain every line; here only the shapes are left. The license stands at the end, and stays with copies.
"""
'''


class SingleError(ValueError):
    """Modules that can't be put into one file: where, what, and what to write instead."""


def path(module: str) -> Path:
    return run.ROOT / PACKAGE / f"{module.replace('.', '/')}.py"


def imported(module: str, by_demo: bool = False) -> list[str]:
    """The library's modules that a module imports itself, or those that only its demo does."""
    source = Source.read(path(module))
    demo = guard(source.tree)
    names = []
    for node, target in Scopes(source, f"{PACKAGE}.{module}").imported:
        name = target.removeprefix(f"{PACKAGE}.")
        if name != target and bool(demo and node.lineno > demo.lineno) == by_demo:
            names += [one for one in (name, name.rpartition(".")[0]) if path(one).is_file()]
    return names


@cache
def needs(module: str) -> tuple[str, ...]:
    """What a module is built on, its demo aside, directly or through others: each module after those that it needs itself."""
    return tuple(dict.fromkeys(m for other in imported(module) for m in (*needs(other), other)))


def demo_needs(module: str) -> tuple[str, ...]:
    """The same with what its demo needs. Some modules are shown inside of what is built on them: then it holds the module itself."""
    more = (m for other in imported(module, by_demo=True) for m in (*needs(other), other))
    return tuple(dict.fromkeys([*needs(module), *more]))


def modules() -> list[str]:
    """The library's modules, each after those that it needs."""
    names = [*sorted(file.stem for file in (run.ROOT / PACKAGE).glob("[!_]*.py")), NETWORK]
    return list(dict.fromkeys(m for name in names for m in (*needs(name), name)))


def joined(names: Sequence[str], skipped: Sequence[str] = ()) -> str:
    """
    Modules as one text; those of `skipped` are left out, as they will follow it. A function or class whose name a later
    module defines anew gets its module's name in front. Raises `SingleError` where another name means two things.
    """
    parts = {}
    for name in names:
        code = Source(code_only(Source.read(path(name)), trailing=True))
        demo = guard(code.tree)
        code = Source("\n".join(code.lines[: demo.lineno - 1 if demo else None]))
        parts[name] = Scopes(code, f"{PACKAGE}.{name}")
    new = new_names(parts)
    texts = [split(part, new) for name, part in parts.items() if name not in skipped]
    return "\n".join(
        [*(line for imports, _ in texts for line in imports), *(c for _, c in texts)]
    )


def new_names(parts: dict[str, Scopes]) -> dict[str, str]:
    """What each name is called in one text, by its full name."""
    new: dict[str, str] = {}
    owners: dict[str, tuple[str, str]] = {}  # of a name: what it means, and who said so first
    for module, part in parts.items():
        values = {binding.name for binding in part.bindings if not binding.scope}
        for name, target in part.top.bound.items():
            full = target or f"{PACKAGE}.{module}.{name}"
            meaning, owner = owners.get(name, (full, module))
            if target is None and name not in values:
                continue
            if meaning != full:
                if parts[owner].top.bound[name] != f"{PACKAGE}.{owner}.{name}":
                    raise SingleError(
                        f"{PACKAGE}/{module}.py: `{name}` means something else in {PACKAGE}/{owner}.py, "
                        "and both go into one file. Give one of the two another name."
                    )
                new[meaning] = f"{owner.replace('.', '_')}_{name}"
                owner = module
            owners[name], new[full] = (full, owner), name
    return new


def split(part: Scopes, new: dict[str, str]) -> tuple[list[str], str]:
    """The imports from elsewhere, and the code with its names as they are in one text."""
    lines, imports = ["", *part.source.lines], []
    for reference in sorted(part.references(), key=lambda reference: -reference.start):
        ends = [
            (end, new[t]) for end, t in reference.ends if t in new and t.startswith(PACKAGE)
        ]
        for end, name in ends[:1]:
            line = lines[reference.line]
            lines[reference.line] = line[: reference.start] + name + line[end:]
    for node in part.source.tree.body:
        last = node.end_lineno or node.lineno
        if isinstance(node, ast.Import | ast.ImportFrom):
            own = ast.unparse(node).split()[1].startswith((PACKAGE, "."))
            imports += [] if own else [ast.unparse(node)]
            lines[node.lineno : last + 1] = [""] * (last + 1 - node.lineno)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            name = new[f"{part.module}.{node.name}"]
            lines[node.lineno] = lines[node.lineno].replace(f" {node.name}", f" {name}", 1)
    return imports, "\n".join(lines)


def tidy(texts: Sequence[str], *rules: str) -> list[str]:
    """Texts as ruff lays them out, after it has mended what `rules` are about. All at once, as starting it takes longest."""
    check = ["check", "--fix-only", "--exit-zero", f"--select={','.join(rules)}"]
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{n}.py" for n in range(len(texts))]
        for file, text in zip(paths, texts, strict=True):
            file.write_text(text, encoding="utf-8")
        for command in [check, ["format"]] if rules else [["format"]]:
            options = ["--quiet", "--no-cache", "--config", "pyproject.toml", folder]
            done = subprocess.run(
                [sys.executable, "-m", "ruff", *command, *options],
                cwd=Path(__file__).parent.parent,
                text=True,
                capture_output=True,
            )
            if done.returncode:
                raise SystemExit(f"ruff can't read what was cut out of modules:\n{done.stderr}")
        return [file.read_text(encoding="utf-8") for file in paths]


def single() -> str:
    """The file that the site offers: a word on what it is, the code with its shapes, the license."""
    names = modules()
    tree = Source.read(run.ROOT / PACKAGE / "__init__.py").tree
    (layers,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node).startswith("__all__")
    ]
    public = f"__all__ = {sorted([*layers, *CONVERSION])!r}"
    head = HEAD.format(modules=f"{', '.join(names[:-1])} and {names[-1]}")
    terms = (run.ROOT / "LICENSE").read_text(encoding="utf-8").strip().split("\n")
    end = "\n".join(f"# {line}".rstrip() for line in terms)
    (text,) = tidy([f"{head}\n{joined(names)}\n\n\n{public}\n\n{end}\n"], "I", "F401")
    return text
