"""What torch's tools, dtypes, repeated and failed passes, and several processes do to the running statistics."""

import copy
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, update_bn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from labml_ws import BatchChannelNorm, ChannelNorm, EstimatedBatchNorm
from labml_ws.batch_channel_norm import BatchNorm
from labml_ws.running_statistics import PASSES, RunningStatistics, channel_moments

BOTH = pytest.mark.parametrize("estimate", [True, False], ids=["estimates", "batch"])
MODES = pytest.mark.parametrize("reentrant", [True, False], ids=["reentrant", "not_reentrant"])


def network(estimate: bool = True, **settings: float) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        BatchChannelNorm(8, 2, estimate=estimate, **settings),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        BatchChannelNorm(8, 2, estimate=estimate, **settings),
        nn.ReLU(),
    ).double()


def norms(model: nn.Module) -> Iterator[RunningStatistics]:
    return (m for m in model.modules() if isinstance(m, RunningStatistics))


def images(count: int, level: float = 1.0) -> list[Tensor]:
    """Batches of 2 that differ in level and in spread."""
    generator = torch.Generator().manual_seed(1)
    draw = torch.randn(count, 2, 3, 8, 8, dtype=torch.float64, generator=generator)
    return [x * (i + 1) + level * i for i, x in enumerate(draw)]


# ## Activation checkpointing


Run = Callable[[nn.Module, Tensor], Tensor]


def gradients(model: nn.Module, xs: list[Tensor], run: Run, together: bool) -> list[Tensor]:
    """Of inputs and parameters, after all of `xs`, with a backward pass each or one for all; then all buffers."""
    xs = [x.clone().requires_grad_() for x in xs]
    losses = []
    for x in xs:
        y = run(model, x)
        losses.append((y * torch.linspace(0, 1, y.numel()).reshape(y.shape)).sum())
        if not together:
            losses[-1].backward()
    if together:
        torch.stack(losses).sum().backward()
    found = [x.grad for x in xs] + [p.grad for p in model.parameters()]
    return [g for g in found if g is not None] + list(model.buffers())


@BOTH
@MODES
@pytest.mark.parametrize("together", [False, True], ids=["a backward each", "one backward"])
def test_checkpointing_gives_the_exact_gradient_and_one_update_of_the_statistics(
    estimate: bool, reentrant: bool, together: bool
) -> None:
    plain = gradients(network(estimate), images(3), lambda m, x: m(x), together)
    repeated = gradients(
        network(estimate),
        images(3),
        lambda m, x: checkpoint(m, x, use_reentrant=reentrant),
        together,
    )
    torch.testing.assert_close(repeated, plain, rtol=0, atol=0)


@MODES
def test_a_norm_that_is_passed_several_times_finds_each_of_its_passes_again(
    reentrant: bool,
) -> None:
    def shared(run: Run) -> list[Tensor]:
        # As a head on the levels of a pyramid: one layer, several inputs in one backward pass, in one region and in two.
        return gradients(
            EstimatedBatchNorm(3).double(),
            images(2),
            lambda m, x: run(m, x) + run(m, 2 * x.roll(1, 0) + 3) + run(m, m(x - 7)),
            together=True,
        )

    plain = shared(lambda m, x: m(x))
    repeated = shared(lambda m, x: checkpoint(m, x, use_reentrant=reentrant))
    torch.testing.assert_close(repeated, plain, rtol=0, atol=1e-12)


@MODES
def test_the_same_batch_twice_is_repeated_from_the_last_pass_to_the_first(
    reentrant: bool,
) -> None:
    xs = images(1) * 3
    plain = gradients(network(), xs, lambda m, x: m(x), together=True)
    repeated = gradients(
        network(), xs, lambda m, x: checkpoint(m, x, use_reentrant=reentrant), together=True
    )
    torch.testing.assert_close(repeated, plain, rtol=0, atol=0)


def test_checkpointed_segments_and_a_second_backward_pass_are_exact_as_well() -> None:
    def twice(run: Run) -> list[Tensor]:
        model, x = network(), images(1)[0].requires_grad_()
        loss = run(model, x).square().sum()
        first = torch.autograd.grad(loss, x, retain_graph=True)
        second = torch.autograd.grad(loss, x)
        return [*first, *second, *model.buffers()]

    torch.testing.assert_close(
        twice(lambda m, x: checkpoint_sequential(m, 3, x, use_reentrant=False)),
        twice(lambda m, x: m(x)),
        rtol=0,
        atol=0,
    )


def test_a_new_pass_inside_a_backward_pass_is_refused() -> None:
    norm, x = EstimatedBatchNorm(3).double(), images(1)[0].requires_grad_()
    y = norm(x)
    y.register_hook(lambda g: norm(x.detach() + 5) * 0 + g)
    with pytest.raises(RuntimeError, match=f"one of the last {PASSES} of this layer"):
        y.sum().backward()


