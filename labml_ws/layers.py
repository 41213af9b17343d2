r"""
# Standardized layers

Each layer here is the torch layer of the same name with one change: it computes with $\code{self.w_hat}{\hat W}$
instead of $\code{self.weight}{W}$.
Arguments, attributes and `state_dict` keys are torch's, so a checkpoint of the plain layer loads into the standardized
one, and back. [From plain to standardized](../variants.md), this is what changes in the code.

```python
from torch import nn
from labml_ws import Conv2d

block = nn.Sequential(
    # instead of nn.Conv2d
    Conv2d(3, 64, 3, bias=False),
    nn.GroupNorm(32, 64),
    nn.ReLU(),
)
```

**Where to use it.** For convolutions that a normalization follows; the authors replace only those. They pair WS with
GroupNorm and with [Batch-Channel Normalization][labml_ws.batch_channel_norm] (BCN). It works with BatchNorm too, but in training BatchNorm already
divides each channel by its own standard deviation, and so by the scale of its filter: of WS only the centering is left
to gain.

**Where not to.**

* *With no normalization behind it.* Each filter of $\code{self.w_hat}{\hat W}$ has length $\sqrt I$ whatever is learned
  ($I$, the fan-in, is its number of weights), so a layer's output is about $\sqrt I$ times its input. Four such layers of 64
  channels, with ReLU between them, exceed the largest number of fp16: hence the `nan` and the exploding activations
  that people report. [Trained like that](../tutorials/recorded_run.md#conventions), a network diverged within 50 steps.
* *In the final classifier.* It must be able to scale its logits (what goes into the softmax), and nothing normalizes
  them: keep `nn.Linear`. [With `Linear` from here](../tutorials/recorded_run.md#conventions), training got stuck.
* *At a fan-in of 1 or 2*, as in a depthwise $1 \times 1$: refused with an error, as
  [the function explains][labml_ws.standardization.check_weight]. A depthwise $3 \times 3$ works, but gives up more than
  others: WS takes two of a filter's $I$ numbers, here two of nine, and a filter of mean zero doesn't see a constant
  input at all.
* *On weights pretrained without WS, unless you train again.* They load, but they were trained to be used as they are.
  Expect to search for a learning rate as well: the old one belonged to weights of another scale.

**The other way round**, a checkpoint of these layers in a plain model, is a silent mistake: all keys match and the
outputs differ. [Fold][labml_ws.convert.fold] first, and save that; or look for
[the mark][labml_ws.layers.Standardized._save_to_state_dict] that these layers leave in a checkpoint.

**Around the layers.** `torch.compile`, `torch.export`, `torch.fx` and `torch.jit` take them as they take torch's, and
several micro-batches (the one or two images that fit into memory at once) of one step can [share one $\code{self.w_hat}{\hat W}$][labml_ws.once].
"""

import warnings
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labml_ws.standardization import check_weight


