"""Run the modules' demos: `labml_ws/x.py` becomes `build/demos/labml_ws.x.json`, which its page shows: what was printed, and what each line bound.

A record carries a fingerprint of the code that it ran, here and in whatever the module imports from the library; prose
does not count. While the fingerprint fits, the demo is not run again.
"""

import ast
import hashlib
import json
import os
import sys
import traceback
import warnings
from importlib.metadata import version
from pathlib import Path

from mkdocstrings_handlers.annotated.understand import bindings, demos, trace

from tools import notebook


def measure(value: object) -> tuple[float, float, bool] | None:
    """Mean, standard deviation, and whether all is one number. Integers that are not one number are labels or indices: their mean says nothing."""
    import torch  # here, because nine times in ten no demo has to be run

    if not isinstance(value, torch.Tensor) or not value.numel():
        return None
    if value.is_complex() or value.dtype == torch.bool:
        return None
    if isinstance(value, torch._subclasses.FakeTensor):  # while `torch.export` traces
        return None
    try:
        numbers = value.detach().double()
        constant = bool(numbers.min() == numbers.max())
        if not constant and not value.is_floating_point():
            return None
        return numbers.mean().item(), numbers.std(correction=0).item(), constant
    except RuntimeError:  # a tensor that has a shape and no numbers, as on the meta device
        return None


def fingerprint(path: Path) -> str:
    source = path.read_text()
    digest = hashlib.sha256(
        f"torch {version('torch')}\n{notebook.code(ast.parse(source))}".encode()
    )
    for program in (__file__, demos.__file__, bindings.__file__, trace.__file__):
        digest.update(f"{notebook.code(ast.parse(Path(program).read_text()))}\n".encode())
    for module, tree in sorted(notebook.modules(source).items()):
        digest.update(f"{module.relative_to(notebook.ROOT)}\n{notebook.code(tree)}\n".encode())
    return digest.hexdigest()


def make(path: Path, folder: Path) -> None:
    if not demos.demo(path.read_text()):
        return
    target = folder / f"{'.'.join(path.relative_to(notebook.ROOT).with_suffix('').parts)}.json"
    wanted = fingerprint(path)
    if target.exists() and json.loads(target.read_text())["fingerprint"] == wanted:
        return
    print(f"running {path.relative_to(notebook.ROOT)}", flush=True)
    record = {
        "fingerprint": wanted,
        "printed": demos.run(path),
        "bound": trace.run(path, measure),
    }
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(record, indent=1) + "\n")
    unfinished.replace(target)


def main(folder: str, *paths: str) -> int:
    # A warning is one that every reader who runs the demo would see.
    warnings.simplefilter("error")
    for path in map(Path.resolve, map(Path, paths)):
        place = path.relative_to(notebook.ROOT)
        try:
            make(path, Path(folder))
        except SyntaxError as error:
            escape = ' Begin the string with r""" to keep its backslashes.'
            hint = escape if "escape" in error.msg else ""
            print(f"{place}:{error.lineno}: {error.msg}.{hint}", file=sys.stderr)
            return 1
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            at = [frame for frame in frames if frame.filename == str(path)]
            said = f"{type(error).__name__}: {error}".removesuffix(": ")
            module = ".".join(place.with_suffix("").parts)
            print(
                f"{place}:{at[-1].lineno if at else 1}: the demo raised {said} "
                f"(`python -m {module}` shows the way there)",
                file=sys.stderr,
            )
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
