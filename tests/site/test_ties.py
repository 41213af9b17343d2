"""Symbols, names and shapes on the built pages, by mouse, by touch and by keyboard."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.site.index import find

pytestmark = pytest.mark.browser

PAGE = "annotated/standardization.html"
SHAPE = "e => getComputedStyle(e, '::after').content"


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(
        viewport={"width": 1440, "height": 900}, reduced_motion="reduce", has_touch=True
    )
    made.set_default_timeout(60_000)
    yield made
    made.close()


@pytest.fixture
def tab(context: BrowserContext, address: str) -> Iterator[Page]:
    opened = context.new_page()
    opened.goto(f"{address}/{PAGE}")
    yield opened
    opened.evaluate("localStorage.clear()")
    opened.close()


def lit(tab: Page) -> set[str]:
    """What is lit, by where it stands and what it says. The picture and its excerpt have lights of their own, which say at what step they are."""
    return set(
        tab.evaluate(
            """() => [...document.querySelectorAll('.lit')].filter(e => !e.closest('.excerpt, .picture')).map(e => {
              const at = e.closest('.legend') ? 'legend' : e.closest('pre') ? 'code' : 'prose';
              return `${at} ${e.closest('[data-scope]')?.dataset.scope ?? ''} ${e.dataset.code ?? e.textContent}`;
            })"""
        )
    )


def test_a_symbol_lights_its_names_and_a_name_its_symbols(tab: Page) -> None:
    here = "weight_standardization mean"
    symbol = tab.locator('.sec-function .katex-html [data-code="mean"]').first
    symbol.hover()
    assert lit(tab) == {f"prose {here}", f"code {here}", f"legend {here}"}
    tab.keyboard.press("Escape")
    assert lit(tab) == set()
    tab.locator(".sec .code .tied", has_text="mean").first.tap()
    assert lit(tab) == {f"prose {here}", f"code {here}", f"legend {here}"}
    tab.locator("h1").tap()
    assert lit(tab) == set()


def test_what_the_introduction_ties_is_tied_everywhere_and_the_demo_keeps_to_itself(
    tab: Page,
) -> None:
    tab.locator('.sec-module .prose .katex-html [data-code="weight"]').first.hover()
    scopes = {one.split(" ", 1)[1] for one in lit(tab) if one.startswith("code")}
    assert {"weight_standardization weight", "standardize weight", "__main__ weight"} <= scopes
    tab.locator('.sec[data-scope="__main__"] .katex-html [data-code="g"]').first.hover()
    assert {one.split(" ")[1] for one in lit(tab)} == {"__main__"}


def test_the_keyboard_goes_from_a_symbol_to_its_names_and_back(tab: Page) -> None:
    stop = tab.locator('.sec-function .tie-stop[aria-label^="eps"]').first
    stop.focus()
    expect(tab.locator(".katex .stop")).to_have_count(1)
    assert "code weight_standardization eps" in lit(tab)
    lines = []
    tab.keyboard.press("Enter")  # the card, whose link has the focus
    expect(tab.locator("#card a")).to_be_focused()
    for _ in range(2):
        tab.keyboard.press("Enter")
        expect(tab.locator(".tied:focus")).to_have_text("eps")
        lines.append(tab.evaluate("document.activeElement.closest('.l').id"))
    assert lines[0] != lines[1]
    tab.keyboard.press("Escape")
    expect(stop).to_be_focused()
    tab.keyboard.press("Escape")
    assert lit(tab) == set()


def test_shapes_are_switched_for_all_pages_and_the_choice_is_remembered(
    tab: Page, address: str
) -> None:
    line = tab.locator(".l[data-s]").first
    button = tab.locator("button.shapes")
    assert "[64, 3, 3, 3]" in line.evaluate(SHAPE)
    expect(button).to_have_attribute("aria-pressed", "true")
    button.focus()
    tab.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "false")
    assert line.evaluate(SHAPE) == "none"
    tab.goto(f"{address}/annotated/layers.html")
    assert tab.locator(".l[data-s]").first.evaluate(SHAPE) == "none"
    tab.locator("button.shapes").tap()
    assert tab.locator(".l[data-s]").first.evaluate(SHAPE) != "none"
    tab.reload()
    assert tab.locator(".l[data-s]").first.evaluate(SHAPE) != "none"


def test_shapes_widen_nothing_are_not_printed_and_wait_for_a_tap_on_a_phone(tab: Page) -> None:
    wide = """() => [...document.querySelectorAll('.code pre > code')]
        .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.innerText.slice(0, 60))"""
    for width in (1440, 1024, 700):
        tab.set_viewport_size({"width": width, "height": 900})
        shown = tab.evaluate(wide)
        tab.evaluate("document.documentElement.classList.add('no-shapes')")
        assert tab.evaluate(wide) == shown, width
        tab.evaluate("document.documentElement.classList.remove('no-shapes')")
    tab.set_viewport_size({"width": 390, "height": 800})
    assert tab.locator(".l[data-s]").first.evaluate(SHAPE) == "none"
    expect(tab.locator("button.shapes")).to_be_visible()
    expect(tab.locator("button.shapes")).to_have_attribute("aria-pressed", "false")
    tab.set_viewport_size({"width": 1440, "height": 900})
    expect(tab.locator("button.shapes")).to_have_attribute("aria-pressed", "true")
    tab.emulate_media(media="print")
    assert tab.locator(".l[data-s]").first.evaluate(SHAPE) == "none"


def test_a_copy_of_the_code_has_no_shapes_in_it(tab: Page) -> None:
    text = tab.evaluate(
        """() => { const code = document.querySelector('.l[data-s]').closest('code');
          getSelection().selectAllChildren(code); return String(getSelection()); }"""
    )
    assert "def weight_standardization(" in text
    assert "→" not in text
    assert "[64" not in text


def test_without_javascript_shapes_are_there_and_the_switch_is_not(
    browser: Browser, address: str
) -> None:
    context = browser.new_context(
        java_script_enabled=False, viewport={"width": 1440, "height": 900}
    )
    tab = context.new_page()
    tab.goto(f"{address}/{PAGE}")
    assert "[64, 3, 3, 3]" in tab.locator(".l[data-s]").first.evaluate(SHAPE)
    expect(tab.locator("button.shapes")).to_be_hidden()
    context.close()


@pytest.mark.parametrize("words", ["raw weight", "σ² sigma", "w_hat"])
def test_the_search_knows_the_symbols(site: Path, words: str) -> None:
    index, kind = find(site)
    entries = json.loads(index.read_text(encoding="utf-8"))[kind]
    found = [entry["location"] for entry in entries if words in entry["text"]]
    assert any(location.startswith(PAGE) for location in found)
