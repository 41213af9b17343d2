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
# # One idea, many implementations
#
# [Qiao et al.][@qiao2019micro] ask for filters of mean zero and variance one. Of the dozen well-known implementations of this, few compute the same
# thing: they differ in which variance, in $\epsilon$ and its place, in what they accept, and in where they break.
#
# *28 minutes. It helps to have read [the function](../annotated/standardization.md), line by line.*

# %% alt="Root mean square of a standardized filter against the standard deviation of the raw one, from 1e-6 to 1. Each curve is a step from 0 to 1; from left to right: 1e-10 and eps outside near 1e-5, 1e-8 near 1e-4, NFNets' threshold near 4e-4 with a sharp corner, 1e-6 near 1e-3, the paper's 1e-5 near 3e-3, and 1e-3 in half precision near 3e-2. A gray band marks torch's default initialization." tags=["draws", "computed"]
# %config InlineBackend.figure_formats = ["svg"]
import warnings

import matplotlib.pyplot as plt
import torch
from IPython.display import display
from torch import nn
from torch.nn import functional as F

from labml_ws import Conv2d
from labml_ws.experiment.plots import InShort, Table
from labml_ws.standardization import standardize

plt.style.use("labml_ws.experiment.house")

ROW = (1, 2, 3)  # the dimensions of one filter

# Root mean square of the result, of a filter that is `s` wide and has mean zero.
LENGTHS = {
    "1e-10": lambda s: s / (s**2 + 1e-10) ** 0.5,
    "σ + 1e-5": lambda s: s / (s + 1e-5),
    "1e-8": lambda s: s / (s**2 + 1e-8) ** 0.5,
    "NFNets": lambda s: s * (576**0.5) / (576 * s**2).clamp(min=1e-4) ** 0.5,
    "1e-6": lambda s: s / (s**2 + 1e-6) ** 0.5,
    "1e-5": lambda s: s / (s**2 + 1e-5) ** 0.5,
    "1e-3": lambda s: s / (s**2 + 1e-3) ** 0.5,
}
PLACES = {  # of the names, and their colors
    "1e-10": ("C0", (1.7e-6, 0.6)),
    "σ + 1e-5": ("C1", (1.7e-5, 0.53)),
    "1e-8": ("C2", (1.3e-4, 0.6)),
    "NFNets": ("C4", (2.6e-4, 1.04)),
    "1e-6": ("C3", (1e-3, 0.6)),
    "1e-5": ("black", (2.9e-3, 0.53)),
    "1e-3": ("C0", (3e-2, 0.53)),
}
figure, axis = plt.subplots(figsize=(4.8, 3.4))
axis.axvspan((3 * 4608) ** -0.5, (3 * 27) ** -0.5, color="0.5", alpha=0.15, linewidth=0)
widths = torch.logspace(-6, 0, 181)
for label, (color, place) in PLACES.items():
    width = 2.2 if label == "1e-5" else 1.4
    axis.plot(widths, LENGTHS[label](widths), color=color, linewidth=width)
    axis.text(*place, label, color=color)
axis.set(
    xscale="log", xlabel="standard deviation of the raw filter", xlim=(1e-6, 1), ylim=(0, 1.14)
)
axis.set_ylabel("root mean square, standardized")
default = torch.tensor((3 * 4608) ** -0.5)  # torch's initialization at a fan-in of 4608
display(
    InShort(
        [
            f"**All give a filter the same direction; they differ in how long it comes out.** At torch's default initialization of a large layer the paper's form has a root mean square of {LENGTHS['1e-5'](default):.2f}, one with $10^{{-6}}$ of {LENGTHS['1e-6'](default):.2f}.",
            f"**Dividing by $I - 1$ matters for small filters only**: σ is {100 * ((9 / 8) ** 0.5 - 1):.1f} % larger at $I = 9$, {100 * ((576 / 575) ** 0.5 - 1):.2f} % at $I = 576$.",
            "**They break in different places**: at a fan-in of 1, in `channels_last`, at a constant filter, in fp16. [A table](#where-they-break) of what each does.",
        ],
        "which trains better. The recorded runs of [conventions](recorded_run.md#conventions) leave room for a point or two to either side.",
    )
)
plt.show()

