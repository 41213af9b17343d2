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
# # Micro-batches
#
# A **micro-batch** is what goes through the network at once where no more than one or two images fit into memory. **The claim**: with Weight Standardization and BCN, training on micro-batches works as well as BatchNorm does on
# large ones, where BatchNorm itself breaks down ([@qiao2019micro]). It is what the method was made for: detection and segmentation have room for no more images on a GPU.
#
# *12 minutes. It helps to know [what BatchNorm computes](../glossary.md#batchnorm) and, for BCN, [its page](../annotated/batch_channel_norm.md).*

# %% alt="Test accuracy on CIFAR-10 against batch size from 64 to 1, six methods, lines through the means of the seeds, and a ring for WS + BN at 64, the highest there. BN and BCN fall towards 1, WS + GN shows no fall, GN and LN lie lower, lowest at 64." tags=["draws"]
# %config InlineBackend.figure_formats = ["svg"]
import matplotlib.pyplot as plt
import torch
from IPython.display import display
from torch import nn
from torch.nn import functional as F

from labml_ws import BatchChannelNorm, Conv2d
from labml_ws.batch_channel_norm import BatchNorm
from labml_ws.experiment import intervals, plots, record, sweep
from labml_ws.experiment.cifar10 import channel_stats, load, normalize
from labml_ws.experiment.vgg import VGG

plt.style.use("labml_ws.experiment.house")
torch.set_num_threads(1)  # the tensors are small: a second thread would only be waited for

groups = sweep.by_batch_size()
runs = [run for group in groups.values() for run in group]
moved = [*record.read("estimates"), *groups["ws-bcn", 1]]  # other shares in the estimates


def minus(better, worse, start=("bn", 64)):
    return intervals.differences(groups[better, worse], groups[start])


def slow(share):
    return [run for run in moved if run.config.momentum == share]


def mean(runs):
    return f"{record.mean_spread(sweep.accuracies(runs))[0]:.1f} %"


ahead = intervals.interval(minus("ws-gn", 1, ("gn", 1)))
fall = intervals.interval(minus("bn", 1))
level = intervals.interval(minus("ws-gn", 1, ("ws-gn", 64)))
shares = sorted({run.config.momentum for run in moved})
slowest = intervals.interval(intervals.differences(slow(shares[0]), groups["bn", 64]))
usual = intervals.interval(minus("ws-bcn", 1))
figure, axis = plt.subplots(figsize=(4.8, 4))
sweep.draw(axis, groups)
display(
    plots.InShort(
        [
            f"**BatchNorm falls** from {mean(groups['bn', 64])} at 64 images per step to {mean(groups['bn', 1])} at one: {fall} points, n = {fall.n}. "
            "[Why BatchNorm gets worse](small_batches.md#why-batchnorm-gets-worse).",
            f"**WS + GN shows no fall**: {mean(groups['ws-gn', 64])} at 64, {mean(groups['ws-gn', 1])} at one ({level}, so a fall of up to {-level.low:.1f} is not excluded; that it is the same to within a point is {intervals.verdict(level, 'same')}). "
            f"At one it is {ahead} points ahead of GN.",
            f"**WS + BCN keeps up if its estimates move slowly**: at one image it is {slowest} points from BatchNorm at 64 if each image has a share of {shares[0]:g} in the estimates, and {usual} with the usual 0.1. The share was chosen on the test images.",
        ],
        "which method is best. All have one learning rate, the best of four for WS + GN and not for the others; the budget is 8,000 images, 4 epochs and three seeds, on 32×32 pixels. "
        "More under [What this shows](#what-this-shows-and-what-it-doesnt).",
    )
)
plt.show()
plots.Provenance(runs)

# %% [markdown]
# Lines go through the means, dots are single runs; lines are drawn through with WS, dashed without. WS + BCN is the one with estimated statistics, BCN takes those of its batch.
#
# "Batches of one" can mean two things. The weights may change after every image, or the gradients of many images may be gathered before they change. We try both
# on scikit-learn's digits, with a network of five convolutions, and then read the recorded sweep on CIFAR-10.

