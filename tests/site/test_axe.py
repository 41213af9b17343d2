"""No page has a mistake that axe can find: light on a desk, dark on a phone."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

FIND = """
axe.run(document, {resultTypes: ["violations"]}).then(({violations}) => violations.map(({id, help, nodes}) =>
  `${id}: ${help}: ${nodes.slice(0, 3).map((n) => n.html.slice(0, 120)).join(" and ")} (${nodes.length})`))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_axe_finds_nothing(
    browser: Browser, address: str, root: Path, page_names: list[str], width: int, scheme: str
) -> None:
    axe = (root / "node_modules" / "axe-core" / "axe.min.js").read_text()
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    context.set_default_timeout(120_000)
    tab = context.new_page()
    found = {}
    for page in page_names:
        tab.goto(f"{address}/{page}", wait_until="load")
        assert (
            tab.evaluate("document.body.dataset.mdColorScheme")
            == {"light": "default", "dark": "slate"}[scheme]
        )
        tab.evaluate(axe)
        if mistakes := tab.evaluate(FIND):
            found[page] = mistakes
    context.close()
    assert found == {}
