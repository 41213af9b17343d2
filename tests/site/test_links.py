"""Every link of the built site leads somewhere: to a page, to an anchor on it, to a file; and no id is given twice."""

from collections import Counter
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from tests.site.browser import pages

HERE = (
    "http://site.test/"  # an address to resolve relative links against; nothing is asked of it
)


class Document(HTMLParser):
    """The ids of a page, the addresses that it names, and the words of its links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "a":
            self.inside = True
            self.words.append(given.get("aria-label", ""))
            self.ids += [given["name"]] if "name" in given else []
        if given.get("rel") == "canonical":
            return
        self.addresses += [given[name] for name in ("href", "src", "poster") if given.get(name)]
        self.addresses += given.get("data-src", "").split()
        for candidate in given.get("srcset", "").split(","):
            self.addresses += candidate.split()[:1]

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.words[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "a"


@cache
def read(path: Path) -> Document:
    return Document(path.read_text())


def test_every_internal_link_and_anchor_exists(site: Path) -> None:
    broken, checked = [], 0
    for page in pages(site):
        for address in read(site / page).addresses:
            target = urlsplit(urljoin(HERE + page, address))
            if f"{target.scheme}://{target.netloc}/" != HERE:
                continue
            checked += 1
            path = site / unquote(target.path).lstrip("/")
            path = path / "index.html" if path.is_dir() else path
            anchor = unquote(target.fragment)
            known = path.is_file() and (
                not anchor
                or path.suffix != ".html"
                or anchor in {"", "__skip"} | set(read(path).ids)
            )
            if not known:
                broken.append((page, address))
    assert checked > 100
    assert broken == []


def test_every_outside_link_is_https(site: Path) -> None:
    addresses = [
        (page, address) for page in pages(site) for address in read(site / page).addresses
    ]
    assert [(page, a) for page, a in addresses if a.startswith(("http:", "//", "file:"))] == []


# What says nothing about where it leads, to somebody who hears the links of a page alone.
SAY_NOTHING = {"click here", "go", "here", "information", "learn more", "link", "more", "read more", "see", "start", "this", "why"}  # fmt: skip


def test_every_link_says_where_it_leads(site: Path) -> None:
    words = {
        page: {w.strip(" .").lower() for w in read(site / page).words} for page in pages(site)
    }
    assert {
        page: said & SAY_NOTHING for page, said in words.items() if said & SAY_NOTHING
    } == {}
    assert sum(map(len, words.values())) > 1000


def test_no_page_gives_an_id_twice(site: Path) -> None:
    twice = {
        page: [i for i, n in Counter(read(site / page).ids).items() if n > 1]
        for page in pages(site)
    }
    assert {page: ids for page, ids in twice.items() if ids} == {}


def test_no_figure_is_drawn_from_thousands_of_parts(site: Path) -> None:
    """A browser computes the style of each: three thousand dots froze a page for seconds. `rasterized=True` is the cure."""
    counts = {page: (site / page).read_text().count("<use") for page in pages(site)}
    assert {page: count for page, count in counts.items() if count > 1000} == {}
    assert max(counts.values()) > 10
