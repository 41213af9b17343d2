"""Give each record its probe, computed by the code that the record was made with.

`python -m tools.add_probes OLD` wants a checkout of that code in the folder OLD. First it recomputes, there, the digest of
the text that every record carries; a record with another digest is refused. Then the probe of `labml_ws.experiment.probe`
runs with the old modules in the place of the new ones: network, layers, data, measures, and the two statements of the old
`train` that make the optimizer and the schedule. What it gives is written into the records here, and nothing else is.
"""

import ast
import importlib
import json
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "docs" / "runs"


def module(name: str, **names: Any) -> types.ModuleType:
    made = sys.modules[name] = types.ModuleType(name)
    vars(made).update(names)
    return made


def statements(source: str, *names: str) -> ast.Module:
    """The statements of `train` that bind the names."""
    (train,) = (
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name == "train"
    )
    bound = [
        node
        for node in train.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if ast.unparse(target) in names
    ]
    assert len(bound) == len(names), ast.unparse(ast.Module(bound, []))
    return ast.Module(bound, [])


def main(old: str) -> None:
    sys.path.insert(0, str(Path(old).resolve()))
    experiment = importlib.import_module("labml_ws.experiment")
    assert Path(str(experiment.__file__)).is_relative_to(Path(old).resolve()), (
        experiment.__file__
    )
    cifar10, landscape, recorded, snapshot = (
        importlib.import_module(f"labml_ws.{name}")
        for name in ("cifar10", "landscape", "recorded", "snapshot")
    )
    # 1. The old code is the records' own.
    runs = [recorded.Run(file.parent) for file in sorted(RUNS.rglob("config.json"))]
    for run in runs:
        run.check()
        assert run.about["source"] == recorded.source(run.config)
    print(f"{len(runs)} records carry the digest of the code in {old}")

    # 2. The probe, over the old modules.
    made = compile(
        statements(
            Path(str(experiment.__file__)).read_text(),
            "(rate, decay)",
            "optimizer",
            "scheduler",
        ),
        "train",
        "exec",
    )

    def optimization(config: Any, model: Any, steps: int) -> Any:
        names = {**vars(experiment), "config": config, "model": model, "steps": steps}
        exec(made, names)
        return names["optimizer"], names["scheduler"]

    cifar10.subset = experiment.subset
    package = module("labml_ws.experiment", cifar10=cifar10)
    package.__path__ = []
    module(
        "labml_ws.experiment.config",
        Config=experiment.Config,
        build=experiment.build,
        optimization=optimization,
    )
    sys.modules["labml_ws.experiment.landscape"] = landscape
    module("labml_ws.experiment.measure", snapshot=snapshot.snapshot)
    code = (ROOT / "labml_ws" / "experiment" / "probe.py").read_text()
    probe = module("labml_ws.experiment.probe")
    exec(compile(code, "probe.py", "exec"), vars(probe))
    for name in ("build", "snapshot", "loss_surface"):
        assert old in vars(probe)[name].__code__.co_filename, name

    # 3. Into the records, which are otherwise left to the byte.
    for run in runs:
        file = run.folder / "config.json"
        text = file.read_text()
        about = json.loads(text)
        assert text == json.dumps(about, indent=2) + "\n", file
        config = replace(run.config)
        file.write_text(json.dumps(about | {"probe": probe.probe(config)}, indent=2) + "\n")
    print("each has its probe")


if __name__ == "__main__":
    main(*sys.argv[1:])
