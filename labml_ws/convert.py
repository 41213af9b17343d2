r"""
# Into a model and out again

A model that exists gets Weight Standardization in one line, and loses it in another when it is done with training:

```python
from labml_ws import convert

convert.standardize(model)  # convolutions, in place
...                         # train
convert.fold(model)         # plain convolutions that compute the same
```

Neither makes a new layer. A [standardized layer][labml_ws.layers] has no parameter that the plain one lacks, so a
module can change its class where it is: its weights, its hooks, its place in the `state_dict` and the optimizer's
references to its parameters all stay.

**Before you do it**, read [where not to][labml_ws.layers]. Leave out what no normalization follows. If the model was
trained without WS, it has to be trained further: its output changes.
"""

from collections.abc import Iterable

import torch
from torch import nn

from labml_ws.layers import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    Linear,
    StandardizedTranspose,
)
from labml_ws.standardization import check_weight

# Each plain layer, and what it becomes. `Linear` is missing on purpose: in most models it is the classifier. (On the way back it is known.)
STANDARDIZED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv1d: Conv1d,
    nn.Conv2d: Conv2d,
    nn.Conv3d: Conv3d,
    nn.ConvTranspose1d: ConvTranspose1d,
    nn.ConvTranspose2d: ConvTranspose2d,
    nn.ConvTranspose3d: ConvTranspose3d,
}
PLAIN = {ours: plain for plain, ours in STANDARDIZED.items()} | {Linear: nn.Linear}


def standardize(model: nn.Module, skip: Iterable[str] = (), eps: float = 1e-5) -> list[str]:
    r"""
    ## Put it in

    * `model`: any model; its plain convolutions become standardized ones, in place, transposed ones included. A subclass
      of a torch layer is left alone, as it may compute something else
    * `skip`: names of convolutions to leave as they are, as in `model.named_modules()`: those that no normalization
      follows, and those with a single weight per filter
    * `eps`: added to each filter's variance
    * returns the names of the layers that changed

    Raises `ValueError` for a name in `skip` that is no convolution of the model, and for a layer that
    [cannot be standardized][labml_ws.standardization.check_weight]; then nothing has changed.
    """
    found = {
        name: module for name, module in model.named_modules() if type(module) in STANDARDIZED
    }
    if unknown := set(skip := tuple(skip)) - found.keys():
        raise ValueError(
            f"expected names of convolutions in skip, got {', '.join(sorted(unknown))}: "
            f"the model has {', '.join(found) or 'none'}"
        )
    wanted = {name: module for name, module in found.items() if name not in skip}
    # All are looked at before the first one changes.
    for name, module in wanted.items():
        transposed = isinstance(module, nn.modules.conv._ConvTransposeNd)
        filters = StandardizedTranspose.filters(module) if transposed else module.weight
        try:
            check_weight(filters, eps)
        except ValueError as error:
            raise ValueError(f"{name}: {error}; or name it in skip") from error
    for module in wanted.values():
        module.__class__, module.eps = STANDARDIZED[type(module)], eps
    return list(wanted)


@torch.no_grad()
def fold(model: nn.Module) -> list[str]:
    r"""
    ## Take it out

    * `model`: any model; where it has standardized layers, $\hat W$ is written where $W$ was, and the layer becomes the
      plain one, in place
    * returns the names of the layers that changed

    The model computes the same as before and is an ordinary torch model: for inference at no extra cost, for a
    `state_dict` that goes into the plain architecture, for export. $W$ is gone after that; to go on training later,
    fold a copy (`copy.deepcopy(model)`).
    """
    names, folded = [], set()
    for name, module in model.named_modules():
        if type(module) not in PLAIN:
            continue
        # Two layers may share one weight, which is to be written once.
        if module.weight not in folded:
            module.weight.copy_(module.w_hat)
            folded.add(module.weight)
        module.__class__ = PLAIN[type(module)]
        del module.eps
        names.append(name)
    return names


if __name__ == "__main__":
    # ## See it work
    #
    # A small network that ends in a classifier, which stays as it is.
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.GroupNorm(4, 8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10)
    )
    names = [name for name, _ in model.named_parameters()]
    print("standardized:", standardize(model))
    print(model)
    print("the same parameters:", names == [name for name, _ in model.named_parameters()])
    # And out again: what it computes has not changed, but nothing of WS is left in it.
    x = torch.randn(2, 3, 8, 8)
    before = model(x)
    print("folded:", fold(model))
    print(
        f"largest difference: {(model(x) - before).abs().max():.0e}, {type(model[0]).__name__}"
    )
