"""A page may show several modules: each line of each has an anchor of its own, and a link to it finds it."""

import re
from pathlib import Path

import pytest

from mkdocstrings_handlers.annotated.understand.index import Index


@pytest.fixture
def page(project: Path, build) -> str:
    (project / "other.py").write_text(
        '"""# Other"""\n\nfrom small import twice\n\n\ndef f(x):\n    return twice(x)\n'
    )
    both = [
        f"::: {name}\n    handler: annotated\n    options:\n      heading_level: 2\n"
        for name in ("small", "other")
    ]
    (project / "docs" / "index.md").write_text("# Both\n\n" + "\n".join(both))
    done = build(project, "mkdocs")
    assert done.returncode == 0, done.stdout + done.stderr
    return (project / "site" / "index.html").read_text()


def test_no_anchor_stands_twice(page: str) -> None:
    ids = re.findall(r' id="([^"]+)"', page)
    assert {anchor for anchor in ids if ids.count(anchor) > 1} == set()
    assert {"L1", "other-L3"} <= set(ids)


def test_each_number_leads_to_its_own_line(page: str) -> None:
    lines = re.findall(
        r'id="((?:other-)?L\d+)"[^>]*>(?:<span class="c">)?<a href="#([^"]+)"', page
    )
    assert len(lines) > 20
    assert [line for line in lines if line[0] != line[1]] == []


def test_the_index_knows_what_a_line_is_called(project: Path, page: str) -> None:
    index = Index(project, project / "docs")
    assert (index.line("small", 7), index.line("other", 7), index.line("nowhere", 7)) == (
        "L7",
        "other-L7",
        "L7",
    )
