"""Where am I, what next: five parts whose names are their pages' titles, a numbered path, and one table of contents."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, expect

from tests.site.browser import serve

pytestmark = pytest.mark.browser

PARTS = ["Learn", "Code", "Experiments", "Playground", "Reference"]
KINDS = [
    "annotated/standardization.html",
    "tutorials/gradients.html",
    "glossary.html",
    "reference.html",
    "variants.html",
]
TITLE = re.compile(r"<h1[^>]*>(.*?)</h1>", re.DOTALL)
LEAST = 40  # pixels, for a finger


class Loader(yaml.SafeLoader):
    """Of `!ENV` the names and the default; nothing is looked up."""


Loader.add_constructor("!ENV", lambda loader, node: None)


def entries(items: list[Any]) -> list[tuple[str, str]]:
    """Names and pages of a part of the navigation, in their order."""
    found = []
    for item in items:
        for name, what in item.items():
            found += [(name, what)] if isinstance(what, str) else entries(what)
    return found


@pytest.fixture(scope="module")
def nav(root: Path) -> dict[str, Any]:
    config = yaml.load((root / "mkdocs.yml").read_text(), Loader)
    return {name: what for item in config["nav"] for name, what in item.items()}


def said(html: str) -> str:
    """A title as it is read: without the link to itself and what only a search finds."""
    return re.sub(r'<a class="headerlink".*?</a>|<[^>]+>', "", html, flags=re.DOTALL).strip()


def test_there_are_five_parts_and_what_is_made_of_them(nav: dict[str, Any]) -> None:
    assert [*nav] == ["Home", *PARTS, "How these pages are made"]


def test_a_name_is_its_page_s_title(site: Path, nav: dict[str, Any]) -> None:
    named = entries([{name: what} for name, what in nav.items() if name != "Home"])
    assert len(named) > 40
    wrong = {}
    for name, page in named:
        html = (site / page).with_suffix(".html").read_text()
        (title,) = TITLE.findall(html)
        tab = re.search(r"<title>(.*?) - labml_ws</title>", html)
        if (said(title), tab and tab[1]) != (name, name):
            wrong[page] = (name, said(title), tab and tab[1])
    assert wrong == {}


def test_no_page_is_in_two_places(nav: dict[str, Any]) -> None:
    pages = [page for _, page in entries([{name: what} for name, what in nav.items()])]
    assert sorted(pages) == sorted(set(pages))


def test_the_path_is_numbered_and_is_that_of_the_home_page(
    site: Path, nav: dict[str, Any]
) -> None:
    steps = entries(nav["Learn"])
    home = (site / "index.html").read_text()
    cards = re.findall(r'<strong><a href="([^"]+)">(.*?)</a></strong>', home)
    assert cards == [(page.replace(".md", ".html"), name) for name, page in steps]
    for number, (name, page) in enumerate(steps, 1):
        html = (site / page).with_suffix(".html").read_text()
        assert f'<span class="of">{number} of {len(steps)}</span>' in html, name
    for page in ("annotated/convert.html", "glossary.html", "index.html"):
        assert 'class="of"' not in (site / page).read_text()


def test_every_module_and_every_experiment_is_listed(site: Path, nav: dict[str, Any]) -> None:
    for page, folder in (("modules.html", "annotated"), ("gallery.html", "tutorials")):
        html = (site / page).read_text()
        article = html[html.index("<article") :]
        inside = {f"{folder}/{path.name}" for path in (site / folder).glob("*.html")}
        current = {
            path for path in inside if "http-equiv" not in (site / path).read_text()[:400]
        }
        assert current
        assert current - set(re.findall(r'href="([^"#]+)"', article)) == set(), page


@pytest.mark.parametrize("width", [1220, 1250, 1280, 1440])
def test_no_tab_is_cut(browser: Browser, address: str, width: int) -> None:
    tab = browser.new_page(viewport={"width": width, "height": 900})
    tab.goto(f"{address}/annotated/layers.html")
    links = tab.locator(".md-tabs__link")
    assert [text.strip() for text in links.all_inner_texts()] == PARTS
    cut = tab.evaluate(
        """() => [...document.querySelectorAll('.md-tabs__link')].filter((link) => {
          const box = link.getBoundingClientRect();
          return box.left < 0 || box.right > innerWidth || link.scrollWidth > link.clientWidth + 1;
        }).length"""
    )
    list_ = tab.locator(".md-tabs__list")
    assert list_.evaluate("list => list.scrollWidth <= list.clientWidth")
    assert tab.locator(".md-tabs__item--active").inner_text().strip() == "Learn"
    tab.close()
    assert cut == 0


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("page", KINDS)
def test_one_table_of_contents_says_which_section_is_read(
    browser: Browser, address: str, page: str, width: int
) -> None:
    tab = browser.new_page(viewport={"width": width, "height": 900})
    tab.goto(f"{address}/{page}")
    assert tab.locator(".place-page").count() == 1
    assert tab.locator(".md-nav--secondary, [data-md-component=toc]").count() == 0
    links = tab.locator(".place-page a")
    addresses = links.evaluate_all("links => links.map(link => link.getAttribute('href'))")
    names = links.evaluate_all("links => links.map(link => link.textContent)")
    assert len(names) > 2
    assert all(name.strip() for name in names)
    for number in (1, len(names) // 2):
        tab.evaluate("hash => { location.hash = hash; }", addresses[number])
        expect(tab.locator(".now")).to_have_text(names[number])
        assert tab.locator(".place-page [aria-current]").count() == 1
        # Below the line that says it, and not behind it.
        top = tab.evaluate(
            "hash => document.getElementById(decodeURIComponent(hash.slice(1))).getBoundingClientRect().top",
            addresses[number],
        )
        bar = tab.locator(".place").bounding_box()
        assert bar
        assert top >= bar["y"] + bar["height"] - 1
    tab.evaluate("scrollTo(0, 0)")
    expect(tab.locator(".now")).to_have_text("")
    tab.close()


def test_a_list_opens_and_closes_by_hand_and_by_key(browser: Browser, address: str) -> None:
    tab = browser.new_page(viewport={"width": 1440, "height": 900})
    tab.goto(f"{address}/annotated/convert.html")
    part, page = tab.locator(".place-part"), tab.locator(".place-page")
    part.locator("summary").click()
    here = part.locator("[aria-current=page]")
    expect(here).to_have_text("Into a model and out again")
    expect(here).to_be_visible()
    page.locator("summary").click()
    expect(here).to_be_hidden()
    tab.keyboard.press("Escape")
    expect(page.locator("ul").first).to_be_hidden()
    expect(page.locator("summary")).to_be_focused()
    page.locator("summary").click()
    tab.mouse.click(900, 800)
    expect(page.locator("ul").first).to_be_hidden()
    tab.close()


def test_without_a_script_the_lists_open_too(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(f"{address}/tutorials/weights.html")
    tab.locator(".place-page summary").click()
    tab.locator(".place-page a").last.click()
    assert "#" in tab.url
    context.close()


@pytest.mark.parametrize(
    "page", ["index.html", "playground.html", "annotated/layers.html", "tutorials/weights.html"]
)
def test_a_finger_hits_what_it_means(browser: Browser, address: str, page: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    tab = context.new_page()
    tab.goto(f"{address}/{page}")
    for summary in tab.locator(".place summary").all():
        summary.click()
    small = tab.evaluate(
        f"""() => [...document.querySelectorAll(
          '.md-header :is(label, button, a), .place summary, .place a, .md-footer a, .pg-controls :is(input, select, button)'
        )].filter((e) => e.checkVisibility({{visibilityProperty: true}}) && !e.closest('.md-search__inner'))
          .map((e) => [e.outerHTML.slice(0, 90), e.getBoundingClientRect().height])
          .filter(([, height]) => height < {LEAST})"""
    )
    context.close()
    assert small == []


@pytest.mark.parametrize("origin", ["sub-path", "folder"])
def test_a_wrong_address_is_answered_in_the_site_s_look(
    browser: Browser, site: Path, tmp_path: Path, origin: str
) -> None:
    (tmp_path / "ws").symlink_to(site)
    shutil.copy(site / "404.html", tmp_path / "404.html")
    tab = browser.new_page(color_scheme="dark")
    with serve(tmp_path) as host:
        root = f"{host}/ws/" if origin == "sub-path" else f"{site.as_uri()}/"
        tab.goto(f"{root}annotated/none.html" if origin == "sub-path" else f"{root}404.html")
        look = tab.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).fontFamily]"
        )
        assert look[0] == "rgb(23, 25, 30)"
        assert "Source Serif 4" in look[1]
        first = tab.get_by_role("link").first
        expect(first).to_have_attribute("href", f"{root}index.html")
        first.click()
        expect(tab.locator("h1")).to_contain_text("Weight Standardization")
    tab.close()
