"""Three exercises on each core page, each with a hint and an answer that are closed; and what an answer prints, it prints."""

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = (
    *("annotated/exercises", "annotated/layers", "annotated/batch_channel_norm"),
    "tutorials/small_batches",
)
ANSWER = re.compile(
    r"^\?\?\? success \"Answer\"\n(.*?)^    ```python\n(.*?)^    ```\n+    ```text\n(.*?)^    ```$",
    re.MULTILINE | re.DOTALL,
)
ANSWERS = [
    pytest.param(*m.groups()[1:], id=f"{Path(page).name}-{number}")
    for page in PAGES
    for number, m in enumerate(ANSWER.finditer((DOCS / f"{page}.md").read_text()), 1)
]


def test_each_core_page_has_three() -> None:
    assert len(ANSWERS) == 3 * len(PAGES)
    for page in PAGES:
        text = (DOCS / f"{page}.md").read_text().split("\n## Exercises\n")[1]
        assert re.findall(r"^\*\*(\d)\. ", text, re.MULTILINE) == ["1", "2", "3"]
        assert len(re.findall(r'^\?\?\? question "Hint"$', text, re.MULTILINE)) == 3


@pytest.mark.parametrize(("code", "printed"), ANSWERS)
def test_an_answer_prints_what_it_says(code: str, printed: str, capsys: Any) -> None:
    exec(textwrap.dedent(code), {})
    assert capsys.readouterr().out == textwrap.dedent(printed)


@pytest.mark.browser
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("javascript", [True, False])
def test_hints_and_answers_are_closed_and_open_without_a_script(
    browser: Browser, address: str, page: str, javascript: bool
) -> None:
    context = browser.new_context(java_script_enabled=javascript)
    tab = context.new_page()
    tab.goto(f"{address}/{page}.html", wait_until="load")
    closed = tab.locator("details:is(.question, .success)")
    assert closed.count() == 6
    assert tab.locator("details:is(.question, .success)[open]").count() == 0
    for number in range(6):
        box = closed.nth(number)
        assert not box.locator(":scope > p").first.is_visible()
        box.locator("summary").click()
        assert box.locator(":scope > p").first.is_visible()
    assert tab.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    context.close()
