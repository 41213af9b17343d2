r"""
# Measures of the loss landscape

WS is said to make the loss smoother: smaller Lipschitz constants of the loss and of its gradient. Here are three ways to
look, each a function of a network and one batch that leaves both as they were. [What they found](../tutorials/landscape.md)
has a page of its own.

| question | measure |
|---|---|
| what does a step along the gradient meet? | [`along_gradient`][labml_ws.experiment.landscape.along_gradient] |
| how fast can the gradient turn, here? | [`top_eigenvalue`][labml_ws.experiment.landscape.top_eigenvalue] |
| what does it look like? | [`loss_surface`][labml_ws.experiment.landscape.loss_surface] |

**A pitfall for all three.** Behind a normalization the length of a filter means nothing, but it decides how far a step
of a given size goes: with ten times the weights, the same network has a hundredth of the curvature. So there are two
ways to count. *Absolute* is what the literature does, and what an optimizer meets. *Relative* counts a filter's
displacement in lengths of that filter, and cannot tell the two networks apart. It makes up for length alone: a constant
added to each weight of a filter, to which WS is blind as well, makes the filter longer, and its relative curvature
[larger](../tutorials/landscape.md#what-the-proof-says).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector

Criterion = Callable[[Tensor, Tensor], Tensor]
Objective = Callable[[Tensor], Tensor]


class AlongGradient(NamedTuple):
    r"""
    ## Along the gradient

    [@santurkar2018how] step from where the training is, $\theta$, against the
    gradient, by $\eta \nabla L(\theta)$ for several $\eta$, and look at what they meet:

    * `losses`: the loss at each step, shape `[steps]`. Their span is the `loss_range`
    * `distances`: how far the gradient there is from the one here, shape `[steps]` (what they call predictiveness)
    * `beta`: the effective smoothness,
      $\max_\eta \lVert \nabla L(\theta - \eta \nabla L) - \nabla L(\theta) \rVert / \lVert \eta \nabla L \rVert$

    Compare at equal loss as well as after equal time. A network that trains badly has a small gradient, and along it a
    deceptively smooth path ([the same measures at equal loss](../tutorials/landscape.md)).
    """

    losses: Tensor
    distances: Tensor
    beta: float

    @property
    def loss_range(self) -> float:
        return float(self.losses.max() - self.losses.min())


def along_gradient(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    step_sizes: Sequence[float] = (0.01, 0.02, 0.05, 0.1, 0.2),
    relative: bool = False,
    criterion: Criterion = F.cross_entropy,
) -> AlongGradient:
    r"""
    * `model`, in the mode that it is in; `x`, `y`: one batch, the same for all steps
    * `step_sizes`: each $\eta$, as a learning rate
    * `relative`: count displacements in lengths of the filters
    """
    objective, theta = as_function(model, x, y, criterion, relative)
    here = gradient(objective, theta)
    points = [theta - size * here for size in step_sizes]
    losses = torch.stack([objective(point).detach() for point in points])
    distances = torch.stack([(gradient(objective, point) - here).norm() for point in points])
    moved = here.norm() * torch.tensor(step_sizes, dtype=here.dtype, device=here.device)
    return AlongGradient(losses, distances, float((distances / moved).max()))


def top_eigenvalue(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    iterations: int = 20,
    seed: int = 0,
    relative: bool = False,
    criterion: Criterion = F.cross_entropy,
) -> float:
    r"""
    ## The largest curvature

    How fast the gradient can turn, at this point, is the Hessian's eigenvalue of largest magnitude. Power iteration
    finds it by one product with the Hessian per step, which autograd has: $\code{product}{H \mathbf v} =
    \nabla (\nabla L^{\top} \code{v}{\mathbf v})$. The Lipschitz constant of the gradient is the largest of these over all
    points.

    * `iterations`: the more, the closer; `seed`: of the first $\code{v}{\mathbf v}$; the other arguments are those above
    * $\code{v}{\mathbf v}$: a direction, of length one; $\code{product}{H \mathbf v}$: how the gradient changes along it
    """
    objective, theta = as_function(model, x, y, criterion, relative)
    theta = theta.requires_grad_()
    (slope,) = torch.autograd.grad(objective(theta), theta, create_graph=True)
    v = _random(theta, torch.Generator().manual_seed(seed))
    value = 0.0
    for _ in range(iterations):
        v = v / v.norm()
        (product,) = torch.autograd.grad(slope, theta, v, retain_graph=True)
        value = float(v @ product)
        v = product
    return value


def loss_surface(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    radius: float = 1.0,
    points: int = 11,
    seed: int = 0,
    criterion: Criterion = F.cross_entropy,
) -> Tensor:
    """
    ## A surface to look at

    The loss on a plane through the weights, spanned by two random directions. Each is **filter-normalized**
    ([@li2018visualizing]): as long as the weights are, filter by filter. Biases and
    normalizations' parameters stay where they are.

    * `radius`: how far to go, in lengths of the filters; `points`: along each side; `seed`: of the directions
    * returns the losses, shape `[points, points]`, with the present weights in the middle if `points` is odd
    """
    objective, here = as_function(model, x, y, criterion, relative=True)
    generator = torch.Generator().manual_seed(seed)
    directions = []
    for _ in range(2):
        parts = _random(here, generator).split([p.numel() for p in model.parameters()])
        rows = [
            part.view(p.shape[0], -1) * (p.dim() > 1)
            for part, p in zip(parts, model.parameters(), strict=True)
        ]
        directions.append(parameters_to_vector([F.normalize(row, dim=1) for row in rows]))
    steps = torch.linspace(-radius, radius, points).tolist()
    with torch.no_grad():
        losses = [
            objective(a * directions[0] + b * directions[1]) for a in steps for b in steps
        ]
    return torch.stack(losses).view(points, points)


def as_function(
    model: nn.Module, x: Tensor, y: Tensor, criterion: Criterion, relative: bool
) -> tuple[Objective, Tensor]:
    """
    ## The loss as a function of a vector

    Returns the loss on one batch as a function of all parameters in one vector, and the vector at which the network is.
    If `relative`, the vector holds displacements from there, in lengths of the filters (rows of a parameter with two or
    more dimensions), and it is at zero.

    Each call gets buffers of its own. So the running statistics are the same at every point, and the network's stay as
    they are.
    """
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    sizes = [p.numel() for p in parameters.values()]

    def objective(theta: Tensor) -> Tensor:
        values = {}
        for (name, p), part in zip(parameters.items(), theta.split(sizes), strict=True):
            if relative and p.dim() > 1:
                lengths = p.flatten(1).norm(dim=1, keepdim=True)
                part = (part.view(p.shape[0], -1) * lengths).flatten()
            values[name] = part.view(p.shape) + p if relative else part.view(p.shape)
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        return criterion(functional_call(model, {**values, **buffers}, (x,)), y)

    here = parameters_to_vector(parameters.values())
    return objective, torch.zeros_like(here) if relative else here


def gradient(objective: Objective, theta: Tensor) -> Tensor:
    theta = theta.detach().requires_grad_()
    return torch.autograd.grad(objective(theta), theta)[0]


def _random(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype).to(like.device)


if __name__ == "__main__":
    # ## See it work
    #
    # A single standardized convolution that classifies random images by how much each of its channels answers.
    from labml_ws.layers import Conv2d

    torch.manual_seed(0)
    conv = Conv2d(3, 10, 3, bias=False)
    model = nn.Sequential(
        *(conv, nn.GroupNorm(5, 10, affine=False), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )
    x, y = torch.randn(32, 3, 16, 16), torch.randint(0, 10, (32,))
    # Beta comes out many times the eigenvalue below: within the first, tiny step a few of the ReLUs switch, and a kink counts as a
    # steep slope over so short a way. The Hessian at a point knows of no kinks.
    path = along_gradient(model, x, y)
    print(f"along the gradient: loss range {path.loss_range:.4f}, beta {path.beta:.3f}")
    # The pitfall, on purpose. Ten times the filters are the same function but another landscape, unless the filters
    # themselves are the measure.
    for step in ("as it is:        ", "filters times 10:"):
        absolute, relative = (top_eigenvalue(model, x, y, relative=r) for r in (False, True))
        print(f"{step} largest eigenvalue {absolute:.4f}, relative {relative:.3f}")
        with torch.no_grad():
            conv.weight.mul_(10)
