"""A section on the page: its heading and ids, what a search finds of it, and which names are tied to symbols."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mkdocstrings_handlers.annotated import AnnotatedHandler

VOID = {"br", "hr", "img", "input", "wbr"}


class Parents(HTMLParser):
    """Each heading with its id, what it stands in directly, its text, and the attributes of both."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[tuple[str, dict[str, str | None], str]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append((tag, given, self.open[-1][0]))
            self.texts.append("")
        if tag not in VOID:
            self.open.append((tag, given))

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        inside = [tag for tag, _ in self.open if re.fullmatch(r"h[1-6]", tag)]
        if inside and not any("hidden" in given for _, given in self.open):
            self.texts[-1] += data


def page(project: Path, handler: AnnotatedHandler, source: str, **options: object) -> str:
    (project / "page.py").write_text(source, encoding="utf-8")
    chosen = handler.get_options(options)
    return handler.render(handler.collect("page", chosen), chosen)


def ids(html: str) -> list[str]:
    return re.findall(r' id="([^"]*)"', html)


# ## Headings


def test_a_heading_is_a_child_of_its_section_and_prose_follows_it(
    project: Path, handler: AnnotatedHandler
) -> None:
    html = page(project, handler, '"""\n# Title\n\nText.\n\n## Inner\n"""\n\nx = 1\n')
    found = Parents(html)
    assert [(tag, parent) for tag, _, parent in found.headings] == [
        ("h1", "section"),
        ("h2", "div"),
    ]
    assert found.headings[0][1] == {"id": "page", "data-role": "module"}


@pytest.mark.parametrize(
    ("heading", "text", "own"),
    [
        ("### Begin", "Begin", ""),
        ("### The set {a, b} of two", "The set {a, b} of two", ""),
        ("### Begin { #start }", "Begin", "start"),
        ("### Begin { .quiet #start }", "Begin", "start"),
        ("### `{}` is empty", "{} is empty", ""),
    ],
)
def test_a_heading_keeps_its_braces_and_carries_the_sections_anchor(
    project: Path, handler: AnnotatedHandler, heading: str, text: str, own: str
) -> None:
    source = f'class A:\n    """# A"""\n\n    def __init__(self):\n        """{heading}"""\n'
    html = page(project, handler, source)
    found = Parents(html)
    assert found.texts[-1].strip() == text
    assert found.headings[-1][1]["id"] == "page.A.__init__"
    assert found.headings[-1][1]["data-role"] == "function"
    assert (own in ids(html)) == bool(own)


def test_every_definition_has_a_heading_in_the_page_the_outline_and_the_contents(
    project: Path, handler: AnnotatedHandler
) -> None:
    source = '"""# T"""\n\n\nclass A:\n    """Says."""\n\n\ndef bare():\n    return 1\n'
    html = page(project, handler, source)
    contents = [h.get("id") for h in handler.get_headings()]
    assert [h[1]["id"] for h in Parents(html).headings] == ["page", "page.A", "page.bare"]
    assert [h[1].get("class") for h in Parents(html).headings] == [None, "heard", "small"]
    assert contents == ["page", "page.A", "page.bare"]
    outline = html.partition('<nav class="outline"')[2].partition("</nav>")[0]
    assert re.findall(r'href="#([^"]+)"', outline) == ["page.A", "page.bare"]


def test_what_has_no_heading_stands_in_the_section_that_it_goes_on_with(
    project: Path, handler: AnnotatedHandler
) -> None:
    source = (
        "def f(x):\n    '''## First'''\n    y = x\n\n    # A step.\n    return y\n\n\n"
        "# Of the module.\nz = 1\n"
    )
    html = page(project, handler, source)
    first = html[html.index('id="page.f"') :]
    # Two sections are open at the step, one at what is no longer about the function.
    assert "</section>" not in first[: first.index("A step.")]
    assert first[: first.index("Of the module.")].count("</section>") == 2


# ## Ids


TWICE = '''"""# T"""


def f():
    """
    ## First

    ### Begin

    A word.[^1]

    [^1]: A note.
    """


def g():
    """
    ## Second

    ### Begin

    See [above](#begin), [^1] and the rest.

    [^1]: Another.
    """


# ########
# ## Begin
x = 1
# ########
y = 2
'''


def test_no_id_comes_twice_and_links_follow_the_renamed(
    project: Path, handler: AnnotatedHandler
) -> None:
    handler.mdx = [*handler.mdx, "footnotes"]
    from markdown import Markdown

    handler._update_env(Markdown())
    html = page(project, handler, TWICE)
    assert len(ids(html)) == len(set(ids(html)))
    assert {"fn:1", "fn:1-2", "fnref:1", "fnref:1-2"} <= set(ids(html))
    assert set(re.findall(r'href="#(fn[^"]*)"', html)) == {
        "fn:1",
        "fn:1-2",
        "fnref:1",
        "fnref:1-2",
    }
    reported = [h.get("id") for h in handler.get_headings()]
    assert len(reported) == len(set(reported))
    assert set(reported) <= set(ids(html))
    assert '""' not in [f'"{name}"' for name in ids(html)]


