"""
# Which page explains a name

A name of ours leads to the section that defines it. The pages say themselves which modules they show (in the directive for `labml_ws.layers`, with this handler), and
a module's file says which sections it has, so an address is known before any page is built, and a module that no page shows gets no link. Every link that the engine makes to one of our names comes from what
this index says: those in the code and in the prose of a page, those in its Markdown and in its notebook, and those that a text spells out.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from markdown.extensions.toc import slugify

from ..document import Document, Section, Source, SourceError
from ..read.module import read_module
from ..read.notebook import read_notebook
from ..read.source import definitions, headings, unfenced
from .scopes import Reference, Scopes
from .symbols import nearest
from .torch_docs import torch_url

# `::: name` and its options, which are indented.
DIRECTIVE = re.compile(
    r"^:::[ ]?(\S+)[ ]*(?:\n|\Z)((?:[ ]{4,}\S.*(?:\n|\Z)|[ ]*\n(?=(?:[ ]*\n)*[ ]{4,}\S))*)",
    re.MULTILINE,
)
# Code is no prose, unless it is what a reference is written on.
CODE = re.compile(r"(?<!\[)`[^`]+`|\$[^$]*\$")
REFERENCE = re.compile(r"\[`?([\w.]+)`?\]\[\]|\]\[([A-Za-z_][\w.]*)\]|\]\(#([^)\s]+)\)")


@dataclass(frozen=True)
class Page:
    """A page's source, below the folder of all pages, and its address on the site."""

    path: str
    url: str = ""


@dataclass(frozen=True)
class Directive:
    """What a page asks for: the name of a module or the path of a notebook, the options, and where in the page's text the request stands."""

    name: str
    options: dict[str, Any]
    start: int
    end: int

    @property
    def shows(self) -> bool:
        """Whether the page shows all of it, annotated."""
        options = self.options.get("options") or {}
        part = options.get("diff_from") or options.get("figure")
        whole = options.get("whole", True) and not part
        return self.options.get("handler") == "annotated" and bool(whole)


def directives(text: str) -> Iterator[Directive]:
    """The directives of a page, `text`. One that stands in fenced code shows how it is written."""
    for m in DIRECTIVE.finditer(unfenced(text)):
        yield Directive(m[1], yaml.safe_load(m[2]) or {}, m.start(), m.end())


@dataclass(frozen=True, eq=False)
class Module:
    """A module that was read: its sections, what its names stand for, and the anchor of each definition; the module's own is under an empty name."""

    name: str
    source: Source
    sections: list[Section]
    scopes: Scopes
    anchors: dict[str, str]


