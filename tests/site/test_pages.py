"""Every page of the built site, opened in a real Chromium at three widths, by http and from a folder."""

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser

from tests.site.browser import HEIGHT, WIDTHS

pytestmark = pytest.mark.browser

origins = pytest.mark.parametrize("origin", ["http", "file"])
widths = pytest.mark.parametrize("width", WIDTHS)

TWO_COLUMNS = 1024  # from this width on, prose stands left of the code that it explains


def test_every_module_has_a_page(page_names: list[str], root: Path) -> None:
    paths = [path for path in (root / "labml_ws").rglob("*.py") if path.stem != "__init__"]
    modules = {".".join(path.relative_to(root).with_suffix("").parts) for path in paths}
    pages = {page: page.read_text() for page in (root / "docs" / "annotated").glob("*.md")}
    shown = {
        name: page
        for page, text in pages.items()
        for name in re.findall(r"^::: (\S+)", text, re.MULTILINE)
    }
    assert modules
    assert page_names[0] == "index.html"
    assert modules == set(shown)
    assert {f"annotated/{page.stem}.html" for page in shown.values()} <= set(page_names)


def test_every_tutorial_has_a_page_that_offers_its_notebook(
    site: Path, page_names: list[str], root: Path
) -> None:
    tutorials = {path.stem for path in (root / "docs" / "tutorials").glob("*.py")}
    pages = [(site / name).read_text() for name in page_names]
    assert tutorials
    assert all((site / "tutorials" / f"{tutorial}.ipynb").is_file() for tutorial in tutorials)
    shown = sum(page.count('class="annotated annotated-notebook"') for page in pages)
    assert shown == len(tutorials)


@origins
def test_no_page_logs_an_error(visits: Callable, origin: str) -> None:
    assert [
        (visit.page, visit.heard.errors) for visit in visits(origin) if visit.heard.errors
    ] == []


@origins
def test_no_page_asks_another_host(visits: Callable, origin: str) -> None:
    local = {"http": "127.0.0.1", "file": ""}[origin]
    asked = [(visit.page, url) for visit in visits(origin) for url in visit.heard.requests]
    assert asked
    foreign = [
        (page, url)
        for page, url in asked
        if (parts := urlsplit(url)).scheme not in ("data", "blob")
        and (parts.hostname or "") != local
    ]
    assert foreign == []


@origins
def test_nothing_that_a_page_asks_for_is_missing(visits: Callable, origin: str) -> None:
    assert [
        (visit.page, visit.heard.failed) for visit in visits(origin) if visit.heard.failed
    ] == []
    shown = [(visit.page, facts) for visit in visits(origin) for facts in visit.facts.values()]
    assert [(page, family) for page, facts in shown for family in facts["fonts"]] == []
    assert [
        (page, image["src"])
        for page, facts in shown
        for image in facts["images"]
        if not image["drawn"]
    ] == []


@origins
@widths
def test_no_page_scrolls_sideways(visits: Callable, origin: str, width: int) -> None:
    seen = {visit.page: visit.facts[width]["overflow"] for visit in visits(origin)}
    assert {page: pixels for page, pixels in seen.items() if pixels > 0} == {}


@widths
def test_every_page_has_one_title(visits: Callable, width: int) -> None:
    titles = {visit.page: [*filter(None, visit.facts[width]["h1"])] for visit in visits("http")}
    assert {page: found for page, found in titles.items() if len(found) != 1} == {}


@origins
@widths
def test_every_formula_is_drawn_and_can_be_heard(
    visits: Callable, origin: str, width: int
) -> None:
    formulas = [
        (visit.page, formula)
        for visit in visits(origin)
        for formula in visit.facts[width]["formulas"]
    ]
    assert len(formulas) > 20
    assert [
        (p, f) for p, f in formulas if not (f["width"] > 1 and f["height"] > 1 and f["mathml"])
    ] == []


def test_no_page_shows_unrendered_tex(visits: Callable) -> None:
    signs = ("$$", "\\frac", "\\begin{", "\\mu", "\\sigma", "\\hat", "\\code{")
    words = {visit.page: visit.facts[WIDTHS[0]]["words"] for visit in visits("http")}
    assert [
        (page, sign) for page, text in words.items() for sign in signs if sign in text
    ] == []


def test_no_page_shows_what_stands_in_for_a_piece_of_it(
    site: Path, page_names: list[str]
) -> None:
    """Python-Markdown puts finished pieces away under such a name, to be put back at the end."""
    assert [name for name in page_names if "klzzwxh" in (site / name).read_text()] == []


# Lines whose first character lies under their number.
COVERED = """() => [...document.querySelectorAll('.sec-module > .code > pre .l[id]')].filter(line => {
  const number = line.querySelector('a[aria-label]'), range = document.createRange();
  range.selectNodeContents(number.parentElement);
  range.setStartAfter(number);
  return range.getClientRects()[0].left < number.getBoundingClientRect().right - 1;
}).map(line => line.id)"""


