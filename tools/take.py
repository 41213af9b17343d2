"""Write what a reader can take along: `docs/download`, which both builders copy into the site as it is.

For each module that has a page: the file, the same as code only, both once more as a script (a page that lies in a folder
may load a script, but no other file), and a notebook. For each tutorial its notebook, with a first cell that makes it
run in Colab. And the library in one file. A file whose content has not changed keeps its time.
"""

import ast
import json
import os
import posixpath
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from mkdocstrings_handlers.annotated.document import Source
from mkdocstrings_handlers.annotated.read.source import code_only, demo
from mkdocstrings_handlers.annotated.understand.torch_docs import torch_url
from nbformat import v4

from tools import bundle
from tools.cells import Cell, Resolve, cells, markdown
from tools.markdown import shown

ROOT = bundle.ROOT
RECORDED = ROOT / "build" / "demos"
# A command line is no demo. This is what the notebook does in its place.
COMMANDS = {
    "labml_ws.experiment": (
        "From a shell this file is a command line. Here the same function trains a narrow network on small images of digits "
        "for one epoch, which takes a minute or less.",
        'import sys\n\nsys.argv[1:] = ["--data", "digits", "--width", "0.25", "--epochs", "1"]\nmain()',
    )
}


def pages(docs: Path) -> dict[str, str]:
    """Which page shows what: from the name of a module, or the path of a notebook, to the page's place in the site."""
    return {
        name: page.relative_to(docs).with_suffix(".html").as_posix()
        for page in sorted(docs.rglob("*.md"))
        for name in shown(page.read_text(encoding="utf-8"))
    }


def address(site: str, places: dict[str, str], page: str, name: str) -> str:
    """Where a link leads, from a page of a site: see `cells.Resolve`."""
    if name == "torch" or name.startswith("torch."):
        return torch_url(name) or ""
    if not site:
        return ""
    if re.fullmatch(r"[\w.]+", name) and not name.endswith((".md", ".html", ".ipynb")):
        owners = [m for m in places if f"{name}.".startswith(f"{m}.")]
        return f"{site}{places[max(owners, key=len)]}#{name}" if owners else ""
    path, _, anchor = name.partition("#")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else page
    target = re.sub(r"\.md$", ".html", target)
    return f"{site}{target}{'#' + anchor if anchor else ''}"


def module_file(name: str) -> Path:
    path = Path(f"{name.replace('.', '/')}.py")
    return next((ROOT / f / path for f in ("", "engine") if (ROOT / f / path).is_file()), path)


# ## Notebooks


def notebook(name: str, site: str, repo: str, places: dict[str, str]) -> str:
    """The notebook of a module. The library's run where torch is and nothing of ours; the others need the project."""
    path = module_file(name)
    source = path.read_text(encoding="utf-8")
    package, _, module = name.rpartition(".")
    alone = package == bundle.PACKAGE and module in bundle.MODULES
    needed = bundle.needs(module) if alone else []

    def dropped(node: ast.stmt) -> bool:
        if isinstance(node, ast.If) and "__main__" in ast.unparse(node.test):
            return not demo(Source(source).tree) or "sys.argv" in ast.unparse(node)
        return bool(alone and bundle.own(node))

    resolve = partial(address, site, places, places[name])
    try:
        opening, *rest = cells(_absolute(source, package), resolve, dropped)
    except ValueError as error:
        raise bundle.BundleError(f"{path.relative_to(ROOT)}:{error}") from error

    there = f"[The page]({site}{places[name]})" if site else "The page"
    install = "It needs PyTorch and nothing else: `pip install torch`."
    setup = []
    if needed:
        joined = bundle.together(needed)
        (code,) = formatted(["\n\n\n".join([joined.head(), *joined.bodies])])
        setup = [
            Cell("code", f"# @title What {module} takes from {' and '.join(needed)}\n{code}")
        ]
    if not alone:
        extra = "train" if package == bundle.PACKAGE else "site"
        install = f"It needs a checkout of the project: there, `pip install -e '.[{extra}]'`."
        setup = checkout(repo, extra, ".") if repo else []
    if any(isinstance(n, ast.Name) and n.id == "__file__" for n in ast.walk(ast.parse(source))):
        where = f'from importlib.util import find_spec\n\n__file__ = find_spec("{name}").origin'
        setup.append(Cell("code", f"# A notebook is no file; the module is.\n{where}"))
    about = f"{there} of `{name}` as a notebook. {install}"
    made = [opening, Cell("markdown", about), *setup, *rest]
    if name in COMMANDS:
        words, command = COMMANDS[name]
        made += [Cell("markdown", words), Cell("code", command)]
    return text(in_format(made, partial(_printed, demo(Source(source).tree), name)))


def _printed(statements: list[ast.stmt], name: str, cell: Cell) -> str:
    """What the demo printed when the site was made, for the cell in which it stands."""
    record = RECORDED / f"{name}.json"
    if cell.kind != "code" or cell.section is None or not record.is_file():
        return ""
    lines = [node.lineno for node in statements]
    return "".join(
        t for i, t in json.loads(record.read_text())["printed"] if lines[i] in cell.section.span
    )


