"""What decides whether a tutorial or a demo is run again: code does, prose does not."""

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

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


def notebook_mark(project: Path) -> str:
    script = project / "tutorial.py"
    return run.fingerprint(script.read_text(), run.library(script), ["torch"])


def edited(project: Path, name: str, old: str, new: str) -> bool:
    """Whether an edit changes the tutorial's fingerprint."""
    before = notebook_mark(project)
    source = (project / name).read_text()
    assert old in source
    (project / name).write_text(source.replace(old, new))
    return notebook_mark(project) != before


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
    before = notebook_mark(project)
    (project / "docs" / "runs" / "weights.safetensors").write_bytes(b"1")
    assert notebook_mark(project) != before


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
        run.make_notebook(project / "tutorial.py")
    assert target.read_text() == '{"metadata": {}}'
    assert sorted(path.name for path in project.glob("*tutorial*")) == [
        "tutorial.ipynb",
        "tutorial.py",
    ]


DEMO = """# Two steps
def step(n):
    print("step", n)


if __name__ == "__main__":
    # ## First
    step(1)
    x = 2
    # ## Second
    for n in range(x):
        step(n)
"""


@pytest.fixture
def module(project: Path) -> Path:
    path = project / "labml_ws" / "steps.py"
    path.write_text(DEMO)
    return path


def test_prose_runs_no_demo_again_and_code_does(
    module: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "records" / "labml_ws.steps.json"

    def runs() -> bool:
        run.make_record(module, record)
        return "running labml_ws/steps.py" in capsys.readouterr().out

    assert runs()
    assert not runs()
    module.write_text(DEMO.replace("## First", "## The first"))
    assert not runs()
    module.write_text(DEMO.replace("x = 2", "x = 3"))
    assert runs()
    printed = json.loads(record.read_text())["printed"]
    assert printed[-1] == [2, "step 0\nstep 1\nstep 2\n"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("1 / 0", "the demo raised ZeroDivisionError: division by zero (`python labml_ws/steps.py` shows the way there)"),
        ("assert not 1", "the demo raised AssertionError (`python labml_ws/steps.py` shows the way there)"),
        ('import warnings; warnings.warn("old")', "the demo raised UserWarning: old (`python labml_ws/steps.py` shows the way there)"),
        ("x = (2", "'(' was never closed."),
        ('x = "$\\code{x}{x}$"', "invalid escape sequence '\\c'. Begin the string with r\"\"\" to keep its backslashes."),
    ],
    ids=["raises", "asserts", "warns", "no Python", "no raw string"],
)  # fmt: skip
def test_a_demo_that_fails_is_named_with_its_line(
    module: Path, wrong: str, message: str
) -> None:
    module.write_text(DEMO.replace("x = 2", wrong))
    with pytest.raises(SystemExit) as error:
        run.main()
    line = DEMO.split("\n").index("    x = 2") + 1
    assert str(error.value) == f"labml_ws/steps.py:{line}: {message}"
    assert not (module.parents[1] / "build" / "demos" / "labml_ws.steps.json").exists()


def test_a_browser_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    with pytest.raises(
        SystemExit, match="CHROMIUM is '/nowhere/chromium', which is not a program"
    ):
        chromium.find()
