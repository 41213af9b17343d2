"""Each module runs by itself and prints a number; the package costs nothing that a layer does not need."""

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[2] / "labml_ws"
# The command lines have no demo, nor has what is only part of a training.
COMMANDS = {"__init__", "__main__", "config", "train", "suite", "resume", "processes", "runs"}
MODULES = sorted(path for path in LIBRARY.rglob("*.py") if path.stem not in COMMANDS)


def python(*arguments: str, root: Path) -> str:
    """Warnings are errors; what was printed."""
    command = [sys.executable, "-W", "error", *arguments]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        command, cwd=root, env=env, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


def processor_seconds() -> float:
    """Of the children so far. Unlike the clock on the wall, it does not count what else the machine is doing."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_the_modules_with_a_demo_are_the_pages() -> None:
    pages = {"batch_channel_norm", "cifar10", "layers", "standardization", "vgg"}
    assert pages <= {path.stem for path in MODULES}


@pytest.mark.slow
@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_runs_by_itself_without_a_warning_and_prints_a_number(
    path: Path, root: Path
) -> None:
    # The package imports the layers, and Python warns of a module that it is asked to run when it has it already: these
    # are run as files.
    name = ".".join(path.relative_to(root).with_suffix("").parts)
    command = [str(path)] if path.parent == LIBRARY else ["-m", name]
    before = processor_seconds()
    out = python(*command, root=root)
    assert processor_seconds() - before < 20
    assert re.search(r"\d", out)
    assert not re.search(r"\b(nan|inf)\b", out)


@pytest.mark.slow
def test_importing_the_public_names_pulls_in_nothing_that_only_the_trainer_or_the_site_needs(
    root: Path,
) -> None:
    guests = {"accelerate", "datasets", "tyro", "matplotlib", "sklearn", "safetensors", "PIL"}
    program = f"import sys; from labml_ws import *; print(Conv2d, sorted({guests} & set(sys.modules)))"
    assert python("-c", program, root=root).strip().endswith("[]")


def test_every_public_name_can_be_imported_and_no_other() -> None:
    import labml_ws

    for name in labml_ws.__all__:
        assert getattr(labml_ws, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Conv4d'"):
        _ = labml_ws.Conv4d
    with pytest.raises(ImportError):
        from labml_ws import Conv4d  # noqa: F401
