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
# Every recorded training run of this site: what came out, against what the papers say.
#
# *12 minutes for all, one for this section. It helps to know [the names of the methods](../use.md#which-normalization-does-what).*

# %% alt="Test accuracy on CIFAR-10 against batch size from 64 to 1, six methods, lines through the means of the seeds, and a ring for WS + BN at 64, the highest there. BN and BCN fall towards 1, WS + GN shows no fall, GN and LN lie lower, lowest at 64." tags=["draws"]
# %config InlineBackend.figure_formats = ["svg"]
from functools import partial
from html import escape
from itertools import groupby

import matplotlib.pyplot as plt
import torch
from IPython.display import HTML, display
from torch.utils.flop_counter import FlopCounterMode

from labml_ws.experiment import sweep
from labml_ws.experiment.config import build
from labml_ws.experiment.intervals import differences, interval, verdict, verdicts
from labml_ws.experiment.plots import InShort, Provenance, Table, label_ends, look, panels
from labml_ws.experiment.record import mean_spread, read
from labml_ws.experiment.runs import by_seed, progress

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
groups = sweep.by_batch_size()


def of(net):
    return [r for name in ("methods", "conventions") for r in recorded[name] if r.net == net]


def minus(better, worse):
    return differences(of(better), of(worse))


def found(better, worse, claim="more"):
    """The difference at a batch of 64, and the verdict."""
    one = interval(minus(better, worse))
    return f"{one} points, n = {one.n}: {verdict(one, claim)}"


fall = interval(differences(groups["bn", 1], groups["bn", 64]))
level = interval(differences(groups["ws-gn", 1], groups["ws-gn", 64]))
figure, axis = plt.subplots(figsize=(4.8, 4))
sweep.draw(axis, groups)
display(
    InShort(
        [
            f"**With one image per step** BatchNorm changes by {fall} points against 64, WS + GN by {level}. More in [Micro-batches](micro_batches.md).",
            f"**WS adds to GroupNorm** {found('ws-gn', 'gn')}, **and to BatchNorm** {found('ws-bn', 'bn')}; both at this one rate.",
            f"**WS + GN against BatchNorm**, 64 images: {found('ws-gn', 'bn')}.",
        ],
        "where long training ends, or which method is best: 8,000 images of CIFAR-10, 4 epochs, three seeds, and [one learning rate for all](#rates), which suits WS + GN in the one seed that tried others. Claims at 64 stand with their intervals in the [verdicts](#verdicts), those at one image in [Micro-batches](micro_batches.md#what-this-shows-and-what-it-doesnt).",
    )
)
plt.show()
display(sweep.table(groups))
Provenance([run for group in groups.values() for run in group])

# %% [markdown]
# In the table a mean of three seeds ± their standard deviation.
#
# Each number about training on CIFAR-10 comes from a run whose [record](../annotated/record.md) lies in `docs/runs`: the command, the settings, a fingerprint of the
# data, versions, hardware, and the metrics as they were written. This page reads those files. Where the code that a run depends on has changed since, the page
# [cannot be built][labml_ws.experiment.record.Run.check].
#
# `make results DATA=folder` records what is missing; remove a folder of `docs/runs` first to repeat its run. On the same machine, with one thread, it gives
# the same metrics to the last digit.

# %%
print(f"{sum(map(len, recorded.values()))} runs in {len(recorded)} experiments")
hours = sum(run.rows[-1]["seconds"] for runs in recorded.values() for run in runs) / 3600
print(f"{hours:.1f} hours of one thread, on a shared machine")


# %% [markdown]
# A row of the tables below is a method: runs that differ in nothing but the seed, with the mean of their test accuracies, their spread, which is the standard deviation of the sample, and each of them. A run whose loss stopped being finite has no accuracy: it says *diverged*.


# %% tags=["draws"]
STEPS = {
    "center-gn": "centering only + GN",
    "scale-gn": "scaling only + GN",
    "unbiased-gn": "WS + GN, I \N{MINUS SIGN} 1",
    "eps-outside-gn": "WS + GN, eps outside the root",
    "ws-gn-ws-classifier": "WS + GN, classifier too",
}


