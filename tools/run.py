"""
Run what the pages show: `python -m tools.run`.

A tutorial, `docs/tutorials/x.py`, becomes `x.ipynb` beside it, which its page shows and its reader downloads. A module's
demo becomes a record, `build/demos/labml_ws.x.json`: what it printed, and what each line bound. The playground's first
setting becomes HTML in `build/playground`, for a reader without scripts.

Running takes minutes, so a notebook and a record carry a fingerprint of all that they depend on. While it fits, nothing
is run again. Prose is no part of it: a better comment changes no figure.
"""

import ast
import hashlib
import json
import os
import subprocess
import traceback
import warnings
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mkdocstrings_handlers.annotated.read.code_only import code_only
from mkdocstrings_handlers.annotated.understand import bindings, demos, trace

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "labml_ws"


# ## What a result depends on


def imports(path: Path) -> Iterator[str]:
    """The dotted names that a file imports."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            outer = package[: len(package) + 1 - node.level] if node.level else ()
            base = ".".join([*outer, *filter(None, [node.module])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def library(script: Path) -> list[Path]:
    """Every file of the library that a script imports, directly or through another."""
    files: set[Path] = set()
    pending = [*imports(script)]
    while pending:
        parts = pending.pop().split(".")
        if parts[0] != PACKAGE:
            continue
        folders = [ROOT.joinpath(*parts[:n]) for n in range(1, len(parts) + 1)]
        paths = [folder / "__init__.py" for folder in folders]
        for path in {*paths, folders[-1].with_suffix(".py")} - files:
            if path.is_file():
                files.add(path)
                pending += imports(path)
    return sorted(files)


def fingerprint(text: str, programs: Iterable[Path], packages: Iterable[str]) -> str:
    """Of a text, of what programs do, of the recorded runs with their style, and of the versions of packages."""
    digest = hashlib.sha256(text.encode())
    for path in programs:
        code = ast.dump(ast.parse(code_only(path.read_text(encoding="utf-8"))))
        digest.update(f"\n{path.name}\n{code}".encode())
    runs = [path for path in (ROOT / "docs" / "runs").rglob("*") if path.is_file()]
    for path in sorted([*runs, *(ROOT / PACKAGE).rglob("*.mplstyle")]):
        digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    for name in packages:
        digest.update(f"{name} {version(name)}\n".encode())
    return digest.hexdigest()


def write(target: Path, text: str) -> None:
    """All of it or nothing: after an interruption, the last good result is still there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


# ## Tutorials


def execute(script: Path) -> Any:
    """The script as an executed notebook, with no random ids and no times in it: equal code gives equal bytes."""
    import jupytext
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    # matplotlib writes the time into a figure unless it is told one.
    os.environ["SOURCE_DATE_EPOCH"] = "0"
    notebook = jupytext.read(script)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    # Sockets in a folder of our own: free ports are guessed by the kernel, and sometimes another program is quicker.
    with TemporaryDirectory(prefix="kernel-", dir="/tmp") as folder:
        kernel = AsyncKernelManager(
            kernel_name="python3", transport="ipc", connection_file=f"{folder}/kernel.json"
        )
        place = {"metadata": {"path": str(script.parent)}}
        client = NotebookClient(
            notebook, km=kernel, timeout=600, record_timing=False, resources=place
        )
        try:
            client.execute(cleanup_kc=True)
        except CellExecutionError as error:
            raise SystemExit(f"{script.relative_to(ROOT)}: a cell failed.\n{error}") from error
    return notebook


def check_figures(notebook: Any, name: str) -> None:
    """A figure says which records it was drawn from, or that it was computed where it stands."""
    for number, cell in enumerate(notebook.cells, 1):
        outputs = [output.get("data", {}) for output in cell.get("outputs", [])]
        drawn = any(mime.startswith("image/") for data in outputs for mime in data)
        recorded = any('class="provenance"' in data.get("text/html", "") for data in outputs)
        if drawn and not recorded and "computed" not in cell["metadata"].get("tags", []):
            raise SystemExit(
                f"{name}: cell {number} draws a figure that does not say where it comes from. End the cell with "
                f"provenance(runs), or tag it 'computed' if it shows only what this notebook computes."
            )


def make_notebook(script: Path) -> None:
    import nbformat

    target = script.with_suffix(".ipynb")
    packages = ("torch", "numpy", "matplotlib", "jupytext")
    mark = {"fingerprint": fingerprint(script.read_text("utf-8"), library(script), packages)}
    if target.exists() and json.loads(target.read_text())["metadata"].get(PACKAGE) == mark:
        return
    print(f"executing {script.relative_to(ROOT)}", flush=True)
    notebook = execute(script)
    check_figures(notebook, script.name)
    notebook.metadata[PACKAGE] = mark
    write(target, nbformat.writes(notebook) + "\n")


# ## Demos


def measure(value: object) -> tuple[float, float, bool] | None:
    """
    Mean, standard deviation, and whether all is one number. Integers that are not one number are labels or indices:
    their mean says nothing.
    """
    import torch  # here, because nine times in ten no demo has to be run

    if not isinstance(value, torch.Tensor) or not value.numel():
        return None
    if value.is_complex() or value.dtype == torch.bool:
        return None
    try:
        numbers = value.detach().double()
        constant = bool(numbers.min() == numbers.max())
        if not constant and not value.is_floating_point():
            return None
        return numbers.mean().item(), numbers.std(correction=0).item(), constant
    except RuntimeError:  # a tensor that has a shape and no numbers, as on the meta device
        return None


def make_record(path: Path, target: Path) -> None:
    programs = [Path(module.__file__ or "") for module in (demos, bindings, trace)]
    mark = fingerprint("", [path, *library(path), Path(__file__), *programs], ["torch"])
    if target.exists() and json.loads(target.read_text())["fingerprint"] == mark:
        return
    place = path.relative_to(ROOT)
    print(f"running {place}", flush=True)
    try:
        with warnings.catch_warnings():
            # A warning is one that every reader who runs the demo would see.
            warnings.simplefilter("error")
            record = {"printed": demos.run(path), "bound": trace.run(path, measure)}
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        at = [frame.lineno for frame in frames if frame.filename == str(path)]
        what = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise SystemExit(
            f"{place}:{at[-1] if at else 1}: the demo raised {what} (`python {place}` shows the way there)"
        ) from error
    write(target, json.dumps({"fingerprint": mark} | record, indent=1) + "\n")


def has_demo(path: Path) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return bool(demos.demo(path.read_text(encoding="utf-8")))
    except SyntaxError as error:
        hint = ' Begin the string with r""" to keep its backslashes.'
        raise SystemExit(
            f"{path.relative_to(ROOT)}:{error.lineno}: {error.msg}.{hint if 'escape' in error.msg else ''}"
        ) from error


def main() -> None:
    folder = ROOT / "build" / "demos"
    modules = [path for path in sorted((ROOT / PACKAGE).rglob("*.py")) if has_demo(path)]
    records = {
        folder / f"{'.'.join(path.relative_to(ROOT).with_suffix('').parts)}.json": path
        for path in modules
    }
    for record in {*folder.glob("*.json")} - {*records}:
        record.unlink()
    for record, path in records.items():
        make_record(path, record)
    for script in sorted((ROOT / "docs" / "tutorials").glob("*.py")):
        make_notebook(script)
    drawing = ROOT / "tools" / "playground.js"
    subprocess.run(["node", drawing, ROOT / "build" / "playground"], check=True)


if __name__ == "__main__":
    main()
