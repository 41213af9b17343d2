"""The search finds what it should, with a server and without one."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.site.browser import FOUND, QUERY
from tests.site.index import find

PATIENCE = 60_000  # milliseconds

pytestmark = pytest.mark.browser


@pytest.fixture(params=["http", "file"])
def tab(
    request: pytest.FixtureRequest, browser: Browser, site: Path, address: str
) -> Iterator[Page]:
    """The first page, with the search open."""
    base = address if request.param == "http" else site.as_uri()
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE)
    tab = context.new_page()
    tab.goto(f"{base}/index.html")
    tab.locator("body").press("/")
    yield tab
    context.close()


def test_the_search_finds_a_function_by_its_name(tab: Page, site: Path) -> None:
    tab.keyboard.type("weight_standardization", delay=10)
    # The list is drawn anew after each letter, so it is asked for what it must hold, never walked through.
    result = (
        tab.locator(FOUND).and_(tab.locator('[href*="annotated/standardization.html"]')).first
    )
    expect(result).to_be_visible(timeout=PATIENCE)
    result.click()
    tab.wait_for_url("**/annotated/standardization.html*")
    assert "weight_standardization" in (tab.locator("article").text_content() or "")


WANTED = {
    "eps": ("annotated/standardization.html", "labml_ws.standardization"),
    "weight_standardization": (
        "annotated/standardization.html",
        "labml_ws.standardization.weight_standardization",
    ),
    "Conv2d": ("annotated/layers.html", "labml_ws.layers.Conv2d"),
    "BatchChannelNorm": (
        "annotated/batch_channel_norm.html",
        "labml_ws.batch_channel_norm.BatchChannelNorm",
    ),
    "running_var": (
        "annotated/batch_channel_norm.html",
        "labml_ws.batch_channel_norm.EstimatedBatchNorm",
    ),
    "estimate": (
        "annotated/batch_channel_norm.html",
        "labml_ws.batch_channel_norm.EstimatedBatchNorm",
    ),
    "layer_norm": ("annotated/standardization.html", "labml_ws.standardization.standardize"),
    "lipschitz": ("glossary.html", "lipschitz-constant"),
    "fan-in": ("glossary.html", "fan-in"),
}
# Several sections use these; one of them must be there.
SOMEWHERE = {
    "w_hat": ("annotated/standardization.html", "what-flows-back"),
    "μ": ("annotated/standardization.html", "labml_ws.standardization.weight_standardization"),
    "sigma": ("annotated/standardization.html", "what-flows-back"),
    "qiao": ("bibliography.html", "qiao2019micro"),
}


def test_a_name_or_a_symbol_leads_to_its_section(tab: Page, site: Path) -> None:
    # Zensical has an order of its own and shows ten sections at a time.
    material = find(site)[0].name == "search_index.json"
    for query, (page, anchor) in {**WANTED, **(SOMEWHERE if material else {})}.items():
        tab.locator(QUERY).press("Control+A")
        tab.keyboard.type(query, delay=10)  # the search listens to keys
        wanted = tab.locator(FOUND).and_(tab.locator(f'[href*="{page}"][href*="#{anchor}"]'))
        expect(wanted.first).to_be_attached(timeout=PATIENCE)
        if query in WANTED and material:
            # The page itself comes before its sections, and the section before all others.
            # What fewer letters found may stand there still.
            tab.wait_for_timeout(500)
            links = tab.locator(".md-search-result__item").first.locator("a")
            where = re.escape(page) + r"(\?[^#]*)?"
            expect(links.nth(0)).to_have_attribute(
                "href", re.compile(f"{where}$"), timeout=PATIENCE
            )
            expect(links.nth(1)).to_have_attribute(
                "href", re.compile(f"{where}#{anchor}$"), timeout=PATIENCE
            )


# A word that is never the last before a comma or a period: where one is, something that stands there on the page is missing.
HOLE = re.compile(r" (?:of|is|by|are|the|where|than) [,.;:)]")


def test_formulas_in_a_line_are_read_in_the_results_and_once(site: Path) -> None:
    file, kind = find(site)
    texts = {doc["location"]: doc["text"] for doc in json.loads(file.read_text())[kind]}
    holes = {
        place: HOLE.findall(re.sub(r"<pre>.*?</pre>", "", text, flags=re.DOTALL))
        for place, text in texts.items()
    }
    assert {place: found for place, found in holes.items() if found} == {}
    (whole,) = [
        t
        for p, t in texts.items()
        if p.endswith(".weight_standardization") and p.startswith("annotated/stand")
    ]
    assert "and gone but for ϵ." in whole


def test_every_entry_of_the_index_leads_somewhere(site: Path) -> None:
    file, kind = find(site)
    index = json.loads(file.read_text(encoding="utf-8"))
    script = file.with_suffix(".js").read_text(encoding="utf-8")
    assert json.loads(script.removeprefix("var __index").lstrip(" =").rstrip(";\n")) == index
    locations = [doc["location"] for doc in index[kind]]
    assert len(locations) == len(set(locations))
    for location in locations:
        page, _, anchor = location.partition("#")
        assert not anchor or f'id="{anchor}"' in (site / page).read_text(), location