# %% [markdown]
# The figure is explained [below](#what-eps-does). Each implementation is restated, as a formula
# and as a function of two or three lines, in our own words and in torch, whatever it was written in; then all of them are run.
#
# In the formulas $\mu$ and $\sigma^2$ are the mean and the variance of a filter's $I$ weights, with $1/I$ as in the paper, and
# $s^2 = \frac{I}{I - 1} \sigma^2$ is the variance with $1/(I - 1)$, which is torch's default. The sources are as they were when we read them.
# In the functions,
#
# * `w`: the raw weight, `[O, C_in, k_h, k_w]`
# * `mean`: the mean of a filter; `var`: the variance of a filter, as the formula beside it has it
# * `mean_square`: the mean of a filter's squares; `std`: the standard deviation of a filter, as the formula beside it has it
# * `eps`: what keeps the division away from zero
#
# ## The paper's formula
#
# $$\hat W = \frac{\code{w}{W} - \code{mean}{\mu}}{\sqrt{\code{var}{\sigma^2} + \code{eps}{\epsilon}}}, \qquad \code{eps}{\epsilon} = 10^{-5}$$
#
# [DeepLab in TensorFlow](https://github.com/tensorflow/models/blob/master/research/deeplab/core/conv2d_ws.py), Chainer's
# [link hook](https://github.com/chainer/chainer/pull/6678) and [ours](../annotated/standardization.md) compute this.
#
# The paper spells the variance
#
# $$\code{var}{\sigma^2} = \frac{1}{I} \sum_j W_j^2 - \code{mean}{\mu}^2.$$
#
# That is the same number, until it is rounded. We found nobody who computes
# weights that way, but it is the obvious way to type the equation in, so it runs along as `printed`.


# %%
def paper(w, eps=1e-5):
    var, mean = torch.var_mean(w, dim=ROW, correction=0, keepdim=True)  # [O, 1, 1, 1] each
    return (w - mean) / (var + eps).sqrt()


def printed(w, eps=1e-5):
    # [O, 1, 1, 1] each
    mean, mean_square = w.mean(ROW, keepdim=True), w.square().mean(ROW, keepdim=True)
    return (w - mean) / (mean_square - mean.square() + eps).sqrt()


# %% [markdown]
# ## One less, and eps outside
#
# $$\hat W = \frac{\code{w}{W} - \mu}{\code{std}{s} + \code{eps}{\epsilon}}, \qquad \code{eps}{\epsilon} = 10^{-5}$$
#
# [The authors' code for WS][@qiao2019code] and [`ConvWS2d` of mmcv](https://github.com/open-mmlab/mmcv/blob/main/mmcv/cnn/bricks/conv_ws.py).
# Both flatten with `view`. One version of the authors' README takes `torch.std_mean` over the dimensions instead: the same formula, without the `view`.


# %%
def authors(w, eps=1e-5):
    std = w.view(len(w), -1).std(dim=1).view(-1, 1, 1, 1)  # [O, 1, 1, 1]
    return (w - w.mean(ROW, keepdim=True)) / (std + eps)


