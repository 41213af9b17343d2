"""What the symbols mean is found where the source says it, and asked for where it doesn't."""

import re
from pathlib import Path

import pytest
from mkdocs.exceptions import PluginError

from mkdocstrings_handlers.annotated import AnnotatedHandler
from mkdocstrings_handlers.annotated.document import Document, Result, Source
from mkdocstrings_handlers.annotated.read.module import read_module
from mkdocstrings_handlers.annotated.understand.scopes import Scopes
from mkdocstrings_handlers.annotated.understand.symbols import Entry, Symbols, ties
from mkdocstrings_handlers.annotated.understand.words import item_shapes, items, plain

ROOT = Path(__file__).resolve().parents[2]

MODULE = r'''r"""
# Legend

$\code{total}{S}$, then $\code{Adder}{A}$.
"""


class Adder:
    r"""
    ## Adding up

    $$\code{self.start}{s_0} + \code{x}{x}$$

    * `start`: where to begin, at 0 for a sum
    """

    def __init__(self, start: float) -> None:
        self.start = start

    # $\code{x}{x_i}$ and $\code{scaled}{\hat x}$.
    def __call__(
        self,
        x: list,  # [N], the numbers
    ) -> float:
        scaled = [2 * one for one in x]  # [2, N] -> [N], twice `x`: all of them
        total = sum(scaled)
        return self.start + total


def other(total):  # noqa: D103
    r"""
    * returns $\code{total}{T}$: the total, again; `more`: nothing
    """
    return total


if __name__ == "__main__":
    # $\code{total}{t}$
    total = 3  # what it is here
'''


@pytest.fixture
def rows(project: Path, handler: AnnotatedHandler):
    def of(source: str) -> list[tuple[str, ...]]:
        (project / "page.py").write_text(source, encoding="utf-8")
        options = handler.get_options({})
        html = handler.render(handler.collect("page", options), options)
        found = re.findall(
            r'<tr data-scope="([^"]*)"(?:(?! hidden)[^>])*>(.*?)</tr>', html, re.DOTALL
        )
        return [
            (scope, *(re.sub(r"<var.*</var>|<[^>]+>", "", cell).strip() for cell in cells))
            for scope, row in found
            for cells in [re.findall(r"<td>(.*?)</td>", row, re.DOTALL)]
        ]

    return of


def test_a_meaning_comes_from_a_list_a_comment_or_a_heading_the_nearest_first(rows) -> None:
    assert rows(MODULE) == [
        ("", "S", "total", "the total", ""),
        ("", "A", "Adder", "Adding up", ""),
        ("Adder", "s", "self.start", "where to begin", ""),
        ("Adder", "x", "x", "the numbers", "[N]"),
        ("Adder", "x̂", "scaled", "twice x", "[N]"),
        ("__main__", "t", "total", "what it is here", ""),
    ]


def test_a_page_without_ties_has_no_legend(rows) -> None:
    assert rows('"""# T"""\nx = 1\n') == []


def test_a_symbol_without_a_meaning_names_file_and_line(rows) -> None:
    source = MODULE.replace("  # [N], the numbers", "")
    line = source.split("\n").index(next(t for t in source.split("\n") if "{s_0}" in t)) + 1
    with pytest.raises(PluginError, match=rf"^page\.py:{line}: nothing says what `x` is"):
        rows(source)


def test_a_list_item_may_explain_several_names_and_only_its_first_clause_is_taken() -> None:
    text = (
        "* `a`, `b`: the ends of [it][x.y], included\n* returns $\\code{w}{\\hat W}$: a sum\n  "
        "over $i, j$; $\\code{v}{v}$: less\n* see `c`: no\n"
    )
    assert list(items(text)) == [
        ("a", "the ends of it"),
        ("b", "the ends of it"),
        ("w", "a sum over $i, j$"[: -len(" $i, j$")]),
        ("v", "less"),
    ]


@pytest.mark.parametrize(
    ("tex", "text"),
    [
        (r"\hat W_{i,j}", "Ŵ"),
        (r"\sigma_i^2", "σ² sigma"),
        (r"\epsilon", "ε epsilon"),
        (r"\frac{\partial L}{\partial W}", "∂L/∂W"),
        (r"\overline{(x - m)^2}", "(x-m)²"),
        (r"\hat{\mu}", "μ̂ mu"),
        (r"\text{BatchNorm}", "BatchNorm"),
    ],
)
def test_the_search_finds_a_symbol_by_its_letters_and_its_name(tex: str, text: str) -> None:
    assert plain(tex) == text


# ---- Where a name is bound ----


def entries(document: Document) -> list[Entry]:
    found = Symbols(document, Scopes(document.source))
    met = [
        found.tie(name, symbol, "", section)
        for section in document.sections
        for name, symbol, _ in ties(section.prose)
    ]
    return found.legend(met)


PLACES = r'''r"""
# T
$\code{w}{W}$

* `w`: a weight, `[O, I]`
"""


def f(w, eps=1e-5):
    r"""
    $\code{w}{W} + \code{eps}{\epsilon} + \code{total}{t}$

    * `eps`: small; `total`: a sum, of `[O]` numbers
    """
    total = w.sum(1)  # [O]
    return total + eps


class A(Base):
    r"""
    $\code{self.w}{W} + \code{self.total}{t}$

    * `total`: another sum
    """

    def g(self):
        return self.w

    @property
    def total(self):
        return 1


if __name__ == "__main__":
    # $\code{w}{W}$
    w = ones(2, 3, 4)
'''


