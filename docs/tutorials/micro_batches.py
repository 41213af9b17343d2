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
# **The claim**: with Weight Standardization and BCN, training on batches of one or two images works as well as BatchNorm does on large ones, where
# BatchNorm itself breaks down ([@qiao2019micro]). It is what the method was made for: detection and segmentation have room for no more images on a GPU.
#
# "Batches of one" can mean two things. The weights may change after every image, or the gradients of many images may be gathered before they change. We try both
# on scikit-learn's digits, with a network of five convolutions, and then read the recorded sweep on CIFAR-10.

# %%
# %config InlineBackend.figure_formats = ["svg"]
import matplotlib.pyplot as plt
import torch
from IPython.display import display
from torch import nn
from torch.nn import functional as F

from labml_ws import BatchChannelNorm, Conv2d
from labml_ws.batch_channel_norm import BatchNorm
from labml_ws.experiment import plots, record
from labml_ws.experiment.cifar10 import channel_stats, load, normalize
from labml_ws.experiment.vgg import VGG

plt.style.use("labml_ws.experiment.house")
torch.set_num_threads(1)  # the tensors are small: a second thread would only be waited for

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


# %% alt="Test accuracy on digits for batch sizes 16, 4 and 1, a dot per seed. WS + GN and WS + BCN stay level or rise. BN falls at batch size 1; hollow dots show that it does better there when each test image is normalized by itself." tags=["wide", "computed"]
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
            axis.text(1.15, max(as_trained), "as\ntrained", ha="right", va="top", fontsize=9.5)
            lines.append(("  as trained", 1, as_trained))
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes, sizes)
    axis.set(xlim=(24, 0.65), title=plots.look(name)["label"], xlabel="batch size")
axes[0].set(ylabel="test accuracy (%)", ylim=(0, 100))
plt.show()
for label, size, found in lines:
    print(f"{label:12} batches of {size:2}: " + " ".join(f"{value:3.0f}" for value in found))

# %% [markdown]
# BatchNorm at batch size 1 has not failed to learn. It has learned another function, of images normalized one by one, and is then tested with running
# statistics that never described what it saw ([why](small_batches.md)). Tested as it was trained, it does better, for every seed, though not as well as at 16.
#
# ## On CIFAR-10
#
# The same rule, six methods, smaller and smaller batches: the VGG at a quarter of its width, 8,000 training images, four epochs, three seeds. A batch size of 1 takes 32,000 steps, one
# of 64 takes 500. Lines go through the means, dots are single runs; lines are drawn through with WS, dashed without. WS + BCN is the one with estimated statistics; BCN takes those of its batch.

# %% alt="Test accuracy on CIFAR-10 against batch size from 64 to 1, six methods, lines through the means of the seeds." tags=["wide"]
NETS = ("bn", "gn", "ln", "ws-gn", "bcn", "ws-bcn")
runs = [run for run in record.read("methods") if run.net in NETS] + record.read("batches")
results = {}
for run in runs:
    size, seeds = run.config.batch_size, results.setdefault(run.net, {})
    seeds.setdefault(size, []).append(100 * run.accuracy)
sizes = sorted(results["bn"], reverse=True)
figure, axis = plt.subplots(figsize=(5, 3.8))
for name in NETS:
    means = [record.mean_spread(results[name][size])[0] for size in sizes]
    axis.plot(sizes, means, **plots.look(name))
    for size in sizes:
        dots = [size] * len(results[name][size]), results[name][size]
        axis.plot(*dots, ".", color=plots.look(name)["color"], alpha=0.6)
axis.set_xscale("log", base=2)
axis.set_xticks(sizes, sizes)
axis.set(xlim=(80, 0.9), xlabel="batch size", ylabel="test accuracy (%)")
plots.label_ends(axis)
plt.show()
plots.Provenance(runs)


# %%
rows = []
for name in NETS:
    pairs = [record.mean_spread(results[name][size]) for size in sizes]
    rows.append(
        [plots.look(name)["label"], *("{:.1f} ± {:.1f}".format(*pair) for pair in pairs)]
    )
