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
# # Weights, before and after
#
# What does Weight Standardization see, and what does it take away? We open a VGG that was trained with it and look at
# every filter twice: as the raw weight $W$ that the optimizer trained, and as the $\hat W$ that the convolution used.
#
# *5 minutes. It helps to know [what WS computes](../annotated/standardization.md).*

# %% alt="Two panels over the 13 layers, a dot per filter, initial and trained. Left: standard deviations, larger after training in every layer. Right: mean over standard deviation, mostly within a gray band around zero, wider in the last three layers after training." tags=["draws"]
# %config InlineBackend.figure_formats = ["svg"]
import matplotlib.pyplot as plt
import torch
from IPython.display import display
from safetensors.torch import load_file
from torch.nn import functional as F

from labml_ws import Conv2d, weight_standardization
from labml_ws.experiment import plots, record
from labml_ws.experiment.config import build

plt.style.use("labml_ws.experiment.house")

(run,) = record.read("quarter-width")
config = run.config

torch.manual_seed(config.seed)
initial, trained = build(config), build(config)
trained.load_state_dict(load_file(run.folder / "model.safetensors"))
layers = [name for name, module in trained.named_modules() if isinstance(module, Conv2d)]
print(f"{len(layers)} convolutions, {config.epochs} epochs, seed {config.seed}")


def moments(weights):
    rows = [torch.std_mean(weight.flatten(1), dim=1, correction=0) for weight in weights]
    return [mean for _, mean in rows], [std for std, _ in rows]


before = [initial.get_submodule(name).weight.detach() for name in layers]
after = [trained.get_submodule(name).weight.detach() for name in layers]
standardized = [weight_standardization(weight) for weight in after]
turned = [
    torch.rad2deg(F.cosine_similarity(a.flatten(1), b.flatten(1)).acos())
    for a, b in zip(map(weight_standardization, before), standardized, strict=True)
]
longer = [
    b.mean() / a.mean() for a, b in zip(moments(before)[1], moments(after)[1], strict=True)
]
off = torch.cat([(m / s).abs() for m, s in zip(*moments(after), strict=True)])
mean_left = max(float(m.abs().max()) for m in moments(standardized)[0])
widths = torch.cat(moments(standardized)[1])
angles = [float(angle.mean()) for angle in turned]
display(
    plots.InShort(
        [
            f"**Training makes every layer's filters longer**, {min(longer):.1f} to {max(longer):.1f} times in the mean of a layer, and pushes some off center, by up to {off.max():.2f} of their width.",
            f"**WS takes both away**: as the convolution sees them, all have a mean of about {mean_left:.1e} at most and a width between {widths.min():.4f} and {widths.max():.4f}.",
            f"**What is left is a direction.** Training turned the filters by {min(angles):.0f} to {max(angles):.0f} degrees, a layer's mean; two random ones are 90 apart.",
        ],
        "what training would have done without WS. It is one network, trained once, with Adam.",
    )
)
figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.6))
for weights, color, side in ((before, "C1", -0.17), (after, "C0", 0.17)):
    for layer, (mean, std) in enumerate(zip(*moments(weights), strict=True), 1):
        place = layer + side + 0.12 * (torch.rand(len(mean)) - 0.5)
        left.scatter(place, std, s=4, color=color, alpha=0.7, linewidths=0, rasterized=True)
        right.scatter(
            place, mean / std, s=4, color=color, alpha=0.7, linewidths=0, rasterized=True
        )
chance = [2 * weight[0].numel() ** -0.5 for weight in before]
numbers = range(1, len(layers) + 1)
right.fill_between(numbers, [-c for c in chance], chance, color="0.5", alpha=0.2, linewidth=0)
left.set(xlabel="layer", ylabel="standard deviation", yscale="log", xticks=numbers[::3])
left.set_yticks([0.05, 0.1, 0.2, 0.4], ["0.05", "0.1", "0.2", "0.4"])
left.set_yticks([], minor=True)
right.set(xlabel="layer", ylabel="mean / standard deviation", xticks=numbers[::3])
left.text(8.6, 0.051, "initial", color="C1")
left.text(8.6, 0.3, "trained", color="C0")
plots.panels(figure)
plt.show()
plots.Provenance([run])

