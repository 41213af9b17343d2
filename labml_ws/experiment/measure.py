r"""
# Measures of a network

The papers say that WS normalizes gradients, and that BCN keeps a network away from points where units are switched off. Both can be measured,
and were: [gradients](../tutorials/gradients.md), [elimination singularities](../tutorials/singularities.md).
Each function here leaves the network and the images that it is given as they were; the [experiment](experiment.md) calls
them while it trains (`--measure`). How smooth the loss is has [a module of its own][labml_ws.experiment.landscape].

| claim | measure |
|---|---|
| [gradients are normalized](../tutorials/gradients.md) | [a filter and its gradient][labml_ws.experiment.measure.filter_statistics], [what each step of WS takes out][labml_ws.experiment.measure.gradient_shares] |
| [no elimination singularities](../tutorials/singularities.md) | [how often a channel is active][labml_ws.experiment.measure.active_fractions], [how far it is from BatchNorm][labml_ws.experiment.measure.channel_statistics] |
"""

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labml_ws import convert
from labml_ws.batch_channel_norm import BatchChannelNorm, EstimatedBatchNorm
from labml_ws.experiment.landscape import along_gradient, top_eigenvalue

NORMS = (
    nn.GroupNorm,
    nn.modules.batchnorm._BatchNorm,
    EstimatedBatchNorm,
    BatchChannelNorm,
)


class FilterStatistics(NamedTuple):
    """
    ## A filter and its gradient

    Each of shape `[C_out]`: `mean` and `std` of a filter's weights, `grad_mean` and `grad_norm` of its gradient.
    """

    mean: Tensor
    std: Tensor
    grad_mean: Tensor
    grad_norm: Tensor


def filter_statistics(model: nn.Module) -> dict[str, FilterStatistics]:
    """
    * `model`: any network after a backward pass
    * returns the statistics of each of its convolutions' filters, by the layer's name

    Raises `ValueError` where a layer has no gradient.
    """
    found = {}
    for name, layer in convolutions(model):
        if layer.weight.grad is None:
            raise ValueError(
                f"expected a gradient at {name}.weight, got none: call backward() on a loss first"
            )
        flat = layer.weight.detach().flatten(1)  # [C_out, I]
        grad = layer.weight.grad.flatten(1)
        std, mean = torch.std_mean(flat, dim=1, correction=0)
        found[name] = FilterStatistics(mean, std, grad.mean(dim=1), grad.norm(dim=1))
    return found


class Shares(NamedTuple):
    """Of the squared gradient norm that arrives at one of the two steps of WS, scaling and centering, the share that it takes out, 0 to 1."""

    scaling: float
    centering: float


def gradient_shares(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    criterion: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
) -> dict[str, Shares]:
    r"""
    ## What each step of WS takes out

    WS is two steps, $\code{centered}{\dot W} = W - \mu$ and $\hat W = \dot W / \sigma_\epsilon$ with
    $\sigma_\epsilon = \sqrt{\sigma^2 + \epsilon}$. The gradient
    $\code{g}{g} = \partial L / \partial \hat W$ comes back through them in turn, and each takes a direction out of it:
    scaling the one along $\hat W$, centering the one along $(1, \dots, 1)$. Scaling also multiplies by $1/\sigma_\epsilon$,
    which says nothing about what is taken out: it is applied to what arrives as well, before the two are compared. In a random direction, a step would take out $1/I$.

    * `model`: a network with standardized convolutions; `x`, `y`: its input and target, as `criterion` wants them
    * $\code{g}{g}$: the gradient of the standardized weight; $\code{centered}{\dot W}$: the centered weight
    * returns the two shares for each standardized convolution, over all its filters
    """
    # For $\code{g}{g}$ itself, the same network with $\hat W$ as its weights: a copy whose standardized layers have become plain.
    plain = copy.deepcopy(model)
    with warnings.catch_warnings(action="ignore"):
        # A subclass stays as it is, and has no shares.
        folded = set(convert.fold(plain))
    criterion(plain(x), y).backward()
    weights = {name: layer.weight.detach() for name, layer in convolutions(model)}
    shares = {}
    for name, layer in convolutions(plain):
        if name not in folded:
            continue
        assert layer.weight.grad is not None
        g = layer.weight.grad.flatten(1)  # [C_out, I]
        centered = weights[name].flatten(1)
        centered = centered - centered.mean(dim=1, keepdim=True)
        w_hat = layer.weight.detach().flatten(1)
        # With $\epsilon$ the rows of $\hat W$ are a little shorter than $\sqrt I$, and what the step takes out is a little less.
        after_scaling = g - w_hat * (g * w_hat).mean(dim=1, keepdim=True)
        sigma = centered.norm(dim=1, keepdim=True) / w_hat.norm(dim=1, keepdim=True)
        after_scaling = after_scaling / sigma
        before = g / sigma
        after_centering = after_scaling - after_scaling.mean(dim=1, keepdim=True)
        shares[name] = Shares(
            1 - float(after_scaling.square().sum() / before.square().sum()),
            1 - float(after_centering.square().sum() / after_scaling.square().sum()),
        )
    return shares


