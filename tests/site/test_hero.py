"""The picture of what is averaged, in a browser: what it lights, by key, by touch and without scripts; and that nothing moves."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.site.test_diff import luminance
from tools import hero

pytestmark = pytest.mark.browser

HOME, FIRST = "index.html", "annotated/standardization.html"
METHODS = ["ws", "bn", "ln", "in", "gn", "bcn"]
# What is filled, by asking each visible path of a method whether the middle of a number lies in it.
FILLED = """([points]) => {
  const paths = [...document.querySelectorAll('.stage .lit')].filter(e => getComputedStyle(e).opacity === '1');
  const svg = document.querySelector('.stage svg');
  return points.map(([x, y]) => paths.filter(e => e.isPointInFill(Object.assign(svg.createSVGPoint(), {x, y}))).length);
}"""
# The names that are lit in the formula, those in the code, and the lines.
LIT = """() => {
  const on = e => getComputedStyle(e).boxShadow !== 'none';
  const of = s => [...new Set([...document.querySelectorAll(`.picture .excerpt ${s}`)].filter(on).map(e => e.dataset.code))].sort();
  const lines = [...document.querySelectorAll('.picture .excerpt .l')].filter(e => getComputedStyle(e).backgroundColor !== 'rgba(0, 0, 0, 0)');
  return {formula: of('.katex-html [data-code]'), code: of('.l [data-code]'), lines: lines.map(e => e.querySelector('a').ariaLabel)};
}"""
# How far above zero each mark stands, in its unit.
MARKS = f"""() => {{
  const svg = document.querySelector('.bars'), zero = svg.getBoundingClientRect().top + {hero.MIDDLE};
  return [...svg.querySelectorAll('circle')].map(e => {{ const r = e.getBoundingClientRect(); return (zero - (r.top + r.bottom) / 2) / {hero.UNIT}; }});
}}"""
COLORS = """() => {
  const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d', {willReadFrequently: true});
  const hex = (...colors) => {
    for (const color of colors) { canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); }
    return '#' + [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map(n => n.toString(16).padStart(2, '0')).join('');
  };
  const grounds = e => e ? [...grounds(e.parentElement), getComputedStyle(e).backgroundColor] : [];
  const one = (e, property) => [e.textContent.trim().slice(0, 30), hex(getComputedStyle(e)[property]), hex(...grounds(e))];
  const shown = s => [...document.querySelectorAll(s)].filter(e => e.checkVisibility({visibilityProperty: true}) && e.textContent.trim());
  return [
    ...shown('.picture :is(label, label *, p, p *, th, td:not(:has(svg)), .katex-html [data-code], .l span)').map(e => one(e, 'color')),
    ...shown('.picture svg text, .picture svg tspan').map(e => one(e, 'fill')),
  ];
}"""


@pytest.fixture
def tab(browser: Browser, address: str) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, reduced_motion="reduce"
    )
    context.set_default_timeout(60_000)
    opened = context.new_page()
    opened.goto(f"{address}/{HOME}")
    yield opened
    context.close()


def choose(tab: Page, name: str, value: str) -> None:
    tab.locator(f'[name={name}][value="{value}"]').check()


def middles() -> list[tuple[int, int, int, tuple[float, float]]]:
    """Image, channel, position and place of each number that one sees on the block, and of each filter's: filters come as image -1."""
    block = hero.Block()
    seen = []
    for b in range(hero.IMAGES):
        for c in range(hero.CHANNELS):
            for n in range(hero.POSITIONS):
                if b == 0:
                    seen.append((b, c, n, block.corner(0, c + 0.5, n + 0.5)))
                if n == 0:
                    seen.append((b, c, n, block.corner(b + 0.5, c + 0.5, 0)))
                if c == hero.CHANNELS - 1:
                    seen.append((b, c, n, block.corner(b + 0.5, c + 1, n + 0.5)))
    for f in range(hero.CHANNELS):
        for i in range(hero.POSITIONS):
            x, y = hero.LEFT + hero.CELL * (i + 0.5), hero.TOP + hero.PITCH * f + hero.CELL / 2
            seen.append((-1, f, i, (x, y)))
    return seen


def lights(name: str, b: int, c: int) -> int:
    """How many paths of a method should cover a number: by the definition of each, for the first image and the last channel or filter."""
    last = c == hero.CHANNELS - 1
    group = c >= hero.CHANNELS - hero.CHANNELS // hero.GROUPS
    of = {
        "ws": b == -1 and last,
        "bn": b >= 0 and last,
        "ln": b == 0,
        "in": b == 0 and last,
        "gn": b == 0 and group,
        "bcn": (b >= 0 and last) + (b == 0 and group),
    }
    return int(of[name])


