"""
# From a document to a page

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

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from markdown import Markdown
from mkdocs.exceptions import PluginError
from mkdocstrings import BaseHandler, CollectionError

from . import prose
from .document import Document, SourceError
from .prose.page import page
from .render.diff import Difference, find
from .render.diff import shown as changed
from .render.excerpt import Excerpt
from .render.figures import figure
from .render.take import Take
from .understand.index import Index, Page
from .understand.run import recorded


@dataclass(frozen=True)
class Options:
    """
    * `heading_level`: where a module's own `# Title` goes, 1 unless the page already has a title
    * `outline`: whether the page lists what the file holds
    * `bundle`: a file in the folder of downloads that holds this module and others
    * `formerly`: names that the module had before; its old anchors go on working beside the new ones
    * `figure`: the anchor of a section; the page shows its [figure][mkdocstrings_handlers.annotated.render.figures.figure], and where it comes from, and nothing else
    * `thumbnail`: of that figure, small and without words
    * `picture`: Markdown that stands below the introduction, as wide as the page
    * `excerpt`: a function; its [formula and the lines that compute it][mkdocstrings_handlers.annotated.render.excerpt] stand below that
    * `whole`: whether the page shows the module; else it shows the picture and the excerpt, and nothing else
    * `diff_from`: an object's name; the page shows [what changed][mkdocstrings_handlers.annotated.render.diff] from it to the one that the page asks for
    """

    heading_level: int = 1
    outline: bool = True
    bundle: str = ""
    formerly: Sequence[str] = ()
    figure: str = ""
    thumbnail: bool = False
    picture: str = ""
    excerpt: str = ""
    whole: bool = True
    diff_from: str = ""


class AnnotatedHandler(BaseHandler):
    """
    ## What mkdocstrings calls

    `collect` reads what a page names after `:::`, `render` makes its HTML. The names that others may refer to are the ids of its headings, which mkdocstrings takes from the HTML.
    """

    name: ClassVar[str] = "annotated"
    domain: ClassVar[str] = "py"
    enable_inventory: ClassVar[bool] = True
    fallback_theme: ClassVar[str] = "material"

    def __init__(self, index: Index, take: Take, records: Path | None, **kwargs: Any) -> None:
        # The prose of a module is converted as the pages are, and by our own extension in any case.
        if prose.__name__ not in kwargs["mdx"]:
            kwargs["mdx"] = [*kwargs["mdx"], prose.__name__]
        super().__init__(**kwargs)
        self.index, self.take, self.records = index, take, records
        self.ids: set[str] = set()

    # Called when a page has its first block for this handler.
    def _update_env(self, md: Markdown, **kwargs: Any) -> None:
        super()._update_env(md, **kwargs)
        self.ids = set()

    def get_options(self, local_options: Mapping[str, Any]) -> Options:
        names = [field.name for field in fields(Options)]
        if unknown := sorted(set(local_options) - set(names)):
            raise PluginError(
                f"The annotated handler has no option {', '.join(unknown)}; it has {', '.join(names)}."
            )
        return Options(**local_options)

    def collect(self, identifier: str, options: Options) -> Document | Difference:
        """
        The module is found on disk and read, not imported. A page doesn't need PyTorch to start, and a module with a mistake in it can still be shown. What its demo
        prints and binds was recorded before, in the folder that the configuration names.
        """
        try:
            if options.diff_from:
                old, new = (find(n, self.index) for n in (options.diff_from, identifier))
                return Difference(old, new)
            document = self.index.document(identifier)
            return recorded(document, self.records) if self.records else document
        except SourceError as error:
            raise CollectionError(str(error)) from error

    def render(
        self, data: Document | Difference, options: Options, *, locale: str | None = None
    ) -> str:
        """A template gets what there is to show; the page that it will stand on is known by now."""
        here = page(self.md)
        if isinstance(data, Difference):
            template = self.env.get_template("diff.html.jinja")
            return template.render(changed(data, self.index, here))
        if not here.path:
            # Without a builder the page is the one that shows the module.
            here = Page(self.index.pages.get(data.name, ""))
        convert, contents = self.do_convert_markdown, self.do_heading
        block = Excerpt(data, options, self.index, self.take, here, convert, contents, self.ids)
        try:
            if options.figure:
                folder = self.index.folder(data.source.place, here)
                return figure(data, options.figure, folder, options.thumbnail)
            shown = block.page() if options.whole else {"document": data}
            picture = convert(options.picture, 0) if options.picture else ""
            excerpt = block.excerpt(options.excerpt) if options.excerpt else {}
            name = "document" if options.whole else "excerpt"
            template = self.env.get_template(f"{name}.html.jinja")
            more = {"picture": picture, "excerpt": excerpt, "whole": options.whole}
            return template.render(shown | more)
        except SourceError as error:
            raise PluginError(str(error)) from error


def get_handler(
    *, handler_config: MutableMapping[str, Any], tool_config: Any, **kwargs: Any
) -> AnnotatedHandler:
    """
    ## What a site configures

    `paths`: where modules are found; `demos`: the folder of what their demos printed; `downloads`, `repo_url`, `ref`: see [what to take along][mkdocstrings_handlers.annotated.render.take].
    """
    root = Path(tool_config.config_file_path or ".").resolve().parent
    docs = Path(getattr(tool_config, "docs_dir", "") or root / "docs")
    names = ("downloads", "repo_url", "ref")
    take = Take(root, **{n: str(handler_config[n]) for n in names if handler_config.get(n)})
    index = Index(root, docs, [root / path for path in handler_config.get("paths", ["."])])
    records = handler_config.get("demos")
    return AnnotatedHandler(index, take, root / records if records else None, **kwargs)
