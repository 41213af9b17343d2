"""
The library as one text, for whoever has torch and nothing of ours.

Its modules stand one after another, without docstrings, comments and demos, and without their imports of one another.
ruff sorts the imports that remain, drops those that only a demo needed, and puts the layout in order.
"""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from mkdocstrings_handlers.annotated.read.code_only import code_only
from mkdocstrings_handlers.annotated.read.source import guard
from mkdocstrings_handlers.annotated.understand.resolve import Meanings

from tools import run
from tools.run import PACKAGE

NAME = f"{PACKAGE}_single.py"
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


def needs(module: str) -> Iterator[str]:
    """What a module is built on, directly or through others: each module after those that it needs itself."""
    for name in run.imports(path(module)):
        other = name.removeprefix(f"{PACKAGE}.")
        if other != name and path(other).is_file():
            yield from needs(other)
            yield other


def modules() -> list[str]:
    """The library's modules, each after those that it needs."""
    names = [*sorted(file.stem for file in (run.ROOT / PACKAGE).glob("[!_]*.py")), NETWORK]
    return list(dict.fromkeys(m for name in names for m in (*needs(name), name)))


def joined(names: Sequence[str], skipped: Sequence[str] = ()) -> str:
    """
    Modules as one text; those of `skipped` are left out, as they will follow it. A function or class whose name a later
    module defines anew gets its module's name in front. Raises `SingleError` where another name means two things.
    """
    meanings = {}
    for name in names:
        code = code_only(path(name).read_text(encoding="utf-8"), trailing=True)
        demo = guard(ast.parse(code))
        code = "\n".join(code.split("\n")[: demo.lineno - 1 if demo else None])
        meanings[name] = Meanings(code, f"{PACKAGE}.{name}")
    new = new_names(meanings)
    heads, bodies = [], []
    for name in (name for name in names if name not in skipped):
        head, body = split(meanings[name], new)
        heads += head
        bodies.append(body)
    return "\n".join([*heads, *bodies])


def new_names(meanings: dict[str, Meanings]) -> dict[str, str]:
    """What each name is called in one text, by its full name."""
    owners: dict[str, dict[str, str]] = defaultdict(dict)  # of a name: what it means, where
    for module, names in meanings.items():
        for name in bound(ast.parse("\n".join(names.lines))):
            full = names.walk.top.bound.get(name) or f"{PACKAGE}.{module}.{name}"
            owners[name].setdefault(full, module)
    new = {}
    for name, places in owners.items():
        *others, last = places
        new[last] = name
        for full in others:
            module = places[full]
            if meanings[module].walk.top.bound.get(name) != f"{PACKAGE}.{module}.{name}":
                raise SingleError(
                    f"{PACKAGE}/{places[last]}.py: `{name}` means something else in {PACKAGE}/{module}.py, "
                    "and both go into one file. Give one of the two another name."
                )
            new[full] = f"{module.replace('.', '_')}_{name}"
    return new


def bound(tree: ast.Module) -> Iterator[str]:
    """The names that a module's imports, definitions and assignments bind."""
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def split(names: Meanings, new: dict[str, str]) -> tuple[list[str], str]:
    """The imports from elsewhere, and the code with its names as they are in one text."""
    lines = ["", *names.lines]
    for reference in sorted(names.references(), key=lambda reference: -reference.start):
        for end, target in reference.ends:
            if target in new and target.startswith(f"{PACKAGE}."):
                line = lines[reference.line]
                lines[reference.line] = line[: reference.start] + new[target] + line[end:]
                break
    imports = []
    for node in ast.parse("\n".join(names.lines)).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            text = ast.unparse(node)
            imports += [] if re.match(rf"(from|import) (\.|{PACKAGE}\b)", text) else [text]
            lines[node.lineno : (node.end_lineno or 0) + 1] = [""] * (
                (node.end_lineno or 0) + 1 - node.lineno
            )
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            name = new[f"{names.module}.{node.name}"]
            lines[node.lineno] = lines[node.lineno].replace(f" {node.name}", f" {name}", 1)
    return imports, "\n".join(lines)


def tidy(texts: Sequence[str], *rules: str) -> list[str]:
    """Texts as ruff lays them out, after it has mended what `rules` are about. All at once, as starting it takes longest."""
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{n}.py" for n in range(len(texts))]
        for file, text in zip(paths, texts, strict=True):
            file.write_text(text, encoding="utf-8")
        check = ["check", "--fix-only", "--exit-zero", f"--select={','.join(rules)}"]
        for command in [check, ["format"]] if rules else [["format"]]:
            options = ["--quiet", "--no-cache", "--config", str(run.ROOT / "pyproject.toml")]
            done = subprocess.run(
                [sys.executable, "-m", "ruff", *command, *options, folder],
                text=True,
                capture_output=True,
            )
            if done.returncode:
                raise SystemExit(f"ruff can't read what was cut out of modules:\n{done.stderr}")
        return [file.read_text(encoding="utf-8") for file in paths]


def single() -> str:
    """The file that the site offers: a word on what it is, the code with its shapes, the license."""
    names = modules()
    init = ast.parse((run.ROOT / PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (public,) = [
        ast.unparse(node)
        for node in init.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    head = HEAD.format(modules=f"{', '.join(names[:-1])} and {names[-1]}")
    terms = (run.ROOT / "LICENSE").read_text(encoding="utf-8").strip().split("\n")
    end = "\n".join(f"# {line}".rstrip() for line in terms)
    (text,) = tidy([f"{head}\n{joined(names)}\n\n\n{public}\n\n{end}\n"], "I", "F401")
    return text
