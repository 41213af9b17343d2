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
# # Elimination singularities
#
# A channel whose ReLU lets nothing through takes no part in the network. A point of the training where channels are switched off like that, and stay so,
# is an *elimination singularity* [@wei2008dynamics]. **The claim**: norms over channels, LayerNorm and GroupNorm, cannot keep a network away from such points;
# BatchNorm does by design, and BCN brings its guarantee to a channel norm [@qiao2019rethinking]. Weight Standardization helps GroupNorm on the way
# [@qiao2019micro].
#
# We switch on a counter, first on a network that trains while you wait. It is the [VGG](../annotated/vgg.md) at a sixteenth of its width, 264 channels in 13 layers, on
# scikit-learn's digits: one epoch, 45 steps of SGD, three seeds.

# %%
# %config InlineBackend.figure_formats = ["svg"]
import copy
from statistics import mean

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

from labml_ws import measure, plots, recorded
from labml_ws.cifar10 import channel_stats, load, normalize
from labml_ws.experiment import Config, build

plt.style.use("labml_ws.house")
torch.set_num_threads(1)  # the tensors are small: a second thread would only be waited for

SETTINGS = {
    "none": {"ws": False, "norm": "none"},
    "ln": {"ws": False, "norm": "ln"},
    "gn": {"ws": False, "norm": "gn"},
    "ws-gn": {"norm": "gn"},
    "bn": {"ws": False, "norm": "bn"},
    "bcn": {"ws": False, "norm": "bcn", "estimate": False},
}
images = load("digits")
statistics = channel_stats(images.train_x)
x, y = normalize(images.train_x, *statistics), images.train_y
held_out = normalize(images.test_x, *statistics)


def train(net, epochs=1):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    net.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            F.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
    with (
        torch.no_grad()
    ):  # BatchNorm's running statistics lag behind the weights: let them catch up
        for batch in x.split(64):
            net(batch)


nets = {}
for name, settings in SETTINGS.items():
    for seed in range(3):
        torch.manual_seed(seed)
        nets[name, seed] = build(Config(width=1 / 16, **settings))
        train(nets[name, seed])

# %% [markdown]
# ## Counting
#
# `active_fractions` says, for each channel, at which share of all images and positions it is above zero, here over the 360 test images. A channel at 0 is **dead**, one below 1 %
# **nearly dead**. The figure has a dot per seed.

# %% alt="Share of nearly dead channels on digits after one epoch, a dot per seed. Without normalization a third to three quarters; LayerNorm and GroupNorm a few percent up to a fifth; WS + GN, BN and BCN none." tags=["wide"]
active = {
    key: torch.cat(list(measure.active_fractions(net, [held_out]).values()))
    for key, net in nets.items()
}
figure, axis = plt.subplots(figsize=(7.2, 2.9))
for place, name in enumerate(SETTINGS):
    shares = [100 * (active[name, seed] < 0.01).float().mean().item() for seed in range(3)]
    axis.plot([place - 0.12, place, place + 0.12], shares, "o", color=plots.look(name)["color"])
axis.set_xticks(range(len(SETTINGS)), [plots.look(name)["label"] for name in SETTINGS])
axis.set(ylabel="nearly dead channels (%)", ylim=(-4, 100))
plt.show()
for name in SETTINGS:
    dead, nearly = (
        [int((active[name, seed] <= limit).sum()) for seed in range(3)] for limit in (0, 0.01)
    )
    print(f"{plots.look(name)['label']:8} dead {dead}, nearly dead {nearly} of 264 channels")

# %% [markdown]
# ## For good?
#
# What comes back to a dead channel, if nothing goes out of it? We take the gradient on a batch and look at the channels that are off in all of it. Without normalization
# their filters get exactly 0, and nothing of their own can move them again.
#
# With GroupNorm a dead channel's scale and shift get exactly 0 as well. Its *filter* does get a gradient, though a small one: the channel still counts in the mean and variance of its
# group, and so moves its neighbors. It can be pushed back, and the layers below can change what it sees. So we train the last seed's networks for two more epochs and ask how many of those that were dead still are. Where
# something below has moved, even a channel without normalization can come back.


