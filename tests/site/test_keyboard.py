"""Everything that a hand can do on a page, the keyboard can: reach it in order, see where one is, open, close, go on."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.site.browser import FOUND, QUERY

pytestmark = pytest.mark.browser

MOST = 1500  # steps; a page whose end is not reached by then has a trap
PAGES = ["index.html", "annotated/standardization.html", "tutorials/weights.html"]

# Where the focus is, and whether one sees it: a ring of its own, or of the label or the symbol that stands for it.
WHERE = """() => {
  const e = document.activeElement;
  if (!e || e === document.body) return null;
  window.stops ??= [];
  const before = stops.at(-1);
  stops.push(e);
  const seen = e.matches(".md-option") ? e.nextElementSibling : e.matches(".tie-stop") ? document.querySelector(".katex .stop") : e;
  const style = getComputedStyle(seen), box = seen.getBoundingClientRect();
  return {
    name: `${e.tagName.toLowerCase()}.${e.className} ${e.getAttribute("aria-label") ?? e.textContent.trim().slice(0, 40)}`,
    ring: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0,
    onscreen: seen.checkVisibility({visibilityProperty: true}) && box.width > 1 && box.right > 0 && box.left < innerWidth && box.bottom > 0 && box.top < innerHeight,
    backwards: before !== undefined && !(before.compareDocumentPosition(e) & Node.DOCUMENT_POSITION_FOLLOWING),
  };
}"""
MISSED = """() => [...document.querySelectorAll("a[href], button, summary, select, input:not([type=checkbox]):not([type=radio]), [tabindex]")]
  .filter((e) => e.tabIndex >= 0 && !e.disabled && !stops.includes(e) && e.checkVisibility({visibilityProperty: true, opacityProperty: false}))
  .map((e) => e.outerHTML.slice(0, 120))"""

Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, address: str) -> Iterator[Open]:
    contexts = []

    def opened(page: str, width: int) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, reduced_motion="reduce"
        )
        context.set_default_timeout(60_000)
        contexts.append(context)
        tab = context.new_page()
        tab.goto(f"{address}/{page}", wait_until="load")
        return tab

    yield opened
    for context in contexts:
        context.close()


def walk(tab: Page) -> list[dict[str, Any]]:
    stops = []
    for _ in range(MOST):
        tab.keyboard.press("Tab")
        if (stop := tab.evaluate(WHERE)) is None:
            return stops
        stops.append(stop)
    pytest.fail(f"no end after {MOST} steps; the last was {stops[-1]['name']}")


@pytest.mark.slow
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("page", PAGES)
def test_tab_reaches_everything_in_order_and_one_sees_where(
    open_page: Open, page: str, width: int
) -> None:
    tab = open_page(page, width)
    stops = walk(tab)
    assert len(stops) > 10
    assert "Skip to content" in stops[0]["name"]
    for wrong in ("ring", "onscreen"):
        assert [stop["name"] for stop in stops if not stop[wrong]] == [], wrong
    assert [stop["name"] for stop in stops if stop["backwards"]] == []
    assert tab.evaluate(MISSED) == []


def test_the_skip_link_leads_past_the_navigation(open_page: Open) -> None:
    tab = open_page("annotated/standardization.html", 1440)
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.closest('article') !== null")


def test_the_search_opens_and_closes_with_keys(open_page: Open) -> None:
    tab = open_page("index.html", 1440)
    tab.keyboard.press("/")
    expect(tab.locator(QUERY)).to_be_focused()
    tab.keyboard.type("standardization", delay=10)
    expect(tab.locator(FOUND).first).to_be_visible(timeout=60_000)
    tab.keyboard.press("Escape")
    expect(tab.locator(FOUND).first).not_to_be_visible()


def test_the_scheme_changes_with_a_key(open_page: Open) -> None:
    tab = open_page("index.html", 1440)
    seen = set()
    tab.locator(".md-option").first.focus()
    for _ in range(3):
        tab.keyboard.press("Enter")
        tab.wait_for_timeout(100)
        seen.add(tab.evaluate("document.body.dataset.mdColorScheme"))
    assert seen == {"default", "slate"}


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_the_drawer_opens_and_closes_with_keys(open_page: Open, key: str) -> None:
    tab = open_page("annotated/standardization.html", 390)
    link = tab.locator(".md-sidebar--primary .md-nav__link[href]:visible").first
    tab.locator(".md-header button.drawer").focus()
    tab.keyboard.press(key)
    expect(link).to_be_visible()
    tab.keyboard.press("Escape")
    assert not tab.evaluate("document.getElementById('__drawer').checked")
    expect(tab.locator(".md-header button.drawer")).to_be_focused()


def test_nothing_moves_for_those_who_asked_for_it(open_page: Open) -> None:
    tab = open_page("annotated/standardization.html", 1440)
    moving = tab.evaluate(
        """() => [...document.querySelectorAll("*")].flatMap((e) => {
          const s = getComputedStyle(e), long = (times) => times.split(",").some((t) => parseFloat(t) > 0);
          return long(s.transitionDuration) || (s.animationName !== "none" && long(s.animationDuration)) ? [e.outerHTML.slice(0, 80)] : [];
        })"""
    )
    assert moving == []
    assert tab.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
