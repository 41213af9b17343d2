"""Batch-Channel Normalization against loops in numpy and torch's functions, in float64: statistics, values, gradients."""

import copy
import io
import math
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from labml_ws.batch_channel_norm import (
    BatchChannelNorm,
    BatchNorm,
    ChannelNorm,
    EstimatedBatchNorm,
)

RANKS = pytest.mark.parametrize(
    "positions", [(), (5,), (4, 3), (2, 3, 2)], ids=["rank2", "rank3", "rank4", "rank5"]
)


def batches(count: int, *shape: int, mean: float = 2.0, seed: int = 0) -> list[Tensor]:
    """Batches whose channels and images differ in level and in spread."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*size: int) -> Tensor:
        return torch.randn(size, dtype=torch.float64, generator=generator)

    ones = [1] * (len(shape) - 2)
    levels = draw(1, shape[1], *ones) + mean
    return [
        levels + draw(shape[0], 1, *ones) + draw(1, shape[1], *ones).exp() * draw(*shape)
        for _ in range(count)
    ]


def authors(
    xs: list[Tensor], gamma: Tensor, beta: Tensor, eps: float, r: float
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """The authors' order, channel by channel and step by step, in plain sums."""
    channels = xs[0].shape[1]
    running_mean, running_var = np.zeros(channels), np.ones(channels)
    outputs = []
    for x in xs:
        x = x.numpy()
        y = np.empty_like(x)
        for c in range(channels):
            values = x[:, c]
            batch_mean = values.sum() / values.size
            around_old = ((values - running_mean[c]) ** 2).sum() / values.size
            running_mean[c] = (1 - r) * running_mean[c] + r * batch_mean
            running_var[c] = (1 - r) * running_var[c] + r * around_old
            y[:, c] = (
                gamma[c].item() * (values - running_mean[c]) / math.sqrt(running_var[c] + eps)
                + beta[c].item()
            )
        outputs.append(y)
    return outputs, running_mean, running_var


def estimated(
    channels: int = 4, eps: float = 1e-5, momentum: float = 0.1
) -> EstimatedBatchNorm:
    """In float64, with an affine that is not the identity."""
    norm = EstimatedBatchNorm(channels, eps, momentum).double()
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2, channels))
        norm.bias.copy_(torch.linspace(-1, 1, channels))
    return norm


