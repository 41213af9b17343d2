"""
# By batch size

How well does each method do with fewer and fewer images per step? Three pages show this figure, so it is drawn here, from
the [recorded runs](record.md) and in [the one look](plots.md) that all figures have. In the table a mean stands with ± the standard deviation of the seeds.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from labml_ws.experiment.plots import Table, label_ends, look
from labml_ws.experiment.record import Run, mean_spread, read
from labml_ws.experiment.suite import SWEPT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# What ran at the largest size alone.
ONCE = "ws-bn"

Groups = dict[tuple[str, int], list[Run]]


def by_batch_size() -> Groups:
    """The runs of each method at each batch size, a run for each seed."""
    groups: Groups = {}
    for run in [*read("methods"), *read("batches")]:
        if run.net in (*SWEPT, ONCE):
            groups.setdefault((run.net, run.config.batch_size), []).append(run)
    return groups


def sizes(groups: Groups) -> list[int]:
    """The batch sizes, the largest first."""
    return sorted({size for _, size in groups}, reverse=True)


def accuracies(runs: Sequence[Run]) -> list[float]:
    """The accuracies of runs, in percent."""
    return [100 * run.accuracy for run in runs]


def cell(runs: Sequence[Run]) -> str:
    """Mean ± standard deviation, as in `54.8 ± 0.7`; `not run` for no runs."""
    return "{:.1f} ± {:.1f}".format(*mean_spread(accuracies(runs))) if runs else "not run"


def draw(axis: "Axes", groups: Groups) -> None:
    """
    ## The figure

    A line through the means of each method, a dot for each run, and a ring for the one that ran at a single size.

    * `axis`: the axes
    * `groups`: runs by method and batch size
    """
    for net in SWEPT:
        style = look(net)
        means = [mean_spread(accuracies(groups[net, size]))[0] for size in sizes(groups)]
        axis.plot(sizes(groups), means, **style)
        for size in sizes(groups):
            dots = accuracies(groups[net, size])
            axis.plot([size] * len(dots), dots, ".", color=style["color"], alpha=0.6)
    largest, color = max(sizes(groups)), look(ONCE)["color"]
    ring, _ = mean_spread(accuracies(groups[ONCE, largest]))
    axis.plot(largest, ring, "o", color=color, markersize=6, fillstyle="none")
    name = look(ONCE)["label"]
    axis.annotate(name, (largest, ring), (8, 2), textcoords="offset points", color=color)
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes(groups), [str(size) for size in sizes(groups)])
    axis.set(xlim=(largest * 1.25, 0.9), ylim=(None, ring + 3.5))
    axis.set(xlabel="images per step", ylabel="test accuracy (%)")
    label_ends(axis)


def table(groups: Groups) -> Table:
    """
    ## The table

    * `groups`: runs by method and batch size
    * returns a row for each method and a column for each batch size
    """
    rows = [
        [look(net)["label"], *(cell(groups.get((net, size), [])) for size in sizes(groups))]
        for net in (*SWEPT, ONCE)
    ]
    return Table(
        "Test accuracy (%), by batch size", [str(size) for size in sizes(groups)], rows
    )


if __name__ == "__main__":
    # ## See it work
    #
    # The mean and the spread of three seeds.
    print(table(by_batch_size()))