@pytest.mark.parametrize("width", [width for width in WIDTHS if width >= TWO_COLUMNS])
def test_a_constant_beside_the_introduction_is_not_cut(
    browser: Browser, address: str, page_names: list[str], width: int
) -> None:
    tab = browser.new_page(viewport={"width": width, "height": HEIGHT})
    boxes = "[...document.querySelectorAll('.sec-module > .code > pre > code')]"
    count, cut, covered = 0, [], []
    for name in page_names:
        if name.startswith(("annotated/", "how/")):
            tab.goto(f"{address}/{name}", wait_until="load")
            count += tab.evaluate(f"{boxes}.length")
            cut += [name] * tab.evaluate(
                f"{boxes}.filter(e => e.scrollWidth > e.clientWidth + 1).length"
            )
            covered += [(name, line) for line in tab.evaluate(COVERED)]
    tab.close()
    assert count > 10
    assert (cut, covered) == ([], [])


# How far below each wide figure the next section begins, within the figure's own or after it, or the line that ends the page.
BELOW = """() => [...document.querySelectorAll('.annotated .sec > .wide')].map(wide => {
  const next = [...document.querySelectorAll('.annotated .sec, .annotated > .take')]
    .find(e => wide.compareDocumentPosition(e) & Node.DOCUMENT_POSITION_FOLLOWING);
  return [next.className, next.getBoundingClientRect().top - wide.getBoundingClientRect().bottom];
})"""


def test_below_a_wide_figure_nothing_shows_through(
    browser: Browser, address: str, page_names: list[str]
) -> None:
    tab = browser.new_page(viewport={"width": WIDTHS[0], "height": HEIGHT})
    gaps = []
    for name in page_names:
        if name.startswith("tutorials/"):
            tab.goto(f"{address}/{name}", wait_until="load")
            gaps += [(name, *gap) for gap in tab.evaluate(BELOW)]
    tab.close()
    assert {"implementations", "recorded_run"} <= {Path(name).stem for name, _, _ in gaps}
    assert "take" in {following for _, following, _ in gaps}
    assert [gap for gap in gaps if abs(gap[2]) > 1] == []


def test_a_figure_s_pixels_come_when_it_is_scrolled_to(browser: Browser, address: str) -> None:
    tab = browser.new_page(viewport={"width": WIDTHS[0], "height": HEIGHT})
    tab.goto(f"{address}/tutorials/weights.html", wait_until="load")
    pixels = tab.locator("figure foreignObject img")
    assert pixels.count() >= 2
    for number in range(pixels.count()):
        image = pixels.nth(number)
        image.scroll_into_view_if_needed()
        image.evaluate("image => image.decode()")
        assert image.evaluate("image => image.naturalWidth") > 1
        box = image.bounding_box()
        assert box
        assert box["width"] > 10
    tab.close()


@origins
@widths
def test_every_listing_is_visible(visits: Callable, origin: str, width: int) -> None:
    listings = [
        (visit.page, listing)
        for visit in visits(origin)
        for listing in visit.facts[width]["listings"]
    ]
    assert len(listings) > 20
    assert [
        (p, x) for p, x in listings if x["text"] and not (x["width"] > 50 and x["height"] > 10)
    ] == []


@widths
def test_without_javascript_words_code_and_formulas_are_the_same(
    visits: Callable, width: int
) -> None:
    for without, with_it in zip(visits("http", javascript=False), visits("http"), strict=True):
        page, bare, live = with_it.page, without.facts[width], with_it.facts[width]
        assert without.page == page
        assert len(bare["formulas"]) >= len(live["formulas"]), page
        assert len(bare["listings"]) >= len(live["listings"]), page
        assert [
            x for x in bare["formulas"] + bare["listings"] if x["text"] and x["height"] <= 1
        ] == [], page
        assert bare["overflow"] <= 0, page
        assert len(bare["words"]) > 0.95 * len(live["words"]), page


@widths
def test_prose_and_code_stand_side_by_side_or_stacked(visits: Callable, width: int) -> None:
    sections = [
        (visit.page, section["text"], section["tall"], section["prose"], section["code"])
        for visit in visits("http")
        for section in visit.facts[width]["sections"]
        if section["prose"]
        and section["code"]
        and section["prose"]["height"]
        and section["code"]["height"]
    ]
    assert len(sections) > 20
    crooked = []
    for page, text, tall, prose, code in sections:
        # First baselines are aligned: that of a title is lower than that of code, a formula's is in its middle.
        aligned = (
            -1 <= code["top"] - prose["top"] <= max(12, tall)
            and prose["right"] <= code["left"] + 1
        )
        stacked = (
            prose["bottom"] <= code["top"] + 1
            and abs(prose["width"] - code["width"]) <= 0.1 * width
        )
        if not (aligned if width >= TWO_COLUMNS else stacked):
            crooked.append((page, text, prose, code))
    assert crooked == []
