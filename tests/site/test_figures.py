"""Figures can be read on any window, in either theme, and stand in the grid of their page."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

LEAST, CONTRAST = 11, 4.5  # pixels; as WCAG asks of text
FIGURES = "figure.output"

WORDS = r"""() => {
  const probe = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = (color) => {
    probe.fillStyle = '#000';
    probe.fillStyle = color;
    probe.fillRect(0, 0, 1, 1);
    return [...probe.getImageData(0, 0, 1, 1).data].slice(0, 3).map((v) => v / 255);
  };
  const light = (color) => rgb(color).map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const style = getComputedStyle(document.body);
  const papers = ['--paper', '--paper-code'].map((name) => light(style.getPropertyValue(name)));
  return [...document.querySelectorAll('figure.output svg text')].filter((t) => t.checkVisibility()).map((t) => {
    const {fill, fontSize} = getComputedStyle(t), m = t.getScreenCTM(), own = light(fill);
    const contrast = Math.min(...papers.map((p) => (Math.max(own, p) + .05) / (Math.min(own, p) + .05)));
    return {words: t.textContent, size: parseFloat(fontSize) * Math.hypot(m.a, m.b), contrast, fill};
  });
}"""


@pytest.fixture(scope="module")
def drawn(site: Path, page_names: list[str]) -> list[str]:
    return [
        name for name in page_names if '<figure class="output"' in (site / name).read_text()
    ]


def opened(browser: Browser, address: str, page: str, width: int, **options: Any) -> Page:
    tab = browser.new_page(viewport={"width": width, "height": 900}, **options)
    tab.goto(f"{address}/{page}")
    return tab


@pytest.mark.parametrize(
    ("width", "scheme"), [(390, "light"), (1024, "dark"), (1440, "light"), (1440, "dark")]
)
def test_words_in_a_figure_can_be_read(
    browser: Browser, address: str, drawn: list[str], width: int, scheme: str
) -> None:
    count, small, faint = 0, [], []
    for page in drawn:
        tab = opened(browser, address, page, width, color_scheme=scheme)
        words = tab.evaluate(WORDS)
        tab.close()
        count += len(words)
        small += [(page, w["words"], w["size"]) for w in words if w["size"] < LEAST]
        faint += [(page, w["words"], w["fill"]) for w in words if w["contrast"] < CONTRAST]
    assert count > 300
    assert small == []
    assert faint == []


@pytest.mark.parametrize("width", [390, 600, 1024])
def test_no_figure_scrolls(
    browser: Browser, address: str, drawn: list[str], width: int
) -> None:
    seen, scrolling = 0, []
    for page in drawn:
        tab = opened(browser, address, page, width)
        sizes = tab.evaluate(
            f"[...document.querySelectorAll('{FIGURES}')].map(f => [f.scrollWidth, f.clientWidth])"
        )
        tab.close()
        seen += len(sizes)
        scrolling += [(page, *size) for size in sizes if size[0] > size[1] + 1]
    assert seen > 25
    assert scrolling == []


def test_panels_stand_below_one_another_on_a_phone_and_side_by_side_elsewhere(
    browser: Browser, address: str
) -> None:
    rows = {}
    for width in (390, 1440):
        tab = opened(browser, address, "tutorials/singularities.html", width)
        tops = tab.evaluate(
            "[...document.querySelectorAll('.panels')].at(-1).querySelectorAll('svg').values()"
            ".map(p => Math.round(p.getBoundingClientRect().top)).toArray()"
        )
        rows[width] = len(set(tops))
        assert len(tops) == 2
        tab.close()
    assert rows == {390: 2, 1440: 1}


EDGES = """() => {
  const left = (e) => Math.round(e.getBoundingClientRect().left);
  const text = (e) => { const r = document.createRange(); r.selectNodeContents(e); return Math.round(r.getClientRects()[0].left); };
  const all = (selector, of) => [...new Set([...document.querySelectorAll(selector)].filter((e) => e.checkVisibility()).map(of))];
  return {
    prose: all('.sec > .prose > p:first-child, .sec > :is(h1, h2):not(.heard)', text),
    code: all('.sec > .code > pre .l:first-child', text),
    figures: all('.sec figure.output', left),
    place: all('.place summary', text).slice(0, 1),
    right: Math.max(...[...document.querySelectorAll('.annotated *')].filter((e) => e.checkVisibility() && !e.closest('.heard, [hidden]')).map((e) => e.getBoundingClientRect().right)),
    opening: document.querySelector('.sec').getBoundingClientRect().right,
  };
}"""


@pytest.mark.parametrize("width", [1280, 1440, 1920])
def test_everything_on_a_page_shares_its_edges(
    browser: Browser, address: str, width: int
) -> None:
    tab = opened(browser, address, "tutorials/landscape.html", width)
    edges = tab.evaluate(EDGES)
    tab.close()
    (prose,), (figures,) = edges["prose"], edges["figures"]
    assert edges["code"] == [figures]
    assert edges["place"] == [prose]
    assert edges["right"] <= edges["opening"] + 1


@pytest.mark.parametrize("width", [1024, 1280, 1440])
def test_code_ends_before_the_edge(browser: Browser, address: str, width: int) -> None:
    for page in (
        "annotated/experiment.html",
        "annotated/layers.html",
        "tutorials/weights.html",
    ):
        tab = opened(browser, address, page, width)
        wide = tab.evaluate(
            "[...document.querySelectorAll('.sec > .code > pre > code')]"
            ".filter(e => e.scrollWidth > e.clientWidth + 1).length"
        )
        tab.close()
        assert wide == 0, page


def test_prose_stays_beside_long_code_and_above_nothing(browser: Browser, address: str) -> None:
    tab = opened(browser, address, "annotated/suite.html", 1440)
    places = tab.evaluate(
        """async () => {
      const section = [...document.querySelectorAll('.sec')].find((s) => s.querySelector(':scope > .code')?.offsetHeight > 700 && !s.matches('.sec-holds:not(.sec-goes-on)') && s.querySelector(':scope > .prose')?.offsetHeight < 400);
      const prose = section.querySelector(':scope > .prose'), code = section.querySelector(':scope > .code');
      scrollTo({top: scrollY + code.getBoundingClientRect().top + 250, behavior: 'instant'});
      await new Promise(requestAnimationFrame);
      return [prose.getBoundingClientRect().top, document.querySelector('.place').getBoundingClientRect().bottom];
    }"""
    )
    tab.close()
    assert abs(places[0] - places[1]) < 30


def test_what_steps_follow_does_not_cover_them(browser: Browser, address: str) -> None:
    """A class whose settings stand below it scrolls away with its first line."""
    tab = opened(browser, address, "annotated/experiment.html", 1440)
    positions = tab.evaluate(
        "[...document.querySelectorAll('.sec-holds:not(.sec-goes-on) > :is(.prose, .code)')].map(e => getComputedStyle(e).position)"
    )
    tab.close()
    assert positions
    assert set(positions) == {"relative"}


def test_a_gap_in_the_numbers_is_seen(browser: Browser, address: str) -> None:
    tab = opened(browser, address, "annotated/standardization.html", 1440)
    jumps = tab.evaluate(
        """() => [...document.querySelectorAll('.sec > .code > pre')].flatMap((pre) => {
          const lines = [...pre.querySelectorAll('.l')];
          return lines.slice(1).map((line, i) => [lines[i], line]).filter(([a, b]) => a.id && b.id
            && parseInt(b.id.match(/\\d+$/)) > parseInt(a.id.match(/\\d+$/)) + 1).map(([, b]) => b.classList.contains('gap'));
        })"""
    )
    tab.close()
    assert jumps
    assert all(jumps)
