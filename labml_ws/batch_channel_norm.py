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

And for **micro-batches**, one or two images per step, where batch statistics
[say little about the data](../tutorials/small_batches.md#why-batchnorm-gets-worse), it replaces them with *estimates* that are gathered
over many steps. That is the first class below.
[One tutorial](../tutorials/small_batches.md) watches these statistics at work, [another](../tutorials/micro_batches.md)
trains with them, down to one image per step, where they must
[move slowly](../tutorials/micro_batches.md#how-fast-should-an-estimate-move).
"""

import math

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from labml_ws.one_pass import in_one_pass, pays
from labml_ws.running_statistics import (
    RunningStatistics,
    channel_moments,
    check_channels,
    equal_share,
    over_processes,
    repeating,
)


class EstimatedBatchNorm(RunningStatistics):
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
      initial values. `None`: every batch so far has the same share
    * `affine`: learn a scale $\code{self.weight}{\gamma}$ and a shift $\code{self.bias}{\beta}$, one of each per
      channel
    * `sync`: estimate over the batches of all processes
    * `device`, `dtype`: as in torch; the statistics stay in float32 or above
    * $\code{mean}{\hat\mu}$: the running mean of each channel; $\code{var}{\hat\sigma^2}$: the running variance of each
      channel

    Input `[B, C, *]` with any number of trailing dimensions, or none; output of the same shape and dtype. Parameters
    and buffers (`running_mean`, `running_var`, `num_batches_tracked`) have the names of [torch.nn.BatchNorm2d][], and a `state_dict` of one can be loaded into the other. What happens
    to the statistics in half precision, in checkpointing, over several processes: [Running statistics that stay right][labml_ws.running_statistics].
    Raises `ValueError` for fewer than 1 channel, a `momentum` outside 0 to 1, or an input with another number of channels.

    Source: [@qiao2019rethinking], the algorithm for micro-batch BCN; order of updates
    from the authors' code.
    """

    running_mean: Tensor  # [C], the mean of each channel over many steps
    running_var: Tensor  # [C], the variance of each channel over many steps

    # Normalize with the statistics *after* the update.
    def forward(self, x: Tensor) -> Tensor:
        check_channels(x, self.num_features)
        if self.training:
            # Detached, as no gradient flows through the statistics.
            mean, var = channel_moments(x.detach().to(self.running_var.dtype))  # [C] each
            mean, var = self.update(mean, var, x.numel() // self.num_features)
        else:
            mean, var = self.running_mean, self.running_var
        return normalize(x, mean, var, self.weight, self.bias, self.eps)

    def update(
        self, batch_mean: Tensor, batch_var: Tensor, count: int
    ) -> tuple[Tensor, Tensor]:
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
        running mean does. labml's code takes the batch's own mean.

        **The price.** $\code{around_old}{v_c}$ is the spread within the batch *and* the square of
        $\code{batch_mean}{m_c} - \code{self.running_mean}{\hat\mu_c}$, how far the batch is from the running mean. At the
        start that is mostly the way that $\code{self.running_mean}{\hat\mu}$ has still to go, from 0 to the true mean, so
        $\code{self.running_var}{\hat\sigma^2}$ becomes too large. What it took up then it forgets like any running
        average, by a factor of $1 - \code{self.momentum}{r}$ per step: after several times $1/\code{self.momentum}{r}$
        steps nothing of it is left. What is never gone is that $\code{self.running_mean}{\hat\mu}$ moves a little with
        each batch and so strays around the true mean. It does so with $\code{self.momentum}{r} / (2 - \code{self.momentum}{r})$ of
        the variance of the batches' means, and by that much $\code{self.running_var}{\hat\sigma^2}$ stays too large: at
        $\code{self.momentum}{r} = 0.1$ by a twentieth of the variance between batches.

        **How it is computed.** The variance around another point is
        $\code{around_old}{\overline{(x - \hat\mu)^2}} = \code{batch_var}{\overline{(x - m)^2}} + (\code{batch_mean}{m} - \code{self.running_mean}{\hat\mu})^2$,
        and [both terms][labml_ws.running_statistics.channel_moments] come without cancellation. The shortcut
        $\overline{\code{x}{x^2}} - \code{batch_mean}{m^2}$ does not: in float32, at variance 1, it is easily 10 % off at
        mean 1000 and negative at 3000, and the root of that is `nan`.

        Torch's running variance divides by one less than the number of values; $\code{around_old}{v_c}$ is a plain
        mean. An empty batch changes nothing.

        * $\code{x}{x_c}$: the input
        * $\code{batch_mean}{m_c}$: the mean of this batch; $\code{batch_var}{\overline{(x - m)^2}}$: the variance of
          this batch, `[C]` each
        * `count`: how many values they are of
        * $\code{around_old}{v_c}$: the variance of this batch around the old running mean
        * returns the running mean and variance after the update, `[C]` each
        """
        batch_mean, batch_var = batch_mean.detach(), batch_var.detach()
        of_this_process = batch_mean
        if not torch.jit.is_scripting() and repeating():
            note = self.recall(of_this_process)
            return note.mean, note.var
        if self.sync:
            batch_mean, batch_var = self.of_all_processes(batch_mean, batch_var, count)
        squared_shift = (batch_mean - self.running_mean).square()
        # Where all batches count the same, "old" means little: the first is compared to a mean of 0 that nobody has
        # measured. Then $(1 - \frac{1}{n})$ of the square makes the result the variance of all values so far.
        if self.momentum is None:
            squared_shift = squared_shift * (
                1 - equal_share(self.num_batches_tracked, batch_var)
            )
        around_old = batch_var + squared_shift
        mean, var = self.average(batch_mean, around_old)
        if not torch.jit.is_scripting():
            self.remember(of_this_process, mean, var)
        return mean, var

    @torch.jit.unused
    def of_all_processes(self, mean: Tensor, var: Tensor, count: int) -> tuple[Tensor, Tensor]:
        return over_processes(mean, var, count, self.process_group)


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

    weight: Tensor | None  # [G], the scale
    bias: Tensor | None  # [G], the shift

    def __init__(
        self,
        channels: int,
        groups: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if channels < 1 or groups < 1 or channels % groups:
            raise ValueError(
                f"expected a number of groups that divides the channels, got {channels} channels and {groups} groups: "
                f"{math.gcd(channels, groups)} groups would divide them"
            )
        self.channels, self.groups, self.eps, self.affine = channels, groups, eps, affine
        for name in ("weight", "bias"):
            parameter = torch.empty(groups, device=device, dtype=dtype) if affine else None
            self.register_parameter(
                name, None if parameter is None else nn.Parameter(parameter)
            )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        if self.weight is not None and self.bias is not None:
            nn.init.ones_(self.weight)
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        check_channels(x, self.channels)
        return channel_norm(x, self.groups, self.weight, self.bias, self.eps)

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
    * `sync`: estimate over the batches of all processes. `nn.SyncBatchNorm.convert_sync_batchnorm` sets it, too
    * `device`, `dtype`: as in torch; the running statistics stay in float32 or above
    * $\code{self.batch_norm}{\text{BatchNorm}}$: the batch norm, of one class or the other;
      $\code{self.channel_norm}{\text{ChannelNorm}}$: the channel norm

    Input `[B, C, *]`, output of the same shape and dtype. Each half has its own scale and shift: $2\code{channels}{C}$
    parameters in the first, $2\code{groups}{G}$ in the second. Raises `ValueError` where the two halves do, and for
    `sync` without `estimate`.

    Source: [@qiao2019rethinking], the definition of BCN. The authors use $\code{groups}{G} = 32$.
    """

    def __init__(
        self,
        channels: int,
        groups: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        estimate: bool = True,
        sync: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if sync and not estimate:
            raise ValueError(
                "expected sync=True with estimate=True only, got estimate=False: a batch's own statistics over all "
                "processes are what nn.SyncBatchNorm.convert_sync_batchnorm gives"
            )
        self.batch_norm: RunningStatistics = (EstimatedBatchNorm if estimate else BatchNorm)(
            channels, eps, momentum, True, sync, device, dtype
        )
        self.channel_norm: ChannelNorm = ChannelNorm(channels, groups, eps, True, device, dtype)

    # **Why both?** The batch norm looks at one channel of many images, the channel norm at many channels of one image, as it
    # is now. With estimates, the first divides by numbers of earlier steps, and nothing in it holds the image at hand to any size: that is
    # left to the second. (With the statistics of a large batch there is less for it to do.)
    #
    # **Why in this order?** A channel norm subtracts the mean of a group, and a channel far below the others ends below zero. Behind a
    # batch norm no channel is far below the others, unless $\beta$ has put it there: each is above the mean of its group about as often as below it, so
    # none is switched off ([a channel that is falling behind](../tutorials/small_batches.md#a-channel-that-is-falling-behind)). With estimates
    # that is so once they have caught up: after a sudden shift they need a few times $1/r$ steps.
    #
    # For large inputs the same is computed [in one pass][labml_ws.one_pass].
    def forward(self, x: Tensor) -> Tensor:
        if not torch.jit.is_scripting():  # noqa: SIM102
            if pays(x, self.batch_norm, self.channel_norm):
                check_channels(x, self.channel_norm.channels)
                return in_one_pass(x, self.batch_norm, self.channel_norm)
        return self.channel_norm(self.batch_norm(x))

    # `convert_sync_batchnorm` makes a `SyncBatchNorm` of every batch norm and puts it into its place here. That one would
    # normalize by the batch, of all processes; what was asked for is an estimate over all processes.
    def add_module(self, name: str, module: nn.Module | None) -> None:
        present = getattr(self, name, None)
        if isinstance(present, EstimatedBatchNorm) and isinstance(module, nn.SyncBatchNorm):
            present.sync, present.process_group = True, module.process_group
        else:
            super().add_module(name, module)


class BatchNorm(RunningStatistics):
    r"""
    ## Torch's batch norm

    In training it normalizes with the batch's own statistics. It is torch's in all but two things: it takes any number of trailing
    dimensions, and its running statistics [stay right][labml_ws.running_statistics].
    """

    def forward(self, x: Tensor) -> Tensor:
        check_channels(x, self.num_features)
        if not self.training:
            mean, var = self.running_mean, self.running_var
            return normalize(x, mean, var, self.weight, self.bias, self.eps)
        y, batch_mean, batch_var = normalize_by_batch(
            x, self.running_mean, self.weight, self.bias, self.eps
        )
        self.keep(batch_mean, batch_var)
        return y

    # In training it normalizes with what it is given. The running variance divides by one less than the number of values.
    def update(
        self, batch_mean: Tensor, batch_var: Tensor, count: int
    ) -> tuple[Tensor, Tensor]:
        self.keep(batch_mean.detach(), batch_var.detach() * (count / (count - 1)))
        return batch_mean, batch_var

    def keep(self, mean: Tensor, var: Tensor) -> None:
        if torch.jit.is_scripting() or not repeating():
            self.average(mean, var)


# ## Two kernels
#
# Parameters in half precision become float32 next to statistics that are; the output has the input's dtype all the same.
@fx.wrap
def normalize(
    x: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    if weight is not None and bias is not None and weight.dtype != mean.dtype:
        weight, bias = weight.to(mean.dtype), bias.to(mean.dtype)
    return F.batch_norm(x, mean, var, weight, bias, training=False, eps=eps)


# With a momentum of 1, what torch leaves in the running statistics is the batch's own mean and variance.
@fx.wrap
def normalize_by_batch(
    x: Tensor, like: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    mean, var = torch.zeros_like(like), torch.zeros_like(like)
    if weight is not None and bias is not None and weight.dtype != mean.dtype:
        weight, bias = weight.to(mean.dtype), bias.to(mean.dtype)
    y = F.batch_norm(x, mean, var, weight, bias, training=True, momentum=1.0, eps=eps)
    return y, mean, var


# A group's channels and positions lie in one row of memory. Seen as one long channel, a group has one scale and one shift,
# and this is torch's `group_norm` as it stands. Where they don't, as in `channels_last`, each pair is spread over the
# channels of its group; the gradients add up by themselves.
@fx.wrap
def channel_norm(
    x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    size = x.shape[1] // groups
    if x.is_contiguous():
        row = x.numel() // max(1, x.shape[0] * groups)
        rows = x.reshape(x.shape[0], groups, row)  # [B, G, C / G * positions]
        return F.group_norm(rows, groups, weight, bias, eps).reshape(x.shape)
    if weight is not None and bias is not None:
        weight = weight.unsqueeze(1).expand(groups, size).reshape(-1)  # [G] -> [C]
        bias = bias.unsqueeze(1).expand(groups, size).reshape(-1)
    return F.group_norm(x, groups, weight, bias, eps)


# Defined elsewhere and used here: `torch.fx` must be told so in both places.
for name in ("channel_moments", "check_channels", "equal_share"):
    fx.wrap(name)


if __name__ == "__main__":
    # ## See it work
    #
    # One image per step. The images' levels differ (variance 1 between images, around a channel mean of 5), and so do
    # the values within an image (variance 1). So three numbers are to be told apart. In an endless stream the variance would be $1 + 1 = 2$. Among the last 300
    # images of this draw it happens to be 2.21, as their levels lie a little further apart. The running variance is
    # larger by the twentieth [from above][labml_ws.batch_channel_norm.EstimatedBatchNorm.update], $0.05$ of the $1.2$ that is between the images.
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
