r"""
# Running statistics that stay right

A batch norm is the one common layer that a forward pass *changes*: it keeps a running mean and variance. Everything
that repeats a forward pass, skips one, splits it over machines, or changes a model's dtype meets these two buffers.
[Both batch norms][labml_ws.batch_channel_norm] build on this class, and this is what it looks after.

| what happens | what the statistics do |
|---|---|
| a batch has an infinite value or a `nan`, as before AMP skips a step | a channel without a finite mean and variance stays as it was |
| activation checkpointing runs the forward pass again | the second run takes the statistics of the first and changes nothing |
| `.half()`, `.bfloat16()`, `.to(dtype)` | they stay in float32, or in float64 |
| `meta`, then `to_empty`, then `reset_parameters` | 0 and 1, as in torch |
| `update_bn` after weight averaging, which sets `momentum=None` | the plain mean and variance of all batches |
| freezing by `m.eval()` for every `_BatchNorm` | frozen: these layers are such |
| several processes | each keeps its own, and DDP copies those of rank 0 over the others; with `sync`, one for all |

**What it cannot look after.** Checkpointing together with `torch.compile`, inside or around the compiled code, is wrong
for *any* layer that normalizes with a buffer and updates it: the repeated pass reads the updated one. (That is so in
torch 2.13, and six lines show it without anything of ours.) A copy made by `torch.fx` or TorchScript does not know a repeated
pass from a new one either. Do not checkpoint any of these. If the very same batch comes several times before the first
backward pass, these must go from the last to the first, as one backward pass for all does. And
`nn.SyncBatchNorm.convert_sync_batchnorm` replaces an estimated norm that stands alone by torch's own, which
does not estimate; inside a [BCN][labml_ws.batch_channel_norm.BatchChannelNorm] it stays, and is told to `sync`.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch import distributed as dist

# How many passes may lie between one and its repetition, each kept as three numbers per channel. Where a backward pass
# follows each forward pass, it is one. A head that five levels of a pyramid share needs five, a pipeline as many as are under way.
PASSES = 16


@dataclass
class Pass:
    """What one forward pass in training saw and used: three tensors `[C]`, and how often it was run again."""

    batch_mean: Tensor
    mean: Tensor
    var: Tensor
    repeats: int = 0


class RunningStatistics(nn.BatchNorm2d):
    r"""
    ## A batch norm for any number of positions

    * `channels`: number of channels $\code{channels}{C}$
    * `eps`: added to the variance
    * `momentum`: the share of the new batch in the running statistics, from 0 to 1. `None`: all batches count the same
    * `affine`: learn a scale and a shift, one of each per channel
    * `sync`: take the batch over all processes of `self.process_group` (by default, all there are). Without
      `torch.distributed`, or with one process, it changes nothing
    * `device`, `dtype`: where to put parameters and statistics. These are never in half precision: at the small momenta
      that single images need, bfloat16 rounds a step away, and an estimate stalls short of what it estimates

    Being one of torch's batch norms, it has its parameters, buffers and `state_dict`, and what looks for batch norms
    finds it. Torch has a class for each number of dimensions, and they differ only in a check. Raises `ValueError` for
    fewer than 1 channel and a `momentum` outside 0 to 1.
    """

    running_mean: Tensor  # [C]
    running_var: Tensor  # [C]
    num_batches_tracked: Tensor

    def __init__(
        self,
        channels: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        sync: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if channels < 1:
            raise ValueError(f"expected at least 1 channel, got {channels}")
        if momentum is not None and not 0 <= momentum <= 1:
            raise ValueError(
                f"expected momentum (the share of the new batch) from 0 to 1, got {momentum}: "
                "None would weigh all batches alike"
            )
        super().__init__(channels, eps, momentum, affine, device=device, dtype=dtype)
        self.sync = sync
        self.process_group: Any = None
        self.passes: deque[Pass] = deque(maxlen=PASSES)
        self.widen()

    def _check_input_dim(self, input: Tensor) -> None:
        check_channels(input, self.num_features)

    def reset_running_stats(self) -> None:
        super().reset_running_stats()
        self.passes = deque(maxlen=PASSES)

    # What to normalize with, in training: from the moments of a batch, `[C]` each, and how many values these are of.
    def update(
        self, batch_mean: Tensor, batch_var: Tensor, count: int
    ) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    # ## One step of the averages
    #
    # A channel whose batch has no finite variance keeps what it has, and a batch that is not finite in all channels is not
    # counted. (`< inf` is false for `nan` as well, and where the mean is not finite the variance isn't either.) No step
    # here waits for the device.
    def average(self, batch_mean: Tensor, batch_var: Tensor) -> tuple[Tensor, Tensor]:
        old_mean, old_var = self.running_mean, self.running_var
        finite = batch_var < math.inf  # [C]
        batch_mean = torch.where(finite, batch_mean, old_mean)
        batch_var = torch.where(finite, batch_var, old_var)
        # `lerp(a, b, r)` is $(1 - r) \cdot a + r \cdot b$.
        if self.momentum is None:
            share = equal_share(self.num_batches_tracked, batch_var)
            mean = torch.lerp(old_mean, batch_mean, share)
            var = torch.lerp(old_var, batch_var, share)
        else:
            mean = torch.lerp(old_mean, batch_mean, self.momentum)
            var = torch.lerp(old_var, batch_var, self.momentum)
        # The buffers are written in place, so that checkpoints, compiled code and other processes see one buffer. What is
        # returned is *not* the buffer: the next pass will change that, and the backward pass of this one must still find
        # the values it used.
        old_mean.copy_(mean)
        old_var.copy_(var)
        self.num_batches_tracked.add_(finite.all())
        return mean, var

    # ## The same pass again
    #
    # Activation checkpointing throws away what a part of the network computed, and in the backward pass computes it
    # again. If the running statistics moved a second time, the second run would normalize with others than the first, and the
    # gradient would be wrong. So a pass leaves a note of the statistics that it used, and one
    # that runs *inside a backward pass* looks for the note whose batch is its own.
    @torch.jit.unused
    def remember(self, batch_mean: Tensor, mean: Tensor, var: Tensor) -> None:
        if not torch.compiler.is_compiling() and isinstance(mean, Tensor):
            self.passes.appendleft(Pass(batch_mean, mean, var))

    # The same computation on the same values gives the same batch mean, so the distance is 0, or nearly so where a
    # kernel adds up in no fixed order. If two notes fit, of one batch that came twice, the later is the one to be repeated
    # first, as backward passes go from last to first. To compare is to wait for the device, once for each repeated pass.
    @torch.jit.unused
    def recall(self, batch_mean: Tensor) -> Pass:
        if self.passes:
            means = torch.stack([note.batch_mean for note in self.passes])  # [passes, C]
            var = torch.stack([note.var for note in self.passes])
            apart = ((means - batch_mean) / (var + self.eps).sqrt()).abs()
            distances = apart.nan_to_num(0.0).amax(1).tolist()
            best = min(
                range(len(distances)), key=lambda i: (distances[i], self.passes[i].repeats)
            )
            if distances[best] < 0.01:
                self.passes[best].repeats += 1
                return self.passes[best]
        raise RuntimeError(
            "expected a forward pass inside a backward pass to repeat one of the last "
            f"{PASSES} of this layer, as activation checkpointing does, got other values: "
            f"raise labml_ws.running_statistics.PASSES before the layer is made, or call eval() for a pass that is no repetition"
        )

    # ## Dtypes and files
    #
    # `.half()` and its like come through here. The buffers go along to the new device, but not below float32: what was
    # kept before takes the place of what was rounded.
    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        kept = self.running_mean, self.running_var
        super()._apply(fn, recurse)
        self.widen(*kept)
        self.passes = deque(maxlen=PASSES)
        return self

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self.widen()

    def widen(self, mean: Tensor | None = None, var: Tensor | None = None) -> None:
        """Statistics in half precision become float32, with the values of `mean` and `var` where these are given."""
        for name, kept in (("running_mean", mean), ("running_var", var)):
            now = self._buffers[name]
            if now is not None and now.element_size() < 4:
                wide = now if kept is None else kept
                self._buffers[name] = wide.to(now.device, torch.float32)

    # Notes are of one process and one training run: a copy starts without.
    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"passes": deque(maxlen=PASSES)}

    def extra_repr(self) -> str:
        text = f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}"
        return f"{text}, sync=True" if self.sync else text


@torch.jit.unused
def repeating() -> bool:
    """
    Whether this is a backward pass, in which a forward pass can only be a repeated one. Torch asks itself by the same
    function and has no public one; a test in both modes of `torch.utils.checkpoint` watches it.
    """
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


# ## Small steps, each a node of its own
#
# `torch.fx` follows a forward pass without values, so it cannot decide an `if` about a shape. What it is told to `wrap`,
# it does not look into.
@fx.wrap
def check_channels(x: Tensor, channels: int) -> None:
    """One error for all norms, raised before a kernel fails with a message of its own or, worse, broadcasts."""
    if x.dim() < 2 or x.shape[1] != channels:
        raise ValueError(f"expected input of shape [B, {channels}, *], got {list(x.shape)}")


@fx.wrap
def equal_share(batches: Tensor, like: Tensor) -> Tensor:
    """The share of a batch among all so far: $1/n$ for the $n$-th, a single number on the device of `like`."""
    return 1 / (batches + 1).to(like.dtype)


@fx.wrap
def channel_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    r"""
    ## Mean and variance of each channel

    Over images and positions, the variance with $1/n$: two tensors `[C]`, `nan` for an empty batch.

    `torch.var_mean` is exact and simple, and on the CPU it took nearly all the time of a BCN. The moments of each channel
    *of each image* are had many times faster, and the rest follows from those few numbers. For few
    positions a third kernel is the fastest.

    That one is never given `channels_last` input. There it adds up in float32, one value after another: a million of
    them at mean 1000 and variance 1 get a variance that is far from 1.
    """
    if x.numel() == 0:
        nothing = torch.full([x.shape[1]], math.nan, dtype=x.dtype, device=x.device)
        return nothing, nothing
    x = x.reshape(x.shape[0], x.shape[1], -1)  # [B, C, positions]
    scripting = torch.jit.is_scripting()
    if scripting or torch.compiler.is_compiling() or not x.is_cpu:
        var, mean = torch.var_mean(x, dim=[0, 2], correction=0)
        return mean, var
    if x.shape[2] <= 16:
        mean, var = torch.batch_norm_update_stats(x.contiguous(), None, None, 0.0)
        return mean, var
    mean, var = pooled(*image_moments(x.contiguous()))
    if far_from_zero(mean, var):
        var, mean = torch.var_mean(x, dim=[0, 2], correction=0)
    return mean, var


def image_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """
    Mean and variance of each channel of each image, two tensors `[B, C]` for a contiguous `x` of shape `[B, C, *]` in float32 or
    float64. They are what a group norm with a group per channel finds on its way; its output is not used.
    """
    B, C = x.shape[:2]
    _, mean, inverse = torch.native_group_norm(
        x, None, None, B, C, x.numel() // (B * C), C, 0.0
    )
    return mean, inverse.pow(-2)


def pooled(mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
    r"""
    Mean and variance of each channel from those of its images, `[B, C]` each to `[C]` each:

    $$\code{whole}{\mu_c} = \overline{\code{mean}{\mu_{bc}}} \qquad
    \code{spread}{\sigma_c^2} = \overline{\code{var}{\sigma_{bc}^2}}
    + \overline{(\code{mean}{\mu_{bc}} - \code{whole}{\mu_c})^2}$$

    with a bar for the mean over the images $b$. Both terms are positive, so nothing cancels, as it does in
    $\overline{x^2} - \code{whole}{\mu^2}$.

    * $\code{mean}{\mu_{bc}}$: the mean of a channel of an image; $\code{var}{\sigma_{bc}^2}$: the variance of a channel of an image
    * $\code{whole}{\mu_c}$: the mean of a channel over all images; $\code{spread}{\sigma_c^2}$: the variance of a channel over all images
    """
    between, whole = torch.var_mean(mean, dim=[0], correction=0)  # [C] each
    spread = var.mean(0) + between
    return whole, spread


@torch.jit.unused
def far_from_zero(mean: Tensor, var: Tensor) -> bool:
    r"""
    Whether a mean is more than $2^7$ standard deviations from 0, for tables of any shape. A mean is rounded to 24 bits, so
    far out the means of images miss their distances from each other, and the variance that [is pooled][labml_ws.running_statistics.pooled] from them is off in the
    fifth digit. `torch.var_mean` adds up in float64 and is not. Where a tracer or `torch.vmap` has no values to ask, no.
    """
    try:
        left = torch.addcmul(var, mean, mean, value=-(2.0**-14))
        return left.amin().item() < 0
    except RuntimeError:
        return False


def over_processes(
    mean: Tensor, var: Tensor, count: int, group: Any = None
) -> tuple[Tensor, Tensor]:
    r"""
    ## One batch, in parts

    * `mean`, `var`: the moments of this process's part, `[C]` each; `count`: how many values each is of
    * returns the moments of the whole, `[C]` each, the same in all processes

    As above, with processes for images, each weighed by its count. One exchange of $2C + 1$ numbers. Every process must
    come by as often as the others; a repeated pass does not count.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size(group) == 1:
        return mean, var
    part = torch.cat([mean, var, mean.new_full((1,), count)])
    parts = [torch.empty_like(part) for _ in range(dist.get_world_size(group))]
    dist.all_gather(parts, part, group)
    means, variances, counts = torch.stack(parts).split([len(mean), len(var), 1], dim=1)
    shares = counts / counts.sum()  # [processes, 1]
    # A process without a single value has `nan` for its moments, and no say.
    means, variances = (torch.where(counts > 0, t, 0.0) for t in (means, variances))
    whole = (shares * means).sum(0)  # [C]
    return whole, (shares * (variances + (means - whole).square())).sum(0)


if __name__ == "__main__":
    # ## See it work
    #
    # Eight images whose levels differ. From the moments of each channel of each image follow those of each channel.
    torch.manual_seed(0)
    x = 5 + torch.randn(8, 4, 1, 1) + torch.randn(8, 4, 16, 16)
    mean, var = pooled(*image_moments(x))
    far = (
        (mean - x.mean((0, 2, 3))).abs().max(),
        (var - x.var((0, 2, 3), correction=0)).abs().max(),
    )
    print(f"from the images' moments: mean {mean.mean():.2f}, variance {var.mean():.2f}")
    print(f"largest difference from the channels' own: {max(far):.0e}")
