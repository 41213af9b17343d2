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
# # Small batches
#
# A detector may have a BatchNorm in every block and yet room for only one image on the GPU. What do the batch statistics do there, and what do
# [estimated statistics](../annotated/batch_channel_norm.md) do instead? We feed both the same stream of images and watch.
#
# *7 minutes. It helps to know [what BatchNorm computes](../glossary.md#batchnorm).*

# %% alt="Three panels of a channel mean over 64 steps. Batch size 64: batch means close to the data set's mean. Batch size 8: slightly scattered. Batch size 1: strongly scattered. In each panel the running estimate rises and settles near the data set's mean." tags=["draws", "computed"]
# %config InlineBackend.figure_formats = ["svg"]
import matplotlib.pyplot as plt
import torch
from IPython.display import display
from torch import nn

from labml_ws import BatchChannelNorm, ChannelNorm, EstimatedBatchNorm
from labml_ws.experiment import plots
from labml_ws.experiment.cifar10 import channel_stats, load, normalize

plt.style.use("labml_ws.experiment.house")

torch.manual_seed(0)
images = load("digits")
with torch.no_grad():
    pixels = normalize(images.train_x, *channel_stats(images.train_x))
    x = nn.Conv2d(3, 8, 16, stride=16)(pixels)  # [N, 8, 2, 2]
x = x + 2  # a channel mean far from zero, as behind a few layers without normalization
order = torch.randint(len(x), (4096,))
var, mean = torch.var_mean(x[:, 0], correction=0)


def follow(batch_size, steps=64):
    """The mean of channel 0 in each batch, and the running estimate after it."""
    norm, batch_means, running_means = EstimatedBatchNorm(8), [], []
    for batch in order.split(batch_size)[:steps]:
        norm(x[batch])
        batch_means.append(x[batch, 0].mean())
        running_means.append(norm.running_mean[0].clone())
    return torch.stack(batch_means), torch.stack(running_means)


def settled(around_running, steps=400):
    """The running variance at one image per step, after 100 steps, as a share of the true one; around the running mean, or the image's own."""
    norm, own, found = EstimatedBatchNorm(8), torch.ones(8), []
    for image in order[:steps]:
        norm(x[image, None])
        own.lerp_(x[image].var(dim=(1, 2), correction=0), 0.1)
        found.append((norm.running_var if around_running else own)[0].clone())
    return torch.stack(found[100:]).mean() / var


figure, axes = plt.subplots(1, 3, figsize=(7.2, 2.9), sharey=True)
spreads, late = {}, {}
for axis, batch_size in zip(axes, (64, 8, 1), strict=True):
    batch_means, running_means = follow(batch_size)
    spreads[batch_size] = batch_means.std()
    late[batch_size] = (running_means[40:] - mean).abs().mean()
    axis.plot(batch_means, ".", color="C1", label="the batch's own")
    axis.plot(running_means, color="C0", label="running estimate")
    axis.axhline(mean.item(), color="black", linewidth=0.8, linestyle="--")
    axis.set(
        title=f"{batch_size} image{'s' * (batch_size > 1)} per step",
        xlabel="step",
        ylim=(1.4, 2.4),
    )
axes[0].set_ylabel("mean of channel 0")
axes[0].legend(loc="upper right")
plots.panels(figure)
display(
    plots.InShort(
        [
            f"**The mean of a batch says less and less**: it scatters by {spreads[64]:.3f} with 64 images per step and by {spreads[1]:.3f} with one, where all there is to tell images apart is {var.sqrt():.3f} wide.",
            f"**An estimate over many steps settles** even with one image per step: {late[1]:.3f} from the true mean, on average over the last steps.",
            f"**It must take its variance around the running mean**: then it finds {100 * settled(True):.0f} % of the true one, around each image's own mean {100 * settled(False):.0f} %.",
        ],
        "that training is better for it: here nothing is trained. That is measured in [Micro-batches](micro_batches.md).",
    )
)
plt.show()

# %% [markdown]
# The images are scikit-learn's digits, real pixels and nothing to download. One random convolution with a large stride leaves eight channels of 2×2
# positions, as in the last block of a VGG. That is where a statistic over a small batch has the fewest values: four per image. At 32×32 even a single
# image gives it 1,024.
#
# <a id="what-a-batch-says-about-the-mean"></a>
#
# ## Why BatchNorm gets worse
#
# **In one sentence: with few images in a batch BatchNorm normalizes each image by what happens to be beside it, in the end by nothing but itself, and is then evaluated with running statistics that describe none of the batches that it was trained on.**
#
# Each panel at the top follows the mean of one channel over 64 steps. The dashed line is the mean over the whole data set, which is what we would like to subtract.
# With 64 images per step the batch mean is close to it. With one image it is the mean of *that image*: subtracting it, BatchNorm takes out the level that
# told one image from another. The running estimate settles in all three panels, also where it sees one image per step. (It starts at 0, below the panels.)

