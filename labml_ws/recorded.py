r"""
# Reading the records

A figure about training reads [the records](record.md) of an experiment and says so in a line below it. What is read
here is checked first: an unfinished record is refused, and so is one that was made by code that has changed
since. The tutorials are executed when the site is built, so such a record fails the build.

```python
runs = read("methods")
print(mean_spread([run.accuracy for run in runs if run.net == "ws-gn"]))
provenance(runs)  # the line
```

What such a figure *shows* is decided here as well, and not by the eye: [a verdict][labml_ws.recorded.verdict] is confirmed, contradicted or
undecided according to [an interval][labml_ws.recorded.interval].
"""

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal, NamedTuple

from labml_ws.experiment import Config
from labml_ws.plots import Table
from labml_ws.record import source


class RecordError(RuntimeError):
    """A record that nothing should be shown from: which, why, and what to do about it."""


def records() -> Path:
    """
    ## Where they are

    In a checkout they are `docs/runs`; an installed package has brought them along.
    """
    package = Path(__file__).parent
    checkout = package.parent / "docs" / "runs"
    return checkout if checkout.is_dir() else package / "runs"


@dataclass(frozen=True)
class Run:
    """
    ## One run

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
        """Raises `RecordError` if the run was not finished, or its code is no longer this code."""
        if not self.finished:
            raise RecordError(
                f"{self.folder}: the run was not finished: 'make results' does what is missing"
            )
        recorded, now = self.about.get("source", "of an unknown version"), source(self.config)
        if recorded != now:
            raise RecordError(
                f"{self.folder}: recorded with the code {recorded}, which is now {now}: remove the folder and call "
                f"'make results' to run it again"
            )


def read(experiment: str) -> list[Run]:
    """
    ## Reading an experiment

    * `experiment`: a folder of `docs/runs`, which holds one record or one folder for each of its runs
    * returns the runs in alphabetical order

    Raises `RecordError` where there is none, or one fails its [check][labml_ws.recorded.Run.check].
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


