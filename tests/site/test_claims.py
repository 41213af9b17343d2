"""Every claim about WS and BCN on the site leads to a measurement."""

from pathlib import Path

import pytest

from tests.site.claims import claims, claims_of
from tools.renderings import Page, Renderings

# Sentences with the words of a claim that claim nothing, by their beginning, and what they are instead.
NOT_CLAIMS = {
    "Source: [Qiao et al., 2019b]": "a source",
    "* `estimate`: normalize with the estimated": "an argument",
    "In `bcn`, use running estimates": "an option",
    "Steps whose gradients are averaged": "an option, and arithmetic that is tested",
    "On standardized weights it only changes the effective": "an option; measured on the page of the function",
    "On standardized weights [it changes the effective": "a definition that links to where it is measured",
    "Measure network and landscape": "an option",
    "What `--measure` writes": "what a function does",
    "Whether the record is whole": "what a property says",
}


@pytest.fixture(scope="module")
def renderings(root: Path) -> Renderings:
    return Renderings(root)


def test_every_claim_links_to_a_measurement(renderings: Renderings) -> None:
    found = claims(renderings)
    assert len({claim.page for claim in found}) > 8
    assert [
        f"{claim.page}: {claim.sentence}"
        for claim in found
        if claim.measured is None and not claim.sentence.startswith(tuple(NOT_CLAIMS))
    ] == []


def test_nothing_is_excused_that_is_not_there(renderings: Renderings) -> None:
    sentences = [claim.sentence for claim in claims(renderings) if claim.measured is None]
    assert [
        start for start in NOT_CLAIMS if not any(s.startswith(start) for s in sentences)
    ] == []


CLAIM = "WS makes the loss smoother."


@pytest.mark.parametrize(
    ("text", "measured"),
    [
        (f"# A page\n\n{CLAIM}\n", [None]),
        (f"# A page\n\n{CLAIM} [Measured](../tutorials/landscape.html.md).\n", ["link"]),
        (f"# A page\n\n{CLAIM}\n\n[Measured](../tutorials/landscape.html.md).\n", [None]),
        (f"# A page\n\n{CLAIM} [Read on](layers.html.md).\n", [None]),
        (f"# A page\n\n{CLAIM}\n\n```text\nsmoother: 3\n```\n", ["here"]),
        (f"# A page\n\n{CLAIM}\n\n# Another\n\n```text\n3\n```\n", [None]),
        (f"# A page\n\n```python\n# {CLAIM}\n```\n", []),
        ("# A page\n\nThe weight has one row per filter.\n", []),
    ],
    ids=[
        "bare",
        "linked",
        "elsewhere",
        "no measurement",
        "printed",
        "later",
        "code",
        "no claim",
    ],
)
def test_a_claim_is_known_by_its_words(text: str, measured: list[str | None]) -> None:
    page = Page("annotated/x.md", "X", "", {}, text)
    where = {None: None, "link": "../tutorials/landscape.html.md", "here": "annotated/x.md"}
    assert [claim.measured for claim in claims_of(page, text)] == [where[m] for m in measured]
