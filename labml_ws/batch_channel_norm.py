r"""
# Batch-Channel Normalization

A normalization over the channels of one image (LayerNorm, GroupNorm) does not mind small batches, but it has a blind
spot. It fixes the mean and variance of a *group* of channels, and lets one channel of the group drift far below the
others. Behind a ReLU that channel is then off for every image, and no gradient comes back through the ReLU. (It can still
[come back](../tutorials/singularities.md#for-good) by what moves its group.) Such points of the training trajectory, where units are consistently deactivated, are **elimination singularities**
([@qiao2019rethinking], who credit the term to [@wei2008dynamics]). BatchNorm keeps away
from them by design: it gives *each* channel zero mean and unit variance, so that before its learned scale and shift
about half of the values are above zero.

The same paper's Batch-Channel Normalization, BCN, applies both in turn: a batch norm, so that no channel is eliminated
([do they die without it?](../tutorials/singularities.md)), then a channel norm.

$$y = \underbrace{\text{ChannelNorm}}_{\text{per image, } \code{groups}{G} \text{ groups}}
\Big( \underbrace{\text{BatchNorm}}_{\text{per channel}} (\code{x}{x}) \Big)$$

And for **micro-batches**, one or two images per step, where batch statistics are noisy, it replaces them with
*estimates* that are gathered over many steps. That is the first class below.
[One tutorial](../tutorials/small_batches.md) watches these statistics at work, [another](../tutorials/micro_batches.md)
trains with them, down to one image per step, where they must
[move slowly](../tutorials/micro_batches.md#how-fast-should-an-estimate-move).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class EstimatedBatchNorm(nn.Module):
    r"""
    ## Batch normalization with estimated statistics

    $$y = \code{self.weight}{\gamma} \cdot
    \frac{\code{x}{x} - \code{mean}{\hat\mu}}{\sqrt{\code{var}{\hat\sigma^2} + \code{self.eps}{\epsilon}}}
    + \code{self.bias}{\beta}$$

    The same formula as BatchNorm, but $\code{mean}{\hat\mu}$ and $\code{var}{\hat\sigma^2}$ are the *running*
    statistics, in training too, and no gradient flows through them. In training, an image's neighbors in the batch
    change its output only by their share in these statistics, and in evaluation not at all.

    * `channels`: number of channels $\code{channels}{C}$
    * `eps`: added to the variance
    * `momentum`: the share $\code{self.momentum}{r}$ of the new batch in the running statistics, from 0 to 1. The
      default, 0.1, is torch's and labml's; we know of no published schedule. In the authors' released code
      $\code{self.momentum}{r}$ is a buffer that starts at 0 and is never set, so the estimates there stay at their
      initial values.
    * `affine`: learn a scale $\code{self.weight}{\gamma}$ and a shift $\code{self.bias}{\beta}$, one of each per
      channel
    * $\code{mean}{\hat\mu}$: the running mean of each channel; $\code{var}{\hat\sigma^2}$: the running variance of each
      channel

    Input `[B, C, *]` with any number of trailing dimensions, or none; output of the same shape and dtype. Parameters
    and buffers have the names of [torch.nn.BatchNorm2d][], and a `state_dict` of one can be loaded into the other. Raises
    `ValueError` for fewer than 1 channel, a `momentum` outside 0 to 1, or an input with another number of channels.

    Source: [@qiao2019rethinking], the algorithm for micro-batch BCN; order of updates
    from the authors' code.
    """

    running_mean: Tensor  # [C], the mean of each channel over many steps
    running_var: Tensor  # [C], the variance of each channel over many steps
    num_batches_tracked: Tensor

    def __init__(
        self, channels: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True
    ) -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(f"expected at least 1 channel, got {channels}")
        if not 0 <= momentum <= 1:
            raise ValueError(
                f"expected momentum (the share of the new batch) from 0 to 1, got {momentum}"
            )
        self.channels, self.eps, self.momentum, self.affine = channels, eps, momentum, affine
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None  # [C], the scale
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None  # [C], the shift
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        check_channels(x, self.channels)
        if self.training:
            self.update(x)
        # Normalize with the statistics *after* the update. The clones matter: the next forward pass changes the buffers
        # in place, and the backward pass of this one must still find the values it used.
        mean, var = self.running_mean.clone(), self.running_var.clone()  # [C] each
        return F.batch_norm(x, mean, var, self.weight, self.bias, training=False, eps=self.eps)

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        r"""
        ### The running statistics

        With a bar for the mean over the images and positions of this batch, and for channel $c$:

        \begin{align}
        \code{batch_mean}{m_c} &= \overline{\code{x}{x_c}} \\
        \code{around_old}{v_c} &= \overline{(\code{x}{x_c} - \code{self.running_mean}{\hat\mu_c})^2} \\
        \code{self.running_mean}{\hat\mu_c} &\leftarrow
          (1 - \code{self.momentum}{r}) \, \code{self.running_mean}{\hat\mu_c}
          + \code{self.momentum}{r} \, \code{batch_mean}{m_c} \\
        \code{self.running_var}{\hat\sigma_c^2} &\leftarrow
          (1 - \code{self.momentum}{r}) \, \code{self.running_var}{\hat\sigma_c^2}
          + \code{self.momentum}{r} \, \code{around_old}{v_c}
        \end{align}

        **Around which mean?** The *old running* mean, and this is the heart of it. With one image per step, the spread
        around the image's own mean says nothing about how images differ *from each other*; the spread around the
        running mean does. labml's code takes the batch's own mean. The price: $\code{around_old}{v_c}$ contains
        $(\code{batch_mean}{m_c} - \code{self.running_mean}{\hat\mu_c})^2$, so while
        $\code{self.running_mean}{\hat\mu}$ is still far from the true mean, $\code{self.running_var}{\hat\sigma^2}$ is
        too large. That fades like $(1 - \code{self.momentum}{r})^t$ over $t$ steps, so it takes several times
        $1/\code{self.momentum}{r}$ of them. What stays is $\code{self.momentum}{r} / (2 - \code{self.momentum}{r})$ of the
        variance between batches, a twentieth at $\code{self.momentum}{r} = 0.1$, as the running mean goes on moving.

        **How it is computed.** The variance around another point is
        $\code{around_old}{\overline{(x - \hat\mu)^2}} = \code{batch_var}{\overline{(x - m)^2}} + (\code{batch_mean}{m} - \code{self.running_mean}{\hat\mu})^2$:
        `var_mean` gives both terms without cancellation. The shortcut
        $\overline{\code{x}{x^2}} - \code{batch_mean}{m^2}$ does not: in float32, at variance 1, it is easily 10 % off at
        mean 1000 and negative at 3000, and the root of that is `nan`.

        Torch's running variance divides by one less than the number of values; $\code{around_old}{v_c}$ is a plain
        mean. An empty batch changes nothing.

        * $\code{x}{x_c}$: the input
        * $\code{batch_mean}{m_c}$: the mean of this batch; $\code{batch_var}{\overline{(x - m)^2}}$: the variance of
          this batch
        * $\code{around_old}{v_c}$: the variance of this batch around the old running mean
        """
        if x.numel() == 0:
            return
        dims = [d for d in range(x.dim()) if d != 1]
        x = x.to(self.running_var.dtype)
        batch_var, batch_mean = torch.var_mean(x, dim=dims, correction=0)  # [C] each
        around_old = batch_var + (batch_mean - self.running_mean).square()  # [C]
        # `lerp_(a, r)` is $(1 - \code{self.momentum}{r}) \cdot \text{self} + \code{self.momentum}{r} \cdot a$, in
        # place, so that `deepcopy`, checkpoints and compiled code see one buffer.
        self.running_mean.lerp_(batch_mean, self.momentum)
        self.running_var.lerp_(around_old, self.momentum)
        self.num_batches_tracked.add_(1)

    def extra_repr(self) -> str:
        return (
            f"{self.channels}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}"
        )


class ChannelNorm(nn.Module):
    r"""
    ## Channel normalization

    $$y = \code{self.weight}{\gamma_q} \cdot \frac{\code{x}{x} - \mu_q}{\sqrt{\sigma_q^2 + \code{self.eps}{\epsilon}}}
    + \code{self.bias}{\beta_q}$$

    GroupNorm, with one difference: $\code{self.weight}{\gamma}$ and $\code{self.bias}{\beta}$ are per **group**, not
    per channel. The batch norm before it already has a pair per channel. Mean $\mu_q$ and variance $\sigma_q^2$ are
    those of one image, over the channels of group $q$ and all positions, the variance divided by their number.

    * `channels`: number of channels $\code{channels}{C}$
    * `groups`: number of groups $\code{groups}{G}$, which must divide $\code{channels}{C}$
    * `eps`: added to the variance
    * `affine`: learn $\code{self.weight}{\gamma}$ and $\code{self.bias}{\beta}$, $\code{groups}{G}$ of each
    * $\code{x}{x}$: the input

    Input `[B, C, *]`, output of the same shape and dtype. Raises `ValueError` when the groups do not divide the
    channels, or for an input with another number of channels.

    Source: [@qiao2019rethinking], the definition of BCN.
    """

    def __init__(
        self, channels: int, groups: int, eps: float = 1e-5, affine: bool = True
    ) -> None:
        super().__init__()
        if channels < 1 or groups < 1 or channels % groups:
            raise ValueError(
                f"expected a number of groups that divides the channels, got {channels} channels and {groups} groups: "
                f"{math.gcd(channels, groups)} groups would divide them"
            )
        self.channels, self.groups, self.eps, self.affine = channels, groups, eps, affine
        self.weight = nn.Parameter(torch.ones(groups)) if affine else None  # [G], the scale
        self.bias = nn.Parameter(torch.zeros(groups)) if affine else None  # [G], the shift

    # Spreading each pair over the channels of its group makes this a `group_norm` in one kernel; the gradients add up
    # by themselves.
    def forward(self, x: Tensor) -> Tensor:
        check_channels(x, self.channels)
        if self.weight is None or self.bias is None:
            return F.group_norm(x, self.groups, eps=self.eps)
        size = self.channels // self.groups
        weight = self.weight.repeat_interleave(size)  # [G] -> [C]
        bias = self.bias.repeat_interleave(size)
        return F.group_norm(x, self.groups, weight, bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.channels}, groups={self.groups}, eps={self.eps}, affine={self.affine}"


class BatchChannelNorm(nn.Module):
    r"""
    ## Both in turn

    $$y = \code{self.channel_norm}{\text{ChannelNorm}}(\code{self.batch_norm}{\text{BatchNorm}}(\code{x}{x}))$$

    * `channels`: number of channels $\code{channels}{C}$
    * `groups`: number of groups $\code{groups}{G}$, which must divide $\code{channels}{C}$
    * `eps`: added to the variance, in both norms
    * `momentum`: the share of the new batch in the batch norm's running statistics
    * `estimate`: normalize with the estimated statistics (for micro-batches) instead of the batch's own (when the batch
      is large enough)
    * $\code{self.batch_norm}{\text{BatchNorm}}$: the batch norm, of one class or the other;
      $\code{self.channel_norm}{\text{ChannelNorm}}$: the channel norm

    Input `[B, C, *]`, output of the same shape and dtype. Each half has its own scale and shift: $2\code{channels}{C}$
    parameters in the first, $2\code{groups}{G}$ in the second. Raises `ValueError` where the two halves do.

    Source: [@qiao2019rethinking], the definition of BCN. The authors use $\code{groups}{G} = 32$.
    """

    def __init__(
        self,
        channels: int,
        groups: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        estimate: bool = True,
    ) -> None:
        super().__init__()
        self.batch_norm = (EstimatedBatchNorm if estimate else BatchNorm)(
            channels, eps, momentum
        )
        self.channel_norm = ChannelNorm(channels, groups, eps)

    # The order matters: after the batch norm no channel sits far below the others, unless $\beta$ has put it there, so
    # what the channel norm subtracts eliminates none of them
    # ([a channel that is falling behind](../tutorials/small_batches.md#a-channel-that-is-falling-behind)). With estimates
    # that is so once they have caught up: after a sudden shift they need a few times $1/r$ steps.
    def forward(self, x: Tensor) -> Tensor:
        return self.channel_norm(self.batch_norm(x))


class BatchNorm(nn.BatchNorm2d):
    r"""
    Torch's batch norm for any number of trailing dimensions. Torch has a class for each number, and they differ only in
    this check.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        check_channels(input, self.num_features)