def state(norm: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in norm.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# EstimatedBatchNorm: the statistics


@RANKS
@pytest.mark.parametrize("momentum", [0.1, 0.37])
def test_outputs_and_statistics_are_those_of_the_authors_loop_over_several_steps(
    positions: tuple[int, ...], momentum: float
) -> None:
    norm, xs = estimated(eps=1e-3, momentum=momentum), batches(5, 3, 4, *positions)
    outputs = [norm(x) for x in xs]
    expected, mean, var = authors(xs, norm.weight, norm.bias, 1e-3, momentum)
    torch.testing.assert_close(norm.running_mean, torch.from_numpy(mean))
    torch.testing.assert_close(norm.running_var, torch.from_numpy(var))
    for y, oracle in zip(outputs, expected, strict=True):
        torch.testing.assert_close(y, torch.from_numpy(oracle))
    assert norm.num_batches_tracked == 5


def test_variance_is_taken_around_the_old_running_mean() -> None:
    norm = EstimatedBatchNorm(1, momentum=1.0)
    norm.running_mean.fill_(3.0)
    # The batch's own variance is 0; around the old mean of 3 it is 4, around the updated one 0.
    norm(torch.full((2, 1, 2), 5.0))
    assert norm.running_var.item() == 4.0


def test_normalization_uses_the_updated_statistics() -> None:
    norm = EstimatedBatchNorm(1, eps=0.0, momentum=0.5)
    y = norm(torch.full((1, 1, 1), 4.0))
    # Mean 0 -> 2, variance 1 -> (1 + 16) / 2.
    assert y.item() == pytest.approx((4 - 2) / math.sqrt(8.5))


def test_eps_is_added_to_the_running_variance_inside_the_root() -> None:
    norm = EstimatedBatchNorm(1, eps=3.0).eval()
    assert norm(torch.full((1, 1), 4.0)).item() == pytest.approx(4 / math.sqrt(1 + 3))


def test_momentum_0_leaves_the_statistics_where_they_are() -> None:
    norm, x = EstimatedBatchNorm(4, eps=0.0, momentum=0.0).double(), batches(1, 3, 4, 5)[0]
    torch.testing.assert_close(norm(x), x)
    assert (norm.running_mean.tolist(), norm.running_var.tolist()) == ([0.0] * 4, [1.0] * 4)


def test_momentum_1_keeps_the_last_batch_only() -> None:
    norm, (first, second) = EstimatedBatchNorm(4, momentum=1.0).double(), batches(2, 3, 4, 5)
    norm(first)
    norm(second)
    torch.testing.assert_close(norm.running_mean, second.mean((0, 2)))
    torch.testing.assert_close(
        norm.running_var, (second - first.mean((0, 2))[:, None]).square().mean((0, 2))
    )


def test_an_image_gets_the_same_output_whatever_its_neighbours_once_the_statistics_are_fixed() -> (
    None
):
    norm, (x, neighbours) = estimated(momentum=0.0), batches(2, 3, 4, 5)
    alone, together = norm(x[:1]), norm(torch.cat([x[:1], neighbours]))[:1]
    torch.testing.assert_close(alone, together)


@pytest.mark.parametrize("mean", [1000.0, 3000.0])
def test_float32_statistics_stay_exact_far_from_zero_where_the_shortcut_does_not(
    mean: float,
) -> None:
    norm = EstimatedBatchNorm(4, momentum=1.0)
    norm.running_mean.fill_(mean)
    x = (torch.randn(16, 4, 16, 16, generator=torch.Generator().manual_seed(0)) + mean).float()
    norm(x)
    exact = (x.double() - mean).square().mean((0, 2, 3))
    torch.testing.assert_close(norm.running_var.double(), exact, rtol=1e-5, atol=0)
    shortcut = x.square().mean((0, 2, 3)) - x.mean((0, 2, 3)).square()
    assert (shortcut - exact).abs().max() > 0.01


def test_population_variance_is_found_one_image_at_a_time_where_the_batch_mean_misses_half_of_it() -> (
    None
):
    # Channel mean 5, variance between images 1, within an image 1: the population's is 2.
    torch.manual_seed(0)
    norm, around_batch_mean = EstimatedBatchNorm(1), 1.0
    outputs, ours, labml = [], [], []
    for x in 5 + torch.randn(2300, 1, 1, 1, 1) + torch.randn(2300, 1, 1, 16, 16):
        outputs.append(norm(x).detach())
        around_batch_mean += 0.1 * (x.var(correction=0).item() - around_batch_mean)
        ours.append(norm.running_var.item())
        labml.append(around_batch_mean)
    late = slice(300, None)
    # The estimated mean wanders, with variance r / (2 - r) = 0.05, and that is in ours too.
    assert np.mean(ours[late]) == pytest.approx(2.05, abs=0.1)
    assert np.mean(labml[late]) == pytest.approx(1.0, abs=0.05)
    assert torch.cat(outputs[late]).std().item() == pytest.approx(0.95, abs=0.05)
    assert torch.cat(outputs[late]).mean().item() == pytest.approx(0, abs=0.05)


def test_variance_is_too_large_while_the_mean_is_far_from_home_and_settles_after() -> None:
    torch.manual_seed(0)
    norm = EstimatedBatchNorm(1)
    seen = []
    for _ in range(120):
        norm(10 + torch.randn(4, 1, 8, 8))
        seen.append(norm.running_var.item())
    assert max(seen[:10]) > 20
    assert seen[-1] < 1.2


# EstimatedBatchNorm: where no gradient flows


@RANKS
def test_no_gradient_flows_through_the_statistics(positions: tuple[int, ...]) -> None:
    norm, (warm, x) = estimated(eps=1e-3), batches(2, 3, 4, *positions)
    norm(warm)
    g = torch.randn(x.shape, dtype=torch.float64)
    norm(x.requires_grad_()).backward(g)
    shape = (1, 4, *[1] * len(positions))
    scale = (norm.weight / (norm.running_var + 1e-3).sqrt()).detach().reshape(shape)
    assert x.grad is not None
    torch.testing.assert_close(x.grad, scale * g)
    # And the affine gets what a product and a sum give.
    dims = [d for d in range(x.dim()) if d != 1]
    normalized = (x.detach() - norm.running_mean.reshape(shape)) / (
        norm.running_var + 1e-3
    ).sqrt().reshape(shape)
    torch.testing.assert_close(norm.weight.grad, (g * normalized).sum(dims))
    torch.testing.assert_close(norm.bias.grad, g.sum(dims))


def test_two_forward_passes_before_one_backward_pass_give_each_its_own_gradient() -> None:
    norm, xs = estimated(), [x.requires_grad_() for x in batches(2, 3, 4, 5)]
    scales, total = [], torch.zeros((), dtype=torch.float64)
    for x in xs:
        total = total + norm(x).sum()
        scales.append((norm.weight / (norm.running_var + 1e-5).sqrt()).detach())
    total.backward()
    assert not torch.equal(scales[0], scales[1])
    for x, scale in zip(xs, scales, strict=True):
        assert x.grad is not None
        torch.testing.assert_close(x.grad, scale[:, None].expand_as(x))


def test_statistics_carry_no_graph() -> None:
    norm = estimated()
    norm(batches(1, 3, 4, 5)[0].requires_grad_())
    assert not norm.running_mean.requires_grad
    assert not norm.running_var.requires_grad


def test_gradients_are_finite_differences_to_the_second_order() -> None:
    norm, x = estimated().eval(), batches(1, 2, 4, 3)[0].requires_grad_()
    assert torch.autograd.gradcheck(norm, (x,))
    assert torch.autograd.gradgradcheck(norm, (x,))


# EstimatedBatchNorm: buffers and modes


def test_evaluation_is_torchs_batch_norm_with_the_stored_statistics() -> None:
    norm, (warm, x) = estimated(eps=1e-3), batches(2, 3, 4, 5, 2)
    norm(warm)
    norm.eval()
    expected = F.batch_norm(
        x, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.1, 1e-3
    )
    torch.testing.assert_close(norm(x), expected)


def test_evaluation_changes_nothing() -> None:
    norm = estimated().eval()
    before = state(norm)
    norm(batches(1, 3, 4, 5)[0])
    assert same(before, state(norm))


def test_buffers_are_updated_in_place() -> None:
    norm = estimated()
    before = [(id(buffer), buffer.data_ptr(), buffer.sum().item()) for buffer in norm.buffers()]
    norm(batches(1, 3, 4, 5)[0])
    after = [(id(buffer), buffer.data_ptr(), buffer.sum().item()) for buffer in norm.buffers()]
    assert [entry[:2] for entry in before] == [entry[:2] for entry in after]
    assert all(old[2] != new[2] for old, new in zip(before, after, strict=True))


def test_training_under_no_grad_still_updates_the_statistics_as_torch_does() -> None:
    ours, torchs, x = estimated(), nn.BatchNorm1d(4), batches(1, 3, 4, 5)[0]
    with torch.no_grad():
        ours(x)
        torchs(x.float())
    torch.testing.assert_close(ours.running_mean, torchs.running_mean.double())


def test_the_input_is_left_alone() -> None:
    x = batches(1, 3, 4, 5)[0]
    estimated()(x)
    assert torch.equal(x, batches(1, 3, 4, 5)[0])


@pytest.mark.parametrize("shape", [(0, 4, 5, 5), (2, 4, 0, 5), (0, 4)])
def test_an_empty_batch_leaves_the_statistics_untouched(shape: tuple[int, ...]) -> None:
    norm = estimated()
    norm(batches(1, 3, 4, 5)[0])
    before = state(norm)
    assert norm(torch.zeros(shape, dtype=torch.float64)).shape == shape
    assert same(before, state(norm))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_input_keeps_float32_statistics_and_its_own_dtype(
    dtype: torch.dtype,
) -> None:
    norm, xs = EstimatedBatchNorm(4), [x.to(dtype) for x in batches(20, 3, 4, 8, 8)]
    outputs = [norm(x) for x in xs]
    assert {y.dtype for y in outputs} == {dtype}
    assert {norm.running_mean.dtype, norm.running_var.dtype} == {torch.float32}
    expected, mean, var = authors(
        [x.double() for x in xs], torch.ones(4), torch.zeros(4), 1e-5, 0.1
    )
    torch.testing.assert_close(
        norm.running_mean.double(), torch.from_numpy(mean), rtol=1e-5, atol=1e-5
    )
    torch.testing.assert_close(
        norm.running_var.double(), torch.from_numpy(var), rtol=1e-5, atol=1e-5
    )
    torch.testing.assert_close(
        outputs[-1].double(), torch.from_numpy(expected[-1]), rtol=0.02, atol=0.02
    )


def test_autocast_leaves_the_statistics_in_float32() -> None:
    block, x = nn.Sequential(nn.Conv2d(3, 4, 3), EstimatedBatchNorm(4)), torch.randn(2, 3, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        block(x).sum().backward()
    assert {buffer.dtype for buffer in (block[1].running_mean, block[1].running_var)} == {
        torch.float32
    }
    assert block[1].weight.grad.dtype == torch.float32


# EstimatedBatchNorm: as a torch module


def test_state_dict_travels_to_and_from_torchs_batch_norm() -> None:
    ours, torchs, x = EstimatedBatchNorm(4), nn.BatchNorm2d(4), torch.randn(3, 4, 5, 5)
    assert list(ours.state_dict()) == list(torchs.state_dict())
    torchs(3 * x + 1)
    ours.load_state_dict(torchs.state_dict(), strict=True)
    torch.testing.assert_close(ours.eval()(x), torchs.eval()(x))
    ours.train()(x)
    torchs.load_state_dict(ours.state_dict(), strict=True)
    assert same(state(ours), state(torchs))


def test_without_affine_there_are_no_parameters_and_the_state_is_still_torchs() -> None:
    norm, x = EstimatedBatchNorm(4, affine=False).double(), batches(1, 3, 4, 5)[0]
    assert list(norm.parameters()) == []
    assert list(norm.state_dict()) == list(nn.BatchNorm2d(4, affine=False).state_dict())
    torch.testing.assert_close(norm(x), EstimatedBatchNorm(4).double()(x))


def pickled(module: nn.Module) -> nn.Module:
    return pickle.loads(pickle.dumps(module))


def saved(module: nn.Module) -> nn.Module:
    torch.save(module, buffer := io.BytesIO())
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled, saved])
@pytest.mark.parametrize(
    "make",
    [lambda: EstimatedBatchNorm(4), lambda: BatchChannelNorm(4, 2)],
    ids=["estimated", "bcn"],
)
def test_a_copy_in_the_middle_of_training_goes_its_own_way(
    make: Callable[[], nn.Module], duplicate: Callable[[nn.Module], nn.Module]
) -> None:
    norm, (x, more) = make().double(), batches(2, 3, 4, 5)
    norm(x).sum().backward()
    double = duplicate(norm)
    before = state(double)
    expected = norm(more)
    assert same(before, state(double))
    assert torch.equal(double(more), expected)


