r"""
# The record of a run

A number without its command is a rumor. Each training run writes a folder with what it takes to judge its numbers and
to reproduce them:

| file | what |
|---|---|
| `config.json` | settings and command, when it started, source and fingerprint of the data, versions, hardware |
| `metrics.jsonl` | a line per 50 steps (`step`) and per epoch (`epoch`), each with the seconds since the start; with `--measure` also what was [measured](snapshot.md) (`measure`); a last one if the loss stopped being finite (`diverged`) |
| `model.safetensors` | the weights after the last complete epoch |

All three are written as the run goes, so an interrupted run leaves what it had.
"""

import ast
import hashlib
import io
import json
import platform
import shlex
import sys
import time
import tokenize
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from labml_ws.cifar10 import Images
    from labml_ws.experiment import Config


COMPUTES = ("standardization", "layers", "batch_channel_norm", "vgg", "cifar10")
MEASURES = ("measure", "landscape", "snapshot")


class Record:
    """
    ## Writing it

    * `config`, `images`, `device`: what is run, on what, and where

    Raises `FileExistsError` when the folder already holds a record: nothing is written over.
    """

    def __init__(self, config: "Config", images: "Images", device: torch.device) -> None:
        self.folder, self.half = config.folder, config.half_weights
        if (self.folder / "config.json").exists():
            raise FileExistsError(
                f"{self.folder} already holds the record of a run: pass another --out, or remove it first"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self.start = time.perf_counter()
        settings = {
            key: str(value) if isinstance(value, Path) else value
            for key, value in asdict(config).items()
        }
        # Where a folder lies on this machine means nothing to others: its name and the data's fingerprint are enough.
        names: dict[Path, str] = {}
        if config.data not in ("hub", "digits"):
            names[Path(config.data)] = settings["data"] = Path(config.data).resolve().name
        if config.out and config.out.is_absolute():
            names[config.out] = settings["out"] = config.out.name
        arguments = []
        for word in sys.argv[1:]:
            option, equals, value = word.partition("=") if "=" in word else ("", "", word)
            arguments.append(option + equals + (value and names.get(Path(value), value)))
        about = {
            "config": settings,
            "command": shlex.join(["python", "-m", "labml_ws.experiment", *arguments]),
            "started": time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime()),
            "data": {
                "source": images.source,
                "fingerprint": images.fingerprint,
                "train": len(images.train_y),
                "test": len(images.test_y),
            },
            "source": source(config),
            "versions": {"python": platform.python_version()}
            | {name: version(name) for name in ("torch", "accelerate", "datasets", "numpy")},
            "hardware": {
                "device": str(device),
                "processor": processor(),
                "model": model(),
                "threads": torch.get_num_threads(),
            },
        }
        (self.folder / "config.json").write_text(json.dumps(about, indent=2) + "\n")

    # The file is closed after each row, so that an interrupted run keeps every row before that.
    def add(self, **row: Any) -> dict[str, Any]:
        row["seconds"] = round(time.perf_counter() - self.start, 2)
        with (self.folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(rounded(row)) + "\n")
        return row

    # Written under another name and then renamed: a run that is interrupted here keeps the weights of the epoch before.
    def save_weights(self, model: nn.Module) -> None:
        from safetensors.torch import save_file

        parameters = dict(model.named_parameters())
        tensors = {
            name: tensor.half() if self.half and name in parameters else tensor
            for name, tensor in model.state_dict().items()
        }
        partial_file = self.folder / "model.safetensors.partial"
        save_file(tensors, partial_file)
        partial_file.replace(self.folder / "model.safetensors")


def rounded(value: Any) -> Any:
    """Six significant digits are enough for a figure, and few enough for a file that is kept."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def source(config: "Config", folder: Path = Path(__file__).parent) -> str:
    """
    ## Which code was it?

    16 hexadecimal digits that change with the code of the modules that compute: what is standardized, normalized, built
    and fed, and, where the settings ask for them, [measures](measure.md) and [variants](ablations.md). Comments and
    docstrings do not count. Where a record's digits are no longer those of the code, the check says so, and no page is built from
    it.
    """
    digest = hashlib.sha256()
    names = [*COMPUTES]
    if config.variant != "paper" or config.drive:
        names.append("ablations")
    if config.measure:
        names += MEASURES
    for name in names:
        text = (folder / f"{name}.py").read_text()
        quiet = {
            line
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and ast.get_docstring(node) is not None
            for line in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)
        }
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        comments = {t.start[0]: t.start[1] for t in tokens if t.type == tokenize.COMMENT}
        lines = [
            line[: comments.get(n)].rstrip()
            for n, line in enumerate(text.splitlines(), 1)
            if n not in quiet
        ]
        # The demo at the end computes nothing that a run depends on.
        code = "\n".join(filter(None, lines)).partition("\nif __name__ ==")[0]
        digest.update(f"{name}\n{code}\n".encode())
    return digest.hexdigest()[:16]


def processor() -> str:
    """The name of the GPU, or of the processor, as far as the system tells it."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def model() -> str:
    """What decides the last digits: instructions that torch uses, family and model of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    found = dict(
        line.split("\t", 1) for line in lines if line.startswith(("cpu family", "model\t"))
    )
    numbers = [value.strip("\t :") for value in found.values()]
    return " ".join([torch.backends.cpu.get_cpu_capability(), *numbers])


if __name__ == "__main__":
    # ## See it work
    #
    # Record a run that does not train: the files of the folder, and the only line of the metrics.
    from tempfile import TemporaryDirectory

    from labml_ws import cifar10, experiment

    with TemporaryDirectory() as folder:
        config = experiment.Config(data="digits", width=0.25, out=Path(folder) / "run")
        record = Record(config, cifar10.load("digits"), torch.device("cpu"))
        record.add(kind="epoch", epoch=0, test_accuracy=0.1)
        record.save_weights(experiment.build(config))
        for file in sorted(record.folder.iterdir()):
            print(f"{file.name}: {file.stat().st_size:,} bytes")
        print((record.folder / "metrics.jsonl").read_text().strip())
