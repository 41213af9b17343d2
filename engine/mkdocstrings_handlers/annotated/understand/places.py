"""
# Where a name is shown

A name of ours leads to the section that defines it. The pages say themselves which modules they show (in the directive for `labml_ws.layers`, with this handler), and
a module's file says which sections it has, so an address is known before any page is built, and a module that no page shows gets no link.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import yaml
from markdown import Markdown

from ..read.module import Section, read_module
from ..read.source import definitions
from .resolve import Reference
from .scopes import Scopes
from .torch_docs import torch_url

BLOCK = re.compile(
    r"^:::[ ]?(?P<name>\S+)[ ]*\n(?P<options>(?:[ ]{4}.*\n?|[ ]*\n)*)", re.MULTILINE
)


FENCE = re.compile(r"^(```+|~~~+).*?^\1", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Page:
    """A page's source, below the folder of all pages, and its address on the site."""

    path: str
    url: str = ""


@dataclass(frozen=True)
class Definitions:
    """What a file says of its names: where each definition stands, and what its other names stand for."""

    anchors: dict[str, str]
    exports: dict[str, str | None]


class Places:
    """
    ## Looking it up

    * `root`: the project
    * `docs`: the folder of its pages
    * `paths`: the folders that modules are found in, as Python would be told by `sys.path`
    """

    def __init__(self, root: Path, docs: Path, paths: Sequence[Path] = ()) -> None:
        self.root, self.docs, self.paths = root, docs, paths or (root,)
        self.definitions = cache(self._definitions)

    def file(self, module: str) -> Path | None:
        """A module is found as Python would find it, in the first folder that has it."""
        for folder in self.paths:
            stem = folder / module.replace(".", "/")
            for path in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py"):
                if path.is_file():
                    return path
        return None

    def href(self, name: str, here: Page) -> str | None:
        """Where a link from the page `here` to `name` goes, if anywhere."""
        if name.split(".")[0] == "torch":
            return torch_url(name)
        found = self.find(name)
        return f"{address(here, found[0])}#{found[1]}" if found else None

    def stretch(self, reference: Reference, here: Page) -> tuple[int, str] | None:
        """
        Where a link in the code ends, and where it goes. Of a chain that leads nowhere as a whole, a class at its beginning may: `nn.Conv2d.__name__`.
        A module at its beginning isn't what was meant.
        """
        for end, name in reference.ends:
            whole = end == reference.ends[0][0]
            wanted = whole or name.rpartition(".")[2][:1].isupper()
            if wanted and (url := self.href(name, here)):
                return end, url
        return None

    def find(self, name: str, through: frozenset[str] = frozenset()) -> tuple[str, str] | None:
        """
        ### From a name to a page and an anchor

        The name may be the one that a package passes on: `labml_ws.Conv2d` is defined in `labml_ws.layers`.
        """
        parts = name.split(".")
        for n in range(len(parts), 0, -1):
            module, rest = ".".join(parts[:n]), ".".join(parts[n:])
            known = self.definitions(module)
            if known is None:
                continue
            if not rest or rest in known.anchors:
                page = self.shown.get(module)
                return (page, known.anchors[rest]) if page else None
            target = known.exports.get(parts[n])
            if target and name not in through:
                return self.find(".".join([target, *parts[n + 1 :]]), through | {name})
            return None
        return None

    def _definitions(self, module: str) -> Definitions | None:
        path = self.file(module)
        if not path:
            return None
        source = path.read_text(encoding="utf-8")
        try:
            tree, sections = ast.parse(source), read_module(source)
        except SyntaxError:
            return None
        # A definition that nobody explains has no section of its own; its line has an anchor as well.
        own = {
            s.name: anchor_of(s, module) for s in sections if s.kind in {"class", "function"}
        }
        anchors = {name: own.get(name, f"L{node.lineno}") for node, name in definitions(tree)}
        exports = Scopes(tree, module, package=path.stem == "__init__").top.bound
        return Definitions({"": module} | anchors, exports)

    @cached_property
    def shown(self) -> dict[str, str]:
        """
        ### Which page shows a module

        The first in alphabetical order, should there be two.
        """
        found: dict[str, str] = {}
        for path in sorted(self.docs.rglob("*.md")):
            for block in BLOCK.finditer(FENCE.sub("", path.read_text(encoding="utf-8"))):
                chosen = yaml.safe_load(block["options"]) or {}
                if chosen.get("handler") == "annotated":
                    found.setdefault(block["name"], path.relative_to(self.docs).as_posix())
        return found


def anchor_of(section: Section, module: str) -> str:
    """A definition's anchor is its full name, as in the inventory that other sites read."""
    if section.kind == "module":
        return module
    return (
        f"{module}.{section.anchor}"
        if section.kind in {"class", "function"}
        else section.anchor
    )


def address(here: Page, path: str) -> str:
    """A page's address relative to another, in the style of the other's: `layers.html` or `../layers/`; nothing for the page itself."""
    if path == here.path:
        return ""
    stem = path.removesuffix(".md")
    if not here.url or here.url.endswith(".html"):
        return posixpath.relpath(f"{stem}.html", posixpath.dirname(here.path) or ".")
    folder = (
        posixpath.dirname(stem) if posixpath.basename(stem) in {"index", "README"} else stem
    )
    return posixpath.relpath(folder or ".", here.url.strip("/") or ".") + "/"


def current_page(md: Markdown) -> Page | None:
    """Which page is being converted: MkDocs and Zensical each keep it in a processor of theirs."""
    for processors in (md.treeprocessors, md.preprocessors):
        for processor in processors:
            page = getattr(processor, "file", None) or getattr(processor, "page", None)
            path = getattr(page, "src_uri", None) or getattr(page, "path", None)
            if path:
                return Page(str(path), str(getattr(page, "url", "")))
    return None