# %%
def gradients(name):
    """Of the filters and of the norms' shifts, a number per channel, and whether it is off in the batch."""
    net = nets[name, 2].eval()
    off = torch.cat(list(measure.active_fractions(net, [x[:256]]).values())) == 0
    net.zero_grad()
    F.cross_entropy(net(x[:256]), y[:256]).backward()
    filters = torch.cat([f.grad_norm for f in measure.filter_statistics(net).values()])
    shifts = [m.bias.grad.abs() for m in net.features if isinstance(m, nn.GroupNorm)]
    return off, filters, torch.cat(shifts) if shifts else None


for name in ("none", "gn"):
    off, filters, shifts = gradients(name)
    print(
        f"{plots.look(name)['label']}: {off.sum()} channels off, gradient of a filter up to {filters[off].max():.1e}"
        f" there and {filters[~off].max():.1e} elsewhere"
    )
    if shifts is not None:
        print(
            f"    gradient of a shift up to {shifts[off].max():.1e} and {shifts[~off].max():.1e}"
        )
    later = copy.deepcopy(nets[name, 2])
    train(later, epochs=2)
    later = torch.cat(list(measure.active_fractions(later, [held_out]).values()))
    before = active[name, 2] == 0
    print(
        f"    two epochs later, {int((later[before] == 0).sum())} of {before.sum()} dead channels still are"
    )

# %% [markdown]
# ## How far from BatchNorm?
#
# Why would a group norm let a channel go? It fixes mean and variance of a *group*; a single channel in it may lie anywhere.
# `channel_statistics` gives mean and standard deviation of each channel behind its normalization, before scale and shift. BatchNorm's are 0 and 1 (the cross),
# and the distance from there is what the authors' argument is about: a channel far to the left is below zero nearly everywhere.

# %% alt="Four scatter plots of the mean and standard deviation of each channel. GroupNorm: widely spread around (0, 1), nearly dead channels on the left. WS + GN: a narrower cloud. BatchNorm and BCN: close to the cross." tags=["wide"]
figure, axes = plt.subplots(2, 2, figsize=(6.2, 5.2), sharex=True, sharey=True)
for axis, name in zip(axes.flat, ("gn", "ws-gn", "bn", "bcn"), strict=True):
    found = measure.channel_statistics(nets[name, 2], [held_out]).values()
    means, stds = (torch.cat([getattr(s, key) for s in found]) for key in ("mean", "std"))
    off = active[name, 2] < 0.01
    axis.plot(means, stds, ".", color=plots.look(name)["color"], markersize=4)
    axis.plot(means[off], stds[off], "o", color="black", markerfacecolor="none")
    axis.plot(0, 1, "+", color="black", markersize=12)
    distance = ((means**2 + (stds - 1) ** 2).sqrt()).mean()
    axis.text(0.03, 0.93, plots.look(name)["label"], transform=axis.transAxes)
    print(f"{plots.look(name)['label']:8} mean distance {distance:.2f}")
figure.supxlabel("mean of a channel", fontsize=11)
figure.supylabel("its standard deviation", fontsize=11)
plt.show()

# %% [markdown]
# ## On CIFAR-10, through training
#
# The same counts from the recorded runs: the VGG at a quarter of its width (1,056 channels), 8,000 training images, four epochs, the same learning rate for all, counted on 1,000 test images.
# Thick lines are means over the seeds, thin ones single runs.

# %% alt="Two panels against training steps. Above: share of nearly dead channels, by far the highest without normalization, then GN and LN; at zero after the first steps for the other four. Below: mean distance from BatchNorm's statistics, largest for LN and GN, smaller with WS, smallest for BN and BCN." tags=["wide"]
order = (*SETTINGS, "ws-bcn")
runs = [run for run in recorded.read("methods") if run.net in order]


def share(row, key="nearly_dead"):
    return 100 * sum(row[key]) / sum(row["channels"])


def curves(axis, value, names):
    for name in names:
        lines = [
            {row["step"]: value(row) for row in run.kind("measure")}
            for run in runs
            if run.net == name
        ]
        for line in lines:
            axis.plot(
                *zip(*line.items(), strict=True),
                color=plots.look(name)["color"],
                linewidth=0.6,
                alpha=0.5,
            )
        steps = sorted(set().union(*lines))
        means = [mean(line[step] for line in lines if step in line) for step in steps]
        axis.plot(steps, means, **plots.look(name))


