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
# A channel whose ReLU lets nothing through takes no part in the network. A point of the training where channels are consistently switched off like that
# is an *elimination singularity* ([@wei2008dynamics], [@orhan2017skip]). **The claim**: norms over channels, LayerNorm and GroupNorm, cannot keep a network away from such points;
# BatchNorm does by design, and BCN brings its guarantee to a channel norm ([@qiao2019rethinking]). Weight Standardization helps GroupNorm on the way
# ([@qiao2019micro]).
#
# *11 minutes. It helps to know [what GroupNorm and BatchNorm normalize](../use.md#which-normalization-does-what).*

# %% alt="Two panels against training steps. Above, nearly dead channels: all networks without WS start at two to five percent; BN and BCN are at zero from step 100, the one without normalization falls nearly to zero by step 300, LN and GN to one to two percent; those with WS stay near zero. Below, mean distance from BatchNorm's statistics: LN and GN end at about a half, WS + GN at a fifth, BN and BCN near zero." tags=["draws"]
# %config InlineBackend.figure_formats = ["svg"]
import copy
from statistics import mean

import matplotlib.pyplot as plt
import torch
from IPython.display import display
from torch import nn
from torch.nn import functional as F

from labml_ws.experiment import intervals, measure, plots, record
from labml_ws.experiment.cifar10 import channel_stats, load, normalize
from labml_ws.experiment.config import Config, build

plt.style.use("labml_ws.experiment.house")
torch.set_num_threads(1)  # the tensors are small: a second thread would only be waited for

METHODS = ("none", "ln", "gn", "ws-gn", "bn", "bcn")
LABELS = {name: plots.look(name)["label"] for name in (*METHODS, "ws-bcn")}
runs = [run for run in record.read("methods") if run.net in LABELS]


def share(row, key="nearly_dead"):
    return 100 * sum(row[key]) / sum(row["channels"])


def minus(better, worse, value):
    groups = ([run for run in runs if run.net == net] for net in (better, worse))
    return intervals.differences(*groups, value)


def nearly(run):
    return share(run.kind("measure")[-1])


def distance(run):
    return mean(run.kind("measure")[-1]["distance"])


gn = [run for run in runs if run.net == "gn"]
driven = [run for run in runs if run.net == "bn"] + record.read("driven")
by_drive = [[run for run in driven if run.config.drive == drive] for drive in (0, 1)]


def at_the_end(net, key):
    return (
        f"{mean(share(run.kind('measure')[-1], key) for run in runs if run.net == net):.1f} %"
    )


closer = intervals.interval(minus("ws-gn", "gn", distance))
cost = intervals.interval(intervals.differences(*by_drive[::-1]))
behind = intervals.interval(minus("gn", "bn", lambda run: 100 * run.accuracy))
display(
    plots.InShort(
        [
            f"**BatchNorm and BCN end without dead channels** on CIFAR-10 ({at_the_end('bn', 'dead')} and {at_the_end('bcn', 'dead')}), "
            f"GN with {at_the_end('gn', 'dead')} and LN with {at_the_end('ln', 'dead')} of them.",
            f"**With WS, GroupNorm has hardly any** ({at_the_end('ws-gn', 'dead')}), and its channels are closer to BatchNorm's statistics: by {closer.mean:.2f} [{closer.low:.2f}, {closer.high:.2f}], n = {closer.n}.",
            f"**They are unlikely to explain the accuracy**: with {mean(map(nearly, by_drive[1])):.1f} % of its channels nearly dead on purpose (GN: {at_the_end('gn', 'nearly_dead')}) BatchNorm changes by {cost} points; GN is at {behind}.",
        ],
        "that a dead channel stays dead: [some come back](#for-good). Most of the small networks below are still at chance, so they say little about training.",
    )
)
figure, (above, below) = plt.subplots(2, 1, figsize=(4.8, 6), sharex=True)
named = ("none", "ln", "gn")  # the others all lie at zero
plots.curves(above, runs, share)
plots.curves(
    below, [run for run in runs if run.net != "none"], lambda row: mean(row["distance"])
)
for line in above.get_lines():
    if line.get_label() in {LABELS[net] for net in LABELS if net not in named}:
        line.set_label("_")
above.text(250, -0.25, "with WS: at zero; BN, BCN: from step 100", va="top", ha="center")
above.set(ylabel="nearly dead channels (%)", ylim=(-0.7, None))
below.set(xlabel="training step", ylabel="distance from BatchNorm", ylim=(-0.08, None))
for axis in (above, below):
    plots.label_ends(axis)
plt.show()
plots.Provenance(runs)