def active_fractions(model: nn.Module, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    r"""
    ## How often is a channel active?

    An *elimination singularity* is a point of the training where a unit is switched off for all inputs: its ReLU gets nothing
    above zero, so nothing flows back through it, and the layer has one unit less.
    [For good or not](../tutorials/singularities.md#for-good) is another question: behind a GroupNorm the filter still gets a
    gradient through its group's statistics. Over a data set, the fraction of positions at
    which a channel is active tells: 0 is dead, below 1 % nearly dead.

    * `model`: any network with `nn.ReLU` modules; `batches`: inputs
    * returns a fraction per channel, shape `[C]`, by the name of the ReLU. Measured in evaluation mode
    """
    counts: dict[str, Tensor] = {}
    total: dict[str, int] = {}

    def hook(name: str) -> Callable[..., None]:
        def count(module: nn.Module, args: tuple[Tensor], output: Tensor) -> None:
            active = (output > 0).transpose(0, 1).flatten(1)  # [C, B * positions]
            counts[name] = counts.get(name, 0) + active.sum(dim=1)
            total[name] = total.get(name, 0) + active.shape[1]

        return count

    watched = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.ReLU)]
    with watching(model, [(module, hook(name)) for name, module in watched]):
        for x in batches:
            model(x)
    return {name: counts[name] / total[name] for name in counts}


class ChannelStatistics(NamedTuple):
    r"""
    ## How far is a channel from BatchNorm?

    BatchNorm gives every channel mean 0 and standard deviation 1 before its own scale and shift. LayerNorm and GroupNorm
    promise that for all channels of a group together, so a single one may sit far below zero, and be off
    ([how often?](../tutorials/singularities.md)). `mean` and
    `std` are those of a channel over a data set, shape `[C]` each; `distance` is the Wasserstein distance between
    normal distributions with these and with BatchNorm's,

    $$\code{distance}{d_c} = \sqrt{\code{self.mean}{\mu_c}^2 + (\code{self.std}{\sigma_c} - 1)^2}.$$

    * `distance`: how far a channel is from BatchNorm's statistics; `self.mean`: the mean of a channel over all images and positions;
      `self.std`: the standard deviation of a channel over all images and positions
    """

    mean: Tensor
    std: Tensor

    @property
    def distance(self) -> Tensor:
        return (self.mean.square() + (self.std - 1).square()).sqrt()


def channel_statistics(
    model: nn.Module, batches: Iterable[Tensor]
) -> dict[str, ChannelStatistics]:
    """
    * `model`: any network with normalization layers; `batches`: inputs
    * returns the statistics of each normalization's output, by its name. Measured in evaluation mode
    """
    sums: dict[str, Tensor] = {}
    total: dict[str, int] = {}

    # The layer's last scale and shift are what the network has learned to do with the channel, so they are left out: what
    # is measured is a copy of the layer with ones and zeros in their place.
    def hook(name: str, layer: nn.Module) -> Callable[..., None]:
        neutral = copy.deepcopy(layer).eval()
        last = neutral.channel_norm if isinstance(neutral, BatchChannelNorm) else neutral
        with torch.no_grad():
            for key, parameter in last.named_parameters():
                parameter.fill_(key == "weight")

        def measure(module: nn.Module, args: tuple[Tensor], output: Tensor) -> None:
            z = neutral(*args).double().transpose(0, 1).flatten(1)  # [C, B * positions]
            sums[name] = sums.get(name, 0) + torch.stack([z.sum(dim=1), z.square().sum(dim=1)])
            total[name] = total.get(name, 0) + z.shape[1]

        return measure

    watched = [
        (name, m)
        for name, m in model.named_modules()
        if isinstance(m, NORMS) and not name.endswith("batch_norm")
    ]
    with watching(model, [(module, hook(name, module)) for name, module in watched]):
        for x in batches:
            model(x)
    found = {}
    for name, pair in sums.items():
        # A difference of squares is safe here: the values are normalized, so no mean is far from zero.
        mean, square = pair / total[name]
        found[name] = ChannelStatistics(mean, (square - mean.square()).clamp(min=0).sqrt())
    return found