def method(run):
    """A method's name, with what sets it apart in its experiment."""
    name = STEPS.get(run.net) or look(run.net)["label"]
    config, experiment = run.config, run.name.partition("/")[0]
    special = {
        "driven": f"drive {config.drive:g}",
        "batches": f"{config.batch_size} per step",
        "estimates": f"a share of {config.momentum:g}",
    }
    return ", ".join(filter(None, [name, special.get(experiment, "")]))


table = partial(by_seed, name=method)

# %% [markdown]
# ## Full width
#
# `full-width` has the [default settings](../annotated/experiment.md) in all but the number of epochs: WS and BCN, up to 512 channels, Adam at a constant learning rate
# of 2.5e-4, batches of 64. Three epochs say that it learns, not how far it would get. Its weights (59 MB) are not kept.
# All images of CIFAR-10 on this site were compressed once more, as JPEG of quality 75, so no accuracy here can be held against one from
# elsewhere.
#
# ## Quarter width
#
# `quarter-width` has a quarter of the channels, a sixteenth of the weights, the batch's own statistics in BCN's first half, and a one-cycle schedule (the learning rate rises to its peak and falls to
# nearly zero; Adam's $\beta_1$ goes [the other way](#the-budget-of-the-small-runs)). It is small enough to keep its weights in the repository, and is the network that
# [Weights, before and after](weights.md) opens. Each of these two ran once, with one seed: read their accuracies as examples, not as comparisons.
#
# Left, the loss of single training batches: cross-entropy with the natural logarithm, hence *nats*. Right, after every epoch, the accuracy on the 10,000
# test images, which are neither augmented nor trained on.

# %% alt="Left: training loss against epochs for the full-width and the quarter-width run, falling. Right: test accuracy after each epoch, rising." tags=["draws"]
large = recorded["full-width"] + recorded["quarter-width"]
figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.2))
progress(left, right, large)
panels(figure)
plt.show()
Provenance(large)

# %% [markdown]
# ## The budget of the small runs
#
# A comparison needs every method, several seeds, and one processor that does it in hours. All experiments below but the last train the VGG at a quarter of its width for four
# passes over 8,000 of the 50,000 training images, by SGD with a one-cycle schedule, without weight decay. That is 500 steps at a batch of 64:
# enough to tell apart methods that learn at different speeds, not enough to tell where each would end. `quarter-width` above, of the same size, sees
# 47 times as many images.
#
# Torch's one-cycle schedule moves the momentum as well, unless it is told not to, and these runs didn't tell it: from 0.95 down to 0.85 while the rate rises to its peak, and back to
# 0.95 while it falls. The momentum of 0.9 in their settings was overwritten. In Adam it is $\beta_1$ that makes this way.
#
# Nothing was set aside to choose with: the rate below, and [how fast estimates move](micro_batches.md#how-fast-should-an-estimate-move), were chosen by
# accuracy on the test images, while 42,000 training images went unused. So the chosen ones look a little better than they are.
#
# ## Rates
#
# One seed of six methods at four learning rates, to choose *one* for all of them: the one with the best mean accuracy over the methods. Everything after that uses
# it, in proportion to the batch size.

# %% alt="Test accuracy against the learning rate on a logarithmic axis, a line for each of six methods." tags=["draws"]
figure, axis = plt.subplots(figsize=(4.8, 3.4))
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
used = recorded["methods"][0].config.learning_rate
print(f"used from here on: {used:g}")

# %% [markdown]
# It is one rate for six methods, and in this one seed the best of four for *one* of them, WS + GN. Others did better at a higher one, or, GN and LN, at the lowest: they fall over the whole grid, so that their best rate
# lies at its edge or beyond it and isn't known. That may flatter WS + GN wherever it is compared. (The last pair differs in its statistics as well: WS + BCN has estimates, BCN those of its batch.)

# %% tags=["draws"]
by_rate, best, rows = {}, {}, []
for run in recorded["rates"]:
    by_rate.setdefault(run.net, {})[run.config.learning_rate] = 100 * run.accuracy
