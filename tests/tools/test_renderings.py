"""The pages as programs read them: complete, in order, and linked with each other."""

import re
from pathlib import Path

import pytest

from mkdocstrings_handlers.annotated.document import Source
from mkdocstrings_handlers.annotated.read.module import read_module
from mkdocstrings_handlers.annotated.read.source import unfenced
from tests.site.browser import pages
from tools.renderings import Page, Renderings, main


@pytest.fixture(scope="module")
def renderings() -> Renderings:
    return Renderings()


def page(renderings: Renderings, path: str) -> Page:
    return next(page for page in renderings.pages if page.path == path)


def test_every_line_of_code_and_prose_is_there_in_order(
    renderings: Renderings, root: Path
) -> None:
    text = renderings.markdown(page(renderings, "annotated/batch_channel_norm.md"))
    at = 0
    source = Source.read(root / "labml_ws" / "batch_channel_norm.py")
    for section in read_module(source, "labml_ws.batch_channel_norm"):
        for line in [*section.prose.split("\n"), *section.code.split("\n")]:
            if line.strip() and not re.search(r"[\[\\]", line):  # neither a link nor a formula
                at = text.index(line, at)
    assert at > 1000


def test_what_a_demo_prints_and_a_figure_shows_is_there(
    renderings: Renderings, site: Path
) -> None:
    demo = renderings.markdown(page(renderings, "annotated/standardization.md"))
    assert re.search(r"```text\nfirst filter, before: mean", demo)
    assert "*Figure: Three panels of a channel mean" in renderings.markdown(
        page(renderings, "tutorials/small_batches.md")
    )
    table = renderings.markdown(page(renderings, "tutorials/implementations.md"))
    assert re.search(r"```text\nWhat becomes of odd weights\n +fan-in 1 ", table)


def test_no_reference_is_left_unresolved(renderings: Renderings) -> None:
    for each in renderings.pages:
        text = re.sub(
            r"^```.*?^```$|`[^`\n]*`", "", renderings.markdown(each), flags=re.DOTALL | re.M
        )
        assert (
            re.findall(
                r"\]\[[\w.]*\]|\[@[\w*]|\\code\{|^:::|^\{ ?[.#]|\)\{", text, flags=re.MULTILINE
            )
            == []
        ), each.path


def test_code_that_looks_like_a_reference_stays(renderings: Renderings) -> None:
    assert "`[@wei2008dynamics]` cites" in renderings.markdown(page(renderings, "how/prose.md"))


def test_addresses_are_absolute_only_where_the_site_has_one() -> None:
    here, there = Renderings().llms(), Renderings(site_url="https://example.org/ws/").llms()
    assert "(annotated/layers.html.md)" in here
    assert "https://" not in here
    assert "(https://example.org/ws/annotated/layers.html.md)" in there


def test_what_programs_read_lists_every_page_once_and_reachable(site: Path) -> None:
    text = (site / "llms.txt").read_text()
    assert text.startswith("# labml_ws\n\n> ")
    listed = re.findall(r"^- \[[^\]]+\]\(([^)]+)\): \S", text, flags=re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == {f"{page}.md" for page in pages(site)}
    headings = re.findall(r"^## (.*)", text, flags=re.MULTILINE)
    assert headings[-1] == "Optional"
    assert len(headings) == len(set(headings))
    for name in listed:
        for target in re.findall(r"\]\(([^)#\s]+\.md)", unfenced((site / name).read_text())):
            assert "://" in target or (site / name).parent.joinpath(target).is_file(), (
                name,
                target,
            )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two pages, one of which was somewhere else before."""
    for name, text in {
        "mkdocs.yml": "site_name: S\nsite_description: D\nnav:\n  - One: one.md\n  - Two: how/two.md\n",
        "docs/references.bib": "",
        "docs/one.md": "# One\n",
        "docs/how/two.md": "---\nformerly:\n  old/a.html: part\n  b.html: ''\n---\n\n# Two\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_an_old_address_leads_to_the_page_that_took_it_over(project: Path) -> None:
    files = dict(Renderings(project).files())
    assert '<a href="../how/two.html#part">Two</a>' in files["old/a.html"]
    assert 'content="0; url=how/two.html"' in files["b.html"]
    assert "old/a.html" not in files["llms.txt"]


def test_an_address_that_is_a_pages_is_no_old_one(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.renderings.Renderings.__init__.__defaults__", (project, ""))
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "b.html").write_text("<h1>B</h1>")
    with pytest.raises(SystemExit, match=r"`formerly: b\.html`"):
        main(tmp_path / "site", "")
