r"""
# Ablations

Variants of the convolution and of the normalization that nobody should use, to find out what each choice is worth. The
[experiment](experiment.md) trains them with `--variant` and `--drive`.

| `--variant` | what the convolution sees |
|---|---|
| `paper` | $\hat W$, as the paper's equation says (and with `--no-ws` simply $W$) |
| `center`, `scale` | one of the two steps alone |
| `unbiased` | a variance with $I - 1$ in the place of $I$ |
| `eps-outside` | $\sigma + \epsilon$ instead of $\sqrt{\sigma^2 + \epsilon}$ |
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from labml_ws.layers import Conv2d


def center(weight: Tensor, eps: float) -> Tensor:
    r"""
    ## One step alone

    Each takes a weight of shape `[C_out, C_in / groups, *kernel]` and an `eps`, like
    [`standardize`][labml_ws.standardization.standardize], and returns a weight of that shape. Centering,
    $W - \mu$, keeps the scale.
    """
    return weight - weight.flatten(1).mean(dim=1).view(-1, *[1] * (weight.dim() - 1))


# Scaling alone divides by the standard deviation and doesn't take the mean out: $W / \sqrt{\sigma^2 + \epsilon}$.
def scale(weight: Tensor, eps: float) -> Tensor:
    var = weight.flatten(1).var(dim=1, correction=0)  # [C_out]
    return weight * torch.rsqrt(var + eps).view(-1, *[1] * (weight.dim() - 1))


# ## The other conventions
#
# The authors' released layers for BCN divide by $I - 1$, and so does labml.
def unbiased(weight: Tensor, eps: float) -> Tensor:
    var, mean = torch.var_mean(weight.flatten(1), dim=1, correction=1, keepdim=True)
    return ((weight.flatten(1) - mean) * torch.rsqrt(var + eps)).view_as(weight)


# The first version of the paper adds eps to the standard deviation.
def eps_outside(weight: Tensor, eps: float) -> Tensor:
    std, mean = torch.std_mean(weight.flatten(1), dim=1, correction=0, keepdim=True)
    return ((weight.flatten(1) - mean) / (std + eps)).view_as(weight)


# What `--variant` can name, besides `paper`.
VARIANTS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "center": center,
    "scale": scale,
    "unbiased": unbiased,
    "eps-outside": eps_outside,
}


class VariantConv2d(Conv2d):
    """
    ## The layer

    [`Conv2d`][labml_ws.layers.Conv2d] with another function in the place of the standardization.

    * `variant`: a key of `VARIANTS`; the other arguments are those of `Conv2d`
    """

    def __init__(self, *args: int, variant: str, **kwargs: int) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.variant = variant

    def standardized(self) -> Tensor:
        return VARIANTS[self.variant](self.weight, self.eps)


class Driven(nn.Module):
    r"""
    ## Driven away from BatchNorm

    Is it the distance from BatchNorm's statistics that makes units die? The BCN paper's argument can be tried: take
    BatchNorm, and move each channel away from mean 0 by a constant of its own, drawn once and never trained,

    $$y_c = \text{BN}(x)_c + \code{self.offset}{\delta_c}, \qquad \code{self.offset}{\delta_c} \sim \mathcal N(0, \text{distance}^2).$$

    BatchNorm's own shift $\beta_c$ could take the offset back, but has to learn to.

    * `norm`: a normalization with an attribute `bias` of shape `[C]`
    * `distance`: how far to move, in standard deviations; `seed`: of the draw
    * $\code{self.offset}{\delta_c}$: the constant of a channel
    """

    offset: Tensor

    def __init__(self, norm: nn.Module, distance: float, seed: int = 0) -> None:
        super().__init__()
        self.norm = norm
        generator = torch.Generator().manual_seed(seed)
        channels = norm.get_parameter("bias").shape[0]
        self.register_buffer("offset", torch.randn(channels, generator=generator) * distance)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x) + self.offset.view(1, -1, *[1] * (x.dim() - 2))


if __name__ == "__main__":
    # ## See it work
    #
    # What each variant makes of one filter that is off center.
    torch.manual_seed(0)
    weight = torch.randn(1, 3, 3, 3) * 0.02 + 0.01
    for name, variant in VARIANTS.items():
        w = variant(weight, 1e-5)
        print(f"{name:12} mean {abs(w.mean()):.3f}, std {w.std(correction=0):.3f}")
