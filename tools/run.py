"""
Run what the pages show: `python -m tools.run`.

A module's demo becomes a record, `build/demos/labml_ws.x.json`: what it printed, and what each line bound. A tutorial,
`docs/tutorials/x.py`, becomes `x.ipynb` beside it, which its page shows and its reader downloads. The playground's first
setting becomes HTML in `build/playground`, for a reader without scripts.

Running takes minutes, so records and notebooks carry a fingerprint of all that they depend on. While it fits, nothing is
run again. Prose is no part of it: a better comment changes no figure.
"""

import hashlib
import json
import os
import subprocess
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mkdocstrings_handlers.annotated.document import Source, SourceError
from mkdocstrings_handlers.annotated.understand import run
from mkdocstrings_handlers.annotated.understand.index import Index
from mkdocstrings_handlers.annotated.understand.symbols import untied

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "labml_ws"


def fingerprint(script: Path, index: Index) -> str:
    """Of a script with its words, of the code that it imports, of the recorded runs and of how they are drawn."""
    source = Source.read(script, index.root)
    digest = hashlib.sha256(f"{run.fingerprint(source, '', index)}\n{source.text}".encode())
    runs = [path for path in (index.root / "docs" / "runs").rglob("*") if path.is_file()]
    for path in sorted([*runs, *(index.root / PACKAGE).rglob("*.mplstyle")]):
        digest.update(str(path.relative_to(index.root)).encode() + path.read_bytes())
    return digest.hexdigest()


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
                f"Provenance(runs), or tag it 'computed' if it shows only what this notebook computes."
            )


def make_notebook(script: Path, index: Index) -> None:
    """Writes the executed notebook beside the script. A failure leaves the last good one in its place."""
    import nbformat

    target, mark = script.with_suffix(".ipynb"), {"fingerprint": fingerprint(script, index)}
    if target.exists() and json.loads(target.read_text())["metadata"].get(PACKAGE) == mark:
        return
    print(f"executing {script.relative_to(index.root)}", flush=True)
    notebook = execute(script)
    check_figures(notebook, script.name)
    # No notebook knows what a tie is: its text goes without, and the page reads the one that has them.
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and untied(cell.source) != cell.source:
            cell.metadata["tied"], cell.source = cell.source, untied(cell.source)
    notebook.metadata[PACKAGE] = mark
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        nbformat.write(notebook, unfinished)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def make_demo(name: str, index: Index, records: Path) -> None:
    """Writes the record of a module's demo. A warning is one that every reader who runs it would see."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            run.make(name, index, records)
        except SourceError as error:
            raise SystemExit(str(error)) from error


def main() -> None:
    index = Index(ROOT, ROOT / "docs")
    files = sorted((ROOT / PACKAGE).rglob("*.py"))
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files]
    records = ROOT / "build" / "demos"
    for record in {*records.glob("*.json")} - {records / f"{name}.json" for name in modules}:
        record.unlink()
    # One after the other in each process, a process for each core, and a thread for each process: most of this is too small to
    # be shared among threads. The tutorials come first, as they take longest.
    os.environ["OMP_NUM_THREADS"] = "1"
    scripts = sorted((ROOT / "docs" / "tutorials").glob("*.py"))
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(make_notebook, script, index) for script in scripts]
        jobs += [pool.submit(make_demo, name, index, records) for name in modules]
        try:
            for job in jobs:
                job.result()
        finally:
            pool.shutdown(cancel_futures=True)
    playground = ROOT / "tools" / "playground.js"
    subprocess.run(["node", playground, ROOT / "build" / "playground"], check=True)


if __name__ == "__main__":
    main()