class Index:
    """
    ## Looking it up

    * `root`: the project
    * `docs`: the folder of its pages
    * `paths`: the folders that modules are found in, as Python would be told by `sys.path`
    """

    def __init__(self, root: Path, docs: Path, paths: Sequence[Path] = ()) -> None:
        self.root, self.docs, self.paths = root, docs, paths or (root,)
        self._modules: dict[str, Module] = {}

    def owns(self, name: str) -> bool:
        """Whether a dotted name begins with a package or module that is in one of the folders."""
        first, *rest = name.split(".")
        places = [folder / end for folder in self.paths for end in (first, f"{first}.py")]
        return bool(rest) and any(place.exists() for place in places)

    def file(self, module: str) -> Path | None:
        """The file of a module, found as Python would find it: in the first folder that has it."""
        for folder in self.paths:
            stem = folder / module.replace(".", "/")
            for path in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py"):
                if path.is_file():
                    return path
        return None

    def module(self, name: str) -> Module | None:
        """A module that was read, the same as long as its file stays as it is; none if there is no such file. Raises `SourceError` for one that can't be read."""
        path = self.file(name)
        if not path:
            return None
        source = Source.read(path, self.root)
        module = self._modules.get(name)
        if not module or module.source is not source:
            sections = read_module(source, name)
            # A definition that has no section of its own has its line.
            anchors = {n: self.line(name, node.lineno) for node, n in definitions(source.tree)}
            anchors |= {s.name: s.anchor for s in reversed(sections) if s.defines}
            module = Module(name, source, sections, Scopes(source, name), {"": name} | anchors)
            self._modules[name] = module
        return module

    def document(self, name: str) -> Document:
        """A module by its name, or a notebook by its path, as a document. Raises `SourceError` for one that isn't there or can't be read."""
        if name.endswith(".ipynb"):
            if not (self.root / name).is_file():
                hint = "`make site` makes it from the script of the same name; run that first."
                raise SourceError(name, None, f"there is no such notebook. {hint}")
            return read_notebook(self.root / name, self.root)
        module = self.module(name)
        if module is None:
            hint = "Name a module as one imports it, or a notebook by its path."
            raise SourceError(name, None, f"there is no such module below {self.root}. {hint}")
        return Document(name, module.source, module.sections)

    def scopes(self, document: Document) -> Scopes:
        """What the names of a document stand for. A notebook can't be imported, so what it defines has no name to be known by."""
        module = self._modules.get(document.name)
        if module and module.source is document.source:
            return module.scopes
        return Scopes(document.source)

    # ### From a name to a page

    def resolve(
        self, name: str, through: frozenset[str] = frozenset()
    ) -> tuple[Module, str] | None:
        """
        The module that defines `name`, and the anchor in it. The name may be the one that a package passes on: `labml_ws.Conv2d` is defined in `labml_ws.layers`.
        """
        parts = name.split(".")
        for n in range(len(parts), 0, -1):
            module = self.module(".".join(parts[:n]))
            if module is None:
                continue
            if anchor := module.anchors.get(".".join(parts[n:])):
                return module, anchor
            target = module.scopes.top.bound.get(parts[n])
            if target and name not in through:
                return self.resolve(".".join([target, *parts[n + 1 :]]), through | {name})
            return None
        return None

    def find(self, name: str) -> tuple[str, str] | None:
        """The page that explains `name`, and the anchor on it, if any does."""
        try:
            module, anchor = self.resolve(name) or (None, "")
        except SourceError:
            return None
        page = self.pages.get(module.name) if module else None
        return (page, anchor) if page else None

    def href(self, name: str, here: Page) -> str | None:
        """Where a link from the page `here` to `name` goes, if anywhere."""
        if name.split(".")[0] == "torch":
            return torch_url(name)
        place = self.find(name)
        return f"{address(here, place[0])}#{place[1]}" if place else None

    def folder(self, name: str, here: Page) -> str:
        """Where what a document has beside its own page is, from another page."""
        page = self.pages.get(name, here.path)
        way = posixpath.relpath(
            posixpath.dirname(page) or ".", posixpath.dirname(here.path) or "."
        )
        return "" if way == "." else f"{way}/"

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

    @cached_property
    def pages(self) -> dict[str, str]:
        """Which page shows a module or a notebook: the first in alphabetical order, should there be two."""
        pages: dict[str, str] = {}
        for path in sorted(self.docs.rglob("*.md")):
            for directive in directives(path.read_text(encoding="utf-8")):
                if directive.shows:
                    pages.setdefault(directive.name, path.relative_to(self.docs).as_posix())
        return pages

    def line(self, name: str, number: int | str = "") -> str:
        """The anchor of a line of a module: `L12`, or `name-L12` from the second module on that one page shows."""
        page = self.pages.get(name)
        first = next((other for other, place in self.pages.items() if place == page), name)
        return (
            f"L{number}"
            if not page or name == first
            else f"{name.rpartition('.')[2]}-L{number}"
        )

    # ### References that lead nowhere

    def check(self, document: Document, section: Section) -> None:
        """
        Raises `SourceError` for a reference in the prose that leads nowhere. `[the layers][labml_ws.layers]` is resolved after all pages are rendered, when nobody
        knows any longer which line it came from. So the names of our own modules are looked up here, while the line is known; so are the links within a page.
        Everything else is left to the builder.
        """
        blank = re.compile(r"[^\n]")
        text = CODE.sub(lambda m: blank.sub(" ", m[0]), unfenced(section.prose))
        for m in REFERENCE.finditer(text):
            name = m[1] or m[2] or ""
            if problem := self._object(name) if name else _anchor(m[3], document):
                line = section.prose_lines[text[: m.end()].count("\n")]
                raise SourceError(document.source.place, line, problem)

    def _object(self, name: str) -> str:
        if not self.owns(name):
            return ""
        package = name.partition(".")[0]
        place = self.resolve(name)
        if place and place[1] in {place[0].name, *(s.anchor for s in place[0].sections)}:
            return ""
        return (
            f"the reference to `{name}` leads nowhere. {_instead(name, self._names(package))}"
        )

    def _names(self, package: str) -> set[str]:
        names: set[str] = set()
        for folder in self.paths:
            for path in [folder / f"{package}.py", *sorted((folder / package).rglob("*.py"))]:
                parts = path.relative_to(folder).with_suffix("").parts
                name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
                try:
                    module = self.module(name)
                except SourceError:
                    continue
                names |= (
                    {name, *(s.anchor for s in module.sections if s.defines)}
                    if module
                    else set()
                )
        return names


def _anchor(name: str, document: Document) -> str:
    words = (m[2] for s in document.sections for m in headings(s.prose))
    anchors = {s.anchor for s in document.sections} | {slugify(w, "-") for w in words}
    if name in anchors:
        return ""
    return f"there is no `#{name}` on this page. {_instead(name, anchors)}"


def _instead(name: str, names: set[str]) -> str:
    other = "Name a module, a class or a function that has a section, or a heading."
    return nearest(name, names, other)


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
