r"""
# The record of a run

A number without its command is a rumor. Each training run writes a folder with what it takes to judge its numbers and
to reproduce them:

| file | what |
|---|---|
| `config.json` | settings and command, when it started, source and fingerprint of the data, the code and [what it computes](probe.md), versions, hardware |
| `metrics.jsonl` | a line per 50 steps (`step`), per epoch (`epoch`) with what the [validation images](cifar10.md#labml_ws.experiment.split) gave, and at the end one with what the test images gave (`test`), each with the seconds since the start; with `--measure` also what was [measured][labml_ws.experiment.measure.snapshot] (`measure`); instead of the end one more if the loss exploded (`diverged`) |
| `model.safetensors` | the weights after the last complete epoch |
| `best.safetensors` | those after the epoch that was best on the validation images, the first of equal ones |

All are [written as the run goes][labml_ws.experiment.writing], so an interrupted run leaves what it had.
"""

import atexit
import json
import math
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from statistics import mean, stdev
from tempfile import mkdtemp
from typing import Any

import torch

from labml_ws.experiment.config import BEFORE, Config
from labml_ws.experiment.probe import differences

# All records in one file.
PACKED = "runs.zip"


def rounded(value: Any) -> Any:
    """Six significant digits are enough for a figure, and few enough for a file that is kept; `None` for what is not finite."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    if isinstance(value, float):
        # JSON has no word for them, and most programs refuse to read Python's.
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


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
        return Config(**BEFORE | self.about["config"] | {"out": None})

    @property
    def command(self) -> str:
        """What does the same today: the command as it was given, and what was no choice then."""
        now = [
            f"--no-{name}" if value is False else f"--{name} {value:g}"
            for name, value in BEFORE.items()
            if name not in self.about["config"]
        ]
        return " ".join([self.about["command"], *now])

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """`metrics.jsonl`, a dictionary per row."""
        file = self.folder / "metrics.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        *before, last = lines or [""]
        rows = [json.loads(line) for line in before]
        # A power cut may leave a part of the last line.
        with suppress(json.JSONDecodeError):
            rows.append(json.loads(last))
        return rows

    def kind(self, kind: str) -> list[dict[str, Any]]:
        """
        * `kind`: `step`, `epoch`, `test`, `measure` or `diverged`
        * returns the rows of that kind, in the order of the training
        """
        return [row for row in self.rows if row["kind"] == kind]

    @property
    def diverged(self) -> bool:
        """Whether the loss exploded, which ended the run."""
        return bool(self.kind("diverged"))

    @property
    def accuracy(self) -> float:
        """
        The accuracy on the test images after the last epoch, 0 to 1, to report and not to choose by. A run that diverged has
        that of guessing, 0.1.
        """
        return 0.1 if self.diverged else float(self.rows[-1]["test_accuracy"])

    @property
    def held_out(self) -> str:
        """What each epoch was measured on: `validation` images or, where there were none, those of the `test`."""
        return "validation" if self.config.validation else "test"

    @property
    def curve(self) -> list[float]:
        """The accuracy after each epoch on the images that were [held out][labml_ws.experiment.record.Run.held_out], 0 to 1."""
        return [row[f"{self.held_out}_accuracy"] for row in self.kind("epoch")]

    @property
    def best(self) -> int:
        """The epoch of the best accuracy on the images that were held out, the first of equal ones, counted from 1."""
        return max(range(len(self.curve)), key=self.curve.__getitem__) + 1

    @property
    def validation(self) -> float:
        """
        The accuracy on the validation images after the last epoch, 0 to 1, to choose by. A run that diverged has that of
        guessing. Raises `RecordError` for a run without validation images.
        """
        if not self.config.validation:
            raise RecordError(
                f"{self.folder}: this run held out no validation images, and by those of the "
                "test nothing may be chosen"
            )
        return 0.1 if self.diverged else self.curve[-1]

    @property
    def finished(self) -> bool:
        """Whether the record is whole: the test is there, without validation that of the last epoch, or that it diverged."""
        if not (self.folder / "config.json").exists() or not self.rows:
            return False
        last, config = self.rows[-1], BEFORE | self.about["config"]
        end = ("test", None) if config["validation"] else ("epoch", config["epochs"])
        return last["kind"] == "diverged" or (last["kind"], last.get("epoch")) == end

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
    # Two runs that this site reads.
    for name in ("full-width", "quarter-width"):
        (run,) = read(name)
        print(f"{name}: {run.accuracy:.2%} after {run.config.epochs} epochs")
