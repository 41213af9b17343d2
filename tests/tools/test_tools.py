"""What decides whether a tutorial is executed again: code does, prose does not."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.site import chromium
from tools import notebook

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
    monkeypatch.setattr(notebook, "ROOT", tmp_path)
    return tmp_path


def edited(project: Path, name: str, old: str, new: str) -> bool:
    """Whether an edit changes the tutorial's fingerprint."""
    before = notebook.fingerprint(project / "tutorial.py")
    source = (project / name).read_text()
    assert old in source
    (project / name).write_text(source.replace(old, new))
    return notebook.fingerprint(project / "tutorial.py") != before


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
    before = notebook.fingerprint(project / "tutorial.py")
    (project / "docs" / "runs" / "weights.safetensors").write_bytes(b"1")
    assert notebook.fingerprint(project / "tutorial.py") != before


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
        notebook.check_sources(SimpleNamespace(cells=cells), "x.py")


def test_a_failing_tutorial_leaves_the_last_good_notebook(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = project / "tutorial.ipynb"
    target.write_text('{"metadata": {}}')

    def fail(script: Path) -> None:
        raise RuntimeError("a cell failed")

    monkeypatch.setattr(notebook, "execute", fail)
    with pytest.raises(RuntimeError):
        notebook.make(project / "tutorial.py")
    assert target.read_text() == '{"metadata": {}}'
    assert sorted(path.name for path in project.glob("*tutorial*")) == [
        "tutorial.ipynb",
        "tutorial.py",
    ]


def test_a_browser_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    with pytest.raises(
        SystemExit, match="CHROMIUM is '/nowhere/chromium', which is not a program"
    ):
        chromium.find()