class Standardized(nn.Module):
    r"""
    ## What all of them share

    A mixin, to be named before the torch layer: it adds `eps` and $\code{w_hat}{\hat W}$, and leaves the computing
    to the torch layer.

    * `eps`: by keyword, added to each filter's variance, see
      [the function][labml_ws.standardization.weight_standardization]; all other arguments go to torch
    * $\code{self.weight}{W}$: the raw weight, which is trained
    * $\code{w_hat}{\hat W}$: the standardized weight, in the shape of $\code{self.weight}{W}$

    Raises `ValueError` for a fan-in of 1 or 2 and for an `eps` that is negative or not finite.
    """

    weight: Tensor
    kept: Any = None

    # What cannot be standardized is found here, once, and when weights are loaded. `forward` has no check and no branch
    # on a value, so `torch.fx` can trace it and `torch.jit` can script it.
    def __init__(self, *args: Any, eps: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check_weight(self.filters(), eps)
        self.eps = eps

    # The weight with output channels first, as the function wants it. Only the transposed layers need to rearrange
    # theirs.
    def filters(self) -> Tensor:
        return self.weight

    # What [`standardize`][labml_ws.standardization.standardize] does behind its check.
    def standardized(self) -> Tensor:
        return F.layer_norm(self.weight, self.weight.shape[1:], eps=self.eps)

    # What the layer computes with. `weight` stays the trained parameter, so the optimizer needs no change. Where several
    # passes share one $\code{w_hat}{\hat W}$, [`standardize_once`][labml_ws.once] keeps it here. (TorchScript
    # leaves out what stands below the first `if`, and would not leave out the second half of an `and`.)
    @property
    def w_hat(self) -> Tensor:
        if not torch.jit.is_scripting():
            kept = self.kept
            if kept is not None:
                return kept.w_hat
        return self.standardized()

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        r"""
        ### The mark in a checkpoint

        The keys of the `state_dict` are torch's, which is what lets it travel. It also lets it travel too far: a plain
        model takes the weights of a standardized one, says "All keys matched", and computes something else. So the
        layer leaves a mark where torch keeps a module's version, in the metadata: `{"labml_ws": {"eps": 1e-05}}`.
        The layers here warn when they load a mark with another `eps` than theirs, and
        [`labml_ws.convert`][labml_ws.convert.standardize] can see what a checkpoint was trained with. A plain layer
        can't warn: torch's code never looks at a mark that it doesn't know.

        No mark, no warning: weights that were trained without WS are a good place to start from, and safetensors or
        `dict(state_dict)` lose all metadata. `torch.save` keeps it.
        """
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if (metadata := getattr(destination, "_metadata", None)) is not None:
            metadata.setdefault(prefix[:-1], {})["labml_ws"] = {"eps": self.eps}

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        super()._load_from_state_dict(
            state_dict,
            prefix,
            local_metadata,
            strict,
            missing_keys,
            unexpected_keys,
            error_msgs,
        )
        # `load_state_dict(assign=True)` can bring in a weight of another dtype.
        try:
            check_weight(self.filters(), self.eps)
        except ValueError as error:
            error_msgs.append(f"{prefix}weight: {error}")
        eps = local_metadata.get("labml_ws", {}).get("eps", self.eps)
        if eps != self.eps:
            warnings.warn(
                f"{prefix}weight was trained with eps={eps} and this layer has eps={self.eps}, so "
                f"its filters come out at another scale: make it with eps={eps}, or set its eps",
                stacklevel=2,
            )

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, eps={self.eps}"


class Conv2d(Standardized, nn.Conv2d):
    r"""
    ## Conv2d

    $$y = \code{self.w_hat}{\hat W} * \code{input}{x} + \code{self.bias}{b}$$

    The arguments are those of [torch.nn.Conv2d][], and one more by keyword, `eps`.

    * `eps`: added to each filter's variance, see [the function][labml_ws.standardization.weight_standardization]
    * $\code{self.w_hat}{\hat W}$: the standardized weight
    * $\code{input}{x}$: the images; $\code{self.bias}{b}$: one number per output channel, if wanted

    Input `[B, C_in, H, W]` or `[C_in, H, W]`, output `[B, C_out, H', W']` or `[C_out, H', W']`. Raises `ValueError` for
    a fan-in of 1 or 2 and for an `eps` that is negative or not finite.

    Source: [@qiao2019micro], the equation of the convolution with $\code{self.w_hat}{\hat W}$.
    """

    # **Over which elements?** Those of one filter:
    # $\code{in_channels}{C_{in}} / \code{groups}{\text{groups}} \cdot \code{kernel_size}{k_h k_w}$ weights for each output
    # channel. Groups need no special care, as torch stores only the channels that a filter really reads.
    def __init__(
        self,
        in_channels: int,  # channels of the input
        out_channels: int,
        kernel_size: int | tuple[int, int],  # height and width of a filter
        stride: int | tuple[int, int] = 1,
        padding: str | int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,  # parts of the input that are convolved apart
        bias: bool = True,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        eps: float = 1e-5,
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
            eps=eps,
        )

    # `_conv_forward` is where torch handles padding modes, strides and groups. Calling it, rather than `F.conv2d`,
    # keeps `padding_mode` working: [labml's][@labml] layer takes the argument and ignores it. Only the weight is standardized,
    # never the input.
    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.w_hat, self.bias)


class Conv1d(Standardized, nn.Conv1d):
    r"""
    ## The others

    They differ from `Conv2d` only in the torch class behind them.

    Standardized [torch.nn.Conv1d][]: input `[B, C_in, L]`, output `[B, C_out, L']`. A filter has
    $C_{in} / \text{groups} \cdot k$ weights.
    """

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.w_hat, self.bias)


class Conv3d(Standardized, nn.Conv3d):
    r"""
    Standardized [torch.nn.Conv3d][]: input `[B, C_in, D, H, W]`, output `[B, C_out, D', H', W']`. A filter has
    $C_{in} / \text{groups} \cdot k_d k_h k_w$ weights.
    """

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.w_hat, self.bias)


