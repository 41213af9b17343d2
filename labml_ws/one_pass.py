r"""
# BCN in one pass

[Step by step][labml_ws.batch_channel_norm], BCN goes over its input again and again: for the batch's statistics, to
normalize with them, for the groups' statistics, to normalize again; and it keeps two copies of the input for the
backward pass. None of that is needed. **All of BCN follows from the mean and the variance of each channel of each
image**, two tables `[B, C]` that are found in one pass, and in the end each value is only scaled and shifted.

What it saves in time is [measured beside the steps](../tutorials/performance.md#batch-channel-norm-and-whole-networks); for the backward pass it keeps
one copy of its input instead of two. But the tables cost some forty small kernels forward and backward, whatever their size.
So BCN takes this way only for two million numbers and more; below, the steps are faster.
"""

from typing import Any

import torch
from torch import Tensor, nn

from labml_ws.running_statistics import RunningStatistics, far_from_zero, image_moments, pooled

# From how many numbers on it pays.
MANY = 2**21


def pays(x: Tensor, *norms: nn.Module) -> bool:
    """
    Whether the one pass is possible for `x` and faster: many numbers, in training, on the CPU, a channel of an image in one row of
    memory, in the parameters' dtype. A hook on one of the `norms` wants to see that norm's own input and output, so it
    gets the steps.
    """
    if torch.compiler.is_compiling() or not isinstance(x, Tensor) or x.numel() < MANY:
        return False
    hooks = (
        hook
        for norm in norms
        for hook in (norm._forward_hooks, norm._forward_pre_hooks, norm._backward_hooks)
    )
    first = norms[0]
    return (
        isinstance(first, RunningStatistics)
        and first.training
        and x.is_cpu
        and x.is_contiguous()
        and x[0, 0].numel() > 16
        and all(p.dtype == x.dtype == first.running_var.dtype for p in first.parameters())
        and not any(hooks)
    )


def in_one_pass(x: Tensor, first: RunningStatistics, second: Any) -> Tensor:
    r"""
    ## The tables

    * `x`: the images, `[B, C, *]`; `first`: the batch norm, in training; `second`: the channel norm
    * returns `[B, C, *]`, the same as `second(first(x))`, and changes the running statistics in the same way

    For channel $c$ of image $b$, let $\code{mean}{\mu_{bc}}$ and $\code{var}{\sigma_{bc}^2}$ be mean and variance of
    its positions. What the **batch norm** does is a scale $\code{scale}{a_c}$ and a shift. It moves the mean to
    $\code{level}{l_{bc}}$, and makes the variance $\code{scale}{a_c^2} \code{var}{\sigma_{bc}^2}$:

    \begin{align}
    \code{scale}{a_c} &= \frac{\gamma_c}{\sqrt{\code{batch_var}{\sigma_c^2} + \epsilon}} \\
    \code{level}{l_{bc}} &= \code{scale}{a_c} (\code{mean}{\mu_{bc}} - \code{batch_mean}{\mu_c}) + \beta_c
    \end{align}

    The **channel norm** needs mean and variance of a group of $\code{size}{C/G}$ channels, and these are sums over their few
    numbers: the variance of the whole is the mean of the parts' variances and the variance of the parts' means.

    \begin{align}
    \code{center}{\mu_{bq}} &= \overline{\code{level}{l_{bc}}} \\
    \code{spread}{\sigma_{bq}^2} &=
      \overline{\code{scale}{a_c^2} \code{var}{\sigma_{bc}^2} + (\code{level}{l_{bc}} - \code{center}{\mu_{bq}})^2}
    \end{align}

    with a bar for the mean over the channels of group $q$. All in all, with the group's own scale and shift $\gamma_q$ and $\beta_q$,

    $$y = \code{slope}{p_{bc}} \, (\code{x}{x} - \code{mean}{\mu_{bc}}) + \code{value}{u_{bc}}, \qquad
    \code{slope}{p_{bc}} = \code{root}{\rho_{bq}} \code{scale}{a_c}, \quad
    \code{value}{u_{bc}} = \code{root}{\rho_{bq}} (\code{level}{l_{bc}} - \code{center}{\mu_{bq}}) + \beta_q, \quad
    \code{root}{\rho_{bq}} = \frac{\gamma_q}{\sqrt{\code{spread}{\sigma_{bq}^2} + \epsilon}}.$$

    Everything between the tables of moments and the tables $\code{slope}{p}$ and $\code{value}{u}$ is small, and autograd
    takes care of it. No square of a mean is ever subtracted from a mean of squares.

    * $\code{mean}{\mu_{bc}}$: the mean of a channel of an image; $\code{var}{\sigma_{bc}^2}$: the variance of a channel of an image
    * $\code{batch_mean}{\mu_c}$: what the batch norm subtracts; $\code{batch_var}{\sigma_c^2}$: the variance that the batch norm divides by;
      these are the batch's own statistics or the estimates
    * $\code{scale}{a_c}$: what the batch norm multiplies a channel by
    * $\code{level}{l_{bc}}$: the mean of a channel of an image behind the batch norm
    * $\code{size}{C/G}$: how many channels a group has
    * $\code{center}{\mu_{bq}}$: the mean of a group of an image behind the batch norm; $\code{spread}{\sigma_{bq}^2}$: the
      variance of a group of an image behind the batch norm
    * $\code{root}{\rho_{bq}}$: what the channel norm multiplies a group of an image by
    * $\code{slope}{p_{bc}}$: what scales a channel of an image; $\code{value}{u_{bc}}$: what the mean of a channel of an image becomes
    """
    mean, var = Moments.apply(x)  # [B, C] each
    batch_mean, batch_var = pooled(mean, var)  # [C] each
    if far_from_zero(batch_mean, batch_var):  # the steps are more exact there
        return second(first(x))
    count = x.numel() // x.shape[1]
    batch_mean, batch_var = first.update(batch_mean, batch_var, count)
    scale = first.weight * torch.rsqrt(batch_var + first.eps)  # [C]
    level = scale * (mean - batch_mean) + first.bias  # [B, C]

    G, size = second.groups, second.channels // second.groups
    level = level.unflatten(1, (G, size))  # [B, G, C / G]
    within = (scale.square() * var).unflatten(1, (G, size))
    center = level.mean(2, keepdim=True)  # [B, G, 1]
    spread = (within + (level - center).square()).mean(2, keepdim=True)
    root = second.weight.unsqueeze(1) * torch.rsqrt(spread + second.eps)  # [B, G, 1]
    slope = (root * scale.unflatten(0, (G, size))).flatten(1)  # [B, C]
    value = (root * (level - center) + second.bias.unsqueeze(1)).flatten(1)
    return scale_and_shift(x, mean, slope, value)