# %% [markdown]
# Thick lines are means over the seeds, thin ones single runs; a color is a normalization, drawn through with WS and dashed without. WS + BCN normalizes by running estimates, BCN by the statistics of its batch.
# [More on this figure](#on-cifar-10-through-training) below.
#
# First we switch on a counter on a network that trains while you wait. It is the [VGG](../annotated/vgg.md) at a sixteenth of its width, 264 channels in 13 layers, on
# scikit-learn's digits: one epoch, 45 steps of SGD, three seeds.

# %%
images = load("digits")
statistics = channel_stats(images.train_x)
x, y = normalize(images.train_x, *statistics), images.train_y
held_out, held_out_y = normalize(images.test_x, *statistics), images.test_y


def train(net, epochs=1):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    net.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            F.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
    # BatchNorm's running statistics lag behind the weights: let them catch up.
    with torch.no_grad():
        for images in x.split(64):
            net(images)


nets = {}
for name in METHODS:
    ws, norm = name.startswith("ws-"), name.removeprefix("ws-")
    for seed in range(3):
        torch.manual_seed(seed)
        nets[name, seed] = build(Config(width=1 / 16, ws=ws, norm=norm, estimate=False))
        train(nets[name, seed])

# %% [markdown]
# ## Counting
#
# [`active_fractions`][labml_ws.experiment.measure.active_fractions] says, for each channel, on what share of all images and positions it is above zero, here over the 360 test images. A channel at 0 is **dead**, one below 1 %
# **nearly dead**. The figure has a dot per seed.


# %% alt="Share of nearly dead channels on digits after one epoch, a dot per seed. Without normalization more than a half, more than a third, and in one network hardly any; LayerNorm and GroupNorm from two percent to a fifth; WS + GN, BN and BCN none." tags=["draws", "computed"]
def activity(net, x):
    return torch.cat(list(measure.active_fractions(net, [x]).values()))  # [264]


active = {key: activity(net, held_out) for key, net in nets.items()}
figure, axis = plt.subplots(figsize=(4.8, 3))
for place, name in enumerate(METHODS):
    shares = [100 * (active[name, seed] < 0.01).float().mean() for seed in range(3)]
    axis.plot(shares, [place - 0.12, place, place + 0.12], "o", color=plots.look(name)["color"])
axis.set_yticks(range(len(METHODS)), [LABELS[name] for name in METHODS])
axis.set(xlabel="nearly dead channels (%)", xlim=(-4, 100))
axis.invert_yaxis()
plt.show()


@torch.no_grad()
def accuracy(net):
    right = net.eval()(held_out).argmax(dim=1) == held_out_y
    return f"{100 * right.float().mean():.0f}"


for name in METHODS:
    dead, almost = (
        [int((active[name, seed] <= most).sum()) for seed in range(3)] for most in (0, 0.01)
    )
    right = ", ".join(accuracy(nets[name, seed]) for seed in range(3))
    print(
        f"{LABELS[name]:8} dead {dead}, nearly dead {almost} of 264 channels, accuracy {right} %"
    )

# %% [markdown]
# After one epoch six of the nine networks without WS or a batch norm are still guessing: with ten digits, that is right in 10 % of the cases. So what this shows is about channels that die
# at the very start, in networks that have yet to get off the ground.
#
# ## For good?
#
# What comes back to a dead channel, if nothing goes out of it? We take the gradient on a batch and look at the channels that are off in all of it. Without normalization
# their filters get exactly 0, and nothing of their own can move them again.
#
# With GroupNorm or LayerNorm a dead channel's scale and shift get exactly 0 as well. Its *filter* does get a gradient, though a small one: the channel still counts in the mean and variance of its
# group, and so moves its neighbors. It can be pushed back, and the layers below can change what it sees. So we train the last seed's networks for two more epochs and ask how many of those that were dead still are. Where
# something below has moved, even a channel without normalization can come back.


# %%
for name in ("none", "ln", "gn"):
    net, label = nets[name, 2].eval(), LABELS[name]
    off = activity(net, x[:256]) == 0
    net.zero_grad()
    F.cross_entropy(net(x[:256]), y[:256]).backward()
    filters = torch.cat([f.grad_norm for f in measure.filter_statistics(net).values()])
    print(
        f"{label}: gradient of a filter up to {filters[~off].max():.1e} where a channel is on,"
    )
    print(f"    {filters[off].max():.1e} where it is off ({off.sum()} channels)")
    norms = [m for m in net.features if isinstance(m, nn.GroupNorm)]
    if norms:
        scale, shift = (
            torch.cat([getattr(norm, part).grad.abs() for norm in norms])[off].max()
            for part in ("weight", "bias")
        )
        print(f"    and its scale and shift there {scale:.1e} and {shift:.1e}")
    later = copy.deepcopy(net)
    train(later, epochs=2)
    still = activity(later, held_out)[active[name, 2] == 0] == 0
    print(f"    two epochs later {still.sum()} of {len(still)} dead channels still are,")
    print(f"    and {accuracy(later)} % of the test images are told right")

