"""Lighthouse's scores, as a phone on a slow network: what the pages are made of, and the speed of those that stand for the rest."""

from pathlib import Path

import pytest

from tests.site.lighthouse import run

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# The first that is read, the one that has most, the heaviest figures.
SPEED = ["index.html", "annotated/standardization.html", "tutorials/weights.html"]


def test_the_pages_are_accessible_well_made_and_findable(
    site: Path, page_names: list[str]
) -> None:
    # One of the engine's own pages stands for all of them: they are made alike, and axe looks at each (test_axe.py). `make lighthouse` has them all.
    names = [
        name for name in page_names if not name.startswith("how/") or name == "how/prose.html"
    ]
    reports = run(site, names, categories=("accessibility", "best-practices", "seo"))
    assert {r.page: (r.scores, r.short) for r in reports if min(r.scores.values()) < 1} == {}


def test_nothing_moves_while_a_page_loads(site: Path) -> None:
    # With the page of many small tables, which the theme boxes when it comes.
    reports = run(site, [*SPEED, "symbols.html"], categories=("performance",))
    assert {r.page: r.measured["cls"] for r in reports if r.measured["cls"] > 0.0005} == {}
    # The time of a paint depends on the network, which is simulated, more than on the machine.
    assert {r.page: r.measured["fcp"] for r in reports if r.measured["fcp"] > 2500} == {}