# %% [markdown]
# ## One less, and eps inside
#
# $$\hat W = \frac{\code{w}{W} - \code{mean}{\mu}}{\sqrt{\code{var}{s^2} + \code{eps}{\epsilon}}}, \qquad \code{eps}{\epsilon} = 10^{-5}$$
#
# [The authors' layers for BCN](https://github.com/joe-siyuan-qiao/Batch-Channel-Normalization/blob/master/imagenet/models/layers.py),
# [labml](https://nn.labml.ai/normalization/weight_standardization/index.html) (whose formula divides by $I$ and whose code does not), and mmcv's `ConvAWS2d`, made for
# [DetectoRS][@qiao2021detectors]. The last returns $\gamma \hat W + \code{beta}{\beta}$ with two buffers. When it loads weights that were trained without WS, it sets
# $\gamma = \sqrt{\code{var}{s^2} + \code{eps}{\epsilon}}$ and $\code{beta}{\beta} = \code{mean}{\mu}$ of *those* weights: they begin as what they were, and are learned through the standardization from there on.
#
# * `beta`: what is added, the mean of a pretrained filter


# %%
def authors_bcn(w, eps=1e-5):
    var, mean = torch.var_mean(w.view(len(w), -1), dim=1, keepdim=True)  # [O, 1] each
    return ((w.view(len(w), -1) - mean) / (var + eps).sqrt()).view(w.shape)


pretrained = torch.randn(64, 64, 3, 3, generator=torch.Generator().manual_seed(0)) / 24
# [64, 1, 1, 1] each
var, beta = torch.var_mean(pretrained, dim=ROW, keepdim=True)
loaded = (var + 1e-5).sqrt() * authors_bcn(pretrained) + beta
changed = (loaded - pretrained).abs().max()
print(f"ConvAWS2d, pretrained weights loaded: changed by {changed:.0e}")

# %% [markdown]
# ## Eps outside, in JAX
#
# $$\hat W = \frac{\code{w}{W} - \code{mean}{\mu}}{\sqrt{\code{var}{\sigma^2}} + \code{eps}{\epsilon}}, \qquad \code{eps}{\epsilon} = 10^{-5}$$
#
# [vit_jax](https://github.com/google-research/vision_transformer/blob/main/vit_jax/models_resnet.py), [big_vision](https://github.com/google-research/big_vision/blob/main/big_vision/models/bit.py),
# both in Flax, and the TensorFlow lines in [the authors' README][@qiao2019code]. In these libraries a standard deviation is the root of a variance, so it is
# one here too. Flax and Haiku themselves have no such layer that we could find; [Keras was asked for one](https://github.com/keras-team/keras/issues/16105).


# %%
def jax(w, eps=1e-5):
    var, mean = torch.var_mean(w, dim=ROW, correction=0, keepdim=True)  # [O, 1, 1, 1] each
    return (w - mean) / (var.sqrt() + eps)


# %% [markdown]
# ## A batch norm of the filters
#
# $$\hat W = \frac{\code{w}{W} - \mu}{\sqrt{\sigma^2 + \code{eps}{\epsilon}}}, \qquad \code{eps}{\epsilon} = 10^{-6} \text{ or } 10^{-8}$$
#
# [`StdConv2d` of timm](https://github.com/huggingface/pytorch-image-models/blob/main/timm/layers/std_conv.py) lays the filters out as the channels of one image and lets the compiled
# `batch_norm` do the rest; [Hugging Face's BiT](https://github.com/huggingface/transformers/blob/main/src/transformers/models/bit/modeling_bit.py) does the
# same. Both default to $10^{-6}$, and both pass $10^{-8}$ in their BiT networks. (timm
# [once](https://github.com/rwightman/pytorch-image-models/blob/4ea593196414684d2074cbb81d762f3847738484/timm/models/layers/std_conv.py) had $\sigma + 10^{-5}$.)


# %%
def timm(w, eps=1e-6):
    channels = w.reshape(1, len(w), -1)  # one image, a channel for each filter
    return F.batch_norm(channels, None, None, training=True, eps=eps).reshape(w.shape)


def timm_bit(w):
    return timm(w, eps=1e-8)


