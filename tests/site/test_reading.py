"""Definitions and references in passing: by pointer, by keyboard, by finger, and without any script."""

import re
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

PATIENCE = 120_000  # milliseconds
PAGE = "annotated/standardization.html"
TERM = "a.term[href*='lipschitz-constant']"
DEFINITION = "The steepest slope that a function has anywhere"

pytestmark = pytest.mark.browser


@pytest.fixture
def opened(browser: Browser, address: str):
    contexts = []

    def _open(name: str = PAGE, **options) -> Page:
        context = browser.new_context(reduced_motion="reduce", **options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        tab = context.new_page()
        tab.goto(f"{address}/{name}", wait_until="load")
        return tab

    yield _open
    for context in contexts:
        context.close()


def test_pointing_at_a_term_shows_its_definition_and_moves_nothing(opened) -> None:
    tab = opened()
    before = tab.evaluate("document.documentElement.scrollHeight")
    tab.locator(TERM).hover()
    note = tab.locator("#note")
    expect(note).to_be_visible()
    expect(note).to_contain_text(DEFINITION)
    assert tab.evaluate("document.documentElement.scrollHeight") == before
    # The pointer may rest on the note; elsewhere it is gone.
    note.hover()
    tab.wait_for_timeout(300)
    expect(note).to_be_visible()
    tab.mouse.move(5, 5)
    expect(note).to_be_hidden()


def test_the_keyboard_shows_it_too_and_escape_puts_it_away(opened) -> None:
    tab = opened()
    tab.locator("a.term[href*='running-average']").focus()
    while not tab.evaluate(f'document.activeElement.matches("{TERM}")'):
        tab.keyboard.press("Tab")
    note = tab.locator("#note")
    expect(note).to_be_visible()
    assert tab.locator(TERM).get_attribute("aria-describedby") == "note"
    assert note.get_attribute("role") == "tooltip"
    tab.keyboard.press("Escape")
    expect(note).to_be_hidden()
    assert tab.locator(TERM).get_attribute("aria-describedby") is None


def test_a_finger_reads_first_and_goes_there_second(opened) -> None:
    tab = opened(has_touch=True, viewport={"width": 390, "height": 800})
    tab.locator(TERM).tap()
    expect(tab.locator("#note")).to_contain_text(DEFINITION)
    box = tab.locator("#note").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    assert urlsplit(tab.url).path.endswith(PAGE)
    tab.locator(TERM).tap()
    tab.wait_for_url("**/glossary.html#lipschitz-constant")


def test_a_citation_shows_the_whole_reference_each_time(opened) -> None:
    tab = opened("annotated/batch_channel_norm.html")
    cites = tab.locator("a.cite[href*='qiao2019rethinking']")
    assert cites.count() > 2
    cites.last.hover()
    expect(tab.locator("#note")).to_contain_text(
        "Rethinking Normalization and Elimination Singularity"
    )
    expect(tab.locator("#note")).to_contain_text("Siyuan Qiao, Huiyu Wang")


def test_without_a_script_a_term_is_a_link_with_a_title(opened) -> None:
    tab = opened(java_script_enabled=False)
    term = tab.locator(TERM)
    assert (term.get_attribute("title") or "").startswith(DEFINITION)
    term.click()
    tab.wait_for_url("**/glossary.html#lipschitz-constant")


def test_reading_goes_from_page_to_page_in_the_order_of_the_cards(site: Path) -> None:
    landing = (site / "index.html").read_text()
    cards = re.findall(r'<strong><a href="([^"]+)">', landing)
    walked, page = ["index.html"], landing
    while m := re.search(r'<link [^>]*?rel="?next"?[^>]*>', page):
        address = re.search(r'href="?([^" >]+)', m[0])
        assert address
        walked.append(urljoin(f"/{walked[-1]}", address[1]).lstrip("/"))
        page = (site / walked[-1]).read_text()
    assert len(cards) == 8
    assert walked[1 : 1 + len(cards)] == cards
    assert len(walked) == len(set(walked)) > 20
