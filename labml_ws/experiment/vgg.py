r"""
# A VGG for 32x32 images

The thirteen convolutions of VGG-16 ([@simonyan2014very]) and one linear
layer: no skip connections and no tricks. That makes it a good place to watch normalization: with nothing else to keep
the signal in range, what a normalization does, or fails to do, shows.

The convolution and the normalization are arguments, so that one network serves every comparison.

| network | `conv` | `norm` |
|---|---|---|
| none | `nn.Conv2d` | `None` |
| BN | `nn.Conv2d` | `nn.BatchNorm2d` |
| GN | `nn.Conv2d` | `lambda c: nn.GroupNorm(32, c)` |
| WS + GN | `Conv2d` | `lambda c: nn.GroupNorm(32, c)` |
| BCN | `nn.Conv2d` | `lambda c: BatchChannelNorm(c, 32)` |
| WS + BCN | `Conv2d` | `lambda c: BatchChannelNorm(c, 32)` |
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from labml_ws.batch_channel_norm import BatchChannelNorm
from labml_ws.layers import Conv2d

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def default_norm(channels: int) -> nn.Module:
    return BatchChannelNorm(channels, groups=32)


class VGG(nn.Module):
    r"""
    ## The network

    * `blocks`: output channels of each convolution, a list per block. Each block ends in a pooling that halves height
      and width
    * `conv`: makes a convolution from `(in_channels, out_channels, kernel_size, padding=, bias=)`
    * `norm`: makes a normalization from a number of channels; `None` for none
    * `classes`: how many logits; `in_channels`: how many channels an image has

    Input `[B, in_channels, H, W]`, output `[B, classes]`: logits. With five blocks a 32x32 image comes out as one
    pixel; the mean over positions that follows lets larger images pass as well. Raises `ValueError` for an empty
    network or block.
    """

    def __init__(
        self,
        blocks: Sequence[Sequence[int]] = BLOCKS,
        conv: Callable[..., nn.Module] = Conv2d,
        norm: Callable[[int], nn.Module] | None = default_norm,
        classes: int = 10,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if not blocks or not all(blocks):
            raise ValueError(f"expected at least one convolution in every block, got {blocks}")
        layers: list[nn.Module] = []
        channels = in_channels
        for block in blocks:
            for out_channels in block:
                # A normalization brings a shift of its own; a bias in the convolution as well would be one too many.
                layers.append(
                    conv(channels, out_channels, kernel_size=3, padding=1, bias=norm is None)
                )
                if norm is not None:
                    layers.append(norm(out_channels))
                layers.append(nn.ReLU())
                channels = out_channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        # The classifier stays a plain `nn.Linear`: it must be free to scale its logits, see
        # [where not to use WS][labml_ws.layers].
        self.classifier = nn.Linear(channels, classes)
        self.reset_parameters()

    # He initialization, $\text{std}(W) = \sqrt{2/I}$ at fan-in $I$. Torch's default has a sixth of that variance, and
    # without normalization the signal would fade over 13 layers. With WS, this one keeps the filters' variance
    # ($4 \cdot 10^{-4}$ in the widest layers) well above $\epsilon = 10^{-5}$.
    def reset_parameters(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)  # [B, C, H / 2^n, W / 2^n]
        return self.classifier(x.mean(dim=(2, 3)))  # [B, classes]


def scaled(width: float, blocks: Sequence[Sequence[int]] = BLOCKS) -> list[list[int]]:
    """
    The blocks of a narrower or wider network: every number of channels times `width`, rounded, at least 1. A `width`
    of 0.25 makes a quarter-width VGG. Raises `ValueError` for a `width` that is not above 0.
    """
    if not width > 0:
        raise ValueError(
            f"expected a width above 0, got {width}: "
            "1 is the full VGG, 0.25 a quarter of its channels"
        )
    return [[max(1, round(channels * width)) for channels in block] for block in blocks]


if __name__ == "__main__":
    # ## See it work
    #
    # Full width with WS and BCN: what goes in, what comes out, how many weights.
    torch.manual_seed(0)
    model = VGG()
    x = torch.randn(4, 3, 32, 32)
    logits = model(x)
    print(f"{list(x.shape)} -> {list(logits.shape)}")
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters")
    # WS adds no parameter. BCN adds a pair per channel and a pair per group, and saves the convolutions' biases.
    plain = VGG(conv=nn.Conv2d, norm=None)
    print(f"without normalization: {sum(p.numel() for p in plain.parameters()):,} parameters")