# %% [markdown]
# ## Hardly any eps
#
# $$\hat W = \frac{\code{w}{W} - \code{mean}{\mu}}{\sqrt{\code{var}{\sigma^2} + \epsilon}}, \qquad \epsilon = 10^{-10}$$
#
# [Big Transfer][@kolesnikov2020big], alike in [PyTorch, TensorFlow and JAX](https://github.com/google-research/big_transfer), and
# [Composer](https://docs.mosaicml.com/projects/composer/en/latest/api_reference/generated/composer.algorithms.WeightStandardization.html).


# %%
def bit(w):
    var, mean = torch.var_mean(w, dim=ROW, correction=0, keepdim=True)  # [O, 1, 1, 1] each
    return (w - mean) / (var + 1e-10).sqrt()


# %% [markdown]
# ## An eps for each precision
#
# $$\hat W = \frac{\code{w}{W} - \code{mean}{\mu}}{\sqrt{\code{var}{\sigma^2} + \epsilon}}, \qquad \epsilon = \begin{cases} 10^{-5} & \text{in float32} \\ 10^{-3} & \text{otherwise} \end{cases}$$
#
# [lucidrains' diffusion models](https://github.com/lucidrains/denoising-diffusion-pytorch) had this until 2023. It asks for the dtype of the layer's *input*, here taken to be the
# weight's. (The one-dimensional model had $\max(\code{var}{\sigma^2}, \epsilon)$ under the root.) One of its copies, in Hugging
# Face's *Annotated Diffusion*, divided by `rsqrt`, which is to multiply by $\sqrt{\code{var}{\sigma^2} + \epsilon}$, [until November 2024](https://github.com/huggingface/blog/pull/2484).


# %%
def lucidrains(w):
    var, mean = torch.var_mean(w, dim=ROW, correction=0, keepdim=True)  # [O, 1, 1, 1] each
    return (w - mean) * (var + (1e-5 if w.dtype == torch.float32 else 1e-3)).rsqrt()


# %% [markdown]
# ## Scaled by the fan-in
#
# \begin{align}
# \hat W &= \gamma \, \frac{\code{w}{W} - \code{mean}{\mu}}{\sqrt{\max(I \code{var}{\sigma^2}, \code{eps}{\epsilon})}}, & \code{eps}{\epsilon} &= 10^{-4} \\[2ex]
# \hat W &= \frac{\gamma}{\sqrt I} \cdot \frac{\code{w}{W} - \mu}{\sqrt{\sigma^2 + \epsilon}}, & \epsilon &= 10^{-6}
# \end{align}
#
# [NFNets][@brock2021high] do without a normalization behind the convolution, so their output must keep its size: each filter gets length 1 instead of
# $\sqrt I$, and a learned gain $\gamma$. Length 1 keeps the variance of an input of independent values with mean zero. What comes out of a ReLU has a mean, to which centered filters are blind, and the variance that is left is
# $\frac{1}{2} (1 - \frac{1}{\pi}) = 0.341$ of what went into it, in every layer. So [the paper on signal propagation][@brock2021characterizing] multiplies by
# $\sqrt{2 / (1 - 1/\pi)} = 1.71$ behind each ReLU. The first is [DeepMind's](https://github.com/google-deepmind/deepmind-research/blob/master/nfnets/base.py), where
# $\code{eps}{\epsilon}$ is a threshold and nothing is added, the second timm's `ScaledStdConv2d`. Below, at $\gamma = 1$, they are multiplied by $\sqrt I$ again, to be compared.


# %%
def nfnets(w, eps=1e-4):
    var, mean = torch.var_mean(w, dim=ROW, correction=0, keepdim=True)  # [O, 1, 1, 1] each
    scale = (var * w[0].numel()).clamp(min=eps).rsqrt()
    return w * scale - mean * scale


def timm_scaled(w):
    return timm(w) * w[0].numel() ** -0.5


