# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Results
#
# Every number about training on CIFAR-10 comes from a run whose [record](../annotated/record.md) lies in `docs/runs`: the command, the settings, a fingerprint of the
# data, versions, hardware, and the metrics as they were written. This page reads those files. Where the code that a run depends on has changed since, the page
# [cannot be built][labml_ws.experiment.record.Run.check].
#
# `make results DATA=folder` records what is missing; remove a folder of `docs/runs` first to repeat its run. On the same machine, with one thread, it gives
# the same metrics to the last digit.

# %%
# %config InlineBackend.figure_formats = ["svg"]
from html import escape
from itertools import groupby

import matplotlib.pyplot as plt
import torch
from IPython.display import HTML
from torch.utils.flop_counter import FlopCounterMode

from labml_ws.experiment.config import build
from labml_ws.experiment.plots import Provenance, Table, label_ends, look
from labml_ws.experiment.record import mean_spread, read

plt.style.use("labml_ws.experiment.house")

EXPERIMENTS = [
    "full-width",
    "quarter-width",
    "rates",
    "methods",
    "driven",
    "conventions",
    "batches",
    "estimates",
    "digits",
]
recorded = {name: read(name) for name in EXPERIMENTS}
print(f"{sum(map(len, recorded.values()))} runs in {len(recorded)} experiments")
hours = sum(run.rows[-1]["seconds"] for runs in recorded.values() for run in runs) / 3600
print(f"{hours:.1f} hours of one thread, on a shared machine")


# %% [markdown]
# What a row of the tables below is: runs that differ in nothing but the seed, under the name of their folders (`ws-` is with WS, `none` without a normalization; `unbiased` is WS with $I - 1$, `eps-outside` WS with $\epsilon$ outside the root), with the mean of their test accuracies, the standard deviation of the sample, and each of them.


# %%
def without_seed(run):
    return run.folder.name.partition("-seed")[0]


def table(title, runs, order=None):
    """The best first, or in the `order` of a key."""
    rows = []
    for name, group in groupby(sorted(runs, key=without_seed), without_seed):
        group = list(group)
        accuracies = [100 * run.accuracy for run in group]
        average, spread = mean_spread(accuracies)
        each = "\N{EN SPACE}".join(f"{accuracy:.1f}" for accuracy in accuracies)
        cells = [name, f"{average:.1f}", f"{spread:.1f}", each]
        rows.append((order(group[0]) if order else -average, cells))
    heads = ["mean", "spread", "each seed"]
    return Table(f"{title}: test accuracy (%)", heads, [cells for _, cells in sorted(rows)])


# %% [markdown]
# ## Full width
#
# `full-width` has the [default settings](../annotated/experiment.md) in all but the number of epochs: WS and BCN, up to 512 channels, Adam at a constant learning rate
# of 2.5e-4, batches of 64. Three epochs say that it learns, not how far it would get. Its weights (59 MB) are not kept.
#
# ## Quarter width
#
# `quarter-width` has a quarter of the channels, a sixteenth of the weights, the batch's own statistics in BCN's first half, and a one-cycle schedule (the learning rate rises to its peak and falls to
# nearly zero). It is small enough to keep its weights in the repository, and is the network that
# [Weights, before and after](weights.md) opens. Each of these two ran once, with one seed: read their accuracies as examples, not as comparisons.
#
# Left, the loss of single training batches: cross-entropy with the natural logarithm, hence *nats*. Right, after every epoch, the accuracy on the 10,000
# test images, which are neither augmented nor trained on.

# %% alt="Left: training loss against epochs for the full-width and the quarter-width run, falling. Right: test accuracy after each epoch, rising." tags=["wide"]
large = recorded["full-width"] + recorded["quarter-width"]
figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.2))
for run in large:
    steps = run.kind("step")
    length = max(row["step"] for row in steps)
    time = [row["epoch"] - 1 + row["step"] / length for row in steps]
    left.plot(time, [row["loss"] for row in steps], linewidth=0.8)
    accuracy = [100 * row["test_accuracy"] for row in run.kind("epoch")]
    right.plot(range(1, len(accuracy) + 1), accuracy, "o-", markersize=4)
    right.annotate(
        run.name,
        (len(accuracy), accuracy[-1]),
        xytext=(0, -28 if len(accuracy) > 9 else 10),
        textcoords="offset points",
        ha="right" if len(accuracy) > 9 else "left",
        color=right.get_lines()[-1].get_color(),
    )