@pytest.mark.parametrize("training", [True, False])
def test_compiles_into_one_graph_and_keeps_its_buffers(training: bool) -> None:
    torch.compiler.reset()
    eager = BatchChannelNorm(4, 2).double().train(training)
    norm = copy.deepcopy(eager)
    compiled, buffers = (
        torch.compile(norm, fullgraph=True, backend="aot_eager"),
        [b.data_ptr() for b in norm.buffers()],
    )
    for x in batches(3, 3, 4, 5, 2):
        x_eager, x_compiled = x.clone().requires_grad_(), x.clone().requires_grad_()
        y, expected = compiled(x_compiled), eager(x_eager)
        torch.testing.assert_close(y, expected)
        y.square().sum().backward()
        expected.square().sum().backward()
        torch.testing.assert_close(x_compiled.grad, x_eager.grad)
    assert [b.data_ptr() for b in norm.buffers()] == buffers
    torch.testing.assert_close(state(norm), state(eager))


@pytest.mark.parametrize("momentum", [-0.1, 1.1, math.nan])
def test_a_momentum_that_is_no_share_is_refused(momentum: float) -> None:
    with pytest.raises(ValueError, match=rf"from 0 to 1, got {momentum}"):
        EstimatedBatchNorm(4, momentum=momentum)


