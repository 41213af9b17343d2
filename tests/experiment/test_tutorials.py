"""Each tutorial runs anywhere: as a script and as a notebook, in an empty folder, with the installed wheel alone."""

import os
import resource
import subprocess
import venv
import zipfile
from pathlib import Path

import pytest
import torch

TUTORIALS = sorted((Path(__file__).resolve().parents[2] / "docs" / "tutorials").glob("*.py"))

EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
for cell in notebook.cells:
    cell.pop("outputs", None)
    if cell.cell_type == "code":
        cell.outputs = []
NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[1])
"""


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel, all other packages of this one, and nothing of the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False, symlinks=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    for path in Path(torch.__file__).parent.parent.iterdir():
        if path.name != "__pycache__" and path.suffix != ".pth" and "labml" not in path.name:
            (packages / path.name).symlink_to(path)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    return folder / "bin" / "python"


def run(
    command: list[str | Path], folder: Path, **env: str
) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV"))}
    return subprocess.run(
        command, cwd=folder, env=kept | env, capture_output=True, text=True, timeout=600
    )


def test_the_checkout_is_out_of_reach(python: Path, root: Path, tmp_path: Path) -> None:
    program = "import labml_ws, labml_ws.experiment.record as r; print(labml_ws.__file__, r.records())"
    result = run([python, "-c", program], tmp_path)
    assert result.stdout.count(str(python.parents[1])) == 2, result.stderr
    assert run([python, "-c", "import mkdocstrings_handlers.annotated"], tmp_path).returncode


@pytest.mark.slow
@pytest.mark.parametrize("script", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_runs_in_an_empty_folder_within_a_minute(
    script: Path, python: Path, tmp_path: Path
) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = run([python, script], tmp_path, MPLBACKEND="agg")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout
    assert list(tmp_path.iterdir()) == []
    # Computing time: how long it takes by the clock is a matter of who else is at work on this machine.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 60


# One of them stands for all: their cells are executed when the site is built, so what is to be proved is only that a
# notebook finds kernel, style, records and weights where nothing but the package is installed.
@pytest.mark.slow
def test_a_downloaded_notebook_runs_in_an_empty_folder(
    site: Path, python: Path, tmp_path: Path
) -> None:
    notebook = tmp_path / "weights.ipynb"
    notebook.write_bytes((site / "tutorials" / "weights.ipynb").read_bytes())
    result = run([python, "-c", EXECUTE, notebook], tmp_path, IPYTHONDIR=str(tmp_path / "i"))
    assert result.returncode == 0, result.stderr[-2000:]
    assert '"image/svg+xml"' in notebook.read_text()
    assert "docs/runs/quarter-width" in notebook.read_text()
