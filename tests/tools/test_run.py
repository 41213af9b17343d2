"""What decides whether a tutorial or a demo is run again: code does, prose does not."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mkdocstrings_handlers.annotated.understand.index import Index
from tests.site import chromium
from tools import run

SCRIPT = "# %%\nfrom labml_ws import layer\n\nprint(layer())\n"
MODULES = {
    "__init__.py": "from labml_ws.layers import layer\n",
    "layers.py": '''"""Layers."""
from . import standardization


def layer():
    """Say."""
    return standardization.one()
''',
    "standardization.py": "def one():\n    return 1\n",
    "vgg.py": "depth = 16\n",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, source in MODULES.items():
        path = tmp_path / "labml_ws" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
    (tmp_path / "tutorial.py").write_text(SCRIPT)
    (tmp_path / "docs" / "runs").mkdir(parents=True)
    monkeypatch.setattr(run, "ROOT", tmp_path)
    return tmp_path


def mark(project: Path) -> str:
    return run.fingerprint(project / "tutorial.py", Index(project, project / "docs"))


def edited(project: Path, name: str, old: str, new: str) -> bool:
    """Whether an edit changes the tutorial's fingerprint."""
    before = mark(project)
    source = (project / name).read_text()
    assert old in source
    (project / name).write_text(source.replace(old, new))
    return mark(project) != before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("labml_ws/layers.py", '"""Layers."""', 'r"""Layers, $\\mu$ and all."""'),
        ("labml_ws/layers.py", '    """Say."""\n', "    # says it\n"),
        ("labml_ws/standardization.py", "def one", "# the first\n\ndef one"),
        ("labml_ws/vgg.py", "16", "19"),
    ],
    ids=["docstring", "docstring to comment", "comment", "module that it does not import"],
)
def test_prose_executes_nothing_again(project: Path, name: str, old: str, new: str) -> None:
    assert not edited(project, name, old, new)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("tutorial.py", "# %%", "# %% [markdown]\n# Why\n\n# %%"),
        ("labml_ws/layers.py", "standardization.one()", "-standardization.one()"),
        ("labml_ws/standardization.py", "return 1", "return 2"),
    ],
    ids=["script", "module", "module of a module"],
)
def test_code_executes_a_tutorial_again(project: Path, name: str, old: str, new: str) -> None:
    assert edited(project, name, old, new)


def test_a_recorded_run_executes_a_tutorial_again(project: Path) -> None:
    before = mark(project)
    (project / "docs" / "runs" / "weights.safetensors").write_bytes(b"1")
    assert mark(project) != before


IMAGE = {"data": {"image/svg+xml": "<svg/>"}}
LINE = {"data": {"text/html": '<p class="provenance">methods: 30 runs</p>'}}


@pytest.mark.parametrize(
    ("outputs", "tags", "said"),
    [
        ([IMAGE], [], True),
        ([IMAGE], ["wide"], True),
        ([IMAGE, LINE], [], False),
        ([IMAGE], ["wide", "computed"], False),
        ([{"data": {"text/plain": "1"}}], [], False),
    ],
    ids=["bare", "other tag", "recorded", "computed", "no figure"],
)
def test_a_figure_without_a_record_fails_the_build(
    outputs: list[dict[str, Any]], tags: list[str], said: bool
) -> None:
    cells = [{"metadata": {"tags": tags}, "outputs": outputs}]
    with (
        pytest.raises(SystemExit, match=r"x\.py: cell 1 .* End the cell with")
        if said
        else nullcontext()
    ):
        run.check_figures(SimpleNamespace(cells=cells), "x.py")


def test_a_failing_tutorial_leaves_the_last_good_notebook(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = project / "tutorial.ipynb"
    target.write_text('{"metadata": {}}')

    def fail(script: Path) -> None:
        raise RuntimeError("a cell failed")

    monkeypatch.setattr(run, "execute", fail)
    with pytest.raises(RuntimeError):
        run.make_notebook(project / "tutorial.py", Index(project, project / "docs"))
    assert target.read_text() == '{"metadata": {}}'
    assert sorted(path.name for path in project.glob("*tutorial*")) == [
        "tutorial.ipynb",
        "tutorial.py",
    ]


DEMO = '''"""Steps."""

if __name__ == "__main__":
    print(1)
    x = 2
'''


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("1 / 0", "the demo raised ZeroDivisionError: division by zero"),
        ('import warnings; warnings.warn("old")', "the demo raised UserWarning: old"),
        ("x = (2", r"'\(' was never closed"),
    ],
    ids=["raises", "warns", "no Python"],
)
def test_a_demo_that_fails_stops_the_build_with_its_line(
    project: Path, wrong: str, message: str
) -> None:
    (project / "labml_ws" / "steps.py").write_text(DEMO.replace("x = 2", wrong))
    with pytest.raises(SystemExit, match=rf"^labml_ws/steps\.py:5: {message}"):
        run.main()
    assert not [*project.glob("build/demos/*.json")]


def test_a_record_goes_with_its_module(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.subprocess, "run", lambda *_, **__: None)
    (project / "labml_ws" / "experiment").mkdir()
    for name in ("steps", "experiment/vgg"):
        (project / "labml_ws" / f"{name}.py").write_text(DEMO)
    run.main()
    (project / "labml_ws" / "steps.py").unlink()
    run.main()
    assert [path.name for path in project.glob("build/demos/*.json")] == [
        "labml_ws.experiment.vgg.json"
    ]


def test_a_browser_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    with pytest.raises(
        SystemExit, match="CHROMIUM is '/nowhere/chromium', which is not a program"
    ):
        chromium.find()
