r"""
# Intervals and verdicts

A figure shows a difference, and an eye that wants to see one sees it. So what a figure *shows* is decided here: from the
interval of a mean, [seed by seed][labml_ws.experiment.intervals.differences], a claim is
[confirmed, contradicted or undecided][labml_ws.experiment.intervals.verdict].
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from labml_ws.experiment.plots import Table
from labml_ws.experiment.record import Run, mean_spread, read


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

    * `values`: at least two, for two methods [their differences][labml_ws.experiment.intervals.differences]
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


if __name__ == "__main__":
    # ## See it work
    #
    # What WS adds to a group norm and to a batch norm, in points.
    runs = read("methods")
    for plain in ("gn", "bn"):
        with_ws, without = (
            [run for run in runs if run.net == net] for net in (f"ws-{plain}", plain)
        )
        found = interval(differences(with_ws, without))
        print(f"ws-{plain} - {plain}: {found}, {verdict(found, 'more')}")
