"""
# Take it with you

Beside its introduction a page offers its module to go: to copy, to download, as a notebook. The files are written before the build, into a folder in `docs`
that the configuration names as `downloads`; this module knows their addresses and checks that they are there. Where `repo_url` names a repository, every section leads to its lines
there, and if that's on GitHub, a notebook can be opened in Colab.
"""

from __future__ import annotations

import ast
import posixpath
import re
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mkdocstrings import CollectionError

from ..document import Source

COLAB = "https://colab.research.google.com/github"
# Colab opens a notebook from a branch. Notebooks are built and not committed, so whoever publishes the site pushes them to this one.
BRANCH = "notebooks"


@dataclass(frozen=True)
class Taken:
    """The module's name, the file's, and addresses, relative to the page where they are the site's own. What is empty isn't offered."""

    name: str
    file: str
    notebook: str
    module: str = ""
    code_only: str = ""
    script: str = ""
    bundle: str = ""
    colab: str = ""
    source: str = ""

    @property
    def bare(self) -> str:
        """What the file without prose is called on the reader's disk, beside the one with it."""
        path = PurePosixPath(self.file)
        return f"{path.stem}_code_only{path.suffix}"


def needs(source: Source) -> list[str]:
    """The packages that a file imports at its top and that Python doesn't bring: what must be installed to import it. Its own is named as well."""
    names: set[str] = set()
    for node in source.tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return sorted(names - sys.stdlib_module_names)


@dataclass(frozen=True)
class Take:
    """
    ## Where things are

    * `downloads`: the folder, directly in the folder of the pages. It holds `pkg/mod.py`, `code-only/pkg/mod.py`, `pkg/mod.ipynb`, and `pkg/mod.js`:
      the two texts once more, because a page that was opened from a folder may load a script and nothing else
    * `repo_url`, `ref`: the repository, and the commit or branch that the line numbers are those of
    """

    root: Path
    downloads: str = ""
    repo_url: str = ""
    ref: str = "main"

    def along(self, name: str, path: str, page: str, bundle: str = "") -> Taken | None:
        """What goes along from the page at the address `page` that shows the file at `path`."""
        if not self.downloads:
            return None
        folder = PurePosixPath(self.downloads)
        notebook = PurePosixPath(path).with_suffix(".ipynb")
        source = self.source(path)
        if path.endswith(".ipynb"):
            place = notebook.relative_to(folder.parent)
            source = self.source(str(notebook.with_suffix(".py")))
            return Taken(
                name,
                notebook.name,
                _from(page, place),
                colab=self._colab(place),
                source=source,
            )
        # By the module's name: where its file lies in the repository is no reader's business.
        module = f"{name.replace('.', '/')}.py"
        offered = {
            "module": folder / module,
            "code_only": folder / "code-only" / module,
            "script": (folder / module).with_suffix(".js"),
            "notebook": (folder / module).with_suffix(".ipynb"),
        } | ({"bundle": folder / bundle} if bundle else {})
        for place in offered.values():
            if not (self.root / place).is_file():
                raise CollectionError(
                    f"{name}: it can't be taken along, as {place} is missing. `make site` writes it; do that first."
                )
        addresses = {
            what: _from(page, place.relative_to(folder.parent))
            for what, place in offered.items()
        }
        return Taken(
            name,
            PurePosixPath(path).name,
            **addresses,
            colab=self._colab(notebook),
            source=source,
        )

    def source(self, path: str, first: int = 0, last: int = 0) -> str:
        """A file in the repository, or some lines of it."""
        if not self.repo_url:
            return ""
        lines = f"#L{first}" + (f"-L{last}" if last > first else "") if first else ""
        return f"{self.repo_url.rstrip('/')}/blob/{self.ref}/{path}{lines}"

    def _colab(self, place: PurePosixPath) -> str:
        github = re.fullmatch(
            r"https://github\.com/([\w.-]+/[\w.-]+?)(\.git)?/?", self.repo_url
        )
        return f"{COLAB}/{github[1]}/blob/{BRANCH}/{place}" if github else ""


def _from(page: str, place: PurePosixPath) -> str:
    return posixpath.relpath(str(place), posixpath.dirname(page) or ".")
