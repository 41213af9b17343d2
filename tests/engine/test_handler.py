"""The handler: a module's HTML, and errors that say where, what, and what to do."""

import re
from pathlib import Path

import pytest
from mkdocs.exceptions import PluginError
from mkdocstrings import CollectionError

from mkdocstrings_handlers.annotated import AnnotatedHandler


def render(handler: AnnotatedHandler, name: str = "small", **options: object) -> str:
    chosen = handler.get_options(options)
    return handler.render(handler.collect(name, chosen), chosen)


def page(project: Path, handler: AnnotatedHandler, source: str) -> str:
    (project / "page.py").write_text(source, encoding="utf-8")
    return render(handler, "page")


def test_every_line_of_code_has_its_number_once(
    handler: AnnotatedHandler, project: Path
) -> None:
    html = render(handler)
    ids = [int(n) for n in re.findall(r'id="L(\d+)"', html)]
    assert ids == sorted(set(ids))
    lines = (project / "small.py").read_text().split("\n")
    assert {n for n in ids if "class Halver" in lines[n - 1]} == {
        lines.index("class Halver:") + 1
    }
    assert all(lines[n - 1].strip() for n in ids), "a blank line has a number"


def test_a_multi_line_string_keeps_its_colour(handler: AnnotatedHandler) -> None:
    line = next(
        part for part in render(handler).split('<span class="l"') if "# not a comment" in part
    )
    assert '<span class="s2"># not a comment' in line


def test_the_title_is_the_only_h1_and_carries_the_modules_name(
    handler: AnnotatedHandler,
) -> None:
    html = render(handler)
    assert re.findall(r'<h1 [^>]*id="([^"]+)"', html) == ["small"]


def test_headings_and_objects_reach_the_table_of_contents_and_the_inventory(
    handler: AnnotatedHandler,
) -> None:
    render(handler)
    found = {h.get("id"): (h.tag, h.get("data-role")) for h in handler.get_headings()}
    assert found["small"] == ("h1", "module")
    assert found["small.Halver"] == ("h2", "class")
    assert found["small.twice"] == ("h2", "function")
    assert found["try-it"][0] == "h2"
    # A private name has an anchor, but is kept out of a table of contents four levels deep.
    assert found["small.Halver.__call__"] == ("h6", "function")


def test_all_ids_are_unique_and_all_permalinks_lead_somewhere(
    handler: AnnotatedHandler,
) -> None:
    html = render(handler)
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(ids)


def test_the_outline_lists_what_the_file_holds(handler: AnnotatedHandler) -> None:
    outline = render(handler).partition('<nav class="outline"')[2].partition("</nav>")[0]
    assert re.findall(r'href="#([^"]+)"', outline) == ["small.Halver", "small.twice", "try-it"]
    assert '<nav class="outline"' not in render(handler, outline=False)


def test_imports_are_folded(handler: AnnotatedHandler) -> None:
    folded = (
        render(handler).partition('<details class="imports">')[2].partition("</details>")[0]
    )
    assert "TYPE_CHECKING" in folded
    assert "LIMIT" not in folded


def test_torch_names_lead_to_their_documentation(
    project: Path, handler: AnnotatedHandler
) -> None:
    html = page(
        project,
        handler,
        '"""See [`torch.nn.Conv2d`][] and [the function][torch.nn.functional.conv2d]."""\n',
    )
    assert (
        'href="https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html"><code>torch.nn.Conv2d'
        in html
    )
    assert 'generated/torch.nn.functional.conv2d.html">the function</a>' in html


def test_a_wrong_formula_names_file_and_line(project: Path, handler: AnnotatedHandler) -> None:
    source = 'r"""\n# T\n\nText.\n\n$$\nx +\n\\fra{1}{2}\n$$\n"""\n'
    with pytest.raises(
        PluginError,
        match=r"^page\.py:8: KaTeX can't set the formula .*Undefined control sequence",
    ):
        page(project, handler, source)


def test_a_wrong_formula_in_a_comment_names_file_and_line(
    project: Path, handler: AnnotatedHandler
) -> None:
    with pytest.raises(PluginError, match=r"^page\.py:3: KaTeX"):
        page(project, handler, "x = 1\n# One line,\n# and $\\nope$ here.\ny = 2\n")


def test_a_symbol_tied_to_nothing_names_file_line_and_the_nearest_name(
    project: Path, handler: AnnotatedHandler
) -> None:
    source = "def f(weight):\n    # First\n    # $\\code{wieght}{W}$.\n    return weight\n"
    with pytest.raises(
        PluginError, match=r"^page\.py:3: .*wieght.*scope of f\. Did you mean `weight`\?"
    ):
        page(project, handler, source)


def test_a_renamed_variable_leaves_its_symbol_behind(
    project: Path, handler: AnnotatedHandler
) -> None:
    source = (project / "small.py").read_text().replace("self.by", "self.factor")
    source = source.replace(r"\code{self.factor}", r"\code{self.by}")
    line = next(n for n, text in enumerate(source.split("\n"), 1) if r"\code{self.by}" in text)
    with pytest.raises(
        PluginError, match=rf"^page\.py:{line}: `\\code{{self\.by}}` names nothing"
    ):
        page(project, handler, source)