def test_no_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 channel, got 0"):
        EstimatedBatchNorm(0)


@pytest.mark.parametrize(
    "norm",
    [
        EstimatedBatchNorm(4),
        ChannelNorm(4, 2),
        BatchChannelNorm(4, 2),
        BatchChannelNorm(4, 2, estimate=False),
    ],
)
@pytest.mark.parametrize("shape", [(2, 3, 5, 5), (2, 1, 5), (4,), ()])
def test_another_number_of_channels_is_refused_by_both_shapes(
    norm: nn.Module, shape: tuple[int, ...]
) -> None:
    before = state(norm)
    with pytest.raises(ValueError) as error:
        norm(torch.zeros(shape))
    assert str(error.value) == f"expected input of shape [B, 4, *], got {list(shape)}"
    assert same(before, state(norm))


# ChannelNorm


def channel_norm(channels: int = 6, groups: int = 3, eps: float = 1e-3) -> ChannelNorm:
    norm = ChannelNorm(channels, groups, eps).double()
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2, groups))
        norm.bias.copy_(torch.linspace(-1, 1, groups))
    return norm


def bare_channel_norm(
    x: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float
) -> Tensor:
    """One image and one group at a time."""
    size, images = x.shape[1] // groups, []
    for image in x:
        parts = []
        for g in range(groups):
            part = image[g * size : (g + 1) * size]
            mean = part.sum() / part.numel()
            var = ((part - mean) ** 2).sum() / part.numel()
            parts.append(weight[g] * (part - mean) / (var + eps) ** 0.5 + bias[g])
        images.append(torch.cat(parts))
    return torch.stack(images)


