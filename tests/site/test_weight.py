"""What a first visit costs, in bytes as they travel."""

import gzip
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

PAGE = "annotated/standardization.html"
KB = 1024


def test_the_page_itself_is_light(site: Path) -> None:
    packed = len(gzip.compress((site / PAGE).read_bytes(), 9, mtime=0))
    assert packed <= 30_000, f"{PAGE} is {packed / 1000:.1f} kB packed, 30 is the limit"


@pytest.mark.parametrize("page", [PAGE, "index.html"])
def test_a_first_visit_is_light(browser: Browser, address: str, page: str) -> None:
    context = browser.new_context()
    tab = context.new_page()
    session = context.new_cdp_session(tab)
    names: dict[str, str] = {}
    sizes: dict[str, int] = {}
    session.on(
        "Network.responseReceived",
        lambda e: names.update({e["requestId"]: e["response"]["url"]}),
    )
    session.on(
        "Network.loadingFinished",
        lambda e: sizes.update({e["requestId"]: e["encodedDataLength"]}),
    )
    session.send("Network.enable")
    tab.goto(f"{address}/{page}", wait_until="networkidle")
    context.close()
    travelled = {
        urlsplit(names[one]).path: size
        for one, size in sizes.items()
        if names[one].startswith("http")
    }
    travelled.pop(
        "/search.json", None
    )  # Zensical's search fetches its index whether or not somebody searches
    assert len(travelled) >= 3
    table = "\n".join(
        f"{size / KB:7.1f} kB  {path}"
        for path, size in sorted(travelled.items(), key=lambda x: -x[1])
    )
    assert sum(travelled.values()) <= 200 * KB, f"a first visit of {page} loads\n{table}"


def test_katex_is_loaded_where_there_is_a_formula(site: Path, page_names: list[str]) -> None:
    pages = {name: (site / name).read_text() for name in page_names}
    wrong = [
        name
        for name, text in pages.items()
        if ('class="katex' in text) != ("/built/katex." in text)
    ]
    assert wrong == []
    assert any("/built/katex." not in text for text in pages.values())


def test_a_page_loads_one_script_and_its_own_sheets(site: Path, page_names: list[str]) -> None:
    for name in page_names:
        text = (site / name).read_text()
        own = name == "playground.html"  # four scripts that no other page needs
        (late,) = re.findall(r'data-src="([^"]*)"', text)
        assert len(late.split()) == 1 + 4 * own, name
        assert "<script src=" not in text, name
        assert text.count('<link rel="stylesheet"') == 3 - ("/built/katex." not in text), name


def test_the_parts_of_a_formula_that_are_drawn_keep_their_size(
    browser: Browser, address: str
) -> None:
    """A root's sign is a picture; it once vanished, because another sheet came to set the height of pictures."""
    tab = browser.new_page()
    tab.goto(f"{address}/{PAGE}")
    heights = tab.evaluate(
        "[...document.querySelectorAll('.katex svg')].map((svg) => svg.getBoundingClientRect().height)"
    )
    tab.close()
    assert heights
    assert min(heights) > 3