# %% [markdown]
# ## What eps does
#
# All of these give a filter the same direction; they differ in how *long* it comes out. [The figure at the top](#one-idea-many-implementations) has the root mean square of $\hat W$, which should
# be 1, against the width of the raw filter, here at a fan-in of 576 (which only the NFNets' threshold, on $I \sigma^2$, depends on). It was drawn from formulas; here the functions are held against them. Where a curve comes down, $\epsilon$ takes over: far enough to the left a filter is only centered, and multiplied by a constant.
#
# Torch's default initialization has $\sigma = 1/\sqrt{3 I}$, the gray band for fan-ins from 27 to 4608: on its left border the paper's curve, the thick one, is at 0.94.


# %%
def rms(form, weight):
    scale = weight[0].numel() ** 0.5 if form in (nfnets, timm_scaled) else 1
    return form(weight).square().mean().sqrt() * scale


filters = standardize(torch.randn(4, 64, 3, 3, generator=torch.Generator().manual_seed(0)))
filters = filters / filters.square().mean(ROW, keepdim=True).sqrt()  # exactly 1 wide
drawn = {
    "1e-10": bit,
    "σ + 1e-5": jax,
    "1e-8": timm_bit,
    "NFNets": nfnets,
    "1e-6": timm,
    "1e-5": paper,
    "1e-3": lambda w: paper(w, 1e-3),
}
furthest = max(
    abs(rms(form, filters * width) - LENGTHS[label](width)).item()
    for label, form in drawn.items()
    for width in widths[::10]
)
print(f"a function is at most {furthest:.0e} from its curve")

# %% [markdown]
# ## The measure
#
# All of them standardize the same random filters. The *deviation* of a form is its distance from the paper's formula in float64, relative to the length of its result. Where a
# filter comes out more than twice as long, the tables say how many times as long.


# %%
FORMS = {
    "ours": standardize,
    "paper": paper,
    "printed": printed,
    "authors": authors,
    "BCN, labml": authors_bcn,
    "JAX": jax,
    "timm": timm,
    "timm's BiT": timm_bit,
    "BiT": bit,
    "lucidrains": lucidrains,
    "NFNets": nfnets,
    "timm scaled": timm_scaled,
}
SHAPES = {9: (64, 1, 3, 3), 27: (64, 3, 3, 3), 576: (64, 64, 3, 3), 4608: (8, 512, 3, 3)}


def weights(fan_in, std, dtype=torch.float32, mean=0.0):
    noise = torch.randn(SHAPES[fan_in], generator=torch.Generator().manual_seed(fan_in))
    return (noise * std + mean).to(dtype)


def deviation(form, weight):
    """Relative to the paper's formula in float64, for the very same weight."""
    expected, found = paper(weight.double()), form(weight).double()
    if form in (nfnets, timm_scaled):
        found = found * weight[0].numel() ** 0.5
    return ((found - expected).norm() / expected.norm()).item()


def written(error):
    if error >= 1:
        return f"{error + 1:.{0 if error > 9 else 1}f} ×"
    return f"{100 * error:.2g} %" if error >= 1e-5 else ("nan" if error != error else "0")


# %% [markdown]
# ## How far from the paper?
#
# Dividing by one less makes $\sigma$ larger by the factor $\sqrt{I / (I - 1)}$: 6.1 % at $I = 9$, so that the filter comes out 5.7 % shorter; 0.09 % at $I = 576$. It is the
# same factor for each filter of a layer.
#
# The place and size of $\epsilon$ count where $\sigma^2$ comes near it: 1 to 2 % at $\sigma = 0.02$, and at $10^{-4}$ there is no common result. Note the last column of the
# first table: at torch's *default initialization* a large layer comes out 6 to 7 % longer wherever less than $10^{-5}$ is added to the variance.


# %% tags=["wide"]
def deviations(title, std, dtype):
    rows = []
    for name, form in FORMS.items():
        errors = [deviation(form, weights(n, std or (3 * n) ** -0.5, dtype)) for n in SHAPES]
        rows.append([name, *map(written, errors)])
    return Table(title, [f"I = {n}" for n in SHAPES], rows)