# %% [markdown]
# The network is a [recorded run](recorded_run.md): a quarter of the channels of the full VGG, WS and BCN,
# CIFAR-10. Its initial weights are drawn again from the seed, so before and after *training* can be compared as well.

# %% [markdown]
# ## One place and one width
#
# Each thin line is the distribution of the weights of one filter, for sixteen filters of three layers. On the left the curves differ in width, in the
# last layer in place as well, and the scale below them is each layer's own. On the right they share mean 0
# and variance 1 in every layer, and only the **shape** is left to tell filters apart.

# %% alt="Six panels: densities of the weights of 16 filters in layers 2, 7 and 13. Left, raw: bell curves that differ slightly in width, on a scale of its own for each layer. Right, standardized: the same shapes, all centered on zero with standard deviation one." tags=["draws"]
figure, axes = plt.subplots(3, 2, figsize=(7.2, 6), gridspec_kw={"wspace": 0.12})
for row, index in zip(axes, (1, 6, 12), strict=True):
    raw = trained.get_submodule(layers[index]).weight.detach()
    for axis, weight in zip(row, (raw, weight_standardization(raw)), strict=True):
        limit = 4 * weight.std().item()
        for filter_ in weight.flatten(1)[:16]:
            density, edges = torch.histogram(
                filter_, bins=24, range=(-limit, limit), density=True
            )
            axis.plot(
                (edges[1:] + edges[:-1]) / 2, density, color="C0", alpha=0.45, linewidth=0.9
            )
        axis.set(yticks=[])
    row[0].set_title(f"layer {index + 1}, fan-in {raw[0].numel()}: raw W")
    row[1].set_title("standardized Ŵ")
plots.panels(figure)
plt.show()
plots.Provenance([run])

# %% [markdown]
# ## Every filter of the network, as a dot
#
# [The figure at the top](#weights-before-and-after). Left, how wide a filter is: the standard deviation $\code{std}{\sigma}$ of its weights. Each dot is a filter, before training and after. In every layer training has made
# the filters *longer*, those of the later layers four to six times. Nobody asked it to: the gradient has [no part along a
# filter](../annotated/standardization.md), so a step of SGD goes sideways, and sideways from a point on a circle is always a little further out. (Adam's steps, taken here, are only roughly along the gradient.)
#
# Right, how far a filter is off center: its mean $\code{mean}{\mu}$, in units of $\code{std}{\sigma}$. The gray band is chance, two standard deviations of the
# mean of as many random numbers as the filter has weights. Most layers stayed within it; the last three left it, and mostly downwards. Along the
# gradient no mean would move at all; Adam, which divides each weight's step by a scale of its own, moves them.
#
# After standardization all of this is gone: every dot is at width 1 and mean 0.
#
# * `mean`: the mean of each filter of a layer; `std`: their standard deviations

# %%
for name, weights in (("initial", before), ("trained", after), ("standardized", standardized)):
    mean, std = (torch.cat(values) for values in moments(weights))
    print(
        f"{name:12}  std {std.min():.3f} to {std.max():.3f}, |mean| / std up to {(mean / std).abs().max():.1e}"
    )

# %% [markdown]
# ## How far does a filter turn?
#
# With place and width gone, a standardized filter is a direction, and training can only turn it. By how much? Each dot is the angle between a filter's $\hat W$ before training and
# after; the line is the mean of a layer. At 90 degrees (dashed) nothing of the random start is left: that is how far apart two random directions are, where a space has many dimensions. The first layer has turned
# by less than half of that and the others by two thirds of it and more, so after 30 epochs every layer still shows where it started.