left.set(xlabel="epoch", ylabel="training loss (nats)", ylim=(0, None))
right.set(xlabel="epoch", ylabel="test accuracy (%)")
plt.show()
Provenance(large)

# %% [markdown]
# ## The budget of the small runs
#
# A comparison needs every method, several seeds, and one processor that does it in hours. All experiments below but the last train the VGG at a quarter of its width for four
# passes over 8,000 of the 50,000 training images, by SGD with momentum 0.9 and a one-cycle schedule, without weight decay. That is 500 steps at a batch of 64:
# enough to tell apart methods that learn at different speeds, not enough to tell where each would end. `quarter-width` above, of the same size, sees
# 47 times as many images.
#
# ## Rates
#
# One seed of six methods at four learning rates, to choose *one* for all of them: the one with the best mean accuracy over the methods. Everything after that uses
# it, in proportion to the batch size. Some methods would have preferred another one.

# %% alt="Test accuracy against the learning rate on a logarithmic axis, a line for each of six methods." tags=["wide"]
figure, axis = plt.subplots(figsize=(5.6, 3.4))
for net, group in groupby(recorded["rates"], lambda run: run.net):
    points = sorted((run.config.learning_rate, 100 * run.accuracy) for run in group)
    axis.plot(*zip(*points, strict=True), marker="o", markersize=4, **look(net))
rates = sorted({run.config.learning_rate for run in recorded["rates"]})
axis.set(xscale="log", xlabel="learning rate at a batch of 64", ylabel="test accuracy (%)")
axis.set_xticks(rates, [f"{rate:g}" for rate in rates])
axis.set_xticks([], minor=True)
label_ends(axis)
plt.show()
Provenance(recorded["rates"])

# %%
means = {
    rate: mean_spread(
        [r.accuracy for r in recorded["rates"] if r.config.learning_rate == rate]
    )[0]
    for rate in rates
}
for rate, value in means.items():
    print(f"{rate:6g}: {value:.1%} on average")
print(f"used from here on: {recorded['methods'][0].config.learning_rate:g}")

# %% [markdown]
# ## Methods
#
# Every method at a batch of 64, three seeds. While they trained they were [measured](../annotated/measure.md#labml_ws.experiment.measure.snapshot); what came out is the subject of
# [Gradients](gradients.md), [Loss landscape](landscape.md) and [Elimination singularities](singularities.md).

# %% alt="Test accuracy after each of four epochs, the mean of three seeds, a line for each of eight methods." tags=["wide"]
figure, axis = plt.subplots(figsize=(5.6, 3.8))
for net, group in groupby(recorded["methods"], lambda run: run.net):
    if net.startswith(("center", "scale")):
        continue
    curves = [[100 * row["test_accuracy"] for row in run.kind("epoch")] for run in group]
    axis.plot(range(1, 5), [sum(c) / len(c) for c in zip(*curves, strict=True)], **look(net))
axis.set(xlabel="epoch", ylabel="test accuracy (%)", xticks=range(1, 5))
label_ends(axis)
plt.show()
Provenance([r for r in recorded["methods"] if not r.net.startswith(("center", "scale"))])

# %% [markdown]
# Where they end, with the two steps of WS one by one:

# %% tags=["hide-code", "wide"]
table("Methods", recorded["methods"])

# %% [markdown]
# ## Driven
#
# BatchNorm with each channel [moved away from mean 0](../annotated/ablations.md), by random constants of a standard deviation of 1, 2 or 4. The further, the worse it trains
# ([what dies on the way](singularities.md#driven-there-on-purpose)).

# %% tags=["hide-code", "wide"]
table("Driven", recorded["driven"])

# %% [markdown]
# ## Conventions
#
# Does it matter whether the variance is divided by $I$ or by $I - 1$, and whether $\epsilon$ is inside or outside the root? What if nothing normalizes after a standardized convolution, or
# the classifier is standardized, too? The rows to compare with are `ws-gn`, `gn` and `none`, from [methods](#methods).

# %% tags=["hide-code", "wide"]
table(
    "Conventions",
    [
        *recorded["conventions"],
        *(r for r in recorded["methods"] if r.net in ("gn", "ws-gn", "none")),
    ],
)

# %% [markdown]
# Which variance, and where $\epsilon$ sits, is of no consequence here: both rows are within a point of `ws-gn`, less than what seeds differ by. The other two questions have [another answer](../annotated/layers.md). With nothing to normalize behind it, WS learned nothing at all, where the plain network without normalization did. With its classifier standardized, too, the network got stuck far
# below where it would have been.
#
# ## Batches
#
# Batch sizes below 64 (those of 64 are in [methods](#methods)). The picture is in [Micro-batches](micro_batches.md).