class Interval(NamedTuple):
    """A mean, the ends of its interval, and the number of values. Printed as `+13.0 [+11.4, +14.7]`."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:+.1f} [{self.low:+.1f}, {self.high:+.1f}]"

    @property
    def ratio(self) -> str:
        """The same for logarithms of ratios: the ratios, as in `0.62 [0.46, 0.82]`."""
        return "{:.2f} [{:.2f}, {:.2f}]".format(*(math.exp(end) for end in self[:3]))


def interval(values: Sequence[float], level: float = 0.95) -> Interval:
    r"""
    ## How sure is a mean?

    The interval of Student's $t$: with $n$ values of standard deviation $s$ it reaches $t\, s / \sqrt n$ to either side of
    their mean. With three seeds and 95 % that is $2.5\, s$, so wide because $s$ is itself a guess from three values.

    * `values`: at least two, for two methods [their differences][labml_ws.recorded.differences]
    * `level`: how often such an interval holds the true mean, if the values are normally distributed

    Raises `ValueError` for fewer than two values, which say nothing about their spread.
    """
    from scipy.stats import t

    if len(values) < 2:
        raise ValueError(
            f"expected at least 2 values, got {len(values)}: one run has no spread; call such a claim not measured"
        )
    average, spread = mean_spread([*values])
    half = float(t.ppf((1 + level) / 2, len(values) - 1)) * spread / math.sqrt(len(values))
    return Interval(average, average - half, average + half, len(values))


def differences(
    runs: Sequence[Run],
    others: Sequence[Run],
    value: Callable[[Run], float] = lambda run: 100 * run.accuracy,
) -> list[float]:
    """
    ## Seed by seed

    Two runs of one seed see the same images in the same order, and start from the same numbers. What a seed is good or bad
    for is good or bad for both, and cancels in their difference.

    * `runs`, `others`: of two methods, at most one run per seed each
    * `value`: what to compare, by default the accuracy in points (a hundredth of all test images)
    * returns the differences, for the seeds that both have
    """
    first, second = ({run.config.seed: value(run) for run in each} for each in (runs, others))
    return [first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())]


Claim = Literal["more", "less", "same", "as good"]


def verdict(found: Interval | None, claim: Claim, margin: float = 1.0) -> str:
    """
    ## A verdict

    * `found`: the interval of the difference, `None` where the runs to compare are not there
    * `claim`: `more` or `less` than 0; the `same` to within the margin; `as good`, at worst by the margin below 0
    * `margin`: which difference would not matter, in the unit of the values, by default one point
    * returns `confirmed` if the claim holds all over the interval, `contradicted` if nowhere in it, `undecided` if it holds
      in a part of it, `not measured` without one
    """
    if found is None:
        return "not measured"
    low, high = {
        "more": (0, math.inf),
        "less": (-math.inf, 0),
        "same": (-margin, margin),
        "as good": (-margin, math.inf),
    }[claim]
    if low <= found.low and found.high <= high:
        return "confirmed"
    return "contradicted" if found.high < low or high < found.low else "undecided"


def verdicts(
    title: str,
    claims: Sequence[tuple[str, Sequence[float] | None, Claim]],
    margin: float = 1.0,
    ratios: bool = False,
) -> Table:
    """
    A table of verdicts, each with its interval and the number of values.

    * `claims`: of each what is claimed, in words; the values, `None` where they were not measured; and the claim
    * `ratios`: the values are logarithms of ratios
    """
    rows = []
    for words, values, claim in claims:
        found = None if values is None else interval(values)
        written = (
            ["", ""] if not found else [found.ratio if ratios else str(found), str(found.n)]
        )
        rows.append([words, verdict(found, claim, margin), *written])
    what = "ratio" if ratios else "difference"
    return Table(title, ["verdict", f"{what} [95 % interval]", "n"], rows)


class Provenance:
    """
    ## Where a figure comes from

    One line, as text or, in a notebook, as HTML with a link to the data.
    """

    def __init__(self, runs: list[Run]) -> None:
        def every(values: list[Any]) -> str:
            return ", ".join(str(value) for value in sorted(set(values)))

        self.experiments = sorted({run.name.partition("/")[0] for run in runs})
        seeds = every([run.config.seed for run in runs])
        epochs = every([run.config.epochs for run in runs])
        images = every([run.config.train_images or run.about["data"]["train"] for run in runs])
        # What whoever ran it had to say, as that the images were compressed once more.
        notes = every([run.config.note for run in runs if run.config.note])
        self.text = "; ".join(
            [
                f"{len(runs)} run{'s' * (len(runs) > 1)}, seed{'s' * (',' in seeds)} {seeds}",
                f"{images} images of {every([run.about['data']['source'].split()[-1] for run in runs])} "
                f"({every([run.about['data']['fingerprint'] for run in runs])}), {epochs} epochs",
                *([notes] if notes else []),
                f"torch {every([run.about['versions']['torch'] for run in runs])}, "
                f"{every([run.about['hardware']['processor'] for run in runs])}",
                every([run.about["started"][:10] for run in runs]),
            ]
        )

    def __repr__(self) -> str:
        return f"docs/runs/{', '.join(self.experiments)}: {self.text}"

    def _repr_html_(self) -> str:
        links = ", ".join(
            f'<a href="recorded_run.html#{name}">{escape(name)}</a>'
            for name in self.experiments
        )
        text = re.sub(r"\d{4}-\d\d-\d\d", r'<span class="nobr">\g<0></span>', escape(self.text))
        return f'<p class="provenance">{links}: {text}</p>'


def provenance(runs: list[Run]) -> Provenance:
    """
    * `runs`: what a figure shows
    * returns the line to put below it
    """
    return Provenance(runs)


if __name__ == "__main__":
    # ## See it work
    #
    # Two runs, and where a figure about the second one would come from.
    for name in ("full-width", "quarter-width"):
        (run,) = read(name)
        print(f"{name}: {run.accuracy:.2%} after {run.config.epochs} epochs")
    print(provenance([run]))
    # What WS adds to a group norm and to a batch norm, in points.
    runs = read("methods")
    for plain in ("gn", "bn"):
        with_ws, without = (
            [run for run in runs if run.net == net] for net in (f"ws-{plain}", plain)
        )
        found = interval(differences(with_ws, without))
        print(f"ws-{plain} - {plain}: {found}, {verdict(found, 'more')}")
