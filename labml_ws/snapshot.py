r"""
# A snapshot

What `--measure` writes into the record: the [measures of the network](measure.md) and of its
[loss landscape](landscape.md) at one step of the training, always on the same images, so that steps and methods can be
compared. Lists have one number per layer, from input to output.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labml_ws import measure
from labml_ws.landscape import along_gradient, top_eigenvalue


def snapshot(model: nn.Module, held_out: Tensor, x: Tensor, y: Tensor) -> dict[str, Any]:
    r"""
    * `model`: a network between two steps; it stays as it is, but for gradients, which are set to `None`
    * `held_out`: images for the channels' statistics, shape `[N, 3, H, W]`
    * `x`, `y`: one batch with labels, for the gradients and the landscape
    * returns numbers and lists of numbers, ready for JSON
    """
    batches = held_out.split(250)
    active = measure.active_fractions(model, batches).values()
    channels = measure.channel_statistics(model, batches).values()
    # Landscape and gradients are those of training, so batch statistics are the batch's own. The landscape works on
    # copied buffers and leaves the running statistics alone. The forward pass below moves them, so they are put back.
    path, relative_path = (along_gradient(model, x, y, relative=r) for r in (False, True))
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    shares = measure.gradient_shares(model, x, y).values()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    filters = measure.filter_statistics(model).values()
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


if __name__ == "__main__":
    # ## See it work
    #
    # An untrained network with LayerNorm (GroupNorm with one group), on random images.
    from labml_ws.vgg import VGG, scaled

    torch.manual_seed(0)
    model = VGG(scaled(1 / 16), conv=nn.Conv2d, norm=lambda channels: nn.GroupNorm(1, channels))
    x, y = torch.randn(64, 3, 32, 32), torch.randint(0, 10, (64,))
    found = snapshot(model, x, x, y)
    print(f"channels active at less than 1 % of the positions: {found['nearly_dead']}")
    print(
        f"distance from BatchNorm's statistics: {found['distance'][0]:.2f} in the first layer,",
        end=" ",
    )
    print(f"{found['distance'][-1]:.2f} in the last")
