"""What a symbol is, on a card: every tie has one, its numbers are those of the library, and hand, finger and keyboard get there and back."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
import torch
from playwright.sync_api import Browser, Page, expect

from labml_ws import weight_standardization
from mkdocstrings_handlers.annotated.document import Source
from mkdocstrings_handlers.annotated.understand.scopes import Scopes

pytestmark = pytest.mark.browser
expect.set_options(timeout=30_000)

PAGE = "annotated/standardization.html"
PHONE = {"width": 390, "height": 844}
MEAN = '.sec-function .katex-html [data-code="mean"]'

# Of each list of symbols: its rows, and which ties the formulas and the code beside it have, with the scope that they stand in.
CARDS = """() => [...document.querySelectorAll('.legend')].map(list => {
  const page = list.closest('.annotated') ?? list.closest('article');
  const text = e => e.textContent.trim();
  return {
    module: page.querySelector('h1, h2')?.id ?? '',
    rows: [...list.querySelectorAll('[data-card]')].map(r => ({
      tie: r.dataset.card, scope: r.dataset.scope, name: text(r.cells[1]), meaning: text(r.cells[2]), shape: text(r.cells[3]),
      value: r.dataset.value ?? '', href: r.querySelector('a')?.getAttribute('href') ?? '', line: +(r.querySelector('a')?.dataset.n ?? 0),
    })),
    symbols: [...page.querySelectorAll('.katex-html [data-tie]')].map(e => e.dataset.tie),
    names: [...page.querySelectorAll('.code .tied')].map(e => e.dataset.tie),
  };
})"""
SHIFTS = """window.moved = 0; new PerformanceObserver(l => l.getEntries().forEach(e => { moved += e.value; })).observe({type: 'layout-shift', buffered: false});"""


@pytest.fixture(scope="module")
def lists(
    browser: Browser, address: str, site: Path, page_names: list[str]
) -> dict[str, list[dict[str, Any]]]:
    """The lists of symbols of each page that has one."""
    tab = browser.new_page(java_script_enabled=True)
    found = {}
    for name in page_names:
        if 'class="legend"' in (site / name).read_text():
            tab.goto(f"{address}/{name}", wait_until="load")
            found[name] = tab.evaluate(CARDS)
    tab.close()
    return found


@pytest.fixture
def tab(browser: Browser, address: str) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, reduced_motion="reduce"
    )
    context.set_default_timeout(60_000)
    opened = context.new_page()
    opened.goto(f"{address}/{PAGE}", wait_until="load")
    yield opened
    context.close()


@pytest.fixture
def phone(browser: Browser, address: str) -> Iterator[Page]:
    context = browser.new_context(
        viewport=PHONE, has_touch=True, is_mobile=True, reduced_motion="reduce"
    )
    context.set_default_timeout(60_000)
    opened = context.new_page()
    opened.goto(f"{address}/{PAGE}", wait_until="load")
    yield opened
    context.close()


# ## Every tie


def test_pages_with_formulas_about_code_have_ties(lists: dict[str, Any]) -> None:
    """Other tutorials have formulas as well, but none whose symbols their code has names for."""
    tied = {page for page, found in lists.items() if any(one["symbols"] for one in found)}
    assert {
        "playground.html",
        "tutorials/gradients.html",
        "tutorials/implementations.html",
        "tutorials/landscape.html",
        "tutorials/weights.html",
    } <= tied
    assert sum(page.startswith("annotated/") for page in tied) >= 10


def test_every_tie_has_a_card_with_a_meaning_and_a_line(
    lists: dict[str, Any], site: Path
) -> None:
    wrong = []
    for page, found in lists.items():
        for one in found:
            rows = {row["tie"]: row for row in one["rows"]}
            wrong += [(page, tie) for tie in one["symbols"] + one["names"] if tie not in rows]
            for row in one["rows"]:
                url = urlsplit(urljoin(f"/{page}", row["href"]))
                target = (site / url.path[1:]).read_text()
                line = url.fragment and f'id="{url.fragment}"' in target
                if not (row["meaning"] and row["name"] and line):
                    wrong.append((page, row))
    assert wrong == []


def test_a_card_says_what_the_demo_recorded(lists: dict[str, Any], root: Path) -> None:
    """Shape and value of a card are those that stand at the end of the line that it leads to."""
    checked, wrong = 0, []
    for page, found in lists.items():
        for one in found:
            record = root / "build" / "demos" / f"{one['module']}.json"
            if not record.is_file():
                continue
            bound = json.loads(record.read_text())["bound"]
            path = root / f"{one['module'].replace('.', '/')}.py"
            lines = [binding.node.lineno for binding in Scopes(Source.read(path)).bindings]
            for row in one["rows"]:
                told = [e for e in bound if e[1] == row["name"] and lines[e[0]] == row["line"]]
                for _, _, shape, value in told:
                    checked += 1
                    if shape not in (row["shape"], row["value"][: len(shape)]):
                        wrong.append((page, row, shape))
                    if not row["value"].endswith(value):
                        wrong.append((page, row, value))
    assert checked > 20
    assert wrong == []


# ## The numbers


def spread(text: str) -> tuple[float, float, float]:
    """Mean, standard deviation, and half a unit of their last digit."""
    m = re.search(r"≈ (-?[\d.]+) ± ([\d.]+)", text)
    assert m, text
    return float(m[1]), float(m[2]), 0.5001 * 10.0 ** -len(m[2].partition(".")[2])


@pytest.mark.parametrize("name", ["weight", "flat", "mean", "var", "w_hat"])
def test_the_numbers_of_the_first_page_are_those_of_the_library(
    lists: dict[str, Any], name: str
) -> None:
    torch.manual_seed(0)
    weight = torch.randn(64, 3, 3, 3) * 0.02 + 0.01
    var, mean = torch.var_mean(weight.double(), dim=(1, 2, 3), correction=0)
    made = {
        "weight": weight,
        "flat": weight,
        "mean": mean,
        "var": var,
        "w_hat": weight_standardization(weight),
    }[name].double()
    (found,) = lists[PAGE]
    row = next(row for row in found["rows"] if row["name"] == name)
    middle, width, half = spread(row["value"])
    assert abs(made.mean().item() - middle) <= max(half, 5e-3 * (middle == 0))
    assert abs(made.std(correction=0).item() - width) <= half


def test_the_numbers_of_the_estimate_are_those_of_the_library(lists: dict[str, Any]) -> None:
    """A page whose demo runs the library in another way: moments of an image, in float64."""
    torch.manual_seed(0)
    from labml_ws.batch_channel_norm import BatchChannelNorm

    BatchChannelNorm(8, groups=2, estimate=False)
    x = torch.randn(4, 8, 6, 6, dtype=torch.float64)
    var, mean = torch.var_mean(x, dim=(2, 3), correction=0)
    (found,) = lists["annotated/one_pass.html"]
    for name, made in (("mean", mean), ("var", var)):
        row = next(row for row in found["rows"] if row["name"] == name)
        middle, width, half = spread(row["value"])
        assert "[4, 8]" in row["value"]
        assert abs(made.mean().item() - middle) <= half
        assert abs(made.std(correction=0).item() - width) <= half


# ## By hand


def test_a_symbol_looks_like_something_one_can_use(tab: Page) -> None:
    for place in (MEAN, ".sec .code .tied"):
        style = tab.locator(place).first.evaluate(
            "e => { const s = getComputedStyle(e); return [s.cursor, s.backgroundImage !== 'none' || s.borderBottomStyle === 'dotted']; }"
        )
        assert style == ["pointer", True], place


def test_a_pointer_that_rests_sees_the_card_and_one_that_leaves_sees_it_go(tab: Page) -> None:
    tab.evaluate(SHIFTS)
    tab.locator(MEAN).first.hover()
    card = tab.locator("#card")
    expect(card).to_be_visible()
    for words in ("mean", "[O, 1]", "the mean of a filter", "≈ 0.0106 ± 0.0036", "line "):
        expect(card).to_contain_text(words)
    # The way from the symbol to the card is no leaving.
    card.hover()
    tab.wait_for_timeout(400)
    expect(card).to_be_visible()
    tab.locator("h1").hover()
    expect(card).to_be_hidden()
    assert tab.evaluate("moved") == 0


def test_a_click_keeps_the_card_until_escape_or_a_click_elsewhere(tab: Page) -> None:
    card = tab.locator("#card")
    token = tab.locator(".sec-function .code .tied", has_text="w_hat").first
    token.click()
    expect(card).to_contain_text("the standardized weight")
    tab.locator(".sec-function p").first.hover()
    tab.wait_for_timeout(500)
    expect(card).to_be_visible()
    tab.keyboard.press("Escape")
    expect(card).to_be_hidden()
    token.click()
    expect(card).to_be_visible()
    tab.locator(".sec-function p").first.click(position={"x": 2, "y": 2})
    expect(card).to_be_hidden()


def test_what_a_name_means_depends_on_where_it_stands(tab: Page) -> None:
    """`w_hat` has one line in the function and another one in the demo."""
    places = []
    for scope in ("weight_standardization", "__main__"):
        symbol = f'.sec[data-scope="{scope}"] .katex-html [data-code="w_hat"]'
        tab.locator(symbol).first.click()
        places.append(tab.locator("#card a").get_attribute("href"))
        tab.keyboard.press("Escape")
    assert len(set(places)) == 2


# ## By keyboard


def test_enter_opens_the_card_and_goes_on_to_the_line_and_escape_leads_back(tab: Page) -> None:
    stop = tab.locator('.sec-function .tie-stop[aria-label^="mean"]').first
    card = tab.locator("#card")
    stop.focus()
    tab.keyboard.press("Enter")
    expect(card).to_be_visible()
    expect(card.locator("a")).to_be_focused()
    assert card.get_attribute("aria-label") == "mean"
    tab.keyboard.press("Escape")
    expect(card).to_be_hidden()
    expect(stop).to_be_focused()
    # Tab leaves the card for what comes after the symbol.
    tab.keyboard.press("Enter")
    tab.keyboard.press("Tab")
    expect(card).to_be_hidden()
    assert stop.evaluate(
        "e => !!(e.compareDocumentPosition(document.activeElement) & Node.DOCUMENT_POSITION_FOLLOWING)"
    )
    stop.focus()
    tab.keyboard.press("Enter")
    tab.keyboard.press("Enter")
    expect(card).to_be_hidden()
    expect(tab.locator(".l:target .tied:focus")).to_have_text("mean")
    tab.keyboard.press("Escape")
    expect(stop).to_be_focused()


def test_the_browsers_way_back_leads_back(tab: Page) -> None:
    stop = tab.locator('.sec-function .tie-stop[aria-label^="mean"]').first
    stop.focus()
    before = tab.evaluate("scrollY")
    tab.keyboard.press("Enter")
    tab.keyboard.press("Enter")
    expect(tab.locator(".l:target .tied:focus")).to_have_text("mean")
    tab.go_back()
    expect(stop).to_be_focused()
    assert abs(tab.evaluate("scrollY") - before) < 200
    assert not urlsplit(tab.url).fragment


def test_a_page_has_few_stops_for_its_symbols(tab: Page, address: str) -> None:
    for page in (PAGE, "annotated/batch_channel_norm.html", "tutorials/implementations.html"):
        tab.goto(f"{address}/{page}", wait_until="load")
        stops = tab.locator(".tie-stop").count()
        symbols = tab.locator(".annotated .katex-html [data-tie]").count()
        assert 0 < stops <= min(60, symbols / 1.5), page


# ## By finger


def test_a_finger_beside_a_symbol_means_it_and_the_card_is_the_answer(phone: Page) -> None:
    symbol = phone.locator(MEAN).first
    symbol.scroll_into_view_if_needed()
    box = symbol.bounding_box()
    assert box
    phone.touchscreen.tap(box["x"] + box["width"] + 9, box["y"] + box["height"] / 2 - 4)
    card = phone.locator("#card")
    expect(card).to_contain_text("≈ 0.0106 ± 0.0036")
    shown = card.bounding_box()
    assert shown
    assert shown["x"] >= 0
    assert shown["x"] + shown["width"] <= PHONE["width"]
    link = card.locator("a")
    size = link.bounding_box()
    assert size
    assert size["height"] >= 40
    link.tap()
    expect(card).to_be_hidden()
    expect(phone.locator(".l:target")).to_be_in_viewport()
    phone.go_back()
    expect(symbol).to_be_in_viewport()


def test_a_tap_on_a_line_shows_what_it_gave_and_the_switch_shows_all(phone: Page) -> None:
    said = "e => getComputedStyle(e, '::after').content"
    line, other = (
        phone.locator(".sec-function .l[data-s]").nth(1),
        phone.locator(".l[data-s]").last,
    )
    assert line.evaluate(said) == "none"
    line.locator(".c").tap(position={"x": 64, "y": 6})
    assert "[64, 27]" in line.evaluate(said)
    assert other.evaluate(said) == "none"
    line.locator(".c > a[aria-label]").tap()
    assert line.evaluate(said) == "none"
    phone.locator("button.shapes").tap()
    assert other.evaluate(said) != "none"
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")


# ## Elsewhere


def test_what_stands_behind_an_arrow_is_explained_once_and_first(
    tab: Page, phone: Page, address: str
) -> None:
    for page in (tab, phone):
        expect(page.locator("p.told")).to_have_count(1)
        expect(page.locator("p.told")).to_be_visible()
        assert page.locator("p.told").evaluate(
            "e => !!(e.compareDocumentPosition(document.querySelector('.l[data-s]')) & Node.DOCUMENT_POSITION_FOLLOWING)"
        )
    assert "→" in tab.locator("p.told").inner_text()
    assert phone.locator("p.told").inner_text().startswith("Tap a line")


def test_a_page_without_code_leads_to_the_page_that_has_it(tab: Page, address: str) -> None:
    tab.goto(f"{address}/playground.html", wait_until="load")
    tab.wait_for_selector("#card", state="attached")
    tab.locator('.katex-html [data-code="mean"]').first.click()
    expect(tab.locator("#card")).to_contain_text("≈ 0.0106 ± 0.0036")
    tab.locator("#card a").click()
    expect(tab.locator(".l:target .tied", has_text="mean")).to_be_visible()
    assert urlsplit(tab.url).path.endswith(PAGE)


def test_a_tutorial_leads_to_the_line_of_its_cell(tab: Page, address: str) -> None:
    tab.goto(f"{address}/tutorials/gradients.html", wait_until="load")
    tab.wait_for_selector("#card", state="attached")
    tab.locator('.katex-html [data-code="sigma"]').first.click()
    expect(tab.locator("#card")).to_contain_text("what a filter is divided by")
    tab.locator("#card a").click()
    expect(tab.locator(".l:target .tied:focus")).to_have_text("sigma")


def test_without_javascript_and_on_paper_there_is_the_list_and_no_card(
    browser: Browser, address: str
) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(f"{address}/{PAGE}")
    assert tab.locator("#card").count() == 0
    tab.locator(".legend summary").click()
    tab.locator(".legend td a", has_text="mean").first.click()
    assert re.search(r"#L\d+$", tab.url)
    expect(tab.locator(".l:target")).to_be_in_viewport()
    tab.emulate_media(media="print")
    expect(tab.locator("p.told")).to_be_hidden()
    assert (
        tab.locator(MEAN).first.evaluate("e => getComputedStyle(e).backgroundImage") == "none"
    )
    context.close()