# %%
print(f"channel 0 over all images: mean {mean:.2f}, variance {var:.2f}")
for batch_size in (64, 8, 1):
    spread = torch.stack([x[batch, 0].mean() for batch in order.split(batch_size)[:64]]).std()
    print(f"batch size {batch_size:2}: spread of the batch means {spread:.3f}")

# %% [markdown]
# ## Variance around which mean?
#
# At one image per step, should the variance be taken around the image's own mean (labml's form) or around the old running mean (the authors' form, and
# ours)? The first never sees that images differ from *each other*, and settles below the variance of all images. The second fluctuates around it. Its
# price is paid at the start. Both begin at 1, and the first falls at once. The second even rises: while the running mean is still on its way from 0, that
# distance counts as variance. It comes down later.

# %%
estimated, own = EstimatedBatchNorm(8), torch.ones(8)
authors_form, own_form = [], []
for image in order[:400]:
    estimated(x[image, None])
    own.lerp_(x[image].var(dim=(1, 2), correction=0), 0.1)
    authors_form.append(estimated.running_var[0].item())
    own_form.append(own[0].item())
for name, form in (("the running mean", authors_form), ("the image's own", own_form)):
    print(
        f"around {name:16}: {torch.tensor(form[100:]).mean() / var:.2f} of the true variance, after 100 steps"
    )

# %% alt="Running variance over 400 steps at one image per step. Both begin far above it. The form around the running mean first rises, comes down later and then fluctuates around the variance of all images; the form around the image's own mean settles below it." tags=["draws", "computed"]
figure, axis = plt.subplots(figsize=(4.8, 3.4))
axis.plot(authors_form, label="around the running mean")
axis.plot(own_form, label="around the image's own mean")
axis.axhline(var.item(), color="black", linewidth=0.8, linestyle="--", label="all images")
axis.set(
    xlabel="step, one image each",
    ylabel="running variance of channel 0",
    yscale="log",
)
axis.set_yticks([0.03, 0.1, 0.3, 1], ["0.03", "0.1", "0.3", "1"])
axis.set_yticks([], minor=True)
axis.legend(loc="upper right")
plt.show()

# %% [markdown]
# ## A channel that is falling behind
#
# Why a batch norm at all, if a channel norm needs no batch? Push one channel of a group down, step by step, as training may. The channel norm
# normalizes the *group*: it lets that channel sink, and fewer and fewer of its values are above zero. A ReLU behind it passes only those, and when there
# are none, the channel is out of the network: that is an elimination singularity. (What can still move it is [another question](singularities.md#for-good).) BCN's batch norm lifts the channel first, here with the statistics of a batch of all images, and then
# it does so whatever the shift.

# %%
shifts = torch.linspace(0, 8, 17)
channel_norm, batch_channel_norm = (
    ChannelNorm(8, groups=1),
    BatchChannelNorm(8, groups=1, estimate=False),
)
active = {channel_norm: [], batch_channel_norm: []}
for shift in shifts:
    lowered = x.clone()
    lowered[:, 0] -= shift * var.sqrt()
    for norm, shares in active.items():
        with torch.no_grad():
            shares.append((norm(lowered)[:, 0] > 0).float().mean().item())
for norm, shares in active.items():
    print(
        f"{type(norm).__name__:16}: {shares[-1]:.1%} of its values above zero when shifted by {shifts[-1]:.0f}"
    )

# %% alt="Share of positive values of one channel against its downward shift. Channel norm: falls from about a half to zero. Batch-channel norm: stays at about a half." tags=["draws", "computed"]
figure, axis = plt.subplots(figsize=(4.8, 3.4))
axis.plot(shifts, active[channel_norm], "o-", color="C1", label="channel norm alone")
axis.plot(
    shifts, active[batch_channel_norm], "o-", color="C0", label="batch norm, then channel norm"
)
axis.set(
    xlabel="shift of the channel, in its standard deviations",
    ylabel="share of values above zero",
)
axis.set_ylim(-0.03, 1)
axis.legend(loc="upper left")
plt.show()

# %% [markdown]
# **Estimates lift it later.** They have to learn of the shift first, and the slower they move the longer that takes. Here the channel drops by 8 standard deviations at once, which training would hardly do, and one image
# comes per step. We count the steps until it is above zero half as often as before.

# %%
channels = [0, 2, 3]
for share in (0.1, 0.01, 0.001):
    norm = BatchChannelNorm(8, groups=1, momentum=share)
    norm.batch_norm.running_mean.copy_(x.mean(channels))
    norm.batch_norm.running_var.copy_(x.var(channels, correction=0))
    lowered = x.clone()
    lowered[:, 0] -= 8 * var.sqrt()
    with torch.no_grad():
        before, steps, now = (norm.eval()(x)[:, 0] > 0).float().mean(), 0, 0.0
        while now < before / 2:
            norm.train()(lowered[order[steps], None])
            now, steps = (norm.eval()(lowered[:256])[:, 0] > 0).float().mean(), steps + 1
    print(f"an image's share in the estimates {share:5}: {steps:4} steps")