for net, accuracies in by_rate.items():
    best[net] = max(accuracies, key=accuracies.get)
    edge = ", at the edge" if best[net] in (rates[0], rates[-1]) else ""
    rows.append(
        [
            look(net)["label"],
            *(f"{accuracies[rate]:.1f}" for rate in rates),
            f"{best[net]:g}{edge}",
        ]
    )
display(
    Table("One seed: test accuracy (%) by rate", [*(f"{r:g}" for r in rates), "best"], rows)
)
print(f"difference in points, one seed     at {used:g}     each at its best")
for better, worse in (("bn", "ws-gn"), ("ws-gn", "gn"), ("ws-bcn", "bcn")):
    one = by_rate[better][used] - by_rate[worse][used]
    own = by_rate[better][best[better]] - by_rate[worse][best[worse]]
    pair = f"{look(better)['label']} - {look(worse)['label']}"
    print(f"{pair:28} {one:+14.1f} {own:+20.1f}")

# %% [markdown]
# ## Methods
#
# Every method at a batch of 64, three seeds. While they trained they were [measured](../annotated/measure.md#labml_ws.experiment.measure.snapshot); what came out is the subject of
# [Gradients](gradients.md), [Loss landscape](landscape.md) and [Elimination singularities](singularities.md).

# %% alt="Test accuracy after each of four epochs, the mean of three seeds, a line for each of eight methods." tags=["draws"]
figure, axis = plt.subplots(figsize=(4.8, 3.8))
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

# %% tags=["draws"]
table("Methods", recorded["methods"])

# %% [markdown]
# ## Driven
#
# BatchNorm with each channel [moved away from mean 0](../annotated/ablations.md), by random constants of a standard deviation of 1, 2 or 4. At 4 it stays at chance in all three seeds; whether 1 or 2 harm is [undecided](#verdicts)
# ([what dies on the way](singularities.md#driven-there-on-purpose)).

# %% tags=["draws"]
table("Driven", recorded["driven"])

# %% [markdown]
# ## Conventions
#
# Does it matter whether the variance is divided by $I$ or by $I - 1$, and whether $\epsilon$ is inside or outside the root? What if nothing normalizes after a standardized convolution, or
# the classifier is standardized, too? The rows to compare with are WS + GN, GN and no norm, from [methods](#methods).

# %% tags=["draws"]
table(
    "Conventions",
    [
        *recorded["conventions"],
        *(r for r in recorded["methods"] if r.net in ("gn", "ws-gn", "none")),
    ],
)

# %% [markdown]
# Which variance, and where $\epsilon$ sits, makes no difference that three seeds could show; what they leave room for is [below](#verdicts). The other two were asked at this rate alone. With no normalization behind it, WS diverged within 50 steps, in all three runs, where the plain network without normalization learned. With its classifier standardized, too, the network ended tens of points lower, still rising. [What to do instead](../annotated/layers.md).
#
# ## Batches
#
# Batch sizes below 64 (those of 64 are in [methods](#methods)). The picture is in [Micro-batches](micro_batches.md).

# %% tags=["draws"]
table("Batches", recorded["batches"], lambda run: (run.net, -run.config.batch_size))

# %% [markdown]
# ## Estimates
#
# WS + BCN at a batch size of 1 with running estimates that move at other speeds than 0.1 ([how fast an estimate should move](micro_batches.md#how-fast-should-an-estimate-move)). The row to compare with is WS + BCN, 1 per step, [above](#batches).

# %% tags=["draws"]
table("Estimates", recorded["estimates"], lambda run: run.config.momentum)