# %%
BLOCKS = [[8], [16], [32], [32], [32]]
METHODS = {
    "bn": (nn.Conv2d, BatchNorm),
    "ws-gn": (Conv2d, lambda channels: nn.GroupNorm(4, channels)),
    "ws-bcn": (Conv2d, lambda channels: BatchChannelNorm(channels, 4)),
}
images = load("digits")
statistics = channel_stats(images.train_x)
x, y = normalize(images.train_x[:480], *statistics), images.train_y[:480]
test_x, test_y = normalize(images.test_x, *statistics), images.test_y


def make(name, seed=0):
    torch.manual_seed(seed)
    return VGG(BLOCKS, *METHODS[name])


# %% [markdown]
# ## One by one, or gathered?
#
# When the gradients of 16 single images are averaged before the weights change, is that the gradient of the batch of 16? If every image is
# normalized by itself, as in GroupNorm, it is the same sum in another order, and the two agree to the last digits of float64. BatchNorm mixes the images of
# a batch, so it computes another function, and its gradient is another one altogether. BCN's estimated statistics move with every batch they see, so its
# gradient is another one, too.
#
# The papers' runs with GN and WS gathered gradients. For these two a batch of one *is* the large batch, computed in
# pieces: they cannot lose anything, and there is nothing left to measure in this form.


# %%
def gradient(name, size):
    """The gradient of the mean loss of 16 images, `size` at a time."""
    net = make(name).double()
    for part in torch.arange(16).split(size):
        (F.cross_entropy(net(x[part].double()), y[part]) * size / 16).backward()
    return torch.cat([parameter.grad.flatten() for parameter in net.parameters()])


for name in METHODS:
    whole, gathered = gradient(name, 16), gradient(name, 1)
    difference = (gathered - whole).norm() / whole.norm()
    print(f"{plots.look(name)['label']:8} relative difference {difference:.0e}")

# %% [markdown]
# ## What BatchNorm sees in one image
#
# BatchNorm's statistics go over images *and positions*, so one image is not one value. A 32×32 image gives the first layers of a VGG 1,024 values per channel
# and the last ones, at 2×2, still four. That is how BatchNorm trains on single images at all. Halve the images, and the last layer has a single
# value to normalize: its mean is itself.

# %%
net = make("bn")
pooled = []
for module in net.modules():
    if isinstance(module, BatchNorm):
        module.register_forward_hook(lambda _, args, __: pooled.append(args[0][:, 0].numel()))
net(x[:1])
print("values per channel:", *pooled)
try:
    net(x[:1, :, ::2, ::2])
except ValueError as error:
    print(f"at 16x16: {error}")

# %% [markdown]
# ## Truly small steps
#
# Now the weights change after every batch of 16, 4 or 1. One rule for all: **the learning rate is in proportion to the batch size**, and the number of epochs is the
# same, so that a batch size of 1 takes 16 times as many steps as one of 16, each a sixteenth as long.
#
# We test as usual, with the running statistics, and BatchNorm at a batch size of 1 once more *as trained*, where it normalizes each test image by itself.


# %%
def train(net, batch_size):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05 * batch_size / 64, momentum=0.9)
    for batch in torch.randperm(len(x)).split(batch_size):
        optimizer.zero_grad()
        F.cross_entropy(net(x[batch]), y[batch]).backward()
        optimizer.step()
    return net


@torch.no_grad()
def accuracy(net, size):
    logits = torch.cat([net(part) for part in test_x.split(size)])
    return 100 * (logits.argmax(dim=1) == test_y).float().mean().item()