display(deviations("torch's default initialization", None, torch.float32))
display(deviations("standard deviation 0.02", 0.02, torch.float32))
display(deviations("standard deviation 0.0001", 1e-4, torch.float32))

# %% [markdown]
# ## In bfloat16
#
# With weights in half precision the result has two or three digits, however it is computed. Rounding it once, at the end, costs about 0.16 %, and that is all that ours is off; rounding after
# every step costs about 0.3 %. Smaller differences drown in that: from $I = 576$ on, $I - 1$ makes none. What $\epsilon$ does is unchanged, and lucidrains' $10^{-3}$, which
# float32 never meets, takes away about half of the length at $\sigma = 0.02$.

# %% tags=["wide"]
display(deviations("bfloat16, default initialization", None, torch.bfloat16))
display(deviations("bfloat16, standard deviation 0.02", 0.02, torch.bfloat16))
display(deviations("bfloat16, standard deviation 0.0001", 1e-4, torch.bfloat16))

# %% [markdown]
# ## Where they break
#
# * **Fan-in 1**, a depthwise $1 \times 1$: $I - 1$ is zero and the result `nan`; with $I$ it is zero, and the layer silently dead. Better to raise an error, as
#   `batch_norm` does because it wants more than one value, and ours to say why.
# * **`channels_last`** weights cannot be flattened by `view`. It raises.
# * **A constant filter** has variance 0, where the root is infinitely steep. With $\epsilon$ inside, the gradient is finite. Outside, it is `nan` if $\sigma$ is
#   the root of a variance. `torch.std`, which the authors use, sends back zero at that point: finite, in the torch that runs here.
# * **Mean 1000** at $\sigma = 1$: the printed form subtracts two numbers near a million to find 1. Weights are not so far off; activations can be, [see
#   below](#the-same-shortcut-on-activations). (The 0.09 % of two others is $I - 1$.)
# * **fp16** at $\sigma = 10^{-4}$, to be compared with the third table of float32: the variance rounds to zero there, and so does $10^{-10}$. BiT divides by zero, and the JAX form by
#   $\epsilon$ alone, unless the kernel counts in float32 (`batch_norm`, `layer_norm`, `torch.std`) or an $\epsilon$ under the root is large enough to be there.


# %% tags=["wide"]
def attempt(form, weight):
    try:
        with warnings.catch_warnings(action="ignore"):
            w_hat = form(weight)
    except (ValueError, RuntimeError):
        return "raises"
    return "nan" if w_hat.isnan().any() else "works" if w_hat.any() else "zeros"


def slope_of_constant(form):
    weight = torch.full((4, 3, 3, 3), 0.25, requires_grad=True)
    w_hat = form(weight)
    w_hat.backward(torch.linspace(-1, 1, w_hat.numel()).view_as(w_hat))
    return "nan" if weight.grad.isnan().any() else "finite"


rows = [
    [
        name,
        attempt(form, torch.ones(4, 1, 1, 1)),
        attempt(form, weights(576, 0.02).to(memory_format=torch.channels_last)),
        slope_of_constant(form),
        written(deviation(form, weights(576, 1.0, mean=1000.0))),
        written(deviation(form, weights(576, 1e-4, torch.float16))),
    ]
    for name, form in FORMS.items()
]
heads = ["fan-in 1", "channels last", "constant: gradient", "mean 1000", "fp16, 0.0001"]
display(Table("What becomes of odd weights", heads, rows))

# %% [markdown]
# ## A padding mode that is taken and dropped
#
# Composer hands $\hat W$ to torch's own layer, and ours calls what that layer calls. The other torch layers call `F.conv2d`, which knows nothing of padding modes. The authors', mmcv's, timm's and Hugging Face's constructors don't take `padding_mode`, so asking for
# one is an error. labml's takes it and drops it; BiT's and lucidrains' inherit torch's constructor, with the same effect: a circular convolution that pads with zeros,
# wrong wherever the filter reaches over the edge.


