"""The wheel is the library and needs nothing but torch."""

import subprocess
import zipfile
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_wheel_works_where_only_torch_is(
    wheel: Path, torch_only: Path, tmp_path: Path
) -> None:
    packages = next(torch_only.parents[1].glob("lib/python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    program = "\n".join(
        [
            "import sys, torch, labml_ws",
            "assert all(hasattr(labml_ws, name) for name in labml_ws.__all__), labml_ws.__all__",
            "x = labml_ws.Conv2d(3, 8, 3)(torch.zeros(2, 3, 8, 8))",
            "guests = {'accelerate', 'datasets', 'tyro', 'tqdm', 'sklearn', 'mkdocs', 'mkdocstrings_handlers'}",
            "print(tuple(x.shape), sorted(guests & set(sys.modules)), labml_ws.__file__)",
        ]
    )
    # -W ignore: torch itself warns when numpy, which it does not require, is not there
    result = subprocess.run(
        [torch_only, "-I", "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[:5] == ["(2,", "8,", "6,", "6)", "[]"]
    assert str(packages) in result.stdout


def test_the_wheel_holds_the_library_and_its_types(wheel: Path, root: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.split("/")[0] for name in names}
    ours = [path for path in (root / "labml_ws").rglob("*") if path.suffix != ".pyc"]
    files = {path.relative_to(root).as_posix() for path in ours if path.is_file()}
    assert "labml_ws/py.typed" in files
    assert files == {name for name in names if name.startswith("labml_ws/")}
    assert wheel.stat().st_size <= 150_000
    assert {top for top in tops if not top.endswith(".dist-info")} == {"labml_ws"}
