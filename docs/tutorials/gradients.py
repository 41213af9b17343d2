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
# # Gradients
#
# WS standardizes weights, and by doing so, its authors write, it normalizes gradients. On the way back each of its two steps takes a component out of
# the gradient: centering takes out its mean, scaling its part along the filter ([@qiao2019micro]). [What flows back](../annotated/standardization.md#what-flows-back) has the formula. How
# much is there to take, in a network that is being trained? And is a gradient with less in it a smaller one?

# %%
# %config InlineBackend.figure_formats = ["svg"]
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import display
from torch import nn
from torch.nn import functional as F

from labml_ws import Conv2d
from labml_ws.experiment import plots, record
from labml_ws.experiment.cifar10 import channel_stats, load, normalize
from labml_ws.experiment.config import build
from labml_ws.experiment.vgg import VGG

plt.style.use("labml_ws.experiment.house")
torch.set_num_threads(1)  # the same digits at each run

digits = load("digits")
images = normalize(digits.train_x, *channel_stats(digits.train_x))
images = F.avg_pool2d(images, 4)  # [N, 3, 8, 8], the size that they came in
labels = digits.train_y

# %% [markdown]
# ## Mean zero, and at right angles
#
# Two small VGGs on the digits, one with plain convolutions and one with WS, both with GroupNorm, after one epoch. For every filter: the mean of its gradient in units of its root mean square, and
# the cosine between gradient and filter. WS promises zero for the first, and nearly zero for the second: $\epsilon$ is in the root, so a longer filter does come out a little
# longer.


# %%
def trained(conv):
    torch.manual_seed(0)
    net = VGG(((8, 8), (16, 16), (32, 32)), conv, lambda channels: nn.GroupNorm(4, channels))
    optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)
    for batch in torch.randperm(len(images)).split(64):
        optimizer.zero_grad()
        F.cross_entropy(net(images[batch]), labels[batch]).backward()
        optimizer.step()
    return net


x, y = images[:256], labels[:256]
plain, standardized = trained(nn.Conv2d), trained(Conv2d)
for name, net in (("GN", plain), ("WS + GN", standardized)):
    net.zero_grad()
    F.cross_entropy(net(x), y).backward()
    means, cosines = [], []
    for layer in net.features:
        if isinstance(layer, nn.Conv2d):
            w, g = layer.weight.detach().flatten(1), layer.weight.grad.flatten(1)  # [O, I]
            means.append(g.mean(dim=1) / g.square().mean(dim=1).sqrt())
            cosines.append(F.cosine_similarity(w, g))
    mean, cosine = (torch.cat(values).abs() for values in (means, cosines))
    print(f"{name:8} |mean| / rms  median {mean.median():.1e}  largest {mean.max():.1e}")
    print(f"{'':8} |cosine|      median {cosine.median():.1e}  largest {cosine.max():.1e}")

# %% [markdown]
# Without WS the mean is no small part of a gradient. A likely reason: what a convolution sees has passed a ReLU and is never negative, so the weights of a filter are often pushed the same way.
#
# ## What each step takes out
#
# Spelled out as two steps, $\dot W = W - \mu$ and $\hat W = \dot W / \sigma$, WS lets autograd show the gradient at three places: at $\hat W$, as it arrives from the convolution, at $\dot W$, when it has come back through scaling, and at $W$, when it has come back through
# centering as well. ($\epsilon$ is part of $\sigma$ here.) The *share* that a step takes out is that of the squared length; the factor $1/\sigma$ is left out of it.
# [`gradient_shares`][labml_ws.experiment.measure.gradient_shares] computes the same for a whole network.


# %%
def gradients(net, index):
    """Of a standardized layer: sigma of each filter, and the gradient at the three places."""
    w = net.features[index].weight
    centered = w - w.mean(dim=(1, 2, 3), keepdim=True)
    sigma = (centered.square().mean(dim=(1, 2, 3), keepdim=True) + 1e-5).sqrt()
    w_hat = centered / sigma
    z = F.conv2d(net.features[:index](x), w_hat, padding=1)
    logits = net.classifier(net.features[index + 1 :](z).mean(dim=(2, 3)))
    places = torch.autograd.grad(F.cross_entropy(logits, y), (w_hat, centered, w))
    return sigma.flatten(), [place.flatten(1) for place in places]


