"""
# From sections to a page

mkdocstrings asks a handler for two things: *collect* what an identifier names, and *render* it. Everything else that a page needs (Markdown inside Markdown,
headings in the table of contents, cross-references, an inventory for other sites) it already has, for MkDocs and for Zensical alike. That's why this is a
handler and not a program of its own.

In a page, two lines are enough:

```markdown
::: labml_ws.layers
    handler: annotated
```
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

from markdown import Markdown
from mkdocs.exceptions import PluginError
from mkdocstrings import BaseHandler, CollectionError

from . import prose
from .document import Document, Source
from .prose.page import page
from .read.module import read_module
from .read.notebook import NotebookError, joined, python, read_notebook
from .render.diff import Difference, find, shown
from .render.html import Html
from .render.take import Take
from .understand import demos
from .understand.places import Page, Places, anchor_of


@dataclass(frozen=True)
class Options:
    """
    `heading_level` is where a module's own `# Title` goes: 1, unless the page already has a title. `bundle` names a file in the folder of
    downloads that holds this module and others. `formerly` are names that the module had before: its old anchors go on working beside the new ones.
    With `diff_from` the page shows [what changed](diff.md) from the object of that name to the one that it asks for.
    """

    heading_level: int = 1
    outline: bool = True
    bundle: str = ""
    formerly: Sequence[str] = ()
    diff_from: str = ""


class AnnotatedHandler(BaseHandler):
    """
    ## What mkdocstrings calls

    `collect` reads what a page names after `:::`, `render` makes its HTML. Between the two, mkdocstrings asks for the names that others may refer to.
    """

    name: ClassVar[str] = "annotated"
    domain: ClassVar[str] = "py"
    enable_inventory: ClassVar[bool] = True
    fallback_theme: ClassVar[str] = "material"

    def __init__(
        self,
        root: Path,
        docs: Path,
        recorded: str = "",
        take: Take | None = None,
        paths: Sequence[Path] = (),
        **kwargs: Any,
    ) -> None:
        # The prose of a module is converted as the pages are, and by our own extension in any case.
        if prose.__name__ not in kwargs["mdx"]:
            kwargs["mdx"] = [*kwargs["mdx"], prose.__name__]
        super().__init__(**kwargs)
        self.root, self.recorded = root, recorded
        self.take = take or Take(root)
        self.places = Places(root, docs, paths)
        self.ids: set[str] = set()

    # Called when a page has its first block for this handler.
    def _update_env(self, md: Markdown, **kwargs: Any) -> None:
        super()._update_env(md, **kwargs)
        self.ids = set()

    def get_options(self, local_options: Mapping[str, Any]) -> Options:
        known = [field.name for field in fields(Options)]
        if unknown := sorted(set(local_options) - set(known)):
            raise PluginError(
                f"The annotated handler has no option {', '.join(unknown)}; it has {', '.join(known)}."
            )
        return Options(**local_options)

    # ### Collect

    def collect(self, identifier: str, options: Options) -> Document | Difference:
        """
        The module is found on disk and read, not imported. A page doesn't need PyTorch to start, and a module with a mistake in it can still be shown.
        """
        if options.diff_from:
            return Difference(*(find(n, self.places) for n in (options.diff_from, identifier)))
        if identifier.endswith(".ipynb"):
            return self._notebook(identifier)
        path = self.places.file(identifier)
        if path is None:
            raise CollectionError(
                f"{identifier}: there is no such module below {self.root}. Name a module as one imports it, or a notebook by its path."
            )
        source = Source.read(path, self.root)
        try:
            # Python only warns of `"\mu"`. On a page it's a formula that lost its letters, so here it's an error.
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                record = self._record(source.text, identifier)
                sections = demos.with_printed(
                    read_module(source.text), source.text, record["printed"]
                )
                sections = [replace(s, anchor=anchor_of(s, identifier)) for s in sections]
                return Document(identifier, source, sections, record["bound"])
        except SyntaxError as error:
            hint = (
                ' Begin the string with r""" to keep its backslashes.'
                if "escape" in error.msg
                else ""
            )
            raise CollectionError(f"{source.place}:{error.lineno}: {error.msg}.{hint}") from error

    # What the demos print and bind is recorded beforehand, in the folder that the configuration names.
    def _record(self, source: str, identifier: str) -> dict[str, Any]:
        if not self.recorded or not demos.demo(source):
            return {"printed": [], "bound": []}
        record = self.root / self.recorded / f"{identifier}.json"
        if not record.is_file():
            raise CollectionError(
                f"{identifier}: its demo has not been run, as {self.recorded}/{record.name} is missing. "
                "`make site` runs it; do that first."
            )
        return demos.read(record)

    def _notebook(self, identifier: str) -> Document:
        path = self.root / identifier
        if not path.is_file():
            raise CollectionError(
                f"{identifier}: there is no such notebook. `make site` makes it from the script of the same name; run that first."
            )
        try:
            sections = read_notebook(path)
            text, lines = joined(sections)
            sections = [replace(s, code_lines=tuple(lines.get(s.anchor, ()))) for s in sections]
            source = Source(python(text), path, identifier)
            return Document(path.stem, source, sections, numbered=False)
        except NotebookError as error:
            raise CollectionError(str(error).replace(str(path), identifier)) from error

    def render(
        self, data: Document | Difference, options: Options, *, locale: str | None = None
    ) -> str:
        """
        ### Render

        A template gets the rows of the page: for each section its prose, set, and its code, highlighted. What a page shows beside them, the contents, the list of symbols and what
        there is to take along, is gathered while they are made.
        """
        here = page(self.md)
        if isinstance(data, Difference):
            return self.env.get_template("diff.html.jinja").render(shown(data, self.places, here))
        # Without a builder the page is the one that shows the module.
        here = here if here.path else Page(self.places.shown.get(data.name, ""))
        block = Html(
            data,
            options,
            self.places,
            self.take,
            here,
            self.do_convert_markdown,
            self.do_heading,
            self.ids,
        )
        return self.env.get_template("document.html.jinja").render(block.page())


def get_handler(
    *, handler_config: MutableMapping[str, Any], tool_config: Any, **kwargs: Any
) -> AnnotatedHandler:
    root = Path(tool_config.config_file_path or ".").resolve().parent
    docs = Path(getattr(tool_config, "docs_dir", "") or root / "docs")
    names = ("downloads", "repo_url", "ref")
    take = Take(root, **{n: str(handler_config[n]) for n in names if handler_config.get(n)})
    paths = [root / path for path in handler_config.get("paths", ["."])]
    demos = str(handler_config.get("demos", ""))
    return AnnotatedHandler(root, docs, demos, take, paths, **kwargs)