# %% alt="Test accuracy on digits for batch sizes 16, 4 and 1, a dot per seed. WS + GN and WS + BCN stay level or rise. BN falls at batch size 1; hollow dots show that it does better there when each test image is normalized by itself." tags=["draws", "computed"]
sizes = (16, 4, 1)
lines = []
figure, axes = plt.subplots(1, 3, figsize=(7.2, 2.9), sharey=True)
for axis, name in zip(axes, METHODS, strict=True):
    for size in sizes:
        nets = [train(make(name, seed), size) for seed in range(3)]
        usual = [accuracy(net.eval(), 360) for net in nets]
        axis.plot([size] * 3, usual, "o", color=plots.look(name)["color"])
        lines.append((plots.look(name)["label"], size, usual))
        if (name, size) == ("bn", 1):
            as_trained = [accuracy(net.train(), 1) for net in nets]
            axis.plot([0.8] * 3, as_trained, "o", color="C0", markerfacecolor="none")
            axis.text(1.15, max(as_trained), "as\ntrained", ha="right", va="top")
            lines.append(("  as trained", 1, as_trained))
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes, sizes)
    axis.set(xlim=(24, 0.65), title=plots.look(name)["label"], xlabel="batch size")
axes[0].set(ylabel="test accuracy (%)", ylim=(0, 100))
plots.panels(figure)
plt.show()
for label, size, found in lines:
    print(f"{label:12} batches of {size:2}: " + " ".join(f"{value:3.0f}" for value in found))

# %% [markdown]
# BatchNorm at batch size 1 has learned something. It is another function, of images normalized one by one, and is then tested with running
# statistics that never described what it saw (see [Small batches](small_batches.md)). Tested as it was trained, it does better, for every seed, though most of what it lost against 16 stays lost.
#
# ## On CIFAR-10
#
# The figure at the top, in numbers. The same rule, six methods, smaller and smaller batches: the VGG at a quarter of its width, 8,000 training images, four epochs, three seeds. A batch size of 1 takes 32,000 steps, one
# of 64 takes 500. At 64 the learning rate is 0.025, [for every method](recorded_run.md#rates). The mean ± the standard deviation of three seeds; WS + BN ran at 64 only. Then BatchNorm in training mode, over its last epoch.

# %% tags=["draws"]
display(sweep.table(groups))
print("diverged:", ", ".join(run.name for run in runs if run.diverged) or "none")
for size in (64, 1):
    last = [run.kind("epoch")[-1]["train_accuracy"] for run in groups["bn", size]]
    in_training, _ = record.mean_spread([100 * accuracy for accuracy in last])
    evaluated, _ = record.mean_spread(sweep.accuracies(groups["bn", size]))
    print(f"BN at {size:2}: {in_training:.1f} % in training, {evaluated:.1f} % evaluated")

# %% [markdown]
# One thing is odd: the means of GN and LN are higher at 16 and less than at 64. What GroupNorm computes does not depend on the batch at all, so this says something about the
# training. In one seed a rate [lower than 0.025](recorded_run.md#rates) did better at 64, and with smaller batches the number of steps grows as well; which of the two explains it was not tested.
#
# At 64 BatchNorm does better when it is evaluated than while it trains, on images that are augmented, averaged over an epoch in which it still learns. At 1 it is the other way round: part of what it loses is, as on the digits, that its running statistics
# describe something it has never computed. How much of the fall is learning is not measured here.
#
# ## How fast should an estimate move?
#
# BCN's estimates take over a share of each batch's statistics, by default 0.1. That looks back over about ten batches: 640 images at 64, ten at 1. So here is WS + BCN at a
# batch size of 1 with other shares. The gray lines are other methods at a batch size of 1.

# %% alt="Test accuracy of WS + BCN at a batch size of 1 against the share of each image in its running estimates, from 0.001 to 0.3, with WS + GN, BCN and BN as horizontal lines." tags=["draws"]
others = ("ws-gn", "bcn", "bn")
by_share = {share: sweep.accuracies(slow(share)) for share in shares}
figure, axis = plt.subplots(figsize=(4.8, 3))
means = [record.mean_spread(values)[0] for values in by_share.values()]
axis.plot(shares, means, **plots.look("ws-bcn"))
for share, values in by_share.items():
    axis.plot([share] * len(values), values, ".", color=plots.look("ws-bcn")["color"])
