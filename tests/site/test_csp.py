"""The pages keep to the policy that they are served with, and the policy stops what is not theirs."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.site.browser import FOUND, declared

pytestmark = pytest.mark.browser

WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (e) => violations.push(`${e.violatedDirective}: ${e.blockedURI} ${e.sample}`));
"""


@pytest.fixture
def tab(browser: Browser) -> Page:
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, reduced_motion="reduce"
    )
    context.set_default_timeout(60_000)
    context.add_init_script(WATCH)
    yield context.new_page()
    context.close()


def test_the_site_says_what_may_run(site: Path) -> None:
    policy = declared(site, "/index.html")["Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"].split()[0] == "'self'"
    assert "unsafe" not in rules["script-src"]
    assert "http" not in policy


def test_no_page_breaks_its_policy(tab: Page, address: str, page_names: list[str]) -> None:
    broken = {}
    for page in page_names:
        tab.goto(f"{address}/{page}", wait_until="load")
        if found := tab.evaluate("violations"):
            broken[page] = found
    assert broken == {}


def test_search_palette_and_copy_work_under_the_policy(tab: Page, address: str) -> None:
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.goto(f"{address}/annotated/standardization.html")
    scheme = "document.body.dataset.mdColorScheme"
    before = tab.evaluate(scheme)
    for _ in range(3):  # system, light, dark: one of the steps differs
        tab.locator("[data-md-component=palette] label:visible").click()
        if tab.evaluate(scheme) != before:
            break
    assert tab.evaluate(scheme) != before
    tab.locator("body").press("/")
    tab.keyboard.type("weight", delay=10)
    expect(tab.locator(FOUND).first).to_be_visible(timeout=60_000)
    tab.keyboard.press("Escape")
    tab.goto(f"{address}/use.html")
    copy = tab.locator("pre [data-clipboard-target], pre [data-md-type=copy]").first
    expect(copy).to_be_attached(timeout=60_000)
    copy.click(force=True)
    wanted = tab.locator("pre:has([data-clipboard-target], [data-md-type=copy]) > code").first
    assert (
        tab.evaluate("navigator.clipboard.readText()").split() == wanted.text_content().split()  # type: ignore[union-attr]
    )
    assert tab.evaluate("violations") == []


def test_a_handler_or_script_from_elsewhere_does_not_run(tab: Page, address: str) -> None:
    tab.goto(f"{address}/index.html")
    tab.evaluate(
        """() => {
          document.body.insertAdjacentHTML("beforeend", '<img src="data:," onerror="window.handled = true">');
          const script = document.createElement("script");
          script.textContent = "window.inserted = true";
          document.body.append(script);
        }"""
    )
    tab.wait_for_function("violations.length >= 2")
    assert tab.evaluate("[window.handled, window.inserted]") == [None, None]
