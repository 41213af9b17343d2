"""The search finds what it should, with a server and without one."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

PATIENCE = 60_000  # milliseconds

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("origin", ["http", "file"])
def test_the_search_finds_a_function_by_its_name(browser: Browser, site: Path, address: str, origin: str) -> None:
    base = address if origin == "http" else site.as_uri()
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE)
    tab = context.new_page()
    tab.goto(f"{base}/index.html")
    tab.locator("body").press("/")
    tab.keyboard.type("weight_standardization", delay=10)
    # The list is drawn anew after each letter, so it is asked for what it must hold, never walked through.
    result = tab.locator('.md-search-result__item a[href*="annotated/standardization.html"]').first
    expect(result).to_be_visible(timeout=PATIENCE)
    result.click()
    tab.wait_for_url("**/annotated/standardization.html*")
    assert "weight_standardization" in (tab.locator("article").text_content() or "")
    context.close()
