"""What a reader takes along runs where it is said to run, and computes what the library computes."""

import ast
import codeop
import copy
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import nbformat
import pytest
import torch
import yaml
from torch import nn

import labml_ws
from labml_ws.experiment.vgg import VGG
from mkdocstrings_handlers.annotated.document import Source
from mkdocstrings_handlers.annotated.render.take import BRANCH
from mkdocstrings_handlers.annotated.understand import run as recorder
from mkdocstrings_handlers.annotated.understand.index import Index
from tools import downloads, run, single

MODULES = single.modules()
SITE, REPO = "https://site.test/", "https://github.com/someone/labml_ws"


def index(root: Path) -> Index:
    return Index(root, root / "docs", [root, root / "engine"])


@pytest.fixture(scope="module")
def files(root: Path) -> dict[str, str]:
    """All that there is to take along, where there is neither a repository nor a site to name."""
    return downloads.files(downloads.Site(index(root)))


@pytest.fixture
def one_file(files: dict[str, str], tmp_path: Path) -> ModuleType:
    path = tmp_path / single.NAME
    path.write_text(files[single.NAME])
    spec = importlib.util.spec_from_file_location("labml_ws_single", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def record(path: Path) -> list[tuple[int, str]]:
    """What a module's demo prints, each text with the number of its statement."""
    return recorder.run(Source.read(path))["printed"]


def printed(path: Path) -> list[tuple[int, str]]:
    """The same, from a record."""
    return json.loads(path.read_text())["printed"]


def code_cells(text: str) -> list[str]:
    notebook = nbformat.reads(text, as_version=4)
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


# ## One file


def test_the_one_file_has_the_librarys_public_names(one_file: ModuleType) -> None:
    assert sorted(one_file.__all__) == sorted([*labml_ws.__all__, *single.CONVERSION])
    assert {"VGG", "standardize", "fold"} <= set(vars(one_file))
    assert all(getattr(one_file, name).__module__ != "labml_ws" for name in one_file.__all__)
    assert "MIT License" in Path(str(one_file.__file__)).read_text()


IMAGE = (2, 8, 12, 12)
LIBRARY = SimpleNamespace(**vars(labml_ws), VGG=VGG)
MAKE: dict[str, tuple[Callable[[Any], nn.Module], tuple[int, ...]]] = {
    "Conv1d": (lambda m: m.Conv1d(8, 6, 3, padding=1), (2, 8, 12)),
    "Conv2d": (lambda m: m.Conv2d(8, 6, 3, groups=2, padding_mode="circular", padding=1), IMAGE),
    "Conv3d": (lambda m: m.Conv3d(8, 6, 3), (2, 8, 5, 5, 5)),
    "ConvTranspose1d": (lambda m: m.ConvTranspose1d(8, 6, 3, stride=2), (2, 8, 12)),
    "ConvTranspose2d": (lambda m: m.ConvTranspose2d(8, 6, 3, groups=2), IMAGE),
    "ConvTranspose3d": (lambda m: m.ConvTranspose3d(8, 6, 3), (2, 8, 5, 5, 5)),
    "Linear": (lambda m: m.Linear(12, 5), IMAGE),
    "EstimatedBatchNorm": (lambda m: m.EstimatedBatchNorm(8), IMAGE),
    "ChannelNorm": (lambda m: m.ChannelNorm(8, 4), IMAGE),
    "BatchChannelNorm": (lambda m: m.BatchChannelNorm(8, 4), IMAGE),
    "VGG": (lambda m: m.VGG([[8], [32]], norm=lambda c: m.BatchChannelNorm(c, 4)), (2, 3, 8, 8)),
}  # fmt: skip


def test_every_public_layer_is_compared() -> None:
    functions = {"weight_standardization", "standardize_once"}
    assert set(MAKE) == {*labml_ws.__all__, "VGG"} - functions


@pytest.mark.parametrize("name", MAKE)
def test_a_layer_of_the_one_file_computes_the_librarys_values_and_gradients(
    one_file: ModuleType, name: str
) -> None:
    make, shape = MAKE[name]
    torch.manual_seed(0)
    ours = make(LIBRARY).double()
    theirs = make(one_file).double()
    assert type(theirs) is getattr(one_file, name)
    theirs.load_state_dict(copy.deepcopy(ours.state_dict()))
    x = torch.randn(shape, dtype=torch.float64)
    for mode in (True, False):
        one, other = ours.train(mode)(x), theirs.train(mode)(x)
        assert torch.equal(one, other)
        g = torch.randn_like(one)
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            p.grad = q.grad = None
        one.backward(g)
        other.backward(g)
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert p.grad is not None
            assert q.grad is not None
            assert torch.equal(p.grad, q.grad)


def test_the_function_of_the_one_file_computes_the_librarys_values(
    one_file: ModuleType,
) -> None:
    weight = torch.randn(4, 3, 3, 3, dtype=torch.float64)
    assert torch.equal(
        one_file.weight_standardization(weight), labml_ws.weight_standardization(weight)
    )


ALONE = """
import contextlib, importlib.util, io, json, sys
for guest in ("labml_ws", "mkdocstrings_handlers", "numpy"):
    assert importlib.util.find_spec(guest) is None, guest
printed = {}
for name, source in json.load(sys.stdin).items():
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(source, name, "exec"), {"__name__": "__main__"})
    printed[name] = out.getvalue()
json.dump(printed, sys.stdout)
"""
USE = """
x, w = torch.zeros(1, 3, 32, 32), torch.zeros(2, 3, 8, 8)
print(tuple(VGG()(x).shape), tuple(Conv2d(3, 8, 3)(w).shape))
"""


@pytest.mark.slow
def test_the_one_file_and_the_notebooks_run_where_only_torch_is(
    files: dict[str, str], torch_only: Path, site: Path, root: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    # A module that is shown inside of what is built on it needs the library.
    alone = [module for module in MODULES if module not in single.demo_needs(module)]
    assert len(alone) > len(MODULES) - 2
    sources = {"single": files[single.NAME] + USE} | {
        module: "\n\n".join(code_cells(files[f"labml_ws/{module.replace('.', '/')}.ipynb"]))
        for module in alone
    }
    done = subprocess.run(
        [torch_only, "-I", "-W", "ignore", "-c", ALONE],
        cwd=empty,
        input=json.dumps(sources),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    outputs = json.loads(done.stdout)
    assert outputs["single"] == "(1, 10) (2, 8, 6, 6)\n"
    for module in alone:
        record = printed(root / "build" / "demos" / f"labml_ws.{module}.json")
        shown = "".join(text for _, text in record).splitlines()
        found = outputs[module].splitlines()
        assert len(found) == len(shown) > 1
        # One of them holds a duration.
        assert sum(a == b for a, b in zip(found, shown, strict=True)) >= len(shown) - 1
    assert list(empty.iterdir()) == []


@pytest.fixture
def joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Two modules of a library, `a` and `b`, as one text."""
    monkeypatch.setattr(run, "ROOT", tmp_path)
    (tmp_path / "labml_ws").mkdir()

    def join(one: str, other: str) -> str:
        (tmp_path / "labml_ws" / "a.py").write_text(one)
        (tmp_path / "labml_ws" / "b.py").write_text(other)
        return single.joined(["a", "b"])

    return join


F = "def f():\n    return 1\n\n\n"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (F + "x = f()\n", "def f():\n    return 2\n"),
        (F, "from labml_ws.a import f\nx = f()\n"),
        (F, "from labml_ws.a import f as g\nx = g()\n"),
        (F, "import labml_ws.a\nx = labml_ws.a.f()\n"),
        (F, "from labml_ws import a\nx = a.f()\n"),
        (F, "from .a import f\nx = f()\n"),
        ("x = 1\n", "if __name__ == '__main__':\n    x = 2\n"),
        ("from ast import walk as f\nx = 1\n", "from ast import walk as f\n"),
    ],
    ids=["new", "name", "renamed", "module", "from", "relative", "demo", "same"],
)
def test_a_name_means_in_one_text_what_it_meant_in_its_module(
    joined: Callable[[str, str], str], one: str, other: str
) -> None:
    values: dict[str, object] = {}
    exec(joined(one, other), values)
    assert values["x"] == 1
    assert "labml_ws" not in joined(one, other)


@pytest.mark.parametrize(
    ("one", "other", "name"),
    [
        ("import math as m\n", "import ast as m\n", "m"),
        ("from ast import walk\n", "walk = 1\n", "walk"),
        ("X = 1\n", "X = 2\n", "X"),
    ],
    ids=["import", "either", "value"],
)
def test_modules_that_cannot_share_a_file_are_named(
    joined: Callable[[str, str], str], one: str, other: str, name: str
) -> None:
    with pytest.raises(single.SingleError) as error:
        joined(one, other)
    error.match(rf"labml_ws/b\.py: `{name}` means something else in labml_ws/a\.py")


# ## Code only


@pytest.mark.parametrize("module", ["layers", "batch_channel_norm"])
def test_a_module_as_code_only_prints_what_the_module_prints(
    files: dict[str, str], root: Path, tmp_path: Path, module: str
) -> None:
    path = tmp_path / "alone.py"
    path.write_text(files[f"code-only/labml_ws/{module}.py"])
    assert record(path) == record(root / "labml_ws" / f"{module}.py") != []


def test_what_is_offered_as_code_is_formatted(files: dict[str, str], root: Path) -> None:
    for place, text in files.items():
        if place.startswith("code-only/") or place == single.NAME:
            assert single.tidy([text]) == [text], place


# ## Notebooks


def test_every_annotated_module_has_its_files_and_the_file_is_the_module(
    files: dict[str, str], root: Path
) -> None:
    places = index(root).pages
    modules = [name for name in places if not name.endswith(".ipynb")]
    assert {f"labml_ws.{m}" for m in MODULES} <= set(modules)
    for name in modules:
        place = name.replace(".", "/")
        source = index(root).module(name).source.text
        assert files[f"{place}.py"] == source
        script = files[f"{place}.js"].partition(" = ")[2].removesuffix(";\n")
        assert json.loads(script) == {
            "source": source,
            "code": files[f"code-only/{place}.py"],
        }
        nbformat.validate(nbformat.reads(files[f"{place}.ipynb"], as_version=4))


def test_a_notebook_computes_what_its_module_computes(
    files: dict[str, str], root: Path
) -> None:
    """Statement by statement, but for the imports of our own and the guard, which is taken off the demo."""

    def statements(source: str) -> list[str]:
        tree = ast.parse(source)
        body: list[ast.stmt] = []
        for node in tree.body:
            demo = isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)
            body += node.body if demo and isinstance(node, ast.If) else [node]
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
                node.body = node.body[1:] or [ast.Pass()]
        return [
            ast.unparse(n)
            for n in body
            if not isinstance(n, ast.Expr | ast.Import) or isinstance(n.value if isinstance(n, ast.Expr) else n, ast.Call)
            if not (isinstance(n, ast.ImportFrom) and "labml_ws" in ast.unparse(n))
        ]  # fmt: skip

    for module in MODULES:
        own = statements(single.path(module).read_text())
        code = [
            c
            for c in code_cells(files[f"labml_ws/{module.replace('.', '/')}.ipynb"])
            if "@title" not in c
        ]
        assert statements("\n".join(code)) == own


def test_a_notebook_shows_what_its_demo_printed(root: Path, site: Path) -> None:
    for record in sorted((root / "build" / "demos").glob("labml_ws.*.json")):
        name = record.stem.replace(".", "/")
        notebook = nbformat.reads(
            (site / "download" / f"{name}.ipynb").read_text(), as_version=4
        )
        shown = [o.text for c in notebook.cells for o in c.get("outputs", [])]
        assert "".join(shown) == "".join(text for _, text in printed(record))
        assert shown


@pytest.mark.slow
def test_the_other_notebooks_run_where_the_project_is_installed(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an empty folder; the training that the experiment's ends in is left to its own tests."""
    monkeypatch.chdir(tmp_path)
    others = [
        place for place in files if place.endswith(".ipynb") and Path(place).stem not in MODULES
    ]
    assert len(others) > 10
    for place in others:
        # As in a notebook, what `dataclass` looks up must be found in the module that is being run.
        module = ModuleType("__main__")
        monkeypatch.setitem(sys.modules, "__main__", module)
        # And a `from __future__ import` in one cell holds for those that follow.
        compiled = codeop.Compile()
        for cell in code_cells(files[place]):
            if not cell.startswith("main(["):
                exec(compiled(cell, place, "exec"), module.__dict__)
    assert list(tmp_path.iterdir()) == []


def test_links_lead_to_the_site_or_are_plain_words() -> None:
    project = index(Path(__file__).resolve().parents[2])

    def address(name: str, site: str = SITE) -> str:
        return downloads.Site(project, site).address("annotated/vgg.html", name)

    assert address("labml_ws.layers.Conv2d") == (
        "https://site.test/annotated/layers.html#labml_ws.layers.Conv2d"
    )
    assert address("layers.md") == "https://site.test/annotated/layers.html"
    assert address("../tutorials/weights.md#a") == "https://site.test/tutorials/weights.html#a"
    assert address("#below") == "https://site.test/annotated/vgg.html#below"
    assert address("labml_ws.layers", site="") == ""
    assert address("torch.nn.Conv2d", site="").startswith("https://docs.pytorch.org/")


def test_with_a_repository_a_notebook_that_needs_the_project_fetches_it(
    files: dict[str, str], root: Path
) -> None:
    with_it = downloads.files(downloads.Site(index(root), SITE, REPO))
    command = f"git clone --quiet --depth 1 {REPO}"
    for place in ("tutorials/weights.ipynb", "labml_ws/experiment/__main__.ipynb"):
        assert command in code_cells(with_it[place])[0]
    assert not any(command in text for text in files.values())
    assert not any(place.startswith("tutorials/") for place in files)
    # The library's need no project, only torch.
    assert "git clone" not in with_it["labml_ws/layers.ipynb"]


# ## Files


def test_only_what_changed_is_written_and_what_is_gone_is_removed(tmp_path: Path) -> None:
    downloads.write(tmp_path, {"a/one.py": "1", "a/two.py": "2", "b/three.py": "3"})
    for path in tmp_path.rglob("*.py"):
        os.utime(path, (0, 0))
    downloads.write(tmp_path, {"a/one.py": "1", "a/two.py": "II"})
    assert (tmp_path / "a" / "one.py").stat().st_mtime == 0
    assert (tmp_path / "a" / "two.py").read_text() == "II"
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a", "one.py", "two.py"]


def test_the_workflow_pushes_the_notebooks_to_the_branch_that_colab_reads(
    root: Path, tmp_path: Path
) -> None:
    """The step itself, run on a repository of its own, twice: the branch then holds the second build and nothing else."""
    workflow = yaml.safe_load((root / ".github" / "workflows" / "pages.yml").read_text())
    job = workflow["jobs"]["notebooks"]
    assert job["permissions"] == {"contents": "write"}
    step = next(step["run"] for step in job["steps"] if step.get("name") == "push")

    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "GITHUB_SHA": "0"}

    def git(*arguments: str | Path, cwd: Path = tmp_path) -> str:
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@t.test", *arguments]
        return subprocess.run(
            command, cwd=cwd, env=env, check=True, capture_output=True, text=True
        ).stdout

    git("init", "--quiet", "--bare", "-b", "main", "origin.git")
    git("init", "--quiet", "-b", "main", "seed")
    (tmp_path / "seed" / ".gitignore").write_text("*.ipynb\n")
    git("add", ".", cwd=tmp_path / "seed")
    git("commit", "-q", "-m", "seed", cwd=tmp_path / "seed")
    git("push", "-q", tmp_path / "origin.git", "main", cwd=tmp_path / "seed")
    for build in ("one", "two"):
        notebooks = tmp_path / build / "notebooks" / "labml_ws"
        notebooks.mkdir(parents=True)
        (notebooks / f"{build}.ipynb").write_text("{}")
        git("clone", "-q", tmp_path / "origin.git", tmp_path / build / "checkout")
        subprocess.run(
            ["bash", "-e", "-c", step],
            cwd=tmp_path / build / "checkout",
            env={**env, "NOTEBOOKS": str(notebooks.parent)},
            check=True,
            capture_output=True,
        )
    pushed = git("ls-tree", "-r", "--name-only", BRANCH, cwd=tmp_path / "origin.git")
    assert pushed == "labml_ws/two.ipynb\n"
    assert git("rev-list", "--count", BRANCH, cwd=tmp_path / "origin.git") == "1\n"
