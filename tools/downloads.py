"""
Write what a reader can take along: `python -m tools.downloads docs/download`.

Both builders copy the folder into the site as it is. For each module that has a page it holds the file, the same as code
only, both once more as a script (a page that lies in a folder may load a script, but no other file), and a notebook; for
each tutorial its notebook, with a first cell that makes it run in Colab; and the library in one file.
"""

import ast
import json
import os
import posixpath
import re
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mkdocstrings_handlers.annotated.document import Source
from mkdocstrings_handlers.annotated.read.source import code_only, demo
from mkdocstrings_handlers.annotated.render.markdown import names
from mkdocstrings_handlers.annotated.render.notebook import Cell, cells, markdown, written
from mkdocstrings_handlers.annotated.understand.index import Index
from mkdocstrings_handlers.annotated.understand.run import recorded
from mkdocstrings_handlers.annotated.understand.torch_docs import torch_url
from tools import single
from tools.run import PACKAGE, ROOT

RECORDS = ROOT / "build" / "demos"
# A command line is no demo. This is what the notebook does in its place.
COMMANDS = {
    "labml_ws.experiment.__main__": (
        "From a shell this file is a command line. Here the same function trains a narrow network on small images of digits "
        "for one epoch, which takes a minute or less.",
        'main(["--data", "digits", "--width", "0.25", "--epochs", "1"])',
    )
}


@dataclass(frozen=True)
class Site:
    """Where things are: the pages, and the addresses of the site and of the repository, if they have any."""

    index: Index
    url: str = ""
    repo: str = ""

    def page(self, name: str) -> str:
        """The place in the site of the page that shows a module or a notebook."""
        return self.index.pages[name].removesuffix(".md") + ".html"

    def address(self, page: str, name: str) -> str:
        """
        Where a link leads, from the name of an object or from an address as it stands in the source of a page; nowhere while
        the site has no address.
        """
        if name.partition(".")[0] == "torch":
            return torch_url(name) or ""
        if not self.url:
            return ""
        if names(name):
            path, anchor = self.index.find(name) or ("", "")
            if not path:
                return ""
        else:
            path, _, anchor = name.partition("#")
            path = posixpath.join(posixpath.dirname(page), path) if path else page
        path = re.sub(r"\.md$", ".html", posixpath.normpath(path))
        return f"{self.url}{path}{'#' + anchor if anchor else ''}"


# ## Notebooks


def notebook(name: str, site: Site) -> str:
    """The notebook of a module. The library's run where torch is and nothing of ours; the others need the project."""
    document = recorded(site.index.document(name), RECORDS)
    source = document.source
    package, _, module = name.partition(".")
    needed = single.demo_needs(module) if package == PACKAGE else ()
    alone = package == PACKAGE and module in single.modules() and module not in needed

    def dropped(node: ast.stmt) -> bool:
        if isinstance(node, ast.If) and "__main__" in ast.unparse(node.test):
            return not demo(source.tree) or "sys.argv" in ast.unparse(node)
        own = isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"{package}.")
        return alone and own

    opening, *rest = cells(document, partial(site.address, site.page(name)), dropped)
    install = "It needs PyTorch and nothing else: `pip install torch`."
    setup = []
    if alone and needed:
        (code,) = single.tidy([single.joined([*needed, module], skipped=[module])], "I", "F401")
        title = f"# @title What {module} takes from {' and '.join(needed)}"
        setup = [Cell("code", f"{title}\n{code}")]
    if not alone:
        extra = "train" if package == PACKAGE else "site"
        install = f"It needs a checkout of the project: there, `pip install -e '.[{extra}]'`."
        setup = checkout(site.repo, extra, ".")
    if any(isinstance(n, ast.Name) and n.id == "__file__" for n in ast.walk(source.tree)):
        where = f'from importlib.util import find_spec\n\n__file__ = find_spec("{name}").origin'
        setup.append(Cell("code", f"# A notebook is no file; the module is.\n{where}"))
    page = f"[The page]({site.url}{site.page(name)})" if site.url else "The page"
    about = Cell("markdown", f"{page} of `{name}` as a notebook. {install}")
    made = [opening, about, *setup, *rest]
    if name in COMMANDS:
        words, command = COMMANDS[name]
        made += [Cell("markdown", words), Cell("code", command)]
    return written(made)


def checkout(repo: str, extra: str, folder: str) -> list[Cell]:
    """What makes Colab a checkout, where the project has a repository."""
    lines = (
        "# In Colab: fetch the project and what it needs.",
        "import sys\n",
        'if "google.colab" in sys.modules:',
        f"    !git clone --quiet --depth 1 {repo} checkout",
        f'    %pip install --quiet "./checkout[{extra}]"',
        f"    %cd {posixpath.normpath(posixpath.join('checkout', folder))}",
    )
    return [Cell("code", "\n".join(lines))] if repo else []


def tutorial(path: Path, site: Site) -> str:
    """The notebook that the site shows, with a cell before it that fetches what it reads."""
    entries = json.loads(path.read_text(encoding="utf-8"))["cells"]
    resolve = partial(site.address, site.page(path.relative_to(ROOT).as_posix()))
    for entry in entries:
        if entry["cell_type"] == "markdown":
            entry["metadata"].pop("tied", None)
            entry["source"] = markdown("".join(entry["source"]), resolve)
        for bundle in (output.get("data", {}) for output in entry.get("outputs", [])):
            if computed := bundle.get("text/markdown"):
                bundle["text/markdown"] = markdown("".join(computed), resolve)
    folder = path.parent.relative_to(ROOT).as_posix()
    return written(checkout(site.repo, "train", folder), entries)


# ## Files


def files(site: Site) -> dict[str, str]:
    """Everything that there is to take along, by its place."""
    texts = {single.NAME: single.single()}
    notebooks = [name for name in site.index.pages if name.endswith(".ipynb")]
    for script in (ROOT / name for name in notebooks if site.repo):
        texts[script.relative_to(site.index.docs).as_posix()] = tutorial(script, site)
    # Of a module that isn't there the builder says more than could be said here.
    paths = {name: path for name in site.index.pages if (path := site.index.file(name))}
    sources = {name: Source.read(path, ROOT) for name, path in paths.items()}
    codes = single.tidy([code_only(source) for source in sources.values()])
    for (name, source), code in zip(sources.items(), codes, strict=True):
        place = name.replace(".", "/")
        both = json.dumps({"source": source.text, "code": code}, ensure_ascii=False)
        texts[f"{place}.py"] = source.text
        texts[f"code-only/{place}.py"] = code
        texts[f"{place}.js"] = f"(window.toTake ??= {{}})[{json.dumps(name)}] = {both};\n"
        texts[f"{place}.ipynb"] = notebook(name, site)
    return texts


def write(folder: Path, texts: dict[str, str]) -> None:
    """Makes the folder hold these texts and nothing else. A file that stays as it is keeps its time."""
    for old in sorted(folder.rglob("*"), reverse=True):
        if old.is_file() and old.relative_to(folder).as_posix() not in texts:
            old.unlink()
        elif old.is_dir() and not any(old.iterdir()):
            old.rmdir()
    for place, text in texts.items():
        path = folder / place
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def main(target: str) -> None:
    folder = Path(target).resolve()
    index = Index(ROOT, folder.parent, [ROOT, ROOT / "engine"])
    url, repo = os.environ.get("SITE_URL", ""), os.environ.get("REPO_URL", "")
    try:
        write(folder, files(Site(index, url and f"{url.rstrip('/')}/", repo.rstrip("/"))))
    except ValueError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main(*sys.argv[1:])
