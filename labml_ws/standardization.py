r"""
# Weight Standardization

BatchNorm normalizes with the mean and variance of a batch. Where only one or two images fit on the GPU, a
**micro-batch**, as in detection or segmentation, mean and variance come from these few images, and BatchNorm
[gets worse](../tutorials/small_batches.md#why-batchnorm-gets-worse). Weight Standardization,
[WS][@qiao2019micro], moves the work to something that does not depend on the batch at all: the
**weights**. Before each convolution, every filter is shifted to mean zero and scaled to variance one. It does not replace a normalization: one that needs no
batch, like GroupNorm, still follows the convolution, whose outputs are now [about $\sqrt I$ times its inputs][labml_ws.layers] at a fan-in of $I$.

The optimizer goes on training the raw weight $\code{weight}{W}$; only the convolution sees
$\code{w_hat}{\hat W}$. There is nothing new to learn and no running average to keep, and once training is over
$\code{w_hat}{\hat W}$ can be [stored in place of $\code{weight}{W}$][labml_ws.layers], so at inference WS costs
nothing.

The pattern of a filter's weights around their mean stays, and two things about it no longer count: adding a constant to
all of them changes nothing, and multiplying all by a positive factor next to nothing. [What that is good for](standardization.md#why-should-it-help), and what it does to
the gradient, is said below, when there is something to see.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.parameter import UninitializedParameter

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def weight_standardization(weight: Tensor, eps: float = 1e-5) -> Tensor:
    r"""
    ## Standardize each filter

    $$\code{w_hat}{\hat W_{i,j}} =
    \frac{\code{flat}{W_{i,j}} - \code{mean}{\mu_i}}{\sqrt{\code{var}{\sigma_i^2} + \code{eps}{\epsilon}}}$$

    Row $i$ is the filter of one output channel, and $j$ runs over all its weights. Their number is the **fan-in**, for
    a 2-D convolution $I = C_{in} / \text{groups} \cdot k_h k_w$. Each filter is treated by itself; nothing is
    shared or learned. A constant that is added to all weights of a filter is part of its mean, and gone; a positive
    factor is part of the root, and gone but for $\code{eps}{\epsilon}$.

    * `weight`: the raw weight, of shape `[C_out, C_in / groups, *kernel]` with any number of kernel dimensions, or
      `[out, in]` for a linear layer; float16, bfloat16, float32 or float64, in any memory format
    * `eps`: added to the variance, so in squared units of the weight
    * $\code{mean}{\mu_i}$: the mean of a filter; $\code{var}{\sigma_i^2}$: the variance of a filter
    * returns $\code{w_hat}{\hat W}$: the standardized weight, of the same shape and dtype

    Raises `ValueError` for a fan-in of 1 or 2, for fewer than two dimensions, for another dtype, and for an `eps` that
    is negative or not finite. Source: [@qiao2019micro], the equations that define $\code{w_hat}{\hat W}$,
    $\code{mean}{\mu}$ and $\sigma$.
    """
    check_weight(weight, eps)
    # One row per filter: $\code{flat}{W} \in \mathbb{R}^{O \times I}$, where $O$ is $C_{out}$. Half precision keeps two
    # or three digits of a sum, and in fp16 a variance below about $3 \cdot 10^{-8}$ rounds to zero, so there the
    # statistics are taken in float32.
    flat = weight.flatten(start_dim=1)  # [O, I], one filter per row
    if flat.dtype in (torch.float16, torch.bfloat16):
        flat = flat.float()
    # \begin{align}
    # \code{mean}{\mu_i} &= \frac{1}{I} \sum_{j=1}^{I} \code{flat}{W_{i,j}} \\
    # \code{var}{\sigma_i^2} &= \frac{1}{I} \sum_{j=1}^{I} \left(\code{flat}{W_{i,j}} - \code{mean}{\mu_i}\right)^2
    # \end{align}
    #
    # **Which variance?** The paper divides by $I$, which is `correction=0`.
    # [The authors' PyTorch code][@qiao2019code], [labml's][@labml] and mmcv's divide by $I - 1$: their $\sigma$ is
    # 6.1 % larger at $I = 9$, 1.9 % at $I = 27$, 0.09 % at $I = 576$, and `nan` at $I = 1$. BatchNorm in training, or GroupNorm, divides by the standard deviation of what comes, so a constant factor cancels. BatchNorm in
    # evaluation does not: it has stored its statistics, so weights trained under one convention give other outputs under the
    # other.
    #
    # The paper also writes $\code{var}{\sigma_i^2}$ as
    # $\frac{1}{I}\sum_j \code{flat}{W_{i,j}^2} - \code{mean}{\mu_i^2}$. The two look different and are equal, but this
    # second one subtracts two large numbers when the mean is far from zero; `var_mean` avoids it.
    var, mean = torch.var_mean(flat, dim=1, correction=0, keepdim=True)  # [O, 1] each
    # **Where does eps sit?** Inside the root, as in the paper's current version; its first version and the authors'
    # README add it to $\sigma$. Inside, a constant filter gives zeros and a finite gradient; outside, the root of its
    # zero variance sends back `nan` (`torch.std` sends back 0 there). Nor is eps always negligible: at $I = 4608$ torch's default initialization has
    # variance $7 \cdot 10^{-5}$, and the root mean square of $\code{w_hat}{\hat W}$ is 0.94 instead of 1.
    #
    # Gradient flows through $\code{mean}{\mu}$ and $\code{var}{\sigma^2}$ as well; [below](#what-flows-back) is what
    # arrives at $\code{weight}{W}$.
    w_hat = (flat - mean) * torch.rsqrt(var + eps)  # [O, I]
    return w_hat.reshape(weight.shape).to(weight.dtype)


def standardize(weight: Tensor, eps: float = 1e-5) -> Tensor:
    r"""
    ## The same in one kernel

    Subtract the mean of a row, divide by $\sqrt{\sigma^2 + \code{eps}{\epsilon}}$ with $1/I$ in the variance: that is
    *layer normalization*, applied to weights instead of activations. Torch's `layer_norm` is one kernel (here: one
    compiled routine) each for forward and backward, where the steps above read and write the weight several times.
    [The layers][labml_ws.layers] compute this, and check the weight once, when they are made; the demo at the end times both. (`group_norm` with one group is often
    faster forward, but not reliably so backward.) In half precision torch takes these statistics in float32 by itself.

    Arguments, result and errors are those of
    [`weight_standardization`][labml_ws.standardization.weight_standardization]. That the two agree, in values,
    gradients and second gradients, is tested in float64 on every kind of weight that the layers have.
    """
    check_weight(weight, eps)
    return F.layer_norm(weight, weight.shape[1:], eps=eps)


def check_weight(weight: Tensor, eps: float) -> None:
    r"""
    ## What cannot be standardized

    **A filter with a single weight**, as in a depthwise $1 \times 1$ convolution (one group per channel), is zero once
    its own mean is subtracted, whatever was learned, and so is its gradient. Layer norm returns those zeros without a
    word, and $I - 1$ gives `nan`.

    **A pair** is nearly as dead. WS leaves $I - 2$ of a filter's $I$ numbers free, one having gone into the mean and one
    into the scale. Of two, none is left: the filter is $(+1, -1)$ or $(-1, +1)$ but for $\epsilon$, whatever is learned.
    Centering leaves one of a gradient's two directions, and scaling passes on only
    $\epsilon / (\sigma^2 + \epsilon)$ of that one: 0.012 % at torch's default initialization, where $\sigma^2$ is $1/12$ on average.

    An error now is better than a layer that is silently dead. It could have been a warning at two weights; but such a
    layer gains nothing from WS, and the plain layer learns.

    The other refusals catch mistakes: a bias or the scale of a normalization passed as a weight, a lazy layer that has
    no weight yet, a dtype that has no such mean and variance, and an `eps` that is negative, infinite or `nan`.
    """
    if isinstance(weight, UninitializedParameter):
        raise ValueError(
            "expected a weight with a shape, got that of a lazy layer before its first input: pass a "
            "batch through the model first"
        )
    if weight.dim() < 2:
        raise ValueError(
            "expected a weight of shape [C_out, C_in / groups, *kernel] or [out, in], got "
            f"{list(weight.shape)}: biases and normalization parameters are not standardized"
        )
    if weight.is_complex():
        raise ValueError(
            f"expected a real weight, got {weight.dtype}: the papers define no variance of a complex "
            "filter; standardize torch.view_as_real(weight) if its parts are to be numbers of their own"
        )
    if weight.dtype not in DTYPES:
        raise ValueError(
            f"expected a weight of float16, bfloat16, float32 or float64, got {weight.dtype}: "
            "convert it with weight.float() first"
        )
    if (fan_in := math.prod(weight.shape[1:])) < 3:
        raise ValueError(
            f"expected at least 3 weights per filter, got shape {list(weight.shape)} with a fan-in of "
            f"{fan_in}: a single weight always standardizes to zero, two to (+1, -1) or (-1, +1), and "
            "the layer would be dead; use the plain torch layer here"
        )
    if not 0 <= eps < math.inf:
        raise ValueError(
            f"expected eps >= 0, got {eps}: a finite number, added to a variance under a square root"
        )


if __name__ == "__main__":
    # ## See it work
    #
    # One filter of a first layer, off center on purpose, before and after. (Its variance is small enough for $\epsilon$ to be 2.5 % of
    # the sum, hence 0.987.)
    torch.manual_seed(0)
    weight = torch.randn(64, 3, 3, 3) * 0.02 + 0.01
    w_hat = weight_standardization(weight)
    for name, one in (("before", weight[0]), ("after", w_hat[0])):
        print(
            f"first filter, {name + ':':7} mean {one.mean():+.4f}, std {one.std(correction=0):.4f}"
        )
    # Two spellings, one function.
    difference = (standardize(weight) - w_hat).abs().max()
    print(f"largest difference between the two forms: {difference:.1e}")
    # ## What flows back
    #
    # For one filter, with $\code{g}{g} = \partial L / \partial \code{w_hat}{\hat W}$, a bar for the mean over the
    # filter and $\odot$ for the product weight by weight,
    #
    # $$\code{gradient}{\frac{\partial L}{\partial W}} = \frac{1}{\code{sigma}{\sqrt{\sigma^2 + \epsilon}}}
    # \left( \code{g}{g} - \overline{\code{g}{g}}
    # - \code{w_hat}{\hat W} \cdot \overline{\code{g}{g} \odot \code{w_hat}{\hat W}} \right).$$
    #
    # Autograd finds the same, here for an arbitrary $\code{g}{g}$.
    #
    # * $\code{g}{g}$: the gradient that arrives at the standardized filter
    # * $\code{sigma}{\sqrt{\sigma^2 + \epsilon}}$: what the filter was divided by
    # * $\code{gradient}{\frac{\partial L}{\partial W}}$: the gradient that is passed on to the raw filter
    flat, w_hat = weight.flatten(1), w_hat.flatten(1)  # [64, 27]
    g = torch.randn_like(flat)
    sigma = (flat.var(1, correction=0, keepdim=True) + 1e-5).sqrt()  # [64, 1]
    formula = (g - g.mean(1, keepdim=True) - w_hat * (g * w_hat).mean(1, keepdim=True)) / sigma
    flat.requires_grad_()
    (gradient,) = torch.autograd.grad(weight_standardization(flat), flat, g)
    error = (gradient - formula).norm() / gradient.norm()
    print(f"relative difference between autograd and the formula: {error:.0e}")
    # The first subtraction makes the gradient sum to zero: a plain gradient step never moves a filter's mean (Adam's
    # can, as it rescales each weight's step). The second takes out the part along $\code{w_hat}{\hat W}$, all of it at
    # $\epsilon = 0$: no gradient is spent on making a filter longer. (Here $\epsilon$ is 2.5 % of the variance, so a little is left: the cosine printed below.)
    #
    # **Could the optimizer do it instead?** Nearly: convolve with $\code{weight}{W}$ itself, take a plain step along
    # $\code{g}{g}$, and standardize $\code{weight}{W}$ in place after it. That takes the same two parts out of the
    # *step*, to first order in the learning rate, as the end of this demo shows.
    cosine = F.cosine_similarity(gradient, w_hat)  # [64]
    mean = gradient.mean(1).abs() / gradient.std(1)  # [64]
    print(f"mean of a filter's gradient: at most {mean.max():.0e} of its spread")
    print(f"cosine between gradient and filter: at most {cosine.abs().max():.3f}")
    # **And weight decay?** But for eps, $\code{w_hat}{\hat W}$ ignores the length of $\code{weight}{W}$, so decay
    # cannot shrink the function. It shortens $\code{weight}{W}$, and the same step turns a shorter filter further
    # (under SGD the step itself grows as well, by $1/\sigma$): decay raises the effective step size.
    #
    # Two things pull at the length. A step of SGD makes a filter *longer*: it goes at right angles to the filter, since
    # the gradient has no part along it, and whoever leaves a circle sideways ends up outside of it. Decay makes it
    # *shorter*. The length comes to rest where the two are equal. Where a filter gets no gradient, only decay is left, and the filter
    # shrinks without end. As long as its variance is far above $\epsilon$, $\code{w_hat}{\hat W}$ doesn't notice; below,
    # $\epsilon$ is most of what it is divided by, so $\code{w_hat}{\hat W}$ shrinks with it, and both go to zero.
    half = (flat / 2).detach().requires_grad_()
    (half_gradient,) = torch.autograd.grad(weight_standardization(half), half, g)
    change = (weight_standardization(half) - w_hat).norm() / w_hat.norm()
    ratio = half_gradient.norm() / gradient.norm()
    print(
        f"half the weight: standardized {change:.1%} off, its gradient {ratio:.2f} times as long"
    )
    # ## What it costs
    #
    # Work in proportion to the weights, once per forward pass, however many images there are: so its share is largest
    # at batch size one and on small feature maps. The median time of a forward and a backward pass, on the weights of a
    # middle layer, says what the single kernel saves.
    from torch.utils.benchmark import Timer

    large = torch.randn(256, 256, 3, 3, requires_grad=True)
    stepwise, fused = (
        Timer("f(w).sum().backward()", globals={"f": f, "w": large}).blocked_autorange().median
        for f in (weight_standardization, standardize)
    )
    print(f"step by step takes {stepwise / fused:.1f} times as long as one kernel")
    # ## Instead, after each step?
    #
    # From filters that are standardized already, one step with WS, and one step along $\code{g}{g}$ after which the
    # filters are standardized again. What differs between the two updates, relative to their length, falls with the
    # learning rate; decay, momentum and Adam would add differences of their own.
    start = weight_standardization(flat.detach(), 0.0).requires_grad_()  # [64, 27]
    (gradient,) = torch.autograd.grad(weight_standardization(start, 0.0), start, g)
    for rate in (0.1, 0.01, 0.001):
        trained = weight_standardization(start - rate * gradient, 0.0) - start
        projected = weight_standardization(start - rate * g, 0.0) - start
        apart = (trained - projected).norm() / trained.norm()
        print(f"learning rate {rate}: the updates differ by {apart:.2%}")
