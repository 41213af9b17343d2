"""The wheel is the library and needs nothing but torch."""

import re
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # A copy, so that what lies about in a work tree cannot be what makes it work.
    for name in ("labml_ws", "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (root / name).is_dir() else shutil.copy2
        copy(root / name, folder / name)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        ".",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    result = subprocess.run(
        [*command, "--wheel-dir", "dist"], cwd=folder, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return next((folder / "dist").glob("*.whl"))


def closure(name: str) -> set[str]:
    """A distribution and all that it cannot do without."""
    found, pending = set(), [name]
    while pending:
        if (current := pending.pop()) not in found:
            found.add(current)
            required = [
                r
                for r in distribution(current).requires or []
                if "extra ==" not in r and "; " not in r
            ]
            pending += [re.split(r"[^\w.-]", r)[0] for r in required]
    return found


def top_level(name: str) -> set[Path]:
    """What a distribution puts into site-packages."""
    files = distribution(name).files or []
    return {
        Path(str(distribution(name).locate_file(file.parts[0])))
        for file in files
        if file.parts[0] != ".."
    }


@pytest.mark.slow
def test_the_wheel_works_where_only_torch_is(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    packages = next((tmp_path / "venv").glob("lib/python*/site-packages"))
    for path in {
        path
        for name in closure("torch")
        for path in top_level(name)
        if path.name != "__pycache__"
    }:
        (packages / path.name).symlink_to(path)
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
    python = tmp_path / "venv" / "bin" / "python"
    # -W ignore: torch itself warns when numpy, which it does not require, is not there
    result = subprocess.run(
        [python, "-I", "-W", "ignore", "-c", program],
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
    assert {f"labml_ws/{path.name}" for path in (root / "labml_ws").glob("*.py")} | {
        "labml_ws/py.typed"
    } <= names
    assert {top for top in tops if not top.endswith(".dist-info")} == {"labml_ws"}