torch.manual_seed(0)
initial = VGG(((8, 8), (16, 16), (32, 32)), Conv2d, lambda channels: nn.GroupNorm(4, channels))
where = [i for i, layer in enumerate(standardized.features) if isinstance(layer, Conv2d)]
layers = range(1, len(where) + 1)
chance = [1 / standardized.features[i].weight[0].numel() for i in where]
shares, lengths = {}, []
for name, net in (("initial", initial), ("after an epoch", standardized)):
    taken = []
    for index in where:
        sigma, (hat, dot, raw) = gradients(net, index)
        # Squared lengths of all filters together; the factor 1/sigma is left out of the share.
        arrived = (hat / sigma[:, None]).square().sum()
        scaling = 1 - dot.square().sum() / arrived
        centering = 1 - raw.square().sum() / dot.square().sum()
        taken.append((scaling.item(), centering.item()))
        if net is standardized:
            lengths.append([place.norm().item() for place in (hat, dot, raw)])
    shares[name] = np.array(taken)
    print(f"{name:15} scaling {', '.join(f'{s:.1%}' for s, _ in taken)}")
    print(f"{'':15} centering {', '.join(f'{c:.0%}' for _, c in taken)}")
hat, dot, raw = np.array(lengths).T
print(f"times as long, scaling: {', '.join(f'{r:.1f}' for r in dot / hat)}")
print(f"times as long, both:    {', '.join(f'{r:.1f}' for r in raw / hat)}")

# %% alt="Shares of the squared gradient by layer, logarithmic. Centering takes between a tenth and most of it, scaling around one percent. A gray line shows what either would take out of a random direction, between 4 and 0.3 percent." tags=["wide", "computed"]
figure, axis = plt.subplots()
for (name, taken), color in zip(shares.items(), ("C1", "C0"), strict=True):
    axis.plot(layers, taken[:, 1], "o-", color=color, label=f"centering,\n{name}")
    axis.plot(layers, taken[:, 0], "o:", color=color, label=f"scaling,\n{name}")
axis.plot(layers, chance, color="C4", label="by chance, 1/I")
axis.set(xlabel="layer", ylabel="share of the squared gradient", yscale="log", xticks=layers)
axis.set_yticks([0.001, 0.01, 0.1, 1], ["0.1 %", "1 %", "10 %", "100 %"])
plots.label_ends(axis, gap=26)
plt.show()

# %% [markdown]
# Either step takes out one direction of $I$, and in a random gradient that would be $1/I$ of it. Scaling takes out between 0.4 and 4.3 times that. Centering takes out ten times as much and more: no other direction could be expected to hold so large a part of the gradient.
#
# Does less in it make it shorter? The last two printed lines say no: they compare the gradient that comes out, layer by layer, with the one that arrived. What scaling leaves is multiplied by $1/\sigma$, and $\sigma$ is well below one, so the gradient that reaches $W$ is several times as long as the one
# that arrived at $\hat W$. Only centering never lengthens a gradient, for any weights.
#
# ## Through training, on CIFAR-10
#
# The same shares in the recorded runs of a quarter-width VGG with WS and GroupNorm, in the gradient of 128 training images. Lines are means over the seeds, dots the seeds themselves.

# %% alt="Shares of the squared gradient by layer, logarithmic, at the start, at step 200 and at the end. Centering takes from a tenth to nine tenths, most at step 200, least in the last layers. Scaling takes between 0.1 and 3 percent, close to what chance would give." tags=["wide"]
not_centered = {"color": "C4"}
nets = {
    "gn": plots.look("gn") | not_centered,
    "scale-gn": plots.look("gn")
    | not_centered
    | {"linestyle": (0, (5, 1, 1, 1)), "label": "scaling only"},
    "center-gn": plots.look("gn") | {"linestyle": (0, (1, 1)), "label": "centering only"},
    "ws-gn": plots.look("ws-gn"),
}
methods = [run for run in record.read("methods") if run.net in nets]
runs = {net: [run for run in methods if run.net == net] for net in nets}
convolutions = [m for m in build(methods[0].config).modules() if isinstance(m, nn.Conv2d)]
layers = range(1, len(convolutions) + 1)
snapshots = {"initial": 0, "step 200": 2, "at the end": -1}


def measured(net, key, when):
    """[seeds, layers]"""
    return np.array(
        [r.kind("measure")[snapshots[when]][key] for r in runs[net] if not r.diverged]
    )


