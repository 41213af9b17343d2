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
# # Mean shift
#
# Behind a ReLU every channel is positive on average. A filter whose weights don't add up to zero passes that on: its own output is shifted, up or down, for every image alike. [@brock2021characterizing] call this *mean shift*, follow it through
# the depth of networks that are yet to be trained, and see WS stop it. Does it stay away while the network is trained?
#
# *8 minutes. It helps to know [what WS does to a filter](../annotated/standardization.md).*

# %% alt="Mean shift against the training step, four lines. GroupNorm alone and with scaling only go from 0.75 down to 0.55. With centering only and with WS the shift stays near 0.2 all the time." tags=["draws"]
# %config InlineBackend.figure_formats = ["svg"]
import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import display
from torch import nn

from labml_ws import Conv2d
from labml_ws.experiment import intervals, plots, record
from labml_ws.experiment.cifar10 import channel_stats, load, normalize
from labml_ws.experiment.vgg import VGG

plt.style.use("labml_ws.experiment.house")
torch.set_num_threads(1)  # the same digits at each run

nets = {net: plots.look(net) for net in ("gn", "scale-gn", "center-gn", "ws-gn")}
nets["gn"]["color"] = nets["scale-gn"]["color"] = "C4"  # those that don't center
methods = record.read("methods")
runs = {net: [run for run in methods if run.net == net] for net in {run.net for run in methods}}
steps = [row["step"] for row in runs["gn"][0].kind("measure")]


def by_layer(net):
    """[seeds, times, layers]: the mean over a layer's channels of |mean| / standard deviation."""
    return np.array([[row["offset"] for row in run.kind("measure")] for run in runs[net]])


def shift(net, when):
    """[seeds]: the same over the layers behind a ReLU, all but the first."""
    return by_layer(net)[:, when, 1:].mean(axis=1)


def often(net, when):
    return f"{shift(net, when).mean():.2f}"


def gain(net):
    return intervals.interval(intervals.differences(runs[net], runs["gn"]))


display(
    plots.InShort(
        [
            f"**Plain filters shift their channels**: behind GroupNorm the mean of a channel is {often('gn', 0)} of its standard deviation away from zero before training, and {often('gn', -1)} after. **With WS it is {often('ws-gn', 0)} and {often('ws-gn', -1)}.**",
            f"**It is the centering**: alone it gives {often('center-gn', -1)} in the end, scaling alone {often('scale-gn', -1)}.",
            f"**The two that center are also the two that learn better**, by {gain('ws-gn')} and {gain('center-gn')} points (n = {gain('ws-gn').n}); scaling only by {gain('scale-gn')}.",
        ],
        "that the one is the reason for the other. The four networks differ [in their gradients, too](gradients.md). A small VGG without skip connections, four epochs, one learning rate.",
    )
)
figure, axis = plt.subplots(figsize=(4.8, 3.4))
for net, look in nets.items():
    lines = by_layer(net)[:, :, 1:].mean(axis=2)  # [seeds, times]
    axis.plot(steps, lines.mean(axis=0), **look)
    axis.plot(steps, lines.T, ".", color=look["color"], markersize=4)
axis.set(xlabel="step", ylabel="|mean| / std of a channel", ylim=0)
plots.label_ends(axis)
plt.show()
plots.Provenance([run for net in nets for run in runs[net]])

# %% [markdown]
# Lines are means over the seeds, dots the seeds themselves; of each network the mean over the channels of layers 2 to 13, behind the normalization and before its scale and shift, on test images
# ([`channel_statistics`][labml_ws.experiment.measure.channel_statistics]). Orange: the two that center.
#
# ## Where it comes from
#
# Let all inputs of a filter have the same mean $m$. Then its output has the mean $m \sum_i w_i$, whatever the images show. For random weights that sum is not zero, and it is not small either: a thousand weights of spread $s$ add up to something like $\sqrt{1000}\, s$,
# and the spread of the output is of that order as well. For inputs that are normal before their ReLU, the ratio of the two is, on average over such filters,
#
# $$\sqrt{\frac{2}{\pi}} \cdot \frac{m}{\sigma} = \sqrt{\frac{2}{\pi}} \cdot \frac{1}{\sqrt{\pi - 1}} \approx 0.545,$$
#
# with $m = 1 / \sqrt{2 \pi}$ and $\sigma^2 = \frac{1}{2} - \frac{1}{2 \pi}$ of a normal variable's positive part. A *centered* filter has $\sum_i w_i = 0$, so a constant that is added to all its inputs changes nothing: it is blind to it.

# %%
torch.manual_seed(0)
inputs = torch.randn(4096, 576).relu()  # [images, I]
filters = torch.randn(256, 576)  # [O, I]
centered = filters - filters.mean(dim=1, keepdim=True)
for name, weight in (("plain", filters), ("centered", centered)):
    outputs = inputs @ weight.T  # [images, O]
    ratio = (outputs.mean(dim=0).abs() / outputs.std(dim=0)).mean()
    print(f"{name:9} |mean| / std {ratio:.3f}")
