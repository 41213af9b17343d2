"""The measures, on networks whose answer is known beforehand."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labml_ws import BatchChannelNorm, Conv2d, EstimatedBatchNorm
from labml_ws.experiment.measure import (
    active_fractions,
    channel_statistics,
    convolutions,
    filter_statistics,
    gradient_shares,
)


def network(norm: nn.Module, conv: type[nn.Conv2d] = Conv2d) -> nn.Sequential:
    torch.manual_seed(1)
    body = nn.Sequential(
        conv(3, 8, 3, bias=False), norm, nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 5)
    )
    return body.double()


def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(2)
    return torch.randn(6, 3, 6, 6, dtype=torch.float64), torch.randint(0, 5, (6,))


def test_filter_statistics_are_those_of_weight_and_gradient() -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 3.0], [-2.0, 2.0]]).view(2, 2, 1, 1))
    model[0].weight.grad = torch.tensor([[3.0, 4.0], [0.0, 0.0]]).view(2, 2, 1, 1)
    found = filter_statistics(model)["0"]
    assert found.mean.tolist() == [2, 0]
    assert found.std.tolist() == [1, 2]
    assert found.grad_mean.tolist() == [3.5, 0]
    assert found.grad_norm.tolist() == [5, 0]


def test_a_missing_gradient_is_named() -> None:
    with pytest.raises(ValueError, match=r"0\.weight, got none: call backward"):
        filter_statistics(nn.Sequential(nn.Conv2d(2, 2, 1)))


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 8), nn.BatchNorm2d(8)])
def test_gradient_shares_are_what_autograd_loses_at_each_step(norm: nn.Module) -> None:
    model, (x, y) = network(norm), batch()
    conv = model[0]
    conv.eps = 0.0
    # The same two steps, spelled out, with autograd's gradient after each.
    centered = (
        (conv.weight - conv.weight.mean((1, 2, 3), keepdim=True)).detach().requires_grad_()
    )
    sigma = centered.detach().pow(2).mean((1, 2, 3), keepdim=True).sqrt()
    w_hat = centered / centered.pow(2).mean((1, 2, 3), keepdim=True).sqrt()
    w_hat.retain_grad()
    hidden = F.conv2d(x, w_hat)
    F.cross_entropy(model[1:](hidden), y).backward()
    assert centered.grad is not None
    assert w_hat.grad is not None
    scaling = 1 - centered.grad.square().sum() / (w_hat.grad / sigma).square().sum()
    F.cross_entropy(model(x), y).backward()
    centering = 1 - conv.weight.grad.square().sum() / centered.grad.square().sum()
    shares = gradient_shares(model, x, y)["0"]
    assert shares.scaling == pytest.approx(float(scaling), abs=1e-9)
    assert shares.centering == pytest.approx(float(centering), rel=1e-9)
    assert shares.centering > 0.01


def test_batch_norm_leaves_nothing_for_the_scaling_step_to_take() -> None:
    """BatchNorm's output doesn't change with a filter's length, so no gradient points along the filter."""
    model, (x, y) = network(nn.BatchNorm2d(8, eps=1e-12)), batch()
    assert gradient_shares(model, x, y)["0"].scaling == pytest.approx(0, abs=1e-9)


def test_only_standardized_convolutions_have_shares() -> None:
    assert gradient_shares(network(nn.GroupNorm(2, 8), nn.Conv2d), *batch()) == {}


def test_gradient_shares_leave_the_network_as_it_was() -> None:
    model, (x, y) = network(nn.BatchNorm2d(8)), batch()
    before = copy.deepcopy(model.state_dict())
    gradient_shares(model, x, y)
    assert type(model[0]) is Conv2d
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_k_dead_units_of_n_are_found() -> None:
    model = nn.Sequential(nn.Conv2d(1, 10, 1), nn.ReLU())
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.copy_(torch.tensor([-1.0] * 3 + [1.0] * 7))
    fractions = active_fractions(model, [torch.randn(4, 1, 5, 5)] * 2)["1"]
    assert fractions.tolist() == [0] * 3 + [1] * 7


def test_active_fractions_count_over_all_batches() -> None:
    """A unit that is alive only for the second batch is not dead."""
    model = nn.Sequential(nn.Identity(), nn.ReLU())
    batches = [-torch.ones(3, 2, 4), torch.ones(1, 2, 4)]
    assert active_fractions(model, batches)["1"].tolist() == [0.25, 0.25]


def test_batch_norm_has_no_distance_from_itself() -> None:
    norm = nn.BatchNorm2d(4, eps=1e-12, momentum=None).double()
    x = 3 + 2 * torch.randn(500, 4, 5, 5, dtype=torch.float64)
    norm(x)
    with torch.no_grad():
        norm.weight.fill_(7.0)
        norm.bias.fill_(-5.0)
    found = channel_statistics(nn.Sequential(norm), x.split(100))["0"]
    torch.testing.assert_close(
        found.mean, torch.zeros(4, dtype=torch.float64), atol=1e-9, rtol=0
    )
    assert found.distance.max() < 1e-3  # the running variance divides by one less


def test_a_channel_that_group_norm_pushes_away_is_measured() -> None:
    """Two channels in one group, one at 0 and one at 10, each of variance 1: (x - 5) / sqrt(26)."""
    torch.manual_seed(0)
    x = torch.randn(400, 2, 8, 8, dtype=torch.float64)
    x[:, 1] += 10
    model = nn.Sequential(nn.GroupNorm(1, 2).double())
    found = channel_statistics(model, [x])["0"]
    expected = torch.tensor([-5.0, 5.0], dtype=torch.float64) / math.sqrt(26)
    torch.testing.assert_close(found.mean, expected, atol=0.02, rtol=0)
    gap = (expected.square() + (1 / math.sqrt(26) - 1) ** 2).sqrt()
    torch.testing.assert_close(found.distance, gap, atol=0.02, rtol=0)


@pytest.mark.parametrize(
    "norm", [EstimatedBatchNorm(8), BatchChannelNorm(8, 2), nn.GroupNorm(2, 8)]
)
def test_the_last_scale_and_shift_are_left_out(norm: nn.Module) -> None:
    model, (x, _) = network(norm), batch()
    plain = channel_statistics(model, [x])["1"]
    last = norm.channel_norm if isinstance(norm, BatchChannelNorm) else norm
    with torch.no_grad():
        last.weight.mul_(3.0)
        last.bias.add_(2.0)
    again = channel_statistics(model, [x])
    assert list(again) == ["1"]
    torch.testing.assert_close(again["1"].mean, plain.mean)
    torch.testing.assert_close(again["1"].std, plain.std)


def test_looking_changes_neither_mode_nor_buffers() -> None:
    model, (x, _) = network(nn.BatchNorm2d(8)), batch()
    model[1].eval()
    before = copy.deepcopy(model.state_dict())
    active_fractions(model, [x])
    channel_statistics(model, [x])
    assert [module.training for module in model] == [True, False, True, True, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_looking_cleans_up_after_an_error() -> None:
    model = network(nn.BatchNorm2d(8))
    with pytest.raises(RuntimeError):
        active_fractions(model, [torch.zeros(1, 99, 6, 6)])
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_transposed_convolutions_are_left_out() -> None:
    model = nn.Sequential(nn.Conv1d(2, 2, 1), nn.ConvTranspose1d(2, 2, 1), nn.Linear(2, 2))
    assert [name for name, _ in convolutions(model)] == ["0"]