def test_a_name_of_another_function_is_out_of_scope(
    project: Path, handler: AnnotatedHandler
) -> None:
    source = (
        'def g(other):\n    """G."""\n\n\ndef f(x):\n    # $\\code{other}{o}$\n    return x\n'
    )
    with pytest.raises(PluginError, match=r"^page\.py:6: "):
        page(project, handler, source)


@pytest.mark.parametrize("name", ["x", "self.by", "Halver", "math", "LIMIT", "text"])
def test_parameters_attributes_locals_and_module_names_are_in_scope(
    project: Path, handler: AnnotatedHandler, name: str
) -> None:
    source = (
        (project / "small.py")
        .read_text()
        .replace("Not by zero", rf"$\code{{{name}}}{{n}}$")
        .replace("* `x`", f"* `{name}`: it\n* `x`")
    )
    assert f'data-code="{name}"' in page(project, handler, source)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[x][small.twise]", r"`small\.twise` leads nowhere\. Did you mean `small\.twice`\?"),
        ("[`small.nothing`][]", r"`small\.nothing` leads nowhere\. "),
        ("[two\nlines][small.Halver.by]", r"`small\.Halver\.by` leads nowhere"),
        ("[x](#try-that)", r"no `#try-that` on this page\. Did you mean `try-it`\?"),
    ],
)
def test_a_broken_reference_names_file_and_line(
    project: Path, handler: AnnotatedHandler, text: str, says: str
) -> None:
    source = f'"""\n# T\n\nSee {text}.\n"""\n\n# ## Try it\nx = 1\n'
    line = 4 + text.count("\n")
    with pytest.raises(PluginError, match=rf"^page\.py:{line}: .*{says}"):
        page(project, handler, source)


@pytest.mark.parametrize(
    "text",
    [
        "[x][small.twice], [`small.Halver`][], [x][small], [x](#try-it), [y](#page), [z](#inner)",
        "`[x][small.nothing]`, `a[i][j]`, $[a][b.c]$, [`torch.nn.Conv2d`][]",
        "```python\n[x][small.nothing]\n```",
        "[x][label] and [y][numpy.ndarray]\n\n[label]: https://example.org",
    ],
)
def test_references_that_lead_somewhere_and_what_is_none_pass(
    project: Path, handler: AnnotatedHandler, text: str
) -> None:
    page(project, handler, f'"""\n# T\n\nSee {text}\n\n## Inner\n"""\n\n# ## Try it\nx = 1\n')


def test_a_docstring_that_python_would_eat_is_refused(
    project: Path, handler: AnnotatedHandler
) -> None:
    with pytest.raises(CollectionError, match=r'^page\.py:\d+: invalid escape sequence .*r"""'):
        page(project, handler, '"""\n$\\mu$\n"""\n')


def test_a_syntax_error_names_file_and_line(project: Path, handler: AnnotatedHandler) -> None:
    with pytest.raises(CollectionError, match=r"^page\.py:2: "):
        page(project, handler, "x = 1\ny = = 2\n")


def test_a_missing_module_and_a_missing_notebook_say_what_to_name(
    handler: AnnotatedHandler,
) -> None:
    with pytest.raises(CollectionError, match="nowhere: there is no such module"):
        render(handler, "nowhere")
    with pytest.raises(CollectionError, match=r"docs/no\.ipynb: there is no such notebook"):
        render(handler, "docs/no.ipynb")


def test_an_unknown_option_is_refused(handler: AnnotatedHandler) -> None:
    with pytest.raises(
        PluginError, match="no option colour; it has heading_level, outline, bundle"
    ):
        handler.get_options({"colour": "red"})


def test_heading_level_moves_all_headings(handler: AnnotatedHandler) -> None:
    html = render(handler, heading_level=2)
    assert "<h1" not in html
    assert '<h2 data-role="module" id="small"' in html or '<h2 id="small"' in html


def test_arguments_stand_in_the_prose_beside_a_short_body_and_a_long_one(
    project: Path, handler: AnnotatedHandler
) -> None:
    docstring = '"""\n    Doubles.\n\n    It does so at once.\n\n    * `x`: what to double\n\n    Raises nothing.\n    """\n'
    short = page(project, handler, f"def twice(x):\n    {docstring}    return 2 * x\n")
    assert short.index("at once") < short.index("what to double")
    assert short.index("what to double") < short.index("Raises nothing")
    assert short.index("Raises nothing") < short.index("twice</span>")
    body = "".join(f"    x += {n}\n" for n in range(20))
    long = page(project, handler, f"def twice(x):\n    {docstring}{body}    return 2 * x\n")
    assert long.index("at once") < long.index("what to double") < long.index("twice</span>")


def test_a_list_that_a_sentence_announces_stays_with_it(
    project: Path, handler: AnnotatedHandler
) -> None:
    docstring = (
        '"""\n    Doubles, in two steps:\n\n    * takes `x`\n    * adds it to itself\n    """\n'
    )
    html = page(project, handler, f"def twice(x):\n    {docstring}    return 2 * x\n")
    assert html.index("two steps") < html.index("adds it") < html.index("twice</span>")
