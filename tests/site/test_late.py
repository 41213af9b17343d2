"""What scripts cost when they come, after the text: on a phone, whatever makes a browser style a whole page again is felt."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

HEAVY = [
    "tutorials/landscape.html",
    "tutorials/implementations.html",
    "annotated/standardization.html",
]


@pytest.mark.parametrize("page", HEAVY)
def test_no_script_has_the_whole_page_styled_again(
    browser: Browser, address: str, page: str
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    tab = context.new_page()
    session = context.new_cdp_session(tab)
    events: list[dict[str, Any]] = []
    ended: list[object] = []
    session.on("Tracing.dataCollected", lambda e: events.extend(e["value"]))
    session.on("Tracing.tracingComplete", lambda e: ended.append(e))
    session.send(
        "Tracing.start",
        {
            "transferMode": "ReportEvents",
            "traceConfig": {"includedCategories": ["devtools.timeline"]},
        },
    )
    tab.goto(f"{address}/{page}", wait_until="networkidle")
    session.send("Tracing.end")
    while not ended:
        tab.wait_for_timeout(20)
    elements = tab.evaluate("document.querySelectorAll('*').length")
    context.close()

    late = [
        e
        for e in events
        if e["name"] == "EvaluateScript" and "/built/site." in e["args"]["data"].get("url", "")
    ]
    assert len(late) == 1
    (script,) = late
    styled = [
        e["args"]["elementCount"]
        for e in events
        if e["name"] == "UpdateLayoutTree"
        and (e["pid"], e["tid"]) == (script["pid"], script["tid"])
        and script["ts"] <= e["ts"] < script["ts"] + script["dur"]
    ]
    assert sum(styled) < elements / 4, (
        f"{elements} elements, styled while the script ran: {styled}"
    )


def test_the_theme_leaves_the_color_scheme_to_the_page(browser: Browser, address: str) -> None:
    tab = browser.new_page()
    tab.goto(f"{address}/index.html", wait_until="networkidle")
    said = tab.evaluate(
        "[...document.querySelectorAll('meta[name=color-scheme]')].map((meta) => meta.content)"
    )
    tab.close()
    assert said == ["light dark"]


def test_a_figure_brings_no_sheet_for_the_whole_page(site: Path, page_names: list[str]) -> None:
    figures = [
        (name, figure)
        for name in page_names
        for figure in re.findall(
            r'<figure class="output".*?</figure>', (site / name).read_text(), re.DOTALL
        )
    ]
    assert len(figures) > 20
    assert {name for name, figure in figures if "<style" in figure} == set()
