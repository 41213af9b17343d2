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

import re
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from markdown import Markdown
from markupsafe import Markup
from mkdocs.exceptions import PluginError
from mkdocstrings import BaseHandler, CollectionError

from .document import Document, Output, Section, SourceError
from .prose.links import LinksExtension, code_links
from .prose.math import MathExtension, Origin
from .render.diff import Difference, current_page, find, shown
from .render.figures import inline_png, inline_svg
from .render.highlight import highlight
from .render.take import Take, page_url
from .understand.index import Index, Page
from .understand.run import recorded, shapes
from .understand.symbols import Symbols, Tie

HEADING = re.compile(r"(#{1,6})[ \t]+(.*?)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Options:
    """
    `heading_level` is where a module's own `# Title` goes: 1, unless the page already has a title. `bundle` names a file in the folder of
    downloads that holds this module and others. With `diff_from` the page shows [what changed](diff.md) from the object of that name to the one
    that it asks for.
    """

    heading_level: int = 1
    outline: bool = True
    bundle: str = ""
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
        super().__init__(**kwargs)
        self.root, self.recorded = root, recorded
        self.take = take or Take(root)
        self.index = Index(root, docs, paths)
        self.page: Page | None = None

    # Called when a page has its first block for this handler, and the one place where the page's own converter can be seen.
    def _update_env(self, md: Markdown, **kwargs: Any) -> None:
        super()._update_env(md, **kwargs)
        self.page = current_page(md)

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
        The module is found on disk and read, not imported. A page doesn't need PyTorch to start, and a module with a mistake in it can still be shown. What its demo
        prints and binds was recorded before, in the folder that the configuration names.
        """
        try:
            if options.diff_from:
                return Difference(
                    *(find(name, self.index) for name in (options.diff_from, identifier))
                )
            document = self.index.document(identifier)
            return recorded(document, self.root / self.recorded) if self.recorded else document
        except SourceError as error:
            raise CollectionError(str(error)) from error

    def render(
        self, data: Document | Difference, options: Options, *, locale: str | None = None
    ) -> str:
        """
        ### Render

        A template gets the rows of the page: for each section its prose, set, and its code, highlighted. What a page shows beside them, the contents, the list of symbols and what
        there is to take along, is gathered while they are made.
        """
        if isinstance(data, Difference):
            template = self.env.get_template("diff.html.jinja")
            return template.render(shown(data, self.index, self.page or Page("")))
        try:
            return self._document(data, options)
        except SourceError as error:
            raise PluginError(str(error)) from error

    def _document(self, data: Document, options: Options) -> str:
        self.ties: list[Tie] = []
        self.scopes = self.index.scopes(data)
        self.symbols = Symbols(data, self.scopes) if data.numbered else None
        self.highlighted = self._highlighted(data)
        rows = [self._row(section, data, options) for section in data.sections]
        outline = [row for row in rows if row["listed"]] if options.outline else []
        return self.env.get_template("document.html.jinja").render(
            document=data,
            shapes=shapes(data),
            rows=rows,
            outline=outline,
            legend=self._legend(),
            take=self.take.along(
                data.name, data.source.place, page_url(self.md), options.bundle
            ),
        )

    def _highlighted(self, document: Document) -> list[str]:
        """The lines of the code as HTML, each name in them linked to where it is explained."""
        own = {n: s.anchor for s in document.sections for n in s.code_lines}
        folded = {n for s in document.sections for n in s.code_lines[: s.folded]}
        here = self._here(document)
        links = code_links(
            self.scopes.references(),
            lambda reference: self.index.stretch(reference, here),
            own,
            folded,
        )
        return highlight(document.source.text, links)

    def _here(self, document: Document) -> Page:
        pages = self.index.pages
        return self.page or Page(
            pages.get(document.name) or pages.get(document.source.place) or ""
        )

    def _legend(self) -> list[dict[str, Any]]:
        def inline(text: str) -> Markup:
            html = self.do_convert_markdown(text, 0).strip()
            return Markup(html.removeprefix("<p>").removesuffix("</p>"))

        entries = self.symbols.legend(self.ties) if self.symbols else []
        return [
            {
                "entry": entry,
                "symbol": inline(f"$\\code{{{entry.tie.name}}}{{{entry.tie.symbol}}}$"),
                "meaning": inline(entry.meaning),
            }
            for entry in entries
        ]

    def _row(self, section: Section, document: Document, options: Options) -> dict[str, Any]:
        """
        A section as the template wants it.

        A heading that opens the prose carries the section's anchor, so that there is one name for the thing, in the address bar as in the table of contents.
        A class or function whose docstring has no heading is entered in the table of contents under its own name, and nothing is added to the page.
        """
        anchor = section.anchor
        heading = HEADING.match(section.prose)
        role = section.kind if section.kind in {"module", "class", "function"} else ""
        text = section.prose
        label = ""
        # A name that begins with an underscore is nobody's entry point; it gets an anchor, but no line in the table of contents.
        private = section.name.rpartition(".")[2].startswith("_")
        if heading:
            attributes = f"#{anchor}" + (f" data-role={role}" if role else "")
            text = f"{heading[0]} {{ {attributes} }}{text[heading.end() :]}"
            label = re.sub(r"[`*]|\$[^$]*\$", "", heading[2]).strip()
        elif role:
            label = section.name.rpartition(".")[2] or document.name
            level = (
                6
                if private
                else min(
                    4,
                    options.heading_level
                    + (section.name.count(".") + 1 if section.name else 0),
                )
            )
            self.do_heading(Markup.escape(label), level, role=role, hidden=True, id=anchor)
        prose, terms = _terms(self._prose(text, section, document, options), section)
        return {
            "anchor": anchor,
            "own_anchor": "" if heading else anchor,
            "kind": section.kind,
            "scope": self.symbols.scope(section) if self.symbols else "",
            "label": label,
            "listed": bool(label and section.kind != "module" and (heading or not private)),
            "titled": bool(heading),
            "depth": section.name.count("."),
            "name": section.name if role else "",
            "first_line": section.first_line,
            "source": self._source(section, document),
            "prose": prose,
            "terms": terms,
            "folded": self._lines(section, document, 0, section.folded),
            "code": self._lines(section, document, section.folded, None),
            "outputs": [
                self._output(o, f"{anchor}-{n}") for n, o in enumerate(section.outputs, 1)
            ],
            "wide": any(o.wide for o in section.outputs),
        }

    def _source(self, section: Section, document: Document) -> str:
        lines = section.code_lines if document.numbered else ()
        return self.take.source(document.source.place, lines[0], lines[-1]) if lines else ""

    def _prose(
        self, text: str, section: Section, document: Document, options: Options
    ) -> Markup:
        if document.numbered:
            self.index.check(document, section)
        known = self.symbols.visible(section) if self.symbols else None
        origin = Origin(
            document.source.place,
            section.prose,
            section.prose_lines,
            section.name or document.name,
            known,
        )
        extension = next(
            (e for e in self.md.registeredExtensions if isinstance(e, MathExtension)), None
        )
        if extension:
            extension.origin = origin
        links = next(
            (e for e in self.md.registeredExtensions if isinstance(e, LinksExtension)), None
        )
        if links:
            links.href = partial(self._spoken, section, document)
        try:
            return self.do_convert_markdown(text, options.heading_level - 1)
        finally:
            if extension:
                extension.origin = None
            if links:
                links.href = None
            scope = self.symbols.scope(section) if self.symbols else ""
            self.ties += [Tie(*tie, section.name, scope) for tie in origin.ties]

    def _spoken(self, section: Section, document: Document, text: str) -> str | None:
        """Where code in the prose leads: not into the section that says it."""
        name = self.scopes.spoken(text, section.name, section.kind)
        url = self.index.href(name, self._here(document)) if name else None
        return url if url != f"#{section.anchor}" else None

    def _lines(
        self, section: Section, document: Document, start: int, stop: int | None
    ) -> list[tuple[int, Markup]]:
        """Numbered lines of highlighted code. A blank line keeps its place and loses its number: there is nothing there to point at."""
        lines = [(n, self.highlighted[n - 1]) for n in section.code_lines[start:stop]]
        if not document.numbered:
            return [(0, Markup(line)) for _, line in lines]
        while lines and not lines[0][1].strip():
            lines.pop(0)
        return [(n if line.strip() else 0, Markup(line)) for n, line in lines]

    def _output(self, output: Output, prefix: str) -> dict[str, Any]:
        if output.mime == "image/svg+xml":
            return {
                "kind": "figure",
                "html": Markup(inline_svg(output.data, output.alt, prefix)),
            }
        if output.mime == "image/png":
            return {"kind": "figure", "html": Markup(inline_png(output.data, output.alt))}
        if output.mime == "text/html":
            return {"kind": "html", "html": Markup(output.data)}
        return {"kind": "text", "html": Markup.escape(output.data.strip("\n"))}


def _terms(prose: Markup, section: Section) -> tuple[Markup, Markup]:
    """
    A long docstring beside a short `def` leaves the column of code empty. There, what comes from its first list on, the arguments and the
    errors, stands below the `def`, where a reader of a signature looks for it; the definition stays on the left.
    """
    lead, found, terms = prose.partition("\n<ul>")
    # A list right below a heading or a colon is what the section says, not what it adds.
    if lead.rstrip().endswith(("</h2>", "</h3>", "</h4>", ":</p>")):
        return prose, Markup()
    lines = section.prose.split("\n* ", 1)[0].count("\n") + 1
    if (
        not found
        or section.kind not in {"class", "function"}
        or len(section.code_lines) > lines + 4
    ):
        return prose, Markup()
    return Markup(lead), Markup(found + terms)


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
