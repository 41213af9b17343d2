"""What a page offers to take along: where it leads, with and without a repository."""

import re
from pathlib import Path

import pytest
from mkdocstrings import CollectionError

from mkdocstrings_handlers.annotated.document import Source
from mkdocstrings_handlers.annotated.render.take import Take, needs

GITHUB = "https://github.com/someone/some.thing"
PLACES = ["pkg/mod.py", "code-only/pkg/mod.py", "pkg/mod.ipynb", "pkg/mod.js", "one.py"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for place in PLACES:
        path = tmp_path / "docs" / "download" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def taken(root: Path, repo: str = "", page: str = "annotated/mod.html", **options: str):
    take = Take(root, "docs/download", repo, **options)
    found = take.along("pkg.mod", "pkg/mod.py", page, "one.py")
    assert found
    return found


@pytest.mark.parametrize(
    ("page", "up"),
    [("index.html", ""), ("a/mod.html", "../"), ("a/mod/", "../../"), ("", "")],
)
def test_addresses_are_relative_to_the_page(root: Path, page: str, up: str) -> None:
    found = taken(root, page=page)
    assert found.file == "mod.py"
    assert [found.module, found.code_only, found.notebook, found.script, found.bundle] == [
        f"{up}download/{place}" for place in PLACES
    ]


def test_without_a_repository_nothing_is_said_of_one(root: Path) -> None:
    assert (taken(root).colab, taken(root).source) == ("", "")
    assert Take(root).source("pkg/mod.py", 1, 2) == ""


@pytest.mark.parametrize("end", ["", "/", ".git"])
def test_colab_opens_the_branch_of_the_notebooks(root: Path, end: str) -> None:
    assert taken(root, GITHUB + end).colab == (
        "https://colab.research.google.com/github/someone/some.thing/blob/notebooks/pkg/mod.ipynb"
    )


@pytest.mark.parametrize("repo", ["https://gitlab.com/a/b", "https://github.com.evil.test/a/b"])
def test_colab_is_offered_for_github_only(root: Path, repo: str) -> None:
    assert taken(root, repo).colab == ""
    assert taken(root, repo).source == f"{repo}/blob/main/pkg/mod.py"


def test_lines_are_those_of_the_commit_that_was_built() -> None:
    take = Take(Path(), "docs/download", GITHUB, ref="c0ffee")
    assert take.source("pkg/mod.py", 7, 12) == f"{GITHUB}/blob/c0ffee/pkg/mod.py#L7-L12"
    assert take.source("pkg/mod.py", 7, 7) == f"{GITHUB}/blob/c0ffee/pkg/mod.py#L7"


def test_a_tutorial_leads_to_the_notebook_beside_it_and_to_its_script(root: Path) -> None:
    take = Take(root, "docs/download", GITHUB)
    found = take.along("one", "docs/tutorials/one.ipynb", "tutorials/one.html")
    assert found
    assert (found.notebook, found.script) == ("one.ipynb", "")
    assert found.source == f"{GITHUB}/blob/main/docs/tutorials/one.py"
    assert found.colab.endswith("/some.thing/blob/notebooks/tutorials/one.ipynb")


def test_a_missing_file_says_who_writes_it(root: Path) -> None:
    (root / "docs" / "download" / "pkg" / "mod.ipynb").unlink()
    with pytest.raises(
        CollectionError, match=r"^pkg\.mod: .*docs/download/pkg/mod\.ipynb is missing\. `make"
    ):
        taken(root)


@pytest.mark.parametrize("builder", ["mkdocs", "zensical"])
@pytest.mark.parametrize("repo", ["", GITHUB])
def test_both_builders_offer_the_same(
    project: Path, build, monkeypatch: pytest.MonkeyPatch, builder: str, repo: str
) -> None:
    for place in ("small.py", "code-only/small.py", "small.ipynb", "small.js"):
        path = project / "docs" / "download" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    (project / "docs" / "deeper").mkdir()
    (project / "docs" / "index.md").rename(project / "docs" / "deeper" / "page.md")
    (project / "docs" / "index.md").write_text("# Home\n")
    config = (project / "mkdocs.yml").read_text()
    handlers = '{handlers: {annotated: {downloads: docs/download, repo_url: !ENV [REPO_URL, ""], ref: !ENV [REPO_REF, main]}}}'
    (project / "mkdocs.yml").write_text(
        config.replace("mkdocstrings: {}", f"mkdocstrings: {handlers}")
    )
    if repo:
        monkeypatch.setenv("REPO_URL", repo)
        monkeypatch.setenv("REPO_REF", "c0ffee")
    else:
        monkeypatch.delenv("REPO_URL", raising=False)
    done = build(project, builder)
    assert done.returncode == 0, done.stdout + done.stderr
    html = (project / "site" / "deeper" / "page.html").read_text(encoding="utf-8")
    line = html.partition('<p class="take"')[2].partition("</p>")[0]
    offered = re.findall(r'<a [^>]*?href="([^"]+)"', line)
    assert offered == [
        "../download/small.py",
        "../download/code-only/small.py",
        "../download/small.ipynb",
    ] + ([
        "https://colab.research.google.com/github/someone/some.thing/blob/notebooks/small.ipynb",
        f"{GITHUB}/blob/c0ffee/small.py",
    ] if repo else [])  # fmt: skip
    assert 'data-script="../download/small.js"' in line
    assert len(re.findall("<button", line)) == 2
    lines = re.findall(r'class="to-source"[^>]*href="([^"]+)"', html)
    assert bool(lines) == bool(repo)
    source = (project / "small.py").read_text().split("\n")
    for href in lines:
        first = int(re.findall(r"#L(\d+)", href)[0])
        assert href.startswith(f"{GITHUB}/blob/c0ffee/small.py#L{first}")
        assert f'id="L{first}"' in html
        assert source[first - 1].strip()


def test_the_two_downloads_have_names_of_their_own(root: Path) -> None:
    found = taken(root)
    assert (found.file, found.bare) == ("mod.py", "mod_code_only.py")


def test_it_says_what_a_file_needs() -> None:
    text = "import os.path, torch.nn as nn\nfrom pkg.mod import x\nfrom . import y\nfrom __future__ import annotations\n"
    assert needs(Source(f"{text}def f():\n    import numpy\n")) == ["pkg", "torch"]
