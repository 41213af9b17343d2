"""Taking a page along, in a real Chromium: what is copied is the source, and what is downloaded is the file."""

from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

pytestmark = pytest.mark.browser

origins = pytest.mark.parametrize("origin", ["http", "file"])
PAGE = "annotated/standardization.html"
MODULE = "labml_ws/standardization.py"
CLIPBOARD = ["clipboard-read", "clipboard-write"]
# What a browser does with a page that came by plain http from another machine.
NO_CLIPBOARD = "Object.defineProperty(navigator, 'clipboard', {value: undefined})"


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(
        permissions=CLIPBOARD, reduced_motion="reduce", accept_downloads=True
    )
    yield made
    made.close()


@pytest.fixture
def bases(address: str, site: Path) -> dict[str, str]:
    return {"http": address, "file": site.as_uri()}


def clipboard(page: Page) -> str:
    return page.evaluate("navigator.clipboard.readText()")


def pasted(page: Page) -> str:
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('textarea'), {id: 'paste'}))"
    )
    page.focus("#paste")
    page.keyboard.press("Control+V")
    return page.input_value("#paste")


@origins
def test_a_section_is_copied_as_it_stands_in_the_source(
    context: BrowserContext, bases: dict[str, str], root: Path, origin: str
) -> None:
    source = (root / MODULE).read_text().split("\n")
    page = context.new_page()
    page.goto(f"{bases[origin]}/{PAGE}")
    code = (
        page.locator(
            ".sec", has=page.locator(".permalink[href='#labml_ws.standardization.standardize']")
        )
        .locator(".code")
        .last
    )
    code.hover()
    button = code.locator("button.corner")
    expect(button).to_have_count(1)
    button.click()
    expect(page.get_by_role("status").filter(has_text="Copied")).to_be_visible()
    copied = clipboard(page).rstrip("\n").split("\n")
    numbers = [
        int(n[1:]) for n in code.locator(".l[id]").evaluate_all("all => all.map(l => l.id)")
    ]
    assert len(numbers) > 1
    assert [line for line in copied if line.strip()] == [source[n - 1] for n in numbers]
    assert copied[0].startswith("def standardize(")


def test_a_demo_is_copied_without_what_indents_it(
    context: BrowserContext, bases: dict[str, str], root: Path
) -> None:
    source = (root / MODULE).read_text().split("\n")
    page = context.new_page()
    page.goto(f"{bases['http']}/{PAGE}")
    code = page.locator(".sec > .code", has=page.locator("button.corner")).last
    numbers = [
        int(n[1:]) for n in code.locator(".l[id]").evaluate_all("all => all.map(l => l.id)")
    ]
    lines = source[numbers[0] - 1 : numbers[-1]]
    assert numbers[0] > source.index('if __name__ == "__main__":') + 1
    assert lines[0].startswith("    ")
    button = code.locator("button.corner")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="Copied")).to_be_visible()
    copied = clipboard(page)
    assert copied.rstrip() == dedent("\n".join(lines))
    compile(copied, "pasted", "exec")


@origins
@pytest.mark.parametrize(("what", "folder"), [("module", ""), ("code only", "code-only/")])
def test_a_module_is_copied_whole_or_as_code_only(
    context: BrowserContext,
    bases: dict[str, str],
    site: Path,
    origin: str,
    what: str,
    folder: str,
) -> None:
    page = context.new_page()
    page.goto(f"{bases[origin]}/{PAGE}")
    page.get_by_role("button", name=f"Copy {what}", exact=True).click()
    expect(page.get_by_role("status").filter(has_text=f"Copied {what}")).to_be_visible()
    wanted = (site / "download" / f"{folder}{MODULE}").read_text()
    # A clipboard knows nothing of a last line's end.
    assert clipboard(page).rstrip() == wanted.rstrip()


