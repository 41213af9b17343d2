"""What is compared: the layers of this project, other forms of the same, and the least that a form could cost.

The other forms are restated in our words from what their sources compute (`docs/tutorials/implementations.py` has them with
links); the formulas differ a little, which costs nothing.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labml_ws.standardization import weight_standardization


def labml(weight: Tensor) -> Tensor:
    flat = weight.view(weight.shape[0], -1)
    var, mean = torch.var_mean(flat, dim=1, keepdim=True)
    return ((flat - mean) / (var + 1e-5).sqrt()).view(weight.shape)


def authors(weight: Tensor) -> Tensor:
    mean = weight.mean(1, keepdim=True).mean(2, keepdim=True).mean(3, keepdim=True)
    centered = weight - mean
    std = centered.view(len(weight), -1).std(dim=1).view(-1, 1, 1, 1) + 1e-5
    return centered / std.expand_as(centered)


def timm(weight: Tensor) -> Tensor:
    rows = weight.reshape(1, len(weight), -1)
    normalized = F.batch_norm(rows, None, None, training=True, momentum=0.0, eps=1e-6)
    return normalized.reshape_as(weight)


class Touch(torch.autograd.Function):
    """
    The floor: the memory that any standardization must touch, and no arithmetic. One read and one write forward; the weight
    and the gradient read and one gradient written backward.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return weight.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (weight,) = ctx.saved_tensors
        return torch.add(gradient, weight)


class Formed(nn.Conv2d):
    """A convolution with its weight in some form."""

    def __init__(
        self, *arguments: Any, form: Callable[[Tensor], Tensor], **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self.form = form

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.form(self.weight), self.bias)


FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "floor": Touch.apply,
    "step by step": weight_standardization,
    "timm": timm,
    "authors": authors,
    "labml": labml,
}


class LabmlBCN(nn.Module):
    """labml's Batch-Channel Norm: estimated statistics, then groups, each with means of squares and in single steps."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        self.group_scale = nn.Parameter(torch.ones(groups))
        self.group_shift = nn.Parameter(torch.zeros(groups))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        shape = x.shape
        x = x.view(*shape[:2], -1)
        with torch.no_grad():
            mean = x.mean(dim=[0, 2])
            var = (x**2).mean(dim=[0, 2]) - mean**2
            self.running_mean = 0.9 * self.running_mean + 0.1 * mean
            self.running_var = 0.9 * self.running_var + 0.1 * var
        x = (x - self.running_mean.view(1, -1, 1)) / (self.running_var + 1e-5).sqrt().view(
            1, -1, 1
        )
        x = self.scale.view(1, -1, 1) * x + self.shift.view(1, -1, 1)
        x = x.view(shape[0], self.groups, -1)
        mean = x.mean(dim=-1, keepdim=True)
        var = (x**2).mean(dim=-1, keepdim=True) - mean**2
        x = (x - mean) / (var + 1e-5).sqrt()
        return (self.group_scale.view(1, -1, 1) * x + self.group_shift.view(1, -1, 1)).view(
            shape
        )
