"""A symbol means one thing on all pages: what the list of symbols says."""

import re
from pathlib import Path

import pytest

from mkdocstrings_handlers.annotated.document import Source
from mkdocstrings_handlers.annotated.read.module import read_module
from mkdocstrings_handlers.annotated.understand import symbols

# An index, or a square, of a letter that is explained without: `\mu_i`, `W_{i,j}^2`.
INDEX = re.compile(r"_(?:\{(?:i,j|b[cq])\}|[ijcq])(?![\w{])")
SQUARE = re.compile(r"(?<=[Wxmu])\^2$|(?<=^a)\^2$")


def plain(symbol: str) -> str:
    return SQUARE.sub("", INDEX.sub("", symbol))


def ties(root: Path) -> set[tuple[str, str, str]]:
    """Each symbol that a formula of the library, a tutorial or another page ties to a name, without index: file, symbol, name."""
    texts = [
        (path.name, section.prose)
        for path in (root / "labml_ws").rglob("*.py")
        for section in read_module(Source.read(path))
    ]
    others = [*(root / "docs" / "tutorials").glob("*.py"), *(root / "docs").glob("*.md")]
    texts += [(path.name, path.read_text("utf-8")) for path in others if path.stem != "how"]
    return {
        (file, plain(symbol), name.removeprefix("self.").rpartition(".")[2])
        for file, text in texts
        for name, symbol, _ in symbols.ties(text)
    }


@pytest.fixture(scope="module")
def listed(root: Path) -> dict[str, set[str]]:
    """The names of each symbol of the page."""
    rows = re.findall(
        r"^\| \$(.+?)\$ \| .*? \|(.*)\|$", (root / "docs" / "symbols.md").read_text(), re.M
    )
    found: dict[str, set[str]] = {}
    for symbol, names in rows:
        assert symbol not in found, f"{symbol} is listed twice"
        found[symbol] = {*re.findall(r"`(\w+)`", names)}
    return found


def test_every_tied_symbol_is_listed_with_its_name(
    root: Path, listed: dict[str, set[str]]
) -> None:
    assert len(ties(root)) > 30
    assert [
        f"{file}: {symbol} is {name}"
        for file, symbol, name in sorted(ties(root))
        if name not in listed.get(symbol, set())
    ] == []


def test_no_name_is_listed_that_no_formula_ties(
    root: Path, listed: dict[str, set[str]]
) -> None:
    tied = {(symbol, name) for _, symbol, name in ties(root)}
    assert {
        (symbol, name) for symbol, names in listed.items() for name in names
    } - tied == set()


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        (r"\mu_i", r"\mu"),
        (r"\hat W_{i,j}", r"\hat W"),
        ("W_{i,j}^2", "W"),
        (r"\hat\sigma_c^2", r"\hat\sigma^2"),
        (r"\mu_{bc}", r"\mu"),
        ("C_{in}", "C_{in}"),
        (r"\sqrt{\sigma^2 + \epsilon}", r"\sqrt{\sigma^2 + \epsilon}"),
    ],
)
def test_an_index_is_no_part_of_a_symbol(symbol: str, expected: str) -> None:
    assert plain(symbol) == expected