# %% [markdown]
# *For good* is true of some, then, and not of a method: nearly all come back with GroupNorm, more than half without a norm, hardly any with LayerNorm, which is GroupNorm with a single group. The network with GroupNorm
# has begun to learn, the one without a norm hardly, the one with LayerNorm not. What comes of what, one network each can't say.

# %% [markdown]
# ## How far from BatchNorm?
#
# Why would a group norm let a channel go? It fixes mean and variance of a *group*; a single channel in it may lie anywhere.
# [`channel_statistics`][labml_ws.experiment.measure.channel_statistics] gives mean and standard deviation of each channel behind its normalization, before scale and shift. BatchNorm's are 0 and 1 (the cross),
# and the distance from there is what the authors' argument is about: a channel far to the left is below zero nearly everywhere. The nearly dead ones are circled.

# %% alt="Four scatter plots of the mean and standard deviation of each channel. GroupNorm: widely spread around (0, 1), nearly dead channels on the left. WS + GN: a narrower cloud. BatchNorm and BCN: close to the cross." tags=["draws", "computed"]
shown = ("gn", "ws-gn", "bn", "bcn")
found = {name: measure.channel_statistics(nets[name, 2], [held_out]).values() for name in shown}
figure, axes = plt.subplots(2, 2, figsize=(4.8, 4.6), sharex=True, sharey=True)
for axis, name in zip(axes.flat, shown, strict=True):
    means, stds = (torch.cat(parts) for parts in zip(*found[name], strict=True))
    off = active[name, 2] < 0.01
    axis.plot(means, stds, ".", color=plots.look(name)["color"], markersize=4, rasterized=True)
    axis.plot(means[off], stds[off], "o", color="black", markerfacecolor="none")
    axis.plot(0, 1, "+", color="black", markersize=12)
    axis.set(title=LABELS[name], xlabel="mean", ylabel="standard deviation")
plots.panels(figure)
plt.show()
for name in shown:
    far = torch.cat([layer.distance for layer in found[name]]).mean()
    print(f"{LABELS[name]:8} mean distance {far:.2f}")

# %% [markdown]
# ## On CIFAR-10, through training
#
# The same counts from the recorded runs, drawn [at the top](#elimination-singularities): the VGG at a quarter of its width (1,056 channels), 8,000 training images, four epochs, the same learning rate for all, counted on 1,000 test images.
# In the table ± is the standard deviation of the three seeds.
#
# Channels are counted in evaluation mode. At step 0 the running statistics have seen nothing: BatchNorm changes nothing yet, and BCN is its channel norm alone. Their dead
# channels *at the start* are those of a network without batch norm. (Not the same one: without any normalization the convolutions have biases, so the seeds give other weights.)

# %% tags=["draws"]
rows = []
for name, label in LABELS.items():
    of_net = [run for run in runs if run.net == name]
    first, last = ([run.kind("measure")[i] for run in of_net] for i in (0, -1))
    dead = [mean(share(row, "dead") for row in rows) for rows in (first, last)]
    far = f"{mean(mean(row['distance']) for row in last):.2f}" if name != "none" else ""
    average, spread = record.mean_spread([100 * run.accuracy for run in of_net])
    shares = (f"{value:.1f} %" for value in (*dead, mean(map(share, last))))
    rows.append([label, *shares, far, f"{average:.1f} ± {spread:.1f} %"])
heads = ["dead at the start", "dead at the end", "nearly dead", "distance", "test accuracy"]
display(plots.Table("Channels, and how well the network does at the end", heads, rows))
for name in ("ln", "gn"):
    rows = [run.kind("measure")[-1]["dead"] for run in runs if run.net == name]
    total, last = sum(map(sum, rows)), sum(row[-1] for row in rows)
    print(
        f"{LABELS[name]}: {last} of the {total} that are dead at the end are in the last layer"
    )

# %% [markdown]
# ## Driven there on purpose
#
# That GN and LN have more dead channels *and* train worse does not prove that one is the cause of the other. So take BatchNorm, which has no dead ones, and push each
# channel off by a constant that is drawn once for all (the same in each of the three runs), with a standard deviation of 1, 2 or 4 of the channel's own ([`Driven`][labml_ws.experiment.ablations.Driven]). Everything else stays, and BatchNorm's own shift may learn to take the constant back. (With ten classes, guessing is right in 10 % of the cases.)