print(f"by the formula, plain {math.sqrt(2 / math.pi / (math.pi - 1)):.3f}")

# %% [markdown]
# Centering does not make it zero. What is left of it here is chance, the mean of 4,096 images; in a network the inputs of a filter have *different* means, and what differs between them passes.
#
# ## Through the depth
#
# And what one layer shifts, the next finds at its input. Two VGGs as they are before training, with nothing behind their convolutions but ReLU, so that nothing sets the means back. (The shift has no unit, so it doesn't matter that the numbers themselves grow or shrink with depth.)

# %%
digits = load("digits")
images = normalize(digits.train_x, *channel_stats(digits.train_x))[:256].double()


def through_depth(conv):
    """The shift of each layer's channels, for the images, mean over the channels."""
    torch.manual_seed(0)
    blocks = ((16, 16), (32, 32), (64,) * 3, (128,) * 3, (128,) * 3)
    x, shifts = images, []
    for layer in VGG(blocks, conv, norm=None).double().features:
        x = layer(x)
        if isinstance(layer, nn.Conv2d):
            z = x.transpose(0, 1).flatten(1)  # [C, images * positions]
            shifts.append((z.mean(dim=1).abs() / z.std(dim=1)).mean().item())
    return shifts


# %% alt="Mean shift by layer before training, without a normalization, two lines. With plain filters it is about one from the third layer on, with WS below a half." tags=["draws", "computed"]
figure, axis = plt.subplots(figsize=(4.8, 3))
with torch.no_grad():
    for label, conv, color in (("plain", nn.Conv2d, "C4"), ("WS", Conv2d, "C1")):
        shifts = through_depth(conv)
        axis.plot(range(1, len(shifts) + 1), shifts, "o-", color=color, label=label)
        print(f"{label:6} layers 1 to 13: {', '.join(f'{s:.2f}' for s in shifts)}")
axis.set(xlabel="layer", ylabel="|mean| / std of a channel", ylim=0, xticks=range(1, 14, 3))
plots.label_ends(axis)
plt.show()

# %% [markdown]
# From the third layer of this one network on, plain filters give a channel a mean of 0.8 to 1.1 times its spread. With WS it is a fifth to a third of that, and up to half in the last two layers.
#
# ## Through training
#
# GroupNorm subtracts the mean of a *group* of channels, so single channels keep what sets them apart. BatchNorm subtracts the mean of each: to it, shift is what its running statistics have missed. (Before training these are still at 0 and 1, which is no normalization.)

# %% tags=["wide"]
order = ["gn", "scale-gn", "center-gn", "ws-gn", "ln", "bn", "ws-bn", "bcn", "ws-bcn"]
looks = {net: plots.look(net)["label"] for net in order}
looks |= {"scale-gn": "GN, scaling only", "center-gn": "GN, centering only"}
table = [
    [
        looks[net],
        *("{:.2f} ± {:.2f}".format(*record.mean_spread(shift(net, w))) for w in (0, 1, -1)),
    ]
    for net in order
]
heads = ["before training", f"step {steps[1]}", f"step {steps[-1]}"]
display(plots.Table("Mean shift, mean ± the standard deviation of the seeds", heads, table))
plots.Provenance([run for net in order for run in runs[net]])

# %% [markdown]
# ## What it shows, and what it doesn't
#
# As logarithms of ratios by seed, where *the same* is a tenth at most ([how a verdict comes about](recorded_run.md#verdicts)):


# %% tags=["wide"]
def ratio(net, when):
    return np.log(shift(net, when) / shift("gn", when)).tolist()


intervals.verdicts(
    "Mean shift behind GroupNorm, over that of plain filters",
    [
        ("WS shifts less, before training", ratio("ws-gn", 0), "less"),
        ("WS shifts less, at the end", ratio("ws-gn", -1), "less"),
        ("Centering only shifts less, at the end", ratio("center-gn", -1), "less"),
        ("Scaling only shifts the same, at the end", ratio("scale-gn", -1), "same"),
    ],
    margin=math.log(1.1),
    ratios=True,
)

# %% [markdown]
# * **That it stays away**, all through training, is more than the algebra says: a filter with $\sum_i w_i = 0$ is blind to what its inputs have in common, and to nothing else. The advantage narrows, though: plain filters lose some of their shift while they train.
# * **That it is why WS learns better** is not shown. After training BatchNorm alone has less shift than WS with GroupNorm, and that is as far as the comparison goes: a network in which the shift is put back, and nothing else changed, was not trained.
# * The papers' networks have skip connections, which carry a shift past the filters. There is none here.