def test_a_pass_of_long_ago_is_refused_and_not_taken_for_another() -> None:
    norm = EstimatedBatchNorm(3).double()
    xs = [x.requires_grad_() for x in images(PASSES + 1)]
    losses = [checkpoint(norm, x, use_reentrant=False).square().sum() for x in xs]
    losses[1].backward()
    with pytest.raises(RuntimeError, match="got other values"):
        losses[0].backward()


@BOTH
@MODES
def test_a_batch_that_is_not_finite_can_be_repeated(estimate: bool, reentrant: bool) -> None:
    model, (x, bad) = network(estimate), images(2)
    bad[0, 0, 0, 0] = math.inf
    for batch in (x, bad):
        checkpoint(model, batch.requires_grad_(), use_reentrant=reentrant).sum().backward()
    assert all(b.isfinite().all() for b in model.buffers())


# ## Torch's tools for batch norms


@BOTH
def test_both_are_batch_norms_to_torch(estimate: bool) -> None:
    model = network(estimate)
    model(images(1)[0])
    for module in model.modules():
        if isinstance(module, _BatchNorm):  # the freezing idiom
            module.eval()
    before = [b.clone() for b in model.buffers()]
    model(images(2)[1])
    torch.testing.assert_close(list(model.buffers()), before, rtol=0, atol=0)
    assert sum(isinstance(m, _BatchNorm) for m in model.modules()) == 2


def test_update_bn_gives_the_mean_and_variance_of_all_images() -> None:
    generator = torch.Generator().manual_seed(0)
    xs = [10 + i + torch.randn(4, 8, 5, generator=generator) for i in range(5)]
    model = AveragedModel(BatchChannelNorm(8, 2))
    update_bn(xs, model)
    norm = model.module.batch_norm
    values = torch.cat(xs).transpose(0, 1).flatten(1).double()  # [C, images * positions]
    torch.testing.assert_close(norm.running_mean.double(), values.mean(1))
    torch.testing.assert_close(
        norm.running_var.double(), values.var(1, correction=0), rtol=1e-6, atol=0
    )
    assert (norm.momentum, norm.num_batches_tracked.item()) == (0.1, 5)


def test_without_momentum_the_batch_norm_averages_as_torchs_does() -> None:
    ours, torchs = BatchNorm(3, momentum=None).double(), nn.BatchNorm2d(3, momentum=None)
    for x in images(3):
        ours(x)
        torchs.double()(x)
    torch.testing.assert_close(list(ours.buffers()), list(torchs.buffers()))


def test_converting_to_synchronized_norms_keeps_the_estimate_of_a_bcn() -> None:
    model = nn.Sequential(BatchChannelNorm(8, 2), BatchChannelNorm(8, 2, estimate=False))
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert type(model[0].batch_norm) is EstimatedBatchNorm
    assert model[0].batch_norm.sync
    assert type(model[1].batch_norm) is nn.SyncBatchNorm
    with pytest.raises(ValueError, match="estimate=True only"):
        BatchChannelNorm(8, 2, estimate=False, sync=True)


# ## Devices, dtypes, files


@BOTH
def test_a_model_from_meta_is_as_new_after_the_reset(estimate: bool) -> None:
    model = BatchChannelNorm(8, 2, estimate=estimate, device="meta")
    assert {t.device.type for t in model.state_dict().values()} == {"meta"}
    model.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.fill_(7)
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    expected = BatchChannelNorm(8, 2, estimate=estimate).state_dict()
    torch.testing.assert_close(dict(model.state_dict()), dict(expected))


HALF = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])


@BOTH
@HALF
@pytest.mark.parametrize("how", ["built", "converted", "to", "assigned"])
@pytest.mark.parametrize("momentum", [0.01, 0.001])
def test_statistics_of_a_model_in_half_precision_arrive_where_those_of_float32_do(
    estimate: bool, dtype: torch.dtype, how: str, momentum: float
) -> None:
    exact = BatchChannelNorm(4, 2, momentum=momentum, estimate=estimate)
    norm = BatchChannelNorm(
        4, 2, momentum=momentum, estimate=estimate, dtype=dtype if how == "built" else None
    )
    if how == "converted":
        norm = norm.bfloat16() if dtype == torch.bfloat16 else norm.half()
    if how == "to":
        norm.to(dtype=dtype)
    if how == "assigned":
        half = {k: v.to(dtype) if "num" not in k else v for k, v in norm.state_dict().items()}
        norm.load_state_dict(half, assign=True)
    assert {p.dtype for p in norm.parameters()} == {dtype}
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        x = (5 + torch.randn(1, 4, 3, generator=generator)).to(dtype)
        assert norm(x).dtype == dtype
        exact(x.float())
    torch.testing.assert_close(norm.batch_norm.running_mean, exact.batch_norm.running_mean)
    torch.testing.assert_close(norm.batch_norm.running_var, exact.batch_norm.running_var)
    norm(x.requires_grad_()).sum().backward()
    assert norm.batch_norm.weight.grad.dtype == dtype


