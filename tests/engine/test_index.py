"""Which page explains a name: one index, asked by every link."""

import ast
from pathlib import Path

import pytest

from mkdocstrings_handlers.annotated.document import SourceError
from mkdocstrings_handlers.annotated.understand.index import Index, directives
from mkdocstrings_handlers.annotated.understand.symbols import ties, untied

ENGINE = Path(__file__).resolve().parents[2] / "engine" / "mkdocstrings_handlers" / "annotated"
WINGS = ["assets", "document", "read", "understand", "prose", "render", "handler"]


@pytest.fixture
def pack(project: Path) -> Index:
    (project / "pack").mkdir()
    (project / "pack" / "__init__.py").write_text("from .inner import A as B\n")
    (project / "pack" / "inner.py").write_text(
        'class A:\n    """A."""\n\n    def f(self):\n        def deep(): ...\n'
    )
    (project / "docs" / "pack.md").write_text("::: pack.inner\n    handler: annotated\n")
    return Index(project, project / "docs")


@pytest.mark.parametrize("name", ["pack.B", "pack.inner.A", "pack.inner", "pack", "elsewhere.x", "word"])  # fmt: skip
def test_a_reference_may_use_every_name_that_a_reader_would(
    project: Path, pack: Index, name: str
) -> None:
    (project / "page.py").write_text(f'"""\n# P\n\nSee [it][{name}].\n"""\n')
    document = pack.document("page")
    pack.check(document, document.sections[0])


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("[it][pack.inner.Aa]", "the reference to `pack.inner.Aa` leads nowhere. Did you mean `pack.inner.A`?"),
        ("[it][pack.C]", "the reference to `pack.C` leads nowhere."),
        ("[`pack.inner.A.f.deep`][]", "the reference to `pack.inner.A.f.deep` leads nowhere."),
        ("[it](#peg)", "there is no `#peg` on this page. Did you mean `page`?"),
    ],
)  # fmt: skip
def test_a_reference_that_leads_nowhere_names_its_line(
    project: Path, pack: Index, reference: str, says: str
) -> None:
    fence = "~~~~\n```\n[not][pack.this]\n~~~~\n"
    (project / "page.py").write_text(f'"""\n# P\n\n{fence}\n{reference}\n"""\n')
    document = pack.document("page")
    with pytest.raises(SourceError) as error:
        pack.check(document, document.sections[0])
    assert str(error.value).startswith(f"page.py:9: {says}")


def test_a_page_says_what_it_shows_outside_of_fences() -> None:
    text = (
        "~~~\n::: no\n    handler: annotated\n~~~\n\n::: a.b\n    handler: annotated\n    options:\n      bundle: x.py\n\n"
        "::: c.D\n    handler: annotated\n    options:\n\n      diff_from: e.F\n\nWords.\n\n::: g"
    )
    asked = list(directives(text))
    assert [(d.name, d.shows) for d in asked] == [("a.b", True), ("c.D", False), ("g", False)]
    assert asked[0].options["options"] == {"bundle": "x.py"}
    assert [text[d.start : d.end].split()[1] for d in asked] == ["a.b", "c.D", "g"]
    assert text[asked[1].end :].lstrip().startswith("Words.")


def test_a_tie_is_read_and_taken_out_by_one_rule() -> None:
    tex = r"W^\code{self.n}{\hat{n}} + \code {a}{\code{b}{\frac{1}{2}}\}} + \code{c}"
    assert [(name, symbol) for name, symbol, _ in ties(tex)] == [
        ("self.n", r"\hat{n}"),
        ("a", r"\code{b}{\frac{1}{2}}\}"),
        ("b", r"\frac{1}{2}"),
    ]
    assert all(tex[at:].startswith("\\code") for _, _, at in ties(tex))
    assert untied(tex) == r"W^{\hat{n}} + {{\frac{1}{2}}\}} + \code{c}"


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in sorted(ENGINE.rglob("*.py"))
        if path.stem not in {"__init__", "__main__"}
    ],
    ids=lambda path: path.relative_to(ENGINE).as_posix(),
)
def test_no_file_imports_what_comes_after_it(path: Path) -> None:
    place = path.relative_to(ENGINE)
    own = place.parts[0].removesuffix(".py")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = place.parts[: len(place.parts) - node.level]
            names = [*folder, *(node.module or "").split(".")]
            wing = next(filter(None, names), own)
            assert WINGS.index(wing) <= WINGS.index(own), f"{place}:{node.lineno}"