display(plots.Table("Test accuracy (%), by batch size", [str(size) for size in sizes], rows))
print("diverged:", ", ".join(run.name for run in runs if run.diverged) or "none")
reference, _ = record.mean_spread(results["bn"][64])
print("compared with BN at 64, at 1:")
for name in ("bn", "bcn", "ws-gn", "ws-bcn"):
    average, _ = record.mean_spread(results[name][1])
    print(f"    {plots.look(name)['label']:8} {average - reference:+.1f}")

# %% [markdown]
# ## How fast should an estimate move?
#
# BCN's estimates take over a share of each batch's statistics, by default 0.1. That looks back over about ten batches: 640 images at 64, ten at 1. So here is WS + BCN at a
# batch size of 1 with other shares. The gray lines are other methods at a batch size of 1.

# %% alt="Test accuracy of WS + BCN at a batch size of 1 against the share of each image in its running estimates, from 0.001 to 0.3, with WS + GN, BCN and BN as horizontal lines." tags=["wide"]
others = ("ws-gn", "bcn", "bn")
single = [run for run in runs if run.config.batch_size == 1]
moved = [*record.read("estimates"), *(run for run in single if run.net == "ws-bcn")]
shares = {}
for run in sorted(moved, key=lambda run: run.config.momentum):
    shares.setdefault(run.config.momentum, []).append(100 * run.accuracy)
figure, axis = plt.subplots(figsize=(5.6, 3))
means = [record.mean_spread(values)[0] for values in shares.values()]
axis.plot([*shares], means, **plots.look("ws-bcn"))
for share, values in shares.items():
    axis.plot([share] * len(values), values, ".", color=plots.look("ws-bcn")["color"])
for name in others:
    level, _ = record.mean_spread(results[name][1])
    label = plots.look(name)["label"]
    axis.plot([min(shares), max(shares)], [level, level], "C4", label=label)
plots.plain_log(axis.xaxis)
axis.set(xlabel="share of an image in the estimates", ylabel="test accuracy (%)")
plots.label_ends(axis)
plt.show()
for share, values in shares.items():
    print(f"{share:5g}: {'{:.1f} ± {:.1f} %'.format(*record.mean_spread(values))}")
plots.Provenance([*moved, *(run for run in single if run.net in others)])

# %% [markdown]
# ## What this shows, and what it doesn't
#
# The claim is a comparison of two corners of the figure [on CIFAR-10](#on-cifar-10): WS with BCN, or with another norm that needs no batch, at a batch size of 1, against BatchNorm at 64.
#
# * **Confirmed:** BatchNorm breaks down at a batch size of 1, on digits and on CIFAR-10, and so does BCN with the statistics of its batch. At 4 they have lost a few points, at 2 up to ten.
# * **Confirmed:** WS + GN does at a batch size of 1 what it does at 64, which is what BatchNorm does at 64, to within what seeds differ by. GroupNorm and LayerNorm alone do not mind small batches either, but they are nine to fifteen points behind it: what WS adds, it adds at every size.
# * **Confirmed for slow estimates only**: WS + BCN does at a batch size of 1 what BatchNorm does at 64, if an image's share in the estimates is 0.03 or less; the smaller the share, the better, down to the smallest that we tried. With the usual 0.1 it is five points below.
#   Which share the papers used, we don't know.
# * **One rule is not the best rule.** A learning rate in proportion to the batch is right for nobody in particular. A rate chosen for each method and size might move
#   any of the points; it would also be thirty-six choices instead of one.
# * **More steps, not only smaller ones.** From 64 to 1 the number of steps grows as well. A method that improves from left to right may owe it to that.
# * **32×32 images are kind to BatchNorm**: only the last layers have as few as four values per image. In a network that ends in 1×1, or with images of different sizes, it has less.
# * **Four epochs, 8,000 images, a narrow network.** The papers' results are for ImageNet and COCO, at full length.
#
# Others have looked as well. The authors of Composer, a training library, could not verify on their benchmarks that WS replaces BatchNorm or helps where its batches are too small; what they did measure was
# a gain of 0.08 % for a ResNet-50 on ImageNet, and a larger one in segmentation ([@composer]).