# %% [markdown]
# ## Verdicts
#
# On ImageNet the authors report errors of ResNet-50: 24.8 % with GN, 24.3 % with BN, 23.7 % with WS + GN ([their figure][@qiao2019code]). (For GN and WS + GN that is one
# image per GPU and a large batch at once: their gradients were [gathered](micro_batches.md#one-by-one-or-gathered).) In points
# of accuracy: BN is 0.5 better than GN, WS adds 1.1 to GN, and WS + GN is 0.6 better than BN. Of WS + BN the first author says that it
# [is consistently better than BN](https://github.com/joe-siyuan-qiao/WeightStandardization/issues/13); a reader who had found 75.9 against 76.0 % with another
# training script found it better with theirs.
#
# Ours are differences in test accuracy, in points, between two methods seed by seed, on another network, other data, and a training that is over after 500 steps at one rate. Each with
# [an interval][labml_ws.experiment.intervals.interval] and [a verdict][labml_ws.experiment.intervals.verdict]: a claim is *confirmed* where it holds
# all over the interval, *contradicted* where nowhere, *undecided* where the interval has room for both. Two methods are *the same* if a point between them is the most that the interval allows.


# %% tags=["draws"]
def driven(drive):
    return differences([r for r in recorded["driven"] if r.config.drive == drive], of("bn"))


verdicts(
    "At a batch of 64 and a rate of 0.025",
    [
        ("BN is better than GN (papers: +0.5)", minus("bn", "gn"), "more"),
        ("WS + GN is better than GN (+1.1)", minus("ws-gn", "gn"), "more"),
        ("WS + GN is better than BN (+0.6)", minus("ws-gn", "bn"), "more"),
        ("WS + BN is better than BN (an author: yes)", minus("ws-bn", "bn"), "more"),
        ("BCN is better than GN", minus("bcn", "gn"), "more"),
        ("WS adds to BCN", None, "more"),
        ("GN is better than no norm", minus("gn", "none"), "more"),
        *(
            (f"BN trains worse at a drive of {drive}", driven(drive), "less")
            for drive in (1, 2, 4)
        ),
        ("A standardized classifier is worse", minus("ws-gn-ws-classifier", "ws-gn"), "less"),
        ("Centering only is better than GN", minus("center-gn", "gn"), "more"),
        ("Scaling only is the same as GN", minus("scale-gn", "gn"), "same"),
        ("Centering only is the same as WS + GN", minus("center-gn", "ws-gn"), "same"),
        ("I - 1 is the same as I", minus("unbiased-gn", "ws-gn"), "same"),
        ("Eps outside is the same as inside", minus("eps-outside-gn", "ws-gn"), "same"),
        ("Each at its best rate: any of these", None, "more"),
    ],
)

# %% [markdown]
# * **What is confirmed** is so at this budget and this rate. *Confirmed* is the direction: 0.5 and 1.1 points, the papers' sizes, are far outside of the intervals. Why the gain is larger here, on another network, with other data and a much shorter training, was not tested. Whether GroupNorm alone is better than no
#   normalization is undecided. In the one seed with several rates, WS + GN is 12.3 points ahead of GN at 0.025, and [10.5](#rates) with each at its best of the grid.
# * **What is undecided** need not be small. With three seeds an interval is two and a half spreads to either side: WS + GN could be 4.6 points behind BN or 2.2 ahead.
# * **What is not measured**: BCN ran with the batch's statistics and WS + BCN with estimates, each as it was meant, so the pair differs in two things and says nothing about WS.
#   Nor were several seeds run at each method's own rate.
# * Every interval stands for itself. Of twenty, one is expected to miss its value. It is about what a seed decides, initialization, order and augmentation: all runs share the same 8,000 training and 10,000 test images, and other images would add a spread of their own, about half a point for one accuracy.
# * The margin of *the same* and *as good* is one point, which is as large as the papers' effects: neither says anything about those.
# * And nothing here is about long training, ImageNet, or detection. A difference in speed need not be one in where training ends.
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


# %% tags=["wide", "draws"]
def listing(name, runs):
    items = "".join(
        f'<li><a href="../runs/{run.name}/config.json">{run.name}</a> '
        f'(<a href="../runs/{run.name}/metrics.jsonl" aria-label="metrics of {run.name}">metrics</a>), '
        f"{run.rows[-1]['seconds'] / 60:.1f} min<br><code>{escape(run.command)}</code></li>"
        for run in runs
    )
    return f"<details><summary>{name}: {len(runs)} run{'s' * (len(runs) > 1)}</summary><ul>{items}</ul></details>"


HTML("".join(listing(name, runs) for name, runs in recorded.items()))