# %%
class Dropped(nn.Conv2d):
    """Takes all that torch takes, as these layers do, and passes on all but the padding mode."""

    def forward(self, x):
        sizes = self.stride, self.padding, self.dilation, self.groups
        return F.conv2d(x, paper(self.weight), self.bias, *sizes)


torch.manual_seed(0)
dropped = Dropped(3, 8, 3, padding=1, padding_mode="circular")
kept = Conv2d(3, 8, 3, padding=1, padding_mode="circular")
kept.load_state_dict(dropped.state_dict())
images = torch.randn(16, 3, 8, 8)
wrong = ~torch.isclose(dropped(images), kept(images), atol=1e-4)
inside = wrong[:, :, 1:-1, 1:-1].float().mean()
print(f"wrong: {wrong.float().mean():.0%} of the outputs, {inside:.0%} inside the border")

# %% [markdown]
# ## What a normalization leaves of it
#
# A factor that all filters of a layer share, like that of $I - 1$, is taken out by any normalization that computes its statistics afresh. What $\epsilon$ does differs from
# filter to filter, and GroupNorm, which normalizes groups of channels, keeps their proportions. Here are filters of widths from 0.01 to 0.04: behind a GroupNorm $I - 1$ is all but gone, and
# of the rest about half is left. BatchNorm in training, channel by channel, takes out both. In *evaluation* it uses stored statistics and passes on all of the first column: this is
# where weights trained under one convention and loaded under another give other outputs.
#
# Does a training run care? The recorded runs of [conventions](recorded_run.md#conventions), which train WS + GN with $I - 1$ and with $\epsilon$ outside, three seeds each, show no difference. They would not show a small one:
# the intervals [leave room](recorded_run.md#verdicts) for one or two points to either side.

# %%
spread = torch.logspace(-2, -1.4, 64)[torch.randperm(64)].view(-1, 1, 1, 1)
weight, images = weights(576, 1.0) * spread, torch.randn(4, 64, 8, 8)
expected = F.conv2d(images.double(), paper(weight.double()))
norms = nn.Identity(), nn.GroupNorm(16, 64).double(), nn.BatchNorm2d(64).double()
rows = []
for name in ("ours", "authors", "BCN, labml", "JAX", "timm", "BiT"):
    output = F.conv2d(images.double(), FORMS[name](weight).double())
    cells = [
        written(((n(output) - n(expected)).norm() / n(expected).norm()).item()) for n in norms
    ]
    rows.append([name, *cells])
display(Table("Deviation of the outputs", ["convolution", "+ GroupNorm", "+ BatchNorm"], rows))

# %% [markdown]
# ## The running variance of BCN
#
# The estimated batch norm has fewer implementations, and they differ more. With the mean $m$ of a batch, the running mean $\code{mean}{\hat\mu}$ as it was before, and a bar for the mean over the batch,
#
# \begin{align}
# \code{var}{\hat\sigma^2} &\leftarrow (1 - \code{r}{r})\, \code{var}{\hat\sigma^2} + \code{r}{r}\, \code{around}{\overline{(x - \hat\mu)^2}} && \text{or} \\
# \code{var}{\hat\sigma^2} &\leftarrow (1 - \code{r}{r})\, \code{var}{\hat\sigma^2} + \code{r}{r} \left( \overline{x^2} - m^2 \right).
# \end{align}
#
# The first form is [the authors'](https://github.com/joe-siyuan-qiao/Batch-Channel-Normalization) and [ours][labml_ws.batch_channel_norm.EstimatedBatchNorm.update], the second
# [labml's](https://nn.labml.ai/normalization/batch_channel_norm/index.html), whose text says the first. The stream below has one image per step, channel mean 5, variance 1 *between* images and 1 *within*
# each, so 2 in all (2.21 in the 300 samples that are looked at). labml's form sees only what is within, and gives an output that is too wide. So does torch's BatchNorm, once it is evaluated with what it has stored.
#
# As released, the authors' $\code{r}{r}$ is a buffer that starts at 0 and that nothing sets. Then both statistics stay at their start, and the layer subtracts
# 0 and divides by 1.
#
# * `r`: the share of a batch in the running statistics; `mean`: the running mean; `var`: the running variance
# * `around`: the variance of a batch about the running mean


