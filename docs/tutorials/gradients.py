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
# the gradient: centering takes out its mean, scaling its part along the filter ([@qiao2019micro]). How
# much is there to take, in a network that is being trained? And is a gradient with less in it a smaller one?
#
# *12 minutes. It helps to have read [what flows back](../annotated/standardization.md#what-flows-back), which has the formula.*

# %% alt="Shares of the squared gradient by layer, logarithmic, at the start, at step 200 and at the end. Centering takes from a tenth to nine tenths, most at step 200, least in the last layers. Scaling takes from 0.06 to 3 percent, which is from a twentieth of what chance would give to five times that." tags=["draws"]
# %config InlineBackend.figure_formats = ["svg"]
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import display
from torch import nn
from torch.nn import functional as F

from labml_ws import Conv2d
from labml_ws.experiment import intervals, plots, record
from labml_ws.experiment.cifar10 import channel_stats, load, normalize
from labml_ws.experiment.config import build
from labml_ws.experiment.vgg import VGG

plt.style.use("labml_ws.experiment.house")
torch.set_num_threads(1)  # the same digits at each run

nets = {net: plots.look(net) for net in ("gn", "scale-gn", "center-gn", "ws-gn")}
nets["gn"]["color"] = nets["scale-gn"]["color"] = "C4"  # those that don't center
methods = [run for run in record.read("methods") if run.net in nets]
runs = {net: [run for run in methods if run.net == net] for net in nets}
convolutions = [m for m in build(methods[0].config).modules() if isinstance(m, nn.Conv2d)]
layers = range(1, len(convolutions) + 1)
random_share = np.array([1 / c.weight[0].numel() for c in convolutions])
snapshots = {"initial": 0, "step 200": 2, "at the end": -1}


def measured(net, key, when):
    """[seeds, layers]"""
    return np.array(
        [r.kind("measure")[snapshots[when]][key] for r in runs[net] if not r.diverged]
    )


def minus(better, worse):
    return intervals.differences(runs[better], runs[worse])


def taken(step):
    """The shares of a step at all times, `[times * seeds, layers]`."""
    return np.concatenate([measured("ws-gn", f"{step}_share", when) for when in snapshots])


def percent(share):
    """The least and the largest, and the median over layers, seeds and times."""
    low, middle, high = (f"{100 * f(share):.2g}" for f in (np.min, np.median, np.max))
    return f"{low} to {high} % of the squared gradient of a layer, {middle} % in the median"


by_chance = taken("scaling") / random_share
display(
    plots.InShort(
        [
            f"**Centering takes a large part out**: {percent(taken('centering'))}.",
            f"**Scaling takes hardly any**: {percent(taken('scaling'))}, {by_chance.min():.2g} to {by_chance.max():.2g} times what a random direction would lose. Behind GroupNorm there is [little for it to find](#what-each-step-takes-out).",
            f"**Centering alone is worth {intervals.interval(minus('center-gn', 'gn'))} points** of accuracy on top of GroupNorm, scaling alone {intervals.interval(minus('scale-gn', 'gn'))}, n = {len(minus('scale-gn', 'gn'))}.",
        ],
        "that centering would be enough without a normalization behind it, or with another one; nor that gradients are shorter with WS, [which is undecided](#what-it-shows-and-what-it-doesnt). "
        "A small VGG with GroupNorm, four epochs, one learning rate.",
    )
)
figure, axis = plt.subplots(figsize=(4.8, 4))
for when, color in zip(snapshots, ("C1", "C2", "C0"), strict=True):
    for step, line in (("centering", "-"), ("scaling", ":")):
        share = measured("ws-gn", f"{step}_share", when)
        axis.plot(layers, share.mean(axis=0), line, color=color, label=f"{step}, {when}")
        axis.plot(layers, share.T, ".", color=color, markersize=4)
axis.plot(layers, random_share, "C4", label="by chance, 1/I")
axis.set(xlabel="layer", ylabel="share of the squared gradient", yscale="log", xticks=layers)
axis.set_yticks([0.001, 0.01, 0.1, 1], ["0.1 %", "1 %", "10 %", "100 %"])
plots.label_ends(axis)
plt.show()
plots.Provenance(runs["ws-gn"])

# %% [markdown]
# Lines are means over the seeds, dots the seeds themselves: the gradient of 128 training images, in the recorded runs of a quarter-width VGG. First, how such a share comes about, on small images of digits.

# %%
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
# Without WS the mean is no small part of a gradient. It is tempting to explain: what a convolution sees has passed a ReLU and is never negative, so the weights of a filter are often pushed the same way. But the first layer sees pixels of mean zero, and
# [further down](#through-training-on-cifar-10) it is among those with the largest mean. What the reason is, these runs don't say.
#
# ## What each step takes out
#
# Spelled out as two steps, $\code{centered}{\dot W} = \code{w}{W} - \mu$ and $\code{w_hat}{\hat W} = \code{centered}{\dot W} / \code{sigma}{\sigma_\epsilon}$ with $\code{sigma}{\sigma_\epsilon} = \sqrt{\code{var}{\sigma^2} + \epsilon}$, WS lets autograd show the gradient at three places: at $\code{w_hat}{\hat W}$, as it arrives from the convolution, at $\code{centered}{\dot W}$, when it has come back through scaling, and at $\code{w}{W}$, when it has come back through
# centering as well. The *share* that a step takes out is that of the squared length; the factor $1/\code{sigma}{\sigma_\epsilon}$ is left out of it.
# [`gradient_shares`][labml_ws.experiment.measure.gradient_shares] computes the same for a whole network.


