"""Comparisons in a browser: two columns where there is room, one where there isn't, and every colour on them readable."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

HALVES = """
() => [...document.querySelectorAll('.diff .rows > .row')].map(row => [...row.children].map(half => {
  const r = half.getBoundingClientRect();
  return half.checkVisibility() && half.firstChild ? {left: r.left, right: r.right, top: r.top, bottom: r.bottom} : null;
}))
"""


# Lines that both versions have, where both are visible.
TWICE = """
() => [...document.querySelectorAll('.diff .rows > .row.same')]
  .filter(row => [...row.children].every(half => half.checkVisibility())).length
"""


@pytest.mark.parametrize(("width", "columns"), [(1440, 2), (1024, 2), (390, 1)])
def test_two_versions_stand_side_by_side_or_one_after_the_other(
    browser: Browser, address: str, width: int, columns: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900})
    tab = context.new_page()
    tab.goto(f"{address}/variants.html")
    rows, twice = tab.evaluate(HALVES), tab.evaluate(TWICE)
    context.close()
    both = [(old, new) for old, new in rows if old and new]
    assert len(rows) > 50
    assert len(both) > 5
    for old, new in both:
        assert (new["left"] >= old["right"]) == (columns == 2)
        assert abs(new["top"] - (old["top"] if columns == 2 else old["bottom"])) < 1
    # What both have is shown twice only where there are two columns.
    assert (twice > 0) == (columns == 2)


def luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(
        weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True)
    )


@pytest.mark.parametrize("scheme", ["default", "slate"])
def test_code_is_readable_on_every_ground_of_a_comparison(root: Path, scheme: str) -> None:
    block = root / "engine" / "mkdocstrings_handlers" / "annotated" / "assets"
    sheets = (
        block / "annotated.css",
        block / "diff.css",
        root / "docs" / "assets" / "site.css",
    )
    css = "".join(sheet.read_text() for sheet in sheets)
    rules = "".join(re.findall(rf'\[data-md-color-scheme="{scheme}"\] {{([^}}]*)}}', css))
    colours = dict(re.findall(r"(--[\w-]+): (#\w{6});", rules))
    # There are no comments in a comparison, and what is marked is set in plain ink.
    inks = {name: c for name, c in colours.items() if "-hl-" in name and "comment" not in name}
    inks |= {name: colours[name] for name in ("--ink", "--ink-soft", "--accent")}
    grounds = [(inks, colours[name]) for name in ("--gone", "--come", "--paper-code")]
    grounds += [
        ({"--ink": colours["--ink"]}, colours[name]) for name in ("--gone-mark", "--come-mark")
    ]
    assert len(inks) > 10
    poor = {}
    for candidates, ground in grounds:
        for name, ink in candidates.items():
            low, high = sorted((luminance(ink), luminance(ground)))
            if (ratio := (high + 0.05) / (low + 0.05)) < 4.5:
                poor[name, ground] = round(ratio, 2)
    assert poor == {}
