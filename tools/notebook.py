"""Execute a tutorial: `docs/tutorials/x.py` becomes `x.ipynb`, what its page shows and what a reader downloads.

A notebook carries a fingerprint of all that its outputs depend on: its script, the *code* of every `labml_ws` module
that it imports (not their prose: a better comment changes no figure), the recorded runs, and the versions of what
computes and draws. When the fingerprint still fits, only the file's time is renewed.
"""

import ast
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "labml_ws"


def imports(tree: ast.AST, package: str) -> Iterator[str]:
    """The dotted names that `tree` imports; a relative one is relative to `package`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, [package if node.level else "", node.module or ""]))
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def modules(source: str) -> dict[Path, ast.Module]:
    """Every file of the library that `source` imports, directly or through another."""
    found: dict[Path, ast.Module] = {}
    pending = list(imports(ast.parse(source), PACKAGE))
    while pending:
        parts = pending.pop().split(".")
        if parts[0] != PACKAGE:
            continue
        for path in (ROOT / PACKAGE / "__init__.py", ROOT.joinpath(*parts).with_suffix(".py")):
            if path.is_file() and path not in found:
                found[path] = ast.parse(path.read_text())
                pending += imports(found[path], PACKAGE)
    return found


def code(tree: ast.Module) -> str:
    """What a module computes: its syntax without docstrings (comments are not in the syntax to begin with)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = node.body[0 if ast.get_docstring(node) is None else 1 :]
    return ast.dump(tree)


def fingerprint(script: Path) -> str:
    source = script.read_text()
    digest = hashlib.sha256(source.encode())
    for path, tree in sorted(modules(source).items()):
        digest.update(f"{path.relative_to(ROOT)}\n{code(tree)}\n".encode())
    for path in sorted(
        [*(ROOT / "docs" / "runs").rglob("*"), ROOT / PACKAGE / "experiment" / "house.mplstyle"]
    ):
        if path.is_file():
            digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    for name in ("torch", "numpy", "matplotlib", "jupytext"):
        digest.update(f"{name} {version(name)}\n".encode())
    return digest.hexdigest()


def execute(script: Path) -> Any:
    """The script as an executed notebook, with no random ids and no times in it: equal code gives equal bytes."""
    import jupytext
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    os.environ["SOURCE_DATE_EPOCH"] = (
        "0"  # matplotlib writes the time into a figure unless it is told one
    )
    notebook = jupytext.read(script)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    # Sockets in a folder of our own: free ports are guessed by the kernel, and sometimes another program is quicker.
    with TemporaryDirectory(prefix="kernel-", dir="/tmp") as folder:
        kernel = AsyncKernelManager(
            kernel_name="python3", transport="ipc", connection_file=f"{folder}/kernel.json"
        )
        place = {"metadata": {"path": str(script.parent)}}
        try:
            client = NotebookClient(
                notebook, km=kernel, timeout=600, record_timing=False, resources=place
            )
            client.execute(cleanup_kc=True)
        except CellExecutionError as error:
            raise SystemExit(f"{script.relative_to(ROOT)}: a cell failed.\n{error}") from error
    return notebook


def check_sources(notebook: Any, name: str) -> None:
    """A figure says which records it was drawn from, or that it was computed where it stands."""
    for number, cell in enumerate(notebook.cells, 1):
        shown = [output.get("data", {}) for output in cell.get("outputs", [])]
        drawn = any(mime.startswith("image/") for data in shown for mime in data)
        recorded = any('class="provenance"' in data.get("text/html", "") for data in shown)
        if drawn and not recorded and "computed" not in cell["metadata"].get("tags", []):
            raise SystemExit(
                f"{name}: cell {number} draws a figure that does not say where it comes from. End the cell with "
                f"Provenance(runs), or tag it 'computed' if it shows only what this notebook computes."
            )


def make(script: Path) -> None:
    import nbformat

    target, wanted = script.with_suffix(".ipynb"), fingerprint(script)
    if target.exists() and json.loads(target.read_text())["metadata"].get(PACKAGE) == {
        "fingerprint": wanted
    }:
        target.touch()
        return
    print(f"executing {script.relative_to(ROOT)}", flush=True)
    notebook = execute(script)
    check_sources(notebook, script.name)
    notebook.metadata[PACKAGE] = {"fingerprint": wanted}
    # A failure above leaves the last good notebook in its place, and so does one below.
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        nbformat.write(notebook, unfinished)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        make(Path(argument).resolve())
