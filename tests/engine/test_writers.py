"""The other two writers: a page as Markdown, a module as a notebook. Both say what the page says."""

import json
import re
from pathlib import Path

import nbformat
import pytest

from mkdocstrings_handlers.annotated.document import Document, Source, SourceError
from mkdocstrings_handlers.annotated.prose.cite import Work
from mkdocstrings_handlers.annotated.read.module import read_module
from mkdocstrings_handlers.annotated.render.markdown import Writer
from mkdocstrings_handlers.annotated.render.notebook import Cell, cells, written
from mkdocstrings_handlers.annotated.understand.index import Index

WORK = Work("key", "Doe, 2020", "A work", "J. Doe. 2020.", "@misc{key}")


@pytest.fixture
def writer(project: Path) -> Writer:
    return Writer(Index(project, project / "docs"), {"key": WORK})


def made(text: str, name: str = "page") -> Document:
    source = Source(text)
    return Document(name, source, read_module(source, name))


# ## Markdown


def test_a_page_has_all_prose_and_all_code_in_order(writer: Writer, project: Path) -> None:
    text = writer.page("index.md", (project / "docs" / "index.md").read_text())
    at = 0
    for section in writer.index.document("small").sections:
        for line in [*section.prose.split("\n"), *section.code.split("\n")]:
            if line.strip() and not re.search(r"[\[\\]", line):
                at = text.index(line, at)
    assert text.index("An ordinary [paragraph](index.html.md)") > at
    assert r"\code" not in text


def test_references_lead_to_the_markdown_of_pages(writer: Writer) -> None:
    text = writer.page(
        "sub/page.md",
        "[one][small] [`two`][small.twice] [torch.nn.Conv2d][] [@key] [that][@key] [here](vgg.md#x) "
        "[out](https://example.org/a.md) `[@key]`\n\n```\n[one][small]\n```\n",
    )
    assert re.findall(r"(?<!`)\[([^\]]*)\]\((.*?)\)", text) == [
        ("one", "../index.html.md"),
        ("`two`", "../index.html.md"),
        (
            "torch.nn.Conv2d",
            "https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html",
        ),
        ("Doe, 2020", "../bibliography.html.md"),
        ("that", "../bibliography.html.md"),
        ("here", "vgg.html.md#x"),
        ("out", "https://example.org/a.md"),
    ]
    assert "`[@key]`" in text
    assert "```\n[one][small]\n```" in text


@pytest.mark.parametrize("name", ["html", "py", "md"])
def test_a_module_may_be_called_like_the_end_of_an_address(project: Path, name: str) -> None:
    package = project / "render"
    package.mkdir()
    (package / f"{name}.py").write_text('"""# Written"""\n')
    (project / "docs" / "render.md").write_text(f"::: render.{name}\n    handler: annotated\n")
    writer = Writer(Index(project, project / "docs"))
    assert "[it](render.html.md)" in writer.page("p.md", f"[it][render.{name}]")


def test_all_works_stand_where_the_page_asks_for_them_and_nowhere_else(writer: Writer) -> None:
    text = writer.page("bibliography.md", "# B\n\n[@*]\n\n```\n[@*]\n```\n")
    assert text.count("## A work") == 1
    assert "```bibtex\n@misc{key}\n```" in text
    assert text.endswith("```\n[@*]\n```\n")


def test_titles_go_below_the_pages_own(writer: Writer) -> None:
    block = "::: small\n    handler: annotated\n    options:\n      heading_level: 2\n"
    text = writer.page("p.md", f"# Mine\n\n{block}")
    assert "\n## A small module\n" in text
    assert "\n### Halving\n" in text


def test_a_comparison_is_a_diff(writer: Writer, project: Path) -> None:
    (project / "two.py").write_text("def twice(x):\n    return x + x\n")
    block = (
        "::: two.twice\n    handler: annotated\n    options:\n      diff_from: small.twice\n"
    )
    assert "+    return x + x" in writer.page("p.md", block)


def test_what_another_handler_shows_is_said_in_a_line(writer: Writer) -> None:
    text = writer.page("p.md", "::: small.twice\n")
    assert "```python\ntwice(x)\n```" in text
    assert "[Explained](index.html.md)" in text


# ## Notebooks

SOURCE = r'''r"""
# T

$\code{x}{x}$ and [the rest][page.f], [a page](other.md), `\code{y}{y}`

* `x`: it
"""

from __future__ import annotations

from . import sibling
from .near import thing


class Error(ValueError):
    """Only prose."""


class A:
    """# A"""

    def f(self):
        # $\code{self.x}{x}$
        self.x = 1

    def g(self):
        return 2


if __name__ == "__main__":
    # ## Try it
    print(A().g())
'''


def resolve(name: str) -> str:
    return f"https://site/{name}" if name != "other.md" else ""


def test_a_notebook_runs_and_says_what_the_module_says() -> None:
    document = made(SOURCE, "pkg.page")
    found = [*cells(document, resolve, lambda node: getattr(node, "level", 0) > 0)]
    assert found[0] == Cell(
        "markdown",
        "# T\n\n${x}$ and [the rest](https://site/page.f), a page, `\\code{y}{y}`\n\n* `x`: it",
    )
    code = "\n\n".join(cell.source for cell in found if cell.kind == "code")
    scope: dict[str, object] = {"__name__": "x"}
    exec(compile(code, "notebook", "exec"), scope)
    assert isinstance(scope["Error"], type)
    assert "# ${self.x}$" not in code
    assert "        # ${x}$" in code
    assert found[-2].source == "## Try it"
    assert found[-1].source == "print(A().g())"


def test_a_notebook_names_the_package_of_what_it_imports() -> None:
    code = "".join(cell.source for cell in cells(made(SOURCE, "pkg.page"), resolve))
    assert "from pkg import sibling" in code
    assert "from pkg.near import thing" in code
    deep = made("from ..near import thing\n", "pkg.sub.page")
    assert next(cells(deep, resolve)).source == "from pkg.near import thing"


def test_a_string_that_would_change_is_refused_with_its_place() -> None:
    text = 'x = 1\n\nif __name__ == "__main__":\n    # Says.\n    y = """a\n    b"""\n'
    with pytest.raises(SourceError, match=r"^<text>:3: a string here runs over several lines"):
        list(cells(made(text), resolve))


def test_the_file_is_a_notebook_and_the_same_each_time() -> None:
    one = [Cell("markdown", "# T"), Cell("code", "# @title x\nprint(1)", "1\n")]
    text = written(one)
    assert text == written(one)
    nbformat.validate(nbformat.reads(text, as_version=4))
    code = json.loads(text)["cells"][1]
    assert code["outputs"][0]["text"] == ["1\n"]
    assert code["metadata"]["jupyter"] == {"source_hidden": True}
