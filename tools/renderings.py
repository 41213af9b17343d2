"""
Write what programs read, and what stands at old addresses: `python -m tools.renderings site`.

Each page is there as Markdown beside its HTML, `x.html.md`, as https://llmstxt.org proposes, and `llms.txt` lists them in
reading order. The texts come from where the pages come from, the sections of a module or a notebook, and not from the
HTML. Which address was a page's before, its front matter says.
"""

import os
import posixpath
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import yaml

from mkdocstrings_handlers.annotated.prose.cite import read_works
from mkdocstrings_handlers.annotated.render.markdown import Writer, address
from mkdocstrings_handlers.annotated.understand.index import Index
from tools.run import ROOT

FRONT = re.compile(r"\A---\n(.*?)\n---\n+", re.DOTALL)
MOVED = Template((ROOT / "overrides" / "moved.html").read_text("utf-8"))


@dataclass(frozen=True)
class Page:
    """`path` is relative to `docs/`; `group` is the part of the navigation that it stands in."""

    path: str
    title: str
    group: str
    meta: dict[str, Any] = field(hash=False)
    text: str = field(repr=False)

    @property
    def html(self) -> str:
        return f"{self.path.removesuffix('.md')}.html"


class Renderings:
    """All pages of the navigation."""

    def __init__(self, root: Path = ROOT, site_url: str = "") -> None:
        docs, self.site_url = root / "docs", site_url and f"{site_url.rstrip('/')}/"
        # `!ENV` and other tags say nothing about pages.
        loader = type("Loader", (yaml.SafeLoader,), {})
        loader.add_multi_constructor("", lambda *_: None)  # type: ignore[attr-defined]
        self.config = yaml.load((root / "mkdocs.yml").read_text("utf-8"), loader)
        index = Index(root, docs, [root, root / "engine"])
        works = read_works(docs / "references.bib")
        self.writer = Writer(index, works, root / "build" / "demos")
        self.pages = [self._page(*entry) for entry in entries(self.config["nav"])]

    def _page(self, title: str, path: str, group: str) -> Page:
        text = (self.writer.index.docs / path).read_text("utf-8")
        front = FRONT.match(text)
        meta = yaml.safe_load(front[1]) if front else {}
        return Page(path, title, group, meta, text[front.end() :] if front else text)

    def markdown(self, page: Page) -> str:
        return self.writer.page(page.path, page.text)

    def llms(self) -> str:
        lines = [
            f"# {self.config['site_name']}\n",
            f"> {self.config['site_description']}\n",
            "Each link leads to a page as Markdown: prose, code and its output in reading order, formulas as TeX.",
        ]
        groups = dict.fromkeys(page.group for page in self.pages)
        for group in sorted(groups, key=lambda group: group == "Optional"):
            lines.append(f"\n## {group}\n")
            for page in (page for page in self.pages if page.group == group):
                about = page.meta.get("description")
                link = f"[{page.title}]({self.site_url}{address(page.path)})"
                lines.append(f"- {link}" + (f": {about}" if about else ""))
        return "\n".join(lines) + "\n"

    def moved(self) -> Iterator[tuple[str, str]]:
        """
        The old addresses with what stands there. A page says in its front matter where it was, `formerly: {old.html: anchor}`;
        the anchor is the place in it that the old page is now, or empty.
        """
        for page in self.pages:
            for old, anchor in page.meta.get("formerly", {}).items():
                address = posixpath.relpath(page.html, posixpath.dirname(old) or ".")
                address += f"#{anchor}" if anchor else ""
                yield old, MOVED.substitute(address=escape(address), title=escape(page.title))

    def files(self) -> Iterator[tuple[str, str]]:
        for page in self.pages:
            yield address(page.path), self.markdown(page)
        yield from self.moved()
        yield "llms.txt", self.llms()
        sitemap = f"Sitemap: {self.site_url}sitemap.xml\n" if self.site_url else ""
        yield "robots.txt", f"User-agent: *\nAllow: /\n{sitemap}"


def entries(nav: list[Any], group: str = "Pages") -> Iterator[tuple[str, str, str]]:
    """Title, path and group. `Optional` is the word of llms.txt for what may be left out: here, how the site is made."""
    for title, value in (item for entry in nav for item in entry.items()):
        if isinstance(value, list):
            paths = [str(path) for entry in value for path in entry.values()]
            made = all(path.startswith("how") for path in paths)
            yield from entries(value, "Optional" if made else title)
        else:
            yield title, value, group


def main(site: Path, site_url: str) -> None:
    for name, text in Renderings(site_url=site_url).files():
        target = site / name
        if target.suffix == ".html" and target.is_file() and target.read_text() != text:
            raise SystemExit(
                f"`formerly: {name}` in a page of docs is the address of a page that there is."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), os.environ.get("SITE_URL", ""))