figure, axis = plt.subplots(figsize=(7.2, 4))
for when, color in zip(snapshots, ("C1", "C2", "C0"), strict=True):
    for step, line in (("centering", "-"), ("scaling", ":")):
        share = measured("ws-gn", f"{step}_share", when)
        axis.plot(layers, share.mean(axis=0), line, color=color, label=f"{step}, {when}")
        axis.plot(layers, share.T, ".", color=color, markersize=4)
        print(
            f"{step:9} {when:10} median layer {np.median(share):6.1%}, up to {share.max():.1%}"
        )
axis.plot(layers, [1 / c.weight[0].numel() for c in convolutions], "C4", label="by chance, 1/I")
axis.set(xlabel="layer", ylabel="share of the squared gradient", yscale="log", xticks=layers)
axis.set_yticks([0.001, 0.01, 0.1, 1], ["0.1 %", "1 %", "10 %", "100 %"])
plots.label_ends(axis)
plt.show()
plots.Provenance(runs["ws-gn"])

# %% [markdown]
# ## One step alone
#
# Four networks, all with GroupNorm: with neither step, with one of them, with both. How long is the gradient in each layer, how uneven are the layers, and how much of it is mean? (Means over the seeds. Orange: the two that center, WS + GN drawn through, centering only dotted. Gray: the two that don't, GN dashed, scaling only dash-dotted.)

# %% alt="Length of the gradient by layer, logarithmic, of four networks. At the start it grows more than ten-fold from the first layer to the last without centering, and its longest is about twice its shortest with it. At the end of training the four are alike." tags=["wide"]
rows = []
figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.6), sharey=True)
for axis, when in zip(axes, ("initial", "at the end"), strict=True):
    for net, look in nets.items():
        norm, mean = (measured(net, key, when) for key in ("grad_norm", "grad_mean"))
        axis.plot(layers, norm.mean(axis=0), **look)
        # The record has the mean over filters of |mean|, not of its square: the share is at least this.
        along = np.median([c.weight.numel() for c in convolutions] * mean**2 / norm**2)
        uneven = (norm.max(axis=1) / norm.min(axis=1)).mean()
        rows.append([f"{look['label']}, {when}", f"{uneven:.1f}", f"{100 * along:.0f} %"])
    axis.set(xlabel="layer", title=when, xticks=layers[::3])
axes[0].set_ylabel("length of the gradient")
plots.plain_log(axes[0].yaxis)
plots.label_ends(axes[1])
plt.show()
heads = ["longest / shortest layer", "share of the mean, at least"]
display(plots.Table("The gradient", heads, rows))
plots.Provenance(methods)

# %% [markdown]
# At the start the gradient of the first layers is many times shorter than that of the last, unless weights are centered: then all layers get gradients of about the same length. After training the four networks differ little
# in that. But where weights are not centered, the mean is still a good part of the gradient at the end.
#
# And does it matter? The two steps are worth very different things.

# %% alt="Test accuracy of the four networks, a dot for each seed. With neither step and with scaling only about 41 percent; with centering only and with both about 53 percent." tags=["wide"]
figure, axis = plt.subplots(figsize=(5.2, 1.9))
for place, (net, look) in enumerate(nets.items()):
    accuracies = [100 * run.accuracy for run in runs[net]]
    axis.plot(accuracies, [place] * len(accuracies), "o", color=look["color"])
    mean, spread = record.mean_spread(accuracies)
    print(f"{look['label']:14} {mean:.1f} ± {spread:.1f} %")
axis.set(xlabel="test accuracy (%)", ylim=(-0.5, 3.5))
axis.set_yticks(range(4), [look["label"] for look in nets.values()])
axis.invert_yaxis()
plt.show()
plots.Provenance(methods)

# %% [markdown]
# ## What it shows, and what it doesn't
#
# * **Confirmed:** with WS the gradient of a filter has mean zero and is at right angles to the filter, to within rounding and $\epsilon$. Centering takes out far more than chance would, in every layer and throughout training.
# * **Not confirmed:** that both steps matter, as the authors' argument has it. What scaling takes out is a few percent at most, and what it puts back, $1/\sigma$, is more. Nor are gradients shorter with WS once the networks are trained.
# * With GroupNorm behind it, **centering alone gives nearly all of the gain in accuracy** and scaling alone none. GroupNorm takes out the scale of a group of filters anyway; nothing else takes out the mean.
# * It does not show that centering would be enough without a normalization, or with another one: these runs are a small VGG with GroupNorm, trained for four epochs at one learning rate.