# %% alt="The angle between initial and trained standardized filters, a dot per filter over the 13 layers, with the mean of each layer." tags=["draws"]
figure, axis = plt.subplots(figsize=(4.8, 3))
for layer, angles in enumerate(turned, 1):
    place = layer + 0.4 * (torch.rand(len(angles)) - 0.5)
    axis.scatter(place, angles, s=4, color="C0", alpha=0.7, linewidths=0, rasterized=True)
axis.plot(numbers, [angles.mean() for angles in turned], color="black", linewidth=1)
axis.axhline(90, color="black", linewidth=0.8, linestyle="--")
axis.set(
    xlabel="layer",
    ylabel="angle (degrees)",
    ylim=(0, 100),
    xticks=numbers[::3],
    yticks=(0, 45, 90),
)
plt.show()
print("mean angle per layer:", *(f"{angles.mean():.0f}" for angles in turned))
plots.Provenance([run])

# %% [markdown]
# ## The first layer, as images
#
# Sixteen filters of the first layer as 3×3 color patches, each scaled to its own largest weight, with gray for zero: as drawn at random, as trained, and as standardized. From the second row to the third the
# pattern stays, tint included, as it is a difference between colors. What goes is the overall brightness: a filter lighter or darker than gray as a whole has a
# mean away from zero.


# %% alt="Three rows of sixteen small color patches: the first layer's filters at random, trained, and standardized. Training changes the patterns; standardizing keeps them and their tints, and removes the overall brightness." tags=["draws"]
def tiled(kernels, gap):
    """[rows, columns, channels, 3, 3] as one picture: a row below the other, `gap` between two."""
    kernels = F.pad(kernels, (0, 1, 0, 1), value=gap)
    return kernels.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)


rows = torch.stack([weight[:16] for weight in (before[0], after[0], standardized[0])])
rows = rows / rows.abs().amax(dim=(2, 3, 4), keepdim=True) / 2 + 0.5
rows = torch.cat([rows, torch.ones_like(rows[:, :, :1])], dim=2)  # opaque, but for the gaps
figure, axis = plt.subplots(figsize=(4.8, 1.6))
axis.imshow(tiled(rows, gap=0), interpolation="none")
axis.axis("off")
plt.show()
plots.Provenance([run])

# %% [markdown]
# ## A kernel of every layer
#
# Deeper down a filter has no color. Here is one 3×3 kernel from each layer, from the input on the left to the last layer on the right: of the first filter, the part that changed most.
# Above as drawn, below as trained, each pair on one scale, red for positive and blue for negative weights.

# %% alt="Two rows of thirteen 3×3 kernels, one per layer, initial above and trained below." tags=["draws"]
pairs = []
for a, b in zip(before, after, strict=True):
    pair = torch.stack([weight_standardization(weight)[0] for weight in (a, b)])
    most = (pair[1] - pair[0]).square().sum(dim=(1, 2)).argmax()
    pairs.append(pair[:, most] / pair[:, most].abs().max())
figure, axis = plt.subplots(figsize=(4.8, 1.3))
axis.imshow(
    tiled(torch.stack(pairs, dim=1)[:, :, None], gap=torch.nan),
    interpolation="none",
    vmin=-1,
    vmax=1,
)
axis.axis("off")
plt.show()
plots.Provenance([run])

# %% [markdown]
# ## Did eps matter?
#
# The variance of $\hat W$ is $\code{smallest}{\sigma}^2 / (\code{smallest}{\sigma}^2 + \epsilon)$, a little less than one. The smallest raw standard deviation of the network says how much less,
# at worst. Where that ratio is far below 1, $\epsilon = 10^{-5}$ is not negligible, and implementations that place it elsewhere compute another function. Here it did not matter.

# %%
smallest = torch.cat(moments(after)[1]).min()  # the least standard deviation of a filter
print(f"smallest raw standard deviation: {smallest:.4f}")
print(f"smallest variance of a standardized filter: {smallest**2 / (smallest**2 + 1e-5):.4f}")
