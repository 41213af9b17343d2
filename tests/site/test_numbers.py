"""Tables that a tutorial computed: side by side where there is room, and whole on a phone."""

from itertools import pairwise

import pytest
from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

PAGE = "tutorials/implementations.html"
GAP = 36  # pixels between two tables
TABLES = """
() => [...document.querySelectorAll('.numbers')].map(table => {
  const r = table.getBoundingClientRect(), place = table.parentElement;
  const column = table.closest('.code, .wide').getBoundingClientRect();
  return {left: r.left, right: r.right, top: r.top, hidden: place.scrollWidth - place.clientWidth,
    column: column.right, cell: column.top};
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
    pairs = [(a, b) for a, b in pairwise(tables) if a["cell"] == b["cell"]]
    assert len(pairs) >= 4
    for a, b in pairs:
        room = a["right"] + GAP + b["right"] - b["left"] <= b["column"]
        assert (a["top"] == b["top"]) == (a["right"] < b["left"]) == room
    assert any(a["top"] == b["top"] for a, b in pairs) == beside