@RANKS
@pytest.mark.parametrize("groups", [1, 2, 3])
def test_channel_norm_is_group_norm_with_the_affine_of_a_group_for_all_its_channels(
    positions: tuple[int, ...], groups: int
) -> None:
    norm, x = channel_norm(6, groups), batches(1, 3, 6, *positions)[0]
    expected = F.group_norm(
        x,
        groups,
        norm.weight.repeat_interleave(6 // groups),
        norm.bias.repeat_interleave(6 // groups),
        1e-3,
    )
    torch.testing.assert_close(norm(x), expected)


@RANKS
def test_channel_norm_has_the_values_and_gradients_of_the_bare_formula(
    positions: tuple[int, ...],
) -> None:
    norm, x = channel_norm(), batches(1, 3, 6, *positions)[0]
    ours = [x.clone().requires_grad_(), norm.weight, norm.bias]
    oracle = [tensor.detach().clone().requires_grad_() for tensor in ours]
    y, expected = norm(ours[0]), bare_channel_norm(oracle[0], 3, oracle[1], oracle[2], 1e-3)
    torch.testing.assert_close(y, expected)
    upstream = torch.randn_like(y)
    y.backward(upstream)
    expected.backward(upstream)
    assert norm.weight.grad is not None
    assert norm.weight.grad.shape == (3,)
    for mine, theirs in zip(ours, oracle, strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


@RANKS
def test_channel_norm_with_one_group_is_layer_norm_over_channels_and_positions(
    positions: tuple[int, ...],
) -> None:
    x = batches(1, 3, 6, *positions)[0]
    torch.testing.assert_close(
        ChannelNorm(6, 1).double()(x), F.layer_norm(x, x.shape[1:], eps=1e-5)
    )


def test_channel_norm_with_a_group_per_channel_is_instance_norm() -> None:
    x = batches(1, 3, 6, 4, 4)[0]
    torch.testing.assert_close(ChannelNorm(6, 6).double()(x), F.instance_norm(x))


def test_channel_norm_without_affine_is_group_norm_without_one() -> None:
    norm, x = ChannelNorm(6, 3, 1e-3, affine=False), batches(1, 3, 6, 4)[0]
    assert list(norm.parameters()) == []
    torch.testing.assert_close(norm(x), F.group_norm(x, 3, eps=1e-3))


def test_channel_norm_does_not_mix_images() -> None:
    norm, x = channel_norm(), batches(1, 3, 6, 4)[0]
    assert torch.equal(norm(x)[:1], norm(x[:1]))


def test_channel_norm_gradients_are_finite_differences_to_the_second_order() -> None:
    norm, x = channel_norm(4, 2), batches(1, 2, 4, 3)[0].requires_grad_()
    assert torch.autograd.gradcheck(norm, (x,))
    assert torch.autograd.gradgradcheck(norm, (x,))


@pytest.mark.parametrize(
    ("channels", "groups", "would_do"), [(6, 4, 2), (64, 24, 8), (7, 2, 1), (16, 32, 16)]
)
def test_groups_that_do_not_divide_the_channels_are_refused_with_both_numbers_and_a_way_out(
    channels: int, groups: int, would_do: int
) -> None:
    with pytest.raises(
        ValueError, match=rf"got {channels} channels and {groups} groups.*\b\d+ groups would"
    ) as error:
        ChannelNorm(channels, groups)
    assert channels % would_do == 0
    ChannelNorm(channels, int(str(error.value).split(" groups would")[0].split()[-1]))


@pytest.mark.parametrize(("channels", "groups"), [(0, 1), (4, 0), (4, -2)])
def test_no_channels_or_no_groups_are_refused(channels: int, groups: int) -> None:
    with pytest.raises(ValueError, match=rf"got {channels} channels and {groups} groups"):
        ChannelNorm(channels, groups)


# BatchChannelNorm


def random_affine(norm: nn.Module) -> None:
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.uniform_(0.5, 2)


@RANKS
def test_bcn_with_batch_statistics_is_torchs_batch_norm_then_group_norm(
    positions: tuple[int, ...],
) -> None:
    norm, x = (
        BatchChannelNorm(6, 3, eps=1e-3, momentum=0.2, estimate=False).double(),
        batches(1, 3, 6, *positions)[0],
    )
    random_affine(norm)
    mean, var = torch.zeros(6).double(), torch.ones(6).double()
    first, second = norm.batch_norm, norm.channel_norm
    ours, oracle = x.clone().requires_grad_(), x.clone().requires_grad_()
    y = norm(ours)
    expected = F.batch_norm(
        oracle, mean, var, first.weight.detach(), first.bias.detach(), True, 0.2, 1e-3
    )
    expected = F.group_norm(
        expected,
        3,
        second.weight.detach().repeat_interleave(2),
        second.bias.detach().repeat_interleave(2),
        1e-3,
    )
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(first.running_mean, mean)
    torch.testing.assert_close(first.running_var, var)
    upstream = torch.randn_like(y)
    y.backward(upstream)
    expected.backward(upstream)
    torch.testing.assert_close(ours.grad, oracle.grad)


@RANKS
def test_bcn_with_estimates_is_the_authors_loop_then_the_bare_channel_norm(
    positions: tuple[int, ...],
) -> None:
    norm, xs = (
        BatchChannelNorm(6, 3, eps=1e-3, momentum=0.2).double(),
        batches(4, 3, 6, *positions),
    )
    random_affine(norm)
    outputs = [norm(x) for x in xs]
    first, second = norm.batch_norm, norm.channel_norm
    expected, _, _ = authors(xs, first.weight, first.bias, 1e-3, 0.2)
    for y, oracle in zip(outputs, expected, strict=True):
        torch.testing.assert_close(
            y, bare_channel_norm(torch.from_numpy(oracle), 3, second.weight, second.bias, 1e-3)
        )


def test_bcn_estimates_by_default() -> None:
    assert isinstance(BatchChannelNorm(4, 2).batch_norm, EstimatedBatchNorm)


def test_bcn_has_a_pair_per_channel_and_a_pair_per_group() -> None:
    shapes = {
        key: tuple(value.shape) for key, value in BatchChannelNorm(64, 32).named_parameters()
    }
    assert shapes == {
        "batch_norm.weight": (64,),
        "batch_norm.bias": (64,),
        "channel_norm.weight": (32,),
        "channel_norm.bias": (32,),
    }


def test_bcn_state_travels_between_estimates_and_batch_statistics() -> None:
    estimates, batch = BatchChannelNorm(4, 2), BatchChannelNorm(4, 2, estimate=False)
    estimates(torch.randn(3, 4, 5, 5))
    batch.load_state_dict(estimates.state_dict(), strict=True)
    x = torch.randn(3, 4, 5, 5)
    torch.testing.assert_close(batch.eval()(x), estimates.eval()(x))


def test_bcn_in_evaluation_treats_each_image_by_itself() -> None:
    norm, (warm, x) = BatchChannelNorm(4, 2).double(), batches(2, 3, 4, 5)
    norm(warm)
    norm.eval()
    torch.testing.assert_close(norm(x)[:1], norm(x[:1]))


def test_bcn_trains_on_a_single_image_with_a_single_position_where_batch_norm_cannot() -> None:
    x = torch.randn(1, 4, 1, 1)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        nn.BatchNorm2d(4)(x)
    y = BatchChannelNorm(4, 2)(x)
    assert torch.isfinite(y).all()
    assert y.any()


def test_bcn_keeps_a_drifted_channel_alive_where_a_channel_norm_eliminates_it() -> None:
    # Why BCN: one channel far below its group is off behind a ReLU for every image, unless a batch norm lifts it.
    torch.manual_seed(0)
    x = torch.randn(64, 4, 4, 4)
    x[:, 2] -= 30
    alive = [
        (norm(x).relu()[:, 2] > 0).double().mean().item()
        for norm in (ChannelNorm(4, 1), BatchChannelNorm(4, 1, estimate=False))
    ]
    assert alive[0] == 0
    assert 0.4 < alive[1] < 0.6


@RANKS
def test_batch_norm_is_torchs_for_every_rank(positions: tuple[int, ...]) -> None:
    x = batches(1, 3, 4, *positions)[0]
    torch.testing.assert_close(
        BatchNorm(4).double()(x), F.batch_norm(x, None, None, training=True)
    )


@pytest.mark.parametrize(
    "make", [lambda: BatchChannelNorm(8, 2), lambda: BatchChannelNorm(8, 2, estimate=False)]
)
def test_channels_last_input_gives_the_same_values(make: Callable[[], nn.Module]) -> None:
    x = batches(1, 3, 8, 4, 4)[0]
    torch.testing.assert_close(
        make().double()(x.contiguous(memory_format=torch.channels_last)), make().double()(x)
    )


# Into other forms


def traced(norm: nn.Module) -> nn.Module:
    return fx.symbolic_trace(norm)


def scripted(norm: nn.Module) -> nn.Module:
    return torch.jit.script(norm)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@RANKS
@pytest.mark.parametrize("form", [traced, scripted])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("estimate", [True, False], ids=["estimates", "batch"])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_tracing_and_scripting_keep_values_statistics_and_the_error(
    positions: tuple[int, ...],
    form: Callable[[nn.Module], nn.Module],
    training: bool,
    estimate: bool,
    momentum: float | None,
) -> None:
    norm = BatchChannelNorm(4, 2, momentum=momentum, estimate=estimate).double()
    norm.train(training)
    other = form(copy.deepcopy(norm))
    for x in batches(3, 3, 4, *positions):
        torch.testing.assert_close(other(x), norm(x))
    expected = norm.state_dict()
    for key, value in other.state_dict().items():
        torch.testing.assert_close(value, expected[key])
    with pytest.raises(Exception, match=r"expected input of shape \[B, 4, \*\]"):
        other(torch.ones(2, 3, 5).double())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("estimate", [True, False], ids=["estimates", "batch"])
def test_export_in_evaluation_is_three_kernels_and_computes_the_same(
    layout: torch.memory_format, estimate: bool
) -> None:
    norm = BatchChannelNorm(8, 2, estimate=estimate).eval()
    x = torch.randn(3, 8, 4, 4).contiguous(memory_format=layout)
    program = torch.export.export(norm, (x,))
    torch.testing.assert_close(program.module()(x), norm(x))
    calls = [str(n.target) for n in program.graph.nodes if n.op == "call_function"]
    assert sum("norm" in call for call in calls) == 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("estimate", [True, False], ids=["estimates", "batch"])
def test_autocast_computes_what_float32_does_to_its_own_precision(
    dtype: torch.dtype, estimate: bool
) -> None:
    norm = BatchChannelNorm(8, 2, estimate=estimate)
    exact, x = copy.deepcopy(norm), torch.randn(3, 8, 5, 5).to(dtype)
    with torch.autocast("cpu", dtype):
        y = norm(x.requires_grad_())
    torch.testing.assert_close(y.float(), exact(x.float()), rtol=0.02, atol=0.02)
    y.float().square().sum().backward()
    torch.testing.assert_close(
        norm.batch_norm.running_var, exact.batch_norm.running_var, rtol=1e-5, atol=1e-5
    )
    assert norm.batch_norm.weight.grad.dtype == torch.float32


def test_channels_last_stays_channels_last() -> None:
    x = torch.randn(2, 8, 4, 4).contiguous(memory_format=torch.channels_last)
    for norm in (ChannelNorm(8, 2), BatchChannelNorm(8, 2), BatchChannelNorm(8, 2).eval()):
        assert norm(x).is_contiguous(memory_format=torch.channels_last)


def test_repr_shows_what_was_asked_for() -> None:
    text = repr(BatchChannelNorm(64, 32, eps=0.5, momentum=0.25))
    assert "EstimatedBatchNorm(64, eps=0.5, momentum=0.25, affine=True)" in text
    assert "ChannelNorm(64, groups=32, eps=0.5, affine=True)" in text