# %% tags=["hide-code", "wide"]
table("Batches", recorded["batches"], lambda run: (run.net, -run.config.batch_size))

# %% [markdown]
# ## Estimates
#
# WS + BCN at a batch size of 1 with running estimates that move at other speeds than 0.1 ([why](micro_batches.md#how-fast-should-an-estimate-move)). The row to compare with is `ws-bcn-batch1`.

# %% tags=["hide-code", "wide"]
table("Estimates", recorded["estimates"], lambda run: run.config.momentum)

# %% [markdown]
# ## The papers' numbers and ours
#
# On ImageNet the authors report errors of ResNet-50 at a large batch: 24.8 % with GN, 24.3 % with BN, 23.7 % with WS + GN ([their figure][@qiao2019code]). In points
# of accuracy: BN is 0.5 better than GN, WS adds 1.1 to GN, and WS + GN is 0.6 better than BN. Our differences, seed by seed, on another network, other data, and a training
# that is over after 500 steps:

# %%
accuracy = {(run.net, run.config.seed): 100 * run.accuracy for run in recorded["methods"]}
for better, worse, published in (
    ("bn", "gn", "+0.5"),
    ("ws-gn", "gn", "+1.1"),
    ("ws-gn", "bn", "+0.6"),
    ("ws-bn", "bn", ""),
    ("bcn", "gn", ""),
    ("ws-bcn", "bcn", ""),
):
    differences = [
        accuracy[better, seed] - accuracy[worse, seed]
        for net, seed in accuracy
        if net == worse and (better, seed) in accuracy
    ]
    average, spread = mean_spread(differences)
    paper = f"  paper: {published}" if published else ""
    print(f"{better:6} - {worse:3}  {average:+5.1f} ± {spread:.1f} points{paper}")

# %% [markdown]
# * **Confirmed:** WS helps GroupNorm, by far more than in the papers' long training: here it decides how soon the network learns at all. Centering alone does nearly all of
#   it (`center-gn` [among the methods](#methods)), scaling alone nothing (`scale-gn`).
# * **Not confirmed at this scale:** that WS + GN is better than BN. The two differ by less than seeds do.
# * **Not confirmed at this scale:** that WS adds something to BCN at a batch of 64. It does add to BN, which the papers do not claim.
# * **Not tested:** anything that needs long training, ImageNet, or detection. A difference in speed need not be one in where training ends.
#
# ## What a full-scale run would need
#
# To compare with those numbers, one has to train what they trained: ResNet-50, 90 passes over 1.28 million images. A forward pass is 3.8 billion multiplications and
# additions for an image of 224×224 ([@he2016deep]). From the speed of the full-width run above, on one thread, that is:

# %%
with FlopCounterMode(display=False) as counter, torch.inference_mode():
    build(recorded["full-width"][0].config)(torch.zeros(1, 3, 32, 32))
work = counter.get_total_flops() / 2  # it counts a multiplication and an addition as two
speed = recorded["full-width"][0].kind("epoch")[-1]["images_per_second"]
seconds = 90 * 1.28e6 * 3.8e9 / work / speed
print(
    f"VGG: {work / 1e9:.2f} billion multiplications per image, {speed:.0f} images/s in training"
)
print(f"ResNet-50, one run: {seconds / 86400:,.0f} days")

# %% [markdown]
# ## Digits
#
# The smallest run: a few seconds on scikit-learn's digits. It says nothing about WS. The tests of this site run its command again and compare every row.

# %%
for run in recorded["digits"]:
    print(f"{run.name}: {run.accuracy:.1%}")

# %% [markdown]
# ## Every run
#
# On a screen each line opens: the command, and the record, which is `config.json` and the rows of `metrics.jsonl`. All are in `docs/runs`.


# %% tags=["hide-code", "wide"]
def listing(name, runs):
    items = "".join(
        f'<li><a href="../runs/{run.name}/config.json">{run.name}</a> '
        f'(<a href="../runs/{run.name}/metrics.jsonl" aria-label="metrics of {run.name}">metrics</a>), '
        f"{run.rows[-1]['seconds'] / 60:.1f} min<br><code>{escape(run.about['command'])}</code></li>"
        for run in runs
    )
    return f"<details><summary>{name}: {len(runs)} run{'s' * (len(runs) > 1)}</summary><ul>{items}</ul></details>"


HTML("".join(listing(name, runs) for name, runs in recorded.items()))