def snapshot(model: nn.Module, held_out: Tensor, x: Tensor, y: Tensor) -> dict[str, Any]:
    r"""
    ## A snapshot

    What `--measure` writes into [the record](record.md): the measures of the network and of its [loss landscape](landscape.md)
    at one step of the training, always on the same images, so that steps and methods can be compared. Lists have one
    number per layer, from input to output.

    * `model`: a network between two steps; it stays as it is, but for gradients, which are set to `None`
    * `held_out`: images for the channels' statistics, shape `[N, 3, H, W]`
    * `x`, `y`: one batch with labels, for the gradients and the landscape
    * returns numbers and lists of numbers, ready for JSON
    """
    batches = held_out.split(250)
    active = active_fractions(model, batches).values()
    channels = channel_statistics(model, batches).values()
    # Landscape and gradients are those of training, so batch statistics are the batch's own. The landscape works on
    # copied buffers and leaves the running statistics alone. The forward pass below moves them, so they are put back.
    path, relative_path = (along_gradient(model, x, y, relative=r) for r in (False, True))
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    shares = gradient_shares(model, x, y).values()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    filters = filter_statistics(model).values()
    for parameter in model.parameters():
        parameter.grad = None
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
    return {
        "batch_loss": loss.item(),
        "channels": [len(a) for a in active],
        "dead": [int((a == 0).sum()) for a in active],
        "nearly_dead": [int((a < 0.01).sum()) for a in active],
        "distance": means(c.distance for c in channels),
        "offset": means(c.mean.abs() / c.std.clamp(min=1e-12) for c in channels),
        "weight_norm": [
            float((f.std.square() + f.mean.square()).mean().sqrt()) for f in filters
        ],
        "weight_mean": means((f.mean / f.std.clamp(min=1e-12)).abs() for f in filters),
        "grad_norm": [float(f.grad_norm.square().sum().sqrt()) for f in filters],
        "grad_mean": means(f.grad_mean.abs() for f in filters),
        "scaling_share": [s.scaling for s in shares],
        "centering_share": [s.centering for s in shares],
        "loss_range": path.loss_range,
        "predictiveness": path.distances.mean().item(),
        "beta": path.beta,
        "relative_beta": relative_path.beta,
        "relative_eigenvalue": top_eigenvalue(model, x, y, iterations=10, relative=True),
    }


def means(values: Iterable[Tensor]) -> list[float]:
    return [float(value.mean()) for value in values]


# ## What the measures share


def convolutions(model: nn.Module) -> Iterator[tuple[str, nn.Conv1d | nn.Conv2d | nn.Conv3d]]:
    """Transposed convolutions are left out: their filters lie along the second dimension."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            yield name, module


@contextmanager
def watching(
    model: nn.Module, hooks: list[tuple[nn.Module, Callable[..., None]]]
) -> Iterator[None]:
    """In evaluation mode, without gradients, with these forward hooks; afterwards everything is as it was."""
    training = [module for module in model.modules() if module.training]
    handles = [module.register_forward_hook(hook) for module, hook in hooks]
    try:
        with torch.no_grad():
            model.eval()
            yield
    finally:
        for handle in handles:
            handle.remove()
        for module in training:
            module.training = True


if __name__ == "__main__":
    # ## See it work
    #
    # A small network on random images, with one channel switched off by hand.
    from labml_ws.layers import Conv2d

    torch.manual_seed(0)
    norm = nn.GroupNorm(4, 16)
    model = nn.Sequential(
        *(Conv2d(3, 16, 3), norm, nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)),
    )
    with torch.no_grad():
        norm.bias[5] = -10.0
    x, y = torch.randn(32, 3, 16, 16), torch.randint(0, 10, (32,))
    active = active_fractions(model, [x])["2"]  # [16]
    print("active, channels 4, 5 and 6: " + ", ".join(f"{a:.2f}" for a in active[4:7].tolist()))
    # GroupNorm itself has kept that channel close to BatchNorm's statistics; its own shift is what eliminates it.
    distance = channel_statistics(model, [x])["1"].distance  # [16]
    print(f"distance from BatchNorm's statistics: at most {distance.max():.2f}")
    # What flows back: the two steps of the standardization, over all 16 filters. A random direction would lose 1/27 =
    # 3.7 % to each.
    shares = gradient_shares(model, x, y)["0"]
    print(f"taken out of the squared gradient by scaling: {shares.scaling:.0%}")
    print(f"and then by centering: {shares.centering:.0%}")
    # And everything at once, as a run records it.
    found = snapshot(model, x, x, y)
    print(f"channels active at less than 1 % of the positions: {found['nearly_dead']}")