for name in others:
    level, _ = record.mean_spread(sweep.accuracies(groups[name, 1]))
    label = plots.look(name)["label"]
    axis.plot([min(shares), max(shares)], [level, level], "C4", label=label)
plots.plain_log(axis.xaxis)
axis.set(xlabel="share of an image in the estimates", ylabel="test accuracy (%)")
plots.label_ends(axis)
plt.show()
for share, values in by_share.items():
    print(f"{share:5g}: {'{:.1f} ± {:.1f} %'.format(*record.mean_spread(values))}")
plots.Provenance([*moved, *(run for name in others for run in groups[name, 1])])

# %% [markdown]
# ## What this shows, and what it doesn't
#
# The claim is a comparison of two corners of [the figure at the top](#micro-batches): WS with BCN, or with another norm that needs no batch, at a batch size of 1, against BatchNorm at 64. *As good* means at worst one
# point behind. How a verdict comes about is [said elsewhere](recorded_run.md#verdicts); $r$ is the share of an image in the estimates.

# %% tags=["draws"]
reference = groups["bn", 64]
intervals.verdicts(
    "A batch of 1, one rate for all (points)",
    [
        ("BN is worse than at 64", minus("bn", 1), "less"),
        ("BCN (batch statistics) is worse than at 64", minus("bcn", 1, ("bcn", 64)), "less"),
        ("GN is the same as at 64", minus("gn", 1, ("gn", 64)), "same"),
        ("WS + GN is the same as at 64", minus("ws-gn", 1, ("ws-gn", 64)), "same"),
        ("WS + GN is better than GN", minus("ws-gn", 1, ("gn", 1)), "more"),
        ("WS + GN is as good as BN at 64", minus("ws-gn", 1), "as good"),
        *(
            (
                f"WS + BCN, r = {share}, is as good as BN at 64",
                intervals.differences(slow(share), reference),
                "as good",
            )
            for share in shares
        ),
        ("WS + BN is better than BN", None, "more"),
        ("Centering only is the same as WS + GN", None, "same"),
        ("Each at its best rate: any of these", None, "more"),
    ],
)

# %% [markdown]
# * BatchNorm breaks down at a batch size of 1, and so does BCN with the statistics of its batch. Both have lost a few points at 4 and up to ten at 2.
# * **WS + GN** is level from 64 to 1, as far as can be seen. Whether with one image it is behind BatchNorm at 64 or ahead is undecided, and so is *as good*: three seeds leave room for 1.4 points. That is at one rate, which in one seed was the best of the grid for WS + GN and not for BatchNorm: with the best of the grid
#   for each, one seed has BatchNorm [3.1 points ahead](recorded_run.md#rates) at 64.
# * **WS + BCN** is as good as BatchNorm at 64 if its estimates move slowly enough; smaller shares were better from 0.3 to 0.01, and whether 0.001 adds more is undecided. With the usual 0.1 it is five points below.
#   The shares were tried on the test images. Which one the papers used, we don't know.
# * **One rule is not the best rule.** A learning rate in proportion to the batch is right for nobody in particular. A rate chosen for each method and size might move
#   any of the points; it would also be thirty-six choices instead of one.
# * **More steps, not only smaller ones.** From 64 to 1 the number of steps grows as well. A method that improves from left to right may owe it to that.
# * **32×32 images are kind to BatchNorm**: only the last layers have as few as four values per image. In a network that ends in 1×1, or with images of different sizes, it has less.
# * **Four epochs, 8,000 images, a narrow network.** The papers' results are for ImageNet and COCO, at full length. In them GN and WS + GN
#   [cannot lose anything](#one-by-one-or-gathered) at one image per GPU, as their gradients were gathered.
#
# Others have looked as well. The authors of Composer, a training library, could not verify on their benchmarks that WS replaces BatchNorm or helps where its batches are too small; what they did measure was
# a gain of 0.08 % for a ResNet-50 on ImageNet, and a larger one in segmentation ([@composer]). More such reports are with the [related methods](../related.md#who-has-tried-it).
