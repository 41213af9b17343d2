"""The landscape's measures, on a quadratic whose curvature is known and on networks whose scale means nothing."""

import copy

import pytest
import torch
from torch import Tensor, nn

from labml_ws import Conv2d
from labml_ws.experiment.landscape import along_gradient, loss_surface, top_eigenvalue

CURVATURES = torch.tensor([9.0, 4.0, 1.0, 0.5], dtype=torch.float64)


def quadratic() -> tuple[nn.Module, Tensor, Tensor]:
    """With this input and half the summed square as criterion, the Hessian has `CURVATURES` on its diagonal."""
    torch.manual_seed(0)
    return nn.Linear(4, 1, bias=False).double(), torch.diag(CURVATURES.sqrt()), torch.zeros(())


def half_square(output: Tensor, _: Tensor) -> Tensor:
    return output.square().sum() / 2


def normalized() -> tuple[nn.Sequential, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(
        Conv2d(3, 6, 3, bias=False, eps=0.0),
        *(
            nn.BatchNorm2d(6, affine=False, eps=1e-12),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        ),
    )
    return (
        model.double(),
        torch.randn(8, 3, 7, 7, dtype=torch.float64),
        torch.randint(0, 6, (8,)),
    )


def test_the_top_eigenvalue_of_a_quadratic_is_its_largest_curvature() -> None:
    value = top_eigenvalue(*quadratic(), iterations=60, criterion=half_square)
    assert value == pytest.approx(9.0, rel=1e-6)


def test_along_the_gradient_of_a_quadratic_everything_is_known() -> None:
    model, x, y = quadratic()
    sizes = (0.01, 0.1)
    found = along_gradient(model, x, y, sizes, criterion=half_square)
    w = model.weight.detach()[0]
    slope = CURVATURES * w
    losses = torch.stack([(CURVATURES * (w - s * slope) ** 2).sum() / 2 for s in sizes])
    torch.testing.assert_close(found.losses, losses)
    torch.testing.assert_close(
        found.distances, torch.stack([s * (CURVATURES * slope).norm() for s in sizes])
    )
    assert found.beta == pytest.approx(float((CURVATURES * slope).norm() / slope.norm()))
    assert found.loss_range == pytest.approx(float(losses[0] - losses[1]))


def test_relative_measures_cannot_tell_a_network_from_one_with_longer_filters() -> None:
    model, x, y = normalized()
    longer = copy.deepcopy(model)
    with torch.no_grad():
        longer[0].weight.mul_(10.0)
    for relative, factor in ((True, 1.0), (False, 100.0)):
        one, other = (top_eigenvalue(m, x, y, relative=relative) for m in (model, longer))
        assert one == pytest.approx(factor * other, rel=1e-6)
        one, other = (along_gradient(m, x, y, (1e-4,), relative).beta for m in (model, longer))
        assert one == pytest.approx(factor * other, rel=2e-2)
    torch.testing.assert_close(
        loss_surface(model, x, y, points=3), loss_surface(longer, x, y, points=3)
    )


def test_the_surface_has_the_present_loss_in_its_middle() -> None:
    model, x, y = normalized()
    surface = loss_surface(model, x, y, radius=0.5, points=5)
    assert surface.shape == (5, 5)
    assert surface[2, 2].item() == pytest.approx(
        nn.functional.cross_entropy(model(x), y).item()
    )
    assert surface.std() > 0


def test_the_surface_s_directions_are_as_long_as_each_filter() -> None:
    """A criterion that returns one weight's displacement over its row's length: never more than the radius."""
    model = nn.Linear(3, 4, bias=False).double()
    rows = model.weight.detach().clone()
    x = torch.eye(3, dtype=torch.float64)

    def moved(output: Tensor, _: Tensor) -> Tensor:
        return ((output.T - rows).norm(dim=1) / rows.norm(dim=1)).std(correction=0)

    def longest(output: Tensor, _: Tensor) -> Tensor:
        return ((output.T - rows).norm(dim=1) / rows.norm(dim=1)).max()

    y = torch.zeros(())
    along_first = loss_surface(model, x, y, radius=2.0, points=3, criterion=longest)[:, 1]
    torch.testing.assert_close(along_first, torch.tensor([2.0, 0.0, 2.0], dtype=torch.float64))
    spread = loss_surface(model, x, y, radius=2.0, points=3, criterion=moved)[:, 1]
    torch.testing.assert_close(spread, torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0)


def test_biases_and_normalizations_stay_where_they_are_on_the_surface() -> None:
    model = nn.Sequential(nn.Flatten(), nn.LayerNorm(3)).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    surface = loss_surface(model, x, torch.zeros(()), points=3, criterion=half_square)
    assert torch.equal(surface, surface[1, 1].expand(3, 3))


def test_measuring_leaves_the_network_as_it_was() -> None:
    model, x, y = normalized()
    before = copy.deepcopy(model.state_dict())
    along_gradient(model, x, y)
    top_eigenvalue(model, x, y, iterations=2)
    loss_surface(model, x, y, points=3)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