def test_a_symbol_has_the_line_and_the_value_of_its_own_scope() -> None:
    source = Source(PLACES)
    lines = PLACES.split("\n")

    def line(text: str) -> int:
        return next(n for n, one in enumerate(lines, 1) if text in one)

    results = [
        Result(line("def f"), "w", "[2, 3]", "= 1"),
        Result(line("total ="), "total", "[2]", "= 3"),
        Result(line("w = ones"), "w", "[2, 3, 4]", "= 1"),
    ]
    document = Document("page", source, read_module(source), results)
    assert [
        (e.tie.scope, e.tie.name, e.place.line, e.shape, e.value) for e in entries(document)
    ] == [
        # The introduction speaks of the rest before the demo.
        ("", "w", line("def f"), "[O, I]", "[2, 3] = 1"),
        ("f", "w", line("def f"), "[O, I]", "[2, 3] = 1"),
        ("f", "eps", line("def f"), "", "1e-5 by default"),
        ("f", "total", line("total ="), "[O]", "[2] = 3"),
        # What another class binds is found where it is first used, a property where it is defined.
        ("A", "self.w", line("return self.w"), "[O, I]", ""),
        ("A", "self.total", line("def total"), "[O]", ""),
        # Here it has one dimension more, so it isn't the shape that is written elsewhere.
        ("__main__", "w", line("w = ones"), "[2, 3, 4]", "= 1"),
    ]


def test_a_list_item_gives_a_shape_where_it_names_one_as_such() -> None:
    text = (
        "* `w`: a weight, `[O, I]`, of any dtype\n* `a`, `b`: ends, of shape `[N]`\n"
        "* `c`: `[C]`; `d`: from a `[D]` made\n"
    )
    assert list(item_shapes(text)) == [
        ("w", "[O, I]"),
        ("a", "[N]"),
        ("b", "[N]"),
        ("c", "[C]"),
    ]


# ---- The pages of the library ----

MODULES = sorted(path for path in (ROOT / "labml_ws").rglob("*.py") if path.stem != "__init__")
FORMULA = re.compile(
    r"\$\$(.+?)\$\$|(\\begin\{align\}.+?\\end\{align\})|\$([^$]+)\$", re.DOTALL
)


def bare(symbol: str) -> str:
    r"""`\sigma_i^2` and `\sigma_{c}^2` are one symbol: its indices are left out."""
    return re.sub(r"_(\{[^{}]*\}|\w)|\s", "", symbol)


def untied(tex: str, symbol: str) -> bool:
    """Whether a symbol stands in what is left of a formula without its ties."""
    for name, inner, _ in ties(tex):
        tex = tex.replace(f"\\code{{{name}}}{{{inner}}}", " ")
    tex = re.sub(r"_(\{[^{}]*\}|\w)|\\(text|mathbb|begin|end)\{[^{}]*\}", "", tex)
    tex = re.sub(r"(\\(?:hat|bar|tilde)) *", r"\1", tex)
    # Another symbol may contain this one: an accent, a command or a power makes it another.
    accent = r"(?<![A-Za-z])(?<!\\hat)(?<!\\hat\{)(?<!\\)(?<!\\partial )"
    power = "" if "^" in symbol else r"(?!\^)"
    return re.search(rf"{accent}{re.escape(symbol)}(?![A-Za-z]){power}", tex) is not None


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_symbol_that_is_tied_once_is_tied_wherever_its_name_is_in_scope(path: Path) -> None:
    source = Source.read(path)
    document = Document(path.stem, source, read_module(source))
    sections, names = document.sections, Symbols(document, Scopes(source))
    formulas = [
        (section, next(filter(None, m.groups())))
        for section in sections
        for m in FORMULA.finditer(section.prose)
    ]
    tied = {
        (names.scope(section), name, bare(symbol))
        for section, tex in formulas
        for name, symbol, _ in ties(tex)
    }
    left = [
        f"{path.name}:{section.first_line}: {symbol} in {tex!r} is `{name}`"
        for section, tex in formulas
        for scope, name, symbol in sorted(tied)
        if scope in ("", names.scope(section))
        and name in names.visible(section)
        and untied(tex, symbol)
    ]
    assert left == []


def test_the_library_ties_its_symbols() -> None:
    counts = {path.stem: len(list(ties(path.read_text(encoding="utf-8")))) for path in MODULES}
    assert counts["standardization"] > 20
    assert counts["batch_channel_norm"] > 30
    assert counts["layers"] > 8


@pytest.mark.parametrize(
    ("tex", "symbol", "found"),
    [
        (r"\frac{W}{2}", "W", True),
        (r"\code{weight}{W}", "W", False),
        (r"\hat W + 1", "W", False),
        (r"\hat W + 1", r"\hatW", True),
        (r"\sigma^2", r"\sigma", False),
        (r"\sigma_i^2", r"\sigma^2", True),
        (r"\code{sigma}{\sqrt{\sigma^2 + \epsilon}}", r"\epsilon", False),
    ],
)
def test_the_test_of_untied_symbols_can_fail(tex: str, symbol: str, found: bool) -> None:
    assert untied(tex, symbol) is found
