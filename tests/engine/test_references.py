"""Citations lead to the bibliography, terms to the glossary; what is wrong with either stops the build."""

import re
from pathlib import Path

import pytest
from markdown import Markdown
from mkdocs.exceptions import PluginError

from mkdocstrings_handlers.annotated.prose import cite as references

EXTENSION = "mkdocstrings_handlers.annotated.prose"
BIB = """@article{ba2016layer,
  title   = {Layer Normalization},
  author  = {Ba, Jimmy Lei and Kiros, Jamie Ryan and Hinton, Geoffrey E.},
  journal = {arXiv preprint arXiv:1607.06450},
  year    = {2016}
}
@misc{one, title = {One}, author = {Doe, Jane and van Dyk, Ann}, year = {2020}}
@misc{two, title = {Two}, author = {Doe, Jane and van Dyk, Ann}, year = {2020}}
"""
GLOSSARY = """# Glossary

## Fan-in { #fan-in }

The number of *weights* in one [filter](x.md). In formulas it is $I$.

## Singularity { #singularity }

Also: elimination singularity, dead channel
{ .also }

A dead end.
"""


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Converts Markdown as a builder converts a page."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "references.bib").write_text(BIB)
    (tmp_path / "docs" / "glossary.md").write_text(GLOSSARY)
    monkeypatch.chdir(tmp_path)
    return lambda text: Markdown(
        extensions=[EXTENSION, "attr_list", "pymdownx.superfences"]
    ).convert(text)


def links(html: str) -> list[tuple[str, str]]:
    return re.findall(r'<a class="(?:cite|term)" href="([^"]*)"[^>]*>(.*?)</a>', html)


def test_a_citation_is_a_link_in_the_usual_form(page) -> None:
    found = links(page("See [@ba2016layer], [@one] and [the *other* one][@two]."))
    assert found == [
        ("docs/bibliography.md#ba2016layer", "Ba et al., 2016"),
        ("docs/bibliography.md#one", "Doe and van Dyk, 2020a"),
        ("docs/bibliography.md#two", "the <em>other</em> one"),
    ]


def test_the_whole_reference_is_at_hand_once_per_page(page) -> None:
    html = page("[@ba2016layer]\n\nAgain: [@ba2016layer].")
    titles = re.findall(r'title="([^"]*)"', html)
    assert titles == [
        "Layer Normalization. Jimmy Lei Ba, Jamie Ryan Kiros and Geoffrey E. Hinton. "
        "arXiv preprint arXiv:1607.06450, 2016."
    ]


def test_code_is_not_searched_for_citations_and_terms(page) -> None:
    assert links(page("`[@nobody]` and `fan-in`\n\n```\n[@nobody] fan-in\n```\n")) == []


def test_the_bibliography_lists_every_work_with_the_entry_as_it_stands(page) -> None:
    html = page("# Bibliography\n\n[@*]\n")
    assert re.findall(r'<h2 id="([^"]*)"', html) == ["ba2016layer", "one", "two"]
    assert html.count("<code>@") + html.count('<span class="nc">@') >= 3
    assert 'href="https://arxiv.org/abs/1607.06450">arXiv:1607.06450</a>' in html


def test_a_term_is_linked_where_a_page_first_uses_it(page) -> None:
    html = page(
        "# Fan-in\n\nTwo **Fan-ins** and one fan-in; [fan-in](x.md).\n\nSingularities, elimination singularity."
    )
    assert links(html) == [
        ("docs/glossary.md#fan-in", "Fan-ins"),
        ("docs/glossary.md#singularity", "Singularities"),
    ]
    assert 'title="The number of weights in one filter."' in html
    assert "and one fan-in; <a" in html


def test_words_keep_their_order_around_the_links(page) -> None:
    html = page("A fan-in, *a* singularity, *b*, and more.")
    assert re.sub(r"<[^>]*>", "", html) == "A fan-in, a singularity, b, and more."


def test_part_of_a_word_is_no_term(page) -> None:
    assert links(page("fan-into, pre-fan-in, singularityx")) == []


def test_an_unknown_work_stops_the_build_and_names_the_nearest(page) -> None:
    with pytest.raises(
        PluginError, match=r"`\[@ba2016layers\]` cites a work .* Did you mean `ba2016layer`\?"
    ):
        page("[@ba2016layers]")


@pytest.mark.parametrize("builder", ["mkdocs", "zensical"])
@pytest.mark.parametrize("where", ["module", "page"])
def test_an_unknown_work_is_named_with_its_place(
    project: Path, build, builder: str, where: str
) -> None:
    (project / "docs" / "references.bib").write_text(BIB)
    path = {"module": project / "small.py", "page": project / "docs" / "index.md"}[where]
    text = path.read_text()
    path.write_text(
        text.replace("It halves", "It [@nope] halves").replace(
            "An ordinary", "An [@nope] ordinary"
        )
    )
    line = next(n for n, row in enumerate(path.read_text().split("\n"), 1) if "@nope" in row)
    done = build(project, builder)
    assert done.returncode != 0
    assert f"{path.relative_to(project)}:{line}: `[@nope]` cites" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("bib", "said"),
    [
        (
            BIB + "@misc{one, title = {Again}, author = {A}, year = {1}}\n",
            ":9: this is no BibTeX entry",
        ),
        ("\n@misc{bare, title = {Bare}}\n", ":2: bare has no author and no year"),
    ],
    ids=["a key given twice", "an entry without author and year"],
)
def test_a_mistake_in_the_bibliography_is_named_with_its_place(
    tmp_path: Path, bib: str, said: str
) -> None:
    (tmp_path / "x.bib").write_text(bib)
    with pytest.raises(PluginError, match=re.escape(f"{tmp_path / 'x.bib'}{said}")):
        references.read_works(tmp_path / "x.bib")


def test_a_definition_that_begins_with_a_formula_stops_the_build(tmp_path: Path) -> None:
    (tmp_path / "g.md").write_text("## Mean { #mean }\n\nWritten $\\mu$ here.\n")
    with pytest.raises(PluginError, match=r"g\.md:3: a definition's first sentence"):
        references.read_terms(tmp_path / "g.md")
