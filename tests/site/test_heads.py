"""What a page says of itself to a search engine, to a browser's tab, to whoever shares it, and to programs."""

import os
import re
import shutil
import struct
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import pytest


class Head(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.lang, self.title, self.text = "", "", ""
        self.meta: dict[str, str] = {}
        self.links: list[dict[str, str]] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.text = tag
        if tag == "html":
            self.lang = given.get("lang", "")
        elif tag == "meta" and (name := given.get("name") or given.get("property")):
            self.meta[name] = given["content"]
        elif tag == "link":
            self.links.append(given)

    def handle_data(self, data: str) -> None:
        if self.text == "title" and not self.title:
            self.title = data

    def linked(self, rel: str) -> list[str]:
        return [link["href"] for link in self.links if link.get("rel") == rel]


@pytest.fixture(scope="module")
def heads(site: Path, page_names: list[str]) -> dict[str, Head]:
    return {page: Head(site / page) for page in page_names}


def test_every_page_has_a_title_and_a_description_of_its_own(heads: dict[str, Head]) -> None:
    for what in (
        {page: head.title for page, head in heads.items()},
        {page: head.meta.get("description", "") for page, head in heads.items()},
    ):
        assert [page for page, said in what.items() if not said] == []
        assert [said for said, n in Counter(what.values()).items() if n > 1] == []
    assert {
        page: len(h.meta["description"])
        for page, h in heads.items()
        if len(h.meta["description"]) > 160
    } == {}
    assert {head.lang for head in heads.values()} == {"en"}


def test_every_page_is_at_hand_as_markdown(heads: dict[str, Head], site: Path) -> None:
    for page, head in heads.items():
        (address,) = [
            link["href"] for link in head.links if link.get("type") == "text/markdown"
        ]
        assert urljoin(f"/{page}", address) == f"/{page}.md"
        assert (site / f"{page}.md").read_text().strip()


def test_the_icon_is_ours_and_has_a_bitmap_for_those_who_draw_no_svg(
    heads: dict[str, Head], site: Path, root: Path
) -> None:
    drawing = (site / "assets" / "pictures" / "icon.svg").read_text().strip()
    for page, head in heads.items():
        for rel in ("icon", "alternate icon", "apple-touch-icon"):
            (address,) = head.linked(rel)
            assert (site / urljoin(f"/{page}", address).lstrip("/")).is_file(), page
    sign = re.search(
        r' d="[^"]+"', (root / "overrides" / ".icons" / "labml" / "w-hat.svg").read_text()
    )
    assert sign
    assert sign[0] in drawing
    assert sign[0] in (site / "index.html").read_text()  # in the header


def test_the_card_has_the_size_that_is_expected_of_it(site: Path) -> None:
    data = (site / "assets" / "pictures" / "card.png").read_bytes()
    assert struct.unpack(">II", data[16:24]) == (1200, 630)
    assert len(data) < 300_000


def test_without_an_address_no_page_claims_one(heads: dict[str, Head]) -> None:
    if os.environ.get("SITE_URL"):
        pytest.skip("this site has an address")
    for head in heads.values():
        assert head.meta["og:title"]
        assert "og:image" not in head.meta
        assert "og:url" not in head.meta
        assert head.linked("canonical") == []


@pytest.mark.slow
@pytest.mark.parametrize("builder", ["mkdocs", "zensical"])
def test_with_an_address_a_page_has_a_card_and_an_absolute_404(
    root: Path, site: Path, tmp_path: Path, builder: str
) -> None:
    """Both builders write where the configuration says, so each gets a configuration that writes elsewhere."""
    config = root / f".address-{builder}-{os.getpid()}.yml"
    config.write_text(f"site_dir: build/{config.stem}\n" + (root / "mkdocs.yml").read_text())
    target = root / "build" / config.stem
    env = {
        **os.environ,
        "SITE_URL": "https://example.org/ws/",
        "REPO_URL": "https://example.org/a/b",
        "RELEASED": "9.8.7, 2031-05-04",
        "NO_MKDOCS_2_WARNING": "1",
    }
    strict = ["--strict"] if builder == "mkdocs" else ["--strict", "--clean"]
    try:
        done = subprocess.run(
            [sys.executable, "-m", builder, "build", "-f", config.name, *strict],
            cwd=root,
            env=env,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        head = Head(target / "annotated" / "layers.html")
        page = (target / "annotated" / "layers.html").read_text()
        lost = (target / "404.html").read_text()
        sitemap = (target / "sitemap.xml").read_text()
    finally:
        config.unlink()
        shutil.rmtree(target, ignore_errors=True)
    assert head.linked("canonical") == ["https://example.org/ws/annotated/layers.html"]
    assert head.meta["og:image"] == "https://example.org/ws/assets/pictures/card.png"
    assert head.meta["og:url"] == "https://example.org/ws/annotated/layers.html"
    assert "<loc>https://example.org/ws/annotated/layers.html</loc>" in sitemap
    # The theme would ask the repository's host for the number of its stars.
    assert '<a class="md-source" href="https://example.org/a/b"' in page
    assert 'data-md-component="source"' not in page
    # The last line of every page.
    assert "labml_ws 9.8.7, 2031-05-04" in page
    assert '<a href="https://example.org/a/b">Repository</a>' in page
    assert (
        'href="https://example.org/a/b/issues/new?title=Mistake%3A%20annotated/layers.html"'
        in page
    )
    assert 'href="../how.html">How these pages are made</a>' in page
    assert '<span class="of">2 of 8</span>' in page
    # It is shown at any depth, so nothing on it may be relative.
    addresses = re.findall(r'(?:href|src)="([^"]+)"', lost)
    assert [
        a
        for a in addresses
        if not a.startswith(("/ws/", "https://example.org/ws/", "#", "https://"))
    ] == []
    assert 'href="/ws/glossary.html"' in lost
