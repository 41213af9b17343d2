"""Tables that a tutorial computed: side by side where there is room, and whole on a phone."""

import pytest
from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

PAGE = "tutorials/implementations.html"
TABLES = """
() => [...document.querySelectorAll('.numbers')].map(table => {
  const r = table.getBoundingClientRect(), place = table.parentElement;
  return {left: r.left, right: r.right, top: r.top, hidden: place.scrollWidth - place.clientWidth};
})
"""


@pytest.mark.parametrize(("width", "beside"), [(1440, True), (1024, False), (390, False)])
def test_tables_of_numbers_are_whole_and_beside_each_other_where_there_is_room(
    browser: Browser, address: str, width: int, beside: bool
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900})
    tab = context.new_page()
    tab.goto(f"{address}/{PAGE}")
    tables = tab.evaluate(TABLES)
    context.close()
    assert len(tables) >= 10
    for table in tables:
        assert table["hidden"] == 0
        assert table["left"] >= 0
        assert table["right"] <= width
    # The third is too wide to stand beside them in the column of the code.
    first, second, third, *_ = tables
    assert (first["top"] == second["top"]) == beside
    assert third["top"] > second["top"]
    assert (first["right"] < second["left"]) == beside