def checkout(repo: str, extra: str, folder: str) -> list[Cell]:
    """What makes Colab a checkout."""
    return [
        Cell(
            "code",
            "# In Colab: fetch the project and what it needs.\n"
            "import sys\n\n"
            'if "google.colab" in sys.modules:\n'
            f"    !git clone --quiet --depth 1 {repo} checkout\n"
            f'    %pip install --quiet "./checkout[{extra}]"\n'
            f"    %cd {posixpath.normpath(posixpath.join('checkout', folder))}",
        )
    ]


def tutorial(path: Path, repo: str, resolve: Resolve) -> str:
    """The notebook that the site shows, with a cell before it that fetches what it reads."""
    made = nbformat.read(path, as_version=4)
    for cell in made.cells:
        if cell.cell_type == "markdown":
            cell.source = markdown(cell.source, resolve)
    made.cells[:0] = in_format(
        checkout(repo, "train", path.parent.relative_to(ROOT).as_posix())
    )
    return text(made.cells)


def in_format(made: list[Cell], printed: Callable[[Cell], str] = lambda cell: "") -> list[Any]:
    found = []
    for cell in made:
        new = v4.new_markdown_cell if cell.kind == "markdown" else v4.new_code_cell
        found.append(new(cell.source.strip("\n")))
        # Folded in Colab and in Jupyter; nobody came for it.
        if cell.source.startswith("# @title"):
            found[-1].metadata = {"cellView": "form", "jupyter": {"source_hidden": True}}
        if output := printed(cell):
            found[-1].outputs = [v4.new_output("stream", name="stdout", text=output)]
    return found


def text(found: list[Any]) -> str:
    """The notebook as a file, with no random names in it."""
    for number, cell in enumerate(found):
        cell["id"] = f"cell-{number}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    made = v4.new_notebook(cells=found, metadata=metadata)
    nbformat.validate(made)
    return nbformat.writes(made) + "\n"


def _absolute(source: str, package: str) -> str:
    """A notebook is in no package: `from .x import y` names the package in full."""
    lines = source.split("\n")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            line = lines[node.lineno - 1]
            name = f"{package}.{node.module or ''}".rstrip(".")
            lines[node.lineno - 1] = re.sub(r"from\s+\.+[\w.]*", f"from {name}", line, count=1)
    return "\n".join(lines)


# ## Files


def formatted(sources: Sequence[str]) -> list[str]:
    """All of them at once: starting ruff takes longer than what it does."""
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{n}.py" for n in range(len(sources))]
        for path, source in zip(paths, sources, strict=True):
            path.write_text(source, encoding="utf-8")
        config = ["--config", str(ROOT / "pyproject.toml")]
        command = [sys.executable, "-m", "ruff", "format", "--quiet", "--no-cache", *config]
        done = subprocess.run([*command, folder], text=True, capture_output=True)
        if done.returncode:
            raise SystemExit(
                f"tools/take.py: ruff can't format what was cut out:\n{done.stderr}"
            )
        return [path.read_text(encoding="utf-8") for path in paths]


def files(docs: Path, site: str, repo: str) -> dict[str, str]:
    """Everything that there is to take along, by its place."""
    places = pages(docs)
    found = {}
    if repo:
        for name in (name for name in places if name.endswith(".ipynb")):
            path = ROOT / name
            found[path.relative_to(docs).as_posix()] = tutorial(
                path, repo, partial(address, site, places, places[name])
            )
    paths = {n: module_file(n) for n in places if not n.endswith(".ipynb")}
    # Of a module that isn't there the builder says more than could be said here.
    modules = [name for name, path in paths.items() if path.is_file()]
    sources = [paths[name].read_text(encoding="utf-8") for name in modules]
    single, *codes = formatted([bundle.single(), *map(code_only, map(Source, sources))])
    found[bundle.NAME] = single
    for name, source, code in zip(modules, sources, codes, strict=True):
        place = name.replace(".", "/")
        both = json.dumps({"source": source, "code": code}, ensure_ascii=False)
        found[f"{place}.py"] = source
        found[f"code-only/{place}.py"] = code
        found[f"{place}.js"] = f"(window.toTake ??= {{}})[{json.dumps(name)}] = {both};\n"
        found[f"{place}.ipynb"] = notebook(name, site, repo, places)
    return found


def write(target: Path, wanted: dict[str, str]) -> None:
    for old in sorted(target.rglob("*"), reverse=True):
        if old.is_file() and old.relative_to(target).as_posix() not in wanted:
            old.unlink()
        elif old.is_dir() and not any(old.iterdir()):
            old.rmdir()
    for place, text in wanted.items():
        path = target / place
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def main(target: str) -> int:
    folder = Path(target).resolve()
    site = os.environ.get("SITE_URL", "")
    repo = os.environ.get("REPO_URL", "").rstrip("/")
    try:
        write(folder, files(folder.parent, f"{site.rstrip('/')}/" if site else "", repo))
    except bundle.BundleError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