# %% alt="Two panels against the drive, 0 to 4. Left: share of nearly dead channels, rising. Right: test accuracy, falling. A dot per seed, a line through the means." tags=["draws"]
def nearly_dead(run):
    return run.kind("measure")[-1]["nearly_dead"]


drives = sorted({int(run.config.drive) for run in driven})
figure, axes = plt.subplots(1, 2, figsize=(7.2, 3))
for axis, value, label in (
    (axes[0], lambda run: share(run.kind("measure")[-1]), "nearly dead channels (%)"),
    (axes[1], lambda run: 100 * run.accuracy, "test accuracy (%)"),
):
    points = [(run.config.drive, value(run)) for run in driven]
    means = [mean(v for d, v in points if d == drive) for drive in drives]
    axis.plot(*zip(*points, strict=True), "o", color="C0", alpha=0.6, clip_on=False)
    axis.plot(drives, means, color="C0")
    axis.set(xlabel="drive (standard deviations)", ylabel=label, xticks=drives)
    axis.set_ylim(0, None)
    print(f"drive {drives}: {label} " + ", ".join(f"{m:.1f}" for m in means))
for name, group in (("drive 1", [r for r in driven if r.config.drive == 1]), ("GN", gn)):
    by_layer = [sum(layer) for layer in zip(*(nearly_dead(run) for run in group), strict=True)]
    print(f"nearly dead in layers 1 to 13, three runs together, {name}: {by_layer}")
plots.panels(figure)
plt.show()
plots.Provenance(driven)

# %% [markdown]
# ## What this shows, and what it doesn't
#
# At the end of training on CIFAR-10, seed by seed. Shares of channels in points, *fewer* and *closer* as differences from the other. ([How a verdict comes about](recorded_run.md#verdicts).)


# %% tags=["draws"]
intervals.verdicts(
    "At the end of training on CIFAR-10",
    [
        ("BN: fewer nearly dead channels than GN", minus("bn", "gn", nearly), "less"),
        ("BN: fewer than LN", minus("bn", "ln", nearly), "less"),
        ("BCN: fewer than GN", minus("bcn", "gn", nearly), "less"),
        ("WS + GN: fewer than GN", minus("ws-gn", "gn", nearly), "less"),
        ("GN: fewer than no norm", minus("gn", "none", nearly), "less"),
        ("WS + GN: closer to BN's statistics than GN", minus("ws-gn", "gn", distance), "less"),
        (
            "Drive 1: as many nearly dead as GN",
            intervals.differences(by_drive[1], gn, nearly),
            "same",
        ),
        ("Drive 1: as accurate as BN", intervals.differences(*by_drive[::-1]), "same"),
        ("Drive in the last layer alone: as accurate as BN", None, "same"),
    ],
)

# %% [markdown]
# * BatchNorm and BCN end without a dead channel, on digits and on CIFAR-10, and next to BatchNorm's statistics. On CIFAR-10 they have none at any measurement
#   from step 100 on. LayerNorm and GroupNorm stay far from these statistics and keep dead channels to the end. With WS, GroupNorm is in between in distance and has hardly any
#   dead channel, and that from the start: a standardized filter is balanced, so its output is hardly ever below zero for every image.
# * *For good* holds for some. On CIFAR-10, GN and LN
#   end with about as many dead channels as they start with, now all of them in the last layer. Whether one of them has been dead all along, a count does not say.
# * Who dies depends on the training as a whole. Without normalization two of three digits networks lose many of their channels, at a learning rate of 0.05 in batches of 32. On CIFAR-10, at half of that
#   in batches of 64, the network without normalization ends with fewer dead channels than it starts with, and with fewer than GN and LN.
# * **It is unlikely that dead channels explain GroupNorm's accuracy.** A drive of 1 leaves as many of BatchNorm's channels nearly dead as GroupNorm has, and costs it at most about two points;
#   GroupNorm is 14 points behind. But they are not the same channels: more than half of GroupNorm's nearly dead ones, and all of its dead ones, are in the last layer; the drive's are spread over the second half of the network. And it is one draw of constants. The network without normalization has next to none at the end, yet it is only about as accurate as GN and LN.
#   The distance from BatchNorm's statistics separates the methods better, but that is a correlation in six networks.
#
# In the driven networks nothing else was changed. Still, an offset does more to a channel than switch it off: it may also leave it on
# everywhere, and a channel that is always on is linear.
