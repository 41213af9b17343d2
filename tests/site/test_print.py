"""A page on paper, printed by someone who reads in the dark: A4, black on white, the text and nothing around it."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

PATIENCE = 120_000  # milliseconds
SHEET = 979  # pixels of text on A4, 18 and 20 mm of margin aside

pytestmark = pytest.mark.browser

PAPER = r"""
() => {
  const shown = selector => [...document.querySelectorAll(selector)].filter(e => e.checkVisibility());
  const text = e => e.textContent.trim().slice(0, 40);
  // How bright a color is, from 0 to 1, whatever way the browser spells it.
  const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d', {willReadFrequently: true});
  const light = color => {
    canvas.fillStyle = '#fff'; canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = canvas.getImageData(0, 0, 1, 1).data;
    return Math.round((0.2126 * r + 0.7152 * g + 0.0722 * b) / 2.55) / 100;
  };
  const words = shown('.md-content :is(p, li, h1, h2, h3, td, code, samp, span)').filter(e => e.textContent.trim());
  return {
    around: shown('.md-header, .md-tabs, .md-sidebar, .md-footer, .md-search, .permalink, .headerlink, .outline').map(text),
    root: [document.documentElement, document.body].map(e => light(getComputedStyle(e).backgroundColor)),
    scheme: getComputedStyle(document.documentElement).colorScheme,
    faint: words.filter(e => light(getComputedStyle(e).color) > 0.5).map(text),
    dark: shown('.md-content, .md-content *').filter(e => light(getComputedStyle(e).backgroundColor) < 0.85).map(text),
    cut: shown('.md-content pre > code, .md-content div.math').filter(e => e.scrollWidth > e.clientWidth + 1).map(text),
    address: shown('.printed').map(e => e.textContent),
  };
}
"""


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Iterator[Page]:
    # As wide as the text on A4, at 96 pixels per inch.
    context = browser.new_context(viewport={"width": 643, "height": 900}, color_scheme="dark")
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


def test_every_page_is_black_on_white_and_nothing_is_cut(
    tab: Page, address: str, page_names: list[str]
) -> None:
    tab.emulate_media(media="print")
    for name in page_names:
        tab.goto(f"{address}/{name}", wait_until="load")
        assert tab.evaluate("document.body.dataset.mdColorScheme") == "slate"
        paper = tab.evaluate(PAPER)
        assert paper.pop("root") == [1, 1], name
        assert paper.pop("scheme") == "light", name
        (said,) = paper.pop("address")
        assert name in said
        assert {what: found for what, found in paper.items() if found} == {}, name


def test_a_page_is_printed_on_a4(tab: Page, address: str) -> None:
    tab.goto(f"{address}/annotated/standardization.html", wait_until="load")
    printed = tab.pdf(prefer_css_page_size=True)
    sizes = {
        tuple(round(float(n)) for n in box.split())
        for box in re.findall(rb"/MediaBox\s*\[([^\]]+)\]", printed)
    }
    assert sizes == {(0, 0, 595, 842)}
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 8


def test_on_the_screen_the_printed_address_takes_no_room(tab: Page, address: str) -> None:
    tab.emulate_media(media="screen")
    tab.goto(f"{address}/annotated/standardization.html", wait_until="load")
    assert not tab.locator(".printed").is_visible()


@pytest.mark.parametrize("name", ["annotated/experiment.html", "how.html", "variants.html"])
def test_no_sheet_is_left_nearly_empty(tab: Page, address: str, name: str) -> None:
    """What may not be broken is short, so the sheets are hardly more than the text needs."""
    tab.emulate_media(media="print")
    tab.goto(f"{address}/{name}", wait_until="load")
    tall = tab.evaluate("document.documentElement.scrollHeight")
    sheets = len(re.findall(rb"/Type\s*/Page\b", tab.pdf(prefer_css_page_size=True)))
    assert sheets <= 1.15 * tall / SHEET + 1