def test_by_keyboard_and_without_a_clipboard_a_section_is_copied_all_the_same(
    context: BrowserContext, bases: dict[str, str], root: Path
) -> None:
    page = context.new_page()
    page.add_init_script(NO_CLIPBOARD)
    page.goto(f"{bases['http']}/{PAGE}")
    button = page.locator(".sec-function button.corner").first
    button.focus()
    assert button.evaluate("b => getComputedStyle(b).opacity") == "1"
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="Copied")).to_be_visible()
    assert button.evaluate("b => b === document.activeElement")
    copied = pasted(page).rstrip("\n").split("\n")
    assert copied[0].startswith("def weight_standardization(")
    assert set(copied) <= set((root / MODULE).read_text().split("\n"))


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("Download module, standardization.py", MODULE),
        ("Download code only, standardization_code_only.py", f"code-only/{MODULE}"),
        ("Download notebook", "labml_ws/standardization.ipynb"),
        ("Download all layers in one file", "labml_ws_single.py"),
    ],
)
def test_what_is_downloaded_is_the_file(
    context: BrowserContext, bases: dict[str, str], site: Path, name: str, place: str
) -> None:
    page = context.new_page()
    page.goto(f"{bases['http']}/{PAGE}")
    with page.expect_download() as download:
        page.get_by_role("link", name=name, exact=True).click()
    said = name.rpartition(", ")[2]
    named = said if said.endswith(".py") else Path(place).name
    assert download.value.suggested_filename == named
    assert download.value.path().read_bytes() == (site / "download" / place).read_bytes()


def test_when_nothing_can_be_copied_the_reader_is_told(
    context: BrowserContext, bases: dict[str, str]
) -> None:
    page = context.new_page()
    page.route("**/standardization.js", lambda route: route.abort())
    page.goto(f"{bases['http']}/{PAGE}")
    page.get_by_role("button", name="Copy module", exact=True).click()
    expect(page.get_by_role("status").filter(has_text="Could not copy")).to_be_visible()


def test_without_javascript_there_is_no_button_that_does_nothing(
    browser: Browser, bases: dict[str, str]
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{bases['http']}/{PAGE}")
    shown = page.locator(".annotated button").evaluate_all(
        "all => all.filter(b => b.checkVisibility()).length"
    )
    links = page.locator(".take a").count()
    context.close()
    assert shown == 0
    assert links >= 4


def test_every_listing_has_one_button_and_every_page_its_line(
    context: BrowserContext, bases: dict[str, str], page_names: list[str]
) -> None:
    page = context.new_page()
    lines = 0
    for name in page_names:
        page.goto(f"{bases['http']}/{name}")
        page.wait_for_function(
            "!document.getElementById('late')"
        )  # the script that comes last has run
        counts = page.evaluate(
            """() => [...document.querySelectorAll(".sec > .code")].map(code => [
              code.querySelector(".l") ? 1 : 0,
              code.querySelectorAll("button.corner").length,
              code.querySelectorAll("pre:has(.l) .md-code__button, pre:has(.l) .md-clipboard").length])"""
        )
        assert [c for c in counts if c[0] != c[1] or c[2]] == [], name
        annotated = page.locator(".annotated").count()
        assert page.locator(".take").count() == annotated, name
        lines += annotated
    assert lines > 10


def test_on_a_phone_everything_shows_and_is_large_enough_to_tap(
    browser: Browser, bases: dict[str, str]
) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.goto(f"{bases['http']}/{PAGE}")
    page.evaluate("document.fonts.ready.then(() => true)")
    boxes = page.locator(".corner, .take :is(a, button)").evaluate_all(
        """all => all.map(e => { const r = e.getBoundingClientRect();
          return [e.textContent, r.width, r.height, r.right, getComputedStyle(e).opacity] })"""
    )
    context.close()
    assert len(boxes) > 10
    assert [b for b in boxes if b[1] < 24 or b[2] < 24 or b[3] > 390 or b[4] != "1"] == []