# %%
def gradients(net, index):
    """Of a standardized layer: sigma with eps of each filter, and the gradient at the three places."""
    w = net.features[index].weight  # [O, C_in, 3, 3], the raw weight
    centered = w - w.mean(dim=(1, 2, 3), keepdim=True)  # [O, C_in, 3, 3], without its mean
    var = centered.square().mean(dim=(1, 2, 3), keepdim=True)  # [O, 1, 1, 1], its variance
    sigma = (var + 1e-5).sqrt()  # [O, 1, 1, 1], what a filter is divided by
    w_hat = centered / sigma  # [O, C_in, 3, 3], the standardized weight
    z = F.conv2d(net.features[:index](x), w_hat, padding=1)
    logits = net.classifier(net.features[index + 1 :](z).mean(dim=(2, 3)))
    places = torch.autograd.grad(F.cross_entropy(logits, y), (w_hat, centered, w))
    return sigma.flatten(), [place.flatten(1) for place in places]


torch.manual_seed(0)
initial = VGG(((8, 8), (16, 16), (32, 32)), Conv2d, lambda channels: nn.GroupNorm(4, channels))
where = [i for i, layer in enumerate(standardized.features) if isinstance(layer, Conv2d)]
depths = range(1, len(where) + 1)
chance = [1 / standardized.features[i].weight[0].numel() for i in where]
shares, lengths, left_over = {}, [], []
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
            # What scaling could take out of each filter, and of each of GroupNorm's four groups.
            along = (net.features[index].w_hat.detach().flatten(1) * hat).sum(dim=1)
            left_over.append((along.view(4, -1).sum(dim=1).norm() / along.norm()).item())
    shares[name] = np.array(taken)
    print(f"{name:15} scaling {', '.join(f'{s:.1%}' for s, _ in taken)}")
    print(f"{'':15} centering {', '.join(f'{c:.0%}' for _, c in taken)}")
hat, dot, raw = np.array(lengths).T
print(f"times as long, scaling: {', '.join(f'{r:.1f}' for r in dot / hat)}")
print(f"times as long, both:    {', '.join(f'{r:.1f}' for r in raw / hat)}")
print(f"left of what is along the filters, added up over groups: {max(left_over):.0e}")

# %% alt="Shares of the squared gradient by layer, logarithmic. Centering takes between a tenth and most of it, scaling around one percent. A gray line shows what either would take out of a random direction, between 4 and 0.3 percent." tags=["draws", "computed"]
figure, axis = plt.subplots()
for (name, taken), color in zip(shares.items(), ("C1", "C0"), strict=True):
    axis.plot(depths, taken[:, 1], "o-", color=color, label=f"centering,\n{name}")
    axis.plot(depths, taken[:, 0], "o:", color=color, label=f"scaling,\n{name}")
axis.plot(depths, chance, color="C4", label="by chance, 1/I")
axis.set(xlabel="layer", ylabel="share of the squared gradient", yscale="log", xticks=depths)
axis.set_yticks([0.001, 0.01, 0.1, 1], ["0.1 %", "1 %", "10 %", "100 %"])
plots.label_ends(axis, gap=26)
plt.show()

# %% [markdown]
# Either step takes out one direction of $I$, and in a random gradient that would be $1/I$ of it. Scaling takes out between 0.4 and 4.3 times that. Centering takes out ten times as much and more: no other direction could be expected to hold so large a part of the gradient.
#
# **Scaling has little to find here, whatever the network**, because of what comes next. GroupNorm takes out the scale of a group of filters, so the loss does not change when all of them grow together: added up over a group,
# $\sum \langle \hat W, \partial L / \partial \hat W \rangle = 0$, as the last printed line shows. Only what differs *within* a group is left for scaling to take out; behind BatchNorm, where every filter is a group of its own, nothing is.
#
# Does less in it make it shorter? The two lines before say no: they compare the gradient that comes out, layer by layer, with the one that arrived. What scaling leaves is multiplied by $1/\sigma_\epsilon$, which is well above one, so the gradient that reaches $W$ is several times as long as the one
# that arrived at $\hat W$. Only centering never lengthens a gradient, for any weights.
#
# ## Through training, on CIFAR-10
#
# The same shares in the recorded runs with WS and GroupNorm, in numbers; they are drawn [at the top](#gradients).


# %%
def few(number):
    """Two digits, or all that stand before the point."""
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"


for when in snapshots:
    for step in ("centering", "scaling"):
        share = measured("ws-gn", f"{step}_share", when)
        by_chance = share / random_share
        print(
            f"{step:9} {when:10} {share.min():6.2%} to {share.max():5.1%}, median {np.median(share):5.1%}; "
            f"{few(by_chance.min())} to {few(by_chance.max())} times chance"
        )

