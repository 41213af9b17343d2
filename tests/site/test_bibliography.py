"""The bibliography and the glossary of this site: complete, used, and in agreement with CITATION.cff and the README."""

import re
from pathlib import Path

import yaml

from mkdocstrings_handlers.annotated.prose import cite as references
from mkdocstrings_handlers.annotated.prose.cite import read_works


def prose(root: Path) -> str:
    files = [
        *(root / "labml_ws").rglob("*.py"),
        *(root / "docs").rglob("*.md"),
        *(root / "docs" / "tutorials").glob("*.py"),
    ]
    return "\n".join(path.read_text() for path in files)


def test_every_work_is_cited(root: Path) -> None:
    works = read_works(root / "docs" / "references.bib")
    cited = set(re.findall(r"\[@([\w:.-]+)\]", prose(root)))
    assert set(works) - cited == set()


def test_citation_file_and_readme_agree_with_the_bibliography(root: Path) -> None:
    works = read_works(root / "docs" / "references.bib")
    readme = (root / "README.md").read_text()
    for reference in yaml.safe_load((root / "CITATION.cff").read_text())["references"]:
        work = next(work for work in works.values() if work.title == reference["title"])
        names = [
            f"{name['given-names']} {name['family-names']}" for name in reference["authors"]
        ]
        assert work.reference.startswith(f"{', '.join(names[:-1])} and {names[-1]}. ")
        assert f", {reference['year']}" in work.reference
        assert reference["identifiers"][0]["value"] in work.reference
        assert f"({reference['url']})" in work.reference
        assert " ".join(work.bibtex.split()) in " ".join(readme.split())


def test_every_term_is_used_on_a_page_that_is_not_the_glossary(root: Path) -> None:
    glossary = root / "docs" / "glossary.md"
    text = prose(root).replace(glossary.read_text(), "")
    terms = references.read_terms(glossary)
    assert len(terms) > 10
    unused = [
        t.anchor
        for t in terms
        if not re.search(rf"(?<![\w-])(?:{references.pattern(t.forms)})(?![\w-])", text, re.I)
    ]
    assert unused == []


def test_a_definition_is_short_enough_to_be_read_in_passing(root: Path) -> None:
    terms = references.read_terms(root / "docs" / "glossary.md")
    assert {t.anchor: len(t.definition) for t in terms if len(t.definition) > 130} == {}
