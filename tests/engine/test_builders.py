"""Both builders, as programs: the same sections, the same errors, the same bytes each time."""

import re
from pathlib import Path

import pytest

BUILDERS = ["mkdocs", "zensical"]


def sections(html: str) -> str:
    found = re.search(r'<div class="annotated .*?</section>\s*</div>', html, re.DOTALL)
    assert found, "the page has no annotated sections"
    # The search index reads these attributes; one builder takes them out afterwards, the other leaves them in.
    return re.sub(r'\s?data-search-\w+="[^"]*"', "", found[0])


def test_both_builders_give_the_same_sections(project: Path, build) -> None:
    pages = {}
    for builder in BUILDERS:
        done = build(project, builder)
        assert done.returncode == 0, done.stdout + done.stderr
        pages[builder] = (project / "site" / "index.html").read_text(encoding="utf-8")
    assert sections(pages["mkdocs"]) == sections(pages["zensical"])
    for html in pages.values():
        assert len(re.findall(r"<h1", html)) == 1
        assert re.search(r'<a [^>]*href="#small.twice"[^>]*>', html), (
            "a reference to a function wasn't resolved"
        )
        assert re.search(r'href="#small\.Halver"[^>]*>paragraph</a>', html), (
            "a page can't refer to a class"
        )
        assert 'href="#try-it" class="md-nav__link"' in html, (
            "a heading is missing in the table of contents"
        )


@pytest.mark.parametrize("builder", BUILDERS)
def test_names_are_links_from_page_to_page(project: Path, build, builder: str) -> None:
    (project / "other.py").write_text(
        'from small import twice\n\n\ndef f(x):\n    """Calls `twice`."""\n    return twice(x)\n'
    )
    (project / "docs" / "sub").mkdir()
    (project / "docs" / "sub" / "page.md").write_text("::: other\n    handler: annotated\n")
    done = build(project, builder)
    assert done.returncode == 0, done.stdout + done.stderr
    html = (project / "site" / "sub" / "page.html").read_text(encoding="utf-8")
    assert '<a href="../index.html#small.twice"><code>twice</code></a>' in html
    assert '<a href="../index.html#small.twice"><span class="n">twice</span></a>' in html
    assert ' id="small.twice"' in (project / "site" / "index.html").read_text(encoding="utf-8")


def test_two_builds_are_the_same_byte_by_byte(project: Path, build) -> None:
    for site in ("one", "two"):
        done = build(project, "mkdocs", site)
        assert done.returncode == 0, done.stdout + done.stderr
    for name in ("index.html", "objects.inv"):
        assert (project / "one" / name).read_bytes() == (project / "two" / name).read_bytes(), (
            name
        )


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_wrong_formula_fails_the_build_with_its_place(
    project: Path, build, builder: str
) -> None:
    source = (project / "small.py").read_text().replace("= 2$$", r"= \nope$$")
    (project / "small.py").write_text(source)
    line = next(n for n, text in enumerate(source.split("\n"), 1) if r"\nope" in text)
    done = build(project, builder)
    assert done.returncode != 0
    assert f"small.py:{line}: KaTeX" in done.stdout + done.stderr


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_broken_reference_fails_the_build_with_its_place(
    project: Path, build, builder: str
) -> None:
    source = (project / "small.py").read_text().replace("[small.twice][]", "[small.twise][]")
    (project / "small.py").write_text(source)
    line = next(n for n, text in enumerate(source.split("\n"), 1) if "twise" in text)
    done = build(project, builder)
    assert done.returncode != 0
    told = " ".join((done.stdout + done.stderr).split())
    assert f"small.py:{line}: the reference to `small.twise` leads nowhere." in told


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_wrong_formula_in_an_ordinary_page_names_the_page(
    project: Path, build, builder: str
) -> None:
    (project / "docs" / "index.md").write_text("---\ntitle: T\n---\n\n# T\n\nSee $\\nope$.\n")
    done = build(project, builder)
    assert done.returncode != 0
    assert "docs/index.md:7: KaTeX" in done.stdout + done.stderr