def test_a_second_block_on_a_page_knows_the_ids_of_the_first(
    project: Path, handler: AnnotatedHandler
) -> None:
    both = "\n".join(f"::: {name}\n    handler: annotated\n" for name in ("page", "other"))
    (project / "docs" / "both.md").write_text(both)
    source = '"""# T\n\n## Notes\n"""\n\nx = 1\n\n# A step.\ny = 2\n'
    one = page(project, handler, source)
    (project / "other.py").write_text(source)
    chosen = handler.get_options({})
    two = handler.render(handler.collect("other", chosen), chosen)
    assert {"page", "notes", "a-step", "L6"} <= set(ids(one))
    assert {"other", "notes-2", "a-step-2", "other-L6"} <= set(ids(two))
    assert set(ids(one)) & set(ids(two)) == set()
    for html in (one, two):
        assert set(re.findall(r'href="#([^"]+)"', html)) <= set(ids(html))


def test_old_anchors_stand_beside_the_new_ones(
    project: Path, handler: AnnotatedHandler
) -> None:
    source = '"""# T"""\n\n\nclass A:\n    """Says."""\n\n\n# A step.\nx = 1\n'
    html = page(project, handler, source, formerly=["old.page", "older"])
    assert {"old.page", "old.page.A", "older", "older.A"} <= set(ids(html))
    assert len(ids(html)) == len(set(ids(html)))
    assert [name for name in ids(html) if name.startswith("old")][-1] == "older.A"


# ## What a search finds


def test_a_search_finds_a_definitions_name_and_its_formulas_letters(
    project: Path, handler: AnnotatedHandler
) -> None:
    html = page(
        project,
        handler,
        'def half(x):\n    r"""\n    ## Halving\n\n    $\\mu^\\sigma$\n    """\n',
    )
    assert 'Halving<span hidden="hidden"> (half)</span></h2>' in html
    assert "<span hidden>μ mu, σ sigma</span>" in html
    html = page(project, handler, 'def half(x):\n    """\n    ## How `half` works\n    """\n')
    assert "(half)" not in html


# ## Ties


def tied(html: str) -> set[tuple[str, str]]:
    """The names of the code that are tied, each with the name of the symbol that has its number."""
    symbols = {n: name for name, n in re.findall(r'data-code="([^"]+)" data-tie="(\d+)"', html)}
    tokens = re.findall(r'<span class="\w+ tied" data-tie="(\d+)">([^<]+)</span>', html)
    return {(text, symbols[n]) for n, text in tokens}


SCOPES = r'''r"""
# T

$\code{w}{W}$

* `w`: a weight
"""

import other


def f(w, eps=1.0):
    r"""
    $\code{eps}{\epsilon}$, `eps`

    * `eps`: small
    """
    return other.g(w, eps=eps) + len("eps")


class A:
    r"""
    $\code{self.b}{b}$

    * `b`: two
    """

    def __init__(self, b):
        self.b = b


def h(eps, w):
    """Its own."""
    return eps + w
'''


def test_code_and_symbol_have_the_same_number(project: Path, handler: AnnotatedHandler) -> None:
    html = page(project, handler, SCOPES)
    assert tied(html) == {("w", "w"), ("eps", "eps"), ("b", "self.b")}
    lines = dict(re.findall(r'id="L(\d+)">(.*?)\n', html))

    def tokens(code: str) -> list[str]:
        line = SCOPES[: SCOPES.index(code)].count("\n") + 1
        return re.findall(r'data-tie="\d+">([^<]+)', lines[str(line)])

    # The name of an argument in a call and a word in a string are no variables.
    assert tokens("return other.g") == ["w", "eps"]
    # What a function ties, it ties within itself; what the introduction ties, everywhere.
    assert tokens("return eps + w") == ["w"]
    # `self.b` is the attribute; the parameter is another thing.
    assert tokens("self.b = b") == ["b"]
    assert re.search(r'<code data-tie="\d+">eps</code>', html)


def test_a_name_inside_a_link_is_tied(project: Path, handler: AnnotatedHandler) -> None:
    source = 'r"""\n# T\n\n$\\code{twice}{t}$\n\n* `twice`: it\n"""\n\nfrom small import twice\n\nx = twice(1)\n'
    html = page(project, handler, source)
    linked = r'<a href="index.html#small.twice"[^>]*><span class="n tied" data-tie="1">twice</span></a>'
    assert len(re.findall(linked, html)) == 2
