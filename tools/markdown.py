"""Write what programs read: each page as Markdown beside its HTML, and `llms.txt`, which lists them in reading order.

`python -m tools.markdown site` adds to a built site. The texts come from where the pages come from, the sections of a
module or a notebook, and not from the HTML. A page at `x.html` is at `x.html.md`, as https://llmstxt.org proposes.
"""

import difflib
import os
import posixpath
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import griffe
import yaml
from mkdocstrings_handlers.annotated.prose.cite import CITATION, EVERYTHING
from mkdocstrings_handlers.annotated.prose.links import REFERENCE
from mkdocstrings_handlers.annotated.prose.cite import read_works
from mkdocstrings_handlers.annotated.document import Document, Section, Source
from mkdocstrings_handlers.annotated.read.module import read_module
from mkdocstrings_handlers.annotated.read.notebook import read_notebook
from mkdocstrings_handlers.annotated.render import diff
from mkdocstrings_handlers.annotated.understand.index import Index
from mkdocstrings_handlers.annotated.understand.run import recorded
from mkdocstrings_handlers.annotated.understand.torch_docs import torch_url

ROOT = Path(__file__).resolve().parent.parent
FRONT = re.compile(r"\A---\n(.*?)\n---\n+", re.DOTALL)
# `::: name` and its options, which are indented
DIRECTIVE = re.compile(
    r"^::: *(\S+) *\n((?:[ \t]+\S.*(?:\n|\Z)|\n(?=[ \t]+\S))*)", re.MULTILINE
)
# Code is left as it is, unless it is what a link says.
FENCE = re.compile(r"(^ *```.*?^ *```[^\n]*$|(?<!\[)`[^`\n]+`(?!\]))", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"\\code\s*\{[^{}]*\}\s*\{")
LINK = re.compile(r"(?<=\]\()([^()\s]+)(?=\))")
CROSS = re.compile(r"\[([^\[\]]+)\]\[([\w.]*)\]")
# What only a renderer needs: included drawings, classes, anchors, and the tags that hold two blocks beside each other.
LAYOUT = re.compile(
    r"^--8<-- .*\n?|^\{ ?[.#:][^{}\n]*\}\n?|^</?div[^>\n]*>\n?| *\{ ?[.#][^{}\n]*\}(?=\s*$)|(?<=\))\{ download \}",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Page:
    """`path` is relative to `docs/`; `group` is the part of the navigation that it stands in."""

    path: str
    title: str
    group: str
    meta: dict[str, Any] = field(hash=False)
    text: str = field(repr=False)

    @property
    def address(self) -> str:
        return f"{self.path.removesuffix('.md')}.html.md"


def untied(tex: str) -> str:
    r"""`\code{mean}{\mu}` is `\mu`: which variable holds a symbol is a matter of the rendered page."""
    while m := CODE.search(tex):
        depth, at = 1, m.end()
        while depth and at < len(tex):
            depth += {"{": 1, "}": -1}.get(tex[at], 0) * (tex[at - 1] != "\\")
            at += 1
        tex = tex[: m.start()] + tex[m.end() : at - 1] + tex[at:]
    return tex


def shown(text: str) -> list[str]:
    """The modules and notebooks that a page shows, annotated."""
    return [
        m[1]
        for m in DIRECTIVE.finditer(text)
        if "handler: annotated" in m[2] and "diff_from" not in m[2]
    ]


class Renderings:
    """All pages of the navigation, and where each name is explained."""

    def __init__(self, root: Path = ROOT, site_url: str = "") -> None:
        self.root, self.docs, self.site_url = root, root / "docs", site_url
        # `!ENV` and other tags say nothing about pages.
        loader = type("Loader", (yaml.SafeLoader,), {})
        loader.add_multi_constructor("", lambda *_: None)  # type: ignore[attr-defined]
        self.config = yaml.load((root / "mkdocs.yml").read_text(), loader)
        self.works = read_works(self.docs / "references.bib")
        self.pages = [self._page(*entry) for entry in _entries(self.config["nav"])]

    def _page(self, title: str, path: str, group: str) -> Page:
        text = (self.docs / path).read_text()
        front = FRONT.match(text)
        meta = yaml.safe_load(front[1]) if front else {}
        return Page(path, title, group, meta, text[front.end() :] if front else text)

    @cached_property
    def homes(self) -> dict[str, Page]:
        """Which page a module, class or function is explained on."""
        found: dict[str, Page] = {}
        for page in self.pages:
            for module in shown(page.text):
                if not module.endswith(".ipynb"):
                    found[module] = page
                    for section in read_module(Source(self._source(module))):
                        found[f"{module}.{section.name}".rstrip(".")] = page
        return found

    def _source(self, module: str) -> str:
        path = Index(self.root, self.docs, [self.root, self.root / "engine"]).file(module)
        if path is None:
            raise FileNotFoundError(f"{module}: there is no such module in {self.root}")
        return path.read_text()

    # ## One page

    def markdown(self, page: Page) -> str:
        parts, at = [], 0
        for m in DIRECTIVE.finditer(page.text):
            parts += [page.text[at : m.start()], self._directive(m[1], m[2], page)]
            at = m.end()
        text = "\n\n".join(
            part.strip("\n") for part in [*parts, page.text[at:]] if part.strip()
        )
        if EVERYTHING in text:
            text = text.replace(
                EVERYTHING, "\n".join(w.markdown() for w in self.works.values())
            )
        pieces = FENCE.split(text)
        pieces[::2] = [LAYOUT.sub("", self._linked(piece, page)) for piece in pieces[::2]]
        return re.sub(r"\n{3,}", "\n\n", "".join(pieces)).strip() + "\n"

    def _directive(self, name: str, options: str, page: Page) -> str:
        if name.endswith(".ipynb"):
            return "\n\n".join(_section(s) for s in read_notebook(self.root / name).sections)
        if old := re.search(r"diff_from: *(\S+)", options):
            return self._difference(old[1], name)
        if "handler: annotated" in options:
            source = self._source(name)
            sections = read_module(Source(source))
            folder = self.root / "build" / "demos"
            if (folder / f"{name}.json").is_file():
                document = Document(name, Source(source), sections)
                sections = [*recorded(document, folder).sections]
            level = re.search(r"heading_level: *(\d)", options)
            deeper = "#" * (int(level[1]) - 1 if level else 0)
            return "\n\n".join(_section(section, deeper) for section in sections)
        return self._signature(name, page)

    def _difference(self, old: str, new: str) -> str:
        places = Index(self.root, self.docs, [self.root, self.root / "engine"])
        a, b = ([line.text for line in diff.find(name, places).lines] for name in (old, new))
        lines = difflib.unified_diff(a, b, old, new, lineterm="")
        return "\n".join(["```diff", *lines, "```"])

    def _signature(self, name: str, page: Page) -> str:
        """What the reference says of a name: how it is called, and where the reasons are."""
        found = self._package[name.partition(".")[2]]
        target = found.final_target if isinstance(found, griffe.Alias) else found
        if not isinstance(target, griffe.Class | griffe.Function):
            return f"`{name}`: [on the page]({posixpath.basename(page.address).removesuffix('.md')})."
        called = target.signature() or f"{target.name}(…)"
        home = f"\n\n[Explained][{name}]" if name in self.homes else ""
        return f"### {target.name}\n\n```python\n{called}\n```{home}"

    @cached_property
    def _package(self) -> griffe.Module:
        found = griffe.load("labml_ws", search_paths=[self.root], allow_inspection=False)
        assert isinstance(found, griffe.Module)
        return found

    def _linked(self, text: str, page: Page) -> str:
        """References become links from this page to the Markdown of others."""

        def to(path: str) -> str:
            return posixpath.relpath(path, posixpath.dirname(page.path) or ".")

        def cited(m: re.Match[str]) -> str:
            return f"[{m[1] or self.works[m[2]].label}]({to('bibliography.html.md')})"

        def torch(m: re.Match[str]) -> str:
            name = m[3] or m[2]
            return (
                f"[{m[1]}{m[2]}{m[1]}]({torch_url(name)})"
                if name.startswith("torch.")
                else m[0]
            )

        def crossed(m: re.Match[str]) -> str:
            home = self.homes.get(m[2] or m[1].strip("`"))
            return f"[{m[1]}]({to(home.address)})" if home else m[0]

        def followed(m: re.Match[str]) -> str:
            if "://" in m[1] or ".html.md" in m[1]:
                return m[1]
            return re.sub(r"\.md(?=#|$)", ".html.md", m[1])

        text = re.sub(CITATION, cited, untied(text))
        text = CROSS.sub(crossed, re.sub(REFERENCE, torch, text))
        return LINK.sub(followed, text)

    # ## All of them

    def llms(self) -> str:
        base = self.site_url.rstrip("/") + "/" if self.site_url else ""
        lines = [
            f"# {self.config['site_name']}",
            "",
            f"> {self.config['site_description']}",
            "",
        ]
        lines += [
            "Each link leads to a page as Markdown: prose, code and its output in reading order, formulas as TeX.",
        ]
        groups = {page.group: 0 for page in self.pages}
        for group in sorted(groups, key=lambda group: group == "Optional"):
            lines += ["", f"## {group}", ""]
            for page in (page for page in self.pages if page.group == group):
                about = page.meta.get("description")
                link = f"[{page.title}]({base}{page.address})"
                lines.append(f"- {link}" + (f": {about}" if about else ""))
        return "\n".join(lines) + "\n"

    def write(self, site: Path) -> int:
        for page in self.pages:
            target = site / page.address
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(self.markdown(page), encoding="utf-8")
        (site / "llms.txt").write_text(self.llms(), encoding="utf-8")
        sitemap = f"Sitemap: {self.site_url.rstrip('/')}/sitemap.xml\n" if self.site_url else ""
        (site / "robots.txt").write_text(
            f"User-agent: *\nAllow: /\n{sitemap}", encoding="utf-8"
        )
        return len(self.pages)


def _entries(nav: list[Any], group: str = "Pages") -> Iterator[tuple[str, str, str]]:
    """`Optional` is the word of llms.txt for what may be left out when room is short: here, how the site is made."""
    for entry in nav:
        for title, value in entry.items():
            if isinstance(value, list):
                made = all(
                    str(path).startswith("how") for item in value for path in item.values()
                )
                yield from _entries(value, "Optional" if made else title)
            else:
                yield title, value, group


def _section(section: Section, deeper: str = "") -> str:
    """Prose, code, and what the code showed, in this order; headings are `deeper` by as many levels as it has signs."""
    parts = [re.sub(r"^(?=#+ )", deeper, section.prose, flags=re.M)] if section.prose else []
    if section.code:
        parts.append(f"```python\n{section.code.strip(chr(10))}\n```")
    for output in section.outputs:
        if output.mime.startswith("image/"):
            parts.append(f"*Figure: {output.alt}*")
        elif shown := output.data if output.mime == "text/plain" else output.alt:
            parts.append(f"```text\n{shown.strip(chr(10))}\n```")
    return "\n\n".join(parts)


def main(site: str) -> None:
    Renderings(site_url=os.environ.get("SITE_URL", "")).write(Path(site))


if __name__ == "__main__":
    main(*sys.argv[1:])
