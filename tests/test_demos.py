"""Each module runs by itself and prints a number; the package costs nothing that a layer does not need."""

import ast
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

# The trainer has a command line instead of a demo.
LIBRARY = Path(__file__).resolve().parent.parent / "labml_ws"
MODULES = sorted(
    path.stem for path in LIBRARY.glob("*.py") if path.stem not in ("__init__", "experiment")
)


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
    assert {"batch_channel_norm", "cifar10", "layers", "standardization", "vgg"} <= set(MODULES)


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_a_module_runs_by_itself_without_a_warning_and_prints_a_number(
    module: str, root: Path
) -> None:
    before = processor_seconds()
    out = python("-m", f"labml_ws.{module}", root=root)
    assert processor_seconds() - before < 20
    assert re.search(r"\d", out)
    assert not re.search(r"\b(nan|inf)\b", out)


@pytest.mark.slow
def test_importing_the_public_names_pulls_in_nothing_that_only_the_trainer_or_the_site_needs(
    root: Path,
) -> None:
    guests = {"accelerate", "datasets", "tyro", "matplotlib", "sklearn", "safetensors", "PIL"}
    program = f"import sys; from labml_ws import *; print(VGG, Conv2d, sorted({guests} & set(sys.modules)))"
    assert python("-c", program, root=root).strip().endswith("[]")


def test_importing_the_package_alone_does_not_even_import_torch(root: Path) -> None:
    assert (
        python("-c", "import sys, labml_ws; print('torch' in sys.modules)", root=root)
        == "False\n"
    )


def test_every_public_name_can_be_imported_and_no_other() -> None:
    import labml_ws

    for name in labml_ws.__all__:
        assert getattr(labml_ws, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Conv4d'"):
        _ = labml_ws.Conv4d
    with pytest.raises(ImportError):
        from labml_ws import Conv4d  # noqa: F401


def test_what_type_checkers_see_is_what_is_imported_on_demand() -> None:
    import labml_ws

    imports = [
        node
        for node in ast.walk(ast.parse((LIBRARY / "__init__.py").read_text()))
        if isinstance(node, ast.ImportFrom)
    ]
    seen = {
        alias.name
        for node in imports
        if str(node.module).startswith("labml_ws.")
        for alias in node.names
    }
    assert seen == set(labml_ws.__all__)
