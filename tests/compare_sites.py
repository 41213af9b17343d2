"""Compare two built sites, page by page: `python tests/compare_sites.py BEFORE AFTER [--lines 20] [--rename OLD=NEW ...]`.

What counts is what a reader meets: the words, the places that a link can lead to, the links themselves, the lines of
code and what stands at their ends. Names that moved on purpose are given as `--rename` (a regular expression and what
replaces it, applied to the first site), so that only what was not meant is left. Ends with 1 if anything differs.
"""

import argparse
import difflib
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

SILENT = {"script", "style", "template", "annotation"}
VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
KINDS = ("words", "ids", "links", "code", "shapes")


@dataclass
class Line:
    depth: int
    text: str = ""


@dataclass
class Page(HTMLParser):
    """What a page has of each kind, in order."""

    words: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.silent = 0
        self.lines: list[Line] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag not in VOID:
            self.open.append(tag)
            self.silent += tag in SILENT
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if "l" in given.get("class", "").split():
            self.lines.append(Line(len(self.open)))
        if "data-s" in given:
            self.shapes.append(given["data-s"])

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.open:
            return
        while self.open:
            if self.lines and self.lines[-1].depth == len(self.open):
                self.code.append(self.lines.pop().text.rstrip("\n"))
            last = self.open.pop()
            self.silent -= last in SILENT
            if last == tag:
                return

    def handle_data(self, data: str) -> None:
        if self.silent:
            return
        for line in self.lines:
            line.text += data
        if not self.lines:
            self.words += data.split()


def read(path: Path, renames: list[tuple[str, str]]) -> Page:
    text = path.read_text(encoding="utf-8")
    for old, new in renames:
        text = re.sub(old, new, text)
    page = Page()
    page.feed(text)
    # In what order a page's anchors and links stand is said by its words.
    page.ids, page.links = sorted(page.ids), sorted(page.links)
    return page


def compare(before: Page, after: Page, kind: str, context: int = 0) -> list[str]:
    """What only one of the two has of a kind: a line with `-` or `+` for each."""
    a, b = getattr(before, kind), getattr(after, kind)
    if kind in ("ids", "links"):
        lost, new = Counter(a) - Counter(b), Counter(b) - Counter(a)
        return [f"- {x}" for x in lost.elements()] + [f"+ {x}" for x in new.elements()]
    found = []
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    join = " " if kind == "words" else "\n  "
    for change, i, j, k, m in matcher.get_opcodes():
        if change != "equal":
            found += [f"- {join.join(a[i:j])}"] * (i < j) + [f"+ {join.join(b[k:m])}"] * (k < m)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare two built sites, page by page.")
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--lines", type=int, default=20, help="differences shown of each kind")
    parser.add_argument("--rename", action="append", default=[], metavar="OLD=NEW")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--pages", default="", help="only pages whose path holds this")
    options = parser.parse_args()
    renames = [tuple(rename.split("=", 1)) for rename in options.rename]
    sites = [
        {path.relative_to(root).as_posix() for path in root.rglob("*.html")}
        for root in (options.before, options.after)
    ]
    for site, only in (
        (options.before, sites[0] - sites[1]),
        (options.after, sites[1] - sites[0]),
    ):
        for name in sorted(only):
            print(f"only in {site}: {name}")
    differ = sites[0] != sites[1]
    for name in sorted(sites[0] & sites[1]):
        if options.pages not in name:
            continue
        before, after = read(options.before / name, renames), read(options.after / name, [])
        for kind in options.kinds:
            if changes := compare(before, after, kind):
                differ = True
                print(f"\n{name}: {kind}, {len(changes)} differences")
                print("\n".join(f"  {change[:400]}" for change in changes[: options.lines]))
    return int(differ)


if __name__ == "__main__":
    sys.exit(main())