def check_channels(x: Tensor, channels: int) -> None:
    """One error for all of the above, raised before a kernel fails with a message of its own or, worse, broadcasts."""
    if x.dim() < 2 or x.shape[1] != channels:
        raise ValueError(f"expected input of shape [B, {channels}, *], got {list(x.shape)}")


if __name__ == "__main__":
    # ## See it work
    #
    # One image per step. The images' levels differ (variance 1 between images, around a channel mean of 5), and so do
    # the values within an image (variance 1), so over the whole population the variance is 2. (Among the last 300
    # images of this draw it is 2.21.)
    torch.manual_seed(0)
    stream = 5 + torch.randn(600, 1, 1, 1, 1) + torch.randn(600, 1, 1, 16, 16)
    estimated = EstimatedBatchNorm(channels=1)
    outputs, variances = [], []
    for x in stream:
        outputs.append(estimated(x).detach())
        variances.append(estimated.running_var.item())
    settled = torch.cat(outputs[300:])  # [300, 1, 16, 16]
    print(f"running variance, mean of the last 300 steps: {sum(variances[300:]) / 300:.2f}")
    print(f"output in these steps: mean {settled.mean():+.2f}, std {settled.std():.2f}")
    # By the statistics of all images, the images' levels would have a spread of $\sqrt{1/2} = 0.71$. Here each image
    # has already pulled the running mean a tenth of the way to its own. BatchNorm, on the same stream, normalizes each
    # image by itself: the level that told the images apart is gone.
    batch_norm = BatchNorm(1)
    levels = torch.stack([batch_norm(x).mean() for x in stream[300:]])  # [300]
    spread = settled.mean((1, 2, 3)).std()
    print(f"spread of the images' levels: estimated {spread:.2f}, BatchNorm {levels.std():.1e}")
