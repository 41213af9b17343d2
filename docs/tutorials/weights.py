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
# # Weights before and after
#
# What does Weight Standardization see, and what does it take away? We open a VGG that was trained with it and look at
# every filter twice: as the raw weight $W$ that the optimizer trained, and as the $\hat W$ that the convolution used.
#
# The network is a [recorded run](recorded_run.md): a quarter of the channels of the full VGG, WS and BCN,
# CIFAR-10. Its first weights come back from the seed, so before and after *training* can be compared as well.

# %%
# %config InlineBackend.figure_formats = ["svg"]
import json
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from safetensors.torch import load_file

from labml_ws import Conv2d, weight_standardization
from labml_ws.experiment import Config, build

run = next(folder for folder in (Path("../runs"), Path("docs/runs")) if folder.exists()) / "quarter-width"
record = json.loads((run / "config.json").read_text())
config = Config(**record["config"] | {"out": None})

torch.manual_seed(config.seed)
initial, trained = build(config), build(config)
trained.load_state_dict(load_file(run / "model.safetensors"))
layers = [name for name, module in trained.named_modules() if isinstance(module, Conv2d)]
print(f"{len(layers)} convolutions, {config.epochs} epochs, seed {config.seed}")

# %% [markdown]
# ## One curve per filter becomes one curve
#
# Each thin line is the distribution of the weights of one filter, in three layers. On the left filters differ in place and in width; the
# ones that sit off center answer to the *brightness* of their input as much as to its pattern. On the right
# they share mean 0 and variance 1, and only the **shape** of a distribution is left to tell filters apart.

# %% alt="Six panels: densities of the weights of 16 filters in layers 2, 7 and 13. Left, raw: curves of different width and position. Right, standardized: all centered on zero with standard deviation one." tags=["wide"]
figure, axes = plt.subplots(3, 2, figsize=(7.2, 6))
for row, index in zip(axes, (1, 6, 12), strict=True):
    raw = trained.get_submodule(layers[index]).weight.detach()
    for axis, weight in zip(row, (raw, weight_standardization(raw)), strict=True):
        limit = 4 * weight.std().item()
        for filter_ in weight.flatten(1)[:16]:
            density, edges = torch.histogram(filter_, bins=24, range=(-limit, limit), density=True)
            axis.plot((edges[1:] + edges[:-1]) / 2, density, color="C0", alpha=0.45, linewidth=0.9)
        axis.set(yticks=[])
    row[0].set_ylabel(f"layer {index + 1}\nfan-in {raw[0].numel()}")
axes[0, 0].set_title("raw weight W")
axes[0, 1].set_title("standardized Ŵ")
plt.show()

# %% [markdown]
# ## Every filter of the network, as a point
#
# Mean and standard deviation of each of the filters, at the start, after training, and as the convolution sees them. The starting cloud is
# narrow: He initialization draws every filter from one distribution per layer. Training spreads it. Standardization puts every point on (0, 1).
#
# Along a *gradient*, a filter's mean would stay where it was: [that gradient sums to zero](../annotated/standardization.md). Adam divides
# each weight's step by a scale of its own, so the sum is no longer zero and the means drift. Standardization removes what has drifted.


# %% alt="Three scatter plots of filter mean against filter standard deviation: initial, a set of narrow clouds; trained, wider clouds; standardized, a single point at mean zero and standard deviation one." tags=["wide"]
def moments(weights):
    rows = [torch.std_mean(weight.flatten(1), dim=1, correction=0) for weight in weights]
    return torch.cat([mean for _, mean in rows]), torch.cat([std for std, _ in rows])


before = [initial.get_submodule(name).weight.detach() for name in layers]
after = [trained.get_submodule(name).weight.detach() for name in layers]
standardized = [weight_standardization(weight) for weight in after]

figure, axes = plt.subplots(1, 3, figsize=(7.2, 2.9))
titles = ("raw, initial", "raw, trained", "standardized, trained")
for axis, weights, title in zip(axes, (before, after, standardized), titles, strict=True):
    mean, std = moments(weights)
    axis.scatter(mean, std, s=5, alpha=0.5, linewidths=0)
    axis.set(title=title, xlabel="mean of a filter")
    print(f"{title:22} |mean| / std, median over {len(mean)} filters: {(mean.abs() / std).median():.1e}")
axes[0].set_ylabel("standard deviation")
axes[1].sharex(axes[0])
axes[1].sharey(axes[0])
axes[2].set(xlim=(-1, 1), ylim=(0, 2))
plt.show()

# %% [markdown]
# ## The first layer, as images
#
# Sixteen filters of the first layer as 3x3 color patches, each scaled to its own largest weight, with gray for zero. Above raw, below standardized: the
# pattern stays, the tint goes. A filter that was mostly one color had a mean far from zero.

# %% alt="Two rows of sixteen small color patches: the first layer's filters raw and standardized. Patterns are the same, overall tints are removed." tags=["wide"]
figure, axes = plt.subplots(2, 16, figsize=(7.2, 1.1))
for row, weight in zip(axes, (after[0], standardized[0]), strict=True):
    for axis, patch in zip(row, weight, strict=True):
        axis.imshow(patch.permute(1, 2, 0) / patch.abs().max() / 2 + 0.5)
        axis.axis("off")
plt.show()

# %% [markdown]
# ## Did eps matter?
#
# The variance of $\hat W$ is $\sigma^2 / (\sigma^2 + \epsilon)$, a little less than one. The smallest raw standard deviation of the network says how much less,
# at worst: where this is far below 1, $\epsilon = 10^{-5}$ is not negligible, and implementations that place it elsewhere compute another function.

# %%
_, std = moments(after)
smallest = std.min()
print(f"smallest raw standard deviation: {smallest:.4f}")
print(f"smallest variance of a standardized filter: {smallest**2 / (smallest**2 + 1e-5):.4f}")