# %% [markdown]
# ## One step alone
#
# Four networks, all with GroupNorm: with neither step, with one of them, with both. How long is the gradient in each layer, how uneven are the layers, and how much of it is mean? (Means over the seeds. Orange: the two that center, WS + GN drawn through, centering only dotted. Gray: the two that don't, GN dashed, scaling only dash-dotted.)

# %% alt="Length of the gradient by layer, logarithmic, of four networks. At the start it grows more than ten-fold from the first layer to the last without centering, and its longest is about twice its shortest with it. At the end of training the four are alike." tags=["draws"]
rows, along_layers = [], {}
figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.6), sharey=True)
for axis, when in zip(axes, ("initial", "at the end"), strict=True):
    for net, look in nets.items():
        norm, mean = (measured(net, key, when) for key in ("grad_norm", "grad_mean"))
        axis.plot(layers, norm.mean(axis=0), **look)
        # The record has the mean over filters of |mean|, not of its square: the share is at least this.
        part = [c.weight.numel() for c in convolutions] * mean**2 / norm**2  # [seeds, layers]
        along, along_layers[net, when] = np.median(part), part.mean(axis=0)
        uneven = (norm.max(axis=1) / norm.min(axis=1)).mean()
        rows.append([f"{look['label']}, {when}", f"{uneven:.1f}", f"{100 * along:.0f} %"])
    axis.set(xlabel="layer", title=when, xticks=layers[::3])
axes[0].set_ylabel("length of the gradient")
plots.plain_log(axes[0].yaxis)
plots.label_ends(axes[1])
plots.panels(figure)
plt.show()
heads = ["longest / shortest layer", "share of the mean, at least"]
display(plots.Table("The gradient", heads, rows))
for when in ("initial", "at the end"):
    first, *others = along_layers["gn", when]
    print(
        f"GN, {when}: share of the mean in layer 1 {first:.0%}, in others up to {max(others):.0%}"
    )
plots.Provenance(methods)

# %% [markdown]
# At the start the gradient of the first layers is many times shorter than that of the last, unless weights are centered: then all layers get gradients of about the same length. After training the four networks differ little
# in that. But where weights are not centered, the mean is still a good part of the gradient at the end.
#
# And does it matter? The two steps are worth very different things. (The mean of three seeds ± their standard deviation.)

# %% alt="Test accuracy of the four networks, a dot for each seed. With neither step and with scaling only about 41 percent; with centering only and with both about 53 percent." tags=["draws"]
figure, axis = plt.subplots(figsize=(4.8, 1.9))
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
# With WS the gradient of a filter has mean zero and is at right angles to the filter. That is algebra, and holds to within rounding and $\epsilon$. The rest is measured. ([How a verdict comes about](recorded_run.md#verdicts). The first four are
# logarithms of ratios by seed: of the share of a step to the $1/I$ of chance, as a geometric mean over the layers, and of the lengths of whole gradients.)


# %% tags=["draws"]
def against_chance(step):
    return np.log(measured("ws-gn", f"{step}_share", "at the end") / random_share).mean(axis=1)


def shorter(when):
    with_ws, without = (
        np.linalg.norm(measured(net, "grad_norm", when), axis=1) for net in ("ws-gn", "gn")
    )
    return np.log(with_ws / without).tolist()


display(
    intervals.verdicts(
        "Behind GroupNorm: gradients",
        [
            ("Centering takes out more than chance", [*against_chance("centering")], "more"),
            ("Scaling takes out more than chance", [*against_chance("scaling")], "more"),
            ("WS shortens the gradient, initially", shorter("initial"), "less"),
            ("WS shortens the gradient, at the end", shorter("at the end"), "less"),
        ],
        ratios=True,
    )
)
intervals.verdicts(
    "Behind GroupNorm: accuracy (points)",
    [
        ("Centering only is better than neither", minus("center-gn", "gn"), "more"),
        ("Scaling only is the same as neither", minus("scale-gn", "gn"), "same"),
        ("Centering only is the same as both", minus("center-gn", "ws-gn"), "same"),
        ("Without a norm behind: both steps matter", None, "more"),
    ],
)

# %% [markdown]
# * **That both steps matter**, as the authors' argument has it, is not measured here, and could not be. In front of a normalization that is blind to scale there is little or nothing for scaling to do, and what it takes out is hardly more than chance would. A fair test has none behind it,
#   or one that is not blind.
# * **Centering alone** gives nearly all of the gain in accuracy, and scaling alone none. GroupNorm takes out the scale of a group of filters anyway; nothing else takes out the mean. Whether the last bit is scaling's, three seeds don't decide.
# * **That gradients are shorter** with WS is undecided, with room for twice as long as well as half.
# * None of it shows that centering would be enough without a normalization, or with another one: these runs are a small VGG with GroupNorm, trained for four epochs at one learning rate,
#   at which GroupNorm alone [did not do best](recorded_run.md#rates).