def scale_and_shift(x: Tensor, center: Tensor, slope: Tensor, value: Tensor) -> Tensor:
    r"""
    ## One number each for a channel of an image

    $$\code{slope}{p_{bc}} \, (\code{x}{x} - \code{center}{\mu_{bc}}) + \code{value}{u_{bc}}$$

    * `x`: the images, `[B, C, *]`, contiguous
    * `center`: what is subtracted; `slope`: the factor of what remains; `value`: what is added, `[B, C]` each

    Seen as *one* image of $BC$ channels, this is a batch norm with a fixed mean and a variance of 1, and torch's kernel for
    that is the fastest there is for a scale and a shift. Its backward pass gives the two sums that the tables need,
    $\sum g \, (\code{x}{x} - \code{center}{\mu_{bc}})$ and $\sum g$ for the arriving gradient $g$, in the same pass as
    $\code{slope}{p_{bc}} \, g$.
    """
    fixed = center.detach()
    # To torch a running mean is a constant. The gradient that belongs to it goes by way of a zero.
    if torch.is_grad_enabled() and center.requires_grad:
        value = value + slope * (fixed - center)
    fixed = fixed.flatten()
    image = x.reshape(1, fixed.numel(), -1)  # [1, BC, positions]
    one = torch.ones_like(fixed)
    y = torch.batch_norm(
        image, slope.flatten(), value.flatten(), fixed, one, False, 0.0, 0.0, False
    )
    return y.reshape(x.shape)


class Moments(torch.autograd.Function):
    r"""
    ## The moments, and their gradient

    Of $N$ positions, a value $x$ has the share $\frac{1}{N}$ in the mean and $\frac{2}{N} (x - \code{mean}{\mu_{bc}})$ in the variance. So what goes
    back to it is again a scale and a shift,

    $$\code{slope}{\frac{2}{N} \frac{\partial L}{\partial \sigma_{bc}^2}} \, (x - \code{mean}{\mu_{bc}})
    + \code{value}{\frac{1}{N} \frac{\partial L}{\partial \mu_{bc}}}.$$

    The group norm that [finds the moments][labml_ws.running_statistics.image_moments] also has a gradient with respect to them, but takes a dozen
    copies of the input for it. This one takes one, and is itself made of steps that can be differentiated, so second gradients are right as
    well.
    """

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        return image_moments(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(inputs[0], output[0])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        x, mean = ctx.saved_tensors
        slope, value = (
            gradients[1] * (2 * mean.numel() / x.numel()),
            gradients[0] * (mean.numel() / x.numel()),
        )
        return scale_and_shift(x, mean, slope, value)


if __name__ == "__main__":
    # ## See it work
    #
    # Both ways, on an input that is too small for this one to pay. In float64, values and gradients agree to the last digits.
    from labml_ws.batch_channel_norm import BatchChannelNorm

    torch.manual_seed(0)
    norm = BatchChannelNorm(8, groups=2, estimate=False).double()
    x = torch.randn(4, 8, 6, 6, dtype=torch.float64, requires_grad=True)
    g = torch.randn_like(x)
    steps = norm(x)
    at_once = in_one_pass(x, norm.batch_norm, norm.channel_norm)
    print(f"largest difference of the outputs: {(steps - at_once).abs().max():.1e}")
    (by_steps,) = torch.autograd.grad(steps, x, g)
    (by_once,) = torch.autograd.grad(at_once, x, g)
    print(f"and of the gradients: {(by_steps - by_once).abs().max():.1e}")
