r"""
# Weight Standardization

BatchNorm works because it looks at a batch. Give it one image at a time, as a detector or a segmenter on a full GPU must, and it has
nothing left to look at. Weight Standardization, [WS](https://arxiv.org/abs/1903.10520), moves the work to something that does not depend
on the batch at all: the **weights**. Before each convolution, every filter is shifted to mean zero and scaled to variance one.

The optimizer goes on training the raw weight $W$; only the convolution sees $\hat W$. There is nothing new to learn and no running
average to keep, and once training is over $\hat W$ can be [stored in place of $W$][labml_ws.layers], so at inference WS costs nothing.

*Why it should help.* A function's **Lipschitz constant** is the steepest slope it has anywhere: how much the output can move when the
input moves by one. If the *gradient* of the loss has a small one, the direction computed here is still right a step further on, and larger
steps are safe. The paper shows that taking the mean out of each filter never increases the Lipschitz constants of the loss and of its
gradient. That half is unconditional. Dividing by the standard deviation rescales the gradient by $1/\sigma$, so its half of the claim
holds *relative to the scale of the weights*; keep the two apart when you read "smoother landscape".
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def weight_standardization(weight: Tensor, eps: float = 1e-5) -> Tensor:
    r"""
    ## Standardize each filter

    $$\code{w_hat}{\hat W_{i,j}} = \frac{\code{flat}{W_{i,j}} - \code{mean}{\mu_i}}{\sqrt{\code{var}{\sigma_i^2} + \code{eps}{\epsilon}}}$$

    Row $i$ is one output channel's filter; $j$ runs over the weights that feed it, $I = \frac{C_{in}}{groups} \cdot k_h \cdot k_w$ of them:
    the **fan-in**. Each filter is treated by itself, and nothing is shared between filters or learned.

    * `weight`: shape `[C_out, C_in / groups, *kernel]` with any number of kernel dimensions, or `[out, in]` for a linear layer;
      any floating dtype and memory format
    * `eps`: added to the variance, so in squared units of the weight
    * returns $\hat W$, same shape and dtype

    Raises `ValueError` for a fan-in of 1, for fewer than two dimensions, for a dtype that is not floating point, or a negative `eps`.

    Source: [arXiv:1903.10520](https://arxiv.org/abs/1903.10520), §2, the definition of $\hat W$ and of $\mu$, $\sigma$.
    """
    check_weight(weight, eps)
    # One row per filter: $\code{flat}{W} \in \mathbb{R}^{O \times I}$. In half precision a sum over thousands of weights has three
    # digits left, and a variance below $6 \cdot 10^{-8}$ is zero, so the statistics are taken in float32.
    flat = weight.flatten(start_dim=1)  # [O, I]
    if flat.dtype in (torch.float16, torch.bfloat16):
        flat = flat.float()
    # \begin{align}
    # \code{mean}{\mu_i} &= \frac{1}{I} \sum_{j=1}^{I} \code{flat}{W_{i,j}} \\
    # \code{var}{\sigma_i^2} &= \frac{1}{I} \sum_{j=1}^{I} \left(\code{flat}{W_{i,j}} - \code{mean}{\mu_i}\right)^2
    # \end{align}
    #
    # **Which variance?** The paper's equation divides by $I$ (`correction=0`). The authors' PyTorch code, labml's and mmcv's divide by
    # $I - 1$, which makes $\sigma$ 5.6 % larger at $I = 9$, 1.9 % at $I = 27$, 0.09 % at $I = 576$, and `nan` at $I = 1$.
    # A constant factor hardly matters before a normalization. Loading weights trained under the other convention does.
    var, mean = torch.var_mean(flat, dim=1, correction=0, keepdim=True)  # [O, 1] each
    # **Where does eps sit?** Inside the root, as in the paper's current version; its first version and the authors' README add it to $\sigma$.
    # Inside, a constant filter gives zero with a finite gradient. Outside, the root of a zero variance sends back `nan`.
    # It is not always negligible: torch's default initialization at $I = 4608$ has variance $7 \cdot 10^{-5}$, and $\hat W$ then has
    # root mean square 0.94 instead of 1.
    #
    # **What gradient flows?** Through $\code{mean}{\mu}$ and $\code{var}{\sigma^2}$ as well, exactly. With $g = \partial L / \partial \hat W$ of one filter,
    # $$\frac{\partial L}{\partial W} = \frac{1}{\sqrt{\sigma^2 + \epsilon}} \Big( g - \overline{g} - \hat W \cdot \overline{g \odot \hat W} \Big),$$
    # where the bar is the mean over the filter. The first subtraction makes the gradient sum to zero: no step ever moves a filter's mean.
    # The second takes out (all of it at $\epsilon = 0$) the part along $\hat W$: no step just makes a filter longer.
    #
    # **And weight decay?** $\hat W$ ignores the length of $W$, so decay cannot shrink the function. It shortens $W$, and as the
    # gradient carries $1/\sigma$, that raises the effective learning rate, until the variance comes down to $\epsilon$.
    w_hat = (flat - mean) * torch.rsqrt(var + eps)  # [O, I]
    return w_hat.reshape(weight.shape).to(weight.dtype)


def standardize(weight: Tensor, eps: float = 1e-5) -> Tensor:
    r"""
    ## The same in one kernel

    Subtract the mean of a row, divide by $\sqrt{\sigma^2 + \epsilon}$ with $1/I$ in the variance: that is also the definition of *layer
    normalization*, applied to weights instead of activations. So torch's fused `layer_norm` computes $\hat W$ in one pass over the memory and
    has a fused backward; the steps above read and write the weight several times. [The layers][labml_ws.layers] use this form.
    The demo below times the two side by side.

    Arguments, result and errors are those of [`weight_standardization`][labml_ws.standardization.weight_standardization]. That the two
    agree, in values, gradients and second gradients, is tested in float64 on all the shapes the layers use.
    """
    check_weight(weight, eps)
    # torch takes the statistics of half-precision input in float32 by itself; contiguous memory keeps the row a row under `channels_last`.
    return F.layer_norm(weight.contiguous(), weight.shape[1:], eps=eps)


def check_weight(weight: Tensor, eps: float) -> None:
    r"""
    ## What cannot be standardized

    A filter with a single weight (a depthwise $1 \times 1$ convolution, say) minus its own mean is zero, whatever was learned, and its
    gradient is zero too. Layer norm returns those zeros without a word, and $I - 1$ gives `nan`. A layer that is silently dead is the
    worst of the three outcomes, so it is refused.
    """
    if weight.dim() < 2:
        raise ValueError(
            f"expected a weight of shape [C_out, C_in / groups, *kernel] or [out, in], got {list(weight.shape)}: "
            "biases and normalization parameters are not standardized"
        )
    if not weight.is_floating_point():
        raise ValueError(f"expected a floating point weight, got {weight.dtype}: convert it with weight.float() first")
    if math.prod(weight.shape[1:]) == 1:
        raise ValueError(
            f"expected at least 2 weights per filter, got shape {list(weight.shape)} with a fan-in of 1: a single weight always "
            "standardizes to zero and the layer would be dead; use the plain torch layer here"
        )
    if not eps >= 0:
        raise ValueError(f"expected eps >= 0, got {eps}: it is added to a variance under a square root")


if __name__ == "__main__":
    # ## See it work
    #
    # A first layer's filters, off centre on purpose, before and after.
    torch.manual_seed(0)
    weight = torch.randn(64, 3, 3, 3) * 0.02 + 0.01
    w_hat = weight_standardization(weight)
    print(f"first filter, before: mean {weight[0].mean():+.4f}, std {weight[0].std(correction=0):.4f}")
    print(f"first filter, after:  mean {w_hat[0].mean():+.4f}, std {w_hat[0].std(correction=0):.4f}")
    # Both spellings, one function.
    print(f"largest difference between the two forms: {(standardize(weight) - w_hat).abs().max():.1e}")
    # What it costs: median time of a forward and a backward pass, as a ratio, on a layer of the middle of a network.
    from torch.utils.benchmark import Timer

    large = torch.randn(256, 256, 3, 3, requires_grad=True)
    stepwise, fused = (
        Timer("f(w).sum().backward()", globals={"f": f, "w": large}).blocked_autorange(min_run_time=0.4).median
        for f in (weight_standardization, standardize)
    )
    print(f"step by step takes {stepwise / fused:.1f} times as long as one kernel")
