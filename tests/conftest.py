"""What several test folders need: the project's root, and its site, built once and only when something changed."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import venv
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def site(root: Path) -> Path:
    """The built site. `make` knows whether it must be built; parallel workers wait for the one that builds it."""
    (root / "build").mkdir(exist_ok=True)
    env = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PYTEST_", "MAKE", "MFLAGS"))
    }
    with (root / "build" / "site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = subprocess.run(
            ["make", "site"], cwd=root, env=env, capture_output=True, text=True
        )
    if result.returncode:
        pytest.fail(
            "\n".join(
                ["make site failed:", *(result.stdout + result.stderr).splitlines()[-30:]]
            ),
            pytrace=False,
        )
    return root / "site"


@pytest.fixture(scope="session")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    # A copy, so that what lies about in a work tree cannot be what makes it work.
    for name in ("labml_ws", "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (root / name).is_dir() else shutil.copy2
        (folder / name).parent.mkdir(exist_ok=True)
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


@pytest.fixture
def torch_only(tmp_path: Path) -> Path:
    """The Python of an environment that holds torch, what torch needs, and nothing else."""
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    packages = next((tmp_path / "venv").glob("lib/python*/site-packages"))
    for path in {path for name in closure("torch") for path in top_level(name)}:
        if path.name != "__pycache__":
            (packages / path.name).symlink_to(path)
    return tmp_path / "venv" / "bin" / "python"
