"""One browser, one server, one visit to every page, measured at every width: the tests read what the visits saw."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.site.browser import HEIGHT, WIDTHS, launch, pages, serve

PATIENCE = 120_000  # milliseconds: a page takes one second, on a machine that does nothing else

FONTS = "document.fonts.ready.then(() => true)"
# The first frame lays the page out at its new width, by the second one its scripts have answered. (Without scripts
# there is nobody to answer, and no frame is ever announced.)
FRAMES = (
    "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
)

# Read in the page, after its fonts have come. A formula or a listing inside something closed (<details>, a tab) has no
# box and is not looked at; `checkVisibility` tells.
FACTS = r"""
() => {
  const shown = selector => [...document.querySelectorAll(selector)].filter(e => e.checkVisibility());
  const box = e => { const r = e.getBoundingClientRect(); return {left: r.left, right: r.right, top: r.top, bottom: r.bottom, width: r.width, height: r.height}; };
  const text = e => e.textContent.trim().replace(/\s+/g, ' ');
  const prose = document.querySelector('article, main, body').cloneNode(true);
  prose.querySelectorAll('pre, code, script, style, .katex').forEach(e => e.remove());
  return {
    overflow: document.documentElement.scrollWidth - window.innerWidth,
    h1: shown('h1').map(text),
    formulas: shown('.katex').map(e => ({...box(e), mathml: e.querySelector('math') !== null, text: text(e).slice(0, 60)})),
    listings: shown('article pre').map(e => ({...box(e), text: text(e).slice(0, 60)})),
    words: text(prose),
    sections: shown('.annotated .sec').map(s => {
      const part = selector => s.querySelector(`:scope > ${selector}`);
      const [head, prose, code] = [part(':is(h1, h2, h3, h4, h5, h6):not(.heard)'), part('.prose'), part('.code')];
      // What is read stands under its heading, if that is one to see. The heading's margin is a part of its place in the grid, its padding none of its words.
      const above = e => e === head ? parseFloat(getComputedStyle(e).marginTop) : 0;
      const read = [head, prose].filter(e => e).map(e => ({...box(e), top: box(e).top - above(e)})), lead = head ?? prose?.firstElementChild;
      const tall = lead?.matches('div.math, h1, h2') ? lead.getBoundingClientRect().height - parseFloat(getComputedStyle(lead).paddingTop) : 0;
      const over = {
        left: Math.min(...read.map(r => r.left)), right: Math.max(...read.map(r => r.right)),
        top: Math.min(...read.map(r => r.top)), bottom: Math.max(...read.map(r => r.bottom)),
        width: Math.max(...read.map(r => r.width)), height: read.reduce((sum, r) => sum + r.height, 0),
      };
      return {text: text(s).slice(0, 60), prose: read.length ? over : null, code: code && box(code), tall};
    }),
    images: shown('img:not([loading=lazy])').map(e => ({src: e.currentSrc || e.src, drawn: e.complete && e.naturalWidth > 0})),
    fonts: [...document.fonts].filter(f => f.status === 'error').map(f => f.family),
  };
}
"""


@dataclass
class Heard:
    """What a page said while it was open."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Visit:
    """What a page showed, by the window's width, and what it said while it was open."""

    page: str
    facts: dict[int, dict[str, Any]]
    heard: Heard


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with launch() as started:
        yield started


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    with serve(site) as served:
        yield served


@pytest.fixture(scope="session")
def page_names(site: Path) -> list[str]:
    return pages(site)


Visits = Callable[..., list[Visit]]


@pytest.fixture(scope="session")
def visits(browser: Browser, address: str, site: Path, page_names: list[str]) -> Visits:
    """`visits("http")` opens every page by http, `visits("file")` from its folder; each only once."""

    @cache
    def visit_all(origin: str, javascript: bool = True) -> list[Visit]:
        context = browser.new_context(java_script_enabled=javascript, reduced_motion="reduce")
        context.set_default_timeout(PATIENCE)
        base = address if origin == "http" else site.as_uri()
        tab = context.new_page()
        heard = Heard()
        tab.on(
            "console",
            lambda m: heard.errors.append(m.text) if m.type in ("error", "warning") else None,
        )
        tab.on("pageerror", lambda error: heard.errors.append(str(error)))
        tab.on("request", lambda request: heard.requests.append(request.url))
        # What is aborted is what a page was still loading when the visit ended; what is missing fails otherwise.
        tab.on(
            "requestfailed",
            lambda r: heard.failed.append(r.url) if r.failure != "net::ERR_ABORTED" else None,
        )
        tab.on(
            "response",
            lambda r: heard.failed.append(f"{r.url} {r.status}") if r.status >= 400 else None,
        )
        seen = []
        for page in page_names:
            heard = Heard()
            facts = {}
            tab.set_viewport_size({"width": WIDTHS[0], "height": HEIGHT})
            tab.goto(f"{base}/{page}", wait_until="load")
            for width in WIDTHS:
                tab.set_viewport_size({"width": width, "height": HEIGHT})
                tab.evaluate(FONTS)
                if javascript:
                    tab.evaluate(FRAMES)
                facts[width] = tab.evaluate(FACTS)
            seen.append(Visit(page, facts, heard))
            tab.goto("about:blank")  # a page's last words are heard before the next one opens
        context.close()
        return seen

    return visit_all
