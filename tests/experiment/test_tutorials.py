"""Each tutorial runs anywhere: as a script and as a notebook, with the installed wheel and the packed records alone."""

import os
import resource
import subprocess
import venv
import zipfile
from pathlib import Path

import pytest
import torch

from labml_ws.experiment import suite
from labml_ws.experiment.record import PACKED

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


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages offer beside their notebooks."""
    target = tmp_path_factory.mktemp("packed") / PACKED
    suite.pack(target)
    return target


def run(
    command: list[str | Path], folder: Path, **env: str
) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV"))}
    return subprocess.run(
        command, cwd=folder, env=kept | env, capture_output=True, text=True, timeout=600
    )


PLACES = (
    "import labml_ws, labml_ws.experiment.record as r; print(labml_ws.__file__, r.records())"
)


def test_the_checkout_is_out_of_reach(python: Path, tmp_path: Path) -> None:
    result = run([python, "-c", PLACES], tmp_path)
    assert result.returncode
    assert f"expected {PACKED} in {tmp_path}, or a checkout of the project" in result.stderr
    assert run([python, "-c", "import mkdocstrings_handlers.annotated"], tmp_path).returncode


def test_the_packed_records_are_found_beside_a_notebook_and_cleared_away(
    python: Path, packed: Path, root: Path, tmp_path: Path
) -> None:
    (tmp_path / PACKED).symlink_to(packed)
    program = (
        f"{PLACES}; print(len([*r.records().rglob('config.json')]), r.read('digits')[0].name)"
    )
    place, number, name = run([python, "-c", program], tmp_path).stdout.split()[1:]
    assert name == "digits/smallest"
    assert int(number) == len([*(root / "docs" / "runs").rglob("config.json")])
    assert not Path(place).exists()


def test_an_installed_package_finds_the_checkout_that_it_runs_in(
    python: Path, root: Path
) -> None:
    result = run([python, "-c", PLACES], root / "docs" / "tutorials")
    assert result.stdout.split() == [result.stdout.split()[0], str(root / "docs" / "runs")]
    assert result.stdout.startswith(str(python.parents[1]))


def test_equal_records_are_packed_to_equal_bytes(packed: Path, tmp_path: Path) -> None:
    suite.pack(tmp_path / PACKED)
    assert (tmp_path / PACKED).read_bytes() == packed.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("script", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_runs_with_the_packed_records_alone_within_a_minute(
    script: Path, python: Path, packed: Path, tmp_path: Path
) -> None:
    (tmp_path / PACKED).symlink_to(packed)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = run([python, script], tmp_path, MPLBACKEND="agg")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout
    assert [path.name for path in tmp_path.iterdir()] == [PACKED]
    # Computing time: how long it takes by the clock is a matter of who else is at work on this machine.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 60


# One of them stands for all: their cells are executed when the site is built, so what is to be proved is only that a
# notebook finds kernel, style, records and weights where nothing but the package is installed.
@pytest.mark.slow
def test_a_downloaded_notebook_runs_beside_the_downloaded_records(
    site: Path, python: Path, tmp_path: Path
) -> None:
    notebook = tmp_path / "weights.ipynb"
    for name in (notebook.name, PACKED):
        (tmp_path / name).write_bytes((site / "tutorials" / name).read_bytes())
    result = run([python, "-c", EXECUTE, notebook], tmp_path, IPYTHONDIR=str(tmp_path / "i"))
    assert result.returncode == 0, result.stderr[-2000:]
    assert '"image/svg+xml"' in notebook.read_text()
    assert "docs/runs/quarter-width" in notebook.read_text()