# %%
def around_old(x, mean, var, r):  # the authors
    around = (x - mean).square().mean()
    return mean.lerp(x.mean(), r), var.lerp(around, r)


def around_own(x, mean, var, r):  # labml
    own = x.square().mean() - x.mean().square()
    return mean.lerp(x.mean(), r), var.lerp(own, r)


def run(update, r):
    mean, var, outputs, variances = torch.tensor(0.0), torch.tensor(1.0), [], []
    for x in stream:
        mean, var = update(x, mean, var, r)
        outputs.append((x - mean) / (var + 1e-5).sqrt())
        variances.append(var)
    settled = torch.stack(outputs[300:])
    cells = torch.stack(variances[300:]).mean(), settled.mean(), settled.std()
    return [f"{cell:z.2f}" for cell in cells]


torch.manual_seed(0)
stream = 5 + torch.randn(600, 1, 1, 1, 1) + torch.randn(600, 1, 1, 16, 16)
norm = nn.BatchNorm2d(1)
for x in stream:
    norm(x)
evaluated = norm.eval()(stream[300:, 0]).detach()
cells = norm.running_var.item(), evaluated.mean(), evaluated.std()
rows = [
    ["authors, r = 0.1", *run(around_old, 0.1)],
    ["authors, as released", *run(around_old, 0.0)],
    ["labml, r = 0.1", *run(around_own, 0.1)],
    ["BatchNorm, evaluated", *(f"{cell:z.2f}" for cell in cells)],
]
display(
    Table(
        f"Variance {stream[300:].var():.2f}, one image per step",
        ["running var", "output mean", "output std"],
        rows,
    )
)

# %% [markdown]
# ## The same shortcut, on activations
#
# labml's $\overline{x^2} - m^2$ is the printed form once more. In float32 at variance 1, the largest error among a
# thousand channels of 256 values each, and how many of them got a *negative* variance, whose root is `nan`:

# %%
rows = []
for mean in (10, 100, 1000, 3000, 10000):
    x = torch.randn(1000, 256, generator=torch.Generator().manual_seed(0)) + mean
    true = x.double().var(dim=1, correction=0)
    shortcut, stable = x.square().mean(1) - x.mean(1).square(), x.var(dim=1, correction=0)
    errors = [((var - true) / true).abs().max() for var in (shortcut, stable)]
    rows.append(
        [
            f"mean {mean}",
            *(f"{e:.{1 if e < 1 else 2}g}" for e in errors),
            f"{100 * (shortcut < 0).float().mean():.0f} %",
        ]
    )
display(
    Table("Relative error of a variance of 1", ["shortcut", "two passes", "negative"], rows)
)

# %% [markdown]
# ## What matters, and what doesn't
#
# * **Doesn't**: $I$ or $I - 1$, once a filter has a few hundred weights, or where a fresh normalization follows. Which of the small $\epsilon$, for filters
#   about as wide as [trained ones](weights.md) are.
# * **Doesn't, but costs**: all of them compute $\hat W$ again in every forward pass, evaluation included. [Fold it][labml_ws.layers] before deployment.
# * **Matters when weights change hands**: load a checkpoint with the $\epsilon$ and the variance that it was trained with, above all if its BatchNorms have stored statistics.
# * **Matters at the start of large layers**: at torch's default initialization, $10^{-5}$ inside the root is part of the network's scale.
# * **Matters in half precision**: statistics in float32, or an $\epsilon$ that the format can hold.
# * **Matters at one image per step**: around which mean a running variance is taken.