@pytest.mark.parametrize("javascript", [True, False])
def test_what_is_chosen_is_what_is_filled_with_scripts_and_without(
    browser: Browser, site: Path, javascript: bool
) -> None:
    context = browser.new_context(java_script_enabled=javascript, reduced_motion="reduce")
    page = context.new_page()
    page.goto(f"{site.as_uri()}/{HOME}")
    places = middles()
    for name in METHODS:
        if name != METHODS[0]:  # which is chosen as the page opens
            choose(page, "axes", name)
        filled = page.evaluate(FILLED, [[list(at) for *_, at in places]])
        assert filled == [lights(name, b, c) for b, c, *_ in places], name
        said = page.locator(".axes .words p").evaluate_all(
            "ps => ps.filter(p => getComputedStyle(p).visibility === 'visible').map(p => p.dataset.of)"
        )
        assert said == [name]
    context.close()


def test_at_first_a_filter_of_the_weight_is_filled_and_nothing_of_the_activation(
    tab: Page,
) -> None:
    expect(tab.get_by_role("radio", name="WS one filter")).to_be_checked()
    opacity = "e => getComputedStyle(e).opacity"
    lit = {e.get_attribute("data-of"): e.evaluate(opacity) for e in tab.locator(".lit").all()}
    assert {name for name, shown in lit.items() if shown == "1"} == {"ws"}
    assert tab.locator('.weight .lit[data-of="ws"]').count() == 1
    assert tab.locator(".activation .lit").count() == 6


def test_by_keyboard_one_goes_from_method_to_method_and_from_step_to_step(tab: Page) -> None:
    tab.locator("[name=axes]").first.focus()
    for name in METHODS[1:]:
        tab.keyboard.press("ArrowDown")
        expect(tab.locator(f"[name=axes][value={name}]")).to_be_checked()
        expect(tab.locator(f"[name=axes][value={name}]")).to_be_focused()
        outline = tab.locator(f"label:has([value={name}])").evaluate(
            "e => getComputedStyle(e).outlineStyle"
        )
        assert outline == "solid"
    tab.keyboard.press("Tab")
    expect(tab.locator('[name=step][value="1"]')).to_be_focused()
    tab.keyboard.press("ArrowRight")
    expect(tab.locator('[name=step][value="2"]')).to_be_checked()
    expect(tab.locator("[name=axes][value=bcn]")).to_be_checked()


@pytest.mark.parametrize("page", [HOME, FIRST])
def test_each_step_lights_symbols_their_variables_and_the_line_that_binds_them(
    tab: Page, address: str, root: Path, page: str
) -> None:
    tab.goto(f"{address}/{page}")
    source = (root / "labml_ws" / "standardization.py").read_text().split("\n")
    steps = {
        "1": (["flat"], "flat = "),
        "2": (["mean", "var"], "var, mean = "),
        "3": (["flat", "mean"], "w_hat = "),
        "4": (["eps", "var", "w_hat"], "w_hat = "),
    }
    for step, (names, binds) in steps.items():
        choose(tab, "step", step)
        lit = tab.evaluate(LIT)
        assert lit["formula"] == lit["code"] == names
        (line,) = lit["lines"]
        assert source[int(line) - 1].strip().startswith(binds)


def test_a_symbol_and_its_variable_have_one_color(tab: Page) -> None:
    colors = tab.evaluate(
        """() => [...document.querySelectorAll('.picture .excerpt [data-code]')].map(e => [e.dataset.code, getComputedStyle(e).color])"""
    )
    by_name: dict[str, set[str]] = {}
    for name, color in colors:
        if name != "eps":
            by_name.setdefault(name, set()).add(color)
    assert set(by_name) == {"flat", "mean", "var", "w_hat"}
    assert all(len(of) == 1 for of in by_name.values())
    assert len({*map(tuple, by_name.values())}) == 4
    raw = tab.locator(".bars circle").first.evaluate("e => getComputedStyle(e).fill")
    lit = tab.locator('.lit[data-of="ws"]').evaluate("e => getComputedStyle(e).fill")
    assert {raw} == {lit} == by_name["flat"]
    choose(tab, "step", "4")
    hat = tab.locator(".bars circle").first.evaluate("e => getComputedStyle(e).fill")
    assert {hat} == by_name["w_hat"]


def test_the_home_page_s_formula_is_tied_to_its_code(tab: Page) -> None:
    tab.locator('.excerpt .katex-html [data-code="mean"]').first.hover()
    lit = tab.evaluate(
        "[...document.querySelectorAll('.excerpt :is(.katex-html, pre) .lit')].map(e => e.dataset.code + ' ' + (e.closest('pre') ? 'code' : 'formula'))"
    )
    assert set(lit) == {"mean code", "mean formula"}
    expect(tab.locator("#card")).to_contain_text("the mean of a filter")
    href = tab.locator(".excerpt .l > a[aria-label]").last.get_attribute("href")
    assert re.fullmatch(r"annotated/standardization\.html#L\d+", href or "")


