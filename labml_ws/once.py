r"""
# Standardize once

Where only one or two images fit into memory, a *micro-batch*, gradients are often gathered over several of them before the weights change. A standardized layer computes
$\hat W$ in each of them, forward and backward, from a $W$ that stays the same: all but the first is waste.

```python
from labml_ws import standardize_once

for group in groups:                    # of micro-batches
    with standardize_once(model):
        for x, y in group:
            loss = criterion(model(x), y) / len(group)
            loss.backward()
    optimizer.step()                    # behind the block, not in it
    optimizer.zero_grad()
```

**It is exact.** How $\partial L / \partial \hat W$ becomes $\partial L / \partial W$ depends on $W$ alone and is
[linear in the gradient][labml_ws.standardization], so the gradients of several passes may be added first and go
through it as one:

$$\sum_k J^\top g_k = J^\top \sum_k g_k, \qquad J = \frac{\partial \hat W}{\partial W},
\qquad g_k = \frac{\partial L_k}{\partial \hat W}.$$

In evaluation the same block keeps $\hat W$ for as many images as there are. (To keep it for good,
[fold][labml_ws.convert.fold].)

**It costs memory**: while the block lasts, one more copy of the standardized weights, and of their gradients. What it
saves is [measured here](../tutorials/performance.md).

**Why not torch's own?** `torch.nn.utils.parametrize.cached` keeps a computed weight, too. But it
keeps its graph along with it, and the second `backward` through that finds it freed; it renames the parameter, so
checkpoints no longer fit; and it is one switch for all models at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from labml_ws.layers import Standardized


@contextmanager
def standardize_once(model: nn.Module) -> Iterator[list[str]]:
    r"""
    ## One $\hat W$ for several passes

    * `model`: any model, also one in `DistributedDataParallel`, from `torch.compile`, or prepared by Accelerate
    * as a context, gives the names of the layers whose $\hat W$ is kept, as in `model.named_modules()`

    Inside, every forward pass uses the same $\hat W$, and `backward` gathers its gradient. At the end of the block the
    gathered gradient is passed on, and *added* to `weight.grad`, as `backward` does. So everything that reads
    `weight.grad` (clipping, a gradient scaler, the optimizer) belongs behind the block, and every `backward` into it.

    A block in a block leaves what the outer one keeps to the outer one. Where an exception leaves the block, the
    standardized weights get no gradient from it. A layer whose weight is not its own parameter (one that is pruned or
    parametrized) and a copy of the model made inside compute as they do without.

    `DistributedDataParallel` works as it is by default. With `find_unused_parameters` or `static_graph` it looks for the
    parameters in the graph of each pass, doesn't find those of the standardized layers there, and would leave their
    gradients different from process to process: raises `ValueError`. `fully_shard` (FSDP) puts together another weight for
    each pass, which is a change like others.

    Raises `RuntimeError` for a weight that changes inside: at the next forward pass or, if there is none, at the end of
    the block, where no gradient is passed on then. (What is written through `.data` into the same memory can't be
    seen.) Raises `RuntimeError` also for a `backward` that comes when the block is over.
    """
    keep: list[Kept] = []
    try:
        for name, layer in model.named_modules():
            if isinstance(layer, DistributedDataParallel) and torch.is_grad_enabled():
                check_distributed(layer)
            own = isinstance(layer, Standardized) and "weight" in layer._parameters
            if own and layer.kept is None:
                keep.append(Kept(name, layer))
        yield [kept.name for kept in keep]
        for kept in keep:
            kept.check()
        gathered = [kept for kept in keep if kept.leaf.grad is not None]
        # One pass for all of them. It ends at the parameters, so whoever waits there for a gradient
        # (`DistributedDataParallel`, hooks) sees one arrive, once.
        if gathered:
            torch.autograd.backward(
                [kept.attached for kept in gathered], [kept.leaf.grad for kept in gathered]
            )
    finally:
        for kept in keep:
            kept.end()


def check_distributed(model: DistributedDataParallel) -> None:
    for option in ("find_unused_parameters", "static_graph"):
        if getattr(model, option):
            raise ValueError(
                f"expected DistributedDataParallel without {option}, got {option}=True: it takes "
                "the standardized weights for unused and doesn't average their gradients; leave it "
                "out, or leave standardize_once out"
            )


class Kept:
    r"""
    ## What a layer keeps

    $\hat W$ twice, in one memory: `attached` has the graph that leads back to $W$ and is used once, at the end;
    `leaf` has none, so any number of passes can run forward from it and backward into it.

    * `name`: the layer's, for errors; `layer`: the layer
    """

    def __init__(self, name: str, layer: Standardized) -> None:
        self.name, self.layer, self.weight, self.over = name, layer, layer.weight, False
        self.version = self.now()
        # Also under `no_grad`, which may be lifted inside. Under `inference_mode` there is no graph to be had.
        with torch.enable_grad():
            self.attached = layer.w_hat
        self.leaf = self.attached.detach()
        if self.attached.requires_grad:
            self.leaf.requires_grad_().register_hook(self.arrive)
        layer.kept = self

    # What a change leaves behind: another parameter, other memory, or a higher number of changes to the same. Tensors
    # that `inference_mode` has made don't count theirs.
    def now(self) -> tuple[int, int, int]:
        weight = self.layer.weight
        changes = 0 if weight.is_inference() else weight._version
        return id(weight), weight.data_ptr(), changes

    def check(self) -> None:
        if self.now() != self.version:
            raise RuntimeError(
                f"expected {self.name or 'the layer'}.weight to stay as it is inside "
                "standardize_once, and it changed: end the block before the optimizer steps or "
                "weights are loaded"
            )

    # Compiled code is one piece: there the check at the end of the block has to do.
    @property
    def w_hat(self) -> Tensor:
        if not torch.compiler.is_compiling():
            self.check()
        return self.leaf

    def arrive(self, gradient: Tensor) -> None:
        if self.over:
            raise RuntimeError(
                "expected backward inside standardize_once, and a gradient for "
                f"{self.name or 'the layer'}.weight arrived after its end: call backward() before "
                "the block is left"
            )

    # The tensors are let go by name, as the hook makes a circle of them that would wait for the garbage collector.
    def end(self) -> None:
        self.layer.kept, self.over = None, True
        del self.leaf, self.attached

    # A copy of the layer, or one from a file, keeps nothing: nobody would tell it when the block is over.
    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()


if __name__ == "__main__":
    # ## See it work
    #
    # Eight micro-batches of one image. The hook counts how often a gradient has come through the standardization to the
    # first weight; the gradients are the same to the last digits of float64.
    from labml_ws.layers import Conv2d

    torch.manual_seed(0)
    first, second = Conv2d(8, 64, 3), Conv2d(64, 16, 3)
    model = nn.Sequential(first, nn.GroupNorm(8, 64), nn.ReLU(), second).double()
    images = torch.randn(8, 1, 8, 16, 16, dtype=torch.float64)
    arrived: list[Tensor] = []
    first.weight.register_hook(lambda gradient: arrived.append(gradient.clone()))

    for image in images:
        model(image).square().mean().backward()
    print(f"each time: {len(arrived)} gradients come through")
    each_time = sum(arrived)

    arrived.clear()
    with standardize_once(model) as names:
        for image in images:
            model(image).square().mean().backward()
    print(f"once, for layers {names}: {len(arrived)} comes through")
    error = (arrived[0] - each_time).norm() / arrived[0].norm()
    print(f"relative difference between it and the sum of the eight: {error:.0e}")
