r"""
# The plain layers, restated

What the layers above are compared with: torch's own behavior, written in the shape of ours, so that what is left to see is what differs. Tests hold each of
them against the torch layer of the same name: outputs, gradients and running statistics.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labml_ws.batch_channel_norm import check_channels


class Conv2d(nn.Conv2d):
    """Torch's constructor, written out, and its forward pass: convolve with the weight as it is."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: str | int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)


class BatchNorm(nn.Module):
    """
    In training, normalize with the batch's own mean and variance, and let gradient flow through both. The running statistics are kept for evaluation;
    their variance is the unbiased one, which divides by one less than the number of values.
    """

    running_mean: Tensor
    running_var: Tensor
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
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.long))

    # Without statistics to use, `batch_norm` takes those of the batch.
    def forward(self, x: Tensor) -> Tensor:
        check_channels(x, self.channels)
        if self.training:
            self.update(x)
            return F.batch_norm(
                x, None, None, self.weight, self.bias, training=True, eps=self.eps
            )
        mean, var = self.running_mean, self.running_var
        return F.batch_norm(x, mean, var, self.weight, self.bias, training=False, eps=self.eps)

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        if x.numel() == 0:
            return
        dims = [d for d in range(x.dim()) if d != 1]
        x = x.to(self.running_var.dtype)
        batch_var, batch_mean = torch.var_mean(x, dim=dims, correction=1)
        self.running_mean.lerp_(batch_mean, self.momentum)
        self.running_var.lerp_(batch_var, self.momentum)
        self.num_batches_tracked.add_(1)

    def extra_repr(self) -> str:
        return (
            f"{self.channels}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}"
        )


class GroupNorm(nn.Module):
    """Normalize each image by itself, over groups of channels; scale and shift each channel."""

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
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        check_channels(x, self.channels)
        return F.group_norm(x, self.groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.channels}, groups={self.groups}, eps={self.eps}, affine={self.affine}"