def test_the_marks_stand_where_the_numbers_of_each_step_are(tab: Page) -> None:
    rows = {"1": "1", "2": "1", "3": "2", "4": "3"}
    for step, row in rows.items():
        choose(tab, "step", step)
        texts = tab.locator(f'[data-row="{row}"] td').all_inner_texts()[:9]
        numbers = [float(text.replace("−", "-")) for text in texts]
        assert tab.evaluate(MARKS) == pytest.approx(numbers, abs=0.02)
        lit = tab.locator("[data-row]").evaluate_all(
            "rows => rows.filter(r => getComputedStyle(r.cells[1]).backgroundColor !== 'rgba(0, 0, 0, 0)').map(r => r.dataset.row)"
        )
        assert lit == [row]


@pytest.mark.parametrize("page", [HOME, FIRST])
@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_nothing_moves_with_a_choice_and_nothing_is_too_wide(
    tab: Page, address: str, page: str, width: int
) -> None:
    tab.set_viewport_size({"width": width, "height": 844})
    tab.goto(f"{address}/{page}")
    boxes = """() => [...document.querySelectorAll('.picture :is(fieldset, .stage, table, .excerpt), .picture')]
      .map(e => { const r = e.getBoundingClientRect(), o = document.querySelector('.picture').getBoundingClientRect(); return [r.x, r.y - o.y, r.width, r.height]; })"""
    before = tab.evaluate(boxes)
    for name in METHODS:
        choose(tab, "axes", name)
        assert tab.evaluate(boxes) == before, name
    for step in "1234":
        choose(tab, "step", step)
        assert tab.evaluate(boxes) == before, step
    assert tab.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    wide = tab.evaluate(
        "[...document.querySelectorAll('.picture :is(label, p, td, text)')].filter(e => e.getBoundingClientRect().right > innerWidth).length"
    )
    assert wide == 0


def test_a_finger_finds_each_choice_and_letters_can_be_read_on_a_phone(
    browser: Browser, address: str
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    page.goto(f"{address}/{HOME}")
    for label in page.locator(".picture label").all():
        box = label.bounding_box()
        assert box
        assert min(box["width"], box["height"]) >= 40
    page.locator(".axes label", has_text="LN").tap()
    expect(page.locator("[value=ln]")).to_be_checked()
    sizes = page.evaluate(
        """() => [...document.querySelectorAll('.stage text')].map(e => parseFloat(getComputedStyle(e).fontSize) * e.getScreenCTM().a || parseFloat(getComputedStyle(e).fontSize) * Math.abs(e.getScreenCTM().b))"""
    )
    assert min(sizes) >= 10
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_that_it_says_can_be_read_in_light_and_in_dark(
    browser: Browser, address: str, scheme: str
) -> None:
    context = browser.new_context(color_scheme=scheme, reduced_motion="reduce")
    page = context.new_page()
    page.goto(f"{address}/{HOME}")
    faint = {}
    for step in "1234":
        choose(page, "step", step)
        for text, color, ground in page.evaluate(COLORS):
            one, other = sorted((luminance(color), luminance(ground)))
            if (other + 0.05) / (one + 0.05) < 4.5:
                faint[step, text] = (color, ground)
    lit = page.evaluate(
        "[...document.querySelectorAll('.stage .lit, .stage .cells')].map(e => getComputedStyle(e).fill)"
    )
    context.close()
    assert len(set(lit)) >= 3
    assert faint == {}


@pytest.mark.parametrize(("motion", "moves"), [("reduce", False), ("no-preference", True)])
def test_it_moves_only_for_whom_motion_is_welcome(
    browser: Browser, address: str, motion: str, moves: bool
) -> None:
    context = browser.new_context(reduced_motion=motion)
    page = context.new_page()
    page.goto(f"{address}/{HOME}")
    lasting = page.locator(".bars circle").first.evaluate(
        "e => getComputedStyle(e).transitionProperty !== 'none' && parseFloat(getComputedStyle(e).transitionDuration) > 0"
    )
    context.close()
    assert lasting == moves


def test_it_is_printed_as_it_stands(tab: Page) -> None:
    tab.emulate_media(media="print")
    for part in (".stage svg", ".bars", ".filter tbody", ".picture .excerpt .katex-html"):
        expect(tab.locator(part).first).to_be_visible()
    expect(tab.locator("[name=step]").first).to_be_hidden()