figure, (above, below) = plt.subplots(2, 1, figsize=(5.4, 6), sharex=True)
curves(above, share, order)
curves(below, lambda row: mean(row["distance"]), order[1:])
above.set(ylabel="nearly dead channels (%)")
below.set(xlabel="training step", ylabel="distance from BatchNorm", ylim=(0, None))
for axis in (above, below):
    plots.label_ends(axis)
plt.show()
recorded.provenance(runs)

# %%
print("            dead   nearly dead   distance   accuracy")
for name in order:
    last = [run.kind("measure")[-1] for run in runs if run.net == name]
    accuracy, spread = recorded.mean_spread([run.accuracy for run in runs if run.net == name])
    distance = mean(mean(row["distance"] or [float("nan")]) for row in last)
    print(
        f"{plots.look(name)['label']:9} {mean(share(row, 'dead') for row in last):5.1f} % {mean(map(share, last)):9.1f} %"
        f" {distance:11.2f}   {accuracy:.1%} ± {spread:.1%}"
    )

# %% [markdown]
# ## Driven there on purpose
#
# That GN and LN have more dead channels *and* train worse does not prove that one is the cause of the other. So take BatchNorm, which has no dead ones, and push each
# channel off by a constant that is drawn once, with a standard deviation of 1, 2 or 4 of the channel's own ([`Driven`][labml_ws.ablations.Driven]). Everything else stays, and BatchNorm's own shift may learn to take the constant back.

# %% alt="Two panels against the drive, 0 to 4. Left: share of nearly dead channels, rising. Right: test accuracy, falling. A dot per seed, a line through the means." tags=["wide"]
driven = [run for run in runs if run.net == "bn"] + recorded.read("driven")
drives = sorted({run.config.drive for run in driven})
figure, axes = plt.subplots(1, 2, figsize=(7.2, 3))
for axis, value in zip(
    axes,
    (lambda run: share(run.kind("measure")[-1]), lambda run: 100 * run.accuracy),
    strict=True,
):
    axis.plot(
        [run.config.drive for run in driven],
        [value(run) for run in driven],
        "o",
        color="C0",
        alpha=0.6,
    )
    means = [
        mean(value(run) for run in driven if run.config.drive == drive) for drive in drives
    ]
    axis.plot(drives, means, color="C0")
    axis.set(xlabel="drive (standard deviations)", xticks=drives)
    print(
        ", ".join(
            f"drive {drive:g}: {value:.1f} %"
            for drive, value in zip(drives, means, strict=True)
        )
    )
axes[0].set(ylabel="nearly dead channels (%)", ylim=(0, None))
axes[1].set(ylabel="test accuracy (%)")
plt.show()
recorded.provenance(driven)

# %% [markdown]
# ## What this shows, and what it doesn't
#
# **Confirmed**: BatchNorm and BCN end without a dead channel, on digits and on CIFAR-10, and next to BatchNorm's statistics. LayerNorm and GroupNorm stay far from these
# and keep dead channels to the end. With WS, GroupNorm is in between in distance and has hardly any dead channel, and that from the first
# step: standardized filters start out balanced, so that none of them is below zero for nearly every image.
#
# **Not confirmed, or not so simple**:
#
# * *For good* is too strong for these networks. On digits nearly all of GroupNorm's dead channels came back in two more epochs.
# * Dying is a matter of the step size. Without normalization the digits networks lose many of their channels at a learning rate of 0.05; on CIFAR-10, at half of that,
#   the network without normalization *revives* nearly all of those with which it started. LN and GN do not: what they have at the end is mostly what they did
#   not get rid of.
# * Dead channels alone do not explain who trains well. At the end, LN and GN have a few percent of them, most in the last layers, and the network without normalization next to none,
#   yet it is no more accurate than they are. The distance from BatchNorm's statistics orders the methods better, but that is a correlation in seven networks.
#
# The driven networks are the only ones in which nothing but the singularities was changed, and even there an offset does more to a channel than switch it off: it may also leave it on
# everywhere, and a channel that is always on is linear.
