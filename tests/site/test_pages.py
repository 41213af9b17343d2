"""Every page of the built site, opened in a real Chromium at three widths, by http and from a folder."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tools.browser import WIDTHS

pytestmark = pytest.mark.browser

WAYS = [*[(width, "http") for width in WIDTHS], (1440, "file"), (390, "file")]
ways = pytest.mark.parametrize(("width", "origin"), WAYS, ids=[f"{width}-{origin}" for width, origin in WAYS])


def test_every_module_has_a_page(page_names: list[str], root: Path) -> None:
    modules = {path.stem for path in (root / "labml_ws").glob("*.py")} - {"__init__"}
    assert modules
    assert page_names[0] == "index.html"
    assert {f"annotated/{module}.html" for module in modules} <= set(page_names)


def test_every_tutorial_has_a_page_that_offers_its_notebook(site: Path, page_names: list[str], root: Path) -> None:
    tutorials = {path.stem for path in (root / "docs" / "tutorials").glob("*.py")}
    pages = [(site / name).read_text() for name in page_names]
    assert tutorials
    assert all((site / "tutorials" / f"{tutorial}.ipynb").is_file() for tutorial in tutorials)
    shown = sum(page.count('class="annotated annotated-notebook"') for page in pages)
    assert shown == len(tutorials)


@ways
def test_no_page_logs_an_error(visits: Callable, width: int, origin: str) -> None:
    assert [(visit.page, visit.errors) for visit in visits(width, origin) if visit.errors] == []


@ways
def test_no_page_asks_another_host(visits: Callable, width: int, origin: str) -> None:
    local = {"http": "127.0.0.1", "file": ""}[origin]
    asked = [(visit.page, url) for visit in visits(width, origin) for url in visit.requests]
    assert asked
    foreign = [
        (page, url)
        for page, url in asked
        if (parts := urlsplit(url)).scheme not in ("data", "blob") and (parts.hostname or "") != local
    ]
    assert foreign == []


@ways
def test_nothing_that_a_page_asks_for_is_missing(visits: Callable, width: int, origin: str) -> None:
    assert [(visit.page, visit.failed) for visit in visits(width, origin) if visit.failed] == []
    assert [(visit.page, f) for visit in visits(width, origin) for f in visit.facts["fonts"]] == []
    assert [(v.page, i["src"]) for v in visits(width, origin) for i in v.facts["images"] if not i["drawn"]] == []


@ways
def test_no_page_scrolls_sideways(visits: Callable, width: int, origin: str) -> None:
    seen = {visit.page: visit.facts["overflow"] for visit in visits(width, origin)}
    assert {page: pixels for page, pixels in seen.items() if pixels > 0} == {}


@ways
def test_every_page_has_one_title(visits: Callable, width: int, origin: str) -> None:
    assert [(v.page, v.facts["h1"]) for v in visits(width, origin) if len([*filter(None, v.facts["h1"])]) != 1] == []


@ways
def test_every_formula_is_drawn_and_can_be_heard(visits: Callable, width: int, origin: str) -> None:
    formulas = [(visit.page, formula) for visit in visits(width, origin) for formula in visit.facts["formulas"]]
    assert len(formulas) > 20
    assert [(p, f) for p, f in formulas if not (f["width"] > 1 and f["height"] > 1 and f["mathml"])] == []


@ways
def test_no_page_shows_unrendered_tex(visits: Callable, width: int, origin: str) -> None:
    signs = ("$$", "\\frac", "\\begin{", "\\mu", "\\sigma", "\\hat", "\\code{")
    assert [(v.page, sign) for v in visits(width, origin) for sign in signs if sign in v.facts["words"]] == []


@ways
def test_every_listing_is_visible(visits: Callable, width: int, origin: str) -> None:
    listings = [(visit.page, listing) for visit in visits(width, origin) for listing in visit.facts["listings"]]
    assert len(listings) > 20
    assert [(p, x) for p, x in listings if x["text"] and not (x["width"] > 50 and x["height"] > 10)] == []


def test_without_javascript_words_code_and_formulas_are_the_same(visits: Callable) -> None:
    for bare, live in zip(visits(javascript=False), visits(), strict=True):
        assert bare.page == live.page
        assert len(bare.facts["formulas"]) >= len(live.facts["formulas"]), bare.page
        assert len(bare.facts["listings"]) >= len(live.facts["listings"]), bare.page
        assert all(x["height"] > 1 for x in bare.facts["formulas"] + bare.facts["listings"] if x["text"]), bare.page
        assert bare.facts["overflow"] <= 0, bare.page
        assert len(bare.facts["words"]) > 0.95 * len(live.facts["words"]), bare.page


TWO_COLUMNS = 1024  # from this width on, prose stands left of the code that it explains


@ways
def test_prose_and_code_stand_side_by_side_or_stacked(visits: Callable, width: int, origin: str) -> None:
    sections = [
        (visit.page, section["text"], section["prose"], section["code"])
        for visit in visits(width, origin)
        for section in visit.facts["sections"]
        if section["prose"] and section["code"] and section["prose"]["height"] and section["code"]["height"]
    ]
    assert len(sections) > 20
    crooked = []
    for page, text, prose, code in sections:
        # within half a line: a heading is taller than a line of code, and their first lines are what is aligned
        aligned = abs(prose["top"] - code["top"]) <= 12 and prose["right"] <= code["left"] + 1
        stacked = prose["bottom"] <= code["top"] + 1 and abs(prose["width"] - code["width"]) <= 0.1 * width
        if not (aligned if width >= TWO_COLUMNS else stacked):
            crooked.append((page, text, prose, code))
    assert crooked == []