class Linear(Standardized, nn.Linear):
    """
    Standardized [torch.nn.Linear][]: input `[*, in]`, output `[*, out]`. A filter is a row of the weight. For hidden
    layers that a normalization follows.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.w_hat, self.bias)


class StandardizedTranspose(Standardized, nn.modules.conv._ConvTransposeNd):
    r"""
    ## Transposed convolutions

    Torch stores their weights as `[C_in, C_out / groups, *kernel]`: a *row* of the tensor belongs to an **input**
    channel. The filter of an output channel is a column, within its group. Standardizing rows would mix weights that
    never meet in one sum.
    """

    convolve: Callable[..., Tensor]

    # Split the groups off the input channels, put the outputs before the inputs: `[C_out, C_in / groups, *kernel]`.
    def filters(self) -> Tensor:
        grouped = self.weight.unflatten(0, (self.groups, -1))  # [G, C_in/G, C_out/G, *k]
        return grouped.transpose(1, 2).flatten(0, 1)  # [C_out, C_in/G, *k]

    # Standardize, and go the same way back.
    def standardized(self) -> Tensor:
        filters = self.filters()
        filters = F.layer_norm(filters, filters.shape[1:], eps=self.eps)
        grouped = filters.unflatten(0, (self.groups, -1))  # [G, C_out/G, C_in/G, *k]
        return grouped.transpose(1, 2).flatten(0, 1)  # [C_in, C_out/G, *k]

    # Torch has no `_conv_forward` for these, and a function for each number of dimensions. `_output_padding` works out what
    # `output_size` asks for.
    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        dims, step = len(self.kernel_size), self.dilation
        sizes = (self.stride, self.padding, self.kernel_size, dims, step)
        added = self._output_padding(input, output_size, *sizes)  # type: ignore[arg-type]
        places = (self.stride, self.padding, added, self.groups, self.dilation)
        return self.convolve(input, self.w_hat, self.bias, *places)


class ConvTranspose1d(StandardizedTranspose, nn.ConvTranspose1d):
    """Standardized [torch.nn.ConvTranspose1d][]: input `[B, C_in, L]`, output `[B, C_out, L']`."""

    convolve = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(StandardizedTranspose, nn.ConvTranspose2d):
    """Standardized [torch.nn.ConvTranspose2d][]: input `[B, C_in, H, W]`, output `[B, C_out, H', W']`."""

    convolve = staticmethod(F.conv_transpose2d)


class ConvTranspose3d(StandardizedTranspose, nn.ConvTranspose3d):
    """Standardized [torch.nn.ConvTranspose3d][]: input `[B, C_in, D, H, W]`, output `[B, C_out, D', H', W']`."""

    convolve = staticmethod(F.conv_transpose3d)


if __name__ == "__main__":
    # ## See it work
    #
    # Take a plain layer and carry its weights over. The output grows to about $\sqrt I$.
    torch.manual_seed(0)
    plain = nn.Conv2d(16, 32, 3, padding=1, padding_mode="circular")
    layer = Conv2d(16, 32, 3, padding=1, padding_mode="circular")
    layer.load_state_dict(plain.state_dict())
    print(layer)
    x = torch.randn(8, 16, 32, 32)
    std, standardized = plain(x).std(), layer(x).std()
    print(
        f"output std: plain {std:.2f}, standardized {standardized:.2f}, sqrt(I) {(16 * 9) ** 0.5:.2f}"
    )
    # **Do I keep it at inference?** The result yes, the computation no: *fold* it, that is, put $\hat W$ where $W$ was
    # and use the plain layer, for speed and for export (ONNX included). Keep $W$ if you want to go on training.
    plain.load_state_dict(layer.state_dict() | {"weight": layer.w_hat.detach()})
    difference = (plain(x) - layer(x)).abs().max()
    print(f"folded into a plain layer, largest difference: {difference:.1e}")
    # **How do I put it into a model that I have?** The layer has no parameter of its own, so a plain convolution can
    # change its class where it is. Its weights and hooks stay, and so do the optimizer's references to them.
    # `labml_ws.convert` does it [for a whole model][labml_ws.convert.standardize], and
    # [folds one][labml_ws.convert.fold] when training is over.
    existing: Any = nn.Conv2d(16, 32, 3)
    existing.__class__, existing.eps = Conv2d, 1e-5
    print(existing)
