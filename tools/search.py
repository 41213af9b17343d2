"""Make the search lead to sections: `python -m tools.search site` rewrites the annotated pages' part of the index.

The theme's index ends a section where the element around its heading ends. On an annotated page that is the column of
prose, and all code would be found under the page's title. Here a section is what it is on the page, prose and code,
and its title has the name of what it defines. Greek letters of formulas are added as letter and as word.
"""

import json
import sys
import unicodedata
from dataclasses import dataclass, field
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
HEADINGS = {f"h{n}" for n in range(1, 7)}
KEPT = {"p", "pre", "code", "li", "ul", "ol"}
LEFT_OUT = {"headerlink", "katex-html", "permalink"}  # by class; drawings and buttons by tag
GREEK = "GREEK SMALL LETTER "


@dataclass
class Entry:
    anchor: str
    title: str = ""
    name: str = ""
    text: list[str] = field(default_factory=list)
    letters: set[str] = field(default_factory=set)

    def document(self, page: str) -> dict[str, Any]:
        title = " ".join(self.title.split())
        if self.name and self.name not in title:
            title = f"{title} ({self.name})"
        spelled = [
            f"{letter} {unicodedata.name(letter).removeprefix(GREEK).lower()}"
            for letter in sorted(self.letters)
        ]
        text = "".join(self.text) + (f"<p>{', '.join(spelled)}</p>" if spelled else "")
        return {"location": f"{page}#{self.anchor}", "title": title, "text": text}


class Sections(HTMLParser):
    """The sections of an annotated page. One without a heading or a name of its own continues the one before."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.entries: list[Entry] = []
        self.page = 0  # how deep the annotated part stands, once it is open
        self.muted = self.headed = self.formula = (
            0  # the same for what is left out, a heading, a formula
        )
        self.named = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in VOID:
            return
        self.open.append(tag)
        depth, given = len(self.open), {name: value or "" for name, value in attrs}
        classes = given.get("class", "").split()
        if "annotated" in classes:
            self.page = depth
        if not self.page:
            return
        if tag == "section" and "sec" in classes:
            self.named = bool({"sec-function", "sec-class"} & set(classes))
            if given.get("id") and (self.named or not self.entries):
                self._enter(given["id"])
        elif tag in HEADINGS and given.get("id") and not self.muted:
            self._enter(given["id"])
            self.headed = depth
        if not self.formula and tag == "math":
            self.formula = depth
        excluded = LEFT_OUT & set(classes)
        if (excluded or tag in {"svg", "nav", "button", "annotation"}) and not self.muted:
            self.muted = depth
        if tag in KEPT and self._listening():
            self.entries[-1].text.append(f"<{tag}>")

    def _enter(self, anchor: str) -> None:
        self.entries.append(Entry(anchor, name=anchor.rpartition(".")[2] if self.named else ""))
        self.named = False

    def _listening(self) -> bool:
        return bool(self.page and self.entries and not self.muted and not self.headed)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID or tag not in self.open:
            return
        while self.open:
            depth, last = len(self.open), self.open[-1]
            if last in KEPT and self._listening():
                self.entries[-1].text.append(f"</{last}>")
            self.muted = 0 if depth == self.muted else self.muted
            self.headed = 0 if depth == self.headed else self.headed
            self.formula = 0 if depth == self.formula else self.formula
            self.page = 0 if depth == self.page else self.page
            self.open.pop()
            if last == tag:
                break

    def handle_data(self, data: str) -> None:
        if not self.page or not self.entries:
            return
        if self.formula:
            self.entries[-1].letters |= {
                c for c in data if unicodedata.name(c, "").startswith(GREEK) and c.isalpha()
            }
        elif self.headed and not self.muted:
            self.entries[-1].title += escape(data, quote=False)
        elif self._listening():
            self.entries[-1].text.append(
                escape(data if "pre" in self.open else " ".join(data.split("\n")), quote=False)
            )


def documents(html: str, page: str, title: str) -> list[dict[str, Any]]:
    """The entries of an annotated page: one for the page itself, which holds no text, and one for each section."""
    found = [{"location": page, "title": title, "text": ""}]
    for entry in Sections(html).entries:
        entry.title = entry.title or entry.name
        found.append(entry.document(page))
    return found


def find(site: Path) -> tuple[Path, str]:
    """MkDocs' index and what it calls its entries, or Zensical's, where an entry also says where in the navigation it is."""
    index = site / "search" / "search_index.json"
    return (index, "docs") if index.is_file() else (site / "search.json", "items")


def rewrite(site: Path) -> None:
    index, kind = find(site)
    content = json.loads(index.read_text(encoding="utf-8"))
    made: dict[str, list[dict[str, Any]]] = {}
    docs = []
    for doc in content[kind]:
        page, _, anchor = doc["location"].partition("#")
        if page not in made:
            html = (site / page).read_text(encoding="utf-8")
            annotated = 'class="annotated annotated-' in html
            made[page] = documents(html, page, doc["title"]) if annotated else []
        ours = {entry["location"]: entry for entry in made[page]}
        if not ours:
            docs.append(doc)
        elif not anchor:
            docs += [{**doc, **entry} for entry in made[page]]
        # What the page says outside of its annotated part has headings of its own.
        elif doc["location"] not in ours:
            docs.append(doc)
    content[kind] = docs
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    index.write_text(text, encoding="utf-8")
    script = index.with_suffix(".js")  # what is read where there is no server
    if script.is_file():
        script.write_text(f"var __index = {text}", encoding="utf-8")


if __name__ == "__main__":
    rewrite(Path(sys.argv[1]))
