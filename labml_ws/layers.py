r"""
# Layers with standardized weights

Each layer here is the torch layer of the same name with one change: it convolves with $\hat W$ instead of $W$. Arguments, attributes and
`state_dict` keys are torch's, so a checkpoint of the plain layer loads into the standardized one and back.

```python
from labml_ws import Conv2d        # instead of torch.nn.Conv2d

block = nn.Sequential(Conv2d(3, 64, 3, padding=1, bias=False), nn.GroupNorm(32, 64), nn.ReLU())
```

**Where to use it.** For convolutions that a normalization follows: that is where the authors use it, and all that they claim.

**Where not to.**

* *No normalization behind it.* $\hat W$ has a fixed length of $\sqrt I$ that training cannot change, so the output of the layer is about
  $\sqrt I$ times its input. Ten such layers with ReLU between them reach $10^{11}$, beyond half precision; that is the `nan` that people report.
* *The final classifier.* It must be able to scale its logits and nothing normalizes them afterwards: keep `nn.Linear`.
* *Fan-in 1* (depthwise $1 \times 1$): refused with an error, as [the function explains][labml_ws.standardization.check_weight].
* *Pretrained weights.* They load, but the network that they were trained for convolved with $W$, not $\hat W$. Expect to train again, with the
  learning rate searched anew: the old one belonged to weights with another scale.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labml_ws.standardization import check_weight, standardize


class Conv2d(nn.Conv2d):
    r"""
    ## Conv2d

    $$y = \hat W * x + b$$

    All the arguments of [torch.nn.Conv2d][], and

    * `eps`: added to each filter's variance, see [above][labml_ws.standardization.weight_standardization]

    Input `[B, C_in, H, W]` or `[C_in, H, W]`, output `[B, C_out, H', W']`. Raises `ValueError` for a fan-in of 1.

    Source: [arXiv:1903.10520](https://arxiv.org/abs/1903.10520), §2.
    """

    # Over **which elements**? A filter's own: $\frac{C_{in}}{groups} k_h k_w$ weights for each output channel. Groups need no special care,
    # as torch stores only the channels that a filter really reads.
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
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        eps: float = 1e-5,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        )  # fmt: skip
        check_weight(self.weight, eps)
        self.eps = eps

    # What the convolution sees. `weight` stays the trained parameter, and the optimizer needs no change.
    @property
    def w_hat(self) -> Tensor:
        return standardize(self.weight, self.eps)

    # `_conv_forward` is where torch keeps padding modes, strides and groups. Calling it, rather than `F.conv2d`, keeps `padding_mode`
    # working: labml's layer takes the argument and ignores it. The weight is standardized, never the activations.
    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.w_hat, self.bias)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, eps={self.eps}"


class Standardized(nn.Module):
    r"""
    ## The others: one mixin

    The remaining layers differ from `Conv2d` only in the torch class that stands behind them: `eps` by keyword, all else goes to torch.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(self, *args: Any, eps: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.eps = eps
        check_weight(self.filters(), eps)

    # The weight with output channels first, as the function wants it. Only the transposed layers need to rearrange theirs.
    def filters(self) -> Tensor:
        return self.weight

    @property
    def w_hat(self) -> Tensor:
        return standardize(self.filters(), self.eps)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, eps={self.eps}"


class Conv1d(Standardized, nn.Conv1d):
    """Standardized [torch.nn.Conv1d][]: input `[B, C_in, L]`, each filter has $C_{in}/groups \\cdot k$ weights."""

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.w_hat, self.bias)


class Conv3d(Standardized, nn.Conv3d):
    """Standardized [torch.nn.Conv3d][]: input `[B, C_in, D, H, W]`, each filter has $C_{in}/groups \\cdot k_d k_h k_w$ weights."""

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.w_hat, self.bias)


class Linear(Standardized, nn.Linear):
    """Standardized [torch.nn.Linear][]: input `[*, in]`, one row of the matrix per output. For hidden layers that a normalization follows."""

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.w_hat, self.bias)


class StandardizedTranspose(Standardized):
    r"""
    ## Transposed convolutions

    Torch stores these as `[C_in, C_out / groups, *kernel]`: a *row* of the tensor belongs to an **input** channel. The filter of an output
    channel is a column, within its group, so standardizing the rows would mix weights that never meet in one sum.
    """

    groups: int
    kernel_size: tuple[int, ...]

    # Split the groups off the input channels, put the outputs before the inputs: `[C_out, C_in / groups, *kernel]`.
    def filters(self) -> Tensor:
        grouped = self.weight.unflatten(0, (self.groups, -1))  # [G, C_in/G, C_out/G, *k]
        return grouped.transpose(1, 2).flatten(0, 1)  # [C_out, C_in/G, *k]

    # Standardize, and go the same way back.
    @property
    def w_hat(self) -> Tensor:
        filters = standardize(self.filters(), self.eps).unflatten(0, (self.groups, -1))  # [G, C_out/G, C_in/G, *k]
        return filters.transpose(1, 2).flatten(0, 1)  # [C_in, C_out/G, *k]

    # Torch has no `_conv_forward` for these. `_output_padding` works out what `output_size` asks for.
    def transposed_forward(self, convolve: Any, input: Tensor, output_size: Sequence[int] | None) -> Tensor:
        size = None if output_size is None else list(output_size)
        output_padding = self._output_padding(
            input, size, self.stride, self.padding, self.kernel_size, len(self.kernel_size), self.dilation
        )  # fmt: skip
        return convolve(input, self.w_hat, self.bias, self.stride, self.padding, output_padding, self.groups, self.dilation)


class ConvTranspose1d(StandardizedTranspose, nn.ConvTranspose1d):
    """Standardized [torch.nn.ConvTranspose1d][]: input `[B, C_in, L]`."""

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return self.transposed_forward(F.conv_transpose1d, input, output_size)


class ConvTranspose2d(StandardizedTranspose, nn.ConvTranspose2d):
    """Standardized [torch.nn.ConvTranspose2d][]: input `[B, C_in, H, W]`."""

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return self.transposed_forward(F.conv_transpose2d, input, output_size)


class ConvTranspose3d(StandardizedTranspose, nn.ConvTranspose3d):
    """Standardized [torch.nn.ConvTranspose3d][]: input `[B, C_in, D, H, W]`."""

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return self.transposed_forward(F.conv_transpose3d, input, output_size)


if __name__ == "__main__":
    # ## See it work
    #
    # Take a plain layer, carry its weights over.
    torch.manual_seed(0)
    plain = nn.Conv2d(16, 32, 3, padding=1, padding_mode="circular")
    layer = Conv2d(16, 32, 3, padding=1, padding_mode="circular")
    layer.load_state_dict(plain.state_dict())
    print(layer)
    x = torch.randn(8, 16, 32, 32)
    print(f"output std: plain {plain(x).std():.2f}, standardized {layer(x).std():.2f}, sqrt(fan-in) {(16 * 9) ** 0.5:.2f}")
    # **Do I keep it at inference?** The computation no, the result yes: put $\hat W$ where $W$ was and use the plain layer, for export (ONNX included)
    # and for speed. Keep $W$ if you want to go on training.
    plain.load_state_dict({"weight": layer.w_hat.detach(), "bias": layer.bias.detach()})
    print(f"folded into a plain layer, largest difference: {(plain(x) - layer(x)).abs().max():.1e}")
