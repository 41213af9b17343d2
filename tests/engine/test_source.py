"""A file is read once, as Python reads it, and what can't be read is named."""

import ast
import codecs
import tokenize
from pathlib import Path

import pytest
from mkdocstrings import CollectionError

from mkdocstrings_handlers.annotated import AnnotatedHandler
from mkdocstrings_handlers.annotated.document import Source, SourceError
from mkdocstrings_handlers.annotated.read.module import read_module
from mkdocstrings_handlers.annotated.understand.index import Index

from .test_handler import render


@pytest.mark.parametrize(
    ("data", "prose"),
    [
        (codecs.BOM_UTF8 + '"""# Ärger"""\r\nx = 1\r\n'.encode(), "# Ärger"),
        ('# -*- coding: latin-1 -*-\n"""# Ärger"""\n'.encode("latin-1"), "# Ärger"),
        ('# vim: set fileencoding=cp1251 :\n"""# Да"""\n'.encode("cp1251"), "# Да"),
    ],
    ids=["byte order mark", "latin-1", "cp1251"],
)
def test_a_file_is_decoded_as_python_would(
    project: Path, handler: AnnotatedHandler, data: bytes, prose: str
) -> None:
    path = project / "page.py"
    path.write_bytes(data)
    assert read_module(Source.read(path))[0].prose == prose
    assert f">{prose.removeprefix('# ')}" in render(handler, "page")


def test_a_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "page.py"
    path.write_text("x = 1\n")
    one = Source.read(path)
    assert Source.read(path) is one
    path.write_text("x = 22\n")
    assert Source.read(path).text == "x = 22\n"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'"""\xff"""\n', r"pack/broken\.py:1: this is no text that Python can read: .*Save it as UTF-8"),
        (b"# coding: klingon\n", r"pack/broken\.py:1: .*unknown encoding.*klingon"),
        (b"x = 1\n\ny = (2\n", r"pack/broken\.py:3: '\(' was never closed"),
        (b"x = 1\x00\n", r"pack/broken\.py:1: .*null bytes"),
        (b'x = "\\mu"\n', r'pack/broken\.py:1: invalid escape sequence .*Begin the string with r"""'),
    ],
    ids=["not UTF-8", "no such encoding", "a bracket", "null bytes", "an escape"],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_named_and_breaks_no_other_page(
    project: Path, handler: AnnotatedHandler, data: bytes, says: str
) -> None:
    package = project / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "broken.py").write_bytes(data)
    (package / "whole.py").write_text(
        '"""\n# Whole\n\nSee [f][pack.whole.f].\n"""\nfrom pack.broken import x\n\n\ndef f():\n    """F."""\n    return x\n'
    )
    (project / "docs" / "whole.md").write_text("::: pack.whole\n    handler: annotated\n")
    assert "Whole" in render(handler, "pack.whole")
    with pytest.raises(CollectionError, match=f"^{says}"):
        handler.collect("pack.broken", handler.get_options({}))
    # A reference to it names it as well, and not the page that refers to it.
    (package / "other.py").write_text('"""\n# Other\n\nSee [x][pack.broken.x].\n"""\n')
    with pytest.raises(Exception, match=says):
        render(handler, "pack.other")


FILES = 50


def test_fifty_sources_are_parsed_fifty_times_and_tokenized_fifty_times(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = project / "pack"
    package.mkdir()
    names = ["__init__", *(f"m{n}" for n in range(1, FILES))]
    for n, name in enumerate(names):
        (package / f"{name}.py").write_text(
            f'"""\n# M{n}\n\nSee [f][pack.m{n or 1}.f].\n"""\nfrom .m{n % 9 + 1} import f as g\n\n\n'
            f'def f(x):\n    """Calls `g`."""\n    # Twice.\n    return g(g(x))\n'
        )
        (project / "docs" / f"{n}.md").write_text(
            f"::: {f'pack.{name}'.removesuffix('.__init__')}\n    handler: annotated\n"
        )
    calls = {"parse": 0, "tokens": 0}
    parse, tokens = ast.parse, tokenize.generate_tokens

    def counted_parse(*args, **kwargs):
        calls["parse"] += 1
        return parse(*args, **kwargs)

    def counted_tokens(*args, **kwargs):
        calls["tokens"] += 1
        return tokens(*args, **kwargs)

    monkeypatch.setattr(ast, "parse", counted_parse)
    monkeypatch.setattr(tokenize, "generate_tokens", counted_tokens)
    index = Index(project, project / "docs")
    for name in (f"pack.{name}".removesuffix(".__init__") for name in names):
        document = index.document(name)
        for section in document.sections:
            index.check(document, section)
        for reference in index.scopes(document).references():
            assert all(index.find(target) for _, target in reference.ends)
    assert calls == {"parse": FILES, "tokens": FILES}


@pytest.mark.parametrize(
    ("tex", "says"),
    [
        (r"\theta", r"`\\t` in this docstring is a tab"),
        (r"\tau \times x", r"`\\t` in this docstring is a tab"),
        (r"\nabla f", r"`\\n` in this docstring is a line break"),
        (r"\alpha", r"`\\a` in this docstring is a bell"),
        (r"\frac12", r"`\\f` in this docstring is a form feed"),
        (r"\beta", r"`\\b` in this docstring is a backspace"),
        (r"\rho", r"`\\r` in this docstring is a carriage return"),
        (r"\mu", r"invalid escape sequence"),
    ],
)
def test_a_docstring_that_lost_letters_is_refused(tex: str, says: str) -> None:
    source = f'class A:\n    """\n    One.\n\n    $${tex}$$\n    """\n'
    with pytest.raises(SourceError, match=rf'^<text>:\d+: {says}.*egin the .*string with r"""'):
        read_module(Source(source))
    line = 2 if tex == r"\mu" else 5
    with pytest.raises(SourceError, match=f":{line}:"):
        read_module(Source(source))
    (section,) = read_module(Source(source.replace('"""', 'r"""', 1)))
    assert tex in section.prose


@pytest.mark.parametrize("text", [r"\\theta", r"\"", r"\u00e9", r"\N{BULLET}", r"\x41"])
def test_an_escape_that_loses_no_letter_is_nobodys_fault(text: str) -> None:
    (section,) = read_module(Source(f'"""A {text} b."""\n'))
    assert section.prose == ast.literal_eval(f'"""A {text} b."""')
