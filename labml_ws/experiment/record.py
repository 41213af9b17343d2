r"""
# The record of a run

A number without its command is a rumor. Each training run writes a folder with what it takes to judge its numbers and
to reproduce them:

| file | what |
|---|---|
| `config.json` | settings and command, when it started, source and fingerprint of the data, the code and [what it computes](probe.md), versions, hardware |
| `metrics.jsonl` | a line per 50 steps (`step`) and per epoch (`epoch`), each with the seconds since the start; with `--measure` also what was [measured][labml_ws.experiment.measure.snapshot] (`measure`); a last one if the loss stopped being finite (`diverged`) |
| `model.safetensors` | the weights after the last complete epoch |

All three are written as the run goes, so an interrupted run leaves what it had.
"""

import atexit
import hashlib
import json
import platform
import re
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from statistics import mean, stdev
from tempfile import mkdtemp
from typing import Any

import torch
from torch import nn

from labml_ws.experiment.cifar10 import Images
from labml_ws.experiment.config import Config
from labml_ws.experiment.probe import differences, probe

# All records in one file.
PACKED = "runs.zip"


class Record:
    """
    ## Writing it

    * `config`, `images`, `device`: what is run, on what, and where

    Raises `FileExistsError` when the folder already holds a record: nothing is written over.
    """

    def __init__(self, config: Config, images: Images, device: torch.device) -> None:
        self.folder, self.half = config.folder, config.half_weights
        if (self.folder / "config.json").exists():
            raise FileExistsError(
                f"{self.folder} already holds the record of a run: "
                "pass another --out, or remove it first"
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
            "source": source(),
            "probe": probe(config),
            "versions": {"python": platform.python_version()}
            | {name: version(name) for name in ("torch", "accelerate", "datasets", "numpy")},
            "hardware": hardware(device),
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


def source(folder: Path = Path(__file__).parents[1]) -> str:
    """16 hexadecimal digits that change with any character of the package: which code was it?"""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def hardware(device: torch.device) -> dict[str, Any]:
    """Device and threads, the name of the GPU or of the processor as far as the system tells it, and its model."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text() if cpuinfo.exists() else ""
    about = dict(re.findall(r"^([\w ]+?)\s*: (.+)$", lines, flags=re.MULTILINE))
    processor = about.get("model name") or platform.processor() or platform.machine()
    # What decides the last digits: instructions that torch uses, family and model of the processor.
    model = [
        torch.backends.cpu.get_cpu_capability(),
        about.get("cpu family"),
        about.get("model"),
    ]
    return {
        "device": str(device),
        "processor": torch.cuda.get_device_name() if torch.cuda.is_available() else processor,
        "model": " ".join(filter(None, model)),
        "threads": torch.get_num_threads(),
    }


# ## Reading them
#
# A figure about training reads the records of an experiment and says so in a line below it. A record that is not whole is
# refused, and so is, when the site is built, one whose code no longer computes the same.
#
# ```python
# runs = read("methods")
# print(mean_spread([run.accuracy for run in runs if run.net == "ws-gn"]))
# ```


class RecordError(RuntimeError):
    """A record that nothing should be shown from: which, why, and what to do about it."""


@cache
def records() -> Path:
    """
    ### Where they are

    In a checkout they are `docs/runs`. Elsewhere they are in `runs.zip`, which the pages offer beside their notebooks; it
    is unpacked into a temporary folder, for as long as Python runs. Raises `RecordError` where there is neither.
    """
    for folder in (Path(__file__).parents[2], Path.cwd(), *Path.cwd().parents):
        if (folder / "docs" / "runs").is_dir():
            return folder / "docs" / "runs"
    if not Path(PACKED).is_file():
        raise RecordError(
            f"expected {PACKED} in {Path.cwd()}, or a checkout of the project: "
            f"download {PACKED} from the page of the notebook, into the notebook's folder"
        )
    unpacked = Path(mkdtemp(prefix="labml_ws-runs-"))
    atexit.register(shutil.rmtree, unpacked, ignore_errors=True)
    shutil.unpack_archive(PACKED, unpacked)
    return unpacked


@dataclass(frozen=True)
class Run:
    """
    ### One run

    * `folder`: where its record is
    """

    folder: Path

    @property
    def name(self) -> str:
        """The run and its experiment, like `methods/ws-gn-seed0`."""
        return self.folder.relative_to(records()).as_posix()

    @property
    def net(self) -> str:
        """What was trained, without seed, batch size, rate, drive or momentum: `ws-gn` of `batches/ws-gn-batch4-seed0`."""
        return re.sub(r"-(seed|batch|rate|drive|momentum)[\d.]+", "", self.folder.name)

    @cached_property
    def about(self) -> dict[str, Any]:
        """`config.json`: settings, command, versions, hardware, data."""
        return json.loads((self.folder / "config.json").read_text())

    @cached_property
    def config(self) -> Config:
        return Config(**self.about["config"] | {"out": None})

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """`metrics.jsonl`, a dictionary per row."""
        file = self.folder / "metrics.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(line) for line in lines]

    def kind(self, kind: str) -> list[dict[str, Any]]:
        """
        * `kind`: `step`, `epoch`, `measure` or `diverged`
        * returns the rows of that kind, in the order of the training
        """
        return [row for row in self.rows if row["kind"] == kind]

    @property
    def diverged(self) -> bool:
        """Whether the loss stopped being finite, which ended the run."""
        return bool(self.kind("diverged"))

    @property
    def accuracy(self) -> float:
        """The accuracy on the test set after the last epoch, 0 to 1. A run that diverged has that of guessing, 0.1."""
        return 0.1 if self.diverged else float(self.kind("epoch")[-1]["test_accuracy"])

    @property
    def finished(self) -> bool:
        """Whether the record is whole: its last epoch is there, or the row that says that it diverged."""
        if not (self.folder / "config.json").exists():
            return False
        last = self.rows[-1] if self.rows else {"kind": "nothing"}
        return last["kind"] == "diverged" or (last["kind"], last.get("epoch")) == (
            "epoch",
            self.about["config"]["epochs"],
        )

    def check(self) -> None:
        """Raises `RecordError` if the run was not finished."""
        if not self.finished:
            raise RecordError(
                f"{self.folder}: the run was not finished: 'make results' does what is missing"
            )


def check(runs: Sequence[Run]) -> None:
    """
    ### Are they still this code's?

    * `runs`: finished ones, whose [probes](probe.md) are computed again

    Raises `RecordError` with the names of all whose probe comes out otherwise. A second or so for each method; the build
    does it before it reads any record.
    """
    changed = {run: differences(run.about.get("probe", {}), run.config) for run in runs}
    stale = [run for run in runs if changed[run]]
    if stale:
        name, (then, now) = next(iter(changed[stale[0]].items()))
        raise RecordError(
            f"this code no longer computes what {len(stale)} of {len(runs)} records hold "
            f"(in the first, {name} of the probe was {then} with torch "
            f"{stale[0].about['versions']['torch']}, and is {now} with {torch.__version__}): "
            "take the change back, or remove these folders of docs/runs and call 'make results' "
            f"to run them again: {', '.join(run.name for run in stale)}"
        )


def read(experiment: str) -> list[Run]:
    """
    ### Reading an experiment

    * `experiment`: a folder of `docs/runs`, which holds one record or one folder for each of its runs
    * returns the runs in alphabetical order

    Raises `RecordError` where there is none, or one fails its [check][labml_ws.experiment.record.Run.check].
    """
    folder = records() / experiment
    files = sorted([*folder.glob("config.json"), *folder.glob("*/config.json")])
    if not files:
        raise RecordError(
            f"{folder}: no runs are recorded here: 'make results' records what is missing"
        )
    runs = [Run(file.parent) for file in files]
    for run in runs:
        run.check()
    return runs


def mean_spread(values: list[float]) -> tuple[float, float]:
    """The mean, and the standard deviation of a sample (divided by $n - 1$), 0 for a single value."""
    return mean(values), stdev(values) if len(values) > 1 else 0.0


if __name__ == "__main__":
    # ## See it work
    #
    # Record a run that does not train: the files of the folder, and the only line of the metrics.
    from tempfile import TemporaryDirectory

    from labml_ws.experiment import cifar10
    from labml_ws.experiment.config import build

    with TemporaryDirectory() as folder:
        config = Config(data="digits", width=0.25, out=Path(folder) / "run")
        record = Record(config, cifar10.load("digits"), torch.device("cpu"))
        record.add(kind="epoch", epoch=0, test_accuracy=0.1)
        record.save_weights(build(config))
        for file in sorted(record.folder.iterdir()):
            print(f"{file.name}: {file.stat().st_size:,} bytes")
        print((record.folder / "metrics.jsonl").read_text().strip())
    # And two that did.
    for name in ("full-width", "quarter-width"):
        (run,) = read(name)
        print(f"{name}: {run.accuracy:.2%} after {run.config.epochs} epochs")
