"""An old address leads to where its page is now: with scripts and without, from a host and from a folder."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.site.browser import leads_on

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def moved(site: Path) -> list[Path]:
    return [path for path in sorted(site.rglob("*.html")) if leads_on(path)]


def test_every_old_address_leads_to_a_place_that_there_is(moved: list[Path]) -> None:
    assert moved
    for path in moved:
        (address,) = re.findall(r'<a href="([^"]+)"', path.read_text())
        file, _, anchor = address.partition("#")
        page = (path.parent / file).read_text()
        assert not anchor or f' id="{anchor}"' in page, f"{path}: {address}"


@pytest.mark.parametrize("origin", ["http", "file"])
@pytest.mark.parametrize("scripts", [True, False])
def test_a_reader_gets_there(
    browser: Browser, address: str, site: Path, moved: list[Path], origin: str, scripts: bool
) -> None:
    context = browser.new_context(java_script_enabled=scripts)
    tab = context.new_page()
    for path in moved:
        (target,) = re.findall(r'<a href="([^"]+)"', path.read_text())
        base = address if origin == "http" else site.as_uri()
        name = path.relative_to(site).as_posix()
        tab.goto(f"{base}/{name}", wait_until="commit")
        tab.wait_for_url(lambda url, name=name: not url.partition("#")[0].endswith(name))
        assert tab.url.endswith(target.replace("../", "")), name
    context.close()


def test_a_place_in_an_old_page_stays_a_place(
    browser: Browser, address: str, site: Path, moved: list[Path]
) -> None:
    tab = browser.new_page()
    name = moved[0].relative_to(site).as_posix()
    tab.goto(f"{address}/{name}#there", wait_until="commit")
    tab.wait_for_url(re.compile("#there$"))
    assert not tab.url.partition("#")[0].endswith(name)
    tab.close()


def test_no_list_of_pages_names_an_old_address(site: Path, moved: list[Path]) -> None:
    lists = [
        site / name
        for name in ("sitemap.xml", "llms.txt", "search/search_index.json", "search.json")
    ]
    texts = {path.name: path.read_text() for path in lists if path.is_file()}
    assert len(texts) >= 2
    for path in moved:
        name = path.relative_to(site).as_posix()
        assert [n for n, text in texts.items() if name in text] == []