def test_a_step_to_half_precision_does_not_round_the_statistics() -> None:
    norm = EstimatedBatchNorm(3)
    norm.running_mean.fill_(1 / 3)
    assert torch.equal(norm.half().running_mean, torch.full((3,), 1 / 3))
    assert norm.double().running_var.dtype == torch.float64
    assert norm.half().running_var.dtype == torch.float32


@BOTH
def test_a_state_dict_from_before_batches_were_counted_is_accepted(estimate: bool) -> None:
    model = network(estimate)
    old = {k: v for k, v in model.state_dict().items() if "num_batches" not in k}
    network(estimate).load_state_dict(old)


def test_notes_of_passes_are_neither_copied_nor_saved() -> None:
    norm = EstimatedBatchNorm(3).double()
    norm(images(1)[0])
    assert len(norm.passes) == 1
    assert len(copy.deepcopy(norm).passes) == 0
    norm.reset_running_stats()
    assert len(norm.passes) == 0


# ## Batches that are not finite


@BOTH
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e300])
def test_a_channel_that_is_not_finite_keeps_its_statistics_and_the_others_move(
    estimate: bool, bad: float
) -> None:
    norm = BatchChannelNorm(3, 1, estimate=estimate).double().batch_norm
    first, second, third = images(3)
    norm(first)
    before = [norm.running_mean.clone(), norm.running_var.clone()]
    second[0, 1, 2, 2] = bad
    norm(second)
    for old, new in zip(before, (norm.running_mean, norm.running_var), strict=True):
        assert (old == new).tolist() == [False, True, False]
    assert norm.num_batches_tracked == 1
    norm(third)
    assert all(b.isfinite().all() for b in norm.buffers())
    assert norm.num_batches_tracked == 2


# ## Moments


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "shape", [(2, 3, 2, 2), (1, 3, 1, 1), (64, 3, 40, 40), (3, 2, 9, 1), (50000, 3, 4, 4)]
)
@pytest.mark.parametrize("mean", [0.0, 1000.0])
def test_moments_in_float32_are_those_of_float64(
    layout: torch.memory_format, shape: tuple[int, ...], mean: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = (torch.randn(shape, generator=generator) + mean).contiguous(memory_format=layout)
    found = channel_moments(x)
    values = x.double().transpose(0, 1).flatten(1)
    torch.testing.assert_close(found[0].double(), values.mean(1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        found[1].double(), values.var(1, correction=0), rtol=3e-5, atol=1e-6
    )


# ## Several processes


RANK = """
import sys, torch
from torch import distributed as dist
from labml_ws import BatchChannelNorm
rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
norm = BatchChannelNorm(4, 2, sync=True).double()
torch.manual_seed(rank)
x = 10 * rank + torch.randn(1 + rank, 4, 3, 3, dtype=torch.float64)
checkpointed = torch.utils.checkpoint.checkpoint(norm, x.requires_grad_(), use_reentrant=False)
checkpointed.sum().backward()
parts = [torch.zeros(1 + r, 4, 3, 3, dtype=torch.float64) for r in range(2)]
for r, part in enumerate(parts):
    if r == rank: part.copy_(x.detach())
    dist.broadcast(part, r)
alone = BatchChannelNorm(4, 2).double()
alone(torch.cat(parts))
torch.testing.assert_close(norm.batch_norm.running_mean, alone.batch_norm.running_mean)
torch.testing.assert_close(norm.batch_norm.running_var, alone.batch_norm.running_var)
print(norm.batch_norm.running_mean.mean().item())
dist.destroy_process_group()
"""


def test_two_processes_estimate_what_one_would_from_both_their_batches(tmp_path: Path) -> None:
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank), str(tmp_path / "store")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    finished = [rank.communicate(timeout=120) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], finished
    means = [float(out) for out, _ in finished]
    # A tenth of the mean over one image at 0 and two at 10.
    assert means[0] == means[1] == pytest.approx(2 / 3, abs=0.05)


def test_without_other_processes_sync_changes_nothing() -> None:
    plain, synced = EstimatedBatchNorm(3).double(), EstimatedBatchNorm(3, sync=True).double()
    for x in images(2):
        assert torch.equal(plain(x), synced(x))
    assert "sync=True" in repr(synced)


def test_a_channel_norm_has_the_device_and_dtype_that_it_is_asked_for() -> None:
    norm = ChannelNorm(4, 2, device="meta", dtype=torch.float64)
    assert {(p.device.type, p.dtype) for p in norm.parameters()} == {("meta", torch.float64)}
