"""The lines of code among the related methods are what the page says of them."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labml_ws import weight_standardization


@pytest.fixture(scope="module")
def names(root: Path) -> dict[str, Any]:
    """What the blocks of the page define, run from top to bottom."""
    text = (root / "docs" / "related.md").read_text()
    blocks = re.findall(r"^( *)```python\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 4
    torch.manual_seed(0)
    namespace: dict[str, Any] = {}
    for indentation, block in blocks:
        exec(re.sub(rf"^{indentation}", "", block, flags=re.MULTILINE), namespace)
    return namespace


def test_the_three_reparametrizations_are_theirs(names: dict[str, Any]) -> None:
    weight = names["weight"]
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(27, 64, bias=False))
    layer.parametrizations.weight.original0.data.fill_(1)
    layer.parametrizations.weight.original1.data.copy_(weight)
    assert torch.allclose(names["weight_norm"], layer.weight)
    centered = names["centered_weight_norm"]
    assert torch.allclose(centered.mean(dim=1), torch.zeros(64), atol=1e-7)
    assert torch.allclose(centered.norm(dim=1), torch.ones(64))
    assert torch.allclose(
        names["weight_standardization"], weight_standardization(weight, 0.0), atol=1e-6
    )
    assert torch.allclose(names["scaled_weight_standardization"], 1.7128 * centered, atol=1e-4)


def centered(weight: Tensor) -> Tensor:
    return weight - weight.mean(dim=(1, 2, 3), keepdim=True)


@pytest.mark.parametrize("start", [centered, lambda weight: weight])
def test_centralized_gradients_are_centered_weights_if_they_start_centered(
    names: dict[str, Any], start: Any
) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(16, 3, 6, 6).double() + 1, torch.randn(16, 4, 4, 4).double()
    first = start(torch.randn(4, 3, 3, 3).double())
    ends = []
    for gradient_centralization in (True, False):
        weight = first.clone().requires_grad_()
        optimizer = torch.optim.SGD([weight], 0.02, momentum=0.9, weight_decay=0.01)
        for _ in range(5):
            optimizer.zero_grad()
            used = weight if gradient_centralization else centered(weight)
            F.mse_loss(F.conv2d(x, used), y).backward()
            if gradient_centralization:
                names["centralize"](weight)
            optimizer.step()
        used = weight if gradient_centralization else centered(weight)
        ends.append(used.detach())
    assert torch.allclose(*ends, rtol=1e-10) == (start is centered)


def test_renormalized_is_normalized_by_running_statistics_within_the_limits(
    names: dict[str, Any],
) -> None:
    x = torch.randn(64, 5).double().requires_grad_()
    std, mean = torch.std_mean(x, dim=0, correction=0)
    out = names["renormalize"](x, mean, std, torch.tensor(0.3), torch.tensor(1.2))
    assert torch.allclose(out, (x - 0.3) / 1.2)
    # The gradient is that of a batch norm, times a factor: none of it changes the batch's mean.
    (gradient,) = torch.autograd.grad(out, x, torch.randn_like(x))
    assert gradient.sum(dim=0).abs().max() < 1e-12


@pytest.mark.parametrize(("rate", "decay"), [(0.05, 0.02), (0.02, 0.1)])
def test_in_equilibrium_a_step_turns_a_filter_by_the_same_angle(
    rate: float, decay: float
) -> None:
    torch.manual_seed(0)
    weight, angles = torch.randn(200).double(), []
    for step in range(6000):
        direction = torch.randn(200).double()
        direction -= weight * (direction @ weight) / (weight @ weight)
        gradient = direction / weight.norm()  # of a scale-invariant loss
        after = weight - rate * (gradient + decay * weight)
        if step >= 5000:
            angles.append(F.cosine_similarity(weight, after, dim=0).acos())
        weight = after
    assert torch.stack(angles).mean() == pytest.approx((2 * rate * decay) ** 0.5, rel=0.05)
