"""A page without code ties its formulas to code that another page shows."""

import json
import re
from pathlib import Path

import pytest
from markdown import Markdown
from mkdocs.exceptions import PluginError

from mkdocstrings_handlers.annotated.prose.math import MathExtension

TEXT = "Of $\\code{small.Halver.__call__.x}{z}$ and $\\code{small.twice.x}{x}$, again $\\code{small.twice.x}{x}$; `$\\code{no.x}{y}$`."


@pytest.fixture
def convert(project: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(project)
    monkeypatch.setattr(MathExtension, "indices", {})
    (project / "records").mkdir()
    source = (project / "small.py").read_text()
    (project / "small.py").write_text(source.replace("def twice(x):", "def twice(x=2):"))
    (project / "records" / "small.json").write_text(
        json.dumps({"printed": [], "bound": [[3, "x", "[3]", "= 5"]]})
    )
    name = "mkdocstrings_handlers.annotated.prose"
    options = {"cache": str(cache), "demos": "records"}
    return Markdown(extensions=[name], extension_configs={name: options}).convert


def test_a_full_name_becomes_a_tie_with_a_row_that_leads_to_its_line(
    convert, project: Path
) -> None:
    html = convert(TEXT)
    rows = re.findall(r"<tr data-scope.*?</tr>", html)
    assert len(rows) == 2
    lines = (project / "small.py").read_text().split("\n")
    at = next(n for n, line in enumerate(lines, 1) if "def twice" in line)
    assert f'<a href="index.html#L{at}" title="line {at} of small.py">' in rows[1]
    assert "what is halved" in rows[1]
    # What a reader sees is the variable's own name.
    assert html.count('data-code="x" data-tie="2"') > html.count('data-tie="1"') / 2
    assert "small.twice.x" not in html


def test_a_page_without_such_ties_has_no_list(convert) -> None:
    assert "legend" not in convert("$\\code{mean}{m}$ and $x$")
    assert 'data-code="mean"' in convert("$\\code{mean}{m}$")


def test_a_tie_that_leads_nowhere_stops_the_build_with_the_nearest_name(convert) -> None:
    with pytest.raises(PluginError, match=r"Did you mean `small\.twice\.x`"):
        convert("$\\code{small.twice.y}{x}$")


def test_a_tie_to_a_module_that_no_page_shows_stops_the_build(convert, project: Path) -> None:
    (project / "other.py").write_text("x = 1  # one\n")
    with pytest.raises(PluginError, match="no page shows `other`"):
        convert("$\\code{other.x}{x}$")
