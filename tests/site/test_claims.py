"""Every claim about WS and BCN on the site leads to a measurement, and every verdict carries its interval."""

import re
from collections import Counter
from pathlib import Path

import pytest

from labml_ws.experiment import intervals
from tests.site.claims import claims, claims_of, verdicts, verdicts_of, without_interval
from tools.renderings import Page, Renderings

# Sentences with the words of a claim that claim nothing, by their beginning, and what they are instead.
NOT_CLAIMS = {
    "Raises `FileExistsError` when its folder": "errors",
    "* 1: it began, and failed": "an exit code",
    "Source: [Qiao et al., 2019b]": "a source",
    "* `estimate`: normalize with the estimated": "an argument",
    "In `bcn`, use running estimates": "an option",
    "Batches whose gradients are averaged": "an option",
    "Loss and accuracy on the images": "what a row of a record holds",
    "Whatever is chosen by an accuracy": "why images are held out",
    "A line for each run: in which": "what a command prints",
    "Does it smooth the loss?": "a question that links to its answer",
    "| [Standardize once]": "a module in a list",
    "| [Where it went wrong]": "a module in a list",
    "| [Measures of a network]": "a module in a list",
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


def test_every_verdict_has_an_interval_of_at_least_three_runs(renderings: Renderings) -> None:
    found = verdicts(renderings)
    assert {v.page for v in found} == {
        f"tutorials/{name}.md"
        for name in (
            "recorded_run",
            "micro_batches",
            "gradients",
            "landscape",
            "singularities",
            "mean_shift",
        )
    }
    assert {v.word for v in found} == {
        "confirmed",
        "contradicted",
        "undecided",
        "not measured",
    }
    for verdict in found:
        measured = verdict.word != "not measured"
        assert (bool(verdict.interval), verdict.n >= 3) == (measured, measured), verdict


def test_a_claim_is_told_apart_from_others_of_its_page(renderings: Renderings) -> None:
    names = Counter((v.page, v.claim) for v in verdicts(renderings))
    assert [name for name, times in names.items() if times > 1] == []


def test_the_word_of_a_verdict_stands_beside_an_interval(renderings: Renderings) -> None:
    tables = {verdict.page for verdict in verdicts(renderings)}
    texts = {page: renderings.markdown(page) for page in renderings.pages}
    assert [
        f"{page.path}: {block}"
        for page, text in texts.items()
        if not page.path.startswith(("how", "annotated/intervals"))
        for block in without_interval(page, text, tables)
    ] == []


TABLE = repr(
    intervals.verdicts("", [("It is up", [1.0, 2.0, 3.0], "more"), ("It stays", None, "same")])
)


def test_a_verdict_is_read_from_what_the_code_printed() -> None:
    page = Page("tutorials/x.md", "X", "", {}, "")
    up, stays = verdicts_of(page, f"```text\n{TABLE}\n```\n")
    assert (up.claim, up.interval, up.n, up.word) == (
        "It is up",
        "+2.0 [-0.5, +4.5]",
        3,
        "undecided",
    )
    assert (stays.claim, stays.interval, stays.n, stays.word) == (
        "It stays",
        "",
        0,
        "not measured",
    )
    assert verdicts_of(page, "It was confirmed.\n") == []


@pytest.mark.parametrize(
    ("path", "measured"), [("related.md", "bibliography.html.md"), ("index.md", None)]
)
def test_only_the_page_of_related_methods_may_lead_to_a_report(
    path: str, measured: str | None
) -> None:
    text = f"# A page\n\n{CLAIM} [A and B](bibliography.html.md)\n"
    (claim,) = claims_of(Page(path, "", "", {}, text), text)
    assert claim.measured == measured


@pytest.mark.parametrize(
    ("path", "text", "carried"),
    [
        ("tutorials/x.md", "**Not confirmed:** WS helps.", False),
        ("tutorials/y.md", "**Confirmed:** WS helps.", True),
        ("annotated/z.md", "It is undecided whether WS helps.", False),
        ("annotated/z.md", "[Undecided](../tutorials/y.html.md#verdicts).", True),
        ("annotated/z.md", "[Undecided](../tutorials/x.html.md).", False),
        ("annotated/z.md", "WS helps.", True),
    ],
)
def test_a_word_without_an_interval_is_found(path: str, text: str, carried: bool) -> None:
    page = Page(path, "", "", {}, text)
    assert (list(without_interval(page, text, {"tutorials/y.md"})) == []) == carried


def test_a_page_says_what_its_plus_minus_is(renderings: Renderings) -> None:
    for page in renderings.pages:
        text = renderings.markdown(page)
        if re.search(r"\d ± \d", text):
            assert re.search(r"±\s+(the|its|their)\s+standard\s+deviation|± is the", text), page
